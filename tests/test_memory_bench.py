"""Peaks of memory, each in a process of its own."""

import pytest
import torch
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.memory_bench import MemoryBench, bench_memory, peak
from reread.models.families import TINY
from reread.report import report


@pytest.fixture(scope="module")
def model(tmp_path_factory, byte_tokenizer):
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("memory") / "tiny"
    sizes = {**TINY["llama"], "vocab_size": byte_tokenizer.get_vocab_size(), "max_position_embeddings": 256}
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes)).save_pretrained(folder)
    byte_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_peak_is_that_since_the_last_call():
    peak()
    before = peak()
    held = torch.ones(2**24)  # 64 MiB
    assert peak() - before > 60 * 2**20
    del held
    peak()
    assert peak() - before < 30 * 2**20


@pytest.mark.slow
def test_a_run_holds_the_peaks_of_every_selection_and_length(model, tmp_path):
    names = ("full", "reread(tokens=16, read=32)")
    spec = MemoryBench(model=str(model), selections=names, tokens=(600,), longest_full=600, threads=1)
    run = bench_memory(spec, tmp_path / "run")
    rows = {row["name"]: row for row in run.rows()}
    full, bounded = rows["full"], rows["reread(tokens=16, read=32)"]
    assert all(row["peak_bytes"] > row["state_bytes"] and row["seconds"] > 0 for row in rows.values())
    assert full["closed"] == 0 and bounded["closed"] > 0 and bounded["positions"] == 16
    assert bounded["state_bytes"] < full["state_bytes"] / 10 and abs(full["tokens"] - 600) < 100
    text = report(tmp_path / "run")
    assert containing("above short").holds(text) and containing("| read | float32 | 600 | full | 1 |").holds(text)


@pytest.mark.slow
def test_what_cannot_be_measured_is_refused(model, tmp_path):
    with refused(UnknownName, got="rereed"):
        bench_memory(MemoryBench(model=str(model), selections=("rereed(tokens=9)",)), tmp_path / "a")
    with refused(BadInput, got=containing("window(tokens=256, read=256)"), naming="600"):
        spec = MemoryBench(model=str(model), selections=("window(tokens=256, read=256)",), tokens=(600,))
        bench_memory(spec, tmp_path / "b")

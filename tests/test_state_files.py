"""state-sizes --files: the bytes are those of files that `read` writes, and what is refused."""

import pytest
from in_process import complained, reread
from raising import containing, refused

from reread import state_files as measured
from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.models import load
from reread.models.families import TINY
from reread.report import report, tables
from reread.runlog import Run
from reread.sessions import DocumentReader
from reread.state_files import FilesConfig, state_files, text_of
from reread.store import Store

TOKENS, POSITIONS, DTYPES = 120, (16, 32), ("fp32", "bf16", "int4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, byte_llama):
    root = tmp_path_factory.mktemp("tiny") / "m"
    byte_llama.model.model.save_pretrained(root)
    byte_llama.tokenizer.save(str(root / "tokenizer.json"))
    return root


@pytest.fixture
def config(folder, monkeypatch):
    sizes = {name: size for name, size in TINY["mamba2"].items() if name != "vocab_size"}
    monkeypatch.setattr(measured, "PUBLISHED_SIZES", {"mamba2-tiny": {"model_type": "mamba2", **sizes}})
    return FilesConfig(
        model=str(folder), tokens=TOKENS, positions=POSITIONS, recurrent=("small-jrt",), random=("mamba2-tiny",),
        dtypes=DTYPES,
    )  # fmt: skip


def test_bytes_are_those_of_the_files_that_are_written(config, folder, tmp_path):
    run = state_files(config, tmp_path / "run")
    rows = list(run.rows())
    assert len(rows) == len(DTYPES) * (1 + len(POSITIONS) + 1 + 1) == run.summary()["rows"]
    assert [row["weights"] for row in rows[:: len(DTYPES)]] == ["own"] * 4 + ["random"]
    reader, source = DocumentReader(Reader(load(str(folder)))), text_of(TOKENS, 0)
    for row in rows[: 3 * len(DTYPES)]:
        store = Store(tmp_path / f"{row['selection']} {row['state_dtype']}")
        kept = reader.keep(store, source, budget=TOKENS, state_dtype=row["state_dtype"], select=row["selection"])
        assert (row["file_bytes"], row["state_bytes"]) == (kept.path.stat().st_size, kept.state_bytes)
    by_place = {(row["model"], row["selection"], row["state_dtype"]): row for row in rows}
    name = rows[0]["model"]
    whole = by_place[name, "full", "fp32"]
    cache = 2 * 2 * 2 * TOKENS * 8 * 4  # keys and values, layers, heads
    assert 0 <= whole["state_bytes"] - cache < 64 and whole["tokens"] == TOKENS
    for n in POSITIONS:
        small = by_place[name, f"reread(tokens={n})", "fp32"]
        assert small["positions"] == n and n / TOKENS < small["state_bytes"] / whole["state_bytes"] < 1.2 * n / TOKENS
    found = tables(run.folder)["files"]
    assert [cell["positions"] for cell in found] == [None, *POSITIONS, None, None]
    assert found[1]["of first"]["bf16"] == found[1]["files"]["bf16"] / found[0]["files"]["bf16"]
    text = report(run.folder)
    assert f"{whole['file_bytes']:,}" in text and "mamba2-tiny (random weights)" in text
    assert f"| 16 positions of each KV head, reread(tokens=16) | {TOKENS} |" in text
    assert list(state_files(config, tmp_path / "run").rows()) == rows  # finished: nothing is measured again


def test_a_stopped_run_resumes_at_the_model_that_it_had_not_finished(config, tmp_path, monkeypatch):
    plain = measured.random_model

    def stops(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(measured, "random_model", stops)
    with pytest.raises(KeyboardInterrupt):
        state_files(config, tmp_path / "run")
    before = list(Run(tmp_path / "run").rows())
    assert len(before) == len(DTYPES) * 4
    path = tmp_path / "run" / "rows.jsonl"
    half = path.read_text().splitlines(keepends=True)[:-1]  # of small-jrt one row is missing
    path.write_text("".join(half))
    loaded: list[str] = []
    monkeypatch.setattr(measured, "random_model", plain)
    monkeypatch.setattr(measured, "load", lambda name, **more: loaded.append(name) or load(name, **more))
    rows = list(state_files(config, tmp_path / "run").rows())
    assert rows[: len(before)] == before and len(rows) == len(before) + len(DTYPES) and loaded == ["small-jrt"]


def test_what_cannot_be_measured_is_refused(config, tmp_path):
    with refused(BadInput, got=TOKENS, allowed=TOKENS - 1):
        FilesConfig(tokens=TOKENS, positions=(TOKENS,), random=()).check()
    with refused(BadInput, got=containing("small-jrt, small-jrt")):
        FilesConfig(recurrent=("small-jrt", "small-jrt")).check()
    with refused(UnknownName, got="mamba9", allowed=containing("mamba2-tiny")):
        FilesConfig(random=("mamba9",)).check()
    with refused(UnknownName, got="rered"):
        FilesConfig(selection="rered", random=()).check()
    with refused(BadInput, naming="fixed size already"):
        state_files(
            FilesConfig(model="small-jrt", tokens=40, positions=(8,), recurrent=(), random=()), tmp_path / "run"
        )
    complained(reread("state-sizes", "--files", "--out", tmp_path / "x", "--set", "dtypes=['fp8']"), "fp8")

"""Training an adapter end to end on a tiny llama: its files, measures, resume, stages and refusals."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from raising import containing, refused
from safetensors.torch import load_file
from typer.testing import CliRunner

import reread
from reread.cli import app
from reread.config import to_dict
from reread.errors import BadCheckpoint, BadInput, MissingData, RereadError, UnknownName
from reread.models.families import TINY
from reread.models.lora import TENSORS, check_adapters, file_sha256, read_manifest
from reread.models.pretrained import load_pretrained
from reread.runlog import Run
from reread.training import reader_trainer as subject
from reread.training.reader_recipe import ReaderConfig, ReaderData
from reread.training.reader_trainer import train_reader

pytest.importorskip("peft", reason="needs the package peft")


@pytest.fixture(scope="module")
def base(tmp_path_factory, byte_tokenizer):
    """A tiny llama that reads bytes, as a folder of transformers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("base") / "tiny"
    torch.manual_seed(0)
    sizes = {**TINY["llama"], "vocab_size": byte_tokenizer.get_vocab_size()}
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes)).save_pretrained(folder)
    byte_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def config(base, tmp_path):
    data = ReaderData(mix={"squadshifts": 1.0}, layouts={"once": 0.8, "twice": 0.2}, longest=200, aside=4)
    return ReaderConfig(
        str(tmp_path / "run"), 6, str(base), step_tokens=300, data=data, rank=2, alpha=4, warmup_steps=2,
        dtype="fp32", threads=1, log_steps=2, save_steps=2, measure_steps=3, measured=6, learning_rate=1e-2,
    )  # fmt: skip


def tensors(out):
    return load_file(f"{out}/adapter/{TENSORS}")


def test_an_adapter_is_trained_measured_written_and_loaded(config, small_data, base):
    summary = train_reader(config, small_data)
    run = Run(subject.Path(config.out))
    measured = [row["measured"] for row in run.rows() if "measured" in row]
    assert len(measured) == 2 and measured[-1]["n"] + measured[-1]["absent_n"] == 6
    assert measured[-1]["loss"] < measured[0]["loss"] and "selected" not in measured[0]
    assert [step for step, _ in summary["loss"]] == [2, 4, 6] and summary["tokens"] > 6 * 200
    folder = subject.Path(config.out) / "adapter"
    assert summary["adapter_sha256"] == file_sha256(folder / TENSORS)
    assert {x.dtype for x in tensors(config.out).values()} == {torch.bfloat16}
    manifest = read_manifest(folder)
    assert manifest.base == (file_sha256(base / "model.safetensors"),) and manifest.template == "reader"
    assert manifest.calibration is None and manifest.recipe["steps"] == 6 and "out" not in manifest.recipe
    check_adapters([folder])
    tuned, plain = reread.load(base, adapter=folder), reread.load(base)
    assert tuned.short_name == "tiny+adapter" and tuned.model.fingerprint != plain.model.fingerprint
    assert train_reader(config, small_data) == run.summary()  # it is done, and nothing is trained again


KEPT = {"full": 0.3, "reread(share=0.5)": 0.4, "keydiff(tokens=16)": 0.3}


@pytest.mark.slow
def test_an_adapter_learns_from_states_of_fixed_size(config, small_data):
    config = replace(config, data=replace(config.data, selections=KEPT), steps=4, measure_steps=2)
    found = train_reader(config, small_data)
    run = Run(subject.Path(config.out))
    measured = [row["measured"] for row in run.rows() if "measured" in row]
    assert [set(one["selected"]) for one in measured] == [set(KEPT) - {"full"}] * 2
    last = {"full": found["measured"]["loss"], **found["measured"]["selected"]}
    assert len(set(last.values())) == 3
    folder = subject.Path(config.out) / "adapter"
    assert read_manifest(folder).recipe["data"]["selections"] == KEPT


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "faster"])
def test_a_killed_run_goes_on_and_gives_the_same_weights(config, small_data, tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(subject, "faster_dtype", lambda *_: ("bf16", {"bf16": 1.0, "fp32": 2.0}))
    config = replace(config, dtype=dtype, data=replace(config.data, selections=KEPT))
    whole = train_reader(replace(config, out=str(tmp_path / "whole")), small_data)

    class Killed(subject.ReaderLog):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                raise KeyboardInterrupt
            super().on_step_end(args, state, control, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(subject, "ReaderLog", Killed)
        with pytest.raises(KeyboardInterrupt):
            train_reader(config, small_data)
    assert not (subject.Path(config.out) / "adapter").exists()
    monkeypatch.setattr(subject, "faster_dtype", lambda *_: ("fp32", {"bf16": 2.0, "fp32": 1.0}))
    cut = train_reader(config, small_data)
    assert cut["dtype"] == whole["dtype"] == ("fp32" if dtype == "fp32" else "bf16")
    assert cut["loss"] == whole["loss"] and cut["adapter_sha256"] == whole["adapter_sha256"]
    want, got = tensors(tmp_path / "whole"), tensors(config.out)
    assert want.keys() == got.keys() and all(torch.equal(want[name], got[name]) for name in want)


PROGRAM = """
import sys
from pathlib import Path
from reread.config import build
from reread.training.reader_recipe import ReaderConfig
from reread.training.reader_trainer import train_reader
import json
train_reader(build(ReaderConfig, json.loads(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_gives_the_same_weights(config, small_data, tmp_path):
    config = replace(config, steps=30, save_steps=3, measure_steps=100, measured=1)
    whole = train_reader(replace(config, out=str(tmp_path / "whole")), small_data)
    command = [sys.executable, "-c", PROGRAM, json.dumps(to_dict(config)), str(small_data)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = subject.Path(config.out) / "checkpoints"
    while not list(checkpoints.glob("checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert not (subject.Path(config.out) / "adapter").exists()
    assert train_reader(config, small_data)["adapter_sha256"] == whole["adapter_sha256"]


@pytest.mark.slow
def test_a_next_stage_begins_with_the_adapter_of_the_one_before(config, small_data, tmp_path):
    train_reader(config, small_data)
    start = f"{config.out}/adapter"
    sha256 = file_sha256(subject.Path(start) / TENSORS)
    next_stage = replace(
        config, out=str(tmp_path / "next"), start_adapter=start, start_sha256=sha256, steps=1, learning_rate=1e-9
    )
    train_reader(next_stage, small_data)
    before, after = tensors(config.out), tensors(next_stage.out)
    assert all(torch.allclose(before[name].float(), after[name].float(), atol=1e-3) for name in before)
    with refused(BadInput, got=containing(sha256), allowed="0" * 64):
        train_reader(replace(next_stage, out=str(tmp_path / "x"), start_sha256="0" * 64), small_data)
    with refused(BadInput, got="rank 2, alpha 4, rslora False", allowed=containing("rank 3")):
        train_reader(replace(next_stage, out=str(tmp_path / "x"), rank=3), small_data)
    manifest = subject.Path(start) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "base": ["0" * 64]}))
    with refused(BadCheckpoint, allowed="0" * 64):
        train_reader(replace(next_stage, out=str(tmp_path / "x")), small_data)
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_trained_is_refused_before_the_folder_is_made(config, small_data, monkeypatch):
    bad: list[tuple[dict, type[RereadError], dict]] = [
        ({"model": "small-jrt"}, BadInput, {"got": "small-jrt"}),
        ({"model": "nothing"}, UnknownName, {"got": "nothing"}),
        ({"data": replace(config.data, mix={"boolq": 1.0})}, MissingData, {"got": containing("boolq")}),
        ({"data": replace(config.data, longest=16, shortest=16)}, BadInput, {"naming": "squadshifts"}),
        ({"data": replace(config.data, aside=10**9)}, BadInput, {"got": containing("0 set aside")}),
    ]
    for changes, error, fields in bad:
        with refused(error, **fields):
            train_reader(replace(config, **changes), small_data)
    monkeypatch.setattr("reread.training.reader_recipe.OFFICE", "reread.training.no_such_module")
    with refused(BadInput, got="office"):
        train_reader(replace(config, data=replace(config.data, mix={"office": 1.0})), small_data)
    assert not subject.Path(config.out).exists()


def test_the_dtype_is_measured_on_copies(base, config):
    from reread.training.reader import ReaderRows
    from reread.training.reader_sources import Asked, AskedDocument

    model = load_pretrained(base).model
    rows = ReaderRows(reread.load(base).tokenizer, config, {})
    row = rows.row(AskedDocument("x", "A text of words. " * 6, (Asked("What?", None),)), "once", 200)
    found, seconds = subject.faster_dtype(model, {0: row})
    assert found in seconds and min(seconds, key=seconds.get) == found and model.dtype == torch.float32


def test_the_command_trains_a_recipe_of_this_kind(base, small_data, tmp_path):
    recipe = tmp_path / "reader.toml"
    recipe.write_text(
        f'kind = "reader"\nout = "{tmp_path}/run"\nmodel = "{base}"\nsteps = 500\nstep_tokens = 200\nrank = 2\n'
        'dtype = "fp32"\nmeasured = 2\n[data]\nlongest = 200\naside = 4\n'
        "mix = { squadshifts = 1.0 }\nlayouts = { once = 1.0 }\n"
    )
    command = ["train", str(recipe), "--data", str(small_data), "--json", "--set", "steps=1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["steps"] == 1
    for setting, got in (("stepps=3", "stepps"), ("data.lenght=3", "lenght")):
        with refused(UnknownName, got=got):
            CliRunner().invoke(app, [*command, "--set", setting], catch_exceptions=False)
    recipe.write_text('kind = "readers"\n')
    with refused(BadInput, got=recipe):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_the_recipe_in_the_repository_is_one():
    from reread.config import build, read_toml

    path = subject.Path(__file__).parents[2] / "recipes" / "reader.toml"
    given = read_toml(path)
    assert given.pop("kind") == "reader"
    made = build(ReaderConfig, given)
    made.check()
    assert 0.7e6 < made.steps * made.step_tokens < 0.9e6

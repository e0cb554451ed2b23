"""Training end to end on a small data folder: it learns, logs, stops and goes on."""

import json
import signal
import subprocess
import sys
import time
import types

import pytest
import torch
from in_process import interruptible
from raising import containing, refused
from safetensors.torch import load_file

from reread.errors import BadInput, MissingData, UnknownName
from reread.models import load
from reread.runlog import Run
from reread.training import trainer as subject
from reread.training.data import DataConfig, EpisodeRows, Stage, collate
from reread.training.episodes import Episode
from reread.training.trainer import OptimConfig, TrainConfig, recall, train

MODEL = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "feature_dim": 4,
    "window": 8,
    "mixers": ["conv", "linear", "window"],
}


def config(out, steps=6, **changes) -> TrainConfig:
    base = {
        "out": str(out),
        "stages": (Stage(steps - 2, 64, 2), Stage(2, 96, 1)),
        "model": MODEL,
        "data": DataConfig(characters=50_000, set_aside=5),
        "optim": OptimConfig(warmup_steps=2),
        "bf16": False,
        "threads": 1,
        "log_steps": 2,
        "recall_steps": 4,
        "save_steps": 4,
    }
    return TrainConfig(**{**base, **changes})


def weights(out):
    return load_file(out / "model" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("muon", [0.0, 0.02])
def test_a_killed_run_goes_on_and_gives_the_same_weights(small_data, tmp_path, monkeypatch, muon):
    optim = OptimConfig(warmup_steps=2, muon_learning_rate=muon)
    train(config(tmp_path / "whole", optim=optim), small_data)

    class Killed(subject.LogCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                raise KeyboardInterrupt
            super().on_step_end(args, state, control, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(subject, "LogCallback", Killed)
        with pytest.raises(KeyboardInterrupt):
            train(config(tmp_path / "cut", optim=optim), small_data)
    assert not (tmp_path / "cut" / "done.json").exists()
    assert not (tmp_path / "cut" / "model").exists()
    train(config(tmp_path / "cut", optim=optim), small_data)
    cut_rows, whole_rows = list(Run(tmp_path / "cut").rows()), list(Run(tmp_path / "whole").rows())
    for rows in (cut_rows, whole_rows):
        assert [row.pop("tokens_per_second") for row in rows if "next" in row]
    assert cut_rows == whole_rows
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    for name in whole:
        assert torch.equal(whole[name], cut[name]), name


def test_the_run_folder_holds_losses_recall_and_a_summary(small_data, tmp_path):
    summary = train(config(tmp_path / "run"), small_data)
    rows = [json.loads(line) for line in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "next" in r] == [2, 4, 6]
    assert any(r.get("recall", {}).keys() == {"fda", "questions", "forms"} for r in rows)
    assert summary["tokens"] == 4 * 64 * 2 + 2 * 96
    assert load(str(tmp_path / "run")).model.noncausal_prefix


def test_the_loss_that_is_trained_weighs_masked_tokens_as_told(small_data, tmp_path, monkeypatch):
    seen = []

    class Spy(subject.LogCallback):
        def add(self, loss, tokens):
            seen.append((float(loss.total.detach()), float(loss.next.detach()), float(loss.masked.detach())))
            super().add(loss, tokens)

    monkeypatch.setattr(subject, "LogCallback", Spy)
    for weight in (0.25, 2.0):
        seen.clear()
        train(config(tmp_path / str(weight), masked_weight=weight), small_data)
        assert any(masked > 0 for _, _, masked in seen)
        for total, next_, masked in seen:
            assert total == pytest.approx(next_ + weight * masked, rel=1e-5)


def test_every_setting_of_the_optimiser_reaches_the_trainer(tmp_path):
    spec = OptimConfig(learning_rate=0.003, final_share=0.125, warmup_steps=7, weight_decay=0.25, beta2=0.75, clip=0.5)
    given = subject.arguments(config(tmp_path, optim=spec), 20)
    assert (given.learning_rate, given.lr_scheduler_kwargs) == (0.003, {"min_lr_rate": 0.125})
    assert (given.warmup_steps, given.weight_decay, given.adam_beta2, given.max_grad_norm) == (7, 0.25, 0.75, 0.5)
    assert (given.max_steps, given.save_steps) == (20, 4)


def test_the_loss_falls(small_data, tmp_path):
    spec = config(tmp_path / "run", steps=62, optim=OptimConfig(learning_rate=1e-2, warmup_steps=5), log_steps=20)
    train(spec, small_data)
    rows = [json.loads(line) for line in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()]
    next_losses = [r["next"] for r in rows if "next" in r]
    assert next_losses[-1] < 0.75 * next_losses[0]


def test_one_flag_makes_the_causal_twin(small_data, tmp_path):
    train(config(tmp_path / "twin", model={**MODEL, "prefix_encoder": False}), small_data)
    assert not load(str(tmp_path / "twin")).model.noncausal_prefix


def test_a_run_folder_of_another_configuration_is_refused(small_data, tmp_path):
    train(config(tmp_path / "run"), small_data)
    with refused(BadInput, got=f"seed 0 in {tmp_path / 'run'}", allowed="1"):
        train(config(tmp_path / "run", seed=1), small_data)


@pytest.mark.slow
def test_training_goes_on_from_given_weights(small_data, tmp_path):
    train(config(tmp_path / "first"), small_data)
    still = OptimConfig(warmup_steps=0, learning_rate=0.0, weight_decay=0.0)
    more = config(tmp_path / "more", model={}, start=str(tmp_path / "first"), optim=still)
    train(more, small_data)
    before, after = weights(tmp_path / "first"), weights(tmp_path / "more")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert Run(tmp_path / "more").summary()["start_fingerprint"] == load(str(tmp_path / "first")).model.fingerprint
    moved = config(tmp_path / "moved", model={}, start=str(tmp_path / "first"))
    train(moved, small_data)
    assert any(not torch.equal(before[name], value) for name, value in weights(tmp_path / "moved").items())


def test_what_training_cannot_go_on_from_is_refused(small_data, tmp_path, model_folder):
    from reread.models.families import tiny

    with refused(BadInput, got="start beside model"):
        train(config(tmp_path / "run", start="small-jrt"), small_data)
    with refused(UnknownName, got="none/here", naming="model"):
        train(config(tmp_path / "run", start="none/here", model={}), small_data)
    tiny("mamba").model.save_pretrained(tmp_path / "mamba")
    with refused(BadInput, got=tmp_path / "mamba"):
        train(config(tmp_path / "run", start=str(tmp_path / "mamba"), model={}), small_data)
    train(config(tmp_path / "first", model={**MODEL, "max_prefix": 96}), small_data)
    longer = config(tmp_path / "run", start=str(tmp_path / "first"), model={}, stages=(Stage(1, 128, 1),))
    with refused(BadInput, got="128 tokens", allowed="max_prefix, 96"):
        train(longer, small_data)
    assert not (tmp_path / "run").exists()


def test_a_run_that_began_before_a_setting_was_there_goes_on(small_data, tmp_path):
    train(config(tmp_path / "run"), small_data)
    header = Run(tmp_path / "run").header()
    assert "start" not in header["config"]  # as runs of then
    before = (tmp_path / "run" / "header.json").read_bytes()
    train(config(tmp_path / "run"), small_data)
    assert (tmp_path / "run" / "header.json").read_bytes() == before
    with refused(BadInput, got=f"model.hidden_size 32 in {tmp_path / 'run'}"):
        train(config(tmp_path / "run", model={}, start="small-jrt"), small_data)


def test_a_refused_source_leaves_the_folder_free_for_another_setting(small_data, tmp_path):
    for _ in range(2):
        with refused(BadInput, got="50 documents, 50 set aside"):
            train(config(tmp_path / "run", data=DataConfig(characters=50_000, set_aside=50)), small_data)
    train(config(tmp_path / "run"), small_data)
    assert Run(tmp_path / "run").done


def test_missing_data_is_said_with_the_path(tmp_path):
    with refused(MissingData, got=containing(tmp_path / "nowhere" / "fda_510k")):
        train(config(tmp_path / "run"), tmp_path / "nowhere")


def start(small_data, out, steps):
    """`reread train` as a process of its own, with a small model."""
    recipe = out.parent / "recipe.toml"
    recipe.write_text(
        f'out = "{out}"\nstages = [{{ steps = {steps}, tokens = 96, rows = 2 }}]\nthreads = 1\nsave_steps = 5\n'
        "log_steps = 5\n[data]\ncharacters = 50000\nset_aside = 5\n[model]\nhidden_size = 32\n"
        'intermediate_size = 32\nnum_attention_heads = 2\nfeature_dim = 4\nwindow = 8\nmixers = ["conv", "linear"]\n'
    )
    command = [sys.executable, "-m", "reread", "train", str(recipe), "--data", str(small_data)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )


def wait_for_rows(out, process):
    for _ in range(600):
        if process.poll() is not None:
            raise AssertionError(process.stderr.read())
        if (out / "rows.jsonl").exists() and (out / "rows.jsonl").read_text().count("\n") >= 2:
            return
        time.sleep(0.1)
    raise AssertionError("no rows after a minute")


@pytest.mark.slow
def test_ctrl_c_is_one_sentence_and_leaves_nothing_that_looks_whole(small_data, tmp_path):
    out = tmp_path / "run"
    process = start(small_data, out, steps=100_000)
    wait_for_rows(out, process)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "reread: stopped; " in errors and "goes on from it" in errors
    assert not (out / "done.json").exists() and not (out / "model").exists()


@pytest.mark.slow
def test_a_run_killed_outright_goes_on(small_data, tmp_path):
    out = tmp_path / "run"
    process = start(small_data, out, steps=40)
    wait_for_rows(out, process)
    process.kill()
    process.communicate(timeout=60)
    assert not (out / "done.json").exists()
    again = start(small_data, out, steps=40)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert [row["step"] for row in Run(out).rows() if "next" in row] == list(range(5, 41, 5))


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"model": {**MODEL, "hiden_size": 8}}, {"got": "hiden_size", "todo": containing("hidden_size")}),
        ({"model": {**MODEL, "hidden_size": 33}}, {"got": "33 and 2", "naming": "num_attention_heads"}),
        ({"stages": ()}, {"naming": "stage"}),
        ({"stages": (Stage(1, 64, 0),)}, {"got": containing("rows=0"), "naming": "stage"}),
        ({"stages": (Stage(1, 64, 1, {"form": 1.0}),)}, {"got": "form", "todo": containing("forms")}),
        ({"data": DataConfig(mix={"form": 1.0})}, {"got": "form", "todo": containing("forms")}),
        ({"data": DataConfig(mix={})}, {"got": "{}", "naming": "data.mix"}),
        ({"data": DataConfig(layouts={"tvice": 1.0})}, {"got": "tvice", "todo": containing("twice")}),
        ({"data": DataConfig(mask_rate=1.5)}, {"got": 1.5, "allowed": "0 to 1", "naming": "mask_rate"}),
        ({"data": DataConfig(set_aside=0)}, {"got": 0, "naming": "set_aside"}),
        ({"log_steps": 0}, {"got": 0, "naming": "log_steps"}),
        ({"model": {"max_prefix": 16}}, {"got": "96 tokens", "allowed": "max_prefix, 16"}),
    ],
)
def test_a_refused_configuration_leaves_no_run_folder(small_data, tmp_path, changes, fields):
    with refused(UnknownName if "todo" in fields else BadInput, **fields):
        train(config(tmp_path / "run", **changes), small_data)
    assert not (tmp_path / "run").exists()


def test_training_computes_where_it_is_told_with_and_without_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "TrainingArguments", types.SimpleNamespace)  # transformers' own would look for a GPU
    for here in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda here=here: here)
        monkeypatch.delenv("REREAD_DEVICE", raising=False)
        assert subject.arguments(config(tmp_path), 1).use_cpu
        monkeypatch.setenv("REREAD_DEVICE", "cuda")
        assert not subject.arguments(config(tmp_path), 1).use_cpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("REREAD_DEVICE", "cuda")
    with refused(BadInput, got="cuda"):
        train(config(tmp_path / "run"), tmp_path)
    monkeypatch.setenv("REREAD_DEVICE", "meta")  # torch knows it, the trainer does not
    with refused(BadInput, got="meta", allowed="cpu, cuda"):
        train(config(tmp_path / "run"), tmp_path)
    assert not (tmp_path / "run").exists()


class CopiesAllButOne(torch.nn.Module):
    """Gives every target but the first of answer `wrong` of row 0."""

    device = torch.device("cpu")

    def __init__(self, rows, wrong):
        super().__init__()
        self.columns, self.wrong = collate(rows), wrong

    def forward(self, tokens, prefix_lengths, logits_at):
        targets = self.columns["targets"].clone()
        place = (self.columns["answer"][0] == self.wrong).nonzero()[0]
        targets[0, place] += 1
        logits = torch.nn.functional.one_hot(targets[logits_at], 300).float()
        return types.SimpleNamespace(logits=logits)


def test_recall_counts_whole_answers(byte_tokenizer):
    make = EpisodeRows(byte_tokenizer, DataConfig(), None)
    episode = Episode("Colour: red\nShape: round\n", (("Colour", "red"), ("Shape", "round")), "field")
    rows = [make.row(episode, "once", 96) for _ in range(3)]
    assert recall(CopiesAllButOne(rows, 2), rows) == {"right": 5, "of": 6}

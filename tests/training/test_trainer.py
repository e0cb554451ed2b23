"""Training end to end on a small data folder: it learns, logs, stops and goes on."""

import json

import pytest
import torch
from safetensors.torch import load_file

from reread.errors import BadInput, MissingData
from reread.models import load
from reread.training import trainer as subject
from reread.training.data import DataConfig, Stage
from reread.training.trainer import OptimConfig, TrainConfig, train

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
        "save_steps": 3,
    }
    return TrainConfig(**{**base, **changes})


def weights(out):
    return load_file(out / "model" / "model.safetensors")


def test_a_killed_run_goes_on_and_gives_the_same_weights(small_data, tmp_path, monkeypatch):
    train(config(tmp_path / "whole"), small_data)

    class Killed(subject.LogCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                raise KeyboardInterrupt
            super().on_step_end(args, state, control, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(subject, "LogCallback", Killed)
        with pytest.raises(KeyboardInterrupt):
            train(config(tmp_path / "cut"), small_data)
    assert not (tmp_path / "cut" / "done.json").exists()
    assert not (tmp_path / "cut" / "model").exists()
    train(config(tmp_path / "cut"), small_data)
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
    with pytest.raises(BadInput, match="another configuration"):
        train(config(tmp_path / "run", seed=1), small_data)


def test_missing_data_is_said_with_the_path(tmp_path):
    with pytest.raises(MissingData, match="fda510k-00"):
        train(config(tmp_path / "run"), tmp_path / "nowhere")

"""A cell of a synthetic experiment: what it draws, trains, chooses, and how it goes on after a stop."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import interruptible
from raising import containing, refused

from reread.config import build, to_dict
from reread.errors import BadInput, UnknownName
from reread.experiment import cells_of, run_experiment
from reread.grid import read_recipe
from reread.models.prefix_lm import PrefixLMForCausalLM, state_bytes
from reread.report.experiments import write_experiment_report
from reread.training import synthetic
from reread.training.synthetic import (
    SyntheticConfig,
    answers,
    best,
    chosen_tests,
    draw,
    fresh,
    scheduled,
    train_synthetic,
    training_batch,
)

RECIPES = Path(__file__).parent.parent.parent / "recipes"
TINY = {
    "train_sizes": ((2, 3), (3, 2)), "test_sizes": ((2, 3), (3, 2), (2, 6)), "vocabulary": 24, "hidden_size": 16,
    "intermediate_size": 16, "layers": 2, "learning_rates": (1e-2, 3e-3), "batch": 8, "steps": 4, "eval_steps": 2,
    "validation_samples": 20, "test_samples": 70, "bf16": False,
}  # fmt: skip


def tiny(**changes):
    return build(SyntheticConfig, {**TINY, **changes})


@pytest.mark.parametrize("reading", synthetic.READINGS)
@pytest.mark.parametrize("task, size", [("sets", (2, 3)), ("mqar", (2, 10))])
def test_a_run_has_a_row_per_look_and_per_test_size(reading, task, size, tmp_path):
    told = []
    config = tiny(task=task, reading=reading, train_sizes=(size,), test_sizes=(size,), vocabulary=32)
    run = train_synthetic(config, tmp_path / "cell", lambda *args: told.append(args))
    rows, asked = list(run.rows()), {"sets": 1, "mqar": 2}[task]
    assert [(r["what"], r["learning_rate"], r["step"]) for r in rows] == [
        ("validation", 1e-2, 2), ("validation", 1e-2, 4), ("test", 1e-2, 4),
        ("validation", 3e-3, 2), ("validation", 3e-3, 4), ("test", 3e-3, 4),
    ]  # fmt: skip
    test = rows[2]
    assert (test["first"], test["second"], test["n"], test["trained"]) == (*size, 70 * asked, True)
    assert test["accuracy"] == test["correct"] / test["n"]
    assert run.header()["config"] == to_dict(config) and run.header()["kind"] == "synthetic"
    summary = run.summary()
    assert summary["rows"] == 6 and summary["learning_rate"] in (1e-2, 3e-3)
    assert summary["parameters"] == sum(p.numel() for p in PrefixLMForCausalLM(config.model()).parameters())
    assert told == [(f"learning rate {rate}", done, 4) for rate in ("0.01", "0.003") for done in (0, 2, 4)]


def test_a_killed_run_goes_on_with_the_learning_rates_that_are_whole(tmp_path, monkeypatch):
    config = tiny()
    whole = train_synthetic(config, tmp_path / "whole")
    rows = [{**row, "seconds": 0} for row in whole.rows()]
    killed = train_synthetic(config, tmp_path / "killed")
    (killed.folder / "done.json").unlink()
    lines = (killed.folder / "rows.jsonl").read_text().splitlines(keepends=True)
    (killed.folder / "rows.jsonl").write_text(
        "".join(lines[:-1]) + lines[-1][:20]
    )  # one test is missing, one line torn
    trained = []
    one = synthetic.train_one
    monkeypatch.setattr(synthetic, "train_one", lambda m, c, rate: (trained.append(rate), one(m, c, rate))[1])
    again = train_synthetic(config, tmp_path / "killed")
    assert trained == [3e-3]
    assert [{**row, "seconds": 0} for row in again.rows()] == rows
    assert again.summary()["learning_rate"] == whole.summary()["learning_rate"]
    train_synthetic(config, tmp_path / "killed")
    assert trained == [3e-3]


@pytest.mark.slow
def test_a_process_that_is_killed_or_interrupted_leaves_a_folder_that_goes_on(tmp_path):
    code = (
        "import sys, torch; from pathlib import Path; from reread.config import build;"
        "from reread.training.synthetic import SyntheticConfig, train_synthetic; torch.set_num_threads(1);"
        f"train_synthetic(build(SyntheticConfig, {dict(TINY, steps=400, eval_steps=1)!r}), Path(sys.argv[1]))"
    )
    rows, written = tmp_path / "cell" / "rows.jsonl", 0
    for number in (signal.SIGKILL, signal.SIGINT):
        words = [sys.executable, "-c", code, str(tmp_path / "cell")]
        child = subprocess.Popen(words, stderr=subprocess.DEVNULL, preexec_fn=interruptible)
        before, deadline = 0, time.monotonic() + 60
        while time.monotonic() < deadline and before < 3 and child.poll() is None:
            if rows.exists() and rows.stat().st_mtime_ns != written:  # by this process, which is well under way then
                before = rows.read_text().count("\n")
            time.sleep(0.02)
        written = rows.stat().st_mtime_ns
        child.send_signal(number)
        assert child.wait(timeout=60) in (-number, 1, 130) and before >= 3
    assert not (tmp_path / "cell" / "done.json").exists()
    config = tiny(steps=400, eval_steps=1)
    assert to_dict(config) == json.loads((tmp_path / "cell" / "header.json").read_text())["config"]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    def accuracies(name, **changes):
        run = train_synthetic(tiny(**changes), tmp_path / name)
        return [(r.get("loss"), r["accuracy"]) for r in run.rows()]

    assert accuracies("a") == accuracies("b")
    assert accuracies("a") != accuracies("c", seed=1)


def test_training_validation_and_test_are_different_draws_and_samples_come_again_when_spent():
    config = tiny(samples=16)
    streams = [draw(config, stream, (3, 2), 8).tokens for stream in synthetic.STREAMS]
    assert all((a != b).any() for a, b in zip(streams, [*streams[1:], streams[0]], strict=True))
    batches = [training_batch(config, step).tokens for step in range(8)]
    assert [b.shape[1] for b in batches[:2]] == [8, 8] and (batches[0] != batches[2]).any()
    assert all((a == b).all() for a, b in zip(batches[:4], batches[4:], strict=True))
    endless = [training_batch(tiny(), step).tokens for step in (0, 4)]
    assert (endless[0] != endless[1]).any()


def test_the_first_steps_hold_the_first_sizes_and_then_the_others_begin():
    config = tiny(first_sizes=((1, 2),), first_steps=2, steps=8)
    lengths = [training_batch(config, step).tokens.shape[1] for step in range(6)]
    assert lengths == [6, 6, 8, 8, 8, 8]
    assert (training_batch(config, 2).tokens == training_batch(tiny(), 0).tokens).all()


def test_every_learning_rate_starts_from_the_same_weights_and_nothing_else_is_disturbed():
    state = torch.get_rng_state()
    one, other = fresh(tiny()), fresh(tiny())
    assert all((a == b).all() for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert (torch.get_rng_state() == state).all()
    assert any((a != b).any() for a, b in zip(one.parameters(), fresh(tiny(seed=1)).parameters(), strict=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv("REREAD_DEVICE", "cuda")
    with refused(BadInput, got="cuda"):
        train_synthetic(tiny(), tmp_path / "cell")
    assert not (tmp_path / "cell").exists()


def test_a_model_computes_where_it_is_told_even_beside_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("REREAD_DEVICE", "meta")
    assert fresh(tiny()).device.type == "meta"


def test_only_the_prefix_encoder_sees_what_comes_later():
    def answer_to(reading, change):
        config = tiny(reading=reading, bf16=False, initializer_range=0.5)
        model, symbols = fresh(config), draw(config, "test", (3, 2), 4)
        tokens = symbols.tokens.copy()
        tokens[:, change] = 9
        at = synthetic.Symbols(
            tokens, np.where(np.arange(tokens.shape[1]) == 2, 5, -100) + 0 * tokens, symbols.prefix_len
        )
        return answers(model, config, at)[0]

    assert torch.equal(answer_to("causal", 6), answer_to("causal", 5))
    assert not torch.allclose(answer_to("jrt", 6), answer_to("jrt", 5))
    assert torch.equal(answer_to("jrt", 7), answer_to("jrt", slice(0)))  # behind the prefix, behind what is asked


def test_training_stops_when_every_size_is_learnt(tmp_path):
    run = train_synthetic(tiny(stop_at=0.0), tmp_path / "cell")
    assert [r["step"] for r in run.rows() if r["what"] == "validation"] == [2, 2]


@pytest.mark.parametrize(
    "mixer", ["linear", "delta", *(pytest.param(name, marks=pytest.mark.slow) for name in ("retention", "gla"))]
)
def test_a_small_task_is_learnt(mixer, tmp_path):
    config = tiny(
        mixer=mixer, pattern=("conv", "mixer"), task="mqar", train_sizes=((2, 8),), test_sizes=(), vocabulary=16,
        hidden_size=32, heads=1, feature_dim=8, steps=250, eval_steps=50, batch=32, learning_rates=(1e-2,),
        validation_samples=64, stop_at=0.9,
    )  # fmt: skip
    run = train_synthetic(config, tmp_path / "cell")
    chance = 1 / 8
    assert next(r for r in run.rows() if r["what"] == "test")["accuracy"] > 4 * chance


def test_the_best_learning_rate_is_that_of_the_validation_not_of_the_test():
    def row(what, rate, accuracy, **more):
        return {"what": what, "learning_rate": rate, "accuracy": accuracy, "loss": 1.0, "last": True, **more}

    rows = [row("validation", 1, 0.5), row("test", 1, 0.9), row("validation", 2, 0.7), row("test", 2, 0.1)]
    assert best(rows) == 2
    assert best([*rows, row("validation", 3, 0.7, loss=0.5), row("validation", 1, 0.99, last=False)]) == 3


def test_the_summary_says_what_the_order_costs_at_sizes_of_training_and_at_others():
    def row(first, second, accuracy, trained=True, rate=1):
        told = {"what": "test", "learning_rate": rate, "accuracy": accuracy, "trained": trained}
        return {**told, "first": first, "second": second, "order": synthetic.order((first, second))}

    rows = [row(2, 8, 0.9), row(8, 2, 0.7), row(3, 9, 0.5), row(9, 3, 0.1), row(4, 4, 0.6), row(8, 2, 0, rate=2)]
    found = chosen_tests([*rows, row(2, 20, 0.3, trained=False)], 1)
    assert {key: round(value, 6) for key, value in found.items()} == {
        "trained": 0.56, "trained_short_first": 0.7, "trained_long_first": 0.4, "trained_gap": 0.3, "untrained": 0.3,
    }  # fmt: skip


def test_state_bytes_are_those_of_the_sums_and_the_convolutions():
    config = tiny(layers=2, heads=2, feature_dim=2, key_conv=3, hidden_size=16)
    F, V = 1 + 2 + 3, 8
    linear, taps, conv = 2 * (F * V + F), 2 * 2 * 2, 2 * 2 * 16
    assert state_bytes(fresh(config)) == 4 * (linear + taps + conv)


def test_the_schedule_warms_up_and_ends_at_its_share():
    config = tiny(steps=100, warmup_steps=10)
    shares = [scheduled(config, step) for step in range(100)]
    assert shares[0] == pytest.approx(0.1, abs=0.01) and max(shares) > 0.97
    assert shares[-1] == pytest.approx(synthetic.FINAL_SHARE, abs=0.01)


def test_mistakes_are_one_sentence(tmp_path):
    for changes, error, fields in (
        ({"task": "set"}, UnknownName, {"got": "set", "todo": containing("sets")}),
        ({"reading": "three times"}, UnknownName, {"got": "three times", "allowed": "causal, jrt, twice"}),
        ({"mixer": "lineer"}, UnknownName, {"got": "lineer", "todo": containing("linear")}),
        ({"samples": 4}, BadInput, {"got": "samples 4, batch 8"}),
        ({"learning_rates": ()}, BadInput, {"got": "[], muon 7.0"}),
        ({"learning_rates": (1e-3, 1e-3)}, BadInput, {"got": [0.001, 0.001], "naming": "learning rate"}),
        ({"test_sizes": ((2, 400),)}, BadInput, {"got": containing("2 and 400")}),
        ({"train_sizes": ((2, 3, 4),)}, BadInput, {"got": ((2, 3, 4),), "naming": "sizes"}),
        ({"first_steps": 2}, BadInput, {"got": "first_steps 2, 0 first_sizes, steps 4"}),
        ({"first_steps": 4, "first_sizes": ((1, 2),)}, BadInput, {"got": "first_steps 4, 1 first_sizes, steps 4"}),
        ({"feature_map": "tailor"}, UnknownName, {"got": "tailor", "naming": "feature map"}),
    ):
        with refused(error, **fields):
            train_synthetic(tiny(**changes), tmp_path / "cell")
        assert not (tmp_path / "cell").exists()


@pytest.mark.parametrize("scale", ["", "smoke", "cpu", "h100"])
@pytest.mark.parametrize("name", ["order", "mqar", "law", "law_trained"])
def test_every_scale_of_the_recipes_can_be_run(name, scale, tmp_path):
    recipe = read_recipe(RECIPES / f"{name}.toml", scale)
    assert recipe.kind in ("synthetic", "law") and len(cells_of(recipe, tmp_path)) >= 2


@pytest.mark.slow
def test_the_smoke_scale_of_the_order_runs_through_and_draws_its_figure(tmp_path):
    recipe = read_recipe(RECIPES / "order.toml", "smoke", ["steps=2", "first_steps=1", "eval_steps=2", "reading=jrt"])
    outcome = run_experiment(recipe, tmp_path / "out")
    assert len(outcome.done) == 1 and not outcome.failed
    text = write_experiment_report(tmp_path / "out").read_text()
    assert "| jrt | small | 928 | 1 |" in text
    assert "jrt, long set first" in (tmp_path / "out" / "figure.svg").read_text()

"""A cell that trains and measures: its rows, and what a stop between or inside its parts keeps."""

import math
import shutil
from pathlib import Path

import pytest
from raising import refused

from reread.config import build, merge
from reread.errors import BadInput
from reread.experiment import run_experiment
from reread.grid import read_recipe
from reread.report.experiments import experiment_report, experiment_tables
from reread.runlog import Run
from reread.train_and_eval import TrainAndEvalConfig, train_and_eval

RECIPE = """
kind = "train_and_eval"
[settings.train]
out = "train"
bf16 = false
threads = 1
log_steps = 2
stages = [{ steps = 4, tokens = 64, rows = 2 }]
data.characters = 50_000
data.set_aside = 5
model.hidden_size = 32
model.intermediate_size = 32
model.num_attention_heads = 2
model.feature_dim = 4
model.mixers = ["conv", "linear"]
[settings.eval]
tasks = ["forms-8"]
budgets = [64]
limit = 5
batch = 1
max_new_tokens = 2
[settings.perplexity]
texts = ["wiki"]
limit = 2
[settings]
speed = { tokens = 8, rows = 1, rounds = 1 }
[grid]
train.seed = [0, 1]
[together]
map = [
    { label = "taylor", train.model.feature_map = "taylor" },
    { label = "relu", train.model.feature_map = "relu" },
]
[table]
rows = ["map", "strategy"]
values = [
    { name = "forms", field = "contains", where = { what = "recall", task = "forms-8" }, times = 100 },
    { name = "perplexity", field = "perplexity", where = { what = "perplexity", text = "all" } },
    { name = "state", field = "summary.state_bytes", digits = 0 },
]
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "maps.toml").write_text(RECIPE)
    return read_recipe(tmp_path / "maps.toml", "", ["train.seed=1"])


def rows(out):
    """All but what a clock says."""
    return [
        {key: value for key, value in row.items() if not key.endswith("per_second")}
        for row in Run(out).rows()
        if row["what"] != "speed"
    ]


@pytest.mark.slow
def test_a_cell_stopped_in_its_midst_gives_the_rows_of_one_that_was_not(recipe, valid_data, tmp_path, monkeypatch):
    labels, settings = next(recipe.cells())
    config = build(TrainAndEvalConfig, settings)
    told = []
    whole = train_and_eval(config, valid_data, tmp_path / "whole", progress=lambda *one: told.append(one))
    assert labels == {"train.seed": 1, "map": "taylor"} and whole.done
    assert told[:2] == [("training", 0, 1), ("tokens trained on", 0, 512)]
    assert [done for what, done, _ in told if what == "tokens trained on"] == [0, 128, 256, 384, 512]

    def stop(what, done, total):
        if "/twice/" in what and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_and_eval(config, valid_data, tmp_path / "cut", progress=stop)
    assert not Run(tmp_path / "cut").done
    monkeypatch.chdir(tmp_path)
    again = train_and_eval(config, valid_data, Path("cut"))  # the same folder, named in another way
    assert rows(again.folder) == rows(whole.folder)
    found = {(row["what"], row.get("strategy", row.get("text"))): row for row in whole.rows()}
    assert found["recall", "once"]["n"] == found["recall", "twice"]["n"] == 5
    assert found["recall", "once"]["contains"] in {0, 1 / 5, 2 / 5, 3 / 5, 4 / 5, 1}
    nats = list(Run(whole.folder / "perplexity").rows())
    expected = math.exp(-sum(row["nats"] for row in nats) / sum(row["tokens"] for row in nats))
    assert found["perplexity", "all"]["perplexity"] == pytest.approx(expected)
    assert 1000 < expected < 20_000  # next to untrained, of 8192 tokens
    assert 2 < found["perplexity", "all"]["bits_per_byte"] < 13
    assert found["speed", None]["read_tokens_per_second"] > 0
    # one linear layer: S of 2 heads, F = 15, V = 16, and z; the convolution's 2 inputs of 64 channels; float32
    assert whole.summary()["state_bytes"] == 4 * (2 * 15 * 17 + 2 * 64)
    assert (whole.folder / "train" / "model").is_dir() and not (whole.folder / "train" / "checkpoints").exists()


@pytest.mark.slow
def test_cells_of_one_training_train_once_and_end_in_a_table(valid_data, tmp_path):
    """Two that start together: one trains, the other waits for it; rows as of a cell on its own."""
    (tmp_path / "prefill.toml").write_text(
        RECIPE[: RECIPE.index("[grid]")]
        + '[grid]\ntrain.seed = [1]\neval.prefill = ["no_pad", "left_pad"]\n'
        + RECIPE[RECIPE.index("[table]") :].replace('"map"', '"eval.prefill"')
    )
    recipe, out = read_recipe(tmp_path / "prefill.toml", "", ["train.model.max_prefix=64"]), tmp_path / "out"
    outcome = run_experiment(recipe, out, data=valid_data, jobs=2)
    assert len(outcome.done) == 2 and not outcome.failed
    assert len(list(out.glob("*/train/model"))) == 1
    lines = experiment_tables(out)["lines"]
    assert [line["key"] for line in lines] == [
        {"eval.prefill": prefill, "strategy": strategy}
        for prefill in ("no_pad", "left_pad")
        for strategy in ("once", "twice")
    ]
    assert "| no_pad | once | 1 |" in experiment_report(out)
    for _, settings in recipe.cells():
        alone = train_and_eval(build(TrainAndEvalConfig, settings), valid_data, tmp_path / settings["eval"]["prefill"])
        assert (alone.folder / "train" / "model").is_dir()
        assert rows(next(out.glob(f"*{alone.folder.name}*"))) == rows(alone.folder)


@pytest.mark.slow
def test_a_training_whose_weights_did_not_travel_is_begun_anew(recipe, valid_data, tmp_path):
    """As a stopped cell comes back to a lent machine."""
    _, settings = next(recipe.cells())
    config = build(TrainAndEvalConfig, settings)
    cell = train_and_eval(config, valid_data, tmp_path / "cell").folder
    before = rows(cell)
    (cell / "done.json").unlink()
    shutil.rmtree(cell / "train" / "model")
    again = train_and_eval(config, valid_data, cell)
    assert again.done and rows(cell) == before and (cell / "train" / "model" / "config.json").is_file()


@pytest.mark.slow
def test_a_cell_that_was_moved_goes_on(recipe, valid_data, tmp_path):
    _, settings = next(recipe.cells())
    config = build(TrainAndEvalConfig, settings)
    before = rows(train_and_eval(config, valid_data, tmp_path / "cell").folder)
    (tmp_path / "cell" / "done.json").unlink()
    (tmp_path / "cell").rename(tmp_path / "moved")
    weights = (tmp_path / "moved" / "train" / "model" / "model.safetensors").stat().st_mtime_ns
    assert rows(train_and_eval(config, valid_data, tmp_path / "moved").folder) == before
    assert (tmp_path / "moved" / "train" / "model" / "model.safetensors").stat().st_mtime_ns == weights


def test_wrong_settings_are_refused_before_training(recipe, valid_data, tmp_path):
    _, settings = next(recipe.cells())
    config = build(TrainAndEvalConfig, merge(settings, {"eval": {"limit": -1}}))
    with refused(BadInput, got=-1, naming="limit"):
        train_and_eval(config, valid_data, tmp_path / "cell")
    assert not (tmp_path / "cell").exists()

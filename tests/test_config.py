"""Recipes and overrides."""

from dataclasses import dataclass, field

import pytest
from raising import containing, refused

from reread.config import at_least, build, each_once, merge, overrides, read_toml, to_dict
from reread.errors import BadInput, UnknownName


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    name: str = "x"


@dataclass(frozen=True)
class Outer:
    out: str
    steps: int = 3
    inner: Inner = field(default_factory=Inner)
    stages: tuple[Inner, ...] = ()
    mix: dict[str, float] = field(default_factory=dict)


def test_nested_values_and_overrides_reach_their_place():
    data = merge({"out": "a", "inner": {"rate": 2}}, overrides(["inner.name=hello", "steps=7", "mix.text=0.5"]))
    config = build(Outer, data)
    assert config == Outer("a", 7, Inner(2.0, "hello"), (), {"text": 0.5})


def test_lists_of_tables():
    assert build(Outer, {"out": "a", "stages": [{"rate": 3.0}]}).stages == (Inner(3.0),)


def test_unknown_key_names_the_nearest():
    with refused(UnknownName, got="step", todo=containing("steps")):
        build(Outer, {"out": "a", "step": 1})


@pytest.mark.parametrize("data", [{"out": 3}, {"out": "a", "steps": True}, {"out": "a", "inner": 3}, {}])
def test_wrong_or_missing_values_are_refused(data):
    with pytest.raises(BadInput):
        build(Outer, data)


def test_a_setting_without_equals_is_refused():
    with refused(BadInput, got="steps", naming="key=value"):
        overrides(["steps"])


def test_a_recipe_lies_over_its_base(tmp_path):
    (tmp_path / "base.toml").write_text('out = "a"\n[inner]\nrate = 2.0\nname = "n"\n')
    (tmp_path / "top.toml").write_text('base = "base.toml"\nout = "b"\n[inner]\nrate = 5.0\n')
    assert read_toml(tmp_path / "top.toml") == {"out": "b", "inner": {"rate": 5.0, "name": "n"}}


def test_missing_and_broken_recipes_are_one_sentence(tmp_path):
    with refused(BadInput, got=tmp_path / "none.toml"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("x = = 1")
    with refused(BadInput, naming=("bad.toml", "line 1, column 5")):
        read_toml(tmp_path / "bad.toml")


def test_a_configuration_round_trips():
    assert build(Outer, to_dict(Outer("a", inner=Inner(0.5)))) == Outer("a", inner=Inner(0.5))


def test_every_recipe_in_the_repository_builds():
    from pathlib import Path

    from reread.evaluate import EvalConfig
    from reread.training.trainer import TrainConfig

    recipes = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))
    assert recipes
    for recipe in recipes:
        data = read_toml(recipe)
        if {"kind", "systems", "selections", "forms"} & set(data):
            continue  # tests of test_experiment.py, test_reader_bench.py, test_select_bench.py, test_layouts_bench.py
        plain = {key: value for key, value in data.items() if key != "scales"}
        build(TrainConfig if "stages" in data else EvalConfig, plain).check()


def test_one_value_stands_for_a_list_of_one():
    from reread.evaluate import EvalConfig

    given = build(EvalConfig, overrides(["windows=head", "budgets=64", 'tasks=["fda", "squad"]']))
    assert (given.windows, given.budgets, given.tasks) == (("head",), (64,), ("fda", "squad"))
    with refused(BadInput, got="many", naming="budgets"):
        build(EvalConfig, overrides(["budgets=many"]))


@dataclass(frozen=True)
class Sizes:
    rows: int = 4
    tokens: tuple[int, ...] = (8, 16)


@pytest.mark.parametrize(
    "sizes, fields",
    [
        (Sizes(rows=0), {"got": 0, "naming": "rows"}),
        (Sizes(rows=float("nan")), {"got": "nan", "naming": "rows"}),
        (Sizes(tokens=(8, 0)), {"got": (8, 0), "naming": "tokens"}),
        (Sizes(tokens=()), {"got": "none", "naming": "tokens"}),
        (Sizes(tokens=(8, 16, 8)), {"got": "8, 16, 8", "naming": "tokens"}),
    ],
)
def test_a_refused_setting_is_named_alone(sizes, fields):
    def check(config):
        at_least(config, 1, "rows", "tokens")
        each_once(config, "tokens")

    check(Sizes())
    with refused(BadInput, **fields):
        check(sizes)

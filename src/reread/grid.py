"""A recipe's grid as cells: which configurations an experiment measures, and what each is called.

A recipe of an experiment is TOML (or lies over another one named by `base`):

    kind = "train_and_eval"          # a key of KINDS in experiment.py
    [settings]                       # the configuration that all cells share
    train.model.hidden_size = 96
    [grid]                           # every value with every other
    train.seed = [0, 1, 2]
    [together]                       # settings that vary together, as one dimension with a name
    map = [{ label = "taylor", train.model.feature_map = "taylor", train.model.feature_dim = 8 }, ...]
    [scales.smoke]                   # laid over all of the above where --scale smoke is asked for
    settings.train.model.hidden_size = 32
    [table]                          # what the report shows: report/experiments.py

A recipe of `reread eval` (tasks, strategies, ... and scales over them) is one too: of kind eval, a cell for
every model and task.

This file knows neither what a kind does nor how cells are run, and needs no torch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reread.config import merge, overrides, read_toml
from reread.errors import BadInput, UnknownName

KEYS = ("kind", "settings", "grid", "together", "scales", "table")
Labels = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A recipe at one scale.  dimensions: per name the choices, each a label and the settings it makes."""

    name: str
    kind: str
    scale: str
    settings: dict[str, Any]
    dimensions: dict[str, list[tuple[Any, dict[str, Any]]]]
    table: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        """What all cells of one folder share; the grid may grow."""
        varied = {key for choices in self.dimensions.values() for _, chosen in choices for key in flat(chosen)}
        shared = {key: value for key, value in flat(self.settings).items() if key not in varied}
        return {"recipe": self.name, "kind": self.kind, "scale": self.scale, "settings": shared}

    def cells(self) -> Iterator[tuple[Labels, dict[str, Any]]]:
        """(labels, settings) of every cell, the first dimension changing slowest."""
        for chosen in itertools.product(*self.dimensions.values()):
            labels = {name: label for name, (label, _) in zip(self.dimensions, chosen, strict=True)}
            settings = self.settings
            for _, change in chosen:
                settings = merge(settings, change)
            yield labels, settings


def flat(table: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested tables as one with dotted keys; what is no table, or an empty one, is a value."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{before}{key}.")
        else:
            found[before + key] = value
    return found


def nested(key: str, value: Any) -> dict[str, Any]:
    """The dotted key as tables in tables."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def read_recipe(path: Path | str, scale: str = "", sets: Sequence[str] = ()) -> Recipe:
    """The recipe at that scale ("": as it stands).

    sets: `a.b=c` over every cell's configuration; one that the grid varies keeps that value alone.
    Raises BadInput, UnknownName.
    """
    data = read_toml(path)
    data = as_experiment(data) if "kind" not in data and "tasks" in data else data
    for key in data:
        if key not in KEYS:
            raise UnknownName("part of an experiment's recipe", key, KEYS)
        if key != "kind" and not isinstance(data[key], dict):
            raise BadInput(f"{key} of an experiment's recipe is a table", got=data[key], todo=f"[{key}]")
    scales = data.get("scales", {})
    if scale:
        if not scales:
            raise BadInput(
                "this recipe has no scales", got=f"{Path(path).name} --scale {scale}", todo="leave --scale out"
            )
        if scale not in scales:
            raise UnknownName(f"scale of {Path(path).name}", scale, scales)
        if not isinstance(scales[scale], dict):
            raise BadInput(f"scale {scale} is a table", got=scales[scale])
        for key in scales[scale]:
            if key not in KEYS:
                raise UnknownName(f"part of scale {scale}", key, KEYS)
        data = merge(data, scales[scale])
    if not isinstance(data.get("kind"), str):
        raise BadInput("the recipe is none of an experiment", got=str(path), todo="it needs a line kind = ...")
    found = {**along_grid(data.get("grid", {})), **together(data.get("together", {}))}
    settings = data.get("settings", {})
    for key, value in flat(overrides(sets)).items():
        if key in found:
            found[key] = [(value, nested(key, value))]
        elif clash := [name for name, all_ in found.items() if any(key in flat(change) for _, change in all_)]:
            raise BadInput("this setting varies together with others", got=key, todo=f"change {clash[0]} in the recipe")
        else:
            settings = merge(settings, nested(key, value))
    return Recipe(Path(path).stem, data["kind"], scale, settings, found, data.get("table", {}))


def as_experiment(data: dict[str, Any]) -> dict[str, Any]:
    """A recipe of `reread eval` as one of kind eval, models and tasks its dimensions."""

    def split(settings: dict[str, Any]) -> dict[str, Any]:
        varied = {key: settings[key] for key in ("models", "tasks") if key in settings}
        grid = {key: [[one] for one in value] if isinstance(value, list) else value for key, value in varied.items()}
        return {"settings": {key: value for key, value in settings.items() if key not in varied}, "grid": grid}

    scales = data.get("scales", {})
    shared = {key: value for key, value in data.items() if key != "scales"}
    scales = {name: split(over) if isinstance(over, dict) else over for name, over in scales.items()}
    return {"kind": "eval", **split(shared), "scales": scales}


def along_grid(table: dict[str, Any]) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
    """Dimensions of [grid]: a setting with the list of its values."""
    found = {}
    for key, values in flat(table).items():
        if not isinstance(values, list) or not values:
            raise BadInput(f"grid.{key} must be a list of values", got=values)
        if any(values.count(value) > 1 for value in values):
            raise BadInput(f"grid.{key} names a value twice", got=values)
        found[key] = [(value, nested(key, value)) for value in values]
    return found


def together(table: dict[str, Any]) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
    """Dimensions of [together]: a name with a list of tables of settings, each with its `label`."""
    found: dict[str, list[tuple[Any, dict[str, Any]]]] = {}
    for name, choices in table.items():
        if not isinstance(choices, list) or not choices or not all(isinstance(one, dict) for one in choices):
            raise BadInput(f"together.{name} must be a list of tables", got=choices)
        found[name] = []
        for one in choices:
            change = {key: value for key, value in one.items() if key != "label"}
            label = one.get("label", ", ".join(str(value) for value in flat(change).values()))
            if label in [other for other, _ in found[name]]:
                raise BadInput(f"together.{name} names a label twice", got=label)
            found[name].append((label, change))
    return found


def digest(kind: str, settings: dict[str, Any]) -> str:
    """Eight hex digits that stand for a cell's settings as the recipe gives them: a new setting that a later version
    knows, and that the recipe does not name, makes no new cell."""
    return hashlib.sha256(json.dumps([kind, settings], sort_keys=True).encode()).hexdigest()[:8]


def slug(labels: Labels) -> str:
    """What a folder of these labels is called: "taylor-seed0"."""
    words = [f"{key.rpartition('.')[2]}{value}" if "." in key else str(value) for key, value in labels.items()]
    return re.sub(r"[^A-Za-z0-9.-]+", "_", "-".join(words)).strip("_.-")[:60] or "cell"

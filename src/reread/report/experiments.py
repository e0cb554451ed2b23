"""The table of an experiment: its cells grouped by what the recipe names, means over seeds with intervals.

A recipe's [table] says

    rows = ["map"]                   labels of the grid, settings (dotted), or fields of rows: one line each
    columns = ["reading"]            the same, across; may be left out
    over = ["train.seed"]            what is averaged over; left out: every label that ends in "seed"
    [[table.values]]                 what is shown: `field` of the rows where every key of `where` has its value,
    name = "FDA, %"                  times `times`, with `digits` places; a value "@key" is that of another key;
    field = "contains"               a field of the summary is "summary.NAME", and then needs no `where`
    where = { what = "recall", task = "fda" }
    against = { map = "taylor" }     left out, or: less the value of the cell that is alike but for this,
    relative = true                  or, so, what it has more than that one in percent

    beside = { "report, %" = { taylor = 48.3 } }    [table] may hold columns of others' figures, by the first of `rows`
    figure = "order"                 [table] may also name a key of FIGURES: figure.svg stands beside the table then

Rows of one cell are averaged first; mean, n and the 95 % t-interval are over cells.  A table that
would average over anything but `over` is refused.  This file knows no kind of experiment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from reread.errors import BadInput, UnknownName
from reread.grid import flat
from reread.report.cells import Record
from reread.report.markdown import merged_report
from reread.report.markdown import table as markdown_table
from reread.report.runs import gather
from reread.report.symbols import order_figure, recall_figure
from reread.report.words import spread_words
from reread.runlog import Run
from reread.stats import t_interval
from reread.whole import write_whole

TABLE_KEYS = ("rows", "columns", "over", "values", "says", "figure", "beside")
VALUE_KEYS = ("name", "field", "where", "times", "digits", "against", "relative")
MOST_NAMED = 6  # cells that are missing


FIGURES = {"order": order_figure, "recall": recall_figure}


@dataclass(frozen=True)
class Group:
    """One line of the table: its keys, and per shown value the mean over cells."""

    key: dict[str, Any]
    values: dict[str, Record]


def over_seeds(values: Sequence[float]) -> Record:
    """Mean, n and the 95 % t-interval; one value alone has none."""
    return {**t_interval(values).record(), "n": len(values)}


def experiment(out: Path) -> Record:
    """experiment.json of that folder.  Raises BadInput."""
    path = out / "experiment.json"
    if not path.is_file():
        raise BadInput("not the folder of an experiment (no experiment.json)", got=str(out))
    return json.loads(path.read_text(encoding="utf-8"))


def read_cells(out: Path, told: Record) -> tuple[list[Record], list[str]]:
    """Per finished cell its labels, settings and summary ("cell") with its rows, and the names of the others."""
    found, missing = [], []
    for name, labels in told["cells"].items():
        run = Run(out / name)
        if not run.done:
            missing.append(name)
            continue
        header = run.header()
        summary = {f"summary.{key}": value for key, value in flat(run.summary()).items()}
        about = {**flat(header["config"]), **summary, **labels, "cell": name}
        found.append({"about": about, "labels": labels, "rows": list(run.rows()), "header": header})
    return found, missing


def compared(cell: Record, value: Record, cells: Sequence[Record]) -> float | None:
    """A shown value of one cell, or what it gains over that of the cell it is held against; None for want of one."""
    number = chosen(cell, value)
    if "against" not in value or number is None:
        return number
    alike = {**cell["labels"], **value["against"]}
    other = next((found for one in cells if one["labels"] == alike for found in [chosen(one, value)]), None)
    if other is None or (value.get("relative") and not other):
        return None
    return 100 * (number / other - 1) if value.get("relative") else number - other


def chosen(cell: Record, value: Record) -> float | None:
    """A shown value of one cell: the mean of `field` over its rows that are meant, or None."""
    where, field = value.get("where", {}), value["field"]
    records = [{**cell["about"], **row} for row in cell["rows"]] if where else [cell["about"]]

    def meant(record: Record) -> bool:
        return all(
            key in record and record[key] == (record.get(want[1:]) if str(want).startswith("@") else want)
            for key, want in where.items()
        )

    numbers = [record[field] for record in records if meant(record) and record.get(field) is not None]
    return value.get("times", 1) * fmean(numbers) if numbers else None


def labels_of(told: Record) -> dict[str, list]:
    """Every label with its values."""
    labels: dict[str, list] = {}
    for cell in told["cells"].values():
        for key, value in cell.items():
            if value not in labels.setdefault(key, []):
                labels[key].append(value)
    return labels


def check_table(told: Record) -> tuple[list[str], list[str]]:
    """The keys of lines and of columns.  Raises for a table that names unknown parts or mixes what differs."""
    table, labels = told["table"], labels_of(told)
    if told.get("kind") == "eval" and not table:
        return [], []  # the report of its runs
    for key in table:
        if key not in TABLE_KEYS:
            raise UnknownName("part of [table]", key, TABLE_KEYS)
    if table.get("figure") not in (None, *FIGURES):
        raise UnknownName("figure of [table]", table["figure"], FIGURES)
    rows, columns = list(table.get("rows", ())), list(table.get("columns", ()))
    for value in table.get("values", ()):
        for key in value:
            if key not in VALUE_KEYS:
                raise UnknownName("part of a value of [table]", key, VALUE_KEYS)
        if "name" not in value or "field" not in value:
            raise BadInput("a value of [table] needs a name and a field", got=value)
        for key in value.get("against", ()):
            if key not in (*labels, *rows, *columns):
                raise UnknownName("label to compare by in [table]", key, (*labels, *rows, *columns))
    over = table.get("over", [key for key in labels if key.endswith("seed")])
    mixed = [key for key, values in labels.items() if len(values) > 1 and key not in (*rows, *columns, *over)]
    if mixed:
        todo = "name it in rows, columns or over"
        raise BadInput("the table would average over cells that differ in more than seeds", got=mixed[0], todo=todo)
    return rows, columns


def spread_rows(cell: Record, keys: Sequence[str]) -> list[Record]:
    """The cell once per value of those keys that its rows have and it has not itself."""
    own = [key for key in keys if key not in cell["about"]]
    if not own:
        return [cell]
    parts: dict[str, Record] = {}
    for row in cell["rows"]:
        if all(key in row for key in own):
            names = {key: row[key] for key in own}
            part = {"about": {**cell["about"], **names}, "labels": {**cell["labels"], **names}, "rows": []}
            parts.setdefault(json.dumps(names), part)["rows"].append(row)
    return list(parts.values())


def groups(cells: Sequence[Record], told: Record) -> list[Group]:
    """The lines of the table, in order of appearance."""
    rows, columns = check_table(told)
    digits: dict[str, int] = {}
    lines: dict[str, tuple[dict, dict[str, list[float]]]] = {}
    parts = [part for cell in cells for part in spread_rows(cell, [*rows, *columns])]
    for part in parts:
        key = {name: part["about"].get(name) for name in rows}
        across = ", ".join(str(part["about"].get(name)) for name in columns)
        _, line = lines.setdefault(json.dumps(key), (key, {}))
        for value in told["table"].get("values", ()):
            number = compared(part, value, parts)
            title = f"{value['name']} ({across})" if across else value["name"]
            digits[title] = value.get("digits", 1)
            if number is not None:
                line.setdefault(title, []).append(number)
    return [
        Group(key, {title: {**over_seeds(numbers), "digits": digits[title]} for title, numbers in line.items()})
        for key, line in lines.values()
    ]


def shown(value: Record) -> str:
    """ "41.2 [37.0, 45.4]"; the mean alone where all cells agree."""
    alike = {"low": None, "high": None} if value["low"] == value["high"] else {}
    return spread_words({**value, **alike}, f",.{value['digits']}f")


def experiment_tables(out: Path) -> Record:
    """The experiment of a folder as numbers: recipe, lines of the table, missing cells.  Raises BadInput.

    One of evaluations without a table: what `reread report` says of all its runs.
    """
    told = experiment(out)
    cells, missing = read_cells(out, told)
    if told["kind"] == "eval" and not told["table"]:
        return {
            "experiment": {key: told[key] for key in ("recipe", "kind", "scale", "settings")},
            "missing": missing,
        } | (gather(folders(out, cells)) if cells else {})
    return {
        "experiment": {key: told[key] for key in ("recipe", "kind", "scale", "settings")},
        "cells": len(told["cells"]),
        "missing": missing,
        "lines": [vars(group) for group in groups(cells, told)],
        "commits": sorted({str(cell["header"]["commit"]) for cell in cells}),
        "machines": sorted({cell["header"]["machine"] for cell in cells}),
        "dates": sorted({cell["header"]["started"][:10] for cell in cells}),
        "table": told["table"],
    }


def experiment_report(out: Path) -> str:
    """The experiment in Markdown.  Raises as `experiment_tables`."""
    told = experiment(out)
    if told["kind"] == "eval" and not told["table"]:
        return evaluations_report(out, told)
    found = experiment_tables(out)
    told, table = found["experiment"], found["table"]
    done = found["cells"] - len(found["missing"])
    text = f"Experiment `{told['recipe']}`" + (f" at scale {told['scale']}" if told["scale"] else "")
    text += f": {done} of {found['cells']} cells done"
    if done:
        dates = " to ".join(dict.fromkeys((found["dates"][0], found["dates"][-1])))
        text += f", {dates}, commit {', '.join(found['commits'])}, {'; '.join(found['machines'])}"
    text += ". Mean over cells that differ in the seed alone [95 % t-interval], n cells."
    text += f" {table['says']}" if "says" in table else ""
    titles = {key: key.partition("summary.")[2].replace("_", " ") or key for key in table.get("rows", ())}
    columns, lines = [*titles.values(), "n"], []
    for line in found["lines"]:
        counts = sorted({value["n"] for value in line["values"].values()}) or [0]
        n = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
        record = {**{titles[key]: value for key, value in line["key"].items()}, "n": n}
        for title, value in line["values"].items():
            columns += [] if title in columns else [title]
            record[title] = shown(value)
        for title, figures in table.get("beside", {}).items():
            columns += [] if title in columns else [title]
            record[title] = str(figures.get(str(next(iter(line["key"].values()), "")), "-"))
        lines.append(record)
    text += "\n\n" + markdown_table(lines, columns) + "\n" if lines else "\n"
    return text + not_there(found["missing"])


def not_there(missing: Sequence[str]) -> str:
    """The cells that are not done, the first of them by name."""
    more = len(missing) - MOST_NAMED
    text = "\nNot there yet: " + ", ".join(f"`{name}`" for name in missing[:MOST_NAMED])
    return f"{text}{f' and {more} more' if more > 0 else ''}.\n" if missing else ""


def folders(out: Path, cells: Sequence[Record]) -> list[Path]:
    return [out / cell["about"]["cell"] for cell in cells]


def evaluations_report(out: Path, told: Record) -> str:
    """What `reread report` says of all runs of an experiment of evaluations."""
    cells, missing = read_cells(out, told)
    text = f"Experiment `{told['recipe']}`" + (f" at scale {told['scale']}" if told["scale"] else "")
    text += f": {len(cells)} of {len(told['cells'])} cells done.\n{not_there(missing)}"
    return text + (merged_report(folders(out, cells)).removeprefix("# Report\n") if cells else "")


def write_experiment_report(out: Path) -> Path:
    """report.md of an experiment's folder, and figure.svg where its table names one.  Raises MissingPackage."""
    path = out / "report.md"
    write_whole(path, experiment_report(out))
    told = experiment(out)
    runs = [run for run in map(Run, (out / name for name in told["cells"])) if run.done]
    if (figure := told["table"].get("figure")) and runs:
        write_whole(out / "figure.svg", FIGURES[figure](runs, told["recipe"]))
    return path

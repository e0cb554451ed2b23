"""Runs on symbols as numbers, tables and figures: what the order of two sets costs, and recall against bytes of state.

A synthetic run counts through the test of its chosen learning rate (`best` of the validation).  Seeds of
one cell are pooled: the mean is over all their samples, the interval is Wilson's for that many (so it
is about these trained models), and how far the seeds lie apart stands beside it.  No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from reread.errors import BadInput
from reread.report.cells import Record
from reread.report.drawing import LINES, canvas, grid, legend, legend_height, log_axis, look, share, style
from reread.report.markdown import table
from reread.report.svg import picture
from reread.report.words import percent, spread_words
from reread.runlog import Run
from reread.stats import Interval, newcombe, wilson

CELL = ("task", "reading", "mixer", "feature_map", "feature_dim", "hidden_size", "pattern", "layers")
GUESS = "guess within the short set"
Lines = dict[tuple[str, str], list[tuple[int, Record]]]  # (series, kind of line): bytes of state, share
COLUMNS = (
    "reading",
    "mixer",
    "bytes of state",
    "parameters",
    "seeds",
    "learning rate",
    "n",
    "guess",
    "short first",
    "long first",
    "gap",
    "gap of each seed",
)


def symbol_runs(folders: Iterable[Path]) -> list[Run]:
    """The synthetic runs among folders and their sub-folders, in order of their names.  Raises BadInput for an
    unfinished one and where there is none."""
    found = []
    for folder in folders:
        for header in sorted(Path(folder).rglob("header.json")):
            run = Run(header.parent)
            if run.header()["kind"] == "synthetic":
                run.summary()
                found.append(run)
    if not found:
        raise BadInput("no run on symbols is there", got=", ".join(map(str, folders)), todo="reread experiment")
    return found


def share_of(record: Record) -> Interval:
    return Interval(*(record[name] for name in Interval._fields))


def tests(run: Run) -> list[Record]:
    """The test rows of the learning rate that the validation chose."""
    rate = run.summary()["learning_rate"]
    return [row for row in run.rows() if row["what"] == "test" and row["learning_rate"] == rate]


def cells(runs: Sequence[Run]) -> list[Record]:
    """Seeds pooled, and nothing else: per cell its sizes {(first, second): share with interval, n, seeds' shares}."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        config = run.header()["config"]
        groups.setdefault(json.dumps({**config, "seed": None}, sort_keys=True), []).append(run)
    records = []
    for group in groups.values():
        config = group[0].header()["config"]
        sizes: dict[tuple[int, int], list[Record]] = {}
        for run in group:
            for row in tests(run):
                sizes.setdefault((row["first"], row["second"]), []).append(row)
        summaries = [run.summary() for run in group]
        records.append(
            {
                **{name: plain(config.get(name)) for name in CELL},
                "state": summaries[0]["state_bytes"],
                "parameters": summaries[0]["parameters"],
                "seeds": len(group),
                "rates": sorted({summary["learning_rate"] for summary in summaries}),
                "seconds": sum(summary["seconds"] for summary in summaries),
                "sizes": {pair: pooled(rows, config["task"] == "mqar") for pair, rows in sizes.items()},
            }
        )
    return sorted(records, key=lambda r: (r["task"], r["mixer"], r["reading"], r["state"]))


def plain(value: Any) -> Any:
    """A setting that can be compared: a list as its text."""
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def pooled(rows: Sequence[Record], several: bool) -> Record:
    """Rows of one size from several seeds as one share; n: texts.  several: a text asks for as many values as it has
    pairs (MQAR); they may go wrong together and so count as one."""
    asked = rows[0]["first"] if several else 1
    right, n = sum(row["correct"] for row in rows) / asked, sum(row["n"] for row in rows) // asked
    seeds, trained = [row["accuracy"] for row in rows], all(row["trained"] for row in rows)
    return {**wilson(right, n).record(), "n": n, "correct": right, "seeds": seeds, "trained": trained}


def joined(shares: Iterable[Record]) -> Record:
    """Several sizes as one share.  Raises BadInput for none."""
    found = list(shares)
    if not found:
        raise BadInput("no size that was trained on was tested", todo="test_sizes")
    n = sum(s["n"] for s in found)
    return {**wilson(sum(s["correct"] for s in found), n).record(), "n": n}


def in_both_orders(cell: Record, trained: bool) -> list[tuple[int, int]]:
    """The sizes (short, long) of a cell that were tested in both orders, of those trained on or of the others.
    Raises BadInput for none."""
    sizes = cell["sizes"]
    found = [p for p, s in sizes.items() if p[0] < p[1] and p[::-1] in sizes and s["trained"] == trained]
    if not found:
        raise BadInput("no size was tested in both orders", got=list(sizes))
    return found


def by_order(cell: Record, *, trained: bool = True) -> tuple[Record, Record]:
    """Shares of a cell with the short set first and with the long set first, over sizes tested in both orders."""
    short = in_both_orders(cell, trained)
    return joined(cell["sizes"][p] for p in short), joined(cell["sizes"][p[::-1]] for p in short)


def seed_gaps(cell: Record, trained: bool) -> list[float]:
    """Short first minus long first, a share, of every seed: how far they lie apart is in no Wilson interval."""
    sizes, short = cell["sizes"], in_both_orders(cell, trained)
    pairs = [zip(sizes[p]["seeds"], sizes[p[::-1]]["seeds"], strict=True) for p in short]
    return [fmean(a - b for a, b in one) for one in zip(*pairs, strict=True)]


def guess(cell: Record, trained: bool = True) -> float:
    """The share right of who names any element of the short set."""
    return fmean(1 / short for short, _ in in_both_orders(cell, trained))


def order_table(runs: Sequence[Run], *, trained: bool = True) -> str:
    """Accuracy in percent with either set first, and what the order costs, per reading and state size; guess: what
    naming any element of the short set would score."""
    rows = []
    for cell in cells(runs):
        short, long = by_order(cell, trained=trained)
        rows.append(
            {
                **cell,
                "bytes of state": f"{cell['state']:,}",
                "parameters": f"{cell['parameters'] / 1e3:.0f} k",
                "learning rate": ", ".join(f"{rate:g}" for rate in cell["rates"]),
                "n": f"{short['n']:,}",
                "short first": percent(short),
                "long first": percent(long),
                "guess": f"{100 * guess(cell, trained):.1f}",
                "gap": percent(newcombe(share_of(short), share_of(long)).record()),
                "gap of each seed": ", ".join(f"{100 * value:.1f}" for value in seed_gaps(cell, trained)),
            }
        )
    return table(rows, COLUMNS)


def size_table(runs: Sequence[Run]) -> str:
    """Accuracy in percent at every test size, a line per cell; sizes that were not trained on have a star."""
    found = cells(runs)
    pairs = list(dict.fromkeys(pair for cell in found for pair in cell["sizes"]))
    starred = {pair for cell in found for pair, s in cell["sizes"].items() if not s["trained"]}
    title = {pair: f"{pair[0]}, {pair[1]}{' *' if pair in starred else ''}" for pair in pairs}
    rows = [
        {
            **cell,
            "bytes of state": f"{cell['state']:,}",
            "n": f"{min(s['n'] for s in cell['sizes'].values()):,}",
            **{title[pair]: spread_words(s, ".0f", 100) for pair, s in cell["sizes"].items()},
        }
        for cell in found
    ]
    return table(rows, ("reading", "mixer", "bytes of state", "seeds", "n", *title.values()))


def order_figure(runs: Sequence[Run], name: str) -> str:
    """Accuracy against bytes of state, a line per reading and order, over what guessing within the short set scores:
    an SVG that stands alone."""
    lines: Lines = {}
    found = cells(runs)
    for cell in found:
        for order, value in zip(("short set first", "long set first"), by_order(cell), strict=True):
            lines.setdefault((cell["reading"], order), []).append((cell["state"], value))
    return against_state(lines, name, guess(found[0]))


def recall_figure(runs: Sequence[Run], name: str) -> str:
    """Accuracy over all sizes that were trained on against bytes of state, a line per reading (and mixer, where there
    are several): an SVG that stands alone."""
    lines: Lines = {}
    found = cells(runs)
    several = len({cell["mixer"] for cell in found}) > 1
    for cell in found:
        value = joined(s for s in cell["sizes"].values() if s["trained"])
        lines.setdefault((cell["reading"], cell["mixer"] if several else ""), []).append((cell["state"], value))
    return against_state(lines, name)


def against_state(lines: Lines, name: str, guessed: float | None = None) -> str:
    """Colour and marker by the first part of a line's name, filled or hollow, whole or dashed by the second; a dotted
    line at the share that guessing scores."""
    firsts, seconds = (list(dict.fromkeys(key[part] for key in lines)) for part in (0, 1))
    with style(name):
        from matplotlib.ticker import FuncFormatter

        names = [", ".join(filter(None, key)) for key in lines] + [GUESS] * (guessed is not None)
        figure, above, below = canvas(2.9, legend_height(names))
        (axes,) = grid(above, 1, 1)
        for number, (key, points) in enumerate(lines.items()):
            points.sort(key=lambda point: point[0])
            aside = 1 + 0.015 * (number - len(lines) / 2)
            # Wilson's interval is not symmetric
            error = [[100 * abs(value["mean"] - value[end]) for _, value in points] for end in ("low", "high")]
            drawn = look(firsts.index(key[0])) | {"linestyle": LINES[seconds.index(key[1]) % len(LINES)]}
            fill = {"markerfacecolor": "none"} if seconds.index(key[1]) % 2 else {}
            x, y = [state * aside for state, _ in points], [100 * value["mean"] for _, value in points]
            axes.errorbar(x, y, yerr=error, label=", ".join(filter(None, key)), capsize=2, **drawn, **fill)
        if guessed is not None:
            axes.axhline(100 * guessed, color="0.5", linestyle=":", linewidth=0.8, label=GUESS)
        axes.set_xscale("log")
        log_axis(axes.xaxis, [state for points in lines.values() for state, _ in points], most=8)
        axes.yaxis.set_major_formatter(FuncFormatter(share))
        axes.set_xlabel("bytes of state (logarithmic)")
        axes.set_ylabel("answers right")
        legend(below, axes)
        return picture(figure, name)

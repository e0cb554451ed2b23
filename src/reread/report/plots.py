"""The figures of a report: gains, recall against tokens read, position and length curves, speed.

Each is an inline SVG whose colours are the page's (currentColor and CSS variables), so that one
drawing serves light and dark; text stays text.  Series differ in colour, marker and line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reread.report.cells import CELL, COMPARED, DEFAULT_POLICY, DEFAULT_SELECTION, Record
from reread.report.drawing import (
    bars,
    canvas,
    grid,
    legend,
    legend_height,
    log_axis,
    look,
    recall_panels,
    style,
    thousands,
    wrap,
)
from reread.report.paired import MEAN_OF_TASKS
from reread.report.svg import INK, inline_svg
from reread.report.words import BY_DEFAULT, labels

TOGETHER = 8  # series in one figure; with more every model has its own
WHO = ("model", "task", "strategy", "policy", "selection", "budget")
SERIES = COMPARED


@dataclass(frozen=True)
class Picture:
    """name: unique on the page; says: the caption, with n; alt: what is to be seen, for those who cannot."""

    name: str
    title: str
    says: str
    alt: str
    svg: str


def varying(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """The names under which records differ."""
    return [name for name in names if len({record.get(name) for record in records}) > 1]


def called(record: Record, names: Sequence[str], short: dict[str, str]) -> str:
    """A record by the values of those names, without those that it lacks."""
    hidden = {"policy": DEFAULT_POLICY, "selection": DEFAULT_SELECTION} if tuple(names) == WHO else {}
    record = {**BY_DEFAULT, **record}
    told = {name: record[name] for name in names if record.get(name) not in (None, hidden.get(name))}
    words: dict[str, Callable] = {
        "model": short.get,
        "policy": "prefix {}".format,
        "budget": "budget {}".format,
        "templates": "templates {}".format,
    }
    return ", ".join(str(words.get(name, str)(value)) for name, value in told.items())


def places_of(records: Sequence[Record], besides: Sequence[str] = ()) -> list[str]:
    """What tells a figure's places apart: the task, and of the rest (and of `besides`) what differs within a task."""
    by_task: dict[str, list[Record]] = {}
    for record in records:
        by_task.setdefault(record["task"], []).append(record)
    names = (*besides, "window", "budget", "template", "templates")
    return ["task", *(name for name in names if any(varying(part, [name]) for part in by_task.values()))]


def placed(records: Sequence[Record], apart: Sequence[str], short: dict[str, str]) -> dict[str, dict[str, list]]:
    """{place: {series: records}}; a series is what differs of SERIES, else the strategy."""
    names = varying(records, SERIES) or ["strategy"]
    cells: dict[str, dict[str, list]] = {}
    for record in records:
        place, series = called(record, apart, short), called(record, names, short)
        cells.setdefault(place, {}).setdefault(series, []).append(record)
    return cells


def spans(values: Sequence[int], what: str) -> str:
    """ "500 questions", or "90 to 500 questions" where cells differ."""
    low, high = min(values), max(values)
    return f"{low:,} {what}" if low == high else f"{low:,} to {high:,} {what}"


def sample_size(records: Sequence[Record]) -> str:
    n, documents = ([record[name] for record in records] for name in ("n", "documents"))
    return f"n = {spans(n, 'questions')} of {spans(documents, 'documents')}"


def listed(entries: Iterable[str], most: int = 12) -> str:
    """A few entries, and how many more the tables hold."""
    every = list(entries)
    more = f"; and {len(every) - most} more, as the tables have them" if len(every) > most else ""
    return "; ".join(every[:most]) + more


def by_model(records: Sequence[Record]) -> list[list[Record]]:
    """All records together, or model by model where there are too many series for one figure."""
    models = list(dict.fromkeys(record["model"] for record in records))
    if len({tuple(record.get(name) for name in SERIES) for record in records}) <= TOGETHER or len(models) == 1:
        return [list(records)]
    return [[record for record in records if record["model"] == model] for model in models]


def titled(title: str, part: Sequence[Record], whole: Sequence[Record], short: dict[str, str]) -> str:
    """A figure's title, with its model where the figure holds one of several."""
    if varying(whole, ["model"]) and not varying(part, ["model"]):
        return f"{title}: {short[part[0]['model']]}"
    return title


def forest(name: str, what: str, records: Sequence[Record], short: dict[str, str]) -> str:
    """Gains rightwards, a line per task, a mark per strategy or policy (`what`)."""
    apart = places_of(records, OTHERS[what])
    lines = list(dict.fromkeys(called(record, apart, short) for record in records))
    marks = list(dict.fromkeys(record[what] for record in records))
    step = 0.8 / len(marks)
    tall = max(0.2 + 0.14 * max(wrap(text, 22).count("\n") for text in lines), 0.3, 0.15 * len(marks))
    figure, above, below = canvas(max(1.6, 0.5 + tall * len(lines)), legend_height(marks))
    (axes,) = grid(above, 1, 1)
    axes.axvline(0, color=INK, linewidth=1)
    for at, mark in enumerate(marks):
        part = [record for record in records if record[what] == mark]
        y = [lines.index(called(record, apart, short)) + (at + 0.5) * step - 0.4 for record in part]
        x = [100 * record["contains"]["mean"] for record in part]
        error = bars([record["contains"] for record in part])
        axes.errorbar(x, y, xerr=error, label=mark, **{**look(at), "linestyle": ""}, capsize=2)
    axes.set_yticks(range(len(lines)), [wrap(text, 22) for text in lines])
    axes.set_ylim(len(lines) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"gain in recall over {wrap(records[0]['against'], 40)}, points")
    legend(below, axes)
    return inline_svg(figure, name)


OTHERS = {"strategy": ("policy", "selection"), "policy": ("strategy", "selection"), "selection": ("strategy", "policy")}
TITLES = {"strategy": "", "policy": " of prefix policies", "selection": " of selections of keys"}


def gains(found: Record, short: dict[str, str], what: str) -> list[Picture]:
    """A forest plot per model: what every strategy (or policy, or selection) gains over the first, task by task, the
    mean of tasks last."""
    whole = [{**BY_DEFAULT, **record} for record in found["differences"] if record["differs"] == what]
    pictures = []
    for number, model in enumerate(dict.fromkeys(record["model"] for record in whole)):
        records = [record for record in whole if record["model"] == model]
        order = list(dict.fromkeys(record["task"] for record in records if record["task"] != MEAN_OF_TASKS))
        order.append(MEAN_OF_TASKS)
        records.sort(key=lambda record: (order.index(record["task"]), str(record["window"]), record["budget"]))
        tasks = [record for record in records if record["task"] != MEAN_OF_TASKS]
        name = f"gain-{number}" if what == "strategy" else f"gain-{what}-{number}"
        with style(name):
            svg = forest(name, what, records, short)
        says = (
            f"Recall (contains) minus that of {records[0]['against']}, question by question, in points; bars: 95 % "
            f"paired bootstrap intervals over documents; right of the line is better. {sample_size(tasks)} per task."
        )
        told = listed(
            f"{called(r, [what, *places_of(records, OTHERS[what])], short)} {100 * r['contains']['mean']:+.1f}"
            for r in records
        )
        title = titled(f"Gain per task{TITLES[what]}", records, whole, short)
        pictures.append(Picture(name, title, says, f"Forest plot of points gained: {told}.", svg))
    return pictures


def costs(found: Record, short: dict[str, str]) -> list[Picture]:
    """Recall against tokens read: a point per cell, the budgets of one strategy joined."""
    whole = found["cells"]
    what = "tokens read" if all("tokens read" in record for record in whole) else "prompt tokens"
    label = f"{what} per question (mean of the cell, logarithmic)"

    def draw(axis: Any, part: Sequence[Record], look: dict, name: str, at: int, of: int) -> None:
        ordered = sorted(part, key=lambda record: record[what])
        values = [record["contains"] for record in ordered]
        aside = 1 + 0.04 * (at / max(1, of - 1) - 0.5)
        x = [record[what] * aside for record in ordered]
        axis.set_xscale("log")
        axis.errorbar(x, [100 * v["mean"] for v in values], yerr=bars(values), label=name, capsize=2, **look)
        log_axis(axis.xaxis, [value for line in axis.lines for value in line.get_xdata()], 3)

    pictures = []
    for number, records in enumerate(by_model(whole)):
        name = f"cost-{number}"
        apart = [name for name in places_of(records) if name != "budget"]
        with style(name):
            svg = inline_svg(recall_panels(placed(records, apart, short), label, draw), name)
        says = (
            f"Recall (contains) against {label}; one point per cell, budgets of one strategy joined; points are moved "
            f"aside by up to 2 % so that none hides another; bars: 95 % bootstrap intervals over documents. "
            f"{sample_size(records)} per point."
        )
        told = listed(
            f"{called(r, WHO, short)}: {100 * r['contains']['mean']:.1f} % at {r[what]:,.0f} tokens" for r in records
        )
        title = titled("Recall against tokens read", records, whole, short)
        pictures.append(Picture(name, title, says, f"Points: {told}.", svg))
    return pictures


def bin_sizes(records: Sequence[Record], word: Callable[[Record], str]) -> str:
    """ "0 to 20 %: n = 98 to 102; ..." over all series of a figure."""
    sizes: dict[tuple, list[int]] = {}
    for record in records:
        for one in record["bins"]:
            sizes.setdefault((one["low"], one["high"]), []).append(one["n"])
    each = (f"{word({'low': low, 'high': high})}: {spans(n, '').strip()}" for (low, high), n in sorted(sizes.items()))
    return f"n, questions per point: {'; '.join(each)}."


def curves(
    kind: str, title: str, whole: Sequence[Record], short: dict[str, str], x_label: str, word: Callable[[Record], str]
) -> list[Picture]:
    """Recall by bins; the series of a bin stand side by side, so that no interval hides another."""
    edges = sorted({(one["low"], one["high"]) for record in whole for one in record["bins"]})
    texts = [word({"low": low, "high": high}) for low, high in edges]
    pictures = []
    for number, records in enumerate(by_model(whole)):
        cells = placed(records, places_of(records), short)
        columns = 2 if len({name for inside in cells.values() for name in inside}) <= 4 else 1
        turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if min(columns, len(cells)) == 2 else {}

        def draw(
            axis: Any, part: Sequence[Record], look: dict, name: str, at: int, of: int, turned: dict = turned
        ) -> None:
            (record,) = part
            x = [edges.index((one["low"], one["high"])) + 0.7 * (at - (of - 1) / 2) / of for one in record["bins"]]
            values = [one["contains"] for one in record["bins"]]
            axis.errorbar(x, [100 * v["mean"] for v in values], yerr=bars(values), label=name, elinewidth=0.9, **look)
            axis.set_xticks(range(len(edges)), texts, **turned)
            axis.set_xlim(-0.6, len(edges) - 0.4)
            axis.grid(axis="x", visible=False)

        name = f"{kind}-{number}"
        with style(name):
            svg = inline_svg(recall_panels(cells, x_label, draw, columns=columns), name)
        says = f"Recall (contains) by {x_label}; bars: 95 % bootstrap intervals over documents. "
        told = listed(
            f"{called(r, WHO, short)}: "
            + ", ".join(f"{word(one)} {100 * one['contains']['mean']:.0f} %" for one in r["bins"])
            for r in records
        )
        title_here = titled(title, records, whole, short)
        pictures.append(Picture(name, title_here, says + bin_sizes(records, word), f"Curves: {told}.", svg))
    return pictures


def positions(found: Record, short: dict[str, str]) -> list[Picture]:
    """Only where rows know where their answers stand."""

    def word(one: Record) -> str:
        return f"{100 * one['low']:.0f}–{100 * one['high']:.0f} %"

    records = [record for record in found["positions"] if record["bins"]]
    label = "place of the answer in what was shown (0 %: its beginning)"
    return curves("position", "Recall by position of the answer", records, short, label, word) if records else []


def lengths(found: Record, short: dict[str, str]) -> list[Picture]:
    """By budget where a task has several, else by the length of the documents where rows know it."""
    if "budget" in places_of(found["cells"]):
        groups: dict[tuple, Record] = {}
        for cell in found["cells"]:
            key = tuple(cell.get(name) for name in CELL if name != "budget")
            one = {"low": cell["budget"], "high": cell["budget"], "n": cell["n"], "contains": cell["contains"]}
            groups.setdefault(key, {**cell, "budget": None, "bins": []})["bins"].append(one)
        label = "budget (document tokens shown at most, per copy)"
        by_budget = list(groups.values())
        return curves("length", "Recall by length", by_budget, short, label, lambda one: thousands(one["low"]))

    def word(one: Record) -> str:
        return f"{one['low']:,}–{one['high'] - 1:,}"

    records = [record for record in found["lengths"] if record["bins"]]
    return curves("length", "Recall by length", records, short, "document tokens", word) if records else []


def speed(name: str, records: Sequence[Record]) -> str:
    """Tokens per second of every contender against N, both logarithmic."""
    contenders = list(dict.fromkeys(record["name"] for record in records))
    figure, above, below = canvas(2.5, legend_height(contenders))
    (axes,) = grid(above, 1, 1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = []
    for at, contender in enumerate(contenders):
        part = sorted((record for record in records if record["name"] == contender), key=lambda record: record["N"])
        y = [record["tokens/s"] for record in part]
        fast, slow = (
            [r["tokens/s"] * r["seconds"]["mean"] / r["seconds"][end] for r in part] for end in ("low", "high")
        )
        error = [
            [max(0.0, middle - low) for middle, low in zip(y, slow, strict=True)],
            [max(0.0, high - middle) for middle, high in zip(y, fast, strict=True)],
        ]
        ends += [*fast, *slow]
        axes.errorbar([record["N"] for record in part], y, yerr=error, label=contender, capsize=2, **look(at))
    log_axis(axes.xaxis, [record["N"] for record in records], 6)
    log_axis(axes.yaxis, ends, 6)
    axes.set_xlabel("N, tokens")
    axes.set_ylabel("tokens per second")
    legend(below, axes)
    return inline_svg(figure, name)


def speeds(found: Record) -> list[Picture]:
    """Tokens per second against N, a figure per bench run, what was timed and dtype."""
    pictures = []
    for number, bench in enumerate(found["benches"]):
        kinds = ("what", "dtype", "batch")
        places = list(dict.fromkeys(tuple(record[kind] for kind in kinds) for record in bench["timings"]))
        for at, (what, dtype, batch) in enumerate(places):
            records = [r for r in bench["timings"] if tuple(r[kind] for kind in kinds) == (what, dtype, batch)]
            name = f"speed-{number}-{at}"
            with style(name):
                svg = speed(name, records)
            told = listed(f"{r['name']} at {r['N']:,}: {r['tokens/s']:,.0f}" for r in records)
            says = (
                f"Tokens per second against N, both logarithmic, in {dtype}; median over n = "
                f"{spans([record['rounds'] for record in records], 'rounds')}, bars: quartiles. Run {bench['run']}."
            )
            title = f"Speed: {what}, {dtype}" + (f", batch {batch}" if batch != 1 else "")
            pictures.append(Picture(name, title, says, f"Tokens per second: {told}.", svg))
    return pictures


def pictures(found: Record) -> list[Picture]:
    """Every figure that the numbers of `runs.gather` allow.  Raises MissingPackage."""
    with style("none"):  # a missing package is said before anything is drawn
        pass
    if not found["cells"]:
        return speeds(found)
    short = labels(dict.fromkeys(record["model"] for record in found["cells"]))
    return [
        *gains(found, short, "strategy"),
        *gains(found, short, "policy"),
        *gains(found, short, "selection"),
        *costs(found, short),
        *positions(found, short),
        *lengths(found, short),
        *speeds(found),
    ]

"""Tables from run folders, and nothing else: no torch, no model, no benchmark file.

Every mean stands with its n and its 95 % bootstrap interval; every table names the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reread.errors import BadInput
from reread.runlog import Run
from reread.tasks.metrics import interval

KEY = ("model", "task", "strategy", "window", "budget")
COLUMNS = (*KEY, "n", "contains", "f1", "prompt tokens", "read tokens/s", "state")


def size(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def percent(values: list[float]) -> str:
    """ "41.2 [37.0, 45.4]" in percent."""
    mean, low, high = interval(values)
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def labels(models: Iterable[str]) -> dict[str, str]:
    """Every model's folder without the path to it, as much of it as tells the models apart."""
    paths = {model: Path(model).parts or (model,) for model in models}
    short: dict[str, str] = {}
    for model, parts in paths.items():
        others = [other for name, other in paths.items() if name != model]
        n = next((n for n in range(1, len(parts)) if not any(o[-n:] == parts[-n:] for o in others)), len(parts))
        short[model] = "/".join(parts[-n:])
    return short


Cells = dict[tuple, list[dict[str, Any]]]


def cells_of(rows: Iterable[dict[str, Any]]) -> Cells:
    """Rows by (model label, task, strategy, window, budget), in order of appearance."""
    rows = list(rows)
    short = labels(dict.fromkeys(row["model"] for row in rows))
    cells: Cells = {}
    for row in rows:
        key = (short[row["model"]], row["task"], row["strategy"], row["window"], row["budget"])
        cells.setdefault(key, []).append(row)
    return cells


def summarise(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record per (model, task, strategy, window, budget), in order of appearance."""
    records = []
    for key, cell in cells_of(rows).items():
        seconds = sum(r["read_seconds"] for r in cell)
        tokens = sum(r["prompt_tokens"] for r in cell)
        records.append(
            {
                **dict(zip(KEY, key, strict=True)),
                "n": len(cell),
                "contains": percent([r["contains"] for r in cell]),
                "f1": percent([r["f1"] for r in cell]),
                "prompt tokens": f"{tokens / len(cell):.0f}",
                "read tokens/s": f"{tokens / seconds:,.0f}" if seconds else "-",
                "state": size(cell[0]["state_bytes"]),
            }
        )
    return records


def differences(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """`contains` of two cells that differ in the model alone, or in the strategy alone, sample by sample.

    The interval is that of the mean of the paired differences; the first named of the run is what
    the others are compared with.
    """
    cells = cells_of(rows)
    records = []
    for place, what in ((0, "model"), (2, "strategy")):
        first: dict[tuple, str] = {}
        for key, cell in cells.items():
            rest = (*key[:place], *key[place + 1 :])
            if first.setdefault(rest, key[place]) == key[place]:
                continue
            base_key = (*key[:place], first[rest], *key[place + 1 :])
            against = {(r["id"], r["question"]): r["contains"] for r in cells[base_key]}
            paired = [r["contains"] - against[(r["id"], r["question"])] for r in cell]
            named = dict(zip(KEY, key, strict=True))
            named[what] = f"{key[place]} - {first[rest]}"
            records.append({**named, "n": len(paired), "contains": percent(paired)})
    return records


def markdown(records: list[dict[str, Any]], columns: Sequence[str]) -> str:
    """The records as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(record[c]) for c in columns) + " |" for record in records]
    return "\n".join(lines)


def report(folder: Path) -> str:
    """The tables of an evaluation run, headed by where they came from.

    Raises BadInput for an unfinished run, and for one whose rows are not all there.
    """
    run = Run(folder)
    header = run.header()
    if header["kind"] != "eval":
        raise BadInput("this run holds no evaluation", got=header["kind"], allowed="eval")
    rows, expected = list(run.rows()), run.summary()["rows"]
    if len(rows) != expected:
        raise BadInput("rows of this run are missing", got=len(rows), allowed=f"{expected} (done.json)")
    config = header["config"]
    text = (
        f"Run `{folder.name}` of {header['started'][:10]}, commit {header['commit']}, {header['machine']}: "
        f"window `{config['window']}`, prefix `{config['prefix']}`, greedy, at most {config['max_new_tokens']} new "
        f"tokens; mean [95 % bootstrap interval], in percent; budget: document tokens at most, per copy."
    )
    text += f"\n\n{markdown(summarise(rows), COLUMNS)}\n"
    paired = differences(rows)
    if paired:
        text += f"\nPaired differences of `contains`, in points:\n\n{markdown(paired, (*KEY, 'n', 'contains'))}\n"
    return text

"""Rows as numbers: cells, and their curves by position and by length.

Every mean stands with its n and its 95 % bootstrap interval over documents.  Pure functions of
rows; this file knows no folder and no word of a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from reread.stats import mean_interval

KEY = ("model", "task", "strategy", "policy", "window", "budget")
CELL = (*KEY, "selection", "template")
COMPARED = ("model", "strategy", "policy", "selection")
DEFAULT_POLICY, DEFAULT_SELECTION = "prompt", "full"  # the latter is left out of rows and records
POSITIONS = 5
Record = dict[str, Any]


def documents_of(rows: Iterable[Record]) -> list[Hashable]:
    return [row["document"] for row in rows]


def mean_of(values: Sequence[float], rows: Sequence[Record], worst: float = 0.0) -> dict[str, float]:
    """Mean and 95 % interval over the rows' documents, as shares."""
    return mean_interval(values, documents_of(rows), worst=worst).record()


def unbounded_mean(values: Sequence[float], rows: Sequence[Record]) -> dict[str, float | None]:
    """As `mean_of` for a measure without a worst and a best value: values all alike have no interval (None)."""
    mean, low, high = mean_interval(values, documents_of(rows))
    alike = min(values) == max(values)
    return {"mean": mean, "low": None if alike else low, "high": None if alike else high}


def cells_of(rows: Iterable[Record]) -> dict[tuple, list[Record]]:
    """Rows by `cell_key`, in order of appearance."""
    cells: dict[tuple, list[Record]] = {}
    for row in rows:
        cells.setdefault(cell_key(row), []).append(row)
    return cells


def cell_key(row: Record) -> tuple:
    """The values of CELL; template is None where a run names none."""
    return (*(row[name] for name in KEY), row.get("selection", DEFAULT_SELECTION), row.get("template"))


def compared(row: Record) -> tuple:
    """The values of COMPARED."""
    about = dict(zip(CELL, cell_key(row), strict=True))
    return tuple(about[name] for name in COMPARED)


def named(key: Sequence[Any], names: Sequence[str] = CELL) -> Record:
    """A key as a record; without a template where none is named, and without the selection where it is the default."""
    left_out = (("template", None), ("selection", DEFAULT_SELECTION))
    return {name: value for name, value in zip(names, key, strict=True) if (name, value) not in left_out}


def documents(rows: Iterable[Record]) -> int:
    return len({row["document"] for row in rows})


def column(cell: Sequence[Record], name: str) -> list[Any]:
    """The values of an optional field; empty unless every row of the cell has the field."""
    return [row[name] for row in cell] if all(name in row for row in cell) else []


def extras(cell: Sequence[Record]) -> Record:
    """What newer runs measure beside the rest; nothing for a field that not every row of the cell has."""
    record: Record = {}
    if exact := column(cell, "exact"):
        record["exact"] = mean_of(exact, cell)
    scored = [row for row in cell if row.get("loglik") is not None]
    if scored:
        record["loglik"] = {**unbounded_mean([row["loglik"] for row in scored], scored), "n": len(scored)}
    for name, what in (
        ("document_tokens", "document tokens"),
        ("read_tokens", "tokens read"),
        ("prefix_len", "prefix tokens"),
    ):
        if values := column(cell, name):
            record[what] = sum(values) / len(values)
    peaks = [value for value in column(cell, "peak_bytes") if value is not None]
    return {**record, "peak memory": max(peaks)} if peaks else record


def summarise(rows: Iterable[Record]) -> list[Record]:
    """One record per cell, in order of appearance: means with intervals, tokens per second, bytes of state."""
    records = []
    for key, cell in cells_of(rows).items():
        seconds = sum(row["read_seconds"] for row in cell)
        tokens = sum(row["prompt_tokens"] for row in cell)
        records.append(
            {
                **named(key),
                "n": len(cell),
                "documents": documents(cell),
                "answer shown": sum(row["in_document"] for row in cell) / len(cell),
                "contains": mean_of([row["contains"] for row in cell], cell),
                "f1": mean_of([row["f1"] for row in cell], cell),
                "prompt tokens": tokens / len(cell),
                "read tokens/s": tokens / seconds if seconds else None,
                "read ms": unbounded_mean([1e3 * row["read_seconds"] for row in cell], cell),
                "state": cell[0]["state_bytes"],
                **extras(cell),
            }
        )
    return records


def binned(
    rows: Iterable[Record], field: str, bins: Callable[[Sequence[float]], Sequence[tuple[float, float]]]
) -> list[Record]:
    """Recall of every cell by bins of a field, over the rows that have a value there.

    bins: from all values that occur to the edges [low, high) of the bins; the last one holds its high
    edge too.  Bins without rows are left out.
    """
    cells = {
        key: [row for row in cell if row.get(field) is not None]
        for key, cell in cells_of(rows).items()
        if any(row.get(field) is not None for row in cell)
    }
    edges = bins([row[field] for cell in cells.values() for row in cell]) if cells else ()
    records = []
    for key, cell in cells.items():
        found = []
        for low, high in edges:
            last = high == edges[-1][1]
            part = [row for row in cell if low <= row[field] < high or (last and row[field] == high)]
            if part:
                recall = mean_of([row["contains"] for row in part], part)
                found.append(
                    {"low": low, "high": high, "n": len(part), "documents": documents(part), "contains": recall}
                )
        records.append({**named(key), "bins": found})
    return records


def by_position(rows: Iterable[Record]) -> list[Record]:
    """Recall by where the answer stands in what was shown: fifths of it."""
    fifths = [(k / POSITIONS, (k + 1) / POSITIONS) for k in range(POSITIONS)]
    return binned(rows, "position", lambda _: fifths)


def by_document_tokens(rows: Iterable[Record]) -> list[Record]:
    """Recall by the length of the document in tokens: powers of two."""

    def doublings(values: Sequence[float]) -> list[tuple[float, float]]:
        low, high = (int(math.log2(max(1, value))) for value in (min(values), max(values)))
        return [(2**k, 2 ** (k + 1)) for k in range(low, high + 1)]

    return binned(rows, "document_tokens", doublings)


def hardest(rows: Sequence[Record], per_cell: int = 3, most: int = 120) -> list[Record]:
    """Of every cell, the few wrong predictions whose question was answered least often over all cells; fewer of
    each where there would be more than `most` in all, but one at least."""
    right: dict[tuple, list[float]] = {}
    for row in rows:
        right.setdefault((row["task"], row["id"], row["question"]), []).append(row["contains"])

    def share(row: Record) -> float:
        scores = right[(row["task"], row["id"], row["question"])]
        return sum(scores) / len(scores)

    chosen = []
    cells = cells_of(rows)
    per_cell = max(1, min(per_cell, most // max(1, len(cells))))
    for cell in cells.values():
        wrong = [row for row in cell if row["contains"] == 0 and "prediction" in row and "answers" in row]
        chosen += sorted(wrong, key=share)[:per_cell]
    return chosen

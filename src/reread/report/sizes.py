"""Runs of state sizes as numbers: recall beside bytes, and what a cache of keys and values would take."""

from __future__ import annotations

from collections.abc import Iterable

from reread.report.cells import Record, documents, mean_of
from reread.report.paired import compare, pairs

SIZES_KEY = ("task", "state_dtype")
CACHE_TOKENS = (1024, 8192, 32768)
BYTES = 4


def state_cells(rows: Iterable[Record]) -> list[Record]:
    """One record per task and state dtype, in order of appearance; each against fp32, or the first dtype of its
    task where there is no fp32."""
    cells: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        cells.setdefault((row["task"], row["state_dtype"]), []).append(row)
    first = {task: cell for (task, _), cell in reversed(cells.items())}
    first |= {task: cell for (task, dtype), cell in cells.items() if dtype == "fp32"}
    records = []
    for (task, dtype), cell in cells.items():
        errors = sorted(row["logit_error"] for row in cell)
        records.append(
            {
                "task": task,
                "state dtype": dtype,
                "bytes": sum(row["state_bytes"] for row in cell) / len(cell),
                "of first": sum(r["state_bytes"] for r in cell) / sum(r["state_bytes"] for r in first[task]),
                "n": len(cell),
                "documents": documents(cell),
                "contains": mean_of([row["contains"] for row in cell], cell),
                "against first": None if cell is first[task] else compare(pairs(first[task], cell)),
                "logit error": {"median": errors[len(errors) // 2], "most": errors[-1]},
            }
        )
    return records


def cache_bytes(tokens: int, layers: int, width: int) -> int:
    """Keys and values of a Transformer of so many layers of that width, fp32: 2 x layers x width x tokens x 4."""
    return 2 * layers * width * tokens * BYTES

"""Runs of state sizes as numbers: recall beside bytes, and what a cache of keys and values would take."""

from __future__ import annotations

from collections.abc import Iterable

from reread.report.cells import Record, documents, mean_of
from reread.report.paired import compare, pairs

SIZES_KEY = ("task", "state_dtype")
FILES_KEY = ("model", "weights", "selection", "tokens", "positions")
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


def file_cells(rows: Iterable[Record]) -> list[Record]:
    """One record per model and selection, in order of appearance: bytes of its file by state dtype, and each over the
    file of the first record in the same dtype (of the whole cache)."""
    cells: dict[tuple, Record] = {}
    for row in rows:
        place = tuple(row[name] for name in FILES_KEY)
        cell = cells.setdefault(place, {**dict(zip(FILES_KEY, place, strict=True)), "files": {}, "states": {}})
        cell["files"][row["state_dtype"]] = row["file_bytes"]
        cell["states"][row["state_dtype"]] = row["state_bytes"]
    found = list(cells.values())
    for cell in found:
        cell["of first"] = {dtype: bytes_ / found[0]["files"][dtype] for dtype, bytes_ in cell["files"].items()}
    return found


def compared_dtype(cells: Iterable[Record]) -> str:
    """The state dtype in which files are compared: bf16, or the first that was measured."""
    names = list(next(iter(cells))["files"])
    return "bf16" if "bf16" in names else names[0]

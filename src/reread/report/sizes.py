"""Runs of state sizes as numbers and as words: recall beside bytes, and what a cache of keys and values would take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from reread.report.cells import Record, documents, mean_of
from reread.report.paired import compare, pairs
from reread.report.words import percent, size

SIZES_KEY = ("task", "state_dtype")
SIZES_COLUMNS = (
    "task", "state dtype", "bytes", "of fp32", "n", "documents", "contains", "against fp32", "wins, losses",
    "logit error, median", "largest",
)  # fmt: skip
CACHE_COLUMNS = ("tokens", "keys and values, fp32", "the state, fp32", "times as large", "the state, int4")
CACHE_TOKENS = (1024, 8192, 32768)
BYTES = 4


def state_cells(rows: Iterable[Record]) -> list[Record]:
    """One record per task and state dtype, in order of appearance; each against the first dtype of its task."""
    cells: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        cells.setdefault((row["task"], row["state_dtype"]), []).append(row)
    first = {task: cell for (task, _), cell in reversed(cells.items())}
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


def size_words(record: Record) -> Record:
    gain = record["against first"]
    return {
        **record,
        "bytes": f"{record['bytes']:,.0f}",
        "of fp32": f"{100 * record['of first']:.0f} %",
        "contains": percent(record["contains"]),
        "against fp32": "-" if gain is None else percent(gain["contains"]),
        "wins, losses": "-" if gain is None else f"{gain['wins']}, {gain['losses']}",
        "logit error, median": f"{record['logit error']['median']:.4f}",
        "largest": f"{record['logit error']['most']:.4f}",
    }


def cache_words(config: Record, cells: Sequence[Record]) -> list[Record]:
    """The table of caches, for a Transformer of the run's layers and width."""
    bytes_ = {cell["state dtype"]: cell["bytes"] for cell in cells}
    found = []
    for tokens in CACHE_TOKENS:
        cache = cache_bytes(tokens, config["layers"], config["width"])
        found.append(
            {
                "tokens": f"{tokens:,}",
                "keys and values, fp32": size(cache),
                "the state, fp32": size(bytes_["fp32"]),
                "times as large": f"{cache / bytes_['fp32']:.0f}",
                "the state, int4": size(bytes_["int4"]),
            }
        )
    return found


def sizes_says(found: Record, commits: str) -> str:
    header, config = found["header"], found["header"]["config"]
    return (
        f"Run `{Path(found['run']).name}` of {header['started'][:10]}, commit {commits}, {header['machine']}: model "
        f"`{config['model']}`, strategy `{config['strategy']}`, prefix `document`, window `{config['window']}`, "
        f"{config['budget']} document tokens at most, greedy. contains in percent [95 % bootstrap interval over "
        "documents]; against fp32: paired differences in points; logit error: of the logits after the question, over "
        "the largest logit."
    )

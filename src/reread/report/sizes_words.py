"""Runs of state sizes in words: the tables of `sizes`."""

from __future__ import annotations

from collections.abc import Sequence

from reread.report.cells import Record
from reread.report.runs import origin
from reread.report.sizes import CACHE_TOKENS, cache_bytes, compared_dtype
from reread.report.words import percent, size

SIZES_COLUMNS = (
    "task", "state dtype", "bytes", "of fp32", "n", "documents", "contains", "against fp32", "wins, losses",
    "logit error, median", "largest",
)  # fmt: skip
CACHE_COLUMNS = ("tokens", "keys and values, fp32", "the state, fp32", "times as large", "the state, int4")


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


def sizes_says(found: Record) -> str:
    config = found["header"]["config"]
    return (
        f"{origin(found)}: model `{config['model']}`, strategy `{config['strategy']}`, "
        f"prefix `document`, window `{config['window']}`, {config['budget']} document tokens at most, "
        "greedy. contains in percent [95 % bootstrap interval over "
        "documents]; against fp32: paired differences in points; logit error: of the logits after the question, over "
        "the largest logit."
    )


def file_columns(cells: Sequence[Record]) -> tuple[str, ...]:
    dtypes = tuple(dict.fromkeys(dtype for cell in cells for dtype in cell["files"]))
    return ("model", "state", "tokens read", *dtypes, f"of the whole cache, {compared_dtype(cells)}")


def file_words(cell: Record) -> Record:
    kept, dtype = "all that the model keeps", compared_dtype([cell])
    if cell["positions"] is not None:
        kept = f"{cell['positions']:g} positions of each KV head, {cell['selection']}"
    return {
        "model": cell["model"] + (" (random weights)" if cell["weights"] == "random" else ""),
        "state": kept,
        "tokens read": f"{cell['tokens']:,}",
        **{name: f"{bytes_:,}" for name, bytes_ in cell["files"].items()},
        f"of the whole cache, {dtype}": f"{100 * cell['of first'][dtype]:.1f} %",
    }


def files_says(found: Record) -> str:
    config = found["header"]["config"]
    return (
        f"{origin(found)}: bytes of the state files of one text, as written, by state dtype; with the ids of the "
        f"tokens (4 bytes each), the canary and the header. The first line is the whole cache of "
        f"{config['tokens']:,} tokens. Models with random weights have the sizes of the published model of their name: "
        "the bytes of a state do not depend on its weights."
    )

"""Perplexity runs as numbers: bits per byte and perplexity per token, with intervals over documents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from reread.report.cells import Record
from reread.stats import Estimate, ratio_interval

PERPLEXITY_KEY = ("model", "text")
PAIRS = ("seen pairs", "at seen pairs", "elsewhere")
PERPLEXITY_COLUMNS = (*PERPLEXITY_KEY, "documents", "tokens", "perplexity", *PAIRS, "bits per byte", "tokens/s")


def predictions(rows: Iterable[Record]) -> list[Record]:
    """One record per model and text, in order of appearance."""
    cells: dict[tuple, list[Record]] = {}
    for row in rows:
        cells.setdefault(tuple(row[name] for name in PERPLEXITY_KEY), []).append(row)
    records = []
    for key, cell in cells.items():
        nats = [-row["nats"] for row in cell]
        per_token = ratio_interval(nats, [row["tokens"] for row in cell])
        tokens, seconds = sum(row["tokens"] for row in cell), sum(row["seconds"] for row in cell)
        records.append(
            {
                **dict(zip(PERPLEXITY_KEY, key, strict=True)),
                "documents": len(cell),
                "tokens": tokens,
                "perplexity": exponential(per_token),
                **pair_slices(cell),
                "bits per byte": ratio_interval(
                    [x / math.log(2) for x in nats], [row["bytes"] for row in cell]
                ).record(),
                "tokens/s": tokens / seconds if seconds else None,
            }
        )
    return records


def exponential(nats: Estimate) -> Record:
    return {name: None if x is None else math.exp(x) for name, x in nats.record().items()}


def pair_slices(cell: Sequence[Record]) -> Record:
    """Perplexity at tokens that repeat a pair of tokens of their document, and at all others; older runs do not say."""
    if not all("pair_nats" in row for row in cell):
        return {}
    parts = {
        "at seen pairs": [(-row["pair_nats"], row["pair_tokens"]) for row in cell],
        "elsewhere": [(row["pair_nats"] - row["nats"], row["tokens"] - row["pair_tokens"]) for row in cell],
    }
    found: Record = {"seen pairs": sum(row["pair_tokens"] for row in cell) / sum(row["tokens"] for row in cell)}
    for name, part in parts.items():
        if some := [pair for pair in part if pair[1]]:
            found[name] = exponential(ratio_interval([nats for nats, _ in some], [tokens for _, tokens in some]))
    return found

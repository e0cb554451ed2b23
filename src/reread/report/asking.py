"""Runs of `bench ask` as numbers: what one more question costs, and ratios within each round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import comb

from reread.report.cells import Record

ASK_KEY = ("what", "N")


def middle(values: Sequence[float]) -> dict[str, float]:
    """The median of rounds, and the narrowest pair of rounds, as far from either end, that holds the true median with
    95 % or more (the binomial of n fair coins); with fewer than 6 rounds the lowest and the highest."""
    ordered, n = sorted(values), len(values)
    outer = 0
    while 2 * (outer + 1) < n and 2 * sum(comb(n, k) for k in range(outer + 2)) <= 0.05 * 2**n:
        outer += 1
    half = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return {"mean": half, "low": ordered[outer], "high": ordered[n - 1 - outer]}


def ask_cells(rows: Iterable[Record]) -> list[Record]:
    """One record per contender: seconds per question, whole and until the first new token is known; and how many times
    as fast as the first named it was, round by round."""
    cells: dict[tuple, dict[str, dict[int, Record]]] = {}
    for row in rows:
        cell = cells.setdefault(tuple(row[name] for name in ASK_KEY), {})
        cell.setdefault(row["name"], {})[row["round"]] = row
    records = []
    for (what, tokens), contenders in cells.items():
        base = next(iter(contenders.values()))
        for name, by_round in contenders.items():
            one = next(iter(by_round.values()))
            record = {"what": what, "tokens": tokens, "name": name, "rounds": len(by_round)}
            record |= {"questions": one["questions"], "new tokens": one["new_tokens"]}
            for measure, seconds in (("answer", whole), ("first token", until_first)):
                record[measure] = middle([seconds(row) / row["questions"] for row in by_round.values()])
                ratios = [seconds(base[n]) / seconds(row) for n, row in by_round.items() if n in base]
                record[f"{measure}, times as fast"] = middle(ratios)
            records.append({**record, **{size: one.get(size) for size in ("state_bytes", "file_bytes")}})
    return records


def whole(row: Record) -> float:
    return row["seconds"]


def until_first(row: Record) -> float:
    return row["seconds"] - row["decode_seconds"]

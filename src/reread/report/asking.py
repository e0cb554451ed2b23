"""Runs of `bench ask` as numbers: what one more question costs, and ratios within each round."""

from __future__ import annotations

from collections.abc import Iterable

from reread.report.cells import Record
from reread.stats import median_interval

ASK_KEY = ("what", "N")


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
                record[measure] = median_interval(
                    [seconds(row) / row["questions"] for row in by_round.values()]
                ).record()
                ratios = [seconds(base[n]) / seconds(row) for n, row in by_round.items() if n in base]
                record[f"{measure}, times as fast"] = median_interval(ratios).record()
            records.append({**record, **{size: one.get(size) for size in ("state_bytes", "file_bytes")}})
    return records


def whole(row: Record) -> float:
    return row["seconds"]


def until_first(row: Record) -> float:
    return row["seconds"] - row["decode_seconds"]

"""Rows of a bench run as numbers: medians over rounds, and ratios within each round."""

from __future__ import annotations

from collections.abc import Iterable

from reread.report.cells import Record
from reread.stats import quartiles

BENCH_KEY = ("what", "dtype", "N")
ONE: Record = {"batch": 1}  # runs from before there were batches


def timings(rows: Iterable[Record]) -> list[Record]:
    """One record per contender: its seconds, and how many times as fast as the one that it is held against it was,
    round by round (None where that one was not timed)."""
    cells: dict[tuple, dict[str, dict[int, Record]]] = {}
    for row in rows:
        whole: Record = ONE | row
        cell = cells.setdefault(tuple(whole[name] for name in (*BENCH_KEY, "batch")), {})
        cell.setdefault(whole["name"], {})[whole["round"]] = whole
    records = []
    for key, contenders in cells.items():
        opened = next(iter(contenders))  # of runs from before rows said what they are held against
        for name, by_round in contenders.items():
            one: Record = next(iter(by_round.values()))
            seconds: list[float] = [row["seconds"] for row in by_round.values()]
            middle, base = quartiles(seconds), contenders.get(one.get("against", opened))
            records.append(
                {
                    **dict(zip((*BENCH_KEY, "batch"), key, strict=True)),
                    "name": name,
                    "rounds": len(seconds),
                    "seconds": middle.record(),
                    "tokens/s": (one.get("tokens") or one["N"]) / middle.mean,
                    "times as fast": base and quartiles(times(base, by_round)).record(),
                    "state": one.get("state_bytes"),
                    "parameters": one.get("parameters"),
                    **memory(by_round.values()),
                    **reached(one, middle.mean),
                }
            )
    return records


def times(base: dict[int, Record], by_round: dict[int, Record]) -> list[float]:
    """How many times as fast as the base, per round."""
    return [base[n]["seconds"] / row["seconds"] for n, row in by_round.items()]


def memory(rows: Iterable[Record]) -> Record:
    """The peak of memory, and by how much it is above that of a short text, in bytes; nothing without one."""
    peaks = [(row["peak_bytes"], row["peak_bytes"] - row["before_bytes"]) for row in rows if "peak_bytes" in row]
    if not peaks:
        return {}
    high, above = zip(*peaks, strict=True)
    return {"peak": quartiles(high).record(), "above short": quartiles(above).record()}


def reached(row: Record, seconds: float) -> Record:
    """Bytes and operations a second, of those that are needed at least, and the share of the time that this machine
    needs at least; nothing where they were not counted."""
    if "least_seconds" not in row:
        return {}
    return {
        "GB/s": row["bytes"] / seconds / 1e9,
        "TFLOP/s": row["flops"] / seconds / 1e12,
        "of the roofline": row["least_seconds"] / seconds,
    }

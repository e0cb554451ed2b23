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
CELL_COLUMNS = (
    *KEY, "n", "documents", "answer shown", "contains", "f1", "prompt tokens", "read tokens/s", "state",
)  # fmt: skip
PAIR_COLUMNS = (*KEY, "n", "contains")
Record = dict[str, Any]


def size(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def mean_of(values: Sequence[float], rows: Sequence[Record], worst: float = 0.0) -> dict[str, float]:
    """Mean and 95 % interval over the rows' documents, as shares."""
    mean, low, high = interval(values, [row["document"] for row in rows], worst=worst)
    return {"mean": mean, "low": low, "high": high}


def percent(value: dict[str, float]) -> str:
    """ "41.2 [37.0, 45.4]" in percent."""
    return f"{100 * value['mean']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


def labels(models: Iterable[str]) -> dict[str, str]:
    """Every model's folder without the path to it, as much of it as tells the models apart."""
    paths = {model: Path(model).parts or (model,) for model in models}
    short: dict[str, str] = {}
    for model, parts in paths.items():
        others = [other for name, other in paths.items() if name != model]
        n = next((n for n in range(1, len(parts)) if not any(o[-n:] == parts[-n:] for o in others)), len(parts))
        short[model] = "/".join(parts[-n:])
    return short


def cells_of(rows: Iterable[Record]) -> dict[tuple, list[Record]]:
    """Rows by (model, task, strategy, window, budget), in order of appearance."""
    cells: dict[tuple, list[Record]] = {}
    for row in rows:
        cells.setdefault(tuple(row[name] for name in KEY), []).append(row)
    return cells


def summarise(rows: Iterable[Record]) -> list[Record]:
    """One record per cell, in order of appearance: means with intervals, tokens per second, bytes of state."""
    records = []
    for key, cell in cells_of(rows).items():
        seconds = sum(row["read_seconds"] for row in cell)
        tokens = sum(row["prompt_tokens"] for row in cell)
        records.append(
            {
                **dict(zip(KEY, key, strict=True)),
                "n": len(cell),
                "documents": len({row["document"] for row in cell}),
                "answer shown": sum(row["in_document"] for row in cell) / len(cell),
                "contains": mean_of([row["contains"] for row in cell], cell),
                "f1": mean_of([row["f1"] for row in cell], cell),
                "prompt tokens": tokens / len(cell),
                "read tokens/s": tokens / seconds if seconds else None,
                "state": cell[0]["state_bytes"],
            }
        )
    return records


def differences(rows: Iterable[Record]) -> list[Record]:
    """`contains` of two cells that differ in the model alone, or in the strategy alone, sample by sample.

    `against` names what is taken away: the model or strategy that the run names first.  The
    interval is that of the mean of the paired differences, over documents.
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
            before = {(row["id"], row["question"]): row["contains"] for row in cells[base_key]}
            paired = [row["contains"] - before[(row["id"], row["question"])] for row in cell]
            record = {**dict(zip(KEY, key, strict=True)), "differs": what, "against": first[rest]}
            records.append({**record, "n": len(paired), "contains": mean_of(paired, cell, worst=-1.0)})
    return records


BENCH_KEY = ("what", "dtype", "N")
BENCH_COLUMNS = (*BENCH_KEY, "name", "rounds", "ms", "tokens/s", "times as fast", "state", "parameters")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, and the quarter and three-quarter points."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = int(place)
        return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])

    return {"mean": at(0.5), "low": at(0.25), "high": at(0.75)}


def timings(rows: Iterable[Record]) -> list[Record]:
    """One record per contender: its seconds, and how many times as fast as the contender first named it was,
    round by round."""
    cells: dict[tuple, dict[str, dict[int, Record]]] = {}
    for row in rows:
        cell = cells.setdefault(tuple(row[name] for name in BENCH_KEY), {})
        cell.setdefault(row["name"], {})[row["round"]] = row
    records = []
    for key, contenders in cells.items():
        base = next(iter(contenders.values()))
        for name, by_round in contenders.items():
            one: Record = next(iter(by_round.values()))
            seconds: list[float] = [row["seconds"] for row in by_round.values()]
            records.append(
                {
                    **dict(zip(BENCH_KEY, key, strict=True)),
                    "name": name,
                    "rounds": len(seconds),
                    "seconds": spread(seconds),
                    "tokens/s": (one.get("tokens") or one["N"]) / spread(seconds)["mean"],
                    "times as fast": spread([base[n]["seconds"] / row["seconds"] for n, row in by_round.items()]),
                    "state": one.get("state_bytes"),
                    "parameters": one.get("parameters"),
                }
            )
    return records


def timing_words(record: Record) -> Record:
    seconds, ratio = record["seconds"], record["times as fast"]
    return {
        **record,
        "N": f"{record['N']:,}",
        "ms": f"{1e3 * seconds['mean']:,.1f} [{1e3 * seconds['low']:,.1f}, {1e3 * seconds['high']:,.1f}]",
        "tokens/s": f"{record['tokens/s']:,.0f}",
        "times as fast": f"{ratio['mean']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]",
        "state": size(record["state"]) if record["state"] else "-",
        "parameters": f"{record['parameters'] / 1e6:.0f} M" if record["parameters"] else "-",
    }


def bench_report(found: Record) -> str:
    header = found["header"]
    return (
        f"Run `{Path(found['run']).name}` of {header['started'][:10]}, commit {header['commit']}, {header['machine']}, "
        f"{header['config']['threads']} threads: contenders in turn, median over rounds [quartiles]; times as fast: as "
        "the first named, within each round.\n\n" + table(map(timing_words, found["timings"]), BENCH_COLUMNS) + "\n"
    )


def tables(folder: Path) -> Record:
    """What an evaluation or bench run says, as numbers: header, cells and paired differences, or timings.

    Raises BadInput for an unfinished run, and for one whose rows are not all there.
    """
    run = Run(folder)
    header, rows = run.header(), list(run.rows())
    if header["kind"] == "bench":
        run.summary()
        return {"run": str(folder), "header": header, "timings": timings(rows)}
    if header["kind"] != "eval":
        raise BadInput("this run holds nothing to report", got=header["kind"], allowed="eval, bench")
    expected = run.summary()["rows"]
    if len(rows) != expected:
        raise BadInput("rows of this run are missing", got=len(rows), allowed=f"{expected} (done.json)")
    return {"run": str(folder), "header": header, "cells": summarise(rows), "differences": differences(rows)}


def table(records: Iterable[Record], columns: Sequence[str]) -> str:
    """Records of words as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(record[column]) for column in columns) + " |" for record in records]
    return "\n".join(lines)


def cell_words(record: Record, short: dict[str, str]) -> Record:
    speed = record["read tokens/s"]
    return {
        **record,
        "model": short[record["model"]],
        "answer shown": f"{100 * record['answer shown']:.0f} %",
        "contains": percent(record["contains"]),
        "f1": percent(record["f1"]),
        "prompt tokens": f"{record['prompt tokens']:.0f}",
        "read tokens/s": f"{speed:,.0f}" if speed else "-",
        "state": size(record["state"]),
    }


def pair_words(record: Record, short: dict[str, str]) -> Record:
    named = {**record, "model": short[record["model"]], "contains": percent(record["contains"])}
    against = short.get(record["against"], record["against"])
    return {**named, record["differs"]: f"{named[record['differs']]} - {against}"}


def report(folder: Path) -> str:
    """The tables of a run in Markdown, headed by where they came from.  Raises as `tables`."""
    found = tables(folder)
    if "timings" in found:
        return bench_report(found)
    header, config = found["header"], found["header"]["config"]
    commits = dict.fromkeys(part["commit"] for part in (header, *header.get("resumed", ())))
    short = labels(dict.fromkeys(record["model"] for record in found["cells"]))
    text = (
        f"Run `{folder.name}` of {header['started'][:10]}, commit {', '.join(map(str, commits))}, "
        f"{header['machine']}: window `{config['window']}`, prefix `{config['prefix']}`, greedy, at most "
        f"{config['max_new_tokens']} new tokens. Mean [95 % bootstrap interval over documents], in percent; one set "
        f"of weights per model, so training seeds are not in the interval. budget: document tokens at most, per "
        f"copy; answer shown: samples whose answer stands in what was shown of the document."
    )
    text += "\n\n" + table((cell_words(record, short) for record in found["cells"]), CELL_COLUMNS) + "\n"
    if found["differences"]:
        text += "\nPaired differences of `contains`, in points:\n\n"
        text += table((pair_words(record, short) for record in found["differences"]), PAIR_COLUMNS) + "\n"
    return text

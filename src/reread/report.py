"""Tables from run folders, and nothing else: no torch, no model, no benchmark file.

Every mean stands with its n and its 95 % bootstrap interval; every table names the window.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reread.errors import BadInput
from reread.runlog import Run
from reread.tasks.metrics import interval

COLUMNS = ("model", "task", "strategy", "window", "n", "contains", "f1", "prompt tokens", "read tokens/s", "state")


def size(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def percent(values: list[float]) -> str:
    """ "41.2 [37.0, 45.4]" in percent."""
    mean, low, high = interval(values)
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def label(model: str) -> str:
    """A model's folder without the path to it."""
    return Path(model).name


def summarise(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record per (model, task, strategy, window), in order of appearance."""
    cells: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["model"], row["task"], row["strategy"], row["window"]), []).append(row)
    records = []
    for (model, task, strategy, window), cell in cells.items():
        seconds = sum(r["read_seconds"] for r in cell)
        tokens = sum(r["prompt_tokens"] for r in cell)
        records.append(
            {
                "model": label(model),
                "task": task,
                "strategy": strategy,
                "window": window,
                "n": len(cell),
                "contains": percent([r["contains"] for r in cell]),
                "f1": percent([r["f1"] for r in cell]),
                "prompt tokens": f"{tokens / len(cell):.0f}",
                "read tokens/s": f"{tokens / seconds:,.0f}" if seconds else "-",
                "state": size(cell[0]["state_bytes"]),
            }
        )
    return records


def markdown(records: list[dict[str, Any]]) -> str:
    """The records as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(str(record[c]) for c in COLUMNS) + " |" for record in records]
    return "\n".join(lines)


def report(folder: Path) -> str:
    """The table of an evaluation run, headed by where it came from.  Raises BadInput for an unfinished run."""
    run = Run(folder)
    header = run.header()
    if header["kind"] != "eval":
        raise BadInput("this run holds no evaluation", got=header["kind"], allowed="eval")
    run.summary()
    config = header["config"]
    about = (
        f"Run `{folder.name}` of {header['started'][:10]}, commit {header['commit']}, {header['machine']}: "
        f"context {config['context']} tokens per copy, window `{config['window']}`, prefix `{config['prefix']}`, "
        f"greedy, at most {config['max_new_tokens']} new tokens; mean [95 % bootstrap interval], in percent."
    )
    return f"{about}\n\n{markdown(summarise(run.rows()))}\n"

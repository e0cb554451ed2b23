"""Runs with everything that rows may hold, written by a program; names as hostile as they may come."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reread.runlog import Run

HOSTILE = '<script>alert("x")</script> & "quotes" | pipe \\ $x_1$ %~^#{}'
STRATEGIES = ("once", "twice", "repeat(3)", "hierarchical(levels=paragraph+sentence, overlap=0.2)")
TASKS = ("fda", "squad")
CONFIG = {"window": "head", "budgets": [512], "prefix": "prompt", "max_new_tokens": 48, "seed": 0, "limit": 0}


def row(**changes: Any) -> dict[str, Any]:
    """One row as evaluations wrote it first."""
    base = {
        "model": "small", "task": "fda", "strategy": "once", "policy": "prompt", "window": "head", "budget": 512,
        "id": "a", "document": "d", "question": "q", "prediction": "p", "answers": ["r"], "contains": 1.0, "f1": 0.5,
        "in_document": 1.0, "prompt_tokens": 10, "read_seconds": 0.5, "decode_seconds": 0.1, "state_bytes": 2048,
    }  # fmt: skip
    return {**base, **changes}


def rich_rows(
    models: tuple[str, ...] = ("runs/small_jrt", "runs/small_causal"),
    tasks: tuple[str, ...] = TASKS,
    strategies: tuple[str, ...] = STRATEGIES,
    n: int = 30,
) -> Iterator[dict[str, Any]]:
    """Rows with every field that newer runs have; two questions of each document."""
    for model in models:
        for task in tasks:
            for number, strategy in enumerate(strategies):
                draw = random.Random(f"{task} {strategy} {model}")
                for i in range(n):
                    tokens = 60 * 2 ** (i % 5)
                    right = float(draw.random() < 0.3 + 0.1 * number)
                    yield row(
                        model=model, task=task, strategy=strategy, id=f"{task}/{i}", document=f"{task} {i // 2}",
                        template=f"published/{task}", question=f"{HOSTILE} {i}?", contains=right, exact=right,
                        prediction="\u202e\ud800\x00 " + HOSTILE * 20, answers=[HOSTILE, "b", "c", "d"],
                        loglik=None if i == 3 else -draw.random(), document_tokens=tokens, prompt_tokens=tokens,
                        read_tokens=tokens * (number + 1), position=None if i % 7 == 0 else (i % 5) / 4,
                        peak_bytes=2**20 * (i + 1), dropped_tokens=0,
                    )  # fmt: skip


def bench_rows() -> Iterator[dict[str, Any]]:
    for number in range(3):
        for N in (512, 2048, 8192):
            for speed, name in ((1, "softmax (SDPA)"), (2, "linear")):
                seconds = N * (N if speed == 1 else 2000) * 1e-9 * (1 + 0.1 * number)
                yield {"what": "op", "dtype": "float32", "N": N, "name": name, "round": number, "seconds": seconds}


def finished(folder: Path, rows: Any, kind: str = "eval", **config: Any) -> Path:
    """A finished run folder of these rows."""
    run = Run.start(folder, kind, {**CONFIG, **config} if kind == "eval" else config)
    rows = list(rows)
    with (run.folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in rows)
    run.finish({"rows": len(rows)} if kind == "eval" else {"rounds": 3})
    return run.folder

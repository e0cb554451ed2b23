"""The demonstration: three documents written for this project, asked once and twice."""

from __future__ import annotations

import json
import time
from importlib import resources
from pathlib import Path
from typing import Any

from reread.engine import Reader
from reread.models import load
from reread.prompting import build
from reread.report import size
from reread.tasks.metrics import contains


def documents() -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The example documents by file name, and their questions."""
    folder = Path(str(resources.files("reread") / "assets" / "demo"))
    questions = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    return {p.name: p.read_text(encoding="utf-8").strip() for p in sorted(folder.glob("*.txt"))}, questions


def run_demo(model: str) -> dict[str, Any]:
    """Rows (document, question, answer, what each strategy gave) and a line that says what they mean."""
    began = time.perf_counter()
    reader = Reader(load(model))
    texts, questions = documents()
    form = reader.lm.template("field")
    rows = [{"document": q["document"], "question": q["question"], "answer": q["answers"][0]} for q in questions]
    seconds, state_bytes, tokens = {}, 0, 0
    for strategy in ("once", "twice"):
        prompts = [
            build(strategy, texts[row["document"]], row["question"], form).encode(reader.lm.tokenizer) for row in rows
        ]
        answers = reader.answer(prompts, stop=form.stop, batch=len(prompts))
        seconds[strategy] = sum(a.read_seconds + a.decode_seconds for a in answers)
        state_bytes = answers[0].state_bytes
        tokens = max(tokens, max(a.prompt_tokens for a in answers))
        for row, answer in zip(rows, answers, strict=True):
            row[strategy] = {"text": answer.text, "right": bool(contains(answer.text, [row["answer"]]))}
    right = {s: sum(row[s]["right"] for row in rows) for s in seconds}
    says = (
        f"Right: {right['once']} of {len(rows)} read once, {right['twice']} of {len(rows)} read twice "
        f"({seconds['once']:.1f} s and {seconds['twice']:.1f} s; {time.perf_counter() - began:.1f} s in all).\n"
        f"The model keeps {size(state_bytes)} of memory however long the document is (here up to {tokens} tokens); "
        "what does not fit is forgotten.\n"
        "Eighteen questions show the path, not the quality: docs/results.md has the measured table.\n"
        "Try next: reread ask FILE 'Name of a field' --strategy twice"
    )
    return {"model": model, "rows": rows, "right": right, "seconds": seconds, "state_bytes": state_bytes, "says": says}

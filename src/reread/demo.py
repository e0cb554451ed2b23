"""The demonstration: three documents written for this project, and what a model answers about them."""

from __future__ import annotations

import json
import time
from importlib import resources
from pathlib import Path
from typing import Any

from reread.engine import Reader
from reread.models import load
from reread.prompting import NOT_FOUND, build, template_for
from reread.report import size
from reread.tasks.metrics import contains


def documents() -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The example documents by file name, and their questions; one without answers is not answered by its document."""
    folder = Path(str(resources.files("reread") / "assets" / "demo"))
    questions = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    return {p.name: p.read_text(encoding="utf-8").strip() for p in sorted(folder.glob("*.txt"))}, questions


def run_demo(model: str) -> dict[str, Any]:
    """Rows (document, question, answer, what each strategy gave) and a line that says what they mean.

    A model that was trained to answer questions reads each document once and is asked everything; another is asked the
    fields that the documents hold, after one reading and after two.
    """
    began = time.perf_counter()
    reader = Reader(load(model))
    texts, questions = documents()
    answers_questions = reader.lm.template("question").name == reader.lm.template("field").name
    if not answers_questions:
        questions = [q for q in questions if q["answers"] and template_for(q["question"]) == "field"]
    rows = [
        {"document": q["document"], "question": q["question"], "answer": (q["answers"] or [NOT_FOUND])[0]}
        for q in questions
    ]
    seconds, state_bytes, tokens = {}, 0, 0
    for strategy in ("once",) if answers_questions else ("once", "twice"):
        forms = [reader.lm.template(template_for(row["question"])) for row in rows]
        prompts = [
            build(strategy, texts[row["document"]], row["question"], form).encode(reader.lm.tokenizer)
            for row, form in zip(rows, forms, strict=True)
        ]
        answers = reader.answer(prompts, stop=forms[0].stop, batch=len(prompts))
        seconds[strategy] = sum(a.read_seconds + a.decode_seconds for a in answers)
        state_bytes = max(a.state_bytes for a in answers)
        tokens = max(tokens, max(a.prompt_tokens for a in answers))
        for row, answer in zip(rows, answers, strict=True):
            row[strategy] = {"text": answer.text, "right": bool(contains(answer.text, [row["answer"]]))}
    right = {s: sum(row[s]["right"] for row in rows) for s in seconds}
    counted = ", ".join(f"{right[s]} of {len(rows)} read {s} ({seconds[s]:.1f} s)" for s in seconds)
    says = (
        f"Right: {counted}; {time.perf_counter() - began:.1f} s in all.\n"
        f"The model keeps at most {size(state_bytes)} of memory of a document here (up to {tokens} tokens).\n"
        f"These {len(rows)} questions are easy ones: docs/results has what was measured.\n"
        "Try next: reread ask FILE 'A question?'"
    )
    return {"model": model, "rows": rows, "right": right, "seconds": seconds, "state_bytes": state_bytes, "says": says}

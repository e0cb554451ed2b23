"""The demonstration: three documents written for this project, what a model answers about them, and what a state of
fixed size keeps of them after one reading and after two."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from reread.engine import Reader
from reread.forgotten import FORGOTTEN
from reread.models import load
from reread.models.kept_reading import full_attention_layers
from reread.prompting import NOT_FOUND, build, template_for
from reread.report import size
from reread.tasks.metrics import contains

WHOLE, ONCE, TWICE = "whole", "once", "twice"
SELECTIONS = {WHOLE: "full", ONCE: "keydiff(tokens=32)", TWICE: "reread(tokens=32)"}
STATES_SAY = "The state is chosen before any question is known: a second reading shows which keys the text needs."
Row = dict[str, Any]


def documents() -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The example documents by file name, and their questions; one without answers is not answered by its document."""
    folder = Path(str(resources.files("reread") / "assets" / "demo"))
    questions = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    return {p.name: p.read_text(encoding="utf-8").strip() for p in sorted(folder.glob("*.txt"))}, questions


def run_demo(model: str, adapter: Sequence[str] = ()) -> dict[str, Any]:
    """Rows (document, question, answer, what was answered after each reading) and lines that say what they mean.

    A model that was trained to answer questions and has full attention reads each document into its whole cache, and
    into a state of fixed size that is chosen after one reading and after two.  Another model is asked the fields that
    the documents hold, with the strategies `once` and `twice`.
    """
    began = time.perf_counter()
    reader = Reader(load(model, adapter=adapter))
    texts, questions = documents()
    if reader.lm.template("question").name != reader.lm.template("field").name:
        questions = [q for q in questions if q["answers"] and template_for(q["question"]) == "field"]
        selects = False
    else:
        selects = bool(full_attention_layers(reader.lm.model))
    rows = [
        {"document": q["document"], "question": q["question"], "answer": (q["answers"] or [NOT_FOUND])[0]}
        for q in questions
    ]
    found = dict((with_states if selects else with_strategies)(reader, texts, rows))
    right = {way: sum(row[way]["right"] for row in rows) for way in found}
    says = [
        *([STATES_SAY] if selects else strategies_say(len(rows), right, found)),
        f"{time.perf_counter() - began:.0f} s in all. These {len(rows)} questions are easy: docs/results has more.",
        "Try next: reread ask FILE 'A question?'",
    ]
    return {"model": model, "rows": rows, "right": right, **totals(found), "says": "\n".join(says)}


def totals(found: dict[str, Row]) -> Row:
    """What each reading cost, by name of the cost."""
    names = dict.fromkeys(name for cost in found.values() for name in cost)
    return {name: {way: cost[name] for way, cost in found.items()} for name in names}


def judge(row: Row, way: str, text: str) -> None:
    row[way] = {"text": text, "right": bool(contains(text, [row["answer"]]))}


def with_states(reader: Reader, texts: dict[str, str], rows: list[Row]) -> Iterator[tuple[str, Row]]:
    """Every document is read into a state before its questions: all keys, or those that SELECTIONS choose."""
    for way, select in SELECTIONS.items():
        cost = {"seconds": 0.0, "state_bytes": 0, "tokens": 0, "lines": 0, "forgotten": 0}
        for name, own in groupby(rows, key=lambda row: str(row["document"])):
            asked = list(own)
            read = reader.read(texts[name], select=select)
            answers = reader.ask_read(read, [row["question"] for row in asked], batch=len(asked))
            for row, answer in zip(asked, answers, strict=True):
                judge(row, way, answer.text)
            cost["seconds"] += read.seconds + sum(a.read_seconds + a.decode_seconds for a in answers)
            cost["state_bytes"] = max(cost["state_bytes"], read.state.nbytes)
            cost["tokens"] = max(cost["tokens"], read.selected.tokens)
            lost = reader.read(texts[name], select=select, forgotten="line").lost  # again: not timed
            cost["lines"] += len(lost)
            cost["forgotten"] += sum(one.nats > FORGOTTEN for one in lost)
        yield way, cost


def costs_of(result: Row) -> list[tuple[str, ...]]:
    """A heading, and per state its right answers, forgotten lines, bytes and seconds; nothing without states."""
    if "forgotten" not in result:
        return []
    titles = {WHOLE: "whole: all keys", ONCE: "once: chosen after one reading", TWICE: "twice: after a second reading"}
    lines: list[tuple[str, ...]] = [("state", "right", "lines forgotten", "memory", "seconds")]
    for way, title in titles.items():
        lines.append(
            (
                f"{title}, {SELECTIONS[way]}",
                f"{result['right'][way]} of {len(result['rows'])}",
                f"{result['forgotten'][way]} of {result['lines'][way]}",
                size(result["state_bytes"][way]),
                f"{result['seconds'][way]:.1f}",
            )
        )
    return lines


def with_strategies(reader: Reader, texts: dict[str, str], rows: list[Row]) -> Iterator[tuple[str, Row]]:
    """Every question has a prompt of its own, with the document once or twice."""
    forms = [reader.lm.template(template_for(row["question"])) for row in rows]
    for strategy in (ONCE, TWICE):
        prompts = [
            build(strategy, texts[row["document"]], row["question"], form).encode(reader.lm.tokenizer)
            for row, form in zip(rows, forms, strict=True)
        ]
        answers = reader.answer(prompts, stop=forms[0].stop, batch=len(prompts))
        for row, answer in zip(rows, answers, strict=True):
            judge(row, strategy, answer.text)
        yield (
            strategy,
            {
                "seconds": sum(a.read_seconds + a.decode_seconds for a in answers),
                "state_bytes": max(a.state_bytes for a in answers),
                "tokens": max(a.prompt_tokens for a in answers),
            },
        )


def strategies_say(n: int, right: dict[str, int], found: dict[str, Row]) -> list[str]:
    seconds = {way: f"{cost['seconds']:.1f} s" for way, cost in found.items()}
    counted = ", ".join(f"{right[way]} of {n} read {way} ({spent})" for way, spent in seconds.items())
    most = max(found.values(), key=lambda cost: cost["tokens"])
    memory = size(max(cost["state_bytes"] for cost in found.values()))
    return [
        f"Right: {counted}.",
        f"The model keeps at most {memory} of memory of a document here (up to {most['tokens']} tokens).",
    ]

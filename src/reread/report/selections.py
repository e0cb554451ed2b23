"""Runs of `select-bench` as numbers: what is left of the whole cache's right answers in a state of fixed size.

Every share has its n and its 95 % bootstrap interval over documents.  A difference is paired: the same questions,
answered from the whole cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from reread.calibration import Judged, over_documents
from reread.forgotten import Near, is_lost, lost_near
from reread.models.kv_selection import FULL
from reread.presence import says_absent
from reread.report.cells import Record, column, documents, mean_of
from reread.report.paired import compare, pairs
from reread.report.reader import by_key
from reread.stats import auroc
from reread.tasks.metrics import SCORERS

TOGETHER = "all of these"
SELECTION_PLACE = ("set", "window", "budget")
SELECTION_FIELDS = (
    *SELECTION_PLACE, "selection", "id", "document", "ask", "answers", "prediction", "shown", "positions", "tokens",
    "state_bytes", "read_tokens", "read_seconds", "keep_seconds", "answer_seconds", "document_tokens",
)  # fmt: skip


def scored(row: Record) -> Record:
    """The row with its scores, all 0 for an answer "not found", and whether it is answered at all."""
    absent = says_absent(row["prediction"])
    scores = {name: 0.0 if absent else judge(row["prediction"], row["answers"]) for name, judge in SCORERS.items()}
    return {**row, "question": row["ask"], **scores, "answered": float(not absent)}


def mean_per_document(rows: Iterable[Record], name: str) -> float:
    """The mean over documents of a field that is the same in all rows of a document."""
    values = {row["document"]: row[name] for row in rows}
    return sum(values.values()) / len(values)


def selection_line(name: str, rows: Sequence[Record], full: Sequence[Record]) -> Record:
    """rows, full: scored rows of one selection and of the whole cache.

    answered: share of questions that are not answered "not found"; right of answered: share of those whose answer
    contains an accepted one, None without any; to full: paired difference of `contains`, None for `full` itself.
    positions: of a head; the fields after it are means over documents, answer seconds over questions.
    """
    said = [row for row in rows if row["answered"]]
    read = mean_per_document(rows, "read_seconds") + mean_per_document(rows, "keep_seconds")
    return {
        "selection": name,
        "n": len(rows),
        "documents": documents(rows),
        **{score: mean_of([row[score] for row in rows], rows) for score in SCORERS},
        "to full": None if name == FULL else compare(pairs(full, rows)),
        "answered": mean_of([row["answered"] for row in rows], rows),
        "right of answered": mean_of([row["contains"] for row in said], said) if said else None,
        "positions": mean_per_document(rows, "positions"),
        "state bytes": mean_per_document(rows, "state_bytes"),
        "read tokens": mean_per_document(rows, "read_tokens"),
        "read seconds": read,
        "answer seconds": sum(row["answer_seconds"] for row in rows) / len(rows),
    }


def warnings_of(name: str, rows: Sequence[Record], full: Sequence[Record]) -> Record:
    """How well what a state lost tells wrong answers from right ones; rows: scored, of one selection, with `near` and
    `lost`.

    A wrong answer does not contain an accepted one; "not found" is wrong.  AUROC of a wrong answer having the higher
    score, with its interval over documents: nearest, the loss of the units nearest to the question (of the document
    where none shares a word with it); document, the loss of the document; doubt, one minus the confidence.  of lost:
    the same of `nearest`, of the questions that the whole cache answers rightly.  warned: share of answers with a
    warning; wrong of warned, wrong of others: share of wrong answers, None where there are none.  lost seconds: of
    the repetitions, a mean over documents; None of several selections together.
    """
    right_in_full = {(row["document"], row["id"], row["ask"]): row["contains"] > 0 for row in full}
    near = [lost_near([Near(0, *pair) for pair in row["near"]]) for row in rows]
    warned = [is_lost(nats) for nats in near]
    nearest = [row["lost"] if nats is None else nats for nats, row in zip(near, rows, strict=True)]
    wrong = [not row["contains"] for row in rows]
    known = [i for i, row in enumerate(rows) if right_in_full[(row["document"], row["id"], row["ask"])]]

    def area(scores: Sequence[float], places: Sequence[int]) -> Record | None:
        told = [Judged(scores[i], not wrong[i], True, rows[i]["document"]) for i in places]
        if len({one.right for one in told}) < 2:
            return None
        values, is_wrong = np.array([one.confidence for one in told]), np.array([not one.right for one in told])
        return over_documents(told, lambda here: auroc(values[list(here)], is_wrong[list(here)]))

    def share(places: Sequence[int]) -> Record | None:
        return mean_of([float(wrong[i]) for i in places], [rows[i] for i in places]) if places else None

    every = range(len(rows))
    return {
        "selection": name,
        "n": len(rows),
        "documents": documents(rows),
        "wrong": share(every),
        "nearest": area(nearest, every),
        "document": area([row["lost"] for row in rows], every),
        "doubt": area([1.0 - row["confidence"] for row in rows], every),
        "n of lost": len(known),
        "of lost": area(nearest, known),
        "warned": mean_of(list(map(float, warned)), rows),
        "wrong of warned": share([i for i in every if warned[i]]),
        "wrong of others": share([i for i in every if not warned[i]]),
        "lost seconds": None if name == TOGETHER else mean_per_document(rows, "lost_seconds"),
    }


def warning_lines(own: dict[str, list[Record]], full: Sequence[Record]) -> list[Record]:
    """`warnings_of` each selection that was measured so; of several also of all their answers together."""
    told = {name: part for name, part in own.items() if column(part, "near")}
    every = {TOGETHER: [row for part in told.values() for row in part]} if len(told) > 1 else {}
    return [warnings_of(name, part, full) for name, part in {**told, **every}.items()]


def selection_tables(rows: Iterable[Record]) -> list[Record]:
    """A record per set, window and budget, in order of appearance, with a line per selection, `full` first."""
    found = []
    for key, cell in by_key(map(scored, rows), SELECTION_PLACE).items():
        own = {name: part for (name,), part in by_key(cell, ("selection",)).items()}
        full = own[FULL]
        found.append(
            {
                **dict(zip(SELECTION_PLACE, key, strict=True)),
                "n": len(full),
                "documents": documents(full),
                "shown": sum(row["shown"] for row in full) / len(full),
                "tokens": mean_per_document(full, "tokens"),
                "lines": [selection_line(name, part, full) for name, part in own.items()],
                **({"warnings": told} if (told := warning_lines(own, full)) else {}),
            }
        )
    return found

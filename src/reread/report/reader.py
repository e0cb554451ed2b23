"""Runs of `reader-bench` as numbers: right answers, and whether a reader says so where a document has no answer.

Every measure is a function of the rows' answers, so it can be changed without reading again.  A right answer contains
an accepted one.  Every share has its n and its 95 % bootstrap interval over documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from reread.calibration import Judged, over_documents
from reread.errors import BadInput, UnknownName
from reread.models.confidence import KINDS
from reread.presence import MOST_FOUND, fit_presence, lowest_threshold, presence_score, probability, says_absent
from reread.report.cells import Record, mean_of
from reread.runlog import Run
from reread.stats import auroc
from reread.tasks.metrics import SCORERS, contains

READER_KEY = ("system", "set", "kind", "window", "budget")
READER_FIELDS = (
    *READER_KEY, "id", "document", "ask", "answers", "prediction", "confidence", "absent", "ended", "shown",
)  # fmt: skip
ASIDE = "aside"  # the set that calibrations are fitted on


def is_right(row: Record) -> bool:
    """Whether the answer contains an accepted one; never for an answer "not found" or a question without answers."""
    return (
        bool(row["answers"])
        and not says_absent(row["prediction"])
        and bool(contains(row["prediction"], row["answers"]))
    )


def judged(rows: Iterable[Record]) -> list[Judged]:
    """Answers with their presence scores.  Present: an accepted answer is in the text that was shown."""
    return [
        Judged(
            presence_score(row["prediction"], row["confidence"], row["absent"], ended=row["ended"]),
            is_right(row),
            bool(row["answers"]),
            row["document"],
        )
        for row in rows
    ]


def by_key(rows: Iterable[Record], names: Sequence[str]) -> dict[tuple, list[Record]]:
    cells: dict[tuple, list[Record]] = {}
    for row in rows:
        cells.setdefault(tuple(row[name] for name in names), []).append(row)
    return cells


# calibration --------------------------------------------------------------------------------------------------------


def calibration_of(rows: Iterable[Record], system: str = "") -> Record:
    """The calibration of one system from its rows of the set `aside`, as presence.py describes it.

    system: its name ("": the only one).  Raises UnknownName, BadInput for too few answers.
    """
    cells = by_key((row for row in rows if row["set"] == ASIDE), ("system",))
    names = [name for (name,) in cells]
    if not names:
        raise BadInput(f"this run has no rows of the set {ASIDE}", todo=f"measure it: --set sets='[\"{ASIDE}\"]'")
    if not system and len(names) > 1:
        raise BadInput("this run holds several systems", got="; ".join(names), todo="name one with --system")
    if system and system not in names:
        raise UnknownName("system of this run", system, names)
    own = cells[(system or names[0],)]
    fits = {kind: fit_presence(judged(row for row in own if row["kind"] == kind)) for kind in KINDS}
    return {**fits, "documents": len({row["document"] for row in own}), "questions": len(own), "set": ASIDE}


def known_calibrations(rows: Sequence[Record]) -> dict[str, Record]:
    """By system: the calibrations that its rows of the set `aside` are enough for."""
    found = {}
    for name in dict.fromkeys(row["system"] for row in rows):
        try:
            found[name] = calibration_of(rows, name)
        except (BadInput, UnknownName):
            continue
    return found


# tables -------------------------------------------------------------------------------------------------------------


def reading_cell(rows: Sequence[Record]) -> Record:
    """Measures of questions with an answer.  shown: share whose answer is in the text that was shown; false absent:
    share of those that is answered "not found"."""
    shown = [row for row in rows if row["shown"]]
    measures = {
        name: mean_of(
            [0.0 if says_absent(row["prediction"]) else judge(row["prediction"], row["answers"]) for row in rows], rows
        )
        for name, judge in SCORERS.items()
    }
    return {
        "documents": len({row["document"] for row in rows}),
        "n": len(rows),
        "shown": len(shown) / len(rows),
        **measures,
        "false absent": mean_of([float(says_absent(row["prediction"])) for row in shown], shown) if shown else None,
    }


def area(all_: Sequence[Judged]) -> dict[str, float]:
    """AUROC of the presence score: right answers against questions without an answer."""
    told = [one for one in all_ if one.right or not one.present]
    scores = np.array([one.confidence for one in told])
    right = np.array([one.right for one in told], dtype=bool)
    return over_documents(told, lambda here: auroc(scores[list(here)], right[list(here)]))


def at_threshold(values: np.ndarray, threshold: float, all_: Sequence[Judged], rows: Sequence[Record]) -> Record:
    """What a threshold on `values` (n,) does.

    found: the share of absent questions found; lost: the share of questions with an answer whose right answer is below
    it; right: the share of right answers among those at or above it, of all questions (None where there are none).
    """
    found = values >= threshold
    given = [place for place in range(len(rows)) if found[place]]
    absent = [place for place, one in enumerate(all_) if not one.present]
    present = [place for place, one in enumerate(all_) if one.present]
    return {
        "found": mean_of([float(found[place]) for place in absent], [rows[place] for place in absent]),
        "lost": mean_of(
            [float(all_[place].right and not found[place]) for place in present], [rows[place] for place in present]
        ),
        "right": mean_of([float(all_[place].right) for place in given], [rows[place] for place in given])
        if given
        else None,
    }


def presence_cell(rows: Sequence[Record], calibration: Record | None, kind: str) -> Record:
    """Measures of questions without an answer, beside those with one.

    said: share of absent questions answered "not found".  default: at the calibration's threshold (None without one);
    own: at the threshold of this cell that leaves at most MOST_FOUND of its absent questions found.
    """
    all_ = judged(rows)
    scores = np.array([one.confidence for one in all_])
    absent = np.array([not one.present for one in all_])
    lowest = lowest_threshold(np.append(scores, 1.0), scores[absent])
    said = [row for row in rows if not row["answers"]]
    default = None
    if calibration is not None:
        fit = calibration[kind]
        default = {
            "threshold": fit["threshold"],
            **at_threshold(probability(fit, scores), fit["threshold"], all_, rows),
        }
    return {
        "documents": len({row["document"] for row in rows}),
        "right": sum(one.right for one in all_),
        "absent": int(absent.sum()),
        "auroc": area(all_) if any(one.right for one in all_) else None,
        "said": mean_of([float(says_absent(row["prediction"])) for row in said], said),
        "default": default,
        "own": {"threshold": lowest, **at_threshold(scores, lowest, all_, rows)},
    }


def source_of_aside(row: Record) -> str:
    """Which training source a row of the set `aside` is of: the first word of its document's name."""
    return str(row["document"]).partition(" ")[0]


def left_out_cells(rows: Sequence[Record]) -> list[Record]:
    """By system, kind and source of `aside`: what the threshold does that is fitted on the other sources, on this one.

    Without sources whose others are too few for a threshold, and those without absent questions.
    """
    found = []
    for (system, kind), cell in by_key((row for row in rows if row["set"] == ASIDE), ("system", "kind")).items():
        for source in dict.fromkeys(map(source_of_aside, cell)):
            own = [row for row in cell if source_of_aside(row) == source]
            others = [row for row in cell if source_of_aside(row) != source]
            all_ = judged(own)
            try:
                fit = fit_presence(judged(others))
            except BadInput:
                continue
            if all(one.present for one in all_) or not any(one.present for one in all_):
                continue
            values = probability(fit, np.array([one.confidence for one in all_]))
            place = {"system": system, "kind": kind, "source": source, "limit": fit["threshold"]}
            counts = {"answers": sum(one.right for one in all_), "absent": sum(not one.present for one in all_)}
            found.append({**place, **counts, **at_threshold(values, fit["threshold"], all_, own)})
    return found


def reader_cells(rows: Sequence[Record]) -> Record:
    """readings: a record per system, set, kind, window and budget; presence: of those with questions without an
    answer and with one; left out: as left_out_cells."""
    calibrations, readings, presence = known_calibrations(rows), [], []
    for key, cell in by_key(rows, READER_KEY).items():
        place: Record = dict(zip(READER_KEY, key, strict=True))
        answerable = [row for row in cell if row["answers"]]
        if answerable:
            readings.append({**place, **reading_cell(answerable)})
        if answerable and len(answerable) < len(cell):
            own = calibrations.get(place["system"])
            presence.append({**place, **presence_cell(cell, own, place["kind"])})
    told = {"readings": readings, "presence": presence, "left out": left_out_cells(rows)}
    return {**told, "most found": MOST_FOUND}


def answers_of(folder: Path, name: str, system: str = "", *, wrong: int | None = None) -> list[Record]:
    """The answers of a set, in the order of the rows; wrong: that many wrong ones at most, evenly spaced.

    A question without an answer is answered wrongly by anything but "not found".  Needs no finished run.  Raises
    UnknownName, BadInput.
    """
    run = Run(folder)
    if run.header()["kind"] != "reader_bench":
        raise BadInput("not a run of reader-bench", got=str(folder))
    rows = list(run.rows())
    for what, value, key in (("set of this run", name, "set"), ("system of this run", system, "system")):
        known = dict.fromkeys(row[key] for row in rows)
        if value and value not in known:
            raise UnknownName(what, value, known)
    found = [
        {**row, "right": is_right(row) if row["answers"] else says_absent(row["prediction"])}
        for row in rows
        if row["set"] == name and system in ("", row["system"])
    ]
    if wrong is None:
        return found
    missed = [row for row in found if not row["right"]]
    places = np.linspace(0, len(missed) - 1, min(wrong, len(missed))).round().astype(int)
    return [missed[place] for place in places.tolist()]

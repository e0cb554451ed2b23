"""Runs of `reader-bench` in words: the two tables of `reader`, and single answers."""

from __future__ import annotations

from collections.abc import Sequence

from reread.report.cells import Record
from reread.report.runs import origin
from reread.report.words import percent, shorten, spread_words

PLACE = ("system", "set", "kind", "window", "budget")
READING_COLUMNS = (*PLACE, "documents", "n", "shown", "contains", "exact", "f1", "false absent")
PRESENCE_COLUMNS = (
    *PLACE, "right", "absent", "AUROC", "answered not found", "threshold", "absent found", "points lost",
    "right of found", "points lost at own threshold",
)  # fmt: skip
LEFT_OUT_COLUMNS = (
    "system", "kind", "source", "right", "absent", "threshold", "absent found", "points lost", "right of found",
)  # fmt: skip
ANSWER_COLUMNS = ("document", "question", "expected", "answer", "confidence", "right")
INTERVALS = "in percent [95 % bootstrap interval over documents]"
ABSENT = "not found"


def reader_says(found: Record) -> str:
    config = found["header"]["config"]
    return (
        f"{origin(found)}: greedy, at most {config['max_new_tokens']} new tokens; budget: document tokens at most, of "
        f"the tokenizer of `{config['tokenizer']}`, so all systems see the same texts.\n\n"
        f"Questions with an answer, {INTERVALS}. n: questions; shown: share whose answer is in the text that was "
        'shown; contains, exact, f1: of the answer, where "not found" counts 0; false absent: answers "not found" '
        "where the answer was shown."
    )


def presence_says(found: Record) -> str:
    most = f"{found['most found']:.0%}".replace("%", " %")
    return (
        f"Questions without an answer, {INTERVALS}. right: right answers to questions with an answer; absent: "
        "questions without one; AUROC of the presence score between these two; answered not found: absent questions, "
        "without a threshold; threshold: the default one, a probability fitted on this system's rows of the set "
        "`aside`; absent found: absent questions at or above it; points lost: right answers below it, of all questions "
        "with an answer; right of found: right answers among those at or above it, those to absent questions counted "
        f"as wrong; points lost at own threshold: the same where at most {most} of this line's own absent "
        "questions are kept."
    )


def left_out_says() -> str:
    return (
        f"Questions of the set `aside` by their source, {INTERVALS}, at the threshold that is fitted on the other "
        "sources alone: what a kind of document that was not calibrated on has to expect. Columns as above."
    )


def threshold_words(told: Record, threshold: float) -> Record:
    return {
        "threshold": f"{threshold:.3f}",
        "absent found": percent(told["found"]),
        "points lost": percent(told["lost"]),
        "right of found": "-" if told["right"] is None else percent(told["right"]),
    }


def left_out_words(record: Record) -> Record:
    """A line of the table of sources that were left out."""
    return {**record, **threshold_words(record, record["limit"]), "right": record["answers"]}


def place_words(record: Record) -> Record:
    return {**record, "budget": f"{record['budget']:,}"}


def reading_words(record: Record) -> Record:
    false = record["false absent"]
    shares = {name: percent(record[name]) for name in ("contains", "exact", "f1")}
    return {
        **place_words(record),
        **shares,
        "shown": f"{100 * record['shown']:.0f} %",
        "false absent": "-" if false is None else percent(false),
    }


def presence_words(record: Record) -> Record:
    default, area = record["default"], record["auroc"]
    told = dict.fromkeys(("threshold", "absent found", "points lost", "right of found"), "-")
    if default is not None:
        told = threshold_words(default, default["threshold"])
    return {
        **place_words(record),
        "AUROC": "-" if area is None else spread_words(area, ".3f"),
        "answered not found": percent(record["said"]),
        **told,
        "points lost at own threshold": percent(record["own"]["lost"]),
    }


def answer_words(record: Record) -> Record:
    """A line of single answers."""
    return {
        "system": record["system"],
        "document": record["document"],
        "question": shorten(record["ask"]),
        "expected": " | ".join(shorten(answer, 100) for answer in record["answers"]) or ABSENT,
        "answer": shorten(record["prediction"]) or "(nothing)",
        "confidence": f"{record['confidence']:.3f}",
        "right": "yes" if record["right"] else "no",
    }


def answer_columns(records: Sequence[Record]) -> tuple[str, ...]:
    """The system where there are several."""
    several = len({record["system"] for record in records}) > 1
    return (*(("system",) if several else ()), *ANSWER_COLUMNS)

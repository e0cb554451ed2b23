"""Kinds of wrong answers: nothing, the same words over and over, something else ("Just read twice", table 13).

A function of rows: what a document says, which no row holds, is not asked, so an answer copied from the wrong place of
it and one that was made up are both "else".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reread.errors import BadInput
from reread.report.cells import Record, cells_of, mean_of, named
from reread.report.markdown import table
from reread.report.runs import merged, sources
from reread.report.words import BY_DEFAULT, labels, percent

TIMES, LONGEST = 3, 8
WRONG = ("nothing", "repetition", "else")
SAYS = (
    "Wrong answers (`contains` = 0), in percent of all questions [95 % bootstrap interval over documents]. Nothing: no "
    f"letter and no digit; repetition: up to {LONGEST} words that stand {TIMES} times in a row; else: all others."
)


def repeats(text: str) -> bool:
    """Whether some words, LONGEST at most, stand TIMES in a row; case aside."""
    words = text.lower().split()
    for size in range(1, LONGEST + 1):
        same = 0
        for place in range(size, len(words)):
            same = same + 1 if words[place] == words[place - size] else 0
            if same >= size * (TIMES - 1):
                return True
    return False


def kind_of(prediction: str) -> str:
    """The kind of a wrong answer: one of WRONG."""
    if not any(c.isalnum() for c in prediction):
        return "nothing"
    return "repetition" if repeats(prediction) else "else"


def wrong_answers(folders: Sequence[Path]) -> list[Record]:
    """Per cell of these evaluations: its name, n, and the shares of wrong answers, all and of each kind.

    Raises BadInput as `gather`, and where rows hold no predictions."""
    found = []
    asked = merged([run for run in sources(folders) if run.kind == "eval"])
    if not asked or not all("prediction" in row for row in asked):
        what = "kinds of wrong answers are told of evaluations whose rows hold the predictions"
        raise BadInput(what, got=", ".join(map(str, folders)))
    for key, rows in cells_of(asked).items():
        kinds = ["" if row["contains"] else kind_of(row["prediction"]) for row in rows]
        shares = {"wrong": mean_of([float(bool(kind)) for kind in kinds], rows)}
        shares |= {name: mean_of([float(kind == name) for kind in kinds], rows) for name in WRONG}
        found.append({"template": None, **named(key), "n": len(rows), **shares})
    return found


def wrong_table(folders: Sequence[Path]) -> str:
    records = wrong_answers(folders)
    short = labels(dict.fromkeys(record["model"] for record in records))
    told = ("policy", "selection", "window", "template")
    several = [name for name in told if len({record.get(name) for record in records}) > 1]
    columns = ("model", "strategy", *several, "budget", "task", "n", "wrong", *WRONG)
    words = [
        {**BY_DEFAULT, **record, "model": short[record["model"]]}
        | {name: percent(record[name]) for name in ("wrong", *WRONG)}
        for record in records
    ]
    return f"{SAYS}\n\n{table(words, columns)}\n"

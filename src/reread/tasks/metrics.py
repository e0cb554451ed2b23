"""Scorers: each judges one prediction.

`contains` is the score of the recall benchmarks (published harness: any accepted answer occurs in
the generated text, case-insensitively).  `f1` is SQuAD's token F1.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

SCORER = 2  # of `contains` in rows; rows without one are of 1, to which white space in answers counted


def contains(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if any answer is a case-insensitive substring of the prediction, else 0.0.  Any run of white space equals any
    other, and none counts at the ends; an answer of white space alone is none."""
    low = spaced(prediction)
    return float(any(answer in low for answer in map(spaced, answers) if answer))


def spaced(text: str) -> str:
    """Lower case, a blank for every run of white space."""
    return " ".join(text.lower().split())


def normalise(text: str) -> list[str]:
    """SQuAD's tokens: lower case, no punctuation, no articles."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The best token F1 over the accepted answers (SQuAD v1.1; where nothing is left of one of the two, as v2.0)."""
    best = 0.0
    got = normalise(prediction)
    for answer in answers:
        want = normalise(answer)
        same = sum((Counter(got) & Counter(want)).values())
        if not got or not want:
            best = max(best, float(got == want))
        elif same:
            precision, recall = same / len(got), same / len(want)
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def exact(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the prediction equals an answer in SQuAD's tokens, else 0.0 (SQuAD v1.1)."""
    return float(any(normalise(prediction) == normalise(answer) for answer in answers))


SCORERS = {"contains": contains, "exact": exact, "f1": f1}

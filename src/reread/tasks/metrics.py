"""Scorers and intervals.  A scorer judges one prediction; an interval says how sure a mean is.

`contains` is the score of the recall benchmarks (published harness: any accepted answer occurs in
the generated text, case-insensitively, nothing normalised).  `f1` is SQuAD's token F1.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np


def contains(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if any answer is a case-insensitive substring of the prediction, else 0.0."""
    low = prediction.lower()
    return float(any(answer.lower() in low for answer in answers))


def normalise(text: str) -> list[str]:
    """SQuAD's tokens: lower case, no punctuation, no articles."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The best token F1 over the accepted answers (SQuAD v1.1)."""
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


SCORERS = {"contains": contains, "f1": f1}


def interval(values: Sequence[float], *, resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95 % bootstrap interval (percentile; resampling single examples)."""
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = data[rng.integers(data.size, size=(resamples, data.size))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(data.mean()), float(low), float(high)

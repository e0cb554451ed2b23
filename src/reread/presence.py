"""Is the answer in the document?  A presence score, its calibration per kind of question, and a threshold.

score = exp(logprob / new_tokens) * (1 - absent); absent: the probability, at the first token of the answer, of the
first token of " not found".  A calibration maps scores to the probability that the answer is right, by piecewise linear
interpolation; an answer "not found", or without an end, has score and probability 0.  Numbers and answer texts only;
knows no model.

Its JSON: {"field": {"score": [..], "probability": [..], "threshold": p}, "question": {..}, "documents": n,
"questions": n, "set": name}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reread.calibration import Judged
from reread.errors import BadInput
from reread.models.confidence import Calibration
from reread.prompting import TEMPLATES

MOST_FOUND = 0.05  # of absent questions, at the default threshold
LEAST_RIGHT, LEAST_ABSENT = 10, 20
Fit = dict[str, Any]


def says_absent(text: str) -> bool:
    """Whether an answer says that the document does not hold it: "not found", or no letter and no digit."""
    return TEMPLATES["reader"].means_not_found(text) or not any(map(str.isalnum, text))


def presence_score(text: str, confidence: float, absent: float | None = None, *, ended: bool = True) -> float:
    """The presence score of an answer, 0 to 1.  absent: None where the engine does not tell it; ended: whether the
    model ended the answer itself: one that was cut is never found."""
    return 0.0 if says_absent(text) or not ended else confidence * (1.0 - (absent or 0.0))


def isotonic(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (k,) and probabilities (k,), both rising: isotonic regression of right (n,) on scores (n,).

    Each block of equal probability is one point at its mean score (centred isotonic regression, Oron and Flournoy
    2017), so that scores within a block stay distinct.
    """
    levels, place = np.unique(scores, return_inverse=True)
    blocks: list[np.ndarray] = []  # sum of right, sum of scores, count
    counts = np.bincount(place)
    for block in np.stack((np.bincount(place, weights=right), levels * counts, counts), axis=1):
        blocks.append(block)
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][2] >= blocks[-1][0] * blocks[-2][2]:
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    sums = np.array(blocks)
    return sums[:, 1] / sums[:, 2], sums[:, 0] / sums[:, 2]


def probability(fit: Fit, scores: np.ndarray) -> np.ndarray:
    """The probability that answers with these scores (n,) are right, (n,); 0 for score 0."""
    calibration = Calibration(tuple(fit["score"]), tuple(fit["probability"]), fit.get("threshold", 0.0))
    return np.array([calibration.at(score) if score > 0 else 0.0 for score in scores.tolist()])


def share_found(values: np.ndarray, threshold: float) -> float:
    return float((values >= threshold).mean())


def lowest_threshold(every: np.ndarray, absent: np.ndarray, most: float = MOST_FOUND) -> float:
    """The lowest of the values `every` that at most this share of the values `absent` reaches; 1 without one."""
    fitting = (float(value) for value in np.unique(every) if share_found(absent, value) <= most)
    return next(fitting, 1.0)


def fit_presence(judged: Sequence[Judged]) -> Fit:
    """The calibration of one kind of question from answers whose `confidence` is their presence score.

    The threshold is the lowest probability that at most MOST_FOUND of the absent questions reach.  Raises BadInput
    for too few answers, and where that threshold keeps no right answer.
    """
    scores = np.array([one.confidence for one in judged])
    right, present = (np.array([getattr(one, name) for one in judged], dtype=bool) for name in ("right", "present"))
    if right.sum() < LEAST_RIGHT or (~present).sum() < LEAST_ABSENT:
        what = "a calibration needs more right answers, or more questions without an answer"
        got = f"{int(right.sum())} right, {int((~present).sum())} absent"
        raise BadInput(what, got=got, allowed=f"{LEAST_RIGHT} and {LEAST_ABSENT} at least", todo="ask more documents")
    told = scores > 0
    points = isotonic(scores[told], right[told])
    fit: Fit = {"score": points[0].tolist(), "probability": points[1].tolist()}
    found = probability(fit, scores)
    fit["threshold"] = lowest_threshold(found, found[~present])
    if not (found[right] >= fit["threshold"]).any():
        what = "no threshold keeps right answers and leaves the questions without an answer out"
        raise BadInput(what, got=f"{MOST_FOUND:.0%} of {int((~present).sum())}", todo="use a better model")
    return fit

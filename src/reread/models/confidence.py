"""How likely an answer is right: the calibration of an adapter, read from its manifest.

Numbers only; knows no model and no text.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from reread.errors import BadCheckpoint

KINDS = ("field", "question")  # what prompting.template_for tells apart


@dataclass(frozen=True)
class Calibration:
    """The probability that an answer is right, for its score (engine.Answer.score).

    score: breakpoints, strictly increasing, at least one; probability: at each of them, 0 to 1; between two of them it
    is linear, outside constant.  threshold: the probability below which an answer is "not found".
    """

    score: tuple[float, ...]
    probability: tuple[float, ...]
    threshold: float

    def at(self, score: float) -> float:
        """The probability for a score; nan for nan."""
        place = bisect_right(self.score, score)
        if score != score or not 0 < place < len(self.score):
            return score if score != score else self.probability[max(0, place - 1)]
        low, high = self.score[place - 1 : place + 1]
        first, second = self.probability[place - 1 : place + 1]
        return first + (second - first) * (score - low) / (high - low)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) in (int, float) and abs(one) < float("inf") for one in value)


def read_calibrations(found: Any, where: object) -> dict[str, Calibration]:
    """Calibrations by kind (KINDS), of a manifest's `calibration`: {"field": {"score": [...], "probability": [...],
    "threshold": p}, "question": {...}, ...}; None gives none.  Raises BadCheckpoint."""
    if found is None:
        return {}
    if not isinstance(found, dict) or not any(kind in found for kind in KINDS):
        raise BadCheckpoint(f"calibration of {where} is not readable", got=str(found)[:80], allowed="field, question")
    read = {}
    for kind in KINDS:
        if kind not in found:
            continue
        told: dict[str, Any] = found[kind] if isinstance(found[kind], dict) else {}
        score: Any = told.get("score")
        probability: Any = told.get("probability")
        threshold: Any = told.get("threshold")
        numbers = _numbers(score) and _numbers(probability) and _numbers([threshold])
        if not (
            numbers
            and 0 < len(score) == len(probability)
            and all(low < high for low, high in pairwise(score))
            and all(0 <= one <= 1 for one in (*probability, threshold))
        ):
            allowed = "score and probability of equal length, scores that increase, probabilities and threshold 0 to 1"
            what = f"the calibration of {kind} in {where} is not readable"
            raise BadCheckpoint(what, got=str(found[kind])[:80], allowed=allowed)
        read[kind] = Calibration(tuple(score), tuple(probability), threshold)
    return read

"""Which confidences to believe: a threshold fitted to judged answers, and how well confidence tells right from wrong.

Pure functions of numbers (numpy), and the file that a threshold is kept in.  Knows no model and no
document; a judged answer is a confidence, whether it is right, and the document it is of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from reread.errors import BadInput, reason
from reread.stats import auroc, measure_interval
from reread.whole import write_whole

POINTS = 12
ASSET = Path(str(resources.files("reread") / "assets" / "extract" / "thresholds.json"))


@dataclass(frozen=True)
class Judged:
    """One answer: how sure, whether right, whether the document held an answer at all, and which document."""

    confidence: float
    right: bool
    present: bool
    document: str


def over_documents(judged: Sequence[Judged], measure: Callable[[Sequence[int]], float]) -> dict[str, float]:
    """A measure of the places of answers, with its 95 % bootstrap interval (percentile) over documents."""
    return measure_interval([one.document for one in judged], measure).record()


def arrays(judged: Sequence[Judged]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences, right, present."""
    told = [(one.confidence, one.right, one.present) for one in judged]
    sure, right, present = zip(*told, strict=True)
    return np.array(sure), np.array(right, dtype=bool), np.array(present, dtype=bool)


def areas(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """AUROC of the confidence: for answers of documents that hold one against those that do not, and for right
    against wrong answers (all answers of documents that hold none are wrong)."""
    sure, right, present = arrays(judged)
    return {
        "present": over_documents(judged, lambda here: auroc(sure[list(here)], present[list(here)])),
        "right": over_documents(judged, lambda here: auroc(sure[list(here)], right[list(here)])),
    }


def fit(judged: Sequence[Judged]) -> float:
    """The threshold that keeps the most of the right answers over the most of the wrong ones: the largest difference
    of the two shares (Youden's J), half way to the next confidence below.  Raises BadInput without both kinds."""
    sure, right, _ = arrays(judged)
    if right.all() or not right.any():
        raise BadInput(
            "a threshold needs right answers and wrong ones", got=f"{int(right.sum())} of {len(right)} right"
        )
    steps = np.unique(sure)
    gains = [(sure[right] >= step).mean() - (sure[~right] >= step).mean() for step in steps]
    best = int(np.argmax(gains))
    below = steps[best - 1] if best else 0.0
    middle = float((steps[best] + below) / 2)
    return short if below < (short := round(middle, 4)) <= steps[best] else middle


def at(judged: Sequence[Judged], threshold: float) -> dict[str, Any]:
    """What comes of one threshold: coverage (answers kept, of all), risk (wrong ones, of the kept), recall (right ones
    kept, of documents that hold an answer), kept of documents that hold none; None where there is nothing to divide."""
    sure, right, present = arrays(judged)
    kept = sure >= threshold

    def share(top: np.ndarray, bottom: np.ndarray) -> dict[str, float] | None:
        def of(places: Sequence[int]) -> float:
            where = list(places)
            return float(top[where].sum() / bottom[where].sum()) if bottom[where].any() else float("nan")

        return over_documents(judged, of) if bottom.any() else None

    return {
        "threshold": threshold,
        "coverage": share(kept, np.ones_like(kept)),
        "risk": share(kept & ~right, kept),
        "recall": share(kept & right, present),
        "kept of removed": share(kept & ~present, ~present),
    }


def curve(judged: Sequence[Judged], points: int = POINTS) -> list[dict[str, float]]:
    """Risk against coverage: at thresholds that keep 1, 2, ... `points` of as many shares of the answers."""
    sure, right, _ = arrays(judged)
    order = np.argsort(-sure, kind="stable")
    wrong = np.cumsum(~right[order])
    found = []
    for part in range(1, points + 1):
        n = max(1, round(len(sure) * part / points))
        found.append(
            {"coverage": n / len(sure), "risk": float(wrong[n - 1] / n), "threshold": float(sure[order[n - 1]])}
        )
    return found


def given_threshold(text: str | None) -> float | None:
    """The number in a text; None for no text, and for one that is no number.  Raises BadInput for no probability."""
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    if number is not None and not 0 <= number <= 1:
        raise BadInput("the threshold is no probability", got=str(text), allowed="0 to 1, or a file")
    return number


def check_threshold(text: str | None) -> None:
    """Raise BadInput for a threshold that is neither a probability nor a file of fit-threshold."""
    if given_threshold(text) is None and text is not None:
        calibrations(Path(text))


def threshold_of(text: str | None, fingerprint: str, reading: str, budget: int) -> tuple[float, str]:
    """A threshold, and a sentence on where it is from: of a number, a file of fit-threshold, or, without either, the
    file that comes with the package.  budget: tokens shown of a document; of several fits that of the nearest budget
    holds, and the sentence says where it had another.

    0 for a model and reading that the package's file does not know: then everything is found.  Raises BadInput.
    """
    number = given_threshold(text)
    if number is not None:
        return number, "as given"
    path = ASSET if text is None else Path(text)
    known = [one for one in calibrations(path) if (one["fingerprint"], one["reading"]) == (fingerprint, reading)]
    if known:
        told = min(known, key=lambda one: abs(one["budget"] - budget))
        other = f", not at {budget:,}" if told["budget"] != budget else ""
        source = f"fitted on {told['fitted on']['answers']} answers of {told['task']} at {told['budget']:,} tokens"
        return told["threshold"], source + other
    if text is not None:
        what = "this file holds no threshold for this model and reading"
        raise BadInput(what, got=f"{path}: {fingerprint}, {reading}", todo="reread fit-threshold makes one")
    return 0.0, "no threshold is known for this model and reading, so no value is left out for its confidence"


def calibrations(path: Path) -> list[dict[str, Any]]:
    """What `save` wrote.  Raises BadInput."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        what = f"no threshold can be read there: {reason(error)}"
        raise BadInput(what, got=str(path), allowed="a number from 0 to 1, or a file of fit-threshold") from error
    needed = {"fingerprint": str, "reading": str, "threshold": float, "task": str, "budget": int, "fitted on": dict}
    found = found if isinstance(found, list) else [found]
    for one in found:
        if not isinstance(one, dict) or any(not isinstance(one.get(name), kind) for name, kind in needed.items()):
            raise BadInput("not a file of fit-threshold", got=str(path), todo="reread fit-threshold makes one")
    return found


def save(path: Path, calibration: dict[str, Any]) -> None:
    """Add a calibration to a file, in the place of one for the same model, reading and budget."""
    same = ("fingerprint", "reading", "budget")
    others = calibrations(path) if path.exists() else []
    kept = [one for one in others if any(one[name] != calibration[name] for name in same)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps([*kept, calibration], indent=1, ensure_ascii=False) + "\n")

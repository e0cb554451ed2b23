"""Which units of a text are worth another look: scores per unit, higher is better.

By words alone: BM25 against the question, the place in the text, or a weighted sum of such features,
the weights fitted to how much a second look at a unit helped (training/emphasis.py).  By a model: how well a unit
explains the question, how sure the first token of an answer is, how surprising a unit is; these come
from outside, as a function, so that this file needs no tensor.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import regex

from reread.documents.text import folded
from reread.errors import BadInput, MissingPackage, UnknownName

ModelScore = Callable[[str, Sequence[str]], Sequence[float]]
UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"  # Thai, Lao, Khmer, kana, Han: no blanks
WORD = regex.compile(rf"[{UNSPACED}]\p{{M}}*|(?:[^\W{UNSPACED}]\p{{M}}*)+")  # marks are of their letters
BY_MODEL = ("likelihood", "entropy", "surprisal")
BY_WORDS = ("bm25", "first", "last", "middle", "random", "learned")
WEIGHTS = "weights.json"
LEARNED = re.compile(r"learned(?:\((.+)\))?")


def words(text: str) -> list[str]:
    """What BM25 counts: folded words (documents/text.py); single characters in scripts without blanks between words."""
    return WORD.findall(folded(text))


def bm25(units: Sequence[str], question: str) -> list[float]:
    """BM25 (Robertson et al. 1994; Lucene's variant) of every unit for the question.  Raises MissingPackage."""
    try:
        import bm25s
    except ImportError as error:
        raise MissingPackage("bm25s", "prompts") from error
    corpus = [words(unit) for unit in units]
    known = {word for unit in corpus for word in unit}
    asked = [word for word in words(question) if word in known]
    if not asked:
        return [0.0] * len(units)
    index = bm25s.BM25()
    index.index(corpus, show_progress=False)
    return [float(score) for score in index.get_scores(asked)]


def features(units: Sequence[str], question: str) -> list[dict[str, float]]:
    """What is known of every unit without a model, each about 0 to 1."""
    relevance, asked = bm25(units, question), set(words(question))
    top = max(relevance, default=0.0) or 1.0
    longest = max((len(unit) for unit in units), default=1) or 1
    return [
        {
            "bm25": relevance[i] / top,
            "shared words": len(asked & set(words(unit))) / max(1, len(asked)),
            "place": i / max(1, len(units) - 1),
            "length": len(unit) / longest,
            "digits": sum(c.isdigit() for c in unit) / max(1, len(unit)),
            "colon": float(":" in unit),
        }
        for i, unit in enumerate(units)
    ]


@dataclass(frozen=True)
class Emphasis:
    """Weights of `features`."""

    weights: dict[str, float]

    @staticmethod
    def load(file: Path) -> Emphasis:
        """Those of a JSON file.  Raises BadInput."""
        try:
            weights = json.loads(file.read_text(encoding="utf-8"))["weights"]
            known = set(features(["a"], "a")[0])
            if set(weights) != known:
                raise BadInput("emphasis weights for other features", got=sorted(weights), allowed=sorted(known))
            return Emphasis({name: float(x) for name, x in weights.items()})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"no emphasis weights can be read from {file}: {error}") from error

    def scores(self, units: Sequence[str], question: str) -> list[float]:
        return [sum(self.weights[name] * x for name, x in row.items()) for row in features(units, question)]


def learned_file(by: str) -> Path | None:
    """The weights that a score by "learned" reads; None for other scores."""
    learned = LEARNED.fullmatch(by)
    if learned is None:
        return None
    return Path(learned[1]) if learned[1] else Path(str(resources.files("reread") / "assets" / "emphasis" / WEIGHTS))


def scores(by: str, units: Sequence[str], question: str, model: ModelScore | None) -> list[float]:
    """One score per unit.  Raises UnknownName; BadInput where a model is needed and there is none."""
    n = len(units)
    if by == "bm25":
        return bm25(units, question)
    if (file := learned_file(by)) is not None:
        return Emphasis.load(file).scores(units, question)
    if by in ("first", "last", "middle"):
        wanted = {"first": 0.0, "last": n - 1.0, "middle": (n - 1) / 2}[by]
        return [-abs(i - wanted) for i in range(n)]
    if by == "random":
        draw = random.Random(f"{question}/{n}")
        return [draw.random() for _ in units]
    if by in BY_MODEL:
        if model is None:
            raise BadInput(f"a score by {by} comes from a model, and there is none here", allowed=", ".join(BY_WORDS))
        return list(model(by, units))
    raise UnknownName("score of units", by, [*BY_WORDS, *BY_MODEL])


def best(values: Sequence[float], k: int, *, worst: bool = False) -> list[int]:
    """Places of the k highest (or lowest) scores, in the order of the text; the earlier of two equal ones."""
    order = sorted(range(len(values)), key=lambda i: (values[i] if worst else -values[i], i))
    return sorted(order[:k])

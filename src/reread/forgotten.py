"""What a state of fixed size lost of each unit of a document, and whether a question asks about a unit that is lost.

A unit is a sentence or a line (prompting/segment.py).  Its loss is what repeating it from the state costs more than
repeating it from all keys, in nats per token (models/kept_reading.py).  Words and numbers only.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenizers import Tokenizer

from reread.errors import BadInput, MissingPackage
from reread.models.kv_selection import FULL, RereadSettings, Settings, selection, tokens_per_choice
from reread.prompting import check_unit, decode
from reread.prompting.ranking import best, bm25

FORGOTTEN = 1.0  # nats per token: a unit that lost more counts as forgotten; its tokens are e times less probable
NEAREST = 3  # units that a question is compared with
SHOWN = 3  # of the worst units, in a line for a person
LONGEST = 60  # characters of each
SENTENCE, NO_UNIT = "sentence", "none"


@dataclass(frozen=True)
class Lost:
    """Characters [start, end) of what was shown of a document; nats: per token, more than from all keys, that
    repeating them from the state costs."""

    start: int
    end: int
    nats: float


@dataclass(frozen=True)
class Near:
    """A unit that shares words with a question: its place among the units, its BM25 score, and its loss."""

    place: int
    score: float
    nats: float


def checked_forgotten(unit: str, select: str) -> str:
    """The unit of text for which it is measured what the state of a selection lost; "" for none.  Raises UnknownName,
    BadInput for a selection that keeps all keys, and for one that reads in pieces, which never has all keys."""
    if unit in ("", NO_UNIT):
        return ""
    check_unit(unit)
    chosen = selection(select)
    if chosen.name == FULL:
        what, todo = "a state that keeps all keys has forgotten nothing", "name a selection, or leave the unit out"
        raise BadInput(what, got=unit, todo=todo)
    if tokens_per_choice(chosen):
        what = "what was forgotten is measured against all keys, and a document that is read in pieces never has them"
        raise BadInput(what, got=select, todo="leave `read` out of the selection")
    return unit


def default_unit(select: str) -> str:
    """The unit where none is named: sentences for a selection that repeats the document in any case, where the
    packages that find sentences and compare them with a question are installed; else "" (nothing is measured)."""
    from importlib.util import find_spec

    settings = selection(select).settings
    if not isinstance(settings, Settings) or tokens_per_choice(selection(select)):
        return ""
    repeats = isinstance(settings, RereadSettings) or settings.loss > 0
    return SENTENCE if repeats and all(map(find_spec, ("nupunkt", "bm25s"))) else ""


def nearest(texts: Sequence[str], nats: Sequence[float], question: str, most: int = NEAREST) -> list[Near]:
    """The units that are nearest to a question by BM25, the nearest first; [] where none shares a word with it.  Raises
    MissingPackage."""
    scores = bm25(texts, question)
    places = sorted(best(scores, most), key=lambda i: (-scores[i], i))
    return [Near(i, scores[i], nats[i]) for i in places if scores[i] > 0]


def lost_near(near: Sequence[Near]) -> float | None:
    """Nats per token that the nearest units lost: their mean, weighted by BM25; None without any."""
    some = near[:NEAREST]
    return sum(one.score * one.nats for one in some) / sum(one.score for one in some) if some else None


def known_lost_near(texts: Sequence[str], nats: Sequence[float], question: str) -> float | None:
    """`lost_near` of the nearest units; None, and a warning once, where the package that compares them is missing."""
    try:
        return lost_near(nearest(texts, nats, question))
    except MissingPackage as error:
        _warn_once(str(error))
        return None


@cache
def _warn_once(error: str) -> None:
    logging.getLogger(__name__).warning("what the state forgot is not compared with questions: %s", error)


def unit_texts(ids: Sequence[int], bounds: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """The text of each unit: of the tokens [bounds[i], bounds[i+1]) of ids."""
    begins = not decode(ids[: bounds[0]], tokenizer)  # nothing but BOS stands before it
    return [
        decode(ids[start:end], tokenizer, first=begins and not i)
        for i, (start, end) in enumerate(itertools.pairwise(bounds))
    ]


def lost_units(texts: Sequence[str], nats: Sequence[float], start: int = 0) -> tuple[Lost, ...]:
    """Units that follow each other from character `start` on."""
    found = []
    for text, value in zip(texts, nats, strict=True):
        found.append(Lost(start, start + len(text), value))
        start += len(text)
    return tuple(found)


def unit_facts(texts: Sequence[str], lost: Sequence[Lost]) -> list[dict[str, Any]]:
    """Units as JSON has them: characters, loss, text."""
    pairs = zip(lost, texts, strict=True)
    return [{"start": a.start, "end": a.end, "nats": round(a.nats, 4), "text": text} for a, text in pairs]


def is_lost(nats: float | None) -> bool:
    """Whether a loss counts as forgotten; not where it is not known."""
    return nats is not None and nats > FORGOTTEN


def lost_doubt(nats: float) -> str:
    """A clause about an answer whose nearest units are lost."""
    return f"the text nearest to the question is among what the state forgot ({nats:.1f} nats per token)"


def says_again(nats: float | None) -> str:
    """A sentence without its full stop: the document is read again."""
    return f"{lost_doubt(nats or 0.0)}; the document is read again with all keys"


def says_forgotten(unit: str, texts: Sequence[str] | None, nats: Sequence[float]) -> str:
    """One line: how many units were forgotten, and the worst of them in order of loss; texts None: not known."""
    lost = [i for i, value in enumerate(nats) if is_lost(value)]
    said = f"{len(lost):,} of {len(nats):,} {unit}{'s' * (len(nats) != 1)} forgotten"
    worst = sorted(lost, key=lambda i: -nats[i])[:SHOWN]
    if not worst:
        return said
    shown = [f"{nats[i]:.1f} nats per token" + (f" {_short(texts[i])!r}" if texts else "") for i in worst]
    return f"{said}; most: {', '.join(shown)}"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."

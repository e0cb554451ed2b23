"""Units of a text (segment.py) as spans of the tokens that it was read as.  Words only.

Shapes: n tokens of a text.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from reread.prompting.segment import overlapping, units
from reread.prompting.tokens import decode

BROKEN = "\ufffd"  # what a part of a character is decoded to
MOST_PARTS = 8  # tokens of one character, at most


@dataclass(frozen=True)
class TokenUnit:
    """Tokens [start, end) of a unit; early: where it begins when it overlaps the unit before."""

    early: int
    start: int
    end: int


def token_starts(tokens: Sequence[int], tokenizer: Tokenizer) -> tuple[str, list[int]]:
    """The text of tokens that begin a prompt, and the character (n,) at which each begins; parts of one character begin
    at that character."""
    text, starts, begin = "", list[int](), 0
    for i in range(len(tokens)):
        starts.append(len(text))
        more = decode(tokens[begin : i + 1], tokenizer, first=begin == 0)
        if not more.endswith(BROKEN) or i + 1 - begin >= MOST_PARTS:
            text, begin = text + more, i + 1
    return text + decode(tokens[begin:], tokenizer, first=begin == 0), starts


def _blanks(text: str) -> int:
    """White space at the beginning of a text; 0 where it is nothing else."""
    return len(text) - len(text.lstrip()) if text.strip() else 0


def token_units(tokens: Sequence[int], unit: str, tokenizer: Tokenizer, overlap: float = 0.0) -> list[TokenUnit]:
    """The units of that name of a text (n,), in order; they tile its tokens.

    overlap: share of a unit's characters by which it begins earlier, at a word (segment.overlapping).  A token belongs
    to the unit of its first character that is no white space; a unit without any is left out.  Raises UnknownName,
    BadInput.
    """
    text, starts = token_starts(tokens, tokenizer)
    n, places = len(tokens), sorted(set(starts))
    ends = dict(itertools.pairwise([*places, len(text)]))
    begins = [start + _blanks(text[start : ends[start]]) for start in starts]
    spans, found = units(text, unit, tokenizer), []
    for (first, last), (early, _) in zip(spans, overlapping(text, spans, overlap), strict=True):
        start, end = bisect_left(begins, first), n if last == len(text) else bisect_left(begins, last)
        if start < end:
            found.append(TokenUnit(min(start, bisect_left(begins, early)), start, end))
    return found or ([TokenUnit(0, 0, n)] if n else [])

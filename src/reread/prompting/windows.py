"""Windows: which part of a document is shown when it does not fit.  Named, and never silent.

`head` keeps the beginning.  `answer_centered` is the published way of the recall benchmarks
("Just read twice", published harness): the window is centred on the first case-insensitive hit
of any anchor (key or value).  It looks at the answer, so it is for comparing with published
tables only; every table names its window.  Words only: no tensor, no model.
"""

from __future__ import annotations

import bisect
import re
from array import array
from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

from reread.errors import BadInput, UnknownName
from reread.prompting.pieces import encoded, token_count
from reread.prompting.prompt import Cut
from reread.prompting.tokens import adds_dummy_blank

Choice = Callable[[str, Sequence[int], int, Sequence[str]], int]
"""(document, where each of its tokens ends, budget, anchors) -> the first token of the window."""


def head_start(document: str, ends: Sequence[int], budget: int, anchors: Sequence[str]) -> int:
    """The window starts at the first token."""
    return 0


def answer_centered_start(document: str, ends: Sequence[int], budget: int, anchors: Sequence[str]) -> int:
    """The window starts budget // 2 tokens before the first hit of any anchor (at the document's end without a hit)."""
    if not any(anchors):
        raise BadInput(
            "the window 'answer_centered' needs the answer, which only an evaluation knows",
            allowed="head",
            todo="use --window head",
        )
    hits = [re.search(re.escape(anchor), document, re.IGNORECASE) for anchor in anchors if anchor]
    at = min((hit.start() for hit in hits if hit), default=len(document) - 1)
    return max(0, bisect.bisect_right(ends, at) - budget // 2)


BUDGET = 1024
PROBE = "A one. B two.\n\nC three."  # a document that layouts are tried on before one is read

WINDOWS: dict[str, Choice] = {
    "head": head_start,
    "answer_centered": answer_centered_start,
}


def window_start(name: str) -> Choice:
    if name not in WINDOWS:
        raise UnknownName("window", name, WINDOWS)
    return WINDOWS[name]


def cut(document: str, tokenizer: Tokenizer, budget: int, window: str, anchors: Sequence[str] = ()) -> Cut:
    """At most `budget` tokens of the document, chosen by the named window; the text stays verbatim.

    Its tokens are counted where it takes the most (pieces.token_count); BOS is not counted.
    Raises UnknownName for an unknown window, BadInput for a budget below 1 or a document without text.
    """
    choose = window_start(window)
    if budget < 1:
        raise BadInput("the token budget of a document must be at least 1", got=budget)
    left = len(document) - len(document.lstrip())
    text = document.strip()
    if not text:
        raise BadInput("the document holds no text", todo="give a file with text in it")
    starts, ends = array("q"), array("q")
    for begin, piece in encoded(text, tokenizer, first=True):
        for start, end in piece.offsets:
            starts.append(begin + start)
            ends.append(begin + end)
    total = token_count(text, tokenizer) if adds_dummy_blank(tokenizer) else len(ends)
    if total <= budget:
        return Cut(text, window, left, left + len(text), total, total)
    first = choose(text, ends, budget, anchors)
    last = min(len(ends), first + budget)
    while True:  # a cut piece may tokenise differently at its edges: shrink until it fits
        start, end = starts[first], ends[last - 1]
        kept = token_count(text[start:end], tokenizer)
        if kept <= budget:
            return Cut(text[start:end], window, left + start, left + end, kept, total)
        if last - first <= 1:
            raise BadInput("the budget is smaller than one character in tokens", got=budget, allowed=f"{kept} or more")
        last = max(last - (kept - budget), first + 1)

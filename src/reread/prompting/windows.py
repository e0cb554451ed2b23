"""Windows: which part of a document is shown when it does not fit.  Named, and never silent.

`head` keeps the beginning.  `answer_centered` is the published way of the recall benchmarks
("Just read twice", published harness): the window is centred on the first case-insensitive hit
of any anchor (key or value).  It looks at the answer, so it is for comparing with published
tables only; every table names its window.  `parts` (cut_parts) keeps everything, in several texts.
Words only: no tensor, no model.
"""

from __future__ import annotations

import bisect
import re
from array import array
from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

from reread.errors import BadInput, UnknownName
from reread.prompting.pieces import encoded, token_count
from reread.prompting.prompt import PARTS, Cut
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
OVERLAP = 8  # a part begins an eighth of the budget before the end of the one before it
PROBE = "A one. B two.\n\nC three."  # a document that layouts are tried on before one is read

WINDOWS: dict[str, Choice] = {
    "head": head_start,
    "answer_centered": answer_centered_start,
}


def window_start(name: str) -> Choice:
    if name not in WINDOWS:
        raise UnknownName("window", name, WINDOWS)
    return WINDOWS[name]


def check_window(name: str) -> None:
    """Raise UnknownName for what is neither a window nor PARTS."""
    if name not in (*WINDOWS, PARTS):
        raise UnknownName("window", name, (*WINDOWS, PARTS))


class _Tokenised:
    """A document without the white space around it, and where its tokens are in it.  Raises BadInput for a document
    without text and for a budget below 1."""

    def __init__(self, document: str, tokenizer: Tokenizer, budget: int):
        if budget < 1:
            raise BadInput("the token budget of a document must be at least 1", got=budget)
        self.tokenizer, self.budget = tokenizer, budget
        self.left = len(document) - len(document.lstrip())
        self.text = document.strip()
        if not self.text:
            raise BadInput("the document holds no text", todo="give a file with text in it")
        self.starts, self.ends = array("q"), array("q")
        for begin, piece in encoded(self.text, tokenizer, first=True):
            for start, end in piece.offsets:
                self.starts.append(begin + start)
                self.ends.append(begin + end)
        self.total = token_count(self.text, tokenizer) if adds_dummy_blank(tokenizer) else len(self.ends)

    def complete(self, window: str) -> Cut:
        return Cut(self.text, window, self.left, self.left + len(self.text), self.total, self.total)

    def part(self, first: int, window: str) -> tuple[Cut, int]:
        """At most `budget` tokens from token `first` on, and the token that comes after them."""
        last = min(len(self.ends), first + self.budget)
        while True:  # a cut piece may tokenise differently at its edges: shrink until it fits
            start, end = self.starts[first], self.ends[last - 1]
            kept = token_count(self.text[start:end], self.tokenizer)
            if kept <= self.budget:
                found = Cut(self.text[start:end], window, self.left + start, self.left + end, kept, self.total)
                return found, last
            if last - first <= 1:
                what = "the budget is smaller than one character in tokens"
                raise BadInput(what, got=self.budget, allowed=f"{kept} or more")
            last = max(last - (kept - self.budget), first + 1)


def cut(document: str, tokenizer: Tokenizer, budget: int, window: str, anchors: Sequence[str] = ()) -> Cut:
    """At most `budget` tokens of the document, chosen by the named window; the text stays verbatim.

    Its tokens are counted where it takes the most (pieces.token_count); BOS is not counted.
    Raises UnknownName for an unknown window, BadInput for a budget below 1 or a document without text.
    """
    choose = window_start(window)
    made = _Tokenised(document, tokenizer, budget)
    if made.total <= budget:
        return made.complete(window)
    return made.part(choose(made.text, made.ends, budget, anchors), window)[0]


def cut_parts(document: str, tokenizer: Tokenizer, budget: int) -> list[Cut]:
    """All of a document in texts of at most `budget` tokens.  Each begins budget // OVERLAP tokens before the end of
    the one before it, so an answer that lies across an end is complete in one of them.  Raises BadInput as `cut`."""
    made = _Tokenised(document, tokenizer, budget)
    if made.total <= budget:
        return [made.complete(PARTS)]
    found, first = [], 0
    while True:
        one, after = made.part(first, PARTS)
        found.append(one)
        if after >= len(made.ends):
            return found
        first = max(first + 1, after - budget // OVERLAP)

"""Tokens of a text that may be long: piece by piece, so that its tokens never lie in memory all at once.

A tokenizer keeps some hundred bytes for every token, and holds Python's lock while it encodes one text,
so that nothing else of a server moves; of a batch it lets go.  Words only: no tensor, no model.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import Encoding, Tokenizer

from reread.prompting.tokens import adds_dummy_blank, encoding, encodings

PIECE, NEAR = 2**17, 2**12  # characters; how far before its end a piece may be cut


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """Where each piece begins and the piece: the whole text where it is no longer than PIECE.

    A longer one is cut before white space, behind a letter or digit if there is such a place near, where byte-level
    tokenizers of GPT-2's kind begin a token in any case, and others nearly always; without white space, anywhere.
    """
    start = 0
    while start < len(text):
        end = min(start + PIECE, len(text))
        if end < len(text):
            near = [at for at in range(end, max(start, end - NEAR), -1) if text[at].isspace()]
            near = [at for at in near if not text[at - 1].isspace()]
            end = next((at for at in near if text[at - 1].isalnum()), near[0] if near else end)
        yield start, text[start:end]
        start = end


def encoded(text: str, tokenizer: Tokenizer, *, first: bool = False) -> Iterator[tuple[int, Encoding]]:
    """Where each of `pieces` begins, and its tokens, none added; first: the text begins a prompt (tokens.py)."""
    if len(text) <= PIECE:
        yield 0, encoding(text, tokenizer, first=first)
        return
    for start, piece in pieces(text):
        (one,) = encodings([piece], tokenizer, first=first and not start)
        yield start, one


def token_ids(text: str, tokenizer: Tokenizer, *, first: bool = False) -> list[int]:
    """The tokens of a text, none added; first: the text begins a prompt (tokens.py)."""
    return [token for _, one in encoded(text, tokenizer, first=first) for token in one.ids]


def token_count(text: str, tokenizer: Tokenizer) -> int:
    """How many they are, wherever the text stands: at the beginning of a prompt or later, the larger number."""
    places = (False, True) if adds_dummy_blank(tokenizer) else (False,)
    return max(sum(len(one) for _, one in encoded(text, tokenizer, first=first)) for first in places)

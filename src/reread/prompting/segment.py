"""Units of a text, from large to small: sections, paragraphs, lines, sentences, windows of n tokens.

Units are spans (start, end) of characters that tile the text exactly: none is empty, none is
missing, whatever the text is.  Sentences are those of nupunkt (Punkt), found inside paragraphs.
Words only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from tokenizers import Tokenizer

from reread.documents.text import cleaned
from reread.errors import BadInput, MissingPackage, UnknownName
from reread.prompting.tokens import encoding

Span = tuple[int, int]
PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
HEADING = re.compile(
    r"^[^\S\n]*(?:#{1,6}[^\S\n]+\S"  # "# Markdown"
    r"|(?:[0-9]{1,2}|[A-Z])(?:\.[0-9]{1,2})*[.)][^\S\n]+\S"  # "1.2. Numbered", "B) Lettered"
    r"|[A-Z][A-Z0-9 ,&/()-]{3,60}:?[^\S\n]*$)",  # "CAPITALS"
    re.MULTILINE,
)
SENTENCE_END = re.compile("[。｡！？।॥؟۔։።]+[\"'”’»」』）)\\]]*\\s*")  # of scripts that Punkt was not trained on
WINDOW = re.compile(r"window\((\d+)\)")


def tile(text: str, starts: Iterable[int]) -> list[Span]:
    """Spans that begin at `starts` and tile the text; a piece of white space alone goes to the one before it
    (to the one after it at the beginning)."""
    if not text:
        return []
    kept = [0]
    for start in sorted(set(starts)):
        if kept[-1] < start < len(text) and text[kept[-1] : start].strip() and text[start:].strip():
            kept.append(start)
    return list(zip(kept, [*kept[1:], len(text)], strict=True))


def sections(text: str) -> list[Span]:
    """From a heading to the next: "# ...", "1.2. ...", "B) ...", or a line in capitals."""
    return tile(text, (match.start() for match in HEADING.finditer(text)))


def paragraphs(text: str) -> list[Span]:
    """Between blank lines."""
    return tile(text, (match.end() for match in PARAGRAPH.finditer(text)))


def lines(text: str) -> list[Span]:
    return tile(text, (match.end() for match in re.finditer("\n", text)))


def sentences(text: str) -> list[Span]:
    """Sentences of every paragraph.  Raises MissingPackage."""
    try:
        from nupunkt import sent_spans
    except ImportError as error:
        raise MissingPackage("nupunkt", "prompts") from error
    starts = [
        start + at
        for start, end in paragraphs(text)
        for at, _ in (sent_spans(text[start:end]) if text[start:end].strip() else [])
    ]
    return tile(text, [*starts, *(match.end() for match in SENTENCE_END.finditer(text))])


def windows(text: str, tokens: int, tokenizer: Tokenizer) -> list[Span]:
    """Windows of that many tokens; a character that takes several tokens is never cut."""
    offsets = encoding(text, tokenizer).offsets
    return tile(text, (offsets[i][0] for i in range(0, len(offsets), tokens)))


UNITS: dict[str, Callable[[str], list[Span]]] = {
    "section": sections,
    "paragraph": paragraphs,
    "line": lines,
    "sentence": sentences,
}


def check_unit(unit: str) -> None:
    """Raise UnknownName for what is no unit of text, BadInput for windows of no token."""
    window = WINDOW.fullmatch(unit.replace(" ", ""))
    if window and not int(window[1]):
        raise BadInput("windows are counted in tokens, at least 1, of a tokenizer", got=unit)
    if not window and unit not in UNITS:
        raise UnknownName("unit of text", unit, [*UNITS, "window(64)"])


def units(text: str, unit: str, tokenizer: Tokenizer | None = None) -> list[Span]:
    """The units of that name ("window(64)": of 64 tokens) in order; line ends and blanks of all kinds are as in
    documents/text.py.  Raises UnknownName, BadInput."""
    check_unit(unit)
    window = WINDOW.fullmatch(unit.replace(" ", ""))
    if window:
        if tokenizer is None:
            raise BadInput("windows are counted in tokens, at least 1, of a tokenizer", got=unit)
        return windows(text, int(window[1]), tokenizer)
    found = cleaned(text)
    return tile(text, (found.span(start, end)[0] for start, end in UNITS[unit](found.text)))


def overlapping(text: str, spans: list[Span], share: float) -> list[Span]:
    """Each unit begun earlier by that share of its own length (0 to 0.5), at the beginning of a word."""
    if not 0.0 <= share <= 0.5:
        raise BadInput("units overlap by 0 to 0.5 of their length", got=share)
    wide = []
    for start, end in spans:
        early = start - int(share * (end - start))
        if 0 < early < start and not text[early - 1].isspace():
            space = re.compile(r"\s").search(text, early, start)
            early = start if space is None else space.end()
        wide.append((max(0, early), end))
    return wide

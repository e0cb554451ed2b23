"""The lines of a PDF's page from its words and where they stand: label and value on one line, columns apart.

A word is a dict of pdfplumber (text, x0, x1, top, bottom; points from the upper left).  Words only; opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Word = dict[str, Any]
GAP = 1.5  # of a line's height: a wider gap parts two pieces of a line
APART = 1.7  # of a line's height: lines that are further apart have a blank line between them
PROSE = 4.0  # words in a line of a column of text, on average; labels have fewer
LEAST = 3  # lines that make two columns
LONGEST_LABEL = 40
MARKED = tuple(":：?？!.。;,")


@dataclass(frozen=True)
class Piece:
    """Words side by side."""

    words: tuple[Word, ...]

    @property
    def x0(self) -> float:
        return self.words[0]["x0"]

    @property
    def x1(self) -> float:
        return max(word["x1"] for word in self.words)

    @property
    def text(self) -> str:
        return " ".join(word["text"] for word in self.words)


@dataclass(frozen=True)
class Line:
    """What stands at one height, from left to right."""

    pieces: tuple[Piece, ...]
    top: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top


def middle(word: Word) -> float:
    return (word["top"] + word["bottom"]) / 2


def lines_of(words: Sequence[Word]) -> list[Line]:
    """Lines from top to bottom: words whose middles are within half of a height of each other."""
    rows: list[list[Word]] = []
    for word in sorted(words, key=middle):
        height = min(word["bottom"] - word["top"], rows[-1][0]["bottom"] - rows[-1][0]["top"]) if rows else 0.0
        if rows and middle(word) - middle(rows[-1][0]) <= height / 2:
            rows[-1].append(word)
        else:
            rows.append([word])
    return [line_of(sorted(row, key=lambda word: word["x0"])) for row in rows]


def line_of(row: Sequence[Word]) -> Line:
    top, bottom = min(word["top"] for word in row), max(word["bottom"] for word in row)
    height = sorted(word["bottom"] - word["top"] for word in row)[len(row) // 2]
    pieces: list[list[Word]] = []
    for word in row:
        if pieces and word["x0"] - max(one["x1"] for one in pieces[-1]) <= GAP * height:
            pieces[-1].append(word)
        else:
            pieces.append([word])
    return Line(tuple(Piece(tuple(piece)) for piece in pieces), top, bottom)


def in_columns(lines: Sequence[Line]) -> bool:
    """Whether these lines of two pieces are two columns of text, and not labels with their values."""
    pairs = [line.pieces for line in lines if len(line.pieces) == 2]
    if len(pairs) < LEAST or sum(left.text.endswith((":", "：")) for left, _ in pairs) * 2 > len(pairs):
        return False
    sides = [sum(len(pair[side].text.split()) for pair in pairs) / len(pairs) for side in (0, 1)]
    return min(sides) >= PROSE


def blocks(lines: Sequence[Line]) -> Iterator[tuple[list[Line], float]]:
    """Lines in order: those with one gap between two sides together with where the right side begins, others alone
    with 0."""
    at = 0
    while at < len(lines):
        if len(lines[at].pieces) != 2:
            yield [lines[at]], 0.0
            at += 1
            continue
        left, right = lines[at].pieces[0].x1, lines[at].pieces[1].x0
        end = at
        while end < len(lines):
            edges = [(piece.x0, piece.x1) for piece in lines[end].pieces]
            own_left = max((x1 for x0, x1 in edges if x0 < left), default=left)
            own_right = min((x0 for x0, x1 in edges if x0 >= left), default=right)
            if len(edges) > 2 or max(left, own_left) >= min(right, own_right):
                break
            left, right = max(left, own_left), min(right, own_right)
            end += 1
        while len(lines[end - 1].pieces) != 2:  # text below that is on one side by chance
            end -= 1
        yield list(lines[at:end]), right
        at = end


def line_text(line: Line) -> str:
    """A line: two pieces are "label: value" where the first can be a label, else "; " is between pieces."""
    texts = [piece.text for piece in line.pieces]
    if len(texts) == 2 and len(texts[0]) <= LONGEST_LABEL:
        return f"{texts[0]} {texts[1]}" if texts[0].endswith(MARKED) else f"{texts[0]}: {texts[1]}"
    if len(texts) % 2 == 0 and all(text.endswith((":", "：")) for text in texts[::2]):
        return "\n".join(f"{label} {value}" for label, value in zip(texts[::2], texts[1::2], strict=True))
    return "; ".join(texts)


def side_by_side(block: Sequence[Line], right: float) -> list[Line]:
    """The lines of the left column, then those of the right one."""
    sides: tuple[list[Line], list[Line]] = ([], [])
    for line in block:
        for piece in line.pieces:
            sides[piece.x0 >= right].append(Line((piece,), line.top, line.bottom))
    return [*sides[0], *sides[1]]


def page_text(words: Sequence[Word]) -> str:
    """The text of a page, a blank line between what stands apart."""
    ordered: list[Line] = []
    for block, right in blocks(lines_of(words)):
        ordered += side_by_side(block, right) if in_columns(block) else block
    found: list[str] = []
    for before, line in zip([None, *ordered], ordered, strict=False):
        if before is not None and not 0 <= line.top - before.bottom <= APART * min(before.height, line.height):
            found.append("")
        found.append(line_text(line))
    return "\n".join(found)

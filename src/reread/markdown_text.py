"""Markdown as text: without its marks of emphasis and code, which a page would not show.

Words only.  Small models stumble over such marks: between a label and its value they cost nearly all of the recall
(docs/log.md, 2026-11-22).  Headings, lists, tables, links and fenced code stand as they are.
"""

from __future__ import annotations

import re

FENCE = re.compile(r"^ {0,3}(?:```|~~~)")
CODE = re.compile(r"(?<![\\`])(`{1,2})(?!`)(?P<held>[^`\n]{1,1000})(?<!`)\1(?!`)")
MARKS = (
    re.compile(r"(?<![\\\w*])(\*{2,3})(?=[^\s*])(?P<held>[^\n]{0,1000}?[^\s\\*])\1(?!\*)"),  # **x**, ***x***, not 2**3
    re.compile(r"(?<![\\\w*])(\*)(?=[^\s*])(?P<held>[^\n*]{0,1000}?[^\s\\*])\1(?![\w*])"),  # *x*, not 3*4*5
    re.compile(r"(?<![\\\w])(_{1,3})(?=[^\s_])(?P<held>[^\n]{0,1000}?[^\s\\_])\1(?!\w)"),  # __x__, not a__b__c
)


def unmarked(text: str) -> str:
    """The text without marks of emphasis and code: **x**, *x*, __x__, _x_ and `x` are x, each within a line.

    A mark with a backslash before it, without a partner, or beside blanks is none."""
    lines, fenced = text.split("\n"), False
    for place, line in enumerate(lines):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            lines[place] = _unmarked_line(line)
    return "\n".join(lines)


def _unmarked_line(line: str) -> str:
    if "\x00" in line or not any(mark in line for mark in "`*_"):
        return line
    codes = [found["held"] for found in CODE.finditer(line)]
    line = CODE.sub("\x00", line)  # what stands in code is not looked into
    for mark in MARKS:
        line = mark.sub(r"\g<held>", line)
    pieces = line.split("\x00")
    return "".join(piece + code for piece, code in zip(pieces, [*codes, ""], strict=True))

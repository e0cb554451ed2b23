"""Markdown as text: without its marks of emphasis and code, which a page would not show.

Words only.  Small models stumble over such marks: between a label and its value they cost nearly all of the recall
(docs/log.md, 2026-11-22).  Headings, lists, tables, links, addresses and fenced code stand as they are.
"""

from __future__ import annotations

import re

FENCE = re.compile(r"[\s>]*(?:[-*+]\s+|\d+[.)]\s+)?(?P<run>`{3,}(?=[^`]*$)|~{3,})(?P<after>.*)")
KEPT = re.compile(
    r"(?<![\\`])(?P<tick>`{1,2})(?!`)(?P<code>[^`\n]+)(?<!`)(?P=tick)(?!`)"  # `x`
    r"|\]\([^()\s]*\)"  # where a link leads
    r"|<https?://[^<>\s]*>|https?://[^\s*`<>()\[\]]+"
)
# What a mark holds goes on to the next mark of its kind and no further, so that no line takes long.
MARKS = (
    re.compile(r"(?<![\\*\d])\*\*\*(?=[^\s*])([^\n*]*[^\s\\*])\*\*\*(?![*\d])"),  # ***x***
    re.compile(r"(?<![\\\w*])\*(?=[^\s*])([^\n*]*[^\s\\*])\*(?![\w*])"),  # *x*, not 3*4*5
    re.compile(r"(?<![\\*\d])\*\*(?=[^\s*])([^\n*]*[^\s\\*])\*\*(?![*\d])"),  # **x**, not 2**3
    *(  # _x_, not a_b_c
        re.compile(rf"(?<![\\\w])_{{{n}}}(?=[^\s_])((?:[^\n_]|(?<=\w)_+(?=\w))*[^\s\\_])_{{{n}}}(?!\w)")
        for n in (1, 2, 3)
    ),
)


def unmarked(text: str) -> str:
    """The text without marks of emphasis and code: **x**, *x*, __x__, _x_ and `x` are x, each within a line.

    What is no such mark stays: after a backslash, without a partner, beside blanks, between digits, and a single mark
    or an underscore within a word; and the outer ones of marks of one kind that end or begin together."""
    lines, fence = text.split("\n"), ""
    for place, line in enumerate(lines):
        found = FENCE.match(line)
        if fence:
            if found and found["run"].startswith(fence) and not found["after"].strip():
                fence = ""
        elif found:
            fence = found["run"]
        else:
            lines[place] = _unmarked_line(line)
    return "\n".join(lines)


def _unmarked_line(line: str) -> str:
    if "\x00" in line or not any(mark in line for mark in "`*_"):
        return line
    kept = [found["code"] or found[0] for found in KEPT.finditer(line)]
    line = KEPT.sub("\x00", line)  # what stands in there is not looked into
    for mark in MARKS:
        line = mark.sub(r"\1", line)
    pieces = line.split("\x00")
    return "".join(piece + one for piece, one in zip(pieces, [*kept, ""], strict=True))

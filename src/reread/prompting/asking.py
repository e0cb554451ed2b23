"""What is asked, as people write it: "Label", "Label:", "**Label**" and "LABEL" are one label.  Words only."""

from __future__ import annotations

import re
import unicodedata

import regex

from reread.documents.text import one_line

QUESTION_ENDS = ("?", "？", "؟", "﹖", "⁇", "‽", "\u2048", "\u2049")  # also full width, Arabic, with an exclamation
BEFORE = re.compile(r"(?:#{1,6}|[-*+•>|])\s+")  # of a heading, a list, a quotation, a table
MARKS = re.compile(r"(\*{1,3}|_{1,3}|`{1,3}|~~)(?=\S)(.*\S)\1")
COLON = re.compile(r"\s*[:：﹕︓|]+$")


def is_question(text: str) -> bool:
    """Whether what is asked is a question; else it is the name of a field."""
    return text.rstrip().endswith(QUESTION_ENDS)


def plain_question(text: str) -> str:
    """What is asked in one clean line, without marks of Markdown around it and without the colon after a label."""
    text = one_line(text)
    before = None
    while text != before:
        before = text
        shorter = BEFORE.sub("", text, count=1) if BEFORE.match(text) else text
        if (marked := MARKS.fullmatch(shorter)) and marked[1] not in marked[2]:
            shorter = marked[2]
        elif marked := re.fullmatch(r"(\*{1,3}|_{1,3}|`{1,3})(\S.*\S|\S)\1(\s*[:：﹕︓]+)", shorter):
            shorter = marked[2] + marked[3]
        shorter = shorter if is_question(shorter) else COLON.sub("", shorter)
        text = shorter.strip() or text
    return text


def label_in(asked: str, text: str) -> str:
    """A label as a clean text spells it, where it begins a line or a colon stands behind it, in whatever case and width
    of letters; what is asked as it is where the text has a label like that, where it is a question, and where it is not
    found."""
    if is_question(asked) or not asked:
        return asked
    for spelled in dict.fromkeys((asked, unicodedata.normalize("NFKC", asked))):
        words = r"\s+".join(map(regex.escape, spelled.split()))
        label = regex.compile(rf"(?fi)(?:(?<=^[^\S\n]*){words}(?!\w)|(?<!\w){words}(?=[^\S\n]*[:：]))", regex.M)
        found = list(dict.fromkeys(one_line(match[0]) for match in label.finditer(text)))
        if found:
            return asked if asked in found else found[0]
    return asked

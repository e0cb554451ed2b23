"""One text layer: every text that a model is shown passes here, and offsets lead back to the text as it came.

`cleaned` makes lines end in "\\n" alone, blanks of all kinds a blank, tabs within a line a blank; removes soft hyphens,
zero-width and other invisible characters; expands ligatures; joins surrogate pairs; makes two columns with a tab
"label: value"; and normalises to NFC (Unicode Standard Annex 15).  `folded` is for comparing: NFKC and case folding.
Words only; knows no file.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

INDENT = 4  # blanks that a tab at the beginning of a line is
ENDS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"  # every character at which str.splitlines ends a line
SPACES = r" \xa0\u1680\u2000-\u200a\u202f\u205f\u3000"  # the category Zs
UNSEEN = (
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f"  # controls
)
LINE_END = re.compile(rf"\r*\n|[{ENDS}]")
BLANKS = re.compile(rf"[{SPACES}{ENDS}\t{UNSEEN}]+")
SPACE = re.compile(f"[{SPACES}]")
JOINERS = re.compile("[\u200c\u200d]+")  # they shape the letters beside them in some scripts, and emoji
SHAPED = re.compile(r"[^\s\d!-\u05ff\u1e00-\u203e]")  # a letter or sign that they can shape
FORMS = re.compile(r"[\ufb00-\ufb06\ufb13-\ufb17\ufb1d-\ufdff\ufe70-\ufefc\ud800-\udfff]+")  # and surrogates
PAIR = re.compile(r"(?P<label>[^\s](?:[^\t]{0,38}[^\s])?)(?P<tab> *\t+ *)(?P<value>[^\s](?:[^\t]*[^\s])?) *")
MARKED = tuple(":：?？!.。;,")  # a label that ends so has its mark
WIDE_COLON = re.compile(r"(?<=[!-~])：[ ]?(?=[!-~])")
NOT_ASCII = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]+")


@dataclass(frozen=True)
class Edits:
    """Pieces of a text that another text has in their place: where they begin and end in the new one, and in the old
    one.  Between them the texts are equal."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    old_starts: tuple[int, ...]
    old_ends: tuple[int, ...]

    def start(self, place: int) -> int:
        """Where in the old text the character at this place of the new one begins."""
        at = bisect.bisect_right(self.starts, place) - 1
        if at < 0:
            return place
        return self.old_starts[at] if place < self.ends[at] else self.old_ends[at] + place - self.ends[at]

    def end(self, place: int) -> int:
        """Where in the old text what ends at this place of the new one ends."""
        at = bisect.bisect_left(self.starts, place) - 1
        if at < 0:
            return place
        return self.old_ends[at] if place <= self.ends[at] else self.old_ends[at] + place - self.ends[at]


@dataclass(frozen=True)
class Cleaned:
    """A text as a model is shown it, and the text that it was."""

    text: str
    original: str
    steps: tuple[Edits, ...] = ()  # from the original on

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters [start, end) of `text` as those of `original`."""
        for step in reversed(self.steps):
            start, end = step.start(start), step.end(end) if end > start else step.start(end)
        return start, max(start, end)

    @cached_property
    def line_starts(self) -> list[int]:
        """Where the lines of `original` begin."""
        return [0, *(match.end() for match in LINE_END.finditer(self.original))]

    def line(self, place: int) -> int:
        """The number of the line, from 1, in which this character of `original` is."""
        return bisect.bisect_right(self.line_starts, place)


def replaced(text: str, pieces: Iterator[tuple[int, int, str]]) -> tuple[str, Edits | None]:
    """The text with other text in the place of the pieces [start, end), which are in order; None for the edits where
    there are none."""
    parts: list[str] = []
    rows: list[tuple[int, int, int, int]] = []
    done = length = 0
    for start, end, found in pieces:
        parts += (text[done:start], found)
        length += start - done
        rows.append((length, length + len(found), start, end))
        length += len(found)
        done = end
    if not rows:
        return text, None
    starts, ends, old_starts, old_ends = zip(*rows, strict=True)
    return "".join([*parts, text[done:]]), Edits(starts, ends, old_starts, old_ends)


def white_space(text: str) -> Iterator[tuple[int, int, str]]:
    """Blanks, line ends, tabs and what cannot be seen."""
    for match in BLANKS.finditer(text):
        found = match[0]
        if found in (" ", "\n", "\n\n"):
            continue
        start, end = match.span()
        *before, last = LINE_END.split(found)
        first = bool(before) or start == 0  # of a line
        if end == len(text) or (found == "\t" * len(found) and not first):
            new = "" if end == len(text) else " "
        else:
            blanks = len(SPACE.findall(last))
            tabs = last.count("\t")
            new = " " * (blanks + INDENT * tabs) if first else " " * blanks
            if not first and new and (tabs or text[start - 1] in ":："):  # one between a label and its value
                new = " "
        new = "\n" * len(before) + new
        if new != found:
            yield start, end, new


def columns(text: str) -> Iterator[tuple[int, int, str]]:
    """Lines of two columns with a tab between them, two such lines and more, as "label: value"."""
    if "\t" not in text:
        return
    found: list[tuple[int, int, str]] = []
    begin = 0
    for end, after in [*(match.span() for match in LINE_END.finditer(text)), (len(text), len(text))]:
        pair = PAIR.fullmatch(text, begin, end)
        if pair:
            new = " " if pair["label"].endswith(MARKED) else ": "
            found.append((*pair.span("tab"), new))
        if not pair or after == len(text):
            if len(found) > 1:
                yield from found
            found = []
        begin = after


def colons(text: str) -> Iterator[tuple[int, int, str]]:
    """Full-width colons within text of ASCII."""
    for match in WIDE_COLON.finditer(text):
        yield *match.span(), ": "


def joiners(text: str) -> Iterator[tuple[int, int, str]]:
    """Zero-width joiners and non-joiners where there is nothing to join."""
    for match in JOINERS.finditer(text):
        start, end = match.span()
        if start == 0 or end == len(text) or not (SHAPED.match(text, start - 1) and SHAPED.match(text, end)):
            yield start, end, ""


def forms(text: str) -> Iterator[tuple[int, int, str]]:
    """Ligatures and letters in their shapes of print; pairs of surrogates, and half ones as U+FFFD."""
    for match in FORMS.finditer(text):
        for place, c in enumerate(match[0], start=match.start()):
            if not "\ud800" <= c <= "\udfff":
                new, end = unicodedata.normalize("NFKC", c), place + 1
                if new != c:
                    yield place, end, new
            elif c <= "\udbff" and "\udc00" <= text[place + 1 : place + 2] <= "\udfff":
                yield place, place + 2, text[place : place + 2].encode("utf-16", "surrogatepass").decode("utf-16")
            elif not ("\ud800" <= text[place - 1 : place] <= "\udbff" and c >= "\udc00"):
                yield place, place + 1, "\ufffd"


def composed(text: str) -> Iterator[tuple[int, int, str]]:
    """What is not in NFC, a letter with its marks at a time."""
    for match in () if unicodedata.is_normalized("NFC", text) else NOT_ASCII.finditer(text):
        if unicodedata.is_normalized("NFC", match[0]):
            continue
        places = [place for place, c in enumerate(match[0]) if not place or begins(c)]
        for start, end in zip(places, [*places[1:], len(match[0])], strict=True):
            one = match[0][start:end]
            new = unicodedata.normalize("NFC", one)
            if new != one:
                yield match.start() + start, match.start() + end, new


def begins(c: str) -> bool:
    """Whether no normalisation joins this character to the one before it: it is no mark, no later part of a Hangul
    syllable."""
    return not ("\u1160" <= c <= "\u11ff" or unicodedata.category(c).startswith("M"))


STEPS: tuple[Callable[[str], Iterator[tuple[int, int, str]]], ...] = (
    forms,
    joiners,
    columns,
    white_space,
    colons,
    composed,
)


def cleaned(text: str) -> Cleaned:
    """The text as a model is shown it, with offsets into the text as it came; linear in its length."""
    steps, now, before = [], text, None
    while now != before:  # what is taken out can bring together what is normalised; a few times at most
        before = now
        for step in STEPS:
            now, edits = replaced(now, step(now))
            if edits:
                steps.append(edits)
    return Cleaned(now, text, tuple(steps))


def clean(text: str) -> str:
    """The text of `cleaned`."""
    return cleaned(text).text


def one_line(text: str) -> str:
    """A clean text with one blank for every run of white space, and none around it."""
    return " ".join(clean(text).split())


def folded(text: str) -> str:
    """A text for comparing: clean, NFKC, case folded (Unicode Standard, 3.13, D145), i for a dotted i of Turkish."""
    text = unicodedata.normalize("NFKC", clean(text)).casefold().replace("i\u0307", "i")
    return unicodedata.normalize("NFKC", text)

"""What a kind of document gives: facts, tables and paragraphs, not yet laid out.  Words only.

Several wordings stand in one string, separated by `|`.  In a wording `{v}` is the value of the fact; `{name}` is an
entry of the record's `names`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from reread.training.office.synonyms import more as synonyms_too


@dataclass(frozen=True)
class Asked:
    """A question and its answer as it stands in the text; None: the document does not hold it.

    `type` is "field" (the ask is a label) or "question" (the ask is a sentence).
    """

    ask: str
    answer: str | None
    type: str


@dataclass(frozen=True)
class OfficeDocument:
    """A made document: its kind, its text (line ends are "\\n") and what is asked of it."""

    kind: str
    text: str
    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class Fact:
    """One value with its wordings.

    labels: the first is shown most often, each can be asked.  questions, prose: may be empty.  other: a value of the
    same sort that is not the answer (superseded, or in an older mail).  topic: facts with the same topic as an extra
    block (`Table.covers`) are not asked as absent.  kept: the value also stands in a title, so it is never dropped.
    """

    key: str
    value: str
    labels: tuple[str, ...]
    questions: tuple[str, ...] = ()
    prose: tuple[str, ...] = ()
    other: str | None = None
    topic: str = ""
    kept: bool = False


@dataclass(frozen=True)
class Table:
    """Rows that are named by their first cell, which is unique.

    asks: column -> wordings with `{row}`.  back: column -> wordings with `{cell}` that ask for the row.  prose: a
    sentence with `{0}`, `{1}` for the cells.  missing: names that a row could have and none has.  covers: topics that
    the table speaks of.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    asks: dict[int, str]
    prose: str
    missing: tuple[str, ...] = ()
    covers: frozenset[str] = frozenset()
    back: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """Facts under a heading; an empty heading is none."""

    heading: str
    facts: tuple[Fact, ...]


@dataclass
class Record:
    """A document before layout, in order: sections, tables, then filler sentences by need.

    titles: wordings of the first line.  names: what wordings may mention.  mail: may be shown as an e-mail.
    plain: is mostly written as prose.
    """

    kind: str
    titles: str
    names: dict[str, str]
    parts: list[Section | Table]
    mail: bool = True
    plain: bool = False
    covers: set[str] = field(default_factory=set)

    @property
    def facts(self) -> list[Fact]:
        return [fact for part in self.parts if isinstance(part, Section) for fact in part.facts]


Wordings = dict[str, str]
PLACE = re.compile(r"\{(\w+)\}")


def split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split("|")) if words else ()


def fill(words: str, names: Wordings) -> str:
    """Puts names into a wording; an unknown `{name}` raises KeyError."""
    return PLACE.sub(lambda found: names[found.group(1)], words) if "{" in words else words


def fact(
    key: str, value: object, labels: str, questions: str = "", prose: str = "", other: object = None, **more: object
) -> Fact:
    """A fact from wordings separated by `|`; `other` equal to the value is none."""
    old = None if other is None or str(other) == str(value) else str(other)
    return Fact(
        key, str(value), synonyms_too(split(labels)), split(questions), split(prose), old,
        str(more.get("topic", "")), bool(more.get("kept", False)),
    )  # fmt: skip


Kind = Callable[..., Record]

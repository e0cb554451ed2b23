"""Scenes: documents written around values that are easily taken for each other, with questions for each of them.

A scene is a text of blocks and the values of its slots.  Its lines:

    %            a block begins; `%!` one that is never left out
    # Heading    a heading, numbered or not as the document has it
    Label :: V   a label and its value, in the document's style of labels
    a || b       a row of a table; the first row holds the names of the columns
    > text       a line of its own, as it stands
    ? slot: ...  asks for a slot, separated by `;`: questions (at the end `?`) and names of fields
    ~ ...        asks that the document never answers

Other lines are one paragraph.  `{slot}` is a value, `{slot^}` in capitals, `{slot~}` with a capital first, `{a:slot}`
with "a" or "an", `{slot.last}` and `{slot.first}` a word of it.  `[one|two]` is one of the wordings.  Words only.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from reread.training.office.asking import plain, stands, vary
from reread.training.office.fillers import GENERAL
from reread.training.office.layouts import HARD, MARKDOWN_HEADINGS, TEXT_HEADINGS, hard, lower_first
from reread.training.office.record import Asked
from reread.training.office.values import Values

Slots = dict[str, str]
Scene = Callable[[Values], tuple[Slots, str]]

CHOICE = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(a:)?(\w+)(\^|~|\.last|\.first)?\}")
LABEL_STYLES = (
    "{l}: {v}", "{l}: {v}", "{l} : {v}", "{l}:{pad} {v}", "{l}{pad}  {v}", "{l} {dots} {v}", "{l}\n{v}", "{l}:\n  {v}",
    "| {l} | {v} |", "- {l}: {v}", "**{l}:** {v}", "{l}\t{v}", "{l} = {v}", "{l} - {v}", "{l} {v}",
)  # fmt: skip
BLOCK_STYLES = ("side", "grid", "run", "yaml")
TABLE_STYLES = ("spaced", "spaced", "box", "pipe", "bars", "tab", "records", "semicolons")
ABSENT_PER_PRESENT = 0.22  # 18 % of all


@dataclass
class Block:
    """One block: its lines, what is asked of it, what it never answers."""

    kept: bool
    lines: list[str] = field(default_factory=list)
    asks: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    never: list[tuple[str, ...]] = field(default_factory=list)


@cache
def blocks_of(text: str) -> tuple[Block, ...]:
    """The blocks of a scene's text."""
    found: list[Block] = []
    for line in text.strip().split("\n"):
        if line.startswith("%"):
            found.append(Block(line.startswith("%!")))
        elif line.startswith("? "):
            slot, _, asks = line[2:].partition(":")
            found[-1].asks.append((slot.strip(), parts(asks, ";")))
        elif line.startswith("~ "):
            found[-1].never.append(parts(line[2:], ";"))
        elif line.strip():
            found[-1].lines.append(line)
    return tuple(found)


def parts(text: str, mark: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(mark) if part.strip())


class SceneValues(Values):
    """As Values, but only a pattern's `Y` becomes the year, never a letter that was drawn."""

    def code(self, patterns: str) -> str:
        year = str(self.today.year)
        return self.new(lambda: self.digits(self.pick(patterns.split("|")).replace("Y", "\x06")).replace("\x06", year))


class Page:
    """Writes the blocks of one scene in one style; notes which slots it shows, and how."""

    def __init__(self, values: Values, slots: Slots):
        self.values, self.slots = values, slots
        self.forms: dict[str, list[str]] = {}
        self.label_style = values.pick(LABEL_STYLES)
        self.block_style = values.pick(BLOCK_STYLES) if values.chance(0.35) else ""
        self.table_style = values.pick(TABLE_STYLES)
        self.heading = values.pick(("inline", "inline", "", *TEXT_HEADINGS, *MARKDOWN_HEADINGS))
        self.case = values.pick(("", "", "", "", "upper", "lower"))
        self.width = 0 if values.chance(0.45) else values.whole(58, 104)
        self.number = 0

    def choose(self, words: str) -> str:
        """Takes one of the wordings of each pair of brackets."""
        count = 1
        while count:
            words, count = CHOICE.subn(lambda found: self.values.pick(found.group(1).split("|")), words)
        return words

    def fill(self, words: str, *, shown: bool = True) -> str:
        """Puts values in; `shown`: as a part of the document, whose values are then noted."""

        def value(found: re.Match[str]) -> str:
            article, name, form = found.groups()
            text = self.slots[name]
            if form == "^":
                text = text.upper()
            elif form == "~":
                text = text[:1].upper() + text[1:]
            elif form:
                text = text.split()[-1 if form == ".last" else 0]
            if shown and not (form or "").startswith("."):
                forms = self.forms.setdefault(name, [])
                if text not in forms:
                    forms.insert(0 if form != "^" else len(forms), text)
            before = ("an " if text[:1].lower() in "aeio8" else "a ") if article else ""
            return before + (hard(text) if shown else text)

        return SLOT.sub(value, self.choose(words))

    def knows(self, words: str) -> bool:
        """Whether the document shows every slot that the words name."""
        return all(found.group(2) in self.forms for found in SLOT.finditer(words))

    def block(self, block: Block) -> str:
        made: list[str] = []
        paragraph: list[str] = []
        labels: list[tuple[str, str]] = []
        rows: list[list[str]] = []

        def close() -> None:
            if paragraph:
                made.append(self.paragraph(self.fill(" ".join(paragraph)), made))
            if labels:
                made.append(self.labels(labels))
            if rows:
                made.append(self.table(rows))
            for held in (paragraph, labels, rows):
                held.clear()

        for line in block.lines:
            kind = next(
                (sign for sign in ("# ", "> ", " :: ", " || ") if sign in line[: 2 if sign[0] != " " else None]), ""
            )
            if kind in ("# ", "> ") or (kind == " :: ") != bool(labels) or (kind == " || ") != bool(rows):
                close()
            if kind == "# ":
                made.append(self.title(self.fill(line[2:])))
            elif kind == "> ":
                made.append(self.fill(line[2:]))
            elif kind == " :: ":
                label, _, value = line.partition(" :: ")
                labels.append((self.label(self.fill(label)), self.fill(value)))
            elif kind == " || ":
                rows.append([self.fill(cell.strip()) for cell in line.split(" || ")])
            else:
                paragraph.append(line.strip())
        close()
        return "\n".join(text for text in made if text)

    def title(self, words: str) -> str:
        if not self.heading:
            return ""
        self.number += 1
        if self.heading == "inline":
            return f"\x05{self.number}. {words}. "
        return self.heading.format(h=words, H=words.upper(), n=self.number, u="-" * len(words))

    def paragraph(self, text: str, made: list[str]) -> str:
        """A paragraph behind its inline heading, with lines of the document's width."""
        if made and made[-1].startswith("\x05"):
            text = made.pop()[1:] + text
        if not self.width:
            return text
        return textwrap.fill(text, self.width, break_long_words=False, break_on_hyphens=False)

    def label(self, label: str) -> str:
        return label.upper() if self.case == "upper" else lower_first(label) if self.case == "lower" else label

    def labels(self, pairs: list[tuple[str, str]]) -> str:
        style = self.block_style
        if style == "side":
            cells = [f"{label}: {value}" for label, value in pairs]
            width = max(map(len, cells[::2])) + 4
            rows = zip(cells[::2], [*cells[1::2], ""], strict=False)
            return "\n".join((left.ljust(width) + right).rstrip() for left, right in rows)
        if style == "grid":
            size = self.values.whole(2, 4)
            return "\n".join(grid(pairs[i : i + size]) for i in range(0, len(pairs), size))
        if style == "run":
            return self.paragraph("; ".join(f"{label}: {value}" for label, value in pairs) + ".", [])
        if style == "yaml":
            return "\n".join(
                f"{re.sub('[^a-z0-9]+', '_', label.lower()).strip('_')}: {value}" for label, value in pairs
            )
        wide = max(len(label) for label, _ in pairs)
        style = self.label_style
        return "\n".join(
            style.format(l=label, v=value, pad=" " * (wide - len(label)), dots="." * max(3, 34 - len(label)))
            for label, value in pairs
        )

    def table(self, rows: list[list[str]]) -> str:
        style, head = self.table_style, rows[0]
        if style == "records" and len(head) > 2:
            return "\n\n".join(
                "\n".join(f"{c}: {v}" if c else v for c, v in zip(head, row, strict=True)) for row in rows[1:]
            )
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        if style == "box":
            rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
            lines = ["| " + " | ".join(c.ljust(n) for c, n in zip(row, widths, strict=True)) + " |" for row in rows]
            return "\n".join([rule, lines[0], rule, *lines[1:], rule])
        if style == "pipe":
            lines = ["| " + " | ".join(row) + " |" for row in rows]
            return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])
        if style in ("bars", "tab", "semicolons"):
            sign = {"bars": " | ", "tab": "\t", "semicolons": "; "}[style]
            return "\n".join(sign.join(row) for row in rows)
        return "\n".join("  ".join(c.ljust(n) for c, n in zip(row, widths, strict=True)).rstrip() for row in rows)


def grid(pairs: list[tuple[str, str]]) -> str:
    """Labels in one line and their values below them."""
    widths = [max(map(len, pair)) + 3 for pair in pairs]
    lines = (
        "".join(cell.ljust(n) for cell, n in zip(cells, widths, strict=True)) for cells in zip(*pairs, strict=True)
    )
    return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True)
class Written:
    """A scene as a document: its text, its questions, and what the page shows of its slots."""

    text: str
    asked: tuple[Asked, ...]
    slots: Slots
    forms: dict[str, list[str]]


def write(values: Values, scene: Scene, tokens: int) -> Written:
    """A document of about `tokens` tokens at most (more where its shortest block needs them); sometimes padded."""
    slots, text = scene(values)
    page = Page(values, slots)
    blocks = blocks_of(text)
    chosen = choose(values, blocks, tokens * 4)
    made = [page.block(block) for block in chosen]
    pad(values, page, made, tokens * 4 - sum(map(len, made)))
    gap = values.pick(("\n\n", "\n\n", "\n\n", "\n"))
    document = gap.join(made).replace("\x05", "").replace(HARD, " ")
    document = re.sub(r" +\n", "\n", re.sub(r"(?<!\.)\.\.(?!\.)", ".", document)).strip() + "\n"
    return Written(document, ask(values, page, blocks, document), slots, page.forms)


def pad(values: Values, page: Page, made: list[str], room: int) -> None:
    """Puts sentences that state no value between the blocks: few, in some long documents many."""
    share = 1.0 if values.chance(0.2) else 0.0
    supply = iter(values.some(GENERAL, len(GENERAL)))
    for index in range(len(made), 0, -1):
        while values.chance(max(share, 0.07)):
            text = page.paragraph(" ".join(next(supply) for _ in range(values.whole(1, 3))), [])
            room -= len(text) + 2
            if room < 0:
                return
            made.insert(index, text)
            share *= 0.75


def size(block: Block) -> int:
    """Characters of a block, about."""
    return sum(len(CHOICE.sub(lambda found: found.group(1).split("|")[0], line)) + 6 for line in block.lines)


def choose(values: Values, blocks: tuple[Block, ...], room: int) -> list[Block]:
    """Blocks that fit into about `room` characters; some of the others are left out, to be asked in vain.

    Where there is too little room for all that are kept: those of them that fit, at least one.
    """
    sizes = [size(block) for block in blocks]
    taken: set[int] = set()
    left = room
    kept = [i for i, block in enumerate(blocks) if block.kept]
    for index in kept if sum(sizes[i] for i in kept) <= room else values.some(kept, len(kept)):
        if sizes[index] <= left or not taken:
            taken.add(index)
            left -= sizes[index]
    for index in values.some(range(len(blocks)), len(blocks)):
        if index not in taken and sizes[index] <= left and values.chance(0.86):
            taken.add(index)
            left -= sizes[index]
    return [block for i, block in enumerate(blocks) if i in taken]


def ask(values: Values, page: Page, blocks: tuple[Block, ...], text: str) -> tuple[Asked, ...]:
    """Eight to sixteen questions where the document has as many, 18 % of them without an answer."""
    present: list[Asked] = []
    absent: list[Asked] = []
    low = text.lower()
    for block in blocks:
        for slot, wordings in block.asks:
            forms = [form for form in page.forms.get(slot, []) if stands(form, text)]
            chosen = pick_asks(values, wordings)
            if forms:
                shown = [words for words in chosen if page.knows(words)]
                present += [made(values, page, words, forms[0]) for words in shown]
            elif slot not in page.forms and page.slots[slot].lower() not in low:
                known = [words for words in wordings if page.knows(words)]
                absent.append(made(values, page, pick_asks(values, tuple(known) or wordings)[0], None))
        absent += [made(values, page, values.pick(wordings), None) for wordings in block.never]
    answers: dict[str, set[str | None]] = {}
    for one in present + absent:
        answers.setdefault(plain(one.ask), set()).add(one.answer)
    present, absent = (
        list({plain(one.ask): one for one in some if len(answers[plain(one.ask)]) == 1}.values())
        for some in (present, absent)
    )
    most = min(16, max(8, len(text) // 80))
    found = values.some(present, round(most / (1 + ABSENT_PER_PRESENT)))
    wish = len(found) * ABSENT_PER_PRESENT
    found += values.some(absent, int(wish) + values.chance(wish - int(wish)))
    return tuple(values.some(found, len(found)))


def is_question(words: str) -> bool:
    return words.rstrip("]").endswith("?")


def pick_asks(values: Values, wordings: tuple[str, ...]) -> list[str]:
    """One of the wordings; often one of the other type as well."""
    fields = [words for words in wordings if not is_question(words)]
    questions = [words for words in wordings if is_question(words)]
    if fields and questions:
        both = [values.pick(fields), values.pick(questions)]
        return both if values.chance(0.3) else [values.pick(both)]
    return [values.pick(wordings)]


def made(values: Values, page: Page, words: str, answer: str | None) -> Asked:
    text = page.fill(words, shown=False).strip()
    text = text[:1].upper() + text[1:]
    if is_question(words):
        return Asked(vary(values, text), answer, "question")
    roll = values.random.random()
    return Asked(text.lower() if roll < 0.1 else text + ":" if roll < 0.2 else text, answer, "field")


def cells(
    slots: Slots, rows: Sequence[tuple[str, ...]], columns: tuple[str, ...], asks: dict[int, str], key: str = "c"
) -> str:
    """Lines of a table whose cells are slots, with the asks of every cell: column -> wordings with `@`, the row's name.

    The first cell of a row is its name; `asks[0]` asks for it: wordings with `@1`, `@2` for the other cells.
    """
    lines = [" || ".join(columns)]
    asked = []
    for number, row in enumerate(rows):
        names = [f"{key}{number}x{i}" for i in range(len(row))]
        slots.update(zip(names, row, strict=True))
        lines.append(" || ".join(f"{{{name}}}" for name in names))
        for column, words in asks.items():
            others = [other[1:] for other in rows if other is not row]
            if column == 0 and any(set(row[1:]) & set(other) for other in others):
                continue
            for i in range(1, len(row)):
                words = words.replace(f"@{i}", f"{{{names[i]}}}")
            asked.append(f"? {names[column]}: {words.replace('@', f'{{{names[0]}}}')}")
    return "\n".join(lines + asked)

"""How facts, tables and sentences are written: label lines, tables, Markdown, text from HTML, prose.  Words only.

Everything is written as pieces whose lengths add up, so that a wish for a length can be met before the text is joined.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reread.training.office.record import Fact, Section, Table, fill
from reread.training.office.values import Values

HARD = "\x00"  # a blank inside a value, which no line break may replace


@dataclass
class Piece:
    """A stretch of text with its own end, and the keys of the facts or cells that it shows.

    rank: the lower, the earlier it is chosen.  part: the section it belongs to.  label: as written, or "" in prose.
    """

    text: str
    part: int
    keys: tuple[str, ...] = ()
    rank: float = 0.0
    label: str = ""
    head: bool = False


@dataclass(frozen=True)
class Layout:
    """One manner of writing.  prose: share of the sections that are written as sentences.

    lines, tables, headings: styles to choose from.  wrap: widths of lines.  pages: has page headers and footers.
    """

    name: str
    lines: tuple[str, ...]
    tables: tuple[str, ...]
    headings: tuple[str, ...]
    titles: tuple[str, ...] = ("{t}",)
    prose: float = 0.0
    wrap: tuple[int, int] = (0, 0)
    pages: bool = False
    mail: bool = False


TEXT_TABLES = ("spaced", "box", "bars", "tab", "spaced")
TEXT_HEADINGS = ("{h}", "{H}", "{h}:", "{h}\n{u}", "{n}. {h}", "{n} {h}", "--- {h} ---", "[{h}]", "{n}) {h}")
MARKDOWN_HEADINGS = ("## {h}", "### {h}", "**{h}**", "## {n}. {h}")
TITLES = ("{t}", "{t}", "{T}", "{t}\n{u}", "*** {t} ***")
LAYOUTS = (
    Layout("label lines", ("{l}: {v}", "{l}: {v}", "{L}: {v}", "{l}:  {v}"), TEXT_TABLES, TEXT_HEADINGS, TITLES),
    Layout("label lines", ("{l}: {v}", "{l} : {v}", "{l} - {v}"), TEXT_TABLES, ("",), TITLES),
    Layout("dotted leaders", ("{l}{dots}{v}", "{l} {dots} {v}"), TEXT_TABLES, TEXT_HEADINGS, TITLES),
    Layout("tabs", ("{l}\t{v}", "{l}:\t{v}", "{l}\t\t{v}"), ("tab", "tab", "spaced"), TEXT_HEADINGS),
    Layout("equals", ("{l} = {v}", "{l}={v}", "{l}{pad} = {v}"), ("commas", "tab", "spaced"),
        ("[{h}]", "# {h}", "{H}")),
    Layout("value below", ("{l}\n{v}\n", "{l}:\n{v}", "{l}:\n    {v}", "{L}\n{v}"), ("records", "spaced", "bars"),
           TEXT_HEADINGS, TITLES),
    Layout("two columns", ("{l}:{pad} {v}", "{l}{pad}   {v}", "{L}{pad}  {v}", "{l}{pad} : {v}"),
           ("spaced", "spaced", "box"), TEXT_HEADINGS, TITLES),
    Layout("side by side", ("{l}: {v}", "{l} {v}"), ("spaced",), TEXT_HEADINGS, TITLES),
    Layout("text table", ("| {l}{pad} | {v} |", "| {l}{pad} | {v}", "{l}{pad} | {v}"), ("box", "bars"), TEXT_HEADINGS,
           TITLES),
    Layout("markdown table", ("| {l} | {v} |",), ("pipe",), MARKDOWN_HEADINGS, ("# {t}", "# {t}", "{t}")),
    Layout("markdown", ("**{l}:** {v}  ", "- **{l}**: {v}", "- {l}: {v}", "* **{l}:** {v}", "**{l}**: {v}\n",
                        "* {l}: {v}", "- **{l}** – {v}"), ("pipe", "pipe", "list"), MARKDOWN_HEADINGS,
           ("# {t}", "# {t}", "{t}\n{u}"), prose=0.15),
    Layout("text from HTML", ("{l}: {v}", "  * {l}: {v}", "{l}  {v}", "{l}\n\n{v}\n", "{l} {v}", "{l} | {v}"),
           ("records", "spaced", "bars", "list"), ("{h}", "{h}\n"), ("{t}", "{t}\n")),
    Layout("prose", ("{l}: {v}",), ("sentences", "sentences", "spaced", "bars"), ("{h}", "", "{H}", "{n}. {h}"),
           TITLES, prose=1.0),
    Layout("prose", ("{l}: {v}",), ("sentences",), ("",), ("{t}",), prose=1.0, wrap=(64, 96)),
    Layout("mixed", ("{l}: {v}", "{l}: {v}", "- {l}: {v}", "{l}{dots}{v}"), (*TEXT_TABLES, "sentences"), TEXT_HEADINGS,
           TITLES, prose=0.5),
    Layout("e-mail", ("{l}: {v}", "- {l}: {v}", "* {l}: {v}", "{l} - {v}"), ("spaced", "sentences", "bars", "list"),
           ("", "{h}:", "{h}"), prose=0.55, mail=True),
    Layout("pages", ("{l}: {v}", "{l}:{pad} {v}", "{l}{dots}{v}", "{n}. {l}: {v}"), TEXT_TABLES, TEXT_HEADINGS, TITLES,
           prose=0.35, wrap=(72, 100), pages=True),
    Layout("scan", ("{l}: {v}", "{l} : {v}", "{l}; {v}", "{l}:{v}", "{l}   {v}", "{l}. {v}"), ("spaced", "sentences"),
           ("{h}", "{H}", "{n}. {h}"), ("{t}", "{T}"), prose=0.5, wrap=(38, 66)),
    Layout("numbered", ("{n}. {l}: {v}", "({n}) {l}: {v}", "{n}) {l}: {v}", "{a}. {l}: {v}", "({a}) {l} {v}",
                        "{n} {l}\n{v}"), (*TEXT_TABLES, "list"), TEXT_HEADINGS[:4], TITLES),
)  # fmt: skip
SUPERSEDED = (
    "{v} (previously {o})", "{v} (was {o})", "{v}, formerly {o}", "{v} (instead of {o})", "{v} (replaces {o})",
    "{v}, not {o} as stated before", "{v} (old: {o})", "{v} (changed from {o})",
)  # fmt: skip
SUPERSEDED_SENTENCES = (
    "Until recently the {l} was {o}; it is now {v}.", "The {l} has been changed from {o} to {v}.",
    "Earlier copies give {o} as the {l}. The right {l} is {v}.", "Please note that the {l} is {v} and not {o}.",
    "The {l} used to be {o}, but {v} applies now.", "The {l}, {o} at first, was corrected to {v}.",
)  # fmt: skip
SENTENCES = (
    "The {l} is {v}.", "The {l} is {v}.", "{l_}: {v}.", "As {l} we have noted {v}.", "For the {l}, the entry is {v}.",
    "Under {l} the file gives {v}.",
)  # fmt: skip


A = re.compile(r"\b(a|A) (?=[aeio8]|LED|MSc|MA\b)(?!one)")
NO_NOUN = re.compile(
    r"(?i)( (to|by|on|from|in|with|at|of|for|until|is made|stopped for)$)|^(to|by|from|re|deliver|pay|please|send|ship"
    r"|bill to|charge to|serves|makes|keeps|contains|cook|rest|starts|ends|begins|born|released"
    r"|published|received|accepted|submitted|analysed|reported|collected|now|when|where|what|ask|present|until|elected|excused|absent|invited|begin"
    r"|attended|graduated|reads|posted|uploaded|included|closes|doors|concerning|for|citizen|used|runs|clean|quoted on"
    r"|report bugs|quote expires|lease begins|lease ends|best|goes|dropped|lost|notified|seen|who|how|finished|dated"
    r"|more|our |your |occurred|happened|work began|road closed|who decides|in |not |"
    r"apologies|via|no\.|approval by|sampled"
    r"|put off|postponed|guaranteed|agrees|data use|wanted|valid|held|over|retail|issued|signed|yours|heat$|reply"
    r"|delivered)\b"
)


def lower_first(label: str) -> str:
    """ "Due date" -> "due date"; "VAT number" and "Wi-Fi" stay."""
    word = label.split(" ")[0]
    keep = len(word) == 1 or any(sign.isupper() or sign.isdigit() for sign in word[1:])
    return label if keep else label[:1].lower() + label[1:]


def noun_labels(labels: Sequence[str]) -> list[str]:
    """The labels that can follow "the": not "Pay by", "Ship to", "Serves"."""
    return [label for label in labels if not NO_NOUN.search(label)]


def hard(value: str) -> str:
    return value.replace(" ", HARD)


def sentence(values: Values, fact: Fact, shown: str, names: dict[str, str], changed: bool) -> str:
    """One sentence (or two) that states a fact."""
    nouns = noun_labels(fact.labels)
    label = lower_first((nouns or fact.labels)[0])
    named = False
    if changed and fact.other and nouns:
        text = values.pick(SUPERSEDED_SENTENCES).format(l=label, v=hard(fact.value), o=hard(fact.other))
    elif fact.prose:
        words = values.pick(fact.prose)
        text = fill(words, {**names, "v": shown})
        named = words.startswith("{")
    else:
        text = values.pick(SENTENCES).format(l=label, l_=fact.labels[0], v=shown)
    text = text if named or text.startswith(shown) else text[:1].upper() + text[1:]
    text = A.sub(r"\1n ", text)
    return text.replace("..", ".").replace("?.", "?") + " "


class Writer:
    """Writes one document's parts as pieces in one layout; the styles are chosen once."""

    def __init__(self, values: Values, layout: Layout, names: dict[str, str], changed: set[str]):
        self.values, self.layout, self.names, self.changed = values, layout, names, changed
        self.line = values.pick(layout.lines)
        self.heading = values.pick(layout.headings)
        self.table = values.pick(layout.tables)
        self.upper_labels = values.chance(0.08)
        self.lower_labels = values.chance(0.06)
        self.old = values.pick(SUPERSEDED)

    def title(self, words: str) -> str:
        text = fill(self.values.pick(words.split("|")).strip(), self.names)
        first, _, rest = text.partition("\n")
        style = self.values.pick(self.layout.titles)
        shape = style.format(t=first, T=first.upper() if self.values.chance(0.3) else first, u="=" * len(first))
        return shape + ("\n" + rest if rest else "") + self.values.pick(("\n\n", "\n\n", "\n"))

    def head(self, heading: str) -> str:
        if not heading or not self.heading:
            return ""
        return self.heading.format(h=heading, H=heading.upper(), n="\x04", u="-" * len(heading)) + "\n"

    def shown(self, fact: Fact) -> str:
        if fact.key in self.changed and fact.other:
            return self.old.format(v=hard(fact.value), o=hard(fact.other))
        return hard(fact.value)

    def label(self, fact: Fact) -> str:
        label = fact.labels[0] if self.values.chance(0.55) else self.values.pick(fact.labels)
        if self.lower_labels:
            return lower_first(label)
        return label.upper() if self.upper_labels else label

    def section(self, section: Section, part: int) -> list[Piece]:
        if self.values.chance(self.layout.prose):
            return self.paragraph(section, part)
        labels = [self.label(fact) for fact in section.facts]
        width = max(map(len, labels), default=0)
        pieces = [Piece(self.head(section.heading), part, head=True)]
        if self.layout.name == "markdown table":
            names = self.values.pick((("Field", "Value"), ("Item", "Details"), ("", ""), ("Property", "Value")))
            pieces[0].text += "| {} | {} |\n|---|---|\n".format(*names)
        for index, (fact, label) in enumerate(zip(section.facts, labels, strict=True)):
            line = self.line_of(label, self.shown(fact), width)
            if self.layout.name == "side by side" and index % 2 == 0 and index + 1 < len(section.facts):
                line = line.rstrip("\n") + " " * max(3, 44 - len(line)) + "\x01"
            pieces.append(Piece(line, part, (fact.key,), self.rank(fact), label))
        return pieces

    def rank(self, fact: Fact) -> float:
        return self.values.random.random() * (0.6 if fact.kept else 1.0)

    def line_of(self, label: str, value: str, width: int) -> str:
        dots = self.values.pick(("." * max(3, 38 - len(label)),)) if "{dots}" in self.line else ""
        text = self.line.format(
            l=label, L=label.upper(), v=value, n="\x02", a="\x03", dots=dots, pad=" " * (width - len(label)),
        )  # fmt: skip
        return text + "\n"

    def paragraph(self, section: Section, part: int) -> list[Piece]:
        pieces = [Piece(self.head(section.heading), part, head=True)]
        for fact in section.facts:
            text = sentence(self.values, fact, self.shown(fact), self.names, fact.key in self.changed)
            pieces.append(Piece(text, part, (fact.key,), self.rank(fact)))
        return pieces

    def rows(self, table: Table, part: int, name: str) -> list[Piece]:
        """A table as pieces: its head (title and column names), then a piece a row with the key `name.row`."""
        style = self.table
        widths = [max(map(len, cells)) for cells in zip(table.columns, *table.rows, strict=True)]
        head, lines = write_table(style, table, widths, self.names)
        title = self.head(table.title) or (table.title + ("\n" if style != "sentences" else ": "))
        if style == "sentences" and not self.heading:
            title = ""
        pieces = [Piece(title + head, part, head=True)]
        for index, line in enumerate(lines):
            rank = (0.15 + index * 0.1 if index < 6 else 0.75 + index * 0.02) + self.values.random.random() * 0.1
            pieces.append(Piece(line, part, (f"{name}.{index}",), rank, "cell"))
        return pieces


def write_table(style: str, table: Table, widths: Sequence[int], names: dict[str, str]) -> tuple[str, list[str]]:
    """The lines above the rows, and the rows, each with its line end."""
    columns, rows = table.columns, table.rows
    if style == "spaced":

        def spaced(cells: Sequence[str]) -> str:
            return "  ".join(c.ljust(width) for c, width in zip(cells, widths, strict=True)).rstrip() + "\n"

        return spaced(columns), [spaced(row) for row in rows]
    if style == "box":

        def box(cells: Sequence[str]) -> str:
            return "| " + " | ".join(c.ljust(width) for c, width in zip(cells, widths, strict=True)) + " |\n"

        rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+\n"
        return rule + box(columns) + rule, [box(row) for row in rows]
    if style == "pipe":
        lines = ["| " + " | ".join(row) + " |\n" for row in (columns, *rows)]
        return lines[0] + "|" + "---|" * len(columns) + "\n", lines[1:]
    if style in ("bars", "tab", "commas"):
        sign = {"bars": " | ", "tab": "\t", "commas": "; "}[style]
        return sign.join(columns) + "\n", [sign.join(row) + "\n" for row in rows]
    if style == "records":
        made = ["".join(f"{c}: {v}\n" for c, v in zip(columns, row, strict=True)) + "\n" for row in rows]
        return "", made
    if style == "list":
        made = []
        for row in rows:
            if len(row) == 2:
                made.append(f"- {row[0]}: {row[1]}\n")
                continue
            rest = ", ".join(f"{lower_first(c)} {v}" for c, v in zip(columns[1:], row[1:], strict=True))
            made.append(f"- {row[0]}: {rest}\n")
        return "", made
    return "", [fill(table.prose, {**names, **{str(i): hard(c) for i, c in enumerate(row)}}) + " " for row in rows]

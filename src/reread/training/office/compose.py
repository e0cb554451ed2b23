"""From a record to a document of a wished length: what is dropped, what is shown, how the parts are joined."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from reread.training.office import extras, fillers
from reread.training.office.layouts import HARD, LAYOUTS, Layout, Piece, Writer, hard
from reread.training.office.record import Fact, Record, Section, Table, fact, fill
from reread.training.office.values import Values

CHARACTERS = 4  # a token, about


@dataclass
class Composed:
    """A document's text and what it shows: what questions are made from."""

    text: str
    layout: str
    record: Record
    shown: dict[str, str]  # key of a fact or row -> its label as written, "" in a sentence
    facts: dict[str, Fact]
    dropped: list[Fact]
    tables: dict[str, Table]
    quoted: list[Fact] = field(default_factory=list)
    covers: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)


def choose_layout(values: Values, record: Record, tokens: int) -> Layout:
    while True:
        layout = values.pick(LAYOUTS)
        if layout.mail and (tokens < 170 or not record.mail):
            continue
        if layout.pages and tokens < 300:
            continue
        if record.plain and not layout.prose and values.chance(0.5):
            continue
        return layout


def drop(values: Values, record: Record) -> list[Fact]:
    """Takes facts out of the record before it is written; returns them."""
    share = 0.05 + 0.25 * values.random.random()
    gone = [one for one in record.facts if not one.kept and values.chance(share)]
    keys = {one.key for one in gone}
    record.parts = [
        Section(part.heading, tuple(one for one in part.facts if one.key not in keys))
        if isinstance(part, Section) else part
        for part in record.parts
    ]  # fmt: skip
    return gone


def mail_frame(values: Values, record: Record) -> tuple[str, str, list[Fact]]:
    """Header and greeting, closing, and the facts that the header shows."""
    sender, receiver, sent = values.person(titled=False), values.person(titled=False), values.date(4, 9)
    subject = fill(values.pick(record.titles.split("|")).strip(), record.names).partition("\n")[0]
    subject = values.pick(("", "", "Re: ", "Fwd: ")) + subject
    address, other = values.email(sender), values.email(receiver)
    facts = [
        fact("mail.from", sender, "From|Sender", "Who wrote this e-mail?|Who sent the message?"),
        fact("mail.to", receiver, "To|Recipient", "Who received the e-mail?|To whom is the message addressed?"),
        fact("mail.date", sent, "Sent|Date sent", "When was the e-mail sent?|On which day was this message written?"),
        fact("mail.address", address, "Sender's e-mail|E-mail of the sender",
             f"What is {sender}'s e-mail address?|To which address can one reply to {sender}?"),
    ]  # fmt: skip
    lines = [f"From: {hard(sender)} <{address}>", f"To: {hard(receiver)} <{other}>", f"Sent: {sent}"]
    if values.chance(0.3):
        lines = [lines[2], *lines[:2]]
    lines.append(f"Subject: {subject}")
    first = receiver.split(" ")[0]
    greeting = values.pick(fillers.GREETINGS).format(first=first, name=receiver)
    closing = values.pick(fillers.CLOSINGS).format(first=sender.split(" ")[0], name=sender)
    return "\n".join(lines) + "\n\n" + greeting + "\n\n", closing + "\n", facts


def quote(values: Values, shown: list[Fact], changed: set[str]) -> tuple[str, list[Fact]]:
    """An older mail that gives other values for up to three of the facts."""
    usable = [one for one in shown if one.other and one.key not in changed]
    chosen = values.some(usable, values.whole(1, 3)) if usable else []
    who, when = values.person(titled=False), values.date(-60, -21)
    head = values.pick(
        (f"On {when}, {who} wrote:", f"{who} wrote on {when}:", f"-----Original message-----\nFrom: {who}")
    )
    lines = [values.pick(fillers.QUOTED), *(f"{one.labels[0]}: {hard(str(one.other))}" for one in chosen)]
    lines.append(values.pick(fillers.QUOTED_ENDS))
    return head + "\n" + "".join(f"> {line}\n" for line in lines), chosen


def compose(values: Values, record: Record, tokens: int) -> Composed:
    """Writes the record in one layout, about `tokens` tokens long."""
    layout = choose_layout(values, record, tokens)
    target = tokens * CHARACTERS
    names = {**{one.key: one.value for one in record.facts}, **record.names}
    record.names = names
    dropped = drop(values, record)
    extras.add(values, record, target)
    changed = {one.key for one in record.facts if one.other and values.chance(0.28)}
    writer = Writer(values, layout, names, changed)
    top, tail, framed = mail_frame(values, record) if layout.mail else (writer.title(record.titles), "", [])
    pieces: list[Piece] = []
    tables: dict[str, Table] = {}
    for part, content in enumerate(record.parts):
        if isinstance(content, Table):
            tables[f"t{part}"] = content
            pieces += writer.rows(content, part, f"t{part}")
        else:
            pieces += writer.section(content, part)
    room = target - len(top) - len(tail) - (220 if layout.mail else 0)
    frame = page_frame(values, names, record) if layout.pages else None
    if frame:
        room -= (room // 2400 + 1) * (sum(map(len, frame)) + 6)
    chosen = fit(values, pieces, room)
    facts = {one.key: one for one in record.facts}
    body = join(values, layout, record, chosen, room)
    shown = {key: piece.label for piece in chosen for key in piece.keys}
    quoted: list[Fact] = []
    if layout.mail:
        text, quoted = quote(values, [facts[key] for key in shown if key in facts], changed)
        body += tail + "\n" + text
        facts.update((one.key, one) for one in framed)
        shown.update((one.key, one.labels[0]) for one in framed if not one.key.endswith("address"))
        shown["mail.address"] = ""
    text = top + body
    if layout.wrap[1]:
        text = wrap(text, values.whole(*layout.wrap))
    if frame:
        text = paged(text, *frame)
    text = numbered(text)
    text = re.sub(r"\n{4,}", "\n\n\n", text.replace(HARD, " ")).strip() + "\n"
    kept = [one for one in facts.values() if one.key in shown]
    covers = set(record.covers) | ({"contact"} if layout.mail else set())
    for name, table in tables.items():
        if any(key.startswith(f"{name}.") for key in shown):
            covers |= table.covers
    unshown = [one for one in record.facts if one.key not in shown and not one.kept]
    return Composed(text, layout.name, record, shown, {one.key: one for one in kept}, dropped + unshown, tables,
                    quoted, covers, changed)  # fmt: skip


def fit(values: Values, pieces: list[Piece], room: int) -> list[Piece]:
    """The pieces of lowest rank that fit into `room` characters, in their order, with the heads of their parts."""
    share = 1.0 if room < 1200 else values.pick((1.0, 1.0, 0.85, 0.7))
    heads = {piece.part: piece for piece in pieces if piece.head}
    left, taken, parts = int(room * share), set(), set()
    for index in sorted((i for i, p in enumerate(pieces) if not p.head), key=lambda i: pieces[i].rank):
        piece = pieces[index]
        cost = len(piece.text) + (0 if piece.part in parts else len(heads[piece.part].text) + 1)
        if cost > left:
            continue
        left -= cost
        taken.add(index)
        parts.add(piece.part)
    return [p for i, p in enumerate(pieces) if i in taken or (p.head and p.part in parts)]


def join(values: Values, layout: Layout, record: Record, chosen: list[Piece], room: int) -> str:
    """The parts with filler paragraphs between and after them, about `room` characters."""
    blocks: list[str] = []
    for part in sorted({piece.part for piece in chosen}):
        own = [piece.text for piece in chosen if piece.part == part]
        text = "".join(own[:-1]).replace("\x01", "") + re.sub(r" *\x01", "\n", own[-1])
        text = re.sub(r"\n{3,}", "\n\n", text).rstrip()
        blocks.append(text + values.pick(("\n\n", "\n\n", "\n\n", "\n")))
    missing = room - sum(map(len, blocks))
    paragraphs: list[str] = []
    supply = fillers.sentences(values, record.kind)
    while missing > 90 or (missing > 45 and not paragraphs):
        paragraph = ""
        limit = values.whole(1, 5)
        for text in supply:
            if len(text) > missing + 25:
                continue
            paragraph += text + " "
            missing -= len(text) + 1
            limit -= 1
            if not limit or missing < 60:
                break
        if not paragraph:
            break
        paragraphs.append(paragraph.rstrip() + "\n\n")
        missing -= 1
    for paragraph in paragraphs:
        place = len(blocks) if values.chance(0.5) else values.whole(1 if layout.mail else 0, len(blocks))
        blocks.insert(place, paragraph)
    return "".join(block if block.endswith("\n\n") or i + 1 < len(blocks) else block + "\n" for i, block in
                   enumerate(blocks))  # fmt: skip


def numbered(text: str) -> str:
    """Puts the numbers and letters of lines (\\x02, \\x03) and headings (\\x04) in."""
    for mark in "\x02\x03\x04":
        pieces = text.split(mark)
        for index in range(1, len(pieces)):
            pieces[index] = ("abcdefghijklmnopqrstuvwxyz"[(index - 1) % 26] if mark == "\x03" else str(index)) + pieces[
                index
            ]
        text = "".join(pieces)
    return text


def wrap(text: str, width: int) -> str:
    """Breaks lines longer than `width` at blanks; lines of tables stay."""
    lines = []
    for line in text.split("\n"):
        while len(line) > width and "  " not in line and "|" not in line and "\t" not in line:
            cut = line.rfind(" ", 0, width)
            if cut <= 0:
                break
            lines.append(line[:cut])
            line = line[cut + 1 :]
        lines.append(line)
    return "\n".join(lines)


def page_frame(values: Values, names: dict[str, str], record: Record) -> tuple[str, str]:
    """What stands above and below each page; `#` is the number of the page."""
    short = fill(record.titles.split("|")[0].strip(), names).partition("\n")[0]
    head = values.pick((short, f"{short}    page #", "Internal use", "Copy", ""))
    foot = values.pick(("Page #", "- # -", f"{short} | #", "Page # – printed copies are not controlled", "[#]"))
    return head, foot


def paged(text: str, head: str, foot: str) -> str:
    """Puts a foot and a head about every 2,400 characters, between lines."""
    pages, size = [[]], 0  # type: list[list[str]], int
    for line in text.rstrip("\n").split("\n"):
        if size > 2400 and not line.strip():
            pages.append([])
            size = 0
        pages[-1].append(line)
        size += len(line) + 1
    made = []
    for number, page in enumerate(pages, 1):
        top = [head.replace("#", str(number))] if head and number > 1 else []
        made.append("\n".join([*top, *page, "", foot.replace("#", str(number))]))
    return "\n".join(made) + "\n"

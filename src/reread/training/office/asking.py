"""Questions to a composed document: labels and sentences, some of them about what it does not hold."""

from __future__ import annotations

import re
from collections import Counter

from reread.training.office.compose import Composed
from reread.training.office.layouts import lower_first, noun_labels
from reread.training.office.record import Asked, Fact, Table, fill
from reread.training.office.values import Values
from reread.training.office.words import FIRST_NAMES as NAMES

FIRST_NAMES = frozenset(NAMES)

PLAIN_QUESTIONS = (
    "What is the {l}?", "What is the {l}?", "What is given as the {l}?", "Tell me the {l}.", "Give the {l}.",
    "Which {l} is stated?", "Can you find the {l}?", "I need the {l}.", "What does it say about the {l}?",
)  # fmt: skip
TITLE = re.compile(r"^(?:(?:Mr|Mrs|Ms|Dr|Prof)\.? )+")
OPENINGS = ("Please tell me: ", "According to the document, ", "Quick question: ", "In this text, ", "One thing: ")
CELL_FIELDS = ("{c} of {r}", "{r}: {c}", "{r}, {c}", "{c} for {r}", "{r} {c}", "{c} ({r})")
OLD_QUESTIONS = (
    "What was the {l} in the earlier message?", "Which {l} did the quoted mail give?",
    "What {l} was named in the older e-mail?",
)  # fmt: skip
CHANGED_QUESTIONS = (
    "What was the {l} before the change?",
    "What was the previous {l}?",
    "Which {l} was named before the change?",
)
NEW_QUESTIONS = ("What is the {l} now?", "Which {l} applies now?", "What is the {l} after the change?")
OLD_FIELDS = ("Previous {l}", "Former {l}", "{l} before the change", "Old {l}")
NEW_FIELDS = ("Present {l}", "New {l}", "{l} after the change", "{l}, as it applies now")
# what a person, a firm or a body that the document names could be asked about, and words that may answer it
NEIGHBOURS = (
    (
        "Telephone number of {n}|What is {n}'s telephone number?|On which number can one call {n}?",
        "tel|phone|call|+|dial",
    ),
    ("Age of {n}|How old is {n}?", "age|born|birth|years old"),
    ("Date of birth of {n}|When was {n} born?", "born|birth"),
    ("E-mail address of {n}|What is {n}'s e-mail address?", "@|mail"),
    ("Deputy of {n}|Who stands in for {n}?", "deput|substitut|stand|place of"),
    ("Nationality of {n}|What nationality does {n} have?", "national|citizen"),
    ("Employer of {n}|For whom does {n} work?", "employ|works|firm|compan"),
    ("Office hours of {n}|When can one see {n}?", "hours|open|from"),
    ("Salary of {n}|How much does {n} earn?", "salary|pay|earn|wage"),
)


def plain(ask: str) -> str:
    """An ask without case, colon and marks, to compare it with others."""
    return re.sub(r"[^\w%&/.-]+", " ", ask.lower()).strip(" .")


def stands(answer: str, text: str) -> bool:
    """Whether the answer stands in the text with whole words at its borders."""
    place = text.find(answer)
    while place >= 0:
        before, after = text[place - 1 : place], text[place + len(answer) : place + len(answer) + 1]
        if not is_word(before) and not is_word(after):
            return True
        place = text.find(answer, place + 1)
    return False


def is_word(sign: str) -> bool:
    return sign.isalnum() or sign == "_"


def is_person(value: str) -> bool:
    """Whether a value begins with a first name and has two or three words."""
    names = TITLE.sub("", value).split()
    return len(names) in (2, 3) and names[0] in FIRST_NAMES and all(name[0].isupper() for name in names)


def vary(values: Values, question: str) -> str:
    roll = values.random.random()
    if roll < 0.06:
        return question.rstrip("?.").lower()
    if roll < 0.1:
        return question.lower()
    if roll < 0.16:
        return values.pick(OPENINGS) + question[:1].lower() + question[1:]
    return question


def field_ask(values: Values, labels: tuple[str, ...], shown: str) -> str:
    others = [label for label in labels if label.lower() != shown.lower()] or list(labels)
    label = shown if shown and values.chance(0.2) else values.pick(others)
    roll = values.random.random()
    if roll < 0.22:
        return lower_first(label) if values.chance(0.5) else label.lower()
    return label + ":" if roll < 0.34 else label


def asks_of(values: Values, one: Fact, shown: str, names: dict[str, str]) -> list[tuple[str, str]]:
    """One or two (ask, type) for a fact."""
    made = []
    roll = values.random.random()
    if roll < 0.6 or not one.questions:
        made.append((field_ask(values, one.labels, shown), "field"))
    if roll > 0.4:
        nouns = noun_labels(one.labels)
        if one.questions and (not nouns or values.chance(0.88)):
            made.append((vary(values, fill(values.pick(one.questions), names)), "question"))
        elif nouns:
            words = values.pick(PLAIN_QUESTIONS).format(l=lower_first(values.pick(nouns)))
            made.append((vary(values, words), "question"))
    return made


class Asker:
    """Collects questions to one document; an ask that could mean two facts is left out."""

    def __init__(self, values: Values, done: Composed):
        self.values, self.done = values, done
        self.names = done.record.names
        labels = Counter(label.lower() for one in done.facts.values() for label in set(one.labels))
        columns = {column.lower() for table in done.tables.values() for column in table.columns}
        self.shared = {label for label, count in labels.items() if count > 1} | columns
        self.labels = set(labels) | columns
        self.unclear = tuple(lower_first(label) for label in self.shared)

    def clear(self, ask: str, kind: str) -> bool:
        return kind == "question" or ask.rstrip(":").lower() not in self.shared

    def present(self) -> list[Asked]:
        found = []
        for key, one in self.done.facts.items():
            if not stands(one.value, self.done.text):
                continue
            for ask, kind in asks_of(self.values, one, self.done.shown[key], self.names):
                generic = kind == "question" and any(label in ask for label in self.unclear)
                if self.clear(ask, kind) and not generic:
                    found.append(Asked(ask, one.value, kind))
            if one.other and key in self.done.changed and stands(one.other, self.done.text):
                found += self.pair(one)
        for one in self.done.quoted:
            if self.values.chance(0.4):
                found += self.old(one, OLD_QUESTIONS)
        return found

    def old(self, one: Fact, questions: tuple[str, ...]) -> list[Asked]:
        """A question for the value that no longer holds."""
        nouns = [label for label in noun_labels(one.labels) if label.lower() not in self.shared]
        if not nouns:
            return []
        return [Asked(self.values.pick(questions).format(l=lower_first(nouns[0])), one.other, "question")]

    def pair(self, one: Fact) -> list[Asked]:
        """Questions for the value that no longer holds and for the one that does, in the same words."""
        nouns = [label for label in noun_labels(one.labels) if label.lower() not in self.shared]
        if not nouns:
            return []
        label = lower_first(self.values.pick(nouns))
        found = []
        for answer, questions, fields in (
            (one.other, CHANGED_QUESTIONS, OLD_FIELDS),
            (one.value, NEW_QUESTIONS, NEW_FIELDS),
        ):
            kind = self.values.pick(("question", "field"))
            words = self.values.pick(questions if kind == "question" else fields).format(l=label)
            found.append(Asked(words[:1].upper() + words[1:], answer, kind))
        return found

    def neighbours(self) -> list[Asked]:
        """What the document could say of a person that it names, and does not."""
        low = self.done.text.lower()
        named = [one.value for one in self.done.facts.values() if is_person(one.value)]
        found = []
        for name in self.values.some([name for name in named if stands(name, self.done.text)], 2):
            wordings, signs = self.values.pick(NEIGHBOURS)
            if not any(sign in low for sign in signs.split("|")):
                ask = self.values.pick(wordings.split("|")).format(n=name)
                found.append(Asked(ask, None, "question" if ask.endswith("?") else "field"))
        return found

    def cells(self) -> list[Asked]:
        found = []
        names = Counter(row[0] for table in self.done.tables.values() for row in table.rows)
        for name, table in self.done.tables.items():
            shown = [i for i in range(len(table.rows)) if f"{name}.{i}" in self.done.shown]
            pair = self.values.some(list(table.asks), 2)  # both columns are asked of the first two rows
            for number, index in enumerate(self.values.some(shown, self.values.whole(2, 4))):
                row = table.rows[index]
                if names[row[0]] != 1:
                    continue
                if number < 2:
                    found += [Asked(*self.ask_cell(table, row[0], column, row[column])) for column in pair]
                if number != 1:
                    found += self.cell(table, row, [table.rows[i] for i in shown])
        return [one for one in found if one.answer and stands(one.answer, self.done.text)]

    def cell(self, table: Table, row: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[Asked]:
        column = self.values.pick(list(table.asks))
        if table.back and self.values.chance(0.25):
            column = self.values.pick(list(table.back))
            if sum(other[column] == row[column] for other in rows) == 1:
                words = fill(self.values.pick(table.back[column].split("|")), {**self.names, "cell": row[column]})
                return [Asked(vary(self.values, words), row[0], "question")]
            return []
        return [Asked(*self.ask_cell(table, row[0], column, row[column]))]

    def ask_cell(self, table: Table, name: str, column: int, answer: str | None) -> tuple[str, str | None, str]:
        if self.values.chance(0.4):
            label = table.columns[column]
            ask = self.values.pick(CELL_FIELDS).format(c=label, r=name)
            return (ask.lower() if self.values.chance(0.15) else ask), answer, "field"
        words = fill(self.values.pick(table.asks[column].split("|")), {**self.names, "row": name})
        return vary(self.values, words), answer, "question"

    def absent(self, foreign: tuple[tuple[str, str, str], ...]) -> list[Asked]:
        """Asks of dropped facts, of rows that are not there, and of fields of other kinds."""
        text = self.done.text
        low = text.lower()
        found: list[Asked] = []
        for one in self.done.dropped:
            last = one.value.split()[-1]
            if last.isalpha() and last[0].isupper() and len(last) > 3 and last.lower() in low:
                continue  # a part of the name stands in the text, for example in a mail address
            if one.value.lower() in low or (one.topic and one.topic in self.done.covers):
                continue
            if self.labels & {label.lower() for label in one.labels}:
                continue
            ask, kind = self.values.pick(asks_of(self.values, one, "", self.names))
            found.append(Asked(ask, None, kind))
        for table in self.done.tables.values():
            rows = [row[0] for row in table.rows]
            for name in [one for one in (*table.missing, *rows) if one.lower() not in low][:2]:
                ask, _, kind = self.ask_cell(table, name, self.values.pick(list(table.asks)), None)
                found.append(Asked(ask, None, kind))
        found += self.neighbours()
        for labels, questions, words in self.values.some(foreign, int(self.values.chance(0.5))):
            if any(word in low for word in words.split("|")):
                continue
            if self.values.chance(0.5):
                found.append(Asked(field_ask(self.values, tuple(labels.split("|")), ""), None, "field"))
            else:
                found.append(Asked(vary(self.values, self.values.pick(questions.split("|"))), None, "question"))
        return found


def ask(values: Values, done: Composed, foreign: tuple[tuple[str, str, str], ...]) -> tuple[Asked, ...]:
    """Up to sixteen questions, 18 % of them without an answer; none has two answers."""
    asker = Asker(values, done)
    present = asker.present() + asker.cells()
    absent = asker.absent(foreign)
    answers: dict[str, set[str | None]] = {}
    for one in present + absent:
        answers.setdefault(plain(one.ask), set()).add(one.answer)
    limit = min(16, 6 + len(done.text) // 160)
    good = [one for one in dict.fromkeys(present) if len(answers[plain(one.ask)]) == 1]
    none = [one for one in dict.fromkeys(absent) if len(answers[plain(one.ask)]) == 1]
    count = min(len(good), max(2, round(limit * 0.82)))
    wish = count * 0.22
    lack = int(wish) + values.chance(wish - int(wish))
    chosen = values.some(good, count) + values.some(none, min(len(none), lack))
    once = {plain(one.ask): one for one in chosen}
    return tuple(values.some(list(once.values()), len(once)))

"""Recall-dense episodes: documents with questions whose answers stand in them.  Words only.

Five sources: fields of regulatory documents (lines "Key: value", and the 510(k) training table),
questions over paragraphs, questions that a program makes of sentences, and forms that it writes.
Each source draws one Episode from a random generator; how an episode is tokenised, masked and laid
out is in data.py.
What may be trained on is said in SPLITS.md of the data folder.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from reread.errors import BadInput
from reread.tasks.recall import TRAINED_ON, document_name, fda_documents, squad_json
from reread.training.corpus import corpus

Item = TypeVar("Item")


@dataclass(frozen=True)
class Episode:
    """A document and (question, answer) pairs; every answer stands in the document."""

    document: str
    questions: tuple[tuple[str, str], ...]
    template: str


@dataclass(frozen=True)
class Fields:
    """A document with the fields found in it: (question, answer, place of the answer)."""

    text: str
    fields: tuple[tuple[str, str, int], ...]


LINE = re.compile(
    r"(?m)^[ \t#*]*(?:[A-Z]{1,2}\.|[0-9]{1,2}\.|\([0-9a-z]\)|[A-Z](?= [A-Z]))?[ \t]*"
    r"([A-Z0-9][A-Za-z0-9()/,' -]{2,44}?)[ \t]*:[ \t]*\n{0,2}[ \t]*(\S[^\n]{1,119}?)[ \t]*$"
)
CANONICAL = {
    "510k number": "510k number",
    "applicant": "applicant",
    "classification": "classification",
    "measurand": "measurand",
    "panel": "panel",
    "predicate 510k number": "predicate 510k number",
    "predicate device name": "predicate device name",
    "predicate k number": "predicate 510k number",
    "product code": "product code",
    "proprietary and established names": "proprietary and established names",
    "purpose for submission": "purpose for submission",
    "regulation section": "regulation section",
    "type of test": "type of test",
}
HEAD = 10_000


def normal(label: str) -> str:
    """ "Predicate 510(k) number(s)" -> "predicate 510k number"."""
    return re.sub(r"\s+", " ", label.lower().replace("(k)", "k").replace("(s)", "")).strip()


def find_fields(text: str) -> tuple[tuple[str, str, int], ...]:
    """Lines "Key: value" (the value may stand on the next line); a repeated key keeps its first value only."""
    found: dict[str, tuple[str, str, int]] = {}
    for match in LINE.finditer(text):
        label, value = match.group(1), match.group(2)
        if value.endswith(":") or label.lower().startswith(("table", "figure")):
            continue
        key = normal(label)
        found.setdefault(key, (CANONICAL.get(key, label), value, match.start(2)))
    return tuple(found.values())


def regulatory_documents(data: Path, characters: int, without: Set[str]) -> list[Fields]:
    """Heads of the training FDA documents with two fields or more, but those about a device of `without`."""
    found = []
    for name in REGULATORY:
        for identity, text in corpus(data / "text" / f"{name}.jsonl.xz", characters):
            head = text[:HEAD]
            fields = find_fields(head)
            if len(fields) >= 2 and document_name(identity) not in without:
                found.append(Fields(head, fields))
    return found


def table_documents(data: Path) -> dict[str, Fields]:
    """The 510(k) training documents with their table, by name, in the order of the file.  Raises BadInput for two
    of one name."""
    found: dict[str, Fields] = {}
    for name, samples in fda_documents(data, "train"):
        if name in found:
            raise BadInput("two training documents are called alike", got=name, todo="a file name is one document's")
        if samples:
            places = [(s.question, s.answers[0], s.document.find(s.answers[0])) for s in samples]
            found[name] = Fields(samples[0].document, tuple(places))
    return found


def pick(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


class FieldSource:
    """Episodes from documents with fields: a window with some of its fields asked, in random order."""

    def __init__(self, documents: Sequence[Fields], characters_per_token: float = 3.0):
        self.documents, self.rate = documents, characters_per_token

    def draw(self, rng: np.random.Generator, tokens: int) -> Episode:
        document = pick(rng, self.documents)
        length = int(tokens * self.rate)
        anchor = pick(rng, document.fields)[2]
        start = 0 if rng.random() < 0.4 and anchor < 0.7 * length else anchor - int(rng.random() * 0.8 * length)
        start = max(0, start)
        if start:
            start = document.text.rfind(" ", 0, start) + 1
        window = document.text[start : start + length]
        inside = [
            (question, answer)
            for question, answer, place in document.fields
            if start <= place and place + len(answer) <= start + length
        ]
        order = rng.permutation(len(inside))
        return Episode(window, tuple(inside[i] for i in order), "field")


Asked = tuple[str, list[tuple[str, str]]]


def asked_paragraphs(files: Sequence[Path]) -> list[Asked]:
    """Each paragraph of SQuAD's files with its questions and their first answers."""
    found: dict[str, list[tuple[str, str]]] = {}
    for file in files:
        for sample in squad_json(file):
            found.setdefault(sample.document, []).append((sample.question, sample.answers[0]))
    return list(found.items())


class QuestionSource:
    """Episodes from paragraphs with questions: one or several paragraphs, questions over all of them."""

    def __init__(self, paragraphs: Sequence[Asked]):
        self.paragraphs = paragraphs

    def draw(self, rng: np.random.Generator, tokens: int) -> Episode:
        room = int(tokens * 3.6)
        shown: list[str] = []
        questions: list[tuple[str, str]] = []
        for _ in range(int(rng.integers(1, 7))):
            text, asked = pick(rng, self.paragraphs)
            if shown and len(text) > room:
                break
            shown.append(text)
            questions += asked
            room -= len(text)
        order = rng.permutation(len(questions))
        return Episode("\n".join(shown), tuple(questions[i] for i in order), "question")


LINE_PATTERNS = (
    "{k}: {v}\n", "{k}:\n{v}\n", "- {k}: {v}\n", "{k} | {v}\n", "{n}. {k}: {v}\n", "{k}\n{v}\n\n", "({n}) {k}: {v}\n",
    "{letter}. {k}: {v}\n", "**{k}:** {v}\n", "{k} = {v}\n", "{k} ... {v}\n", "The {k} is {v}.\n", "{n}. {k}:\n{v}\n",
)  # fmt: skip
MONTHS = ["January", "March", "April", "June", "July", "August", "October", "November"]
UNITS = ("mm", "kg", "V", "bar", "%", "hours", "days", "ml", "W", "pounds", "degrees")


class FormSource:
    """Forms written by a program: random labels and values in one line pattern or several, prose between them."""

    def __init__(self, labels: Sequence[str], words: Sequence[str], names: Sequence[str], prose: Sequence[str]):
        self.labels, self.words, self.names, self.prose = labels, words, names, prose

    def _words(self, rng: np.random.Generator, low: int, high: int) -> str:
        return " ".join(pick(rng, self.words) for _ in range(int(rng.integers(low, high))))

    def _code(self, rng: np.random.Generator) -> str:
        letters = "".join(string.ascii_uppercase[i] for i in rng.integers(26, size=int(rng.integers(0, 4))))
        digits = "".join(str(i) for i in rng.integers(10, size=int(rng.integers(2, 8))))
        return letters + ("-" if letters and rng.random() < 0.5 else "") + digits

    def _value(self, rng: np.random.Generator) -> str:
        kind, number = rng.integers(8), int(rng.integers(1, 9999))
        if kind == 0:
            return self._code(rng)
        if kind == 1:
            return " ".join(pick(rng, self.names) for _ in range(int(rng.integers(1, 4))))
        if kind == 2:
            return f"{rng.integers(1, 29)}.{rng.integers(1, 13)}.{rng.integers(1950, 2026)}"
        if kind == 3:
            return f"{rng.integers(1, 29)} {pick(rng, MONTHS)} {rng.integers(1950, 2026)}"
        if kind == 4:
            return f"{number % 100} to {number} {pick(rng, UNITS)}" if number % 2 else f"{number:,} {pick(rng, UNITS)}"
        if kind == 5:
            return f"{number} {pick(rng, self.words)}"
        if kind == 6:
            return f"{pick(rng, self.names)} {self._words(rng, 1, 4)}"
        return self._words(rng, 2, 8)

    def _label(self, rng: np.random.Generator) -> str:
        return pick(rng, self.labels) if rng.random() < 0.5 else self._words(rng, 1, 4).capitalize()

    def draw(self, rng: np.random.Generator, tokens: int) -> Episode:
        patterns = [pick(rng, LINE_PATTERNS) for _ in range(int(rng.integers(1, 4)))]
        room, share, small = int(tokens * 2.4), rng.random() * 0.5, rng.random() < 0.3
        lines: list[str] = []
        fields: dict[str, str] = {}
        while room > 0:
            if rng.random() < share:
                line = pick(rng, self.prose) + "\n"
            else:
                label, value = self._label(rng), self._value(rng)
                if label.lower() in map(str.lower, fields):
                    continue
                fields[label] = value
                letter = string.ascii_uppercase[len(fields) % 26]
                line = pick(rng, patterns).format(k=label, v=value, n=len(fields), letter=letter)
            lines.append(line)
            room -= len(line)
        pairs = [(label.lower() if small else label, value) for label, value in fields.items()]
        return Episode("".join(lines), tuple(pairs[i] for i in rng.permutation(len(pairs))), "field")


SENTENCE = re.compile(r"[^.!?\n]{30,240}[.!?]")
ENTITY = re.compile(r"(?<=[a-z,] )(?:[A-Z][a-z]+(?: (?:of )?[A-Z][a-z]+)*|[0-9][0-9,]*(?:[.][0-9]+)?)(?![A-Za-z0-9])")


class SentenceSource:
    """Questions that a program makes of sentences: a name or number is asked for by the words around it.

    They are no grammatical English; what they teach is to find the place where the words of a
    question stand and to copy what is beside it, which a field's name does not ask for.
    """

    def __init__(self, pieces: Sequence[str]):
        self.pieces = [piece for piece in pieces if len(piece) > 400]

    @staticmethod
    def ask(rng: np.random.Generator, sentence: str, start: int, answer: str) -> str:
        """Wh-word, then most of the words near the answer, in their order."""
        wh: tuple[str, ...]
        if answer[0].isdigit():
            wh = ("When", "In what year") if len(answer) == 4 and answer.isdigit() else ("How many", "What number")
        else:
            wh = ("Who", "Where", "What", "Which")
        before, after = sentence[:start].split()[-7:], sentence[start + len(answer) :].rstrip(".!?").split()[:7]
        kept = [word.strip(',;()"') for word in before + after if rng.random() < 0.75]
        return f"{pick(rng, wh)} {' '.join(kept)}?"

    def draw(self, rng: np.random.Generator, tokens: int) -> Episode:
        piece = pick(rng, self.pieces)
        length = int(tokens * 3.6)
        start = int(rng.integers(max(1, len(piece) - length)))
        start = piece.rfind(" ", 0, start) + 1
        document = piece[start : start + length]
        questions = []
        for match in SENTENCE.finditer(document):
            sentence = match.group().strip()
            found = [(m.start(), m.group()) for m in ENTITY.finditer(sentence)]
            if found:
                place, answer = pick(rng, found)
                questions.append((self.ask(rng, sentence, place, answer), answer))
        order = rng.permutation(len(questions))[:8]
        return Episode(document, tuple(questions[i] for i in order), "question")


def form_source(labels: Sequence[str], encyclopedia: Sequence[str]) -> FormSource:
    """Labels of real documents; words, names and prose of an encyclopedia."""
    words: dict[str, None] = {}
    names: dict[str, None] = {}
    prose: list[str] = []
    for text in encyclopedia:
        words.update(dict.fromkeys(re.findall(r"\b[a-z]{3,10}\b", text)))
        names.update(dict.fromkeys(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{3,11}\b", text)))
        prose += [s for s in re.split(r"(?<=[.!?]) |\n", text) if 40 <= len(s) <= 160]
    return FormSource(labels, list(words)[:12_000], list(names)[:12_000], prose[:20_000])


def question_files(data: Path) -> list[Path]:
    return [data / "squadshifts" / f"{name}_v1.0.json.gz" for name in TRAINED_ON]


TEXTS = ("fda510k-01", "wiki-00", "imdb-00", "gutenberg-00")
TABLE = "fda_510k/train_table.json"
REGULATORY = ("fda510k-00", "fda510k-01")


def training_text(data: Path, characters: int, without: Set[str], names: Sequence[str] = TEXTS) -> dict[str, list[str]]:
    """Plain text for language modelling, by source, about that many characters each; `without` as above."""
    return {
        name: [
            text
            for identity, text in corpus(data / "text" / f"{name}.jsonl.xz", characters)
            if document_name(identity) not in without
        ]
        for name in names
    }

"""Recall-dense episodes: documents with questions whose answers stand in them.  Words only.

Four sources: fields of regulatory documents (lines "Key: value", and the 510(k) training table),
questions over paragraphs, and forms written by a program.  Each source draws one Episode from a
random generator; how an episode is tokenised, masked and laid out is in data.py.
What may be trained on is said in SPLITS.md of the data folder.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from reread.tasks.recall import fda, squad_json
from reread.training.tokenizer import texts

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


def regulatory_documents(data: Path, characters: int) -> list[Fields]:
    """Heads of the training FDA documents with two fields or more."""
    documents = []
    for name in ("fda510k-00", "fda510k-01"):
        for text in texts(data / "text" / f"{name}.jsonl.xz", characters):
            head = text[:HEAD]
            fields = find_fields(head)
            if len(fields) >= 2:
                documents.append(Fields(head, fields))
    return documents


def table_documents(data: Path, part: slice) -> list[Fields]:
    """The 510(k) training documents with their table; `part` chooses documents (to set some aside)."""
    by_document: dict[str, list[tuple[str, str, int]]] = {}
    for sample in fda(data, "train"):
        place = sample.document.find(sample.answers[0])
        by_document.setdefault(sample.document, []).append((sample.question, sample.answers[0], place))
    return [Fields(text, tuple(fields)) for text, fields in list(by_document.items())[part]]


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


class QuestionSource:
    """Episodes from paragraphs with questions: one or several paragraphs, questions over all of them."""

    def __init__(self, files: Sequence[Path], part: slice = slice(None)):
        paragraphs: dict[str, list[tuple[str, str]]] = {}
        for file in files:
            for sample in squad_json(file):
                paragraphs.setdefault(sample.document, []).append((sample.question, sample.answers[0]))
        self.paragraphs = list(paragraphs.items())[part]

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


class FormSource:
    """Forms written by a program: random labels and values in several layouts, with prose between them."""

    def __init__(self, labels: Sequence[str], words: Sequence[str], prose: Sequence[str]):
        self.labels, self.words, self.prose = labels, words, prose

    def _words(self, rng: np.random.Generator, count: int) -> list[str]:
        return [self.words[i] for i in rng.integers(len(self.words), size=count)]

    def _code(self, rng: np.random.Generator) -> str:
        letters = "".join(string.ascii_uppercase[i] for i in rng.integers(26, size=int(rng.integers(0, 4))))
        digits = "".join(str(i) for i in rng.integers(10, size=int(rng.integers(2, 8))))
        return letters + ("-" if letters and rng.random() < 0.5 else "") + digits

    def _value(self, rng: np.random.Generator) -> str:
        kind = rng.integers(5)
        if kind == 0:
            return self._code(rng)
        if kind == 1:
            return " ".join(w.capitalize() for w in self._words(rng, int(rng.integers(1, 4))))
        if kind == 2:
            return f"{rng.integers(1, 29)}.{rng.integers(1, 13)}.{rng.integers(1950, 2026)}"
        if kind == 3:
            return f"{rng.integers(1, 9999)} {self._words(rng, 1)[0]}"
        return " ".join(self._words(rng, int(rng.integers(2, 8))))

    def _label(self, rng: np.random.Generator) -> str:
        if rng.random() < 0.5:
            return pick(rng, self.labels)
        return " ".join(self._words(rng, int(rng.integers(1, 4)))).capitalize()

    def draw(self, rng: np.random.Generator, tokens: int) -> Episode:
        layout = ["{k}: {v}\n", "{k}:\n{v}\n", "- {k}: {v}\n", "{k} | {v}\n", "{n}. {k}: {v}\n", "{k}\n{v}\n\n"]
        form = pick(rng, layout)
        room, share = int(tokens * 2.4), rng.random() * 0.5
        lines: list[str] = []
        fields: dict[str, str] = {}
        while room > 0:
            if rng.random() < share:
                line = pick(rng, self.prose) + "\n"
            else:
                label, value = self._label(rng), self._value(rng)
                if label in fields:
                    continue
                fields[label] = value
                line = form.format(k=label, v=value, n=len(fields))
            lines.append(line)
            room -= len(line)
        order = rng.permutation(len(fields))
        pairs = list(fields.items())
        return Episode("".join(lines), tuple(pairs[i] for i in order), "field")


def form_source(data: Path, documents: Sequence[Fields]) -> FormSource:
    """Labels from real documents, words and prose from the training text."""
    labels = sorted({question for document in documents for question, _, _ in document.fields})
    words: dict[str, None] = {}
    prose: list[str] = []
    for text in texts(data / "text" / "wiki-00.jsonl.xz", 2_000_000):
        words.update(dict.fromkeys(re.findall(r"\b[a-z]{3,10}\b", text)))
        prose += [s for s in re.split(r"(?<=[.!?]) |\n", text) if 40 <= len(s) <= 160]
    return FormSource(labels, list(words)[:12_000], prose[:20_000])


def question_files(data: Path) -> list[Path]:
    return [data / "squadshifts" / f"{name}_v1.0.json.gz" for name in ("amazon_reviews", "reddit")]


def training_text(data: Path, characters: int) -> dict[str, list[str]]:
    """Plain text for language modelling, by source, about that many characters each."""
    names = ("fda510k-01", "wiki-00", "imdb-00", "gutenberg-00")
    return {name: list(texts(data / "text" / f"{name}.jsonl.xz", characters)) for name in names}

"""Documents with questions that a reader is measured on: what is shown of each, and what is asked of it.

Windows are cut with one tokenizer, so that every system sees the same texts and is asked the same questions.  A
question without answers is absent: what is shown does not hold its answer.  Words only; knows no model.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from reread.config import at_least, each_once
from reread.documents.loaders import read_source
from reread.errors import UnknownName
from reread.prompting import Cut, Sample, cut, template_for, window_start
from reread.tasks import questions
from reread.tasks.files import json_lines
from reread.tasks.metrics import contains
from reread.tasks.recall import task
from reread.training.episodes import normal
from reread.training.reader_recipe import ReaderConfig, ReaderData
from reread.training.reader_sources import build_sources

ASIDE_MIX = ("office", "squadshifts", "office", "fda")  # sources of the set `aside`, in turns
SHORTEST, LONGEST = 80, 2000  # tokens of a document of the set `aside`
MOST_ASKED = 8  # questions of such a document


@dataclass(frozen=True)
class Question:
    """kind: "field" or "question"; answers: the accepted ones, none where the document does not hold an answer."""

    id: str
    kind: str
    ask: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """A document and all that can be asked of it; samples: of the questions with answers, for windows around them."""

    id: str
    text: str
    questions: tuple[Question, ...]
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Shown:
    """What is shown of a document through a window of at most `budget` tokens, and what is asked of it."""

    window: str
    budget: int
    document: str
    cut: Cut
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Sampling:
    """answerable, absent: questions with and without an answer of a set at most; together: of each, of one document at
    most; documents: of a set at most (0: all); aside: documents of the set `aside`; budgets: tokens of a window;
    longest: tokens of a document that is shown without a window."""

    answerable: int = 100
    absent: int = 100
    together: int = 4
    documents: int = 0
    aside: int = 120
    windows: tuple[str, ...] = ("answer_centered", "head")
    budgets: tuple[int, ...] = (512, 2048)
    longest: int = 6000
    seed: int = 0

    def check(self) -> None:
        """Raise UnknownName, BadInput for an unknown window or an impossible number."""
        each_once(self, "windows", "budgets")
        for name in self.windows:
            window_start(name)
        at_least(self, 1, "answerable", "together", "aside", "budgets", "longest")
        at_least(self, 0, "absent", "documents", "seed")


Show = Callable[[str, int, str, Sequence[str]], Cut]  # (text, budget, window, anchors)


def office(data: Path, folder: Path, split: str) -> Iterator[Document]:
    """The office documents of a split, as a person gets their text (documents/loaders.py)."""
    fields = {"id": "text", "document": "text", "split": "text", "type": "text", "ask": "text", "answers": "texts"}
    rows = [row for row in json_lines(folder / "questions.jsonl", fields) if row["split"] == split]
    for name, own in itertools.groupby(rows, key=lambda row: row["document"]):
        asked = tuple(Question(row["id"], row["type"], row["ask"], tuple(row["answers"])) for row in own)
        yield Document(name, read_source(str(folder / name)).text, asked)


def sampled(samples: Iterable[Sample]) -> list[Document]:
    """Samples by document, in the order of the files; those with answers also as `samples`."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.document.strip():
            found.setdefault(sample.document_hash, []).append(sample)
    return [
        Document(
            name,
            own[0].document,
            tuple(Question(one.id, one.template, one.question, one.answers) for one in own),
            tuple(one for one in own if one.answers),
        )
        for name, own in found.items()
    ]


def aside(data: Path, folder: Path, wanted: Sampling) -> Iterator[Document]:
    """Training documents that no row is made of (reader_sources.py): drawn with aside=True, each once."""
    recipe = ReaderConfig(out="", steps=1, data=ReaderData(mix=dict.fromkeys(ASIDE_MIX, 1.0)))
    sources, seen = build_sources(recipe, data), set[str]()
    for number in itertools.count():
        rng, source = np.random.default_rng((wanted.seed, number)), ASIDE_MIX[number % len(ASIDE_MIX)]
        tokens = math.exp(rng.uniform(math.log(SHORTEST), math.log(LONGEST)))
        drawn = sources[source].draw(rng, int(tokens), aside=True)
        if drawn.text in seen or not drawn.asked:
            continue
        seen.add(drawn.text)
        kind = {"fda": "field", "squadshifts": "question"}.get(source)
        asked = tuple(
            Question(
                f"{source} {number}/{place}",
                kind or template_for(one.ask),
                one.ask,
                () if one.answer is None else (one.answer,),
            )
            for place, one in enumerate(drawn.asked[:MOST_ASKED])
        )
        yield Document(f"{source} {number}", drawn.text, asked)
        if len(seen) == wanted.aside:
            return


def in_order(documents: Iterable[Document], seed: int) -> list[Document]:
    """The documents, and the questions of each, in an order drawn from the seed and their names alone."""

    def drawn(one: Document) -> Document:
        order = list(one.questions)
        random.Random(f"{seed}/{one.id}").shuffle(order)
        return replace(one, questions=tuple(order))

    return sorted(map(drawn, documents), key=lambda one: random.Random(f"{seed}/{one.id}").random())


def counted(documents: Iterable[Document], wanted: Sampling) -> Iterator[Document]:
    """Documents with the first of their questions, until there are enough with and without an answer."""
    left, room = {True: wanted.answerable, False: wanted.absent}, wanted.documents or math.inf
    for one in documents:
        if room < 1 or not any(left.values()):
            return
        asked: list[Question] = []
        for has_answer in (True, False):
            own = [question for question in one.questions if bool(question.answers) is has_answer]
            asked += own[: min(wanted.together, left[has_answer])]
            left[has_answer] -= min(wanted.together, left[has_answer], len(own))
        if asked:
            room -= 1
            yield replace(one, questions=tuple(asked))


def complete(documents: Iterable[Document], show: Show, wanted: Sampling) -> Iterator[Shown]:
    """Each document from its beginning, all of it where it has at most `longest` tokens."""
    for one in documents:
        yield Shown("head", wanted.longest, one.id, show(one.text, wanted.longest, "head", ()), one.questions)


def absent_fields(text: str, own: Document, fields: dict[str, list[Question]], wanted: Sampling) -> list[Question]:
    """Fields that a text, shown of the document `own`, does not hold: neither the label, nor the value in this
    document, nor the value in another document that has the field.  fields: those of all documents, by label."""
    known, values = normal(text), {one.ask: one.answers for one in own.questions}
    draw, found = random.Random(f"{wanted.seed}/{own.id}/absent"), []
    for label in draw.sample(sorted(fields), len(fields)):
        other = draw.choice(fields[label]).answers
        if normal(label) not in known and not contains(text, (*other, *values.get(label, ()))):
            found.append(Question(f"{own.id}/absent/{label}", "field", label))
    return found[: wanted.together]


def windowed(documents: Sequence[Document], show: Show, wanted: Sampling) -> Iterator[Shown]:
    """Documents of fields through every window and budget, the same fields in each, and absent fields of what is shown.

    Around the answer: the window of the first field whose value it shows, and other fields whose values are in its
    smallest budget.  Absent fields differ between windows.
    """
    fields: dict[str, list[Question]] = {}
    for question in itertools.chain.from_iterable(one.questions for one in documents):
        fields.setdefault(question.ask, []).append(question)
    around = filter(None, (around_answer(one, show, wanted) for one in documents))
    kept, whole = list(counted(around, replace(wanted, absent=0))), {one.id: one for one in documents}
    for window, budget in itertools.product(wanted.windows, wanted.budgets):
        left = wanted.absent
        for one in kept:
            shown = show(one.text, budget, window, one.samples[0].anchors)
            absent = absent_fields(shown.text, whole[one.id], fields, wanted)[:left]
            left -= len(absent)
            yield Shown(window, budget, one.id, shown, (*one.questions, *absent))


def around_answer(one: Document, show: Show, wanted: Sampling) -> Document | None:
    """A document with the fields whose values the smallest window around the first of them shows, and the sample of
    that first one; None where no window shows its answer."""
    samples = {sample.id: sample for sample in one.samples}
    for first in one.questions:
        text = show(one.text, min(wanted.budgets), "answer_centered", samples[first.id].anchors).text
        if contains(text, first.answers):
            others = [question for question in one.questions if contains(text, question.answers)]
            order = sorted(others, key=lambda question: question is not first)
            return replace(one, questions=tuple(order), samples=(samples[first.id],))
    return None


Load = Callable[[Path, Path, Sampling], Iterable[Document]]  # (data folder, folder of office documents, what is wanted)


@dataclass(frozen=True)
class ReaderSet:
    """load: its documents; windowed: whether they are fields of documents longer than a window; sampled: whether
    only some of its documents and questions are asked; needs_data: whether the data folder is read."""

    load: Load
    windowed: bool = False
    sampled: bool = True
    needs_data: bool = True


def of_task(name: str) -> Load:
    """The samples of a task of the recall benchmarks, those with answers."""
    return lambda data, folder, wanted: sampled(task(name).load(data).samples)


def of_split(split: str) -> Load:
    return lambda data, folder, wanted: office(data, folder, split)


SETS: dict[str, ReaderSet] = {
    "office-dev": ReaderSet(of_split("dev"), sampled=False, needs_data=False),
    "office-test": ReaderSet(of_split("test"), sampled=False, needs_data=False),
    "fda": ReaderSet(of_task("fda"), windowed=True),
    "swde": ReaderSet(of_task("swde"), windowed=True),
    "squad-v2": ReaderSet(lambda data, folder, wanted: sampled(questions.squad(data))),
    "squadshifts-new-wiki": ReaderSet(of_task("squadshifts-wiki")),
    "drop": ReaderSet(of_task("drop")),
    "nq": ReaderSet(of_task("nq")),
    "triviaqa-reconstructed": ReaderSet(of_task("triviaqa-reconstructed")),
    "aside": ReaderSet(aside, sampled=False),
}


def check_sets(names: Sequence[str]) -> None:
    """Raise UnknownName for a name that is not in SETS."""
    for name in names:
        if name not in SETS:
            raise UnknownName("set of documents", name, SETS)


def shown_documents(name: str, data: Path, folder: Path, wanted: Sampling, words: Tokenizer) -> list[Shown]:
    """What is shown and asked of the set of that name; equal arguments give equal documents.

    folder: of the office documents.  Raises MissingData, BadInput.
    """
    one = SETS[name]
    show: Show = lambda text, budget, window, anchors: cut(text, words, budget, window, anchors)  # noqa: E731
    if not one.sampled:
        limited = wanted if name != "aside" or not wanted.documents else replace(wanted, aside=wanted.documents)
        documents = itertools.islice(one.load(data, folder, limited), wanted.documents or None)
        return list(complete(documents, show, wanted))
    found = in_order(one.load(data, folder, wanted), wanted.seed)
    if one.windowed:
        return list(windowed(found, show, wanted))
    return list(complete(counted(found, wanted), show, wanted))

"""Documents with questions for the reader, some of which the document does not answer.  Words only.

Every source draws one document from a random generator: its text and what is asked of it.  The answer is a text that
stands in the document, "yes" or "no", or None: the document does not say.  Questions without an answer are asked of
another document of the source, or the sentence with the answer is taken out.  Each source keeps documents whose hash
says so apart for measuring.  What may be trained on is said in SPLITS.md of the data folder.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from reread.errors import BadInput
from reread.tasks.files import json_lines, members, text_of
from reread.tasks.metrics import contains
from reread.tasks.recall import SET_ASIDE
from reread.training import episodes
from reread.training.reader_recipe import OFFICE, ReaderConfig

CHARACTERS_PER_TOKEN = 4.0
TRIES = 40


@dataclass(frozen=True)
class Asked:
    """A question or the name of a field; answer: None where the document does not say; type: what kind of value."""

    ask: str
    answer: str | None
    type: str = ""


@dataclass(frozen=True)
class AskedDocument:
    """A document, its kind, and what is asked of it."""

    kind: str
    text: str
    asked: tuple[Asked, ...]


class ReaderSource(Protocol):
    def draw(self, rng: np.random.Generator, tokens: int, *, aside: bool = False) -> AskedDocument:
        """A document of about that many tokens at most, a training document or (aside) one kept for measuring."""
        ...


def is_aside(text: str, one_in: int) -> bool:
    """Whether a document is kept for measuring: one in so many, by its hash alone."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % one_in == 0


def halves(found: Sequence[Any], text: Callable[[Any], str], one_in: int, what: str) -> tuple[list[Any], list[Any]]:
    """Documents to train with, and those set aside.  Raises BadInput where one of the two is empty."""
    aside = [one for one in found if is_aside(text(one), one_in)]
    left = [one for one in found if not is_aside(text(one), one_in)]
    if not left or not aside:
        todo = "a smaller data.aside keeps more apart; a share of 0 in data.mix leaves the source out"
        got = f"{len(left)} to train with, {len(aside)} set aside"
        raise BadInput(f"{what} has too few documents", got=got, todo=todo)
    return left, aside


# questions without an answer ----------------------------------------------------------------------------------------

PIECES = re.compile(r"((?<=[.!?])\s+|\n+)")
WORD = re.compile(r"\w+")
GENERIC = 300


def taken_out(text: str, answer: str) -> tuple[str, str] | None:
    """The text without its sentences and lines that hold the answer, and those.

    None where the answer still stands in the text, or where less than half of it would be left.
    """
    parts = [*PIECES.split(text), ""]
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    gone = [piece for piece, _ in pairs if contains(piece, [answer])]
    left = "".join(piece + space for piece, space in pairs if not contains(piece, [answer])).strip()
    if not gone or contains(left, [answer]) or len(left) < len(text) / 2:
        return None
    return left, "\n".join(gone)


def generic_words(questions: Sequence[str]) -> frozenset[str]:
    """Words that stand in more than one of GENERIC questions ("author", "problem"): they can be asked of any text."""
    counts = Counter(word for one in questions for word in {word.lower() for word in WORD.findall(one)})
    return frozenset(word for word, n in counts.items() if n * GENERIC > len(questions))


def foreign(question: str, text: str, generic: Set[str] = frozenset()) -> bool:
    """Whether a question speaks of what the text does not mention: a name, or two longer words that are not
    generic."""
    known, words = {word.lower() for word in WORD.findall(text)}, WORD.findall(question)
    new = [word for word in words[1:] if word.lower() not in known]
    if any(word[0].isupper() and len(word) > 2 for word in new):
        return True
    return sum(len(word) >= 5 and word.lower() not in generic for word in new) >= 2


def without_answer(document: AskedDocument, rng: np.random.Generator) -> AskedDocument | None:
    """The document without the sentences that answer one of its questions, which then has no answer.

    Other questions that those sentences might answer are left out.  None where no question can be treated so.
    """
    for number in rng.permutation(len(document.asked)):
        chosen = document.asked[number]
        cut = taken_out(document.text, chosen.answer) if chosen.answer else None
        if cut is not None:
            others = [
                one
                for one in document.asked
                if one is not chosen
                and (one.answer is None or (contains(cut[0], [one.answer]) and not contains(cut[1], [one.answer])))
            ]
            return replace(document, text=cut[0], asked=(replace(chosen, answer=None), *others))
    return None


# sources ------------------------------------------------------------------------------------------------------------

Passage = tuple[str, list[tuple[str, str]]]


class PassageSource:
    """Passages with questions.

    several: whether a document may be several passages, as many as there is room for; cuttable: whether the sentence
    with the answer can be taken out (not where answers are yes and no); absent: share of questions without an answer.
    """

    def __init__(
        self,
        kind: str,
        passages: Sequence[Passage],
        one_in: int,
        absent: float,
        *,
        several: bool = False,
        cuttable: bool = True,
    ):
        self.kind, self.absent, self.several, self.cuttable = kind, absent, several, cuttable
        self.train, self.aside = halves(passages, lambda one: one[0], one_in, f"the source {kind}")
        self.generic = generic_words([ask for _, asked in passages for ask, _ in asked])

    def _shown(self, pool: list[Passage], rng: np.random.Generator, tokens: int) -> AskedDocument:
        room = int(tokens * CHARACTERS_PER_TOKEN)
        shown: list[str] = []
        asked: list[tuple[str, str]] = []
        for _ in range(int(rng.integers(1, 9)) if self.several else 1):
            text, questions = episodes.pick(rng, pool)
            if text in shown or (shown and len(text) > room):
                break
            shown.append(text)
            asked += questions
            room -= len(text)
        order = rng.permutation(len(asked))
        found = tuple(Asked(*asked[i]) for i in order)
        return AskedDocument(self.kind, "\n\n".join(shown), found)

    def _other(self, pool: list[Passage], text: str, rng: np.random.Generator) -> Asked | None:
        for _ in range(TRIES):
            _, questions = episodes.pick(rng, pool)
            ask, answer = episodes.pick(rng, questions)
            if foreign(ask, text, self.generic) and not (self.cuttable and contains(text, [answer])):
                return Asked(ask, None)
        return None

    def draw(self, rng: np.random.Generator, tokens: int, *, aside: bool = False) -> AskedDocument:
        pool = self.aside if aside else self.train
        document = self._shown(pool, rng, tokens)
        share = self.absent
        if self.cuttable and rng.random() < share:
            document = without_answer(document, rng) or document
        share = share / 2 if self.cuttable else share
        asked = []
        for one in document.asked:
            other = self._other(pool, document.text, rng) if one.answer and rng.random() < share else None
            asked.append(other or one)
        return replace(document, asked=tuple(asked))


class FieldsSource:
    """Windows of regulatory documents with some of their fields; one_in and absent as above."""

    def __init__(self, documents: Sequence[episodes.Fields], one_in: int, absent: float):
        self.absent = absent
        self.train, self.aside = halves(documents, lambda one: one.text, one_in, "the source fda")

    def _other(self, pool: Sequence[episodes.Fields], text: str, rng: np.random.Generator) -> Asked | None:
        known = episodes.normal(text)
        for _ in range(TRIES):
            label, value, _ = episodes.pick(rng, episodes.pick(rng, pool).fields)
            if episodes.normal(label) not in known and not contains(text, [value]):
                return Asked(label, None)
        return None

    def draw(self, rng: np.random.Generator, tokens: int, *, aside: bool = False) -> AskedDocument:
        pool = self.aside if aside else self.train
        episode = episodes.FieldSource(pool).draw(rng, tokens)
        document = AskedDocument("fda", episode.document, tuple(Asked(*pair) for pair in episode.questions))
        if rng.random() < self.absent:
            document = without_answer(document, rng) or document
        asked = []
        for one in document.asked:
            wanted = one.answer is not None and rng.random() < self.absent / 2
            asked.append((self._other(pool, document.text, rng) if wanted else None) or one)
        return replace(document, asked=tuple(asked))


class OfficeSource:
    """Documents written by a program, `draw(rng, tokens)` of the module; it says which questions have no answer."""

    def __init__(self, draw: Callable[[np.random.Generator, int], Any], one_in: int, shortest: int):
        self.make, self.one_in, self.shortest = draw, one_in, shortest

    def draw(self, rng: np.random.Generator, tokens: int, *, aside: bool = False) -> AskedDocument:
        for _ in range(TRIES * self.one_in):
            made = self.make(rng, max(tokens, self.shortest))
            if is_aside(made.text, self.one_in) == aside:
                asked = tuple(Asked(one.ask, one.answer, one.type) for one in made.asked)
                return AskedDocument(made.kind, made.text, tuple(asked[i] for i in rng.permutation(len(asked))))
        raise BadInput("the generator of office documents makes too few documents", got=f"{tokens} tokens")


# files --------------------------------------------------------------------------------------------------------------

BOOLQ = re.compile(r"Passage: (?P<text>.*)\nQuestion: (?P<ask>[^\n]*)", re.DOTALL)
PUBMED = re.compile(r"Context: (?P<text>.*)\nQuestion: (?P<ask>[^\n]*)\nA\. yes", re.DOTALL)
BABI = (
    "qa1_",
    "qa2_",
    "qa4_",
    "qa5_",
    "qa6_",
    "qa9_",
    "qa11_",
    "qa12_",
    "qa13_",
    "qa14_",
)  # answers in the text, yes, no


def yes_or_no(rows: Iterator[tuple[str, str]], form: re.Pattern[str], where: Path) -> list[Passage]:
    """Passages of files whose rows are one text, laid out as `form`, and "yes", "no" or another answer, which is
    left out."""
    found: dict[str, list[tuple[str, str]]] = {}
    for text, answer in rows:
        match = form.match(text)
        if match is None:
            raise BadInput(f"{where} holds a row in another layout", got=text[:60])
        if answer in ("yes", "no"):
            ask = match["ask"].strip()
            found.setdefault(match["text"].strip(), []).append((ask[:1].upper() + ask[1:], answer))
    return list(found.items())


def boolq(data: Path) -> list[Passage]:
    path = data / "boolq" / "boolq.jsonl.gz"
    rows = json_lines(path, {"query": "text", "choices": "texts", "gold": "anything"})
    return yes_or_no(((row["query"], row["choices"][row["gold"]]) for row in rows), BOOLQ, path)


def pubmed_qa(data: Path) -> list[Passage]:
    path = data / "pubmed_qa" / "pubmed_qa_labeled.jsonl.gz"
    rows = json_lines(path, {"context": "text", "continuation": "text"})
    return yes_or_no(((row["context"], row["continuation"].strip()) for row in rows), PUBMED, path)


def stories(text: str) -> Iterator[Passage]:
    """bAbI's stories up to each of their last questions: lines of a number and a sentence, or a question, its answer
    and the numbers of the lines that support it, between tabs."""
    lines: list[str] = []
    asked: list[tuple[str, str]] = []
    for line in text.splitlines():
        number, _, rest = line.partition(" ")
        if number == "1" and lines:
            if asked:
                yield "\n".join(lines), asked
            lines, asked = [], []
        question, tab, told = rest.partition("\t")
        if not tab:
            lines.append(rest.strip())
            asked = []  # the answers to what was asked before may have changed
        else:
            asked.append((question.strip(), told.split("\t")[0].strip()))
    if lines and asked:
        yield "\n".join(lines), asked


def babi(data: Path) -> list[Passage]:
    """The last questions of the training stories of the tasks whose answers stand in the text, or are yes or no."""
    found: list[Passage] = []
    path = data / "babi" / "tasks_1-20_v1-2_en.tar.xz"
    for name, content in members(path):
        file = name.rpartition("/")[2]
        if name.rpartition("/")[0].endswith("/en") and file.startswith(BABI) and file.endswith("_train.txt"):
            found += stories(text_of(content, f"{path}: {name}"))
    return found


def fda(data: Path, characters: int) -> list[episodes.Fields]:
    """Training documents with fields; those that `fda-aside` asks are in neither part."""
    table = episodes.table_documents(data)
    aside = dict(list(table.items())[-SET_ASIDE:])
    known = {one.text for one in aside.values()}
    documents = [one for name, one in table.items() if name not in aside]
    documents += episodes.regulatory_documents(data, characters, table.keys())
    return [one for one in documents if one.fields and one.text not in known]


def office(one_in: int, scenes: float = 0.0) -> OfficeSource:
    """Documents that `reread.training.office` writes; scenes: share of them that are scenes."""
    module = importlib.import_module(OFFICE)
    return OfficeSource(partial(module.draw, scenes=scenes), one_in, module.SHORTEST)


def build_sources(config: ReaderConfig, data: Path) -> dict[str, ReaderSource]:
    """The sources with a share in the mix, by name.  Raises MissingData, BadInput."""
    spec, one_in = config.data, config.data.aside
    absent = {name: spec.absent.get(name, 0.0) for name in config.sources}

    def passages(name: str, found: list[Passage], **more: bool) -> ReaderSource:
        return PassageSource(name, found, one_in, absent[name], **more)

    makers: dict[str, Callable[[], ReaderSource]] = {
        "office": lambda: office(one_in, spec.scenes),
        "squadshifts": lambda: passages(
            "squadshifts", episodes.asked_paragraphs(episodes.question_files(data)), several=True
        ),
        "fda": lambda: FieldsSource(fda(data, spec.characters), one_in, absent["fda"]),
        "boolq": lambda: passages("boolq", boolq(data), cuttable=False),
        "pubmed_qa": lambda: passages("pubmed_qa", pubmed_qa(data), cuttable=False),
        "babi": lambda: passages("babi", babi(data), cuttable=False),
    }
    return {name: makers[name]() for name in config.sources}

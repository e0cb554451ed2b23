"""Strategies: in which order a document and a question are shown.

A strategy is a pure function of what it is given (Reading) and of its settings -> parts; its id,
such as "repeat(n=3)", stands in every table and parses back.  `twice` is JRT-Prompt ("Just read
twice", section 3.2, as the published code lays it out): what is asked for stands once before and
once after two copies of the document.  `hierarchical` is section 4.3 of "Improving recall in
recurrent LMs".  Words only: cutting to a budget is in windows.py, encoding in prompt.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tokenizers import Tokenizer

from reread.config import Spec, settings_of
from reread.errors import BadInput, UnknownName
from reread.prompting.pieces import token_ids
from reread.prompting.prompt import TEMPLATES, Cut, Part, Prompt, Template
from reread.prompting.ranking import ModelScore, best, scores
from reread.prompting.segment import Span, overlapping, units

Parts = tuple[Part, ...]


@dataclass(frozen=True)
class Example:
    """Another document, what was asked of it, and the answer."""

    document: str
    question: str
    answer: str


@dataclass(frozen=True)
class Reading:
    """What a strategy is given; tokenizer, score and examples only some of them need.

    original_question: what the cue asks, where `question` is a statement to complete.
    """

    document: str
    question: str
    template: Template
    tokenizer: Tokenizer | None = None
    score: ModelScore | None = None
    original_question: str = ""
    examples: Callable[[], Sequence[Example]] = tuple  # asked for only by who shows them

    @property
    def cue(self) -> Part:
        return Part("cue", self.template.fill(self.template.cue, self.original_question or self.question))

    @property
    def ask(self) -> Part:
        return Part("question", self.template.fill(self.template.ask, self.question))

    @property
    def between(self) -> Part:
        """The cue where it stands after a document."""
        return Part("cue", self.template.joint + self.cue.text.rstrip("\n"))

    def again(self, text: str) -> Part:
        return Part("repeat", self.template.joint + text)

    def spans(self, unit: str) -> list[Span]:
        return units(self.document, unit, self.tokenizer)

    def texts(self, spans: list[Span]) -> list[str]:
        return [self.document[start:end].strip() for start, end in spans]

    def chosen(self, unit: str, by: str, k: int, worst: bool = False) -> list[str]:
        """The k best (or worst) units, in the order of the text."""
        if k < 1:
            raise BadInput("at least one unit has to be chosen", got=k)
        texts = self.texts(self.spans(unit))
        return [texts[i] for i in best(scores(by, texts, self.question, self.score), k, worst=worst)]


def joint_of(unit: str) -> str:
    """What stands between units that are not in their own order or place."""
    return " " if unit == "sentence" else "\n"


def once(r: Reading) -> Parts:
    """Document, then the question."""
    return (Part("document", r.document), r.ask)


def question_first(r: Reading) -> Parts:
    """What is asked for, document, then the question: the reader knows what to look for."""
    return (r.cue, *once(r))


def question_twice(r: Reading) -> Parts:
    """Document, then what is asked for two times (RE2, Xu et al. 2023)."""
    return (Part("document", r.document), r.between, r.ask)


def repeat(r: Reading, *, n: int = 2, cue: bool = True) -> Parts:
    """What is asked for, the document n times, then the question.

    cue=False leaves out what stands before the document, so that it can be read before a question is known.
    """
    if n < 1:
        raise BadInput("a document is shown at least once", got=n)
    first = (r.cue,) if cue else ()
    return (*first, Part("document", r.document), *[r.again(r.document)] * (n - 1), r.ask)


def twice(r: Reading, *, cue: bool = True) -> Parts:
    """What is asked for, the document, the document again, then the question (JRT-Prompt)."""
    return repeat(r, n=2, cue=cue)


def cqcq(r: Reading) -> Parts:
    """Document, question, document, question: the formula of "Just read twice", section 3.2."""
    return (Part("document", r.document), r.between, r.again(r.document), r.ask)


def shuffled(r: Reading, *, seed: int = 0, unit: str = "sentence") -> Parts:
    """As twice, the second time with its units in another order."""
    texts = r.texts(r.spans(unit))
    random.Random(seed).shuffle(texts)
    return (r.cue, Part("document", r.document), r.again(joint_of(unit).join(texts)), r.ask)


def level(r: Reading, unit: str, times: int, overlap: float, by: str, share: float, first: bool) -> str:
    """One layer of a hierarchical prompt: every unit of that size, the emphasised ones `times` times."""
    spans = r.spans(unit)
    if first and times == 1 and not overlap:
        return r.document
    texts, shown = r.texts(spans), r.texts(overlapping(r.document, spans, overlap))
    emphasised = set(range(len(texts)))
    if by != "all":
        count = max(1, round(share * len(texts)))
        emphasised = set(best(scores(by, texts, r.question, r.score), count))
    copies = [times if i in emphasised else int(first) for i in range(len(texts))]
    return joint_of(unit).join(text for text, n in zip(shown, copies, strict=True) for _ in range(n))


def hierarchical(
    r: Reading,
    *,
    levels: str = "paragraph+sentence",
    times: str = "1+1",
    overlap: float = 0.0,
    by: str = "all",
    share: float = 0.5,
) -> Parts:
    """Layered repetition ("Improving recall in recurrent LMs", section 4.3): the document in units of every level
    in turn, each unit as often as `times` says, begun earlier by `overlap` of its length.

    by: "all" units alike, or a score (ranking.py): only the best `share` of a level's units are shown
    that often; the others once in the first level, which shows everything, and not in later ones.
    """
    names, counts = [x.strip() for x in levels.split("+")], [x.strip() for x in str(times).split("+")]
    if len(names) != len(counts) or not all(x.isdecimal() for x in counts) or int(counts[0]) < 1:
        raise BadInput("times needs one whole number per level, the first at least 1", got=f"{levels}; {times}")
    if not 0.0 < share <= 1.0:
        raise BadInput("share lies above 0 and at most at 1", got=share)
    layers = [
        level(r, unit, int(count), overlap, by, share, first=not i)
        for i, (unit, count) in enumerate(zip(names, counts, strict=True))
    ]
    return (r.cue, Part("document", layers[0]), *(r.again(text) for text in layers[1:] if text), r.ask)


def selective(r: Reading, *, k: int = 3, unit: str = "sentence", by: str = "bm25", pick: str = "best") -> Parts:
    """All of the document once, then the k units that are worth a second look, in their order.

    pick "worst": the k units that are worth it least, the control.
    """
    if pick not in ("best", "worst"):
        raise UnknownName("pick", pick, ("best", "worst"))
    again = r.chosen(unit, by, k, worst=pick == "worst")
    return (r.cue, Part("document", r.document), r.again(joint_of(unit).join(again)), r.ask)


def padded(r: Reading, *, k: int = 3, unit: str = "sentence", by: str = "bm25") -> Parts:
    """As selective, with as many tokens of full stops in place of the second look: what more tokens alone do."""
    if r.tokenizer is None:
        raise BadInput("padding is counted in tokens, and there is no tokenizer here")
    again = r.again(joint_of(unit).join(r.chosen(unit, by, k)))
    count = len(token_ids(again.text, r.tokenizer))
    return (r.cue, Part("document", r.document), Part("repeat", filler(r.tokenizer, count)), r.ask)


def filler(tokenizer: Tokenizer, count: int) -> str:
    """Full stops, exactly `count` tokens of them where the tokenizer has a token for one (to one more elsewhere)."""
    n, text = count, ""
    while n > 0:
        text = " ." * n
        got = len(token_ids(text, tokenizer))
        if got <= count + 1:
            while got < count:
                text += " ."
                got = len(token_ids(text, tokenizer))
            return text
        n -= max(1, (got - count) * n // got)
    return text


def oprm(r: Reading, *, unit: str = "window(128)", by: str = "entropy", times: int = 1, k: int = 1) -> Parts:
    """The best unit alone, then the question: overflow prevention (OPRM, Ben-Kish et al. 2025); times=2 reads it
    twice.  With k > 1 the k best: what choosing gives without reading the document."""
    chunk = joint_of(unit).join(r.chosen(unit, by, k))
    if times not in (1, 2):
        raise BadInput("the chunk is read once or twice", got=times)
    alone = replace(r, document=chunk)
    return once(alone) if times == 1 else twice(alone)


def few_shot(r: Reading, *, n: int = 2) -> Parts:
    """n other documents, each with a question and its answer, then document and question ("Just read twice", table
    14).  Only who holds answered samples can show it: evaluations."""
    if n < 1:
        raise BadInput("few_shot shows at least one example", got=n)
    found = r.examples()
    if len(found) < n:
        todo = "other documents with answers: an evaluation takes them from its task"
        raise BadInput("few_shot needs answered examples", got=len(found), allowed=f"{n} or more", todo=todo)
    form = r.template
    shown = [f"{one.document}{form.fill(form.ask, one.question)}{form.answer(one.answer)}\n" for one in found[:n]]
    return (*[Part("example", text) for text in shown], *once(r))


LayOut = Callable[[Reading], Parts]


@dataclass(frozen=True)
class Strategy:
    """An entry of STRATEGIES: the function, and what is known of it without a call.

    needs_question: whether what it shows before the question depends on the question, so that no document can be read
    with it and asked later.  The name of a setting: it depends where that setting is true, its default.
    """

    lay_out: Callable[..., Parts]
    needs_question: bool | str = True

    def depends(self, settings: Mapping[str, Any]) -> bool:
        """Whether it needs the question with these settings."""
        if isinstance(self.needs_question, str):
            return bool(settings.get(self.needs_question, True))
        return self.needs_question


STRATEGIES: dict[str, Strategy | Callable[..., Parts]] = {
    "once": Strategy(once, needs_question=False),
    "question_first": Strategy(question_first),
    "question_twice": Strategy(question_twice),
    "twice": Strategy(twice, needs_question="cue"),
    "repeat": Strategy(repeat, needs_question="cue"),
    "cqcq": Strategy(cqcq),
    "shuffled": Strategy(shuffled),
    "hierarchical": Strategy(hierarchical),
    "selective": Strategy(selective),
    "padded": Strategy(padded),
    "oprm": Strategy(oprm),
    "few_shot": Strategy(few_shot, needs_question=False),
}


def strategy_entry(text: str) -> tuple[Spec, Strategy]:
    """The entry that an id such as "repeat(n=3)" names, and the id as tables have it.  Raises UnknownName, BadInput."""
    spec = Spec.parse(text)
    if spec.name not in STRATEGIES:
        raise UnknownName("strategy", spec.name, STRATEGIES)
    found = STRATEGIES[spec.name]
    entry = found if isinstance(found, Strategy) else Strategy(found)
    settings = settings_of(spec, entry.lay_out)
    settings |= {
        key: settings[key].replace(" ", "") for key in ("levels", "times", "unit") if type(settings.get(key)) is str
    }
    return Spec(spec.name, (), tuple(sorted(settings.items()))), entry


def strategy(text: str) -> tuple[Spec, LayOut]:
    """As `strategy_entry`, with the function of the entry and its settings.  Raises UnknownName, BadInput."""
    spec, entry = strategy_entry(text)
    return spec, partial(entry.lay_out, **dict(spec.settings))


def build(
    name: str,
    document: str,
    question: str,
    template: Template,
    *,
    cut: Cut | None = None,
    tokenizer: Tokenizer | None = None,
    score: ModelScore | None = None,
    original_question: str = "",
    examples: Callable[[], Sequence[Example]] = tuple,
) -> Prompt:
    """The prompt of the named strategy.

    tokenizer and score are for strategies that count tokens or ask a model about units of the text, examples for
    those that show answered ones.
    """
    spec, lay_out = strategy(name)
    parts = lay_out(Reading(document, question, template, tokenizer, score, original_question, examples))
    return Prompt(parts, str(spec), cut)


def build_unasked(name: str, document: str, *, cut: Cut | None = None, tokenizer: Tokenizer | None = None) -> Prompt:
    """The parts that the named strategy shows before any question, and an empty question after them.

    Every template has the same text between copies (a test checks this), so any template serves.  Raises UnknownName,
    BadInput.
    """
    spec, entry = strategy_entry(name)
    settings = dict(spec.settings)
    if entry.depends(settings):
        raise BadInput(
            "what this strategy shows before the question depends on the question, which is not known when a document "
            "is read to be asked later",
            got=str(spec),
            allowed="once, twice(cue=False), repeat(cue=False, n=3)",
        )
    parts = entry.lay_out(Reading(document, "", TEMPLATES["field"], tokenizer), **settings)
    asked_later = [Part("question", "") if part.role == "question" else part for part in parts]
    return Prompt(tuple(asked_later), str(spec), cut)

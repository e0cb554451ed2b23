"""How much of the whole cache's recall remains when a document is read into a state of fixed size.

A document is read and scored once for all selections and budgets (models/kv_selection.py).  Each of them then keeps its
keys, and all questions about the document are answered from that state.  A row per question and selection holds what
the measures of report/selections.py need.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from reread.answer import answer_facts
from reread.config import at_least, each_once, to_dict
from reread.errors import BadInput
from reread.forgotten import nearest
from reread.models import LM, kv_selection, load, load_tokenizer, locate
from reread.models.dropped_sums import Queries
from reread.models.kept_reading import Repeating, SelectedState, check_selectable, chunk_of, selected
from reread.models.kv_choice import Scores
from reread.models.kv_scores import Reading, first_reading, needs_predictions, plain_reading, second_reading
from reread.models.kv_selection import (
    FULL,
    RereadSettings,
    Selection,
    Settings,
    selection,
    sums_dropped,
    tokens_per_choice,
    with_budget,
)
from reread.models.kv_units import repeat_passes, tokens_of
from reread.options import MAX_NEW_TOKENS
from reread.pace import Tell
from reread.prompting import Prompt, build_unasked, check_unit, units
from reread.reader_sets import SETS, Sampling, Shown, check_sets, shown_documents
from reread.runlog import Run
from reread.selecting import checked_selection, lost_of, repeat_cue
from reread.tasks.metrics import contains

if TYPE_CHECKING:
    from reread.engine import Reader

KIND = "select_bench"
NAMES = ("reread", "window", "tova", "snapkv", "keydiff", "expected", "random")
BUDGETS = ("share=0.5", "share=0.25", "share=0.125", "share=0.0625")
NEAR = 5  # units of a document whose losses a row keeps, so that the warning can be weighed anew
PLACE = ("set", "window", "budget", "document")
Facts = dict[str, Any]


@dataclass(frozen=True)
class SelectSampling(Sampling):
    """As `reread reader-bench: sampling.`, with other defaults.  absent must be 0: only questions with an answer are
    asked."""

    absent: int = 0
    windows: tuple[str, ...] = ("answer_centered",)
    budgets: tuple[int, ...] = (512,)


@dataclass(frozen=True)
class SelectBench:
    """model, adapter: as `load` takes them (adapter "": the model's own, "none": without); selections: names with
    settings but without a budget, such as "reread(plus=True)"; budgets: each is given to each of them, such as
    "share=0.25" or "tokens=256".  The whole cache, `full`, is always measured.  sets: of SETS in reader_sets.py;
    sampling: what is asked of a set; tokenizer: of a model, cuts the windows; office: folder of the office documents;
    forgotten: a unit of text, as "sentence" or "line": rows then tell what the state lost of the units nearest to the
    question ("": not measured).
    """

    model: str = "smollm2"
    adapter: str = ""
    selections: tuple[str, ...] = NAMES
    budgets: tuple[str, ...] = BUDGETS
    sets: tuple[str, ...] = ("fda", "squad-v2")
    sampling: SelectSampling = field(default_factory=SelectSampling)
    tokenizer: str = "smollm2"
    office: str = "data/office"
    max_new_tokens: int = MAX_NEW_TOKENS
    forgotten: str = ""

    def check(self) -> None:
        """Raise for an unknown name or an impossible number before anything is loaded."""
        each_once(self, "selections", "budgets", "sets")
        every = [one for own in self.selected.values() for one in own]
        for one in every:
            if isinstance(one.settings, Settings) and one.settings.loss:
                what = "a budget of a loss repeats the document for each selection, and is not measured here"
                raise BadInput(what, got=str(one), allowed="tokens, mib or share")
            if tokens_per_choice(one):
                what = "a document that is read in pieces is read again for each budget, and is not measured here"
                raise BadInput(what, got=str(one), todo="leave `read` out")
        if twice := [one for one, count in Counter(map(str, every)).items() if count > 1]:
            raise BadInput("a selection is measured once at each budget", got=", ".join(twice))
        check_sets(self.sets)
        self.sampling.check()
        if self.sampling.absent:
            raise BadInput("only questions with an answer are asked", got=f"absent={self.sampling.absent}", allowed=0)
        at_least(self, 1, "max_new_tokens")
        if self.forgotten:
            check_unit(self.forgotten)
            nearest(["A text."], [0.0], "text")  # the package that compares them is there
        locate(self.model, self.adapters)
        load_tokenizer(self.tokenizer)

    @property
    def described(self) -> dict[str, Any]:
        """The header's settings; runs from before `forgotten` go on where it is not asked for."""
        return {name: value for name, value in to_dict(self).items() if (name, value) != ("forgotten", "")}

    @property
    def adapters(self) -> tuple[str, ...] | None:
        """As `load` takes them: None is the model's own."""
        return (self.adapter,) if self.adapter else None

    @property
    def selected(self) -> dict[str, list[Selection]]:
        """By name: the selection at each budget.  Raises UnknownName, BadInput."""
        return {name: [with_budget(name, budget) for budget in self.budgets] for name in self.selections}

    @property
    def needs_data(self) -> bool:
        """Whether a set reads the data folder."""
        return any(SETS[name].needs_data for name in self.sets)


# one document -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoredReading:
    """A reading of a document with the scores of one selection; read_tokens, seconds: of what was read and scored for
    it.  The selections of one reading share it: each of them reports all of its seconds."""

    reading: Reading
    scores: Scores
    read_tokens: int
    seconds: float


@torch.inference_mode()
def read_scored(lm: LM, tokens: Tensor, wanted: Mapping[str, Sequence[Selection]]) -> dict[str, ScoredReading]:
    """By name: tokens (1,T) read and scored; under `full` what the model's own attention reads, without scores.

    Selections of one reading share a reading that observes the attention; with a budget that follows what the model
    predicts they need the plain one too, which all selections share.  `reread` continues from the plain reading;
    second readings that repeat the same are done once for all selections and budgets.  Raises BadInput as
    `first_reading` and `second_reading` do.
    """
    model, T = check_selectable(lm.model), tokens.shape[1]
    began = time.perf_counter()
    watched = needs_predictions([own[0] for own in wanted.values()])
    plain = plain_reading(model, tokens, predictions=watched)
    plain_seconds = time.perf_counter() - began
    found = {FULL: ScoredReading(plain, {}, T, plain_seconds)}
    once = {name: own[0] for name, own in wanted.items() if not isinstance(own[0].settings, RereadSettings)}
    if once:
        began = time.perf_counter()
        first = first_reading(model, tokens, list(once.values()))
        seconds = time.perf_counter() - began
        first = replace(first, complexity=plain.complexity)
        for name, one in once.items():
            scores, twice = first.scores[str(one)], needs_predictions([one])
            found[name] = ScoredReading(first, scores, 2 * T if twice else T, seconds + plain_seconds * twice)
    cue, again = repeat_cue(lm), dict[RereadSettings, ScoredReading]()
    for name, (one, *_) in wanted.items():
        if not isinstance(one.settings, RereadSettings):
            continue
        way = one.settings.repetition
        if way not in again:
            began = time.perf_counter()
            passes = repeat_passes(model, tokens, cue, way, predictions=plain.predictions)
            summed = any(_sums_after(way, own[0]) for own in wanted.values())
            queries: dict[int, Queries] | None = {} if summed else None
            scores = second_reading(model, tokens, plain.state, cue, plus=way.plus, passes=passes, queries=queries)
            seconds = plain_seconds + time.perf_counter() - began
            reading = plain if queries is None else replace(plain, queries={way: queries})
            again[way] = ScoredReading(reading, scores, T + tokens_of(passes), seconds)
        found[name] = again[way]
    return found


def _sums_after(way: RereadSettings, chosen: Selection) -> bool:
    """Whether a selection sums dropped keys after this second reading."""
    return sums_dropped(chosen) and isinstance(chosen.settings, RereadSettings) and chosen.settings.repetition == way


def full_state(one: ScoredReading) -> SelectedState:
    """The state with all keys."""
    T = one.read_tokens
    return SelectedState(one.reading.logits, one.reading.state, selection(FULL), float(T), T, True, T)


def answered(reader: Reader, state: SelectedState, asks: Sequence[str], most: int) -> list[Facts]:
    """The answers to questions about a document from its state, in one batch."""
    tails = [reader.tail(ask, state.tokens) for ask in asks]
    answers = reader.answer_each([state.state] * len(tails), tails, max_new_tokens=most)
    return [{**answer_facts(one), "answer_seconds": round(one.read_seconds + one.decode_seconds, 4)} for one in answers]


class Forgetting:
    """What states of one document, prompt, lost of its units, and of those that are nearest to a question."""

    def __init__(self, lm: LM, prompt: Prompt, tokens: Tensor, unit: str):
        self.lm, self.prompt, self.tokens, self.unit = lm, prompt, tokens, unit
        text = next(part.text for part in prompt.parts if part.role == "document")
        self.spans = units(text, unit, lm.tokenizer) if unit else []
        self.texts = [text[start:end] for start, end in self.spans]
        self.passes: dict[int, Repeating] = {}

    @torch.inference_mode()
    def __call__(self, one: ScoredReading, state: SelectedState, asks: Sequence[str]) -> list[Facts]:
        """Per question: near, [BM25 score, nats per token] of each of the NEAR units that are nearest to it; lost, nats
        per token of the whole document; lost_seconds, of the repetitions.  Nothing without a unit."""
        if not self.unit:
            return [{}] * len(asks)
        began, chunk = time.perf_counter(), chunk_of(state.selection.settings)
        if chunk not in self.passes:  # the losses from all keys are the same in every reading, and taken once
            cue = repeat_cue(self.lm)
            self.passes[chunk] = Repeating(
                check_selectable(self.lm.model), self.tokens, one.reading, cue, chunk, read_tokens=0
            )
        compared = self.passes[chunk].compared(state)
        assert compared.forgotten is not None
        nats = [unit.nats for unit in lost_of(self.lm, self.prompt, compared, self.spans)]
        seconds = round(time.perf_counter() - began, 4)
        told = {"lost": round(float(compared.forgotten.mean()), 5), "lost_seconds": seconds}
        every = [nearest(self.texts, nats, ask, NEAR) for ask in asks]
        return [{"near": [[round(n.score, 4), round(n.nats, 4)] for n in near], **told} for near in every]


def document_rows(
    reader: Reader, shown: Shown, wanted: Mapping[str, Sequence[Selection]], most: int, unit: str = ""
) -> Iterator[dict[str, Any]]:
    """The rows of one document: of the whole cache, then of each selection at each budget.

    A budget that holds the whole document drops nothing: its answers are those of the whole cache.  unit:
    SelectBench.forgotten.
    """
    words, asks = reader.lm.tokenizer, [question.ask for question in shown.questions]
    prompt = build_unasked("once", shown.cut.text, cut=shown.cut, tokenizer=words)
    tokens = prompt.encode(words).tokens
    reader.check_fits(len(tokens))
    forgetting = Forgetting(reader.lm, prompt, torch.tensor([tokens], dtype=torch.long), unit)
    scored = read_scored(reader.lm, torch.tensor([tokens], dtype=torch.long), wanted)
    state = full_state(scored[FULL])
    full = answered(reader, state, asks, most)
    yield from state_rows(shown, state, full, scored[FULL].seconds, 0.0)
    for name, own in wanted.items():
        one = scored[name]
        for chosen in own:
            began = time.perf_counter()
            state = selected(one.reading, one.scores, chosen, read_tokens=one.read_tokens)
            keeping = time.perf_counter() - began
            facts = full if state.all_kept else answered(reader, state, asks, most)
            lost = forgetting(one, state, asks)
            facts = [{**answer, **own} for answer, own in zip(facts, lost, strict=True)]
            yield from state_rows(shown, state, facts, one.seconds, keeping)


def state_rows(
    shown: Shown, state: SelectedState, facts: Sequence[Facts], reading: float, keeping: float
) -> Iterator[dict[str, Any]]:
    """A row per question about a document that is answered from one state."""
    for question, told in zip(shown.questions, facts, strict=True):
        yield {
            "selection": str(state.selection),
            "id": question.id,
            "kind": question.kind,
            "ask": question.ask,
            "answers": list(question.answers),
            "shown": bool(contains(shown.cut.text, question.answers)),
            **told,
            "positions": round(state.positions, 2),
            "tokens": state.tokens,
            "state_bytes": state.state.nbytes,
            "read_tokens": state.read_tokens,
            "read_seconds": round(reading, 4),
            "keep_seconds": round(keeping, 4),
            "document_tokens": shown.cut.kept_tokens,
            "dropped_tokens": shown.cut.dropped_tokens,
        }


# the run ------------------------------------------------------------------------------------------------------------


def place_of(name: str, shown: Shown) -> dict[str, Any]:
    """What tells the rows of this shown document from all others."""
    return {"set": name, "window": shown.window, "budget": shown.budget, "document": shown.document}


def place_key(place: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(place[name] for name in PLACE)


def asked_documents(config: SelectBench, data: Path) -> dict[str, list[Shown]]:
    """By set: what is shown, with the questions that have an answer."""
    words, folder = load_tokenizer(config.tokenizer), Path(config.office)
    found = {}
    for name in config.sets:
        every = shown_documents(name, data, folder, config.sampling, words)
        with_answers = [replace(one, questions=tuple(q for q in one.questions if q.answers)) for one in every]
        found[name] = [one for one in with_answers if one.questions]
    return found


QUINTILES = (0.2, 0.4, 0.6, 0.8)


def fit_thresholds(
    config: SelectBench, data: Path, *, progress: Tell = lambda *_: None
) -> dict[str, dict[str, tuple[float, ...]]]:
    """By set, then under "all", and by kind of complexity (`dynamic` of a selection): its quintiles over the documents
    that `config` shows, to four digits.  They divide these into five groups of equal size, so that a dynamic budget is
    the plain one on average over them.  For sets of training documents, such as `aside`.  Raises BadInput, MissingData.
    """
    config.check()
    reader, found = load_reader(config), dict[str, list[dict[str, float]]]()
    model = check_selectable(reader.lm.model)
    for name, own in asked_documents(config, data).items():
        found[name] = []
        for shown in own:
            words = reader.lm.tokenizer
            tokens = build_unasked("once", shown.cut.text, cut=shown.cut, tokenizer=words).encode(words).tokens
            reading = plain_reading(model, torch.tensor([tokens]), predictions=True)
            found[name].append(dict(reading.complexity))
            progress(name, len(found[name]), len(own))
    found["all"] = [one for own in found.values() for one in own]
    return {
        name: {
            kind: tuple(round(float(x), 4) for x in np.quantile([one[kind] for one in own], QUINTILES))
            for kind in kv_selection.THRESHOLDS
        }
        for name, own in found.items()
    }


def load_reader(config: SelectBench) -> Reader:
    """Raises BadInput for a model whose state has a fixed size already, and for a selection that it cannot have."""
    from reread.engine import Reader

    reader = Reader(load(config.model, adapter=config.adapters))
    check_selectable(reader.lm.model)
    for own in config.selected.values():
        checked_selection(reader.lm, str(own[0]))
    return reader


def measure_selections(config: SelectBench, data: Path, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """Ask all questions from the state of each selection; returns the finished run.  A stopped run resumes at the
    documents that it had not finished.

    Raises what `SelectBench.check` raises before anything is loaded; BadInput for a model whose state has a fixed size
    already before a folder is made; MissingData; BadInput for a model that is another than the one that this run began
    with.
    """
    config.check()
    Run.check(out, KIND, config.described)
    reader = None if Run(out).done else load_reader(config)
    with Run.start(out, KIND, config.described, resume=True) as run:
        if run.done or reader is None:
            return run
        before, fingerprint = list(run.rows()), reader.lm.model.fingerprint
        if before and before[0]["fingerprint"] != fingerprint:
            what, todo = "this run began with another model", "name another folder, or delete this one"
            raise BadInput(what, got=fingerprint, allowed=before[0]["fingerprint"], todo=todo)
        shown, wanted = asked_documents(config, data), config.selected
        states = 1 + sum(map(len, wanted.values()))
        rows = Counter(map(place_key, before))
        places = [(name, one, place_of(name, one)) for name, own in shown.items() for one in own]
        finished = {
            place_key(place) for _, one, place in places if rows[place_key(place)] == states * len(one.questions)
        }
        if rows.keys() - finished:  # of a document that was not finished; its seconds are of one reading
            run.keep(lambda row: place_key(row) in finished)
        done = Counter(key[0] for key in finished)
        for name, one, place in places:
            if place_key(place) in finished:
                continue
            for row in list(document_rows(reader, one, wanted, config.max_new_tokens, config.forgotten)):
                run.append({**place, **row, "fingerprint": fingerprint})
            done[name] += 1
            progress(name, done[name], len(shown[name]))
        run.finish({"rows": sum(1 for _ in run.rows())})
        return run

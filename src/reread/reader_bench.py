"""How well readers answer questions about documents, and whether they say so where a document has no answer.

Every system (a model with an adapter and a strategy, or the regular expression) is asked the same questions of the same
texts (reader_sets.py).  A document is read once for all its questions where the strategy does not look at them.  A row
per question holds all that the measures of report/reader.py need, so thresholds can be fitted without reading again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reread.answer import Answer, answer_facts
from reread.config import at_least, each_once, to_dict
from reread.config import build as build_config
from reread.copying import Original
from reread.errors import BadInput
from reread.models import LM, load, load_tokenizer, locate
from reread.models.lora import MANIFEST, check_adapters, read_manifest
from reread.options import MAX_NEW_TOKENS, checked_strategy
from reread.pace import Tell
from reread.prompting import NOT_FOUND, Template, build, build_unasked, template, template_for, token_ids
from reread.reader_sets import SETS, Question, Sampling, Shown, check_sets, shown_documents
from reread.report.reader import calibration_of
from reread.report.runs import source
from reread.runlog import Run
from reread.tasks.metrics import contains
from reread.whole import write_whole

if TYPE_CHECKING:
    from reread.engine import Reader

KIND = "reader_bench"
REGEX = "regex"
TOGETHER = 8  # documents that are answered together
Facts = dict[str, Any]


@dataclass(frozen=True)
class System:
    """What answers: a line of the table.

    model: as `load` takes it, or "regex": the first line `label: value` of the text, for fields alone; adapter: a
    folder ("": the model's own, "none": without); strategy: how document and question are shown; template: of
    prompting ("": the one that the adapter's manifest names, else `field` and `question`); copy: answers are written
    of the document's words alone (copying.py).
    """

    model: str
    adapter: str = ""
    strategy: str = "once"
    template: str = ""
    copy: bool = False

    @property
    def name(self) -> str:
        """As rows and tables have it; what has its default is left out."""
        if self.model == REGEX:
            return REGEX
        parts = [self.model, self.adapter and f"adapter {self.adapter}", self.template and f"template {self.template}"]
        how = [self.strategy if self.strategy != "once" else "", "copied" if self.copy else ""]
        return ", ".join(filter(None, [*parts, *how]))

    def check(self) -> None:
        """Raise for an unknown model, adapter, strategy or template, before anything is loaded."""
        if self.model == REGEX:
            return
        locate(self.model, adapter_of(self))
        checked_strategy(self.strategy)
        if self.template:
            template(self.template)


SYSTEMS = tuple(map(System, ("smollm2", REGEX, "small-jrt", "small-causal")))


@dataclass(frozen=True)
class ReaderBench:
    """systems: a table {model, adapter, strategy, template} each; sets: of SETS in reader_sets.py; sampling: what is
    asked of a set; tokenizer: of a model, cuts the windows of every system; office: folder of the office documents."""

    systems: tuple[System, ...] = SYSTEMS
    sets: tuple[str, ...] = ("office-dev", "aside")
    sampling: Sampling = field(default_factory=Sampling)
    tokenizer: str = "smollm2"
    office: str = "data/office"
    max_new_tokens: int = MAX_NEW_TOKENS

    def check(self) -> None:
        """Raise for an unknown name or an impossible number before anything is loaded."""
        each_once(self, "sets")
        check_sets(self.sets)
        names = [system.name for system in self.systems]
        if not names or len(set(names)) < len(names):
            raise BadInput("systems must be named, each once", got="; ".join(names) or "none")
        self.sampling.check()
        at_least(self, 1, "max_new_tokens")
        for system in self.systems:
            system.check()
        load_tokenizer(self.tokenizer)

    @property
    def needs_data(self) -> bool:
        """Whether a set reads the data folder."""
        return any(SETS[name].needs_data for name in self.sets)


def adapter_of(system: System) -> tuple[str, ...] | None:
    """The adapter as `load` takes it: None is the model's own."""
    return (system.adapter,) if system.adapter else None


def template_of(lm: LM, system: System, question: Question) -> Template:
    """How this system is asked: as named, else as `LM.template` says."""
    return template(system.template) if system.template else lm.template(template_for(question.ask))


# answers ------------------------------------------------------------------------------------------------------------


def line_value(text: str, label: str) -> str:
    """What follows the label on the first line that begins with it, in any case; "not found" without one."""
    match = re.search(rf"^{re.escape(label)}[:. ]+(.*)", text, re.IGNORECASE | re.MULTILINE)
    return match[1].strip() if match else NOT_FOUND


def line_facts(shown: Sequence[Shown]) -> list[list[Facts]]:
    """The answers of the regular expression to the fields of documents."""
    nothing = {"logprob": None, "new_tokens": 0, "confidence": 1.0, "absent": None, "ended": True}
    costs = {"read_tokens": 0, "seconds": 0.0}
    return [
        [{"prediction": line_value(one.cut.text, question.ask), **nothing, **costs} for question in fields_of(one)]
        for one in shown
    ]


def asked_of(system: System, shown: Shown) -> Sequence[Question]:
    """What a system is asked: the regular expression, fields alone."""
    return fields_of(shown) if system.model == REGEX else shown.questions


def fields_of(shown: Shown) -> list[Question]:
    return [question for question in shown.questions if question.kind == "field"]


def asked_later(strategy: str) -> bool:
    """Whether what the strategy shows before the question is the same for every question."""
    try:
        build_unasked(strategy, "A text.")
    except BadInput:
        return False
    return True


class ModelAnswers:
    """The answers of one model to what is asked of shown documents."""

    def __init__(self, system: System, reader: Reader, max_new_tokens: int):
        self.system, self.reader, self.most = system, reader, max_new_tokens
        self.later = asked_later(system.strategy)

    def __call__(self, shown: Sequence[Shown]) -> list[list[Facts]]:
        """Per document and question the answer, what is known of its probability, and what it cost."""
        forms = [[template_of(self.reader.lm, self.system, question) for question in one.questions] for one in shown]
        if self.later:
            answers = self.shared(shown, forms)
        else:
            answers = [self.alone(*pair) for pair in zip(shown, forms, strict=True)]
        return [[facts_of(answer) for answer in own] for own in answers]

    def shared(self, shown: Sequence[Shown], forms: Sequence[Sequence[Template]]) -> list[list[Answer]]:
        """Each document is read once, and its questions go on from there."""
        words = self.reader.lm.tokenizer
        heads = [build_unasked(self.system.strategy, one.cut.text, tokenizer=words).encode(words) for one in shown]
        tails = [
            [
                token_ids(form.fill(form.ask, question.ask), words)
                for form, question in zip(own, one.questions, strict=True)
            ]
            for own, one in zip(forms, shown, strict=True)
        ]
        copied = [self.originals(one) for one in shown] if self.system.copy else None
        return self.reader.answer_forks(heads, tails, stop=forms[0][0].stop, max_new_tokens=self.most, copied=copied)

    def originals(self, shown: Shown) -> list[Original]:
        return [self.reader.original(shown.cut.text, question.ask) for question in shown.questions]

    def alone(self, shown: Shown, forms: Sequence[Template]) -> list[Answer]:
        """A prompt per question."""
        from reread.scoring import UnitScores

        lm, prompts = self.reader.lm, []
        for form, question in zip(forms, shown.questions, strict=True):
            score = UnitScores(lm, question.ask, form)
            text, strategy = shown.cut.text, self.system.strategy
            prompt = build(strategy, text, question.ask, form, tokenizer=lm.tokenizer, score=score)
            prompts.append(prompt.encode(lm.tokenizer))
        copied = self.originals(shown) if self.system.copy else None
        return self.reader.answer(prompts, stop=forms[0].stop, max_new_tokens=self.most, copied=copied)


def facts_of(answer: Answer) -> Facts:
    """What is known of the answer, and what it cost.  Raises BadInput as `answer_facts`."""
    seconds = round(answer.read_seconds + answer.decode_seconds, 4)
    return {**answer_facts(answer), "read_tokens": round(answer.read_tokens, 1), "seconds": seconds}


# the run ------------------------------------------------------------------------------------------------------------


def place_of(system: System, name: str, shown: Shown) -> dict[str, Any]:
    """What tells this system's rows of this shown document from all others."""
    where = {"window": shown.window, "budget": shown.budget, "document": shown.document}
    return {"system": system.name, "set": name, **where}


def document_rows(system: System, name: str, shown: Shown, facts: Sequence[Facts]) -> Iterator[dict[str, Any]]:
    """The rows of one shown document; of the regular expression, of its fields."""
    for question, told in zip(asked_of(system, shown), facts, strict=True):
        yield {
            **place_of(system, name, shown),
            "id": question.id,
            "kind": question.kind,
            "ask": question.ask,
            "answers": list(question.answers),
            "shown": bool(question.answers and contains(shown.cut.text, question.answers)),
            **told,
            "document_tokens": shown.cut.kept_tokens,
            "dropped_tokens": shown.cut.dropped_tokens,
        }


def answering(system: System, config: ReaderBench) -> tuple[Callable[[Sequence[Shown]], list[list[Facts]]], str]:
    """What answers for a system, and the fingerprint of its model ("" for the regular expression)."""
    if system.model == REGEX:
        return line_facts, ""
    from reread.engine import Reader

    reader = Reader(load(system.model, adapter=adapter_of(system)))
    return ModelAnswers(system, reader, config.max_new_tokens), reader.lm.model.fingerprint


def measure_readers(config: ReaderBench, data: Path, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """Ask every system every question; returns the finished run.  A stopped run resumes at the documents that it had
    not finished.

    Systems are loaded one after another.  Raises what `ReaderBench.check` raises before anything is loaded,
    MissingData, BadInput; also for a model that is another than the one that this run began with.
    """
    config.check()
    Run.check(out, KIND, to_dict(config))
    with Run.start(out, KIND, to_dict(config), resume=True) as run:
        if run.done:
            return run
        words, folder = load_tokenizer(config.tokenizer), Path(config.office)
        shown = {name: shown_documents(name, data, folder, config.sampling, words) for name in config.sets}
        before = list(run.rows())
        seen = {row_key(row) for row in before}
        known = {row["system"]: row["fingerprint"] for row in before}
        for system in config.systems:
            answers, fingerprint = answering(system, config)
            if known.get(system.name, fingerprint) != fingerprint:
                what = f"this run began with another model under the name {system.name}"
                todo = "name another folder, or delete this one"
                raise BadInput(what, got=fingerprint, allowed=known[system.name], todo=todo)
            for name in config.sets:
                left = [
                    one
                    for one in shown[name]
                    if any(
                        row_key({**place_of(system, name, one), "id": q.id}) not in seen for q in asked_of(system, one)
                    )
                ]
                done = len(shown[name]) - len(left)
                for start in range(0, len(left), TOGETHER):
                    some = left[start : start + TOGETHER]
                    for one, facts in zip(some, answers(some), strict=True):
                        for row in document_rows(system, name, one, facts):
                            if row_key(row) not in seen:
                                run.append({**row, "fingerprint": fingerprint})
                    progress(f"{system.name} {name}", done + start + len(some), len(shown[name]))
        run.finish({"rows": sum(1 for _ in run.rows())})
        return run


def row_keys(system: System, name: str, shown: Shown) -> set[tuple[Any, ...]]:
    """The keys of this document's rows."""
    return {row_key({**place_of(system, name, shown), "id": question.id}) for question in asked_of(system, shown)}


def row_key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("system", "set", "window", "budget", "document", "id"))


def calibrate(folder: Path, adapter: Path, system: str = "") -> dict[str, Any]:
    """Fit the calibration of a system of a finished run and write it into the manifest of its adapter; returns it.

    system: as in rows ("": the only one).  Raises BadInput for a run or an adapter that does not fit, UnknownName.
    """
    check_adapters([adapter])
    manifest = read_manifest(adapter)
    if manifest is None:
        raise BadInput("the adapter has no manifest.json", got=str(adapter), todo="reread train writes one")
    run = source(folder)
    if run.kind != KIND:
        raise BadInput("not a run of reader-bench", got=f"{run.kind} ({folder})")
    fitted = calibration_of(run.rows, system)
    config = build_config(ReaderBench, run.config)
    used = next(one.adapter for one in config.systems if one.name == (system or run.rows[0]["system"]))
    if used and Path(used).resolve() != adapter.resolve():
        raise BadInput("the run measured another adapter", got=str(adapter), allowed=used)
    write_whole(adapter / MANIFEST, replace(manifest, calibration=fitted).to_json())
    return fitted

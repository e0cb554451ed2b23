"""What extraction is worth: recall against the number of fields, and confidence against right and wrong.

`measure_fields` asks documents for 1, 2, 4, ... of their known fields in every reading; `measure_confidence`
asks each field of a document and of the same document with the answer's lines removed; `fit_threshold`
makes a calibration of the latter.  A row per reading and document, in a run folder.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from reread.calibration import Judged, areas, at, curve, fit, threshold_of
from reread.config import at_least, each_once, to_dict
from reread.engine import Reader
from reread.errors import BadInput
from reread.extract import ExtractConfig, Extractor, Values, sureness
from reread.fields import Field, reading
from reread.models import load, locate
from reread.pace import Tell
from reread.prompting import Cut, Sample
from reread.runlog import Run
from reread.tasks.metrics import contains
from reread.tasks.recall import task

LEAST = 10  # right answers, below which a threshold tells of chance


@dataclass(frozen=True)
class FieldsBench:
    """counts: how many fields are asked at once; least: known fields, shown with their answers, that a document must
    have; documents: how many, drawn (0: all); budget: document tokens at most, from the beginning."""

    model: str = "embedded"
    task: str = "fda"
    readings: tuple[str, ...] = ("shared", "schema", "each")
    counts: tuple[int, ...] = (1, 2, 4, 8, 12)
    least: int = 8
    documents: int = 100
    budget: int = 512
    seed: int = 0
    batch: int = 16

    def check(self) -> None:
        """Raise for an unknown name before anything is loaded."""
        task(self.task)
        for name in self.readings:
            ExtractConfig(name, self.budget, batch=self.batch).check()
        each_once(self, "readings", "counts")
        at_least(self, 1, "counts", "least")
        at_least(self, 0, "documents")
        if list(self.counts) != sorted(self.counts):
            raise BadInput("counts must rise", got=self.counts, allowed="for instance 1, 2, 4")


@dataclass(frozen=True)
class Asked:
    """One document and what is asked of it, in order; fields without answers are not in what is shown of it."""

    document: str
    shown: Cut
    questions: tuple[tuple[str, tuple[str, ...]], ...]


def documents_asked(samples: Sequence[Sample], show: Callable[[str], Cut], config: FieldsBench) -> list[Asked]:
    """Documents with enough known fields: those in an order drawn per document, then other labels of the task, whose
    values are not shown, up to the largest count."""
    documents: dict[str, list[Sample]] = {}
    for sample in samples:
        documents.setdefault(sample.document_hash, []).append(sample)
    labels = sorted({sample.question for sample in samples})
    found = []
    for name, own in documents.items():
        shown, draw = show(own[0].document), random.Random(f"{config.seed}/{name}")
        known = [(one.question, one.answers) for one in own if contains(shown.text, one.answers)]
        if len(known) < config.least:
            continue
        draw.shuffle(known)
        others = [(label, ()) for label in labels if label not in {question for question, _ in known}]
        draw.shuffle(others)
        found.append(Asked(name, shown, tuple([*known, *others][: max(config.counts)])))
    if config.documents and config.documents < len(found):
        found = [found[i] for i in sorted(random.Random(config.seed).sample(range(len(found)), config.documents))]
    return found


def fields_of_questions(questions: Sequence[str]) -> tuple[Field, ...]:
    return tuple(Field(question, question) for question in questions)


def field_row(one: Asked, values: Values, name: str, count: int) -> dict[str, Any]:
    """The row of one document in one reading; `values` may be of more fields than `count`."""
    answers = values.answers[:count]
    return {
        "reading": name,
        "fields": count,
        "document": one.document,
        "document_tokens": one.shown.kept_tokens,
        "tokens_read": round(sum(answer.read_tokens for answer in answers)),
        "seconds": round(sum(answer.read_seconds + answer.decode_seconds for answer in answers), 5),
        "answers": [
            {
                "question": question,
                "prediction": answer.text,
                "answers": list(golds),
                "contains": contains(answer.text, golds) if golds else None,
                "confidence": round(sureness(answer), 4),
            }
            for (question, golds), answer in zip(one.questions[:count], answers, strict=True)
        ],
    }


def reading_rows(reader: Reader, one: Asked, config: FieldsBench, name: str) -> Iterator[dict[str, Any]]:
    """Rows of one document in one reading, for every count.

    Prompts of their own per field share nothing, so fewer fields are the first of the most; other
    readings are read anew for every count.
    """
    ways = ExtractConfig(reading=name, budget=config.budget, batch=config.batch)
    alone = reading(name)[0].name == "each"
    for count in config.counts[-1:] if alone else config.counts:
        wanted = fields_of_questions([question for question, _ in one.questions[:count]])
        (values,) = Extractor(reader, wanted, ways, spelled=False).values([one.shown])
        for n in config.counts if alone else (count,):
            yield field_row(one, values, name, n)


def measure_fields(config: FieldsBench, data: Path, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """Recall, tokens and seconds against the number of fields; a stopped run goes on, document by document."""
    config.check()
    locate(config.model)
    Run.check(out, "extract_fields", to_dict(config))
    samples = task(config.task).load(data).samples
    reader = Reader(load(config.model))
    show = Extractor(reader, (), ExtractConfig(budget=config.budget)).show
    wanted = documents_asked(samples, show, config)
    if not wanted:
        raise BadInput("no document has so many known fields", got=config.least, todo="--set least=4")
    if min(len(one.questions) for one in wanted) < max(config.counts):
        todo = "name smaller counts"
        raise BadInput("the task has fewer labels than fields are to be asked", got=max(config.counts), todo=todo)
    with Run.start(out, "extract_fields", described(config, reader), resume=True) as run:
        if run.done:
            return run
        seen = {(row["document"], row["reading"], row["fields"]) for row in run.rows()}
        for number, one in enumerate(wanted, start=1):
            for name in config.readings:
                if any((one.document, name, count) not in seen for count in config.counts):
                    for row in reading_rows(reader, one, config, name):
                        if (one.document, name, row["fields"]) not in seen:
                            run.append(row)
            progress(config.task, number, len(wanted))
        run.finish({"rows": len(wanted) * len(config.readings) * len(config.counts)})
        return run


def described(config: Any, reader: Reader) -> dict[str, Any]:
    return {**to_dict(config), "fingerprint": reader.lm.model.fingerprint}


@dataclass(frozen=True)
class ConfidenceBench:
    """limit: fields of documents, drawn (0: all), each asked of its document with and without the answer's lines."""

    model: str = "embedded"
    task: str = "fda-aside"
    reading: str = "shared"
    budget: int = 512
    limit: int = 0
    seed: int = 0
    batch: int = 16

    def check(self) -> None:
        """Raise for an unknown name before anything is loaded."""
        task(self.task)
        ExtractConfig(self.reading, self.budget, batch=self.batch).check()
        at_least(self, 0, "limit")


def without_answer(document: str, answers: Sequence[str]) -> str:
    """The document without the lines that hold an answer (in any case); what spans two lines stays."""
    return "\n".join(line for line in document.split("\n") if not contains(line, answers))


def pairs(samples: Sequence[Sample], show: Callable[[str], Cut]) -> Iterator[tuple[Sample, Cut, Cut]]:
    """Samples whose answer is shown and can be removed: what is shown with it, and without it.

    The lines are taken from the whole document, which is cut to the budget afterwards.
    """
    show = lru_cache(maxsize=64)(show)
    for sample in samples:
        shown, left = show(sample.document), without_answer(sample.document, sample.answers)
        if contains(shown.text, sample.answers) and left.strip() and not contains(left, sample.answers):
            yield sample, shown, show(left)


def measure_confidence(config: ConfidenceBench, data: Path, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """Answers with their confidence, of documents with and without the answer; a stopped run goes on."""
    config.check()
    locate(config.model)
    Run.check(out, "extract_confidence", to_dict(config))
    loaded = task(config.task).load(data).samples
    reader = Reader(load(config.model))
    ways = ExtractConfig(reading=config.reading, budget=config.budget, batch=config.batch)
    show = Extractor(reader, (), ways).show
    limit, _ = threshold_of(None, reader.lm.model.fingerprint, str(reading(config.reading)[0]), config.budget)
    with Run.start(out, "extract_confidence", {**described(config, reader), "threshold": limit}, resume=True) as run:
        if run.done:
            return run
        drawn = random.Random(config.seed).sample(loaded, len(loaded)) if config.limit else loaded
        wanted = list(islice(pairs(drawn, show), config.limit or None))
        seen = {(row["id"], row["question"], row["present"]) for row in run.rows()}
        for number, (sample, whole, removed) in enumerate(wanted, start=1):
            extractor = Extractor(reader, fields_of_questions([sample.question]), ways, spelled=False)
            if {(sample.id, sample.question, True), (sample.id, sample.question, False)} <= seen:
                continue
            for present, values in zip((True, False), extractor.values([whole, removed]), strict=True):
                if (sample.id, sample.question, present) not in seen:
                    run.append(confidence_row(sample, values, present))
            progress(config.task, number, len(wanted))
        run.finish({"rows": 2 * len(wanted)})
        return run


def confidence_row(sample: Sample, values: Values, present: bool) -> dict[str, Any]:
    (answer,) = values.answers
    return {
        "id": sample.id,
        "question": sample.question,
        "document": sample.document_hash,
        "present": present,
        "prediction": answer.text,
        "answers": list(sample.answers),
        "right": bool(present and contains(answer.text, sample.answers)),
        "confidence": round(sureness(answer), 6) if answer.text else 0.0,
    }


def judged(rows: Sequence[dict[str, Any]]) -> list[Judged]:
    return [Judged(row["confidence"], row["right"], row["present"], row["document"]) for row in rows]


def fit_threshold(run: Run) -> dict[str, Any]:
    """A calibration from a confidence run: fitted on every other document, told of the documents between.

    Raises BadInput for a single document, and where a half holds less than LEAST right answers.
    """
    rows, config = list(run.rows()), run.header()["config"]
    names = list(dict.fromkeys(row["document"] for row in rows))
    if len(names) < 2:
        what = "a threshold is fitted on some documents and told of others, so there must be two at least"
        raise BadInput(what, got=len(names))
    fitting = set(names[::2])
    mine = judged([row for row in rows if row["document"] in fitting])
    held = judged([row for row in rows if row["document"] not in fitting])
    for half, told in (("fitted on", mine), ("told of", held)):
        if (right := sum(one.right for one in told)) < LEAST:  # as many are wrong at least: those of removed answers
            raise BadInput(
                f"the documents that a threshold is {half} give too few right answers",
                got=f"{right} of {len(told)}",
                allowed=f"{LEAST} at least",
                todo="take all fields (--set limit=0), another --task or a better --model, into a new --run",
            )
    threshold = fit(mine)
    return {
        **{name: config[name] for name in ("model", "fingerprint", "task", "budget")},
        "reading": str(reading(config["reading"])[0]),
        "threshold": threshold,
        "fitted on": {"documents": len(fitting), "answers": len(mine), "right": sum(one.right for one in mine)},
        "held out": {
            "documents": len(names) - len(fitting),
            "present": sum(one.present for one in held),
            "removed": sum(not one.present for one in held),
            "auroc": areas(held),
            "at threshold": at(held, threshold),
            "curve": curve(held),
        },
    }

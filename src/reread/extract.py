"""Fields from many documents: a row per document, a value and a confidence per field, and what it cost.

`Extractor.values` reads documents as a reading (fields.py) says and answers every field from a fork of the
state; `extract` does so for a list of files into a RowFile, and goes on where it was stopped.  A document
that cannot be read is a row with the sentence that says why.  Knows no benchmark and no answer.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reread import __version__
from reread.answer import Answer, best_of
from reread.config import at_least
from reread.copying import Original
from reread.documents.loaders import CONVERSION, PDF_SECONDS, Source, check_seconds, read_source
from reread.errors import BadInput, MissingPackage, RereadError, UnknownName
from reread.fields import Field, check_reading, probe_heads, reading
from reread.models import Manifest, load_tokenizer
from reread.models.kv_selection import FULL
from reread.options import (
    MAX_NEW_TOKENS,
    POLICY,
    check_budget,
    checked_select,
    default_budget,
    prefix_length,
    storable_policy,
)
from reread.pace import Pace
from reread.policies import Policy
from reread.prompting import PARTS, Cut, Encoded, bos_facts, cut, cut_parts, label_in
from reread.rowfile import CsvForm, Row, RowFile

if TYPE_CHECKING:
    from reread.engine import Reader


EXTRACT_WINDOWS = ("head", PARTS)
SELECTABLE = "shared"  # the reading that knows no field


@dataclass(frozen=True)
class ExtractConfig:
    """How documents are read: see fields.READINGS, sessions.STORABLE; budget: document tokens at most, from the
    beginning, per copy (None: what the model's positions hold); window: head, or parts: all of a longer document is
    read, in parts of `budget` tokens, and each field's best answer is taken; batch: documents that are read together
    (prompts, where each field has its own); seconds: for taking the text out of one document (PDF); select: which keys
    of a document a Transformer keeps (models/kv_selection.py), of each part with the window parts; copy: values are
    written of the document's words alone (copying.py)."""

    reading: str = "shared"
    budget: int | None = None
    policy: str = POLICY
    batch: int = 16
    max_new_tokens: int = MAX_NEW_TOKENS
    seconds: float = PDF_SECONDS
    window: str = "head"
    select: str = FULL
    copy: bool = False

    @property
    def selection(self) -> str:
        """The id of `select`.  Raises UnknownName, BadInput, also for a reading other than SELECTABLE."""
        chosen, (named, _) = checked_select(self.select), reading(self.reading)
        if chosen != FULL and named.name != SELECTABLE:
            what = "keys are selected once per document, before any field is known, and this reading knows the fields"
            raise BadInput(what, got=self.reading, allowed=SELECTABLE)
        return chosen

    def check(self) -> None:
        """Raise for what no document could be read with, before any is.  BadInput, UnknownName."""
        check_reading(self.reading, load_tokenizer())
        _ = self.selection
        storable_policy(self.policy)
        check_budget(self.budget)
        if self.window not in EXTRACT_WINDOWS:
            raise UnknownName("window", self.window, EXTRACT_WINDOWS)
        at_least(self, 1, "batch", "max_new_tokens")
        check_seconds(self.seconds)


@dataclass(frozen=True)
class Values:
    """One document's answers, in the order of the fields, and what they cost together."""

    answers: tuple[Answer, ...]

    @property
    def tokens_read(self) -> int:
        return round(sum(answer.read_tokens for answer in self.answers))  # of shares, which add up to whole readings

    @property
    def kept_positions(self) -> float | None:
        """Answer.kept_positions; of several parts the mean over the answers that were taken."""
        kept = [answer.kept_positions for answer in self.answers if answer.kept_positions is not None]
        return sum(kept) / len(kept) if kept else None

    @property
    def seconds(self) -> float:
        return sum(answer.read_seconds + answer.decode_seconds for answer in self.answers)


@dataclass(frozen=True)
class Extractor:
    """One model, one way of reading, the same fields for every document."""

    reader: Reader
    fields: tuple[Field, ...]
    config: ExtractConfig
    spelled: bool = True  # labels are asked as each document spells them (label_in); not in benchmarks

    @cached_property
    def policy(self) -> Policy:
        chosen = storable_policy(self.config.policy)
        self.reader.warn_if_ignored(chosen)
        return chosen

    @cached_property
    def tails(self) -> list[list[int]]:
        return [self._tail(field) for field in self.fields]

    def _tail(self, field: Field) -> list[int]:
        return field.tail(self.reader.lm.tokenizer, self.reader.lm.template)

    def asked_of(self, text: str) -> tuple[tuple[Field, ...], list[list[int]]]:
        """The fields as they are asked of a document of that text, and their tails."""
        if not self.spelled:
            return self.fields, self.tails
        wanted = tuple(replace(field, ask=label_in(field.ask, text)) for field in self.fields)
        tails = [
            own if new == old else self._tail(new)
            for new, old, own in zip(wanted, self.fields, self.tails, strict=True)
        ]
        return wanted, tails

    @cached_property
    def budget(self) -> int:
        """Document tokens at most, per copy."""
        if self.config.budget is not None:
            return self.config.budget
        lm = self.reader.lm
        heads = probe_heads(self.config.reading, self.fields, lm.tokenizer, lm.template)
        return min(default_budget(lm.positions, head.prompt, lm.tokenizer) for head in heads)

    def show(self, text: str) -> Cut:
        """What is shown of a document from its beginning.  Raises BadInput."""
        return cut(text, self.reader.lm.tokenizer, self.budget, "head")

    def texts(self, text: str) -> list[Cut]:
        """What is read of a document, as the window says.  Raises BadInput."""
        if self.config.window == PARTS:
            return cut_parts(text, self.reader.lm.tokenizer, self.budget)
        return [self.show(text)]

    def best_values(self, documents: Sequence[Sequence[Cut]], threshold: float | None = None) -> list[Values]:
        """As `values`, of documents that are each read as several texts: per field the best answer (best_of)."""
        found = iter(self.values([text for texts in documents for text in texts], threshold))
        each = [[next(found) for _ in texts] for texts in documents]
        return [Values(tuple(map(best_of, zip(*(one.answers for one in some), strict=True)))) for some in each]

    def values(self, shown: Sequence[Cut], threshold: float | None = None) -> list[Values]:
        """The answers of every document, judged; as each alone would give, to rounding.

        threshold: as `extract`; that of a field goes before it.  Raises BadInput.
        """
        make, lm = reading(self.config.reading)[1], self.reader.lm
        asked = [self.asked_of(one.text) for one in shown]
        heads = [
            (of, head)
            for of, (one, (wanted, _)) in enumerate(zip(shown, asked, strict=True))
            for head in make(one, wanted, lm.tokenizer, lm.template)
        ]
        prompts = [self._encoded(head.prompt) for _, head in heads]
        for prompt, (of, head) in zip(prompts, heads, strict=True):
            self.reader.check_fits(len(prompt.tokens) + max(len(asked[of][1][place]) for place in head.asked))
        answered = self.reader.answer_forks(
            prompts,
            [[asked[of][1][place] for place in head.asked] for of, head in heads],
            stop=lm.template("field").stop,
            max_new_tokens=self.config.max_new_tokens,
            batch=self.config.batch,
            select=self.config.selection,
            copied=self._originals(shown, heads) if self.config.copy else None,
        )
        found: list[dict[int, Answer]] = [{} for _ in shown]
        for (of, head), answers in zip(heads, answered, strict=True):
            found[of] |= dict(zip(head.asked, answers, strict=True))
        return [
            Values(tuple(self._judged(answers[place], place, one, threshold) for place in range(len(self.fields))))
            for answers, one in zip(found, shown, strict=True)
        ]

    def _originals(self, shown: Sequence[Cut], heads: Sequence[tuple[int, Any]]) -> list[list[Original]]:
        make = self.reader.original
        return [[make(shown[of].text, self.fields[place].ask) for place in head.asked] for of, head in heads]

    def _judged(self, answer: Answer, place: int, shown: Cut, threshold: float | None) -> Answer:
        field = self.fields[place]
        limit = threshold if field.threshold is None else field.threshold
        return self.reader.judge(answer, field.ask, shown.text, start=shown.start, threshold=limit)

    def _encoded(self, prompt: Any) -> Encoded:
        encoded = prompt.encode(self.reader.lm.tokenizer)
        return Encoded(encoded.tokens, encoded.spans, prefix_length(self.policy, len(encoded.tokens)))


def sureness(answer: Answer) -> float:
    """How sure the model is that this is the value: its confidence, 0 where it came to no end (what repeats itself
    until it is cut is sure of every token).  Raises BadInput for a confidence that is no number."""
    if not math.isfinite(answer.confidence):
        raise BadInput("the model's logits after this document are not finite")
    return answer.confidence if answer.ended else 0.0


def field_values(values: Values, fields: Sequence[Field], source: Source | None = None) -> Row:
    """Per field its value, confidence (see sureness), whether it is found, and where it is in the document: in the text
    of its source before the text layer, where that is given."""
    told: Row = {}
    for field, answer in zip(fields, values.answers, strict=True):
        span = answer.span if answer.found else None
        told[field.name] = {
            "value": answer.text if answer.found else None,
            "confidence": round(sureness(answer), 4),
            "found": answer.found,
            "verbatim": answer.verbatim if answer.found else None,
            "span": span and list(source.span(*span) if source else span),
        }
    return told


COLUMNS = 2  # version of the columns of a row; 2: with `warnings`
NOTHING = dict.fromkeys(("value", "confidence", "found", "verbatim", "span"))


def selected(config: ExtractConfig, kept_positions: float | None) -> Row:
    """Columns on the selection; none for `full`."""
    chosen = config.selection
    kept = None if kept_positions is None else round(kept_positions, 2)
    return {} if chosen == FULL else {"selection": chosen, "kept_positions": kept}


def bad_row(path: str, sha256: str | None, extractor: Extractor, error: RereadError) -> Row:
    """The row of a document that could not be read."""
    costs: Row = {"tokens_read": None, "seconds": None, "tokens_cut": None, "warnings": []}
    said = {field.name: dict(NOTHING) for field in extractor.fields}
    more = selected(extractor.config, None)
    return {"document": path, "sha256": sha256, "fields": said, **costs, **more, "error": str(error)}


def file_hash(path: str) -> str | None:
    """The sha256 of a file's bytes; None where they cannot be read."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(2**20):
                digest.update(piece)
            return digest.hexdigest()
    except (OSError, ValueError):
        return None


def read_rows(extractor: Extractor, paths: Sequence[str], threshold: float | None) -> Iterator[Row]:
    """Rows of some files, in their order, read together; what cannot be read is a row with its sentence."""
    rows: dict[str, Row] = {}
    shown: dict[str, tuple[Source, list[Cut]]] = {}
    for path in paths:
        try:
            source = read_source(path, extractor.config.seconds)
            shown[path] = source, extractor.texts(source.text)
        except MissingPackage:
            raise
        except RereadError as error:
            rows[path] = bad_row(path, file_hash(path), extractor, error)
    for path, found in answered(extractor, {path: one for path, (_, one) in shown.items()}, threshold).items():
        source, one = shown[path]
        try:
            if isinstance(found, RereadError):
                raise found
            rows[path] = {
                "document": path,
                "sha256": source.sha256,
                "fields": field_values(found, extractor.fields, source),
                "tokens_read": found.tokens_read,
                "seconds": round(found.seconds, 4),
                "tokens_cut": one[0].dropped_tokens,
                "warnings": list(source.warnings),
                **selected(extractor.config, found.kept_positions),
                "error": None,
            }
        except RereadError as error:
            rows[path] = bad_row(path, source.sha256, extractor, error)
    for path in paths:
        yield rows[path]


def answered(
    extractor: Extractor, shown: dict[str, list[Cut]], threshold: float | None
) -> dict[str, Values | RereadError]:
    """Values by document; where they cannot be read together, each alone, so that the fault stays with its own."""
    try:
        return dict(zip(shown, extractor.best_values(list(shown.values()), threshold), strict=True))
    except RereadError as error:
        if len(shown) == 1:
            return dict.fromkeys(shown, error)
    found: dict[str, Values | RereadError] = {}
    for path, one in shown.items():
        found |= answered(extractor, {path: one}, threshold)
    return found


def distinct(paths: Sequence[str]) -> list[str]:
    """Every file once, under the name that came first.  Raises BadInput for standard input: it cannot be read twice."""
    if "-" in paths:
        raise BadInput("fields are extracted from files, and standard input is none", got="-")
    return list({os.path.realpath(path): path for path in reversed(paths)}.values())[::-1]


def header_of(extractor: Extractor, threshold: float | None) -> Row:
    """What every row depends on; rows of another header are never continued."""
    config, lm = extractor.config, extractor.reader.lm
    manifest = lm.manifest or Manifest()
    asked = repr([(field.name, field.ask, field.threshold) for field in extractor.fields])
    return {
        "model": lm.model.fingerprint,
        "tokenizer": hashlib.sha256(lm.tokenizer.to_str().encode()).hexdigest()[:16],
        "reading": str(reading(config.reading)[0]),
        "policy": str(extractor.policy),
        "budget": extractor.budget,
        "batch": config.batch,
        "max_new_tokens": config.max_new_tokens,
        "threshold": threshold,
        "version": __version__,
        "conversion": CONVERSION,
        "columns": COLUMNS,
        "fields": hashlib.sha256(asked.encode()).hexdigest()[:16],
        "template": manifest.template,
        "calibration": hashlib.sha256(repr(manifest.calibrations).encode()).hexdigest()[:16],
        **({"window": config.window} if config.window != "head" else {}),
        **({"selection": config.selection} if config.selection != FULL else {}),
        **({"copy": True} if config.copy else {}),
        **bos_facts(lm.tokenizer),
    }


@dataclass(frozen=True)
class Progress:
    """How far an extraction is: documents done and in all, seconds left (None before the first batch), bad ones."""

    done: int
    total: int
    seconds_left: float | None
    bad: int


ReadGroups = Callable[[Extractor, Sequence[Sequence[str]], float | None], Iterator[Row]]


def in_process(extractor: Extractor, groups: Sequence[Sequence[str]], threshold: float | None) -> Iterator[Row]:
    """Rows of groups of documents, one group after another, here."""
    for paths in groups:
        yield from read_rows(extractor, paths, threshold)


def extract(
    extractor: Extractor,
    paths: Sequence[str],
    out: Path,
    *,
    threshold: float | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    read: ReadGroups = in_process,
    csv: CsvForm = CsvForm(),  # noqa: B008 (frozen)
) -> list[Row]:
    """Read every document into a row of `out`; the same call after a stop or a kill goes on.  Raises BadInput.

    Documents are taken in groups that depend on their list alone, so that rows are the same however often it
    was stopped.  A document that has changed since its row was written is read again; rows of documents that
    are no longer named are left out; one that could not be read is tried again.  threshold: the confidence
    below which a value is not found; None: that of the model's calibration, 0 without one.  read: who reads the groups,
    and in which order (scale.OnRay: other processes); rows are the same, so one may go on where another stopped.
    csv: how a CSV file is written.
    """
    files, target = distinct(paths), RowFile(out, csv)
    with target.held():
        before = target.start(header_of(extractor, threshold))
        rows = {row["document"]: row for row in before}
        rows = {path: rows[path] for path in files if path in rows and rows[path]["error"] is None}
        rows = {path: row for path, row in rows.items() if row["sha256"] == file_hash(path)}
        size = extractor.config.batch
        groups = [files[start : start + size] for start in range(0, len(files), size)]
        groups = [group for group in groups if not all(path in rows for path in group)]
        group_of = {path: number for number, group in enumerate(groups) for path in group}
        come: set[int] = set()  # groups: the rows of one come together
        pace, bad = Pace(), 0

        def tell() -> None:
            progress(Progress(len(rows), len(files), pace.seconds_left(len(come), len(groups)), bad))

        tell()
        for row in read(extractor, groups, threshold):
            if row["document"] not in rows:
                target.append(row)
                rows[row["document"]] = row
                bad += row["error"] is not None
                come.add(group_of[row["document"]])
                tell()
        whole = [rows[path] for path in files]
        target.finish(whole)
    return whole

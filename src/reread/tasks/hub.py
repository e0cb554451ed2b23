"""The data sets that "Just read twice" measured on, in the format of the Hugging Face hub.

A local copy wins: NAME.jsonl (also .gz, .xz) or a folder NAME with the hub's files, in the folder
"hub" of the data folder or in the one that REREAD_HUB names; without one the library `datasets`
fetches the set.  Fields arrive with stray white space around them, and a prompt that keeps it
measures something else: every field is stripped here.

`question` of the question sets is a statement to complete (template "cloze"), `original_question`
the question as a person asks it.  A context may still end with its statement or its key; the
published layouts take it off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reread.errors import MissingData, MissingPackage, UnknownName, reason
from reread.prompting import Sample
from reread.tasks.files import Fields, checked, json_lines
from reread.tasks.metrics import contains
from reread.tasks.task import Task

SPLIT = "validation"


@dataclass(frozen=True)
class HubSet:
    """One data set: where it is, which published layouts ask it, the fields of a row and how it becomes a sample."""

    repository: str
    family: str
    fields: Fields
    sample: Callable[[str, dict[str, Any]], Sample]


def texts(value: Any) -> tuple[str, ...]:
    """A string or a list of strings, stripped; nothing for None and for blank ones."""
    found = [value] if isinstance(value, str) else list(value or ())
    return tuple(dict.fromkeys(text.strip() for text in found if isinstance(text, str) and text.strip()))


def text(value: Any) -> str:
    return "".join(texts(value)[:1])


def extraction(identity: str, row: dict[str, Any]) -> Sample:
    """A field of a document; the window is centred on the first hit of its key or its value."""
    key, values = text(row["key"]), texts(row["value"])
    return Sample(identity, text(row["text"]), key, values, "field", (key, *values[:1]))


def completion(identity: str, row: dict[str, Any]) -> Sample:
    """SQuAD: `text` is the context with the statement after it, `question` is the question as asked.

    A row whose text does not begin with its context (but for white space) has no statement.
    """
    context, whole, values = text(row["context"]), text(row["text"]), texts(row["value"])
    context = context.split("Question:")[0].strip()
    begin = re.match(r"\s+".join(map(re.escape, context.split())), whole)
    statement = whole[begin.end() :].strip() if begin else ""
    return Sample(identity, context, statement, values, "cloze", values[:1], text(row["question"]))


def cloze(identity: str, row: dict[str, Any], *, centred: bool) -> Sample:
    """A statement to complete; centred: so is the window, on the first answer, else on an alternative that is there
    (the published code takes NQ's own position of the answer then, where a row has one)."""
    context, answers = text(row["context"]), texts(row["answers"])
    anchors = answers[:1] if centred else ()
    if anchors and not contains(context, anchors):
        anchors = (*(other for other in texts(row.get("alt_answers")) if contains(context, [other])), *anchors)[:1]
    return Sample(identity, context, text(row["question"]), answers, "cloze", anchors, text(row["orig_question"]))


KEYED = dict.fromkeys(("text", "key", "value"), "anything")
ASKED = dict.fromkeys(("context", "question", "orig_question", "answers"), "anything")
PAIRED = dict.fromkeys(("text", "context", "question", "value"), "anything")
HUB = {
    "swde": HubSet("hazyresearch/based-swde-v2", "swde", KEYED, extraction),
    "fda": HubSet("hazyresearch/based-fda", "fda", KEYED, extraction),
    "squad": HubSet("hazyresearch/based-squad", "squad", PAIRED, completion),
    "triviaqa": HubSet("hazyresearch/based_triviaqa", "triviaqa", ASKED, partial(cloze, centred=False)),
    "nq-512": HubSet("hazyresearch/based_nq_512", "nq", ASKED, partial(cloze, centred=True)),
    "nq-1024": HubSet("hazyresearch/based_nq_1024", "nq", ASKED, partial(cloze, centred=True)),
    "nq-2048": HubSet("hazyresearch/based_nq_2048", "nq", ASKED, partial(cloze, centred=True)),
    "drop": HubSet("hazyresearch/based_drop", "drop", ASKED, partial(cloze, centred=False)),
}


def fetched(source: str, todo: str) -> Iterator[dict[str, Any]]:
    """The rows of the validation split, from the hub or from a folder.  Raises MissingPackage, MissingData."""
    try:
        import datasets
    except ImportError as error:
        raise MissingPackage("datasets", "eval") from error
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield from datasets.load_dataset(source, split=SPLIT)
    except (OSError, ValueError, HfHubHTTPError, datasets.exceptions.DatasetsError) as error:
        what = f"the split {SPLIT!r} of the data set {source} could not be read"
        raise MissingData(what, got=reason(error), todo=todo) from error


def rows(name: str, data: Path) -> Iterator[dict[str, Any]]:
    """Checked rows of a data set, from the local copy when there is one."""
    known, folder = HUB[name], Path(os.environ.get("REREAD_HUB") or data / "hub")
    for ending in (".jsonl", ".jsonl.gz", ".jsonl.xz"):
        path = folder / f"{name}{ending}"
        if path.exists():
            yield from json_lines(path, known.fields)
            return
    local = folder / name
    source = str(local) if local.is_dir() else known.repository
    todo = f"put a copy at {folder / name}.jsonl, a row of JSON a line"
    for number, row in enumerate(fetched(source, todo)):
        yield checked(row, known.fields, f"{source}, row {number},")


def samples(data: Path, *, name: str) -> Iterator[Sample]:
    """One sample per row of the data set, in its order; the id ends with the row's number."""
    for number, row in enumerate(rows(name, data)):
        yield HUB[name].sample(f"hub/{name} {number}", row)


def hub(name: str) -> Task:
    """The task "hub/NAME".  Raises UnknownName."""
    if name not in HUB:
        raise UnknownName("data set of the hub", name, HUB)
    known = HUB[name]
    about = f"{known.repository} ({SPLIT}) as published, from the hub or a local copy"
    return Task(f"hub/{name}", partial(samples, name=name), about, needs_data=False, published=known.family)

"""The table of recall benchmarks, and the readers of files of fields: FDA 510(k), key-value pairs, LAMBADA.

What differs between benchmarks is data: a Task says where its samples come from and how a model
is asked; windows, strategies and scorers are shared.  Documents are never changed.  Words only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from reread.errors import BadInput, UnknownName
from reread.prompting import Sample
from reread.tasks import questions
from reread.tasks.files import checked, json_file, json_lines
from reread.tasks.hub import HUB, hub
from reread.tasks.needle import needle
from reread.tasks.questions import squad_json
from reread.tasks.swde import field_label, swde
from reread.tasks.synthetic import forms
from reread.tasks.task import Loaded, Task

__all__ = [
    "SET_ASIDE", "TASKS", "Loaded", "Task", "document_name", "fda", "fda_aside", "fda_documents", "squad_json", "task",
]  # fmt: skip


def fda(data: Path, split: str = "dev") -> list[Sample]:
    """One sample per (document, attribute) of the 510(k) decision summaries, in document order.

    Raises BadInput when the table names other documents than the file holds.
    """
    return [sample for _, samples in fda_documents(data, split) for sample in samples]


def fda_documents(data: Path, split: str) -> list[tuple[str, list[Sample]]]:
    """The same by document, with what each is called."""
    folder = data / "fda_510k"
    left = json_file(folder / f"{split}_table.json", {})
    found = []
    for row in json_lines(folder / f"{split}_docs.jsonl.xz", {"file_name": "text", "text": "text"}):
        name = row["file_name"]
        if name not in left:
            raise unfit(f"the document {name}", "the table", folder, split)
        values, samples = left.pop(name), []
        for attribute, value in checked(values, dict.fromkeys(values, "text"), f"{name} in the table").items():
            label = field_label(attribute)
            identity = f"{name.removesuffix('_REVIEW.md')}/{attribute}"
            samples.append(Sample(identity, row["text"], label, (value,), "field", (label, value)))
        found.append((document_name(name), samples))
    if left:
        raise unfit(f"the table's document {next(iter(left))}", "the file of documents", folder, split)
    return found


def unfit(what: str, where: str, folder: Path, split: str) -> BadInput:
    return BadInput(
        f"{split}_table.json does not fit {split}_docs.jsonl.xz in {folder}",
        got=f"{what} is not in {where} (or is there twice)",
        todo="take both files from one source",
    )


SET_ASIDE = 40


def document_name(file_name: str) -> str:
    """ "K083617_REVIEW.md" and "K083617.md" -> "K083617", the device that they are about; other names as they are."""
    return re.sub(r"(_REVIEW)?\.md$", "", file_name)


def fda_aside(data: Path) -> list[Sample]:
    """The last SET_ASIDE documents of the 510(k) training table: no recipe trains on them, so they are for choosing."""
    documents = [samples for _, samples in fda_documents(data, "train") if samples]
    return [sample for samples in documents[-SET_ASIDE:] for sample in samples]


def key_values(data: Path) -> Iterator[Sample]:
    """A JSON object of 75 identifiers, one of them asked as it stands there, in quotes; the id ends with its place."""
    fields = {"ordered_kv_records": "pairs", "key": "text", "value": "text"}
    path = data / "kv_retrieval" / "kv-retrieval-75_keys.jsonl.gz"
    for number, row in enumerate(json_lines(path, fields)):
        pairs = dict(row["ordered_kv_records"])
        if pairs.get(row["key"]) != row["value"]:
            raise BadInput(f"{path}: row {number} asks for a pair that is not in its object", got=row["key"])
        place = list(pairs).index(row["key"])
        document = json.dumps(pairs, indent=0)
        question = json.dumps(row["key"])
        yield Sample(f"kv {number}/place {place}", document, question, (row["value"],), "field", (row["value"],))


def lambada(data: Path) -> Iterator[Sample]:
    """A passage whose last word is to be written; there is no question."""
    path = data / "lambada" / "lambada_openai.jsonl.gz"
    for number, row in enumerate(json_lines(path, {"context": "text", "continuation": "text"})):
        yield Sample(f"lambada {number}", row["context"], "", (row["continuation"].strip(),), "continuation")


def forms_task(fields: int, *, aside: bool = False) -> Task:
    about = f"forms of {fields} lines 'Label: value' written by a program, one asked, template 'field'"
    name, seed = f"forms-{fields}", 0
    if aside:
        name, seed, about = f"{name}-aside", 1, f"{about}; other forms than those of {name}: to choose with"
    return Task(name, lambda data: forms(fields, seed=seed), about, needs_data=False, in_means=False)


TRAINED_ON = ("amazon_reviews", "reddit")  # of SQuADShifts: questions to train with


def shift_task(name: str, source: str, what: str) -> Task:
    trained = source in TRAINED_ON
    about = f"SQuADShifts, questions over {what}, template 'question'"
    about += ", which the recipes train on: kept out of means" if trained else ""
    load = partial(questions.shifted, source=source)
    return Task(f"squadshifts-{name}", load, about, published="squad", in_means=not trained)


TASKS = {
    one.name: one
    for one in (
        Task("swde", swde, "SWDE, attributes of web pages of 22 sites, template 'field'", published="swde"),
        Task("fda", fda, "FDA 510(k) decision summaries, fields of the table, template 'field'", published="fda"),
        Task(
            "fda-aside",
            fda_aside,
            "as fda, training documents that the recipes set aside: to choose with",
            published="fda",
            in_means=False,
        ),
        Task("squad", questions.squad, "SQuAD v2.0 dev, answerable questions, template 'question'", published="squad"),
        Task(
            "squad1", questions.squad1, "SQuAD v1.1 dev (XQuAD's English part), template 'question'", published="squad"
        ),
        shift_task("wiki", "new_wiki", "newer Wikipedia articles"),
        shift_task("amazon", "amazon_reviews", "Amazon reviews"),
        shift_task("reddit", "reddit", "Reddit comments"),
        Task("nq", questions.nq, "Natural Questions, the gold paragraph, template 'question'", published="nq"),
        Task(
            "nq-pages",
            questions.nq_pages,
            "Natural Questions, whole Wikipedia pages, template 'question'",
            published="nq",
        ),
        Task(
            "triviaqa",
            questions.triviaqa,
            "TriviaQA with its own evidence, 3 questions, template 'question'",
            published="triviaqa",
        ),
        Task(
            "triviaqa-reconstructed",
            questions.triviaqa_reconstructed,
            "TriviaQA with RECONSTRUCTED evidence (passages found afterwards): kept out of means, template 'question'",
            published="triviaqa",
            in_means=False,
        ),
        Task(
            "drop", questions.drop, "DROP dev, an answer stands in the passage, template 'question'", published="drop"
        ),
        Task(
            "drop-other",
            questions.drop_other,
            "DROP dev, the answer has to be computed or put together: kept out of means, template 'question'",
            published="drop",
            in_means=False,
        ),
        Task("kv-75", key_values, "one of 75 random keys of a JSON object, template 'field'", in_means=False),
        Task("needle", needle, "a fact hidden in essays, length x depth, template 'question'", in_means=False),
        Task("lambada", lambada, "LAMBADA, the last word of a passage, template 'continuation'", in_means=False),
        *(forms_task(fields) for fields in (8, 16, 32, 64)),
        *(forms_task(fields, aside=True) for fields in (8, 16, 32, 64)),
        *(hub(name) for name in HUB),
    )
}


def task(name: str) -> Task:
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name]

"""The six recall benchmarks as lm-eval tasks: the YAML files beside this one, and what they call.

A row of a benchmark, from a local JSONL file or from the hub set that "Just read twice" used,
becomes a prompt in the published layout and the accepted answers; the score is `contains`.
The published cut of a document to so many tokens is made where the task manager's metadata names a
number and a tokenizer; otherwise documents are shown whole.  Words only: no tensor, no model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from reread.errors import BadCheckpoint, BadInput, MissingData, MissingPackage, UnknownName, reason
from reread.prompting.published import published_prompt, published_question
from reread.prompting.tokens import read_tokenizer
from reread.prompting.windows import cut
from reread.tasks.files import json_lines
from reread.tasks.metrics import contains

FIELDS = {
    "swde": ("text", "key", "value"),
    "fda": ("text", "key", "value"),
    "squad": ("text", "context", "question", "value"),
    "nq": ("context", "question", "orig_question", "answers"),
    "triviaqa": ("context", "question", "orig_question", "answers"),
    "drop": ("context", "question", "orig_question", "answers"),
}
SPLIT = "validation"
ANCHORS = {"swde": ("key", "value"), "fda": ("key", "value"), "squad": ("value",), "nq": ("answers",)}


ALL = "reread_recall"


def strategy_of(name: str) -> str:
    """The strategy of a packaged task; "twice" for ALL, which holds both."""
    return "once" if name.endswith("_once") else "twice"


def check_options(tasks: Sequence[str], data: Path | None, limit: int, tokens: int) -> None:
    """Raise for what no packaged task can be run with, before a model is loaded: UnknownName, BadInput, MissingData."""
    known = (ALL, *(f"reread_{task}_{strategy}" for task in FIELDS for strategy in ("once", "twice")))
    for name in tasks:
        if name not in known:
            raise UnknownName("packaged lm-eval task", name, known)
    if not tasks:
        raise BadInput("a task must be named", allowed=", ".join(known))
    for what, value in (("limit", limit), ("tokens of a document", tokens)):
        if value < 0:
            raise BadInput(f"{what} must be 0 (all) or more", got=value)
    if data is not None and not data.is_dir():
        raise MissingData("the data folder is missing", got=str(data), todo="give a folder with one TASK.jsonl each")


def shortened(task: str, row: Mapping[str, Any], tokens: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """The row with at most `tokens` of its document, chosen as published: around the first hit of key or answer; the
    head of it for triviaqa and drop."""
    field = FIELDS[task][0]
    found = [row[name] for name in ANCHORS.get(task, ())]
    anchors = [anchor[0] if isinstance(anchor, list) else anchor for anchor in found]
    window = "answer_centered" if any(anchors) else "head"
    return {**row, field: cut(row[field], tokenizer, tokens, window, anchors).text}


def prompt(task: str, strategy: str, row: Mapping[str, Any]) -> str:
    """The published prompt of a row in the hub's format.

    SQuAD's `text` is the context with the statement to complete behind it, laid out already: it is
    shown as it stands, and `question` is the original one.
    """
    if task == "squad":
        text = row["text"].strip()
        head = row["context"].split("Question:")[0].strip()
        return {"once": text, "twice": f"{row['question'].strip()} {head}\n{text}"}[strategy]
    if task in ("swde", "fda"):
        return published_prompt(task, strategy, row["text"], row["key"])
    return published_prompt(task, strategy, row["context"], row["question"], row["orig_question"])


def asked(task: str, strategy: str, row: Mapping[str, Any], text: str) -> str:
    """The end of a row's prompt `text` that asks: what stands behind the document; "" where the question also stands
    before it, and where a cut took the end away."""
    if strategy != "once":
        return ""
    if task == "squad":
        document = row["context"].split("Question:")[0].strip()
        whole = row["text"].strip()
        end = whole[len(document) :] if whole.startswith(document) else ""
    else:
        end = published_question(task, row["key"] if "key" in FIELDS[task] else row["question"])
    return end if text.endswith(end) else ""


def accepted(row: Mapping[str, Any]) -> list[str]:
    """The accepted answers of a row without white space around them; empty ones, which any text contains, left out."""
    given = row["answers"] if "answers" in row else [row["value"]]
    return [answer.strip() for answer in given if answer and answer.strip()]


def examples(
    task: str,
    strategy: str,
    rows: Iterable[Mapping[str, Any]],
    source: str,
    shorten: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] = lambda _, row: row,
) -> list[dict[str, Any]]:
    """One example (id, prompt, asked, question, answers, target) per row that has an answer, the others counted in the
    log.

    Raises UnknownName, and BadInput for a row that is not in the hub's format.
    """
    if task not in FIELDS:
        raise UnknownName("benchmark", task, FIELDS)
    if strategy not in ("once", "twice"):
        raise UnknownName("strategy of the packaged tasks", strategy, ("once", "twice"))
    made, without = [], 0
    for number, row in enumerate(rows):
        wrong = [name for name in FIELDS[task] if not isinstance(row.get(name), list if name == "answers" else str)]
        if wrong:
            raise BadInput(
                f"row {number + 1} of {source} is not in the hub's format of {task}",
                got=f"no text in {', '.join(wrong)}",
                allowed=f"{', '.join(FIELDS[task])} (answers is a list)",
            )
        answers = accepted(row)
        if answers:
            question = row["key"] if "key" in FIELDS[task] else row["question"]
            text = prompt(task, strategy, shorten(task, row))
            shown = {"id": number, "prompt": text, "asked": asked(task, strategy, row, text), "question": question}
            made.append({**shown, "answers": answers, "target": answers[0]})
        without += not answers
    if without:
        logging.getLogger(__name__).warning("%s: %d rows without an answer are left out", source, without)
    if not made:
        raise BadInput("no row with an answer", got=source)
    return made


def shortener(tokens: int, file: str) -> Callable[[str, Mapping[str, Any]], Mapping[str, Any]]:
    """`shortened` with that tokenizer.json; rows as they are for 0 tokens.  Raises BadInput."""
    if not tokens:
        return lambda _, row: row
    try:
        words = read_tokenizer(file)
    except BadCheckpoint as error:
        raise BadInput(
            "a cut in tokens needs the tokenizer of the model", got=file or "none", todo="name its tokenizer.json"
        ) from error
    return lambda task, row: shortened(task, row, tokens, words)


def load(
    task: str, strategy: str, hub: str, data: str = "", tokens: int = 0, tokenizer: str = "", **_: Any
) -> dict[str, Any]:
    """What a YAML file's custom_dataset gives lm-eval: the one split, as a dataset.

    From the task manager's metadata: data, the folder that holds TASK.jsonl (without it the hub
    set); tokens, of a document at most (0: all of it), and tokenizer, the tokenizer.json that counts
    them.  Raises MissingData, MissingPackage, BadInput.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingPackage("datasets", "lm-eval") from error
    shorten = shortener(tokens, tokenizer)
    if data:
        path = Path(data) / f"{task}.jsonl"
        made = examples(task, strategy, json_lines(path, {}), str(path), shorten)
    else:
        try:
            rows = datasets.load_dataset(hub, split=SPLIT)
        except Exception as error:  # the hub's errors have no common root, and a network has its own
            raise MissingData(f"the hub gave no {hub}: {reason(error)}", todo="give a local data folder") from error
        made = examples(task, strategy, rows, hub, shorten)
    return {SPLIT: datasets.Dataset.from_list(made)}


def score(doc: Mapping[str, Any], results: list[str]) -> dict[str, float]:
    """The published score of one generated text: 1 if any accepted answer occurs in it, in any case."""
    return {"contains": contains(results[0], doc["answers"])}

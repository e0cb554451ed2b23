"""What is asked of every document: fields from a file of JSON, and the readings that answer several of them.

A reading says what is read before the fields are asked: a document once for all of them, the document with
the list of the fields in its midst, or one prompt per field.  Words only; knows no model, no value and no row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from tokenizers import Tokenizer

from reread.config import Spec, settings_of
from reread.documents.files import read_document
from reread.documents.text import LINE_END, one_line
from reread.errors import BadInput, UnknownName
from reread.prompting import (
    PROBE,
    Cut,
    Part,
    Prompt,
    Template,
    build,
    build_unasked,
    plain_question,
    template,
    template_for,
    token_ids,
)

COLUMNS = (
    "document", "sha256", "tokens_read", "seconds", "tokens_cut", "selection", "kept_positions", "warnings",
    "error",
)  # fmt: skip
PER_FIELD = ("", "_confidence", "_found")
LONGEST = 200
Templates = Callable[[str], Template]
EXAMPLE = '["Applicant", {"name": "code", "ask": "Product code"}]'


@dataclass(frozen=True)
class Field:
    """name: its column; ask: a question (ending in ?) or the label, in a plain form (plain_question); threshold: the
    confidence below which this field is "not found", in place of the common one."""

    name: str
    ask: str
    threshold: float | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.name + end for end in PER_FIELD)

    def tail(self, tokenizer: Tokenizer, templates: Templates = template) -> list[int]:
        """The tokens that ask for it after what was read; templates: by name, those of the model (LM.template)."""
        form = templates(template_for(self.ask))
        return token_ids(form.fill(form.ask, self.ask), tokenizer)


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; raises BadInput where JSON would let the last of equal names win in silence."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise BadInput(
            "an object of the fields names something twice", got=next(n for n in names if names.count(n) > 1)
        )
    return dict(pairs)


def words_in(value: Any, what: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"{what} of {where} must be words", got=json.dumps(value, ensure_ascii=False)[:60])
    text = one_line(value)
    if len(text) > LONGEST or LINE_END.search(value.strip()) or not text.isprintable():
        todo = f"one line of at most {LONGEST} characters"
        raise BadInput(f"{what} of {where} is too long or not one line", got=value.strip()[:60], todo=todo)
    return text


def field_of(item: Any, number: int) -> Field:
    """One item of the list.  Raises BadInput, UnknownName."""
    where = f"field {number}"
    if isinstance(item, str):
        item = {"name": item}
    if not isinstance(item, dict):
        got = json.dumps(item, ensure_ascii=False)[:60]
        raise BadInput(f"{where} is neither a name nor an object", got=got, allowed=EXAMPLE)
    known = [one.name for one in fields(Field)]
    for key in item:
        if key not in known:
            raise UnknownName(f"key in {where}", key, known)
    if "name" not in item:
        raise BadInput(f"{where} has no name", got=", ".join(item) or "an empty object", allowed=EXAMPLE)
    name = words_in(item["name"], "the name", where)
    limit = item.get("threshold")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= 1):
        got = json.dumps(limit, ensure_ascii=False)[:60]
        raise BadInput(f"the threshold of {where} is no probability", got=got, allowed="0 to 1")
    ask = plain_question(words_in(item.get("ask", name), "the question", where))
    return Field(name, ask, None if limit is None else float(limit))


def fields_of(text: str, where: str) -> tuple[Field, ...]:
    """The fields in a text of JSON: a list of names and of objects.  Raises BadInput, UnknownName."""
    try:
        items = json.loads(text, object_pairs_hook=once_each)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{where} is not JSON: {error}", allowed=EXAMPLE) from error
    if not isinstance(items, list) or not items:
        got = "an empty list" if items == [] else type(items).__name__
        raise BadInput(f"{where} must hold a list of fields", got=got, allowed=EXAMPLE)
    found = tuple(field_of(item, number) for number, item in enumerate(items, start=1))
    taken = dict.fromkeys(COLUMNS, "a column that every row has")
    for number, one in enumerate(found, start=1):
        for column in one.columns:
            if column in taken:
                what = f"the name of field {number} is taken: {column!r} is {taken[column]}"
                raise BadInput(what, got=one.name, todo="give each field a name of its own")
            taken[column] = f"a column of field {number}"
    return found


def read_fields(path: str) -> tuple[Field, ...]:
    """The fields in a file.  Raises BadInput, UnknownName."""
    return fields_of(read_document(path), path)


@dataclass(frozen=True)
class Head:
    """What is read before some of the fields are asked, by their places in the list; its question is empty."""

    prompt: Prompt
    asked: tuple[int, ...]


def shared(
    shown: Cut,
    wanted: Sequence[Field],
    tokenizer: Tokenizer,
    templates: Templates = template,
    *,
    strategy: str = "once",
) -> list[Head]:
    """The document is read once, and every field goes on from there."""
    prompt = build_unasked(strategy, shown.text, cut=shown, tokenizer=tokenizer)
    return [Head(prompt, tuple(range(len(wanted))))]


def schema(shown: Cut, wanted: Sequence[Field], tokenizer: Tokenizer, templates: Templates = template) -> list[Head]:
    """The document, all that will be asked, the document again; every field goes on from there."""
    form, own = templates("field"), templates("question")
    labels = [one.ask for one in wanted if template_for(one.ask) == "field"]
    lines = [form.fill(form.cue, ", ".join(labels))] if labels else []
    lines += [own.fill(own.cue, one.ask) for one in wanted if template_for(one.ask) == "question"]
    listed = Part("cue", form.joint + "".join(lines).rstrip("\n"))
    parts = (Part("document", shown.text), listed, Part("repeat", form.joint + shown.text), Part("question", ""))
    return [Head(Prompt(parts, "schema", shown), tuple(range(len(wanted))))]


def each(
    shown: Cut,
    wanted: Sequence[Field],
    tokenizer: Tokenizer,
    templates: Templates = template,
    *,
    strategy: str = "twice",
) -> list[Head]:
    """One prompt per field, of a strategy that may look at it; what stands before the question."""
    heads = []
    for place, one in enumerate(wanted):
        form = templates(template_for(one.ask))
        prompt = build(strategy, shown.text, one.ask, form, cut=shown, tokenizer=tokenizer)
        parts = (*prompt.parts[:-1], Part("question", ""))
        heads.append(Head(Prompt(parts, prompt.strategy, shown), (place,)))
    return heads


READINGS: dict[str, Callable[..., list[Head]]] = {"shared": shared, "schema": schema, "each": each}
MakeHeads = Callable[..., list[Head]]


def reading(text: str) -> tuple[Spec, MakeHeads]:
    """The reading of an id such as "each(strategy=question_first)", and the id as it stands in rows.

    Raises UnknownName, BadInput, also for a strategy that it cannot be done with.
    """
    spec = Spec.parse(text)
    if spec.name not in READINGS:
        raise UnknownName("reading", spec.name, READINGS)
    function = READINGS[spec.name]
    settings = settings_of(spec, function)
    return Spec(spec.name, (), tuple(sorted(settings.items()))), lambda *given: function(*given, **settings)


def check_reading(text: str, tokenizer: Tokenizer) -> str:
    """The id of a reading, after it was tried on PROBE.  Raises UnknownName, BadInput."""
    probe_heads(text, [Field("A", "A"), Field("b", "What is B?")], tokenizer, template)
    return str(reading(text)[0])


def probe_heads(text: str, wanted: Sequence[Field], tokenizer: Tokenizer, templates: Templates) -> list[Head]:
    """What the reading of that id reads of PROBE before these fields.  Raises UnknownName, BadInput."""
    return reading(text)[1](Cut(PROBE, "head", 0, len(PROBE), 8, 8), wanted, tokenizer, templates)

"""Sample, Template, Part, Prompt: what a model will see, made of words.

A Prompt is parts in order; encoding it gives tokens and one span per part, and the spans tile
the tokens exactly (each part is tokenised alone, so that no merge crosses a border and a stored
document continues exactly as a fresh one).  Where the tokenizer gives BOS, it is a span of its own
before the first part.  This file knows no tensor, no model, no benchmark.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from reread.errors import BadInput, UnknownName
from reread.prompting.asking import is_question
from reread.prompting.pieces import token_ids
from reread.prompting.tokens import special_ids

BOS = "bos"  # the role of the span before the first part


@dataclass(frozen=True)
class Sample:
    """One document, one question, and the accepted answers (none outside an evaluation).

    anchors: strings whose first hit the published window is centred on; template: a key of TEMPLATES;
    original_question: the question as a person asks it, where `question` is a statement to complete.
    """

    id: str
    document: str
    question: str
    answers: tuple[str, ...] = ()
    template: str = "field"
    anchors: tuple[str, ...] = ()
    original_question: str = ""

    @property
    def document_hash(self) -> str:
        """12 hex digits that name the document in rows of runs."""
        return hashlib.sha256(self.document.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Template:
    """How a document and a question become text.

    cue stands before the document (strategies that show the question first), ask after it;
    "{question}" and "{Question}" (first character upper-cased) are filled in.  A model writes the
    answer after `ask`, beginning with a space, and ends it with `stop`.  not_found: the answer that means that the
    document does not hold one; "" where models are not trained to give it.
    """

    name: str
    cue: str
    ask: str
    joint: str = "\n"
    stop: str = "\n"
    not_found: str = ""

    def fill(self, text: str, question: str) -> str:
        question = question.strip()
        slots = {"{question}": question, "{Question}": question[:1].upper() + question[1:]}
        return re.sub(r"\{[qQ]uestion\}", lambda slot: slots[slot.group()], text)

    def answer(self, value: str) -> str:
        """The text a model is trained to write for that answer."""
        return f" {value.strip()}{self.stop}"

    def means_not_found(self, text: str) -> bool:
        """Whether an answer says that the document does not hold one."""
        return bool(self.not_found) and " ".join(text.split()).rstrip(".").lower() == self.not_found


NOT_FOUND = "not found"  # what the template "reader" is answered with where the document does not hold the answer
TEMPLATES = {
    "field": Template("field", cue="Information about {Question}.\n", ask="\n{Question}:"),
    "question": Template("question", cue="{Question}\n", ask="\nQuestion: {Question}\nAnswer:"),
    "cloze": Template("cloze", cue="{Question}\n", ask="\n{question}"),
    "continuation": Template("continuation", cue="", ask=""),
    "reader": Template(
        "reader", cue="Question: {Question}\n\n", ask="\n\nQuestion: {Question}\nAnswer:", not_found=NOT_FOUND
    ),
}


def template(name: str) -> Template:
    if name not in TEMPLATES:
        raise UnknownName("template", name, TEMPLATES)
    return TEMPLATES[name]


def template_for(question: str) -> str:
    """ "question" for what ends in a question mark, else "field" (the name of a field)."""
    return "question" if is_question(question) else "field"


@dataclass(frozen=True)
class Part:
    """One piece of a prompt; role is cue, document, repeat or question."""

    role: str
    text: str


PARTS = "parts"  # the window that keeps all of a document, in several texts


@dataclass(frozen=True)
class Cut:
    """What a window kept of a document: text = document[start:end], counts in tokens.  With the window PARTS it is
    one of several texts that are all read, so nothing is dropped."""

    text: str
    window: str
    start: int
    end: int
    kept_tokens: int
    document_tokens: int

    @property
    def dropped_tokens(self) -> int:
        return 0 if self.window == PARTS else self.document_tokens - self.kept_tokens

    def says(self) -> str:
        """One sentence for a person; empty when nothing was cut."""
        if not self.dropped_tokens:
            return ""
        return (
            f"the document has {self.document_tokens:,} tokens; the window {self.window!r} kept "
            f"{self.kept_tokens:,} of them (characters {self.start:,} to {self.end:,})"
        )


@dataclass(frozen=True)
class Encoded:
    """Tokens of a prompt, one span (role, start, end) per part, before them one of BOS where the tokenizer gives it,
    and the length that is read non-causally: all of it, unless a policy (policies.py) sets another."""

    tokens: tuple[int, ...]
    spans: tuple[tuple[str, int, int], ...]
    prefix_len: int

    @property
    def text_start(self) -> int:
        """Where the first part begins: behind BOS, else 0."""
        return self.spans[0][2] if self.spans and self.spans[0][0] == BOS else 0

    @property
    def part_spans(self) -> tuple[tuple[str, int, int], ...]:
        """The spans of the parts, without that of BOS."""
        return tuple(span for span in self.spans if span[0] != BOS)


def encode_parts(parts: Sequence[Part], tokenizer: Tokenizer) -> Encoded:
    """What a model reads from nothing: BOS where the tokenizer gives it, then every part, tokenised alone."""
    tokens = list(special_ids(tokenizer).start)
    spans = [(BOS, 0, len(tokens))] if tokens else []
    begin = len(tokens)
    for part in parts:
        start = len(tokens)
        tokens += token_ids(part.text, tokenizer, first=start == begin)
        spans.append((part.role, start, len(tokens)))
    return Encoded(tuple(tokens), tuple(spans), len(tokens))


def encode_ids(ids: Sequence[int], role: str, tokenizer: Tokenizer) -> Encoded:
    """As `encode_parts`, of one part whose tokens are known."""
    start = special_ids(tokenizer).start
    tokens = (*start, *ids)
    bos = ((BOS, 0, len(start)),) if start else ()
    return Encoded(tokens, (*bos, (role, len(start), len(tokens))), len(tokens))


@dataclass(frozen=True)
class Prompt:
    """Parts in order.  How much of them is read non-causally is not its business: see policies.py."""

    parts: tuple[Part, ...]
    strategy: str
    cut: Cut | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)

    def encode(self, tokenizer: Tokenizer) -> Encoded:
        """Raises BadInput when no part holds a token."""
        encoded = encode_parts(self.parts, tokenizer)
        if len(encoded.tokens) == encoded.text_start:
            raise BadInput("the prompt is empty", todo="give a document and a question with text in them")
        return encoded

"""What stands before a question that is not known yet: the layout of a document that is read once and asked later.

Words only.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from reread.errors import BadInput
from reread.prompting.prompt import TEMPLATES, Cut, Part, Prompt
from reread.prompting.strategies import Reading, strategy


class Unasked(Reading):
    """A Reading whose question nobody knows: a strategy that looks at it is refused, in one sentence."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("question", "original_question"):
            raise BadInput(
                "what this strategy shows before the question depends on the question, which is not known when a "
                "document is read to be asked later",
                allowed="once, twice(cue=False), repeat(cue=False, n=3)",
            )
        return super().__getattribute__(name)

    @property
    def ask(self) -> Part:
        return Part("question", "")


def build_unasked(name: str, document: str, *, cut: Cut | None = None, tokenizer: Tokenizer | None = None) -> Prompt:
    """The parts that the named strategy shows before any question, and an empty question after them.

    Every template has the same text between copies (a test holds this), so the words around the
    question need not be known either.  Raises UnknownName, BadInput.
    """
    spec, lay_out = strategy(name)
    return Prompt(lay_out(Unasked(document, "", TEMPLATES["field"], tokenizer)), str(spec), cut)

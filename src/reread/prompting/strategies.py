"""Strategies: in which order a document and a question are shown.

A strategy is a pure function (document, question, template) -> parts, and a name that stands in
every table.  `twice` is JRT-Prompt ("Just read twice", section 4, as the published code lays it
out): what is asked for stands once before and once after two copies of the document.
Words only: cutting to a budget is in windows.py, encoding in prompt.py.
"""

from __future__ import annotations

from collections.abc import Callable

from reread.errors import UnknownName
from reread.prompting.prompt import Cut, Part, Prompt, Template

Strategy = Callable[[str, str, Template], tuple[Part, ...]]


def once(document: str, question: str, template: Template) -> tuple[Part, ...]:
    """Document, then the question."""
    return (Part("document", document), Part("question", template.fill(template.ask, question)))


def question_first(document: str, question: str, template: Template) -> tuple[Part, ...]:
    """What is asked for, document, then the question: the reader knows what to look for."""
    return (Part("cue", template.fill(template.cue, question)), *once(document, question, template))


def twice(document: str, question: str, template: Template) -> tuple[Part, ...]:
    """What is asked for, the document, the document again, then the question (JRT-Prompt)."""
    cue, shown, asked = question_first(document, question, template)
    return (cue, shown, Part("repeat", template.joint + document), asked)


STRATEGIES: dict[str, Strategy] = {"once": once, "question_first": question_first, "twice": twice}


def strategy(name: str) -> Strategy:
    if name not in STRATEGIES:
        raise UnknownName("strategy", name, STRATEGIES)
    return STRATEGIES[name]


PREFIXES = ("document", "prompt")


def build(
    name: str, document: str, question: str, template: Template, *, prefix: str = "prompt", cut: Cut | None = None
) -> Prompt:
    """The prompt of the named strategy.

    prefix: what a model may read non-causally: "prompt" (all of it, as the published models do) or
    "document" (all but the question after it, so that further questions can follow).
    """
    if prefix not in PREFIXES:
        raise UnknownName("prefix", prefix, PREFIXES)
    parts = strategy(name)(document, question, template)
    return Prompt(parts, name, len(parts) - (prefix == "document"), cut)

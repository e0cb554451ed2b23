"""The options of reading and asking, checked from their texts alone: before torch is imported and a model is loaded.

Each function raises what the same option would raise later, at the first document.  Needs no torch.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from tokenizers import Tokenizer

from reread.errors import BadInput, UnknownName
from reread.forgotten import NO_UNIT, SENTENCE, checked_forgotten, default_unit
from reread.models import load_tokenizer
from reread.models.dtypes import check_state_dtype
from reread.models.kv_selection import FULL, selection
from reread.policies import Policy, Seen
from reread.policies import policy as known_policy
from reread.prompting import (
    BUDGET,
    PROBE,
    Encoded,
    Example,
    Prompt,
    Template,
    build,
    build_unasked,
    check_window,
    template,
    template_for,
    token_ids,
    units,
)
from reread.whole import check_folder

MAX_NEW_TOKENS = 48
LEVELS = ("checksum", "canary", "full")
POLICY = "document"
DOCUMENT_ROLES = ("document", "repeat")
ANY_LENGTH = 10**9  # document tokens: all of a document that is read in pieces of which only a part is kept
QUESTION_TOKENS = 256  # of a model's positions, kept for a question; less where it has few
STORABLE, SAID = ("document", "none", "fixed"), "document, none, fixed(n=256)"


class Prefill(str, enum.Enum):
    """How a prompt is read that is shorter than the prefix its model was trained with ("Just read twice", table 4).

    no_pad: as it is; left_pad: after padding up to that length, masked as published; read_twice: two
    times in a row; iterate: anew for every token, all of it as prefix.
    """

    NO_PAD = "no_pad"
    LEFT_PAD = "left_pad"
    READ_TWICE = "read_twice"
    ITERATE = "iterate"


PREFILLS = tuple(mode.value for mode in Prefill)


def check_prefill(prefill: str, chosen: Policy) -> None:
    """Raise UnknownName for an unknown prefill, BadInput for a policy beside one that sets the prefix itself."""
    if prefill not in PREFILLS:
        raise UnknownName("prefill", str(prefill), PREFILLS)
    if prefill != Prefill.NO_PAD and chosen.spec.name != "prompt":
        what = f"{Prefill(prefill).value} sets the length of the prefix itself"
        raise BadInput(what, got=str(chosen), allowed="the policy prompt, or no_pad")


def check_level(level: str) -> None:
    if level not in LEVELS:
        raise UnknownName("level of verification", level, LEVELS)


def storable_policy(name: str) -> Policy:
    """A prefix policy whose length is known before the question.  Raises UnknownName, BadInput."""
    found = known_policy(name)
    if found.spec.name not in STORABLE:
        todo = "what is read non-causally must end before the question, which is not known yet"
        raise BadInput("no document can be read to be asked later with this prefix", got=name, allowed=SAID, todo=todo)
    return found


def prefix_length(policy: Policy, tokens: int) -> int:
    """The prefix of a document of so many tokens.  Raises BadInput where it would reach into the question."""
    ids = cast(tuple[int, ...], range(tokens))  # only counted: a header may lie about how many
    whole = Encoded(ids, (("document", 0, tokens), ("question", tokens, tokens)), tokens)
    length = int(policy.rule.length(Seen(whole)))
    if length > tokens:
        todo = "a shorter prefix, or the policy document, ends before the question"
        raise BadInput("the prefix is longer than the document", got=length, allowed=f"{tokens} or less", todo=todo)
    return length


def check_budget(budget: int | None) -> None:
    if budget is not None and budget < 1:
        raise BadInput("the token budget of a document must be at least 1", got=budget)


def check_question(question: str) -> None:
    if not question.strip():
        raise BadInput("the question is empty", got=repr(question), todo="ask something, or name a field")


def check_read_options(*, strategy: str, budget: int | None, policy: str, state_dtype: str | None) -> None:
    """Raise BadInput or UnknownName for options with which no document can be read."""
    build_unasked(strategy, PROBE)
    storable_policy(policy)
    if state_dtype is not None:
        check_state_dtype(state_dtype)
    check_budget(budget)


def checked_select(select: str, *, strategies: Sequence[str] = (), prefill: str = Prefill.NO_PAD.value) -> str:
    """The id of a selection of keys.  Raises UnknownName, BadInput; other than `full` also for a strategy that depends
    on the question, and for another prefill than no_pad.  selecting.checked_selection asks the model."""
    chosen = str(selection(select))
    if chosen == FULL:
        return chosen
    for name in strategies:
        build_unasked(name, PROBE)
    if prefill != Prefill.NO_PAD:
        what = "keys can be selected only with this prefill"
        raise BadInput(
            what, got=prefill.value if isinstance(prefill, Prefill) else prefill, allowed=Prefill.NO_PAD.value
        )
    return chosen


def checked_unit(unit: str | None, select: str, *, needed: bool = False) -> str:
    """The unit of text of which it is measured what a selection lost, "" for none; unit None: `default_unit`, and
    sentences where it is needed to read a document again.  Raises UnknownName, BadInput, MissingPackage."""
    if needed and (select == FULL or unit == NO_UNIT):
        todo = "name a selection, and leave `--forgotten none` out"
        raise BadInput("a document is read again where its state is known to have forgotten text", todo=todo)
    if unit is None and not needed:
        return default_unit(select)
    found = checked_forgotten(SENTENCE if unit is None else unit, select)
    if found:
        units(PROBE, found, load_tokenizer() if "(" in found else None)
    return found


def check_store(folder: Path, limit_mib: int | None = None, *, there: bool = False) -> None:
    """Raise BadInput for a folder that cannot be a store; there: it must exist."""
    if limit_mib is not None and limit_mib < 1:
        raise BadInput("a store holds at least 1 MiB", got=limit_mib)
    if there and not folder.is_dir():
        raise BadInput("no such store", got=str(folder), todo="reread read DOC --out DIR makes one")
    if not there:
        check_folder(folder, "the store")


def probe_layout(
    name: str,
    question: str,
    form: Template,
    tokenizer: Tokenizer,
    examples: Callable[[], Sequence[Example]] = tuple,
) -> Prompt:
    """PROBE as the named strategy shows it; a model's scores are taken as zero.

    examples: as `build`.  Raises UnknownName, BadInput, MissingPackage.
    """
    scored = lambda by, units: [0.0] * len(units)  # noqa: E731
    return build(name, PROBE, question, form, tokenizer=tokenizer, score=scored, examples=examples)


def checked_strategy(name: str, question: str = "one", examples: Callable[[], Sequence[Example]] = tuple) -> str:
    """The strategy's id, after it has laid out PROBE.  Raises UnknownName, BadInput, MissingPackage."""
    return probe_layout(name, question, template(template_for(question)), load_tokenizer(), examples).strategy


def default_budget(positions: int | None, layout: Prompt, tokenizer: Tokenizer) -> int:
    """Document tokens per copy that a model of so many positions holds beside a question and MAX_NEW_TOKENS new tokens;
    BUDGET for a model without positions (None).

    layout: PROBE in the layout that will be read: how many copies of a document it shows, and what stands beside them.
    """
    if positions is None:
        return BUDGET
    copies = [len(token_ids(part.text.strip(), tokenizer)) for part in layout.parts if part.role in DOCUMENT_ROLES]
    beside = [len(token_ids(part.text, tokenizer)) for part in layout.parts if part.role not in DOCUMENT_ROLES]
    free = positions - max(sum(beside), min(QUESTION_TOKENS, positions // 8)) - MAX_NEW_TOKENS
    return max(1, free * len(token_ids(PROBE, tokenizer)) // sum(copies))


def checked_policy(name: str, prefill: str = "no_pad", roles: Sequence[str] = ("document", "question")) -> str:
    """The policy's id, after it has chosen the prefix of a prompt of these parts, where it asks no model for it.

    Raises UnknownName, BadInput.
    """
    chosen = known_policy(name)
    spans = tuple((role, 2 * at, 2 * at + 2) for at, role in enumerate(roles))
    if chosen.rule.first is None:
        chosen.choose([Encoded((0, 1, 2, 3)[: 2 * len(roles)], spans, 2)], tokenizer=load_tokenizer())
    check_prefill(prefill, chosen)
    return str(chosen)


def check_ask_options(
    question: str, *, strategy: str, policy: str, budget: int | None, window: str, prefill: str
) -> None:
    """Raise for options with which no question can be asked.  BadInput, UnknownName, MissingPackage."""
    check_question(question)
    check_budget(budget)
    check_window(window)
    checked_strategy(strategy, question)
    checked_policy(policy, prefill)

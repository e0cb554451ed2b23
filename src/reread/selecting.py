"""Documents read into states of fixed size: the words that ask for a second reading, and what was read.

Shapes: T tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reread.answer import Answer
from reread.forgotten import Lost, known_lost_near
from reread.models import LM
from reread.models.distilled import with_fit
from reread.models.kept_reading import SelectedState, check_selectable, losses_of, read_selected
from reread.models.kv_selection import DISTILLED, FULL, selection, tokens_per_choice
from reread.models.kv_units import Cue
from reread.models.lost_units import unit_means
from reread.models.moved_keys import can_move
from reread.models.pretrained import Pretrained
from reread.prompting import Cut, Prompt, decode, special_ids, token_ids, units
from reread.prompting.pieces import encoded as encoded_pieces
from reread.prompting.token_units import token_units
from reread.scoring import pad

FIRST = "\n\nRepeat the document:\n\n"
LATER, AFTER = '\n\nRepeat the part of the document after "', '":\n\n'  # and between them the end of the part before


@dataclass(frozen=True)
class ReadDocument:
    """A document that was read before any question: what was shown, in words, the state, and the seconds it took.

    selected.state can be asked any number of times (Reader.ask_read); selected.says() tells what was kept.
    """

    prompt: Prompt
    shown: Cut
    selected: SelectedState
    seconds: float
    lost: tuple[Lost, ...] = ()  # of each unit of the shown text, in order, where it was asked what was forgotten

    @property
    def state(self) -> Any:
        return self.selected.state

    def lost_near(self, question: str) -> float | None:
        """Answer.forgotten for a question."""
        texts = [self.shown.text[one.start : one.end] for one in self.lost]
        return known_lost_near(texts, [one.nats for one in self.lost], question) if texts else None

    def charged(self, answer: Answer) -> Answer:
        """The answer with the tokens and seconds of the reading."""
        read = answer.read_tokens + self.selected.read_tokens
        return replace(answer, read_tokens=read, read_seconds=answer.read_seconds + self.seconds)


@dataclass(frozen=True)
class Heads:
    """What was read before several questions: a state with one row for each head; per head the tokens that were read
    for it, and Answer.kept_positions."""

    state: Any
    read_tokens: list[float]
    kept_positions: list[float | None]


def any_length(lm: LM, select: str) -> bool:
    """Whether a document may have more tokens than the model has positions: it is read in pieces, and kept keys can be
    moved to other positions.  Raises UnknownName, BadInput."""
    return tokens_per_choice(selection(select)) > 0 and isinstance(lm.model, Pretrained) and can_move(lm.model)


def repeat_cue(lm: LM) -> Cue:
    """The cue of a second reading in the model's tokens, and where the units of a document are in them."""
    first, later, after = (tuple(token_ids(text, lm.tokenizer)) for text in (FIRST, LATER, AFTER))
    return Cue(
        first, later, after, units=lambda tokens, unit, overlap: token_units(tokens, unit, lm.tokenizer, overlap)
    )


def read_with(lm: LM, tokens: Tensor, select: str, *, forgotten: bool = False) -> SelectedState:
    """Read tokens (1,T) into the state that a selection, such as "reread(tokens=256)", keeps.

    forgotten: also take what it lost of each token.  Raises UnknownName, BadInput (models/kept_reading.py).
    """
    return read_selected(lm.model, tokens, selection(select), repeat_cue(lm), forgotten=forgotten)


def unit_bounds(lm: LM, prompt: Prompt, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Of spans that tile the document of a prompt: the token at which each begins, and where the last one ends.  A
    token belongs to the span in which its first character that is not blank stands."""
    encoded = prompt.encode(lm.tokenizer)
    at = next(i for i, part in enumerate(prompt.parts) if part.role == "document")
    _, first, last = encoded.part_spans[at]
    places = token_places(prompt.parts[at].text, lm, first=first == encoded.text_start)
    assert len(places) == last - first
    return [*(first + bisect_left(places, start) for start, _ in spans), last]


def bounds_again(lm: LM, ids: Sequence[int], unit: str, last: int) -> list[int] | None:
    """As `unit_bounds`, of the units of a document whose tokens begin ids, behind BOS, and end at `last`; None where
    its text does not give the same tokens again."""
    begin = len(special_ids(lm.tokenizer).start)
    text = decode(ids[begin:last], lm.tokenizer, first=True)
    if token_ids(text, lm.tokenizer, first=True) != list(ids[begin:last]):
        return None
    places = token_places(text, lm, first=True)
    return [*(begin + bisect_left(places, start) for start, _ in units(text, unit, lm.tokenizer)), last]


def lost_again(lm: LM, tokens: Tensor, select: str, state: Any) -> Tensor:
    """(T,) nats that repeating each of tokens (1,T) from a state of a selection loses against all keys, read anew."""
    return losses_of(lm.model, tokens, selection(select), repeat_cue(lm), state)


def token_places(text: str, lm: LM, *, first: bool) -> list[int]:
    """Of each token of a text the place of its first character that is not blank; of blanks alone, of the first."""
    found = []
    for begin, piece in encoded_pieces(text, lm.tokenizer, first=first):
        for start, end in piece.offsets:
            token = text[begin + start : begin + end]
            found.append(begin + start + (len(token) - len(token.lstrip()) if token.strip() else 0))
    return found


def lost_of(lm: LM, prompt: Prompt, selected: SelectedState, spans: Sequence[tuple[int, int]]) -> tuple[Lost, ...]:
    """What a state lost of each span, as `unit_bounds` takes them; selected.forgotten must have been taken.  A span in
    which no token begins has lost nothing."""
    assert selected.forgotten is not None
    if not spans:
        return ()
    nats = unit_means(unit_bounds(lm, prompt, spans), selected.forgotten).tolist()
    return tuple(Lost(start, end, value) for (start, end), value in zip(spans, nats, strict=True))


def read_heads(lm: LM, heads: Sequence[Sequence[int]], prefixes: Sequence[int], select: str) -> Heads:
    """Read the tokens of heads, all together; with a selection each alone, so that one full cache is held at a time.

    prefixes: what is read non-causally of each; a selection reads causally.  Raises as `read_with`.
    """
    if select == FULL:
        tokens, mask = pad(heads)
        _, state = lm.model.read(tokens, torch.tensor(prefixes), mask, last_only=True)
        return Heads(state, [float(len(head)) for head in heads], [None] * len(heads))
    found = [read_with(lm, torch.tensor([head], dtype=torch.long), select) for head in heads]
    state = found[0].state if len(found) == 1 else type(found[0].state).cat([one.state for one in found])
    return Heads(state, [float(one.read_tokens) for one in found], [one.kept_positions for one in found])


def checked_selection(lm: LM, select: str) -> str:
    """The id of the selection, of `distilled` with the name of its weights.  Raises UnknownName, BadInput, also for a
    model whose state has a fixed size already, and for `distilled` where the model has no such scores."""
    chosen = selection(select)
    if chosen.name != FULL:
        model = check_selectable(lm.model)
        if chosen.name == DISTILLED:
            chosen = with_fit(model, chosen)
    return str(chosen)

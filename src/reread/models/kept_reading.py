"""A document read into a state of fixed size: read, scored, and cut to the keys that a selection keeps.

Keys that are dropped are gone: the state holds no trace of them.

Shapes: T tokens of the document, V vocabulary.
"""

from __future__ import annotations

import weakref
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from reread.errors import BadInput
from reread.models.bounded_reading import read_bounded
from reread.models.dropped_sums import Queries, sum_bytes, summed
from reread.models.kept_keys import cache_names, says_kept, with_kept
from reread.models.kv_attention import check_alone, scored_layers
from reread.models.kv_choice import Scores, choose_beside
from reread.models.kv_scores import CHUNK, Reading, plain_reading, read_and_score, repeat_losses
from reread.models.kv_selection import (
    FULL,
    Dropped,
    RereadSettings,
    Selection,
    Settings,
    for_document,
    tokens_per_choice,
)
from reread.models.kv_units import Cue, repeat_chunks
from reread.models.pretrained import Pretrained, PretrainedState

SHARES = tuple(2 ** (-number / 2) for number in range(11, -1, -1))  # that `loss` tries: 2 % to all
_PROBED: weakref.WeakKeyDictionary[Pretrained, str] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class SelectedState:
    """A document that was read: logits (1,V) after it, its state, and what was kept.

    positions: kept of each KV head, averaged over all heads of the layers with full attention; tokens: T; all_kept:
    nothing was dropped, so the state is an ordinary one; read_tokens: tokens that went through the model; forgotten:
    (T,) nats that repeating each token from this state loses against all keys, where it was asked for; closed: how
    often the gaps between kept positions were closed (bounded_reading.py).
    """

    logits: Tensor
    state: Any
    selection: Selection
    positions: float
    tokens: int
    all_kept: bool
    read_tokens: int
    forgotten: Tensor | None = None
    closed: int = 0

    @property
    def end(self) -> int:
        """The position of what is read next: `tokens`, or less where gaps were closed."""
        return int(self.state.position[0])

    @property
    def kept_positions(self) -> float | None:
        """Positions per head, on average; None for `full`."""
        return None if self.selection.name == FULL else self.positions

    def says(self) -> str:
        """What was kept, in words; empty for `full`."""
        if self.selection.name == FULL:
            return ""
        return says_kept(str(self.selection), None if self.all_kept else self.positions, self.tokens, self.end)


def full_attention_layers(model: Any) -> tuple[int, ...]:
    """Numbers of the layers whose keys a selection chooses; () for a model without any."""
    if not isinstance(model, Pretrained):
        return ()
    try:
        return scored_layers(model)
    except BadInput:
        return ()


def check_selectable(model: Any) -> Pretrained:
    """The model.  Raises BadInput for one whose state has a fixed size already."""
    if not isinstance(model, Pretrained):
        what = "this model has no layer with full attention: its state has a fixed size already"
        raise BadInput(what, got=getattr(model.config, "model_type", ""), todo="leave the selection out")
    layers = scored_layers(model)
    if _PROBED.get(model) != model.fingerprint:
        _probe(model, layers)
        _PROBED[model] = model.fingerprint
    return model


def _probe(model: Pretrained, layers: Sequence[int]) -> None:
    """Raise BadInput unless a state that keeps all keys is read on from as one with ordinary caches: found out on the
    model's own weights, so that a family with another kind of attention is not read wrongly without a sign."""
    ids = torch.arange(1, 12, device=model.model.device)[None] % model.config.vocab_size
    _, state = model.read(ids[:, :8])
    (row,) = state.tensors
    every = {i: [torch.arange(8)] * row[cache_names(i)[0]].shape[1] for i in layers}
    got, _ = model.extend(ids[:, 8:], keep_keys(state, every))
    want, _ = model.extend(ids[:, 8:], state)
    if bool(want.isfinite().all()) and not model.close(got, want):
        what = "the attention of this family gives something else with kept keys than without"
        raise BadInput(what, got=model.config.model_type, todo="leave the selection out")


def keep_keys(state: PretrainedState, kept: Mapping[int, Sequence[Tensor]]) -> PretrainedState:
    """The state of one document, (1 row, all keys), with the keys of `kept` alone."""
    (row,) = state.tensors
    (read,) = state.position.tolist()
    return PretrainedState((with_kept(row, kept, read),), state.position, state.fingerprint)


def add_sums(
    before: PretrainedState,
    after: PretrainedState,
    kept: Mapping[int, Sequence[Tensor]],
    queries: Mapping[int, Queries],
    dropped: Dropped,
) -> PretrainedState:
    """`after`, which keeps the keys of `kept`, with the sums of the others, which `before` holds (dropped_sums.py)."""
    (row,), (made,) = before.tensors, after.tensors
    made = dict(made)
    for layer, heads in kept.items():
        key, value = (row[name][0] for name in cache_names(layer))
        made |= summed(key, value, heads, queries[layer], dropped, layer)
    return PretrainedState((made,), after.position, after.fingerprint)


@torch.no_grad()
def read_selected(
    model: Any, tokens: Tensor, chosen: Selection, cue: Cue | None = None, *, forgotten: bool = False
) -> SelectedState:
    """Read tokens (1,T) and keep the keys that are chosen.

    cue: of a second reading; forgotten: also repeat the document from the state, to see what it lost.  Raises BadInput
    for a model without full attention, for an empty document, for logits or attention that are not finite, for a
    second reading without a cue, for a `mib` that does not hold the first positions, and for `forgotten` of a document
    that is read in pieces.
    """
    check_alone(tokens)
    T, settings = tokens.shape[1], chosen.settings
    if not isinstance(settings, Settings):
        logits, state = model.read(tokens, last_only=True)
        return SelectedState(logits, state, chosen, float(T), T, True, T, torch.zeros(T) if forgotten else None)
    if tokens_per_choice(chosen):
        return _in_pieces(check_selectable(model), tokens, chosen, cue, forgotten)
    repeats = forgotten or bool(settings.loss)
    reading = read_and_score(check_selectable(model), tokens, [chosen], cue, losses=repeats)
    _check_finite(reading.logits, T)
    passes = Repeating(model, tokens, reading, cue, chunk_of(settings), read_tokens=reading.read_tokens)
    scores = reading.scores[str(chosen)]
    made = passes.smallest(scores, chosen) if settings.loss else selected(reading, scores, chosen)
    if forgotten and made.forgotten is None:
        made = passes.compared(made)
    return replace(made, selection=chosen, read_tokens=passes.read_tokens)


def chunk_of(settings: Any) -> int:
    """Tokens that are repeated in one piece."""
    return settings.chunk if isinstance(settings, RereadSettings) else CHUNK


@torch.no_grad()
def losses_of(model: Any, tokens: Tensor, chosen: Selection, cue: Cue | None, state: PretrainedState) -> Tensor:
    """(T,) SelectedState.forgotten of a state of tokens (1,T) that a selection made before: the document is read again
    with all keys, and repeated from both."""
    reading = plain_reading(check_selectable(model), tokens)
    passes = Repeating(model, tokens, reading, cue, chunk_of(chosen.settings), read_tokens=0)
    return passes.losses(state) - passes.all_keys


def _check_finite(logits: Tensor, T: int) -> None:
    if not bool(logits.isfinite().all()):
        raise BadInput("the model's logits after this document are not finite", got=f"{T} tokens")


def _in_pieces(model: Pretrained, tokens: Tensor, chosen: Selection, cue: Cue | None, forgotten: bool) -> SelectedState:
    if forgotten:
        what = "what was forgotten is measured against all keys, and a document that is read in pieces never has them"
        raise BadInput(what, got=str(chosen), todo="leave `read` out of the selection")
    found, T = read_bounded(model, tokens, chosen, cue), tokens.shape[1]
    _check_finite(found.logits, T)
    counts = [len(one) for heads in found.kept.values() for one in heads]
    return SelectedState(
        found.logits, found.state, chosen, sum(counts) / len(counts), T, found.all_kept, found.read_tokens,
        closed=found.closed,
    )  # fmt: skip


def selected(reading: Reading, scores: Scores, chosen: Selection, *, read_tokens: int = 0) -> SelectedState:
    """What a selection keeps of a document that was read and scored; read_tokens: that went through the model for it.
    Raises BadInput as `choose` does."""
    (T,) = reading.state.position.tolist()
    settings = chosen.settings
    dropped = settings.sums if isinstance(settings, RereadSettings) else None
    sums = {} if dropped is None else _sum_bytes(reading, dropped)
    kept, fits = choose_beside(scores, for_document(chosen, reading.complexity), reading.sizes, sums)
    counts = [len(one) for heads in kept.values() for one in heads]
    all_kept = min(counts) == T
    state = reading.state if all_kept else keep_keys(reading.state, kept)
    if fits and dropped is not None and isinstance(settings, RereadSettings):
        state = add_sums(reading.state, state, kept, reading.queries[settings.repetition], dropped)
    return SelectedState(reading.logits, state, chosen, sum(counts) / len(counts), T, all_kept, read_tokens)


def _sum_bytes(reading: Reading, dropped: Dropped) -> dict[int, int]:
    """Per layer, the bytes of the sums of one KV head."""
    (row,) = reading.state.tensors
    return {layer: sum_bytes(dropped, *(row[name] for name in cache_names(layer))) for layer in reading.sizes}


class Repeating:
    """Repeats a document that was read, tokens (1,T), from states that keep some of its keys, and counts the tokens
    that go through the model."""

    def __init__(
        self, model: Pretrained, tokens: Tensor, reading: Reading, cue: Cue | None, chunk: int, *, read_tokens: int
    ):
        self.model, self.tokens, self.reading, self.cue, self.chunk = model, tokens, reading, cue, chunk
        self.read_tokens = read_tokens

    def count(self) -> None:
        """One more reading of the document, with its cues."""
        if self.cue is not None:
            some = repeat_chunks(self.model, self.tokens, self.cue, self.chunk)
            self.read_tokens += sum(before.shape[1] + piece.shape[1] for before, piece in some)

    def losses(self, state: PretrainedState) -> Tensor:
        """(T,) as `repeat_losses`.  Raises BadInput without a cue."""
        if self.cue is None or not self.cue.first:
            raise BadInput("to repeat the document needs a cue")
        self.count()
        return repeat_losses(self.model, self.tokens, state, self.cue, self.chunk)

    @cached_property
    def all_keys(self) -> Tensor:
        """(T,) losses from the state with all keys: those of the second reading where there was one."""
        return self.losses(self.reading.state) if self.reading.losses is None else self.reading.losses

    def compared(self, made: SelectedState) -> SelectedState:
        """With what the state has forgotten.  Raises BadInput for losses that are not finite."""
        if made.all_kept:
            return replace(made, forgotten=torch.zeros(made.tokens))
        lost = self.losses(made.state) - self.all_keys
        if not bool(lost.isfinite().all()):
            raise BadInput("the losses of repeating this document are not finite", got=f"{made.tokens} tokens")
        return replace(made, forgotten=lost)

    def smallest(self, scores: Scores, chosen: Selection) -> SelectedState:
        """The state of the smallest of SHARES that forgets at most `loss` nats per token.  Found by bisection, as if a
        larger share never forgot more."""
        assert isinstance(chosen.settings, Settings)
        settings, tried = chosen.settings, dict[float, SelectedState]()

        def made(share: float) -> SelectedState:
            one = Selection(chosen.name, replace(settings, loss=0.0, share=share))
            return self.compared(selected(self.reading, scores, one))

        def fits(share: float) -> bool:
            tried[share] = made(share)
            lost = tried[share].forgotten
            return lost is not None and float(lost.mean()) <= settings.loss

        share = SHARES[bisect_left(SHARES, True, hi=len(SHARES) - 1, key=fits)]
        return tried[share] if share in tried else made(share)

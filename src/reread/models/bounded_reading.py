"""A document read in pieces into a state of fixed size, so that its full cache is never in memory.

A piece of `read` tokens is read on from the state, and its keys join the kept ones.  All of these are scored, and the
best stay.  In a second reading the piece is repeated after its cue, against the kept keys and those of the piece; the
score of a key is the largest attention that any repetition has paid to it since it was read.  So the state holds at
most the budget, one piece and one repetition.  `distilled` scores the keys of a piece while it is read, and repeats
nothing.  Layers with a sliding window and recurrent layers read on as always.

Where the next piece and its repetition would go beyond the model's positions, the gaps between the kept positions of
each head are closed: they become 0, 1, 2, ..., and their keys are turned accordingly (moved_keys.py), as in
StreamingLLM (arXiv 2309.17453), whose positions are those within the cache.

Scores are those of KVzip (arXiv 2505.23416), which scores the whole document before it drops a key.

Shapes: T tokens of the document, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reread.errors import BadInput
from reread.models.cache_tensors import Flat
from reread.models.distilled import PieceScores, distilled_for
from reread.models.kept_keys import cache_names, cut_layer, with_caches
from reread.models.kv_attention import observed, position_bytes, scored_layers
from reread.models.kv_choice import Kept, choose_among
from reread.models.kv_scores import finite, second_reading
from reread.models.kv_selection import DISTILLED, RereadSettings, Selection, tokens_per_choice
from reread.models.kv_units import Cue, repeat_passes, tokens_of
from reread.models.moved_keys import can_move, moved_row, turns_of
from reread.models.pretrained import Pretrained, PretrainedState

LATER = 512  # positions for a question and its answer, or a quarter of a model's where it has few
HeadScores = dict[int, tuple[Tensor, ...]]
"""Per layer with full attention, one tensor per KV head: a score of each position that is kept, on the CPU."""


@dataclass(frozen=True)
class BoundedReading:
    """A document that was read in pieces: logits (1,V) after it, its state, the positions that it keeps, and the tokens
    that went through the model.  all_kept: nothing was dropped, and the state is an ordinary one; closed: how often
    the gaps between kept positions were closed."""

    logits: Tensor
    state: PretrainedState
    kept: Kept
    all_kept: bool
    read_tokens: int
    closed: int = 0


class _Growing:
    """The state of a document that is being read; its row is changed in place, a layer at a time, so that no more than
    one layer is held twice.  read: tokens; end: the position of the next one, `read` until gaps are closed."""

    def __init__(self, model: Pretrained):
        self.model, self.layers = model, scored_layers(model)
        self.row: Flat = {}
        self.position = torch.zeros(1, dtype=torch.long)
        self.read, self.end, self.closed = 0, 0, 0
        self.kept: Kept = {}
        self.scores: HeadScores = {}
        self.sizes: dict[int, int] = {}

    @property
    def state(self) -> PretrainedState:
        return PretrainedState((self.row,), self.position, self.model.fingerprint)

    def add(self, piece: Tensor) -> Tensor:
        """Logits (1,V) after a piece (1,n), whose keys join the kept ones, with scores of zero."""
        if self.read:
            logits, after = self.model.extend(piece, self.state, last_only=True)
        else:
            logits, after = self.model.read(piece, last_only=True)
        self.row, self.position = dict(after.tensors[0]), after.position
        new = torch.arange(self.end, self.end + piece.shape[1])
        self.read, self.end = self.read + len(new), self.end + len(new)
        if not self.kept:
            caches = {i: [self.row[name] for name in cache_names(i)] for i in self.layers}
            self.sizes = {i: position_bytes(key, value) for i, (key, value) in caches.items()}
            self.kept = {i: (new[:0],) * key.shape[1] for i, (key, _) in caches.items()}
            self.scores = {i: (torch.zeros(0),) * len(heads) for i, heads in self.kept.items()}
            del caches
        del after
        self.cut({i: tuple(torch.cat((one, new)) for one in heads) for i, heads in self.kept.items()})
        zero = torch.zeros(len(new))
        self.scores = {i: tuple(torch.cat((one, zero.to(one))) for one in heads) for i, heads in self.scores.items()}
        return logits

    def seen(self, found: dict[int, Tensor]) -> None:
        """Take the scores (K,P) of a second reading, each head's behind each other, where they are higher."""
        for layer, heads in self.scores.items():
            new = found[layer].cpu()
            self.scores[layer] = tuple(torch.maximum(old.to(new), new[k, : len(old)]) for k, old in enumerate(heads))

    def scored(self, found: dict[int, Tensor]) -> None:
        """Take the scores (K,n) of the n newest positions."""
        for layer, heads in self.scores.items():
            new = found[layer].cpu()
            old = (one[: len(one) - new.shape[1]] for one in heads)
            self.scores[layer] = tuple(torch.cat((one.to(new), new[k])) for k, one in enumerate(old))

    def drop(self, chosen: Selection) -> None:
        """Keep the best positions within the budget.  Raises BadInput as `choose` does."""
        kept = choose_among(self.scores, self.kept, chosen, self.sizes, self.read)
        for layer, heads in kept.items():
            old = zip(self.scores[layer], self.kept[layer], heads, strict=True)
            self.scores[layer] = tuple(x[torch.searchsorted(held, stays)] for x, held, stays in old)
        self.cut(kept)

    def cut(self, kept: Kept) -> None:
        for layer, heads in kept.items():
            self.row |= cut_layer(self.row, layer, heads, self.end)
        self.kept = kept

    def close(self, model: Pretrained) -> None:
        """Close the gaps between the positions of each head.  Raises BadInput where keys cannot be moved."""
        turns = turns_of(model)
        kept = {layer: tuple(torch.arange(len(one)) for one in heads) for layer, heads in self.kept.items()}
        self.row |= moved_row(self.row, kept, turns)
        self.kept, self.closed = kept, self.closed + 1
        self.end = max(len(one) for heads in kept.values() for one in heads)
        self.position = torch.full_like(self.position, self.end)

    @property
    def all_kept(self) -> bool:
        return all(len(one) == self.read for heads in self.kept.values() for one in heads)


class Room:
    """Whether the model's positions hold what is read next, for a document of T tokens in pieces of `count`, of which
    `chunk` at most are repeated together.

    piece: positions of a piece and its repetition; later: of what is read after the document.  Raises BadInput for a
    document that needs more positions than there are, and a family whose keys cannot be moved: before anything is read.
    """

    def __init__(self, model: Pretrained, T: int, count: int, cue: Cue | None, chunk: int):
        again = 0 if cue is None else cue.longest + chunk
        limit, self.piece = model.named_positions, min(count, T) + again
        self.later = 0 if limit is None else max(again, min(LATER, limit // 4))
        least = 0 if cue is None else cue.longest + 1
        fits = limit is None or T + self.later <= limit or (T + least <= limit and not can_move(model))
        self.limit = None if fits else limit
        if not fits:
            turns_of(model)
            self.check(0)

    def is_short(self, end: int, needed: int) -> bool:
        """Whether `needed` positions from `end` on are more than there are."""
        return self.limit is not None and end + needed > self.limit

    def check(self, end: int) -> None:
        """Raise BadInput where a piece does not fit behind `end` kept positions."""
        if self.limit is not None and end + self.piece > self.limit:
            what = "the kept positions, a piece and its repetition are more than the model has positions"
            got = f"{end:,} kept, {self.piece:,} for a piece"
            raise BadInput(what, got=got, allowed=self.limit, todo="read smaller pieces, or name a smaller budget")


@torch.no_grad()
def read_bounded(model: Pretrained, tokens: Tensor, chosen: Selection, cue: Cue | None = None) -> BoundedReading:
    """Read tokens (1,T) in pieces, and keep the best positions after each.

    chosen: a selection that says how many tokens are read before a choice; cue: of a second reading.  Raises BadInput
    for a second reading without a cue, where the model has no positions left for it, for attention that is not finite,
    for a `mib` that does not hold the first positions, and as `Room` does.
    """
    settings, count, T = chosen.settings, tokens_per_choice(chosen), tokens.shape[1]
    again = settings if isinstance(settings, RereadSettings) else None
    if again is not None and (cue is None or not cue.first):
        raise BadInput("a second reading needs a cue", got=str(chosen))
    copies = max(n for _, n in again.hierarchy) if again else 0
    room = Room(model, T, count, cue if again else None, min(again.chunk, copies * count) if again else 0)
    pieces = PieceScores(distilled_for(model, chosen)) if chosen.name == DISTILLED else None
    growing, read_tokens = _Growing(model if pieces is None else observed(model, pieces)), T
    logits = torch.empty(0)
    for begin in range(0, max(T, 1), count):  # a document without tokens is refused by `read`
        if growing.read and room.is_short(growing.end, room.piece):
            growing.close(model)
            room.check(growing.end)
        logits = growing.add(tokens[:, begin : begin + count])
        sofar = tokens[:, : growing.read]
        if pieces is not None:
            growing.scored({i: finite(x, i) for i, x in pieces.taken().items()})
        elif again is None:  # the newest stay
            growing.scores = {i: tuple(one.double() for one in heads) for i, heads in growing.kept.items()}
        else:
            assert cue is not None
            passes = repeat_passes(model, sofar, cue, again, begin=begin)
            more: Any = {"plus": again.plus, "passes": passes, "end": growing.end}
            growing.seen(second_reading(model, sofar, growing.state, cue, **more))
            read_tokens += tokens_of(passes)
        growing.drop(chosen)
    if room.is_short(growing.end, room.later):
        growing.close(model)
    state, all_kept = growing.state, growing.all_kept
    if all_kept:
        state = PretrainedState((with_caches(growing.row),), state.position, state.fingerprint)
    return BoundedReading(logits, state, growing.kept, all_kept, read_tokens, growing.closed)

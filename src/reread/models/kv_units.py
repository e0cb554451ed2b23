"""What a second reading repeats: the whole document in chunks, or its units level by level.

"Improving recall in recurrent LMs", section 4.3, there of prompts: multi-level segmentation, layered repetition,
overlapping windows.  Here the prompt does not change: what is repeated only gives scores to keys (kv_scores.py).

Shapes: T tokens of the document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reread.errors import BadInput
from reread.models.kv_selection import ALL, BY_PLACE, DOCUMENT, RereadSettings
from reread.models.pretrained import Pretrained
from reread.models.state import too_long
from reread.prompting.ranking import best, scores
from reread.prompting.token_units import TokenUnit

Units = Callable[[Sequence[int], str, float], list[TokenUnit]]
"""(tokens, unit, overlap) -> the units of a text that was read as these tokens (prompting/token_units.py)."""
Passes = list[tuple[Tensor, Tensor]]
"""Cue (1,n) and tokens (1,m) of each pass of a second reading."""


@dataclass(frozen=True)
class Cue:
    """Token ids that ask for the document again: `first` before its first chunk, `later` and then the last `tail`
    tokens of the chunk before and `after` before a later one.  units: finds the units of a document."""

    first: tuple[int, ...]
    later: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    tail: int = 8
    units: Units | None = None

    @property
    def longest(self) -> int:
        """Tokens before a chunk, at most."""
        return max(len(self.first), len(self.later) + self.tail + len(self.after))

    def before(self, tokens: Tensor, start: int) -> Tensor:
        """(1,n) ids before the chunk of tokens (1,T) that begins at `start`."""
        if not start:
            return tokens.new_tensor(self.first)[None]
        end = tokens[0, max(0, start - self.tail) : start]
        return torch.cat((tokens.new_tensor(self.later), end, tokens.new_tensor(self.after)))[None]


@dataclass(frozen=True)
class Predictions:
    """What the model predicted in the first reading, (T,) fp32 each.  losses: -log p of each token in nats; entropies:
    of the distribution before it, in nats.  0 for the first token, which nothing predicts."""

    losses: Tensor
    entropies: Tensor

    def of(self, name: str) -> Tensor:
        return {"loss": self.losses, "entropy": self.entropies}[name]


def chunk_length(model: Pretrained, T: int, cue: Cue, chunk: int) -> int:
    """Tokens that are repeated in one piece after T tokens: `chunk`, or fewer where the model has few positions.

    Raises BadInput where it has none left.
    """
    if model.places is None:
        return chunk
    if model.places - T - cue.longest < 1:
        raise too_long(T + cue.longest + 1, model.places)
    return min(chunk, model.places - T - cue.longest)


def repeat_chunks(
    model: Pretrained, tokens: Tensor, cue: Cue, chunk: int, begin: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """The chunks in which tokens (1,T) are repeated from `begin` on, and the cue before each.  Raises BadInput."""
    T = tokens.shape[1]
    chunk = chunk_length(model, T, cue, chunk)
    for start in range(begin, T, chunk):
        yield cue.before(tokens, start), tokens[:, start : start + chunk]


def repeat_passes(
    model: Pretrained,
    tokens: Tensor,
    cue: Cue,
    settings: RereadSettings,
    *,
    begin: int = 0,
    predictions: Predictions | None = None,
) -> Passes:
    """All that a second reading repeats of tokens (1,T), from `begin` on.

    A unit that with its copies is longer than `chunk` is repeated in pieces.  predictions: where `by` asks for them.
    Raises BadInput where the model has no positions left, where the copies of one token do not fit `chunk`, and where
    there is no word of units.
    """
    if settings.flat:
        return list(repeat_chunks(model, tokens, cue, settings.chunk, begin))
    chunk, made = chunk_length(model, tokens.shape[1], cue, settings.chunk), []
    for level, (name, copies) in enumerate(settings.hierarchy):
        size = chunk // copies
        if not size:
            what = "the copies of a unit are repeated together, in one chunk"
            raise BadInput(what, got=f"{copies} copies, chunk={chunk}", todo="fewer `times`, or a larger `chunk`")
        units = _units(tokens, cue, name, settings.overlap, begin)
        chosen = _emphasised(units, settings, predictions)
        for i, unit in enumerate(units):
            times = copies if i in chosen else int(level == 0)
            for start in range(unit.early, unit.end, size) if times else ():
                piece = tokens[:, start : min(start + size, unit.end)]
                made.append((cue.before(tokens, start), piece.repeat(1, times)))
    return made


def _units(tokens: Tensor, cue: Cue, name: str, overlap: float, begin: int) -> list[TokenUnit]:
    T = tokens.shape[1]
    if name == DOCUMENT:
        return [TokenUnit(begin, begin, T)]
    if cue.units is None:
        raise BadInput("a second reading of units needs to know where they are", got=name, allowed=DOCUMENT)
    found = cue.units(tokens[0, begin:].tolist(), name, overlap)
    return [TokenUnit(begin + one.early, begin + one.start, begin + one.end) for one in found]


def _emphasised(units: Sequence[TokenUnit], settings: RereadSettings, predictions: Predictions | None) -> set[int]:
    """Numbers of the units that are repeated `times` times."""
    if settings.by == ALL:
        return set(range(len(units)))
    if settings.by in BY_PLACE:
        values = scores(settings.by, [""] * len(units), "", None)
    elif predictions is None:
        raise BadInput("units are chosen by the first reading, and it was not watched", got=f"by={settings.by}")
    else:
        each = predictions.of(settings.by)
        values = [float(each[one.start : one.end].mean()) for one in units]
    return set(best(values, max(1, round(settings.best * len(units)))))


def tokens_of(passes: Passes) -> int:
    """Tokens that go through the model in these passes."""
    return sum(before.shape[1] + piece.shape[1] for before, piece in passes)

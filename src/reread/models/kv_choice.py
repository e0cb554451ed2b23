"""Scores of keys to the positions that stay, within the budget of a selection (kv_selection.py).  Tensors only.

Shapes: K KV heads of a layer, N heads of all layers, T tokens of the document, M keys of all heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reread.errors import BadInput
from reread.models.kv_selection import SINKS, Selection, Settings, positions_per_head

MIB = 2**20
Scores = dict[int, Tensor]
"""Per layer with full attention: a score of every key, (K,T); the highest are kept."""
Kept = dict[int, tuple[Tensor, ...]]
"""Per layer with full attention, one tensor per KV head: the positions that stay, ascending, int64."""


def choose(scores: Scores, chosen: Selection, sizes: Mapping[int, int]) -> Kept:
    """The positions that stay; those with the highest scores, the earlier one (then the lower layer and head) of two
    with one score.

    scores: (K,T) per layer; sizes: per layer, bytes of one position in one KV head: its key, its value and itself.  A
    budget of T positions or more keeps everything.  Raises BadInput for scores that are not finite, for layers of
    different lengths or without a size, and for a `mib` that does not hold the first SINKS positions of every head.
    """
    return choose_beside(scores, chosen, sizes, {})[0]


def choose_beside(
    scores: Scores, chosen: Selection, sizes: Mapping[int, int], sums: Mapping[int, int]
) -> tuple[Kept, bool]:
    """As `choose`, where the budget also holds `sums`: bytes beside the keys of one KV head, per layer.

    The second value is False where the budget keeps everything, or does not hold the sums and SINKS positions of every
    head; keys alone are then chosen.  A budget of positions counts for the bytes of so many.
    """
    if not scores or any(x.dim() != 2 for x in scores.values()) or len({x.shape[1] for x in scores.values()}) != 1:
        got = {layer: tuple(x.shape) for layer, x in scores.items()}
        raise BadInput("scores must be (KV heads, tokens) of every layer, for one document", got=got)
    _check_scores(scores, sizes)
    layers = sorted(scores)
    rows = torch.cat([scores[layer].double().cpu() for layer in layers])  # (N,T), N heads of all layers
    N, T = rows.shape
    positions, heads = torch.arange(T).repeat_interleave(N), torch.arange(N).repeat(T)
    counts = {i: len(scores[i]) for i in layers}
    less = 0.0
    if sums and isinstance(chosen.settings, Settings):
        budget, cost = _budget(chosen.settings, _costs(counts, sizes), T)
        less = sum(count * sums[i] / (1 if chosen.settings.mib else sizes[i]) for i, count in counts.items())
        fits = int(cost.sum()) * min(SINKS, T) <= int(budget - less) and budget < int(cost.sum()) * T
        less = less if fits else 0.0
    return _choose(rows.T.flatten(), positions, heads, counts, chosen, sizes, T, less), less > 0


def choose_among(
    scores: Mapping[int, Sequence[Tensor]], held: Kept, chosen: Selection, sizes: Mapping[int, int], T: int
) -> Kept:
    """As `choose`, of the positions that are still held of T tokens, with a score of each: another number per head."""
    _check_scores({layer: torch.cat(tuple(heads)) for layer, heads in scores.items()}, sizes)
    layers = sorted(held)
    values = torch.cat([one.double().cpu() for layer in layers for one in scores[layer]])
    each = [one for layer in layers for one in held[layer]]
    positions, counts = torch.cat(each), torch.tensor([len(one) for one in each])
    order = positions.argsort(stable=True)
    heads = torch.arange(len(each)).repeat_interleave(counts)[order]
    return _choose(values[order], positions[order], heads, {i: len(held[i]) for i in layers}, chosen, sizes, T)


def _choose(
    values: Tensor,
    positions: Tensor,
    heads: Tensor,
    layers: Mapping[int, int],
    chosen: Selection,
    sizes: Mapping[int, int],
    T: int,
    less: float = 0.0,
) -> Kept:
    """values, positions, heads (M,): the score, the position and the number of the head of each key, by position, then
    by head; layers: their KV heads, in the order in which heads are counted; less: what the budget holds beside keys,
    in its unit."""
    values = values.masked_fill(positions < SINKS, math.inf)
    cost = _costs(layers, sizes)
    settings, order = chosen.settings, values.argsort(descending=True, stable=True)
    if isinstance(settings, Settings):
        budget, cost = _budget(settings, cost, T)
        budget = int(budget - less)
        if settings.heads == "equal":
            order = torch.cat([one[: budget // int(cost.sum())] for one in _of_each(order, heads, len(cost))])
        else:  # the best of all heads, until their costs reach the budget
            order = order[cost[heads[order]].cumsum(0) <= budget]
    each = iter(_of_each(order.sort().values, heads, len(cost)))
    return {layer: tuple(positions[next(each)] for _ in range(count)) for layer, count in layers.items()}


def _costs(layers: Mapping[int, int], sizes: Mapping[int, int]) -> Tensor:
    """(N,) bytes of one position of each head; layers: their KV heads."""
    return torch.cat([torch.full((count,), sizes[layer]) for layer, count in layers.items()])


def _budget(settings: Settings, cost: Tensor, T: int) -> tuple[int, Tensor]:
    """The budget of all heads, and what one position of each (N,) costs: bytes, or one unit per position."""
    if settings.mib:
        return _bytes(settings, cost, T), cost
    return positions_per_head(settings, T) * len(cost), torch.ones_like(cost)


def _of_each(index: Tensor, heads: Tensor, N: int) -> tuple[Tensor, ...]:
    """The numbers of keys in `index`, apart for each of N heads, in their order."""
    own = heads[index]
    return index[own.argsort(stable=True)].split(own.bincount(minlength=N).tolist())


def _check_scores(scores: Mapping[int, Tensor], sizes: Mapping[int, int]) -> None:
    if not scores.keys() <= sizes.keys():
        raise BadInput("a layer without a size", got=sorted(scores.keys() - sizes.keys()), allowed=sorted(sizes))
    for layer, x in scores.items():
        if not bool(x.isfinite().all()):
            raise BadInput("scores of keys that are not finite numbers", got=f"layer {layer}")


def _bytes(settings: Settings, cost: Tensor, T: int) -> int:
    budget, least = int(settings.mib * MIB), int(cost.sum()) * min(SINKS, T)
    if budget < least:
        what = f"the budget does not hold the first {min(SINKS, T)} positions of every head"
        raise BadInput(what, got=f"mib={settings.mib}", allowed=f"{math.ceil(least / MIB * 1000) / 1000} or more")
    return budget

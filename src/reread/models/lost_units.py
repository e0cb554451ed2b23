"""The tensors of a state file that say what was forgotten: where each unit of the document begins, and what it lost.

Shapes: n units, T tokens that were read.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

BOUNDS, NATS = "forgotten.bounds", "forgotten.nats"


@dataclass(frozen=True)
class LostUnits:
    """bounds (n+1,) int32: unit i is the tokens [bounds[i], bounds[i+1]) of those that were read; a unit in which no
    token begins is empty.  nats (n,) float16: per token of each, more than from all keys, that repeating it from the
    state costs (before its tensors are packed); 0 for an empty one."""

    bounds: Tensor
    nats: Tensor

    @staticmethod
    def of(bounds: list[int], losses: Tensor) -> LostUnits:
        """losses (T,): of each token."""
        nats = unit_means(bounds, losses)
        return LostUnits(torch.tensor(bounds, dtype=torch.int32), nats.to(torch.float16))

    def faults(self, T: int) -> list[str]:
        """What contradicts itself after T tokens: empty when nothing does."""
        bounds, nats = self.bounds, self.nats
        if bounds.dtype != torch.int32 or nats.dtype != torch.float16 or bounds.dim() != 1 or nats.dim() != 1:
            kinds = f"{bounds.dtype} {tuple(bounds.shape)} and {nats.dtype} {tuple(nats.shape)}"
            return [f"what was forgotten is {kinds}"]
        if not len(nats):
            return ["what was forgotten is told of no unit"]
        if len(bounds) != len(nats) + 1:
            return [f"{len(bounds)} bounds and {len(nats)} losses of units that were forgotten"]
        if not 0 <= int(bounds[0]) <= int(bounds[-1]) <= T or bool((bounds[1:] < bounds[:-1]).any()):
            return [f"the units that were forgotten do not ascend within {T} tokens"]
        if not bool(torch.isfinite(nats).all()):
            return ["the losses of units that were forgotten are not finite"]
        return []


def unit_means(bounds: list[int], losses: Tensor) -> Tensor:
    """(n,) float64 on the CPU: the mean of losses (T,) over the tokens of each unit, as LostUnits has them."""
    pieces = [losses[start:end].cpu() for start, end in itertools.pairwise(bounds)]
    return torch.stack([one.double().mean() if len(one) else torch.zeros((), dtype=torch.double) for one in pieces])

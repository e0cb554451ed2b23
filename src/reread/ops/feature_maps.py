"""Feature maps: phi with phi(q) . phi(k) = the similarity that linear attention uses.

A feature map is a small frozen class with a name, ``width(D)``, the map itself, and
``similarity(s)``, the same kernel written as a function of the plain inner product
s = q . k (None where no such closed form exists).  It knows nothing of heads, masks,
positions or states.

Shapes: D head width of q and k, F = width(D) expanded width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reread.errors import UnknownName


@dataclass(frozen=True)
class Taylor:
    """Second-order Taylor expansion of exp(q . k / sqrt(D)), packed.

    phi(q) . phi(k) = 1 + s + s^2 / 2 with s = q . k / sqrt(D)  (Based; "Just read twice", eq. 1
    and Listing 1).  The published map lists all D^2 products x_i x_j; here each unordered pair
    appears once, so F = 1 + D + D(D+1)/2 (153 instead of 273 for D = 16) with the same inner
    products.  The kernel is never below 1/2, so the normaliser of any non-empty set is positive.
    """

    name = "taylor"

    def width(self, head_width: int) -> int:
        return 1 + head_width + head_width * (head_width + 1) // 2

    def similarity(self, inner: Tensor, head_width: int) -> Tensor:
        """The kernel at plain inner products ``inner`` = q . k, elementwise."""
        s = inner * (1.0 / math.sqrt(head_width))
        return torch.addcmul(1.0 + s, s, s, value=0.5)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., F).  Pairs are taken along cyclic diagonals x_i x_{i+r}: slices and
        products only, because the backward pass of an index gather is slow on a CPU."""
        d = x.shape[-1]
        x = x * d**-0.25
        twice = torch.cat((x, x), dim=-1)
        parts = [torch.ones_like(x[..., :1]), x, x * x * math.sqrt(0.5)]
        for r in range(1, (d - 1) // 2 + 1):
            parts.append(x * twice[..., r : r + d])
        if d % 2 == 0:
            parts.append(x[..., : d // 2] * x[..., d // 2 :])
        return torch.cat(parts, dim=-1)


FeatureMap = Taylor
FEATURE_MAPS: dict[str, type[Taylor]] = {"taylor": Taylor}


def feature_map(name: str) -> FeatureMap:
    """The feature map of that name; an unknown name lists the known ones."""
    if name not in FEATURE_MAPS:
        raise UnknownName("feature map", name, FEATURE_MAPS)
    return FEATURE_MAPS[name]()

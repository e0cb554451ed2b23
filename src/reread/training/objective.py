"""The two losses of JRT-RNN: next token outside the prefix, masked token inside it.

"Just read twice", section 4.3 (eq. 5, as the published code weighs it: next + 0.25 * masked).  What
each position trains is data: `kind` says ignore, masked or next, `targets` the token.  Token id 0
is an ordinary target.  The step from the last prefix token to the first continuation token is a
`next` position like any other.  Needs no knowledge of how the batch was made.

Shapes: B batch, T time, n positions that train, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

IGNORE, MASKED, NEXT = 0, 1, 2


@dataclass(frozen=True)
class Losses:
    """total = next + weight * masked; a kind that no position trains counts zero."""

    total: Tensor
    next: Tensor
    masked: Tensor


def losses(logits: Tensor, targets: Tensor, kind: Tensor, masked_weight: float) -> Losses:
    """logits (n,V), targets (n,), kind (n,) of the positions that train (kind is never IGNORE here)."""
    each = F.cross_entropy(logits.float(), targets, reduction="none")

    def mean(which: int) -> Tensor:
        chosen = (kind == which).to(each.dtype)
        return (each * chosen).sum() / chosen.sum().clamp(min=1.0)

    next_loss, masked_loss = mean(NEXT), mean(MASKED)
    return Losses(next_loss + masked_weight * masked_loss, next_loss, masked_loss)

"""Packed documents: several in one row, one after another, told apart by where each begins.

`cu_seqlens` holds N + 1 whole numbers: document n is the tokens from its n-th number up to the next.  Each has a
state of its own.  What is computed in one go only on a GPU is done here document by document, which is also what
packing means.  This file knows no kernel and no feature map.

Shapes: T time, N documents, H heads, D width of q and k, V width of v, F expanded width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from reread.errors import BadInput

State = tuple[Tensor, Tensor]


def bounds(cu_seqlens: Tensor, k: Tensor) -> tuple[int, ...]:
    """cu_seqlens as numbers, for k (1,T,H,D).  Raises BadInput unless they rise from 0 to T and k is one row.
    Reading them waits for the device that they are on: keep them on the CPU."""
    T = k.shape[1]
    if cu_seqlens.dim() != 1 or len(cu_seqlens) < 2 or cu_seqlens.dtype not in (torch.int64, torch.int32):
        got = f"{cu_seqlens.dtype} {tuple(cu_seqlens.shape)}"
        raise BadInput("cu_seqlens must hold the documents' borders", got=got, allowed="int64 (documents + 1,)")
    found = tuple(cu_seqlens.tolist())
    if k.shape[0] != 1:
        raise BadInput("packed documents lie in one row", got=k.shape[0], allowed=1)
    if found[0] != 0 or found[-1] != T or any(a > b for a, b in itertools.pairwise(found)):
        raise BadInput("cu_seqlens must rise from 0 to the number of tokens", got=list(found), allowed=f"0 to {T}")
    return found


def prefix_states(
    read: Callable[..., State], k: Tensor, v: Tensor, mask: Tensor | None, ends: tuple[int, ...]
) -> State:
    """S (N,H,F,V), z (N,H,F): read(k, v, mask=mask) for each document."""
    return _stacked([read(k[:, a:b], v[:, a:b], mask=_part(mask, a, b)) for a, b in itertools.pairwise(ends)])


def linear_attention(
    attend: Callable[..., tuple[Tensor, State]],
    qkv: tuple[Tensor, Tensor, Tensor],
    state: State | None,
    mask: Tensor | None,
    ends: tuple[int, ...],
) -> tuple[Tensor, State]:
    """y (1,T,H,V), and S, z with a row for each document: attend(q, k, v, state=state, mask=mask) for each."""
    y, states = [], []
    for n, (a, b) in enumerate(itertools.pairwise(ends)):
        own = None if state is None else (state[0][n : n + 1], state[1][n : n + 1])
        part, after = attend(*(x[:, a:b] for x in qkv), state=own, mask=_part(mask, a, b))
        y.append(part)
        states.append(after)
    return torch.cat(y, dim=1), _stacked(states)


def _part(mask: Tensor | None, a: int, b: int) -> Tensor | None:
    return None if mask is None else mask[:, a:b]


def _stacked(states: list[State]) -> State:
    return torch.cat([S for S, _ in states]), torch.cat([z for _, z in states])

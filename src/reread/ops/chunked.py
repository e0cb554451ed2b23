"""Prefix linear attention in chunks of plain torch: linear in T, on a CPU and any device.

Inside a chunk of C tokens the similarities are exact (through q . k where the feature map has a
closed form of it, through its features elsewhere);
between chunks the state carries.  Chunks are handled a segment at a time: within a segment all
chunks are batched and their states come from a cumulative sum; segments run one after another,
so that memory stays linear in T with a small constant.

The normaliser rides along as one more column of v (a column of ones): numerator and
denominator, S and z are then one matrix product each.  Inputs come in the dtype of the sums.

Shapes: B batch, T time, H heads, D width of q and k, V width of v, F expanded width,
C chunk, N chunks in a segment.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reread.ops.feature_maps import FeatureMap
from reread.ops.reference import normalised

CHUNK = 64
CHUNKS_PER_SEGMENT = 16


def _with_ones(v: Tensor, mask: Tensor | None) -> Tensor:
    """v with a column of ones, (B,H,T,V+1); a masked row is all zero, so it adds nothing to any sum."""
    v1_BTHV = torch.nn.functional.pad(v, (0, 1), value=1.0)
    if mask is not None:
        v1_BTHV = v1_BTHV.masked_fill(~mask[:, :, None, None], 0.0)
    return v1_BTHV.transpose(1, 2)


def _split(S1_BHFV: Tensor) -> tuple[Tensor, Tensor]:
    """S and z as tensors of their own: a view would keep a whole segment's states alive."""
    return S1_BHFV[..., :-1].contiguous(), S1_BHFV[..., -1].contiguous()


def prefix_state(k: Tensor, v: Tensor, phi: FeatureMap, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sums over the prefix, a segment at a time: the features of a whole prefix are never held."""
    B, T, H, _ = k.shape
    k_BHTD, v1_BHTV = k.transpose(1, 2), _with_ones(v, mask)
    S1_BHFV = k.new_zeros(B, H, phi.width, v1_BHTV.shape[-1])
    for start in range(0, T, CHUNK * CHUNKS_PER_SEGMENT):
        part = slice(start, start + CHUNK * CHUNKS_PER_SEGMENT)
        S1_BHFV = S1_BHFV + phi(k_BHTD[:, :, part]).transpose(-1, -2) @ v1_BHTV[:, :, part]
    return _split(S1_BHFV)


def _segment(
    q_BHTD: Tensor, k_BHTD: Tensor, v1_BHTV: Tensor, phi: FeatureMap, S1_BHFV: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Numerator and denominator (last column) for one segment, and the state after it."""
    B, H, T, D = q_BHTD.shape
    N, V1 = T // chunk, v1_BHTV.shape[-1]
    q = q_BHTD.reshape(B, H, N, chunk, D)
    k = k_BHTD.reshape(B, H, N, chunk, D)
    v1 = v1_BHTV.reshape(B, H, N, chunk, V1)

    phi_q, phi_k = phi(q), phi(k)
    sums = phi_k.transpose(-1, -2) @ v1
    after = S1_BHFV.unsqueeze(2) + sums.cumsum(dim=2)
    before = torch.cat((S1_BHFV.unsqueeze(2), after[:, :, :-1]), dim=2)
    near = phi.similarity(q @ k.transpose(-1, -2))
    near = phi_q @ phi_k.transpose(-1, -2) if near is None else near
    out = near.tril() @ v1 + phi_q @ before
    return out.reshape(B, H, T, V1), after[:, :, -1]


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    phi: FeatureMap,
    state: tuple[Tensor, Tensor] | None,
    mask: Tensor | None,
    normalise: bool,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """y (B,T,H,V), and the state after position T."""
    B, T, H, _ = q.shape
    if state is None:
        S1 = q.new_zeros(B, H, phi.width, v.shape[-1] + 1)
    else:
        S1 = torch.cat((state[0], state[1].unsqueeze(-1)), dim=-1)
    if T == 0:
        return torch.zeros_like(v), _split(S1)

    chunk = min(CHUNK, T)
    pad = -T % chunk
    q_BHTD, k_BHTD, v1_BHTV = q.transpose(1, 2), k.transpose(1, 2), _with_ones(v, mask)
    if pad:
        q_BHTD, k_BHTD, v1_BHTV = (torch.nn.functional.pad(x, (0, 0, 0, pad)) for x in (q_BHTD, k_BHTD, v1_BHTV))

    pieces = []
    length = chunk * CHUNKS_PER_SEGMENT
    for start in range(0, T + pad, length):
        part = slice(start, min(start + length, T + pad))
        piece, S1 = _segment(q_BHTD[:, :, part], k_BHTD[:, :, part], v1_BHTV[:, :, part], phi, S1, chunk)
        pieces.append(piece)
    out = torch.cat(pieces, dim=2)[:, :, :T]
    y = normalised(out[..., :-1], out[..., -1], phi) if normalise else out[..., :-1]
    return y.transpose(1, 2), _split(S1)

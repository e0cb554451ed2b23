"""The definition of prefix linear attention, in the symbols of the paper.  Never optimised.

"Just read twice", equations 1 to 4.  For position i of the decoder stream

    y_i = phi(q_i) (sum_{j<=i} phi(k_j) v_j^T + S) / (phi(q_i) . (sum_{j<=i} phi(k_j) + z) + eps)

where (S, z) is the state that came before: for prefix linear attention the sums of
phi(k^e_j) v^e_j^T and phi(k^e_j) over the prefix.  A masked position adds nothing: the mask
acts on phi(k), because phi(0) is not 0.  Where a feature map lets the denominator vanish, it is
max(|denominator|, guard) instead; without normalising, y is the numerator alone.

Shapes: B batch, T time, P prefix, H heads, D width of q and k, V width of v, F expanded width.
q, k (B,T,H,D); v (B,T,H,V); mask (B,T) bool, True = real; S (B,H,F,V); z (B,H,F).
"""

from __future__ import annotations

import torch
from torch import Tensor

from reread.ops.feature_maps import FeatureMap

EPS = 1e-12


def features(x: Tensor, phi: FeatureMap) -> Tensor:
    """phi at every position: (B,T,H,D) -> (B,T,H,F)."""
    return phi(x.transpose(1, 2)).transpose(1, 2)


def normalised(numerator: Tensor, denominator: Tensor, phi: FeatureMap) -> Tensor:
    """numerator (B,H,T,V) over denominator (B,H,T), kept from vanishing as the feature map says."""
    if phi.can_vanish:
        floor = torch.as_tensor(phi.floor(), dtype=denominator.dtype, device=denominator.device)
        denominator = torch.maximum(denominator.abs(), floor)
    return numerator / (denominator[..., None] + EPS)


def prefix_state(k: Tensor, v: Tensor, phi: FeatureMap, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """S = sum_j phi(k_j) v_j^T and z = sum_j phi(k_j) over the unmasked positions."""
    phi_k = features(k, phi)
    if mask is not None:
        phi_k = phi_k * mask[:, :, None, None]
    S = torch.einsum("bthf,bthv->bhfv", phi_k, v)
    return S, phi_k.sum(dim=1)


def quadratic(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    phi: FeatureMap,
    state: tuple[Tensor, Tensor] | None,
    mask: Tensor | None,
    normalise: bool,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """All T x T similarities at once; returns y (B,T,H,V) and the state after position T."""
    phi_q, phi_k = features(q, phi), features(k, phi)
    if mask is not None:
        phi_k = phi_k * mask[:, :, None, None]
    A = torch.einsum("bihf,bjhf->bhij", phi_q, phi_k).tril()
    numerator = torch.einsum("bhij,bjhv->bhiv", A, v)
    denominator = A.sum(dim=-1)
    S = torch.einsum("bthf,bthv->bhfv", phi_k, v)
    z = phi_k.sum(dim=1)
    if state is not None:
        numerator = numerator + torch.einsum("bthf,bhfv->bhtv", phi_q, state[0])
        denominator = denominator + torch.einsum("bthf,bhf->bht", phi_q, state[1])
        S, z = S + state[0], z + state[1]
    y = normalised(numerator, denominator, phi) if normalise else numerator
    return y.transpose(1, 2), (S, z)


def token_by_token(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    phi: FeatureMap,
    state: tuple[Tensor, Tensor] | None,
    mask: Tensor | None,
    normalise: bool,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The recurrence: one rank-one update of (S, z) and one read-out per token."""
    B, T, H, _ = q.shape
    if state is None:
        S, z = q.new_zeros(B, H, phi.width, v.shape[-1]), q.new_zeros(B, H, phi.width)
    else:
        S, z = state
    y = []
    for t in range(T):
        phi_q, phi_k = phi(q[:, t]), phi(k[:, t])
        if mask is not None:
            phi_k = phi_k * mask[:, t, None, None]
        S = S + phi_k[..., :, None] * v[:, t, :, None, :]
        z = z + phi_k
        numerator = torch.einsum("bhf,bhfv->bhv", phi_q, S)
        denominator = torch.einsum("bhf,bhf->bh", phi_q, z)
        one = normalised(numerator[:, :, None], denominator[:, :, None], phi)[:, :, 0] if normalise else numerator
        y.append(one)
    return (torch.stack(y, dim=1) if y else torch.zeros_like(v)), (S, z)

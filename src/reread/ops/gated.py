"""Recurrences with decay: gated linear attention, the gated delta rule, and a diagonal recurrence.

Each takes an initial state and returns its final state, which is all that a second look needs:
read the prefix once with encoder projections, start the decoder from that state.  Such a prefix
is not read out: `*_state` gives what stands after it for less.  Each comes
twice: token by token (the definition, never optimised) and in chunks of plain torch.  Decays are
given as logarithms, at most 0.  Inputs come in the dtype of the sums; a masked position has been
given log decay 0 and nothing to add.

Shapes: B batch, T time, H heads, D width of q and k, V width of v, C chunk, X channels.
q, k (B,T,H,D); v (B,T,H,V); log_decay (B,T,H,D), or (B,T,H,1) for one decay per head; beta (B,T,H);
S (B,H,D,V).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from reread.errors import BadInput, UnknownName
from reread.ops.inputs import check_dtypes, check_keys_values, check_mask, prepare

CHUNK_SCALAR, CHUNK_VECTOR, CHUNK_DIAGONAL = 64, 16, 256
FORGOTTEN = -40.0  # exp(-40) of anything is nothing; sums of larger decays would lose what stands beside them


def gla_steps(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """S_t = diag(a_t) S_{t-1} + k_t v_t^T, y_t = S_t^T q_t (GLA, Yang et al. 2024, eq. 3; with a constant
    a per head: retention, Sun et al. 2023, eq. 6).  Returns y (B,T,H,V) and S_T."""
    y = []
    for t in range(q.shape[1]):
        S = log_decay[:, t].exp()[..., None] * S + k[:, t, :, :, None] * v[:, t, :, None, :]
        y.append(torch.einsum("bhd,bhdv->bhv", q[:, t], S))
    return (torch.stack(y, dim=1) if y else torch.zeros_like(v)), S


def _chunks(x: Tensor, chunk: int) -> Tensor:
    """(B,T,H,W) -> (N,B,H,C,W), zeros after the end: log decay 0 and nothing to add."""
    B, T, H, W = x.shape
    x = F.pad(x, (0, 0, 0, 0, 0, -T % chunk))
    return x.reshape(B, -1, chunk, H, W).permute(1, 0, 3, 2, 4)


def _whole(y: list[Tensor], T: int) -> Tensor:
    """Chunks of (B,H,C,V) -> (B,T,H,V)."""
    return torch.cat(y, dim=2)[:, :, :T].transpose(1, 2)


def _decayed_scores(q: Tensor, k: Tensor, total: Tensor) -> Tensor:
    """A_ij = sum_d q_id k_jd exp(total_id - total_jd) for j <= i, else 0: (B,H,C,C), every exponent at most 0."""
    C = q.shape[2]
    later = torch.ones(C, C, dtype=torch.bool, device=q.device).triu(1)
    gap = (total[:, :, :, None] - total[:, :, None]).masked_fill(later[:, :, None], -torch.inf)
    if total.shape[-1] == 1:
        return (q @ k.transpose(-1, -2)) * gap[..., 0].exp()
    return torch.einsum("bhid,bhjd,bhijd->bhij", q, k, gap.exp())


def _decay_after(log_decay: Tensor) -> Tensor:
    """What a token's own addition fades by until the end: the sum of all later logarithms, summed from the end."""
    later = log_decay[:, 1:].flip(1).cumsum(dim=1).flip(1)
    return torch.cat((later, torch.zeros_like(log_decay[:, :1])), dim=1)


def gla_chunked(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """gla_steps a chunk at a time."""
    T = q.shape[1]
    chunk = min(CHUNK_SCALAR if log_decay.shape[-1] == 1 else CHUNK_VECTOR, max(T, 1))
    y = []
    for q_, k_, v_, g_ in zip(*(_chunks(x, chunk) for x in (q, k, v, log_decay)), strict=True):
        total = g_.clamp(min=FORGOTTEN).cumsum(dim=2)
        y.append(_decayed_scores(q_, k_, total) @ v_ + (q_ * total.exp()) @ S)
        end = total[:, :, -1:]
        S = end.exp().transpose(-1, -2) * S + (k_ * (end - total).exp()).transpose(-1, -2) @ v_
    return (_whole(y, T) if y else torch.zeros_like(v)), S


def delta_steps(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """S_t = a_t S_{t-1} + beta_t k_t (v_t - a_t S_{t-1}^T k_t)^T, y_t = S_t^T q_t (gated delta rule, Yang et al.
    2025, eq. 10): what stands at the key is replaced by the share beta.  log_decay (B,T,H,1)."""
    y = []
    for t in range(q.shape[1]):
        S = log_decay[:, t].exp()[..., None] * S
        wrong = v[:, t] - torch.einsum("bhd,bhdv->bhv", k[:, t], S)
        S = S + (beta[:, t, :, None] * k[:, t])[..., None] * wrong[:, :, None]
        y.append(torch.einsum("bhd,bhdv->bhv", q[:, t], S))
    return (torch.stack(y, dim=1) if y else torch.zeros_like(v)), S


def _delta_chunk(k: Tensor, v: Tensor, beta: Tensor, total: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """What a chunk adds in place of its values (B,H,C,V), and the state after it; beta, total (B,H,C,1).

    With u_i = beta_i (v_i - a S^T k_i ...) every u_i depends on the u_j before it through
    k_i . k_j: one unit triangular system,
    (I + L) u = beta (v - exp(total) k S), L_ij = beta_i k_i . k_j exp(total_i - total_j), j < i.
    """
    L = beta * _decayed_scores(k, k, total).tril(-1)
    right = beta * (v - (k * total.exp()) @ S)
    eye = torch.eye(k.shape[2], dtype=k.dtype, device=k.device)
    u = torch.linalg.solve_triangular(L + eye, right, upper=False, unitriangular=True)
    end = total[:, :, -1:]
    return u, end.exp() * S + (k * (end - total).exp()).transpose(-1, -2) @ u


def delta_chunked(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """delta_steps a chunk at a time."""
    T = q.shape[1]
    chunk = min(CHUNK_SCALAR, max(T, 1))
    y = []
    for q_, k_, v_, b_, g_ in zip(*(_chunks(x, chunk) for x in (q, k, v, beta[..., None], log_decay)), strict=True):
        total = g_.clamp(min=FORGOTTEN).cumsum(dim=2)
        u, after = _delta_chunk(k_, v_, b_, total, S)
        y.append(_decayed_scores(q_, k_, total) @ u + (q_ * total.exp()) @ S)
        S = after
    return (_whole(y, T) if y else torch.zeros_like(v)), S


def _delta_state(k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor) -> Tensor:
    """S_T of delta_steps from nothing, a chunk at a time."""
    B, T, H, D = k.shape
    chunk = min(CHUNK_SCALAR, max(T, 1))
    S = k.new_zeros(B, H, D, v.shape[-1])
    for k_, v_, b_, g_ in zip(*(_chunks(x, chunk) for x in (k, v, beta[..., None], log_decay)), strict=True):
        _, S = _delta_chunk(k_, v_, b_, g_.clamp(min=FORGOTTEN).cumsum(dim=2), S)
    return S


def diagonal_steps(x: Tensor, log_decay: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """h_t = a_t h_{t-1} + x_t, elementwise: the recurrence of RG-LRU (De et al. 2024, eq. 4) and minGRU (Feng et
    al. 2024).  x, log_decay (B,T,X); h (B,X).  Returns all h (B,T,X) and the last."""
    out = []
    for t in range(x.shape[1]):
        h = log_decay[:, t].exp() * h + x[:, t]
        out.append(h)
    return (torch.stack(out, dim=1) if out else torch.zeros_like(x)), h


def diagonal_chunked(x: Tensor, log_decay: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """diagonal_steps by doubling inside a chunk: after round r every position holds the sum of the last 2^r
    inputs, each decayed to it; log2(C) elementwise passes, no division, no overflow."""
    T, out = x.shape[1], []
    for start in range(0, T, CHUNK_DIAGONAL):
        part = slice(start, start + CHUNK_DIAGONAL)
        sums, decay = x[:, part], log_decay[:, part].exp()
        reach = 1
        while reach < sums.shape[1]:
            sums = sums + decay * F.pad(sums, (0, 0, reach, 0))[:, :-reach]
            decay = decay * F.pad(decay, (0, 0, reach, 0), value=1.0)[:, :-reach]
            reach *= 2
        sums = sums + decay * h[:, None]
        h = sums[:, -1]
        out.append(sums)
    return (torch.cat(out, dim=1) if out else torch.zeros_like(x)), h


BACKENDS: dict[str, dict[str, Callable[..., tuple[Tensor, Tensor]]]] = {
    "chunked": {"gla": gla_chunked, "delta": delta_chunked, "diagonal": diagonal_chunked},
    "reference_steps": {"gla": gla_steps, "delta": delta_steps, "diagonal": diagonal_steps},
}


def _op(backend: str, name: str) -> Callable[..., tuple[Tensor, Tensor]]:
    backend = "chunked" if backend == "auto" else backend
    if backend not in BACKENDS:
        raise UnknownName("backend", backend, [*BACKENDS, "auto"])
    return BACKENDS[backend][name]


def _check_decay(log_decay: Tensor, shape: tuple[int, ...], *widths: int, what: str) -> None:
    if not log_decay.is_floating_point() or bool((log_decay > 0).any()):
        got = log_decay.dtype if not log_decay.is_floating_point() else float(log_decay.max())
        raise BadInput(f"{what}: log_decay is a logarithm of a share, at most 0", got=got)
    if log_decay.dim() != len(shape) + 1 or log_decay.shape[:-1] != shape or log_decay.shape[-1] not in widths:
        allowed = " or ".join(str((*shape, width)) for width in dict.fromkeys(widths))
        raise BadInput(f"{what}: log_decay has the wrong shape", got=tuple(log_decay.shape), allowed=allowed)


def _start(state: Tensor | None, like: Tensor, shape: tuple[int, ...], *, what: str) -> Tensor:
    """The initial state in the dtype of the sums; zeros for None."""
    if state is None:
        return like.new_zeros(shape)
    if state.shape != shape:
        raise BadInput(f"{what}: the state does not fit", got=tuple(state.shape), allowed=shape)
    check_dtypes({"inputs": like}, state, what=what)
    return state


def _check_written(k: Tensor, v: Tensor, log_decay: Tensor, mask: Tensor | None, *widths: int, what: str) -> None:
    check_keys_values(k, v, mask, what=what)
    _check_decay(log_decay, tuple(k.shape[:3]), *widths, what=what)


def _check_beta(beta: Tensor, k: Tensor, *, what: str) -> None:
    if beta.shape != k.shape[:3]:
        got = f"beta {tuple(beta.shape)}, k {tuple(k.shape)}"
        raise BadInput(f"{what}: beta must have the shape of k without the width", got=got)


def _check_queries(q: Tensor, k: Tensor, v: Tensor, *, what: str) -> None:
    if q.shape != k.shape:
        raise BadInput(f"{what}: queries and keys must have one shape", got=f"q {tuple(q.shape)}, k {tuple(k.shape)}")
    check_dtypes({"q": q, "k": k, "v": v}, what=what)


def gated_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    log_decay: Tensor,
    state: Tensor | None = None,
    mask: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Linear attention whose memory fades: S_t = diag(exp(log_decay_t)) S_{t-1} + k_t v_t^T, y_t = S_t^T q_t.

    With log_decay (B,T,H,D) that of GLA (Yang et al. 2024), with (B,T,H,1) of retention (Sun et al.
    2023; constant there) or Mamba-2.  q, k (B,T,H,D), v (B,T,H,V), state (B,H,D,V) or None, mask
    (B,T) bool: a masked position neither adds nor fades.  Returns y (B,T,H,V) in the dtype of v and
    the final state, float32 (float64 for float64).  Raises BadInput, UnknownName.
    """
    what = "gated_linear_attention"
    _check_written(k, v, log_decay, mask, 1, k.shape[-1], what=what)
    _check_queries(q, k, v, what=what)
    B, _, H, D = k.shape
    dtype = v.dtype
    q, k, v, log_decay = prepare(mask, q, k, v, log_decay)
    S = _start(state, q, (B, H, D, v.shape[-1]), what=what)
    with torch.autocast(q.device.type, enabled=False):
        y, S = _op(backend, "gla")(q, k, v, log_decay, S)
    return y.to(dtype), S.clone() if S is state else S


def gated_linear_state(k: Tensor, v: Tensor, *, log_decay: Tensor, mask: Tensor | None = None) -> Tensor:
    """The final state of gated_linear_attention from the empty one, (B,H,D,V), nothing read out: every addition
    faded to the end at once, one matrix product.  Inputs, dtypes and errors as there."""
    what = "gated_linear_state"
    _check_written(k, v, log_decay, mask, 1, k.shape[-1], what=what)
    check_dtypes({"k": k, "v": v}, what=what)
    k, v, log_decay = prepare(mask, k, v, log_decay)
    with torch.autocast(k.device.type, enabled=False):
        return torch.einsum("bthd,bthv->bhdv", k * _decay_after(log_decay).exp(), v)


def gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    beta: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    mask: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """A memory that overwrites: what stands at a key is replaced by the share beta of the new value, after fading.

    Gated DeltaNet (Yang et al. 2025, eq. 10); log_decay 0 is DeltaNet.  Stable for keys of length 1
    and beta in [0, 1] (to 2 with negative eigenvalues).  beta (B,T,H), log_decay (B,T,H,1), the rest
    as in gated_linear_attention.
    """
    what = "gated_delta_rule"
    _check_written(k, v, log_decay, mask, 1, what=what)
    _check_beta(beta, k, what=what)
    _check_queries(q, k, v, what=what)
    B, _, H, D = k.shape
    dtype = v.dtype
    q, k, v, beta, log_decay = prepare(mask, q, k, v, beta, log_decay)
    S = _start(state, q, (B, H, D, v.shape[-1]), what=what)
    with torch.autocast(q.device.type, enabled=False):
        y, S = _op(backend, "delta")(q, k, v, beta, log_decay, S)
    return y.to(dtype), S.clone() if S is state else S


def gated_delta_state(k: Tensor, v: Tensor, *, beta: Tensor, log_decay: Tensor, mask: Tensor | None = None) -> Tensor:
    """The final state of gated_delta_rule from the empty one, (B,H,D,V), nothing read out.  Inputs, dtypes and
    errors as there."""
    what = "gated_delta_state"
    _check_written(k, v, log_decay, mask, 1, what=what)
    _check_beta(beta, k, what=what)
    check_dtypes({"k": k, "v": v}, what=what)
    k, v, beta, log_decay = prepare(mask, k, v, beta, log_decay)
    with torch.autocast(k.device.type, enabled=False):
        return _delta_state(k, v, beta, log_decay)


def _check_diagonal(x: Tensor, log_decay: Tensor, mask: Tensor | None, *, what: str) -> None:
    if x.dim() != 3:
        raise BadInput(f"{what}: inputs must be (batch, time, channels)", got=tuple(x.shape))
    check_mask(mask, x, what=what)
    _check_decay(log_decay, tuple(x.shape[:2]), x.shape[2], what=what)
    check_dtypes({"x": x}, what=what)


def diagonal_recurrence(
    x: Tensor,
    *,
    log_decay: Tensor,
    state: Tensor | None = None,
    mask: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """h_t = exp(log_decay_t) h_{t-1} + x_t, elementwise (RG-LRU, minGRU).

    x, log_decay (B,T,X), state (B,X) or None, mask (B,T) bool.  Returns every h (B,T,X) in the dtype
    of x and the last real one, float32 (float64 for float64).
    """
    what = "diagonal_recurrence"
    _check_diagonal(x, log_decay, mask, what=what)
    dtype = x.dtype
    x, log_decay = prepare(mask, x, log_decay)
    h = _start(state, x, (x.shape[0], x.shape[2]), what=what)
    with torch.autocast(x.device.type, enabled=False):
        out, h = _op(backend, "diagonal")(x, log_decay, h)
    return out.to(dtype), h.clone() if h is state else h


def diagonal_state(x: Tensor, *, log_decay: Tensor, mask: Tensor | None = None) -> Tensor:
    """The last h (B,X) of diagonal_recurrence from zero: every input faded to the end at once.  Inputs, dtypes and
    errors as there."""
    _check_diagonal(x, log_decay, mask, what="diagonal_state")
    x, log_decay = prepare(mask, x, log_decay)
    return (_decay_after(log_decay).exp() * x).sum(dim=1)

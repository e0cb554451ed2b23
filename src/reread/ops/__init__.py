"""Prefix linear attention as two small functions: tensors in, tensors out.

Prefix linear attention *is* causal linear attention that starts from the prefix's own state:

    state = prefix_state(k_prefix, v_prefix, feature_map=phi)           # read the prefix non-causally
    y, state = linear_attention(q, k, v, feature_map=phi, state=state)  # the decoder stream

Decoding is the second function with T = 1; extending a document is the second with more T; the
state of a stored document is what it returns.  This floor knows tensors only: no modules, no
tokens, no configuration.

Shapes: B batch, T time, P prefix, H heads, D width of q and k, V width of v, F expanded width.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from reread.errors import BadInput, UnknownName
from reread.ops import chunked, packed, reference, streaming, triton_op
from reread.ops.feature_maps import FEATURE_MAPS, FeatureMap, Taylor, feature_map
from reread.ops.gated import (
    diagonal_recurrence,
    diagonal_state,
    gated_delta_rule,
    gated_delta_state,
    gated_linear_attention,
    gated_linear_state,
)
from reread.ops.inputs import check_dtypes, check_keys_values, prepare

__all__ = [
    "BACKENDS",
    "FEATURE_MAPS",
    "FeatureMap",
    "diagonal_recurrence",
    "diagonal_state",
    "feature_map",
    "gated_delta_rule",
    "gated_delta_state",
    "gated_linear_attention",
    "gated_linear_state",
    "linear_attention",
    "prefix_state",
]

BACKENDS = {
    "chunked": (chunked.prefix_state, chunked.linear_attention),
    "reference": (reference.prefix_state, reference.quadratic),
    "reference_steps": (reference.prefix_state, reference.token_by_token),
}


def _backend(name: str) -> tuple:
    name = "chunked" if name in ("auto", "triton", "streaming") else name
    if name not in BACKENDS:
        raise UnknownName("backend", name, [*BACKENDS, "auto", "streaming", "triton"])
    return BACKENDS[name]


def prefix_state(
    k_prefix: Tensor,
    v_prefix: Tensor,
    *,
    feature_map: FeatureMap,
    mask: Tensor | None = None,
    prefix_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """The state of a prefix that is read non-causally ("Just read twice", eq. 4).

    k_prefix (B,P,H,D), v_prefix (B,P,H,V); mask (B,P) bool, True = real; prefix_lengths (B,)
    integers from 0 to P: in row b only the first prefix_lengths[b] positions belong to the prefix.
    Returns S (B,H,F,V) and z (B,H,F), float32 (float64 for float64).  cu_seqlens, backend: as in
    linear_attention.  Raises BadInput when shapes, dtypes or lengths do not fit.
    """
    check_map(feature_map)
    check_keys_values(k_prefix, v_prefix, mask, what="prefix_state", width=feature_map.head_width)
    check_heads(feature_map, k_prefix)
    check_dtypes({"k_prefix": k_prefix, "v_prefix": v_prefix}, what="prefix_state")
    ends = None if cu_seqlens is None else packed.bounds(cu_seqlens, k_prefix)
    if prefix_lengths is not None:
        if ends is not None:
            raise BadInput("packed prefixes have no lengths of their own", todo="pack the prefixes alone")
        B, P = k_prefix.shape[:2]
        prefix_lengths = torch.as_tensor(prefix_lengths)
        if prefix_lengths.shape != (B,) or prefix_lengths.dtype not in (torch.int64, torch.int32):
            got = f"{prefix_lengths.dtype} {tuple(prefix_lengths.shape)}"
            raise BadInput("prefix_lengths must hold one whole number per row", got=got, allowed=f"int64 ({B},)")
        if bool(((prefix_lengths < 0) | (prefix_lengths > P)).any()):
            raise BadInput("a prefix must lie within its text", got=prefix_lengths.tolist(), allowed=f"0 to {P}")
        inside = torch.arange(P, device=k_prefix.device)[None, :] < prefix_lengths.to(k_prefix.device)[:, None]
        mask = inside if mask is None else mask & inside
    if triton_op.takes(backend, feature_map, k_prefix, v_prefix):
        with torch.autocast(k_prefix.device.type, enabled=False):
            return triton_op.prefix_state(k_prefix, v_prefix, feature_map, mask, ends)
    if ends is not None:
        read = partial(prefix_state, feature_map=feature_map, backend=backend)
        return packed.prefix_states(read, k_prefix, v_prefix, mask, ends)
    gradients = torch.is_grad_enabled() and (k_prefix.requires_grad or v_prefix.requires_grad)
    if _streams(backend, feature_map, k_prefix, None, gradients):
        with torch.autocast(k_prefix.device.type, enabled=False):
            return streaming.prefix_state(k_prefix, v_prefix, feature_map, mask)
    k_prefix, v_prefix = prepare(mask, k_prefix, v_prefix)
    with torch.autocast(k_prefix.device.type, enabled=False):
        return _backend(backend)[0](k_prefix, v_prefix, feature_map, mask)


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    feature_map: FeatureMap,
    state: tuple[Tensor, Tensor] | None = None,
    mask: Tensor | None = None,
    normalise: bool = True,
    cu_seqlens: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Causal linear attention from an initial state ("Just read twice", eq. 1 to 3).

    q, k (B,T,H,D); v (B,T,H,V); state (S (B,H,F,V), z (B,H,F)) or None for the empty state;
    mask (B,T) bool, True = real: a masked position adds nothing to the state, and its own output
    means nothing; normalise=False leaves the division by the sum of similarities out.  Returns y
    (B,T,H,V) in the dtype of the inputs and the new state, float32 (float64 for float64 inputs); the given
    state is not changed.  cu_seqlens (N+1,) whole numbers from 0 to T: B is 1 and the row holds N documents, one
    after another, each with a row of its own in the state.  backend "auto" is "triton" on a CUDA device, for
    what it has kernels for; else "streaming" for the Taylor map where no gradient is wanted (its products are
    bfloat16 for bfloat16 inputs), else "chunked".
    Raises BadInput when shapes or dtypes do not fit, UnknownName for an unknown backend.
    """
    check_map(feature_map)
    check_keys_values(k, v, mask, what="linear_attention", width=feature_map.head_width)
    check_heads(feature_map, k)
    check_dtypes({"q": q, "k": k, "v": v}, *(state or ()), what="linear_attention")
    if q.shape != k.shape:
        raise BadInput("queries and keys must have one shape", got=f"q {tuple(q.shape)}, k {tuple(k.shape)}")
    ends = None if cu_seqlens is None else packed.bounds(cu_seqlens, k)
    if state is not None:
        B, H = k.shape[0] if ends is None else len(ends) - 1, k.shape[2]
        F, V = feature_map.width, v.shape[-1]
        if state[0].shape != (B, H, F, V) or state[1].shape != (B, H, F):
            raise BadInput(
                "the state does not fit q, k, v and the feature map",
                got=f"S {tuple(state[0].shape)}, z {tuple(state[1].shape)}",
                allowed=f"S {(B, H, F, V)}, z {(B, H, F)}",
            )
    if triton_op.takes(backend, feature_map, k, v):
        with torch.autocast(q.device.type, enabled=False):
            return triton_op.linear_attention(q, k, v, feature_map, state, mask, normalise, ends)
    if ends is not None:
        attend = partial(linear_attention, feature_map=feature_map, normalise=normalise, backend=backend)
        return packed.linear_attention(attend, (q, k, v), state, mask, ends)
    dtype = v.dtype
    gradients = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v, *(state or ())))
    if _streams(backend, feature_map, q, state, gradients):
        with torch.autocast(q.device.type, enabled=False):
            return streaming.linear_attention(q, k, v, feature_map, state, mask, normalise)
    q, k, v = prepare(mask, q, k, v)
    with torch.autocast(q.device.type, enabled=False):
        y, state = _backend(backend)[1](q, k, v, feature_map, state, mask, normalise)
    return y.to(dtype), state


FEW_KEYS = 64


def check_map(phi: FeatureMap) -> None:
    """Raise BadInput for what is no feature map, such as the name of one."""
    if not isinstance(phi, FeatureMap):
        todo = 'feature_map("taylor", D) makes one; your own is a subclass of reread.ops.FeatureMap'
        raise BadInput("feature_map must be a FeatureMap", got=f"{type(phi).__name__} {str(phi)[:40]!r}", todo=todo)


def check_heads(phi: FeatureMap, k: Tensor) -> None:
    """Raise BadInput for a map with parameters per head that was made for another number of heads."""
    if phi.per_head and phi.heads != k.shape[2]:
        raise BadInput("the feature map is for another number of heads", got=k.shape[2], allowed=phi.heads)


def _streams(backend: str, phi: FeatureMap, x: Tensor, state: tuple[Tensor, Tensor] | None, gradients: bool) -> bool:
    """Whether streaming.py is asked for, or is what "auto" means: several tokens, the Taylor map, no gradient
    wanted, and in bfloat16 no state of few keys (its sum of rounded features would not be the positive
    kernel; with more keys the errors average out).  Raises BadInput where it cannot do what is asked."""
    if backend == "streaming" and not isinstance(phi, Taylor):
        raise BadInput("the streaming backend is for the taylor map", got=type(phi).__name__.lower())
    if backend == "streaming" and gradients:
        raise BadInput("the streaming backend keeps nothing for gradients", allowed="auto, chunked")
    if not x.shape[0]:
        return False
    if backend != "auto" or not isinstance(phi, Taylor) or gradients or x.shape[1] < 2:
        return backend == "streaming"
    few = x.dtype == torch.bfloat16 and state is not None and bool((state[1][..., 0] < FEW_KEYS).any())
    return not few

"""What every op does with its inputs first: check shapes and dtypes, take the dtype of the sums, empty masked
positions.

Shapes: B batch, T time, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reread.errors import BadInput

HALF = {"got": "torch.float16 on cpu", "allowed": "float32, bfloat16"}


def check_device(name: str, x: Tensor, beside: Tensor, *, what: str) -> None:
    """Raise BadInput for a tensor on another device than what it is computed with."""
    if x.device != beside.device:
        raise BadInput(f"{what}: tensors on two devices", got=f"{name} on {x.device}, the others on {beside.device}")


def check_mask(mask: Tensor | None, x: Tensor, *, what: str) -> None:
    """Raise BadInput unless the mask is None or bool of shape (B,T), for x (B,T,...)."""
    if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
        raise BadInput(
            f"{what}: the mask must be bool of shape (batch, time) = {tuple(x.shape[:2])}, True for real tokens",
            got=f"{mask.dtype} {tuple(mask.shape)}",
        )
    if mask is not None:
        check_device("mask", mask, x, what=what)


def check_keys_values(k: Tensor, v: Tensor, mask: Tensor | None, *, what: str, width: int | None = None) -> None:
    """Raise BadInput for shapes that do not fit; width: that of the feature map, where there is one."""
    if k.dim() != 4 or v.dim() != 4 or k.shape[:3] != v.shape[:3]:
        raise BadInput(
            f"{what}: keys and values must be (batch, time, heads, width) with equal batch, time and heads",
            got=f"keys {tuple(k.shape)}, values {tuple(v.shape)}",
        )
    if width is not None and k.shape[3] != width:
        raise BadInput(f"{what}: the feature map is for another head width", got=k.shape[3], allowed=width)
    check_mask(mask, k, what=what)


def sums_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums and states: float64 for float64, float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_dtypes(inputs: dict[str, Tensor], *state: Tensor, what: str) -> None:
    """Raise BadInput unless the inputs share one floating dtype that this device computes with, and the tensors of
    the state have that of the sums.  Nothing is cast in silence: a state of another dtype came from elsewhere."""
    first, dtype = next((name, x.dtype) for name, x in inputs.items())
    for name, x in inputs.items():
        if x.dtype != dtype:
            raise BadInput(f"{what}: inputs of two dtypes", got=f"{first} {dtype}, {name} {x.dtype}", todo="cast one")
        if not x.is_floating_point():
            raise BadInput(f"{what}: inputs must be floating point", got=f"{name} {x.dtype}")
        if dtype == torch.float16 and x.device.type == "cpu":
            raise BadInput(f"{what}: no float16 on a CPU, where it is slower than float32", **HALF)
        check_device(name, x, inputs[first], what=what)
    for x in state:
        check_device("state", x, inputs[first], what=what)
        if x.dtype != sums_dtype(dtype):
            got = f"state {x.dtype}, inputs {dtype}"
            raise BadInput(f"{what}: the state has another dtype than the sums", got=got, allowed=sums_dtype(dtype))


def prepare(mask: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """In the dtype of the sums, float64 for float64 and float32 for everything else; whatever stands at masked
    positions (NaN included) becomes zero."""
    dtype = sums_dtype(tensors[0].dtype)
    if mask is None:
        return tuple(x.to(dtype) for x in tensors)
    return tuple(x.to(dtype).masked_fill(~mask.reshape(*mask.shape, *[1] * (x.dim() - 2)), 0.0) for x in tensors)

"""States in fewer bytes: fp32 (as they are), bf16, int8 and int4.

What is packed is the flat form of a state (`to_flat`): tensors by name.  Only floating tensors
change.  int8 and int4 hold rows of whole numbers and one bfloat16 scale per row, x = scale * q with
|q| <= 127 or 7; a row is the last axis, or ROW values in a row where that axis is shorter.  Tensors
that are small beside the largest one (normalisers, the inputs of short convolutions) are worth their
bytes and become bfloat16.  Knows no model, no file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reread.errors import BadInput, UnknownName
from reread.models.dtypes import LEVELS, check_state_dtype
from reread.models.dtypes import STATE_DTYPES as STATE_DTYPES  # also known from here

Flat = dict[str, Tensor]
SCALE = "scale of "
ROW, LEAST = 16, 64
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.bool)
}


@dataclass(frozen=True)
class Layout:
    """How a tensor looks when it is unpacked, and how it is kept: "whole", "bf16", "int8" or "int4"."""

    dtype: str
    shape: tuple[int, ...]
    kept: str

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def row(self) -> int:
        """Values that share a scale."""
        return self.shape[-1] if self.shape and self.shape[-1] >= ROW else min(LEAST, self.numel)


def _rows(x: Tensor, row: int) -> Tensor:
    """(n, row), the last row filled up with zeros."""
    values = x.float().flatten()
    return torch.cat((values, values.new_zeros(-len(values) % row))).view(-1, row)


def _quantise(x: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Whole numbers, two to a byte for int4, and scales (n,) bfloat16."""
    rows, most = _rows(x, layout.row), LEVELS[layout.kept]
    scale = (rows.abs().amax(dim=1) / most).bfloat16()
    steps = scale.float()[:, None]
    whole = torch.where(steps > 0, rows / steps, torch.zeros_like(rows)).round().clamp(-most, most)
    if layout.kept == "int8":
        return whole.to(torch.int8), scale
    nibbles = (whole + 8).to(torch.uint8).flatten()
    nibbles = torch.cat((nibbles, nibbles.new_full((len(nibbles) % 2,), 8)))
    return nibbles[0::2] | (nibbles[1::2] << 4), scale


def _restore(kept: Tensor, scale: Tensor, layout: Layout) -> Tensor:
    if layout.kept == "int4":
        kept = torch.stack((kept & 15, kept >> 4), dim=1).flatten().to(torch.int8) - 8
        kept = kept[: len(scale) * layout.row].view(-1, layout.row)
    return (kept.float() * scale.float()[:, None]).flatten()[: layout.numel]


def _kept_as(x: Tensor, dtype: str, largest: int) -> str:
    if dtype == "fp32" or not x.is_floating_point() or x.element_size() < 2 or not x.numel():
        return "whole"
    if dtype in LEVELS and x.dim() and x.numel() * LEAST // 4 >= largest:
        return dtype
    return "bf16" if x.element_size() > 2 else "whole"


def pack(flat: Flat, dtype: str) -> tuple[Flat, dict[str, Layout]]:
    """The tensors to keep, and how each is to be read.  Raises UnknownName; BadInput where one is not finite."""
    check_state_dtype(dtype)
    largest = max((x.numel() for x in flat.values() if x.is_floating_point()), default=0)
    packed: Flat = {}
    layouts = {}
    for name, x in flat.items():
        x = x.detach().cpu().contiguous()
        if x.is_floating_point() and not bool(torch.isfinite(x).all()):
            raise BadInput("a state with numbers that are not finite cannot be kept", got=name)
        layout = Layout(str(x.dtype).removeprefix("torch."), tuple(x.shape), _kept_as(x, dtype, largest))
        layouts[name] = layout
        if layout.kept in LEVELS:
            packed[name], packed[SCALE + name] = _quantise(x, layout)
        else:
            packed[name] = x.bfloat16() if layout.kept == "bf16" else x
    return packed, layouts


def expected(layout: Layout) -> tuple[torch.dtype, tuple[int, ...], int]:
    """dtype and shape that a packed tensor must have, and how many scales (0: none).  Raises UnknownName,
    BadInput."""
    if layout.dtype not in DTYPES:
        raise UnknownName("dtype of a tensor", layout.dtype, DTYPES)
    if min(layout.shape, default=0) < 0:
        raise BadInput("a tensor's sizes are 0 or more", got=layout.shape)
    if layout.kept == "whole":
        return DTYPES[layout.dtype], layout.shape, 0
    if layout.kept == "bf16":
        return torch.bfloat16, layout.shape, 0
    if layout.kept not in LEVELS or not layout.numel:
        raise UnknownName("way to keep a tensor", layout.kept, ("whole", "bf16", *LEVELS))
    rows = -(-layout.numel // layout.row)
    if layout.kept == "int8":
        return torch.int8, (rows, layout.row), rows
    return torch.uint8, (-(-rows * layout.row // 2),), rows


def unpack(packed: Flat, layouts: dict[str, Layout]) -> Flat:
    """The inverse of `pack`, in the dtypes and shapes of the model; nothing shares memory with `packed`."""
    flat = {}
    for name, layout in layouts.items():
        x = packed[name]
        if layout.kept in LEVELS:
            x = _restore(x, packed[SCALE + name], layout)
        flat[name] = x.to(DTYPES[layout.dtype], copy=True).view(layout.shape)
    return flat

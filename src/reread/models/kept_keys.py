"""Keys that a state keeps of what was read: flat tensors per layer, with another number of positions in each head.

A row of a state holds, for each layer with full attention, the keys and values that a selection chose
(kv_selection.py), the position of each, and how many belong to each KV head.  They are never changed.  What is read
afterwards is in the ordinary cache of the layer, which is empty when the keys are chosen.

Names of a row's tensors, for layer i: "kept.i.key" (N,D), "kept.i.value" (N,E), "kept.i.positions" (N,) int32,
"kept.i.counts" (K,) int32.  N is the sum of the counts; heads follow each other, and positions ascend within a head.

Shapes: B rows, K KV heads, N kept positions of all heads of a layer, P of the head that keeps the most, D width of a
key, E of a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

Flat = dict[str, Tensor]
KEPT = "kept."
PARTS = ("key", "value", "positions", "counts")
POSITION_PARTS = (".positions", ".counts")
NOWHERE = -1  # the position of padding
POSITION_BYTES = 4


def kept_layers(names: Sequence[str] | Mapping[str, Any]) -> tuple[int, ...]:
    """Numbers of the layers that a row keeps chosen keys of, ascending; () for a row that keeps all keys."""
    found = (re.fullmatch(r"kept\.(\d{1,6})\.key", name) for name in names)
    return tuple(sorted(int(one[1]) for one in found if one))


def kept_kind(row: Flat) -> str:
    """ "" for a row without kept keys, else "kept", and how its dropped keys are summed (dropped_sums.py)."""
    layers = kept_layers(row)
    if not layers:
        return ""
    sums = [
        f" {name} {tuple(x.shape)}" for name, x in row.items() if re.fullmatch(rf"kept\.{layers[0]}\.\w+\.sums", name)
    ]
    return "".join(("kept", *sums))


def is_kept(name: str) -> bool:
    """Whether a tensor of a row belongs to its kept keys."""
    return name.startswith(KEPT)


def cache_names(layer: int) -> tuple[str, str]:
    """The names of the ordinary cache of a layer: what was read after the keys were chosen."""
    return f"layers.{layer}.keys", f"layers.{layer}.values"


def cache_name(name: str) -> str:
    """The name of the ordinary cache of the same layer, for "kept.3.key" and "kept.3.value"; other names unchanged."""
    _, layer, part = [*name.split("."), "", ""][:3]
    return f"layers.{layer}.{part}s" if is_kept(name) else name


def with_kept(row: Flat, kept: Mapping[int, Sequence[Tensor]], read: int) -> Flat:
    """A row cut to the positions of `kept`, per layer and KV head, ascending; it must hold them all.

    read: tokens that the row has read; the caches of these layers are empty afterwards.  Raises KeyError for a layer
    that has no cache.
    """
    made = dict(row)
    for layer, heads in kept.items():
        made |= cut_layer(row, layer, heads, read)
    return made


def cut_layer(row: Flat, layer: int, heads: Sequence[Tensor], read: int) -> Flat:
    """The tensors of one layer, as `with_kept` makes them."""
    made: Flat = {}
    held = kept_positions(row, (layer,))[layer] if f"{KEPT}{layer}.key" in row else None
    device = row[cache_names(layer)[0]].device
    for part, name in zip(PARTS, cache_names(layer), strict=False):
        x, own = row[name], f"{KEPT}{layer}.{part}"
        begin = read - x.shape[2]  # the position of the first entry of the cache
        chosen = []
        for k, wanted in enumerate(one.to(device) for one in heads):
            if held is not None:
                old = row[own].split([len(one) for one in held])[k]
                chosen.append(old.index_select(0, torch.searchsorted(held[k], wanted[wanted < begin])))
            chosen.append(x[0, k].index_select(0, wanted[wanted >= begin] - begin))
        made[own] = torch.cat(chosen)
        made[name] = x.new_empty(1, x.shape[1], 0, x.shape[3])
    made[f"{KEPT}{layer}.positions"] = torch.cat(tuple(heads)).to(device, torch.int32)
    made[f"{KEPT}{layer}.counts"] = torch.tensor([len(one) for one in heads], dtype=torch.int32, device=device)
    return made


def with_caches(row: Flat) -> Flat:
    """A row whose kept keys are all positions that were read, with ordinary caches."""
    made = {name: x for name, x in row.items() if not is_kept(name)}
    for layer in kept_layers(row):
        K = len(row[f"{KEPT}{layer}.counts"])
        for part, name in zip(PARTS, cache_names(layer), strict=False):
            made[name] = row[f"{KEPT}{layer}.{part}"].unflatten(0, (K, -1))[None]
    return made


def kept_positions(row: Flat, layers: Sequence[int] | None = None) -> dict[int, tuple[Tensor, ...]]:
    """Per layer (None: all that have kept keys) and KV head, the positions that a row keeps, ascending, int64:
    `with_kept`'s argument."""
    layers = kept_layers(row) if layers is None else layers
    parts = {layer: [row[f"{KEPT}{layer}.{part}"] for part in PARTS[2:]] for layer in layers}
    return {layer: at.long().split(counts.tolist()) for layer, (at, counts) in parts.items()}


def says_kept(selection: str, positions: float | None, read: int, end: int) -> str:
    """What a selection kept of `read` positions, in words; positions: of each head, on average; None: all of them; end:
    the position of what is read next."""
    if positions is None:
        return f"the budget of {selection} holds all {read:,} positions: nothing was dropped"
    closed = "" if end == read else "; the gaps between them were closed, since the model has fewer positions"
    return f"{selection} kept {positions:,.0f} of {read:,} positions per head{closed}"


def faults(row: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], integers: Flat, read: int) -> list[str]:
    """What contradicts itself in a row's kept keys after `read` tokens: empty when nothing does.

    row: dtype and shape of each tensor of the row; integers: its positions and counts.
    """
    found = []
    names = {name for name in row if is_kept(name)}
    layers = kept_layers(row)
    if extra := sorted(names - {f"{KEPT}{layer}.{part}" for layer in layers for part in PARTS}):
        return [f"{extra[0]} belongs to no kept keys"]
    for layer in layers:
        own = {part: f"{KEPT}{layer}.{part}" for part in PARTS}
        missing = [name for name in (*own.values(), *cache_names(layer)) if name not in row]
        if missing:
            return [f"{missing[0]} is missing"]
        for part in ("positions", "counts"):
            dtype, shape = row[own[part]]
            if dtype != torch.int32 or len(shape) != 1:
                return [f"{own[part]} is {dtype} {shape}"]
        counts, positions = integers[own["counts"]].long(), integers[own["positions"]].long()
        if bool((counts < 0).any()) or int(counts.sum()) != len(positions):
            return [f"{own['counts']} does not count its {len(positions)} positions"]
        wrong = any(len(row[own[part]][1]) != 2 or row[own[part]][1][0] != len(positions) for part in PARTS[:2])
        if wrong:
            found.append(f"{own['key']} and its values do not have {len(positions)} positions")
        if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < read:
            found.append(f"{own['positions']} holds positions that were not read")
        if any(bool((one[1:] <= one[:-1]).any()) for one in positions.split(counts.tolist())):
            found.append(f"{own['positions']} does not ascend")
        for part, name in zip(PARTS, cache_names(layer), strict=False):
            shape = row[name][1]
            if len(shape) != 4 or shape[1] != len(counts) or shape[3:] != row[own[part]][1][1:]:
                found.append(f"{name} does not fit the kept keys of its layer")
    return found


@dataclass(frozen=True)
class PaddedKeys:
    """Kept keys of one layer for several rows: key (R,K,P,D), value (R,K,P,E), positions (R,K,P), NOWHERE for padding.

    R is B, or 1 where all rows are forks of one.
    """

    key: Tensor
    value: Tensor
    positions: Tensor


@dataclass(frozen=True, eq=False)
class KeptRows(Sequence[Flat]):
    """The kept keys of the rows of a batch, as each row holds them; padded one layer at a time, when it is used."""

    rows: tuple[Flat, ...]

    @staticmethod
    def of(rows: Sequence[Flat]) -> KeptRows | None:
        """The kept keys of rows that all keep keys of the same layers; None where they keep none."""
        if not rows or not kept_layers(rows[0]):
            return None
        parts: dict[int, Flat] = {}  # forks of one row stay one row
        for row in rows:
            parts.setdefault(id(row), {name: x for name, x in row.items() if is_kept(name)})
        return KeptRows(tuple(parts[id(row)] for row in rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: Any) -> Any:  # Flat; a slice is not asked for
        return self.rows[row]

    @cached_property
    def kind(self) -> str:
        """`kept_kind` of every row."""
        return kept_kind(self.rows[0])

    @cached_property
    def layers(self) -> frozenset[int]:
        return frozenset(kept_layers(self.rows[0]))

    @property
    def nbytes(self) -> int:
        return sum(x.numel() * x.element_size() for row in self.rows for x in row.values())

    def take(self, rows: Sequence[int]) -> KeptRows:
        """Those rows, in that order."""
        return self if list(rows) == list(range(len(self))) else KeptRows(tuple(self.rows[row] for row in rows))

    def to(self, device: torch.device | str) -> KeptRows:
        moved: dict[int, Flat] = {}
        for row in self.rows:
            if id(row) not in moved:
                moved[id(row)] = {name: x.to(device) for name, x in row.items()}
        return KeptRows(tuple(moved[id(row)] for row in self.rows))

    @cached_property
    def distinct(self) -> tuple[Flat, ...]:
        """The rows, or the first alone where all are forks of it."""
        return self.rows[:1] if all(self._same(row) for row in self.rows) else self.rows

    def _same(self, row: Flat) -> bool:
        """Whether the row holds the very tensors of the first row."""
        return all(x is self.rows[0].get(name) for name, x in row.items())

    @cached_property
    def _placed(self) -> dict[int, tuple[Tensor, Tensor]]:
        return {}

    def _places(self, layer: int) -> tuple[Tensor, Tensor]:
        """Positions (R,K,P), NOWHERE for padding, and the places (R,K,P) of their keys among those of all rows; padding
        has the place of some key."""
        if layer not in self._placed:
            counts = torch.stack([row[f"{KEPT}{layer}.counts"] for row in self.distinct]).long()
            steps = torch.arange(int(counts.max()), device=counts.device)
            first = counts.flatten().cumsum(0).view_as(counts) - counts
            padding = steps >= counts[..., None]
            places = (first[..., None] + steps).masked_fill(padding, 0)
            at = torch.cat([row[f"{KEPT}{layer}.positions"] for row in self.distinct]).long()
            self._placed[layer] = (at[places].masked_fill(padding, NOWHERE), places)
        return self._placed[layer]

    def padded(self, layer: int) -> PaddedKeys:
        """The kept keys of a layer; after those of the shorter heads some key, at the position NOWHERE."""
        positions, places = self._places(layer)

        def full(part: str) -> Tensor:
            flat = [row[f"{KEPT}{layer}.{part}"] for row in self.distinct]
            x = flat[0] if len(flat) == 1 else torch.cat(flat)
            return x.index_select(0, places.flatten()).view(*places.shape, x.shape[-1])

        return PaddedKeys(full("key"), full("value"), positions)

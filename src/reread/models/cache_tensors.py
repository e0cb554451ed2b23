"""The caches of transformers as plain tensors: taken out by walking a cache, put back into one, held for many rows.

transformers changes a cache in place.  Here the tensors of a cache are a value: a call gets a cache of its own
(`filled`), and what it leaves there is taken out (`leaves`).

Shapes: B rows of a batch, H heads, L keys of a cache, D head width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from reread.models.kept_keys import KeptRows, cache_names, is_kept, kept_kind, kept_layers

Flat = dict[str, Tensor]
GROWING = (".keys", ".values")  # (B,H,L,D); L grows with the text where a layer is a DynamicLayer


def leaves(thing: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor, whole number and truth value inside a cache, by path; numbers as tensors without dimensions."""
    if isinstance(thing, Tensor):
        yield path, thing
    elif isinstance(thing, bool | int):
        yield path, torch.tensor(thing)
    else:
        for name, part in _parts(thing):
            yield from leaves(part, f"{path}.{name}" if path else str(name))


def _parts(thing: Any) -> list[tuple[Any, Any]]:
    if isinstance(thing, dict):
        return list(thing.items())
    if isinstance(thing, list | tuple):
        return list(enumerate(thing))
    own = type(thing).__module__.startswith("transformers.") and hasattr(thing, "__dict__")
    return [] if not own or isinstance(thing, type) or hasattr(thing, "to_dict") else list(vars(thing).items())


def filled(thing: Any, flat: Flat, path: str = "", *, grows: bool = False) -> Any:
    """A copy of a cache in which every leaf that `flat` names is a copy of what stands there.

    Keys and values that grow are handed over as they are (`grows`): a DynamicLayer makes new tensors of
    them at every update and never writes into them, and a copy per token would cost as much again.
    """
    if path in flat and (thing is None or isinstance(thing, Tensor | bool | int)):
        if not flat[path].dim():
            return flat[path].item()
        return flat[path] if grows and path.endswith(GROWING) else flat[path].clone()
    grows = isinstance(thing, DynamicLayer)
    parts = {
        name: filled(part, flat, f"{path}.{name}" if path else str(name), grows=grows) for name, part in _parts(thing)
    }
    if isinstance(thing, dict):
        return parts
    if isinstance(thing, list | tuple):
        return type(thing)(parts.values())
    if not parts:
        return thing
    again = copy.copy(thing)
    vars(again).update(parts)
    return again


def own_rows(flat: Flat, index: Sequence[int], batch: int) -> Flat:
    """Those rows of a cache of `batch` rows, the same tensors where it is all of them; what has fewer than two
    dimensions (counters) belongs to every row."""
    if list(index) == list(range(batch)):
        return flat
    if len(index) == 1:  # a view: no verb writes into the tensors of a state
        return {name: x[index[0] : index[0] + 1] if x.dim() > 1 else x for name, x in flat.items()}
    places = {x.device: torch.tensor(index, device=x.device) for x in flat.values()}
    return {name: x.index_select(0, places[x.device]) if x.dim() > 1 else x for name, x in flat.items()}


@dataclass(frozen=True)
class Batch(Sequence[Flat]):
    """The caches of `size` rows in one set of tensors, so that the next call need not put them together again.

    real (B,L) bool: which keys and values are a row's own, where rows of unequal length share `flat`; the others are
    padding, and `self[row]` is without it.  None: all are.  kept: the chosen keys of earlier text, where each row keeps
    some (kept_keys.py); `self[row]` holds them too.
    """

    flat: Flat
    size: int
    real: Tensor | None = None
    kept: KeptRows | None = None

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, row: Any) -> Any:  # Flat; a slice is not asked for
        if not 0 <= row < self.size:
            raise IndexError(row)
        flat = own_rows(self.flat, [row], self.size)
        if self.real is not None and not bool(self.real[row].all()):
            index = self.real[row].nonzero().flatten()
            flat = {name: x.index_select(2, index) if name.endswith(GROWING) else x for name, x in flat.items()}
        return flat if self.kept is None else {**flat, **self.kept[row]}

    @property
    def nbytes(self) -> int:
        """Bytes of the rows without padding; counters once per row."""
        own, all_ = (1, 1) if self.real is None else (int(self.real.sum()), self.real.numel())
        sizes = {
            name: x.numel() * x.element_size() * (1 if x.dim() > 1 else self.size) for name, x in self.flat.items()
        }
        kept = 0 if self.kept is None else self.kept.nbytes
        return kept + sum(size * own // all_ if name.endswith(GROWING) else size for name, size in sizes.items())

    def to(self, device: torch.device | str) -> Batch:
        return Batch(
            {name: x.to(device) for name, x in self.flat.items()},
            self.size,
            None if self.real is None else self.real.to(device),
            None if self.kept is None else self.kept.to(device),
        )

    def take(self, rows: Sequence[int]) -> Batch:
        """Those rows, in that order; packed again where more than half would be padding."""
        real = None if self.real is None else self.real[list(rows)]
        if real is not None and 2 * int(real.sum()) < real.numel():
            return Batch.of([self[row] for row in rows])
        return Batch(
            own_rows(self.flat, rows, self.size),
            len(rows),
            None if real is None or bool(real.all()) else real,
            None if self.kept is None else self.kept.take(rows),
        )

    @staticmethod
    def of(rows: Sequence[Flat]) -> Batch:
        """Rows in one set of tensors; zeros before the keys and values of the shorter ones.  Each row has kept keys, or
        none has."""
        kept, lengths = KeptRows.of(rows), keys_held(rows)
        if kept is not None:
            rows = [{name: x for name, x in row.items() if not is_kept(name)} for row in rows]
        if len(rows) == 1:
            return Batch(rows[0], 1, None, kept)
        first, B = rows[0], len(rows)
        flat = {}
        for name, x in first.items():
            own = [row[name] for row in rows]
            if x.dim() < 2:
                flat[name] = x
            elif not name.endswith(GROWING) or len(set(lengths)) == 1:
                flat[name] = torch.cat(own)
            else:
                flat[name] = x.new_zeros(B, x.shape[1], max(lengths), x.shape[3])
                for row, part in enumerate(own):
                    flat[name][row, :, max(lengths) - part.shape[2] :] = part[0]
        if len(set(lengths)) == 1:
            return Batch(flat, B, None, kept)
        places = torch.arange(max(lengths))
        real = places[None] >= max(lengths) - torch.tensor(lengths)[:, None]
        return Batch(flat, B, real.to(next(iter(flat.values())).device), kept)


def keys_held(tensors: Sequence[Flat]) -> list[int]:
    """How many keys and values the cache of each row holds, without the kept keys of earlier text; 0 where a model
    keeps none."""
    if isinstance(tensors, Batch):
        if tensors.real is not None:
            return tensors.real.sum(dim=1).tolist()
        layers = sorted(tensors.kept.layers) if tensors.kept is not None else ()
        return [_held(tensors.flat, layers)] * tensors.size
    return [_held(row, kept_layers(row)) for row in tensors]


def _held(row: Flat, kept: Sequence[int]) -> int:
    if kept:
        return row[cache_names(kept[0])[0]].shape[2]
    return next((x.shape[2] for name, x in row.items() if name.endswith(GROWING) and x.dim() == 4), 0)


def kept_kinds(tensors: Sequence[Flat]) -> list[str]:
    """What each row holds of earlier text (`kept_kind`): rows of different kinds do not share a call."""
    if isinstance(tensors, Batch):
        return ["" if tensors.kept is None else tensors.kept.kind] * tensors.size
    return [kept_kind(row) for row in tensors]


def taken(tensors: Sequence[Flat], rows: Sequence[int]) -> Batch:
    """Those rows of a state in one set of tensors, without a copy where they are so already."""
    return tensors.take(rows) if isinstance(tensors, Batch) else Batch.of([tensors[row] for row in rows])

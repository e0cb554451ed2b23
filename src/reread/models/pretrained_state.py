"""PretrainedState: what a model of transformers remembers, as a value.  Made of tensors; knows no model.

Shapes: B rows of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reread.errors import BadInput
from reread.models.cache_tensors import Batch, Flat, taken
from reread.models.state import row_index


@dataclass(frozen=True)
class PretrainedState:
    """What a transformers model remembers: per row the leaves of its cache (batch 1), by path.

    tensors: a tuple of rows, or a Batch that holds them together until the next call.  A row may hold kept keys of the
    text that was read first in place of all keys (kept_keys.py).

    position (B,): tokens read so far; fingerprint: of the weights that made it.  As State, a value:
    no verb changes the one it is given.
    """

    tensors: Sequence[Flat]
    position: Tensor
    fingerprint: str

    @property
    def batch(self) -> int:
        return len(self.tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, all rows together; it grows with the text where a layer is full attention."""
        if isinstance(self.tensors, Batch):
            return self.tensors.nbytes
        return sum(x.numel() * x.element_size() for row in self.tensors for x in row.values())

    def clone(self) -> PretrainedState:
        rows = tuple({name: x.clone() for name, x in row.items()} for row in self.tensors)
        return PretrainedState(rows, self.position.clone(), self.fingerprint)

    def to(self, device: torch.device | str) -> PretrainedState:
        rows: Sequence[Flat]
        if isinstance(self.tensors, Batch):
            rows = self.tensors.to(device)
        else:
            rows = tuple({name: x.to(device) for name, x in row.items()} for row in self.tensors)
        return PretrainedState(rows, self.position.to(device), self.fingerprint)

    def rows(self, index: Tensor | Sequence[int]) -> PretrainedState:
        """The rows of that index (repeats allowed: one document, many questions)."""
        chosen = row_index(index, self.batch, self.position.device)
        places = chosen.tolist()
        together = isinstance(self.tensors, Batch)
        rows = taken(self.tensors, places) if together else tuple(self.tensors[i] for i in places)
        return PretrainedState(rows, self.position[chosen], self.fingerprint)

    @staticmethod
    def cat(states: Sequence[PretrainedState]) -> PretrainedState:
        """Several states of one model as one batch, whatever their lengths.  Raises BadInput for two models."""
        if len({state.fingerprint for state in states}) != 1:
            raise BadInput("these states belong to several models, or there are none", got=len(states))
        rows = tuple(row for state in states for row in state.tensors)
        return PretrainedState(rows, torch.cat([state.position for state in states]), states[0].fingerprint)

    def to_flat(self) -> dict[str, Tensor]:
        """Tensors by name ("rows.0.layers.3.keys", "position"), none sharing memory, as safetensors wants them."""
        flat = {
            f"rows.{i}.{name}": x.clone(memory_format=torch.contiguous_format)
            for i, row in enumerate(self.tensors)
            for name, x in row.items()
        }
        return {**flat, "position": self.position}

    @staticmethod
    def from_flat(flat: dict[str, Tensor], fingerprint: str) -> PretrainedState:
        """The inverse of to_flat.  Raises BadInput when a name cannot belong to such a state."""
        rows: dict[int, Flat] = {}
        for key, x in flat.items():
            if key == "position":
                continue
            first, number, name = [*key.split(".", 2), "", ""][:3]
            if first != "rows" or not number.isdigit() or not name:
                raise BadInput("not a tensor of a state", got=key, allowed="rows.<number>.<name>, position")
            rows.setdefault(int(number), {})[name] = x
        if "position" not in flat or sorted(rows) != list(range(len(flat["position"]))):
            raise BadInput("a state needs a position and one set of tensors per row", got=sorted(rows))
        return PretrainedState(tuple(rows[i] for i in sorted(rows)), flat["position"], fingerprint)

"""Which weights a state was made by: a hash that every call asks for, so it is kept while nothing changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from reread.errors import BadCheckpoint


class Fingerprint:
    """16 hex digits over the weights of one module, made anew when a weight was changed in place or replaced, or a
    part of the module was (changes through `.data` are not seen)."""

    def __init__(self) -> None:
        self._value = ""
        self._places: list[tuple[dict[str, Any], str]] = []
        self._held: list[Any] = []
        self._weights: list[Tensor] = []
        self._counted: list[Tensor] = []
        self._seen: list[list[int]] | None = None

    def of(self, module: nn.Module, digest: Callable[[], str]) -> str:
        """`digest()`, the first time and after every change."""
        if self._seen != self._now():
            self._walk(module)
            self._seen, self._value = self._now(), digest()
        return self._value

    def _walk(self, module: nn.Module) -> None:
        places: list[tuple[dict[str, Any], str]] = []
        for part in module.modules():
            passing = part._non_persistent_buffers_set  # such as tables of angles: no weights, and some are made anew
            places += [(part._modules, name) for name in part._modules]
            places += [(part._parameters, name) for name in part._parameters]
            places += [(part._buffers, name) for name in part._buffers if name not in passing]
        self._places = places
        self._held = [table[name] for table, name in places]  # kept, so that no id is used again
        self._weights = list(module.state_dict(keep_vars=True).values())
        self._counted = [x for x in self._weights if not x.is_inference()]

    def _now(self) -> list[list[int]]:
        """What changes with the weights, without the walk that a state_dict takes."""
        return [
            [id(table.get(name)) for table, name in self._places],
            [x.data_ptr() for x in self._weights],
            [x._version for x in self._counted],
        ]


def not_in_memory(name: str) -> BadCheckpoint:
    """The error for a tensor without values (device "meta"): accelerate keeps its values elsewhere, or nobody does."""
    what = "weights of this model are not in memory: they were offloaded to the disk or the CPU, or never loaded"
    return BadCheckpoint(
        what, got=name, todo="load the model whole, without device_map or with one that offloads nothing"
    )


def check_in_memory(module: nn.Module) -> None:
    """Raise BadCheckpoint where a parameter is on the device "meta".  No tensor is read."""
    for name, x in module.named_parameters():
        if x.is_meta:
            raise not_in_memory(name)


def sha256_of(about: str, tensors: Mapping[str, Tensor], to_bytes: Callable[[Tensor], bytes]) -> str:
    """16 hex digits over what is said of a model, and over its tensors in the order of their names.  Raises
    BadCheckpoint where one is not in memory."""
    digest = hashlib.sha256(about.encode())
    for name, x in sorted(tensors.items()):
        if x.is_meta:
            raise not_in_memory(name)
        digest.update(name.encode())
        digest.update(to_bytes(x.detach().cpu().contiguous()))
    return digest.hexdigest()[:16]

"""Which weights a state was made by: a hash that every call asks for, so it is kept while nothing changed."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from reread.errors import BadCheckpoint

PLAIN = (bool, int, float, str)


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    return all(map(_plain, value)) if isinstance(value, list | tuple) else isinstance(value, PLAIN)


def _settings(part: nn.Module) -> dict[str, Any]:
    """What an adapter layer computes with beside its tensors: which adapters are active, off or merged, scaling, ..."""
    own = {name: value for name, value in vars(part).items() if not name.startswith("_") and name != "training"}
    own |= {name: vars(part).get(name) for name in ("_active_adapter", "_disable_adapters")}
    return {name: value for name, value in own.items() if _plain(value)}


def _adapter_layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that carry adapters (LoRA and others, as PEFT builds them), by path."""
    return [(path, part) for path, part in module.named_modules() if "_active_adapter" in vars(part)]


def adapter_settings(module: nn.Module) -> dict[str, Any]:
    """Settings of all adapter layers by path; empty for a model without adapters."""
    return {path: _settings(part) for path, part in _adapter_layers(module)}


class Fingerprint:
    """16 hex digits over the weights of one module.

    They are made anew when a weight was changed in place or replaced, when a part of the module was replaced or added,
    and when an adapter was switched on or off, scaled or merged.  Other changes through `.data` are not seen.
    """

    def __init__(self) -> None:
        self._value = ""
        self._adapters: list[nn.Module] = []
        self._places: list[tuple[dict[str, Any], str]] = []
        self._held: list[Any] = []
        self._weights: list[Tensor] = []
        self._counted: list[Tensor] = []
        self._parts: list[nn.Module] = []
        self._seen: list[list[Any]] | None = None

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
        self._parts = list(module.modules())
        self._adapters = [part for _, part in _adapter_layers(module)]
        self._held = [table[name] for table, name in places]  # kept, so that no id is used again
        self._weights = list(module.state_dict(keep_vars=True).values())
        self._counted = [x for x in self._weights if not x.is_inference()]

    def _now(self) -> list[list[Any]]:
        """What changes with the weights, without the walk that a state_dict takes."""
        return [
            [(len(part._modules), len(part._parameters), len(part._buffers)) for part in self._parts],
            [str(_settings(part)) for part in self._adapters],
            [id(table.get(name)) for table, name in self._places],
            [x.data_ptr() for x in self._weights],
            [x._version for x in self._counted],
        ]


class Snapshot:
    """The weights of a module as they stand now, to ask later whether they still do; changes are seen as Fingerprint
    sees them.  Keeps no weight alive."""

    def __init__(self, module: nn.Module):
        self._seen = {name: (weakref.ref(x), *self._facts(x)) for name, x in self._weights(module).items()}

    @staticmethod
    def _weights(module: nn.Module) -> dict[str, Tensor]:
        return module.state_dict(keep_vars=True)

    @staticmethod
    def _facts(x: Tensor) -> tuple[int, int]:
        return x.data_ptr(), 0 if x.is_inference() else x._version

    def holds(self, module: nn.Module) -> bool:
        """Whether the module has the same weights, unchanged."""
        now = self._weights(module)
        return now.keys() == self._seen.keys() and all(
            self._seen[name][0]() is x and self._seen[name][1:] == self._facts(x) for name, x in now.items()
        )


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

"""State: what a model remembers of what it has read.  Made of tensors; knows no word.

A State is a value: `read`, `extend` and `step` return a new one and never change the one they
were given, so that any number of questions can continue from one document.

Shapes: B rows of the batch.  Layer tensors have the batch first; their other sizes do not
depend on how much was read (but for the keys and values of full attention).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reread.errors import BadInput
from reread.models.fingerprint import check_in_memory
from reread.ops.inputs import HALF, sums_dtype


def row_index(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Numbers of rows, int64.  Raises BadInput for truth values and for rows that are not there."""
    rows = torch.as_tensor(index, device=device)
    if rows.dtype == torch.bool or rows.is_floating_point() or rows.dim() != 1:
        raise BadInput(
            "rows are chosen by their numbers", got=f"{rows.dtype} {tuple(rows.shape)}", allowed="(n,) int64"
        )
    if bool(((rows < 0) | (rows >= batch)).any()):
        raise BadInput("no such row in this state", got=rows.tolist(), allowed=f"0 to {batch - 1}")
    return rows.long()


def prefix_lengths(tokens: Tensor, prefix_len: int | Tensor | None, mask: Tensor | None, longest: int | None) -> Tensor:
    """(B,) lengths of the prefix, each within the real tokens of its row; None: all of them, `longest` at most."""
    B, T = tokens.shape
    real = tokens.new_full((B,), T) if mask is None else mask.bool().sum(dim=1)
    if prefix_len is None:
        return real if longest is None else real.clamp(max=longest)
    lengths = torch.as_tensor(prefix_len, device=tokens.device)
    lengths = lengths.expand(B) if lengths.dim() == 0 else lengths
    if lengths.shape != (B,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        got = f"{lengths.dtype} {tuple(lengths.shape)}"
        raise BadInput("prefix lengths must be whole numbers, one per row", got=got, allowed=f"int64 ({B},)")
    if bool(((lengths < 0) | (lengths > real)).any()):
        raise BadInput("a prefix must lie within its text", got=lengths.tolist(), allowed=f"0 to {real.tolist()}")
    return lengths


def _as_long(tensors: list[Tensor]) -> list[Tensor]:
    """Zeros after the shorter ones (B,L,...), where the states of full attention differ in L."""
    if tensors[0].dim() < 2 or len({x.shape[1] for x in tensors}) == 1:
        return tensors
    longest = max(x.shape[1] for x in tensors)
    return [torch.cat((x, x.new_zeros(x.shape[0], longest - x.shape[1], *x.shape[2:])), dim=1) for x in tensors]


@dataclass(frozen=True)
class State:
    """What a model remembers, one row per sequence.

    layers: per layer a dict of tensors (B, ...); position: (B,) int64, tokens read so far;
    fingerprint: of the weights and configuration that made it.
    """

    layers: tuple[dict[str, Tensor], ...]
    position: Tensor
    fingerprint: str

    @property
    def batch(self) -> int:
        return self.position.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, all rows together."""
        return sum(x.numel() * x.element_size() for layer in self.layers for x in layer.values()) + (
            self.position.numel() * self.position.element_size()
        )

    def _map(self, f: Callable[[Tensor], Tensor]) -> State:
        layers = tuple({name: f(x) for name, x in layer.items()} for layer in self.layers)
        return State(layers, f(self.position), self.fingerprint)

    def clone(self) -> State:
        """A copy that shares no memory with this one."""
        return self._map(Tensor.clone)

    def to(self, device: torch.device | str) -> State:
        return self._map(lambda x: x.to(device))

    def rows(self, index: Tensor | Sequence[int]) -> State:
        """The rows of that index (repeats allowed: one document, many questions)."""
        rows = row_index(index, self.batch, self.position.device)
        return self._map(lambda x: x.index_select(0, rows))

    @staticmethod
    def cat(states: Sequence[State]) -> State:
        """Several states of one model as one batch.  Raises BadInput for states of two models."""
        if not states:
            raise BadInput("State.cat needs at least one state")
        first = states[0]
        for other in states[1:]:
            if other.fingerprint != first.fingerprint:
                raise BadInput("these states belong to two models", got=f"{first.fingerprint}, {other.fingerprint}")
        layers = tuple(
            {name: torch.cat(_as_long([s.layers[i][name] for s in states])) for name in layer}
            for i, layer in enumerate(first.layers)
        )
        return State(layers, torch.cat([s.position for s in states]), first.fingerprint)

    def to_flat(self) -> dict[str, Tensor]:
        """Tensors by name ("layers.3.S", "position"), as safetensors wants them."""
        flat = {f"layers.{i}.{name}": x for i, layer in enumerate(self.layers) for name, x in layer.items()}
        return {**flat, "position": self.position}

    @staticmethod
    def from_flat(flat: dict[str, Tensor], fingerprint: str) -> State:
        """The inverse of to_flat.  Raises BadInput when a name cannot belong to a state."""
        layers: dict[int, dict[str, Tensor]] = {}
        for key, x in flat.items():
            if key == "position":
                continue
            parts = key.split(".")
            if len(parts) != 3 or parts[0] != "layers" or not parts[1].isdigit():
                raise BadInput("not a tensor of a state", got=key, allowed="layers.<number>.<name>, position")
            layers.setdefault(int(parts[1]), {})[parts[2]] = x
        if "position" not in flat or sorted(layers) != list(range(len(layers))):
            raise BadInput("a state needs a position and layers 0, 1, 2, ... without a gap", got=sorted(layers))
        return State(tuple(layers[i] for i in range(len(layers))), flat["position"], fingerprint)


def check_mask(mask: Tensor, tokens: Tensor) -> None:
    """Raise BadInput unless the mask (B,T) leaves one piece of text per row, with padding before or after it."""
    if mask.shape != tokens.shape:
        raise BadInput("mask and tokens differ in shape", got=f"{tuple(mask.shape)} and {tuple(tokens.shape)}")
    if mask.is_floating_point() or (mask.dtype != torch.bool and bool(((mask != 0) & (mask != 1)).any())):
        raise BadInput("a mask holds True or 1 for real tokens, False or 0 for padding", got=mask.dtype)
    real = mask.bool()
    begins = F.pad(real[:, 1:] & ~real[:, :-1], (1, 0)) | F.pad(real[:, :1], (0, real.shape[1] - 1))
    torn = (begins.sum(dim=1) > 1).nonzero().flatten()
    if len(torn):
        row = int(torn[0])
        first, second = begins[row].nonzero().flatten()[:2].tolist()
        raise BadInput(
            "a mask with a hole: the real tokens of a row must stand together",
            got=f"row {row}: text from {first}, padding, text again from {second}",
            allowed="padding before or after the text",
        )


def too_long(tokens: int, places: int) -> BadInput:
    todo = "show less of the document (--budget)"
    return BadInput("more tokens than the model has positions", got=tokens, allowed=places, todo=todo)


def check_tokens(config: Any, tokens: Tensor, position: Tensor | None = None, mask: Tensor | None = None) -> None:
    """Raise BadInput for token ids that the model has no embedding of, and for more tokens than it has places for:
    tokens (B,T) of rows that have read `position` (B,), less those that the mask leaves out."""
    if tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise BadInput("token ids are whole numbers", got=tokens.dtype)
    size, places = getattr(config, "vocab_size", None), getattr(config, "n_positions", None)
    if tokens.numel() and size is not None:
        low, high = torch.stack(torch.aminmax(tokens)).tolist()  # one wait for the device
        if low < 0 or high >= size:
            raise BadInput("a token id outside the vocabulary", got=f"{low} to {high}", allowed=f"0 to {size - 1}")
    if places is not None:
        lengths = torch.full(tokens.shape[:1], tokens.shape[1]) if mask is None else mask.bool().sum(dim=1).cpu()
        end = int((lengths if position is None else lengths + position.cpu()).max())
        if end > places:
            raise too_long(end, places)


def check_call(model: Any, tokens: Tensor, state: Any, mask: Tensor | None) -> None:
    """Raise BadInput when tokens (B,T), mask and state do not fit each other or the model.

    Raises BadCheckpoint where weights are not in memory.  The fingerprint, a hash over every weight, is asked for only
    where there is a state.
    """
    if state is None and isinstance(module := getattr(model, "model", model), nn.Module):
        check_in_memory(module)
    if tokens.dim() != 2 or tokens.shape[1] == 0:
        raise BadInput("tokens must be (batch, time) with at least one token", got=tuple(tokens.shape))
    if model.dtype == torch.float16 and tokens.device.type == "cpu":
        raise BadInput("no float16 on a CPU, where it is slower than float32", **HALF)
    if mask is not None:
        check_mask(mask, tokens)
    if state is not None and state.fingerprint != model.fingerprint:
        raise BadInput(
            "this state was made by another model",
            got=f"state of {state.fingerprint}, model {model.fingerprint}",
            todo="read the document again with this model",
        )
    if state is not None and state.batch != tokens.shape[0]:
        raise BadInput("state and tokens must have the same batch", got=f"{state.batch} and {tokens.shape[0]}")
    check_tokens(model.config, tokens, None if state is None else state.position, mask)
    if isinstance(state, State):
        if len(state.layers) != len(model.layers):
            raise BadInput("a state of another number of layers", got=len(state.layers), allowed=len(model.layers))
        sums = sums_dtype(model.dtype)
        for i, layer in enumerate(state.layers):
            for name, x in layer.items():
                if x.dtype not in (torch.float32, sums):
                    got = f"{name} of layer {i}: {x.dtype}, model {model.dtype}"
                    raise BadInput("a state of another dtype", got=got, allowed=sums)
                if x.shape[0] != state.batch:
                    got = f"{name} of layer {i}: {x.shape[0]} rows, position {state.batch}"
                    raise BadInput("the tensors of a state must have one batch", got=got)

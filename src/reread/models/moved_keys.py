"""Kept keys at other positions, for documents with more tokens than a model has positions.

A rotary embedding turns a key by its position, so a key that was read at position p is that of position q after a turn
by q - p: R(q - p) R(p) k = R(q) k (RoPE, arXiv 2104.09864).  Only differences of positions then matter to attention.
This holds where every layer with positions turns its keys so, with angles that do not change with the length of the
text; not for learned positions or frequencies that depend on the length, and not where layers with a sliding window
keep keys of their own.

Shapes: N keys, D width of a key.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reread.errors import BadInput
from reread.models.cache_tensors import Flat
from reread.models.kept_keys import KEPT, PARTS, cache_names, kept_positions, with_kept
from reread.models.kv_attention import Attention, Observer, observed, scored_layers
from reread.models.kv_scores import rotary_of, rotated
from reread.models.pretrained import Pretrained, PretrainedState

CHANGING = ("dynamic", "longrope")  # kinds of rotary embeddings whose angles depend on the length of the text
PROBED = 12  # tokens that find out whether a family's keys can be moved, and how far they are moved
REFUSED = "a document with more tokens than the model has positions is read in pieces only where keys can be moved"


@dataclass(frozen=True)
class Turn:
    """How a layer turns its keys: its attention module, and the rotary embedding with the arguments that it was given;
    None without one."""

    module: nn.Module
    rotary: tuple[Any, dict[str, Any]] | None

    def of(self, key: Tensor, steps: Tensor) -> Tensor:
        """Keys (N,D) moved by `steps` (N,) positions each."""
        if self.rotary is None:
            return key
        part, given = self.rotary
        sums = key.to(torch.promote_types(key.dtype, torch.float32))
        cos, sin = part.forward(**{**given, "x": sums}, position_ids=steps[None].to(key.device))
        size = (cos[..., :1] ** 2 + sin[..., :1] ** 2).sqrt()  # some families scale what they turn
        return rotated(self.module, sums[None, None], cos / size, sin / size)[0, 0].to(key.dtype)


class _Turns(Observer):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, Turn] = {}

    def __call__(self, call: Attention) -> Tensor:
        made = rotary_of(self, call)
        if made is not None:
            part, given = made
            made = part, {name: x for name, x in given.items() if name not in ("x", "position_ids")}
        self.found[call.layer] = Turn(call.module, made)
        return call.output()


_TURNS: weakref.WeakKeyDictionary[Pretrained, tuple[str, dict[int, Turn]]] = weakref.WeakKeyDictionary()


@torch.no_grad()
def turns_of(model: Pretrained) -> dict[int, Turn]:
    """How each layer with full attention turns its keys.

    Raises BadInput for a family whose keys cannot be moved: found out on the model's own weights, by reading on from a
    state whose keys were all moved.
    """
    found = _TURNS.get(model)
    if found is None or found[0] != model.fingerprint:
        found = (model.fingerprint, _turns(model))
        _TURNS[model] = found
    return found[1]


def can_move(model: Pretrained) -> bool:
    """Whether keys of this model can be moved."""
    try:
        return bool(turns_of(model))
    except BadInput:
        return False


def _turns(model: Pretrained) -> dict[int, Turn]:
    kind = model.config.model_type
    if model.places is not None:
        raise BadInput(REFUSED, got=f"{kind}: learned positions")
    keeps = [isinstance(getattr(one, "keys", None), Tensor) for one in getattr(model.template(), "layers", [])]
    layers = scored_layers(model)
    if others := [number for number, one in enumerate(keeps) if one and number not in layers]:
        raise BadInput(REFUSED, got=f"{kind}: layers {others} have a sliding window")
    observer = _Turns()
    ids = torch.arange(1, PROBED + 1, device=model.model.device)[None] % model.config.vocab_size
    observed(model, observer).read(ids)
    observer.forget()
    turns = {layer: observer.found[layer] for layer in layers if layer in observer.found}
    for one in turns.values():
        changing = getattr(one.rotary[0], "rope_type", "") if one.rotary else ""
        if changing in CHANGING:
            raise BadInput(REFUSED, got=f"{kind}: rotary embedding {changing!r}, whose angles depend on the length")
    first = ids[:, : PROBED - 4]
    _, state = model.read(first)
    (row,) = state.tensors
    every = {i: [torch.arange(first.shape[1])] * row[cache_names(i)[0]].shape[1] for i in layers}
    kept = with_kept(row, every, first.shape[1])
    at = {i: tuple(one + PROBED for one in heads) for i, heads in every.items()}
    moved = PretrainedState((kept | moved_row(kept, at, turns),), state.position + PROBED, state.fingerprint)
    want, _ = model.extend(ids[:, PROBED - 4 :], state)
    got, _ = model.extend(ids[:, PROBED - 4 :], moved)
    if len(turns) != len(layers) or not bool(want.isfinite().all()) or not model.close(got, want):
        raise BadInput(REFUSED, got=f"{kind}: its logits change when all positions are shifted")
    return turns


def moved_row(row: Flat, to: dict[int, Sequence[Tensor]] | Any, turns: dict[int, Turn]) -> Flat:
    """The tensors of a row's kept keys after their positions became those of `to`, per layer and KV head."""
    made: Flat = {}
    for layer, old in kept_positions(row, tuple(to)).items():
        name, places = f"{KEPT}{layer}.{PARTS[0]}", f"{KEPT}{layer}.{PARTS[2]}"
        new = torch.cat(tuple(to[layer])).to(row[name].device)
        made[name] = turns[layer].of(row[name], new - torch.cat(old))
        made[places] = new.to(row[places].dtype)
    return made

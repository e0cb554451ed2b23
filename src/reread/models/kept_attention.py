"""Attention over kept keys: in each KV head the positions that a state kept, then what was read afterwards.

The number of keys differs between layers, rows and heads, so no mask of transformers fits: its masks have one length.
The function here is registered in transformers' AttentionInterface and masks by the positions that are stored with the
keys.  There is no mask function of the same name in AttentionMaskInterface: transformers then makes no mask at all, and
a mask that a family makes by itself is refused.  The function is used by a view of the model (`viewed`), which shares
every weight.  What it needs beside queries, keys and values (`Call`) is in a context variable, so that threads can
use one view at the same time.

Shapes: B rows, K KV heads, G query heads per KV head, T tokens of the call, S keys, D width of a key, E of a value.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from reread.errors import BadInput
from reread.models.dropped_sums import DroppedSums, sums_of
from reread.models.kept_keys import NOWHERE, KeptRows

NAME = "reread_kept"
BLOCK = 256  # queries
UNSERVED = ("s_aux", "position_bias")  # keywords that change attention and are not computed here


class Call:
    """One call of a model: the kept keys of its rows, and the positions of its tokens.

    places (B,T): positions of the tokens; real (B,L+T): which of the L keys in the ordinary caches and of the tokens
    are no padding, None: all.
    """

    def __init__(self, kept: KeptRows, places: Tensor, real: Tensor | None):
        self.kept, self.places, self.real = kept, places, real
        self.seen: set[int] = set()  # layers whose kept keys were used

    def keys_at(self, S: int) -> Tensor:
        """(B,S) positions of the newest S keys, which end with the tokens of the call; NOWHERE for padding."""
        last = self.places[:, -1:]
        if self.real is None:
            return last - torch.arange(S - 1, -1, -1, device=last.device)
        real = self.real[:, -S:]
        later = real.flip(1).cumsum(1).flip(1) - real.long()
        return (last - later).masked_fill(~real, NOWHERE)

    def keys(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values and positions (B,K,P+S) of a layer: its P kept ones, if it has any, before the S given."""
        B, K, S, _ = key.shape
        at = self.keys_at(S)[:, None].expand(B, K, S)
        if layer not in self.kept.layers:
            return key, value, at
        self.seen.add(layer)
        kept = self.kept.padded(layer)
        key = torch.cat((kept.key.expand(B, -1, -1, -1), key), dim=2)
        value = torch.cat((kept.value.expand(B, -1, -1, -1), value), dim=2)
        return key, value, torch.cat((kept.positions.expand(B, -1, -1), at), dim=2)

    def padding(self) -> Tensor | None:
        """(B,T) which tokens are padding; None: no token."""
        return None if self.real is None else ~self.real[:, -self.places.shape[1] :]


_CALL: ContextVar[Call | None] = ContextVar("reread_kept_call", default=None)


def current_call() -> Call | None:
    """The call that runs now in this thread, of a model whose rows have kept keys."""
    return _CALL.get()


@contextlib.contextmanager
def attending(kept: KeptRows | None, places: Tensor, real: Tensor | None) -> Iterator[None]:
    """While it is open, views in this thread attend to the kept keys.  Does nothing without any.

    Raises BadInput where a layer's kept keys were not used: the family's attention does not go through
    AttentionInterface.
    """
    if kept is None:
        yield
        return
    call = Call(kept, places, real)
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)
    if missing := sorted(kept.layers - call.seen):
        what = "the attention of this family does not go through transformers' AttentionInterface"
        raise BadInput(what, got=f"layers {missing}", todo="leave the selection out")


@dataclass(frozen=True)
class Rule:
    """How a layer attends: scale multiplies q.k; softcap: c tanh(x/c) after it; window: keys that a query sees, itself
    included.  None: not at all, all."""

    scale: float
    softcap: float | None
    window: int | None


Attend = Callable[[nn.Module, Tensor, Tensor, Tensor, Rule], Tensor]
"""(module, query (B,KG,T,D), key (B,K,S,D), value (B,K,S,E), rule) -> (B,KG,T,E)."""


def register(name: str, attend: Attend) -> None:
    """Make `attend` an attention function of transformers' AttentionInterface.

    What the function does not compute is refused when a model asks for it: BadInput.
    """

    def function(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        sliding_window: int | None = None,
        softcap: float | None = None,
        is_causal: bool | None = None,
        **more: Any,
    ) -> tuple[Tensor, None]:
        wrong = [word for word in UNSERVED if more.get(word) is not None]
        wrong += ["attention_mask"] * (attention_mask is not None) + ["dropout"] * bool(dropout)
        wrong += ["not causal"] * (is_causal is False or not getattr(module, "is_causal", True))
        if wrong:
            raise BadInput("an attention whose keys cannot be scored or dropped", got=", ".join(wrong))
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        out = attend(module, query, key, value, Rule(scale, softcap, sliding_window))
        return out.transpose(1, 2).to(query.dtype).contiguous(), None

    AttentionInterface.register(name, function)


def _kept_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
    """As Attend: the kept keys of the call, then those of the ordinary cache."""
    call = current_call()
    if call is None:
        raise BadInput("a view of a model with kept keys was called without them", got=type(module).__name__)
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    key, value, at = call.keys(layer, key, value)
    sums = sums_of(call.kept, layer)
    query = query.unflatten(1, (key.shape[1], -1))  # (B,K,G,T,D)
    padding, blocks = call.padding(), []
    for start in range(0, query.shape[3], BLOCK):
        part = slice(start, start + BLOCK)
        own, keys = call.places[:, None, part, None], at[:, :, None]
        seen = (keys != NOWHERE) & (keys <= own)
        if rule.window is not None:
            seen = seen & (keys > own - rule.window)
        if padding is not None:  # of a token that is padding: any weights that are finite
            seen = seen | padding[:, None, part, None]
        blocks.append(_attend(query[:, :, :, part], key, value, seen, rule, sums))
    return torch.cat(blocks, dim=3).flatten(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor, seen: Tensor, rule: Rule, dropped: DroppedSums | None) -> Tensor:
    """(B,K,G,T,E) for query (B,K,G,T,D), key (B,K,S,D), value (B,K,S,E), seen (B,K,T,S)."""
    G, T = query.shape[2:4]
    seen = seen[:, :, None].expand(-1, -1, G, -1, -1).flatten(2, 3)
    query = query.flatten(2, 3)
    if rule.softcap is None and dropped is None:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=rule.scale)
        return out.unflatten(2, (G, T))
    sums = torch.promote_types(query.dtype, torch.float32)
    logits = query.to(sums) @ key.to(sums).mT * rule.scale
    if rule.softcap is not None:
        logits = rule.softcap * torch.tanh(logits / rule.softcap)
    logits = logits.masked_fill(~seen, -math.inf)
    out = logits.softmax(dim=-1) @ value.to(sums)
    if dropped is not None:
        out = dropped.joined(query.to(sums), out, logits.logsumexp(dim=-1), rule.scale)
    return out.to(query.dtype).unflatten(2, (G, T))


register(NAME, _kept_attention)


def viewed(module: Any, implementation: str) -> Any:
    """New parts that share every weight of the module; with that attention function and their own configuration."""
    shared: dict[int, Any] = {id(x): x for x in (*module.parameters(), *module.buffers())}
    view = copy.deepcopy(module, shared)
    for part in view.modules():
        if getattr(part, "config", None) is not None:
            part.config._attn_implementation = implementation  # type: ignore[union-attr]
    return view


class KeptView:
    """The view of one model that attends to kept keys, made again after a weight or a part was replaced."""

    def __init__(self) -> None:
        self._made: tuple[list[Any], Any] | None = None

    def of(self, module: nn.Module, fingerprint: str) -> Any:
        """fingerprint: of the model now; it also says which adapters are active."""
        now = [fingerprint, *map(id, (*module.parameters(), *module.buffers()))]
        made = self._made
        if made is None or made[0] != now:
            made = self._made = (now, viewed(module, NAME))
        return made[1]


class OwnView(KeptView):
    """Of a model that attends to kept keys itself."""

    def of(self, module: nn.Module, fingerprint: str) -> Any:
        return module

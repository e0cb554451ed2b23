"""Attention as it is seen while keys are scored, and a reference for keys that are dropped.

An attention function is registered in transformers' AttentionInterface.  It computes a block of queries at a time, in
fp32 at least, so that no layer ever holds T x T weights.  transformers makes no mask for an attention function that it
does not know; this one masks by position: causal, and within `sliding_window`.  It is used by a view of the model: the
same weights in other modules, with a configuration of their own.  So the model itself is never changed, whatever
happens, and other threads can use it meanwhile.

Shapes: K KV heads, G query heads per KV head, Q queries, S keys, D width of a key, E of a value, T tokens of the
document, V vocabulary.  The batch is 1.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from reread.errors import BadInput
from reread.models.kept_attention import OwnView, Rule, current_call, register, viewed
from reread.models.kept_keys import NOWHERE, POSITION_BYTES
from reread.models.kv_choice import Kept
from reread.models.pretrained import Pretrained

OBSERVED = "reread_observed"
BLOCK = 128  # queries


def position_bytes(key: Tensor, value: Tensor) -> int:
    """Bytes that one kept position of one KV head takes: its key, its value and the position itself."""
    return (key.shape[-1] + value.shape[-1]) * key.element_size() + POSITION_BYTES


class Attention:
    """One layer's attention: query (K,G,Q,D), key (K,S,D), value (K,S,E), in fp32 at least.

    The last query is at the last key.  at (K,S): positions of the keys in each head, NOWHERE for padding, the newest Q
    the same in all; None: 0, 1, 2, ... in each.
    """

    def __init__(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rule: Rule, at: Tensor | None = None
    ):
        self.module, self.rule = module, rule
        self.layer = int(module.layer_idx)  # type: ignore[arg-type]
        self.size = position_bytes(key, value)
        sums = torch.promote_types(query.dtype, torch.float32)
        self.query, self.key, self.value = query.to(sums), key.to(sums), value.to(sums)
        first = key.shape[1] - query.shape[2]  # the key at which the first query stands
        self.begin = first if at is None else int(at[0, first])  # its position
        self.at = torch.arange(key.shape[1], device=key.device)[None] if at is None else at

    def weights(self, start: int, end: int) -> Tensor:
        """Attention weights of queries start to end, (K,G,end-start,C): softmax over the first C keys, the others are
        not seen."""
        K, G, Q, D = self.query.shape
        first = self.key.shape[1] - Q  # the key at which the first query stands
        C = first + end
        query = self.query[:, :, start:end].reshape(K, -1, D)
        logits = (query @ self.key[:, :C].mT).view(K, G, end - start, C) * self.rule.scale
        if self.rule.softcap is not None:
            logits = self.rule.softcap * torch.tanh(logits / self.rule.softcap)
        keys, own = self.at[:, None, :C], self.at[:1, first + start : C, None]
        seen = (keys != NOWHERE) & (keys <= own)
        if self.rule.window is not None:
            seen = seen & (keys > own - self.rule.window)
        return logits.masked_fill(~seen[:, None], -math.inf).softmax(dim=-1)

    def output(self, see: Callable[[int, Tensor], None] | None = None) -> Tensor:
        """(K,G,Q,E); `see` is called with each block's first query and its weights."""
        K, G, Q, _ = self.query.shape
        blocks = []
        for start in range(0, Q, BLOCK):
            p = self.weights(start, min(start + BLOCK, Q))
            if see is not None:
                see(start, p)
            blocks.append((p.flatten(1, 2) @ self.value[:, : p.shape[-1]]).view(K, G, -1, self.value.shape[-1]))
        return torch.cat(blocks, dim=2)


class Observer:
    """What is done with each layer's attention; this one computes the output and nothing else."""

    inputs: tuple[nn.Module | None, dict[str, Any]] = (None, {})  # arguments of the attention module that runs now

    def __init__(self) -> None:
        self.rotations: deque[tuple[nn.Module, dict[str, Any], Any]] = deque(maxlen=8)  # calls of rotary embeddings

    def __call__(self, call: Attention) -> Tensor:
        """The layer's output, (K,G,Q,E)."""
        return call.output()

    def forget(self) -> None:
        """Let go of the arguments of the last call: they hold its cache, in a circle of references."""
        self.inputs = (None, {})
        self.rotations.clear()

    def argument(self, call: Attention, name: str) -> Any:
        """What the attention module of this call was given under that name; None where it has no such argument."""
        return self.inputs[1].get(name) if self.inputs[0] is call.module else None


def _observed(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
    """As kept_attention.Attend, for one row."""
    if query.shape[0] != 1:
        raise BadInput("keys are scored for one document at a time", got=f"a batch of {query.shape[0]}", allowed=1)
    K = key.shape[1]
    observer: Observer = module.kv_observer  # type: ignore[assignment]
    kept, at = current_call(), None
    if kept is not None:
        key, value, places = kept.keys(int(module.layer_idx), key, value)  # type: ignore[arg-type]
        at = places[0]
    call = Attention(module, query[0].unflatten(0, (K, -1)), key[0], value[0], rule, at)
    return observer(call).flatten(0, 1)[None]


register(OBSERVED, _observed)


def observed(model: Pretrained, observer: Observer) -> Pretrained:
    """A view of the model whose attention is seen by `observer`.  It shares every weight, and nothing else."""
    model.template()
    _ = model.resume, model.fingerprint
    view = copy.copy(model)
    view._fingerprint = copy.copy(model._fingerprint)  # it watches the modules that it was made of
    view.model, view._kept_view = viewed(model.model, OBSERVED), OwnView()
    for part in view.model.modules():
        part.kv_observer = observer  # type: ignore[assignment]
        if isinstance(getattr(part, "layer_idx", None), int):
            part.register_forward_pre_hook(_note_inputs, with_kwargs=True)
        if any(name.endswith("inv_freq") for name, _ in part.named_buffers(recurse=False)):
            part.register_forward_hook(_note_rotation, with_kwargs=True)
    return view


def _arguments(module: nn.Module, args: Any, kwargs: Any) -> dict[str, Any]:
    bound = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    return {**bound, **bound.get("kwargs", {})}


def _note_inputs(module: nn.Module, args: Any, kwargs: Any) -> None:
    module.kv_observer.inputs = (module, _arguments(module, args, kwargs))  # type: ignore[union-attr, assignment]


def _note_rotation(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
    module.kv_observer.rotations.append((module, _arguments(module, args, kwargs), out))  # type: ignore[union-attr, operator]


def scored_layers(model: Pretrained) -> tuple[int, ...]:
    """Numbers of the layers with full attention.  Raises BadInput for a model without any, and for chunked attention,
    whose masks are not computed here."""
    if "chunked_attention" in (getattr(model.config, "layer_types", None) or ()):
        raise BadInput("keys of a model with chunked attention cannot be chosen", got=model.config.model_type)
    layers = getattr(model.template(), "layers", [])
    keeps = [isinstance(getattr(one, "keys", None), Tensor) and not getattr(one, "is_sliding", False) for one in layers]
    found = tuple(i for i, one in enumerate(keeps) if one)
    if not found:
        what = "this model has no layer with full attention: its state has a fixed size already"
        raise BadInput(what, got=model.config.model_type, todo="leave the selection out")
    return found


def check_alone(tokens: Tensor) -> None:
    """Raise BadInput for tokens that are not (1,T)."""
    if tokens.dim() != 2 or tokens.shape[0] != 1:
        raise BadInput("keys are scored for one document at a time", got=tuple(tokens.shape), allowed="(1,T)")


class Hidden(Observer):
    """Attention in which queries from T on do not see the document's keys that were dropped.  Keeps Q x S weights."""

    def __init__(self, T: int, kept: Kept):
        super().__init__()
        self.T, self.kept = T, kept

    def __call__(self, call: Attention) -> Tensor:
        Q, S = call.query.shape[2], call.key.shape[1]
        j, i = torch.arange(S - Q, S)[:, None], torch.arange(S)
        seen = ((i <= j) & (i > j - (call.rule.window or S))).expand(len(call.key), Q, S)
        if call.layer in self.kept:
            stays = torch.stack([torch.isin(i, one) for one in self.kept[call.layer]])
            seen = seen & (stays[:, None] | (i >= self.T) | (j < self.T))
        logits = torch.einsum("kgqd,ksd->kgqs", call.query, call.key) * call.rule.scale
        if call.rule.softcap is not None:
            logits = call.rule.softcap * torch.tanh(logits / call.rule.softcap)
        p = logits.masked_fill(~seen[:, None].to(logits.device), -math.inf).softmax(dim=-1)
        return torch.einsum("kgqs,kse->kgqe", p, call.value)


def masked_logits(model: Pretrained, document: Tensor, question: Tensor, kept: Kept) -> Tensor:
    """Logits (n,Q,V) of questions (n,Q) after a document (1,T), where they see of it only the keys in `kept`.

    One forward of the whole text without a cache: what a state with dropped keys must give.  Never optimised.
    """
    check_alone(document)
    view = observed(model, Hidden(document.shape[1], kept))
    rows = []
    with torch.no_grad():
        for row in question:
            text = torch.cat((document, row[None]), dim=1)
            rows.append(view.model(text, use_cache=False).logits[:, document.shape[1] :])
    return torch.cat(rows)

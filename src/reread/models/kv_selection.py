"""Which keys and values a Transformer's state of fixed size keeps: selections, their ids and their budgets.

A selection scores every key of a document, per layer and KV head (kv_scores.py), and keeps those with the highest
scores: `reread(share=0.25)`, `window(tokens=256)`, `snapkv(mib=4, heads=equal)`.  A cache that holds a fixed number of
positions is a recurrent state ("Transformers are Multi-State RNNs", arXiv 2401.06104).  The first SINKS positions
always stay: models put attention there that they need nowhere else ("Efficient Streaming Language Models with
Attention Sinks", arXiv 2309.17453).

Shapes: K KV heads of a layer, T tokens of the document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction

import torch
from torch import Tensor

from reread.config import Spec, at_least, settings_of
from reread.errors import BadInput, UnknownName

SINKS = 4
BUDGETS = ("tokens", "mib", "share")
HEADS = ("global", "equal")
MIB = 2**20
Scores = dict[int, Tensor]
"""Per layer with full attention: a score of every key, (K,T); the highest are kept."""
Kept = dict[int, tuple[Tensor, ...]]
"""Per layer with full attention, one tensor per KV head: the positions that stay, ascending, int64."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of every selection: exactly one budget, and how heads share it.

    tokens: positions, averaged over layers and KV heads; mib: MiB of keys and values in the state's dtype (the kept
    positions themselves are not counted); share: of the document's positions, rounded down, and SINKS of them at least.
    heads "global": one threshold over all layers and heads; "equal": as many positions for each head.
    """

    tokens: int = 0
    mib: float = 0.0
    share: float = 0.0
    heads: str = "global"


@dataclass(frozen=True, kw_only=True)
class RereadSettings(Settings):
    """plus: scores are multiplied by |W_O v| / |h| (KVzip+); chunk: tokens that are repeated in one piece."""

    plus: bool = False
    chunk: int = 2048


@dataclass(frozen=True, kw_only=True)
class RandomSettings(Settings):
    """seed: of the scores that are drawn."""

    seed: int = 0


@dataclass(frozen=True)
class NoSettings:
    """Of `full`, which keeps everything."""


SELECTIONS: dict[str, type[Settings] | type[NoSettings]] = {
    "full": NoSettings,
    "window": Settings,
    "tova": Settings,
    "snapkv": Settings,
    "keydiff": Settings,
    "expected": Settings,
    "reread": RereadSettings,
    "random": RandomSettings,
}


@dataclass(frozen=True)
class Selection:
    """A selection under its id; str() gives the id, which parses back and does not hold defaults."""

    name: str
    settings: Settings | NoSettings

    def __str__(self) -> str:
        named = {one.name: (getattr(self.settings, one.name), one.default) for one in fields(self.settings)}
        return str(Spec(self.name, (), tuple(sorted((k, v) for k, (v, default) in named.items() if v != default))))


def selection(text: str) -> Selection:
    """The selection of an id such as "reread(share=0.25)".  Raises UnknownName, BadInput."""
    spec = Spec.parse(re.sub(r"\bheads\s*=\s*global\b", "heads='global'", text))  # a keyword of Python
    if spec.name not in SELECTIONS:
        raise UnknownName("selection", spec.name, SELECTIONS)
    kind = SELECTIONS[spec.name]
    given = settings_of(spec, kind)
    settings = kind(**given)
    if isinstance(settings, Settings):
        _check(spec, settings, [name for name in BUDGETS if name in given])
    return Selection(spec.name, settings)


def _check(spec: Spec, settings: Settings, budgets: list[str]) -> None:
    if len(budgets) != 1:
        todo = f"for instance {spec.name}(share=0.25)"
        raise BadInput("a selection needs exactly one budget", got=str(spec), allowed=" or ".join(BUDGETS), todo=todo)
    if settings.heads not in HEADS:
        raise UnknownName("heads", settings.heads, HEADS)
    if budgets == ["tokens"]:
        at_least(settings, SINKS, "tokens")
    elif budgets == ["share"] and not 0 < settings.share <= 1:
        raise BadInput("share must be above 0 and at most 1", got=settings.share)
    elif budgets == ["mib"] and not 0 < settings.mib < math.inf:
        raise BadInput("mib must be above 0", got=settings.mib)
    if isinstance(settings, RereadSettings):
        at_least(settings, 1, "chunk")


def choose(scores: Scores, chosen: Selection, sizes: Mapping[int, int]) -> Kept:
    """The positions that stay; those with the highest scores, the earlier one (then the lower layer and head) of two
    with one score.

    scores: (K,T) per layer; sizes: per layer, bytes of the key and the value of one position in one KV head.  A budget
    of T positions or more keeps everything.  Raises BadInput for scores that are not finite, for layers of different
    lengths or without a size, and for a `mib` that does not hold the first SINKS positions of every head.
    """
    _check_scores(scores, sizes)
    layers = sorted(scores)
    rows = torch.cat([scores[layer].double().cpu() for layer in layers])  # (N,T), N heads of all layers
    N, T = rows.shape
    rows[:, :SINKS] = math.inf
    cost = torch.cat([torch.full((len(scores[layer]),), sizes[layer]) for layer in layers])
    keep = torch.ones(N, T, dtype=torch.bool)
    settings = chosen.settings
    if isinstance(settings, Settings):
        if settings.mib:
            budget = _bytes(settings, cost, T)
        else:  # one unit per position
            budget, cost = _positions(settings, T) * N, torch.ones_like(cost)
        keep = _equal(rows, budget // int(cost.sum())) if settings.heads == "equal" else _global(rows, budget, cost)
    heads = iter(keep)
    return {layer: tuple(next(heads).nonzero().flatten() for _ in scores[layer]) for layer in layers}


def _check_scores(scores: Scores, sizes: Mapping[int, int]) -> None:
    if not scores or any(x.dim() != 2 for x in scores.values()) or len({x.shape[1] for x in scores.values()}) != 1:
        got = {layer: tuple(x.shape) for layer, x in scores.items()}
        raise BadInput("scores must be (KV heads, tokens) of every layer, for one document", got=got)
    if not scores.keys() <= sizes.keys():
        raise BadInput("a layer without a size", got=sorted(scores.keys() - sizes.keys()), allowed=sorted(sizes))
    for layer, x in scores.items():
        if not bool(x.isfinite().all()):
            raise BadInput("scores of keys that are not finite numbers", got=f"layer {layer}")


def _positions(settings: Settings, T: int) -> int:
    """Positions of one head, on average."""
    if settings.tokens:
        return min(settings.tokens, T)
    return min(max(int(Fraction(repr(settings.share)) * T), SINKS), T)  # exact: 0.29 of 100 is 29


def _bytes(settings: Settings, cost: Tensor, T: int) -> int:
    budget, least = int(settings.mib * MIB), int(cost.sum()) * min(SINKS, T)
    if budget < least:
        what = f"the budget does not hold the first {min(SINKS, T)} positions of every head"
        raise BadInput(what, got=f"mib={settings.mib}", allowed=f"{math.ceil(least / MIB * 1000) / 1000} or more")
    return budget


def _equal(rows: Tensor, count: int) -> Tensor:
    """(N,T) whether a position stays: `count` of every row."""
    order = rows.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(rows, dtype=torch.bool).scatter_(1, order, True)


def _global(rows: Tensor, budget: int, cost: Tensor) -> Tensor:
    """(N,T) whether a position stays: the best of all rows, until their costs (N,) reach the budget."""
    N, T = rows.shape
    order = rows.T.flatten().argsort(descending=True, stable=True)  # by position, then by head, where scores are equal
    order = order[cost[order % N].cumsum(0) <= budget]
    return torch.zeros(N * T, dtype=torch.bool).scatter_(0, order, True).reshape(T, N).T

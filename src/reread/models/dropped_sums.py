"""Keys and values that a selection drops, summed into a state of linear attention beside the kept ones.

For each KV head S = sum of phi(k) v^T and z = sum of phi(k) over the dropped keys.  Attention afterwards is one softmax
over kept keys i, later ones, and the sum:

    y = (sum_i exp(l_i) v_i + phi(q) S) / (sum_i exp(l_i) + phi(q) . z),  l_i = s q . k_i

"Based" (arXiv 2402.18668) joins a window and linear attention so, and LoLA (arXiv 2505.23666) kept keys and linear
attention; the feature maps are those of "Improving recall in recurrent LMs", section 4.2.  Keys are stored rotated, so
phi sees rotated keys and queries.  With x = sqrt(s) k, the maps and the weight that they give a key are

* gaussian: exp(s q . k) by F positive random features (FAVOR+, arXiv 2009.14794) of the centred keys,
  exp(s q . m) sum_f exp(w_f . x_q - |x_q|^2 / 2) exp(w_f . x - |x|^2 / 2) / F, m the mean of the dropped keys, x of
  k - m.  The factor exp(s q . m) is exact, and features of shorter keys vary less.
* relu: relu(x_q) . relu(x).
* mean: exp(s q . m), one weight for all dropped keys; a control.

No map gives exactly the softmax's weights, so each head has a shift c: weights are multiplied by exp(c), where c is the
mean, over queries of the second reading, of log sum exp(s q . k) - log phi(q) . z over the dropped keys.  All sums are
in fp32 at least, and taken after the largest exponent was subtracted.

Names of a row's tensors, for layer i and a map: "kept.i.MAP.sums" (K,F,E+1), S and then z; "kept.i.MAP.mean" (K,D);
"kept.i.MAP.shift" (K,).

Shapes: R rows, K KV heads, G query heads per KV head, Q queries, N dropped keys of a head, D width of a key, E of a
value, F features, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from reread.models.kept_keys import KEPT, Flat, KeptRows
from reread.models.kv_selection import CENTRED, DROPPED, Dropped
from reread.ops.feature_maps import Gaussian

PARTS = ("sums", "mean", "shift")
QUERIES = 64  # of the second reading, about, that the shift is fitted on


@dataclass(frozen=True)
class Queries:
    """Queries (K,G,Q,D) of one layer in a second reading; scale: the layer's s."""

    query: Tensor
    scale: float


def features_of(dropped: Dropped, D: int) -> int:
    """F."""
    return {"mean": 1, "relu": D, "gaussian": dropped.features}[dropped.kind]


def sum_bytes(dropped: Dropped, key: Tensor, value: Tensor) -> int:
    """Bytes of the sums of one KV head."""
    D, E = key.shape[-1], value.shape[-1]
    size = torch.promote_types(key.dtype, torch.float32).itemsize
    return (features_of(dropped, D) * (E + 1) + D + 1) * size


@cache
def _directions(D: int, F: int) -> Tensor:
    return Gaussian(D, features=F).w


def log_features(kind: str, x: Tensor, F: int) -> Tensor:
    """log phi (...,F) of x (...,D), keys and queries alike; -inf where a feature is 0."""
    if kind == "mean":
        return x.new_zeros(*x.shape[:-1], 1)
    if kind == "relu":
        return x.relu().log()
    w = _directions(x.shape[-1], F).to(x)
    return x @ w.T - (x * x).sum(dim=-1, keepdim=True) / 2 - math.log(F) / 2


def _largest(x: Tensor, dim: tuple[int, ...]) -> Tensor:
    """The largest of logarithms, kept as a dimension; 0 where all are -inf."""
    return x.amax(dim=dim, keepdim=True).nan_to_num(neginf=0.0)


def summed(key: Tensor, value: Tensor, kept: Sequence[Tensor], queries: Queries, dropped: Dropped, layer: int) -> Flat:
    """The tensors of one layer's sums of key (K,T,D) and value (K,T,E) but for the positions of `kept` of each head."""
    sums = torch.promote_types(key.dtype, torch.float32)
    key, value, (T, D) = key.to(sums), value.to(sums), key.shape[1:]
    F, root = features_of(dropped, D), queries.scale**0.5
    made: dict[str, list[Tensor]] = {part: [] for part in PARTS}
    for k, stays in enumerate(kept):
        away = torch.ones(T, dtype=torch.bool, device=key.device)
        away[stays.to(key.device)] = False
        own, values = key[k, away], torch.cat((value[k, away], value.new_ones(int(away.sum()), 1)), dim=-1)
        mean = own.mean(dim=0) if CENTRED[dropped.kind] and len(own) else own.new_zeros(D)
        logs = log_features(dropped.kind, root * (own - mean), F)
        most = _largest(logs, (0, 1)) if len(own) else logs.new_zeros(1, 1)
        total = (logs - most).exp().T @ values  # (F,E+1)
        q = queries.query[k].flatten(0, 1).to(key)
        _, log_mass = _attended(q, total, mean, dropped.kind, queries.scale)
        exact = (queries.scale * q @ own.T).logsumexp(dim=-1)
        there = log_mass.isfinite() & exact.isfinite()
        made["sums"].append(total)
        made["mean"].append(mean)
        made["shift"].append((exact - log_mass)[there].mean() if bool(there.any()) else most.new_zeros(()))
    return {f"{KEPT}{layer}.{dropped.kind}.{part}": torch.stack(found) for part, found in made.items()}


def _attended(query: Tensor, sums: Tensor, mean: Tensor, kind: str, scale: float) -> tuple[Tensor, Tensor]:
    """The mean value (...,Q,E) that the sums (...,F,E+1) give queries (...,Q,D), and the log of its weight (...,Q)
    before the shift; -inf where it has none."""
    logs = log_features(kind, scale**0.5 * query, sums.shape[-2])
    most = _largest(logs, (-1,))
    found = (logs - most).exp() @ sums
    weight = found[..., -1]
    value = found[..., :-1] / weight.clamp(min=torch.finfo(weight.dtype).tiny)[..., None]
    return value, weight.log() + most[..., 0] + scale * (query @ mean[..., None])[..., 0]


@dataclass(frozen=True)
class DroppedSums:
    """The sums of one layer for the rows of a call: sums (R,K,F,E+1), mean (R,K,D), shift (R,K), and their map."""

    kind: str
    sums: Tensor
    mean: Tensor
    shift: Tensor

    def joined(self, query: Tensor, out: Tensor, log_weight: Tensor, scale: float) -> Tensor:
        """Outputs (R,K,Q,E) of attention over keys, with the sums: query (R,K,Q,D), log_weight (R,K,Q) the log of the
        sum of exp(l_i); all in fp32 at least."""
        value, own = _attended(query, self.sums, self.mean, self.kind, scale)
        share = torch.sigmoid(own + self.shift[..., None] - log_weight)[..., None]
        return out + share * (value - out)


def sums_of(rows: KeptRows, layer: int) -> DroppedSums | None:
    """The sums of one layer, where rows have them; all rows of a call have sums by one map, or none has."""
    kind = next((one for one in DROPPED if f"{KEPT}{layer}.{one}.sums" in rows.distinct[0]), None)
    if kind is None:
        return None
    sums, mean, shift = (torch.stack([row[f"{KEPT}{layer}.{kind}.{part}"] for row in rows.distinct]) for part in PARTS)
    return DroppedSums(kind, sums, mean, shift)

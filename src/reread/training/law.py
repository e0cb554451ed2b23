"""The law of a second identical reading: what it can and cannot do for a memory, on one layer without learned keys.

A recurrence whose gates do not depend on its state is affine in it: one reading of a text is
S -> A S + S_1, with A the product of its transitions and S_1 what the text leaves in an empty memory.
p identical readings leave S_p = (1 + A + ... + A^(p-1)) S_1.  From this follows, exactly:

* additive (A = 1): S_p = p S_1.  Read-outs are multiplied by p; normalised ones do not change at all (but where a
  map's guard holds the normaliser: there the numerator grows alone).
* one decay a_t per head (A = the product of all a_t, a number): S_p is a multiple of S_1.  The same.
* delta rule (A = the product of a_t (1 - beta_t k_t k_t^T), a matrix): retrieval changes.  Without decay, and where a
  memory S* exists that answers every key, the error shrinks as S* - S_p = A^p S*: repeated reading is Kaczmarz's
  method for the equations k_i^T S = v_i.

So a second identical reading can help additive and decayed memories only through layers above the
first, whose inputs it changes.  `measure_law` measures retrieval for these memories through the
package's own ops.  This file knows no trained model.

Shapes: R draws (as a batch), N items, D key width, V value width, C value codes, T tokens read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reread.config import Spec, at_least, each_once, to_dict
from reread.errors import BadInput, UnknownName
from reread.ops import (
    feature_map,
    gated_delta_rule,
    gated_delta_state,
    gated_linear_attention,
    gated_linear_state,
    linear_attention,
    prefix_state,
)
from reread.pace import Tell
from reread.runlog import Run


def additive(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """S = sum k v^T, not normalised."""
    return decayed(q, k, v, decay=1.0)


def decayed(q: Tensor, k: Tensor, v: Tensor, decay: float = 0.99) -> Tensor:
    """Retention: every token multiplies S by `decay` first."""
    S = gated_linear_state(k, v, log_decay=k.new_full((*k.shape[:3], 1), math.log(decay)))
    return gated_linear_attention(q, *nothing(q, v), log_decay=q.new_zeros(*q.shape[:3], 1), state=S)[0]


def normalised(q: Tensor, k: Tensor, v: Tensor, map: str = "relu") -> Tensor:
    """Linear attention divided by the sum of similarities; a map with phi(0) = 0, so that reading writes nothing."""
    phi = feature_map(map, k.shape[-1])
    state = prefix_state(k, v, feature_map=phi)
    return linear_attention(q, *nothing(q, v), feature_map=phi, state=state)[0]


def delta(q: Tensor, k: Tensor, v: Tensor, beta: float = 1.0, decay: float = 1.0) -> Tensor:
    """The (gated) delta rule: a share beta of what stands at the key is replaced."""
    strength, fading = k.new_full(k.shape[:3], beta), k.new_full((*k.shape[:3], 1), math.log(decay))
    S = gated_delta_state(k, v, beta=strength, log_decay=fading)
    none = q.new_zeros(*q.shape[:3], 1)
    return gated_delta_rule(q, *nothing(q, v), beta=none[..., 0], log_decay=none, state=S)[0]


def nothing(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values that leave a memory as it is."""
    return torch.zeros_like(q), v.new_zeros(*q.shape[:3], v.shape[-1])


Memory = Callable[..., Tensor]  # (queries (R,N,1,D), keys (R,T,1,D), values (R,T,1,V), settings) -> (R,N,1,V)
MEMORIES: dict[str, Memory] = {"additive": additive, "decayed": decayed, "normalised": normalised, "delta": delta}


@dataclass(frozen=True)
class LawConfig:
    """What to measure: every memory at every number of items and share of a common component, on the same draws.

    memories: names of MEMORIES with settings; shared: rho, the mean inner product of two keys: keys are
    sqrt(rho) u + sqrt(1 - rho) e_i with u and e_i random of length 1, e_i orthogonal to u; codes: how many
    random value codes of length 1 there are, one of them per item.
    """

    memories: tuple[str, ...] = (
        "additive", "normalised", "decayed(decay=0.99)", "delta", "delta(beta=0.5)", "delta(decay=0.99)",
    )  # fmt: skip
    items: tuple[int, ...] = (32, 64, 128)
    shared: tuple[float, ...] = (0.0, 0.25, 0.5)
    width: int = 64
    codes: int = 512
    draws: int = 32
    seed: int = 0
    threads: int = 0

    def check(self) -> None:
        """Raise for unknown memories and impossible sizes before anything is measured."""
        for text in self.memories:
            if Spec.parse(text).name not in MEMORIES:
                raise UnknownName("memory", text, MEMORIES)
        each_once(self, "memories", "items", "shared")
        at_least(self, 2, "width", "codes", "draws")
        at_least(self, 8, "items")
        if any(n % 4 for n in self.items):
            raise BadInput("items come in fours", got=list(self.items))
        if min(self.shared) < 0 or max(self.shared) >= 1:
            raise BadInput("shared is the mean inner product of two keys, 0 to below 1", got=list(self.shared))
        for text in self.memories:
            one = torch.ones(1, 1, 1, 1)
            recall(text, one, one, one)


def recall(memory: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Read-outs of queries (R,N,1,D) after keys and values (R,T,1,...) were read.  Raises BadInput for a setting that
    the memory does not have."""
    spec = Spec.parse(memory)
    try:
        return MEMORIES[spec.name](q, k, v, **dict(spec.settings))
    except (TypeError, ValueError) as error:
        raise BadInput(f"the memory {spec.name} has no such settings", got=memory) from error


def keys(draws: int, items: int, width: int, shared: float, rng: torch.Generator) -> Tensor:
    """(R,N,D) of length 1 with a common component; see LawConfig."""
    u = F.normalize(torch.randn(draws, 1, width, generator=rng), dim=-1)
    e = torch.randn(draws, items, width, generator=rng)
    e = F.normalize(e - (e * u).sum(dim=-1, keepdim=True) * u, dim=-1)
    return math.sqrt(shared) * u + math.sqrt(1 - shared) * e


def orders(draws: int, items: int, rng: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Which items are read in which order, (R,T) by name, and the quarter that is asked apart, (R,N/4)."""
    once = torch.arange(items).expand(draws, items)
    shuffled = torch.rand(draws, items, generator=rng).argsort(dim=1)
    lot = torch.rand(draws, items, generator=rng).argsort(dim=1)
    right, wrong = (lot[:, part].sort(dim=1).values for part in (slice(items // 4), slice(items // 4, items // 2)))
    again = {"same": once, "reversed": once.flip(1), "shuffled": shuffled, "quarter": right, "other quarter": wrong}
    read = {"once": once, **{f"once + {name}": torch.cat((once, order), dim=1) for name, order in again.items()}}
    return {**read, "4 times": once.repeat(1, 4), "quarter twice": torch.cat((right, right), dim=1)}, right


def measured(config: LawConfig, items: int, shared: float) -> list[dict[str, Any]]:
    """Rows of one size and coherence: the share of items recalled, of all and of the quarter that is asked apart."""
    seed = np.random.SeedSequence([config.seed, items, round(1e6 * shared)]).generate_state(1)[0]
    rng = torch.Generator().manual_seed(int(seed))
    k = keys(config.draws, items, config.width, shared, rng)
    codes = F.normalize(torch.randn(config.codes, config.width, generator=rng), dim=-1)
    code = torch.randint(config.codes, (config.draws, items), generator=rng)
    read, quarter = orders(config.draws, items, rng)
    v, row, rows = codes[code], torch.arange(config.draws)[:, None], []
    for memory in config.memories:
        for name, order in read.items():
            y = recall(memory, k[:, :, None], k[row, order][:, :, None], v[row, order][:, :, None])[:, :, 0]
            right = ((y @ codes.T).argmax(dim=-1) == code).float()
            asked = {"all": right, "quarter": right[row, quarter]}
            for which, hits in asked.items():
                shares = hits.mean(dim=1).tolist()
                told = {"memory": memory, "N": items, "rho": shared, "read": name, "asked": which}
                spread = {"recalled": round(fmean(shares), 5), "deviation": round(stdev(shares), 5)}
                rows.append({**told, "tokens": order.shape[1], "draws": len(shares), **spread})
    return rows


@torch.inference_mode()
def measure_law(config: LawConfig, out: Path, progress: Tell = lambda *_: None) -> Run:
    """Measure retrieval after one, two and four readings and after selective ones into a run folder.

    A row holds the share of items recalled, mean and standard deviation over draws: (memory, N items, rho, read,
    asked) -> recalled, deviation.  Seconds on a CPU.
    """
    config.check()
    with Run.start(out, "law", to_dict(config), resume=True, device="cpu") as run:
        if run.done:
            return run
        run.keep(lambda row: False)
        total, done = len(config.items) * len(config.shared), 0
        for items in config.items:
            for shared in config.shared:
                for row in measured(config, items, shared):
                    run.append(row)
                done += 1
                progress(out.name, done, total)
        run.finish({"rows": len(list(run.rows())), "draws": config.draws})
        return run

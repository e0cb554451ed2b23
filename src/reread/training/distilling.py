"""Weights of the selection `distilled` (models/distilled.py), fitted on training documents.

Every document is read and repeated.  Per layer and KV head, ridge regression takes the layer's inputs to the logarithm
of the scores of `reread`; sums over keys are in fp64, so that memory does not grow with the documents.  The penalty is
chosen on set-aside documents; the numbers that are reported come from others.

Shapes: K KV heads, H width of a layer's input, T tokens of a document.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reread.config import at_least
from reread.errors import BadInput
from reread.models import LM
from reread.models.distilled import FILE, Distilled, Fit, LayerInputs, encoded
from reread.models.kept_reading import check_selectable
from reread.models.kv_attention import observed, scored_layers
from reread.models.kv_choice import Kept, Scores, choose
from reread.models.kv_scores import second_reading
from reread.models.kv_selection import SINKS, selection
from reread.models.lora import adapter_id
from reread.pace import Tell
from reread.prompting import build_unasked
from reread.runlog import commit
from reread.selecting import repeat_cue
from reread.stats import mean_interval
from reread.training.reader_recipe import ReaderConfig, ReaderData
from reread.training.reader_sources import ReaderSource, build_sources
from reread.whole import write_whole

CARD = "distilled.md"
LEAST = 1e-9  # score, whose logarithm is finite
SHARES = (0.25, 0.125)  # of the keys, at which choices are compared
TARGET = "reread"
TRIES = 100  # drawn documents, per one that is new


@dataclass(frozen=True)
class DistillConfig:
    """documents: on which weights are fitted; choosing, measuring: set-aside documents on which the penalty is chosen,
    and others on which the scores are measured; shortest, longest: tokens of a document, about; sources: of
    training documents, in turns (reader_sources.py); ridges: penalties that are tried, in units of the variance of each
    input; threads: of torch (0: as it has).
    """

    documents: int = 150
    choosing: int = 20
    measuring: int = 30
    shortest: int = 80
    longest: int = 1000
    sources: tuple[str, ...] = ("office", "squadshifts", "office", "fda")
    ridges: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    threads: int = 0
    seed: int = 0

    def check(self) -> None:
        """Raise BadInput, UnknownName for what cannot be fitted, before anything is loaded."""
        at_least(self, 1, "documents", "choosing", "measuring")
        at_least(self, 16, "shortest")
        at_least(self, 0, "threads", "seed")
        if self.longest < self.shortest:
            raise BadInput("longest is below shortest", got=self.longest, allowed=f"{self.shortest} or more")
        if not self.ridges or not all(0 < one < math.inf for one in self.ridges):
            raise BadInput("ridges are numbers above 0", got=self.ridges)
        if not self.sources:
            raise BadInput("a source must be named", got=self.sources, allowed="office, squadshifts, fda, ...")
        self.recipe().check()

    def recipe(self) -> ReaderConfig:
        """What names the sources."""
        return ReaderConfig(out="", steps=1, data=ReaderData(mix=dict.fromkeys(self.sources, 1.0)))


# sums ---------------------------------------------------------------------------------------------------------------


class Moments:
    """Sums over the keys of one layer, in fp64: of products of inputs (H and a 1) and of targets (K)."""

    def __init__(self, H: int, K: int):
        self.xx = torch.zeros(H + 1, H + 1, dtype=torch.float64)
        self.xy = torch.zeros(H + 1, K, dtype=torch.float64)
        self.yy = torch.zeros(K, dtype=torch.float64)

    def add(self, inputs: Tensor, targets: Tensor) -> None:
        """inputs (n,H), targets (n,K)."""
        x = torch.cat((inputs.double(), torch.ones(len(inputs), 1, dtype=torch.float64)), dim=1)
        y = targets.double()
        self.xx += x.mT @ x
        self.xy += x.mT @ y
        self.yy += (y * y).sum(dim=0)

    def solve(self, ridge: float) -> Tensor:
        """(K,H+1) fp64: the weights w and, last, b that minimise the mean of (w . x + b - y)^2 plus
        ridge * sum_j var(x_j) w_j^2."""
        n = self.xx[-1, -1]
        mean, target = self.xx[-1, :-1] / n, self.xy[-1] / n
        C = self.xx[:-1, :-1] / n - mean[:, None] * mean
        c = self.xy[:-1] / n - mean[:, None] * target
        scale = C.diagonal().clamp(min=1e-12).sqrt()
        A = C / scale[:, None] / scale + ridge * torch.eye(len(C), dtype=C.dtype)
        w = torch.linalg.solve(A, c / scale[:, None]) / scale[:, None]  # (H,K)
        return torch.cat((w, (target - mean @ w)[None])).mT.contiguous()

    def squared_error(self, w: Tensor) -> float:
        """Sum over keys and heads of (w . x + b - y)^2, for weights (K,H+1)."""
        w = w.double().mT
        return float(self.yy.sum() - 2 * (w * self.xy).sum() + (w * (self.xx @ w)).sum())

    def spread(self) -> float:
        """Sum over keys and heads of (y - mean of the head)^2."""
        return float((self.yy - self.xy[-1] ** 2 / self.xx[-1, -1]).sum())

    def heads_alone(self) -> Tensor:
        """(K,H+1): weights of zero, and the mean target of each head."""
        return torch.cat((torch.zeros_like(self.xy[:-1]), self.xy[-1:] / self.xx[-1, -1])).mT.contiguous()


Sums = dict[int, Moments]


# documents ----------------------------------------------------------------------------------------------------------


def drawn(config: DistillConfig, sources: dict[str, ReaderSource], part: int, seen: set[str]) -> Iterator[str]:
    """Texts of part 0 (to fit on), or of parts 1 and 2, which are set aside; none that was seen.  Raises BadInput where
    the sources have no more."""
    waited = 0
    for number in itertools.count():
        rng = np.random.default_rng((config.seed, part, number))
        tokens = math.exp(rng.uniform(math.log(config.shortest), math.log(config.longest)))
        source = sources[config.sources[number % len(config.sources)]]
        text = source.draw(rng, int(tokens), aside=part > 0).text
        if text in seen:
            waited += 1
            if waited == TRIES:
                raise BadInput("the sources have too few documents", got=f"{len(seen)} different ones")
            continue
        waited = 0
        seen.add(text)
        yield text


@dataclass(frozen=True)
class Example:
    """A document that was read and repeated: per layer the inputs (T,H), and the scores (K,T) of the second reading;
    sizes: of `choose`."""

    inputs: dict[int, Tensor]
    scores: Scores
    tokens: int

    def add_to(self, sums: Sums) -> None:
        """All keys but the first SINKS, which always stay."""
        for layer, x in self.inputs.items():
            y = self.scores[layer].clamp(min=LEAST).log().mT
            sums.setdefault(layer, Moments(x.shape[1], y.shape[1])).add(x[SINKS:], y[SINKS:])


@torch.no_grad()
def example(lm: LM, text: str) -> Example:
    """Read and repeat a text.  Raises BadInput as `second_reading` does."""
    model = check_selectable(lm.model)
    ids = torch.tensor([build_unasked("once", text, tokenizer=lm.tokenizer).encode(lm.tokenizer).tokens])
    observer = LayerInputs(scored_layers(model))
    _, state = observed(model, observer).read(ids, last_only=True)
    scores = second_reading(model, ids, state, repeat_cue(lm))
    return Example(observer.taken(), scores, ids.shape[1])


# measures -----------------------------------------------------------------------------------------------------------


def ranks(x: Tensor) -> Tensor:
    """Ranks along the last axis, less their mean, fp64."""
    found = x.argsort(dim=-1).argsort(dim=-1).double()
    return found - found.mean(dim=-1, keepdim=True)


def rank_correlation(x: Tensor, y: Tensor) -> float:
    """Spearman's, along the last axis; a mean over the others."""
    a, b = ranks(x), ranks(y)
    return float(((a * b).sum(dim=-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-12)).mean())


def overlap(one: Kept, other: Kept) -> float:
    """Share of the positions of `one`, but the first SINKS, that `other` keeps too."""
    same = total = 0
    for layer, heads in one.items():
        for a, b in zip(heads, other[layer], strict=True):
            a = a[a >= SINKS]
            same, total = same + int(torch.isin(a, b).sum()), total + len(a)
    return same / total if total else 1.0


def compared(made: Scores, wanted: Scores) -> dict[str, float]:
    """How scores (K,T) per layer agree with those that are wanted, on one document."""
    sizes = dict.fromkeys(wanted, 1)
    found = {}
    for share in SHARES:
        one = selection(f"{TARGET}(share={share})")
        found[f"overlap {share}"] = overlap(choose(wanted, one, sizes), choose(made, one, sizes))
    each = [rank_correlation(made[i][:, SINKS:], wanted[i][:, SINKS:]) for i in wanted]
    return {**found, "rank correlation": sum(each) / len(each)}


def with_interval(values: Sequence[float]) -> dict[str, Any]:
    mean, low, high = mean_interval(values)
    return {"mean": round(mean, 4), "interval": [round(low, 4), round(high, 4)], "documents": len(values)}


# the fit ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """The file that was written, its bytes, and what its header says."""

    path: Path
    size: int
    fit: Fit

    def facts(self) -> dict[str, Any]:
        return {"file": str(self.path), "bytes": self.size, **dataclasses.asdict(self.fit)}


def choose_ridge(fitted: Sums, aside: Sums, ridges: Sequence[float]) -> float:
    """The penalty of the smallest squared error on set-aside documents, over all layers."""
    errors = {one: sum(aside[i].squared_error(sums.solve(one)) for i, sums in fitted.items()) for one in ridges}
    return min(errors, key=errors.__getitem__)


def fit_distilled(lm: LM, config: DistillConfig, data: Path, out: Path, *, progress: Tell = lambda *_: None) -> Fitted:
    """Fit, and write FILE and its card into the folder `out`; what was found.

    Raises BadInput for a model whose state has a fixed size already, MissingData, and BadInput for too few documents.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    model, sources, seen = check_selectable(lm.model), build_sources(config.recipe(), data), set[str]()
    fitted: Sums = {}
    aside: Sums = {}
    tokens, began_at = 0, commit()

    def read(part: int, count: int, told: str, use: Callable[[Example], None]) -> None:
        for number, text in enumerate(itertools.islice(drawn(config, sources, part, seen), count), start=1):
            use(example(lm, text))
            progress(told, number, count)

    def fit_on(one: Example) -> None:
        nonlocal tokens
        tokens += one.tokens
        one.add_to(fitted)

    read(0, config.documents, "fitting", fit_on)
    read(1, config.choosing, "choosing the penalty", lambda one: one.add_to(aside))
    ridge = choose_ridge(fitted, aside, config.ridges)
    fit = Fit(
        model=lm.short_name, fingerprint=model.fingerprint, identity=model.identity, target=TARGET,
        adapters=tuple(map(adapter_id, lm.adapters)), dtype=str(model.dtype).removeprefix("torch."),
        documents=config.documents, tokens=tokens, ridge=ridge, commit=began_at, seed=config.seed,
    )  # fmt: skip
    made = Distilled({i: sums.solve(ridge) for i, sums in sorted(fitted.items())}, fit).rounded()
    alone = Distilled({i: sums.heads_alone() for i, sums in fitted.items()}, fit)
    test: Sums = {}
    rows: dict[str, list[dict[str, float]]] = {"distilled": [], "heads alone": []}

    def measure(one: Example) -> None:
        one.add_to(test)
        for name, weights in (("distilled", made), ("heads alone", alone)):
            scores = {i: weights.scores(i, x) for i, x in one.inputs.items()}
            rows[name].append(compared(scores, one.scores))

    read(2, config.measuring, "measuring", measure)
    errors = {i: (sums.squared_error(made.weights[i]), sums.spread()) for i, sums in sorted(test.items())}
    r2 = tuple(round(1 - error / spread, 4) for error, spread in errors.values())
    over_all = 1 - sum(error for error, _ in errors.values()) / sum(spread for _, spread in errors.values())
    measured = {name: {key: with_interval([row[key] for row in own]) for key in own[0]} for name, own in rows.items()}
    final = Distilled(made.weights, replace(fit, r2=r2, measured=measured | {"r2": round(over_all, 4)}))
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / FILE, encoded(final))
    size = (out / FILE).stat().st_size
    write_whole(out / CARD, card(final, size, config))
    return Fitted(out / FILE, size, final.fit)


# the card -----------------------------------------------------------------------------------------------------------


def percent(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return f"{100 * found['mean']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def measures(fit: Fit) -> str:
    """What was measured on documents that were set aside, as a table."""
    measured = {name: own for name, own in fit.measured.items() if isinstance(own, dict)}
    lines = ["| scores | keys kept as by reread, 1/4 | 1/8 | rank correlation |", "|---|---|---|---|"]
    for name, own in measured.items():
        rank = own["rank correlation"]
        low, high = rank["interval"]
        quarter, eighth = (percent(own[f"overlap {share}"]) for share in SHARES)
        lines.append(f"| {name} | {quarter} | {eighth} | {rank['mean']:.2f} [{low:.2f}, {high:.2f}] |")
    return "\n".join(lines)


def card(made: Distilled, size: int, config: DistillConfig) -> str:
    """The text of CARD, beside the file."""
    fit = made.fit
    model = " with the adapter ".join((fit.model.partition("+")[0], *map(str, fit.adapters)))
    count = next(iter(fit.measured["distilled"].values()))["documents"]
    K = sum(len(w) for w in made.weights.values())
    H = next(iter(made.weights.values())).shape[1] - 1
    return f"""# Distilled scores of keys

For `--select "distilled(tokens=256)"` with {model}. `{FILE}` ({size:,} bytes) holds, for each of {K} KV heads in
{len(made.weights)} layers, {H} weights in float16 and one number in float32: the linear function of the layer's input
that predicts the logarithm of the score that a second reading (`{TARGET}`) would give. It belongs to this model and
adapter alone (fingerprint {fit.fingerprint}) and is refused with others.

**Fit.** `reread fit-selection`, commit {fit.commit}: ridge regression on {fit.documents} training documents,
{fit.tokens:,} tokens, drawn in turns from {", ".join(config.sources)} (seed {fit.seed}), computed in {fit.dtype}.
The penalty {fit.ridge:g} was chosen on {config.choosing} documents that were set aside.

**Measured** on {count} more documents that were set aside [95 % bootstrap interval over documents]. "heads alone" gives
each key the mean of its head: what is kept then depends on the head and not on the token. The first {SINKS} positions,
which every selection keeps, are not counted. {100 * fit.measured["r2"]:.0f} % of the variance of the logarithms within
heads is explained (per layer {100 * min(fit.r2):.0f} % to {100 * max(fit.r2):.0f} %).

{measures(fit)}
"""

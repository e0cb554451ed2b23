"""Small models on symbols: which order of reading, which memory and which second look solves them.

One run is one cell of a grid: a task of `tasks/sets.py`, a mixer, a way of reading, sizes, a seed, and a
sweep over learning rates, each trained from the same first weights.  What is reported is the test
of the learning rate that was best on another draw, the validation.  It knows no words and no plots.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reread.config import at_least, to_dict
from reread.errors import BadInput, UnknownName
from reread.models import device_name
from reread.models.placed import checked
from reread.models.prefix_lm import MIXERS, PrefixLMConfig, PrefixLMForCausalLM, state_bytes
from reread.ops import feature_map
from reread.pace import Tell
from reread.runlog import Run
from reread.tasks.sets import IGNORED, SYMBOL_TASKS, Symbols
from reread.training.trainer import MuonWithAdamW, OptimConfig

READINGS = ("causal", "jrt", "twice")
STREAMS = {"train": 0, "validation": 1, "test": 2}  # a draw of one never repeats in another
WEIGHT_DECAY, BETAS, CLIP, FINAL_SHARE = 0.1, (0.9, 0.98), 1.0, 0.05


@dataclass(frozen=True)
class SyntheticConfig:
    """One cell of a synthetic experiment.

    task: "sets", sizes (|A|, |B|), or "mqar", sizes (pairs, tokens); train_sizes, test_sizes (none: those of
    training).  first_sizes: what the first first_steps batches hold instead of train_sizes, easier ones;
    validation looks at train_sizes alone.  samples: per training size, seen again in the same batches when
    they are spent (0: never the same twice).  mixer: a key of models' MIXERS; layers: that many, a gated
    convolution before every mixer (conv, mixer, conv, mixer), or pattern: every layer by name, "mixer" for
    the mixer.  reading: "causal"; "jrt", all but the question is read as prefix by an encoder; "twice",
    causal, and the text is shown twice.  learning_rates: each is trained for `steps` at most, and ends when
    all training sizes reach stop_at on the validation, looked at every eval_steps.  muon: 0, or Muon trains
    the matrices inside the layers, at that many times the learning rate, and AdamW the rest.  Sizes as in
    PrefixLMConfig.
    """

    task: str = "sets"
    train_sizes: tuple[tuple[int, int], ...] = ((4, 32), (32, 4))
    test_sizes: tuple[tuple[int, int], ...] = ()
    first_sizes: tuple[tuple[int, int], ...] = ()
    first_steps: int = 0
    vocabulary: int = 128
    samples: int = 0
    validation_samples: int = 256
    test_samples: int = 512
    mixer: str = "linear"
    reading: str = "causal"
    layers: int = 4
    pattern: tuple[str, ...] = ()
    hidden_size: int = 48
    heads: int = 2
    feature_map: str = "taylor"
    feature_dim: int = 4
    key_conv: int = 3
    qk_norm: bool = False
    intermediate_size: int = 96
    initializer_range: float = 0.07
    learning_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    muon: float = 7.0
    batch: int = 64
    steps: int = 1000
    warmup_steps: int = 50
    eval_steps: int = 100
    stop_at: float = 0.99
    seed: int = 0
    bf16: bool = False
    threads: int = 0

    def check(self) -> None:
        """Raise for unknown names and impossible sizes before anything is trained."""
        if self.task not in SYMBOL_TASKS:
            raise UnknownName("task of symbols", self.task, SYMBOL_TASKS)
        if self.reading not in READINGS:
            raise UnknownName("reading", self.reading, READINGS)
        if self.mixer not in MIXERS:
            raise UnknownName("mixer", self.mixer, MIXERS)
        at_least(self, 1, "validation_samples", "test_samples", "layers", "batch", "steps", "eval_steps")
        at_least(self, 0, "samples")
        if 0 < self.samples < self.batch:
            raise BadInput("samples must be 0 or at least a batch", got=f"samples {self.samples}, batch {self.batch}")
        if not self.learning_rates or min(self.learning_rates) <= 0 or self.muon < 0:
            got = f"{list(self.learning_rates)}, muon {self.muon}"
            raise BadInput("learning rates must be named, each above 0, and muon 0 or more", got=got)
        if len(set(self.learning_rates)) < len(self.learning_rates):
            raise BadInput("a learning rate is named twice", got=list(self.learning_rates))
        if not 0 <= self.first_steps < self.steps or bool(self.first_sizes) != bool(self.first_steps):
            got = f"first_steps {self.first_steps}, {len(self.first_sizes)} first_sizes, steps {self.steps}"
            raise BadInput("first_steps and first_sizes come together, fewer than steps", got=got)
        every = (*self.train_sizes, *self.test_sizes, *self.first_sizes)
        if not self.train_sizes or any(len(size) != 2 for size in every):
            raise BadInput(
                "sizes are pairs of numbers, one at least", got=self.train_sizes, allowed="[[4, 32], [32, 4]]"
            )
        for size in dict.fromkeys(every):
            draw(self, "test", size, 1)  # refuses what cannot be drawn
        feature_map(self.feature_map, self.feature_dim, self.heads)
        self.model()

    def model(self) -> PrefixLMConfig:
        """The model of this cell.  Raises as PrefixLMConfig does."""
        pattern = self.pattern or ("conv", "mixer") * (self.layers // 2) + ("mixer",) * (self.layers % 2)
        mixers = [self.mixer if name == "mixer" else name for name in pattern]
        return PrefixLMConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden_size,
            mixers=mixers,
            num_attention_heads=self.heads,
            feature_dim=self.feature_dim,
            feature_map=self.feature_map,
            prefix_encoder=self.reading == "jrt",
            key_conv=self.key_conv,
            qk_norm=self.qk_norm,
            intermediate_size=self.intermediate_size,
            initializer_range=self.initializer_range,
        )


def draw(config: SyntheticConfig, stream: str, size: tuple[int, int], samples: int, index: int = 0) -> Symbols:
    """Samples of one size: batch number `index` of that stream, the same whenever it is asked for."""
    rng = np.random.default_rng([config.seed, STREAMS[stream], *size, index])
    passes = 2 if config.reading == "twice" else 1
    return SYMBOL_TASKS[config.task](rng, samples, size, config.vocabulary, passes)


def training_batch(config: SyntheticConfig, step: int) -> Symbols:
    """The batch of a step, from 0: the sizes take turns, the first ones in the first steps."""
    first = step < config.first_steps
    sizes, step = (config.first_sizes, step) if first else (config.train_sizes, step - config.first_steps)
    turn, which = divmod(step, len(sizes))
    index = turn % (config.samples // config.batch) if config.samples else turn
    return draw(config, "train", sizes[which], config.batch, index)


def answers(model: PrefixLMForCausalLM, config: SyntheticConfig, symbols: Symbols) -> tuple[Tensor, Tensor]:
    """Logits (asked, V), float32, and targets (asked,) at the positions where something is asked."""
    device = model.device
    tokens, targets = (torch.from_numpy(x).to(device) for x in (symbols.tokens, symbols.targets))
    at = targets != IGNORED
    prefix = None
    if config.reading == "jrt":
        prefix = torch.full((len(tokens),), symbols.prefix_len, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        logits = model(tokens, prefix_lengths=prefix, logits_at=at).logits
    return logits.float(), targets[at]


@torch.no_grad()
def correct(model: PrefixLMForCausalLM, config: SyntheticConfig, stream: str, size: tuple[int, int]) -> tuple[int, int]:
    """Right answers, and how many were asked, on the whole validation or test of one size."""
    total = config.validation_samples if stream == "validation" else config.test_samples
    right = asked = 0
    model.eval()
    for index, first in enumerate(range(0, total, 4 * config.batch)):
        logits, targets = answers(
            model, config, draw(config, stream, size, min(4 * config.batch, total - first), index)
        )
        right += int((logits.argmax(dim=-1) == targets).sum())
        asked += len(targets)
    model.train()
    return right, asked


def scheduled(config: SyntheticConfig, step: int) -> float:
    """Share of the learning rate at a step, from 0: linear warm-up, then a cosine down to FINAL_SHARE."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return min(1.0, (step + 1) / max(1, config.warmup_steps)) * (FINAL_SHARE + (1 - FINAL_SHARE) * cosine)


def train_one(model: PrefixLMForCausalLM, config: SyntheticConfig, learning_rate: float) -> Iterator[dict[str, Any]]:
    """Train in place; yields a row per look at the validation, the last one with "last": true."""
    optimizer = optimizer_for(model, config, learning_rate)
    began, losses = time.monotonic(), []
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * scheduled(config, step)
        logits, targets = answers(model, config, training_batch(config, step))
        loss = F.cross_entropy(logits, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        done = step + 1
        if done % config.eval_steps and done < config.steps:
            continue
        counts = [correct(model, config, "validation", size) for size in config.train_sizes]
        shares = [right / asked for right, asked in counts]
        last = done == config.steps or min(shares) >= config.stop_at
        yield {
            "what": "validation",
            "learning_rate": learning_rate,
            "step": done,
            "loss": round(float(torch.stack(losses).mean()), 4),
            "accuracy": sum(shares) / len(shares),
            "worst": min(shares),
            "seconds": round(time.monotonic() - began, 2),
            "last": last,
        }
        losses.clear()
        if last:
            return


def optimizer_for(model: PrefixLMForCausalLM, config: SyntheticConfig, rate: float) -> torch.optim.Optimizer:
    """AdamW, or Muon with AdamW; every group remembers its own learning rate."""
    if config.muon:
        spec = OptimConfig(rate, rate * config.muon, weight_decay=WEIGHT_DECAY, beta2=BETAS[1])
        optimizer: torch.optim.Optimizer = MuonWithAdamW(model, spec)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def fresh(config: SyntheticConfig) -> PrefixLMForCausalLM:
    """The model with the first weights of that seed, the same for every learning rate."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = PrefixLMForCausalLM(config.model())
    module: torch.nn.Module = model
    module.to(device_name()).train()
    return model


def tested(model: PrefixLMForCausalLM, config: SyntheticConfig, last: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row per test size, for the learning rate and step of the row `last`."""
    for size in config.test_sizes or config.train_sizes:
        right, asked = correct(model, config, "test", size)
        yield {
            "what": "test",
            "learning_rate": last["learning_rate"],
            "step": last["step"],
            "first": size[0],
            "second": size[1],
            "order": order(size),
            "trained": tuple(size) in {tuple(s) for s in config.train_sizes},
            "n": asked,
            "correct": right,
            "accuracy": right / asked,
        }


def order(size: tuple[int, int]) -> str:
    """Which of two sets is read first (of MQAR's pairs and tokens, always "short first")."""
    return "equal" if size[0] == size[1] else "short first" if size[0] < size[1] else "long first"


def chosen_tests(rows: list[dict[str, Any]], rate: float) -> dict[str, float]:
    """Accuracy of the chosen learning rate, and what it is with either set first, over all test sizes that are, and
    that are not, sizes of training; "gap" is short first minus long first."""
    found: dict[str, float] = {}
    for trained, name in ((True, "trained"), (False, "untrained")):
        tests = [r for r in rows if r["what"] == "test" and r["learning_rate"] == rate and r["trained"] == trained]
        if not tests:
            continue
        found[name] = fmean(row["accuracy"] for row in tests)
        short, long = ([r["accuracy"] for r in tests if r["order"] == f"{word} first"] for word in ("short", "long"))
        if short and long:
            told = {"short_first": fmean(short), "long_first": fmean(long), "gap": fmean(short) - fmean(long)}
            found |= {f"{name}_{key}": value for key, value in told.items()}
    return found


def best(rows: list[dict[str, Any]]) -> float:
    """The learning rate with the highest accuracy at its last look at the validation; ties: the lower loss."""
    ended = [row for row in rows if row["what"] == "validation" and row["last"]]
    return max(ended, key=lambda row: (row["accuracy"], -row["loss"]))["learning_rate"]


@contextlib.contextmanager
def so_many_threads(count: int) -> Iterator[None]:
    """torch on that many threads, 0 for as many as it has, and afterwards as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_synthetic(config: SyntheticConfig, out: Path, progress: Tell = lambda *_: None) -> Run:
    """Train every learning rate of a cell into a run folder, or go on where the folder stands.

    A learning rate whose last test is written is not trained again; one that was stopped in its midst is
    trained anew.  The summary holds the chosen learning rate, state_bytes, parameters and seconds.  It computes
    where REREAD_DEVICE says.  Raises BadInput.
    """
    config.check()
    checked(device_name())
    with Run.start(out, "synthetic", to_dict(config), resume=True) as run:
        if run.done:
            return run
        tests = len(config.test_sizes or config.train_sizes)
        written = [row["learning_rate"] for row in run.rows() if row["what"] == "test"]
        whole = {rate for rate in written if written.count(rate) == tests}
        run.keep(lambda row: row["learning_rate"] in whole)
        with so_many_threads(config.threads):
            for rate in config.learning_rates:
                if rate in whole:
                    continue
                model = fresh(config)

                progress(f"learning rate {rate:g}", 0, config.steps)
                last: dict[str, Any] = {}
                for last in train_one(model, config, rate):
                    run.append(last)
                    progress(f"learning rate {rate:g}", last["step"], config.steps)
                for row in tested(model, config, last):
                    run.append(row)
            model, rows = fresh(config), list(run.rows())
            rate, ended = best(rows), [row for row in rows if row.get("last")]
            run.finish(
                {
                    "rows": len(rows),
                    "learning_rate": rate,
                    **chosen_tests(rows, rate),
                    "state_bytes": state_bytes(model),
                    "parameters": sum(p.numel() for p in model.parameters()),
                    "seconds": round(sum(row["seconds"] for row in ended), 1),
                }
            )
        return run

"""Train one model and measure it: a cell of an experiment, one run folder with a handful of rows.

Below the folder stand the runs it is made of, train/, eval/ and perplexity/, each of which goes on after
a stop; the rows here sum them up.  It knows neither grids nor tables.

Rows, by `what`: "recall" (a task and a strategy), "perplexity" (a text, or all of them together),
"training", "speed".
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from reread.config import to_dict
from reread.evaluate import EvalConfig, evaluate
from reread.grid import digest
from reread.lock import Lock
from reread.models import device_name, load
from reread.models.prefix_lm import PrefixLMForCausalLM, state_bytes
from reread.pace import Tell
from reread.perplexity import PerplexityConfig, perplexity
from reread.runlog import Run
from reread.training.trainer import TrainConfig, train


@dataclass(frozen=True)
class SpeedConfig:
    """Rows of so many tokens are read, and trained on; medians over `rounds`.  rounds = 0: no measurement."""

    tokens: int = 256
    rows: int = 4
    rounds: int = 7


@dataclass(frozen=True)
class TrainAndEvalConfig:
    """What to train, and what to measure of it.  train.out, eval.models and perplexity.models are the cell's own."""

    train: TrainConfig
    eval: EvalConfig = field(default_factory=EvalConfig)
    perplexity: PerplexityConfig = field(default_factory=PerplexityConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)

    @property
    def shared_work(self) -> str:
        """What names the training: cells that train the same train once."""
        return digest("train", training_of(self.train))

    def check(self) -> None:
        self.train.check()
        self.eval.check()
        self.perplexity.check()


def train_and_eval(config: TrainAndEvalConfig, data: Path, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """Train into out/train, measure into out/eval and out/perplexity, sum up in `out`; a stopped run goes on.

    Cells of an experiment that train the same train once.  Checkpoints are deleted when the rows are written; the
    weights, train/model, stay.  Raises as train, evaluate and perplexity do.
    """
    config.check()
    out = out.resolve()  # the rows below name the model by its folder
    with Run.start(out, "train_and_eval", to_dict(config), resume=True) as run:
        if run.done:
            return run
        progress("training", 0, 1)  # it may wait for another cell that trains the same
        trained_in = train_once(config.train, data, out, progress)
        summary, model = Run(trained_in).summary(), str(trained_in / "model")

        for measured in (out / "eval", out / "perplexity"):
            if (measured / "header.json").exists() and Run(measured).header()["config"]["models"] != [model]:
                shutil.rmtree(measured)  # the folder was moved, and its rows name the model where it was

        def part(what: str, done: int, total: int) -> None:
            progress(what.removeprefix(f"{model}/"), done, total)

        recall = evaluate(replace(config.eval, models=(model,)), data, out / "eval", progress=part)
        predicted = perplexity(replace(config.perplexity, models=(model,)), data, out / "perplexity", progress=part)
        run.keep(lambda row: False)  # the rows are few, and written together
        trained = load(model, "cpu").model
        assert isinstance(trained, PrefixLMForCausalLM)
        torch.nn.Module.to(trained, device_name())
        for row in (
            training_row(Run(trained_in), summary),
            *recall_rows(list(recall.rows())),
            *perplexity_rows(list(predicted.rows())),
            *speed_rows(trained, config.speed, config.train.bf16),
        ):
            run.append(row)
        run.finish(
            {"rows": len(list(run.rows())), "parameters": summary["parameters"], "state_bytes": state_bytes(trained)}
        )
        shutil.rmtree(out / "train" / "checkpoints", ignore_errors=True)
        return run


def training_of(config: TrainConfig) -> dict[str, Any]:
    """The settings of a training as a header holds them, wherever it writes."""
    return to_dict(replace(config, out=""))


def train_once(config: TrainConfig, data: Path, out: Path, progress: Tell) -> Path:
    """The folder of the finished training: out/train, or where another cell of the experiment has trained the same.

    A cell that finds another one at the same training waits for it.  A training whose weights are gone (folders travel
    without them) counts for nothing: its own is begun anew, with what was measured of it.
    """
    same = training_of(config)
    with contextlib.ExitStack() as stack:
        if (out.parent / "experiment.json").exists():
            stack.enter_context(Lock(out.parent / f".training-{digest('train', same)}", wait=True))
            for beside in sorted(out.parent.glob("*/train")):
                run = Run(beside)
                if has_weights(run) and {**run.header()["config"], "out": ""} == same:
                    return beside
        if Run(out / "train").done and not has_weights(Run(out / "train")):
            for part in ("train", "eval", "perplexity"):
                shutil.rmtree(out / part, ignore_errors=True)
        train(replace(config, out=str(out / "train")), data, progress=progress)
    return out / "train"


def has_weights(trained: Run) -> bool:
    return trained.done and (trained.folder / "model" / "config.json").is_file()


def training_row(run: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """The last losses, and how fast it went on the machine as it was."""
    logged = [row for row in run.rows() if "next" in row]
    speed = median(row["tokens_per_second"] for row in logged) if logged else None
    last = {name: logged[-1][name] for name in ("next", "masked")} if logged else {}
    aside = {name: found["right"] / found["of"] for name, found in summary["recall"].items() if found["of"]}
    return {"what": "training", "tokens": summary["tokens"], "tokens_per_second": speed, **last, "aside": aside}


def recall_rows(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row per cell of the evaluation."""
    keys = ("task", "strategy", "window", "budget", "policy")
    cells: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    for key, cell in cells.items():
        seconds = sum(row["read_seconds"] for row in cell)
        yield {
            "what": "recall",
            **{name: value for name, value in zip(keys, key, strict=True) if value is not None},
            "n": len(cell),
            **{score: fmean(row[score] for row in cell) for score in ("contains", "exact", "f1")},
            "read_tokens_per_second": sum(row["prompt_tokens"] for row in cell) / seconds if seconds else None,
        }


def perplexity_rows(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Per text, and over all: exp of the nats lost per token, and bits lost per byte."""
    for name in dict.fromkeys((*(row["text"] for row in rows), "all")):
        part = [row for row in rows if name in (row["text"], "all")]
        nats, tokens, size = (sum(row[key] for row in part) for key in ("nats", "tokens", "bytes"))
        lost = {"perplexity": math.exp(-nats / tokens), "bits_per_byte": -nats / math.log(2) / size}
        yield {"what": "perplexity", "text": name, "n": len(part), **lost}


def speed_rows(model: PrefixLMForCausalLM, config: SpeedConfig, bf16: bool) -> Iterator[dict[str, Any]]:
    """Tokens per second of reading (half of each row as prefix), and of a training step without its optimiser (bf16: as
    it was trained).

    On a CPU the seconds are this process's own, which other processes hardly lengthen; threads add up.
    """
    if not config.rounds:
        return
    device = model.device
    tokens = torch.randint(model.config.vocab_size, (config.rows, config.tokens), device=device)
    prefix = torch.full((config.rows,), config.tokens // 2, device=device)
    asked = torch.arange(config.tokens, device=device).remainder(4).eq(0).expand(config.rows, -1)

    def read() -> None:
        with torch.inference_mode():
            model.read(tokens, prefix, last_only=True)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(tokens, prefix_lengths=prefix, logits_at=asked).logits
        logits.float().logsumexp(-1).mean().backward()
        model.zero_grad()

    def clock() -> float:
        if device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    found: dict[str, float] = {}
    for name, work in (("read", read), ("train", step)):
        seconds = []
        for _ in range(config.rounds + 2):
            began = clock()
            work()
            seconds.append(clock() - began)
        found[f"{name}_tokens_per_second"] = round(config.rows * config.tokens / median(seconds[2:]), 1)
    yield {"what": "speed", "clock": "process" if device.type == "cpu" else "wall", **found}

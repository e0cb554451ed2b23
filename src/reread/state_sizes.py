"""Recall against the size of a state: every document read once, its state kept in fewer and fewer bytes, asked of each.

A row per sample and state dtype, in a run folder.  The document's state is packed and unpacked
(models/packing.py) as a state file does, before the question is read; nothing else differs, so rows
of one sample are pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reread.answer import Answer
from reread.config import at_least, each_once, to_dict
from reread.engine import Reader
from reread.evaluate import choose
from reread.models import load, locate
from reread.models.dtypes import STATE_DTYPES, check_state_dtype
from reread.models.packing import pack, unpack
from reread.options import MAX_NEW_TOKENS
from reread.pace import Tell
from reread.prompting import Encoded, Sample, build, build_unasked, cut, window_start
from reread.runlog import Run
from reread.scoring import pad
from reread.tasks.metrics import SCORERS
from reread.tasks.recall import task


@dataclass(frozen=True)
class SizesConfig:
    """dtypes: see STATE_DTYPES; budget: document tokens at most; limit: samples per task, drawn (0: all)."""

    model: str = "embedded"
    tasks: tuple[str, ...] = ("fda", "squad")
    dtypes: tuple[str, ...] = STATE_DTYPES
    strategy: str = "once"
    window: str = "answer_centered"
    budget: int = 512
    limit: int = 500
    seed: int = 0
    batch: int = 16
    max_new_tokens: int = MAX_NEW_TOKENS

    def check(self) -> None:
        """Raise for an unknown name before anything is loaded."""
        for name in self.tasks:
            task(name)
        for name in self.dtypes:
            check_state_dtype(name)
        window_start(self.window)
        build_unasked(self.strategy, "A text.")  # refuses what reads the question before the state is kept
        each_once(self, "tasks", "dtypes")
        at_least(self, 1, "budget", "batch", "max_new_tokens")
        at_least(self, 0, "limit")


def encoded(sample: Sample, reader: Reader, config: SizesConfig) -> Encoded:
    """The sample's prompt, all before its question read as prefix."""
    window = config.window if sample.anchors or config.window == "head" else "head"
    words = reader.lm.tokenizer
    shown = cut(sample.document, words, config.budget, window, sample.anchors)
    form = reader.lm.template(sample.template)
    return build(config.strategy, shown.text, sample.question, form, tokenizer=words).encode(words)


def kept(state: Any, dtype: str) -> tuple[Any, list[int]]:
    """The state of every row packed alone and unpacked again, and their bytes packed."""
    rows, sizes = [], []
    for row in range(state.batch):
        packed, layout = pack(state.rows([row]).to_flat(), dtype)
        rows.append(type(state).from_flat(unpack(packed, layout), state.fingerprint))
        sizes.append(sum(x.numel() * x.element_size() for x in packed.values()))
    return type(state).cat(rows), sizes


@torch.inference_mode()
def answers(
    reader: Reader, prompts: Sequence[Encoded], stop: str, config: SizesConfig, dtypes: Sequence[str]
) -> Iterator[tuple[str, list[Answer], list[int], list[float]]]:
    """Per dtype: answers, bytes, and the largest error of the logits after the question (relative to the largest)."""
    starts = [prompt.spans[-1][1] for prompt in prompts]
    tails = [prompt.tokens[start:] for prompt, start in zip(prompts, starts, strict=True)]
    tokens, mask = pad([prompt.tokens[:start] for prompt, start in zip(prompts, starts, strict=True)])
    lengths = torch.tensor([reader.lm.prefix(start) for start in starts])
    _, state = reader.lm.model.read(tokens, lengths, mask, last_only=True)
    asked, keep = pad(tails)

    def logits_after(state: Any) -> Tensor:
        return reader.lm.model.extend(asked, state, keep, last_only=True)[0].float()

    want = logits_after(state)
    for dtype in dtypes:
        small, sizes = kept(state, dtype)
        off = (logits_after(small) - want).abs().amax(dim=1) / want.abs().amax(dim=1)
        found = reader.answer_from(small, tails, stop=stop, max_new_tokens=config.max_new_tokens)
        yield dtype, found, sizes, off.tolist()


def sample_rows(
    reader: Reader, name: str, samples: Sequence[Sample], config: SizesConfig, dtypes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Rows of a batch of samples of one task."""
    prompts = [encoded(sample, reader, config) for sample in samples]
    stop = reader.lm.template(samples[0].template).stop
    for dtype, found, sizes, off in answers(reader, prompts, stop, config, dtypes):
        for sample, answer, bytes_, error in zip(samples, found, sizes, off, strict=True):
            yield {
                "task": name,
                "state_dtype": dtype,
                "id": sample.id,
                "question": sample.question,
                "document": sample.document_hash,
                "prediction": answer.text,
                "answers": list(sample.answers),
                **{scorer: judge(answer.text, sample.answers) for scorer, judge in SCORERS.items()},
                "state_bytes": bytes_,
                "logit_error": round(error, 6),
                "read": answer.prompt_tokens - int(answer.read_tokens),
            }


def state_sizes(config: SizesConfig, data: Path, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """Measure; a stopped run goes on, batch by batch.  Raises as evaluate."""
    config.check()
    locate(config.model)
    Run.check(out, "state_sizes", to_dict(config))
    samples = {name: choose(task(name).load(data).samples, config.limit, config.seed) for name in config.tasks}
    reader = Reader(load(config.model))
    model = reader.lm.model.config
    described = {
        **to_dict(config),
        "fingerprint": reader.lm.model.fingerprint,
        "layers": model.num_hidden_layers,
        "width": model.hidden_size,
    }
    with Run.start(out, "state_sizes", described, resume=True) as run:
        if run.done:
            return run
        seen = {(row["task"], row["id"], row["question"], row["state_dtype"]) for row in run.rows()}
        for name, wanted in samples.items():
            for start in range(0, len(wanted), config.batch):
                some = wanted[start : start + config.batch]
                keys = {(name, s.id, s.question, dtype) for s in some for dtype in config.dtypes}
                if keys - seen:
                    for row in sample_rows(reader, name, some, config, config.dtypes):
                        if (name, row["id"], row["question"], row["state_dtype"]) not in seen:
                            run.append(row)
                progress(name, start + len(some), len(wanted))
        run.finish({"rows": len(config.dtypes) * sum(map(len, samples.values()))})
        return run

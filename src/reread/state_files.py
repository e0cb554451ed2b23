"""Bytes of state files: a Transformer's chosen keys beside its whole cache and the states of recurrent models.

One text is read, and the state is written as a state file (statefile.py) in each state dtype; nothing is computed from
sizes.  A row per model, number of kept positions and state dtype.  The bytes of a state depend on the sizes of a model
and not on its weights: families without weights in this repository have random ones, in the sizes of a published model.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reread.config import at_least, each_once, to_dict
from reread.documents.loaders import Source
from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.models import LM, load, load_tokenizer, locate
from reread.models.dtypes import STATE_DTYPES, check_state_dtype
from reread.models.kept_reading import check_selectable, selected
from reread.models.kv_scores import read_and_score
from reread.models.kv_selection import FULL, selection, with_budget
from reread.pace import Tell
from reread.runlog import Run
from reread.selecting import repeat_cue
from reread.sessions import DocumentReader
from reread.store import Store
from reread.training.office import draw

KIND = "state_files"
PIECE = 500  # tokens of one document of the text, about
PUBLISHED_SIZES: dict[str, dict[str, Any]] = {
    "mamba-130m": {"model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 24, "state_size": 16},
    "mamba2-130m": {
        "model_type": "mamba2", "hidden_size": 768, "num_hidden_layers": 24, "state_size": 128, "num_heads": 24,
        "head_dim": 64, "n_groups": 1,
    },
    "rwkv-4-169m": {
        "model_type": "rwkv", "hidden_size": 768, "num_hidden_layers": 12, "attention_hidden_size": 768,
        "intermediate_size": 3072, "context_length": 2**20,  # positions that are allowed; no tensor has them
    },
}  # fmt: skip


@dataclass(frozen=True)
class FilesConfig:
    """model, adapter: a Transformer, as `load` takes them (adapter "": the model's own, "none": without); tokens: of
    the text; positions: that a state keeps of each KV head, on average; selection: its name, with settings but without
    a budget; recurrent: models as `load` takes them; random: of PUBLISHED_SIZES; dtypes: see STATE_DTYPES.
    """

    model: str = "smollm2"
    adapter: str = ""
    tokens: int = 2048
    positions: tuple[int, ...] = (128, 256, 512)
    selection: str = "reread"
    recurrent: tuple[str, ...] = ("small-jrt", "small-causal")
    random: tuple[str, ...] = tuple(PUBLISHED_SIZES)
    dtypes: tuple[str, ...] = STATE_DTYPES
    seed: int = 0

    def check(self) -> None:
        """Raise UnknownName, BadInput before anything is loaded."""
        each_once(self, "dtypes")
        for named in (self.positions, (self.model, *self.recurrent, *self.random)):
            if len(set(named)) < len(named):
                raise BadInput("positions and models are named once", got=", ".join(map(str, named)))
        at_least(self, 1, "tokens")
        at_least(self, 0, "seed")
        for name in self.dtypes:
            check_state_dtype(name)
        for name in self.random:
            if name not in PUBLISHED_SIZES:
                raise UnknownName("published sizes", name, PUBLISHED_SIZES)
        if self.positions and max(self.positions) >= self.tokens:
            raise BadInput("positions must be fewer than tokens", got=max(self.positions), allowed=self.tokens - 1)
        _ = self.selected
        locate(self.model, self.adapters)
        for name in self.recurrent:
            locate(name)

    @property
    def adapters(self) -> tuple[str, ...] | None:
        """As `load` takes them: None is the model's own."""
        return (self.adapter,) if self.adapter else None

    @property
    def selected(self) -> list[str]:
        """Ids of the selections.  Raises UnknownName, BadInput."""
        return [str(with_budget(self.selection, f"tokens={n}")) for n in self.positions]


def text_of(tokens: int, seed: int) -> Source:
    """Documents of the generator, one after another: more than that many tokens of any tokenizer."""
    rng, parts, length = np.random.default_rng(seed), list[str](), 0
    while length < 8 * tokens:
        parts.append(draw(rng, PIECE).text)
        length += len(parts[-1])
    text = "\n\n".join(parts)
    return Source("text", text, hashlib.sha256(text.encode()).hexdigest())


def random_model(name: str) -> LM:
    """A model in the sizes of a published one, with random weights and the vocabulary of the embedded tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from reread.models.pretrained import Pretrained

    words = load_tokenizer("embedded")
    sizes = {"vocab_size": words.get_vocab_size(), **PUBLISHED_SIZES[name]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = AutoModelForCausalLM.from_config(AutoConfig.for_model(**sizes))
    return LM(name, Pretrained(module), words)


@torch.inference_mode()
def rows_of(
    lm: LM, source: Source, config: FilesConfig, selections: list[str], weights: str
) -> Iterator[dict[str, Any]]:
    """Rows of one model: of the state with all that it holds, then of each selection.  The text is read once, and once
    more for scores."""
    reader = DocumentReader(Reader(lm))
    shown = reader.show(source, budget=config.tokens)
    ids = torch.tensor([shown[1].tokens])
    prefix = reader.header(source, shown).prefix_len
    states = {FULL: lm.model.read(ids, prefix, last_only=True)}
    positions: dict[str, float] = {}
    if selections:
        chosen = [selection(one) for one in selections]
        reading = read_and_score(check_selectable(lm.model), ids, chosen, repeat_cue(lm))
        for one in chosen:
            kept = selected(reading, reading.scores[str(one)], one)
            states[str(one)], positions[str(one)] = (kept.logits, kept.state), kept.positions
    with tempfile.TemporaryDirectory() as folder:
        for name, (logits, state) in states.items():
            for dtype in config.dtypes:
                header = reader.header(source, shown, state_dtype=dtype, select=name)
                made = reader.made(header, ids, logits, state)
                path = Store(folder).put(made)
                yield {
                    "model": lm.short_name,
                    "weights": weights,
                    "selection": name,
                    "tokens": ids.shape[1],
                    "positions": round(positions[name], 2) if name in positions else None,
                    "state_dtype": dtype,
                    "file_bytes": path.stat().st_size,
                    "state_bytes": made.nbytes,
                    "fingerprint": lm.model.fingerprint,
                }
                path.unlink()


def _finished(run: Run, config: FilesConfig, models: int) -> int:
    """Models whose rows are all there; rows of one that was not finished are dropped."""
    whole = len(config.dtypes) * (1 + len(config.positions))
    ends = [whole + number * len(config.dtypes) for number in range(models)]
    rows = sum(1 for _ in run.rows())
    finished = sum(end <= rows for end in ends)
    left = iter(range(rows))
    run.keep(lambda row: next(left) < (ends[finished - 1] if finished else 0))
    return finished


def state_files(config: FilesConfig, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """Measure; returns the finished run.  A stopped run resumes at the model that it had not finished.

    Raises what `FilesConfig.check` raises, before anything is loaded, and BadInput for a model whose state has a fixed
    size already and for selections.
    """
    config.check()
    Run.check(out, KIND, to_dict(config))
    with Run.start(out, KIND, to_dict(config), resume=True) as run:
        if run.done:
            return run
        source = text_of(config.tokens, config.seed)
        names = [config.model, *config.recurrent, *config.random]
        finished = _finished(run, config, len(names))
        for number, name in enumerate(names):
            if number < finished:
                continue
            if name in config.random:
                lm, weights = random_model(name), "random"
            else:
                lm, weights = load(name, dtype="fp32", adapter=config.adapters if not number else None), "own"
            for row in list(rows_of(lm, source, config, [] if number else config.selected, weights)):
                run.append(row)
            progress("models", number + 1, len(names))
        run.finish({"rows": sum(1 for _ in run.rows())})
        return run

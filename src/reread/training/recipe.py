"""The recipe of a training: its settings, and what can be checked of them alone.  Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reread.config import LATER, at_least
from reread.errors import BadInput, MissingData, MissingPackage, UnknownName
from reread.models import load_tokenizer, locate
from reread.policies import policy
from reread.prompting import Encoded, strategy
from reread.tasks.recall import SET_ASIDE
from reread.training.episodes import REGULATORY, TABLE, TEXTS, question_files

SHORTEST = {"text": 2, "spans": 20}  # tokens of a row: a quarter of it, or a piece longer than what leads it


@dataclass(frozen=True)
class DataConfig:
    """What rows are made of.

    mix: relative share of rows per source (text, spans, fields, table, questions, sentences, forms);
    layouts: relative share of episodes per strategy; mask_rate: share of prefix tokens of text
    rows, and of half the episodes (answers spared), that become masked targets; policies:
    relative share of episodes per prefix policy (policies.py; of the prompt of an episode's first question);
    text_policies: the same of text rows (without any, a quarter to three quarters of each is prefix);
    characters: of text per file; set_aside: documents of the 510(k) table, and paragraphs with
    questions, kept for recall checks (with fewer than SET_ASIDE, fda-aside asks documents that were trained on).
    """

    mix: dict[str, float] = field(
        default_factory=lambda: {
            "text": 0.2, "spans": 0.1, "fields": 0.3, "table": 0.05, "questions": 0.1, "sentences": 0.1, "forms": 0.15,
        }
    )  # fmt: skip
    layouts: dict[str, float] = field(default_factory=lambda: {"once": 0.6, "question_first": 0.15, "twice": 0.25})
    mask_rate: float = 0.15
    policies: dict[str, float] = field(default_factory=lambda: {"prompt": 0.5, "document": 0.5})
    text_policies: dict[str, float] = field(default_factory=dict)
    characters: int = 20_000_000
    set_aside: int = SET_ASIDE

    def check(self) -> None:
        """Raise for an unknown source or strategy, and for shares and sizes that cannot be."""
        check_shares("data.mix", self.mix)
        if not self.layouts or min(self.layouts.values()) < 0 or not sum(self.layouts.values()):
            raise BadInput("data.layouts needs shares of 0 or more, one above 0", got=self.layouts)
        for name in self.layouts:
            strategy(name)
        if not 0 <= self.mask_rate <= 1:
            raise BadInput("data.mask_rate is a share", got=self.mask_rate, allowed="0 to 1")
        check_policies("data.policies", self.policies, ("document", "question"))
        if self.text_policies:
            check_policies("data.text_policies", self.text_policies, ("document",))
        at_least(self, 1, "set_aside", "characters")


SOURCES = ("text", "spans", "fields", "table", "questions", "sentences", "forms")


def check_shares(where: str, mix: dict[str, float]) -> None:
    """Raise for a mix that names an unknown source, or nothing to draw from."""
    for name in mix:
        if name not in SOURCES:
            raise UnknownName(f"source in {where}", name, SOURCES)
    if not mix or min(mix.values()) < 0 or not sum(mix.values()):
        raise BadInput(f"{where} needs shares of 0 or more, one above 0", got=mix)


def check_policies(where: str, shares: dict[str, float], roles: Sequence[str]) -> None:
    """Raise for shares that cannot be, and for a policy that asks a model or more than rows of these parts can tell."""
    if not shares or min(shares.values()) < 0 or not sum(shares.values()):
        raise BadInput(f"{where} needs shares of 0 or more, one above 0", got=shares)
    spans = tuple((role, at, at + 1) for at, role in enumerate(roles))
    for name in shares:
        policy(name).choose([Encoded(tuple(range(len(roles))), spans, 0)], tokenizer=load_tokenizer())


@dataclass(frozen=True)
class Stage:
    """So many steps with rows of so many tokens, so many rows a step; `mix` replaces that of the data."""

    steps: int
    tokens: int
    rows: int
    mix: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with warm-up and cosine decay to `final_share` of the learning rate.

    muon_learning_rate > 0: Muon (Jordan 2024, torch.optim.Muon) trains the matrices inside the
    layers, AdamW the rest (embeddings, norms, convolution taps), both on the same schedule.
    """

    learning_rate: float = 2e-3
    muon_learning_rate: float = 0.0
    final_share: float = 0.05
    warmup_steps: int = 100
    weight_decay: float = 0.05
    beta2: float = 0.98
    clip: float = 1.0


@dataclass(frozen=True)
class TrainConfig:
    """One training run.  out: run folder; model: fields of PrefixLMConfig; stages: the schedule; threads: of torch
    (0: as it has); workers: processes that make rows beside the training (0: none, it makes them itself).

    start: a model that `load` finds ("small-jrt", a folder), of reread's own layout, whose weights, sizes and tokenizer
    this training begins with; "" begins with random weights.
    """

    out: str
    stages: tuple[Stage, ...]
    model: dict[str, Any] = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    tokenizer: str = "embedded"
    start: str = field(default="", metadata=LATER)
    masked_weight: float = 0.25
    seed: int = 0
    bf16: bool = True
    threads: int = 0
    workers: int = 0
    log_steps: int = 20
    recall_steps: int = 200
    save_steps: int = 200

    def check(self) -> None:
        """Raise for unknown names and impossible sizes before anything is read or written."""
        if not self.stages:
            raise BadInput("a training run needs at least one stage", todo="stages = [{ steps, tokens, rows }]")
        for stage in self.stages:
            if min(stage.steps, stage.tokens, stage.rows) < 1:
                raise BadInput("steps, tokens and rows of a stage must be at least 1", got=stage)
            if stage.mix:
                check_shares("the mix of a stage", stage.mix)
        if self.start and (self.model or self.tokenizer != "embedded"):
            what = "sizes and tokenizer are those of the model that training starts from"
            raise BadInput(
                what, got="start beside " + ("model" if self.model else "tokenizer"), todo="name one of them"
            )
        self.check_prefixes(self.model.get("max_prefix"))
        self.check_numbers()
        self.data.check()
        self.check_rows()
        if self.model:  # last: this imports torch
            from reread.models.prefix_lm import PrefixLMConfig

            for key in self.model:
                if key not in PrefixLMConfig.__annotations__:
                    raise UnknownName("setting in model", key, PrefixLMConfig.__annotations__)

    @property
    def longest(self) -> int:
        """Tokens of the longest rows."""
        return max(stage.tokens for stage in self.stages)

    def check_prefixes(self, places: object) -> None:
        """Raise BadInput where rows are longer than the prefix that a model takes (max_prefix; 0: any)."""
        if isinstance(places, int) and 0 < places < self.longest:
            what = "rows longer than the prefix that the model takes would train prefixes that it never reads"
            raise BadInput(what, got=f"{self.longest} tokens", allowed=f"max_prefix, {places}")

    def check_numbers(self) -> None:
        """Raise BadInput for numbers that no training can be made with."""
        optim = self.optim
        at_least(optim, 0, "learning_rate", "muon_learning_rate", "warmup_steps", "weight_decay", "clip")
        at_least(self, 0, "masked_weight", "seed", "threads", "workers")
        at_least(self, 1, "log_steps", "recall_steps", "save_steps")
        if not 0 <= optim.final_share <= 1:
            raise BadInput("optim.final_share is a share", got=optim.final_share, allowed="0 to 1")
        if not 0 <= optim.beta2 < 1:
            raise BadInput("optim.beta2 is 0 or more and below 1", got=optim.beta2)
        if self.seed >= 2**32:
            raise BadInput("a seed has 32 bits", got=self.seed, allowed=f"0 to {2**32 - 1}")

    def check_rows(self) -> None:
        """Raise BadInput for a stage whose rows are too short for one of its sources, whatever its texts are."""
        for number, stage in enumerate(self.stages, start=1):
            for name in sorted(drawn_by(self, stage)):
                if stage.tokens < (least := SHORTEST.get(name, 1)):
                    what = f"the rows of stage {number} are too short for the source {name}"
                    raise BadInput(what, got=f"{stage.tokens} tokens", allowed=f"{least} or more")

    def check_files(self, data: Path) -> None:
        """Raise for what is not there: a model or tokenizer to begin with, a file that a source of a stage reads.

        UnknownName, BadCheckpoint, BadInput, MissingData.
        """
        if self.start:
            locate(self.start)
        load_tokenizer(self.tokenizer)
        drawn = self.drawn()
        names = {f"text/{name}.jsonl.xz" for name in TEXTS} if drawn & {"text", "spans"} else set()
        if drawn & {"sentences", "forms"}:
            names.add("text/wiki-00.jsonl.xz")
        if drawn & {"fields", "forms"}:
            names |= {f"text/{name}.jsonl.xz" for name in REGULATORY}
        if "table" in drawn:
            names |= {TABLE, "fda_510k/train_docs.jsonl.xz"}
        files = [data / name for name in sorted(names, key=lambda name: (name != TABLE, name))] + (
            question_files(data) if "questions" in drawn else []
        )
        for file in files:
            if not file.is_file():
                todo = "give the folder with --data or in REREAD_DATA, or a share of 0 in data.mix to this source"
                raise MissingData("a data file is missing", got=str(file), todo=todo)

    def drawn(self) -> set[str]:
        """The sources that rows are drawn from."""
        return {name for stage in self.stages for name in drawn_by(self, stage)}


def drawn_by(config: TrainConfig, stage: Stage) -> set[str]:
    """The sources of one stage."""
    return {name for name, share in (stage.mix or config.data.mix).items() if share > 0}


def check_packages() -> None:
    """Raise MissingPackage where the trainer of transformers cannot work."""
    if find_spec("accelerate") is None:
        raise MissingPackage("accelerate", "train")

"""The recipe of an adapter for the pretrained reader: its settings, and what can be checked of them alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from reread.config import at_least
from reread.errors import BadInput, MissingData, MissingPackage, UnknownName
from reread.models import locate
from reread.models.kv_selection import FULL, Settings, selection, sums_dropped, tokens_per_choice
from reread.models.lora import TENSORS, check_adapters, file_sha256
from reread.options import checked_strategy
from reread.tasks.recall import TRAINED_ON
from reread.training.episodes import REGULATORY, TABLE

KIND = "reader"
OFFICE = "reread.training.office"
FILES = {
    "office": (),
    "squadshifts": tuple(f"squadshifts/{name}_v1.0.json.gz" for name in TRAINED_ON),
    "fda": (TABLE, "fda_510k/train_docs.jsonl.xz", *(f"text/{name}.jsonl.xz" for name in REGULATORY)),
    "boolq": ("boolq/boolq.jsonl.gz",),
    "pubmed_qa": ("pubmed_qa/pubmed_qa_labeled.jsonl.gz",),
    "babi": ("babi/tasks_1-20_v1-2_en.tar.xz",),
}  # of the data folder, by source
DTYPES = ("faster", "bf16", "fp32")
SHARES = {"office": 0.5, "squadshifts": 0.24, "fda": 0.15, "boolq": 0.05, "pubmed_qa": 0.02, "babi": 0.04}
ABSENT = {"squadshifts": 0.25, "fda": 0.25, "boolq": 0.2, "pubmed_qa": 0.2, "babi": 0.2}
LAYOUTS = {
    "once": 0.7,
    "twice(cue=False)": 0.06,
    "twice": 0.06,
    "question_first": 0.06,
    "question_twice": 0.02,
    "cqcq": 0.04,
    "selective(k=3)": 0.06,
}


@dataclass(frozen=True)
class ReaderData:
    """What rows are made of.

    mix: relative share of rows per source (office, squadshifts, fda, boolq, pubmed_qa, babi); layouts: relative share
    of rows per strategy, of which `once` and `twice(cue=False)` ask several questions in one row; absent: share of
    questions per source whose answer is not in the document (office: its generator decides); shortest, longest: tokens
    of a document, both copies together, drawn evenly on a logarithmic scale; questions: of one row at most; room:
    tokens of all questions and answers of a row at most; aside: one document in so many, by its hash, is kept for
    measuring; characters: of regulatory text per file; scenes: share of the office documents that are scenes, which
    ask for values that are easily taken for each other; selections: relative share of rows per state that their
    questions see (`full`: the whole cache), of the rows whose layout asks several questions.
    """

    mix: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    layouts: dict[str, float] = field(default_factory=lambda: dict(LAYOUTS))
    absent: dict[str, float] = field(default_factory=lambda: dict(ABSENT))
    selections: dict[str, float] = field(default_factory=lambda: {FULL: 1.0})
    shortest: int = 80
    longest: int = 2000
    questions: int = 10
    room: int = 400
    aside: int = 20
    characters: int = 20_000_000
    scenes: float = 0.0

    def check(self) -> None:
        """Raise for unknown sources and strategies, and for numbers that cannot be."""
        for where, table in (("data.mix", self.mix), ("data.absent", self.absent)):
            for name in table:
                if name not in FILES:
                    raise UnknownName(f"source in {where}", name, FILES)
        shares = {"data.mix": self.mix, "data.layouts": self.layouts, "data.selections": self.selections}
        for where, table in shares.items():
            if not table or not min(table.values()) >= 0 or not 0 < sum(table.values()) < math.inf:
                raise BadInput(f"{where} needs shares of 0 or more, one above 0", got=table)
        if not all(0 <= share <= 1 for share in self.absent.values()):
            raise BadInput("data.absent holds shares", got=self.absent, allowed="0 to 1")
        if not 0 <= self.scenes <= 1:
            raise BadInput("data.scenes is a share", got=self.scenes, allowed="0 to 1")
        if self.absent.get("office"):
            what = "the generator of office documents decides which of its questions have no answer"
            raise BadInput(what, got=f"data.absent.office = {self.absent['office']}", todo="leave it out")
        for name in self.layouts:
            checked_strategy(name)
        for name in self.selections:
            chosen = selection(name)
            spec = chosen.settings
            if isinstance(spec, Settings) and (spec.loss or tokens_per_choice(chosen) or sums_dropped(chosen)):
                what = "a state in training is chosen from all keys, by a budget of positions or bytes"
                raise BadInput(what, got=name, todo="name it by tokens, share or mib, without `read` and `dropped`")
        at_least(self, 1, "questions", "room", "characters")
        at_least(self, 2, "aside")
        at_least(self, 16, "shortest")
        if self.longest < self.shortest:
            raise BadInput("data.longest is below data.shortest", got=self.longest, allowed=f"{self.shortest} or more")


@dataclass(frozen=True)
class ReaderConfig:
    """One training of a LoRA adapter.

    out: run folder; model: the base, as `load` takes it, of transformers; version: of the adapter, for its manifest;
    start_adapter, start_sha256: folder of the adapter that this stage begins with, and the sha256 of its
    adapter_model.safetensors ("": a new one); steps: of about step_tokens tokens; rank, alpha: of LoRA, on all seven
    projections; learning_rate: of AdamW, after warmup_steps falling linearly to 0; dtype: of the frozen base: bf16,
    fp32, or faster, which is measured at the start; threads: of torch (0: as it has); measured: questions about
    set-aside documents that are asked every measure_steps steps.
    """

    out: str
    steps: int
    model: str = "smollm2"
    version: str = "1"
    start_adapter: str = ""
    start_sha256: str = ""
    step_tokens: int = 2600
    data: ReaderData = field(default_factory=ReaderData)
    rank: int = 16
    alpha: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    weight_decay: float = 0.0
    clip: float = 1.0
    dtype: str = "faster"
    seed: int = 0
    threads: int = 0
    log_steps: int = 10
    save_steps: int = 50
    measure_steps: int = 125
    measured: int = 60

    def check(self) -> None:
        """Raise for unknown names and impossible numbers before anything is read or written."""
        if self.dtype not in DTYPES:
            raise UnknownName("dtype", self.dtype, DTYPES)
        at_least(self, 1, "steps", "step_tokens", "rank", "log_steps", "save_steps", "measure_steps", "measured")
        at_least(self, 0, "warmup_steps", "weight_decay", "clip", "seed", "threads")
        for name in ("alpha", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInput(f"{name} must be above 0", got=getattr(self, name))
        if self.seed >= 2**32:
            raise BadInput("a seed has 32 bits", got=self.seed, allowed=f"0 to {2**32 - 1}")
        if bool(self.start_adapter) != bool(self.start_sha256):
            what = "a stage that begins with an adapter names its folder and the sha256 of its tensors"
            raise BadInput(what, got=f"start_adapter {self.start_adapter!r}, start_sha256 {self.start_sha256!r}")
        self.data.check()

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that rows are drawn from."""
        return tuple(name for name, share in self.data.mix.items() if share > 0)

    def check_files(self, data: Path) -> None:
        """Raise for what is not there: the base, the adapter to begin with, a file that a source reads.

        UnknownName, BadCheckpoint, BadInput, MissingData.
        """
        locate(self.model)
        if self.start_adapter:
            check_adapters([self.start_adapter])
            found = file_sha256(Path(self.start_adapter) / TENSORS)
            if found != self.start_sha256:
                what = f"{TENSORS} of start_adapter is another than the recipe names"
                raise BadInput(what, got=f"{self.start_adapter}: sha256 {found}", allowed=self.start_sha256)
        if "office" in self.sources and find_spec(OFFICE) is None:
            todo = "give office a share of 0 in data.mix"
            raise BadInput("this version of reread cannot make office documents", got="office", todo=todo)
        for name in self.sources:
            for file in FILES[name]:
                if not (data / file).is_file():
                    todo = "give the folder with --data or in REREAD_DATA, or a share of 0 in data.mix to this source"
                    raise MissingData("a data file is missing", got=str(data / file), todo=todo)


def check_reader_packages() -> None:
    """Raise MissingPackage where an adapter cannot be trained."""
    for package in ("accelerate", "peft"):
        if find_spec(package) is None:
            raise MissingPackage(package, "train")

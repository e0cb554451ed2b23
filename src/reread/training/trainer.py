"""Training a PrefixLM from a recipe, on transformers.Trainer.

The trainer brings the loop, bf16 autocast, clipping, checkpoints and resume; this file brings the
two losses, the staged batches, and a log of losses and of recall on documents set aside.  It
knows the objective and the data only through their columns.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from reread.config import to_dict
from reread.errors import BadInput, reason
from reread.models import device_name, load, load_tokenizer
from reread.models.placed import checked
from reread.models.prefix_lm import PrefixLMConfig, PrefixLMForCausalLM
from reread.pace import Tell
from reread.prompting import encodings
from reread.runlog import Run
from reread.training import episodes as words
from reread.training.data import (
    TRIES,
    EpisodeRows,
    Row,
    Rows,
    Source,
    StagedBatches,
    check_rows,
    collate,
)
from reread.training.objective import IGNORE, Losses, losses
from reread.training.recipe import OptimConfig, TrainConfig, check_packages, drawn_by
from reread.training.tokenizer import END, MASK, save_tokenizer, special_id

MOST_ENTRIES = 2**16  # of a tokenizer


def left_over(found: Sequence[Any], what: str, aside: int, kind: str) -> Sequence[Any]:
    """What is left to train with when the last `aside` are kept apart.  Raises BadInput for nothing."""
    if len(found) <= aside:
        todo = "--set data.set_aside=N keeps fewer apart, and a share of 0 in data.mix leaves the source out"
        raise BadInput(f"no {what} is left to train with", got=f"{len(found)} {kind}, {aside} set aside", todo=todo)
    return found[:-aside] if aside else found


def build_rows(
    config: TrainConfig, tokenizer: Tokenizer, data: Path, prefix: bool
) -> tuple[Rows, dict[str, list[Row]]]:
    """The training rows, and fixed rows of documents that were set aside, by source.

    Only what the sources with a share need is read, and the table of documents wherever there is one: those set
    aside stay out of the text too.  Raises BadInput where a source has nothing left, MissingData.
    """
    spec, drawn = config.data, config.drawn()
    running = [stage.tokens for stage in config.stages if {"text", "spans"} & drawn_by(config, stage)]
    there = "table" in drawn or (data / words.TABLE).is_file()
    table = words.table_documents(data) if there else {}
    aside_table = dict(list(table.items())[-spec.set_aside :])
    sources: dict[str, Source] = {}
    held_out: dict[str, Source] = {}
    if aside_table:
        held_out["fda"] = words.FieldSource(list(aside_table.values()), 2.4)
    if "table" in drawn:
        documents = list(table.values())
        sources["table"] = words.FieldSource(
            left_over(documents, "document of the table", spec.set_aside, "documents"), 2.4
        )
    if drawn & {"fields", "forms"}:
        regulatory = words.regulatory_documents(data, spec.characters, aside_table.keys())
        sources["fields"] = words.FieldSource(left_over(regulatory, 'text with two lines "Label: value"', 0, "texts"))
    names = words.TEXTS if running else ("wiki-00",) if drawn & {"sentences", "forms"} else ()
    text = words.training_text(data, spec.characters // 4, aside_table.keys(), names)
    if "questions" in drawn:
        paragraphs, aside = words.asked_paragraphs(words.question_files(data)), spec.set_aside
        left = left_over(paragraphs, "paragraph with questions", aside, "paragraphs")
        sources["questions"] = words.QuestionSource(left)
        held_out["questions"] = words.QuestionSource(paragraphs[-aside:])
    if "forms" in drawn:
        labels = sorted({question for document in regulatory for question, _, _ in document.fields})
        forms = words.form_source(labels, text["wiki-00"])
        for kind in ("words", "names", "prose"):
            left_over(getattr(forms, kind), f"line of wiki-00 with {kind}", 0, "lines")
        held_out["forms"] = sources["forms"] = forms
    if "sentences" in drawn:
        made = words.SentenceSource(text["wiki-00"])
        left_over(made.pieces, "page of more than 400 characters in wiki-00", 0, "pages")
        sources["sentences"] = made
    make = EpisodeRows(tokenizer, spec, special_id(tokenizer, MASK) if prefix else None)
    stream = text_stream(text, tokenizer, max(running)) if running else {}
    aside_rows = {}
    for name, source in held_out.items():
        rng = np.random.default_rng(12345)
        aside_rows[name] = [held_out_row(make, source, config.longest, rng) for _ in range(24)]
    rows = Rows(make, sources, stream, config.stages, config.seed)
    check_rows(rows)
    return rows, aside_rows


def text_stream(text: dict[str, list[str]], tokenizer: Tokenizer, T: int) -> dict[str, np.ndarray]:
    """All documents of each file as tokens, an END behind each.  Raises BadInput for less than a row."""
    end = special_id(tokenizer, END)
    if tokenizer.get_vocab_size() > MOST_ENTRIES:
        got = f"{tokenizer.get_vocab_size():,}"
        raise BadInput("text is kept as numbers of 16 bits", got=f"{got} entries", allowed=f"{MOST_ENTRIES:,}")
    stream = {}
    for name, pieces in text.items():
        ids = [[*e.ids, end] for e in encodings(pieces, tokenizer, first=True)]
        tokens = sum(map(len, ids))
        if tokens <= T + 1:
            raise BadInput(f"text/{name} holds less than a row", got=f"{tokens} tokens", allowed=f"{T + 2} or more")
        stream[name] = np.concatenate([np.array(i, dtype=np.uint16) for i in ids])
    return stream


def check_lengths(config: TrainConfig, tokenizer: Tokenizer) -> None:
    """Raise BadInput for rows that cannot hold the words around one short question, before any data is read."""
    make = EpisodeRows(tokenizer, config.data, None)
    layouts = [name for name, share in config.data.layouts.items() if share > 0]
    for number, stage in enumerate(config.stages, start=1):
        for name in sorted(drawn_by(config, stage) - {"text", "spans"}):
            form = "question" if name in ("questions", "sentences") else "field"
            least = words.Episode("a", (("a", "a"),), form)
            if all(make.row(least, layout, stage.tokens) is None for layout in layouts):
                what = f"the rows of stage {number} are too short for a question of the source {name}"
                raise BadInput(what, got=f"{stage.tokens} tokens", todo="use longer rows")


def held_out_row(make: EpisodeRows, source: Source, T: int, rng: np.random.Generator) -> Row:
    """A clean row (nothing masked) in the layout `once`, the document alone as prefix."""
    for _ in range(TRIES):
        row = make.row(source.draw(rng, int(T * 0.7)), "once", T)
        if row is not None:
            return row
    raise BadInput("no held-out episode fits a row", got=f"{T} tokens", todo="end with a stage of longer rows")


@torch.no_grad()
def recall(model: PrefixLMForCausalLM, rows: list[Row], batch: int = 4) -> dict[str, int]:
    """Answers that the model would copy whole, token by token, given the true tokens before: right, of."""
    right = total = 0
    for start in range(0, len(rows), batch):
        columns = {name: column.to(model.device) for name, column in collate(rows[start : start + batch]).items()}
        at = columns["kind"] != IGNORE
        logits = model(columns["input_ids"], prefix_lengths=columns["prefix_lengths"], logits_at=at).logits
        hit = (logits.argmax(-1) == columns["targets"][at]).cpu().numpy()
        row_of = np.nonzero(at.cpu().numpy())[0]
        names = row_of * 1000 + columns["answer"][at].cpu().numpy()
        for name in np.unique(names):
            total += 1
            right += bool(hit[names == name].all())
    return {"right": right, "of": total}


def tokens_of(config: TrainConfig, step: int) -> tuple[int, int]:
    """Tokens that have been trained on after so many steps, and that will be: every stage has steps of its size."""
    done, left = 0, step
    for stage in config.stages:
        done += min(left, stage.steps) * stage.tokens * stage.rows
        left -= min(left, stage.steps)
    return done, sum(stage.steps * stage.tokens * stage.rows for stage in config.stages)


class LogCallback(TrainerCallback):
    """Losses (means of the `steps` before) and held-out recall as rows of the run."""

    def __init__(self, run: Run, aside: dict[str, list[Row]], config: TrainConfig, progress: Tell):
        self.run, self.aside, self.config, self.progress = run, aside, config, progress
        self.sums: list[Tensor] = []  # stay where they were made: asking for a number would wait for a GPU
        self.tokens, self.since = 0, time.monotonic()
        self.stopped = False

    @contextlib.contextmanager
    def stop_after_step(self) -> Iterator[None]:
        """Ctrl-C ends training after the step in hand, with a checkpoint; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def stop(number: int, frame: Any) -> None:
            self.stopped = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def add(self, loss: Losses, tokens: int) -> None:
        self.sums.append(torch.stack((loss.next, loss.masked)).detach())
        self.tokens += tokens

    def on_step_end(self, args, state, control, model=None, **kwargs):
        step = state.global_step
        self.progress("tokens trained on", *tokens_of(self.config, step))
        if self.stopped:
            control.should_save = control.should_training_stop = True
        if step % self.config.log_steps == 0 and self.sums:
            mean = torch.stack(self.sums).double().mean(dim=0).tolist()
            seconds = time.monotonic() - self.since
            self.run.append(
                {
                    "step": step,
                    "steps": len(self.sums),
                    "next": round(mean[0], 4),
                    "masked": round(mean[1], 4),
                    "tokens_per_second": round(self.tokens / seconds),
                }
            )
            self.sums, self.tokens, self.since = [], 0, time.monotonic()
        if step % self.config.recall_steps == 0:
            began = time.monotonic()
            model.eval()
            with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16 and model.device.type == "cpu"):
                row = {name: recall(model, rows) for name, rows in self.aside.items()}
            model.train()
            self.run.append({"step": step, "recall": row})
            self.since += time.monotonic() - began


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for the matrices inside the layers, AdamW for every other parameter, as one optimizer."""

    def __init__(self, model: PrefixLMForCausalLM, spec: OptimConfig):
        matrices = [p for name, p in model.named_parameters() if is_layer_matrix(name, p)]
        others = [p for name, p in model.named_parameters() if not is_layer_matrix(name, p)]
        decay = spec.weight_decay
        self.parts = (
            torch.optim.Muon(matrices, lr=spec.muon_learning_rate, weight_decay=decay, momentum=0.95),
            torch.optim.AdamW(others, lr=spec.learning_rate, betas=(0.9, spec.beta2), weight_decay=decay, fused=True),
        )
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, saved in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(saved)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def is_layer_matrix(name: str, parameter: Tensor) -> bool:
    """True for the weight of a linear layer inside a block (not embeddings, taps or norms)."""
    return name.startswith("layers.") and name.endswith(".weight") and parameter.dim() == 2


class WholeCheckpoints(Trainer):
    """transformers.Trainer whose checkpoints are complete or removed."""

    def _save_checkpoint(self, *given: Any, **named: Any) -> Any:
        """As transformers does.  Raises BadInput where it cannot be written; what was written of it is removed."""
        folder = Path(self.args.output_dir or "")
        with saving(folder):
            try:
                return super()._save_checkpoint(*given, **named)
            except BaseException:
                part = folder / f"checkpoint-{self.state.global_step}"
                if not (part / "trainer_state.json").exists():
                    shutil.rmtree(part, ignore_errors=True)
                raise


class PrefixTrainer(WholeCheckpoints):
    """The trainer with the two losses and the staged batches."""

    def __init__(self, model: PrefixLMForCausalLM, rows: Rows, config: TrainConfig, log: LogCallback):
        steps = sum(stage.steps for stage in config.stages)
        optimizers = (MuonWithAdamW(model, config.optim) if config.optim.muon_learning_rate else None, None)
        super().__init__(
            model=model, args=arguments(config, steps), train_dataset=rows, callbacks=[log], optimizers=optimizers
        )
        self.rows, self.config, self.log_callback = rows, config, log

    def get_train_dataloader(self) -> DataLoader:
        workers = self.config.workers
        return DataLoader(
            self.rows, batch_sampler=StagedBatches(self.config.stages), collate_fn=collate, num_workers=workers
        )

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        at = inputs["kind"] != IGNORE
        outputs = model(inputs["input_ids"], prefix_lengths=inputs["prefix_lengths"], logits_at=at)
        loss = losses(outputs.logits, inputs["targets"][at], inputs["kind"][at], self.config.masked_weight)
        self.log_callback.add(loss, at.numel())
        return (loss.total, outputs) if return_outputs else loss.total


def check_device() -> None:
    """Raise BadInput where REREAD_DEVICE names what transformers' trainer would not compute on."""
    where = checked(device_name())
    if where.type not in ("cpu", "cuda") or where.index:
        todo = "choose another GPU with CUDA_VISIBLE_DEVICES"
        raise BadInput(
            "training computes on the CPU or on the first GPU", got=str(where), allowed="cpu, cuda", todo=todo
        )


def arguments(config: TrainConfig, steps: int) -> TrainingArguments:
    spec = config.optim
    return TrainingArguments(
        output_dir=str(Path(config.out) / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=1,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": spec.final_share},
        warmup_steps=spec.warmup_steps,
        weight_decay=spec.weight_decay,
        adam_beta2=spec.beta2,
        max_grad_norm=spec.clip,
        optim="adamw_torch_fused",
        bf16=config.bf16,
        use_cpu=device_name() == "cpu",
        save_steps=config.save_steps,
        save_total_limit=2,
        logging_steps=config.log_steps,
        logging_strategy="no",
        report_to="none",
        seed=config.seed,
        data_seed=config.seed,
        remove_unused_columns=False,
        dataloader_num_workers=config.workers,
        disable_tqdm=False,
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole (the trainer writes its state file last)."""
    whole = [p.parent for p in folder.glob("checkpoint-*/trainer_state.json")]
    return max(whole, key=lambda p: int(p.name.rsplit("-", 1)[1]), default=None)


@contextlib.contextmanager
def saving(
    folder: Path, todo: str = "the same command goes on from the last checkpoint once it can write"
) -> Iterator[None]:
    """Raise BadInput for weights that cannot be written; safetensors and torch say so in errors of their own."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise BadInput(f"the weights cannot be written: {reason(error)}", got=str(folder), todo=todo) from error


def export(model: PrefixLMForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Weights in bfloat16 as safetensors, config.json and the tokenizer: what is shared and loaded, by transformers
    too.  Raises BadInput where they cannot be written."""
    with saving(folder):
        shared = copy.deepcopy(model).bfloat16()
        shared.config.use_cache = True  # Trainer sets it to False for its own time
        shared.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)


def beginning(config: TrainConfig) -> tuple[Callable[[], PrefixLMForCausalLM], Tokenizer, dict[str, str]]:
    """What makes the model that training begins with, its tokenizer, and what the summary says of them.

    Raises BadInput for a model to start from that is not of reread's own layout.
    """
    if config.start:
        lm = load(config.start, "cpu")
        model = lm.model
        if not isinstance(model, PrefixLMForCausalLM):
            what = "training goes on from models of reread's own layout"
            raise BadInput(what, got=config.start, todo="a run folder of `reread train`, or small-jrt")
        config.check_prefixes(model.config.max_prefix)
        special_id(lm.tokenizer, MASK)
        return lambda: model.train(), lm.tokenizer, {"start_fingerprint": model.fingerprint}
    tokenizer = load_tokenizer(config.tokenizer)
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "mask_token_id": special_id(tokenizer, MASK)}
    end = special_id(tokenizer, END)
    made = PrefixLMConfig(**{**sizes, "eos_token_id": end, "pad_token_id": end, **config.model})
    if made.vocab_size < sizes["vocab_size"]:
        what = "the model has fewer entries than the tokenizer"
        raise BadInput(what, got=f"vocab_size {made.vocab_size:,}", allowed=f"{sizes['vocab_size']:,} or more")
    return lambda: PrefixLMForCausalLM(made), tokenizer, {}


def train(config: TrainConfig, data: Path, *, progress: Tell = lambda *_: None) -> dict[str, Any]:
    """Train where REREAD_DEVICE says, or go on where the run folder stands; returns the summary.

    The weights end in `out`/model.  Raises BadInput for a device that torch does not see.

    Ctrl-C leaves a checkpoint of the step in hand and raises KeyboardInterrupt; the same command goes on from it.
    """
    check_packages()
    if config.threads:
        torch.set_num_threads(config.threads)
    config.check()
    check_device()
    Run.check(config.out, "train", to_dict(config), apart=("out",))
    begin, tokenizer, from_what = beginning(config)
    if not Run(Path(config.out)).done:  # nothing is made before all that can be wrong was tried
        check_lengths(config, tokenizer)
        config.check_files(data)
        torch.manual_seed(config.seed)
        model = begin()
        rows, aside = build_rows(config, tokenizer, data, model.noncausal_prefix)
        arguments(config, 1)
    with Run.start(config.out, "train", to_dict(config), resume=True, apart=("out",)) as run:
        if run.done:
            return run.summary()
        steps = sum(stage.steps for stage in config.stages)
        log = LogCallback(run, aside, config, progress)
        trainer = PrefixTrainer(model, rows, config, log)
        checkpoint = last_checkpoint(Path(config.out) / "checkpoints")
        done = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
        run.keep(lambda row: row["step"] <= done)
        progress("tokens trained on", *tokens_of(config, done))
        with log.stop_after_step():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if log.stopped:
            raise KeyboardInterrupt
        model.eval()
        export(model, tokenizer, Path(config.out) / "model")
        summary = {
            "steps": steps,
            "tokens": tokens_of(config, steps)[1],
            "parameters": sum(p.numel() for p in model.parameters()),
            "recall": {name: recall(model, r) for name, r in aside.items()},
            **from_what,
        }
        run.finish(summary)
        return summary

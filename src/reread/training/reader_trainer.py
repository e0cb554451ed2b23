"""Training a LoRA adapter for the pretrained reader, on transformers.Trainer with PEFT.

The base stays frozen; the adapter's matrices are float32.  Checkpoints hold the adapter, the optimizer and the
schedule, so a run that was killed goes on and ends with the same weights.  This file brings the loss over rows, what
is measured on set-aside documents, and the adapter's files with their manifest.
"""

from __future__ import annotations

import copy
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from reread.config import to_dict
from reread.errors import BadInput
from reread.models import LM, base_sha256, device_name, load
from reread.models.lora import (
    CONFIG,
    MANIFEST,
    NO_ADAPTER,
    TENSORS,
    Manifest,
    check_base,
    check_fits,
    file_sha256,
    read_adapter,
)
from reread.models.pretrained import Pretrained
from reread.pace import Tell
from reread.runlog import Run
from reread.training.reader import (
    TEMPLATE,
    ReaderRows,
    Steps,
    collate,
    row_loss,
    use_rows_attention,
)
from reread.training.reader_measures import Measured, measure, measured_rows
from reread.training.reader_recipe import ReaderConfig, check_reader_packages
from reread.training.reader_sources import build_sources
from reread.training.reader_states import Keeper
from reread.training.trainer import LogCallback, WholeCheckpoints, check_device, last_checkpoint, saving

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
# The choice of a dtype: steps of each that are timed, tokens of their row, and the ratio of first steps that decides
# without further ones.
TIMED, TIMED_TOKENS, FAR = 2, 96, 6.0


class ReaderLog(LogCallback):
    """Losses (means of the steps before) and measurements on set-aside documents as rows of the run."""

    def __init__(self, run: Run, config: ReaderConfig, progress: Tell, measuring: Callable[[], dict[str, Any]]):
        self.run, self.reader_config, self.progress, self.measuring = run, config, progress, measuring
        self.losses: list[Tensor] = []
        self.tokens, self.since, self.stopped = 0, time.monotonic(), False

    def note(self, loss: Tensor, tokens: int) -> None:
        """Keep the loss of a step and its tokens."""
        self.losses.append(loss.detach())
        self.tokens += tokens

    def on_step_end(self, args, state, control, model=None, **kwargs):
        step, config = state.global_step, self.reader_config
        self.progress("steps", step, config.steps)
        if self.stopped:
            control.should_save = control.should_training_stop = True
        if step % config.log_steps == 0 and self.losses:
            seconds = time.monotonic() - self.since
            loss = round(float(torch.stack(self.losses).double().mean()), 4)
            row = {"step": step, "steps": len(self.losses), "loss": loss, "tokens": self.tokens}
            self.run.append({**row, "tokens_per_second": round(self.tokens / seconds)})
            self.losses, self.tokens, self.since = [], 0, time.monotonic()
        if step % config.measure_steps == 0 or step == config.steps:
            began = time.monotonic()
            self.run.append({"step": step, "measured": self.measuring()})
            self.since += time.monotonic() - began


class ReaderTrainer(WholeCheckpoints):
    """The trainer with the loss over rows."""

    def __init__(self, model: Any, rows: ReaderRows, config: ReaderConfig, log: ReaderLog, keeper: Keeper):
        self.rows, self.keeper = Steps(rows), keeper
        super().__init__(model=model, args=arguments(config), train_dataset=self.rows, callbacks=[log])
        self.log_callback, self.reader_config = log, config

    def get_train_dataloader(self) -> DataLoader:
        steps = [[step] for step in range(self.reader_config.steps)]
        return DataLoader(self.rows, batch_sampler=steps, collate_fn=lambda found: collate(found[0]))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = row_loss(model, inputs, self.keeper.stays(inputs))
        self.log_callback.note(loss, inputs["input_ids"].numel())
        return (loss, {}) if return_outputs else loss


def arguments(config: ReaderConfig) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(Path(config.out) / "checkpoints"),
        max_steps=config.steps,
        per_device_train_batch_size=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip,
        optim="adamw_torch_fused",
        bf16=False,
        use_cpu=device_name() == "cpu",
        save_steps=config.save_steps,
        save_total_limit=2,
        logging_strategy="no",
        report_to="none",
        seed=config.seed,
        data_seed=config.seed,
        remove_unused_columns=False,
        disable_tqdm=False,
    )


# the model ----------------------------------------------------------------------------------------------------------


def load_base(config: ReaderConfig) -> LM:
    """The base on the CPU.  Raises BadInput for a model that is none of transformers, and what `load` raises."""
    lm = load(config.model, "cpu", adapter=NO_ADAPTER)
    if not isinstance(lm.model, Pretrained):
        what = "an adapter is trained for a model of transformers"
        raise BadInput(what, got=config.model, allowed="smollm2, a folder of transformers, or hf:OWNER/NAME")
    names = {name.rpartition(".")[2] for name, _ in lm.model.model.named_modules()}
    if missing := [name for name in PROJECTIONS if name not in names]:
        what = "the model has not the seven projections of a Llama"
        raise BadInput(what, got=config.model, allowed=f"a model with {', '.join(missing)}")
    _ = lm.tokenizer
    return lm


def check_start(config: ReaderConfig, model: Any, base: str | None) -> None:
    """Raise for an adapter to begin with that does not fit the base or the recipe.  BadCheckpoint, BadInput."""
    adapter = read_adapter(config.start_adapter)
    check_base(adapter, base)
    check_fits(adapter, model)
    settings = adapter.settings
    own = (settings["r"], float(settings["lora_alpha"]), bool(settings.get("use_rslora")))
    if own != (config.rank, float(config.alpha), False):
        got = "rank {}, alpha {:g}, rslora {}".format(*own)
        allowed = f"rank {config.rank}, alpha {config.alpha:g}, rslora False"
        raise BadInput("the adapter to begin with has other sizes than the recipe", got=got, allowed=allowed)


def with_adapter(model: Any, config: ReaderConfig) -> Any:
    """The model frozen, with the adapter that training begins with, whose matrices are float32."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if config.start_adapter:
            tuned: Any = peft.PeftModel.from_pretrained(model, config.start_adapter, is_trainable=True)
        else:
            torch.manual_seed(config.seed)
            spec = peft.LoraConfig(
                r=config.rank, lora_alpha=config.alpha, lora_dropout=0.0, target_modules=list(PROJECTIONS)
            )
            tuned = peft.get_peft_model(model, spec)
    for p in tuned.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    return tuned


def faster_dtype(model: Any, rows: ReaderRows) -> tuple[str, dict[str, float]]:
    """The dtype in which the base takes less time, and the seconds of each: the least of some interleaved steps, each
    a read and its gradients over the first tokens of a row."""
    row = rows[0]
    ids = torch.from_numpy(row.tokens[:TIMED_TOKENS])[None]
    models = {name: copy.deepcopy(model).to(dtype) for name, dtype in DTYPES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in DTYPES}
    for turn in range(TIMED + 1):
        if turn == 1 and max(map(max, seconds.values())) > FAR * min(map(min, seconds.values())):
            break
        for name, one in models.items():
            vectors = one.get_input_embeddings()(ids).detach().requires_grad_()
            began = time.perf_counter()
            one(inputs_embeds=vectors, use_cache=False).logits.float().logsumexp(-1).mean().backward()
            seconds[name].append(time.perf_counter() - began)
    least = {name: round(min(found[1:] or found), 4) for name, found in seconds.items()}
    return min(least, key=lambda name: least[name]), least


def dtype_of(run: Run, config: ReaderConfig, model: Any, rows: ReaderRows) -> str:
    """The recipe's dtype, or the one that was measured when this run began: a resumed run keeps it."""
    if config.dtype != "faster":
        return config.dtype
    known = next((row["dtype"] for row in run.rows() if "dtype" in row), None)
    if known is None:
        known, seconds = faster_dtype(model, rows)
        run.append({"step": 0, "dtype": known, "seconds": seconds})
    return str(known)


# the adapter's files ------------------------------------------------------------------------------------------------


def write_adapter(tuned: Any, config: ReaderConfig, base: str | None, commit: str | None, folder: Path) -> str:
    """PEFT's files with the matrices in bfloat16, and the manifest; the sha256 of the tensors.  The folder appears
    when it is complete.  Raises BadInput where it cannot be written."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    part = folder.with_name(folder.name + ".part")
    with saving(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        tensors = get_peft_model_state_dict(tuned)
        save_file({name: x.detach().cpu().bfloat16().contiguous() for name, x in tensors.items()}, part / TENSORS)
        spec = copy.deepcopy(tuned.peft_config["default"])
        spec.inference_mode, spec.base_model_name_or_path = True, config.model
        spec.save_pretrained(part)
        recipe = {key: value for key, value in to_dict(config).items() if key != "out"}
        made = Manifest(config.version, (base,) if base else (), TEMPLATE, None, commit, recipe)
        (part / MANIFEST).write_text(made.to_json(), encoding="utf-8")
        for name in (CONFIG, TENSORS, MANIFEST):
            with (part / name).open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    return file_sha256(folder / TENSORS)


def train_reader(config: ReaderConfig, data: Path, *, progress: Tell = lambda *_: None) -> dict[str, Any]:
    """Train an adapter, or go on where the run folder stands; returns the summary.  It ends in `out`/adapter.

    Raises BadInput and what `ReaderConfig.check`, `check_files` and `load_base` raise, before the folder is made.
    Ctrl-C leaves a checkpoint of the step in hand and raises KeyboardInterrupt; the same command goes on from it.
    """
    check_reader_packages()
    if config.threads:
        torch.set_num_threads(config.threads)
    config.check()
    check_device()
    Run.check(config.out, "reader", to_dict(config), apart=("out",))
    if Run(Path(config.out)).done:
        return Run(Path(config.out)).summary()
    config.check_files(data)
    lm = load_base(config)
    model: Any = lm.model.model  # type: ignore[attr-defined]
    base = base_sha256(config.model)
    if config.start_adapter:
        check_start(config, model, base)
    rows = ReaderRows(lm.tokenizer, config, build_sources(config, data))
    measured = measured_rows(rows)
    rows[0], arguments(config)
    with Run.start(config.out, "reader", to_dict(config), resume=True, apart=("out",)) as run:
        return trained(run, config, lm, rows, measured, base, progress)


def trained(
    run: Run, config: ReaderConfig, lm: LM, rows: ReaderRows, measured: Measured, base: str | None, progress: Tell
) -> dict[str, Any]:
    """Trains in a run folder that is open; returns the summary."""
    model: Any = lm.model.model  # type: ignore[attr-defined]
    dtype = dtype_of(run, config, model, rows)
    model.to(DTYPES[dtype])
    tuned = with_adapter(model, config)

    def measuring() -> dict[str, Any]:
        found = measure(LM(lm.name, Pretrained(model), lm.words), measured, rows)
        use_rows_attention(model)
        model.train()
        return found

    log = ReaderLog(run, config, progress, measuring)
    use_rows_attention(model)
    trainer = ReaderTrainer(tuned, rows, config, log, Keeper(lm))
    checkpoint = last_checkpoint(Path(config.out) / "checkpoints")
    done = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
    run.keep(lambda row: row["step"] <= done)
    progress("steps", done, config.steps)
    with log.stop_after_step():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if log.stopped and trainer.state.global_step < config.steps:
        raise KeyboardInterrupt
    commit = run.header().get("commit")
    sha256 = write_adapter(tuned, config, base, commit, Path(config.out) / "adapter")
    found = list(run.rows())
    curve = [(row["step"], row["loss"]) for row in found if "loss" in row]
    last = next((row["measured"] for row in reversed(found) if "measured" in row), None)
    summary = {
        "steps": config.steps,
        "tokens": sum(row["tokens"] for row in found if "tokens" in row),
        "loss": curve,
        "measured": last,
        "dtype": dtype,
        "commit": commit,
        "adapter_sha256": sha256,
        "base_sha256": base,
        "trained_parameters": sum(p.numel() for p in tuned.parameters() if p.requires_grad),
    }
    run.finish(summary)
    return summary

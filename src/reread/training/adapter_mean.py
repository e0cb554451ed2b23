"""The mean of several adapters, as an adapter of its own.

Wortsman et al. 2022, "Model soups": the mean of weights that were tuned from one starting point.  The factors A and B
are averaged, not their products B A, so the rank stays; this is meant for adapters of which one was trained on from
the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reread.errors import BadInput
from reread.models.lora import CONFIG, MANIFEST, TENSORS, Adapter, Manifest, adapter_id, file_sha256, read_adapter
from reread.training.trainer import saving
from reread.whole import check_folder

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora")


def check_alike(adapters: Sequence[Adapter]) -> None:
    """Raise BadInput for adapters whose factors cannot be averaged: other modules, shapes, scales, bases, templates."""
    first = adapters[0]
    for other in adapters[1:]:
        settings = [name for name in ALIKE if first.settings.get(name) != other.settings.get(name)]
        told = [one.manifest or Manifest() for one in (first, other)]
        fields = [name for name in ("base", "template") if getattr(told[0], name) != getattr(told[1], name)]
        shapes = [{name: (a.shape, b.shape) for name, (a, b) in one.pairs.items()} for one in (first, other)]
        different = [*settings, *fields, *(["modules or shapes"] if shapes[0] != shapes[1] else [])]
        if different:
            got = f"{first.folder} and {other.folder} differ in {', '.join(different)}"
            raise BadInput("these adapters have no mean", got=got, todo="name adapters trained on from one another")


def mean_tensors(adapters: Sequence[Adapter]) -> dict[str, Tensor]:
    """The means of A and B by their names in PEFT's file, taken in float32, in the dtype of the first adapter."""
    import torch

    found: dict[str, Tensor] = {}
    for module in adapters[0].pairs:
        for place, side in enumerate("AB"):
            every = [one.pairs[module][place] for one in adapters]
            mean = torch.stack([x.float() for x in every]).mean(0)
            found[f"base_model.model.{module}.lora_{side}.weight"] = mean.to(every[0].dtype)
    return found


def average_adapters(paths: Sequence[Path], out: Path, version: str = "") -> str:
    """Write the mean of at least two adapters into a new folder; the sha256 of its tensors.

    Equal adapters in equal order give equal bytes.  The manifest names the adapters and has no calibration: scores of
    the mean are not those of its parts.  Raises BadInput, BadCheckpoint.
    """
    from safetensors.torch import save_file

    if len(paths) < 2:
        raise BadInput("a mean needs two adapters at least", got=len(paths))
    if out.exists():
        raise BadInput("the folder of the mean is there already", got=str(out), todo="name a new folder")
    check_folder(out, "the folder of the mean")
    adapters = [read_adapter(path) for path in paths]
    check_alike(adapters)
    first = adapters[0].manifest or Manifest()
    recipe = {"mean of": [str(adapter_id(path)) for path in paths]}
    part = out.with_name(out.name + ".part")
    with saving(out, "make room, or name another folder"):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file(mean_tensors(adapters), part / TENSORS, {"format": "pt"})
        shutil.copyfile(adapters[0].folder / CONFIG, part / CONFIG)
        made = Manifest(version, first.base, first.template, None, None, recipe)
        (part / MANIFEST).write_text(made.to_json(), encoding="utf-8")
        part.rename(out)
    return file_sha256(out / TENSORS)

"""Checkpoints: folders of weights, our own and those of the published layout, to ours and back.

Weights come from safetensors, or, for the published layout, from pickles read with weights_only;
one file or several with an index.  They must fit config.json tensor by tensor, be plain
float32, float16 or bfloat16 and finite; a model holds them in float32, `convert` keeps them as
they are.  What the published layout means is said in published.py.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reread.errors import BadCheckpoint, BadInput, RereadError
from reread.models.prefix_lm import PrefixLMConfig, PrefixLMForCausalLM
from reread.models.published import (
    DECAY,
    EMBEDDING,
    LAYERS,
    Weights,
    check_kept,
    config_of,
    names_of,
    published_sizes,
)
from reread.models.published_json import Sizes, is_published, read_sizes
from reread.models.recurrences import fixed_log_decay

DTYPES = {torch.float32, torch.float16, torch.bfloat16}
KEPT_JSON, KEPT_DECAY = "published_config.json", "published_decay.safetensors"


def _weight_files(folder: Path, kinds: Iterable[str]) -> list[Path]:
    """The files that hold the weights: one, or those of an index beside config.json."""
    for single in kinds:
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return [folder / single]
        if index.is_file():
            parts = read_sizes(index).get("weight_map")
            if not isinstance(parts, dict) or not all(isinstance(x, str) and x == Path(x).name for x in parts.values()):
                raise BadCheckpoint(f"{index.name} has no weight_map of file names", got=str(folder))
            return [folder / part for part in sorted(set(parts.values()))]
    raise BadCheckpoint(f"cannot read the checkpoint in {folder}: no weights", allowed=", ".join(kinds))


def _read_file(file: Path) -> Any:
    """What one file of weights holds.  Raises BadCheckpoint."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        with file.open("rb") as start:  # files of torch before 1.6 are no zip archives and cannot be mapped
            mapped = start.read(4) == b"PK\x03\x04"
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, RuntimeError, SafetensorError, ValueError, EOFError) as error:
        raise BadCheckpoint(f"cannot read the checkpoint in {file.parent}: {file.name}: {error}") from error
    except Exception as error:  # pickle.UnpicklingError and whatever a broken pickle brings
        raise BadCheckpoint(f"the weights in {file} are no plain tensors: {error}") from error


def _read_tensors(folder: Path, kinds: Iterable[str]) -> dict[str, Any]:
    """Name -> whatever the files hold under it; names are texts and occur once.  Raises BadCheckpoint."""
    together: dict[str, Any] = {}
    for file in _weight_files(folder, kinds):
        found = _read_file(file)
        if not isinstance(found, dict):
            raise BadCheckpoint(f"the weights in {file} are no table of tensors", got=type(found).__name__)
        for name, x in found.items():
            if not isinstance(name, str) or name in together:
                raise BadCheckpoint(f"a name in {file} is no text or comes twice", got=repr(name))
            together[name] = x
    return together


def _check_tensors(folder: Path, weights: dict[str, Any]) -> Weights:
    """The weights, each a plain finite tensor of a dtype in DTYPES.  Raises BadCheckpoint."""
    for name, x in weights.items():
        if not isinstance(x, Tensor):
            raise BadCheckpoint(f"{name} in {folder} is no tensor", got=type(x).__name__, allowed="a tensor")
        if x.layout != torch.strided or x.dtype not in DTYPES:
            allowed = ", ".join(sorted(map(str, DTYPES)))
            raise BadCheckpoint(f"the tensor {name} in {folder} is no weight", got=str(x.dtype), allowed=allowed)
        if not bool(torch.isfinite(x).all()):
            bad = int((~torch.isfinite(x)).sum())
            raise BadCheckpoint(
                f"the tensor {name} in {folder} holds NaN or infinite values", got=f"{bad:,}", allowed=0
            )
    return weights


def read_published(folder: Path) -> Weights:
    """The tensors of a published folder under bare names: no "model." in front, no metric counters."""
    bare: dict[str, Any] = {}
    for name, x in _read_tensors(folder, ("model.safetensors", "pytorch_model.bin")).items():
        if "metrics" in name:
            continue
        short = name.removeprefix("model.").replace("mixer.conv.conv1.", "mixer.conv.conv.")
        if short in bare:
            raise BadCheckpoint(f"the weights in {folder} hold {short} twice, under two names", got=name)
        bare[short] = x
    return _check_tensors(folder, bare)


def _same_names(folder: Path, wanted: set[str], found: set[str]) -> None:
    missing, extra = sorted(wanted - found), sorted(found - wanted)
    if missing or extra:
        raise BadCheckpoint(f"the weights in {folder} do not fit config.json: missing {missing}, not expected {extra}")


def _unfilled(config: PrefixLMConfig) -> PrefixLMForCausalLM:
    """A model whose weights are memory as it was found (nothing is drawn at random); buffers are right."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        return PrefixLMForCausalLM(config)


def _checked(folder: Path, config: PrefixLMConfig, weights: Weights) -> Weights:
    """Our tensors, names and shapes as that configuration has them; a tied output is left out.

    Raises BadCheckpoint.
    """
    try:
        wanted = _unfilled(config).state_dict()
    except (TypeError, ValueError, RuntimeError, RereadError) as error:
        raise BadCheckpoint(f"config.json in {folder} has a wrong size: {error}") from error
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    _same_names(folder, set(wanted) - tied, set(weights) - tied)
    for name, x in weights.items():
        if x.shape != wanted[name].shape:
            raise BadCheckpoint(
                f"the tensor {name} in {folder} has the wrong shape",
                got=tuple(x.shape),
                allowed=f"{tuple(wanted[name].shape)} (from config.json)",
            )
    for name in tied & set(weights):
        if not torch.equal(weights[name], weights["embed.weight"]):
            raise BadCheckpoint(f"{name} in {folder} is not embed.weight, although tie_word_embeddings says so")
    return {name: x for name, x in weights.items() if name not in tied}


def to_ours(folder: Path, sizes: Sizes, weights: Weights) -> tuple[PrefixLMConfig, Weights]:
    """A published model in our terms, tensors as they are.  Raises BadCheckpoint."""
    config = config_of(sizes, weights)
    table = names_of(config)
    _same_names(folder, set(table), set(weights) - {DECAY})
    renamed = {ours: weights[theirs] for theirs, ours in table.items()}
    ours = {name: x.squeeze(1) if name.endswith("mixer.conv") else x for name, x in renamed.items()}
    return config, _checked(folder, config, ours)


def to_theirs(config: PrefixLMConfig, ours: Weights, sizes: Sizes, decay: Tensor | None = None) -> Weights:
    """Our tensors under bare published names, which with `sizes` as config.json mean the same model.

    decay: the buffer of a published model as it was; None: computed.  Raises BadCheckpoint for a model that
    the published layout cannot hold.
    """
    unknown = sorted(set(config.mixers or []) - set(LAYERS))
    if unknown:
        raise BadCheckpoint(
            "the published layout holds no such model", got=", ".join(unknown), allowed=", ".join(LAYERS)
        )
    weights = {}
    for theirs, name in names_of(config).items():
        x = ours[name if name in ours else "embed.weight"]  # a tied output is not among ours
        weights[theirs] = (x.unsqueeze(1) if name.endswith("mixer.conv") else x).clone()
    if "decayed_linear" in (config.mixers or []):
        computed = fixed_log_decay(config.decay_const, config.num_attention_heads)
        weights[DECAY] = computed if decay is None else decay
    check_kept(config, sizes, weights)
    return weights


def to_published(model: PrefixLMForCausalLM) -> Weights:
    """Our tensors under the published names, with "model." in front: the inverse of reading them.

    Raises BadCheckpoint for a model that the published layout cannot hold.
    """
    config: PrefixLMConfig = model.config  # type: ignore[assignment]
    return _prefixed(to_theirs(config, model.state_dict(), published_sizes(config)))


def _prefixed(weights: Weights) -> Weights:
    return {f"model.{name}": x for name, x in weights.items()}


def _read_own(folder: Path, sizes: Sizes) -> tuple[PrefixLMConfig, Weights]:
    """A folder of our own layout: config.json as given, model.safetensors.  Raises BadCheckpoint."""
    if sizes.get("model_type") != PrefixLMConfig.model_type:
        got = f"model_type {sizes.get('model_type')!r}"
        raise BadCheckpoint("not a model of reread", got=got, allowed=PrefixLMConfig.model_type)
    weights = _check_tensors(folder, _read_tensors(folder, ("model.safetensors",)))
    try:
        config = PrefixLMConfig.from_dict(sizes)
    except (TypeError, ValueError, RereadError) as error:
        raise BadCheckpoint(f"config.json in {folder} has a wrong size: {error}") from error
    return config, _checked(folder, config, weights)


def _model(config: PrefixLMConfig, weights: Weights) -> PrefixLMForCausalLM:
    """The model with these weights, in float32."""
    model = _unfilled(config)
    model.load_state_dict({name: x.float() for name, x in weights.items()}, strict=False)
    model.tie_weights()
    return model.eval()


def from_published(folder: Path, sizes: Sizes) -> PrefixLMForCausalLM:
    """A published folder with that config.json as our model, in float32.  Raises BadCheckpoint."""
    return _model(*to_ours(folder, sizes, read_published(folder)))


def load_own(folder: Path, sizes: Sizes) -> PrefixLMForCausalLM:
    """A folder of our own layout with that config.json, in float32.  Raises BadCheckpoint."""
    return _model(*_read_own(folder, sizes))


def _write_ours(source: Path, sizes: Sizes, target: Path) -> None:
    """A published folder as one of ours: tensors in their dtypes, config.json and decays kept for the way back."""
    from safetensors.torch import save_file

    weights = read_published(source)
    config, ours = to_ours(source, sizes, weights)
    config.architectures, config.dtype = [PrefixLMForCausalLM.__name__], weights[EMBEDDING].dtype
    config.save_pretrained(target)
    save_file({name: x.contiguous() for name, x in ours.items()}, target / "model.safetensors", {"format": "pt"})
    shutil.copy(source / "config.json", target / KEPT_JSON)
    if DECAY in weights:
        save_file({DECAY: weights[DECAY].contiguous()}, target / KEPT_DECAY)


def _write_theirs(source: Path, sizes: Sizes, target: Path) -> None:
    """One of our folders in the published layout, with the config.json that it once had, if it had one."""
    from safetensors.torch import save_file

    config, ours = _read_own(source, sizes)
    kept, decay = source / KEPT_JSON, None
    theirs = read_sizes(kept) if kept.is_file() else published_sizes(config)
    if (source / KEPT_DECAY).is_file():
        decay = _check_tensors(source, _read_file(source / KEPT_DECAY)).get(DECAY)
    weights = to_theirs(config, ours, theirs, decay)
    save_file({name: x.contiguous() for name, x in _prefixed(weights).items()}, target / "model.safetensors")
    text = kept.read_text(encoding="utf-8") if kept.is_file() else json.dumps(theirs, indent=1)
    (target / "config.json").write_text(text, encoding="utf-8")


def convert(source: Path, target: Path) -> str:
    """A published folder into one of ours, or one of ours into a published one; says which it was.

    Tensors keep their dtypes; the tokenizer goes along.  A published config.json is kept beside ours and
    comes back as it was.  Raises BadCheckpoint, also where the other layout would mean another model;
    BadInput when the target is there already.
    """
    if target.exists():
        raise BadInput("the target is there already", got=str(target), todo="name a folder that is not")
    sizes = read_sizes(source / "config.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
        part = Path(beside) / "model"
        part.mkdir()
        published = is_published(sizes)
        (_write_ours if published else _write_theirs)(source, sizes, part)
        if (source / "tokenizer.json").is_file():
            shutil.copy(source / "tokenizer.json", part)
        part.rename(target)
    return "published layout -> reread" if published else "reread -> published layout"

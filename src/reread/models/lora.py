"""LoRA adapters in PEFT's files: read, checked against a model, merged into its weights.

An adapter is a folder with adapter_config.json and adapter_model.safetensors, and here also manifest.json, which says
on which base weights it may be used.  Merging adds scale * B A to each target weight W, in float32, and casts the sum
back; scale is alpha / rank, or alpha / sqrt(rank) with rslora.  Tensors and files only; no text.

Shapes: W (out, in), A (rank, in), B (out, rank); transformers' Conv1D keeps its weight as (in, out).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reread.errors import BadCheckpoint, BadInput, reason
from reread.models.confidence import Calibration, read_calibrations
from reread.models.published_json import read_sizes
from reread.prompting import TEMPLATES, Template
from reread.prompting import template as known_template

if TYPE_CHECKING:
    from torch import Tensor, nn

NO_ADAPTER = "none"  # the name that leaves out the adapter that comes with a model
CONFIG, TENSORS, MANIFEST = "adapter_config.json", "adapter_model.safetensors", "manifest.json"
READ = {  # settings of PEFT that are read here, or that do not change what is merged
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "r", "lora_alpha", "target_modules", "exclude_modules", "lora_dropout", "fan_in_fan_out", "use_rslora",
    "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "megatron_core",
    "qalora_group_size", "loftq_config", "eva_config", "ensure_weight_tying",
}  # fmt: skip
CHANGE_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")  # initialisations that also change the base weights
NAME = re.compile(r"(?:base_model\.model\.)(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
PLAIN = re.compile(r"[\w.]+")


@dataclass(frozen=True)
class Manifest:
    """What an adapter's manifest.json says.

    version: of the adapter; base: sha256 (64 hex digits) of the weight files it may be merged into, () for any;
    template: of its questions (prompting TEMPLATES); calibration: None until one is fitted (confidence.py); commit: of
    the training; recipe: its settings.
    """

    version: str = ""
    base: tuple[str, ...] = ()
    template: str = ""
    calibration: Any = None
    commit: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)

    def asked_with(self, name: str) -> Template:
        """The template of that name; its own one in place of `field` and `question`.  Raises UnknownName."""
        return known_template(self.template if self.template and name in ("field", "question") else name)

    @cached_property
    def calibrations(self) -> dict[str, Calibration]:
        """By kind, "field" and "question"; raises BadCheckpoint."""
        return read_calibrations(self.calibration, "the manifest")

    def to_json(self) -> str:
        """The text of manifest.json."""
        names = ("version", "base", "template", "calibration", "commit", "recipe")
        return json.dumps({name: getattr(self, name) for name in names}, indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class AdapterId:
    """Which adapter was merged: the name of its folder, the version of its manifest ("" without one), its sha256."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.name, self.version, f"(sha256 {self.sha256[:12]})") if part)


@dataclass(frozen=True)
class Adapter:
    """One adapter that was read: its folder, settings (adapter_config.json), pairs (A, B) by module, and manifest."""

    folder: Path
    settings: dict[str, Any]
    pairs: dict[str, tuple[Tensor, Tensor]]
    manifest: Manifest | None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return adapter_name(self.folder)

    @property
    def sha256(self) -> str:
        """64 hex digits over its settings and its tensors file."""
        return adapter_sha256(self.folder)

    def scale(self, module: str) -> float:
        """What B A is multiplied by for that module."""
        rank = len(self.pairs[module][0])
        alpha = of_pattern(self.settings.get("alpha_pattern"), module, self.settings["lora_alpha"])
        return float(alpha) / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)

    def rank(self, module: str) -> int:
        """The rank that the settings give that module."""
        return int(of_pattern(self.settings.get("rank_pattern"), module, self.settings["r"]))


def adapter_sha256(folder: Path) -> str:
    """64 hex digits over the settings and the tensors file of an adapter's folder.  Raises OSError."""
    return hashlib.sha256((file_sha256(folder / CONFIG) + file_sha256(folder / TENSORS)).encode()).hexdigest()


def adapter_id(path: Path | str) -> AdapterId:
    """Which adapter a folder holds.  Raises OSError, BadCheckpoint."""
    manifest = read_manifest(Path(path))
    return AdapterId(adapter_name(path), manifest.version if manifest else "", adapter_sha256(Path(path)))


def adapter_name(path: Path | str) -> str:
    """The last part of a folder's name."""
    return Path(path).resolve().name


def adapter_paths(given: str | Path | Sequence[str | Path] | None) -> tuple[Path, ...]:
    """One path, several, or None as a tuple."""
    if given is None:
        return ()
    return (Path(given),) if isinstance(given, str | Path) else tuple(Path(one) for one in given)


def of_pattern(table: dict[str, Any] | None, module: str, default: Any) -> Any:
    """The value of the first key that is the module's name or its end after a dot; `default` without one."""
    for key, value in (table or {}).items():
        if module == key or module.endswith(f".{key}"):
            return value
    return default


def unmergeable(folder: Path, key: str, value: object, allowed: object = "off") -> BadCheckpoint:
    """The error for a setting with which an adapter cannot be merged here."""
    return BadCheckpoint(f"the adapter in {folder} cannot be merged: {key}", got=f"{key} = {value!r}", allowed=allowed)


def check_settings(settings: dict[str, Any], folder: Path) -> None:
    """Raise BadCheckpoint for an adapter_config.json that is no LoRA that can be merged."""
    if settings.get("peft_type") != "LORA":
        raise unmergeable(folder, "peft_type", settings.get("peft_type"), "LORA")
    if settings.get("bias", "none") != "none":
        raise unmergeable(folder, "bias", settings["bias"], "none")
    for key, value in settings.items():
        if value and key not in READ and key != "bias":
            raise unmergeable(folder, key, value)
    start = settings.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(CHANGE_BASE):
        raise unmergeable(folder, "init_lora_weights", start, "an initialisation that keeps the base weights")
    for key, kinds in (("r", int), ("lora_alpha", int | float)):
        value = settings.get(key)
        if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0 or not math.isfinite(value):
            raise unmergeable(folder, key, value, "a number above 0")
    for key in ("rank_pattern", "alpha_pattern"):
        check_pattern(settings.get(key) or {}, key, folder)
    check_targets(settings, folder)


def check_pattern(table: Any, key: str, folder: Path) -> None:
    """Raise BadCheckpoint for a table that does not give plain module names numbers above 0."""
    fit = isinstance(table, dict) and all(
        PLAIN.fullmatch(name) and type(value) in (int, float) and 0 < value < math.inf for name, value in table.items()
    )
    if not fit:
        raise unmergeable(folder, key, table, "numbers above 0 by module name")


def check_targets(settings: dict[str, Any], folder: Path) -> None:
    """Raise BadCheckpoint for settings that do not say which modules are targets."""
    targets = settings.get("target_modules")
    listed = isinstance(targets, list) and bool(targets) and all(isinstance(one, str) for one in targets)
    if not listed and not (isinstance(targets, str) and targets):
        raise unmergeable(folder, "target_modules", targets, "names of modules, or a regular expression")
    layers = settings.get("layers_to_transform")
    numbers = layers if isinstance(layers, list) else [] if layers is None else [layers]
    if not all(type(one) is int for one in numbers):
        raise unmergeable(folder, "layers_to_transform", layers, "numbers of layers")
    for key in ("target_modules", "exclude_modules", "layers_pattern"):
        try:
            if isinstance(settings.get(key), str):
                re.compile(settings[key])
        except re.error as error:
            raise unmergeable(folder, key, settings[key], "a regular expression") from error


def read_settings(folder: Path) -> dict[str, Any]:
    """adapter_config.json of a folder, checked.  Raises BadInput for a folder without one, BadCheckpoint."""
    try:
        missing = [name for name in (CONFIG, TENSORS) if not (folder / name).is_file()]
    except (OSError, ValueError):  # a name that no file can have
        missing = [CONFIG]
    if missing:
        todo = f"name the folder that PEFT's save_pretrained wrote ({CONFIG}, {TENSORS})"
        raise BadInput(f"the adapter has no {missing[0]}", got=str(folder)[:200], todo=todo)
    settings = read_sizes(folder / CONFIG)
    check_settings(settings, folder)
    return settings


def read_manifest(folder: Path) -> Manifest | None:
    """manifest.json of an adapter's folder; None without one.  Raises BadCheckpoint."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    found = read_sizes(path)
    base, template = found.get("base", []), found.get("template", "")
    hashes = isinstance(base, list) and all(isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) for one in base)
    if not hashes:
        raise BadCheckpoint(f"base of {path} is not readable", got=str(base)[:80], allowed="a list of sha256 values")
    if not isinstance(found.get("recipe", {}), dict):
        raise BadCheckpoint(f"recipe of {path} is not readable", got=str(found["recipe"])[:80], allowed="a table")
    if template not in ("", *TEMPLATES):
        known = ", ".join(TEMPLATES)
        raise BadCheckpoint(f"{path} names a template that is not known", got=repr(template)[:80], allowed=known)
    read_calibrations(found.get("calibration"), path)
    return Manifest(
        str(found.get("version", "")),
        tuple(base),
        template,
        found.get("calibration"),
        found.get("commit"),
        found.get("recipe", {}),
    )


def check_adapters(paths: Iterable[Path | str]) -> None:
    """Raise what the small files of adapters tell before a model is loaded.  Needs no torch.  BadInput,
    BadCheckpoint."""
    for path in paths:
        read_settings(Path(path))
        read_manifest(Path(path))


def read_adapter(path: Path | str) -> Adapter:
    """The adapter of a folder.  Raises BadInput, BadCheckpoint; whether it fits a model says `check_fits`."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(path)
    settings, manifest = read_settings(folder), read_manifest(folder)
    try:
        tensors = load_file(folder / TENSORS)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadCheckpoint(f"{folder / TENSORS} cannot be read: {reason(error)}") from error
    sides: dict[str, dict[str, Tensor]] = {}
    for name, x in tensors.items():
        match = NAME.fullmatch(name)
        if match is None or x.dim() != 2 or not x.is_floating_point():
            got = f"{name} {tuple(x.shape)} {x.dtype}"
            allowed = "floating-point matrices base_model.model.<module>.lora_A.weight and lora_B.weight"
            raise BadCheckpoint(f"the adapter in {folder} holds a tensor that is not merged", got=got, allowed=allowed)
        if not bool(torch.isfinite(x).all()):
            raise BadCheckpoint(f"the adapter in {folder} holds NaN or infinity", got=name)
        sides.setdefault(match["module"], {})[match["side"]] = x
    for module, pair in sides.items():
        if len(pair) < 2:
            raise BadCheckpoint(f"the adapter in {folder} misses a tensor", got=f"{module}: lora_{next(iter(pair))}")
    return Adapter(folder, settings, {name: (pair["A"], pair["B"]) for name, pair in sides.items()}, manifest)


def layer_number(module: str, patterns: Sequence[str]) -> int | None:
    """The layer that a module stands in: the first number between dots, or the one after a name of `patterns`."""
    parts = module.split(".")
    for before, part in zip(["", *parts], parts, strict=False):
        if part.isdecimal() and (not patterns or before in patterns):
            return int(part)
    return None


def named(module: str, names: Any) -> bool:
    """Whether PEFT's target_modules or exclude_modules mean this module: a regular expression or a list of ends."""
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(module == one or module.endswith(f".{one}") for one in names or ())


def targets(settings: dict[str, Any], model: nn.Module) -> set[str]:
    """The modules of a model that the settings name."""
    from torch.nn import Linear

    wanted, left_out = settings["target_modules"], settings.get("exclude_modules")
    layers = settings.get("layers_to_transform")
    numbers = None if layers is None else set(layers if isinstance(layers, list) else [layers])
    pattern = settings.get("layers_pattern") or ()
    patterns = (pattern,) if isinstance(pattern, str) else tuple(pattern)
    head = getattr(model, "get_output_embeddings", lambda: None)()
    found = set()
    for name, part in model.named_modules():
        if wanted == "all-linear":
            chosen = (isinstance(part, Linear) or type(part).__name__ == "Conv1D") and part is not head
        else:
            chosen = named(name, wanted)
        if chosen and not named(name, left_out) and (numbers is None or layer_number(name, patterns) in numbers):
            found.add(name)
    return found


def check_fits(adapter: Adapter, model: nn.Module) -> None:
    """Raise BadCheckpoint where an adapter's tensors are not those of the modules that its settings name in this
    model: missing or extra tensors, another rank or shape, a kind of module or a shared weight that is not merged."""
    from torch.nn import Linear

    where = f"the adapter in {adapter.folder} does not fit this model"
    wanted, given = targets(adapter.settings, model), set(adapter.pairs)
    todo = "an adapter is merged into the model that it was trained on"
    for what, names in (("no tensor for", wanted - given), ("a tensor for no target", given - wanted)):
        if names:
            got = f"{what} {min(names)}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            raise BadCheckpoint(where, got=got, allowed=f"{len(wanted)} target modules", todo=todo)
    if not given:
        raise BadCheckpoint(where, got="no target module", todo=todo)
    holders: dict[int, int] = {}
    for part in model.modules():
        for parameter in part._parameters.values():
            holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    for name, (a, b) in adapter.pairs.items():
        part = model.get_submodule(name)
        transposed = type(part).__name__ == "Conv1D"
        if not isinstance(part, Linear) and not transposed:
            raise BadCheckpoint(where, got=f"{name}: {type(part).__name__}", allowed="linear layers", todo=todo)
        weight: Any = part.weight
        if holders[id(weight)] > 1:
            what = f"{name}: its weight belongs to several modules"
            raise BadCheckpoint(where, got=what, allowed="weights of one module", todo=todo)
        shape = tuple(weight.shape)[:: -1 if transposed else 1]
        if (len(b), a.shape[1]) != shape or b.shape[1] != len(a):
            got = f"{name}: A {tuple(a.shape)}, B {tuple(b.shape)}"
            raise BadCheckpoint(where, got=got, allowed=f"a weight of {shape}", todo=todo)
        if len(a) != adapter.rank(name):
            raise BadCheckpoint(where, got=f"{name}: rank {len(a)}", allowed=adapter.rank(name), todo=todo)


def check_base(adapter: Adapter, base: str | None) -> None:
    """Raise BadCheckpoint where the manifest names other base weights; base: sha256 of the model's, None: unknown."""
    allowed = adapter.manifest.base if adapter.manifest else ()
    if base is not None and allowed and base not in allowed:
        what = f"the adapter in {adapter.folder} belongs to another base model"
        raise BadCheckpoint(what, got=f"weights with sha256 {base}", allowed=", ".join(allowed))


def merge(model: nn.Module, adapters: Sequence[Adapter]) -> None:
    """Add the adapters, in their order, to the model's weights, in place.

    All of them are checked before any weight changes.  The sum is in float32 and cast to the weight's dtype once.
    Raises BadCheckpoint.
    """
    import torch

    for adapter in adapters:
        check_fits(adapter, model)
    with torch.no_grad():
        for name in sorted({name for adapter in adapters for name in adapter.pairs}):
            part = model.get_submodule(name)
            weight: Any = part.weight
            total = weight.float()
            for adapter in adapters:
                if name in adapter.pairs:
                    a, b = (x.float().to(weight.device) for x in adapter.pairs[name])
                    change = adapter.scale(name) * (b @ a)
                    total = total + (change.T if type(part).__name__ == "Conv1D" else change)
            weight.copy_(total)


def file_sha256(path: Path) -> str:
    """sha256 of a file, 64 hex digits.  Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()

"""Models: load one by name or folder.  A model is anything with `read`, `extend` and `step`.

`load` gives an LM: the model, its tokenizer and its name.  Weights must agree with the sizes in
config.json, or in the header of a GGUF file, tensor by tensor.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tokenizers import Tokenizer

from reread.errors import BadCheckpoint, BadInput, UnknownName, reason
from reread.models.dtypes import check_model_dtype
from reread.models.hub import PACKAGED, PUBLISHED, UNREADABLE, default_model, gguf_model, gguf_path
from reread.models.lora import (
    NO_ADAPTER,
    Manifest,
    adapter_name,
    adapter_paths,
    check_adapters,
    check_base,
    file_sha256,
    merge,
    read_adapter,
    read_manifest,
)
from reread.models.published_json import read_sizes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from reread.models.cache import ModelFile
    from reread.models.confidence import Calibration
    from reread.models.prefix_lm import PrefixLMForCausalLM
    from reread.models.pretrained import Pretrained
    from reread.models.state import State
    from reread.prompting import Template

NEEDS_FLA = {"gla", "delta_net", "gated_deltanet", "rwkv7", "retnet", "kda", "linear_attn", "hgrn2"}
POSITIONS = ("max_position_embeddings", "n_positions")  # keys of a configuration
EMBEDDED = {"embedded": "small-jrt", "small-jrt": "small-jrt", "small-causal": "small-causal"}


class RecurrentModel(Protocol):
    """Three verbs and two attributes; shapes as in prefix_lm.py.

    The state is a value of the model's own kind (State or PretrainedState) with batch, position,
    nbytes, rows, cat, clone, to, to_flat and from_flat.
    """

    @property
    def config(self) -> Any: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def noncausal_prefix(self) -> bool: ...

    @property
    def fingerprint(self) -> str: ...

    def read(
        self,
        tokens: Tensor,
        prefix_len: int | Tensor | None = None,
        mask: Tensor | None = None,
        *,
        last_only: bool,
        masking: str = "exact",
    ) -> tuple[Tensor, Any]: ...

    def extend(
        self, tokens: Tensor, state: Any, mask: Tensor | None = None, *, last_only: bool
    ) -> tuple[Tensor, Any]: ...

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]: ...


@dataclass(frozen=True)
class LM:
    """A model with its tokenizer, under the name it was loaded by.

    The three verbs keep no gradients; who trains calls those of `model`.  Raises BadCheckpoint where
    words are asked of a model that came without a tokenizer.  adapters: folders of the LoRA adapters that were merged
    into it, in their order; manifest: of the last of them that has one.
    """

    name: str
    model: RecurrentModel
    words: Tokenizer | None = None
    adapters: tuple[str, ...] = ()
    manifest: Manifest | None = None

    @property
    def short_name(self) -> str:
        """The name without folders, then "+" and the name of each adapter."""
        own = self.name.replace("\\", "/").rstrip("/").rpartition("/")[2]
        return "+".join((own, *(adapter_name(one) for one in self.adapters)))

    def template(self, name: str) -> Template:
        """The template of that name; where the model's adapter was trained with one of its own, that one in place of
        `field` and `question`.  Raises UnknownName."""
        return (self.manifest or Manifest()).asked_with(name)

    def calibration(self, kind: str) -> Calibration | None:
        """How likely its answers are right, of the kind "field" or "question"; None where that was not measured."""
        return self.manifest.calibrations.get(kind) if self.manifest else None

    @property
    def positions(self) -> int | None:
        """Tokens that the model's configuration has positions for; None for a model without positions."""
        return named_positions({key: getattr(self.model.config, key, None) for key in POSITIONS})

    @property
    def longest_prefix(self) -> int | None:
        """Tokens that the model takes as a prefix at most; None: as many as there are."""
        return getattr(self.model.config, "max_prefix", None)

    def prefix(self, tokens: int) -> int:
        """How many of that many first tokens are read non-causally: never more than `longest_prefix`, and none by a
        causal model."""
        longest = self.longest_prefix
        return (tokens if longest is None else min(tokens, longest)) * self.model.noncausal_prefix

    @property
    def tokenizer(self) -> Tokenizer:
        if self.words is None:
            todo = "copy the model's own there (published JRT and Based models: GPT-2's, docs/models.md)"
            raise BadCheckpoint("the folder holds no tokenizer.json", got=self.name, todo=todo)
        return self.words

    def read(
        self, tokens: Tensor, prefix_len: int | Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """tokens (B,T) -> logits (B,T,V) and the State; prefix_len None: what the model's configuration says."""
        import torch

        with torch.no_grad():
            return self.model.read(tokens, prefix_len, mask, last_only=False)

    def extend(self, tokens: Tensor, state: State, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Read on, causally, from a state, which stays as it was."""
        import torch

        with torch.no_grad():
            return self.model.extend(tokens, state, mask, last_only=False)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """One token per row, (B,) -> logits (B,V) and the next State."""
        import torch

        with torch.no_grad():
            return self.model.step(token, state)


def _asset(name: str) -> Path:
    return Path(str(resources.files("reread") / "assets" / name))


def model_folder(folder: Path) -> Path:
    """The model folder of a run folder of `reread train`; any other folder as it is."""
    try:
        return folder / "model" if (folder / "model" / "config.json").is_file() else folder
    except (OSError, ValueError):  # a name that no folder can have
        return folder


def load_tokenizer(source: str | Path = "embedded", add_bos: bool | None = None) -> Tokenizer:
    """The tokenizer of a model by name, folder or run folder, or of a tokenizer.json or GGUF file.

    add_bos: whether what is read from nothing begins with BOS; None: as the model's files say
    (tokenizer_files.py).  Raises BadInput, BadCheckpoint, MissingPackage.
    """
    from reread.models.tokenizer_files import tokenizer_in

    packed = gguf_model(str(source))
    if packed is not None:
        return _gguf_words(packed, add_bos)
    path = _asset("tokenizer") if str(source) in EMBEDDED else model_folder(Path(source))
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise BadInput("no tokenizer there", got=str(source), allowed="a folder with tokenizer.json, or 'embedded'")
    folder = _asset(EMBEDDED[str(source)]) if str(source) in EMBEDDED else path.parent
    return tokenizer_in(folder, path, add_bos)


def _gguf_words(packed: ModelFile, add_bos: bool | None) -> Tokenizer:
    """The tokenizer of a GGUF file, from its conversion or from the file itself.  Raises BadCheckpoint, BadInput."""
    from reread.models.tokenizer_files import tokenizer_in

    if packed.folder is not None:
        return tokenizer_in(packed.folder, packed.folder / "tokenizer.json", add_bos)
    from reread.models.gguf import gguf_tokenizer

    return gguf_tokenizer(packed.path, add_bos)


def adapters_of(name: str, adapter: str | Path | Sequence[str | Path] | None) -> tuple[Path, ...]:
    """The folders of the adapters of a model: those given; none for NO_ADAPTER; where none is given, the one that
    comes with the model.  Raises BadInput for NO_ADAPTER beside a folder."""
    given = adapter_paths(adapter)
    if Path(NO_ADAPTER) in given:
        if len(given) > 1:
            raise BadInput("no adapter, and an adapter", got=", ".join(map(str, given)), allowed="one of the two")
        return ()
    own = PACKAGED[name].adapter if name in PACKAGED else ""
    return given or ((_asset(own),) if own else ())


def locate(name: str | Path, adapter: str | Path | Sequence[str | Path] | None = None) -> Path | None:
    """The folder or GGUF file of a model on this machine; None for one that is brought from the hub.  Needs no torch.

    name: a key of EMBEDDED or PACKAGED, a model folder or run folder, a GGUF file, a published name or
    "hf:OWNER/NAME"; adapter: as `load`; its small files are read.  Raises UnknownName, BadCheckpoint, BadInput,
    MissingPackage.
    """
    name = str(name)
    if adapters := adapters_of(name, adapter):
        if name in EMBEDDED:
            raise no_adapters(name)
        check_adapters(adapters)
    if name in EMBEDDED:
        return _asset(EMBEDDED[name])
    packed = gguf_path(name)
    if packed is not None:
        return packed
    folder = model_folder(Path(name))
    try:
        if (folder / "config.json").is_file():
            return folder
        is_folder = folder.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        is_folder = False
    if is_folder:
        raise BadCheckpoint("the folder holds no config.json", got=str(folder))
    if name in PUBLISHED or name.startswith("hf:"):
        check_readable(name.removeprefix("hf:"))
        return None
    known = [*EMBEDDED, *PACKAGED, *PUBLISHED]
    raise UnknownName("model (neither an embedded or published name nor a folder)", name, known)


def check_readable(name: str) -> None:
    """Raise BadCheckpoint for a published model in a layout that is not read here."""
    if name in UNREADABLE:
        raise BadCheckpoint(f"{name} cannot be read: {UNREADABLE[name]}", todo="docs/models.md lists what can")


def find(name: str) -> Path:
    """The folder of a model (see `locate`), brought from the hub or from its local cache where it has to be.

    Of a GGUF file, the folder of its conversion (cache.py); the file itself where the cache cannot be written.
    Raises UnknownName, BadCheckpoint, MissingPackage.
    """
    packed = gguf_model(str(name))
    if packed is not None:
        return packed.folder or packed.path
    folder = locate(name)
    return from_hub(name.removeprefix("hf:")) if folder is None else folder


def from_hub(name: str) -> Path:
    """The local copy of a hub repository's configuration, weights (whole or in parts) and tokenizer.

    safetensors where there are any, pickles otherwise.  Raises BadCheckpoint.
    """
    from huggingface_hub import snapshot_download

    check_readable(name)
    words = ["config.json", "generation_config.json", "chat_template.jinja"]
    words += ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
    kinds = {"model": "safetensors", "pytorch_model": "bin"}
    try:
        for stem, end in kinds.items():
            whole, parts = f"{stem}.{end}", f"{stem}-[0-9]*-of-[0-9]*.{end}"
            folder = Path(snapshot_download(name, allow_patterns=[*words, whole, parts, f"{whole}.index.json"]))
            if any(folder.glob(f"{stem}*.{end}")):
                break
    except Exception as error:  # the hub's errors have no common root, and a network has its own
        raise BadCheckpoint(f"the hub gave no {name}: {reason(error)}", todo="give a local folder") from error
    return folder


def device_name() -> str:
    """Where models are put that are loaded without a word about it: REREAD_DEVICE, or the CPU."""
    return os.environ.get("REREAD_DEVICE", "") or "cpu"


def check_device(device: str | None = None) -> None:
    """Raise BadInput for a device that torch does not see (None: `device_name`)."""
    if (device or device_name()) != "cpu":
        from reread.models.placed import checked

        checked(device or device_name())


def on_device(model: RecurrentModel, device: str | None = None) -> RecurrentModel:
    """The model where it is to compute (None: `device_name`).  Raises BadInput for a device that torch does not see."""
    device = device or device_name()
    if device == "cpu":
        return model
    from reread.models.placed import Placed

    return Placed(model, device)


def manifest_of(name: str, adapter: str | Path | Sequence[str | Path] | None = None) -> Manifest | None:
    """The manifest of the last adapter of a model that has one (see `adapters_of`); no weights are read.  Raises
    BadInput, BadCheckpoint."""
    found = [read_manifest(one) for one in adapters_of(name, adapter)]
    return next((one for one in reversed(found) if one is not None), None)


def named_positions(sizes: Mapping[str, Any]) -> int | None:
    """Positions that a configuration names; None for none."""
    return next((value for key in POSITIONS if type(value := sizes.get(key)) is int and value > 0), None)


def positions_of(name: str) -> int | None:
    """As LM.positions, of a model on this machine whose weights are not read; None where nothing names them."""
    packed = gguf_model(name)
    if packed is not None and packed.folder is None:
        from reread.models.gguf_header import read_header

        return named_positions({"n_positions": read_header(packed.path).metadata.get("llama.context_length")})
    own = packed.folder if packed else None
    folder = own or (_asset(EMBEDDED[name]) if name in EMBEDDED else model_folder(Path(name)))
    path = folder / "config.json"
    return named_positions(read_sizes(path)) if path.is_file() else None


def load(
    name: str | Path | None = None,
    device: str | None = None,
    *,
    dtype: str | None = None,
    add_bos: bool | None = None,
    adapter: str | Path | Sequence[str | Path] | None = None,
) -> LM:
    """The model of that name or folder (see `find`), ready to read; without a name, `default_model`.

    device: where it computes, "cpu" or "cuda" (None: `device_name`); tokens and logits stay on the CPU.
    dtype: of its weights and computation, "fp32" or "bf16".  None: float32; for GGUF files and packaged models
    bfloat16 on a GPU and on CPUs that multiply it (`preferred_dtype`), else float32.
    add_bos: whether what is read from nothing begins with BOS (None: as the model's tokenizer says).
    adapter: a folder of a LoRA adapter (models/lora.py), or several, merged in this order into a model of transformers;
    None: the one that comes with a packaged model; "none": the model without it.
    Folders of `reread train` and of the published JRT, Based and attention layouts are told apart by
    what config.json holds.  Raises UnknownName when there is none, BadCheckpoint when weights,
    configuration and tokenizer do not agree, BadInput for a device that torch does not see, for bf16 of a
    model that is read in float32 alone, and for BOS where the tokenizer has none, MissingPackage for a packaged
    model that is not installed.
    """
    name = str(name or default_model())
    adapters = adapters_of(name, adapter)
    check_device(device)
    check_model_dtype(dtype)
    locate(name, adapters)
    packed = gguf_model(name)
    if packed is not None:
        words: Tokenizer | None = _gguf_words(packed, add_bos)
        model: RecurrentModel = _load_gguf(packed, dtype, device or device_name(), adapters)
    else:
        folder, words = find(name), None
        if name in EMBEDDED or (folder / "tokenizer.json").is_file():  # first: its faults show without weights
            words = load_tokenizer(name if name in EMBEDDED else folder, add_bos)
        weights = load_weights(folder, dtype)
        if adapters:
            merge_adapters(weights, adapters, name)
        model = weights
    if words is not None and words.get_vocab_size() > model.config.vocab_size:
        raise BadCheckpoint(
            "the tokenizer has more entries than the model",
            got=f"{words.get_vocab_size():,}",
            allowed=f"{model.config.vocab_size:,} (vocab_size in config.json)",
        )
    if hasattr(model, "folders"):  # a model of transformers
        model.folders = (*adapters, folder if packed is None else packed.path.parent)
    manifest = manifest_of(name, adapters or NO_ADAPTER)
    return LM(name, on_device(model, device), words, tuple(map(str, adapters)), manifest)


def base_sha256(name: str) -> str | None:
    """sha256 of the file that holds a model's weights: of the GGUF file, else of the folder's model.safetensors; None
    where there is none of both.  An adapter's manifest names it."""
    packed = gguf_model(name)
    if packed is not None:
        return packed.sha256
    weights = find(name) / "model.safetensors"
    return file_sha256(weights) if weights.is_file() else None


def no_adapters(name: str) -> BadInput:
    """The error for an adapter beside a model that takes none."""
    what = "adapters are merged into models of transformers alone"
    return BadInput(what, got=name, todo="leave the adapter out, or name the model that it was trained on")


def merge_adapters(model: PrefixLMForCausalLM | Pretrained, adapters: Sequence[Path], name: str) -> None:
    """Merge LoRA adapters into a model of transformers.  Raises BadInput for another model, BadCheckpoint."""
    from reread.models.pretrained import Pretrained

    if not isinstance(model, Pretrained):
        raise no_adapters(name)
    found = [read_adapter(path) for path in adapters]
    base = base_sha256(name) if any(one.manifest and one.manifest.base for one in found) else None
    for one in found:
        check_base(one, base)
    merge(model.model, found)


def _load_gguf(packed: ModelFile, dtype: str | None, device: str, adapters: Sequence[Path] = ()) -> Pretrained:
    """The model of a GGUF file, from its conversion or from the file itself, with adapters merged into it.

    Its identity is the file's sha256 and those of the adapters, so the fingerprint is the same in every dtype.  Raises
    BadCheckpoint.
    """
    from reread.models.pretrained import Pretrained, load_module, torch_dtype

    found = [read_adapter(path) for path in adapters]
    for one in found:
        check_base(one, packed.sha256)
    chosen = torch_dtype(dtype, device)
    if packed.folder is not None:
        module = load_module(packed.folder, chosen)
    else:
        from reread.models.gguf import load_gguf

        module = load_gguf(packed.path, chosen)
    merge(module, found)
    return Pretrained(module, " ".join([packed.identity, *(one.sha256 for one in found)]))


def load_weights(folder: Path, dtype: str | None = None) -> PrefixLMForCausalLM | Pretrained:
    """The model of a folder: our layout, a published one, or transformers' own, in float32.

    dtype: "bf16" for a model of transformers in bfloat16.  Raises BadCheckpoint; BadInput for bf16 of another.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from reread.models.checkpoints import from_published, load_own, read_sizes
    from reread.models.prefix_lm import PrefixLMConfig
    from reread.models.published_json import is_published

    sizes = read_sizes(folder / "config.json")
    kind = sizes.get("model_type")
    if dtype == "bf16" and (is_published(sizes) or kind == PrefixLMConfig.model_type):
        raise BadInput("this model is read in float32 alone", got="bf16", allowed="fp32")
    if is_published(sizes):
        return from_published(folder, sizes)
    if not isinstance(kind, str | None):
        raise BadCheckpoint("model_type of config.json is a name", got=repr(kind))
    if kind in CONFIG_MAPPING and kind != PrefixLMConfig.model_type:
        from reread.models.pretrained import load_pretrained

        return load_pretrained(folder, dtype or "fp32")
    if kind in NEEDS_FLA:
        raise BadCheckpoint(
            "models of flash-linear-attention need a GPU and its kernels, and reread has not been tried with them",
            got=kind,
            todo="on a CPU use a family of docs/models.md",
        )
    return load_own(folder, sizes)

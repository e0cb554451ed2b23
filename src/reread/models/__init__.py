"""Models: load one by name or folder.  A model is anything with `read`, `extend` and `step`.

`load` gives an LM: the model, its tokenizer and its name.  Weights are read from safetensors only
and must agree with the sizes in config.json, tensor by tensor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tokenizers import Tokenizer

from reread.errors import BadCheckpoint, BadInput, RereadError, UnknownName

if TYPE_CHECKING:
    from torch import Tensor

    from reread.models.prefix_lm import PrefixLMForCausalLM
    from reread.models.state import State

EMBEDDED = {"embedded": "small-jrt", "small-jrt": "small-jrt", "small-causal": "small-causal"}


class RecurrentModel(Protocol):
    """Three verbs and two attributes; shapes as in prefix_lm.py."""

    @property
    def noncausal_prefix(self) -> bool: ...

    @property
    def fingerprint(self) -> str: ...

    def read(
        self, tokens: Tensor, prefix_len: int | Tensor | None = None, mask: Tensor | None = None, *, last_only: bool
    ) -> tuple[Tensor, State]: ...

    def extend(
        self, tokens: Tensor, state: State, mask: Tensor | None = None, *, last_only: bool
    ) -> tuple[Tensor, State]: ...

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]: ...


@dataclass(frozen=True)
class LM:
    """A model with its tokenizer, under the name it was loaded by."""

    name: str
    model: RecurrentModel
    tokenizer: Tokenizer


def _asset(name: str) -> Path:
    return Path(str(resources.files("reread") / "assets" / name))


def model_folder(folder: Path) -> Path:
    """The model folder of a run folder of `reread train`; any other folder as it is."""
    return folder / "model" if (folder / "model" / "config.json").is_file() else folder


def load_tokenizer(source: str | Path = "embedded") -> Tokenizer:
    """The tokenizer of a model by name, folder or run folder, or of a tokenizer.json file.  Raises BadInput."""
    path = _asset("tokenizer") if str(source) in EMBEDDED else model_folder(Path(source))
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise BadInput("no tokenizer there", got=str(source), allowed="a folder with tokenizer.json, or 'embedded'")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise BadCheckpoint(f"no tokenizer can be read from {path}: {error}") from error
    tokenizer.encode_special_tokens = True  # "<|end|>" written in a document is text, not the end
    return tokenizer


def load(name: str = "embedded") -> LM:
    """The model of that name (a key of EMBEDDED) or folder, in float32, ready to read.

    A run folder of `reread train` stands for its model folder.  Raises UnknownName when there is
    neither, BadCheckpoint when weights and configuration do not agree.
    """
    folder = _asset(EMBEDDED[name]) if name in EMBEDDED else model_folder(Path(name))
    if not (folder / "config.json").is_file():
        if folder.is_dir():
            raise BadCheckpoint("the folder holds no config.json", got=str(folder))
        raise UnknownName("model (neither an embedded name nor a folder)", name, EMBEDDED)
    if name not in EMBEDDED and not (folder / "tokenizer.json").is_file():
        raise BadCheckpoint("the folder holds no tokenizer.json", got=str(folder), todo="copy the model's own there")
    tokenizer = load_tokenizer("embedded" if name in EMBEDDED else folder)
    model = load_weights(folder)
    if tokenizer.get_vocab_size() > model.config.vocab_size:
        raise BadCheckpoint(
            "the tokenizer has more entries than the model",
            got=f"{tokenizer.get_vocab_size():,}",
            allowed=f"{model.config.vocab_size:,} (vocab_size in config.json)",
        )
    return LM(name, model, tokenizer)


def load_weights(folder: Path) -> PrefixLMForCausalLM:
    """A PrefixLMForCausalLM from config.json and model.safetensors, strictly.  Raises BadCheckpoint."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from reread.models.prefix_lm import PrefixLMConfig, PrefixLMForCausalLM

    try:
        sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError, OSError) as error:
        raise BadCheckpoint(f"cannot read the checkpoint in {folder}: {error}") from error
    kind = sizes.get("model_type") if isinstance(sizes, dict) else None
    if kind != PrefixLMConfig.model_type:
        raise BadCheckpoint("not a model of reread", got=f"model_type {kind!r}", allowed=PrefixLMConfig.model_type)
    try:
        model = PrefixLMForCausalLM(PrefixLMConfig.from_dict(sizes))
    except (TypeError, ValueError, RereadError) as error:
        raise BadCheckpoint(f"config.json in {folder} has a wrong size: {error}") from error
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    wanted = {key: x for key, x in model.state_dict().items() if key not in tied}
    missing, extra = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted) - tied)
    if missing or extra:
        raise BadCheckpoint(f"the weights in {folder} do not fit config.json: missing {missing}, not expected {extra}")
    for key, x in wanted.items():
        if weights[key].shape != x.shape:
            raise BadCheckpoint(
                f"the tensor {key} in {folder} has the wrong shape",
                got=tuple(weights[key].shape),
                allowed=f"{tuple(x.shape)} (from config.json)",
            )
    model.load_state_dict({key: weights[key].float() for key in wanted}, strict=False)
    model.tie_weights()
    return model.eval()

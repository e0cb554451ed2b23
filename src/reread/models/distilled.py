"""Scores of keys that are learnt from second readings: `distilled` needs one reading (KVzap, arXiv 2601.07891).

    s_i = exp(w . h_i + b)

h_i: the input of the attention layer at position i; w, b: per layer and KV head, fitted by ridge regression to the
logarithm of the scores of `reread` on training documents (training/distilling.py).  KVzap fits the scores of KVzip+ and
drops what is below a threshold; here the selection's budget decides.  The weights of a model are one safetensors file,
which lies beside its adapter or its weights and says in its header of which model it is.

Shapes: K KV heads, H width of the layer's input, Q queries, T tokens of the document.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from reread.config import build
from reread.errors import BadCheckpoint, BadInput, RereadError, reason
from reread.models.kv_attention import Attention, Observer, scored_layers
from reread.models.kv_choice import Scores
from reread.models.kv_selection import DistilledSettings, Selection
from reread.models.lora import AdapterId
from reread.models.pretrained import Pretrained

FILE = "distilled.safetensors"
FORMAT = 1
NAME = re.compile(r"layers\.(\d+)\.(weight|bias)")
MOST = 80.0  # of a logarithm of a score: exp stays finite in fp32


@dataclass(frozen=True)
class Fit:
    """What the weights were fitted on, as the file's header says.

    model, fingerprint, identity: of the model (Pretrained); adapters: merged into it; target: the selection whose
    scores were fitted; dtype: that the model computed in; documents, tokens: of the fit; ridge: the penalty, in units
    of the variance of each input; r2: per layer with full attention, on documents that were set aside; measured: other
    numbers on documents that were set aside; commit: of the program; seed: of the documents.
    """

    model: str
    fingerprint: str
    target: str
    dtype: str
    documents: int
    tokens: int
    ridge: float
    identity: str = ""
    adapters: tuple[AdapterId, ...] = ()
    r2: tuple[float, ...] = ()
    measured: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None
    seed: int = 0
    format: int = FORMAT

    def fits(self, model: Pretrained) -> bool:
        """Whether these are weights of this model, in any dtype."""
        return self.fingerprint == model.fingerprint or bool(self.identity and self.identity == model.identity)


@dataclass(frozen=True)
class Distilled:
    """weights: per layer with full attention (K,H+1), the last column b; fit: what they were fitted on."""

    weights: Mapping[int, Tensor]
    fit: Fit

    @cached_property
    def id(self) -> str:
        """12 hex digits over the weights as a file keeps them."""
        parts = (w.contiguous().numpy().tobytes() for _, w in sorted(self.rounded().weights.items()))
        return hashlib.sha256(b"".join(parts)).hexdigest()[:12]

    def scores(self, layer: int, hidden: Tensor) -> Tensor:
        """s_i, (K,Q) in fp32 at least, for the inputs (Q,H) of a layer.  Raises BadInput for another width."""
        w = self.weights[layer]
        if hidden.shape[-1] != w.shape[1] - 1:
            raise BadInput("the input of a layer has another width", got=hidden.shape[-1], allowed=w.shape[1] - 1)
        sums = torch.promote_types(hidden.dtype, torch.float32)
        w = w.to(hidden.device, sums)
        return (w[:, :-1] @ hidden.to(sums).mT + w[:, -1:]).clamp(max=MOST).exp()

    def rounded(self) -> Distilled:
        """As a file keeps them: w in float16, b in float32."""
        weights = {i: torch.cat((w[:, :-1].half().float(), w[:, -1:].float()), dim=1) for i, w in self.weights.items()}
        return Distilled(weights, self.fit)


# the file -----------------------------------------------------------------------------------------------------------


def encoded(made: Distilled) -> bytes:
    """The file: w in float16, b in float32, and the fit as JSON in the header."""
    tensors = {}
    for layer, w in made.weights.items():
        tensors[f"layers.{layer}.weight"] = w[:, :-1].to(torch.float16).contiguous()
        tensors[f"layers.{layer}.bias"] = w[:, -1].to(torch.float32).contiguous()
    return save(tensors, {"reread": json.dumps(dataclasses.asdict(made.fit), ensure_ascii=True)})


def read_fit(path: Path) -> Fit:
    """What a file was fitted on; no tensor is read.  Raises BadCheckpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["reread"])
        if facts.get("format") != FORMAT:
            raise BadCheckpoint(f"{path} is a file of another format", got=facts.get("format"), allowed=FORMAT)
        return build(Fit, facts)
    except BadCheckpoint:
        raise
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError, RereadError) as error:
        raise BadCheckpoint(f"{path} holds no distilled scores: {reason(error)}") from error


def read_distilled(path: Path) -> Distilled:
    """The weights of a file.  Raises BadCheckpoint."""
    fit = read_fit(path)
    parts: dict[int, dict[str, Tensor]] = {}
    for name, x in load_file(path).items():
        match = NAME.fullmatch(name)
        if match is None or not x.is_floating_point() or not bool(x.isfinite().all()):
            raise BadCheckpoint(f"{path} holds a tensor that is no weight of scores", got=f"{name} {tuple(x.shape)}")
        parts.setdefault(int(match[1]), {})[match[2]] = x.float()
    weights = {}
    for layer, own in sorted(parts.items()):
        w, b = own.get("weight"), own.get("bias")
        if w is None or b is None or w.dim() != 2 or b.shape != w.shape[:1]:
            got = {name: tuple(x.shape) for name, x in own.items()}
            raise BadCheckpoint(f"layer {layer} of {path} is incomplete", got=got, allowed="weight (K,H), bias (K,)")
        weights[layer] = torch.cat((w, b[:, None]), dim=1)
    return Distilled(weights, fit)


# which file ---------------------------------------------------------------------------------------------------------

_FOUND: weakref.WeakKeyDictionary[Pretrained, tuple[str, Distilled]] = weakref.WeakKeyDictionary()


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if (folder / FILE).is_file():
            yield folder / FILE


def packaged_files() -> list[Path]:
    """The files that come with the package, each in a folder of its assets."""
    assets = Path(str(resources.files("reread") / "assets"))
    return list(_files(sorted(one for one in assets.iterdir() if one.is_dir())))


def distilled_for(model: Pretrained, chosen: Selection) -> Distilled:
    """As `distilled_of`, for a selection.  Raises BadInput also where it names other weights."""
    found, settings = distilled_of(model), chosen.settings
    if isinstance(settings, DistilledSettings) and settings.fit not in ("", found.id):
        what = "the distilled scores of this model are others than those that the selection names"
        raise BadInput(what, got=found.id, allowed=settings.fit, todo="leave `fit` out, and read the document again")
    return found


def with_fit(model: Pretrained, chosen: Selection) -> Selection:
    """The selection with the name of its weights.  Raises as `distilled_for`."""
    assert isinstance(chosen.settings, DistilledSettings)
    return Selection(chosen.name, replace(chosen.settings, fit=distilled_for(model, chosen).id))


def distilled_of(model: Pretrained) -> Distilled:
    """The weights of this model: of a file in the folder of an adapter or of the model, or one of the package.

    Raises BadInput where there is none, or where the files in the model's folders are of another model, BadCheckpoint
    for a file that does not fit the model's layers.
    """
    known = _FOUND.get(model)
    if known is not None and known[0] == model.fingerprint:
        return known[1]
    own = list(_files(model.folders))
    path = next((one for one in (*own, *packaged_files()) if read_fit(one).fits(model)), None)
    if path is None:
        raise _missing(model, own)
    found = read_distilled(path)
    layers = scored_layers(model)
    if tuple(found.weights) != layers:
        what = f"the distilled scores in {path} do not fit the layers of this model"
        raise BadCheckpoint(what, got=tuple(found.weights), allowed=layers)
    _FOUND[model] = (model.fingerprint, found)
    return found


def _missing(model: Pretrained, own: Sequence[Path]) -> BadInput:
    todo = "fit them with `reread fit-selection`, or use another selection, such as reread"
    if not own:
        got = f"{model.config.model_type}, {model.fingerprint}"
        return BadInput("there are no distilled scores for this model and its adapter", got=got, todo=todo)
    fit = read_fit(own[0])
    made = " and ".join((fit.model, *map(str, fit.adapters)))
    what = f"the distilled scores in {own[0]} are of another model or adapter"
    return BadInput(what, got=f"this model is {model.fingerprint}", allowed=f"{fit.fingerprint}, {made}", todo=todo)


# scores while a document is read ------------------------------------------------------------------------------------


def layer_input(observer: Observer, call: Attention) -> Tensor:
    """(Q,H) what the attention module of a call was given.  Raises BadInput for a family that names it otherwise."""
    hidden = observer.argument(call, "hidden_states")
    if not isinstance(hidden, Tensor):
        kind = type(call.module).__name__
        raise BadInput("the input of this attention layer is not known", got=kind, todo="use another selection")
    return hidden[0]


class LayerInputs(Observer):
    """Keeps the inputs (T,H) of the layers of one document that is read in one call."""

    def __init__(self, layers: Sequence[int]):
        super().__init__()
        self.layers = layers
        self.found: dict[int, Tensor] = {}

    def __call__(self, call: Attention) -> Tensor:
        if call.layer in self.layers:
            self.found[call.layer] = layer_input(self, call)
        return call.output()

    def taken(self) -> dict[int, Tensor]:
        """Inputs per layer; nothing of the call is held any more."""
        found, self.found = self.found, {}
        self.forget()
        return found


class PieceScores(Observer):
    """Scores of the keys that are added to a state, layer by layer, for a document that is read in pieces."""

    def __init__(self, made: Distilled):
        super().__init__()
        self.made = made
        self.scores: Scores = {}

    def __call__(self, call: Attention) -> Tensor:
        if call.layer in self.made.weights:
            new = self.made.scores(call.layer, layer_input(self, call))
            old = self.scores.get(call.layer, new[:, :0])
            self.scores[call.layer] = torch.cat((old, new), dim=1)  # some families are read on token by token
        return call.output()

    def taken(self) -> Scores:
        """Scores (K,n), per layer, of the n keys that were added since this was asked before."""
        found, self.scores = self.scores, {}
        self.forget()
        return found

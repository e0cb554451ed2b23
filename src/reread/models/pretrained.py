"""Recurrent and attention models of transformers, with the three verbs.

transformers keeps what a model remembers in cache objects that are changed in place, nested
differently in every family, and resumed wrongly by some of them when several tokens come in one
call.  Here a state is a value: the tensors and numbers of a cache, taken out by walking it, one
set per row; a call puts copies into a fresh cache.  Rows of one length go through the model
together, so padding never reaches it.  How a family is resumed is said in RESUME; for a family
that is not listed it is found out on its own weights, on logits (`probe`).

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging as their_logging

from reread.errors import BadCheckpoint, BadInput, reason
from reread.models.fingerprint import Fingerprint, Snapshot, adapter_settings, sha256_of
from reread.models.state import check_call, prefix_lengths, row_index, too_long

WHOLE, STEPS = "whole", "steps"
RESUME = {
    "bamba": WHOLE, "falcon_h1": WHOLE, "gpt2": WHOLE, "granitemoehybrid": WHOLE, "lfm2": WHOLE, "llama": WHOLE,
    "mamba2": WHOLE, "nemotron_h": WHOLE, "olmo_hybrid": WHOLE, "qwen3_next": WHOLE, "rwkv": WHOLE,
    "xlstm": WHOLE, "zamba2": WHOLE, "falcon_mamba": STEPS, "jamba": STEPS, "mamba": STEPS, "minimax": STEPS,
    "recurrent_gemma": STEPS,
}  # fmt: skip
STEPS_ALONE = {"rwkv"}  # a single step mixes the rows of a batch (its token shift loses the time axis)
ELSEWHERE = ("_name_or_path", "transformers_version")  # of a configuration: where it lies and who reads it
CLOSE = 2e-5
CACHE_ARGUMENTS = ("cache", "past_key_values", "cache_params", "state")  # "cache": transformers 5.24 and later
Flat = dict[str, Tensor]


def leaves(thing: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor, whole number and truth value inside a cache, by path; numbers as tensors without dimensions."""
    if isinstance(thing, Tensor):
        yield path, thing
    elif isinstance(thing, bool | int):
        yield path, torch.tensor(thing)
    else:
        for name, part in _parts(thing):
            yield from leaves(part, f"{path}.{name}" if path else str(name))


def _parts(thing: Any) -> list[tuple[Any, Any]]:
    if isinstance(thing, dict):
        return list(thing.items())
    if isinstance(thing, list | tuple):
        return list(enumerate(thing))
    own = type(thing).__module__.startswith("transformers.") and hasattr(thing, "__dict__")
    return [] if not own or isinstance(thing, type) or hasattr(thing, "to_dict") else list(vars(thing).items())


def filled(thing: Any, flat: Flat, path: str = "", *, grows: bool = False) -> Any:
    """A copy of a cache in which every leaf that `flat` names is a copy of what stands there.

    Keys and values that grow are handed over as they are (`grows`): a DynamicLayer makes new tensors of
    them at every update and never writes into them, and a copy per token would cost as much again.
    """
    if path in flat and (thing is None or isinstance(thing, Tensor | bool | int)):
        if not flat[path].dim():
            return flat[path].item()
        return flat[path] if grows and path.endswith((".keys", ".values")) else flat[path].clone()
    grows = isinstance(thing, DynamicLayer)
    parts = {
        name: filled(part, flat, f"{path}.{name}" if path else str(name), grows=grows) for name, part in _parts(thing)
    }
    if isinstance(thing, dict):
        return parts
    if isinstance(thing, list | tuple):
        return type(thing)(parts.values())
    if not parts:
        return thing
    again = copy.copy(thing)
    vars(again).update(parts)
    return again


def _rows(flat: Flat, index: Tensor) -> Flat:
    """Those rows of a batch; what has fewer than two dimensions (counters) belongs to all of them."""
    if len(index) == 1 and all(x.dim() < 2 or x.shape[0] == 1 for x in flat.values()):
        return flat
    return {name: x.index_select(0, index) if x.dim() > 1 else x for name, x in flat.items()}


def _together(rows: Sequence[Flat]) -> Flat:
    if len(rows) == 1:
        return rows[0]
    return {name: torch.cat([row[name] for row in rows]) if x.dim() > 1 else x for name, x in rows[0].items()}


@dataclass(frozen=True)
class PretrainedState:
    """What a transformers model remembers: per row the leaves of its cache (batch 1), by path.

    position (B,): tokens read so far; fingerprint: of the weights that made it.  As State, a value:
    no verb changes the one it is given.
    """

    tensors: tuple[Flat, ...]
    position: Tensor
    fingerprint: str

    @property
    def batch(self) -> int:
        return len(self.tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, all rows together; it grows with the text where a layer is full attention."""
        return sum(x.numel() * x.element_size() for row in self.tensors for x in row.values())

    def clone(self) -> PretrainedState:
        rows = tuple({name: x.clone() for name, x in row.items()} for row in self.tensors)
        return PretrainedState(rows, self.position.clone(), self.fingerprint)

    def to(self, device: torch.device | str) -> PretrainedState:
        rows = tuple({name: x.to(device) for name, x in row.items()} for row in self.tensors)
        return PretrainedState(rows, self.position.to(device), self.fingerprint)

    def rows(self, index: Tensor | Sequence[int]) -> PretrainedState:
        """The rows of that index (repeats allowed: one document, many questions)."""
        chosen = row_index(index, self.batch, self.position.device)
        return PretrainedState(tuple(self.tensors[i] for i in chosen.tolist()), self.position[chosen], self.fingerprint)

    @staticmethod
    def cat(states: Sequence[PretrainedState]) -> PretrainedState:
        """Several states of one model as one batch, whatever their lengths.  Raises BadInput for two models."""
        if len({state.fingerprint for state in states}) != 1:
            raise BadInput("these states belong to several models, or there are none", got=len(states))
        rows = tuple(row for state in states for row in state.tensors)
        return PretrainedState(rows, torch.cat([state.position for state in states]), states[0].fingerprint)

    def to_flat(self) -> dict[str, Tensor]:
        """Tensors by name ("rows.0.layers.3.keys", "position"), none sharing memory, as safetensors wants them."""
        flat = {f"rows.{i}.{name}": x.clone() for i, row in enumerate(self.tensors) for name, x in row.items()}
        return {**flat, "position": self.position}

    @staticmethod
    def from_flat(flat: dict[str, Tensor], fingerprint: str) -> PretrainedState:
        """The inverse of to_flat.  Raises BadInput when a name cannot belong to such a state."""
        rows: dict[int, Flat] = {}
        for key, x in flat.items():
            if key == "position":
                continue
            first, number, name = [*key.split(".", 2), "", ""][:3]
            if first != "rows" or not number.isdigit() or not name:
                raise BadInput("not a tensor of a state", got=key, allowed="rows.<number>.<name>, position")
            rows.setdefault(int(number), {})[name] = x
        if "position" not in flat or sorted(rows) != list(range(len(flat["position"]))):
            raise BadInput("a state needs a position and one set of tensors per row", got=sorted(rows))
        return PretrainedState(tuple(rows[i] for i in sorted(rows)), flat["position"], fingerprint)


def _bytes(x: Tensor) -> bytes:
    return x.flatten().view(torch.uint8).numpy().tobytes()


class Pretrained:
    """A causal language model of transformers behind `read`, `extend` and `step`.  It never looks ahead.

    identity: what the weights are as they stand now, such as the sha256 of the file that they were read from.  While
    they stay so, the fingerprint is made of it and the configuration, whatever the dtype; no weight is hashed.
    """

    noncausal_prefix = False

    def __init__(self, model: PreTrainedModel, identity: str = ""):
        self.model = model.eval()
        self.arguments = inspect.signature(model.forward).parameters
        known = [name for name in CACHE_ARGUMENTS if name in self.arguments]
        if not known:
            raise BadCheckpoint("this model keeps no state that can be handed on", got=model.config.model_type)
        self.cache_argument = known[0]
        self._loose: set[tuple[str, str]] = set()
        self._template: Any = None
        self._dtypes: dict[str, torch.dtype] = {}
        self._made_as: torch.dtype | None = None
        self._lock = threading.RLock()
        self._makes_no_cache = False
        self._warned = False
        self._fingerprint = Fingerprint()
        self._identity = identity
        self._identified = Snapshot(self.model) if identity else None
        self._resume: str | None = RESUME.get(model.config.model_type)
        self._alone = model.config.model_type in STEPS_ALONE

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def fingerprint(self) -> str:
        """sha256 (16 hex digits) over the configuration and every weight, or the weights' identity."""
        return self._fingerprint.of(self.model, self._digest)

    def to(self, device: torch.device | str) -> Pretrained:
        """This model, its weights moved to that device; the fingerprint stays."""
        same = self._identified is not None and self._identified.holds(self.model)
        self.model.to(device)  # type: ignore[arg-type]
        if same:
            self._identified = Snapshot(self.model)
        return self

    def _digest(self) -> str:
        config = {key: value for key, value in self.config.to_dict().items() if key not in ELSEWHERE}
        adapters = adapter_settings(self.model)
        if self._identified is not None and not adapters and self._identified.holds(self.model):
            config = {key: value for key, value in config.items() if key != "dtype"}
            return sha256_of(json.dumps([config, self._identity], sort_keys=True, default=str), {}, _bytes)
        about = json.dumps(config | adapters, sort_keys=True, default=str)
        return sha256_of(about, self.model.state_dict(), _bytes)

    @property
    def resume(self) -> str:
        """How several tokens are read on from a state: "whole" in one call, or "steps" one after another."""
        if self._resume is None:
            self._resume = self.probe()
        return self._resume

    def _loose_tensors(self) -> dict[tuple[str, str], Tensor]:
        """Tensors that stand as plain attributes on modules: neither weights nor buffers."""
        return {
            (path, name): value
            for path, module in self.model.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, Tensor)
        }

    def _run(self, tokens: Tensor, flat: Flat | None, position: int) -> tuple[Tensor, Flat]:
        """As `_forward`; one call at a time where the family keeps its state in the modules themselves.

        The template is made before the first call: making it shows whether the model needs a cache handed to it and
        which modules keep a state, so that no call starts from what an earlier one left in them.
        """
        self.template()
        if not self._loose:
            return self._forward(tokens, flat, position)
        with self._lock:
            return self._forward(tokens, flat, position)

    def _forward(self, tokens: Tensor, flat: Flat | None, position: int) -> tuple[Tensor, Flat]:
        """Logits (n,T,V) and leaves of the cache after n rows that stand at one position."""
        modules = dict(self.model.named_modules())
        for path, name in self._loose:
            kept = None if flat is None else flat[f"modules.{path}.{name}"].clone()
            setattr(modules[path], name, kept)
        before = {place: id(x) for place, x in self._loose_tensors().items()}
        more: dict[str, Any] = {"use_cache": True}
        places = torch.arange(position, position + tokens.shape[1], device=tokens.device)
        if "position_ids" in self.arguments:
            more["position_ids"] = places[None].expand(tokens.shape[0], -1)
        if "cache_position" in self.arguments:
            more["cache_position"] = places
        cache = None
        if flat is not None:
            cache = filled(self.template(), flat)
            more[self.cache_argument] = cache
        elif self._makes_no_cache:
            cache = DynamicCache(config=self.config)
            more[self.cache_argument] = cache
        out = self.model(tokens, **more)
        after = out.get(self.cache_argument)
        after = cache if after is None else after
        if after is None and not self._makes_no_cache:
            self._makes_no_cache = True
            return self._forward(tokens, flat, position)
        for place, x in self._loose_tensors().items():
            if before.get(place) != id(x):
                self._loose.add(place)
        found = dict(leaves(after))
        for path, name in self._loose:
            found[f"modules.{path}.{name}"] = getattr(modules[path], name)
        if self._template is None:
            self._made_as = self.dtype
            self._dtypes = {name: x.dtype for name, x in found.items() if x.is_floating_point()}
            emptied = {name: x.new_empty(0) if x.dim() else x for name, x in leaves(after)}
            self._template = filled(copy.copy(after), emptied)
        return out.logits, {name: x.detach() for name, x in found.items()}

    def template(self) -> Any:
        """A cache of the family's own make, to be filled; made anew when the model was cast."""
        with self._lock:
            if self._made_as != self.dtype:
                self._template = None
            if self._template is None:
                self._forward(torch.zeros(1, 2, dtype=torch.long, device=self.model.device), None, 0)
            return self._template

    @torch.no_grad()
    def _verb(
        self, tokens: Tensor, state: PretrainedState | None, mask: Tensor | None, last_only: bool
    ) -> tuple[Tensor, PretrainedState]:
        """Rows of one length and position together; every row's logits back where its tokens stood."""
        check_call(self, tokens, state, mask)
        B, T = tokens.shape
        keep = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.bool()
        start = [0] * B if state is None else state.position.tolist()
        if state is not None:
            self._check_dtypes(state)
        groups: dict[tuple[int, int], list[int]] = {}
        for row, n in enumerate(keep.sum(dim=1).tolist()):
            groups.setdefault((n, start[row]), []).append(row)
        self._check_end(max(n + position for n, position in groups))
        logits: Tensor | None = None
        after: dict[int, Flat] = {}
        for (n, position), rows in groups.items():
            index = torch.tensor(rows, device=tokens.device)
            chosen = tokens[index][keep[index]].reshape(len(rows), n)
            flat = None if state is None else _together([state.tensors[row] for row in rows])
            if n == 0:
                if state is None:
                    raise BadInput("a row of padding alone cannot be read", got=f"row {rows[0]}")
                after |= {row: state.tensors[row] for row in rows}
                continue
            out, flat = self._resumed(chosen, flat, position)
            if logits is None:
                shape = (B, out.shape[-1]) if last_only else (B, T, out.shape[-1])
                logits = out.new_zeros(shape)
            if last_only:
                logits[index] = out[:, -1]
            else:
                where = keep[index]
                part = logits[index]
                part[where] = out.reshape(-1, out.shape[-1])
                logits[index] = part
            for place, row in enumerate(rows):
                after[row] = _rows(flat, torch.tensor([place], device=tokens.device))
        if logits is None:
            raise BadInput("there is no token to read", got=tuple(tokens.shape))
        end = torch.tensor(start, device=tokens.device) + keep.sum(dim=1)
        return logits, PretrainedState(tuple(after[row] for row in range(B)), end, self.fingerprint)

    @property
    def keeps_all(self) -> bool:
        """Whether every layer keeps the keys and values of all tokens: a Transformer with full attention."""
        layers = getattr(self.template(), "layers", [])
        return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)

    @cached_property
    def places(self) -> int | None:
        """Positions, where a table holds each (GPT-2, OPT), so that no text can be longer; else None."""
        named = getattr(self.config, "max_position_embeddings", None)  # GPT-2's configuration gives n_positions so too
        tables = [part for part in self.model.modules() if isinstance(part, torch.nn.Embedding)]
        own = self.model.get_input_embeddings()
        return (
            named if any(t is not own and named in (t.num_embeddings, t.num_embeddings - 2) for t in tables) else None
        )

    def _check_end(self, end: int) -> None:
        """Raise where a text goes on beyond a table of positions; where it goes on beyond those that the configuration
        names, say so once."""
        named = getattr(self.config, "max_position_embeddings", None)
        if not isinstance(named, int) or end <= named:
            return
        if self.places is not None:
            raise too_long(end, self.places)
        if not self._warned:
            self._warned = True
            logging.getLogger(__name__).warning(
                "reread: %s tokens are read, and the model's configuration names %s positions "
                "(max_position_embeddings): what it reads beyond them it may read badly; show less of the document.",
                f"{end:,}",
                f"{named:,}",
            )

    def _check_dtypes(self, state: PretrainedState) -> None:
        """Raise BadInput for a state whose tensors are of another dtype than this model makes."""
        self.template()
        for row in state.tensors:
            for name, x in row.items():
                wanted = self._dtypes.get(name)
                if wanted is not None and x.is_floating_point() and x.dtype != wanted:
                    raise BadInput("a state of another dtype", got=f"{name}: {x.dtype}", allowed=wanted)

    def _resumed(self, tokens: Tensor, flat: Flat | None, position: int) -> tuple[Tensor, Flat]:
        """One call, or one per token where the family needs that to read on rightly."""
        B, T = tokens.shape
        if T > 1 and (flat is None or self.resume == WHOLE):
            return self._run(tokens, flat, position)
        if B > 1 and self.resume and self._alone:  # `resume` finds out `_alone` too
            rows = [torch.tensor([i], device=tokens.device) for i in range(B)]
            single = [self._resumed(tokens[row], None if flat is None else _rows(flat, row), position) for row in rows]
            return torch.cat([logits for logits, _ in single]), _together([one for _, one in single])
        logits, after = self._run(tokens[:, :1], flat, position)
        pieces = [logits]
        for t in range(1, T):
            logits, after = self._run(tokens[:, t : t + 1], after, position + t)
            pieces.append(logits)
        return torch.cat(pieces, dim=1), after

    def read(
        self,
        tokens: Tensor,
        prefix_len: int | Tensor | None = None,
        mask: Tensor | None = None,
        *,
        last_only: bool = False,
        masking: str = "exact",
    ) -> tuple[Tensor, PretrainedState]:
        """As PrefixLMForCausalLM.read; every token is read causally, whatever prefix_len says; masks are exact."""
        if masking != "exact":
            raise BadInput("only models of the JRT layout have a published masking", got=masking, allowed="exact")
        check_call(self, tokens, None, mask)
        prefix_lengths(tokens, prefix_len, mask, None)
        return self._verb(tokens, None, mask, last_only)

    def extend(
        self, tokens: Tensor, state: PretrainedState, mask: Tensor | None = None, *, last_only: bool = False
    ) -> tuple[Tensor, PretrainedState]:
        """Read on from a state, which stays as it was."""
        return self._verb(tokens, state, mask, last_only)

    def step(self, token: Tensor, state: PretrainedState) -> tuple[Tensor, PretrainedState]:
        """One token per row, (B,) -> logits (B,V) and the next state."""
        return self._verb(token[:, None], state, None, last_only=True)

    @torch.no_grad()
    def probe(self, tokens: int = 12) -> str:
        """How this model resumes rightly, found out on its own weights, and whether its single steps keep the rows
        of a batch apart.  Raises BadCheckpoint when it cannot read on from its own state."""
        draw = torch.Generator().manual_seed(0)
        ids = torch.randint(self.config.vocab_size, (2, 2 * tokens), generator=draw).to(self.model.device)
        want, _ = self._run(ids, None, 0)
        _, start = self._run(ids[:, :tokens], None, 0)
        limit = CLOSE * float(want.abs().max())

        def off(how: str) -> float:
            self._resume = how
            got, _ = self._resumed(ids[:, tokens:], start, tokens)
            if got.shape != want[:, tokens:].shape:
                return float("inf")
            return float((got - want[:, tokens:]).abs().max())

        self._alone = False
        if off(STEPS) > limit:
            self._alone = True
            if off(STEPS) > limit:
                kind = self.config.model_type
                raise BadCheckpoint("this model does not read on rightly from its own state", got=kind)
        return WHOLE if off(WHOLE) <= limit else STEPS


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """transformers' warnings and bars held back: what they would say is checked, and said in one sentence."""
    level, bars = their_logging.get_verbosity(), their_logging.is_progress_bar_enabled()
    their_logging.set_verbosity_error()
    their_logging.disable_progress_bar()
    try:
        yield
    finally:
        their_logging.set_verbosity(level)
        if bars:
            their_logging.enable_progress_bar()


def preferred_dtype(device: str = "cpu") -> torch.dtype:
    """bfloat16 on a GPU and on a CPU with instructions that multiply it (AVX512_BF16, AMX), else float32."""
    if device != "cpu":
        return torch.bfloat16
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return torch.bfloat16 if any(ask() for ask in asked if ask is not None) else torch.float32


def torch_dtype(name: str | None, device: str = "cpu") -> torch.dtype:
    """The dtype of that name, "fp32" or "bf16"; None: `preferred_dtype`."""
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[name] if name else preferred_dtype(device)


def load_pretrained(folder: Path, dtype: str = "fp32") -> Pretrained:
    """A model folder of transformers, from safetensors; dtype: "fp32" or "bf16".  Raises BadCheckpoint."""
    return Pretrained(load_module(folder, torch_dtype(dtype)))


def load_module(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The module of `load_pretrained`.  Raises BadCheckpoint."""
    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadCheckpoint(f"transformers cannot read the model in {folder}: {reason(error)}") from error
    model, found = loaded
    wrong = {kind: sorted(map(str, found[kind])) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if any(wrong.values()):
        said = ", ".join(f"{kind.split('_')[0]} {names}" for kind, names in wrong.items() if names)
        raise BadCheckpoint(f"the weights in {folder} do not fit config.json: {said}")
    return model

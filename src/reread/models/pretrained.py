"""Recurrent and attention models of transformers, with the three verbs.

transformers keeps what a model remembers in cache objects that are changed in place, nested
differently in every family, and resumed wrongly by some of them when several tokens come in one
call.  Here a state is a value: the tensors and numbers of a cache, taken out by walking it, one
set per row (cache_tensors.py); a call puts them into a fresh cache.  Rows of unequal length share a
padded call where every layer is full attention (`ragged`), and no state shows the padding; other models read
rows of one length together, so that padding never reaches them.  How a family is resumed is said in RESUME;
for a family that is not listed it is found out on its own weights, on logits (`probe`).

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
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging as their_logging

from reread.errors import BadCheckpoint, BadInput, reason
from reread.models.cache_tensors import Batch, Flat, filled, kept_kinds, keys_held, leaves, taken
from reread.models.fingerprint import Fingerprint, Snapshot, adapter_settings, sha256_of
from reread.models.kept_attention import KeptView, attending
from reread.models.kept_keys import KeptRows, cache_name
from reread.models.pretrained_state import PretrainedState
from reread.models.state import check_call, prefix_lengths, too_long

WHOLE, STEPS = "whole", "steps"
RESUME = {
    "bamba": WHOLE, "falcon_h1": WHOLE, "gpt2": WHOLE, "granitemoehybrid": WHOLE, "lfm2": WHOLE, "llama": WHOLE,
    "mamba2": WHOLE, "nemotron_h": WHOLE, "olmo_hybrid": WHOLE, "qwen3_next": WHOLE, "rwkv": WHOLE,
    "xlstm": WHOLE, "zamba2": WHOLE, "falcon_mamba": STEPS, "jamba": STEPS, "mamba": STEPS, "minimax": STEPS,
    "recurrent_gemma": STEPS,
}  # fmt: skip
STEPS_ALONE = {"rwkv"}  # a single step mixes the rows of a batch (its token shift loses the time axis)
ELSEWHERE = ("_name_or_path", "transformers_version")  # of a configuration: where it lies and who reads it
CLOSE, ROUNDING = 2e-5, 8  # of the largest logit; in fewer bits so many steps of the dtype
LIKE, FEW = 1.25, 32  # of rows that share a call, the most tokens over the fewest; any lengths up to FEW
KEYS_LIKE, KEYS_FEW = 4, 512  # the same of the keys that they hold
Fact = tuple[int, int, int, str]
"""Of a row: tokens, position, keys in its cache, what it holds of earlier text (`kept_kind`)."""
CACHE_ARGUMENTS = ("cache", "past_key_values", "cache_params", "state")  # "cache": transformers 5.24 and later


def _bytes(x: Tensor) -> bytes:
    return x.flatten().view(torch.uint8).numpy().tobytes()


class Pretrained:
    """A causal language model of transformers behind `read`, `extend` and `step`.  It never looks ahead.

    identity: what the weights are as they stand now, such as the sha256 of the file that they were read from.  While
    they stay so, the fingerprint is made of it and the configuration, whatever the dtype; no weight is hashed.
    folders: of the adapters that were merged and of the weights, for files that lie beside them (distilled.py).
    """

    noncausal_prefix = False
    folders: tuple[Path, ...] = ()

    def __init__(self, model: PreTrainedModel, identity: str = ""):
        self.model = model.eval()
        self.arguments = inspect.signature(model.forward).parameters
        known = [name for name in CACHE_ARGUMENTS if name in self.arguments]
        if not known:
            raise BadCheckpoint("this model keeps no state that can be handed on", got=model.config.model_type)
        self.cache_argument = known[0]
        self._loose: set[tuple[str, str]] = set()
        self._watched: set[tuple[bool, bool]] = set()
        self._template: Any = None
        self._dtypes: dict[str, torch.dtype] = {}
        self._made_as: torch.dtype | None = None
        self._lock = threading.RLock()
        self._makes_no_cache = False
        self._warned = False
        self._kept_view = KeptView()
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

    @property
    def identity(self) -> str:
        """What the weights were read from; empty where that is not known or they were changed since."""
        same = self._identified is not None and not adapter_settings(self.model) and self._identified.holds(self.model)
        return self._identity if same else ""

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

    def _turn(self) -> contextlib.AbstractContextManager[Any]:
        """To be open during `_forward`: one call at a time where the family keeps its state in the modules themselves.

        The template is made before the first call: making it shows whether the model needs a cache handed to it and
        which modules keep a state, so that no call starts from what an earlier one left in them.
        """
        self.template()
        return self._lock if self._loose else contextlib.nullcontext()

    def _forward(
        self,
        tokens: Tensor,
        flat: Flat | None,
        places: Tensor,
        mask: Tensor | None = None,
        ends: Tensor | None = None,
        kept: KeptRows | None = None,
    ) -> tuple[Tensor, Flat]:
        """Logits (B,T,V), or (B,len(ends),V) at `ends`, and the leaves of the cache after tokens (B,T) at positions
        `places` (B,T); mask (B,L+T): which keys are no padding, the L that the cache holds and those of the tokens;
        kept: chosen keys of the text before those in the cache."""
        module = self.model if kept is None else self._kept_view.of(self.model, self.fingerprint)
        for path, name in self._loose:
            before_call = None if flat is None else flat[f"modules.{path}.{name}"].clone()
            setattr(module.get_submodule(path), name, before_call)
        kind = (flat is None, tokens.shape[1] == 1)
        watched = kind not in self._watched  # the first call of each kind shows every module that keeps a state
        before = {place: id(x) for place, x in self._loose_tensors().items()} if watched else {}
        more: dict[str, Any] = {"use_cache": True}
        if "position_ids" in self.arguments:
            more["position_ids"] = places
        if "cache_position" in self.arguments:
            held = 0 if mask is None else mask.shape[1] - tokens.shape[1]
            more["cache_position"] = places[0] if mask is None else held + torch.arange(places.shape[1]).to(places)
        if mask is not None and kept is None:  # kept keys are masked by their positions
            more["attention_mask"] = mask.long()
        keeps = ends is not None and "logits_to_keep" in self.arguments
        if ends is not None and keeps:  # a number is taken by every family, a tensor by those with full attention
            more["logits_to_keep"] = 1 if ends.tolist() == [tokens.shape[1] - 1] else ends
        cache = None
        if flat is not None:
            cache = filled(self.template(), flat)
            more[self.cache_argument] = cache
        elif self._makes_no_cache:
            cache = DynamicCache(config=self.config)
            more[self.cache_argument] = cache
        with attending(kept, places, mask):
            out = module(tokens, **more)
        after = out.get(self.cache_argument)
        after = cache if after is None else after
        if after is None and not self._makes_no_cache:
            self._makes_no_cache = True
            return self._forward(tokens, flat, places, mask, ends, kept)
        if watched:
            self._loose |= {place for place, x in self._loose_tensors().items() if before.get(place) != id(x)}
            self._watched.add(kind)
        found = dict(leaves(after))
        for path, name in self._loose:
            found[f"modules.{path}.{name}"] = getattr(module.get_submodule(path), name)
        if self._template is None:
            self._made_as = self.dtype
            self._dtypes = {name: x.dtype for name, x in found.items() if x.is_floating_point()}
            emptied = {name: x.new_empty(0) if x.dim() else x for name, x in leaves(after)}
            self._template = filled(copy.copy(after), emptied)
        logits = out.logits if ends is None or keeps else out.logits[:, ends]
        return logits, {name: x.detach() for name, x in found.items()}

    def template(self) -> Any:
        """A cache of the family's own make, to be filled; made again when the model was cast."""
        with self._lock:
            if self._made_as != self.dtype:
                self._template = None
            if self._template is None:
                self._forward(
                    torch.zeros(1, 2, dtype=torch.long, device=self.model.device), None, _places(0, 2, self.model)
                )
            return self._template

    @torch.no_grad()
    def _verb(
        self, tokens: Tensor, state: PretrainedState | None, mask: Tensor | None, last_only: bool
    ) -> tuple[Tensor, PretrainedState]:
        """Rows that are alike go through the model together; every row's logits back where its tokens stood."""
        check_call(self, tokens, state, mask)
        B = tokens.shape[0]
        keep = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.bool()
        counts = keep.sum(dim=1)
        start = torch.zeros_like(counts) if state is None else state.position
        if state is not None:
            self._check_dtypes(state)
        elif not bool(counts.all()):
            raise BadInput("a row of padding alone cannot be read", got=f"row {counts.tolist().index(0)}")
        if not bool(counts.any()):
            raise BadInput("there is no token to read", got=tuple(tokens.shape))
        end = start + counts
        self._check_end(int(end.max()))
        held = [0] * B if state is None else keys_held(state.tensors)
        kept = [""] * B if state is None else kept_kinds(state.tensors)
        groups = self._groups(list(zip(counts.tolist(), start.tolist(), held, kept, strict=True)))
        if groups == [list(range(B))]:
            batch = None if state is None else taken(state.tensors, groups[0])
            logits, after = self._group(tokens, keep, start, batch, last_only)
            return logits, PretrainedState(after, end, self.fingerprint)
        rows: dict[int, Flat] = {}
        if state is not None:
            rows = {row: state.tensors[row] for row, n in enumerate(counts.tolist()) if not n}
        every: Tensor | None = None
        for group in groups:
            index = torch.tensor(group, device=tokens.device)
            batch = None if state is None else taken(state.tensors, group)
            logits, after = self._group(tokens[index], keep[index], start[index], batch, last_only)
            every = logits.new_zeros(B, *logits.shape[1:]) if every is None else every
            every[index] = logits
            rows |= dict(zip(group, after, strict=True))
        assert every is not None
        return every, PretrainedState(tuple(rows[row] for row in range(B)), end, self.fingerprint)

    def _groups(self, facts: Sequence[Fact]) -> list[list[int]]:
        """Rows that share one call: those of equal facts, or, where padding does not change what the model reads, alike
        ones (`_alike`).  Rows without tokens are in none."""
        equal: dict[Fact, list[int]] = {}
        for row, fact in enumerate(facts):
            if fact[0]:
                equal.setdefault(fact, []).append(row)
        if len(equal) < 2 or not self.ragged:
            return list(equal.values())
        groups: list[list[Fact]] = []
        for fact in sorted(equal, key=lambda one: (one[3], one[2], one[0])):
            if groups and _alike([*groups[-1], fact]):
                groups[-1].append(fact)
            else:
                groups.append([fact])
        return [sorted(row for fact in group for row in equal[fact]) for group in groups]

    def _group(
        self, tokens: Tensor, keep: Tensor, start: Tensor, batch: Batch | None, last_only: bool
    ) -> tuple[Tensor, Batch]:
        """Logits (B,V) or (B,T,V), zeros where `keep` (B,T) is False, and the caches after rows that share one call.

        Rows of unequal length are padded behind their tokens where they are read from nothing (no token looks ahead, so
        no mask is needed), else before them (so that all end at one place).
        """
        counts = keep.sum(dim=1)
        T = int(counts.max())
        steps = torch.arange(T, device=tokens.device)
        own = steps < counts[:, None] if batch is None else steps >= T - counts[:, None]
        ids = tokens.new_zeros(own.shape)
        ids[own] = tokens[keep]
        places = start[:, None] + (own.cumsum(dim=1) - 1).clamp(min=0)
        real = None
        if not bool(own.all()) or (batch is not None and batch.real is not None):
            held = own[:, :0] if batch is None else batch.real
            if held is None:
                held = own.new_ones(len(own), keys_held(batch or ())[0])
            real = torch.cat((held, own), dim=1)
        last = counts.unique() if batch is None else counts.new_tensor([T])
        out, flat = self._resumed(ids, batch, places, None if batch is None else real, last - 1 if last_only else None)
        if last_only:
            at = torch.searchsorted(last, counts) if batch is None else torch.zeros_like(counts)
            logits = out[torch.arange(len(out), device=out.device), at]
        else:
            logits = out.new_zeros(*tokens.shape, out.shape[-1])
            logits[keep] = out[own]
        return logits, Batch(flat, len(tokens), real, None if batch is None else batch.kept)

    @property
    def keeps_all(self) -> bool:
        """Whether every layer keeps the keys and values of all tokens: a Transformer with full attention."""
        layers = getattr(self.template(), "layers", [])
        return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)

    @property
    def state_dtype(self) -> str:
        """In which states are kept where none is named: bf16 where every layer keeps all keys and values, which are
        then half as large as in fp32; fp32 for recurrent states, which are sums over the text."""
        return "bf16" if self.keeps_all else "fp32"

    @cached_property
    def places(self) -> int | None:
        """Positions, where a table holds each (GPT-2, OPT), so that no text can be longer; else None."""
        named = getattr(self.config, "max_position_embeddings", None)  # GPT-2's configuration gives n_positions so too
        tables = [part for part in self.model.modules() if isinstance(part, torch.nn.Embedding)]
        own = self.model.get_input_embeddings()
        return (
            named if any(t is not own and named in (t.num_embeddings, t.num_embeddings - 2) for t in tables) else None
        )

    @property
    def named_positions(self) -> int | None:
        """Positions that the configuration names; None where it names none."""
        named = getattr(self.config, "max_position_embeddings", None)
        return named if isinstance(named, int) else None

    def _check_end(self, end: int) -> None:
        """Raise where a text goes on beyond a table of positions; where it goes on beyond those that the configuration
        names, say so once."""
        named = self.named_positions
        if named is None or end <= named:
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
        rows: Sequence[Flat] = state.tensors
        if isinstance(rows, Batch):
            rows = [rows.flat, *(() if rows.kept is None else rows.kept.rows)]
        for row in rows:
            for name, x in row.items():
                wanted = self._dtypes.get(cache_name(name))
                if wanted is not None and x.is_floating_point() and x.dtype != wanted:
                    raise BadInput("a state of another dtype", got=f"{name}: {x.dtype}", allowed=wanted)

    def _resumed(
        self,
        tokens: Tensor,
        batch: Batch | None,
        places: Tensor,
        mask: Tensor | None = None,
        ends: Tensor | None = None,
    ) -> tuple[Tensor, Flat]:
        """As `_forward`, in one call, or in one per token where the family needs that to read on rightly."""
        B, T = tokens.shape
        flat, kept = (None, None) if batch is None else (batch.flat, batch.kept)
        if mask is not None or (T > 1 and (flat is None or self.resume == WHOLE)):
            with self._turn():
                return self._forward(tokens, flat, places, mask, ends, kept)
        if B > 1 and self.resume and self._alone:  # `resume` finds out `_alone` too
            single = [
                self._resumed(tokens[[i]], None if batch is None else batch.take([i]), places[[i]], None, ends)
                for i in range(B)
            ]
            return torch.cat([logits for logits, _ in single]), Batch.of([one for _, one in single]).flat
        pieces = []
        for t in range(T):
            with self._turn():
                logits, flat = self._forward(tokens[:, t : t + 1], flat, places[:, t : t + 1], kept=kept)
            pieces.append(logits)
        assert flat is not None
        return torch.cat(pieces, dim=1) if ends is None else pieces[-1], flat

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
        ids, places = self._drawn(2 * tokens), _places(0, 2 * tokens, self.model)
        with self._turn():
            want, _ = self._forward(ids, None, places)
        with self._turn():
            _, flat = self._forward(ids[:, :tokens], None, places[:, :tokens])
        start = Batch(flat, len(ids))

        def right(how: str) -> bool:
            self._resume = how
            got, _ = self._resumed(ids[:, tokens:], start, places[:, tokens:].expand(2, -1))
            return self.close(got, want[:, tokens:])

        self._alone = False
        if not right(STEPS):
            self._alone = True
            if not right(STEPS):
                kind = self.config.model_type
                raise BadCheckpoint("this model does not read on rightly from its own state", got=kind)
        return WHOLE if right(WHOLE) else STEPS

    @cached_property
    @torch.no_grad()
    def ragged(self) -> bool:
        """Whether rows of unequal length can share a padded call: every layer keeps all keys and values, and the logits
        of two such rows are those of each alone, found out on the model's own weights."""
        if not self.keeps_all or not {"attention_mask", "position_ids"} <= set(self.arguments):
            return False
        ids = self._drawn(12)
        counts, more = ids.new_tensor([9, 4]), ids.new_tensor([3, 1])
        steps = torch.arange(12, device=ids.device)
        keep = steps < counts[:, None]
        with self._turn():
            want = [
                self._forward(ids[[row], : n + m], None, _places(0, n + m, self.model))[0][0]
                for row, (n, m) in enumerate(zip((9, 4), (3, 1), strict=True))
            ]
        first, batch = self._group(ids, keep, torch.zeros_like(counts), None, True)
        after = (steps >= counts[:, None]) & (steps < (counts + more)[:, None])
        last, _ = self._group(ids, after, counts, batch, True)
        return self.close(first, torch.stack((want[0][8], want[1][3]))) and self.close(
            last, torch.stack((want[0][11], want[1][4]))
        )

    def _drawn(self, tokens: int) -> Tensor:
        """Two rows of random token ids, the same ones every time."""
        draw = torch.Generator().manual_seed(0)
        return torch.randint(self.config.vocab_size, (2, tokens), generator=draw).to(self.model.device)

    def close(self, got: Tensor, want: Tensor) -> bool:
        """Whether logits differ by rounding alone, in the model's dtype."""
        limit = max(CLOSE, ROUNDING * torch.finfo(self.dtype).eps) * float(want.abs().max())
        return got.shape == want.shape and float((got - want).abs().max()) <= limit


def _places(start: int, tokens: int, model: PreTrainedModel) -> Tensor:
    """Positions (1,tokens)."""
    return torch.arange(start, start + tokens, device=model.device)[None]


def _alike(facts: Sequence[Fact]) -> bool:
    """Whether rows share a call: padding costs less than calls of their own, and they have kept keys of one kind."""
    if len({one[3] for one in facts}) > 1:
        return False
    counts, held = [one[0] for one in facts], [one[2] for one in facts]
    return max(counts) <= max(LIKE * min(counts), FEW) and max(held) <= max(KEYS_LIKE * min(held), KEYS_FEW)


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

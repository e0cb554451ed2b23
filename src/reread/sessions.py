"""A document read once, asked any number of times: states made, verified, and read on from.

`DocumentReader.read` reads a document into a DocumentState; `DocumentReader.open` takes one back
after the model itself has confirmed it; a Session answers from it.  The state is never changed:
every question goes on from a copy.  How a file looks (statefile.py) and where it lies (store.py)
is not known here.

Shapes: V vocabulary.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reread import __version__
from reread.answer import Answer
from reread.documents.loaders import Source
from reread.engine import Reader
from reread.errors import BadInput, BadState, RereadError, UnknownName, reason
from reread.forgotten import Lost, checked_forgotten, known_lost_near, lost_units, unit_texts
from reread.models.dtypes import check_state_dtype, own_state_dtype
from reread.models.kept_keys import (
    POSITION_PARTS,
    cache_name,
    cache_names,
    faults,
    is_kept,
    kept_layers,
    kept_positions,
)
from reread.models.kept_reading import full_attention_layers, keep_keys
from reread.models.kv_selection import FULL, selection, sums_dropped, tokens_per_choice
from reread.models.lora import NO_ADAPTER, AdapterId, adapter_id
from reread.models.lost_units import LostUnits, unit_means
from reread.models.packing import DTYPES, Flat, pack, unpack
from reread.models.pretrained import Pretrained
from reread.models.pretrained_state import PretrainedState
from reread.options import (
    ANY_LENGTH,
    MAX_NEW_TOKENS,
    POLICY,
    SAID,
    check_level,
    default_budget,
    prefix_length,
    storable_policy,
)
from reread.prompting import PROBE, Encoded, Prompt, build_unasked, cut, decode, units
from reread.selecting import any_length, bounds_again, checked_selection, lost_again, read_with, unit_bounds
from reread.statefile import AGAIN, ROW, Canary, DocumentState, Header, ids_hash
from reread.store import Store

EXACT = 1e-4  # of a logit over the largest, for models in float32 and float64
# The same for models in fewer bits, and for a state between bfloat16 and float32: smollm2, 2 texts of 47 and 58 tokens,
# differs by 4e-3 to 7e-3 of the largest logit (either way), and by up to 0.14 of the largest value of a tensor (OTHER).
ROUGH, OTHER = 5e-2, 0.5
# Two readings of one document differ by rounding, which sends a value at a border to the next step; measured on another
# instruction set (docs/states.md).  FRESH: of logits.  STEP: of one value, over the largest of its tensor.
FRESH = {"fp32": 1e-4, "bf16": 1e-3, "int8": 1e-3, "int4": 5e-3}
STEP = {"fp32": 1e-4, "bf16": 1e-2, "int8": 1e-2, "int4": 1.5e-1}
SHORT, LONG = 2, 9
SAME_KEYS = 0.9  # of the kept positions, in two readings
LOST, LOST_ROUGH = 0.05, 0.5  # nats per token of a unit, in two readings; of models in fewer bits than float32


def cache_of(name: str) -> str:
    """The tensor of a state with all keys that has the dtype of this one."""
    return ROW + cache_name(name.removeprefix(ROW)) if name.startswith(ROW) else name


def relative(got: Tensor, want: Tensor) -> float:
    """The largest error over the largest of `want`; infinite where the shapes differ."""
    if got.shape != want.shape:
        return float("inf")
    if not want.numel():
        return 0.0
    most = float(want.abs().max()) if want.dtype != torch.bool else 1.0
    return float((got.double() - want.double()).abs().max()) / max(most, 1e-30)


@dataclass(frozen=True)
class Mould:
    """What a model's states look like: their class, and their tensors after SHORT and after LONG tokens."""

    kind: Any
    short: Flat
    long: Flat
    layers: tuple[int, ...] = ()  # with full attention, whose keys a selection chooses

    @staticmethod
    def of(model: Any) -> Mould:
        states = [model.read(torch.zeros(1, n, dtype=torch.long), 0, last_only=True)[1] for n in (SHORT, LONG)]
        layers = full_attention_layers(model) if isinstance(model, Pretrained) else ()
        return Mould(type(states[0]), states[0].to_flat(), states[1].to_flat(), layers)

    def wrong(self, flat: Flat, read: int) -> str:
        """What about these tensors cannot be of that model after so many tokens; empty when nothing."""
        kept = {name: x for name, x in flat.items() if is_kept(name.removeprefix(ROW))}
        if kept and (wrong := self._wrong_kept(flat, kept, read)):
            return wrong
        emptied = {ROW + name for layer in self.layers for name in cache_names(layer)} if kept else set()
        if set(flat) - set(kept) != set(self.short):
            return f"it has no, or no such, tensor {sorted((set(flat) - set(kept)) ^ set(self.short))[0]!r}"
        for name, x in flat.items():
            if name in kept:
                continue
            a, b = self.short[name], self.long[name]
            if x.dtype != a.dtype or x.dim() != a.dim():
                return f"{name} is {x.dtype} {tuple(x.shape)}, the model's {a.dtype} {tuple(a.shape)}"
            for size, least, more in zip(x.shape, a.shape, b.shape, strict=True):
                fits = size == least or (least != more and 1 <= size <= read)
                if name in emptied and least != more:
                    fits = size == 0
                if not fits:
                    return f"{name} has the shape {tuple(x.shape)}, the model's {tuple(a.shape)}"
            if not x.is_floating_point() and not x.dim():
                same = bool(a == b)
                if bool(x != a) if same else not 0 <= int(x) <= read:
                    return f"{name} is {x.item()}"
        return ""

    def _wrong_kept(self, flat: Flat, kept: Flat, read: int) -> str:
        names = {name.removeprefix(ROW): x for name, x in flat.items()}
        if kept_layers(names) != self.layers:
            return f"it keeps chosen keys of the layers {kept_layers(names)}, the model has {self.layers}"
        for name, x in kept.items():
            own = self.short.get(ROW + cache_name(name.removeprefix(ROW)))
            if own is not None and x.dtype != own.dtype:
                return f"{name} is {x.dtype}, the model's {own.dtype}"
        shapes = {name: (x.dtype, tuple(x.shape)) for name, x in names.items()}
        integers = {name: x for name, x in names.items() if is_kept(name) and name.endswith(POSITION_PARTS)}
        return next(iter(faults(shapes, integers, read)), "")


@dataclass(frozen=True)
class KeptFile:
    """Where a document's state lies, what it was made from, whether it lay there already, and what was kept of its keys
    (in words; empty: all).  forgotten: what it lost, in words (empty: not measured); lost: the same of each unit, in
    characters from the document's first one that is not blank, and its text."""

    path: Path
    header: Header
    state_bytes: int
    already_there: bool
    kept: str = ""
    forgotten: str = ""
    lost: tuple[Lost, ...] = ()
    texts: tuple[str, ...] = ()


class DocumentReader:
    """Reads documents into states and takes states back, with the model of one Reader."""

    def __init__(self, reader: Reader):
        self.reader, self.lm = reader, reader.lm

    @cached_property
    def tokenizer_hash(self) -> str:
        return hashlib.sha256(self.lm.tokenizer.to_str().encode()).hexdigest()

    @cached_property
    def mould(self) -> Mould:
        with torch.inference_mode():
            return Mould.of(self.lm.model)

    @cached_property
    def adapters(self) -> tuple[AdapterId, ...]:
        """Those that were merged into the model, in their order."""
        return tuple(map(adapter_id, self.lm.adapters))

    @property
    def compute_dtype(self) -> str:
        return str(self.lm.model.dtype).removeprefix("torch.")

    @property
    def casts(self) -> bool:
        """Whether the model can be loaded in several dtypes, and takes the states of each."""
        return self.mould.kind is PretrainedState

    @property
    def tolerance(self) -> float:
        return EXACT if self.lm.model.dtype in (torch.float32, torch.float64) else ROUGH

    def elsewhere(self, header: Header) -> bool:
        """Whether a state was made in another dtype than this model computes in."""
        return header.compute_dtype not in ("", self.compute_dtype)

    def tolerance_for(self, header: Header) -> float:
        """The tolerance of a state that may have been made in another dtype."""
        return ROUGH if self.elsewhere(header) else self.tolerance

    def cast(self, flat: Flat, header: Header) -> Flat:
        """A state's tensors in this model's dtypes, where the same model made them in another one.  Raises BadState."""
        if not self.elsewhere(header):
            return flat
        made, own = DTYPES[header.compute_dtype], self.mould.short
        found = {
            name: x.to(like.dtype)
            if x.dtype == made and (like := own.get(cache_of(name))) is not None and like.is_floating_point()
            else x
            for name, x in flat.items()
        }
        if not self.casts or all(found[name] is x for name, x in flat.items()):
            what = f"the header of {header.name} names another dtype of computation than its tensors have"
            raise BadState(what, got=header.compute_dtype, allowed=self.compute_dtype, todo=AGAIN)
        return found

    def state(self, flat: Flat) -> Any:
        """The model's own state of flat tensors; that it is this model's was checked before."""
        return self.mould.kind.from_flat(flat, self.lm.model.fingerprint)

    def budget(self, strategy: str = "once") -> int:
        """Document tokens per copy that are read where no budget is named (see `default_budget`).  Raises UnknownName,
        BadInput."""
        layout = build_unasked(strategy, PROBE, tokenizer=self.lm.tokenizer)
        return default_budget(self.lm.positions, layout, self.lm.tokenizer)

    def show(
        self, source: Source, *, strategy: str = "once", budget: int | None = None, select: str = FULL
    ) -> tuple[Prompt, Encoded]:
        """What would be read of a document, before any question; budget None: see `budget`, and all of the document
        where `select` reads it in pieces of which only a part is kept.  Raises BadInput."""
        tokens = self.budget(strategy) if budget is None else budget
        if budget is None and self.reader.is_longer(source.text, tokens) and any_length(self.lm, select):
            tokens = ANY_LENGTH
        shown = cut(source.text, self.lm.tokenizer, tokens, "head")
        prompt = build_unasked(strategy, shown.text, cut=shown, tokenizer=self.lm.tokenizer)
        encoded = prompt.encode(self.lm.tokenizer)
        self.reader.check_fits(len(encoded.tokens), select)
        return prompt, encoded

    def header(
        self,
        source: Source,
        shown: tuple[Prompt, Encoded],
        *,
        policy: str = POLICY,
        state_dtype: str | None = None,
        select: str = FULL,
        forgotten: str = "",
    ) -> Header:
        """The header of a reading that has not happened; its `key` finds one that was kept.

        state_dtype None: the model's own choice (`own_state_dtype`); select: which keys the state holds; forgotten: the
        unit of text of which it tells what it lost ("": nothing is told).  Raises BadInput, UnknownName.
        """
        prompt, encoded = shown
        chosen = storable_policy(policy)
        if sums_dropped(selection(select)):
            what, todo = "a state file does not hold sums of dropped keys", "leave `dropped` out of the selection"
            raise BadInput(what, got=select, todo=todo)
        self.reader.warn_if_ignored(chosen)
        return Header(
            model=self.lm.model.fingerprint,
            model_name=self.lm.short_name,
            tokenizer=self.tokenizer_hash,
            tokens=ids_hash(encoded.tokens),
            read=len(encoded.tokens),
            prefix_len=self.lm.prefix(prefix_length(chosen, len(encoded.tokens))),
            strategy=prompt.strategy,
            policy=str(chosen),
            state_dtype=check_state_dtype(state_dtype or own_state_dtype(self.lm.model)),
            document=source.sha256,
            name=source.name,
            cut=prompt.cut.says() if prompt.cut else "",
            next_token=0,
            loss=0.0,
            version=__version__,
            layout={},
            compute_dtype=self.compute_dtype if self.casts else "",
            adapters=self.adapters,
            selection=(chosen_keys := checked_selection(self.lm, select)),
            forgotten=checked_forgotten(forgotten, chosen_keys),
        )

    def keep(
        self,
        store: Store,
        source: Source,
        *,
        strategy: str = "once",
        budget: int | None = None,
        policy: str = POLICY,
        state_dtype: str | None = None,
        keep_tokens: bool = True,
        select: str = FULL,
        forgotten: str = "",
    ) -> KeptFile:
        """Read a document into a store, unless it was read so before.  Raises BadInput, UnknownName."""
        shown = self.show(source, strategy=strategy, budget=budget, select=select)
        ways: dict[str, Any] = {"policy": policy, "state_dtype": state_dtype, "select": select, "forgotten": forgotten}
        return self.keep_shown(store, source, shown, keep_tokens=keep_tokens, **ways)

    def keep_shown(
        self,
        store: Store,
        source: Source,
        shown: tuple[Prompt, Encoded],
        *,
        policy: str = POLICY,
        state_dtype: str | None = None,
        keep_tokens: bool = True,
        select: str = FULL,
        forgotten: str = "",
    ) -> KeptFile:
        """As `keep`, of what `show` gave."""
        ways: dict[str, Any] = {"policy": policy, "state_dtype": state_dtype, "select": select, "forgotten": forgotten}
        header = self.header(source, shown, **ways)
        path, kept = store.find(header.key(keep_tokens)), None
        if path is not None:
            with contextlib.suppress(BadState, BadInput):  # broken, or removed meanwhile: it is read anew
                kept = self._kept_file(path, store.get(path.name), shown[1], True)
        if kept is not None:
            store.hold(kept.path)
            return kept
        document = self.read(header, shown[1], keep_tokens=keep_tokens, prompt=shown[0])
        return self._kept_file(store.put(document), document, shown[1], False)

    def _kept_file(self, path: Path, document: DocumentState, encoded: Encoded, already_there: bool) -> KeptFile:
        texts, lost = self.lost_in(document, encoded.tokens)
        said = document.says_forgotten(texts)
        told = (document.says_kept(), said, lost, tuple(texts))
        return KeptFile(path, document.header, document.nbytes, already_there, *told)

    def with_tokens(self, document: DocumentState, source: Source) -> DocumentState | None:
        """A state without its tokens, with those of its document; None where this is another document, or where its
        first tokens up to the default budget are not those that were read.  Raises BadInput as `show`."""
        header = document.header
        if source.sha256 != header.document:
            return None
        _, encoded = self.show(source, strategy=header.strategy, select=header.selection)
        if ids_hash(encoded.tokens) != header.tokens:
            return None
        return replace(document, tokens=torch.tensor(encoded.tokens))

    def lost_in(self, document: DocumentState, ids: Sequence[int]) -> tuple[list[str], tuple[Lost, ...]]:
        """The text of each unit of a document whose tokens are ids, and what the state lost of it, in characters from
        the document's first one that is not blank; nothing where that was not measured."""
        if document.lost is None:
            return [], ()
        bounds = document.lost.bounds.tolist()
        texts = unit_texts(ids, bounds, self.lm.tokenizer)
        start = len(decode(ids[: bounds[0]], self.lm.tokenizer, first=True))
        return texts, lost_units(texts, document.lost.nats.tolist(), start)

    @torch.inference_mode()
    def read(
        self, header: Header, encoded: Encoded, *, keep_tokens: bool = True, prompt: Prompt | None = None
    ) -> DocumentState:
        """Read what `show` gave, as `header` says; the canary is of the packed state.  prompt: in words, needed where
        the header says that it is told what was forgotten.  Raises BadInput for logits or states that are not
        finite."""
        ids = torch.tensor([encoded.tokens])
        logits, state, losses = self._read(ids, header)
        lost = None if losses is None else LostUnits.of(self._bounds(prompt, header), losses)
        return self.made(header, ids, logits, state, keep_tokens=keep_tokens, lost=lost)

    @torch.inference_mode()
    def made(
        self,
        header: Header,
        ids: Tensor,
        logits: Tensor,
        state: Any,
        *,
        keep_tokens: bool = True,
        lost: LostUnits | None = None,
    ) -> DocumentState:
        """As `read`, of what was read already: logits (1,V) after ids (1,T), the state, as `header` says, and what it
        lost of the document's units."""
        if not bool(torch.isfinite(logits).all()):
            raise BadInput("the model's logits after this document are not finite", got=header.name)
        flat = state.to_flat()
        packed, layout = pack(flat, header.state_dtype)
        token = int(logits[0].argmax())
        whole = self._after(flat, token)
        kept = self._after(unpack(packed, layout), token)
        places = Canary.places(logits[0])
        canary = Canary(places, logits[0, places].float(), kept[places].float())
        end = int(state.position[0])
        moved = end if end != header.read else 0
        header = replace(header, next_token=token, loss=relative(kept, whole), layout=layout, position=moved)
        return DocumentState(header, packed, ids[0] if keep_tokens else None, canary, lost)

    def _read(self, ids: Tensor, header: Header) -> tuple[Tensor, Any, Tensor | None]:
        """Logits (1,V) after ids (1,T), the state, as the header says, and (T,) what it lost of each token."""
        if header.selection == FULL:
            return (*self.lm.model.read(ids, header.prefix_len, last_only=True), None)
        found = read_with(self.lm, ids, header.selection, forgotten=bool(header.forgotten))
        return found.logits, found.state, found.forgotten if header.forgotten else None

    def _bounds(self, prompt: Prompt | None, header: Header) -> list[int]:
        """Where the units of a document begin (LostUnits.bounds)."""
        if prompt is None:
            raise BadInput("what was forgotten is told in units of a text, and there is none", got=header.name)
        text = next(part.text for part in prompt.parts if part.role == "document")
        return unit_bounds(self.lm, prompt, units(text, header.forgotten, self.lm.tokenizer))

    def _read_anew(self, ids: Tensor, header: Header, flat: Flat) -> tuple[Tensor, Any]:
        """As `_read`; of chosen keys those that the state holds, as long as a fresh choice is nearly the same: it
        rounds differently on another machine or in another dtype.  It must be the same for a document that was read
        in pieces, since each piece was read with the choice before it.  Raises BadState."""
        row, header = {name.removeprefix(ROW): x for name, x in flat.items()}, replace(header, forgotten="")
        logits, state, _ = self._read(ids, header)
        if not kept_layers(row):
            return logits, state
        in_pieces = tokens_per_choice(selection(header.selection)) > 0
        held, fresh = kept_positions(row), kept_positions(state.tensors[0])
        pairs = [(a, b) for layer in held for a, b in zip(held[layer], fresh.get(layer, ()), strict=False)]
        same = sum(int(torch.isin(a, b).sum()) for a, b in pairs) / sum(len(one) for x in held.values() for one in x)
        least = 1.0 if in_pieces else SAME_KEYS
        if same < least:
            what = f"the document of {header.name}, read again, keeps other positions"
            raise BadState(what, got=f"{same:.2%} are the same", allowed=f"{least:.0%}", todo=AGAIN)
        if in_pieces:
            return logits, state
        logits, state = self.lm.model.read(ids, header.prefix_len, last_only=True)
        return logits, keep_keys(state, held)

    def _after(self, flat: Flat, token: int) -> Tensor:
        """Logits (V,) after one more token."""
        return self.lm.model.step(torch.tensor([token]), self.state(flat))[0][0]

    def open(self, document: DocumentState, level: str = "canary") -> Session:
        """A Session, after what `level` asks for was found right.

        checksum: what the header says of model and tokenizer; canary: also every tensor's shape, and one
        more token read on from the state, as when it was written; full: also the document read anew.
        Raises BadState, UnknownName.
        """
        check_level(level)
        self._check_made_by(document.header)
        flat = self.cast(document.flat(), document.header)
        wrong = self.mould.wrong(flat, document.header.end)
        if wrong:
            raise BadState(f"this state of {document.header.name} is not what the model makes: {wrong}", todo=AGAIN)
        if level != "checksum":
            self._check_canary(document, flat)
        if level == "full":
            self._check_against_fresh(document, flat)
        return Session(self.reader, document, self.state(flat))

    def _check_made_by(self, header: Header) -> None:
        base, own = replace(self.lm, adapters=()).short_name, self.lm.model.fingerprint
        same_base = header.model_name == base or header.model_name.startswith(f"{base}+") or header.model == own
        others = [one.sha256 for one in header.adapters] != [one.sha256 for one in self.adapters]
        if header.adapters and others and same_base:
            needed = " and ".join(map(str, header.adapters))
            raise BadState(
                f"this state of {header.name} needs the adapter {needed}",
                got=" and ".join(map(str, self.adapters)) or "no adapter",
                allowed=f"{header.model_name}, {header.model}",
                todo="name the adapter's folder with --adapter, or read the document again",
            )
        if header.model != own:
            bare = bool(self.adapters) and header.model_name == base
            made = "without an adapter" if bare else "by another model, or by other weights of it"
            load = f"load the model with --adapter {NO_ADAPTER}" if bare else "name that model with --model"
            raise BadState(
                f"this state of {header.name} was made {made}",
                got=f"{header.model_name}, {header.model}",
                allowed=f"{self.lm.name}, {own}",
                todo=f"{load}, or read the document again with this one",
            )
        if header.tokenizer != self.tokenizer_hash:
            raise BadState(
                f"this state of {header.name} was made with another tokenizer",
                got=header.tokenizer[:16],
                allowed=self.tokenizer_hash[:16],
                todo="put the tokenizer.json back that was there, or read the document again",
            )
        try:
            length = self.lm.prefix(prefix_length(storable_policy(header.policy), header.read))
        except (BadInput, UnknownName) as error:
            what = f"the state of {header.name} says it was read with a prefix that none can be read with: {error.what}"
            raise BadState(what, got=header.policy, allowed=SAID, todo=AGAIN) from error
        if header.prefix_len != length:
            what = f"the state of {header.name} has another prefix than its policy {header.policy} gives"
            raise BadState(what, got=header.prefix_len, allowed=length, todo=AGAIN)

    @torch.inference_mode()
    def _check_canary(self, document: DocumentState, flat: Flat) -> None:
        h, c = document.header, document.canary
        size = self.lm.model.config.vocab_size
        best = c.ids[c.after == c.after.max()].tolist()
        if int(c.ids[-1]) >= size or h.next_token not in best:
            raise BadState(f"the canary of {h.name} is not of this model's vocabulary", todo=AGAIN)
        try:
            after = self._after(flat, h.next_token)
        except (RuntimeError, IndexError, ValueError, TypeError, MemoryError, RereadError) as error:
            what = f"the model cannot read on from this state of {h.name}: {reason(error)[:120]}"
            raise BadState(what, todo=AGAIN) from error
        off = relative(after[c.ids], c.next)
        limit = self.tolerance_for(h)
        if not off <= limit:
            got = f"logits {off:.1e} off"
            raise BadState(f"the canary of {h.name} has changed its tune", got=got, allowed=f"{limit:.0e}", todo=AGAIN)

    @torch.inference_mode()
    def _check_against_fresh(self, document: DocumentState, flat: Flat) -> None:
        """The document read anew, kept the same way, gives the same logits."""
        h, c = document.header, document.canary
        if document.tokens is None:
            todo = "verify by the canary, or read the document again and keep its tokens"
            raise BadState(f"the state of {h.name} holds no tokens to be read anew", todo=todo)
        if int(document.tokens.max()) >= self.lm.model.config.vocab_size:
            raise BadState(f"the tokens of {h.name} are not of this model's vocabulary", todo=AGAIN)
        logits, state = self._read_anew(document.tokens[None], h, flat)
        whole = state.to_flat()
        packed, layout = pack(whole, h.state_dtype)
        other = self.elsewhere(h)
        if not other and layout != h.layout:
            raise BadState(f"the tensors of {h.name} are kept as this model's would not be", todo=AGAIN)
        anew = unpack(packed, layout)
        fresh, kept = self._after(anew, h.next_token), self._after(flat, h.next_token)
        least, limit, step = self.tolerance_for(h), FRESH[h.state_dtype], STEP[h.state_dtype]
        compared = {
            "logits after it": (relative(logits[0][c.ids], c.after), least),
            "logits after one more token": (relative(kept, fresh), max(least, limit)),
            "a canary's loss": (abs(relative(kept, self._after(whole, h.next_token)) - h.loss), max(least, limit)),
            **{name: (relative(flat[name], x), max(least, step, OTHER * other)) for name, x in anew.items()},
        }
        for what, (error, most) in compared.items():
            if not error <= most:
                what = f"the document of {h.name}, read anew, gives another state: {what}"
                raise BadState(what, got=f"{error:.1e} off", allowed=f"{most:.0e}", todo=AGAIN)
        self._check_lost(document, document.tokens, state)

    def _check_lost(self, document: DocumentState, ids: Tensor, state: Any) -> None:
        """The units and losses that the file tells are those of the document, read anew; state: with the kept keys.
        Raises BadState."""
        h, lost = document.header, document.lost
        if lost is None:
            return
        bounds = lost.bounds.tolist()
        wanted = bounds_again(self.lm, ids.tolist(), h.forgotten, bounds[-1])
        if wanted not in (None, bounds):
            what = f"what was forgotten of {h.name} is told of other units than its text has"
            raise BadState(what, got=f"{len(bounds) - 1} units", allowed=h.forgotten, todo=AGAIN)
        losses = torch.zeros(len(ids))
        if kept_layers(state.tensors[0]):
            losses = lost_again(self.lm, ids[None], h.selection, state)
        fresh = unit_means(bounds, losses)
        off = float(((lost.nats.double() - fresh).abs() - 2e-3 * fresh.abs()).max())  # float16 rounds
        limit = LOST if self.tolerance_for(h) == EXACT else LOST_ROUGH
        if not off <= limit:
            what = f"the document of {h.name}, read anew, gives another state: what was forgotten"
            raise BadState(what, got=f"{off:.2f} nats per token off", allowed=limit, todo=AGAIN)


@dataclass(frozen=True)
class Session:
    """One document's state, confirmed, and who reads on from it."""

    reader: Reader
    document: DocumentState
    state: Any

    def tail(self, question: str) -> tuple[list[int], str]:
        """As Reader.tail, after the document."""
        return self.reader.tail(question, self.document.header.end, self.text)

    @cached_property
    def text(self) -> str | None:
        """The text that was read, from its first character that is not blank; None where the state holds no tokens."""
        ids = self.document.tokens
        return None if ids is None else decode(ids.tolist(), self.reader.lm.tokenizer, first=True)

    @cached_property
    def _lost(self) -> tuple[list[str], tuple[Lost, ...]]:
        """As DocumentReader.lost_in; nothing where the state holds no tokens."""
        ids = self.document.tokens
        return ([], ()) if ids is None else DocumentReader(self.reader).lost_in(self.document, ids.tolist())

    @property
    def lost(self) -> tuple[Lost, ...]:
        """What the state lost of each unit of `text`; () where that was not measured, or without tokens."""
        return self._lost[1]

    def lost_near(self, question: str) -> float | None:
        """Answer.forgotten for a question."""
        texts, lost = self._lost
        return known_lost_near(texts, [one.nats for one in lost], question) if texts else None

    def judge(self, answer: Answer, question: str) -> Answer:
        """As Reader.judge, with what was kept and forgotten; Answer.span counts from the document's first character
        that is not blank."""
        answer = replace(answer, kept_positions=self.document.kept_positions)
        return self.reader.judge(answer, question, self.text, forgotten=self.lost_near(question))

    @torch.inference_mode()
    def ask_again(self, question: str, answer: Answer, *, max_new_tokens: int = MAX_NEW_TOKENS) -> Answer:
        """The answer after the document, from the tokens of the state, is read again with all keys; with the tokens and
        seconds of `answer`, which came from the state.  Raises BadState where the state holds no tokens."""
        ids, header = self.document.tokens, self.document.header
        if ids is None:
            raise BadState(f"the state of {header.name} holds no tokens to be read again", todo=AGAIN)
        began = time.perf_counter()
        _, state = self.reader.lm.model.read(ids[None], header.prefix_len, last_only=True)
        seconds = time.perf_counter() - began
        (again,) = self.reader.answer_each([state], [self.tail(question)], max_new_tokens=max_new_tokens)
        again = replace(again, read_tokens=again.read_tokens + len(ids), read_seconds=again.read_seconds + seconds)
        again = self.reader.judge(replace(again, prefix_len=header.prefix_len), question, self.text)
        return again.after(answer, len(ids))

    def of_prompt(self, answer: Answer) -> Answer:
        """The answer with the numbers of the document's tokens, which the state's position does not tell."""
        header = self.document.header
        tokens = answer.prompt_tokens + header.read - header.end
        return replace(answer, prefix_len=header.prefix_len, prompt_tokens=tokens)

    def ask(self, questions: Sequence[str], *, max_new_tokens: int = MAX_NEW_TOKENS, batch: int = 16) -> list[Answer]:
        """One Answer per question, in order, each from a copy of the state; raises BadInput for one without words."""
        return ask_each([self] * len(questions), questions, max_new_tokens=max_new_tokens, batch=batch)


def ask_each(
    sessions: Sequence[Session], questions: Sequence[str], *, max_new_tokens: int = MAX_NEW_TOKENS, batch: int = 16
) -> list[Answer]:
    """One Answer per question, in order, each from a copy of the state of its own Session, `batch` of them together,
    fewer where their states are large (engine.fitting).

    The sessions may be of many documents, or several times one; all of one model.  Raises BadInput for
    a question without words, and for states of two models.
    """
    if not sessions:
        return []
    tails = [one.tail(question) for one, question in zip(sessions, questions, strict=True)]
    states = [one.state for one in sessions]
    answers = sessions[0].reader.answer_each(states, tails, max_new_tokens=max_new_tokens, batch=batch)
    return [
        one.of_prompt(one.judge(answer, question))
        for one, answer, question in zip(sessions, answers, questions, strict=True)
    ]


def verify(opened: Callable[[], DocumentState], reader: DocumentReader | None = None, level: str = "checksum") -> str:
    """What is wrong with a state, in one sentence; empty when nothing is.  Without a reader only the file is asked.
    Raises UnknownName for a level that there is not."""
    check_level(level)
    try:
        document = opened()
        if reader is not None:
            reader.open(document, level)
    except RereadError as error:
        return str(error)
    return ""

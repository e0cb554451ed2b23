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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reread import __version__
from reread.engine import Answer, Reader
from reread.errors import BadInput, BadState, RereadError, UnknownName, reason
from reread.models.dtypes import check_state_dtype, own_state_dtype
from reread.models.lora import AdapterId, adapter_id
from reread.models.packing import DTYPES, Flat, pack, unpack
from reread.models.pretrained_state import PretrainedState
from reread.options import MAX_NEW_TOKENS, POLICY, SAID, check_level, default_budget, prefix_length, storable_policy
from reread.prompting import PROBE, Encoded, Prompt, build_unasked, cut, decode, template_for, token_ids
from reread.sources import Source
from reread.statefile import AGAIN, Canary, DocumentState, Header, ids_hash
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

    @staticmethod
    def of(model: Any) -> Mould:
        states = [model.read(torch.zeros(1, n, dtype=torch.long), 0, last_only=True)[1] for n in (SHORT, LONG)]
        return Mould(type(states[0]), *(state.to_flat() for state in states))

    def wrong(self, flat: Flat, read: int) -> str:
        """What about these tensors cannot be of that model after so many tokens; empty when nothing."""
        if set(flat) != set(self.short):
            return f"it has no, or no such, tensor {sorted(set(flat) ^ set(self.short))[0]!r}"
        for name, x in flat.items():
            a, b = self.short[name], self.long[name]
            if x.dtype != a.dtype or x.dim() != a.dim():
                return f"{name} is {x.dtype} {tuple(x.shape)}, the model's {a.dtype} {tuple(a.shape)}"
            for size, least, more in zip(x.shape, a.shape, b.shape, strict=True):
                if size != least and (least == more or not 1 <= size <= read):
                    return f"{name} has the shape {tuple(x.shape)}, the model's {tuple(a.shape)}"
            if not x.is_floating_point() and not x.dim():
                same = bool(a == b)
                if bool(x != a) if same else not 0 <= int(x) <= read:
                    return f"{name} is {x.item()}"
        return ""


@dataclass(frozen=True)
class KeptFile:
    """Where a document's state lies, what it was made from, and whether it lay there already."""

    path: Path
    header: Header
    state_bytes: int
    already_there: bool


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
            name: x.to(own[name].dtype) if x.dtype == made and name in own and own[name].is_floating_point() else x
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

    def show(self, source: Source, *, strategy: str = "once", budget: int | None = None) -> tuple[Prompt, Encoded]:
        """What would be read of a document, before any question; budget None: see `budget`.  Raises BadInput."""
        tokens = self.budget(strategy) if budget is None else budget
        shown = cut(source.text, self.lm.tokenizer, tokens, "head")
        prompt = build_unasked(strategy, shown.text, cut=shown, tokenizer=self.lm.tokenizer)
        encoded = prompt.encode(self.lm.tokenizer)
        self.reader.check_fits(len(encoded.tokens))
        return prompt, encoded

    def header(
        self,
        source: Source,
        shown: tuple[Prompt, Encoded],
        *,
        policy: str = POLICY,
        state_dtype: str | None = None,
    ) -> Header:
        """The header of a reading that has not happened; its `key` finds one that was kept.

        state_dtype None: the model's own choice (`own_state_dtype`).  Raises BadInput, UnknownName.
        """
        prompt, encoded = shown
        chosen = storable_policy(policy)
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
    ) -> KeptFile:
        """Read a document into a store, unless it was read so before.  Raises BadInput, UnknownName."""
        shown = self.show(source, strategy=strategy, budget=budget)
        return self.keep_shown(store, source, shown, policy=policy, state_dtype=state_dtype, keep_tokens=keep_tokens)

    def keep_shown(
        self,
        store: Store,
        source: Source,
        shown: tuple[Prompt, Encoded],
        *,
        policy: str = POLICY,
        state_dtype: str | None = None,
        keep_tokens: bool = True,
    ) -> KeptFile:
        """As `keep`, of what `show` gave."""
        header = self.header(source, shown, policy=policy, state_dtype=state_dtype)
        path, kept = store.find(header.key(keep_tokens)), None
        if path is not None:
            with contextlib.suppress(BadState, BadInput):  # broken, or removed meanwhile: it is read anew
                document = store.get(path.name)
                kept = KeptFile(path, document.header, document.nbytes, True)
        if kept is not None:
            store.hold(kept.path)
            return kept
        document = self.read(header, shown[1], keep_tokens=keep_tokens)
        return KeptFile(store.put(document), document.header, document.nbytes, False)

    @torch.inference_mode()
    def read(self, header: Header, encoded: Encoded, *, keep_tokens: bool = True) -> DocumentState:
        """Read what `show` gave, as `header` says; the canary is of the packed state.  Raises BadInput for logits or
        states that are not finite."""
        ids = torch.tensor([encoded.tokens])
        logits, state = self.lm.model.read(ids, header.prefix_len, last_only=True)
        if not bool(torch.isfinite(logits).all()):
            raise BadInput("the model's logits after this document are not finite", got=header.name)
        flat = state.to_flat()
        packed, layout = pack(flat, header.state_dtype)
        token = int(logits[0].argmax())
        whole = self._after(flat, token)
        kept = self._after(unpack(packed, layout), token)
        places = Canary.places(logits[0])
        canary = Canary(places, logits[0, places].float(), kept[places].float())
        header = replace(header, next_token=token, loss=relative(kept, whole), layout=layout)
        return DocumentState(header, packed, ids[0] if keep_tokens else None, canary)

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
        wrong = self.mould.wrong(flat, document.header.read)
        if wrong:
            raise BadState(f"this state of {document.header.name} is not what the model makes: {wrong}", todo=AGAIN)
        if level != "checksum":
            self._check_canary(document, flat)
        if level == "full":
            self._check_against_fresh(document, flat)
        return Session(self.reader, document, self.state(flat))

    def _check_made_by(self, header: Header) -> None:
        if [one.sha256 for one in header.adapters] != [one.sha256 for one in self.adapters] and header.adapters:
            needed = " and ".join(map(str, header.adapters))
            raise BadState(
                f"this state of {header.name} needs the adapter {needed}",
                got=" and ".join(map(str, self.adapters)) or "no adapter",
                allowed=f"{header.model_name}, {header.model}",
                todo="name the adapter's folder with --adapter, or read the document again",
            )
        if header.model != self.lm.model.fingerprint:
            bare = self.adapters and header.model_name == replace(self.lm, adapters=()).short_name
            raise BadState(
                f"this state of {header.name} was made without an adapter"
                if bare
                else f"this state of {header.name} was made by another model, or by other weights of it",
                got=f"{header.model_name}, {header.model}",
                allowed=f"{self.lm.name}, {self.lm.model.fingerprint}",
                todo="leave --adapter out, or read the document again with it"
                if bare
                else "name that model with --model, or read the document again with this one",
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
        logits, state = self.lm.model.read(document.tokens[None], h.prefix_len, last_only=True)
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


@dataclass(frozen=True)
class Session:
    """One document's state, confirmed, and who reads on from it."""

    reader: Reader
    document: DocumentState
    state: Any

    def tail(self, question: str) -> tuple[list[int], str]:
        """The tokens that ask after the document, and what ends the answer.  Raises BadInput for no words."""
        if not question.strip():
            raise BadInput("a question has no words", got=repr(question))
        form = self.reader.lm.template(template_for(question))
        tail = token_ids(form.fill(form.ask, question), self.reader.lm.tokenizer)
        self.reader.check_fits(self.document.header.read + len(tail))
        return tail, form.stop

    @cached_property
    def text(self) -> str | None:
        """The text that was read, from its first character that is not blank; None where the state holds no tokens."""
        ids = self.document.tokens
        return None if ids is None else decode(ids.tolist(), self.reader.lm.tokenizer, first=True)

    def judge(self, answer: Answer, question: str) -> Answer:
        """As Reader.judge; Answer.span counts from the document's first character that is not blank."""
        return self.reader.judge(answer, question, self.text)

    def ask(self, questions: Sequence[str], *, max_new_tokens: int = MAX_NEW_TOKENS, batch: int = 16) -> list[Answer]:
        """One Answer per question, in order, each from a copy of the state; raises BadInput for one without words."""
        return ask_each([self] * len(questions), questions, max_new_tokens=max_new_tokens, batch=batch)


def ask_each(
    sessions: Sequence[Session], questions: Sequence[str], *, max_new_tokens: int = MAX_NEW_TOKENS, batch: int = 16
) -> list[Answer]:
    """One Answer per question, in order, each from a copy of the state of its own Session, `batch` of them together.

    The sessions may be of many documents, or several times one; all of one model.  Raises BadInput for
    a question without words, and for states of two models.
    """
    answers: dict[int, Answer] = {}
    found = [one.tail(question) for one, question in zip(sessions, questions, strict=True)]
    for stop in sorted({stop for _, stop in found}):
        mine = [i for i, (_, own) in enumerate(found) if own == stop]
        for start in range(0, len(mine), batch):
            some = mine[start : start + batch]
            together = type(sessions[some[0]].state).cat([sessions[i].state for i in some])
            answered = sessions[some[0]].reader.answer_from(
                together, [found[i][0] for i in some], stop=stop, max_new_tokens=max_new_tokens
            )
            for i, answer in zip(some, answered, strict=True):
                answer = sessions[i].judge(answer, questions[i])
                answers[i] = replace(answer, prefix_len=sessions[i].document.header.prefix_len)
    return [answers[i] for i in range(len(questions))]


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

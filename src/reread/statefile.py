"""A document's state as one file: what a model remembers of it, what it was made from, and how to tell.

The file is safetensors (nothing is unpickled): the packed tensors of the state, the token ids that
were read (unless they are left out), and the canary: some logits after the reading and after one
more token.  The header is JSON in the file's metadata and begins with the format's version and a
sha256 over every byte of the file (its own 64 digits counted as zeros), so that a flipped bit, a
cut, an exchanged tensor or an appended byte is found before anything is believed.  A checksum is no
signature: what somebody changes and signs anew is found by what follows from the content (`check`
here; the model's own word in sessions.py).  This file knows no folder and asks no model.

Shapes: n token ids; K canary logits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from reread.config import build
from reread.errors import BadInput, BadState, RereadError, UnknownName, reason
from reread.forgotten import checked_forgotten, says_forgotten
from reread.models.kept_keys import POSITION_PARTS, faults, is_kept, kept_layers, says_kept
from reread.models.kv_selection import FULL, Selection, Settings, possible_positions, selection, sums_dropped
from reread.models.lora import AdapterId
from reread.models.lost_units import BOUNDS, NATS, LostUnits
from reread.models.packing import DTYPES, SCALE, STATE_DTYPES, Flat, Layout, expected, unpack
from reread.prompting import strategy

FORMAT = 1
AGAIN = "read the document again: reread read DOC --out DIR"
ZEROS = "0" * 64
START = re.compile(
    rb'\{"__metadata__":\{"reread":"\{\\"format\\":(\d{1,9}),\\"sha256\\":\\"([0-9a-f]{64})\\",', re.ASCII
)
CANARY = 64
# fields that came after format 1 did
LATER: dict[str, Any] = {"compute_dtype": "", "adapters": (), "selection": FULL, "forgotten": "", "position": 0}
ROW = "rows.0."
STATE, TOKENS, CANARY_PARTS = "state.", "tokens", ("canary.ids", "canary.after", "canary.next")
HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Header:
    """What a state was made from.

    model: fingerprint of the weights; tokenizer, tokens, document: sha256 of the tokenizer's JSON, of the ids
    (little-endian uint32) and of the document's bytes as they came; read: tokens that were read, the first
    prefix_len of them non-causally; strategy, policy: ids of the layout and of the prefix policy;
    cut: what was left out, in words; loss: the largest error of the canary that packing made, relative to
    the largest logit; next_token: the canary's one more token; layout: how the tensors are kept; compute_dtype: what
    the model computed in, where it can be loaded in several ("": not said); adapters: those merged into the model;
    forgotten: the unit of text of which the file tells what the state lost ("": it tells nothing); position: of what
    is read next, where kept keys were moved (0: `read`).
    """

    model: str
    model_name: str
    tokenizer: str
    tokens: str
    read: int
    prefix_len: int
    strategy: str
    policy: str
    state_dtype: str
    document: str
    name: str
    cut: str
    next_token: int
    loss: float
    version: str
    layout: dict[str, Layout]
    compute_dtype: str = ""
    adapters: tuple[AdapterId, ...] = ()
    selection: str = FULL
    forgotten: str = ""
    position: int = 0

    @property
    def end(self) -> int:
        """The position of what is read next."""
        return self.position or self.read

    def key(self, kept: bool) -> str:
        """What the reading depends on, as 32 hex digits: the same document, read in the same way.

        kept: whether the token ids are in the file.
        """
        made_from = (
            FORMAT, self.model, self.tokenizer, self.tokens, self.prefix_len, self.strategy, self.policy,
            self.state_dtype, self.document, kept, *(() if self.selection == FULL else (self.selection,)),
            *((self.forgotten,) if self.forgotten else ()),
        )  # fmt: skip
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Canary:
    """Logits (K,) float32 at `ids` (K,) after the reading, and after one more token read on from the packed state."""

    ids: Tensor
    after: Tensor
    next: Tensor

    @staticmethod
    def places(logits: Tensor) -> Tensor:
        """Where to look, for logits (V,): the largest half, and places all over the vocabulary."""
        count = min(CANARY // 2, logits.shape[0])
        spread = torch.arange(count) * logits.shape[0] // count
        return torch.cat((logits.topk(count).indices, spread)).unique()


@dataclass(frozen=True)
class DocumentState:
    """A document as one model remembers it.  packed: tensors as they are kept; tokens (n,) int64, or None; lost: what
    was forgotten of each unit of text, where that was measured."""

    header: Header
    packed: Flat
    tokens: Tensor | None
    canary: Canary
    lost: LostUnits | None = None

    @property
    def key(self) -> str:
        return self.header.key(self.tokens is not None)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed tensors, without ids, canary and header."""
        return sum(x.numel() * x.element_size() for x in self.packed.values())

    @property
    def counts(self) -> list[Tensor]:
        """Kept positions of each head, per layer with chosen keys; empty where nothing was dropped."""
        names = (name for name in self.packed if is_kept(name.removeprefix(ROW)) and name.endswith(".counts"))
        return [self.packed[name] for name in names]

    @property
    def kept_positions(self) -> float | None:
        """Positions per head, on average; None for `full`."""
        if self.header.selection == FULL:
            return None
        return float(torch.cat(self.counts).double().mean()) if self.counts else float(self.header.read)

    def says_kept(self) -> str:
        """What the selection kept, in words; empty where all keys were to be kept."""
        h = self.header
        return (
            ""
            if h.selection == FULL
            else says_kept(h.selection, self.kept_positions if self.counts else None, h.read, h.end)
        )

    def says_forgotten(self, texts: Sequence[str] = ()) -> str:
        """What was forgotten, in one line; empty where that was not measured.  texts: of the units, where known."""
        return "" if self.lost is None else says_forgotten(self.header.forgotten, texts, self.lost.nats.tolist())

    def flat(self) -> Flat:
        """The tensors as the model wants them; new ones at every call."""
        return unpack(self.packed, self.header.layout)


def ids_hash(ids: Sequence[int]) -> str:
    """sha256 of token ids as little-endian uint32."""
    return hashlib.sha256(np.asarray(ids, dtype="<u4").tobytes()).hexdigest()


def digest_of(data: bytes, at: int) -> str:
    """sha256 of the file with the 64 bytes from `at` on counted as zeros."""
    digest = hashlib.sha256(data[:at])
    digest.update(ZEROS.encode())
    digest.update(memoryview(data)[at + 64 :])
    return digest.hexdigest()


def encode(made: DocumentState) -> bytes:
    """The file.  The same content gives the same bytes."""
    facts = {"format": FORMAT, "sha256": ZEROS, **dataclasses.asdict(made.header)}
    for later, default in LATER.items():  # older versions know none of these, and need none where it is the default
        if facts[later] == default:
            del facts[later]
    tensors = {STATE + name: x.contiguous() for name, x in made.packed.items()}
    parts = (made.canary.ids, made.canary.after, made.canary.next)
    tensors |= dict(zip(CANARY_PARTS, (x.contiguous() for x in parts), strict=True))
    if made.tokens is not None:
        tensors[TOKENS] = made.tokens.to(torch.uint32)
    if made.lost is not None:
        tensors |= {BOUNDS: made.lost.bounds.contiguous(), NATS: made.lost.nats.contiguous()}
    text = json.dumps(facts, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    data = save(tensors, {"reread": text})
    return sealed(data)


def sealed(data: bytes) -> bytes:
    """The same bytes with the checksum that belongs to them."""
    found = START.match(data, 8)
    if found is None:
        raise BadState("these bytes do not begin as a state file does", todo=AGAIN)
    at = found.start(2)
    return data[:at] + digest_of(data, at).encode() + data[at + 64 :]


def checksum(data: bytes, name: str) -> str:
    """The checksum that the file carries, when it is the right one.  Raises BadState."""
    found = START.match(data, 8)
    if found is None:
        raise BadState("not a state file, or its beginning is broken", got=name, todo=AGAIN)
    if int(found[1]) != FORMAT:
        todo = f"use the version of reread that wrote it, or {AGAIN}"
        raise BadState(f"{name} is a state of another format", got=int(found[1]), allowed=FORMAT, todo=todo)
    carried = found[2].decode()
    if carried != digest_of(data, found.start(2)):
        raise BadState("this state file is broken or cut short: its checksum does not fit", got=name, todo=AGAIN)
    return carried


def header_of(data: bytes, name: str) -> tuple[Header, bool]:
    """The header in the first bytes of a file, and whether token ids follow; nothing is checked but its form."""
    try:
        size = int.from_bytes(data[:8], "little")
        entries = json.loads(data[8 : 8 + size])
        facts = json.loads(entries["__metadata__"]["reread"])
        facts = {key: value for key, value in facts.items() if key not in ("format", "sha256")}
        return build(Header, facts), TOKENS in entries
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RereadError) as error:
        raise BadState(
            f"the header of this state file cannot be read: {_first(error)}", got=name, todo=AGAIN
        ) from error


def _first(error: Exception) -> str:
    return reason(error)[:200].rstrip(".")


def decode(data: bytes, name: str) -> DocumentState:
    """The state in the bytes of a file, after its checksum and `check`.  Raises BadState with one sentence."""
    checksum(data, name)
    header, has_tokens = header_of(data, name)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BadState(
            f"the tensors of this state file cannot be read: {_first(error)}", got=name, todo=AGAIN
        ) from error
    try:
        canary = Canary(*(tensors.pop(part) for part in CANARY_PARTS))
        ids = tensors.pop(TOKENS) if has_tokens else None
        lost = LostUnits(tensors.pop(BOUNDS), tensors.pop(NATS)) if header.forgotten else None
    except KeyError as error:
        raise BadState(f"this state file holds no {error}", got=name, todo=AGAIN) from error
    if ids is not None and ids.dtype != torch.uint32:
        raise BadState(f"the token ids in {name} are of another dtype", got=ids.dtype, allowed="uint32", todo=AGAIN)
    strange = [key for key in tensors if not key.startswith(STATE)]
    if strange:
        raise BadState(f"{name} holds a tensor that belongs to no state", got=strange[0], todo=AGAIN)
    packed = {key.removeprefix(STATE): x for key, x in tensors.items()}
    made = DocumentState(header, packed, None if ids is None else ids.to(torch.int64), canary, lost)
    for wrong in check(made):
        raise BadState(f"the state in {name} contradicts itself: {wrong}", todo=AGAIN)
    return made


def check(made: DocumentState) -> list[str]:
    """What is wrong with a state's content, without asking a model: empty when nothing is."""
    return [
        wrong
        for look in (_wrong_header, _wrong_tensors, _wrong_kept, _wrong_lost, _wrong_tokens, _wrong_canary)
        for wrong in look(made)
    ]


def _wrong_header(made: DocumentState) -> list[str]:
    h = made.header
    found = [
        f"{name} is no sha256" for name in ("tokenizer", "tokens", "document") if not HEX.fullmatch(getattr(h, name))
    ]
    if not re.fullmatch(r"[0-9a-f]{16}", h.model):
        found.append("the model is no fingerprint")
    if not 1 <= h.read < 2**31 or not 0 <= h.prefix_len <= h.read:
        found.append(f"a prefix of {h.prefix_len} tokens in {h.read}")
    if not 0 <= h.position < max(h.read, 1):
        found.append(f"a position of {h.position} after {h.read} tokens")
    if not all(HEX.fullmatch(one.sha256) for one in h.adapters):
        found.append("an adapter's sha256 is none")
    if h.compute_dtype not in ("", *DTYPES):
        found.append(f"the compute dtype {h.compute_dtype!r} is none of {', '.join(DTYPES)}")
    if h.state_dtype not in STATE_DTYPES:
        found.append(f"the state dtype {h.state_dtype!r} is none of {', '.join(STATE_DTYPES)}")
    try:
        if str(strategy(h.strategy)[0]) != h.strategy:
            found.append(f"the strategy {h.strategy!r} is not written as its id")
    except (UnknownName, BadInput) as error:
        found.append(_first(error))
    try:
        if str(selection(h.selection)) != h.selection:
            found.append(f"the selection {h.selection!r} is not written as its id")
        if sums_dropped(selection(h.selection)):
            found.append("its selection sums dropped keys, which no file holds")
    except (UnknownName, BadInput) as error:
        found.append(_first(error))
    if not 0 <= h.loss < float("inf"):
        found.append(f"a loss of {h.loss}")
    return found


def _wrong_tensors(made: DocumentState) -> list[str]:
    layouts, found = made.header.layout, []
    try:
        wanted = {name: expected(layout) for name, layout in layouts.items()}
    except (UnknownName, BadInput, ArithmeticError, IndexError, TypeError) as error:
        return [_first(error)]
    names = set(layouts) | {SCALE + name for name, (_, _, scales) in wanted.items() if scales}
    if names != set(made.packed):
        return [f"the header and the tensors differ in {sorted(names ^ set(made.packed))[0]!r}"]
    allowed = {"fp32": {"whole"}, "bf16": {"whole", "bf16"}}.get(
        made.header.state_dtype, {"whole", "bf16", made.header.state_dtype}
    )
    for name, (dtype, shape, scales) in wanted.items():
        x = made.packed[name]
        if x.dtype != dtype or tuple(x.shape) != shape or layouts[name].kept not in allowed:
            found.append(f"{name} is {x.dtype} {tuple(x.shape)}, kept as {layouts[name].kept}")
        if scales:
            s = made.packed[SCALE + name]
            if (
                s.dtype != torch.bfloat16
                or tuple(s.shape) != (scales,)
                or not bool((torch.isfinite(s) & (s >= 0)).all())
            ):
                found.append(f"the scales of {name} are not {scales} finite numbers")
        if x.is_floating_point() and not bool(torch.isfinite(x).all()):
            found.append(f"{name} holds numbers that are not finite")
    if "position" not in layouts or made.packed["position"].tolist() != [made.header.end]:
        found.append("the position is not that of the header, the number of tokens read where it names none")
    return found


def _wrong_kept(made: DocumentState) -> list[str]:
    h, layouts = made.header, made.header.layout
    row = {name.removeprefix(ROW): layout for name, layout in layouts.items()}
    layers = kept_layers(row)
    try:
        chosen = selection(h.selection)
        if (h.selection == FULL or not layers) and any(map(is_kept, row)):
            return [f"it holds chosen keys, and its selection is {h.selection}"]
        integers = {name: made.packed[ROW + name] for name in row if is_kept(name) and name.endswith(POSITION_PARTS)}
        shapes = {name: (DTYPES[layout.dtype], layout.shape) for name, layout in row.items()}
        shapes |= {name: (x.dtype, tuple(x.shape)) for name, x in integers.items()}
    except (UnknownName, BadInput, KeyError):  # said by the other checks
        return []
    return faults(shapes, integers, h.end) or _wrong_number(made, chosen, integers)


def _wrong_number(made: DocumentState, chosen: Selection, integers: Flat) -> list[str]:
    """How many positions are kept, against the budget."""
    settings, read = chosen.settings, made.header.read
    if not isinstance(settings, Settings) or settings.mib or settings.loss:
        return []
    counts = [x.long() for name, x in integers.items() if name.endswith(".counts")]
    budgets = possible_positions(settings, read)
    kept, heads = (int(torch.cat(counts).sum()), sum(map(len, counts))) if counts else (read, 1)
    if kept in {budget * heads for budget in budgets}:
        return []
    of_each = " or ".join(map(str, sorted(budgets)))
    return [f"it keeps {kept} positions of {heads} heads, and its budget {of_each} of each"]


def _wrong_lost(made: DocumentState) -> list[str]:
    unit, lost = made.header.forgotten, made.lost
    if bool(unit) != (lost is not None):
        return ["its header and its tensors differ in whether what was forgotten is told"]
    if lost is None:
        return []
    try:
        known = checked_forgotten(unit, made.header.selection)
    except (UnknownName, BadInput) as error:
        return [_first(error)]
    if not known:
        return [f"no unit of text is named {unit!r}"]
    return lost.faults(made.header.read)


def _wrong_tokens(made: DocumentState) -> list[str]:
    if made.tokens is None:
        return []
    if made.tokens.dim() != 1 or len(made.tokens) != made.header.read:
        return [f"{tuple(made.tokens.shape)} token ids for {made.header.read} tokens read"]
    return [] if ids_hash(made.tokens.tolist()) == made.header.tokens else ["the token ids are not those of their hash"]


def _wrong_canary(made: DocumentState) -> list[str]:
    c = made.canary
    same = c.ids.dim() == 1 and c.ids.shape == c.after.shape == c.next.shape and 0 < len(c.ids) <= CANARY
    if not same or c.ids.dtype != torch.int64 or c.after.dtype != torch.float32 or c.next.dtype != torch.float32:
        return ["the canary has another shape"]
    if int(c.ids[0]) < 0 or not bool((c.ids[1:] > c.ids[:-1]).all()):
        return ["the places of the canary do not rise"]
    finite = bool(torch.isfinite(c.after).all() and torch.isfinite(c.next).all())
    return [] if finite else ["the canary holds numbers that are not finite"]


def facts_of(header: Header) -> dict[str, Any]:
    """The header for a person, without the layout of the tensors."""
    return {key: value for key, value in dataclasses.asdict(header).items() if key != "layout"}

"""Text to token ids and back: the only file that calls a tokenizer to encode or decode.

Parts of a prompt are tokenised alone (prompt.py).  Two things that a tokenizer adds to a text belong to the
beginning of a prompt only:

* The dummy blank.  Tokenizers of SentencePiece's kind put a blank before every text that they encode.  Here only the
  first text of a prompt gets it (`first`), as in one string; every other text is encoded by the same tokenizer
  without the step that adds it (`Pipeline.inner`).  Byte-level tokenizers as GPT-2's have no such step.
* BOS.  `special_ids(tokenizer).start` holds the ids that stand before the first text of what is read from nothing.
  The tokenizer's own post-processor gives them, or tokenizer_config.json (models/tokenizer_files.py).

Facts about a tokenizer are found once and kept as long as it lives; a tokenizer must not be changed after its first
use.  Words only: no tensor, no model.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from tokenizers import Encoding, Tokenizer

from reread.errors import BadCheckpoint, BadInput

BLANK = "\u2581"  # what SentencePiece writes for a blank
PROBES = "ae.0"  # texts of one character that a tokenizer is tried on


@dataclass(frozen=True)
class SpecialIds:
    """bos, eos: ids, None where there is none; start: ids before the first text of what is read from nothing;
    add_bos: the caller's choice where it differs from the tokenizer's own, else None."""

    bos: int | None = None
    eos: int | None = None
    start: tuple[int, ...] = ()
    add_bos: bool | None = None


@dataclass(frozen=True)
class Pipeline:
    """inner: the tokenizer without its dummy blank, None where it adds none; anchor: ids before what is decoded, so
    that a decoder that drops the first blank drops none of the text."""

    inner: Tokenizer | None
    anchor: tuple[int, ...]


_PIPELINES: WeakKeyDictionary[Tokenizer, Pipeline] = WeakKeyDictionary()
_SPECIAL: WeakKeyDictionary[Tokenizer, SpecialIds] = WeakKeyDictionary()


def read_tokenizer(file: Path | str) -> Tokenizer:
    """The tokenizer of a tokenizer.json; special tokens written in a text are text.  Raises BadCheckpoint."""
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing narrower
        raise BadCheckpoint(f"no tokenizer can be read from {file}: {error}") from error
    tokenizer.encode_special_tokens = True  # "<|end|>" written in a document is text, not the end
    return tokenizer


def _copy(tokenizer: Tokenizer, **parts: Any) -> Tokenizer:
    """Another tokenizer of the same JSON, with some parts of it replaced."""
    made = Tokenizer.from_str(json.dumps({**json.loads(tokenizer.to_str()), **parts}))
    made.encode_special_tokens = tokenizer.encode_special_tokens
    return made


# the dummy blank ----------------------------------------------------------------------------------------------------


def _json_of(part: Any) -> Any:
    """A normalizer, pre-tokenizer or decoder as tokenizer.json has it."""
    return None if part is None else json.loads(part.__getstate__())


def _normalizer_without(part: Any) -> Any:
    """A normalizer's JSON without the steps that put a text in front."""
    if part is None or part["type"] == "Prepend":
        return None
    if part["type"] != "Sequence":
        return part
    kept = [one for one in map(_normalizer_without, part["normalizers"]) if one is not None]
    return {**part, "normalizers": kept} if kept else None


def _pre_tokenizer_without(part: Any) -> Any:
    """A pre-tokenizer's JSON that puts no blank before a text.

    Only the first step is changed: behind a step that splits, a blank before every piece marks words.
    """
    if part is None:
        return None
    if part["type"] == "Sequence" and part["pretokenizers"]:
        first, *rest = part["pretokenizers"]
        return {**part, "pretokenizers": [_pre_tokenizer_without(first), *rest]}
    changed: dict[str, dict[str, Any]] = {
        "Metaspace": {"prepend_scheme": "never"},
        "ByteLevel": {"add_prefix_space": False},
    }
    return {**part, **changed.get(part["type"], {})}


def _drops_first_blank(part: Any) -> bool:
    """Whether a decoder's JSON takes a blank off the beginning of a text."""
    if part is None:
        return False
    if part["type"] == "Sequence":
        return any(map(_drops_first_blank, part["decoders"]))
    return (part["type"] == "Strip" and part["start"] > 0) or (
        part["type"] == "Metaspace" and part["prepend_scheme"] != "never"
    )


def _anchor(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Ids that a decoder may take a blank off, before ids that go on from other text: a blank, else a character."""
    if not _drops_first_blank(_json_of(tokenizer.decoder)):
        return ()
    blank = tokenizer.token_to_id(BLANK)
    if blank is not None:
        return (blank,)
    for probe in PROBES:
        one = tokenizer.encode(probe, add_special_tokens=False)
        if tokenizer.decode(one.ids) == probe and not any(token.startswith("<0x") for token in one.tokens):
            return tuple(one.ids)
    return ()


def pipeline(tokenizer: Tokenizer) -> Pipeline:
    """How a tokenizer treats the beginning of a text; found once."""
    found = _PIPELINES.get(tokenizer)
    if found is None:
        before = {"normalizer": _json_of(tokenizer.normalizer), "pre_tokenizer": _json_of(tokenizer.pre_tokenizer)}
        after = {
            "normalizer": _normalizer_without(before["normalizer"]),
            "pre_tokenizer": _pre_tokenizer_without(before["pre_tokenizer"]),
        }
        inner = None if after == before else _copy(tokenizer, **after)
        found = _PIPELINES[tokenizer] = Pipeline(inner, _anchor(tokenizer))
    return found


def adds_dummy_blank(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts a blank before every text that it encodes."""
    return pipeline(tokenizer).inner is not None


# BOS and EOS --------------------------------------------------------------------------------------------------------


def template_start(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The special ids that the tokenizer's own post-processor puts before a text; () where it puts none."""
    for probe in PROBES:
        if tokenizer.encode(probe, add_special_tokens=False).ids:
            one = tokenizer.encode(probe, add_special_tokens=True)
            before = itertools.takewhile(lambda pair: pair[1], zip(one.ids, one.special_tokens_mask, strict=True))
            return tuple(number for number, _ in before)
    return ()


def set_special_ids(
    tokenizer: Tokenizer,
    *,
    bos: int | None = None,
    eos: int | None = None,
    config_adds_bos: bool = False,
    add_bos: bool | None = None,
) -> SpecialIds:
    """Keep what is known of a tokenizer's special ids.

    config_adds_bos: whether tokenizer_config.json asks for BOS; add_bos: the caller's choice, None: the tokenizer's
    own.  Raises BadInput where BOS is asked for and there is none.
    """
    own = template_start(tokenizer)
    bos = own[0] if bos is None and own else bos
    if config_adds_bos and not own and bos is not None:
        own = (bos,)
    if add_bos and bos is None:
        raise BadInput("the tokenizer has no BOS token", got="add_bos", todo="leave add_bos or --bos out")
    start = own
    if add_bos is not None:
        start = (own or ((bos,) if bos is not None else ())) if add_bos else ()
    found = SpecialIds(bos, eos, start, add_bos if start != own else None)
    _SPECIAL[tokenizer] = found
    return found


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """BOS, EOS and what a text read from nothing begins with; without `set_special_ids`, what the tokenizer says."""
    found = _SPECIAL.get(tokenizer)
    return set_special_ids(tokenizer) if found is None else found


def with_bos(tokenizer: Tokenizer, add_bos: bool | None) -> Tokenizer:
    """A copy of a tokenizer that gives BOS or does not; the tokenizer itself for None.  Raises BadInput."""
    if add_bos is None:
        return tokenizer
    known, made = special_ids(tokenizer), _copy(tokenizer)
    gives = bool(known.start) if known.add_bos is None else not known.add_bos
    set_special_ids(made, bos=known.bos, eos=known.eos, config_adds_bos=gives, add_bos=add_bos)
    return made


def with_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of a tokenizer that reads special tokens written in a text as such, for texts of chat templates."""
    known, made = special_ids(tokenizer), _copy(tokenizer)
    made.encode_special_tokens = False
    _SPECIAL[made] = known
    return made


def bos_facts(tokenizer: Tokenizer) -> dict[str, bool]:
    """What a header says of BOS: "add_bos" where the caller's choice differs from the tokenizer's own, else nothing."""
    chosen = special_ids(tokenizer).add_bos
    return {} if chosen is None else {"add_bos": chosen}


# encoding and decoding ----------------------------------------------------------------------------------------------


def _encoder(tokenizer: Tokenizer, first: bool) -> Tokenizer:
    return tokenizer if first else pipeline(tokenizer).inner or tokenizer


def encoding(text: str, tokenizer: Tokenizer, *, first: bool = False) -> Encoding:
    """The tokens of a text, none added, with offsets into the text; first: it is the first text of a prompt."""
    return _encoder(tokenizer, first).encode(text, add_special_tokens=False)


def encodings(texts: Sequence[str], tokenizer: Tokenizer, *, first: bool = False) -> list[Encoding]:
    """As `encoding`, of several texts; Python's lock is free meanwhile."""
    return _encoder(tokenizer, first).encode_batch(list(texts), add_special_tokens=False)


def decode(ids: Sequence[int], tokenizer: Tokenizer, *, first: bool = False) -> str:
    """The text of ids, special tokens left out; first: they begin a prompt (a dummy blank is not in the text), else
    they go on from other text, and a blank at their beginning stays."""
    anchor = () if first else pipeline(tokenizer).anchor
    text = tokenizer.decode([*anchor, *ids])
    return text.removeprefix(tokenizer.decode(list(anchor))) if anchor else text

"""What a model folder says of its tokenizer's special tokens.

Sources, the first that names a token of the tokenizer: tokenizer_config.json, special_tokens_map.json (tokens by
name), config.json, generation_config.json (ids).  An id of the last two that is the unknown or the padding token is
passed over: some configurations hold a family's default.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from reread.models.published_json import read_sizes
from reread.prompting.tokens import read_tokenizer, set_special_ids

NAMES = ("tokenizer_config.json", "special_tokens_map.json")
IDS = ("config.json", "generation_config.json")


def _table(folder: Path, name: str) -> dict[str, Any]:
    """A file of the folder, {} where there is none.  Raises BadCheckpoint."""
    return read_sizes(folder / name) if (folder / name).is_file() else {}


def _named(tokenizer: Tokenizer, value: Any) -> int | None:
    """The id of a token as these files write it: its text, or an object with its text as "content"."""
    text = value.get("content") if isinstance(value, dict) else value
    return tokenizer.token_to_id(text) if isinstance(text, str) else None


def _ids(value: Any) -> Iterator[int]:
    """The ids in a value of config.json: one, or a list of them."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**32:
            yield one


def special_id_in(folder: Path, tokenizer: Tokenizer, kind: str) -> int | None:
    """The id of the "bos" or "eos" token that the folder's files name; None where they name none.  Raises
    BadCheckpoint."""
    named = [_table(folder, name) for name in NAMES]
    for table in named:
        found = _named(tokenizer, table.get(f"{kind}_token"))
        if found is not None:
            return found
    unknown = [table.get(f"{other}_token") for table in named for other in ("unk", "pad")]
    passed_over = {_named(tokenizer, value) for value in (*unknown, getattr(tokenizer.model, "unk_token", None))}
    for name in IDS:
        for found in _ids(_table(folder, name).get(f"{kind}_token_id")):
            if found not in passed_over and tokenizer.id_to_token(found) is not None:
                return found
    return None


def tokenizer_in(folder: Path, words: Path, add_bos: bool | None = None) -> Tokenizer:
    """The tokenizer of the file `words` with the special ids of a model folder.

    add_bos: whether what is read from nothing begins with BOS; None: as the tokenizer's post-processor or
    add_bos_token of tokenizer_config.json says.  Raises BadCheckpoint; BadInput where BOS is asked for and there is
    none.
    """
    tokenizer = read_tokenizer(words)
    set_special_ids(
        tokenizer,
        bos=special_id_in(folder, tokenizer, "bos"),
        eos=special_id_in(folder, tokenizer, "eos"),
        config_adds_bos=_table(folder, "tokenizer_config.json").get("add_bos_token") is True,
        add_bos=add_bos,
    )
    return tokenizer

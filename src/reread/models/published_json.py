"""What a published config.json may say: types, class names, and settings that this package can honour.

`_target_` strings are looked up by their last name, never imported.  Every check is made before any
value is used.  This file knows no tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reread.errors import BadCheckpoint

Sizes = dict[str, Any]

# Last names of `_target_`: the mixer, and the tensor by which its layers are known.  BaseConvWithSiLU4 and
# SlidingsMHA are the names of older checkpoints.
TARGETS = {
    "BaseConv": "conv",
    "BaseConvWithSiLU4": "conv",
    "SlidingAttention": "window",
    "SlidingsMHA": "window",
    "PrefixLinearAttention": "prefix_linear",
    "LinearAttention": "linear",
    "MHA": "attention",
}
FEATURE_TARGETS = {"TaylorExp"}
WITHOUT_TARGET = {"mixer": "conv", "alt_mixer": "linear", "alt_mixer_2": "window"}


def read_sizes(path: Path) -> dict[str, Any]:
    """A JSON file that holds a table, such as config.json.  Raises BadCheckpoint."""
    try:
        sizes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadCheckpoint(f"cannot read the checkpoint in {path.parent}: {path.name}: {error}") from error
    if not isinstance(sizes, dict):
        raise BadCheckpoint(f"{path.name} is no table of sizes", got=type(sizes).__name__, allowed="a JSON object")
    return sizes


def _whole(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and 0 <= x < 2**31


def _number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


Rule = tuple[str, Callable[[Any], bool]]
WHOLE: Rule = ("a whole number", _whole)
NUMBER: Rule = ("a number", _number)
NOT_BELOW_0: Rule = ("a number of at least 0", lambda x: _number(x) and x >= 0)
ABOVE_0: Rule = ("a number above 0", lambda x: _number(x) and x > 0)
SHARE: Rule = ("a number from 0 to 1", lambda x: _number(x) and 0 <= x <= 1)
FLAG: Rule = ("true or false", lambda x: isinstance(x, bool))
TEXT: Rule = ("a text", lambda x: isinstance(x, str))
TABLE: Rule = ("a table", lambda x: isinstance(x, dict))
WHOLES: Rule = ("a list of whole numbers", lambda x: isinstance(x, list) and all(map(_whole, x)))
ONE_OR_MORE: Rule = ("a whole number or a list of them", lambda x: WHOLE[1](x) or WHOLES[1](x))
TYPES = {
    **dict.fromkeys(("n_embd", "n_layer", "n_head", "n_inner", "vocab_size", "pad_vocab_size_multiple"), WHOLE),
    **dict.fromkeys(("enc_length", "dec_length", "head_dim", "pad_token_id", "mask_token_id"), WHOLE),
    **dict.fromkeys(("fixed_decay", "rms_norm", "tie_word_embeddings", "scale_attn_by_inverse_layer_idx"), FLAG),
    **dict.fromkeys(("mixer", "alt_mixer", "alt_mixer_2"), TABLE),
    **dict.fromkeys(("alt_mixer_layers", "alt_mixer_2_layers"), WHOLES),
    "layer_norm_epsilon": NOT_BELOW_0,
    "rotary_emb_fraction": SHARE,
    "rotary_emb_base": ABOVE_0,
    "decay_const": NUMBER,
    "activation_function": TEXT,
    "eos_token_id": ONE_OR_MORE,
}
MIXER_TYPES = {
    **dict.fromkeys(("feature_dim", "num_heads", "num_key_value_heads", "num_heads_kv", "head_dim"), WHOLE),
    **dict.fromkeys(("enc_length", "dec_length", "window_size", "expand_proj", "scale_dim"), WHOLE),
    **dict.fromkeys(("causal", "use_decay_proj", "use_bias"), FLAG),
    **dict.fromkeys(("_target_", "feature_name"), TEXT),
    "feature_map": TABLE,
    "kernel_sizes": ONE_OR_MORE,
}
FEATURE_TYPES = {"_target_": TEXT, "input_dim": WHOLE, "scale_dim": WHOLE}
# The one value with which the published arithmetic is the one done here.
ALWAYS = {
    "activation_function": "swiglu",
    "rms_norm": True,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "attn_dwconv": False,
    "parallel_block": False,
    "prenorm": True,
    "mlp_type": "base",
    "decay_denom": False,
    "max_position_embeddings": 0,
    **dict.fromkeys(("qkv_proj_bias", "out_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"), False),
}
MIXER_ALWAYS = {"causal": True, "feature_name": "taylor_exp", "use_rotary_apply": False, "use_act": False}


def is_published(sizes: Sizes) -> bool:
    """Whether a config.json is of the published layout: GPT-2's sizes and a setting that GPT-2 itself has not."""
    return "n_embd" in sizes and bool(sizes.keys() & {"mixer", "alt_mixer", "rms_norm", "rotary_emb_fraction"})


def _typed(where: str, table: Sizes, rules: dict[str, Rule]) -> None:
    for name, (what, fits) in rules.items():
        if table.get(name) is not None and not fits(table[name]):
            raise BadCheckpoint(f"{name} in {where} is not {what}", got=_shown(table[name]), allowed=what)


def _fixed(where: str, table: Sizes, only: dict[str, Any]) -> None:
    for name, value in only.items():
        if name in table and table[name] is not None and table[name] != value:
            raise BadCheckpoint(f"{name} in {where} means another model", got=table[name], allowed=repr(value))


def _shown(value: Any) -> Any:
    """A value as an error shows it: texts as they are (the error quotes them), the rest cut to 200 characters."""
    return value if isinstance(value, str) or len(repr(value)) <= 200 else f"{repr(value)[:200]}..."


def target_of(where: str, table: Sizes, known: set[str]) -> str | None:
    """The last name of a `_target_`, which must be known; None without one."""
    if table.get("_target_") is None:
        return None
    last = table["_target_"].rpartition(".")[2]
    if last not in known:
        raise BadCheckpoint(
            f"_target_ in {where} is not known", got=table["_target_"], allowed=", ".join(sorted(known))
        )
    return last


def check_json(sizes: Sizes) -> None:
    """Types, `_target_` strings and settled values of a published config.json, before any is used."""
    _typed("config.json", sizes, TYPES)
    for name in ("n_embd", "n_head", "activation_function"):
        if sizes.get(name) is None:
            raise BadCheckpoint(f"config.json lacks {name}", got="nothing", allowed=repr(ALWAYS.get(name, WHOLE[0])))
    _fixed("config.json", sizes, ALWAYS)
    for slot in WITHOUT_TARGET:
        entry = sizes.get(slot) or {}
        _typed(slot, entry, MIXER_TYPES)
        target_of(slot, entry, set(TARGETS))
        _fixed(slot, entry, MIXER_ALWAYS)
        feature_map = entry.get("feature_map") or {}
        _typed(f"{slot}.feature_map", feature_map, FEATURE_TYPES)
        target_of(f"{slot}.feature_map", feature_map, FEATURE_TARGETS)

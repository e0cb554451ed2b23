"""A GGUF file of the Llama architecture as a configuration, weights and a tokenizer of transformers' kind.

The file: gguf_header.py.  Blocks of quantised weights are expanded by the package gguf.  Three facts of llama.cpp's
Llama files: the tensors' names (NAMES); the rows of q and k are stored so that the two halves of a rotated pair are
neighbours, where transformers has all first halves before all second ones; without output.weight the output is the
embedding.  The tokenizer is byte-level BPE; tokenizer.ggml.pre names how a text is split before merges (SPLITS).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from reread.errors import MissingPackage, reason
from reread.models.gguf_header import Header, TensorPlace, broken, mapped, read_header

Shape = tuple[int, ...]
CONTROL, USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type

# How a text is split before merges.  "words": GPT-2's rule; "digits": each digit alone, then GPT-2's rule; "llama3":
# the published rule of Llama 3, whose vocabulary also takes a whole word that no sequence of merges makes.
SPLITS = {
    **dict.fromkeys(("gpt-2", "mpt", "olmo", "jais", "trillion"), "words"),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"), "digits"),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3"), "llama3"),
}
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Settings under which a file of this architecture computes something that LlamaForCausalLM does not.
OFF: dict[str, object] = {
    "llama.rope.scaling.type": "none",
    "llama.rope.scale_linear": 1.0,
    "llama.expert_count": 0,
    "llama.attention.sliding_window": 0,
}


# the configuration --------------------------------------------------------------------------------------------------


def _whole(header: Header, name: str, default: int | None = None, *, low: int = 1) -> int:
    """A whole number of the metadata.  Raises BadCheckpoint."""
    value = header.metadata.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value < 2**31:
        raise broken(header.path, f"{name} is no whole number of at least {low}", got=repr(value))
    return value


def _number(header: Header, name: str, default: float | None = None) -> float:
    """A number above 0 of the metadata, rounded to the digits that float32 holds.  Raises BadCheckpoint."""
    value = header.metadata.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not (math.isfinite(value) and value > 0):
        raise broken(header.path, f"{name} is no number above 0", got=repr(value))
    return float(str(np.float32(value)))


def _special(header: Header, kind: str) -> int | None:
    """The id of the "bos", "eos", "unknown" or "padding" token; None where the file names none."""
    name = f"tokenizer.ggml.{kind}_token_id"
    return None if name not in header.metadata else _whole(header, name, low=0)


def llama_config(header: Header) -> LlamaConfig:
    """The configuration that the metadata names.  Raises BadCheckpoint: another architecture, sizes that contradict
    each other, settings that are not read here."""
    kind = header.metadata.get("general.architecture")
    if kind != "llama":
        raise broken(header.path, "its architecture is not read here", got=str(kind), allowed="llama")
    for name, allowed in OFF.items():
        if header.metadata.get(name, allowed) != allowed:
            raise broken(header.path, f"{name} is not read here", got=header.metadata[name], allowed=allowed)
    hidden, heads = _whole(header, "llama.embedding_length"), _whole(header, "llama.attention.head_count")
    groups = _whole(header, "llama.attention.head_count_kv", heads)
    width = _whole(header, "llama.attention.key_length", hidden // heads)
    same = [_whole(header, f"llama.{name}", width) for name in ("attention.value_length", "rope.dimension_count")]
    if heads % groups or width % 2 or same != [width, width]:
        got = f"{heads} heads, {groups} of keys, widths {[width, *same]}"
        raise broken(header.path, "its attention heads do not fit each other", got=got)
    place = header.tensors.get("token_embd.weight")
    if place is None:
        raise broken(header.path, "it has no tensor token_embd.weight")
    sizes: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": place.shape[0],
        "hidden_size": hidden,
        "intermediate_size": _whole(header, "llama.feed_forward_length"),
        "num_hidden_layers": _whole(header, "llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": width,
        "max_position_embeddings": _whole(header, "llama.context_length"),
        "rms_norm_eps": _number(header, "llama.attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": _number(header, "llama.rope.freq_base", 10000.0)},
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "bos_token_id": _special(header, "bos"),
        "eos_token_id": _special(header, "eos"),
        "pad_token_id": _special(header, "padding"),
        "dtype": torch.bfloat16,
    }
    try:
        return LlamaConfig(**sizes)
    except Exception as error:  # transformers' checks have no common root over its releases
        raise broken(header.path, f"transformers takes no such sizes: {reason(error)}") from error


# the weights --------------------------------------------------------------------------------------------------------


def _heads(config: Any) -> dict[str, int]:
    """Tensor -> number of heads, of those whose rows are stored in another order."""
    return {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}


def _wanted(config: Any) -> Iterator[tuple[str, str, Shape]]:
    """(name in the file, name in transformers, shape) of every tensor that the configuration has."""
    hidden, wide = config.hidden_size, config.intermediate_size
    queries, keys = (heads * config.head_dim for heads in _heads(config).values())
    shapes: dict[str, Shape] = {
        "attn_norm": (hidden,), "attn_q": (queries, hidden), "attn_k": (keys, hidden), "attn_v": (keys, hidden),
        "attn_output": (hidden, queries), "ffn_norm": (hidden,), "ffn_gate": (wide, hidden), "ffn_up": (wide, hidden),
        "ffn_down": (hidden, wide),
    }  # fmt: skip
    yield "token_embd.weight", "model.embed_tokens.weight", (config.vocab_size, hidden)
    yield "output_norm.weight", "model.norm.weight", (hidden,)
    if not config.tie_word_embeddings:
        yield "output.weight", "lm_head.weight", (config.vocab_size, hidden)
    for layer in range(config.num_hidden_layers):
        for name, shape in shapes.items():
            yield f"blk.{layer}.{name}.weight", f"model.layers.{layer}.{NAMES[name]}.weight", shape


def _check_tensors(header: Header, config: LlamaConfig) -> list[tuple[str, str]]:
    """Pairs of names (file, transformers); names and shapes are those of the configuration.  Raises BadCheckpoint."""
    layers, most = config.num_hidden_layers, len(header.tensors) // len(NAMES)
    if layers > most:  # before names are made of a number that a broken file gives
        raise broken(header.path, "llama.block_count and its tensors disagree", got=layers, allowed=f"at most {most}")
    wanted = {name: (theirs, shape) for name, theirs, shape in _wanted(config)}
    missing, extra = sorted(set(wanted) - set(header.tensors)), sorted(set(header.tensors) - set(wanted))
    if missing or extra:
        raise broken(header.path, f"its tensors do not fit its sizes: missing {missing[:5]}, not read here {extra[:5]}")
    for name, (_, shape) in wanted.items():
        if header.tensors[name].shape != shape:
            raise broken(header.path, f"{name} has the wrong shape", got=header.tensors[name].shape, allowed=shape)
    return [(name, theirs) for name, (theirs, _) in wanted.items()]


def _values(header: Header, data: Any, name: str, place: TensorPlace) -> Tensor:
    """One tensor in float32, expanded from its blocks.  Raises BadCheckpoint."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    try:
        kind = GGMLQuantizationType(place.kind)
        block, size = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError) as error:
        raise broken(header.path, f"{name} has an unknown type", got=place.kind) from error
    if place.shape[-1] % block:
        raise broken(header.path, f"a row of {name} is no whole number of blocks", place.shape[-1], f"n * {block}")
    length = math.prod(place.shape) // block * size
    if place.start + length > header.size:
        short = f"{header.size:,} bytes"
        raise broken(header.path, f"it ends before {name} does", got=short, allowed=f"{place.start + length:,} or more")
    raw = np.frombuffer(data, np.uint8, length, place.start).copy()
    try:
        values = dequantize(raw.reshape(*place.shape[:-1], -1), kind)
    except NotImplementedError as error:
        raise broken(header.path, f"{name} has a type that is not read here", got=kind.name) from error
    found = torch.from_numpy(np.ascontiguousarray(values, np.float32)).reshape(place.shape)
    if not bool(torch.isfinite(found).all()):
        raise broken(header.path, f"{name} holds NaN or infinite values")
    return found


def _halves_together(x: Tensor, heads: int) -> Tensor:
    """Rows of q or k in transformers' order.  x (heads * width, hidden): rows 2i and 2i + 1 of a head are a pair."""
    order = torch.arange(len(x)).reshape(heads, -1, 2).transpose(1, 2).reshape(-1)
    return x[order]


def read_weights(header: Header, config: LlamaConfig, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Name in transformers -> tensor of that dtype.  Raises BadCheckpoint; MissingPackage without the package gguf."""
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise MissingPackage("gguf", install="pip install 'gguf'") from error
    heads = _heads(config)
    weights: dict[str, Tensor] = {}
    pairs = _check_tensors(header, config)
    with mapped(header.path) as data:
        for name, theirs in pairs:
            x = _values(header, data, name, header.tensors[name])
            part = name.split(".")[-2]
            x = _halves_together(x, heads[part]) if part in heads else x
            weights[theirs] = x.to(dtype)
    return weights


# the tokenizer ------------------------------------------------------------------------------------------------------


def _list(header: Header, name: str, kind: type) -> list[Any]:
    """A list of the metadata whose elements are of one type.  Raises BadCheckpoint."""
    found = header.metadata.get(name)
    if not isinstance(found, list) or not all(isinstance(x, kind) for x in found):
        raise broken(header.path, f"{name} is no list of {kind.__name__}")
    return found


def _split(rule: str) -> pre_tokenizers.PreTokenizer:
    if rule == "llama3":
        parts = [pre_tokenizers.Split(Regex(LLAMA3), "isolated")]
        return pre_tokenizers.Sequence([*parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([digits, words]) if rule == "digits" else words


def _rule(header: Header) -> str:
    """How texts are split before merges.  Raises BadCheckpoint for a tokenizer that is not read here, with its name."""
    model, name = (header.metadata.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    if model != "gpt2":
        raise broken(header.path, "its kind of tokenizer is not read here", str(model), "gpt2 (byte-level BPE)")
    if name not in SPLITS:
        raise broken(header.path, "its pre-tokenizer is not read here", str(name), ", ".join(SPLITS))
    return SPLITS[name]


def build_tokenizer(header: Header) -> Tokenizer:
    """The tokenizer of a file: byte-level BPE, control tokens special.  Raises BadCheckpoint."""
    rule = _rule(header)
    tokens = _list(header, "tokenizer.ggml.tokens", str)
    pairs = [tuple(merge.split(" ")) for merge in _list(header, "tokenizer.ggml.merges", str)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens) or any(len(pair) != 2 for pair in pairs):
        raise broken(header.path, "a token occurs twice, or a merge is not of two tokens")
    kinds = _list(header, "tokenizer.ggml.token_type", int) if "tokenizer.ggml.token_type" in header.metadata else []
    try:
        tokenizer = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=rule == "llama3"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise broken(header.path, f"its merges do not fit its tokens: {reason(error)}") from error
    tokenizer.pre_tokenizer = _split(rule)
    tokenizer.decoder = decoders.ByteLevel()
    marked = [(token, kind) for token, kind in zip(tokens, kinds, strict=False) if kind in (CONTROL, USER_DEFINED)]
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=kind == CONTROL) for token, kind in marked])
    return tokenizer


def tokenizer_files(header: Header) -> dict[str, str]:
    """tokenizer.json and tokenizer_config.json (special tokens, BOS, chat template) as texts.  Raises BadCheckpoint."""
    tokenizer = build_tokenizer(header)
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    tokens = {ours: _special(header, theirs) for ours, theirs in names.items()}
    for ours, number in tokens.items():
        if number is not None and tokenizer.id_to_token(number) is None:
            raise broken(header.path, f"its {ours} is not in its vocabulary", got=number)
    adds = header.metadata.get("tokenizer.ggml.add_bos_token", _rule(header) == "llama3")
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _whole(header, "llama.context_length"),
        "clean_up_tokenization_spaces": False,
        "add_bos_token": adds is True,
        **{ours: tokenizer.id_to_token(number) for ours, number in tokens.items() if number is not None},
    }
    template = header.metadata.get("tokenizer.chat_template")
    if isinstance(template, str) and template:
        config["chat_template"] = template
    return {
        "tokenizer.json": tokenizer.to_str(),
        "tokenizer_config.json": json.dumps(config, ensure_ascii=False, indent=1),
    }


def gguf_tokenizer(path: Path, add_bos: bool | None = None) -> Tokenizer:
    """The tokenizer of a GGUF file as `tokenizer_in` gives it of the file's conversion.  Raises BadCheckpoint, BadInput
    where BOS is asked for and there is none."""
    from reread.prompting.tokens import set_special_ids

    header = read_header(path)
    config = json.loads(tokenizer_files(header)["tokenizer_config.json"])
    tokenizer = build_tokenizer(header)
    tokenizer.encode_special_tokens = True  # as in read_tokenizer
    bos, eos = _special(header, "bos"), _special(header, "eos")
    set_special_ids(tokenizer, bos=bos, eos=eos, config_adds_bos=config["add_bos_token"], add_bos=add_bos)
    return tokenizer


# a model, and a folder of one ---------------------------------------------------------------------------------------


def load_gguf(path: Path, dtype: torch.dtype) -> LlamaForCausalLM:
    """The model of a GGUF file, without a folder in between, with the weights that `write_folder` keeps: rounded to
    bfloat16, then of that dtype.  Raises BadCheckpoint, MissingPackage."""
    from transformers.initialization import no_init_weights

    header = read_header(path)
    config = llama_config(header)
    weights = {name: x.to(dtype) for name, x in read_weights(header, config, torch.bfloat16).items()}
    config.dtype = dtype
    with no_init_weights():
        model = LlamaForCausalLM(config)
    # Assigned, not cast: the table of rope's frequencies stays in float32, as from_pretrained leaves it.
    model.load_state_dict(weights, strict=not config.tie_word_embeddings, assign=True)
    model.tie_weights()
    return model.eval()


def write_folder(path: Path, folder: Path) -> None:
    """The model of a GGUF file as a folder of transformers: weights in bfloat16, configuration, tokenizer.

    Raises BadCheckpoint, MissingPackage; OSError where the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = read_header(path)
    config = llama_config(header)
    texts = tokenizer_files(header)
    weights = read_weights(header, config, torch.bfloat16)
    try:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    except SafetensorError as error:  # how it reports a full disk
        raise OSError(f"cannot write model.safetensors: {reason(error)}") from error
    config.save_pretrained(folder)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")

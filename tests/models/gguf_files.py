"""Tiny GGUF files of the Llama architecture, and the models that they were written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ t", "Ġ Ġ", "ĠĠ ĠĠ", "h e", "Ġt he", "Ċ Ċ", "i n", "Ġ Ċ", "o n", "Ġ 1", "1 2"]
TOKENS = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]
F32, F16 = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16
Q8_0, Q4_1 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1
LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def llama(tied: bool = True, seed: int = 0) -> LlamaForCausalLM:
    """Two layers of width 64, four heads, two of keys; logits of order one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(TOKENS), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=tied,
            initializer_range=0.2, rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        )  # fmt: skip
        model = LlamaForCausalLM(config).eval()
        for name, x in model.named_parameters():
            if "norm" in name:
                x.data.uniform_(0.5, 1.5)
        return model


def _in_file(name: str) -> str:
    top = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem = name.removesuffix(".weight")
    if stem in top:
        return top[stem] + ".weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{LAYER[part]}.weight"


def _neighbours(x: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k as llama.cpp stores them: row i of a head's first half, then row i of its second half."""
    width = len(x) // heads
    order = [
        head * width + half * width // 2 + i for head in range(heads) for i in range(width // 2) for half in (0, 1)
    ]
    return x[order]


def write(path: Path, model: LlamaForCausalLM | None = None, kinds: Any = None, **changes: Any) -> Path:
    """A GGUF file of that model.  kinds(name): the type of a matrix (F32); changes: metadata over the usual, with __
    for a dot, None for what is left out; "drop", "add": names of tensors."""
    model = llama() if model is None else model
    c = model.config
    drop, add = changes.pop("drop", ()), changes.pop("add", ())
    facts: dict[str, Any] = {
        "general.architecture": changes.pop("architecture", "llama"),
        "llama.block_count": c.num_hidden_layers, "llama.context_length": c.max_position_embeddings,
        "llama.embedding_length": c.hidden_size, "llama.feed_forward_length": c.intermediate_size,
        "llama.attention.head_count": c.num_attention_heads, "llama.attention.head_count_kv": c.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": c.rms_norm_eps, "llama.vocab_size": c.vocab_size,
        "llama.rope.freq_base": c.rope_parameters["rope_theta"], "llama.rope.dimension_count": 16,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)),
        "tokenizer.ggml.merges": MERGES, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}",
    }  # fmt: skip
    facts |= {name.replace("__", "."): value for name, value in changes.items()}
    writer = gguf.GGUFWriter(path, facts.pop("general.architecture"))
    for name, value in facts.items():
        adders = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        if value is not None:
            adders.get(type(value), writer.add_array)(name, value)
    heads = {"q_proj": c.num_attention_heads, "k_proj": c.num_key_value_heads}
    tensors = {} if not c.tie_word_embeddings else {"lm_head.weight"}
    for name, x in model.state_dict().items():
        if name in tensors or _in_file(name) in drop:
            continue
        part, values = name.split(".")[-2], x.float().numpy()
        values = np.ascontiguousarray(_neighbours(values, heads[part]) if part in heads else values)
        kind = F32 if values.ndim == 1 or kinds is None else kinds(_in_file(name))
        if kind in (F32, F16):
            writer.add_tensor(_in_file(name), values.astype({F32: np.float32, F16: np.float16}[kind]))
        else:
            writer.add_tensor(_in_file(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
    for name in add:
        writer.add_tensor(name, np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def mixed(name: str) -> gguf.GGMLQuantizationType:
    """Three kinds of blocks in one file."""
    return Q8_0 if "embd" in name else F16 if "attn_v" in name else Q4_1

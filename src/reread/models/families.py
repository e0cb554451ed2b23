"""The families of transformers that are checked: a tiny random model of each, built offline.

Sizes only: how a family is resumed stands in pretrained.py.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from reread.errors import UnknownName
from reread.models.pretrained import Pretrained

V = {"vocab_size": 97}
TWO = {"hidden_size": 32, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
SSD = {"mamba_n_heads": 4, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_chunk_size": 8}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
TINY: dict[str, dict[str, Any]] = {
    "mamba": {**V, **TWO, "state_size": 4},
    "mamba2": {**V, **TWO, "state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8},
    "falcon_mamba": {**V, **TWO, "state_size": 4},
    "falcon_h1": {**V, **TWO, **HEADS, **SSD, "head_dim": 8, "mamba_d_ssm": 32, "mamba_d_head": 8},
    "recurrent_gemma": {
        **V, **HEADS, "hidden_size": 32, "num_hidden_layers": 3, "num_key_value_heads": 1, "lru_width": 32,
        "attention_window_size": 8, "head_dim": 8,
    },
    "bamba": {**V, **TWO, **HEADS, **SSD, "mamba_d_head": 16, "attn_layer_indices": [1]},
    "zamba2": {
        **V, **HEADS, "hidden_size": 32, "num_hidden_layers": 3, "num_key_value_heads": 4, "mamba_d_state": 8,
        "n_mamba_heads": 4, "mamba_headdim": 16, "mamba_ngroups": 1, "chunk_size": 8, "hybrid_layer_ids": [1],
        "layers_block_type": ["mamba", "hybrid", "mamba"], "num_mem_blocks": 1, "use_shared_attention_adapter": False,
        "adapter_rank": 4,
    },
    "jamba": {
        **V, **HEADS, "hidden_size": 32, "num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
        "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 2, "num_experts_per_tok": 1,
        "mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False,
    },
    "xlstm": {**V, "hidden_size": 64, "num_blocks": 2, "num_hidden_layers": 2, "num_heads": 2, "chunk_size": 16,
              "qk_dim_factor": 1.0},
    "rwkv": {**V, **TWO, "attention_hidden_size": 32, "intermediate_size": 48, "context_length": 128},
    "nemotron_h": {
        **V, **HEADS, "hidden_size": 32, "layers_block_type": ["mamba", "attention"], "head_dim": 8,
        "mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 8,
    },
    "granitemoehybrid": {
        **V, **TWO, **HEADS, **SSD, **EXPERTS, "layer_types": ["mamba", "attention"], "mamba_d_head": 16,
        "shared_intermediate_size": 48,
    },
    "qwen3_next": {
        **V, **HEADS, "hidden_size": 32, "num_hidden_layers": 4, "head_dim": 8, "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "num_experts": 2,
        "num_experts_per_tok": 1, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
    },
    "olmo_hybrid": {**V, **HEADS, "hidden_size": 32, "num_hidden_layers": 4, "pad_token_id": 0},
    "lfm2": {
        **V, **HEADS, "hidden_size": 32, "num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"],
    },
    "minimax": {
        **V, **TWO, **HEADS, **EXPERTS, "head_dim": 8, "layer_types": ["linear_attention", "full_attention"],
        "block_size": 8,
    },
    "llama": {**V, **TWO, **HEADS},
    "gpt2": {**V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
}  # fmt: skip


def tiny(family: str, seed: int = 0) -> Pretrained:
    """A small model of that family with random weights.  Raises UnknownName."""
    if family not in TINY:
        raise UnknownName("family", family, TINY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **TINY[family]))
        for p in model.parameters():  # some families start so near zero that nothing could be told apart
            if p.dim() > 1 and float(p.detach().std()) < 1e-3:
                torch.nn.init.normal_(p, std=0.2)
    return Pretrained(model)

"""Tiny models in fp64 for tests of kept keys, and what their own eager attention computes, in full matrices."""

import copy
from dataclasses import dataclass, field

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from reread.models.families import HEADS, TINY, TWO, V
from reread.models.pretrained import Pretrained

SIZES = {
    "qwen3": {**V, **TWO, **HEADS, "head_dim": 8},
    "gemma2": {**V, **TWO, **HEADS, "head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8},
    "gemma3_text": {
        **V, **HEADS, "hidden_size": 32, "num_hidden_layers": 3, "head_dim": 8, "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "qwen2": {**V, **TWO, **HEADS},
    "mistral": {**V, **TWO, **HEADS, "sliding_window": None},
    "phi": {**V, **TWO, **HEADS, "partial_rotary_factor": 0.5},
    "smollm3": {**V, **TWO, **HEADS, "no_rope_layers": [1, 0], "pad_token_id": 0},
}  # fmt: skip
EAGER = ("llama", "qwen3", "gemma2", "gpt2")


def model_of(family: str, heads: int = 2, **settings) -> Pretrained:
    """A tiny model in fp64 with weights so large that attention is far from uniform; heads: KV heads (GPT-2: heads)."""
    sizes = {**(TINY | SIZES)[family], **settings}
    if heads != 2:
        sizes |= {"n_head": heads} if family == "gpt2" else {"num_key_value_heads": heads}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Pretrained(AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes)))
    model.model.double()
    if hasattr(model.config, "_experts_implementation"):
        model.config._experts_implementation = "eager"  # the others have no fp64
    model.model.set_attn_implementation("eager")  # the SDPA of transformers 5.17 leaves out Gemma 2's softcap
    draw = torch.Generator().manual_seed(1)
    for p in model.model.parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.3, generator=draw)
    return model


def ids(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 97, (1, n), generator=torch.Generator().manual_seed(seed))


@dataclass
class Full:
    """Per layer: attention (heads,S,S), keys and values (K,S,D), queries before rotation (S,heads*D), inputs
    (S,hidden), and the attention modules."""

    attention: list = field(default_factory=list)
    keys: list = field(default_factory=list)
    values: list = field(default_factory=list)
    queries: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)
    modules: dict = field(default_factory=dict)


def eager(model: Pretrained):
    """A copy of the model, whose attention is transformers' eager one, and its attention modules by layer."""
    module = copy.deepcopy(model.model)
    return module, {m.layer_idx: m for m in module.modules() if hasattr(m, "scaling") and hasattr(m, "layer_idx")}


@torch.no_grad()
def full(model: Pretrained, tokens: torch.Tensor) -> Full:
    """One forward of tokens (1,S) by the eager model."""
    module, parts = eager(model)
    found = Full(modules=parts)
    for i, part in parts.items():
        source = next(getattr(part, n) for n in ("q_norm", "q_proj", "c_attn") if hasattr(part, n))
        source.register_forward_hook(
            lambda m, x, out, i=i: found.queries.__setitem__(i, out.flatten(2)[0, :, : model.config.hidden_size])
        )
        part.register_forward_pre_hook(
            lambda m, x, kw, i=i: found.inputs.__setitem__(i, (x[0] if x else kw["hidden_states"])[0]), with_kwargs=True
        )
    out = module(tokens, output_attentions=True, use_cache=True)
    found.attention = [a[0].double() for a in out.attentions]
    cache = out.get(model.cache_argument)
    found.keys, found.values = [layer.keys[0] for layer in cache.layers], [layer.values[0] for layer in cache.layers]
    return found


def output_norm(part, heads: int, head: int, value: torch.Tensor) -> float:
    """|W_O v| of a value (E,) of one head: the projection of a vector that is zero in all other heads."""
    slot = torch.zeros(heads, len(value), dtype=value.dtype)
    slot[head] = value
    project = next(getattr(part, n) for n in ("o_proj", "dense", "c_proj") if hasattr(part, n))
    flat = slot.flatten()[None]
    return float((project(flat) - project(torch.zeros_like(flat))).norm())

"""PrefixLM: the recurrent language model with a non-causal prefix (JRT-RNN), and its causal twin (Based).

Embedding, blocks of (RMSNorm, mixer, RMSNorm, SwiGLU), RMSNorm, tied output.  Three verbs carry
everything: `read`, `extend`, `step`; the transformers `forward` and `generate` are a thin skin
over them.  Only `read` is non-causal.  This file knows no words, no tasks, no losses beyond
the plain next-token loss that transformers expects of `labels`.

Shapes: B batch, T time, C model width, V vocabulary.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import ModelOutput

from reread.errors import BadInput, UnknownName
from reread.models.fingerprint import Fingerprint, adapter_settings, sha256_of
from reread.models.mixers import FullAttention, GatedConv, LayerState, PrefixLinearAttention, Span, WindowAttention
from reread.models.recurrences import (
    DecayedLinear,
    Diagonal,
    GatedDelta,
    GatedLinearAttention,
    Heads,
    Retention,
    Writer,
)
from reread.models.state import State, check_call
from reread.models.state import prefix_lengths as check_prefix
from reread.ops import FeatureMap

Mixer = GatedConv | WindowAttention | FullAttention | PrefixLinearAttention | Retention | Diagonal | DecayedLinear
SMALLEST = {
    "vocab_size": 1, "hidden_size": 1, "num_attention_heads": 1, "feature_dim": 1, "key_conv": 0, "window": 1,
    "conv_kernel": 1, "conv_expand": 1, "intermediate_size": 1,
}  # fmt: skip


class PrefixLMConfig(PreTrainedConfig):
    """Sizes of a PrefixLM.

    mixers: one key of MIXERS per layer ("conv", "linear", "window"; "retention", "gla", "delta",
    "diagonal"; "attention"; "decayed_linear" for published Based models).  feature_dim: width of q
    and k per head in linear attention and its kin.  For linear attention: feature_map, a name with
    settings (ops/feature_maps.py); key_conv, taps of a short convolution on its keys (0: none, as
    published); qk_norm, queries and keys of length 1 times a learned scale; normalise, divide by
    the sum of similarities.  prefix_encoder: True for JRT-RNN, False for the causal twin (Based).
    max_prefix: tokens that `read` takes as prefix when it is not told (None: all).  window:
    previous tokens that window attention sees beside the current one.  rotary_share: share of each
    head of full attention that is rotated.  intermediate_size: inner width of SwiGLU.
    mask_token_id: the input token of the masked-token loss.  use_cache: has no effect on `forward`; the fingerprint
    holds it, so it stays as it is in folders that were trained earlier.
    """

    model_type = "reread_prefix_lm"
    keys_to_ignore_at_inference = ["state"]  # noqa: RUF012 (Trainer gathers tensors, and a state is none)

    vocab_size: int = 8192
    hidden_size: int = 256
    mixers: list[str] | None = None
    num_attention_heads: int = 4
    feature_dim: int = 16
    feature_map: str = "taylor"
    prefix_encoder: bool = True
    key_conv: int = 0
    qk_norm: bool = False
    normalise: bool = True
    window: int = 64
    rope_theta: float = 10000.0
    rotary_share: float = 1.0
    decay_const: float = -3.0
    max_prefix: int | None = None
    conv_kernel: int = 3
    conv_expand: int = 2
    intermediate_size: int = 512
    rms_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    mask_token_id: int | None = None
    tie_word_embeddings: bool = True
    use_cache: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        self.mixers = ["conv", "linear", "window", "conv"] if self.mixers is None else list(self.mixers)
        self.num_hidden_layers = len(self.mixers)
        for size, least in SMALLEST.items():
            value = getattr(self, size)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise BadInput(f"{size} must be a whole number of at least {least}", got=repr(value))
        prefix = self.max_prefix
        if prefix is not None and (not isinstance(prefix, int) or isinstance(prefix, bool) or prefix < 0):
            raise BadInput("max_prefix must be a whole number of at least 0, or none", got=repr(prefix))
        if not self.mixers:
            raise BadInput("a model needs at least one mixer", allowed=", ".join(MIXERS))
        for name in self.mixers:
            if name not in MIXERS:
                raise UnknownName("mixer", name, MIXERS)
        if self.hidden_size % self.num_attention_heads:
            raise BadInput(
                "hidden_size must be a multiple of num_attention_heads",
                got=f"{self.hidden_size} and {self.num_attention_heads}",
            )
        super().__post_init__(**kwargs)


class SwiGLU(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.up_gate = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        up, gate = self.up_gate(x).chunk(2, dim=-1)
        return self.down(up * F.silu(gate))


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def _conv(config: PrefixLMConfig) -> Mixer:
    return GatedConv(config.hidden_size, config.conv_kernel, config.conv_expand)


def _linear(config: PrefixLMConfig) -> Mixer:
    return PrefixLinearAttention(
        config.hidden_size,
        config.num_attention_heads,
        config.feature_dim,
        config.feature_map,
        config.prefix_encoder,
        key_conv=config.key_conv,
        qk_norm=config.qk_norm,
        normalise=config.normalise,
    )


def _window(config: PrefixLMConfig) -> Mixer:
    return WindowAttention(config.hidden_size, config.num_attention_heads, config.window, config.rope_theta)


def _heads(config: PrefixLMConfig) -> Heads:
    return Heads(config.hidden_size, config.num_attention_heads, config.feature_dim)


MIXERS: dict[str, Callable[[PrefixLMConfig], Mixer]] = {
    "conv": _conv,
    "linear": _linear,
    "window": _window,
    "retention": lambda config: Retention(_heads(config), config.prefix_encoder),
    "gla": lambda config: GatedLinearAttention(_heads(config), config.prefix_encoder),
    "delta": lambda config: GatedDelta(_heads(config), config.prefix_encoder),
    "diagonal": lambda config: Diagonal(config.hidden_size, config.prefix_encoder),
    "decayed_linear": lambda config: DecayedLinear(_heads(config), config.feature_map, config.decay_const),
    "attention": lambda config: FullAttention(
        config.hidden_size, config.num_attention_heads, config.rope_theta, config.rotary_share
    ),
}
MASKINGS = ("exact", "published")
ALWAYS_CAUSAL = {"conv", "window", "attention", "decayed_linear"}


class Block(GradientCheckpointingLayer):
    """x + mixer(norm(x)), then x + mlp(norm(x)); the residual stream keeps the dtype of the weights."""

    mixer: Mixer
    mlp: SwiGLU

    def __init__(self, name: str, config: PrefixLMConfig):
        super().__init__()
        self.norm1 = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mixer = MIXERS[name](config)
        self.norm2 = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SwiGLU(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor, span: Span, state: LayerState | None) -> tuple[Tensor, LayerState]:
        y, state = self.mixer(self.norm1(x), span, state)
        x = x + y
        return x + self.mlp(self.norm2(x)), state


# Keywords that generic tools (generate, Trainer, PEFT) pass to any causal model: allowed when they ask for nothing.
UNSERVED = (
    "inputs_embeds", "past_key_values", "cache", "cache_params", "cache_position", "position_ids", "token_type_ids",
    "output_hidden_states", "output_attentions",
)  # fmt: skip
BY_CONFIG = ("output_hidden_states", "output_attentions")  # those that the configuration can ask for too
SINGLE = {"num_beams": 1, "num_beam_groups": 1, "guidance_scale": 1}
ALONE = ("assistant_model", "prompt_lookup_num_tokens", "penalty_alpha", "custom_generate")


@dataclass
class PrefixLMOutput(ModelOutput):
    """loss (scalar, with labels), logits, and the state after the last token."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    state: State | None = None


def left_align(tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Real tokens to the front of each row, wherever the padding was.

    tokens, mask (B,T) -> tokens, lengths (B,), order (B,T) with aligned[b, i] = tokens[b, order[b, i]].
    Lengths and order are None when nothing is masked.
    """
    if mask is None or bool(mask.all()):
        return tokens, None, None
    keep = mask.bool()
    order = torch.argsort((~keep).to(torch.int8), dim=1, stable=True)
    return tokens.gather(1, order), keep.sum(dim=1), order


def restore(x: Tensor, order: Tensor | None) -> Tensor:
    """Undo `left_align` on (B,T,C): every position back where it stood."""
    if order is None:
        return x
    return torch.zeros_like(x).scatter(1, order[:, :, None].expand_as(x), x)


class PrefixLMForCausalLM(PreTrainedModel, GenerationMixin):
    """The model; see the module docstring.  `noncausal_prefix` says whether `read` looks ahead."""

    config_class = PrefixLMConfig
    base_model_prefix = "model"
    _tied_weights_keys = {"lm_head.weight": "embed.weight"}  # noqa: RUF012 (transformers' own form)
    _is_stateful = True
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = True  # Trainer passes num_items_in_batch
    _no_split_modules = ["Block"]  # noqa: RUF012

    def __init__(self, config: PrefixLMConfig):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(name, config) for name in config.mixers or [])
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self._fingerprint = Fingerprint()
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Embedding):
            init.normal_(module.weight, mean=0.0, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, RMSNorm):
            init.ones_(module.weight)
        if isinstance(module, GatedConv):
            bound = module.conv.shape[1] ** -0.5
            init.uniform_(module.conv, -bound, bound)
        if isinstance(module, FeatureMap | Writer):
            for name, value in module.start().items():
                init.copy_(getattr(module, name), value)
        if isinstance(module, PrefixLinearAttention) and module.qk_scale is not None:
            init.constant_(module.qk_scale, self.config.feature_dim**0.5)
        if isinstance(module, PrefixLinearAttention) and module.key_conv:
            self._init_matching(module)
        if isinstance(module, Block):
            small = std / (2 * self.config.num_hidden_layers) ** 0.5
            init.normal_(module.mixer.out_proj.weight, mean=0.0, std=small)
            init.normal_(module.mlp.down.weight, mean=0.0, std=small)

    @staticmethod
    def _init_matching(module: PrefixLinearAttention) -> None:
        """Keys start as queries, half shifted by one token: a layer begins by looking for what followed
        the current token.  MQAR of 8 pairs is then learnt in 0.4 M tokens (docs/log.md)."""
        init.normal_(module.q_proj.weight, mean=0.0, std=1.5 * module.q_proj.in_features**-0.5)
        keys, taps = [module.k_proj.weight], [module.k_taps]
        if module.prefix_encoder:
            keys, taps = [*keys, module.k_enc_proj.weight], [*taps, module.k_enc_taps]
        start = torch.zeros_like(module.k_taps)
        start[:, -2:] = 0.5
        for weight, tap in zip(keys, taps, strict=True):
            init.copy_(weight, module.q_proj.weight)
            init.copy_(tap, start)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed

    def set_input_embeddings(self, value: nn.Embedding) -> None:  # type: ignore[override]
        self.embed = value

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.lm_head = new_embeddings

    @property
    def noncausal_prefix(self) -> bool:
        """Whether any layer reads the prefix with an encoder of its own."""
        return self.config.prefix_encoder and not set(self.config.mixers or []) <= ALWAYS_CAUSAL

    @property
    def fingerprint(self) -> str:
        """sha256 (16 hex digits) over the settings that are not the default, the dtype and the weights."""
        return self._fingerprint.of(self, self._digest)

    def _digest(self) -> str:
        sizes = {key: getattr(self.config, key) for key in sorted(PrefixLMConfig.__annotations__)}
        changed = {key: value for key, value in sizes.items() if value != getattr(PrefixLMConfig, key)}
        if self.dtype != torch.float32:
            changed["dtype"] = str(self.dtype)
        changed |= adapter_settings(self)
        tensors = self.state_dict()
        if self.config.tie_word_embeddings:
            tensors.pop("lm_head.weight", None)
        about = json.dumps(changed, sort_keys=True, default=str)
        return sha256_of(about, tensors, lambda x: x.float().numpy().tobytes())

    def hidden(self, tokens: Tensor, span: Span, state: State | None) -> tuple[Tensor, tuple[LayerState, ...]]:
        """Final hidden states (B,T,C) of left-aligned tokens (B,T), and the layers' new states."""
        x = self.embed(tokens)
        after = []
        for i, block in enumerate(self.layers):
            x, layer = block(x, span, None if state is None else state.layers[i])
            after.append(layer)
        return self.norm(x), tuple(after)

    def _aligned(
        self,
        tokens: Tensor,
        state: State | None,
        prefix_lengths: Tensor | None,
        mask: Tensor | None,
        pads: Tensor | None = None,
    ) -> tuple[Tensor, tuple[LayerState, ...], Tensor, Tensor | None]:
        """Hidden states of the left-aligned rows, new layer states, real tokens per row, and the order
        that `left_align` gave (None when nothing moved)."""
        check_call(self, tokens, state, mask)
        tokens, lengths, order = left_align(tokens, mask)
        B, T = tokens.shape
        position = tokens.new_zeros(B) if state is None else state.position
        span = Span(position, lengths, prefix_lengths if self.noncausal_prefix else None, pads)
        x, layers = self.hidden(tokens, span, state)
        return x, layers, span.ends(T), order

    def _run(
        self,
        tokens: Tensor,
        state: State | None,
        prefix_lengths: Tensor | None,
        mask: Tensor | None,
        last_only: bool,
        pads: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        x, layers, ends, order = self._aligned(tokens, state, prefix_lengths, mask, pads)
        made_by = self.fingerprint if state is None else state.fingerprint  # which was compared with ours
        after = State(layers, ends if state is None else state.position + ends, made_by)
        if last_only:
            last = (ends - 1).clamp(min=0)
            return self.lm_head(x[torch.arange(len(x), device=x.device), last]), after
        return self.lm_head(restore(x, order)), after

    def read(
        self,
        tokens: Tensor,
        prefix_len: int | Tensor | None = None,
        mask: Tensor | None = None,
        *,
        last_only: bool = False,
        masking: str = "exact",
    ) -> tuple[Tensor, State]:
        """Read from nothing: the first prefix_len real tokens non-causally, the rest causally.

        tokens (B,T) int64; prefix_len: one length, or (B,) one per row, or None for all of `tokens`
        (the configuration's max_prefix at most); the causal twin ignores it; mask (B,T), True = real,
        padding before or after the text.  Returns logits (B,T,V) ((B,V) of the last real token with
        last_only) and the State.  Raises BadInput, for a prefix longer than its row too.

        masking="published" repeats what the published code does with padding, for parity alone: pads
        are read as tokens by every layer, count in prefix_len and position, and only the keys of
        linear attention are zero there.
        """
        if masking not in MASKINGS:
            raise UnknownName("masking", masking, MASKINGS)
        check_call(self, tokens, None, mask)
        published = masking == "published"
        lengths = check_prefix(tokens, prefix_len, None if published else mask, self.config.max_prefix)
        if published:
            self._check_published(mask)
            return self._run(tokens, None, lengths, None, last_only, None if mask is None else ~mask.bool())
        return self._run(tokens, None, lengths, mask, last_only)

    def _check_published(self, mask: Tensor | None) -> None:
        """The published masking is that of linear attention, with padding on the left."""
        if "linear" not in (self.config.mixers or []):
            raise BadInput("only linear attention has a published masking", got=", ".join(self.config.mixers or []))
        if mask is not None and not bool(mask.bool()[:, -1].all()):
            raise BadInput("the published masking is for padding on the left", got="padding at the end of a row")

    def extend(
        self, tokens: Tensor, state: State, mask: Tensor | None = None, *, last_only: bool = False
    ) -> tuple[Tensor, State]:
        """Read on, causally, from a state.  Shapes as in `read`; the given state is not changed."""
        return self._run(tokens, state, None, mask, last_only)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """One token per row, (B,) -> logits (B,V) and the next State: constant time and memory."""
        return self._run(token[:, None], state, None, None, last_only=True)

    def _refuse_unserved(self, asked: dict[str, Any]) -> None:
        """Raises UnknownName for a keyword that `forward` does not have, BadInput for one that it cannot serve."""
        for name in BY_CONFIG:
            asked = {**asked, name: getattr(self.config, name, None)} if asked.get(name) is None else asked
        for name, value in asked.items():
            if name not in UNSERVED:
                raise UnknownName("keyword of forward", name, SERVED)
            if value is not None and value is not False:
                raise BadInput("forward does not serve this keyword", got=name, allowed=", ".join(SERVED))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        prefix_lengths: Tensor | None = None,
        labels: Tensor | None = None,
        state: State | None = None,
        logits_at: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> PrefixLMOutput | tuple[Any, ...]:
        """Logits (B,T,V); with `logits_at` (B,T) bool those of the chosen positions only, (n,V).

        Without `state` this reads (prefix_lengths None = no prefix outside generate); with it, it extends.  The
        output holds the new state unless use_cache=False, `logits_at` or training mode leaves it out (in training,
        use_cache=True asks for it); `use_cache` of the configuration, which Trainer sets to False, has no effect.
        `labels` (B,T) gives the next-token loss, -100 ignored; tokens that the prefix shows to a non-causal model are
        no labels.  The loss is the mean over its labels, or their sum over `num_items_in_batch`, which Trainer counts
        over all accumulated batches: mask the labels of the prefix yourself where that count must agree.
        return_dict=False gives a tuple.  Raises UnknownName and BadInput for any other keyword.
        """
        self._refuse_unserved(kwargs)
        after = None
        if prefix_lengths is not None and state is not None:
            raise BadInput("a prefix is read from nothing, not from a state", got="state and prefix_lengths")
        lengths = None
        if prefix_lengths is not None:
            lengths = check_prefix(input_ids, prefix_lengths, attention_mask, self.config.max_prefix)
        if logits_at is not None or (self.training and not use_cache):
            x, _, _, order = self._aligned(input_ids, state, lengths, attention_mask)
            x = restore(x, order)
            logits = self.lm_head(x if logits_at is None else x[logits_at])
        elif state is None:
            logits, after = self.read(input_ids, 0 if lengths is None else lengths, attention_mask)
        else:
            logits, after = self.extend(input_ids, state, attention_mask)
        loss = None
        if labels is not None:
            if lengths is not None and self.noncausal_prefix:
                real = torch.ones_like(input_ids) if attention_mask is None else attention_mask.long()
                labels = labels.masked_fill(real.cumsum(dim=1) <= lengths[:, None], -100)
            count = {} if num_items_in_batch is None else {"num_items_in_batch": num_items_in_batch}
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **count)
        out = PrefixLMOutput(loss=loss, logits=logits, state=None if use_cache is False else after)
        return out if (self.config.return_dict if return_dict is None else return_dict) else out.to_tuple()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def generate(  # type: ignore[override]
        self, inputs: Tensor | None = None, generation_config: Any = None, *, state: State | None = None, **kwargs: Any
    ) -> Any:
        """transformers' `generate`, greedy or sampled, after `inputs` (B,T) and, where one is given, after `state`.

        With `state`, `inputs` are read on from it first, as by `extend`.  Raises BadInput for searches that need to
        reorder or to shorten a state: beams, assistants, prompt lookup.
        """
        places = (kwargs, {} if generation_config is None else vars(generation_config), vars(self.generation_config))

        def asked(name: str) -> Any:  # as transformers fills unset values of a configuration from the model's own
            return next((place[name] for place in places if place.get(name) is not None), None)

        self._refuse_unserved({name: asked(name) for name in BY_CONFIG})
        for name in (*SINGLE, *ALONE):
            value = asked(name)
            if value is not None and value != SINGLE.get(name):
                got = f"{name}={value}" if isinstance(value, int | float | str) else name
                what = "generate only appends token by token"
                raise BadInput(what, got=got, allowed="greedy search or sampling")
        if state is not None:
            copies = asked("num_return_sequences") or 1
            kwargs["state"] = state.rows(torch.arange(state.batch).repeat_interleave(copies)) if copies > 1 else state
        return super().generate(inputs, generation_config, **kwargs)

    def _update_model_kwargs_for_generation(
        self, outputs: ModelOutput, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Carries the state from call to call, whatever names of caches this version of transformers carries."""
        model_kwargs = super()._update_model_kwargs_for_generation(outputs, model_kwargs, *args, **kwargs)
        return {**model_kwargs, "carried": outputs.get("state")}

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Tensor,
        state: State | None = None,
        attention_mask: Tensor | None = None,
        prefix_lengths: Tensor | None = None,
        carried: State | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """First call: read the whole prompt (all of it as prefix unless prefix_lengths says less), or read it on from
        `state`; then steps from the state that the last call gave (`carried`)."""
        if carried is not None:
            return {"input_ids": input_ids[:, -1:], "state": carried, "use_cache": True}
        if attention_mask is not None and not bool(attention_mask[:, -1].all()):
            todo = 'pad on the left (tokenizer.padding_side = "left")'
            raise BadInput("generate goes on behind the last column, and there is padding", todo=todo)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": True}
        if state is not None:
            return {**inputs, "state": state, "prefix_lengths": prefix_lengths}
        if prefix_lengths is None:
            prefix_lengths = check_prefix(input_ids, None, attention_mask, self.config.max_prefix)
        return {**inputs, "prefix_lengths": prefix_lengths}


SERVED = tuple(
    name for name in inspect.signature(PrefixLMForCausalLM.forward).parameters if name not in ("self", "kwargs")
)
AutoConfig.register(PrefixLMConfig.model_type, PrefixLMConfig)
AutoModelForCausalLM.register(PrefixLMConfig, PrefixLMForCausalLM)
# Trainer shifts the labels of label smoothing for the classes of this table alone.
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[PrefixLMConfig.model_type] = PrefixLMForCausalLM.__name__


def state_bytes(model: PrefixLMForCausalLM) -> int:
    """Bytes that the model remembers of one text, its position (8 bytes) left out."""
    with torch.inference_mode():
        _, state = model.read(torch.zeros(1, 8, dtype=torch.long, device=model.device), 0, last_only=True)
    return state.nbytes - state.position.numel() * state.position.element_size()

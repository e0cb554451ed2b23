"""Any recurrence with a second look: retention, gated linear attention, gated delta rule, diagonal recurrence.

What a recurrence takes in per token (keys, values, decays, write strengths) is made by a Writer.
A causal mixer has one.  With a prefix encoder it has two, in the manner of JRT-RNN ("Just read
twice", section 4.2): the prefix is read once by the encoder's Writer, and the decoder starts from
the state that this leaves.  Queries are shared.  Otherwise a mixer is as in mixers.py.

Shapes: B batch, T time, C model width, H heads, D width of q and k, V width of v.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reread.models.mixers import LayerState, Span
from reread.ops import (
    diagonal_recurrence,
    diagonal_state,
    feature_map,
    gated_delta_rule,
    gated_delta_state,
    gated_linear_attention,
    gated_linear_state,
    linear_attention,
)

Written = dict[str, Any]


class Writer(nn.Module):
    """x (B,T,C) -> what the recurrence takes in, by argument name."""

    def start(self) -> dict[str, Tensor]:
        """The values that its own parameters and buffers (not those of its linear layers) begin with, by name."""
        return {}

    def own(self) -> None:
        """Register a parameter for each entry of `start`."""
        for name, value in self.start().items():
            self.register_parameter(name, nn.Parameter(value))


@dataclass(frozen=True)
class Heads:
    """Sizes: model width C, heads H, width D of q and k per head; values share the model width."""

    width: int
    heads: int
    feature_dim: int

    def split(self, y: Tensor) -> Tensor:
        """(B,T,H*W) -> (B,T,H,W)."""
        return y.unflatten(-1, (self.heads, -1))


class RetentionWriter(Writer):
    """Keys, values, and one constant decay per head, 1 - 2^(-5-h) (Sun et al. 2023, eq. 8)."""

    log_decay: Tensor

    def __init__(self, sizes: Heads):
        super().__init__()
        self.sizes = sizes
        self.k_proj = nn.Linear(sizes.width, sizes.heads * sizes.feature_dim, bias=False)
        self.v_proj = nn.Linear(sizes.width, sizes.width, bias=False)
        self.register_buffer("log_decay", self.start()["log_decay"], persistent=False)

    def start(self) -> dict[str, Tensor]:
        return {"log_decay": torch.log1p(-(2.0 ** (-5.0 - torch.arange(self.sizes.heads))))}

    def forward(self, x: Tensor) -> Written:
        k, v = self.sizes.split(self.k_proj(x)), self.sizes.split(self.v_proj(x))
        return {"k": k, "v": v, "log_decay": self.log_decay[:, None].expand(*k.shape[:3], 1)}


class GlaWriter(Writer):
    """Keys, values, and a decay per key dimension that depends on the token (Yang et al. 2024, section 4.4):
    log decay = log sigmoid(x W1 W2 + b) / 16, of rank 16."""

    RANK, TEMPERATURE = 16, 16.0

    def __init__(self, sizes: Heads):
        super().__init__()
        self.sizes = sizes
        self.k_proj = nn.Linear(sizes.width, sizes.heads * sizes.feature_dim, bias=False)
        self.v_proj = nn.Linear(sizes.width, sizes.width, bias=False)
        self.decay_down = nn.Linear(sizes.width, self.RANK, bias=False)
        self.decay_up = nn.Linear(self.RANK, sizes.heads * sizes.feature_dim)

    def forward(self, x: Tensor) -> Written:
        decay = F.logsigmoid(self.decay_up(self.decay_down(x)).float()) / self.TEMPERATURE
        split = self.sizes.split
        return {"k": split(self.k_proj(x)), "v": split(self.v_proj(x)), "log_decay": split(decay)}


class DeltaWriter(Writer):
    """Keys of length 1, values, write strengths, and one decay per head that depends on the token (Yang et al.
    2025): log decay = -exp(a) softplus(x W + b), as in Mamba-2."""

    a: nn.Parameter
    b: nn.Parameter

    def __init__(self, sizes: Heads):
        super().__init__()
        self.sizes = sizes
        self.k_proj = nn.Linear(sizes.width, sizes.heads * sizes.feature_dim, bias=False)
        self.v_proj = nn.Linear(sizes.width, sizes.width, bias=False)
        self.beta_proj = nn.Linear(sizes.width, sizes.heads, bias=False)
        self.decay_proj = nn.Linear(sizes.width, sizes.heads, bias=False)
        self.own()

    def start(self) -> dict[str, Tensor]:
        """Memories of about 10 to 1,000 tokens, evenly over the heads on a logarithmic scale."""
        strength = torch.logspace(-1, -3, self.sizes.heads)
        return {"a": torch.zeros(self.sizes.heads), "b": torch.log(torch.expm1(strength))}

    def forward(self, x: Tensor) -> Written:
        split = self.sizes.split
        decay = -self.a.float().exp() * F.softplus(self.decay_proj(x).float() + self.b.float())
        return {
            "k": F.normalize(F.silu(split(self.k_proj(x))), dim=-1),
            "v": split(self.v_proj(x)),
            "beta": self.beta_proj(x).sigmoid(),
            "log_decay": decay[..., None],
        }


class DiagonalWriter(Writer):
    """Inputs and decays of RG-LRU (De et al. 2024, eq. 1 to 4): a = exp(-8 softplus(decay) r), r and i gates of
    the token; what goes in is sqrt(1 - a^2) (i * x W)."""

    STRENGTH = 8.0
    decay: nn.Parameter

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.in_proj = nn.Linear(width, width, bias=False)
        self.gates = nn.Linear(width, 2 * width)
        self.own()

    def start(self) -> dict[str, Tensor]:
        """a = 0.9 to 0.999 where the gate is fully open."""
        a = torch.linspace(0.9, 0.999, self.width)
        return {"decay": torch.log(torch.expm1(-a.log() / self.STRENGTH))}

    def forward(self, x: Tensor) -> Written:
        r, i = self.gates(x).float().sigmoid().chunk(2, dim=-1)
        log_decay = -self.STRENGTH * F.softplus(self.decay.float()) * r
        return {"x": torch.sqrt(-torch.expm1(2 * log_decay)) * (i * self.in_proj(x)), "log_decay": log_decay}


def in_one_dtype(q: Tensor, written: Written) -> Written:
    """What was written, its keys and values in the dtype of the queries: autocast normalises in float32."""
    return {**written, "k": written["k"].to(q.dtype), "v": written["v"].to(q.dtype)}


def prefix_mask(span: Span) -> Tensor:
    """(B,P) True inside each row's prefix, P the longest one."""
    assert span.prefix_lengths is not None
    P = int(span.prefix_lengths.max())
    return torch.arange(P, device=span.prefix_lengths.device)[None, :] < span.prefix_lengths[:, None]


class Retention(nn.Module):
    """Linear attention with one constant decay per head (Sun et al. 2023), without its rotation.

    y = (head-wise RMS norm of the read-out, times silu(x W_g)) W_o.  State: S (B,H,D,V), float32.
    """

    writer_class: type[RetentionWriter | GlaWriter | DeltaWriter] = RetentionWriter

    def __init__(self, sizes: Heads, prefix_encoder: bool):
        super().__init__()
        self.sizes = sizes
        self.q_proj = nn.Linear(sizes.width, sizes.heads * sizes.feature_dim, bias=False)
        self.gate_proj = nn.Linear(sizes.width, sizes.width, bias=False)
        self.out_proj = nn.Linear(sizes.width, sizes.width, bias=False)
        self.writer = self.writer_class(sizes)
        self.encoder = self.writer_class(sizes) if prefix_encoder else None

    def query(self, x: Tensor) -> Tensor:
        return self.sizes.split(self.q_proj(x)) * self.sizes.feature_dim**-0.5

    def run(self, q: Tensor, written: Written, state: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        return gated_linear_attention(q, **in_one_dtype(q, written), state=state, mask=mask)

    def remember(self, written: Written, mask: Tensor) -> Tensor:
        return gated_linear_state(**written, mask=mask)

    def forward(self, x: Tensor, span: Span, state: LayerState | None) -> tuple[Tensor, LayerState]:
        q, before = self.query(x), None if state is None else state["S"]
        if self.encoder is not None and span.prefix_lengths is not None:
            mask = prefix_mask(span)
            before = self.remember(in_one_dtype(q, self.encoder(x[:, : mask.shape[1]])), mask)
        y, S = self.run(q, self.writer(x), before, span.mask(x.shape[1]))
        y = F.rms_norm(y, y.shape[-1:], eps=1e-5).flatten(2)
        return self.out_proj(y * F.silu(self.gate_proj(x))), {"S": S}


class GatedLinearAttention(Retention):
    """Linear attention whose decay depends on token and key dimension (GLA, Yang et al. 2024)."""

    writer_class = GlaWriter


class GatedDelta(Retention):
    """A memory that overwrites what stands at a key (Gated DeltaNet, Yang et al. 2025), without its convolutions."""

    writer_class = DeltaWriter

    def query(self, x: Tensor) -> Tensor:
        return F.normalize(F.silu(self.sizes.split(self.q_proj(x))), dim=-1)

    def run(self, q: Tensor, written: Written, state: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        return gated_delta_rule(q, **in_one_dtype(q, written), state=state, mask=mask)

    def remember(self, written: Written, mask: Tensor) -> Tensor:
        return gated_delta_state(**written, mask=mask)


class Diagonal(nn.Module):
    """One decaying number per channel (RG-LRU, De et al. 2024), its output gated by gelu(x W_g).

    State: h (B,C), float32.
    """

    def __init__(self, width: int, prefix_encoder: bool):
        super().__init__()
        self.gate_proj = nn.Linear(width, width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)
        self.writer = DiagonalWriter(width)
        self.encoder = DiagonalWriter(width) if prefix_encoder else None

    def forward(self, x: Tensor, span: Span, state: LayerState | None) -> tuple[Tensor, LayerState]:
        before = None if state is None else state["h"]
        if self.encoder is not None and span.prefix_lengths is not None:
            mask = prefix_mask(span)
            before = diagonal_state(**self.encoder(x[:, : mask.shape[1]]), mask=mask)
        y, h = diagonal_recurrence(**self.writer(x), state=before, mask=span.mask(x.shape[1]))
        return self.out_proj(y.to(x.dtype) * F.gelu(self.gate_proj(x))), {"h": h}


class DecayedLinear(nn.Module):
    """Linear attention of the published Based models with decay: the numerator fades, the denominator does not.

    y_i = g_i (sum_{j<=i} d^(i-j) phi(q_i).phi(k_j) v_j) / (sum_{j<=i} phi(q_i).phi(k_j)), with
    d = 1 - 2^(decay_const - h) for head h and one gate g = x W_d per head.  Causal.  It
    holds the features of a whole call in memory: it is here so that those checkpoints can be read.
    State: S (B,H,F,V), z (B,H,F).
    """

    def __init__(self, sizes: Heads, map_name: str, decay_const: float):
        super().__init__()
        self.sizes, self.decay_const = sizes, decay_const
        self.phi = feature_map(map_name, sizes.feature_dim, sizes.heads)
        self.q_proj = nn.Linear(sizes.width, sizes.heads * sizes.feature_dim, bias=False)
        self.k_proj = nn.Linear(sizes.width, sizes.heads * sizes.feature_dim, bias=False)
        self.v_proj = nn.Linear(sizes.width, sizes.width, bias=False)
        self.decay_proj = nn.Linear(sizes.width, sizes.heads, bias=False)
        self.out_proj = nn.Linear(sizes.width, sizes.width, bias=False)

    def forward(self, x: Tensor, span: Span, state: LayerState | None) -> tuple[Tensor, LayerState]:
        q, k, v = (self.sizes.split(proj(x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        mask = span.mask(x.shape[1])
        log_decay = fixed_log_decay(self.decay_const, self.sizes.heads).to(x.device)[:, None].expand(*k.shape[:3], 1)
        phi_q, phi_k = (self.phi(y.float().transpose(1, 2)).transpose(1, 2) for y in (q, k))
        S = None if state is None else state["S"]
        numerator, S = gated_linear_attention(phi_q, phi_k, v.float(), log_decay=log_decay, state=S, mask=mask)
        sums = None if state is None else (state["z"][..., None], state["z"])
        ones = phi_q.new_ones(*k.shape[:3], 1)
        denominator, (_, z) = linear_attention(
            q.float(), k.float(), ones, feature_map=self.phi, state=sums, mask=mask, normalise=False
        )
        y = self.decay_proj(x)[..., None] * (numerator / (denominator + 1e-12)).to(x.dtype)
        return self.out_proj(y.flatten(2)), {"S": S, "z": z}


def fixed_log_decay(decay_const: float, heads: int) -> Tensor:
    """log(1 - 2^(decay_const - h)) for head h."""
    return torch.log(1 - 2.0 ** (decay_const - torch.arange(heads, dtype=torch.float)))

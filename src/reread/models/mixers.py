"""The three sequence mixers: gated short convolution, sliding-window attention, prefix linear attention.

Each is a module `mixer(x, span, state) -> (y, state)`: `state` is its dict of tensors of fixed
size (None before the first token), `span` says where the tokens stand.  Rows are left-aligned:
real tokens first, padding (if any) after them, so that the causal mixers never see padding and
only the states have to look at the row lengths.  A mixer knows nothing of the other layers,
of embeddings or of losses.

Shapes: B batch, T time, C channels (model width), H heads, D width of q and k in linear
attention, V width of v, E width of an attention head, W window, K convolution kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reread.ops import feature_map, linear_attention, prefix_state

LayerState = dict[str, Tensor]


@dataclass(frozen=True)
class Span:
    """Where the T tokens of this call stand.

    position (B,): tokens read before this call.  lengths (B,): real tokens in this call, or None
    when all rows are full.  prefix_lengths (B,): how many of them are read non-causally, or None
    outside `read`.  pads (B,T): positions whose keys the published models set to zero before the
    feature map, so that they count as tokens of similarity 1; None elsewhere.
    """

    position: Tensor
    lengths: Tensor | None = None
    prefix_lengths: Tensor | None = None
    pads: Tensor | None = None

    def ends(self, T: int) -> Tensor:
        """(B,) real tokens in this call."""
        return torch.full_like(self.position, T) if self.lengths is None else self.lengths

    def mask(self, T: int) -> Tensor | None:
        """(B,T) True for real tokens, or None when all are."""
        if self.lengths is None:
            return None
        return torch.arange(T, device=self.position.device)[None, :] < self.lengths[:, None]


def _take(x_BTX: Tensor, index_BN: Tensor) -> Tensor:
    """Rows index_BN of x along time, (B,N,...)."""
    index = index_BN.reshape(*index_BN.shape, *[1] * (x_BTX.dim() - 2)).expand(-1, -1, *x_BTX.shape[2:])
    return x_BTX.gather(1, index)


def short_conv(u: Tensor, taps: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
    """Depthwise causal convolution as K shifted products; the last tap multiplies the current token.

    u (B,T,X), taps (X,K), past (B,K-1,X) or None before the first token.  Returns (B,T,X), and past
    and u in one (B,K-1+T,X).
    """
    B, T, channels = u.shape
    before = taps.shape[1] - 1
    past = u.new_zeros(B, before, channels) if past is None else past.to(u.dtype)
    u = torch.cat((past, u), dim=1)
    taps = taps.to(u.dtype)
    c = u[:, :T] * taps[:, 0]
    for j in range(1, before + 1):
        c = c + u[:, j : j + T] * taps[:, j]
    return c, u


def conv_tail(past_and_u: Tensor, span: Span, kernel: int) -> Tensor:
    """The last K-1 real inputs of each row, (B,K-1,X) float32: where the convolution goes on."""
    T = past_and_u.shape[1] - (kernel - 1)
    last = span.ends(T)[:, None] + torch.arange(kernel - 1, device=past_and_u.device)
    return _take(past_and_u, last).float()


class GatedConv(nn.Module):
    """y = (silu(conv(u1)) * u2) W_out with (u1, u2) = x W_in: the short convolution of Based and JRT-RNN.

    State: `conv` (B, K-1, expand * C), the last inputs of the convolution.
    """

    def __init__(self, width: int, kernel: int, expand: int):
        super().__init__()
        self.in_proj = nn.Linear(width, 2 * expand * width)
        self.conv = nn.Parameter(torch.empty(expand * width, kernel))
        self.out_proj = nn.Linear(expand * width, width)

    def forward(self, x: Tensor, span: Span, state: LayerState | None) -> tuple[Tensor, LayerState]:
        u, gate = self.in_proj(x).chunk(2, dim=-1)
        c, inputs = short_conv(u, self.conv, None if state is None else state["conv"])
        return self.out_proj(F.silu(c) * gate), {"conv": conv_tail(inputs, span, self.conv.shape[1])}


def rotate(x_BTHE: Tensor, position_BT: Tensor, base: float, share: float = 1.0) -> Tensor:
    """Rotary position embedding over the first share of the head, halves rotated together (RoFormer; NeoX layout)."""
    half = int(x_BTHE.shape[-1] * share) // 2
    x_BTHE, rest = x_BTHE[..., : 2 * half], x_BTHE[..., 2 * half :]
    frequency = base ** -(torch.arange(half, device=x_BTHE.device, dtype=torch.float32) / half)
    angle = position_BT[:, :, None, None].float() * frequency
    cos, sin = angle.cos(), angle.sin()
    a, b = x_BTHE.float().chunk(2, dim=-1)
    return torch.cat(((a * cos - b * sin).to(rest.dtype), (b * cos + a * sin).to(rest.dtype), rest), dim=-1)


class WindowAttention(nn.Module):
    """Causal softmax attention over the current token and the W before it, with rotary positions.

    State: `keys`, `values` (B, W, H, E), a ring buffer: token p lives in slot p mod W, keys are
    stored rotated.  Time is cut into blocks of W queries, each against its own and the previous
    block of keys, so cost and memory are linear in T.
    """

    def __init__(self, width: int, heads: int, window: int, base: float):
        super().__init__()
        self.heads, self.window, self.base = heads, window, base
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, span: Span, state: LayerState | None) -> tuple[Tensor, LayerState]:
        B, T, width = x.shape
        W, H = self.window, self.heads
        q, k, v = self.qkv_proj(x).reshape(B, T, 3, H, width // H).unbind(2)
        position = span.position[:, None] + torch.arange(T, device=x.device)
        q, k = rotate(q, position, self.base), rotate(k, position, self.base)

        slots = torch.arange(W, device=x.device)
        if state is None:
            k_all, v_all = (F.pad(y, (0, 0, 0, 0, W, 0)) for y in (k, v))
        else:
            oldest_first = (span.position[:, None] + slots) % W
            k_all = torch.cat((_take(state["keys"], oldest_first).to(k.dtype), k), dim=1)
            v_all = torch.cat((_take(state["values"], oldest_first).to(v.dtype), v), dim=1)

        first_real = (W - span.position).clamp(min=0)
        y = self._attend(q, k_all, v_all, first_real)

        end = (span.position + span.ends(T))[:, None]
        newest = end - 1 - (end - 1 - slots) % W
        index = (newest - span.position[:, None] + W).clamp(min=0)
        after = {"keys": _take(k_all, index).float(), "values": _take(v_all, index).float()}
        return self.out_proj(y.reshape(B, T, width)), after

    def _attend(self, q: Tensor, k_all: Tensor, v_all: Tensor, first_real: Tensor) -> Tensor:
        """q (B,T,H,E) against k_all, v_all (B,W+T,H,E): query t sees entries t ... t+W from first_real on."""
        B, T, H, E = q.shape
        W = self.window
        if T <= W:
            block, N = T, 1
            keys, values = k_all[:, None], v_all[:, None]
        else:
            block = W
            pad = -T % W
            q, k_all, v_all = (F.pad(y, (0, 0, 0, 0, 0, pad)) for y in (q, k_all, v_all))
            N = (T + pad) // W
            keys, values = (
                torch.cat((y[:, :-1], y[:, 1:]), dim=2)
                for y in (k_all.reshape(B, N + 1, W, H, E), v_all.reshape(B, N + 1, W, H, E))
            )
        row = torch.arange(block, device=q.device)[:, None]
        column = torch.arange(keys.shape[2], device=q.device)[None, :]
        band = (column >= row) & (column <= row + W)
        entry = torch.arange(N, device=q.device)[:, None] * W + column
        allowed = band & (entry[None, :, None, :] >= first_real[:, None, None, None])
        y = F.scaled_dot_product_attention(
            q.reshape(B * N, block, H, E).transpose(1, 2),
            keys.reshape(B * N, -1, H, E).transpose(1, 2),
            values.reshape(B * N, -1, H, E).transpose(1, 2),
            attn_mask=allowed.reshape(B * N, 1, block, -1),
        )
        return y.transpose(1, 2).reshape(B, N * block, H, E)[:, :T]


class FullAttention(nn.Module):
    """Causal softmax attention over everything read so far: the Transformer to compare with.

    State: `keys`, `values` (B, L, H, E), float32, keys rotated; L grows with what was read (the
    longest row's tokens), so this is the one mixer whose state has no fixed size.
    """

    def __init__(self, width: int, heads: int, base: float, rotary_share: float):
        super().__init__()
        self.heads, self.base, self.rotary_share = heads, base, rotary_share
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, span: Span, state: LayerState | None) -> tuple[Tensor, LayerState]:
        B, T, width = x.shape
        q, k, v = self.qkv_proj(x).reshape(B, T, 3, self.heads, width // self.heads).unbind(2)
        new = torch.arange(T, device=x.device)
        position = span.position[:, None] + new
        q, k = (rotate(y, position, self.base, self.rotary_share) for y in (q, k))
        L = 0
        if state is not None:
            L = state["keys"].shape[1]
            k, v = (torch.cat((state[name].to(y.dtype), y), dim=1) for name, y in (("keys", k), ("values", v)))
        allowed = None  # without a state, padding stands after the text: causal attention never sees it
        if L:
            old = torch.arange(L, device=x.device)[None, None] < span.position[:, None, None]
            causal = (new[None, :] <= new[:, None])[None]
            allowed = torch.cat((old.expand(B, T, L), causal.expand(B, T, T)), dim=2)[:, None]
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=allowed, is_causal=allowed is None
        )
        end = span.position + span.ends(T)
        slot = torch.arange(int(end.max()), device=x.device)[None]
        kept = torch.where(slot < span.position[:, None], slot, L + slot - span.position[:, None]).clamp(max=L + T - 1)
        inside = (slot < end[:, None])[..., None, None]
        after = {name: (_take(y, kept) * inside).float() for name, y in (("keys", k), ("values", v))}
        return self.out_proj(y.transpose(1, 2).reshape(B, T, width)), after


class PrefixLinearAttention(nn.Module):
    """Linear attention whose first tokens are read non-causally ("Just read twice", section 4.2, eq. 2 to 4).

    The prefix has key and value projections of its own (k_enc, v_enc); queries are shared.  With
    `prefix_encoder=False` it is the causal layer of Based.  State: S (B,H,F,V) and z (B,H,F),
    float32.

    key_conv > 0 puts a short convolution of that many taps on the keys (the shift of H3, Fu et al.
    2023; not in the published JRT models): a key then knows the token before its value, which is
    what associative recall needs.  State then also: `keys` (B, key_conv - 1, H * D).

    qk_norm: queries and keys of length 1 times a learned scale per head (at first sqrt(D)).
    normalise=False leaves the division by the sum of similarities out.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feature_dim: int,
        map_name: str,
        prefix_encoder: bool,
        *,
        key_conv: int = 0,
        qk_norm: bool = False,
        normalise: bool = True,
    ):
        super().__init__()
        self.heads, self.phi, self.normalise = heads, feature_map(map_name, feature_dim, heads), normalise
        self.qk_scale = nn.Parameter(torch.full((heads, 1), feature_dim**0.5)) if qk_norm else None
        self.q_proj = nn.Linear(width, heads * feature_dim, bias=False)
        self.k_proj = nn.Linear(width, heads * feature_dim, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        if prefix_encoder:
            self.k_enc_proj = nn.Linear(width, heads * feature_dim, bias=False)
            self.v_enc_proj = nn.Linear(width, width, bias=False)
        self.prefix_encoder, self.key_conv = prefix_encoder, key_conv
        if key_conv:
            self.k_taps = nn.Parameter(torch.zeros(heads * feature_dim, key_conv))
            if prefix_encoder:
                self.k_enc_taps = nn.Parameter(torch.zeros(heads * feature_dim, key_conv))
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, span: Span, state: LayerState | None) -> tuple[Tensor, LayerState]:
        B, T, width = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.reshape(B, -1, self.heads, y.shape[-1] // self.heads)

        def similar(y: Tensor) -> Tensor:
            if span.pads is not None:
                y = y.masked_fill(span.pads[:, : y.shape[1], None], 0.0)
            return heads(y) if self.qk_scale is None else F.normalize(heads(y), dim=-1) * self.qk_scale

        before = None if state is None else (state["S"], state["z"])
        if self.prefix_encoder and span.prefix_lengths is not None:
            prefix = x[:, : int(span.prefix_lengths.max())]
            k_enc = self.k_enc_proj(prefix)
            if self.key_conv:
                k_enc, _ = short_conv(k_enc, self.k_enc_taps, None)
            v_enc = heads(self.v_enc_proj(prefix))
            before = prefix_state(
                similar(k_enc).to(v_enc.dtype),  # autocast normalises in float32
                v_enc,
                feature_map=self.phi,
                prefix_lengths=span.prefix_lengths,
            )
        q, k, v, after = heads(self.q_proj(x)), self.k_proj(x), heads(self.v_proj(x)), {}
        q = q if self.qk_scale is None else F.normalize(q, dim=-1) * self.qk_scale
        if self.key_conv:
            k, inputs = short_conv(k, self.k_taps, None if state is None else state["keys"])
            after["keys"] = conv_tail(inputs, span, self.key_conv)
        q, k = q.to(v.dtype), similar(k).to(v.dtype)
        y, (S, z) = linear_attention(
            q, k, v, feature_map=self.phi, state=before, mask=span.mask(T), normalise=self.normalise
        )
        return self.out_proj(y.reshape(B, T, width)), {"S": S, "z": z, **after}

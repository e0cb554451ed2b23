"""Prefix linear attention on a GPU: launch shapes, gradients, and when the kernels may be used at all.

The kernels themselves are in triton_kernels.py; triton is imported where it is used.  Rows of a batch and
packed documents are one thing here: sequences that lie one after another, each cut into segments.  In the
backward pass states are computed anew, nothing of them is kept; every gradient is written once, by one
program, so that two runs give the same bits.

Shapes: B batch, T time, H heads, D width of q and k, V width of v, F expanded width; G segments, N sequences.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reread.errors import BadInput
from reread.ops.feature_maps import Elu, FeatureMap, Gelu, Identity, Relu, Taylor

MAPS: dict[type, int] = {Taylor: 0, Identity: 1, Elu: 2, Relu: 3, Gelu: 4}
WIDTHS = {"taylor": (8, 16, 32), "elementwise": (8, 16, 32, 64)}
VALUE_WIDTHS = (16, 32, 48, 64, 96, 112, 128)
VERSIONS = ((3, 6), (3, 7))
CAPABILITY = (8, 0)
SHARED = 104 << 10  # bytes that the widest kernels take without bfloat16; smaller GPUs have 99 KiB
SEGMENT = {"taylor": 512, "elementwise": 256}
PREFIX_SEGMENT, ENOUGH_PROGRAMS = 2048, 264  # two for each multiprocessor of an H100
SCAN_BLOCK = 1024
TILES = {
    "segment_sums": {"BT": 64, "num_warps": 8, "num_stages": 2},
    "attend": {"BT": 128, "BK": 64, "num_warps": 8, "num_stages": 2},
    "grad_q": {"BT": 128, "BK": 64, "num_warps": 8, "num_stages": 2},
    "grad_kv": {"BT": 64, "BK": 128, "num_warps": 8, "num_stages": 2},
}
FLOAT32_TILES = {  # without the matrix unit less fits into registers
    "segment_sums": {"BT": 16, "num_warps": 8, "num_stages": 2},
    "attend": {"BT": 32, "BK": 32, "num_warps": 8, "num_stages": 2},
    "grad_q": {"BT": 32, "BK": 32, "num_warps": 8, "num_stages": 2},
    "grad_kv": {"BT": 32, "BK": 32, "num_warps": 8, "num_stages": 2},
}


@dataclass(frozen=True)
class Segments:
    """table (G,3): sequence, first token, end; first (N+1,): a sequence's first segment; segments of `length`."""

    table: Tensor
    first: Tensor
    length: int

    @property
    def sequences(self) -> int:
        return len(self.first) - 1


@dataclass(frozen=True)
class Plan:
    """What all kernels of one call share."""

    phi: FeatureMap
    segments: Segments
    normalise: bool
    dtype: torch.dtype
    heads: int
    V: int

    @property
    def taylor(self) -> bool:
        return isinstance(self.phi, Taylor)

    @property
    def grid(self) -> tuple[int, int]:
        return len(self.segments.table), self.heads

    def sizes(self) -> dict[str, Any]:
        """The constants that every kernel with features takes."""
        D = self.phi.head_width
        return {"D": D, "V": self.V, "F": self.phi.width, "SCALE": D**-0.5, "MAP": MAPS[type(self.phi)]}

    def products(self) -> dict[str, Any]:
        """In which dtype matrices are multiplied: bfloat16 for bfloat16; float16 as TF32, whose range sums of
        squares fit; float32 in full.  The interpreter knows float32 only."""
        import triton.language as tl

        half = self.dtype == torch.bfloat16 and not interpreted()
        return {
            "DOT": tl.bfloat16 if half else tl.float32,
            "PRECISION": "tf32" if self.dtype == torch.float16 else "ieee",
        }

    @property
    def splits(self) -> bool:
        return self.taylor and self.dtype == torch.bfloat16

    def state(self, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Room for count states: S (count,H,F,V) and z (count,H,F)."""
        shape = (count, self.heads, self.phi.width)
        S = torch.empty((*shape, self.V), dtype=torch.float32, device=like.device)
        return S, torch.empty(shape, dtype=torch.float32, device=like.device)


def power_of_two(n: int) -> int:
    """The next one, and at least 16, the smallest side of a matrix product."""
    return max(16, 1 << (n - 1).bit_length())


def interpreted() -> bool:
    """Whether the kernels run in triton's interpreter (TRITON_INTERPRET=1 when triton was first imported)."""
    from reread.ops import triton_kernels

    return type(triton_kernels.scan).__name__ == "InterpretedFunction"


def tiles(kernel: str, p: Plan) -> dict[str, int]:
    """How many tokens (BT queries, BK keys), features (BF; HEAD + TAIL for sums) and values (BV) a program takes,
    and its warps.  Chosen from what the compiler says of them (docs/kernels.md), not from timings."""
    D, BV, wide = p.phi.head_width, min(64, power_of_two(p.V)), p.V > 64
    full = p.dtype == torch.float32 and not interpreted()
    chosen = (FLOAT32_TILES if full else TILES)[kernel]
    if kernel == "segment_sums":
        head, tail = {8: (32, 16), 16: (128, 32), 32: (128, 16)}[D] if p.taylor else (power_of_two(D), 0)
        return {"HEAD": head, "TAIL": tail, "BV": BV, **chosen}
    chosen = {"BF": 16 if full else 32, **({"BV": BV} if kernel == "attend" else {}), **chosen}
    if kernel == "grad_kv" and (wide or D == 64):
        if full:
            chosen |= {"BT": 16, "BK": 16}
        elif p.dtype == torch.float16:
            chosen |= {"BT": 16, "BF": 16, "BK": 64}
        elif D == 64:
            chosen |= {"BK": 32}
    return chosen


def unusable(device: torch.device) -> str | None:
    """Why no kernel can run on this device, in words; None where they can."""
    try:
        import triton
    except ImportError:
        return "triton is not installed (pip install 'reread[gpu]')"
    version = tuple(int(x) for x in triton.__version__.split(".")[:2])
    if version not in VERSIONS:
        known = ", ".join(f"{major}.{minor}" for major, minor in VERSIONS)
        return f"the kernels are made for triton {known}, and this is {triton.__version__}"
    if device.type != "cuda" and not interpreted():
        return f"the kernels need a CUDA device, and these tensors are on {device.type}"
    if device.type == "cuda" and torch.version.hip is not None:
        return f"the kernels are made for CUDA, and this is ROCm {torch.version.hip}"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < CAPABILITY:
        return f"the kernels need compute capability 8.0, and this is {torch.cuda.get_device_name(device)}"
    return None


def why_not(phi: FeatureMap, k: Tensor, v: Tensor) -> str | None:
    """Why the kernels cannot take this, in words; None where they can."""
    if reason := unusable(k.device):
        return reason
    if type(phi) not in MAPS:
        return f"there are no kernels for the feature map {type(phi).__name__.lower()}"
    widths = WIDTHS["taylor" if isinstance(phi, Taylor) else "elementwise"]
    if k.shape[3] not in widths or v.shape[3] not in VALUE_WIDTHS:
        return f"there are kernels for keys {widths} and values {VALUE_WIDTHS} wide, not {k.shape[3]} and {v.shape[3]}"
    if k.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"there are kernels for float32, bfloat16 and float16, not {k.dtype}"
    if k.is_cuda and k.dtype != torch.bfloat16 and k.shape[3] >= 32 and v.shape[3] > 64:
        here = getattr(torch.cuda.get_device_properties(k.device), "shared_memory_per_block_optin", SHARED)
        if here < SHARED:
            return f"heads this wide in {k.dtype} need {SHARED:,} bytes of shared memory, and this GPU has {here:,}"
    return None


@functools.cache
def say_once(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=4)


def takes(backend: str, phi: FeatureMap, k: Tensor, v: Tensor) -> bool:
    """Whether the kernels compute this call: where they are asked for, and for "auto" on a CUDA device.

    Raises BadInput where they are asked for and cannot; a map without kernels is computed in chunks instead.
    Both that and "auto" passing over a GPU that could not be used are said once.
    """
    if backend != "triton" and (backend != "auto" or not k.is_cuda):
        return False
    reason = why_not(phi, k, v)
    if reason is None:
        return True
    if backend == "triton" and type(phi) in MAPS:
        raise BadInput("the triton backend cannot compute this", got=reason, todo="use backend auto or chunked")
    say_once(f"{reason}: computed in chunks of plain torch")
    return False


@functools.lru_cache(maxsize=64)
def cut(bounds: tuple[int, ...], length: int, device: torch.device) -> Segments:
    """Sequences from bounds[n] to bounds[n + 1] in segments of at most `length` tokens."""
    table, first = [], [0]
    for n, (start, end) in enumerate(itertools.pairwise(bounds)):
        table += [(n, s, min(s + length, end)) for s in range(start, end, length)]
        first.append(len(table))
    return Segments(
        torch.tensor(table, dtype=torch.int64, device=device).reshape(-1, 3),
        torch.tensor(first, dtype=torch.int64, device=device),
        length,
    )


def plan(phi: FeatureMap, k: Tensor, v: Tensor, normalise: bool, bounds: tuple[int, ...] | None) -> Plan:
    """Segments of the rows of a batch, or of packed documents between bounds."""
    B, T, H, _ = k.shape
    length = SEGMENT["taylor" if isinstance(phi, Taylor) else "elementwise"]
    if bounds is None:
        bounds = tuple(range(0, B * T + 1, T)) if T else (0,) * (B + 1)
    return Plan(phi, cut(bounds, length, k.device), normalise, k.dtype, H, v.shape[-1])


def prefix_plan(phi: FeatureMap, k: Tensor, v: Tensor, bounds: tuple[int, ...] | None) -> Plan:
    """The same for a prefix, where no query needs the states in between: longer segments, if they are many."""
    p = plan(phi, k, v, True, bounds)
    B, T, H, _ = k.shape
    if B * H * (T // PREFIX_SEGMENT) < ENOUGH_PROGRAMS:
        return p
    bounds = tuple(range(0, B * T + 1, T)) if bounds is None else bounds
    return replace(p, segments=cut(bounds, PREFIX_SEGMENT, k.device))


def launch(kernel: Any, grid: tuple[int, ...], *tensors: Any, **constants: Any) -> None:
    """The one place where a kernel is started (gpu/compile_facts.py looks in here without a GPU)."""
    with torch.cuda.device_of(tensors[0]):
        kernel[grid](*tensors, **constants)


def segment_sums(
    p: Plan, x: Tensor, u: Tensor, mask: Tensor, masked: bool, weights: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Every segment's S (G,H,F,V) and z (G,H,F); weights: of u and of the ones of z, (tokens,H) each."""
    import triton

    from reread.ops.triton_kernels import segment_sums as kernel

    G, H = p.grid
    S, z = p.state(G, x)
    t = tiles("segment_sums", p)
    groups = triton.cdiv(p.phi.width, t["HEAD"] + t["TAIL"]) * triton.cdiv(p.V, t["BV"])
    scale, weight = weights or (x, x)
    launch(
        kernel, (G, H, groups),
        x, u, mask, scale, weight, S, z, p.segments.table, H,
        **p.sizes(), **p.products(), FP=power_of_two(p.phi.head_width), MASKED=masked,
        WEIGHTED=weights is not None, SPLIT=p.splits and weights is None, **t,
    )  # fmt: skip
    return S, z


def scan(p: Plan, sums: tuple[Tensor, Tensor], initial: tuple[Tensor, Tensor] | None, *, reverse: bool = False):
    """In place what came before (reverse: after) each segment; returns each sequence's whole, (N,H,...)."""
    import triton

    from reread.ops.triton_kernels import scan as kernel

    final = p.state(p.segments.sequences, sums[0])
    for i, (part, whole) in enumerate(zip(sums, final, strict=True)):
        E = whole.shape[2:].numel()
        launch(
            kernel, (p.segments.sequences, p.heads, triton.cdiv(E, SCAN_BLOCK)),
            part, p.segments.first, initial[i] if initial else part, whole, p.heads, E,
            INITIAL=initial is not None, REVERSE=reverse, BLOCK=SCAN_BLOCK,
        )  # fmt: skip
    return final


def start_states(p: Plan, k: Tensor, v: Tensor, initial, mask: Tensor, masked: bool):
    """The states at the segments' starts, (G,H,...), and at the sequences' ends, (N,H,...)."""
    states = segment_sums(p, k, v, mask, masked)
    return states, scan(p, states, initial)


class Prefix(torch.autograd.Function):
    """k (tokens,H,D), v (tokens,H,V) -> S (N,H,F,V), z (N,H,F)."""

    @staticmethod
    def forward(ctx, k, v, mask, p):
        flags = torch.empty(0, device=k.device) if mask is None else mask
        ctx.save_for_backward(k, v, flags)
        ctx.plan, ctx.masked = p, mask is not None
        return start_states(p, k, v, None, flags, ctx.masked)[1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dS, dz):
        k, v, flags = ctx.saved_tensors
        state = dS.float().contiguous(), dz.float().contiguous()
        dk, dv = grad_kv(ctx.plan, (k, k, v, v), None, state, flags, ctx.masked)
        return dk, dv, None, None


class Attend(torch.autograd.Function):
    """q, k (tokens,H,D), v (tokens,H,V), state (N,H,...) or None -> y (tokens,H,V) and the states at the ends."""

    @staticmethod
    def forward(ctx, q, k, v, S0, z0, mask, p):
        flags = torch.empty(0, device=k.device) if mask is None else mask
        initial = None if S0 is None else (S0, z0)
        masked = mask is not None
        states, final = start_states(p, k, v, initial, flags, masked)
        y, den = attend(p, (q, k, v), states, flags, masked)
        ctx.save_for_backward(q, k, v, S0, z0, flags, y, den)
        ctx.plan, ctx.masked = p, masked
        return y, *final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy, dS, dz):
        q, k, v, S0, z0, flags, y, den = ctx.saved_tensors
        p, masked, dy = ctx.plan, ctx.masked, dy.contiguous()
        weights = grad_normaliser(p, dy, y, den)
        states, _ = start_states(p, k, v, None if S0 is None else (S0, z0), flags, masked)
        dq = grad_q(p, (q, k, v, dy), weights, states, flags, masked)
        later = segment_sums(p, q, dy, flags, masked, weights)
        whole = scan(p, later, (dS.float().contiguous(), dz.float().contiguous()), reverse=True)
        dk, dv = grad_kv(p, (q, k, v, dy), weights, later, flags, masked)
        return dq, dk, dv, *((None, None) if S0 is None else whole), None, None


def attend(p: Plan, qkv: tuple[Tensor, Tensor, Tensor], states, mask: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """y (tokens,H,V) and the normaliser before its guard, (tokens,H)."""
    import triton

    from reread.ops.triton_kernels import attend as kernel

    q, k, v = qkv
    y, den = torch.empty_like(v), torch.empty(v.shape[:2], dtype=torch.float32, device=v.device)
    t, (G, H) = tiles("attend", p), p.grid
    launch(
        kernel, (G * (p.segments.length // t["BT"]), H, triton.cdiv(p.V, t["BV"])),
        q, k, v, mask, *states, y, den, p.segments.table, H, float(p.phi.guard),
        **p.sizes(), **p.products(), FP=power_of_two(p.phi.head_width), L=p.segments.length,
        MASKED=masked, NORMALISE=p.normalise, CAN_VANISH=p.phi.can_vanish, SPLIT=p.splits, **t,
    )  # fmt: skip
    return y, den


def grad_normaliser(p: Plan, dy: Tensor, y: Tensor, den: Tensor) -> tuple[Tensor, Tensor]:
    """(tokens,H) twice: d numerator = the first times dy; d normaliser = the second."""
    import triton

    from reread.ops.triton_kernels import grad_normaliser as kernel

    scale, weight, block = torch.empty_like(den), torch.empty_like(den), 32
    launch(
        kernel, (triton.cdiv(den.numel(), block),),
        dy, y, den, scale, weight, den.numel(), float(p.phi.guard), V=p.V, VP=power_of_two(p.V), BT=block,
        NORMALISE=p.normalise, CAN_VANISH=p.phi.can_vanish,
    )  # fmt: skip
    return scale, weight


def grad_q(p: Plan, inputs: tuple[Tensor, ...], weights, states, mask: Tensor, masked: bool) -> Tensor:
    """dq (tokens,H,D) from (q, k, v, dy) and the states at the segments' starts."""
    from reread.ops.triton_kernels import grad_q as kernel

    dq, t, (G, H) = torch.empty_like(inputs[0]), tiles("grad_q", p), p.grid
    q, k, v, dy = inputs
    launch(
        kernel, (G * (p.segments.length // t["BT"]), H),
        q, k, v, mask, dy, *weights, *states, dq, p.segments.table, H,
        **p.sizes(), **p.products(), FP=power_of_two(p.phi.head_width), VP=power_of_two(p.V),
        L=p.segments.length, MASKED=masked, **t,
    )  # fmt: skip
    return dq


def grad_kv(p: Plan, inputs: tuple[Tensor, ...], weights, dstates, mask: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """dk (tokens,H,D), dv (tokens,H,V) from (q, k, v, dy) and the gradients of the states at the segments' ends;
    weights None: of a prefix, which no query of its own reads."""
    from reread.ops.triton_kernels import grad_kv as kernel

    q, k, v, dy = inputs
    dk, dv, t, (G, H) = torch.empty_like(k), torch.empty_like(v), tiles("grad_kv", p), p.grid
    launch(
        kernel, (G * (p.segments.length // t["BK"]), H),
        q, k, v, mask, dy, *(weights or (k, k)), *dstates, dk, dv, p.segments.table, H,
        **p.sizes(), **p.products(), FP=power_of_two(p.phi.head_width), VP=power_of_two(p.V),
        L=p.segments.length, MASKED=masked, PREFIX=weights is None, **t,
    )  # fmt: skip
    return dk, dv


def step(p: Plan, qkv: tuple[Tensor, ...], state, mask: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One token for each row: y (B,H,V), and new S and z; for inference."""
    import triton

    from reread.ops.triton_kernels import step as kernel

    q, k, v = qkv
    y, (S, z) = torch.empty_like(v), p.state(len(v), v)
    flags, given = (v if mask is None else mask), state or (S, z)
    BV = min(32, power_of_two(p.V))
    launch(
        kernel, (len(v), p.heads, triton.cdiv(p.V, BV)),
        q, k, v, flags, *given, y, S, z, p.heads, float(p.phi.guard), **p.sizes(), BF=32, BV=BV,
        MASKED=mask is not None, INITIAL=state is not None, NORMALISE=p.normalise, CAN_VANISH=p.phi.can_vanish,
        num_warps=4,
    )  # fmt: skip
    return y, (S, z)


def tokens(x: Tensor) -> Tensor:
    """(B,T,H,W) -> (B*T,H,W), one after another in memory."""
    return x.flatten(0, 1).contiguous()


def flags(mask: Tensor | None) -> Tensor | None:
    """(B,T) bool -> (B*T,) bytes."""
    return None if mask is None else mask.flatten().to(torch.uint8)


@torch.compiler.disable  # the launches in it, the gradients and the plans are not for a compiler to trace
def prefix_state(
    k: Tensor, v: Tensor, phi: FeatureMap, mask: Tensor | None, bounds: tuple[int, ...] | None = None
) -> tuple[Tensor, Tensor]:
    """S (N,H,F,V) and z (N,H,F), float32, of the rows or of the documents between bounds."""
    p = prefix_plan(phi, k, v, bounds)
    return Prefix.apply(tokens(k), tokens(v), flags(mask), p)


@torch.compiler.disable
def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    phi: FeatureMap,
    state: tuple[Tensor, Tensor] | None,
    mask: Tensor | None,
    normalise: bool,
    bounds: tuple[int, ...] | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """y (B,T,H,V) in the dtype of v, and the states after the rows or the documents between bounds."""
    p = plan(phi, k, v, normalise, bounds)
    S0, z0 = (None, None) if state is None else (x.contiguous() for x in state)
    wanted = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (q, k, v, S0, z0))
    if k.shape[1] == 1 and bounds is None and not wanted and len(k):
        y, new = step(p, (tokens(q), tokens(k), tokens(v)), None if S0 is None else (S0, z0), flags(mask))
        return y.unflatten(0, v.shape[:2]), new
    y, S, z = Attend.apply(tokens(q), tokens(k), tokens(v), S0, z0, flags(mask), p)
    return y.unflatten(0, v.shape[:2]), (S, z)

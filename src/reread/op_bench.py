"""Speed of the op: linear attention with the Taylor map against softmax attention, on a CPU or a GPU.

Forward, forward with backward, and one decoding step, at every length and batch; each contender's least bytes
and operations stand beside its time, and what the machine itself reaches in a copy and in a matrix product is
measured first.  An op of ours that does not match its reference is not timed.  This file knows no model.

Shapes: B batch, N time, H heads, D width of q and k, V width of v, F expanded width, M prefix.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reread.bench import DTYPES, TOLERANCE, WrongAnswer, clock_of, named, rounds, start
from reread.config import to_dict
from reread.errors import BadInput, UnknownName
from reread.models.placed import checked
from reread.ops import FeatureMap, feature_map, linear_attention, prefix_state
from reread.runlog import Run

SHORT = 512  # tokens that the definition, which is quadratic, is computed for
CEILING_BYTES, CEILING_SIDE = {"cpu": 2**28, "cuda": 2**30}, {"cpu": 2048, "cuda": 8192}
GRAPH = ", CUDA graph"
PASSES = {"forward": "op", "backward": "op, forward + backward", "decode": "op, one token"}
BACKWARD = {True: (3.0, 3.5), False: (3.0, 3.0)}  # softmax attention or not: times bytes and operations of forward
KERNELS = {"flash": "FLASH_ATTENTION", "cuDNN": "CUDNN_ATTENTION"}


@dataclass(frozen=True)
class OpBench:
    """One sequence-mixing op: linear attention with the Taylor map against causal softmax attention.

    passes: of PASSES; sizes: N (decode: tokens in the cache of softmax attention); prefixes: tokens that "prefix
    linear" reads as prefix with keys and values of their own, as JRT-RNN; at most 1: a share of N.  "linear, 2 N"
    reads as many tokens twice, as JRT-Prompt.  heads, D = feature_dim, V = value_dim (softmax attention has q, k, v
    of V).
    """

    passes: tuple[str, ...] = ("forward",)
    sizes: tuple[int, ...] = (512, 2048, 8192)
    batches: tuple[int, ...] = (1,)
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    heads: int = 16
    feature_dim: int = 16
    value_dim: int = 64
    prefixes: tuple[float, ...] = (0.5,)
    rounds: int = 7
    threads: int = 0

    def check(self) -> None:
        named(self.threads, passes=self.passes, sizes=self.sizes, batches=self.batches, dtypes=self.dtypes)
        for known, names in ((PASSES, self.passes), (DTYPES, self.dtypes)):
            for name in names:
                if name not in known:
                    raise UnknownName("dtype" if known is DTYPES else "pass", name, known)
        if min(self.heads, self.feature_dim, self.value_dim, self.rounds, *self.batches, *self.sizes) < 1:
            raise BadInput("sizes, batches, heads, widths and rounds must be at least 1", got=to_dict(self))
        if not all(share >= 0.0 and (share <= 1.0 or share == int(share)) for share in self.prefixes):
            raise BadInput("a prefix is a share of the tokens, 0 to 1, or a number of them", got=self.prefixes)


@dataclass(frozen=True)
class Op:
    """What is timed: call(*tensors); the bytes that must move and the operations that must be done at least; whether
    it is ours (call takes backend=) and is held against its reference."""

    call: Callable[..., Tensor]
    tensors: tuple[Tensor, ...]
    bytes: float
    flops: float
    ours: bool = False
    attends: bool = False  # softmax attention, whose backward pass makes its scores anew


def linear(phi: FeatureMap, q: Tensor, k: Tensor, v: Tensor, backend: str = "auto") -> Tensor:
    return linear_attention(q, k, v, feature_map=phi, backend=backend)[0]


def prefix_linear(
    phi: FeatureMap, q: Tensor, k: Tensor, v: Tensor, k_prefix: Tensor, v_prefix: Tensor, backend: str = "auto"
) -> Tensor:
    state = prefix_state(k_prefix, v_prefix, feature_map=phi, backend=backend)
    return linear_attention(q, k, v, feature_map=phi, state=state, backend=backend)[0]


def next_token(phi: FeatureMap, S: Tensor, z: Tensor, q: Tensor, k: Tensor, v: Tensor, backend: str = "auto") -> Tensor:
    return linear_attention(q, k, v, feature_map=phi, state=(S, z), backend=backend)[0]


def softmax(kernel: str, causal: bool, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's attention, (B,H,N,V), by one kernel of KERNELS, or as torch decides ("")."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(getattr(SDPBackend, KERNELS[kernel])) if kernel else nullcontext():
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def softmaxes(tensors: tuple[Tensor, ...], causal: bool, flops: float) -> dict[str, Op]:
    """Softmax attention by every kernel that is known here; in float32 or on a CPU there is no choice."""
    half = tensors[0].is_cuda and tensors[0].dtype != torch.float32
    moved = size_of(*tensors, tensors[0])
    names = {f"softmax, {name}": name for name in KERNELS} if half else {"softmax (SDPA)": ""}
    return {
        name: Op(partial(softmax, kernel, causal), tensors, moved, flops, attends=True)
        for name, kernel in names.items()
    }


def size_of(*tensors: Tensor) -> float:
    """Bytes of them all."""
    return float(sum(x.numel() * x.element_size() for x in tensors))


class Draw:
    """Random tensors of one cell, the same at every call for one shape and order of calls."""

    def __init__(self, spec: OpBench, B: int, dtype: str, device: torch.device):
        self.spec, self.B, self.dtype, self.device = spec, B, DTYPES[dtype], device
        self.generator = torch.Generator(device).manual_seed(0)

    def __call__(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        made = torch.randn(self.B, *shape, generator=self.generator, device=self.device)
        return made.to(dtype or self.dtype)

    def keys(self, T: int) -> Tensor:
        return self(T, self.spec.heads, self.spec.feature_dim)

    def values(self, T: int) -> Tensor:
        return self(T, self.spec.heads, self.spec.value_dim)

    def wide(self, T: int) -> Tensor:
        """(B,H,T,V), as softmax attention takes it."""
        return self(self.spec.heads, T, self.spec.value_dim)


def sequence_ops(spec: OpBench, N: int, draw: Draw, phi: FeatureMap) -> dict[str, Op]:
    """Whole texts, the baseline first."""
    B, H, V = draw.B, spec.heads, spec.value_dim
    each = 4.0 * B * H * phi.width * V  # a token is added to the state, and reads it: two operations a number each
    ops = softmaxes((draw.wide(N), draw.wide(N), draw.wide(N)), True, 2.0 * B * H * V * N * N)
    for name, T in (("linear", N), ("linear, 2 N", 2 * N)):
        q, k, v = draw.keys(T), draw.keys(T), draw.values(T)
        ops[name] = Op(partial(linear, phi), (q, k, v), size_of(q, k, v, v), each * T, ours=True)
    q, k, v = ops["linear"].tensors
    for share in spec.prefixes:
        M = max(1, int(N * share) if share <= 1 else int(share))
        k_prefix, v_prefix = draw.keys(M), draw.values(M)
        name = f"prefix linear, {share:g} N" if share <= 1 else f"prefix linear, {M:,}"
        tensors = (q, k, v, k_prefix, v_prefix)
        ops[name] = Op(partial(prefix_linear, phi), tensors, size_of(*tensors, v), each * (N + M / 2), ours=True)
    return ops | others(phi, q, k, v, each * N)


def others(phi: FeatureMap, q: Tensor, k: Tensor, v: Tensor, flops: float) -> dict[str, Op]:
    """The same map by flash-linear-attention, where it is installed and there is a GPU."""
    if not q.is_cuda or importlib.util.find_spec("fla") is None:
        return {}

    def based(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        from fla.ops.based import fused_chunk_based

        return fused_chunk_based(q, k, v)

    def chunks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        from fla.ops.linear_attn import chunk_linear_attn

        wide = -phi.width % 16  # features in memory, a multiple of 16 of them
        features = (F.pad(phi(x), (0, wide)).to(v.dtype) for x in (q, k))
        return chunk_linear_attn(*features, v, scale=1.0)[0]

    moved = size_of(q, k, v, v)
    named_ops = {"fla fused_chunk_based": based, "fla chunk_linear_attn": chunks}
    return {name: Op(call, (q, k, v), moved, flops) for name, call in named_ops.items()}


def decode_ops(spec: OpBench, N: int, draw: Draw, phi: FeatureMap) -> dict[str, Op]:
    """One token for every row: after a cache of N tokens, and from a state."""
    B, H, V = draw.B, spec.heads, spec.value_dim
    ops = softmaxes((draw.wide(1), draw.wide(N), draw.wide(N)), False, 4.0 * B * H * V * N)
    past = 128  # tokens that the state was summed over
    S, z = prefix_state(draw.keys(past), draw.values(past), feature_map=phi)
    tensors = (S, z, draw.keys(1), draw.keys(1), draw.values(1))
    ours = Op(partial(next_token, phi), tensors, 2 * size_of(S, z), 4.0 * B * H * phi.width * V, ours=True)
    return {**ops, "linear": ours}


def gradients(call: Callable[..., Tensor], tensors: tuple[Tensor, ...], dy: Tensor) -> tuple[Tensor, ...]:
    """Forward and backward: the gradient of <dy, y> to every input."""
    with torch.inference_mode(False), torch.enable_grad():
        return torch.autograd.grad(call(*tensors), tensors, dy)


def difference(got: Tensor, want: Tensor) -> float:
    """Norm of the difference over the norm, a row at a time (float64 copies of everything would not fit)."""
    rows = [((a.double() - b.double()).norm(), b.double().norm()) for a, b in zip(got, want, strict=True)]
    apart, whole = (torch.stack(list(norms)).norm() for norms in zip(*rows, strict=True))
    return float(apart / whole)


def verify(name: str, op: Op, dtype: str, backward: bool) -> None:
    """Hold an op of ours against the definition on its first tokens, and against chunks on all (chunks are tested
    against the definition); with `backward` its gradients on the first tokens too.  Raises WrongAnswer."""
    short = tuple(x[:, :SHORT].detach().clone().requires_grad_(backward) for x in op.tensors)
    found = [("reference", op.call(*short), op.call(*short, backend="reference"))]
    found.append(("chunked", op.call(*op.tensors), op.call(*op.tensors, backend="chunked")))
    if backward:
        dy = torch.randn(found[0][1].shape, generator=torch.Generator().manual_seed(1)).to(found[0][1])
        ours, theirs = gradients(op.call, short, dy), gradients(partial(op.call, backend="reference"), short, dy)
        found += [("reference", *pair) for pair in zip(ours, theirs, strict=True)]
    for backend, got, want in found:
        error = difference(got, want)
        if not error < TOLERANCE[dtype]:
            says = f"{name} is not timed: at N = {got.shape[1]:,} it differs from its {backend} form by {error:.1e}"
            raise WrongAnswer(says, got=dtype)


def graphed(call: Callable[[], Any]) -> Callable[[], Any]:
    """The same kernels, started by the GPU itself (a CUDA graph): what is left when nothing waits for Python."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def contender(op: Op, what: str) -> Callable[[], Any]:
    """The call that is timed."""
    if what != "backward":
        return partial(op.call, *op.tensors)
    leaves = tuple(x.detach().requires_grad_() for x in op.tensors)
    return partial(gradients, op.call, leaves, torch.ones_like(op.call(*op.tensors)))


def willing(ops: dict[str, Op], what: str, dtype: str) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """What to time, each called once; and why kernels of others cannot do this, in their words.  Raises WrongAnswer."""
    calls, refused = {}, {}
    for name, op in ops.items():
        if op.ours:
            verify(name, op, dtype, what == "backward")
        try:
            call = contender(op, what)
            call()
        except Exception as trouble:
            if op.ours:
                raise
            refused[name] = in_words(trouble)
            continue
        calls[name] = call
        if what == "decode" and op.tensors[0].is_cuda:
            try:
                calls[f"{name}{GRAPH}"] = graphed(call)
            except Exception as trouble:
                refused[f"{name}{GRAPH}"] = in_words(trouble)
    return calls, refused


def in_words(trouble: Exception) -> str:
    return f"{type(trouble).__name__}: {str(trouble).strip()[:200]}"


def ceilings(dtype: str, device: torch.device, clock: Callable[[Callable[[], Any]], float]) -> tuple[float, float]:
    """Bytes per second of a large copy, read and written, and operations per second of a large matrix product."""
    size, side = CEILING_BYTES[device.type], CEILING_SIDE[device.type]
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    a, b = (torch.randn(side, side, device=device).to(DTYPES[dtype]) for _ in range(2))
    calls = {"copy": lambda: target.copy_(source), "product": lambda: a @ b}
    best = {name: min(seconds for _, n, seconds in rounds(calls, 5, clock) if n == name) for name in calls}
    return 2.0 * size / best["copy"], 2.0 * side**3 / best["product"]


def cells(spec: OpBench) -> Iterator[tuple[str, str, int, int]]:
    """(dtype, pass, batch, N)."""
    return itertools.product(spec.dtypes, spec.passes, spec.batches, spec.sizes)


@torch.no_grad()
def bench_op(spec: OpBench, out: Path, progress: Callable[[str], None] = lambda _: None) -> Run:
    """Time the ops of every pass, dtype, batch and size into a run folder, where REREAD_DEVICE says."""
    device = checked(os.environ.get("REREAD_DEVICE", "cpu"))
    run, clock = start(spec, "op", out), clock_of(device)
    most = {dtype: ceilings(dtype, device, clock) for dtype in spec.dtypes}
    refusals: dict[str, str] = {}
    for dtype, what, B, N in cells(spec):
        progress(f"{dtype}, {what}, batch {B}, N = {N:,}")
        draw, phi = Draw(spec, B, dtype, device), feature_map("taylor", spec.feature_dim, spec.heads)
        ops = (decode_ops if what == "decode" else sequence_ops)(spec, N, draw, phi.to(device))
        calls, refused = willing(ops, what, dtype)
        refusals |= {f"{name} ({dtype}, {what}, batch {B}, N = {N:,})": why for name, why in refused.items()}
        tokens = B * (1 if what == "decode" else N)
        for number, name, seconds in rounds(calls, spec.rounds, clock):
            op = ops[name.removesuffix(GRAPH)]
            row = {"what": PASSES[what], "dtype": dtype, "batch": B, "N": N, "name": name, "round": number}
            run.append({**row, "seconds": seconds, "tokens": tokens, **work(op, what, most[dtype])})
    rates = {name: {"bytes/s": copied, "operations/s": done} for name, (copied, done) in most.items()}
    run.finish({"rounds": spec.rounds, "reached": rates, "refused": refusals})
    return run


def work(op: Op, what: str, most: tuple[float, float]) -> dict[str, float]:
    """Bytes and operations that are needed at least, and the seconds that this machine needs for them at least."""
    moved, done = BACKWARD[op.attends] if what == "backward" else (1.0, 1.0)
    total = moved * op.bytes, done * op.flops
    least = max(amount / rate for amount, rate in zip(total, most, strict=True))
    return {"bytes": total[0], "flops": total[1], "least_seconds": least}

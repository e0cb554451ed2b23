"""Speed of the op: linear attention with the Taylor map against softmax attention, on a CPU or a GPU.

Forward, forward with backward, and one decoding step, at every length and batch; each contender's least bytes
and operations stand beside its time, and what the machine itself reaches in a copy and in a matrix product is
measured first.  An op of ours that does not match its reference is not timed.  This file knows no model.

Shapes: B batch, N time, H heads, D width of q and k, V width of v, F expanded width, M prefix.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reread.bench import DTYPES, TOLERANCE, Clock, WrongAnswer, clock_of, rounds, start
from reread.config import at_least, each_once
from reread.errors import BadInput, UnknownName
from reread.models import device_name
from reread.models.placed import checked
from reread.ops import FeatureMap, feature_map, linear_attention, prefix_state
from reread.runlog import Run

SHORT = 512  # tokens that the definition, which is quadratic, is computed for
ROWS = 4  # compared at a time: the chunked form of them all would not fit
# Rows and tokens whose gradients are compared, and with what: on a GPU so many that with 16 heads a prefix has long
# segments too; on a CPU gradients are those of the chunked form, and only the definition is another.
GRADIENTS = {"cuda": (9, 4608, "chunked"), "cpu": (1, SHORT, "reference")}
BLOCK = 256  # positions whose error is looked at alone
FOREIGN = 5e-2  # how far another's op may be from ours
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
    of V).  backend: of our ops; "auto" on a GPU: the kernels, or nothing.
    """

    passes: tuple[str, ...] = ("forward",)
    sizes: tuple[int, ...] = (512, 2048, 8192)
    batches: tuple[int, ...] = (1,)
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    heads: int = 16
    feature_dim: int = 16
    value_dim: int = 64
    prefixes: tuple[float, ...] = (0.5,)
    backend: str = "auto"
    rounds: int = 7
    threads: int = 0

    def check(self) -> None:
        each_once(self, "passes", "sizes", "batches", "dtypes")
        at_least(self, 1, "heads", "feature_dim", "value_dim", "rounds", "batches", "sizes")
        at_least(self, 0, "threads")
        for known, names in ((PASSES, self.passes), (DTYPES, self.dtypes)):
            for name in names:
                if name not in known:
                    raise UnknownName("dtype" if known is DTYPES else "pass", name, known)
        if not all(share >= 0.0 and (share <= 1.0 or share == int(share)) for share in self.prefixes):
            raise BadInput("a prefix is a share of the tokens, 0 to 1, or a number of them", got=self.prefixes)


@dataclass(frozen=True)
class Op:
    """What is timed: call(*tensors); the bytes that must move and the operations that must be done at least; whether
    it is ours (call takes backend=) and is held against its reference."""

    call: Callable[..., Any]
    tensors: tuple[Tensor, ...]
    bytes: float
    flops: float
    ours: bool = False
    attends: bool = False  # softmax attention, whose backward pass makes its scores anew
    like: str = ""  # another's: the op of ours that it must agree with


Result = tuple[Tensor, tuple[Tensor, Tensor]]


def linear(phi: FeatureMap, q: Tensor, k: Tensor, v: Tensor, backend: str = "auto") -> Result:
    return linear_attention(q, k, v, feature_map=phi, backend=backend)


def prefix_linear(
    phi: FeatureMap, q: Tensor, k: Tensor, v: Tensor, k_prefix: Tensor, v_prefix: Tensor, backend: str = "auto"
) -> Result:
    state = prefix_state(k_prefix, v_prefix, feature_map=phi, backend=backend)
    return linear_attention(q, k, v, feature_map=phi, state=state, backend=backend)


def next_token(phi: FeatureMap, q: Tensor, k: Tensor, v: Tensor, S: Tensor, z: Tensor, backend: str = "auto") -> Result:
    return linear_attention(q, k, v, feature_map=phi, state=(S, z), backend=backend)


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
        self.spec, self.B, self.dtype, self.device = spec, B, dtype, device
        self.backend = "triton" if spec.backend == "auto" and device.type == "cuda" else spec.backend
        self.generator = torch.Generator(device).manual_seed(0)

    def __call__(self, *shape: int) -> Tensor:
        made = torch.randn(self.B, *shape, generator=self.generator, device=self.device)
        return made.to(DTYPES[self.dtype])

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
        ops[name] = Op(partial(linear, phi, backend=draw.backend), (q, k, v), size_of(q, k, v, v), each * T, ours=True)
    q, k, v = ops["linear"].tensors
    for share in spec.prefixes:
        M = max(1, int(N * share) if share <= 1 else int(share))
        k_prefix, v_prefix = draw.keys(M), draw.values(M)
        name = f"prefix linear, {share:g} N" if share <= 1 else f"prefix linear, {M:,}"
        tensors = (q, k, v, k_prefix, v_prefix)
        call = partial(prefix_linear, phi, backend=draw.backend)
        ops[name] = Op(call, tensors, size_of(*tensors, v), each * (N + M / 2), ours=True)
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
    return {name: Op(call, (q, k, v), moved, flops, like="linear") for name, call in named_ops.items()}


def decode_ops(spec: OpBench, N: int, draw: Draw, phi: FeatureMap) -> dict[str, Op]:
    """One token for every row: after a cache of N tokens, and from a state."""
    B, H, V = draw.B, spec.heads, spec.value_dim
    ops = softmaxes((draw.wide(1), draw.wide(N), draw.wide(N)), False, 4.0 * B * H * V * N)
    past = 128  # tokens that the state was summed over
    S, z = prefix_state(draw.keys(past), draw.values(past), feature_map=phi)
    tensors = (draw.keys(1), draw.keys(1), draw.values(1), S, z)
    ours = Op(
        partial(next_token, phi, backend=draw.backend),
        tensors,
        2 * size_of(S, z),
        4.0 * B * H * phi.width * V,
        ours=True,
    )
    return {**ops, "linear": ours}


def first(result: Any) -> Tensor:
    """y, of what an op returns."""
    return result[0] if isinstance(result, tuple) else result


def gradients(call: Callable[..., Any], tensors: tuple[Tensor, ...], dy: Tensor) -> tuple[Tensor, ...]:
    """Forward and backward: the gradient of <dy, y> to every input."""
    with torch.inference_mode(False), torch.enable_grad():
        return torch.autograd.grad(first(call(*tensors)), tensors, dy)


def difference(got: Tensor, want: Tensor) -> float:
    """The largest relative error of BLOCK positions of a row: what goes wrong late in a text, where y is small, counts
    as much as what goes wrong early.  A block's norm is held to a tenth of the row's root mean square at least."""
    worst = 0.0
    for a, b in zip(got, want, strict=True):  # float64 copies of everything would not fit
        b = b.double()
        apart, whole = ((x * x).flatten(1).sum(1) for x in (a.double() - b, b))
        blocks = [torch.stack([part.sum() for part in x.split(BLOCK)]) for x in (apart, whole)]
        error = (blocks[0] / blocks[1].clamp(min=max(0.01 * float(blocks[1].mean()), 1e-30))).sqrt()
        worst = max(worst, float(error.max().nan_to_num(nan=float("inf"))))
    return worst


def verify(name: str, op: Op, dtype: str, backward: bool) -> None:
    """Hold an op of ours, y and the state after it, against the definition on its first tokens, and against chunks on
    all (chunks are tested against the definition), some rows at a time; with `backward` its gradients on so many
    tokens and rows that every kind of segment is there.  Raises WrongAnswer."""
    y, (S, z) = op.call(*op.tensors)
    for b in range(0, len(y), ROWS):
        part = tuple(x[b : b + ROWS] for x in op.tensors)
        if b == 0:
            short = tuple(x[:, :SHORT].contiguous() for x in part)
            right(name, "reference", dtype, *(flat(op.call(*short, **how)) for how in ({}, {"backend": "reference"})))
        mine = y[b : b + ROWS], S[b : b + ROWS], z[b : b + ROWS]
        right(name, "chunked", dtype, mine, flat(op.call(*part, backend="chunked")))
    if backward:
        rows, tokens, backend = GRADIENTS[y.device.type]
        some = tuple(x[:rows, :tokens].detach().clone().requires_grad_() for x in op.tensors)
        dy = torch.randn_like(some[2])
        ours, theirs = gradients(op.call, some, dy), gradients(partial(op.call, backend=backend), some, dy)
        right(name, f"{backend} (gradient)", dtype, ours, theirs)


def flat(result: tuple[Tensor, tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
    y, (S, z) = result
    return y, S, z


def right(name: str, backend: str, dtype: str, got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> None:
    """Raises WrongAnswer."""
    for mine, theirs in zip(got, want, strict=True):
        error, limit = difference(mine, theirs), TOLERANCE[dtype] * (2 if "gradient" in backend else 1)
        if not error < limit:
            says = f"{name} is not timed: at N = {got[0].shape[1]:,} it differs from its {backend} form by {error:.1e}"
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
    return partial(gradients, op.call, leaves, torch.randn_like(first(op.call(*op.tensors))))


def waited(call: Callable[[], Any]) -> Callable[[], Any]:
    """A call that begins when nothing is left to do, so that the time of Python before its kernels counts in full."""

    def after_all() -> None:
        torch.cuda.synchronize()
        call()

    return after_all


def willing(ops: dict[str, Op], what: str, dtype: str) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """What to time, each called once; and why kernels of others cannot do this, in their words.  Raises WrongAnswer."""
    calls: dict[str, Callable[[], Any]] = {}
    refused = {}
    for name, op in ops.items():
        if op.ours:
            verify(name, op, dtype, what == "backward")
        try:
            calls[name] = contender(op, what)
            calls[name]()
            if op.like and not (error := difference(answer(op), answer(ops[op.like]))) < FOREIGN:
                raise WrongAnswer(f"differs from {op.like} by {error:.1e}")
        except Exception as trouble:
            if op.ours:
                raise
            calls.pop(name, None)
            refused[name] = in_words(trouble)
    if what != "decode" or not next(iter(ops.values())).tensors[0].is_cuda:
        return calls, refused
    graphs: dict[str, Callable[[], Any]] = {}
    for name in sorted(calls, key=lambda name: not ops[name].ours):  # a capture that fails may spoil the next
        try:
            graphs[f"{name}{GRAPH}"] = graphed(calls[name])
        except Exception as trouble:
            refused[f"{name}{GRAPH}"] = in_words(trouble)
    return {name: waited(call) for name, call in calls.items()} | graphs, refused


def answer(op: Op) -> Tensor:
    return first(op.call(*op.tensors))


def in_words(trouble: Exception) -> str:
    return f"{type(trouble).__name__}: {str(trouble).strip()[:200]}"


def ceilings(dtype: str, device: torch.device, clock: Clock) -> tuple[float, float]:
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
    device = checked(device_name())
    clock = clock_of(device)
    with start(spec, "op", out) as run:
        most = {dtype: ceilings(dtype, device, clock) for dtype in spec.dtypes}
        refusals: dict[str, str] = {}
        for dtype, what, B, N in cells(spec):
            where = f"{dtype}, {what}, batch {B}, N = {N:,}"
            progress(where)
            refused = bench_cell(spec, run, Draw(spec, B, dtype, device), (what, N), clock, most[dtype])
            refusals |= {f"{name} ({where})": why for name, why in refused.items()}
        rates = {name: {"bytes/s": copied, "operations/s": done} for name, (copied, done) in most.items()}
        run.finish({"rounds": spec.rounds, "reached": rates, "refused": refusals})
        return run


def bench_cell(
    spec: OpBench, run: Run, draw: Draw, cell: tuple[str, int], clock: Clock, most: tuple[float, float]
) -> dict[str, str]:
    """One pass at one length: rows of every contender; returns who was refused and why."""
    what, N = cell
    phi = feature_map("taylor", spec.feature_dim, spec.heads).to(draw.device)
    ops = (decode_ops if what == "decode" else sequence_ops)(spec, N, draw, phi)
    calls, refused = willing(ops, what, draw.dtype)
    tokens, against = draw.B * (1 if what == "decode" else N), next(iter(ops))
    for number, name, seconds in rounds(calls, spec.rounds, clock):
        op, graph = ops[name.removesuffix(GRAPH)], GRAPH if name.endswith(GRAPH) else ""
        row = {"what": PASSES[what], "dtype": draw.dtype, "batch": draw.B, "N": N, "name": name, "round": number}
        row |= {"against": against + graph, "seconds": seconds, "tokens": tokens}
        run.append({**row, **work(op, what, most)})
    return refused


def work(op: Op, what: str, most: tuple[float, float]) -> dict[str, float]:
    """Bytes and operations that are needed at least, and the seconds that this machine needs for them at least."""
    moved, done = BACKWARD[op.attends] if what == "backward" else (1.0, 1.0)
    total = moved * op.bytes, done * op.flops
    least = max(amount / rate for amount, rate in zip(total, most, strict=True))
    return {"bytes": total[0], "flops": total[1], "least_seconds": least}

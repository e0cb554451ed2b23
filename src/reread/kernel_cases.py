"""What the GPU kernels are asked, and how their answers are compared with the definition in float64.

A case is one call of the ops: outputs, states and all gradients.  The kernels answer twice, in memory that is
filled with NaN before and in memory as it comes; both answers must be the same bits, and close to the definition
for the same rounded inputs.  Nothing here knows which GPU it is, starts a process or writes a file; it times nothing.

Shapes: B batch, T time, P prefix, H heads, D width of q and k, V width of v, F expanded width, N documents.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reread.ops import feature_map, linear_attention, prefix_state

Tensors = dict[str, Tensor]
LIMITS = {"bfloat16": (5e-3, 1e-2), "float16": (5e-3, 1e-2), "float32": (1e-5, 1e-5)}  # outputs and states, gradients
HEADS = 2
FEW = 256  # tokens of a case whose definition is computed on the CPU
PUBLISHED = ("taylor", 16, 64)
SHAPES = (PUBLISHED, ("taylor", 8, 32), ("taylor", 32, 128), ("taylor", 16, 112), ("identity", 16, 64),
          ("elu", 32, 64), ("relu", 64, 64), ("gelu", 16, 128))  # fmt: skip
OTHERS = (("taylor", 8, 16), ("taylor", 8, 48), ("taylor", 16, 16), ("taylor", 16, 32), ("taylor", 32, 16),
          ("taylor", 32, 32), ("identity", 8, 16), ("elu", 8, 32), ("relu", 32, 16), ("gelu", 32, 32),
          ("gelu", 64, 16), ("identity", 64, 32), ("elu", 64, 96))  # fmt: skip
INPUTS = ("random", "ones")
SIZES = ((1, 0), (1, 1), (63, 500), (500, 63), (1025, 512), (4096, 2048))  # tokens, tokens of the prefix
LARGE_FREE = 40 * 2**30  # bytes of a GPU's memory that must be free for the two large cases
LONG_PREFIX = 66 * 2048  # tokens of a prefix that, in two rows and heads, is cut into longer segments


@dataclass(frozen=True)
class Case:
    """kind: a key of KINDS; map, D, V, dtype: the shape; T tokens behind P; inputs: random or ones."""

    kind: str
    map: str
    D: int
    V: int
    dtype: str
    T: int
    P: int
    inputs: str = "random"

    @property
    def shape(self) -> tuple[str, int, int, str]:
        """What the kernels are compiled for."""
        return self.map, self.D, self.V, self.dtype

    @property
    def name(self) -> str:
        return f"{self.kind} {self.map} {self.D}x{self.V} {self.dtype} {self.P}+{self.T} {self.inputs}"


def drawn(case: Case) -> Tensors:
    """Inputs on the CPU, (B,n,H,width), rounded to the case's dtype; for a step S0 and z0 in float32 too."""
    draw, dtype = torch.Generator().manual_seed(case.T + case.P), getattr(torch, case.dtype)
    B = 1 if case.kind in ("packed", "far") else 2
    widths = {"q": case.D, "k": case.D, "v": case.V}
    sizes = {name: (case.T, width) for name, width in widths.items()}
    if case.kind != "far":
        sizes |= {f"{name}_prefix": (case.P, widths[name]) for name in "kv"}

    def one(n: int, width: int) -> Tensor:
        shape = (B, n, HEADS, width)
        return (torch.ones(shape) if case.inputs == "ones" else torch.randn(shape, generator=draw)).to(dtype)

    found = {name: one(*size) for name, size in sizes.items()}
    if case.kind == "step":
        k, v = found.pop("k_prefix"), found.pop("v_prefix")
        state = prefix_state(k.double(), v.double(), feature_map=feature_map(case.map, case.D), backend="reference")
        found |= {name: x.float() for name, x in zip(("S0", "z0"), state, strict=True)}
    return found


def borders(tokens: int) -> Tensor:
    """cu_seqlens (N+1,) of four documents: one token, none, most of the text, the rest."""
    return torch.tensor([0, min(1, tokens), min(1, tokens), max(1, tokens * 3 // 4) if tokens else 0, tokens])


def unlike(B: int, n: int, device: torch.device) -> Tensor:
    """A mask (B,n), about four of five real, the same everywhere."""
    return (torch.rand(B, n, generator=torch.Generator().manual_seed(n)) < 0.8).to(device)


def options(case: Case, x: Tensors) -> tuple[dict[str, Any], dict[str, Any]]:
    """What prefix_state and linear_attention are told beside the tensors, by the kind of the case."""
    if case.kind == "packed":
        return {"cu_seqlens": borders(case.P)}, {"cu_seqlens": borders(case.T)}
    lengths = {"prefix_lengths": torch.tensor([case.P, case.P // 2])}
    if case.kind == "masked":
        device = x["q"].device
        return {**lengths, "mask": unlike(2, case.P, device)}, {"mask": unlike(2, case.T, device)}
    return lengths, {"normalise": False} if case.kind == "plain" else {}


def went_back(case: Case, x: Tensors, outputs: Tensors, **between: Tensor) -> Tensors:
    """The outputs, and the gradients of a fixed projection of them to the inputs and to what lies between."""
    draw = torch.Generator().manual_seed(1)
    weights = []
    for name, one in outputs.items():
        weight = torch.randn(one.shape, generator=draw)
        weight = weight.to(getattr(torch, case.dtype)) if name == "y" else weight  # as y is rounded, so is dy
        weights.append(weight.to(one.device, one.dtype))
    torch.autograd.backward(list(outputs.values()), weights)
    found = {name: one.detach() for name, one in outputs.items()}
    return found | {f"grad_{name}": one.grad for name, one in (x | between).items() if one.grad is not None}


def read(case: Case, x: Tensors, backend: str) -> Tensors:
    """A prefix, and a text that starts from its state; the state's own gradient too."""
    shared: dict[str, Any] = {"feature_map": feature_map(case.map, case.D), "backend": backend}
    before, during = options(case, x)
    S0, z0 = prefix_state(x["k_prefix"], x["v_prefix"], **before, **shared)
    S0.retain_grad()
    z0.retain_grad()
    y, (S, z) = linear_attention(x["q"], x["k"], x["v"], state=(S0, z0), **during, **shared)
    return went_back(case, x, {"y": y, "S": S, "z": z}, S0=S0, z0=z0)


def step(case: Case, x: Tensors, backend: str) -> Tensors:
    """One token for each row, no gradient, from a state (of P tokens; without, where P is 0); then the second row
    masked, whose output means nothing."""
    given = (x["S0"], x["z0"]) if case.P else None
    found: Tensors = {}
    for what, mask in (("", None), ("_masked", torch.tensor([[True], [False]], device=x["q"].device))):
        with torch.no_grad():
            y, (S, z) = linear_attention(
                x["q"], x["k"], x["v"], feature_map=feature_map(case.map, case.D), state=given, mask=mask,
                backend=backend,
            )  # fmt: skip
        found |= {f"y{what}": y if mask is None else y[:1], f"S{what}": S, f"z{what}": z}
    return found


def far(case: Case, x: Tensors, backend: str) -> Tensors:
    """T tokens behind another document of P zeros, whose own answers nobody looks at: for P beyond 2^31 values every
    offset needs 64 bits.  The definition sees the T tokens alone."""
    P = case.P if backend == "triton" else 0
    q, k, v = (torch.cat((x[n].new_zeros(1, P, HEADS, x[n].shape[-1]), x[n]), dim=1) for n in "qkv")
    y, (S, z) = linear_attention(
        q, k, v, feature_map=feature_map(case.map, case.D), cu_seqlens=torch.tensor([0, P, P + case.T]), backend=backend
    )
    return went_back(case, x, {"y": y[:, P:], "S": S[1:], "z": z[1:]})


KINDS: dict[str, Callable[[Case, Tensors, str], Tensors]] = {
    "text": read,
    "masked": read,
    "plain": read,
    "packed": read,
    "step": step,
    "far": far,
}


def answered(case: Case, given: Tensors, backend: str, device: torch.device) -> Tensors:
    """What a backend makes of the inputs there: "reference" in float64, the kernels in the case's dtype."""
    x = {}
    for name, one in given.items():
        dtype = torch.float64 if backend == "reference" else one.dtype
        x[name] = one.to(device, dtype, copy=True).requires_grad_(case.kind != "step")
    return KINDS[case.kind](case, x, backend)


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """All memory that torch hands out meanwhile is NaN until something is written to it."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = True
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def error(got: Tensor, want: Tensor, least: float) -> float | None:
    """Norm of the difference over the norm, `least` at least; None where something is not finite."""
    found = float((got.double() - want).norm() / want.norm().clamp(min=least))
    return float(f"{found:.2e}") if torch.tensor(found).isfinite() else None


def errors(got: Tensors, want: Tensors) -> dict[str, float | None]:
    """By name.  With one key, or equal values, the gradients of q and k are 0: they are held against a tenth of
    that of v."""
    floor = 0.1 * float(want["grad_v"].norm()) if "grad_v" in want else 0.0
    to_keys = ("grad_q", "grad_k", "grad_k_prefix")
    return {name: error(got[name], want[name], max(1e-6, floor if name in to_keys else 0.0)) for name in want}


def bits(found: Tensors) -> str:
    """A hash of every bit."""
    whole = hashlib.sha256()
    for name in sorted(found):
        whole.update(found[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()[:16]


def examined(case: Case, device: torch.device) -> dict[str, Any]:
    """The case's row: errors, whether both answers are the same bits, whether all is within the limits."""
    given = drawn(case)
    near = torch.device("cpu") if case.T + (0 if case.kind == "far" else case.P) <= FEW else device
    want = {name: one.cpu() for name, one in answered(case, given, "reference", near).items()}
    with poisoned():
        got = {name: one.cpu() for name, one in answered(case, given, "triton", device).items()}
    again = {name: one.cpu() for name, one in answered(case, given, "triton", device).items()}
    found, (out, back) = errors(got, want), LIMITS[case.dtype]
    limits = {name: back if name.startswith("grad") else out for name in found}
    return {
        **dataclasses.asdict(case),
        "right": all(e is not None and e <= limits[name] for name, e in found.items()),
        "same_twice": bits(got) == bits(again),
        "errors": found,
        "bits": bits(got),
    }


def texts(
    shape: tuple[str, int, int], dtype: str, sizes: Sequence[tuple[int, int]], inputs: Sequence[str]
) -> list[Case]:
    return [Case("text", *shape, dtype, T, P, kind) for T, P in sizes for kind in inputs]


def smallest() -> list[Case]:
    """For the interpreter: the Taylor map in every kind of case, and one of the elementwise maps."""
    shape = ("taylor", 8, 32, "float32")
    found = [Case("text", *shape, T, P) for T, P in ((1, 0), (33, 20))]
    found += [Case(kind, *shape, 17, 9) for kind in ("masked", "plain", "packed", "far")]
    found += [Case("text", *shape, 9, 4, "ones"), Case("step", *shape, 1, 9), Case("step", *shape, 1, 0)]
    return [*found, Case("text", "gelu", 16, 48, "float32", 17, 9), Case("step", "gelu", 16, 48, "float32", 1, 9)]


def quick() -> list[Case]:
    """The published shape in every dtype, the widest, and one of the elementwise maps."""
    found = []
    shapes = [(*PUBLISHED, dtype) for dtype in LIMITS]
    shapes += [("taylor", 32, 128, "bfloat16"), ("gelu", 64, 64, "bfloat16")]
    for shape in shapes:
        found += [Case("text", *shape, T, P) for T, P in ((1, 0), (63, 500), (1025, 512))]
        found += [Case("text", *shape, 500, 63, "ones"), Case("packed", *shape, 700, 600), Case("step", *shape, 1, 20)]
    return found


def every(free: int) -> list[Case]:
    """All: every launch shape that `triton_op.tiles` can choose, for every dtype.  free: bytes of the GPU's memory."""
    found = []
    for dtype in LIMITS:
        for shape in SHAPES:
            found += texts(shape, dtype, SIZES, INPUTS)
            for kind, T, P in (("masked", 130, 70), ("plain", 130, 70), ("packed", 700, 600)):
                found.append(Case(kind, *shape, dtype, T, P))
            found += [Case("step", *shape, dtype, 1, P) for P in (20, 0)]
    for dtype in LIMITS:
        for shape in OTHERS:
            found += texts(shape, dtype, ((63, 500), (1025, 512)), ("random",))
            found += [Case("text", *shape, dtype, 500, 63, "ones"), Case("step", *shape, dtype, 1, 20)]
    if free >= LARGE_FREE:
        found.append(Case("text", "taylor", 8, 32, "bfloat16", 63, LONG_PREFIX))
        found.append(Case("far", "taylor", 8, 128, "bfloat16", 300, 2**31 // (HEADS * 128) + 5))
    return found

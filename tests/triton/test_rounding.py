"""The GPU kernels as a GPU rounds: bfloat16 to the nearest, products of bfloat16 and TF32, emulated.

Triton's interpreter cuts bfloat16 instead of rounding it and cannot multiply it, so the kernels otherwise run there in
float32.  Here its casts and products are replaced by torch's and numpy's.  What this still does not see: the order
of a GPU's sums, and whether the compiler is right.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from marks import slow

from reread import kernel_cases, ops
from reread.kernel_cases import LIMITS, Case
from reread.ops import triton_op

tl = pytest.importorskip("triton.language")
interpreter = pytest.importorskip("triton.runtime.interpreter")

TF32_BITS = np.uint32(0xFFFFE000)  # a product of TF32 drops the last 13 bits of what it is given


def widened(x: np.ndarray) -> np.ndarray:
    """The interpreter's bfloat16 (16 bits in a uint16) as float32."""
    return torch.from_numpy(np.ascontiguousarray(x).view(np.int16)).view(torch.bfloat16).float().numpy()


def rounded(x: np.ndarray) -> np.ndarray:
    """float32 as the interpreter keeps bfloat16, to the nearest, halves to even."""
    nearest = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).bfloat16()
    return nearest.view(torch.int16).numpy().view(np.uint16)


@pytest.fixture
def as_a_gpu_rounds(monkeypatch):
    builder = interpreter.InterpreterBuilder
    cast = builder.cast_impl

    def cast_impl(self, src, dst_type):
        before, after = src.dtype.scalar, dst_type.scalar
        if after == tl.bfloat16 != before:
            return interpreter.TensorHandle(rounded(src.data), after)
        if before == tl.bfloat16 != after:
            assert after == tl.float32, after
            return interpreter.TensorHandle(widened(src.data), after)
        return cast(self, src, dst_type)

    def create_dot(self, a, b, d, input_precision, max_num_imprecise_acc):
        sides = []
        for x in (a, b):
            data = widened(x.data) if x.dtype.scalar == tl.bfloat16 else np.ascontiguousarray(x.data)
            if x.dtype.scalar == tl.float32 and "TF32" in str(input_precision).upper():
                data = (data.view(np.uint32) & TF32_BITS).view(np.float32)
            sides.append(data)
        return interpreter.TensorHandle(np.matmul(*sides, dtype=np.float32) + d.data, d.dtype.scalar)

    def products(plan):
        half = plan.dtype == torch.bfloat16
        tf32 = plan.dtype == torch.float16
        return {"DOT": tl.bfloat16 if half else tl.float32, "PRECISION": "tf32" if tf32 else "ieee"}

    monkeypatch.setattr(builder, "cast_impl", cast_impl)
    monkeypatch.setattr(builder, "create_dot", create_dot)
    monkeypatch.setattr(triton_op.Plan, "products", products)
    monkeypatch.setattr(ops, "check_dtypes", lambda *args, **options: None)  # no float16 on a CPU, but for this
    monkeypatch.setattr(triton_op, "SEGMENT", {"taylor": 128, "elementwise": 128})


CASES = [
    # of a lone key: y is its value, and the gradient of q is 0
    Case("text", "taylor", 8, 32, "bfloat16", 1, 0),
    Case("text", "gelu", 16, 48, "bfloat16", 1, 0),
    Case("text", "taylor", 8, 32, "bfloat16", 40, 20),
    Case("text", "elu", 16, 48, "float16", 40, 20),
    Case("step", "taylor", 8, 32, "bfloat16", 1, 20),
]


@pytest.mark.parametrize("case", [*CASES[:2], *slow(*CASES[2:4]), *CASES[4:]], ids=lambda case: case.name)
def test_rounded_as_on_a_gpu_the_check_finds_the_kernels_right(as_a_gpu_rounds, case):
    given, cpu = kernel_cases.drawn(case), torch.device("cpu")
    want, got = (kernel_cases.answered(case, given, backend, cpu) for backend in ("reference", "triton"))
    output, gradient = LIMITS[case.dtype]
    errors = kernel_cases.errors(got, want)
    assert errors and all(
        e is not None and e <= (gradient if name.startswith("grad") else output) for name, e in errors.items()
    ), errors
    if case.dtype == "bfloat16" and case.kind == "text" and case.inputs == "random":
        assert max(errors.values()) > 1e-4, errors  # something was rounded


def test_the_emulation_rounds_to_the_nearest():
    x = np.array([1.0, 1.00390625, 1.01171875, 1.004, -3.0e38, 1e-39], dtype=np.float32)
    assert widened(rounded(x)).tolist() == torch.from_numpy(x).bfloat16().float().tolist()
    assert widened(rounded(x))[1:4].tolist() == [1.0, 1.015625, 1.0078125]

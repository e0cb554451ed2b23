"""Are the compiled kernels right?  Every shape, dtype and map against the definition in float64, on the GPU itself.

    python gpu/selftest.py --out DIR [--device cuda] [--small]

Outputs, states and all gradients, random and all-ones inputs, two runs compared bit by bit.  Rows go to
DIR/selftest.jsonl as they come; exit code 1 if one is wrong.  --device cpu needs TRITON_INTERPRET=1 (set here).
It times nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

LIMITS = {"float32": (1e-5, 1e-5), "bfloat16": (5e-3, 1e-2), "float16": (5e-3, 1e-2)}  # outputs and states, gradients
MAPS = (("taylor", 16, 64), ("taylor", 8, 32), ("taylor", 32, 128), ("taylor", 16, 112), ("identity", 16, 64),
        ("elu", 32, 64), ("relu", 64, 64), ("gelu", 16, 128))  # fmt: skip
SIZES = ((1, 0), (1, 1), (63, 500), (500, 63), (1025, 512), (4096, 2048))  # tokens, tokens of the prefix


def inputs(name: str, D: int, V: int, T: int, P: int, kind: str, device: str) -> tuple[Any, dict[str, Any]]:
    import torch

    from reread.ops import feature_map

    torch.manual_seed(T + P)
    draw = torch.ones if kind == "ones" else torch.randn
    shapes = {"q": (T, D), "k": (T, D), "v": (T, V), "k_prefix": (P, D), "v_prefix": (P, V)}
    made = {what: draw(2, n, 2, width, device=device) for what, (n, width) in shapes.items()}
    return feature_map(name, D), made


def outcome(phi: Any, given: dict[str, Any], backend: str, dtype: Any) -> dict[str, Any]:
    """y, S, z and the gradients of a fixed projection of them to every input."""
    import torch

    from reread.ops import linear_attention, prefix_state

    x = {name: one.detach().to(dtype, copy=True).requires_grad_() for name, one in given.items()}
    P = x["k_prefix"].shape[1]
    lengths = torch.tensor([P, P // 2], device=x["q"].device)
    options = {"feature_map": phi, "backend": backend}
    state = prefix_state(x["k_prefix"], x["v_prefix"], prefix_lengths=lengths, **options)
    y, (S, z) = linear_attention(x["q"], x["k"], x["v"], state=state, **options)
    draw = torch.Generator().manual_seed(1)
    loss = sum(
        (one * torch.randn(one.shape, generator=draw, dtype=torch.float64).to(one.device, one.dtype)).sum()
        for one in (y, S, z)
    )
    loss.backward()
    return {"y": y.detach(), "S": S.detach(), "z": z.detach(), **{f"grad_{n}": one.grad for n, one in x.items()}}


def error(got: Any, want: Any, least: float) -> float:
    """Norm of the difference over the norm, `least` at least; nan where something is not finite."""
    difference = (got.double() - want.double()).norm()
    return float(difference / want.double().norm().clamp(min=least))


def check(case: tuple[str, int, int], size: tuple[int, int], kind: str, dtype: str, device: str) -> dict[str, Any]:
    """One row: the largest errors, whether two runs are equal, and whether all is within the limits."""
    import torch

    phi, given = inputs(*case, *size, kind, device)
    given = {name: one.to(getattr(torch, dtype)) for name, one in given.items()}  # both see the same rounded inputs
    want = outcome(phi, given, "reference", torch.float64)
    got, again = (outcome(phi, given, "triton", getattr(torch, dtype)) for _ in range(2))
    # with one key, or equal values, the gradient of q is 0: it is held against a tenth of that of v
    floor = 0.1 * float(want["grad_v"].double().norm())
    errors = {name: error(got[name], want[name], floor if name.startswith("grad") else 1e-6) for name in got}
    out, back = LIMITS[dtype]
    right = all(value <= (back if name.startswith("grad") else out) for name, value in errors.items())
    same = all(torch.equal(got[name], again[name]) for name in got)
    row = {"map": case[0], "D": case[1], "V": case[2], "T": size[0], "P": size[1], "inputs": kind, "dtype": dtype}
    return {
        **row,
        "right": right,
        "same_twice": same,
        "errors": {name: float(f"{e:.2e}") for name, e in errors.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="the two smallest sizes of two maps, float32")
    given = parser.parse_args()
    if given.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    given.out.mkdir(parents=True, exist_ok=True)
    maps, sizes = ((MAPS[0], MAPS[-1]), (*SIZES[:2], (63, 20))) if given.small else (MAPS, SIZES)
    wrong = count = 0
    with (given.out / "selftest.jsonl").open("w", encoding="utf-8") as file:
        for dtype in ["float32"] if given.small else LIMITS:
            for case in maps:
                for size in sizes:
                    for kind in ("random", "ones"):
                        try:
                            row = check(case, size, kind, dtype, given.device)
                        except Exception as trouble:  # a crash of one kernel is a finding, not the end
                            row = {"map": case[0], "size": size, "dtype": dtype, "right": False, "same_twice": False}
                            row["error"] = f"{type(trouble).__name__}: {str(trouble)[:300]}"
                        count += 1
                        if not (row["right"] and row["same_twice"]):
                            wrong += 1
                            print("wrong:", json.dumps(row), flush=True)
                        file.write(json.dumps(row) + "\n")
                        file.flush()
    print(f"{count} cases, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

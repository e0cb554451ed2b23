"""What the compiler makes of every kernel, without a GPU: registers, spills, shared memory, for one architecture.

    python gpu/compile_facts.py            every supported shape -> results/compile/sm_90a.json, docs/kernels.md
    python gpu/compile_facts.py --try KERNEL ... KEY=a,b ...    other tiles, one line each, nothing written

The launches are the library's own, made with tensors that have shapes and no memory; each is compiled instead of
started, and its PTX is given to the assembler that came with triton once more, to hear what it says.  Nothing
here measures time: a kernel without spills may still be slow, and a compiler may be wrong.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from reread.ops import feature_map, triton_op

ROOT = Path(__file__).resolve().parent.parent
CAPABILITY, NAME = 90, "sm_90a"
TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.int64: "i64", torch.uint8: "u8"}
OPTIONS = ("num_warps", "num_stages", "maxnreg")  # of a launch, besides the kernel's own constants
PUBLISHED = ("taylor", 16, 64, "bfloat16")
SHAPES = [("taylor", D, V, "bfloat16") for D, V in itertools.product((8, 16, 32), (32, 64, 112, 128))]
SHAPES += [("taylor", D, V, dtype) for D, V in ((16, 64), (32, 128)) for dtype in ("float32", "float16")]
SHAPES += [(name, 64, 64, "bfloat16") for name in ("identity", "elu", "relu", "gelu")] + [("gelu", 64, 128, "bfloat16")]
SHAPES += [("elu", D, 64, "bfloat16") for D in (8, 16, 32)] + [("gelu", 64, 128, "float32")]


def launches(name: str, D: int, V: int, dtype: torch.dtype, masked: bool = False) -> list[tuple[Any, tuple, dict]]:
    """Every kernel, its arguments and constants, that prefix, stream, their gradients and a step start."""
    found = []

    def record(kernel, grid, *args, **constants):
        found.append((kernel, args, constants))

    started, triton_op.launch = triton_op.launch, record
    try:
        phi, H = feature_map(name, D), 16
        options = {"dtype": dtype, "device": "meta"}
        q, k, k_prefix = (torch.empty(2, 4096, H, D, **options, requires_grad=True) for _ in range(3))
        v, v_prefix = (torch.empty(2, 4096, H, V, **options, requires_grad=True) for _ in range(2))
        mask = torch.ones(2, 4096, dtype=torch.bool, device="meta") if masked else None
        state = triton_op.prefix_state(k_prefix, v_prefix, phi, mask)
        y, state = triton_op.linear_attention(q, k, v, phi, state, mask, True)
        (y.sum() + state[0].sum() + state[1].sum()).backward()
        with torch.no_grad():
            one = None if mask is None else mask[:, :1]
            triton_op.linear_attention(*(x[:, :1] for x in (q, k, v)), phi, state, one, True)
    finally:
        triton_op.launch = started
    return found


def source(kernel, args: tuple, constants: dict) -> tuple[ASTSource, dict]:
    """The kernel specialised as a launch would: what is divisible by 16, and the constants."""
    options = {key: constants[key] for key in OPTIONS if key in constants}
    fixed = {key: value for key, value in constants.items() if key not in options}
    signature, values, attributes = {}, {}, {}
    for i, name in enumerate(kernel.arg_names):
        if name in fixed:
            signature[name], values[(i,)] = "constexpr", fixed[name]
            continue
        x = args[i]
        if isinstance(x, torch.Tensor):
            signature[name] = "*" + TYPES[x.dtype]
        else:
            signature[name] = "fp32" if isinstance(x, float) else "i32"
        if isinstance(x, torch.Tensor) or (isinstance(x, int) and x % 16 == 0):
            attributes[(i,)] = [["tt.divisibility", 16]]
    return ASTSource(kernel, signature, values, attributes), options


def assembler() -> str:
    return triton.knobs.nvidia.ptxas.path


def facts(kernel, args: tuple, constants: dict) -> dict[str, Any]:
    """Registers a thread, spilled bytes, shared memory and matrix instructions of one kernel."""
    what, options = source(kernel, args, constants)
    compiled = triton.compile(what, target=GPUTarget("cuda", CAPABILITY, 32), options=options)
    ptx = compiled.asm["ptx"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        command = [assembler(), "-lineinfo", "-v", f"--gpu-name={NAME}", str(path), "-o", str(path.with_suffix(".o"))]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    def number(pattern: str) -> int:
        match = re.search(pattern, said)
        return int(match.group(1)) if match else 0

    return {
        "kernel": kernel.__name__,
        "registers": number(r"Used (\d+) registers"),
        "spill_stores": number(r"(\d+) bytes spill stores"),
        "spill_loads": number(r"(\d+) bytes spill loads"),
        "shared": compiled.metadata.shared,
        "warps": compiled.metadata.num_warps,
        "stages": compiled.metadata.num_stages,
        "wgmma": len(re.findall(r"wgmma\.mma_async", ptx)),
        "mma": len(re.findall(r"\bmma\.sync", ptx)),
    }


def distinct(found: list) -> list[tuple[Any, tuple, dict]]:
    """Launches that differ in what the compiler sees."""
    seen: dict[str, Any] = {}
    for kernel, args, constants in found:
        types = [x.dtype if isinstance(x, torch.Tensor) else type(x) for x in args]
        seen.setdefault(f"{kernel.__name__} {types} {sorted(constants.items(), key=str)}", (kernel, args, constants))
    return list(seen.values())


def label(constants: dict) -> str:
    """The constants that a reader wants to see beside a kernel's name."""
    keys = ("HEAD", "TAIL", "BF", "BT", "BK", "BV", "VP", "L")
    flags = [key.lower() for key in ("WEIGHTED", "PREFIX", "REVERSE", "MASKED") if constants.get(key)]
    return " ".join([f"{key}={constants[key]}" for key in keys if key in constants] + flags)


def shape_rows(name: str, D: int, V: int, dtype: str, masked: bool = False) -> list[dict[str, Any]]:
    rows = []
    for kernel, args, constants in distinct(launches(name, D, V, getattr(torch, dtype), masked)):
        shape = {"map": name, "D": D, "V": V, "dtype": dtype}
        row = {**shape, "tiles": label(constants), **facts(kernel, args, constants)}
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def version(command: str) -> str:
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"V(\d+\.\d+\.\d+)", said)
    return match.group(1) if match else said.strip()


def try_tiles(kernels: set[str], grid: dict[str, list[int]], shape: tuple[str, int, int, str]) -> None:
    """One line for each combination of other tiles."""
    chosen = triton_op.tiles
    for values in itertools.product(*grid.values()):
        change = dict(zip(grid, values, strict=True))
        triton_op.tiles = lambda *args, change=change: {
            **chosen(*args),
            **{k: v for k, v in change.items() if k in (*chosen(*args), *OPTIONS)},
        }
        try:
            found = distinct(launches(*shape[:3], getattr(torch, shape[3])))
        finally:
            triton_op.tiles = chosen
        for kernel, args, constants in found:
            if kernel.__name__ not in kernels:
                continue
            try:
                row = facts(kernel, args, constants)
            except Exception as error:
                row = {"kernel": kernel.__name__, "failed": str(error).strip().splitlines()[-1][:120]}
            print(json.dumps({**change, "tiles": label(constants), **row}), flush=True)


def shape_of(text: str) -> tuple[str, int, int, str]:
    name, D, V, dtype = text.split(",")
    return name, int(D), int(V), dtype


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--try", dest="trial", nargs="+", help="kernels to try tiles for: KERNEL ... KEY=a,b ...")
    parser.add_argument("--shape", nargs="+", help="MAP,D,V,DTYPE ...: these instead of all")
    parser.add_argument("--out", default=str(ROOT / "results/compile" / f"{NAME}.json"))
    options = parser.parse_args()
    shapes = [shape_of(text) for text in options.shape or ()]
    if options.trial:
        grid = {p.split("=")[0]: [int(x) for x in p.split("=")[1].split(",")] for p in options.trial if "=" in p}
        for shape in shapes or [PUBLISHED]:
            try_tiles({p for p in options.trial if "=" not in p}, grid, shape)
        return
    rows = [row for shape in shapes or SHAPES for row in shape_rows(*shape)] + shape_rows(*PUBLISHED, masked=True)
    header = {
        "architecture": NAME,
        "date": datetime.date.today().isoformat(),
        "triton": triton.__version__,
        "ptxas": version(assembler()),
        "torch": torch.__version__,
        "command": " ".join(["python gpu/compile_facts.py", *sys.argv[1:]]),
    }
    path = Path(options.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"header": header, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

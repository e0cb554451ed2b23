"""Which tiles and segment lengths are fastest on this card: one knob after the other, what is faster is kept.

    python gpu/tune.py --out DIR [--dry]

Each value is held against the definition, then timed in turns with the best so far, both at the published shape
(batch 16, 16 heads, D = 16, V = 64, bf16, 32,768 tokens, half of them prefix).  Rows go to DIR/tune.jsonl as
they come; a call that was stopped goes on behind its last row.  What comes out is a lead for TILES, SEGMENT and
PREFIX_SEGMENT in ops/triton_op.py, not a change of them.  --dry: in the interpreter, the first knobs, a tiny shape.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

FORWARD = (
    ("op", "SEGMENT", (512, 1024, 2048, 256)),
    ("op", "PREFIX_SEGMENT", (2048, 1024, 4096, 8192)),
    ("attend", "BT", (128, 64)),
    ("attend", "BK", (64, 32, 128)),
    ("attend", "BF", (32, 16, 64)),
    ("attend", "num_stages", (2, 3, 4)),
    ("attend", "maxnreg", (128,)),
    ("segment_sums", "BT", (64, 32, 128)),
    ("segment_sums", "num_stages", (2, 3, 4)),
)
BACKWARD = (
    ("op", "SEGMENT", (512, 1024, 256)),
    ("grad_q", "BT", (128, 64)),
    ("grad_q", "BK", (64, 32)),
    ("grad_q", "num_stages", (2, 3)),
    ("grad_q", "maxnreg", (128,)),
    ("grad_kv", "BT", (64, 32)),
    ("grad_kv", "BK", (128, 64)),
    ("grad_kv", "num_stages", (2, 3)),
)
FASTER = 1.02  # what is less is noise
Settings = dict[tuple[str, str], int]


@functools.cache
def library() -> tuple[Any, int, int]:
    """What the library chooses by itself, before anything was tried."""
    from reread.ops import triton_op

    return triton_op.tiles, triton_op.SEGMENT["taylor"], triton_op.PREFIX_SEGMENT


def settle(settings: Settings) -> None:
    """Make the library launch with these."""
    from reread.ops import triton_op

    _, segment, prefix_segment = library()
    triton_op.SEGMENT["taylor"] = settings.get(("op", "SEGMENT"), segment)
    triton_op.PREFIX_SEGMENT = settings.get(("op", "PREFIX_SEGMENT"), prefix_segment)
    triton_op.tiles = partial(changed, settings)


def changed(settings: Settings, kernel: str, plan: Any) -> dict[str, int]:
    return library()[0](kernel, plan) | {key: value for (where, key), value in settings.items() if where == kernel}


def under(settings: Settings, call: Any) -> Any:
    settle(settings)
    return call()


class Trial:
    """One pass (forward, or forward and backward) at one shape."""

    def __init__(self, backward: bool, device: str, dry: bool):
        import torch

        from reread.bench import clock_of
        from reread.op_bench import Draw, Op, OpBench, prefix_linear
        from reread.ops import feature_map

        dtype, N, B, H = ("float32", 64, 1, 1) if dry else ("bfloat16", 32_768, 16, 16)
        where = torch.device(device)
        draw, phi = Draw(OpBench(heads=H), B, dtype, where), feature_map("taylor", 16, H)

        def call(*tensors: Any, backend: str = "triton") -> Any:
            return prefix_linear(phi, *tensors, backend=backend)

        tensors = (draw.keys(N), draw.keys(N), draw.values(N), draw.keys(N // 2), draw.values(N // 2))
        self.op = Op(call, tensors, 0.0, 0.0, ours=True)
        self.dtype, self.backward, self.rounds = dtype, backward, 1 if dry else 10
        self.clock, self.where = clock_of(where), where

    def compare(self, best: Settings, other: Settings) -> dict[str, Any]:
        """Milliseconds of both, and how many times as fast the other is; or why it cannot be."""
        from reread.bench import rounds
        from reread.gpu_check import answers
        from reread.op_bench import contender, verify

        try:
            under(other, lambda: verify("the kernels", self.op, self.dtype, self.backward))
            run = contender(self.op, "backward" if self.backward else "forward")
            found = list(rounds({"best": partial(under, best, run), "other": partial(under, other, run)},
                                self.rounds, self.clock))  # fmt: skip
        except Exception as trouble:  # a tile that does not compile, does not fit or is wrong is a finding
            lost = self.where.type == "cuda" and not answers(self.where)
            return {"cannot": f"{type(trouble).__name__}: {str(trouble).strip()[:300]}", "lost": lost}
        times = {name: [seconds for _, n, seconds in found if n == name] for name in ("best", "other")}
        ratios = [a / b for a, b in zip(times["best"], times["other"], strict=True)]
        ms = {name: 1e3 * statistics.median(values) for name, values in times.items()}
        return {"ms_best": ms["best"], "ms": ms["other"], "times_as_fast": statistics.median(ratios)}


def tune(backward: bool, device: str, dry: bool, known: list[dict[str, Any]], file: Any) -> Settings:
    """The best settings found; known: rows of an earlier call."""
    import torch

    name, trial = "forward + backward" if backward else "forward", None
    knobs = (BACKWARD if backward else FORWARD)[: 2 if dry else None]
    best: Settings = {}
    done = {(row["where"], row["key"], row["value"]): row for row in known if row["pass"] == name}
    for where, key, values in knobs:
        for value in values[: 1 if dry else None]:
            row = done.get((where, key, value))
            if row is None:
                trial = trial or Trial(backward, device, dry)
                with torch.no_grad():
                    found = trial.compare(best, {**best, (where, key): value})
                row = {"pass": name, "where": where, "key": key, "value": value, **found}
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(json.dumps(row), flush=True)
            if row.get("lost") and (where, key, value) not in done:
                raise SystemExit(
                    "tune: the GPU answers no more in this process; the same call goes on behind this value"
                )
            if row.get("times_as_fast", 0.0) > FASTER:
                best[where, key] = value
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dry", action="store_true", help="in the interpreter, a tiny shape, the first knobs")
    given = parser.parse_args()
    if given.dry:
        os.environ["TRITON_INTERPRET"] = "1"
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "tune.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    known = [json.loads(line) for line in lines if line.endswith("}")]  # a killed call may have torn the last one
    path.write_text("".join(json.dumps(row) + "\n" for row in known))
    device = "cpu" if given.dry else "cuda"
    with path.open("a", encoding="utf-8") as file:
        found = {name: tune(name != "forward", device, given.dry, known, file) for name in ("forward", "backward")}
    best = {name: {f"{where}.{key}": value for (where, key), value in s.items()} for name, s in found.items()}
    (given.out / "best.json").write_text(json.dumps(best, indent=1) + "\n")
    print(json.dumps(best, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

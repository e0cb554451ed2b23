"""The job `selftest`: are the compiled kernels right on this GPU?  Three parts; one that is done is not run again.

    python gpu/selftest.py --out DIR [--dry]

    check       `reread check --gpu --all`
    ptxas       the same with a newer assembler, where there is one, and nothing that was compiled before; what differs
    sanitizer   compute-sanitizer on small shapes, where the program is there; that it refuses a machine is a finding

Results lie in DIR/GPU-KERNELS, so that another GPU or changed kernels begin anew, as rows that are written as they
come.  What is wrong is found in them, and does not end the job.  --dry: on the CPU, in triton's interpreter.
It knows neither the cases nor how they are compared (the package does), and times nothing.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

TOOLS = ("memcheck", "racecheck")
SANITIZER_S = 90  # for one tool and one shape
Row = dict[str, Any]


def command(folder: Path, dry: bool, **environment: str) -> int:
    """Run the check into that folder, or go on with it; its exit code: 0, 1 where something is wrong, 2 refused."""
    jobs = str(max(1, (os.cpu_count() or 2) - 2))
    words = ["--out", str(folder), "--jobs", jobs, *([] if dry else ["--all"])]
    print("selftest: reread check --gpu", *words, flush=True)
    known = {key: value for key, value in os.environ.items() if key != "TRITON_PTXAS_PATH"} | environment
    return subprocess.run([sys.executable, "-m", "reread", "check", "--gpu", *words], env=known).returncode


def newer(own: str, own_version: str) -> tuple[str, str] | None:
    """Path and version of the newest assembler that is newer than triton's own."""
    from reread.gpu_check import ptxas_version

    def number(version: str) -> tuple[int, ...]:
        return tuple(map(int, version.split(".")))

    beside = str(Path(own).with_name("ptxas-blackwell"))  # triton brings a newer one for newer GPUs
    looked = {shutil.which("ptxas"), beside, *glob.glob("/usr/local/cuda*/bin/ptxas")} - {None, own}
    found = {path: version for path in sorted(looked) if (version := ptxas_version(path))}
    better = {path: version for path, version in found.items() if number(version) > number(own_version)}
    print(f"selftest: triton's ptxas is {own_version}; others here: {found or 'none'}", flush=True)
    return max(better.items(), key=lambda item: number(item[1])) if better else None


def compared(first: list[Row], second: list[Row]) -> Row:
    """What two assemblers made of the same cases."""
    from reread.gpu_check import case_of, wrong

    other = {case_of(row): row for row in second}
    both = [(row, other[case_of(row)]) for row in first if case_of(row) in other]
    return {
        "cases": len(both),
        "same_bits": sum(bool(a.get("bits")) and a.get("bits") == b.get("bits") for a, b in both),
        "wrong": [len(wrong([a for a, _ in both])), len(wrong([b for _, b in both]))],
        "wrong_in_one": [case_of(a).name for a, b in both if bool(wrong([a])) != bool(wrong([b]))],
    }


def assemblers(folder: Path, about: Row, dry: bool) -> None:
    """The part ptxas: rows in ptxas/, the comparison in ptxas.json."""
    from reread.runlog import Run, write_json

    found = newer(about["ptxas_path"], about["ptxas"])
    if found is None:
        write_json(folder / "ptxas.json", {"own": about["ptxas"], "newer": None})
        return
    path, version = found
    with tempfile.TemporaryDirectory() as cache:
        command(folder / "ptxas", dry, TRITON_PTXAS_PATH=path, TRITON_CACHE_DIR=cache)
    if Run(folder / "ptxas").done:
        told = compared(list(Run(folder / "check").rows()), list(Run(folder / "ptxas").rows()))
        write_json(folder / "ptxas.json", {"own": about["ptxas"], "newer": version, "path": path, **told})


def small(dry: bool) -> dict[str, list]:
    """The cases that compute-sanitizer watches, by shape."""
    from reread.kernel_cases import PUBLISHED, Case, smallest

    if dry:
        return {"smallest": smallest()[:1]}
    shapes = [(*PUBLISHED, "bfloat16"), (*PUBLISHED, "float32"), ("gelu", 16, 128, "bfloat16")]  # compiled by the check
    kinds = (("text", 63, 20), ("packed", 63, 20), ("step", 1, 20))
    return {" ".join(map(str, shape)): [Case(kind, *shape, T, P) for kind, T, P in kinds] for shape in shapes}


def watched(program: str, tool: str, cases: list, where: str) -> Row:
    """One process under compute-sanitizer: how it ended, what it said, how many cases it answered."""
    from reread.gpu_check import CHILD, wrong

    began, job = time.monotonic(), json.dumps({"device": where, "cases": [asdict(case) for case in cases]}) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        log, options = Path(folder) / "log", ["--tool", tool, "--error-exitcode", "99"]
        process = subprocess.Popen(
            [program, *options, "--target-processes", "application-only", "--log-file", str(log), *CHILD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},  # every tensor an allocation of its own
        )  # fmt: skip
        late = False
        try:
            out, err = process.communicate(job, timeout=SANITIZER_S)
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        said = log.read_text(errors="replace") if log.exists() else ""
    rows = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
    summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", said)
    return {
        "cases": len(cases), "answered": len(rows), "wrong": len(wrong(rows)), "exit": process.returncode,
        "late": late, "seconds": round(time.monotonic() - began), "summary": summary[-1] if summary else None,
        "said": said.splitlines()[:40], "stderr": err.splitlines()[-5:],
    }  # fmt: skip


def sanitizer(folder: Path, dry: bool) -> None:
    """The part sanitizer: a row for each tool and shape."""
    from reread.runlog import Run

    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    settings = {"seconds": SANITIZER_S, "dry": dry}
    with Run.start(folder / "sanitizer", "sanitizer", settings, resume=True, device="cpu" if dry else "cuda") as run:
        done = {(row["tool"], row["shape"]) for row in run.rows()}
        for tool in TOOLS:
            for shape, cases in small(dry).items():
                if (tool, shape) in done:
                    continue
                row: Row = {"tool": tool, "shape": shape}
                try:
                    row |= watched(program, tool, cases, "cpu" if dry else "cuda")
                except OSError as trouble:
                    row["refused"] = f"compute-sanitizer cannot be run: {trouble}"
                run.append(row)
                print(f"selftest: {tool}, {shape}:", row.get("refused") or row["summary"] or "no summary", flush=True)
        if not run.done:
            run.finish({"rows": sum(1 for _ in run.rows())})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dry", action="store_true")
    given = parser.parse_args()
    if given.dry:
        os.environ["TRITON_INTERPRET"] = "1"
    from reread.gpu_check import device, machine
    from reread.runlog import Run

    about = machine(device())
    folder = given.out / re.sub(r"[^A-Za-z0-9.]+", "_", f"{about['gpu']}-{about['kernels']}").strip("_")
    folder.mkdir(parents=True, exist_ok=True)
    if not Run(folder / "check").done:
        command(folder / "check", given.dry)
        if not Run(folder / "check").done:
            print("selftest: the check did not come to its end", flush=True)
            return 1
    if not (folder / "ptxas.json").exists():
        assemblers(folder, about, given.dry)
    sanitizer(folder, given.dry)
    print("selftest: check:", json.dumps(Run(folder / "check").summary()))
    ptxas = folder / "ptxas.json"
    print("selftest: ptxas:", json.dumps(json.loads(ptxas.read_text())) if ptxas.exists() else "not at its end")
    return 0 if ptxas.exists() else 1


if __name__ == "__main__":
    sys.exit(main())

"""`reread check --gpu`: which GPU is here, whether the kernels can be used on it, and whether they are right.

Cases of one shape are answered in a process of their own, several at a time: kernels compile side by side, and one
that crashes takes only its own case with it.  With a run folder every row is kept as it comes, and a stopped check
goes on.  It knows neither what a case computes (kernel_cases.py) nor how a kernel works; it times nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reread.config import at_least
from reread.errors import BadInput
from reread.kernel_cases import LIMITS, Case, every, examined, quick, smallest
from reread.ops import triton_op
from reread.runlog import Run

Row = dict[str, Any]
CHILD = [sys.executable, "-c", "import sys; from reread.gpu_check import child; sys.exit(child())"]
LIMIT_S = 300.0  # seconds without an answer, after which a process is ended
JOB_BYTES = 4 * 2**30  # of a GPU's memory that one process may need: the definition of the longest text
LOST = 4  # processes that may die over the cases of one shape


@dataclass(frozen=True)
class GpuCheck:
    """everything: all cases instead of the quick ones; jobs: processes at a time; out: the run folder, if any."""

    everything: bool = False
    jobs: int = 4
    out: Path | None = None

    def check(self) -> None:
        at_least(self, 1, "jobs")


def device() -> torch.device:
    """Where the kernels run here: the GPU, or the CPU in triton's interpreter.  Raises BadInput."""
    if os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y"):  # as triton reads it
        found = torch.device("cpu")
    elif torch.cuda.is_available():
        found = torch.device("cuda", torch.cuda.current_device())
    else:
        raise BadInput(
            "there is no GPU to check the kernels on",
            got=f"torch {torch.__version__} sees none",
            todo="run this where nvidia-smi lists a GPU and torch was installed for CUDA, or set TRITON_INTERPRET=1 "
            "to run the smallest cases in triton's interpreter",
        )
    if reason := triton_op.unusable(found):
        where = f" on {torch.cuda.get_device_name(found)}" if found.type == "cuda" else ""
        todo = "backend auto computes in chunks of plain torch instead"
        raise BadInput(f"the kernels cannot be used{where}", got=reason, todo=todo)
    return found


def said(*command: str) -> str | None:
    """What a program prints, or None."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    return None


def ptxas_version(path: str) -> str | None:
    """Such as 12.8.93, or None for what is no ptxas."""
    found = re.search(r"V(\d+\.\d+\.\d+)", said(path, "--version") or "")
    return found.group(1) if found else None


def kernels() -> str:
    """A hash of the files that decide what is computed."""
    folder, whole = Path(triton_op.__file__).parent, hashlib.sha256()
    for name in ("feature_maps.py", "triton_kernels.py", "triton_op.py", "../kernel_cases.py"):
        whole.update((folder / name).read_bytes())
    return whole.hexdigest()[:8]


def machine(where: torch.device) -> dict[str, Any]:
    """Which GPU, driver and compiler this is."""
    import triton

    ptxas = triton.knobs.nvidia.ptxas.path
    found: dict[str, Any] = {"gpu": "none: triton's interpreter, on the CPU", "capability": None, "driver": None}
    if where.type == "cuda":
        about = torch.cuda.get_device_properties(where)
        found = {
            "gpu": about.name,
            "capability": f"{about.major}.{about.minor}",
            "memory_gib": round(about.total_memory / 2**30, 1),
            "driver": (said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") or "?").split("\n")[0],
        }
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "triton": triton.__version__}
    return {**found, **versions, "ptxas": ptxas_version(ptxas), "ptxas_path": ptxas, "kernels": kernels()}


def chosen(config: GpuCheck, where: torch.device) -> list[Case]:
    """The cases, by shape."""
    if where.type == "cpu":
        return smallest()
    cases = every(torch.cuda.mem_get_info(where)[0]) if config.everything else quick()
    order = list(dict.fromkeys(case.shape for case in cases))
    return sorted(cases, key=lambda case: order.index(case.shape))


def at_a_time(config: GpuCheck, where: torch.device) -> int:
    """How many processes: as many as were asked for and as the GPU's free memory holds."""
    if where.type == "cpu":
        return config.jobs
    return max(1, min(config.jobs, torch.cuda.mem_get_info(where)[0] // JOB_BYTES))


def case_of(row: Row) -> Case:
    return Case(**{name: row[name] for name in Case.__dataclass_fields__})


def child() -> int:
    """Cases from standard input as one line of JSON, rows to standard output as they come.

    Ends with 3 where the GPU answers nobody in this process any more.
    """
    threading.Thread(target=end_with_parent, daemon=True).start()
    asked = json.loads(sys.stdin.readline())
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no row
    where = torch.device(asked["device"])
    for one in asked["cases"]:
        case = Case(**one)
        try:
            row = examined(case, where)
        except Exception as trouble:  # a kernel that fails is a finding, not the end
            row = failed(case, f"{type(trouble).__name__}: {str(trouble).strip()[:300]}")
        print(json.dumps(row), file=answer, flush=True)
        if where.type == "cuda" and not answers(where):
            return 3
    return 0


def end_with_parent() -> None:
    """End this process once the one that started it is gone, however that ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def answers(where: torch.device) -> bool:
    """Whether this process can still compute on the GPU: after a bad access it never can again."""
    try:
        torch.cuda.synchronize(where)
        return bool(torch.ones(1, device=where).item() == 1.0)
    except RuntimeError:
        return False


def failed(case: Case, why: str) -> Row:
    return {**asdict(case), "right": False, "same_twice": False, "errors": {}, "error": why}


class Processes:
    """The processes of a check: each is given cases of one shape; rows go to `found`."""

    def __init__(self, where: torch.device, limit: float = LIMIT_S):
        self.where, self.limit = where, limit
        self.found: queue.SimpleQueue[Row | BaseException] = queue.SimpleQueue()
        self.running: set[subprocess.Popen] = set()
        self.stopped = threading.Event()

    def ask(self, cases: Sequence[Case]) -> None:
        """One row for every case, whatever becomes of the processes."""
        left, lost = list(cases), 0
        while left and not self.stopped.is_set():
            before, why = len(left), self.one_process(left)
            if not left or self.stopped.is_set():
                return
            lost += 1
            if len(left) == before:  # its first case ended it: the next process begins behind it
                self.found.put(failed(left.pop(0), why))
            if lost == LOST:
                for case in left:
                    self.found.put(failed(case, f"not run: {LOST} processes died over this shape, the last: {why}"))
                return

    def one_process(self, left: list[Case]) -> str:
        """Ask for these cases in order; those that were answered leave the list.  Returns how the process ended."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            process = subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
            self.running.add(process)
            late = threading.Event()
            heard = queue.SimpleQueue[bool]()
            threading.Thread(target=self.watch, args=(process, heard, late), daemon=True).start()
            assert process.stdin and process.stdout
            with contextlib.suppress(BrokenPipeError), process.stdin:
                job = {"device": str(self.where), "cases": [asdict(case) for case in left]}
                process.stdin.write(json.dumps(job) + "\n")
            for line in process.stdout:
                heard.put(True)
                if line.endswith("\n"):  # else torn by its end
                    self.found.put(json.loads(line))
                    del left[0]
            code = process.wait()
            heard.put(False)
            self.running.discard(process)
            log.seek(0)
            last = [line for line in log.read().splitlines() if line.strip()]
        how = f"no answer within {self.limit:.0f} s" if late.is_set() else f"its process ended with {code}"
        return f"{how}: {last[-1].strip()[:300]}" if last else how

    def watch(self, process: subprocess.Popen, heard: queue.SimpleQueue[bool], late: threading.Event) -> None:
        """End a process that says nothing for too long."""
        try:
            while heard.get(timeout=self.limit):
                pass
        except queue.Empty:
            late.set()
            process.kill()

    def rows(self, groups: Sequence[Sequence[Case]], jobs: int) -> Iterator[Row]:
        """Rows in the order in which they come; leaving early ends the processes."""

        def work(group: Sequence[Case]) -> None:
            try:
                self.ask(group)
            except BaseException as trouble:  # for the one who waits
                self.found.put(trouble)

        pool = ThreadPoolExecutor(jobs)
        try:
            for group in groups:
                pool.submit(work, group)
            for _ in range(sum(len(group) for group in groups)):
                row = self.found.get()
                if isinstance(row, BaseException):
                    raise row
                yield row
        finally:
            self.stopped.set()
            for process in list(self.running):
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def check_gpu(
    config: GpuCheck, where: torch.device, about: dict[str, Any], tell: Callable[[str], None] = lambda _: None
) -> list[Row]:
    """Every case's row, in the order of the cases; tell(line) for each as it comes.

    With a run folder, rows that lie there are not computed again.  Raises BadInput for a folder of another GPU, other
    versions, other kernels or another extent.
    """
    cases, run, rows = chosen(config, where), None, []
    with contextlib.ExitStack() as stack:
        if config.out is not None:
            settings = {"everything": config.everything, **about}
            run = Run.start(config.out, "gpu_check", settings, resume=True, apart=("ptxas_path",), device=where.type)
            rows = list(stack.enter_context(run).rows())
        known = {case_of(row) for row in rows}
        todo = [] if run is not None and run.done else [case for case in cases if case not in known]
        if rows:
            tell(f"{len(rows)} cases are in {config.out}, {len(todo)} are left")
        groups = [list(group) for _, group in itertools.groupby(todo, key=lambda case: case.shape)]
        for row in Processes(where).rows(groups, at_a_time(config, where)):
            if run is not None:
                run.append(row)
            rows.append(row)
            tell(line(row))
        if run is not None and not run.done:
            run.finish({"cases": len(rows), "wrong": len(wrong(rows))})
    order = {case: number for number, case in enumerate(cases)}
    return sorted(rows, key=lambda row: order.get(case_of(row), len(order)))


def wrong(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not (row["right"] and row["same_twice"])]


def worst(rows: Sequence[Row], gradients: bool) -> str:
    """The largest error of outputs and states, or of gradients: "2.1e-03", "not finite", or nothing."""
    found = [e for row in rows for name, e in row["errors"].items() if name.startswith("grad") == gradients]
    if not found:
        return ""
    return "not finite" if None in found else f"{max(e for e in found if e is not None):.1e}"


def line(row: Row) -> str:
    """A row in words."""
    verdict = "right" if not wrong([row]) else "WRONG"
    if row.get("error"):
        return f"{verdict}  {case_of(row).name}: {row['error']}"
    told = [f"outputs {worst([row], False)}"] + ([f"gradients {g}"] if (g := worst([row], True)) else [])
    told += [] if row["same_twice"] else ["two runs differ"]
    return f"{verdict}  {case_of(row).name}: {', '.join(told)}"


def markdown(rows: Sequence[Row]) -> str:
    """A line for each shape: how many cases, how many wrong, the largest errors, and what is allowed."""
    lines = ["| map | D | V | inputs | cases | wrong | outputs | allowed | gradients | allowed |", "|" + "---|" * 10]
    shapes: dict[tuple, list[Row]] = {}
    for row in rows:
        shapes.setdefault(case_of(row).shape, []).append(row)
    for (name, D, V, dtype), found in shapes.items():
        out, back = (f"{limit:.0e}" for limit in LIMITS[dtype])
        cells = [name, D, V, dtype, len(found), len(wrong(found)), worst(found, False), out, worst(found, True), back]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)

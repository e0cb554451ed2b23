"""The memory that reading a document takes: peaks of the operating system, one process for each.

A process loads the model, reads a short text, and notes its peak (VmHWM of /proc/self/status, which is set back before
each part); then it reads a document of N tokens into the state of a selection, and notes the peak again.  The weights
are in both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reread.bench import start
from reread.config import at_least, each_once
from reread.errors import BadInput
from reread.models import locate
from reread.models.kv_selection import FULL, selection
from reread.runlog import Run

SHORT = 64  # tokens of what is read before anything is measured
PROCESS = "from reread.memory_bench import process; process()"


@dataclass(frozen=True)
class MemoryBench:
    """Reading documents of `tokens` tokens, made by a program, into the states of `selections`.

    model: as `load` takes it; longest_full: tokens at most that are read into all keys.
    """

    model: str = "smollm2"
    selections: tuple[str, ...] = (FULL, "reread(tokens=256, read=512)", "window(tokens=256, read=512)")
    tokens: tuple[int, ...] = (4096, 32768, 131072)
    longest_full: int = 8192
    rounds: int = 1
    threads: int = 0

    def check(self) -> None:
        """Raise for unknown selections and impossible numbers."""
        each_once(self, "selections", "tokens")
        at_least(self, 1, "tokens", "rounds")
        at_least(self, 0, "threads", "longest_full")
        for name in self.selections:
            selection(name)


def bench_memory(spec: MemoryBench, out: Path, progress: Callable[[str], None] = lambda _: None) -> Run:
    """Measure every selection at every length into a run folder.  Raises BadInput on a system without /proc, and where
    a process fails."""
    spec.check()
    locate(spec.model)
    if not Path("/proc/self/clear_refs").exists():
        raise BadInput("peaks of memory are measured through /proc of Linux", got=sys.platform)
    Run.check(out, "bench", {}, resume=False)
    with start(spec, "memory", out) as run:
        for number in range(spec.rounds):
            for tokens in spec.tokens:
                for name in spec.selections:
                    if name == FULL and tokens > spec.longest_full:
                        continue
                    progress(f"{tokens:,} tokens, {name}")
                    row = {"what": "read", "N": tokens, "name": name, "round": number, "against": spec.selections[0]}
                    run.append({**row, **measured(spec, name, tokens)})
        run.finish({"rounds": spec.rounds})
        return run


def measured(spec: MemoryBench, name: str, tokens: int) -> dict[str, Any]:
    """What a process of its own measures."""
    given = json.dumps({"model": spec.model, "name": name, "tokens": tokens, "threads": spec.threads})
    found = subprocess.run([sys.executable, "-c", PROCESS, given], capture_output=True, text=True)
    if found.returncode:
        why = (found.stderr.strip().splitlines() or [f"exit code {found.returncode}"])[-1]
        raise BadInput(f"a document of {tokens:,} tokens could not be read", got=f"{name}: {why[:300]}")
    return json.loads(found.stdout.splitlines()[-1])


def process() -> None:
    """Measure one reading, as the command line names it, and print it as JSON."""
    given = json.loads(sys.argv[1])
    import torch

    from reread.bench import made_prompt, parameters
    from reread.models import load
    from reread.selecting import read_with

    if given["threads"]:
        torch.set_num_threads(given["threads"])
    lm = load(given["model"])
    ids = torch.tensor([made_prompt(lm, given["tokens"]).tokens])
    with torch.inference_mode():
        read_with(lm, ids[:, :SHORT], given["name"])
        before, began = peak(), time.perf_counter()
        found = read_with(lm, ids, given["name"])
        seconds, after = time.perf_counter() - began, peak()
    row = {
        "dtype": str(next(iter(lm.model.model.parameters())).dtype).removeprefix("torch."),  # type: ignore[attr-defined]
        "tokens": ids.shape[1],
        "seconds": seconds,
        "peak_bytes": after,
        "before_bytes": before,
        "state_bytes": found.state.nbytes,
        "positions": found.positions,
        "closed": found.closed,
        "parameters": parameters(lm.model),
    }
    print(json.dumps(row))


def peak() -> int:
    """The largest resident size of this process since the last call, in bytes."""
    text = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM"))

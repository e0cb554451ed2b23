"""An experiment: every cell of a recipe's grid measured once, each in a run folder and a process of its own.

Cells that are done are skipped, stopped ones go on, and one that fails stops no other.  What is
below OUT:

    experiment.json    the recipe: kind, scale, shared settings, table, and the labels of every cell
    SLUG-HASH/         the run folder of a cell; log.txt there is what its process said
    report.md          the table of the cells that are done (report/experiments.py)

It knows of a kind only where its configuration and its function are; how a cell goes on after a stop
is the kind's affair.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reread.config import build, to_dict
from reread.errors import BadInput, RereadError, UnknownName
from reread.grid import Labels, Recipe, digest, flat, slug
from reread.lock import Lock
from reread.pace import CLOCK, Pace, Tell, duration
from reread.plugins import load_plugins
from reread.report.experiments import check_table
from reread.runlog import Run, write_json


@dataclass(frozen=True)
class Kind:
    """What a cell is: "module:Name" of its frozen configuration, and of run(config, out=, progress=, [data=]) -> Run.

    A configuration that can be written in several ways has `canonical`, which its run's header holds; one that does
    not always read the data folder has `needs_data`; cells whose `shared_work` is equal wait for each other.  The run
    ends with done.json.  Raises RereadError for what a person can mend.
    """

    config: str
    run: str
    needs_data: bool = True


EVERY = 60.0  # seconds between two sayings of how long a piece of a cell's work will take

KINDS: dict[str, Kind] = {
    "train_and_eval": Kind("reread.train_and_eval:TrainAndEvalConfig", "reread.train_and_eval:train_and_eval"),
    "eval": Kind("reread.evaluate:EvalConfig", "reread.evaluate:evaluate"),
    "synthetic": Kind("reread.training.synthetic:SyntheticConfig", "reread.training.synthetic:train_synthetic", False),
    "law": Kind("reread.training.law:LawConfig", "reread.training.law:measure_law", False),
}


@dataclass(frozen=True)
class Cell:
    """One configuration of the grid, whole, and its run folder."""

    folder: Path
    labels: Labels
    config: dict[str, Any]
    needs_data: bool = True
    shared_work: str = ""

    @property
    def done(self) -> bool:
        return Run(self.folder).done

    def check(self) -> None:
        """Raise BadInput for a finished run with other settings, as a version with other defaults leaves behind.

        Settings that this version knows and that one did not are no difference.
        """
        if not self.done:
            return
        then, now = flat(Run(self.folder).header()["config"]), flat(json.loads(json.dumps(self.config)))
        if other := [key for key in now if key in then and now[key] != then[key]]:
            got = f"{other[0]} {then[other[0]]!r}, now {now[other[0]]!r} ({self.folder})"
            raise BadInput("a finished cell was run with another setting", got=got, todo="delete its folder, or --out")


@dataclass
class Outcome:
    """What became of an experiment.  failed: cell -> why; cells of earlier calls that were done count as skipped."""

    out: Path
    cells: int = 0
    skipped: int = 0
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def named(path: str) -> Any:
    """What "module:name" stands for."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def kind_of(recipe: Recipe) -> Kind:
    if recipe.kind not in KINDS:
        raise UnknownName("kind of experiment", recipe.kind, KINDS)
    return KINDS[recipe.kind]


def cells_of(recipe: Recipe, out: Path) -> list[Cell]:
    """Every cell, checked before one is run.  Raises UnknownName, BadInput."""
    kind = kind_of(recipe)
    config_class = named(kind.config)
    cells: list[Cell] = []
    for labels, settings in recipe.cells():
        config = build(config_class, settings)
        config.check()
        config = config.canonical() if hasattr(config, "canonical") else config
        whole, mark = to_dict(config), digest(recipe.kind, settings)
        if same := [cell for cell in cells if cell.config == whole]:
            raise BadInput("two cells of the grid are one configuration", got=f"{same[0].labels} and {labels}")
        known = sorted(out.glob(f"*-{mark}"))
        folder = known[0] if known else out / f"{slug(labels)}-{mark}"
        needs_data, shared = getattr(config, "needs_data", kind.needs_data), getattr(config, "shared_work", "")
        cells.append(Cell(folder, labels, whole, needs_data, shared))
    return cells


def in_turn(cells: Sequence[Cell]) -> list[Cell]:
    """The first cell of every shared work, then the second ones: cells that run side by side seldom wait."""
    met: Counter[str] = Counter()
    turns = []
    for cell in cells:
        turns.append(met[cell.shared_work])
        met[cell.shared_work] += bool(cell.shared_work)
    return [cell for _, cell in sorted(zip(turns, cells, strict=True), key=lambda pair: pair[0])]


def held(out: Path) -> Lock:
    """The folder for one process at a time, until that ends, however it ends.  Raises BadInput."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        says, todo = "another process runs an experiment in this folder", "wait for it, or give --jobs there"
        return Lock(out / ".lock", says, got=out, todo=todo)
    except OSError as error:
        raise BadInput(f"cannot write the folder of the experiment: {error.strerror}", got=str(out)) from error


def settle(recipe: Recipe, out: Path, cells: Sequence[Cell]) -> None:
    """Write experiment.json, or add to the one that is there.  Raises BadInput for a folder of something else."""
    path = out / "experiment.json"
    identity, known = recipe.identity(), {}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        now, then = ({**told, **flat({"settings": told["settings"]})} for told in (identity, before))
        for key in ("recipe", "kind", "scale", *sorted(k for k in now | then if k.startswith("settings."))):
            if (value := json.loads(json.dumps(now.get(key)))) != then.get(key):
                todo = "name another folder with --out"
                got = f"{value!r}, there {then.get(key)!r} ({out})"
                raise BadInput(f"the folder holds an experiment with another {key}", got=got, todo=todo)
        known = before["cells"]
    elif other := [entry.name for entry in out.iterdir() if entry.name != ".lock"]:
        raise BadInput(
            "the folder holds something else than an experiment",
            got=f"{out} ({', '.join(sorted(other)[:3])})",
            todo="name an empty or a new one with --out",
        )
    told = {cell.folder.name: cell.labels for cell in cells}
    check_table({"kind": recipe.kind, "table": recipe.table, "cells": told})  # before hours of cells, not after
    write_json(path, {**identity, "table": recipe.table, "cells": {**known, **told}})


class Child:
    """The process of one cell: started, heard, asked to stop."""

    def __init__(self, kind: Kind, cell: Cell, data: Path | None):
        job = {"kind": vars(kind), "config": cell.config, "out": str(cell.folder), "data": data and str(data)}
        cell.folder.mkdir(parents=True, exist_ok=True)
        environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
        self.log = cell.folder / "log.txt"
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "import sys; from reread.experiment import child; sys.exit(child())"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**environment, **os.environ},
                start_new_session=True,  # Ctrl-C reaches it once, through `stop`
            )
        with contextlib.suppress(BrokenPipeError):
            assert self.process.stdin
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()  # and stays open: its end tells the child that this process is gone

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def wait(self, progress: Tell) -> str | None:
        """None when the cell is done, else why it is not."""
        why = None
        for line in self.process.stdout or ():
            told = json.loads(line)
            why = told.get("error", why)
            if "progress" in told:
                progress(*told["progress"])
        code = self.process.wait()
        if code == 0:
            return None
        last = [line for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return why or f"its process ended with {code}: {last[-1] if last else 'it said nothing'} (see {self.log})"


def child() -> int:
    """What the process of a cell runs: the job is the first line of its input, the end of which ends it."""
    job = json.loads(sys.stdin.readline())

    def end_with_parent() -> None:
        sys.stdin.read()
        os._exit(1)  # as a kill would: the cell goes on from what it wrote

    threading.Thread(target=end_with_parent, daemon=True).start()
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print belongs to the log

    def tell(**what: Any) -> None:
        print(json.dumps(what), file=answer, flush=True)

    kind = Kind(**job["kind"])
    given = {"data": Path(job["data"])} if job["data"] else {}
    try:
        load_plugins()
        config = build(named(kind.config), job["config"])
        named(kind.run)(config, out=Path(job["out"]), progress=lambda *now: tell(progress=now), **given)
    except RereadError as error:
        tell(error=str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def run_experiment(
    recipe: Recipe, out: Path, *, data: Path | None = None, jobs: int = 1, say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Run the cells that are not done, `jobs` at a time.

    Raises BadInput and UnknownName before anything runs; on KeyboardInterrupt the running cells are
    asked to stop, and the same call goes on from what they kept.
    """
    if jobs < 1:
        raise BadInput("jobs must be at least 1", got=jobs)
    with held(out):
        cells = cells_of(recipe, out)
        for cell in cells:
            cell.check()
        settle(recipe, out, cells)
        kind, todo = kind_of(recipe), in_turn([cell for cell in cells if not cell.done])
        outcome = Outcome(out, len(cells), skipped=len(cells) - len(todo))
        say(f"{len(cells)} cells, {outcome.skipped} done before, {len(todo)} to run, {jobs} at a time, in {out}")
        work_through(todo, lambda cell: Child(kind, cell, data if kind.needs_data else None), jobs, outcome, say)
    return outcome


def spoken(say: Callable[[str], None], clock: Callable[[], float] = CLOCK) -> Tell:
    """What a cell tells of, in words: work at its beginning, and every EVERY seconds how long it has left."""
    paces: dict[str, Pace] = {}
    last = clock()

    def progress(what: str, done: int, total: int) -> None:
        nonlocal last
        begins, now = what not in paces, clock()
        left = paces.setdefault(what, Pace(clock)).seconds_left(done, total)
        if begins or now - last >= EVERY:
            last = now
            say(f"{what}, {done:,} of {total:,}" + (f", about {duration(left)} left of it" if left else ""))

    return progress


def work_through(
    todo: Sequence[Cell], start: Callable[[Cell], Child], jobs: int, outcome: Outcome, say: Callable[[str], None]
) -> None:
    """Run cells in child processes; fills in the outcome."""
    running: dict[str, Child] = {}
    stopped = threading.Event()

    def run(cell: Cell) -> tuple[Cell, str | None]:
        name = cell.folder.name
        try:
            running[name] = start(cell)
        except OSError as error:
            return cell, f"its process cannot be started: {error}"
        if stopped.is_set():  # Ctrl-C came while it was being started
            running[name].stop()

        progress = spoken(lambda text: say(f"{name}: {text}"))
        why = running[name].wait(progress)
        del running[name]
        return cell, why

    began = time.monotonic()
    pool = ThreadPoolExecutor(jobs)
    try:
        for number, future in enumerate(as_completed([pool.submit(run, cell) for cell in todo]), start=1):
            cell, why = future.result()
            if why is None:
                outcome.done.append(cell.folder.name)
            else:
                outcome.failed[cell.folder.name] = why
            left = (time.monotonic() - began) / number * (len(todo) - number)
            state = "done" if why is None else f"failed: {why.rstrip('.')}"
            after = f", about {duration(left)} left" if left else ""
            say(f"{outcome.skipped + number} of {outcome.cells} cells; {cell.folder.name} {state}{after}")
    except KeyboardInterrupt:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for one in list(running.values()):
            one.stop()
        try:
            pool.shutdown(wait=True)
        except KeyboardInterrupt:
            for one in list(running.values()):
                one.process.kill()
        raise
    pool.shutdown()

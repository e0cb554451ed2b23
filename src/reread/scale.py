"""The same extraction by several processes, or several machines: workers of Ray that each hold the model.

`OnRay` reads the groups of documents that `extract` hands out, and gives their rows back as they come.
A group whose worker died is read again by another; a document that has ended its worker TRIES times,
with its group and then alone, is a row with that sentence.  Ray Data is not used: it reads the work of a
dead worker again for ever, or, with a limit, gives up the whole data set (docs/log.md).  Knows no file of rows.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reread.engine import Reader
from reread.errors import BadInput, MissingPackage, RereadError, reason
from reread.extract import ExtractConfig, Extractor, bad_row, file_hash, read_rows
from reread.fields import Field
from reread.models import load
from reread.plugins import load_plugins
from reread.rowfile import Row

TRIES = 3
START = 300.0  # seconds without any worker that holds the model
POLL = 1.0
KNOCK = 10.0
STORE = 100 * 2**20  # bytes of shared memory of a cluster of our own: rows are small
LOCAL = "local"


def check_workers(workers: int) -> None:
    """Raise, before anything is loaded, for a number of workers that is none, and without Ray.  BadInput,
    MissingPackage."""
    if workers < 1:
        raise BadInput("at least one worker must read", got=workers)
    imported()


def imported() -> Any:
    """Ray, which sends nothing to its makers from a cluster that we begin.  Raises MissingPackage."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingPackage("ray", "scale") from error
    return ray


class Worker:
    """One process of the cluster and its model; one thread."""

    def begin(
        self,
        folder: str,
        model: str,
        fields: tuple[Field, ...],
        config: ExtractConfig,
        adapters: tuple[str, ...] = (),
    ) -> tuple[str, str, int]:
        """Load, in the folder that file names start from: ("", fingerprint, process), or what is wrong first."""
        import torch

        torch.set_num_threads(1)
        try:
            os.chdir(folder)
            load_plugins()
            self.extractor = Extractor(Reader(load(model, adapter=adapters)), fields, config)
        except (RereadError, OSError) as error:
            return str(error) or type(error).__name__, "", os.getpid()
        return "", self.extractor.reader.lm.model.fingerprint, os.getpid()

    def rows(self, paths: Sequence[str], threshold: float | None) -> list[Row]:
        return list(read_rows(self.extractor, paths, threshold))


@dataclass(frozen=True)
class Group:
    """Documents that are read together, and how many workers ended over them."""

    paths: tuple[str, ...]
    deaths: int = 0


@dataclass
class Pool:
    """Workers of one extraction: which of them loads or reads what, and which waits.

    busy: by the promise of its answer, who works, and on which group (None: it loads the model).
    """

    make: Callable[[], Any]
    begin: Callable[[Any], Any]
    busy: dict[Any, tuple[Any, Group | None]] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    pids: dict[Any, int] = field(default_factory=dict)
    lost_at_start: int = 0

    def add(self) -> None:
        worker = self.make()
        self.busy[self.begin(worker)] = (worker, None)


class OnRay:
    """Reads groups of documents on a cluster; a context, at whose end the cluster is left, or ended if it was begun.

    workers: processes with a model each; address: of a cluster that runs already ("": what RAY_ADDRESS
    names, else one of this machine alone, for as long as the context is open).  A cluster of other machines
    needs reread, the model and the documents under the same names there.  tell: is told of every worker that died.
    """

    def __init__(self, workers: int = 2, address: str = "", tell: Callable[[str], None] = lambda _: None):
        check_workers(workers)
        self.workers, self.tell = workers, tell
        self.address = address or os.environ.get("RAY_ADDRESS") or LOCAL
        self.ours = False
        self.pool: Pool | None = None

    def __enter__(self) -> OnRay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.ours:
            self.ours = False
            imported().shutdown()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that hold a model, each on its machine."""
        return [] if self.pool is None else list(self.pool.pids.values())

    def connect(self) -> Any:
        """Ray, in a cluster; one that this process is in already is used and left as it is.  Raises BadInput."""
        ray = imported()
        if ray.is_initialized():
            return ray
        options: dict[str, Any] = {"address": self.address, "log_to_driver": False, "logging_level": "ERROR"}
        if self.address == LOCAL:
            options |= {"num_cpus": self.workers, "object_store_memory": STORE, "include_dashboard": False}
        self.ours = True
        try:
            knock(self.address)
            ray.init(**options)
        except Exception as error:  # where a node does not start, ray raises nothing more special
            todo = "name one that runs; without --address and RAY_ADDRESS one is begun here"
            raise BadInput(
                f"no cluster can be begun or reached: {reason(error)[:160]}", got=self.address, todo=todo
            ) from error
        return ray

    def __call__(self, extractor: Extractor, groups: Sequence[Sequence[str]], threshold: float | None) -> Iterator[Row]:
        """Rows of all groups, those of one together, in the order in which they are done.

        Raises BadInput where no worker comes to hold the model, or one holds another model.
        """
        if not groups:
            return
        ray = self.connect()
        remote, lm = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Worker), extractor.reader.lm
        given = (os.getcwd(), lm.name, extractor.fields, extractor.config, *((lm.adapters,) if lm.adapters else ()))
        self.pool = Pool(remote.remote, lambda worker: worker.begin.remote(*given))
        for _ in range(min(self.workers, len(groups))):
            self.pool.add()
        try:
            yield from self.read(ray, self.pool, extractor, deque(Group(tuple(paths)) for paths in groups), threshold)
        finally:
            for worker in [*self.pool.idle, *(worker for worker, _ in self.pool.busy.values())]:
                end(ray, worker)
            self.pool = None

    def read(
        self, ray: Any, pool: Pool, extractor: Extractor, waiting: deque[Group], threshold: float | None
    ) -> Iterator[Row]:
        """Hands the waiting groups to workers, until all of them are rows."""
        until = time.monotonic() + START
        while waiting or any(group for _, group in pool.busy.values()):
            while waiting and pool.idle:
                worker, group = pool.idle.pop(), waiting.popleft()
                pool.busy[worker.rows.remote(group.paths, threshold)] = (worker, group)
            done, _ = ray.wait(list(pool.busy), num_returns=1, timeout=POLL)
            until = time.monotonic() + START if pool.pids else until
            if time.monotonic() > until:
                todo = "free or add processors, or ask for fewer workers"
                raise BadInput(f"no worker has begun for {START:g} seconds", got=self.address, todo=todo)
            for promise in done:
                worker, working = pool.busy.pop(promise)
                try:
                    found: Any = ray.get(promise)
                except lost_errors(ray):
                    waiting.extendleft(reversed(self.lost(ray, pool, worker, working)))
                    while waiting and waiting[0].deaths >= TRIES:
                        yield from given_up(waiting.popleft(), extractor)
                    continue
                pool.idle.append(worker)
                if working is None:
                    pool.pids[worker] = self.ready(found, extractor.reader.lm.model.fingerprint)
                else:
                    yield from found

    def ready(self, told: tuple[str, str, int], wanted: str) -> int:
        """The process of a worker that has begun.  Raises BadInput where its model is not that of this process."""
        wrong, fingerprint, pid = told
        if wrong:
            raise BadInput(f"a worker cannot begin: {wrong}", got=self.address)
        if fingerprint != wanted:
            todo = "give every machine of the cluster the same weights under that name"
            raise BadInput("a worker holds another model under this name", got=fingerprint, allowed=wanted, todo=todo)
        return pid

    def lost(self, ray: Any, pool: Pool, worker: Any, working: Group | None) -> list[Group]:
        """What is to be read again after a worker died: its group, or after TRIES deaths each of its documents alone.

        Raises BadInput where workers die before they hold the model.
        """
        pool.pids.pop(worker, None)
        end(ray, worker)  # one that only seemed dead must not work on
        if working is None:
            pool.lost_at_start += 1
            if pool.lost_at_start >= TRIES * self.workers:
                todo = "look whether there is memory for that many models, or ask for fewer workers"
                raise BadInput("workers end before they hold the model", got=pool.lost_at_start, todo=todo)
            pool.add()
            return []
        pool.add()
        again = replace(working, deaths=working.deaths + 1)
        some = f"{len(again.paths)} documents" if len(again.paths) > 1 else again.paths[0]
        if again.deaths < TRIES or len(again.paths) == 1:
            self.tell(f"a worker ended while it read {some} ({again.deaths} of {TRIES}).")
            return [again]
        self.tell(f"a worker ended while it read {some} ({again.deaths} of {TRIES}); each of them is read alone.")
        return [Group((path,)) for path in again.paths]


def knock(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT, which Ray would wait for for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


def end(ray: Any, worker: Any) -> None:
    with contextlib.suppress(ray.exceptions.RayError):
        ray.kill(worker)


def lost_errors(ray: Any) -> tuple[type[BaseException], ...]:
    """What Ray raises for a worker, or its answer, that is no more."""
    e = ray.exceptions
    return (e.RayActorError, e.WorkerCrashedError, e.OutOfMemoryError, e.NodeDiedError, e.ObjectLostError)


def given_up(group: Group, extractor: Extractor) -> Iterator[Row]:
    """The row of a document that ended its worker every time."""
    for path in group.paths:
        error = BadInput(
            f"{Path(path).name} ended the worker that read it {group.deaths} times",
            todo="is there enough memory for it?",
        )
        yield bad_row(path, file_hash(path), extractor, error)

"""The thread that owns the model: it reads what waits in batches, and writes all answers together.

Answers join what is being written between two tokens and leave it when they are done or nobody waits for
them any more, so that a long answer holds up no short one, and a slow client nobody: what is written is handed
over at once and never waited for.  Knows no HTTP and no document store; a Job says what it goes on from.

Shapes: B rows that are read or written together.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from reread.answer import Answer
from reread.decoding import Decoding, Row, Sampling
from reread.engine import Begun, Reader
from reread.errors import BadInput, RereadError
from reread.prompting import Encoded
from reread.serve.problems import Refused
from reread.serve.writing import Writing

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Start:
    """What an answer goes on from: a prompt to be read or, with a state (one row), the tokens to be read after it.

    stop: the text of a template that ends answers, "" for none; read_tokens, read_seconds: read before, to lay the
    prompt out or to make the state; cached: whether the state was there before; judge: sets `found` and the fields
    after it in the answer (Reader.judge), None where no question was asked; facts: how it is read.
    """

    prompt: Encoded
    stop: str
    state: Any = None
    prefix_len: int = 0
    read_tokens: float = 0.0
    read_seconds: float = 0.0
    cached: bool = True
    judge: Callable[[Answer], Answer] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def before(self) -> int:
        """Tokens that were read into the state."""
        return 0 if self.state is None else int(self.state.position[0])


@dataclass(frozen=True)
class Done:
    """A whole answer: finish is "stop" or "length"; cached_tokens: those of its prompt that a state held."""

    answer: Answer
    finish: str
    cached_tokens: int
    waited_seconds: float
    facts: dict[str, Any]


@dataclass(eq=False)
class Job:
    """One answer that is asked for.  start: called on the model's thread; tell: is given each new piece of text, and
    then Done or an exception, and never waits."""

    start: Callable[[], Start]
    tell: Callable[[str | Done | Exception], None]
    most: int
    sampling: Sampling = field(default_factory=Sampling)
    stops: tuple[str, ...] = ()
    cancelled: bool = False
    asked: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    read_seconds: float = 0.0
    decode_seconds: float = 0.0
    read_tokens: float = 0.0
    state_bytes: int = 0
    absent: float | None = None

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.cancelled = True


@dataclass(eq=False)
class Going:
    """A Job that was started: where from, its row, its text so far."""

    job: Job
    start: Start
    row: Row
    writing: Writing


class Worker:
    """rows: answers that are written together, at most."""

    def __init__(self, reader: Reader, rows: int):
        self.reader, self.most = reader, rows
        self.decoding = Decoding(reader.lm.model)
        self._going: dict[Row, Going] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._jobs: deque[Job] = deque()
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="reread-model", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        return len(self._jobs) + len(self._calls)

    @property
    def writing(self) -> int:
        return len(self._going)

    def begin(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No new work; whoever still waits is told."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join(timeout=10)

    def submit(self, job: Job) -> None:
        with self._wake:
            if self._stopped:
                raise Refused(503, "the server is stopping")
            self._jobs.append(job)
            self._wake.notify()

    def call(self, function: Callable[[], T]) -> Future[T]:
        """`function()` on the model's thread, between two tokens of others."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        with self._wake:
            if self._stopped:
                raise Refused(503, "the server is stopping")
            self._calls.append(run)
            self._wake.notify()
        return future

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._stopped or self._calls or self._jobs or self._going):
                    self._wake.wait()
                if self._stopped:
                    break
                call = self._calls.popleft() if self._calls else None
                room = self.most - len(self._going)
                jobs = [self._jobs.popleft() for _ in range(min(room, len(self._jobs)))]
            self._turn(call, [job for job in jobs if not job.cancelled])
        for job in [*self._jobs, *(going.job for going in self._going.values())]:
            self._tell(job, Refused(503, "the server was stopped before this was answered"))

    def _turn(self, call: Callable[[], None] | None, jobs: Sequence[Job]) -> None:
        """At most one call, what new jobs go on from, one token of every answer; no fault ends the thread."""
        try:
            if call is not None:
                call()
            self._begin(jobs)
            if self._going:
                self._write()
        except Exception as error:
            going, self._going = list(self._going.values()), {}
            self.decoding = Decoding(self.reader.lm.model)
            for job in {*jobs, *(one.job for one in going)}:
                self._fail(job, error)

    @staticmethod
    def _tell(job: Job, what: str | Done | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the loop of the one who asked is closed: nobody is there
            job.tell(what)

    def _fail(self, job: Job, error: Exception) -> None:
        if not isinstance(error, RereadError):
            log.error("an answer failed", exc_info=error)
        self._tell(job, error)

    def _begin(self, jobs: Sequence[Job]) -> None:
        """Read what new jobs go on from, those of like length together."""
        started: list[tuple[Job, Start]] = []
        for job in jobs:
            job.waited = time.perf_counter() - job.asked
            try:
                started.append((job, job.start()))
            except Exception as error:  # the request's own mistake, or a fault: told to the one who asked
                self._fail(job, error)
        for from_state in (False, True):
            some = [pair for pair in started if (pair[1].state is not None) == from_state]
            lengths = [len(start.prompt.tokens) for _, start in some]
            order = sorted(range(len(some)), key=lengths.__getitem__)
            for chosen in self.reader.batches(order, lengths, self.most):
                self._read([some[i] for i in chosen])

    def _read(self, batch: Sequence[tuple[Job, Start]]) -> None:
        began = time.perf_counter()
        try:
            begun = self._begun([start for _, start in batch])
        except Exception as error:
            if len(batch) == 1:
                self._fail(batch[0][0], error)
                return
            for one in batch:  # whose fault it was is found by reading each alone; the others are answered
                self._read([one])
            return
        seconds = (time.perf_counter() - began) / len(batch)
        finite = torch.isfinite(begun.logits).all(dim=-1).tolist()
        absent = self.reader.absent(begun.logits)
        right = []
        for place, (job, start) in enumerate(batch):
            job.read_seconds = start.read_seconds + seconds
            job.read_tokens = start.read_tokens + begun.read_tokens[place]
            job.state_bytes = begun.state.nbytes // len(batch)
            job.absent = absent[place] if start.judge else None
            if finite[place]:
                right.append(place)
            else:
                self._fail(job, BadInput("the model's logits after this text are not finite"))
        if right:
            rows = [self._row(*batch[place]) for place in right]
            self.decoding.join(rows, begun.logits[right], begun.state.rows(right))

    def _begun(self, starts: Sequence[Start]) -> Begun:
        if starts[0].state is None:
            return self.reader.begin([start.prompt for start in starts])
        state = type(starts[0].state).cat([start.state for start in starts])
        return self.reader.begin_from(state, [start.prompt.tokens for start in starts])

    def _row(self, job: Job, start: Start) -> Row:
        """The row of a job; it ends where the model has no more places."""
        room = self.reader.room(job.most, start.before + len(start.prompt.tokens))
        row = Row(self.reader.ends(start.stop), room, job.sampling)
        writing = Writing(self.reader.lm.tokenizer, job.stops, end=start.stop)
        self._going[row] = Going(job, start, row, writing)
        return row

    def _write(self) -> None:
        """One token more of every answer; who is done is told."""
        began = time.perf_counter()
        for row in self.decoding.drop_broken():
            self._fail(self._going.pop(row).job, BadInput("the model's logits after this text are not finite"))
        rows = list(self.decoding.rows)
        if not rows:
            return
        with torch.inference_mode():
            self.decoding.write()
            for row in rows:
                self._show(self._going[row])
            self.decoding.go_on()
        seconds = (time.perf_counter() - began) / len(rows)
        for row in rows:
            going = self._going[row]
            going.job.decode_seconds += seconds
            if row.done:
                del self._going[row]
                self._finish(going)

    def _show(self, going: Going) -> None:
        row, writing = going.row, going.writing
        if going.job.cancelled:
            row.done = True
            return
        new = writing.see(row.ids, last=row.done)
        row.done = row.done or writing.stopped
        if new:
            self._tell(going.job, new)

    def _finish(self, going: Going) -> None:
        job, start, row = going.job, going.start, going.row
        answer = Answer(
            text=going.writing.text,
            prompt_tokens=start.before + len(start.prompt.tokens),
            read_tokens=job.read_tokens,
            prefix_len=start.prefix_len,
            new_tokens=len(row.ids),
            read_seconds=job.read_seconds,
            decode_seconds=job.decode_seconds,
            state_bytes=job.state_bytes,
            logprob=row.logprob,
            ended=row.ended or going.writing.stopped,
            absent=job.absent,
        )
        answer = start.judge(answer) if start.judge else answer
        finish = "stop" if row.ended or going.writing.stopped else "length"
        self._tell(job, Done(answer, finish, start.before * start.cached, job.waited, start.facts))

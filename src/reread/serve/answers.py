"""From the worker's thread to a client: the answers of one request, awaited whole or streamed, given up when the client
leaves.  Knows no path and no document.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

from reread.errors import RereadError
from reread.serve.problems import problem_of
from reread.serve.replies import Reply
from reread.serve.requests import ChatRequest, CompletionRequest
from reread.serve.worker import Done, Job, Start, Worker

log = logging.getLogger(__name__)
T = TypeVar("T")


class Answers:
    """The jobs of one request, and what the worker tells of them; most: new tokens of each."""

    def __init__(
        self,
        worker: Worker,
        starts: Sequence[Callable[[], Start]],
        body: ChatRequest | CompletionRequest,
        most: int,
    ):
        loop = asyncio.get_running_loop()
        self.events: asyncio.Queue[tuple[int, str | Done | Exception]] = asyncio.Queue()

        def teller(index: int) -> Callable[[str | Done | Exception], None]:
            def tell(event: str | Done | Exception) -> None:
                loop.call_soon_threadsafe(self.events.put_nowait, (index, event))

            return tell

        self.jobs = [Job(start, teller(index), most, body.sampling, body.stops) for index, start in enumerate(starts)]
        for job in self.jobs:
            worker.submit(job)

    async def next(self) -> tuple[int, str | Done]:
        """The next piece of text, or a whole answer, and whose it is.  Raises what went wrong."""
        index, event = await self.events.get()
        if isinstance(event, Exception):
            raise event
        return index, event

    async def all(self) -> list[Done]:
        found: dict[int, Done] = {}
        while len(found) < len(self.jobs):
            index, event = await self.next()
            if isinstance(event, Done):
                found[index] = event
        return [found[index] for index in range(len(self.jobs))]

    def cancel(self) -> None:
        for job in self.jobs:
            job.cancel()


class Left(Exception):
    """The client is gone; nobody reads the reply."""


async def unless_gone(request: Request, wanted: Coroutine[Any, Any, T]) -> T:
    """What is awaited; raises Left as soon as the client is gone."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task, watch = asyncio.ensure_future(wanted), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Left
        return task.result()
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


def event(told: dict[str, Any]) -> str:
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n"


async def chunks(
    answers: Answers, reply: Reply, first: tuple[int, str | Done], answered: Callable[[Done], None], *, usage: bool
) -> AsyncIterator[str]:
    """Server-sent events of a reply; `first` is what the worker told first, `answered` is told of whole answers."""
    dones: list[Done] = []
    told: tuple[int, str | Done] | None = first
    for index in range(len(answers.jobs) if reply.chat else 0):
        yield event(reply.first(index))
    try:
        while told is not None:
            index, what = told
            if isinstance(what, str):
                yield event(reply.piece(index, what))
            else:
                dones.append(what)
                answered(what)
                yield event(reply.last(index, what))
            told = await answers.next() if len(dones) < len(answers.jobs) else None
    except Exception as error:  # the status was sent long ago: what went wrong is the last event
        if not isinstance(error, RereadError):
            log.error("a stream failed", exc_info=error)
        yield event(problem_of(error)[1])
        return
    if usage:
        yield event(reply.usage(dones))
    yield "data: [DONE]\n\n"


class Streamed(StreamingResponse):
    """A stream whose answers are given up when it ends, however it ends."""

    def __init__(self, answers: Answers, events: AsyncIterator[str]):
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self.answers = answers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.answers.cancel()

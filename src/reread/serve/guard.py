"""What stands before every path: who may ask, how much at once, how large, how slowly.

Pure ASGI, so that it sees every byte.  A page of another site can ask nothing: its Origin is not ours, and
on a loopback address the Host must be one of this machine's names (else a name that was rebound to 127.0.0.1
would do).  Knows no path but those that need no key.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from reread.serve.config import ServeConfig
from reread.serve.forms import check_body
from reread.serve.metrics import Metrics, path_of
from reread.serve.problems import Refused, problem_of

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
OPEN_PATHS = ("/", "/health")
NAMES = ("localhost", "127.0.0.1", "::1")
DRAINED = 4  # times the largest body are read and dropped, so that its sender sees the answer
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Gone(Exception):
    """The client left."""


def host_of(value: str) -> str:
    """The name in a Host header, without its port and brackets."""
    name = value.rpartition(":")[0] if value.rpartition(":")[2].isdigit() and not value.endswith("]") else value
    return name.strip("[]").lower()


def headers_of(scope: Message) -> dict[str, str]:
    """The headers of a request by name in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


class Guard:
    """app behind the checks of a config."""

    def __init__(self, app: Any, config: ServeConfig, metrics: Metrics):
        self.app, self.config, self.metrics = app, config, metrics
        self.most_bytes = config.max_body_mib * 2**20
        self.in_progress = self.asking = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        began, status, path = time.perf_counter(), [0], path_of(scope["path"])

        head_only = scope["method"] == "HEAD"  # answered as GET, without the body
        scope = {**scope, "method": "GET"} if head_only else scope

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                message["headers"] = [*message.get("headers", []), *HEADERS]
            elif head_only:
                message = {**message, "body": b""}
            await send(message)

        self.in_progress += 1
        self.metrics.in_progress.set(self.in_progress)
        asks = False
        try:
            self._check(scope)
            if asks := scope["method"] == "POST":
                self.asking += 1
                if self.asking > self.config.most_requests:
                    most = self.config.most_requests
                    raise Refused(429, "too many requests at once", allowed=most, todo="try again in a second")
                receive = await self._body(scope, receive)
            await self.app(scope, receive, sending)  # nothing else has a body that anybody reads
        except Refused as error:
            await refuse(error, sending)
        except Gone:
            status[0] = 499
        except asyncio.CancelledError:  # the server stops, and the time for what was in progress is over
            if not status[0]:
                await refuse(Refused(503, "the server was stopped before this was answered"), sending)
        except Exception:  # its reply was sent before it came here; raised further, it would cost the connection
            log.exception("a request failed")
        finally:
            self.in_progress -= 1
            self.asking -= asks
            self.metrics.in_progress.set(self.in_progress)
            self.metrics.requests.labels(path, str(status[0])).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - began)

    def _check(self, scope: Message) -> None:
        """Raise Refused for who may not ask."""
        headers = headers_of(scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.config.loopback and host_of(host) not in (*NAMES, self.config.host):
            raise Refused(
                403, "this server answers to names of this machine only", got=host[:80], allowed=", ".join(NAMES)
            )
        if origin is not None and origin.partition("://")[2] != host:
            raise Refused(403, "pages of other sites may not ask here", got=origin[:80])
        is_open = scope["path"] in OPEN_PATHS and scope["method"] == "GET"
        if self.config.api_key is not None and not is_open:
            kind, _, given = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(given.strip().encode("latin-1"), self.config.api_key.encode("latin-1"))
            if kind.lower() != "bearer" or not same:
                raise Refused(401, "a wrong API key, or none", todo="send the header Authorization: Bearer KEY")

    async def _body(self, scope: Message, receive: Receive) -> Receive:
        """`receive` for a body that has arrived whole.  Raises Refused for one that is too large or too slow, Gone."""
        try:
            body, size = await asyncio.wait_for(self._arrived(receive), self.config.body_seconds)
        except asyncio.TimeoutError:
            seconds = f"{self.config.body_seconds:g} seconds"
            raise Refused(408, "the request did not arrive in time", allowed=seconds) from None
        if size > self.most_bytes:
            raise Refused(
                413, "the request is too large", got=f"more than {self.most_bytes:,} bytes", todo="--max-body-mib"
            )
        check_body(headers_of(scope), body)
        told = [False]

        async def replay() -> Message:
            if told[0]:
                return await receive()
            told[0] = True
            return {"type": "http.request", "body": body, "more_body": False}

        return replay

    async def _arrived(self, receive: Receive) -> tuple[bytes, int]:
        """The body, empty when it is too large, and how many bytes came."""
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            size += len(message.get("body", b""))
            if size <= self.most_bytes:
                pieces.append(message.get("body", b""))
            else:
                pieces.clear()
            if not message.get("more_body") or size > DRAINED * self.most_bytes:
                return b"".join(pieces), size


async def refuse(error: Refused, send: Send) -> None:
    status, told = problem_of(error)
    body = json.dumps(told).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *extra_headers(status),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def extra_headers(status: int) -> list[tuple[bytes, bytes]]:
    """What a client is told beside the error: when to come again, and when not to; how to show a key."""
    never = (b"x-should-retry", b"false")  # OpenAI's clients try these statuses again unless they are told
    said = {
        401: (b"www-authenticate", b"Bearer"),
        409: never,
        429: (b"retry-after", b"1"),
        501: never,
        503: (b"retry-after", b"2"),
    }
    return [said[status]] if status in said else []

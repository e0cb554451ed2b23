"""From a configuration to a server that runs until it is told to stop.  Knows no path."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from reread.engine import Reader
from reread.errors import BadInput
from reread.models import load
from reread.serve.app import make_app
from reread.serve.config import ServeConfig
from reread.serve.desk import Desk
from reread.serve.worker import Worker
from reread.store import Store

GRACE = 30  # seconds that answers in progress are given when the server is told to stop
BACKLOG = 1024


def bound(config: ServeConfig) -> socket.socket:
    """A socket at the address.  Raises BadInput where it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        what = f"this address cannot be had: {error.strerror}"
        raise BadInput(what, got=f"{config.host}:{config.port}", todo="choose another --port") from error
    return made


def make_server(
    config: ServeConfig, desk: Desk, listening: socket.socket, ready: Callable[[str], None]
) -> uvicorn.Server:
    """A server at a socket that is bound; `ready` is told its address once it listens."""
    app = make_app(config, desk, Worker(desk.reader, config.concurrency))
    host = f"[{config.host}]" if ":" in config.host else config.host
    url = f"http://{host}:{listening.getsockname()[1]}"

    class Announced(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(url)

    settings = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE,
    )
    return Announced(settings)


def run(config: ServeConfig, ready: Callable[[str], None]) -> None:
    """Load the model and serve until SIGTERM or Ctrl-C."""
    store = Store(config.store, None if config.limit_mib is None else config.limit_mib * 2**20)
    try:
        config.store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"this store cannot be made: {error.strerror}", got=str(config.store)) from error
    with bound(config) as listening:
        desk = Desk(Reader(load(config.model)), store, config.max_prompt_tokens)
        make_server(config, desk, listening, ready).run(sockets=[listening])

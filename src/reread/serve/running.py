"""From a configuration to a server that runs until it is told to stop.  Knows no path."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from reread.engine import Reader
from reread.models import load
from reread.selecting import checked_selection
from reread.serve.app import make_app
from reread.serve.config import ServeConfig
from reread.serve.desk import Desk
from reread.serve.listening import BACKLOG, bound
from reread.serve.worker import Worker
from reread.store import Store
from reread.whole import make_folder

GRACE = 30  # seconds that answers in progress are given when the server is told to stop


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


def run(config: ServeConfig, ready: Callable[[str], None], listening: socket.socket | None = None) -> None:
    """Load the model and serve until SIGTERM or Ctrl-C; listening: what `bound` made of this config, where it was made
    before."""
    store = Store(config.store, None if config.limit_mib is None else config.limit_mib * 2**20)
    make_folder(config.store, "the store")
    with contextlib.closing(listening or bound(config)) as socket_:
        lm = load(config.model, adapter=config.adapters)
        checked_selection(lm, config.select)
        desk = Desk(Reader(lm), store, config.max_prompt_tokens, config.select)
        make_server(config, desk, socket_, ready).run(sockets=[socket_])

"""A server in a thread of this process, and ways to ask it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai

from reread.engine import Reader
from reread.models import LM
from reread.serve.config import ServeConfig
from reread.serve.desk import Desk
from reread.serve.running import bound, make_server
from reread.store import Store

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "src/reread/assets/demo/contract.txt"


@dataclass
class Served:
    """A server that runs, and ways to ask it."""

    url: str
    desk: Desk
    config: ServeConfig

    def openai(self, kind: type = openai.OpenAI, key: str = "none", **more):
        return kind(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **more)

    def http(self, **more) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **more)

    def metric(self, name: str) -> float:
        headers = {"Authorization": f"Bearer {self.config.api_key}"}
        lines = httpx.get(f"{self.url}/metrics", headers=headers).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def read(self, text: str, **ways) -> dict:
        reply = httpx.post(f"{self.url}/v1/documents", json={"text": text, **ways}, timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()


@contextmanager
def running(lm: LM, folder: Path, **settings) -> Iterator[Served]:
    config = ServeConfig(store=folder, port=0, **settings)
    config.check()
    store = Store(folder, config.limit_mib and config.limit_mib * 2**20)
    desk = Desk(Reader(lm), store, config.max_prompt_tokens, config.select)
    told: list[str] = []
    listens = threading.Event()

    def ready(url: str) -> None:
        told.append(url)
        listens.set()

    listening = bound(config)
    server = make_server(config, desk, listening, ready)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    assert listens.wait(30)
    try:
        yield Served(told[0], desk, config)
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive()

"""What a server is started with: its address, its key, its limits.  Knows no request and no model."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, fields
from pathlib import Path

from reread.errors import BadInput
from reread.models.hub import default_model
from reread.models.kv_selection import FULL
from reread.options import checked_select

KEY = "REREAD_API_KEY"
SHORTEST_KEY = 16
BODY_SECONDS = 30.0  # a request that has not arrived by then is given up


@dataclass(frozen=True)
class ServeConfig:
    """max_body_mib: of one request; max_tokens: new tokens of one answer; max_prompt_tokens: of one prompt, and of
    a document, per copy; concurrency: answers written together; queue: requests that may wait beside them; limit_mib:
    of the store, None for no limit; adapters: folders of LoRA adapters that are merged into the model; select: which
    keys of a document are kept where a request names no selection (models/kv_selection.py)."""

    model: str = field(default_factory=default_model)
    store: Path = Path("states")
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    max_body_mib: int = 16
    max_tokens: int = 512
    max_prompt_tokens: int = 32768
    concurrency: int = 16
    queue: int = 256
    limit_mib: int | None = None
    body_seconds: float = BODY_SECONDS
    adapters: tuple[str, ...] = ()
    select: str = FULL

    def check(self) -> None:
        """Raise BadInput for what no server can be started with; foremost an open address without a key.  UnknownName
        for a selection that there is not."""
        checked_select(self.select)
        for one in fields(self):
            value = getattr(self, one.name)
            if type(value) is int and value < (0 if one.name in ("port", "queue") else 1):
                raise BadInput(f"{one.name} must be at least {0 if one.name in ('port', 'queue') else 1}", got=value)
        if self.port > 65535:
            raise BadInput("no such port", got=self.port, allowed="0 (any that is free) to 65535")
        if self.api_key is not None and (len(self.api_key) < SHORTEST_KEY or not self.api_key.isascii()):
            what = f"the API key must be at least {SHORTEST_KEY} ASCII characters"
            raise BadInput(what, got=f"{len(self.api_key)} characters", todo="openssl rand -hex 24 makes one")
        if self.api_key is None and not self.loopback:
            todo = f"set the environment variable {KEY}, or bind to 127.0.0.1"
            raise BadInput("a server that others can reach needs an API key", got=f"host {self.host}", todo=todo)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def most_requests(self) -> int:
        """Requests in progress at most."""
        return self.concurrency + self.queue

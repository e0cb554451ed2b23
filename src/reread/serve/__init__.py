"""A server of the OpenAI shape over one model and one store: documents are read once and asked by many.

    client -> guard.py (host, key, size) -> app.py (paths) -> requests.py (what is asked) -> desk.py (documents)
           -> worker.py (one thread owns the model and writes all answers together) -> replies.py (what comes back)

Importing this package loads neither FastAPI nor torch; `serve` does.
"""

from __future__ import annotations

from collections.abc import Callable

from reread.errors import MissingPackage
from reread.serve.config import ServeConfig

__all__ = ["ServeConfig", "serve"]


def serve(config: ServeConfig, *, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; `ready` is told the address once questions are taken.

    Raises MissingPackage, BadInput for an address that cannot be had, and whatever loading the model raises.
    """
    config.check()
    for package in ("fastapi", "uvicorn", "multipart", "prometheus_client"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingPackage(package.replace("multipart", "python-multipart"), "serve") from error
    from reread.serve.running import run

    run(config, ready)

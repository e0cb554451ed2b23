"""A server of the OpenAI shape over one model and one store: documents are read once and asked by many.

    client -> guard.py (host, key, size) -> app.py (paths) -> requests.py (what is asked) -> desk.py (documents)
           -> worker.py (one thread owns the model and writes all answers together) -> replies.py (what comes back)

Importing this package loads neither FastAPI nor torch; `serve` does.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from reread.errors import MissingPackage
from reread.models import locate
from reread.serve.config import ServeConfig
from reread.serve.listening import bound
from reread.whole import check_folder

__all__ = ["ServeConfig", "serve"]


def serve(config: ServeConfig, *, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; `ready` is told the address once questions are taken.

    Raises, before anything is loaded: MissingPackage; BadInput for a setting, a store or an address that cannot be
    had; UnknownName, BadCheckpoint, BadInput for a model or an adapter that is not there.  Then whatever
    loading the model raises.
    """
    config.check()
    for package in ("fastapi", "uvicorn", "multipart", "prometheus_client"):
        if find_spec(package) is None:
            raise MissingPackage(package.replace("multipart", "python-multipart"), "serve")
    locate(config.model, config.adapters)
    check_folder(config.store, "the store")
    with bound(config) as listening:
        from reread.serve.running import run

        run(config, ready, listening)

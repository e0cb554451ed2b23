"""The socket that a server listens at, made before the model is loaded.  Needs no torch."""

from __future__ import annotations

import socket

from reread.errors import BadInput
from reread.serve.config import ServeConfig

BACKLOG = 1024


def bound(config: ServeConfig) -> socket.socket:
    """A socket that listens at the address.  Raises BadInput where it cannot be had.

    It listens at once: an address that is only bound can be bound a second time (SO_REUSEADDR), and then the second
    server would fail after it has loaded its model.  Who connects before the model is loaded waits for the answer.
    """
    made = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        if made is not None:
            made.close()
        what = f"this address cannot be had: {getattr(error, 'strerror', None) or 'it is no host name'}"
        raise BadInput(what, got=f"{config.host}:{config.port}", todo="choose another --host or --port") from error
    return made

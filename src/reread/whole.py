"""Files that are whole or as they were, also after a kill or a loss of power.

This file does not know what is written.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_new(path: Path, data: bytes) -> None:
    """A file that was not there, on the disk when this returns.  Raises OSError."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """A rename, or a new name, is on the disk once its folder is."""
    with contextlib.suppress(OSError):  # some file systems have no folders to open
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_whole(path: Path, data: bytes | str) -> None:
    """`path` holds this (text as UTF-8) and is on the disk when this returns, or holds what it held.  Raises OSError.

    For one writer at a time: what is half written lies beside it, as NAME.new.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # of a writer that was killed
    try:
        write_new(fresh, data if isinstance(data, bytes) else data.encode("utf-8"))
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)

"""Files that are whole or as they were, also after a kill or a loss of power.

This file does not know what is written.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from reread.errors import BadInput, reason


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


def check_folder(folder: Path | str, what: str = "the folder") -> None:
    """Raise BadInput where files could not be written into this folder; nothing is made.  what: its name in words."""
    path = Path(folder)
    try:
        there = next(one for one in (path, *path.absolute().parents) if one.exists() or one.is_symlink())
        is_folder, may = there.is_dir(), os.access(there, os.W_OK | os.X_OK)
    except (OSError, ValueError) as error:  # a name that no folder can have
        raise BadInput(f"cannot make {what}: {reason(error)}", got=str(folder)[:200]) from error
    if not is_folder:
        why = "this is a file" if there == path else f"{there} is a file"
        raise BadInput(f"cannot make {what}: {why}", got=str(folder), todo="name another folder")
    if not may:
        verb = "write into" if there == path else "make"
        raise BadInput(f"cannot {verb} {what}: permission denied", got=str(folder), todo="name another folder")


def check_file(file: Path | str, what: str = "the file") -> None:
    """Raise BadInput where this file could not be written; nothing is made.  what: its name in words."""
    path = Path(file)
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot write {what}: {reason(error)}", got=str(file)[:200]) from error
    if is_folder:
        raise BadInput(f"cannot write {what}: it is a folder", got=str(file), todo="name a file")
    check_folder(path.parent, f"the folder of {what}")


def make_folder(folder: Path, what: str = "the folder") -> None:
    """The folder, with those above it.  Raises BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot make {what}: {reason(error)}", got=str(folder)) from error

"""A store: a folder of document states, one file each, named by what is in it.

A name is the key of the reading (24 hex digits: same document, model and way of reading, same key)
and the file's checksum (16 digits), so a file in the place of another is found.  There is no index
that could be wrong.  Files are written whole or not at all, by a rename; a lock is held while old
ones are removed, and readers need none.  A state is never changed: questions go on from copies.
This file asks no model (sessions.py does).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from reread.errors import BadInput, BadState, StoreTrouble, reason
from reread.statefile import AGAIN, DocumentState, Header, checksum, decode, encode, header_of
from reread.whole import sync_folder, write_new

END, PART, LOCK = ".safetensors", ".part", ".lock"
NAME = re.compile(r"([0-9a-f]{24})-([0-9a-f]{16})\.safetensors")
STALE, WAIT = 3600.0, 60.0


@dataclass(frozen=True)
class Entry:
    """One file of a store; header None, and `wrong` a sentence, where it cannot be read; used: seconds since 1970."""

    path: Path
    bytes: int
    used: float
    header: Header | None
    wrong: str = ""

    @property
    def id(self) -> str:
        return self.path.name.removesuffix(END)


def read_bytes(path: Path) -> bytes:
    """Raises BadInput where there is no such file."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        todo = "reread store ls DIR shows what is there"
        raise BadInput(f"no state file can be read there: {reason(error)}", got=str(path), todo=todo) from error


def open_file(path: Path) -> DocumentState:
    """The state in a file, checked as far as that goes without a model.  Raises BadInput, BadState.

    A file under the name that a store gave it must also hold what that name says.
    """
    data = read_bytes(path)
    made = decode(data, path.name)
    named = NAME.fullmatch(path.name)
    if named and (made.key[:24], checksum(data, path.name)[:16]) != named.groups():
        got = f"{made.key[:24]}-{checksum(data, path.name)[:16]}"
        raise BadState(f"{path.name} holds another state than its name says", got=got, todo=AGAIN)
    return made


class Store:
    """States in a folder, `limit_bytes` in all at most (None: no limit): the longest unused go first."""

    def __init__(self, folder: Path | str, limit_bytes: int | None = None):
        self.folder, self.limit = Path(folder), limit_bytes
        self._swept = -STALE
        if limit_bytes is not None and limit_bytes < 1:
            raise BadInput("a store holds at least one byte", got=limit_bytes)
        if self.folder.exists() and not self.folder.is_dir():
            raise BadInput("a store is a folder, and this is a file", got=str(folder))

    def _files(self, begins: str = "") -> list[tuple[float, int, Path]]:
        """(last used, bytes, path) of every state whose name begins so, the longest unused first."""
        found = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(begins):  # nothing else is asked of what may be ten thousand files
                        continue
                    with contextlib.suppress(FileNotFoundError):  # removed by another process meanwhile
                        if NAME.fullmatch(entry.name) and entry.is_file():
                            facts = entry.stat()
                            found.append((facts.st_mtime, facts.st_size, Path(entry.path)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreTrouble(f"this store cannot be read: {error.strerror}", got=str(self.folder)) from error
        return sorted(found)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with FileLock(str(self.folder / LOCK), timeout=WAIT):
                yield
        except Timeout as error:
            raise StoreTrouble("another process has held this store for a minute", got=str(self.folder)) from error
        except OSError as error:
            raise StoreTrouble(f"this store cannot be written: {error.strerror}", got=str(self.folder)) from error

    def find(self, key: str) -> Path | None:
        """The file of that key (`Header.key`), or None."""
        return next((path for _, _, path in self._files(f"{key[:24]}-")), None)

    def put(self, made: DocumentState) -> Path:
        """Keep a state; returns its file.  Makes room first.  Raises BadInput (larger than the limit), StoreTrouble.

        A reading that is there already stays as it is; a broken file of its key is replaced.
        """
        old = self.find(made.key)
        if old is not None:
            try:
                open_file(old)
            except (BadState, BadInput):
                old.unlink(missing_ok=True)
            else:
                self.use(old)
                self.hold(old)
                return old
        data = encode(made)
        self._check_size(len(data))
        path = self.folder / f"{made.key[:24]}-{checksum(data, 'a new state')[:16]}{END}"
        part = self.folder / f"{uuid.uuid4().hex}{PART}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():  # before it is written: a disk may be as small as the limit
                self._make_room(len(data), path)
            write_new(part, data)
            with self._locked():  # others wrote meanwhile
                self._make_room(len(data), path)
                os.replace(part, path)
                sync_folder(self.folder)
        except OSError as error:
            raise StoreTrouble(f"this store cannot be written: {error.strerror}", got=str(self.folder)) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return path

    def hold(self, path: Path) -> None:
        """The limit, also where the file of `path` was there already: the longest unused others go.  Raises BadInput
        where it is larger than the limit alone."""
        if self.limit is None:
            return
        with contextlib.suppress(FileNotFoundError):  # removed by another process meanwhile
            size = path.stat().st_size
            self._check_size(size)
            with self._locked():
                self._make_room(size, path)

    def _check_size(self, size: int) -> None:
        if self.limit is not None and size > self.limit:
            raise BadInput("this state alone is larger than the store may be", got=size, allowed=self.limit)

    def _make_room(self, size: int, keep: Path) -> None:
        """Remove the longest unused states until `size` more bytes fit, and what killed writers left."""
        self._sweep()
        if self.limit is None:
            return
        files = [file for file in self._files() if file[2] != keep]
        total = sum(bytes_ for _, bytes_, _ in files)
        for _, bytes_, path in files:
            if total + size <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= bytes_

    def _sweep(self) -> None:
        """Remove what writers left that were killed; looked for once in the time that makes it stale."""
        if time.monotonic() - self._swept < STALE:
            return
        self._swept = time.monotonic()
        for part in self.folder.glob(f"*{PART}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > STALE:
                    part.unlink()

    def use(self, path: Path) -> None:
        """Count a state as used now."""
        with contextlib.suppress(OSError):  # a store that may only be read keeps no record of use
            os.utime(path)

    def path(self, name: str) -> Path:
        """The file of an id, of its key, or of the beginning of either, if only one begins so.  Raises BadInput."""
        found = [path for _, _, path in self._files(name.removesuffix(END))] if name else []
        if len(found) != 1:
            what = "several states begin so" if found else "no such state in this store"
            raise BadInput(what, got=name, todo=f"reread store ls {self.folder} shows the ids")
        return found[0]

    def file_of(self, id: str) -> Path | None:
        """The file of exactly that id, if it lies there; what is no id by its form reaches no file system."""
        path = self.folder / f"{id}{END}" if NAME.fullmatch(f"{id}{END}") else None
        return path if path is not None and path.is_file() else None

    def get(self, name: str) -> DocumentState:
        """The state of that id (see `path`), checked.  Raises BadInput, BadState."""
        path = self.path(name)
        made = open_file(path)
        self.use(path)
        return made

    def ls(self) -> list[Entry]:
        """Every state by its header, the longest unused first; nothing but the header is read."""
        return [self._entry(*file) for file in self._files()]

    def _entry(self, used: float, bytes_: int, path: Path) -> Entry:
        try:
            with path.open("rb") as file:
                start = file.read(8)
                data = start + file.read(min(int.from_bytes(start, "little"), bytes_))
            return Entry(path, bytes_, used, header_of(data, path.name)[0])
        except (OSError, BadState) as error:
            return Entry(path, bytes_, used, None, str(error))

    def rm(self, names: Sequence[str]) -> list[Path]:
        """Remove the states of those ids; all of them or, when one is not there, none.  Raises BadInput."""
        paths = [self.path(name) for name in names]
        if paths:
            with self._locked():
                for path in paths:
                    path.unlink(missing_ok=True)
        return paths

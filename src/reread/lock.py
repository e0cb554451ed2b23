"""One writer at a time: a file that is held until its holder lets go, or its process ends, however it ends.

The empty file that a killed process leaves behind hinders nobody, and goes with the next holder.  This file does not
know what is written meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reread.errors import BadInput


class Lock:
    """`path`, held from now on; nobody else can, in this process or another.  As a context it lets go at the end.

    wait: until it is free, instead of raising BadInput(says, got=got, todo=todo).  Raises OSError where no such file
    can be written.
    """

    def __init__(self, path: Path, says: str = "", *, got: Any = "", todo: str = "", wait: bool = False):
        self.path, self._holder = path.absolute(), os.getpid()
        self._file = FileLock(str(self.path), timeout=-1 if wait else 0, thread_local=False)
        try:
            self._file.acquire()
        except Timeout as error:
            self.path.open("a").close()  # raises where no file can be written, which filelock takes for a holder
            raise BadInput(says, got=str(got), todo=todo) from error

    def release(self) -> None:
        """Let go and remove the file; nothing where that is done, and in a process that was forked from the holder."""
        if self._file.is_locked and os.getpid() == self._holder:
            with contextlib.suppress(OSError):
                os.unlink(self.path)  # while it is held: afterwards it may be another's
            self._file.release()

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *trouble: object) -> None:
        self.release()

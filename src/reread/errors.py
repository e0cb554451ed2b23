"""The exceptions of reread: one root, so that a user's mistake is one clear sentence.

    RereadError
    ├── UnknownName     a strategy, task, model, ... that is not in its table
    ├── BadInput        a file, a document or a value that cannot be used
    │   └── StoreTrouble    a folder of states that cannot be read or written now
    ├── BadCheckpoint   weights and configuration that do not fit each other
    ├── BadState        a state file that is broken, or another model's, tokenizer's, strategy's, format's
    ├── MissingData     a data folder or file that is not there
    └── MissingPackage  an optional dependency that is not installed

Every message says what was wrong, what was given, what is allowed, and what to do next.
This file knows nothing else of the package, and needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable


class RereadError(Exception):
    """Root of all errors that a user can cause and mend."""

    def __init__(self, what: str, *, got: object = None, allowed: object = None, todo: str = ""):
        self.what, self.got, self.allowed, self.todo = what, got, allowed, todo
        parts = [what.rstrip(".")]
        if got is not None:
            parts.append(f"got {got!r}" if isinstance(got, str) else f"got {got}")
        if allowed is not None:
            parts.append(f"allowed: {allowed}")
        if todo:
            parts.append(todo.rstrip("."))
        super().__init__("; ".join(parts) + ("" if parts[-1].endswith("?") else "."))


class UnknownName(RereadError):
    """A name that is not in a table; the message lists the table and the nearest entry."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        import difflib  # here, so that importing the package costs nothing

        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        todo = f"did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {kind}", got=name, allowed=", ".join(names), todo=todo)


class BadInput(RereadError):
    """A file, document or value that cannot be used as it is."""


class StoreTrouble(BadInput):
    """A folder of states that cannot be read or written now: a full disk, another process; no fault of a request."""


class BadCheckpoint(RereadError):
    """A checkpoint whose weights and configuration do not agree."""


class BadState(RereadError):
    """A state file that is broken, or that does not belong to what it is asked with."""


class MissingData(RereadError):
    """A data folder or file that is not there."""


class MissingPackage(RereadError):
    """A package that is not installed.

    extra: the extra of reread that holds it; install: the pip line, where that is another.
    """

    def __init__(self, package: str, extra: str = "", *, install: str = ""):
        line = install or f"pip install 'reread[{extra}]'"
        super().__init__(f"this needs the package {package}, which is not installed", todo=f"install it with: {line}")


def reason(error: Exception) -> str:
    """Why, in words: what the system says ("No such file or directory"), the first line of the message, or the kind."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0]

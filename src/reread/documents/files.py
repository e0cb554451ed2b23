"""Documents from files and standard input, as text.  Refuses what is not text, in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from reread.documents.charset import decode_text
from reread.errors import BadInput, reason

T = TypeVar("T")

LARGEST = 64 * 2**20


def decode(data: bytes, name: str) -> str:
    """Text in UTF-8, or as its byte order mark says.  Raises BadInput for empty or binary data."""
    if len(data) > LARGEST:
        raise BadInput(f"{name} is larger than {LARGEST // 2**20} MiB", got=f"{len(data)} bytes", todo="split it")
    text = decode_text(data, name)
    if "\x00" in text:
        raise BadInput(f"{name} is a binary file", todo="convert it to text first")
    if not text.strip():
        raise BadInput(f"{name} holds no text")
    return text


def read_file(path: str, read: Callable[[bytes, str], T]) -> T:
    """What `read` makes of the bytes and the name of a file, or of standard input for "-".  Raises BadInput."""
    if path == "-":
        return read(sys.stdin.buffer.read(LARGEST + 1), "standard input")
    file = Path(path)
    try:
        if not file.is_file():
            what = "no such file" if not file.exists() else "not a file"
            raise BadInput(what, got=path, todo="name a file that holds text, or -")
        if (size := file.stat().st_size) > LARGEST:
            raise BadInput(f"{path} is larger than {LARGEST // 2**20} MiB", got=f"{size} bytes", todo="split it")
        return read(file.read_bytes(), path)
    except (OSError, ValueError) as error:  # a text in the place of a name, a file that may not be read
        got = path if len(path) < 80 else f"{path[:77]}..."
        raise BadInput(f"cannot read this file: {reason(error)}", got=got, todo="name a text file") from error


def read_document(path: str) -> str:
    """The text of a file, or of standard input for "-".  Raises BadInput."""
    return read_file(path, decode)

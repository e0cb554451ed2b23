"""Data files as rows of text: streamed, bounded, and refused in one sentence when they are damaged.

Knows .gz, .xz and plain files, JSON, JSON lines and tar archives; knows no benchmark.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from reread.errors import BadInput, MissingData, reason

LARGEST = 64 * 2**20
LARGEST_WHOLE = 1024 * 2**20
DAMAGED = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, tarfile.TarError)
OPENERS: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a .xz, .gz or plain file.  Raises MissingData, and BadInput for a damaged or truncated one."""
    if not path.is_file():
        raise MissingData(
            "a data file is missing",
            got=str(path),
            todo="give the folder with --data or in the environment variable REREAD_DATA (lm-eval: --metadata)",
        )
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            yield file
    except DAMAGED as error:
        raise BadInput(f"{path} is damaged or cut short", got=reason(error), todo="fetch it again") from error


def text_of(data: bytes, where: str) -> str:
    """UTF-8 text, without a byte order mark.  Raises BadInput."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{where} is not UTF-8 text", got=f"byte {error.start}", todo="convert it first") from error


def parsed(text: str, where: str) -> Any:
    """The JSON value.  Raises BadInput."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where} is not JSON", got=str(error), todo="fetch the file again") from error


KINDS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "texts": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "rows": lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
    "pairs": lambda value: isinstance(value, list) and all(KINDS["texts"](one) and len(one) == 2 for one in value),
    "anything": lambda value: True,
}
Fields = Mapping[str, str]


def checked(row: Any, fields: Fields, where: str) -> dict[str, Any]:
    """The row, when it is an object with these fields, each of its kind (see KINDS).  Raises BadInput."""
    if not isinstance(row, dict):
        raise BadInput(f"{where} is not an object of fields", got=type(row).__name__)
    for name, kind in fields.items():
        if name not in row:
            raise BadInput(f"{where} lacks {name!r}", got=", ".join(row) or "no field", allowed=", ".join(fields))
        if not KINDS[kind](row[name]):
            raise BadInput(f"{where} holds no {kind} as {name!r}", got=repr(row[name])[:60], allowed=kind)
    return row


def json_lines(path: Path, fields: Fields) -> Iterator[dict[str, Any]]:
    """The rows of a file of JSON lines, one at a time, each with at least these fields (name -> kind)."""
    with opened(path) as file:
        for number in itertools.count(1):
            where = f"{path}, line {number},"
            line = file.readline(LARGEST + 1)
            if not line:
                return
            if len(line) > LARGEST:
                raise BadInput(f"{where} is longer than {LARGEST // 2**20} MiB", todo="split the file into lines")
            if line.strip():
                yield checked(parsed(text_of(line, where), where), fields, where)


def json_file(path: Path, fields: Fields) -> dict[str, Any]:
    """The object of a JSON file, which is read as a whole."""
    with opened(path) as file:
        data = file.read(LARGEST_WHOLE + 1)
    if len(data) > LARGEST_WHOLE:
        raise BadInput(f"{path} holds more than {LARGEST_WHOLE // 2**20} MiB", todo="split it, or give JSON lines")
    return checked(parsed(text_of(data, str(path)), str(path)), fields, str(path))


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files in a tar archive, one at a time; nothing is written to disk."""
    with opened(path) as file, tarfile.open(fileobj=file, mode="r|") as archive:
        for member in archive:
            if member.size > LARGEST:
                raise BadInput(f"{path}: {member.name} is larger than {LARGEST // 2**20} MiB", todo="leave it out")
            content = archive.extractfile(member)
            if content is not None:
                yield member.name, content.read()

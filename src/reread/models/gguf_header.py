"""The header of a GGUF file: its metadata and where each tensor lies.  Needs neither torch nor numpy.

Format (docs/gguf.md of the ggml project), little-endian: the magic "GGUF", a version (uint32), the numbers of tensors
and of metadata entries (uint64).  An entry is a name, a type and a value; a text is its length (uint64) and UTF-8; an
array is the type of its elements, their number and the elements.  A tensor is a name, its dimensions from the fastest
to the slowest, its type and an offset into the data, which begins at the next multiple of general.alignment (32).

This reader is our own: that of the package gguf takes 4 s of processor time for a vocabulary of 49,152 tokens, and
loops over a count that a broken file gives, without end.  Here each count is compared with the bytes that are left.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reread.errors import BadCheckpoint, reason

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # version 1 has counts of 32 bits
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class TensorPlace:
    """shape: as torch has it, slowest dimension first; kind: number of the ggml type; start: byte in the file."""

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True)
class Header:
    """metadata: name -> number, truth value, text or list; size: bytes of the file."""

    path: Path
    size: int
    metadata: dict[str, Any]
    tensors: dict[str, TensorPlace]


def broken(path: Path, what: str, got: object = None, allowed: object = None) -> BadCheckpoint:
    """The error for a GGUF file that cannot be what it says."""
    return BadCheckpoint(f"{path.name} is no usable GGUF file: {what}", got=got, allowed=allowed)


class _Cursor:
    """Reads values from the beginning of a file on.  Raises BadCheckpoint where the file ends first."""

    def __init__(self, path: Path, data: Any):
        self.path, self.data, self.size, self.at = path, data, len(data), 0

    def need(self, count: int) -> int:
        """Where the next `count` bytes begin; they are passed."""
        start = self.at
        if count > self.size - start:
            raise broken(self.path, "it ends in the middle of its header", f"{self.size:,} bytes")
        self.at += count
        return start

    def scalar(self, code: str) -> Any:
        return struct.unpack_from("<" + code, self.data, self.need(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        length = self.scalar("Q")
        start = self.need(length)
        try:
            return self.data[start : start + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise broken(self.path, "a text in its header is not UTF-8", reason(error)) from error

    def value(self, kind: int, *, inside: bool = False) -> Any:
        if kind == TEXT:
            return self.text()
        if kind in SCALARS:
            return self.scalar(SCALARS[kind])
        if kind != ARRAY or inside:
            raise broken(self.path, "a value of its header has an unknown type", kind, sorted({*SCALARS, TEXT, ARRAY}))
        of, count = self.scalar("I"), self.scalar("Q")
        if of not in SCALARS:
            if count > (self.size - self.at) // 8:  # a text takes 8 bytes or more
                raise broken(self.path, "it ends in the middle of its header", f"{self.size:,} bytes")
            return [self.value(of, inside=True) for _ in range(count)]
        width = struct.calcsize("<" + SCALARS[of])
        start = self.need(count * width)
        return list(struct.unpack_from(f"<{count}{SCALARS[of]}", self.data, start))


@contextmanager
def mapped(path: Path) -> Iterator[Any]:
    """The bytes of a file, mapped into memory, to read.  Raises BadCheckpoint."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file, a name that no file can have
        raise BadCheckpoint(f"cannot read the GGUF file: {reason(error)}", got=str(path)) from error
    with data:
        yield data


def read_header(path: Path) -> Header:
    """The header of a GGUF file of version 2 or 3.  Raises BadCheckpoint for any other file and a broken one."""
    with mapped(path) as data:
        return _parse(_Cursor(path, data))


def _parse(cursor: _Cursor) -> Header:
    path = cursor.path
    if cursor.data[:4] != MAGIC:
        raise broken(path, "it does not begin with GGUF", cursor.data[:4], MAGIC)
    cursor.need(4)
    version = cursor.scalar("I")
    if version not in VERSIONS:
        raise broken(path, "its version cannot be read", version, "2 or 3, little-endian")
    tensor_count, entries = cursor.scalar("Q"), cursor.scalar("Q")
    metadata: dict[str, Any] = {}
    for _ in range(entries):  # ends with the file
        name = cursor.text()
        if name in metadata:
            raise broken(path, "a name of its metadata occurs twice", name)
        metadata[name] = cursor.value(cursor.scalar("I"))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
        raise broken(path, "general.alignment is no power of two", alignment)
    found: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(tensor_count):
        name, dimensions = cursor.text(), cursor.scalar("I")
        if name in found or not 1 <= dimensions <= MOST_DIMENSIONS:
            raise broken(path, "a tensor occurs twice or has no shape", f"{name}, {dimensions} dimensions")
        shape = tuple(cursor.scalar("Q") for _ in range(dimensions))[::-1]
        found[name] = shape, cursor.scalar("I"), cursor.scalar("Q")
    begin = -(-cursor.at // alignment) * alignment
    tensors = {name: TensorPlace(shape, kind, begin + offset) for name, (shape, kind, offset) in found.items()}
    if any((place.start - begin) % alignment for place in tensors.values()):
        raise broken(path, "a tensor does not begin at a multiple of general.alignment", allowed=alignment)
    return Header(path, cursor.size, metadata, tensors)

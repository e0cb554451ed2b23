"""The training text: files of one JSON object per line, {"text": ..., "meta": {"id": ...}}, xz-compressed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reread.tasks.files import json_lines


def corpus(path: Path, characters: int) -> Iterator[tuple[str, str]]:
    """(id, text) of each document until that many characters were given.  Raises MissingData, BadInput."""
    given = 0
    for row in json_lines(path, {"text": "text"}):
        meta = row.get("meta")
        yield str(meta.get("id", "")) if isinstance(meta, dict) else "", row["text"]
        given += len(row["text"])
        if given >= characters:
            return

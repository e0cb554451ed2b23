"""The training text: files of one JSON object per line, {"text": ..., "meta": {"id": ...}}, xz-compressed."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path

from reread.errors import MissingData


def corpus(path: Path, characters: int) -> Iterator[tuple[str, str]]:
    """(id, text) of each document until that many characters were given.  Raises MissingData."""
    if not path.exists():
        raise MissingData("a training text file is missing", got=str(path), todo="see SOURCES.md of the data folder")
    given = 0
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield str(row.get("meta", {}).get("id", "")), row["text"]
            given += len(row["text"])
            if given >= characters:
                return

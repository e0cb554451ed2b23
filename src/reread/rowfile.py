"""A table that grows row by row and outlives its writer: rows are kept beside the target until it is whole.

OUT.part holds a header and one row of JSON per line, in any order; OUT appears at once, by a rename, as
JSON lines, CSV or Parquet, as its name ends.  This file knows no model and no document; a row is what
has a "document", the name by which it is found again.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reread.errors import BadInput, MissingPackage
from reread.lock import Lock
from reread.whole import write_whole

Row = dict[str, Any]


def written(text: str) -> bytes:
    """UTF-8; what no UTF-8 holds (half a character in the name of a file) as an escape, which JSON reads back."""
    return text.encode("utf-8", "backslashreplace")


def flat(row: Row) -> Row:
    """A row with a column of its own for everything that is known of a field; a list of texts is one text."""
    told: Row = {}
    for key, value in row.items():
        if key == "fields":
            for name, one in value.items():
                told |= {name: one["value"], f"{name}_confidence": one["confidence"], f"{name}_found": one["found"]}
        elif isinstance(value, list):
            told[key] = "; ".join(value) or None
        else:
            told[key] = value
    return {key: written(value).decode() if isinstance(value, str) else value for key, value in told.items()}


def as_jsonl(rows: Sequence[Row]) -> bytes:
    return written("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # how a cell begins that a spreadsheet runs


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet runs as a formula: an apostrophe before a text that begins as one (OWASP, CSV
    injection).  Numbers stay."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(RUN) else value


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written.

    formulas: cells that a spreadsheet would run stay as they are; bom: it begins with a UTF-8 byte order mark, by which
    Excel knows the encoding.
    """

    formulas: bool = False
    bom: bool = False


def as_csv(rows: Sequence[Row], form: CsvForm = CsvForm()) -> bytes:
    """RFC 4180 with a header line; what is not there is an empty cell; every text is `harmless`, unless `form` says
    otherwise."""
    text, cell = io.StringIO(newline=""), (lambda x: x) if form.formulas else harmless
    text.write("\ufeff" if form.bom else "")
    table = [{cell(key): cell(value) for key, value in flat(row).items()} for row in rows]
    writer = csv.DictWriter(text, list(table[0]) if table else [], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(table)
    return written(text.getvalue())


def column_kind(name: str, names: Sequence[str]) -> str:
    """The Arrow type of a column, so that one without any value is not left untyped."""
    for end, kind in (("_confidence", "float64"), ("_found", "bool")):
        if name.endswith(end) and name.removesuffix(end) in names:
            return kind
    floats = ("seconds", "kept_positions")
    return "float64" if name in floats else "int64" if name in ("tokens_read", "tokens_cut") else "string"


def as_parquet(rows: Sequence[Row]) -> bytes:
    """Raises MissingPackage."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackage("pyarrow", "extract") from error
    table = [flat(row) for row in rows]
    names = list(table[0]) if table else []
    kinds = [(name, pyarrow.type_for_alias(column_kind(name, names))) for name in names]
    made = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table, schema=pyarrow.schema(kinds)), made)
    return made.getvalue()


FORMATS: dict[str, Callable[[Sequence[Row]], bytes]] = {".jsonl": as_jsonl, ".csv": as_csv, ".parquet": as_parquet}


def check_target(out: Path, form: CsvForm = CsvForm()) -> None:
    """Raise for a file that could not be written at the end, before anything is read.  BadInput, MissingPackage."""
    if form != CsvForm() and out.suffix.lower() != ".csv":
        raise BadInput("these are options of .csv files", got=str(out), todo="leave out --keep-formulas and --bom")
    if out.suffix.lower() not in FORMATS:
        raise BadInput("rows are written as the name of the file ends", got=str(out), allowed=", ".join(FORMATS))
    if not out.parent.is_dir():
        raise BadInput("the folder to write into is not there", got=str(out.parent))
    if out.is_dir():
        raise BadInput("rows go into a file, and this is a folder", got=str(out))
    FORMATS[out.suffix.lower()]([])


@dataclass(frozen=True)
class RowFile:
    """Rows on their way to the file `out`.  csv: how a CSV file is written."""

    out: Path
    csv: CsvForm = CsvForm()

    @property
    def part(self) -> Path:
        return self.out.with_name(self.out.name + ".part")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else writes meanwhile; a killed writer holds nothing.  Raises BadInput."""
        path, says = self.out.with_name(self.out.name + ".lock"), "another process is writing these rows"
        with self._writing():
            lock = Lock(path, says, got=self.out, todo="wait for it")
        with lock:
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A full disk, and the like, as one sentence (BadInput)."""
        try:
            yield
        except OSError as error:
            raise BadInput(f"the rows cannot be written: {error.strerror}", got=str(self.out)) from error

    def start(self, header: Row) -> list[Row]:
        """The rows that were written before with the same header; begins the part where there is none.

        Raises BadInput for a part of another configuration, a broken one, and a finished file.
        """
        if not self.part.exists():
            if self.out.exists():
                raise BadInput("this file is there already", got=str(self.out), todo="name another one or delete it")
            self._rewrite(header, [])
            return []
        *whole, _ = self.part.read_bytes().split(b"\n")  # what follows the last line's end was torn
        try:
            lines = [json.loads(line) for line in whole]
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BadInput("the rows written before are broken", got=str(self.part), todo="delete that file") from error
        now, then = json.loads(json.dumps(header)), lines[0] if lines else {}
        for name in {**now, **then} if lines else ():
            if then.get(name) != now.get(name):
                raise BadInput(
                    f"the rows written before are of another {name}",
                    got=f"{then.get(name, 'none')} in {self.part}",
                    allowed=now.get(name, "none"),
                    todo="go on as before, name another file, or delete that one to begin anew",
                )
        self._rewrite(header, lines[1:])
        return lines[1:]

    def _rewrite(self, header: Row, rows: Sequence[Row]) -> None:
        with self._writing():
            write_whole(self.part, as_jsonl([header, *rows]))

    def append(self, row: Row) -> None:
        """One line, on the disk when this returns.  Raises BadInput."""
        with self._writing(), self.part.open("ab") as file:
            file.write(as_jsonl([row]))
            file.flush()
            os.fsync(file.fileno())

    def finish(self, rows: Sequence[Row]) -> None:
        """Write `out` from these rows and drop the part; a kill between the two is mended by going on.

        Raises BadInput."""
        kind = self.out.suffix.lower()
        data = as_csv(rows, self.csv) if kind == ".csv" else FORMATS[kind](rows)
        with self._writing():
            write_whole(self.out, data)
            self.part.unlink()

"""A Run is a folder: header.json first, rows.jsonl as they come, done.json last; rows.jsonl.xz once it is packed.

What has no done.json is not whole, and readers say so.  Reports read nothing else.  This file
knows neither models nor tasks, and needs no torch.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import lzma
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from reread.errors import BadInput, reason
from reread.lock import Lock
from reread.whole import check_folder, write_whole

PACKED = "rows.jsonl.xz"


def commit() -> str | None:
    """The commit of the repository that holds this file, with "+" when the package was changed since.

    REREAD_COMMIT where it is set (a tree that travelled without its history); None for an installed package: a
    repository around it that does not track it is another project's.
    """
    if told := os.environ.get("REREAD_COMMIT"):
        return told
    here = Path(__file__).resolve().parent
    try:
        subprocess.run(["git", "-C", here, "ls-files", "--error-unmatch", __file__], capture_output=True, check=True)
        head = subprocess.run(
            ["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "-C", here, "status", "--porcelain", "--", "."], capture_output=True, text=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if dirty else "")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _another(key: str, then: dict[str, Any], now: dict[str, Any], folder: Path) -> BadInput:
    """Why a run that began otherwise does not go on."""
    todo = "name another folder, or delete this one"
    if key not in then or key not in now:
        knew = "which had a" if key in then else "which had no"
        return BadInput(f"another version of reread made this run, {knew} setting {key!r}", got=str(folder), todo=todo)
    was, wanted = then[key], now[key]
    while isinstance(was, dict) and isinstance(wanted, dict):  # the entry of a table that differs
        inside = next(name for name in {**was, **wanted} if was.get(name, key) != wanted.get(name, key))
        key, was, wanted = f"{key}.{inside}", was.get(inside), wanted.get(inside)
    what = "the run folder holds a run of another configuration"
    return BadInput(what, got=f"{key} {was!r} in {folder}", allowed=f"{wanted!r}", todo=todo)


def _now(device: str) -> dict[str, Any]:
    """When, at which commit, where and with which packages a run starts or goes on."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    elsewhere = "" if device == "cpu" else device
    return {
        "started": now,
        "commit": commit(),
        "python": platform.python_version(),
        "machine": ", ".join(filter(None, (platform.machine(), f"{os.cpu_count()} cores", elsewhere))),
        "packages": {name: _version(name) for name in ("reread", "torch", "transformers", "tokenizers", "numpy")},
    }


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise BadInput for what the system says to the writing of a run: a full disk, no permission."""
    try:
        yield
    except OSError as error:
        todo = "what was written stays; the same command goes on once it can write"
        raise BadInput(f"the run cannot be written: {reason(error)}", got=str(folder), todo=todo) from error


def write_json(path: Path, value: Any) -> None:
    """The file holds this, or what it held."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Run:
    """One run folder; `lock` where this process writes it (see `start`)."""

    folder: Path
    lock: Lock | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def start(
        folder: Path | str,
        kind: str,
        config: dict[str, Any],
        *,
        resume: bool = False,
        apart: Sequence[str] = (),
        device: str = "",
    ) -> Run:
        """Make the folder and write its header; `with Run.start(...) as run:` keeps every other writer out meanwhile.

        A folder that holds another configuration, or that another process writes, is refused (BadInput); one
        that holds the same and is not done goes on when `resume` is given, and one that is done is only read.
        apart: settings that say where a run stands, not what it is: a folder may be moved, or named in another way.
        device: where it computes, if not where models do (REREAD_DEVICE).
        """
        run = Run(Path(folder))
        was_there = run.folder.exists()
        if not (resume and run.done):
            run = run._held()
        try:
            with writing(run.folder):
                run._begin(kind, config, resume, apart, device or os.environ.get("REREAD_DEVICE", ""))
        except BaseException:
            run.release()
            if not was_there:
                with contextlib.suppress(OSError):  # it is not empty
                    run.folder.rmdir()
            raise
        return run

    @staticmethod
    def check(
        folder: Path | str, kind: str, config: dict[str, Any], *, resume: bool = True, apart: Sequence[str] = ()
    ) -> None:
        """Raise BadInput where `start` would refuse this folder, as far as the settings that are known yet tell.

        config: some of the settings that `start` will be given.  Nothing is made or written.
        """
        run = Run(Path(folder))
        if not (resume and run.done):  # a finished run is only read
            check_folder(run.folder, "the run folder")
        if (run.folder / "header.json").exists():
            given = json.loads(json.dumps(config))
            run._compare(kind, {**run.header()["config"], **given}, resume, apart)
        if (run.folder / ".lock").exists():
            run._held().release()

    def _compare(self, kind: str, config: dict[str, Any], resume: bool, apart: Sequence[str]) -> bool:
        """Whether the header is of another kind or configuration, and no row was written.  Raises BadInput for a
        folder that this run cannot go on in."""
        if not resume:
            raise BadInput("the run folder is in use", got=str(self.folder), todo="name another one or delete it")
        then, now = self.header()["config"], json.loads(json.dumps(config))
        other = [key for key in {**then, **now} if key not in apart and then.get(key) != now.get(key)]
        was = self.header()["kind"]
        if was != kind and self._holds_something():
            what = f"the run folder holds a run of kind {was}"
            raise BadInput(what, got=str(self.folder), allowed=kind, todo="name another folder, or delete this one")
        if other and self._holds_something():
            raise _another(other[0], then, now, self.folder)
        return bool(other) or was != kind

    def _held(self) -> Run:
        """This run, its folder made, written by nobody else until `release` or the end of this process."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            todo = "wait for it, or name another folder"
            lock = Lock(self.folder / ".lock", "another process writes this run", got=self.folder, todo=todo)
        except OSError as error:
            what = "write" if self.folder.is_dir() else "make"
            raise BadInput(f"cannot {what} the run folder: {error.strerror}", got=str(self.folder)) from error
        return Run(self.folder, lock)

    def release(self) -> None:
        """Others may write this run from now on."""
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *trouble: object) -> None:
        self.release()

    def _begin(self, kind: str, config: dict[str, Any], resume: bool, apart: Sequence[str], device: str) -> None:
        """Write the header, or go on with the one that is there; see `start`."""
        if (self.folder / "header.json").exists():
            if self._compare(kind, config, resume, apart):  # it never wrote a row
                write_json(self.folder / "header.json", {"kind": kind, **_now(device), "config": config})
            elif not self.done:
                self.keep(lambda row: True)  # a line torn by a kill would swallow the next one
                header = self.header()
                resumed = [*header.get("resumed", ()), _now(device)]
                write_json(self.folder / "header.json", {**header, "resumed": resumed})
            return
        write_json(self.folder / "header.json", {"kind": kind, **_now(device), "config": config})

    def _holds_something(self) -> bool:
        """Whether there is more than a header, a lock, and a file for rows with none in it."""
        own = ("header.json", ".lock")
        return any(path.name not in own and (path.is_dir() or path.stat().st_size) for path in self.folder.iterdir())

    def header(self) -> dict[str, Any]:
        """Raises BadInput when the folder is no run."""
        path = self.folder / "header.json"
        if not path.is_file():
            raise BadInput("not a run folder (no header.json)", got=str(self.folder))
        found = self._object(path)
        if not isinstance(found.get("kind"), str) or not isinstance(found.get("config"), dict):
            raise self._broken(path)
        return found

    def _broken(self, path: Path) -> BadInput:
        todo = "delete this run folder, or restore the file"
        return BadInput(f"{path.name} is broken", got=str(self.folder), allowed="a JSON object", todo=todo)

    def _object(self, path: Path) -> dict[str, Any]:
        """What a JSON file of the run holds.  Raises BadInput for anything but an object."""
        try:
            found = json.loads(path.read_bytes())
        except (json.JSONDecodeError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            raise self._broken(path)
        return found

    def append(self, row: dict[str, Any]) -> None:
        """Add a row.  Raises BadInput for a packed run: it is finished."""
        if (self.folder / PACKED).exists():
            raise BadInput("a packed run takes no more rows", got=str(self.folder))
        with writing(self.folder), (self.folder / "rows.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows in order; a last line cut short by a kill is left out.  Raises BadInput for any other broken line."""
        path, packed = self.folder / "rows.jsonl", self.folder / PACKED
        if path.exists():
            data = path.read_bytes()
        elif packed.exists():
            try:
                data = lzma.decompress(packed.read_bytes())
            except (lzma.LZMAError, EOFError) as error:
                raise BadInput(f"{PACKED} is broken: {error}", got=str(self.folder)) from error
        else:
            return
        *whole, _ = data.split(b"\n")
        for number, line in enumerate(whole, start=1):
            try:
                yield json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise BadInput(f"line {number} of rows.jsonl is broken", got=str(self.folder)) from error

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drop the rows that are not wanted (those after the checkpoint that a run goes on from)."""
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows() if wanted(row)]
        with writing(self.folder):
            write_whole(self.folder / "rows.jsonl", "".join(lines))

    def pack(self) -> tuple[int, int]:
        """Compress the rows of a finished run, some thirtyfold; bytes before and after.  Raises BadInput."""
        self.summary()
        path, packed = self.folder / "rows.jsonl", self.folder / PACKED
        if not path.exists():
            return 0, 0
        rows = path.read_bytes()
        with writing(self.folder):
            write_whole(packed, lzma.compress(rows, preset=9))
            path.unlink()
        return len(rows), packed.stat().st_size

    def finish(self, summary: dict[str, Any]) -> None:
        finished = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        with writing(self.folder):
            write_json(self.folder / "done.json", {"finished": finished, **summary})
        self.release()

    @property
    def done(self) -> bool:
        return (self.folder / "done.json").exists()

    def summary(self) -> dict[str, Any]:
        """Raises BadInput when the run did not end."""
        if not self.done:
            raise BadInput("this run is not whole (no done.json)", got=str(self.folder), todo="let it end or resume it")
        return self._object(self.folder / "done.json")

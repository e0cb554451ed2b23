"""GGUF files, converted once: a cache folder of model folders, each named after the sha256 of the file it was made of.

    CACHE/checked/ID.json      the sha256 of a file, with its size and times: it is hashed again when these change
    CACHE/SHA256-FORMAT/       a folder of transformers (bfloat16) and conversion.json, which names its files' sizes

CACHE is $REREAD_CACHE, else $XDG_CACHE_HOME/reread, else ~/.cache/reread.  A conversion is written into a folder
beside its place and renamed, by one process at a time, so what a killed one leaves behind is never taken for a model.
Needs no torch; a conversion does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reread.errors import BadCheckpoint, reason
from reread.lock import Lock
from reread.whole import sync_folder, write_new, write_whole

FORMAT = 1  # of what a conversion writes; another number converts again
DONE = "conversion.json"
_SAID: set[str] = set()


@dataclass(frozen=True)
class ModelFile:
    """A GGUF file that was hashed.  folder: its conversion; None where the cache cannot be written."""

    path: Path
    sha256: str
    folder: Path | None

    @property
    def identity(self) -> str:
        """What the fingerprint of its model is made of, beside the configuration."""
        return f"gguf {self.sha256} {FORMAT}"


def cache_folder() -> Path:
    """Where conversions are kept.  Raises OSError where this user has no home."""
    own, base = os.environ.get("REREAD_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser().absolute()
    if base and Path(base).is_absolute():  # others are to be ignored, says the XDG specification
        return Path(base) / "reread"
    try:
        return Path.home() / ".cache" / "reread"
    except RuntimeError as error:
        raise OSError(str(error)) from error


def say_once(text: str) -> None:
    """A warning, the first time in this process."""
    if text not in _SAID:
        _SAID.add(text)
        logging.getLogger(__name__).warning("reread: %s", text)


def sha256_of_file(path: Path) -> str:
    """The sha256 of a file; kept in the cache, and made anew when the file's size, times or place change.

    Raises BadCheckpoint where the file cannot be read.
    """
    try:
        path = path.resolve()
        facts = path.stat()
        now = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
        record = _record(path)
        known = _table(record) if record else {}
        if known.get("path") == str(path) and known.get("stat") == now and isinstance(known.get("sha256"), str):
            return known["sha256"]
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadCheckpoint(f"cannot read the GGUF file: {reason(error)}", got=str(path)) from error
    found = digest.hexdigest()
    try:
        if record:
            record.parent.mkdir(parents=True, exist_ok=True)
            write_whole(record, json.dumps({"path": str(path), "stat": now, "sha256": found}))
    except OSError:
        pass  # hashed again next time
    return found


def _record(path: Path) -> Path | None:
    """Where the sha256 of that file is kept; None without a cache."""
    try:
        return cache_folder() / "checked" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    except OSError:
        return None


def _table(path: Path) -> dict[str, Any]:
    """A JSON file of ours, {} where it is not there or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir() if file.name != DONE}


def is_finished(folder: Path, sha256: str) -> bool:
    """Whether a folder holds a finished conversion of that file, all of its files at their sizes."""
    done = _table(folder / DONE)
    try:
        named = {"sha256": sha256, "format": FORMAT, "sizes": _sizes(folder)}
    except OSError:
        return False
    return bool(done) and done == named


def model_file(path: Path) -> ModelFile:
    """A GGUF file with its conversion, which is made where there is none.

    Where the cache cannot be written, says so once; the file is read directly then.  Raises BadCheckpoint for a file
    that cannot be read, MissingPackage.
    """
    sha256 = sha256_of_file(path)
    try:
        folder = cache_folder() / f"{sha256}-{FORMAT}"
        if not is_finished(folder, sha256):
            _convert(path, sha256, folder)
    except OSError as error:
        say_once(f"the cache of converted models cannot be written ({reason(error)}): {path.name} is read directly.")
        return ModelFile(path, sha256, None)
    return ModelFile(path, sha256, folder)


def _convert(path: Path, sha256: str, folder: Path) -> None:
    """Write the conversion of a file, or wait for the process that does.  Raises OSError, BadCheckpoint."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # raises where none can be made
    try:
        with Lock(folder.with_name(f".{folder.name}.lock"), wait=True):
            if is_finished(folder, sha256):
                return
            for left in folder.parent.glob(f".{folder.name}-*"):
                if left != part and not _in_use(left):
                    shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
            from reread.models.gguf import write_folder

            write_folder(path, part)
            _sync(part, sha256)
            if folder.exists():  # a conversion of which a file was changed or removed
                shutil.rmtree(folder)
            part.rename(folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _in_use(part: Path) -> bool:
    """Whether a part may be another process's that waits for the lock: its folder is empty until it holds it."""
    try:
        return not any(part.iterdir())
    except OSError:
        return True


def _sync(part: Path, sha256: str) -> None:
    """Everything in a part is on the disk, and conversion.json says what there is."""
    for file in part.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    write_new(part / DONE, json.dumps({"sha256": sha256, "format": FORMAT, "sizes": _sizes(part)}).encode())
    sync_folder(part)

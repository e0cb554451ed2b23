"""The text of a PDF, taken out in a process of its own, which is ended when it takes too long.

A few bytes of a PDF can keep any parser busy for ever, or make it fall over; here that costs one document
and not the extraction.  Knows no file name and no sentence for people (sources.py has those).
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import subprocess
import sys
import threading
from typing import Any

from reread.errors import reason

RUNNING: set[subprocess.Popen[bytes]] = set()
CHANGING = threading.Lock()


class TooSlow(Exception):
    """The time was over before the text was there."""


def read_pdf(data: bytes, seconds: float) -> dict[str, Any]:
    """{"text": of every page, a blank line between two}, or {"locked": True}, or {"error": a line that says why}.

    The child has this process's module path.  Raises TooSlow.
    """
    alarm = math.ceil(seconds) + 1  # of its own, for when this process is killed
    code = f"import sys; sys.path[:] = {sys.path!r}; from reread.pdf_text import child; child({alarm})"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        with CHANGING:
            RUNNING.add(process)
        try:
            written, errors = process.communicate(data, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise TooSlow from error
        finally:
            process.kill()
            with CHANGING:
                RUNNING.discard(process)
    if process.returncode:
        last = errors.decode("utf-8", "replace").strip().splitlines() or [f"exit code {process.returncode}"]
        return {"error": f"the process that read it ended: {last[-1]}"}
    return json.loads(written)


def end_all() -> None:
    """End what is being read in other threads of this process: it ends as a broken file would."""
    with CHANGING:
        for process in RUNNING:
            process.kill()


def child(seconds: int) -> None:
    """A PDF on standard input, what became of it on standard output; ends itself after so many seconds."""
    with contextlib.suppress(AttributeError):  # where there are no such signals
        signal.alarm(seconds)
    written = sys.stdout
    sys.stdout = sys.stderr  # what a parser prints is no answer
    json.dump(parsed(sys.stdin.buffer.read()), written)
    written.flush()


def parsed(data: bytes) -> dict[str, Any]:
    """As `read_pdf`, here and however long it takes."""
    import io
    import logging

    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return {"locked": True}
        return {"text": "\n\n".join(page.extract_text().strip() for page in reader.pages)}
    except Exception as error:  # on broken files pypdf raises whatever Python raises
        return {"error": reason(error)}

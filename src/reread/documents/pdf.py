"""The text of a PDF, taken out in a process of its own, which is ended when it takes too long.

A few bytes of a PDF can keep any parser busy for ever, or make it fall over; here that costs one document
and not the extraction.  Knows no file name and no sentence for people (loaders.py has those).
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import signal
import subprocess
import sys
import threading
from typing import Any

from reread.documents.pdf_page import page_text
from reread.errors import reason

WORD_GAP = 0.2  # of a character's size: a wider gap parts two words
HIDDEN = 2  # the flag of annotations that are not shown (PDF 32000-1, 12.5.3)
DEEPEST = 32  # fields above a field
UNKNOWN = re.compile(r"\(cid:\d+\)")  # how pdfminer writes a character that its font gives no meaning to
RUNNING: set[subprocess.Popen[bytes]] = set()
CHANGING = threading.Lock()


class TooSlow(Exception):
    """The time was over before the text was there."""


def read_pdf(data: bytes, seconds: float) -> dict[str, Any]:
    """{"text": of every page, a blank line between two, "empty": pages without text, "unknown": pages with
    characters of unknown meaning, "lost": pages with fields that cannot be read}, or {"locked": True}, or {"error": a
    line that says why}.

    The child has this process's module path.  Raises TooSlow.
    """
    alarm = math.ceil(seconds) + 1  # of its own, for when this process is killed
    code = f"import sys; sys.path[:] = {sys.path!r}; from reread.documents.pdf import child; child({alarm})"
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

    import pdfplumber
    from pdfminer.pdfdocument import PDFPasswordIncorrect

    logging.getLogger("pdfminer").setLevel(logging.CRITICAL)
    try:
        with pdfplumber.open(io.BytesIO(data)) as pdf:
            found = [text_of_page(page) for page in pdf.pages]
    except Exception as error:  # on broken files pdfminer raises whatever Python raises
        if any(isinstance(one, PDFPasswordIncorrect) for one in (error, error.__cause__, *error.args)):
            return {"locked": True}
        return {"error": reason(error)}
    if not found:
        return {"error": "it has no pages"}
    texts = [text for text, _ in found]
    lost = [number for number, (_, whole) in enumerate(found, start=1) if not whole]
    empty = [number for number, text in enumerate(texts, start=1) if not text]
    unknown = [number for number, text in enumerate(texts, start=1) if UNKNOWN.search(text)]
    return {"text": "\n\n".join(text for text in texts if text), "empty": empty, "unknown": unknown, "lost": lost}


def text_of_page(page: Any) -> tuple[str, bool]:
    """The words of a page, with the values of its form fields and its typed notes where they stand, and whether all of
    these could be read."""
    words = page.extract_words(x_tolerance_ratio=WORD_GAP)
    whole = True
    try:
        for annotation in page.annots:
            words += annotation_words(annotation, words)
    except Exception:  # a broken field, on which pdfminer raises whatever Python raises, costs no page
        whole = False
    text = page_text(words)
    page.close()  # pdfplumber keeps the characters of pages that were read
    return text, whole


def annotation_words(annotation: dict[str, Any], words: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The value of a form field, after its name where nothing stands to the left of it; a note typed on the page."""
    data = annotation["data"]
    place = {key: annotation[key] for key in ("x0", "x1", "top", "bottom")}
    kind = name_of(data.get("Subtype"))
    if kind == "FreeText":
        text = words_of(data.get("Contents"))
    elif kind == "Widget" and not int(inherited(data, "F") or 0) & HIDDEN:
        text = field_value(data)
        beside = [one for one in words if one["x0"] < place["x0"] and overlaps(one, place)]
        if text and not beside:
            label = words_of(inherited(data, "TU")) or words_of(inherited(data, "T"))
            text = f"{label}: {text}" if label else text
    else:
        text = ""
    middle = (place["top"] + place["bottom"]) / 2
    near = [one["bottom"] - one["top"] for one in words if overlaps(one, place)]
    half = min([place["bottom"] - place["top"], *near]) / 2  # a field is higher than the line that it stands in
    return [{**place, "top": middle - half, "bottom": middle + half, "text": text}] if text else []


def overlaps(word: dict[str, Any], place: dict[str, Any]) -> bool:
    return word["top"] < place["bottom"] and place["top"] < word["bottom"]


def inherited(data: dict[str, Any], key: str) -> Any:
    """An entry of a field, or of the field above it (PDF 32000-1, 12.7.3.1)."""
    from pdfminer.pdftypes import resolve1

    for _ in range(DEEPEST):
        if key in data:
            return resolve1(data[key])
        above = resolve1(data.get("Parent"))
        if not isinstance(above, dict):
            return None
        data = above
    return None


def field_value(data: dict[str, Any]) -> str:
    """The value of a form field as text: of a box or a button the name of its state."""
    if name_of(inherited(data, "FT")) == "Btn":
        return name_of(data.get("AS")) or name_of(inherited(data, "V"))
    value = inherited(data, "V")
    return ", ".join(filter(None, map(words_of, value))) if isinstance(value, list) else words_of(value)


def name_of(value: Any) -> str:
    """A name of PDF as text; "" for anything else."""
    from pdfminer.pdftypes import resolve1

    name = getattr(resolve1(value), "name", "")
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def words_of(value: Any) -> str:
    """A string of PDF in one line; "" for what is none."""
    from pdfminer.pdftypes import resolve1
    from pdfminer.utils import decode_text

    value = resolve1(value)
    text = decode_text(value) if isinstance(value, bytes) else value if isinstance(value, str) else name_of(value)
    return " ".join(text.split())

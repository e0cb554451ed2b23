"""HTML pages as text: what a reader would see, a line per block.  Parsed by lxml; knows no benchmark.

Broken markup is mended as a browser would.  Scripts, styles and comments are left out; runs of
white space become one blank; blocks, table rows and line breaks end a line.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

from reread.errors import BadInput, MissingPackage

DECLARED = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([a-z0-9_:.-]+)""", re.IGNORECASE)
HEAD = 4096
READ_AS = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252", "ascii": "cp1252"}
UNSEEN = frozenset("script style noscript template iframe object svg".split())
BLOCKS = frozenset(
    "address article aside blockquote body br caption center dd details div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 head header hr html legend li main nav ol optgroup option p pre section select summary "
    "table tbody tfoot thead title tr ul".split()
)
NOT_OF_PAGES = frozenset(("punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7"))
CELLS = frozenset(("td", "th", "button", "input", "img", "label"))
LONGEST_LABEL = 40
MARKED = tuple(":：?？!.。;,")
ROW, CELL, END = "\x00(", "\x00|", "\x00)"  # of a table's row of two cells; no page's text holds a \x00
PAIR = re.compile(r"\x00\((?P<label>[^\x00]*)\x00\|(?P<value>[^\x00]*)\x00\)")


def decode_page(data: bytes, name: str) -> str:
    """The page's characters: by its byte order mark, else by the set it declares, else as UTF-8.

    ISO-8859-1 is read as Windows-1252, as browsers do.  Raises BadInput when the bytes do not fit.
    """
    if data.startswith(codecs.BOM_UTF8):
        charset, found = "utf-8-sig", "its byte order mark"
    elif declared := DECLARED.search(data[:HEAD]):
        label = declared.group(1).decode("ascii").lower()
        charset, found = READ_AS.get(label, label), "its meta element"
    else:
        charset, found = "utf-8", "no declaration"
    try:
        if codecs.lookup(charset).name in NOT_OF_PAGES:
            raise LookupError("not a character set of pages")
        return data.decode(charset)
    except (LookupError, UnicodeError) as error:
        raise BadInput(
            f"the characters of {name} cannot be read as {charset}, by {found}",
            got=str(error),
            todo="declare its character set in a meta element",
        ) from error


def page_text(html: str, name: str = "the page", *, labels: bool = False) -> str:
    """The text of a page, a line per block; empty when nothing can be seen.

    labels: a table's row of two cells is "label: value", as in a form, where the first is short and ends without a
    mark of its own; else, as in the benchmark, cells have a blank between them (docs/log.md, 2026-11-22).

    Raises MissingPackage; BadInput where the parser gave up, so that no text is lost in silence.
    """
    try:
        from lxml import etree
    except ImportError as error:
        raise MissingPackage("lxml", "documents") from error
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    # the wrapping element keeps a page without any element from being "empty" to the parser
    root = etree.fromstring(f"<html>{html}</html>".replace("\x00", " ").encode("utf-8", "replace"), parser)
    fatal = [entry.message for entry in parser.error_log if entry.level_name == "FATAL"]
    if fatal:
        raise BadInput(
            f"the markup of {name} cannot be read to its end", got=fatal[0], todo="mend or leave out the page"
        )
    pieces: list[str] = []
    row: Any = None  # of two cells, that the walk is in
    second: Any = None
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        if event == "start" and element.tag in UNSEEN:
            walk.skip_subtree()
            continue
        pieces.append("\n" if element.tag in BLOCKS else " " if element.tag in CELLS else "")
        if labels and event == "start" and element.tag == "tr" and (cells := two_cells(element)):
            row, second = element, cells[1]
            pieces.append(ROW)
        elif element is second and event == "start":
            pieces.append(CELL)
        elif element is row and event == "end":
            row = second = None
            pieces[-1:] = [END, "\n"]
        text = element.text if event == "start" else element.tail
        pieces.append(re.sub(r"\s+", " ", text or ""))
    whole = PAIR.sub(labelled, "".join(pieces)) if labels else "".join(pieces)
    lines = (re.sub(r"\s+", " ", line).strip() for line in whole.split("\n"))
    return "\n".join(line for line in lines if line)


def two_cells(row: Any) -> list[Any]:
    """The cells of a table's row, if they are two and no table stands in them."""
    cells = [part for part in row if part.tag in ("td", "th")]
    return cells if len(cells) == 2 and row.find(".//table") is None else []


def labelled(row: re.Match[str]) -> str:
    """A row of two cells as "label: value"; as a row of any cells where the first is empty, long or several lines."""
    label, value = row["label"].strip(), row["value"].strip()
    if not label or not value or "\n" in label or len(label) > LONGEST_LABEL:
        return f"{row['label']} {row['value']}"
    return f"{label} {value}" if label.endswith(MARKED) else f"{label}: {value}"

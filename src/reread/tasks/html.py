"""The text of a benchmark's HTML pages, which results that exist were measured on: it stays as it is.

Documents of people are read by documents/html.py.  Scripts, styles and comments are left out; runs of white space
become one blank; blocks, table rows and line breaks end a line.  Parsed by lxml.
"""

from __future__ import annotations

import re

from reread.errors import BadInput, MissingPackage

UNSEEN = frozenset("script style noscript template iframe object svg".split())
BLOCKS = frozenset(
    "address article aside blockquote body br caption center dd details div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 head header hr html legend li main nav ol optgroup option p pre section select summary "
    "table tbody tfoot thead title tr ul".split()
)
CELLS = frozenset(("td", "th", "button", "input", "img", "label"))


def page_text(html: str, name: str = "the page") -> str:
    """The text of a page, a line per block; empty when nothing can be seen.

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
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        if event == "start" and element.tag in UNSEEN:
            walk.skip_subtree()
            continue
        pieces.append("\n" if element.tag in BLOCKS else " " if element.tag in CELLS else "")
        text = element.text if event == "start" else element.tail
        pieces.append(re.sub(r"\s+", " ", text or ""))
    lines = (re.sub(r"\s+", " ", line).strip() for line in "".join(pieces).split("\n"))
    return "\n".join(line for line in lines if line)

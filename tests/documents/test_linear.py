"""No text takes longer than its length asks for: expressions that divide a run of characters in every way would."""

import importlib
import pkgutil
import re

import pytest
from within import within

from reread import documents
from reread.documents.html import html_text
from reread.documents.loaders import is_page, source_of

PIECES = (
    " ",
    "\t",
    "\n",
    " \t",
    "a",
    "a ",
    "1,",
    "<!--a-->",
    "<!--",
    "<",
    "<p>",
    "</p>",
    "<%",
    "%>",
    "<%a%>",
    "|",
    "| a ",
)
PIECES += (
    "*",
    "_",
    "`",
    "&",
    "--",
    "=",
    "=a",
    '"',
    "'",
    "\\",
    "#",
    " #",
    ":",
    "a:",
    "é",
    "e\u0301",
    "\u200d",
    "a{",
    "}",
)
MATCHED_WHOLE = {"SELECTOR", "NUMBER_FORMAT"}  # with fullmatch alone


@pytest.mark.parametrize("piece", [" ", "\n", "\t ", "<!--a-->", "<%a%>", "<?xml ?>", "<!--a--> \n<%b%>"])
def test_a_long_beginning_is_skipped_at_once(piece):
    with within(5):
        assert source_of((piece * 2000 + "x").encode(), "a.txt").text.endswith("x")
        assert is_page((piece * 200 + "<!DOCTYPE html>").encode()) and not is_page((piece * 200 + "<b>").encode())


@pytest.mark.parametrize(
    "module", [name.name for name in pkgutil.iter_modules(documents.__path__, documents.__name__ + ".")]
)
def test_expressions_for_texts_take_time_in_proportion(module):
    for name, pattern in vars(importlib.import_module(module)).items():
        if not isinstance(pattern, re.Pattern):
            continue
        match = pattern.fullmatch if name in MATCHED_WHOLE else pattern.search
        for piece in PIECES:
            text = piece * (20_000 // len(piece)) + "!"
            with within(5):
                match(text if isinstance(pattern.pattern, str) else text.encode())


@pytest.mark.parametrize(
    ("sheet", "hidden"),
    [
        (".old { color: red; display: none }", True),
        ("@media screen { p { margin: 0 } b, .old { visibility : hidden } }", True),
        ("/* .old { display: none } */ .old { display: block }", False),
        (".new { display: none } .old { color: red }", False),
        (" " * 50_000, False),
    ],
)
def test_style_sheets_say_what_is_hidden(sheet, hidden):
    with within(5):
        text = html_text(f"<html><style>{sheet}</style><p class=old>5 EUR</p><p>6 EUR</p></html>")
    assert ("5 EUR" not in text) == hidden and "6 EUR" in text

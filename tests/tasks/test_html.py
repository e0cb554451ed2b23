"""The text of a benchmark's pages: what is seen, in lines; markup that is broken.  Results depend on it."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raising import containing, refused

from reread.errors import BadInput, MissingPackage
from reread.tasks.html import page_text

pytest.importorskip("lxml")


def test_blocks_end_lines_and_cells_do_not():
    page = (
        "<table><tr><th>Height</th><td>6&#160;ft&nbsp; 3\n in</td></tr><tr><td>Team</td></tr></table><p>a<br>b<b>c</b>d"
    )
    assert page_text(page) == "Height 6 ft 3 in\nTeam\na\nbcd"


def test_what_a_reader_does_not_see_is_left_out():
    page = (
        "<title>T</title><style>s{}</style><body>a<script>x='<p>'</script>b<!-- c -->d<noscript>n</noscript>e<?pi f?>g"
    )
    assert page_text(page) == "T\nabdeg"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<div><p>one<td>two</b></div><p>three", "one\ntwo\nthree"),
        ("a <b>b <i>c</b> d</i> e", "a b c d e"),
        ("<p class='never closed>swallowed</p>", ""),
        ("plain & text < with > signs", "plain & text < with > signs"),
        ("<div>" * 1500 + "deep", "deep"),
        ("a\x00b", "a b"),
        ("", ""),
        ("<!-- only a comment -->", ""),
        ("<html></html>", ""),
    ],
)
def test_broken_markup_is_mended(page, text):
    assert page_text(page) == text


def test_what_the_parser_gives_up_is_not_lost_in_silence():
    with refused(BadInput, got=containing("2048"), naming="p.htm"):
        page_text("<div>" * 5000 + "deep", "p.htm")


@given(st.text(st.characters(codec="utf-8", exclude_characters="<>&\x00", exclude_categories=["Cc", "Cs"])))
def test_any_text_stays_but_for_its_blanks(text):
    assert page_text(f"<p>{text}</p>").split() == text.split()


@given(st.text())
def test_no_page_is_too_broken(text):
    assert "\n\n" not in page_text(text)


def test_without_lxml_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "lxml", None)
    with refused(MissingPackage, naming="lxml", todo=containing("reread[documents]")):
        page_text("<p>a")

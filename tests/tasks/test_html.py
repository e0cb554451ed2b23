"""Pages as text: what is seen, in lines; other encodings; markup that is broken."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raising import containing, refused

from reread.errors import BadInput, MissingPackage
from reread.tasks.html import decode_page, page_text

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


@pytest.mark.parametrize(
    "data",
    [
        "<meta charset='iso-8859-1'><p>Café “x”</p>".encode("cp1252"),
        "<META http-equiv=Content-Type content='text/html; charset=ISO-8859-1'>Café “x”".encode("cp1252"),
        b"\xef\xbb\xbf<meta charset=iso-8859-1>" + "Café “x”".encode(),
        "<meta charset=utf-8>Café “x”".encode(),
        "Café “x”".encode(),
        "<meta charset=windows-1252>Café “x”".encode("cp1252"),
    ],
)
def test_the_declared_characters_are_read(data):
    assert page_text(decode_page(data, "page")) == "Café “x”"


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (
            "Café".encode("latin-1"),
            {"got": containing("0xe9", "position 3"), "naming": ("p.htm", "utf-8", "no declaration")},
        ),
        (b"<meta charset=utf-8>Caf\xe9", {"got": containing("0xe9", "position 23"), "naming": ("utf-8", "meta")}),
        (
            b"<meta charset=klingon>a",
            {"got": containing("klingon"), "naming": "meta"},
        ),
        (b"<meta charset=rot13>a", {"got": containing("rot13")}),
        (b"<meta charset=undefined>a", {"got": containing("character set"), "naming": "undefined"}),
        (b"\xef\xbb\xbf\xff", {"got": containing("0xff", "position 0"), "naming": ("utf-8-sig", "byte order mark")}),
    ],
)
def test_other_characters_are_refused_in_a_sentence(data, fields):
    with refused(BadInput, **fields):
        decode_page(data, "p.htm")


def test_without_lxml_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "lxml", None)
    with refused(MissingPackage, naming="lxml", todo=containing("reread[documents]")):
        page_text("<p>a")


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "base64", "rot13", "nonsense"])
def test_what_is_no_character_set_of_pages_is_refused_at_once(charset):
    """punycode takes time squared."""
    with refused(BadInput, naming=("a.html", charset)):
        decode_page(f"<meta charset={charset}>".encode() + b"-a" * 200_000, "a.html")

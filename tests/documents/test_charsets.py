"""The characters of pages and texts: byte order marks, declarations, labels of the Encoding Standard."""

import codecs
import sys

import pytest
from raising import containing, refused

from reread.documents.charset import decode_page, decode_text
from reread.documents.loaders import source_of
from reread.errors import BadInput, MissingPackage

TEXT = "Café “x”"
SHOWN = f"<p>{TEXT}"
XML = '<?xml version="1.0" encoding="{}"?><html xmlns="http://www.w3.org/1999/xhtml"><p>'


@pytest.mark.parametrize(
    "data",
    [
        f"<meta charset='iso-8859-1'>{SHOWN}".encode("cp1252"),
        f"<META http-equiv=Content-Type content='text/html; charset=ISO-8859-1'>{SHOWN}".encode("cp1252"),
        f"<meta content='text/html; charset=latin1' http-equiv='content-type'>{SHOWN}".encode("cp1252"),
        codecs.BOM_UTF8 + f"<meta charset=iso-8859-1>{SHOWN}".encode(),
        f"<meta charset=utf-8>{SHOWN}".encode(),
        f"<meta charset=UTF8>{SHOWN}".encode(),
        SHOWN.encode(),
        f"<meta charset=x-cp1252>{SHOWN}".encode("cp1252"),
        f"<meta charset=ascii>{SHOWN}".encode("cp1252"),
        f"<meta charset=utf-16>{SHOWN}".encode(),  # a page whose declaration can be read is not in UTF-16
        codecs.BOM_UTF16_LE + SHOWN.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + SHOWN.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + SHOWN.encode("utf-32-le"),
        (XML.format("windows-1252") + TEXT).encode("cp1252"),
        f"<!-- <meta charset=koi8-r> --><meta charset=utf-8>{SHOWN}".encode(),
        f"<script>var m = '<meta charset=koi8-r>'</script>{SHOWN}".encode(),
        f"<textarea hidden><meta charset=koi8-r></textarea>{SHOWN}".encode(),
        f"<style>a::after {{ content: '<meta charset=koi8-r>' }}</style>{SHOWN}".encode(),
        f"<meta name=description content='charset=koi8-r'>{SHOWN}".encode(),
        f"<meta data-charset=koi8-r>{SHOWN}".encode(),
        f"<p title='<meta charset=koi8-r>'>{TEXT}".encode(),
        f"<meta charset=klingon>{SHOWN}".encode(),  # a label that no browser knows is none
    ],
)
def test_the_characters_of_a_page_are_those_that_a_browser_shows(data):
    assert source_of(data, "page.html").text == TEXT


def test_characters_of_other_scripts():
    for charset, text in (("shift_jis", "価格コード"), ("gbk", "价格代码"), ("koi8-r", "Код цены"), ("euc-kr", "가격")):
        assert decode_page(f"<meta charset={charset}>{text}".encode(charset), "p").endswith(text)
    assert decode_page("<meta charset=sjis>①".encode("cp932"), "p").endswith("①")  # what the label means in browsers


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ("Café".encode("latin-1"), {"got": containing("0xe9", "position 3"), "naming": ("p.htm", "utf-8")}),
        (
            b"<meta charset=utf-8>Caf\xe9",
            {"got": containing("0xe9", "position 23"), "naming": ("utf-8", "declaration")},
        ),
        (b"<meta charset=klingon>\xff", {"got": containing("0xff"), "naming": "utf-8"}),
        (codecs.BOM_UTF8 + b"\xff", {"got": containing("0xff", "position 0"), "naming": ("utf-8", "byte order mark")}),
    ],
)
def test_bytes_that_do_not_fit_are_refused_in_a_sentence(data, fields):
    with refused(BadInput, **fields):
        decode_page(data, "p.htm")


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "base64", "rot13", "undefined", "utf-7"])
def test_what_python_decodes_and_no_browser_does_is_no_charset(charset):
    """punycode takes time squared."""
    page = f"<meta charset={charset}>".encode() + b"-a" * 200_000
    assert decode_page(page, "a.html") == page.decode()


def test_texts_have_their_byte_order_mark():
    for mark, codec in (
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF8, "utf-8"),
    ):
        assert decode_text(mark + TEXT.encode(codec), "a.txt") == TEXT
        assert source_of(mark + TEXT.encode(codec), "a.txt").text == TEXT
    with refused(BadInput, got="byte 3", naming=("a.txt", "UTF-8")):
        decode_text("Café".encode("latin-1"), "a.txt")
    with refused(BadInput, naming=("a.txt", "UTF-16-LE")):
        decode_text(codecs.BOM_UTF16_LE + b"a", "a.txt")


def test_without_html5lib_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "html5lib._inputstream", None)
    with refused(MissingPackage, naming="html5lib", todo=containing("reread[documents]")):
        decode_page(b"<p>a", "a.html")

"""The characters of a file's bytes: byte order marks, what a page declares, labels as browsers know them.

Labels are those of the WHATWG Encoding Standard (webencodings); a page's declaration is looked for as the HTML standard
says (html5lib), and never within a comment, a script, a style or a text field.
"""

from __future__ import annotations

import codecs
import re

from reread.errors import BadInput, MissingPackage

HEAD = 4096  # bytes in which a declaration is looked for
MARKS = (  # the longer first: that of UTF-32 begins as that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
NOT_MARKUP = re.compile(
    rb"<!--.*?-->|<(script|style|textarea|title|noscript)\b.*?(?:</\1|\Z)", re.DOTALL | re.IGNORECASE
)
XML = re.compile(rb"""\s*<\?xml[^>]*?\bencoding\s*=\s*["']\s*([^"'\s>]+)""")


def marked(data: bytes) -> tuple[str, int]:
    """The charset that a byte order mark names, and its length; "" and 0 without one."""
    return next(((name, len(mark)) for mark, name in MARKS if data.startswith(mark)), ("", 0))


def decode_page(data: bytes, name: str) -> str:
    """A page's characters: by its byte order mark, else by what it declares, else as UTF-8.

    Raises BadInput where the bytes do not fit, MissingPackage.
    """
    try:
        import webencodings
        from html5lib._inputstream import EncodingParser
    except ImportError as error:
        raise MissingPackage("html5lib", "documents") from error
    charset, skipped = marked(data)
    found = "its byte order mark"
    if not charset:
        head = NOT_MARKUP.sub(b" ", data[:HEAD])
        declared = EncodingParser(head).getEncoding()
        if declared is None and (xml := XML.match(head)):
            declared = webencodings.lookup(xml[1].decode("ascii", "replace"))
        if declared is not None and declared.name != "replacement":
            charset, found = declared.name, "its declaration"
        else:
            charset, found = "utf-8", "no declaration that is known"
        if charset.startswith("utf-16"):  # a page whose declaration can be read is not in it
            charset = "utf-8"
        codec = webencodings.lookup(charset).codec_info.name
    else:
        codec = charset
    try:
        return data[skipped:].decode(codec)
    except (LookupError, UnicodeError) as error:
        todo = "declare its character set in a meta element"
        raise BadInput(
            f"the characters of {name} cannot be read as {charset}, by {found}", got=str(error), todo=todo
        ) from error


def decode_text(data: bytes, name: str) -> str:
    """The characters of a text: by its byte order mark, else as UTF-8.  Raises BadInput."""
    charset, skipped = marked(data)
    try:
        return data[skipped:].decode(charset or "utf-8")
    except UnicodeDecodeError as error:
        what, todo = f"{name} is not {(charset or 'utf-8').upper()} text", "convert it to text first"
        raise BadInput(what, got=f"byte {skipped + error.start}", todo=todo) from error

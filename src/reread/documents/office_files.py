"""Files of office programs, mails and tables as text: each becomes a page, and documents/html.py text of that.

.docx by mammoth (its headers and footers, which mammoth leaves out, by lxml), .odt by lxml, .rtf by striprtf, .xlsx by
openpyxl, .eml and .csv by the standard library.  Each gives the text and what is not in it, in sentences.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from html import escape
from itertools import groupby, zip_longest
from typing import Any

from reread.documents.charset import decode_text
from reread.documents.html import html_text
from reread.errors import BadInput, MissingPackage

Text = tuple[str, tuple[str, ...]]
LARGEST = 64 * 2**20  # bytes of what a packed file unfolds to
MOST_CELLS = 200_000
DELIMITERS = ",;\t|"
AROUND = r"""((?:"[^"]*"|[€$£¥ ]|_.|\\.)*)"""
NUMBER_FORMAT = re.compile(rf"{AROUND}(\#,\#\#0|0+|\#)(?:\.(0+))?(%)?{AROUND}")  # of a spreadsheet
MAIL_HEADERS = ("From", "To", "Cc", "Date", "Subject")
ODF = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
KINDS = (  # how files begin that are no documents here
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"\x1f\x8b", "packed with gzip"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ", "packed with xz"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3", "an SQLite database"),
    (b"PAR1\x15", "a Parquet table"),
    *((b"BZh%d1AY&SY" % level, "packed with bzip2") for level in range(1, 10)),
    *((b"ID3" + bytes([version]), "a sound") for version in (2, 3, 4)),
)
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
RIFFS = {b"WEBP": "a WebP picture", b"WAVE": "a sound", b"AVI ": "a film"}
PICTURE = "let a text recogniser read it first"
FOLDERS = {"word": "docx", "xl": "xlsx", "ppt": "a presentation (.pptx)"}  # of what Microsoft's programs write
MIMES = {  # in the member `mimetype`
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "a spreadsheet (.ods)",
    "application/vnd.oasis.opendocument.presentation": "a presentation (.odp)",
    "application/epub+zip": "a book (.epub)",
}


def kind_of(data: bytes, name: str) -> str:
    """docx, xlsx, odt, rtf: what these bytes are, whatever their name is; "" for what may be a text.

    Raises BadInput for what is known and cannot be read.
    """
    if data.startswith(b"{\\rtf"):
        return "rtf"
    found, todo = "", "name a document"
    if data.startswith(OLD_OFFICE):
        found = "a file of Word, Excel or PowerPoint from before 2007, or one that is locked with a password"
        todo = "save it as .docx, .xlsx or PDF, without a password"
    elif data.startswith(b"PK\x03\x04"):
        found, todo = zip_kind(data, name), "save it as .docx, .xlsx, PDF or text"
        if found in READERS:
            return found
    elif data[:4] == b"RIFF":
        found = RIFFS.get(data[8:12], "")
    else:
        found = next((what for start, what in KINDS if data.startswith(start)), "")
        found = "" if data.startswith(b"MZ") and b"\x00" not in data[:1024] else found
    if found:
        raise BadInput(f"{name} is {found}", todo=PICTURE if "picture" in found else todo)
    return ""


def zip_kind(data: bytes, name: str) -> str:
    """A key of READERS, or in words what else a ZIP archive is.  Raises BadInput for a broken one."""
    with archive(data, name) as packed:
        members = packed.namelist()
        if "mimetype" in members:
            try:
                return MIMES.get(packed.read("mimetype")[:80].decode("ascii", "replace").strip(), "a ZIP archive")
            except Exception as error:  # zipfile's own, and those of zlib and of what it does not know
                raise broken(name, error) from error
        folders = {member.partition("/")[0] for member in members} if "[Content_Types].xml" in members else set()
        return next((kind for folder, kind in FOLDERS.items() if folder in folders), "a ZIP archive")


def broken(name: str, error: Exception) -> BadInput:
    what = f"the archive of {name} is broken or cut short"
    return BadInput(what, got=str(error)[:120], todo="save it again")


def archive(data: bytes, name: str) -> zipfile.ZipFile:
    """The archive in these bytes.  Raises BadInput for a broken one, and for one that unfolds to more than LARGEST."""
    try:
        packed = zipfile.ZipFile(io.BytesIO(data))
        size = sum(one.file_size for one in packed.infolist())
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise broken(name, error) from error
    if size > LARGEST:
        raise BadInput(f"{name} unfolds to more than {LARGEST // 2**20} MiB", got=f"{size} bytes", todo="split it")
    return packed


def office_text(data: bytes, name: str, kind: str) -> Text:
    """The text of a file of a kind of READERS, and what is not in it.  Raises BadInput, MissingPackage."""
    try:
        page, warnings = READERS[kind](data, name)
    except (BadInput, MissingPackage):
        raise
    except Exception as error:  # each library has faults of its own for broken files
        why = f"{type(error).__name__}: {error}"[:120]
        raise BadInput(f"{name} cannot be read as .{kind}", got=why, todo="save it again, or as text") from error
    text = html_text(f"<html><body>{page}</body></html>", name) if page.strip() else ""
    return text, tuple(f"{name}: {warning}" for warning in warnings)


# pages ---------------------------------------------------------------------------------------------------------------


def is_blank(row: Sequence[str]) -> bool:
    return not any(cell.strip() for cell in row)


def tables(rows: Iterable[Sequence[str]]) -> str:
    """The tables of a sheet, parted by blank rows.

    Rows of one cell above a table are its title.  A table without a header of its own takes that of the one before,
    where it has no other columns.
    """
    shown: list[str] = []
    head: list[str] = []
    for blank, block in groupby(([cell.strip() for cell in row] for row in rows), is_blank):
        if blank:
            continue
        lines = list(block)
        width = max(map(len, lines))
        used = [place for place in range(width) if any(place < len(row) and row[place] for row in lines)]
        if len(used) > 2:
            while len(lines) > 1 and sum(map(bool, lines[0])) == 1:
                shown.append(f"<div>{escape(''.join(lines.pop(0)))}</div>")
        lines = [[row[place] if place < len(row) else "" for place in used] for row in lines]
        if len(used) > 2 and len(lines) > 1 and all(cell and not is_number(cell) for cell in lines[0]):
            own, head = True, [lines[0][used.index(place)] if place in used else "" for place in range(width)]
        else:
            names = [head[place] if place < len(head) else "" for place in used]
            own = len(used) > 2 and all(names)
            lines = [names, *lines] if own else lines
        shown.append(table(lines, head=own))
    return "".join(shown)


def table(rows: Iterable[Sequence[str]], *, head: bool = False) -> str:
    """Rows of cells as a table; head: the first one names the columns."""
    shown = []
    for number, row in enumerate(rows):
        tag = "th" if head and number == 0 else "td"
        shown.append("<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>")
    return f"<table>{''.join(shown)}</table>" if shown else ""


def unmerged(rows: Sequence[Sequence[str]], merged: Iterable[tuple[int, int, int, int]]) -> list[list[str]]:
    """Rows in which merged cells are undone; merged: first column, first row, last column, last row, from 1.

    A cell that is merged over rows is in each of them.  A row with two cells or more that are merged over columns with
    names below them is a header of two rows: these become one, "Group Name".
    """
    lines, groups, room = [list(row) for row in rows], dict[int, list[tuple[int, int]]](), MOST_CELLS
    for left, top, right, bottom in merged:
        if top > len(lines) or left > len(lines[top - 1]) or room < 0:
            continue
        value, below = lines[top - 1][left - 1], lines[top : min(bottom, len(lines))]
        room -= len(below)  # cells that are merged lie in no two ranges, in files that are whole
        for line in below:
            if left <= len(line):
                line[left - 1] = value
        if value and right > left and top == bottom:
            groups.setdefault(top, []).append((left, right))
    for top in sorted(groups, reverse=True):
        names = lines[top] if top < len(lines) else []
        named = [[name for name in names[left - 1 : right] if name] for left, right in groups[top]]
        if len(named) < 2 or not all(len(own) > 1 and not any(map(is_number, own)) for own in named):
            continue
        above = lines[top - 1]
        for left, right in groups[top]:
            above[left:right] = [above[left - 1]] * (right - left)
        pairs = zip_longest(above, names, fillvalue="")
        lines[top - 1 : top + 1] = [[first if first == name else f"{first} {name}".strip() for first, name in pairs]]
    return lines


def is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+(]?[\d.,' ]*\d[\d.,' ]*\)?%?", cell))


def lines(text: str) -> str:
    """Lines of plain text as a page."""
    return "".join(f"<div>{escape(line) or '<br>'}</div>" for line in text.splitlines())


# the kinds -----------------------------------------------------------------------------------------------------------


def docx_page(data: bytes, name: str) -> tuple[str, list[str]]:
    try:
        import mammoth
    except ImportError as error:
        raise MissingPackage("mammoth", "documents") from error
    with archive(data, name) as packed:
        tops, feet = ([*dict.fromkeys(word_lines(packed, part))] for part in ("header", "footer"))
        pictures = sum(name.startswith("word/media/") for name in packed.namelist())
    body = mammoth.convert_to_html(io.BytesIO(data), convert_image=mammoth.images.img_element(lambda _: {})).value
    page = lines("\n".join(tops)) + body + lines("\n".join(feet))
    return page, [f"pictures were not read: {pictures}"] if pictures else []


def word_lines(packed: zipfile.ZipFile, part: str) -> Iterator[str]:
    """The lines of the headers or footers of a .docx."""
    from lxml import etree

    for name in sorted(packed.namelist()):
        if re.fullmatch(rf"word/{part}\d*\.xml", name):
            for paragraph in xml(packed.read(name), etree).iter(WORD + "p"):
                signs = {WORD + "t": None, WORD + "tab": "\t", WORD + "br": " "}
                found = (signs[one.tag] or one.text or "" for one in paragraph.iter(*signs))
                if line := "".join(found).strip():
                    yield line


def xml(data: bytes, etree: Any) -> Any:
    """The tree of a part, without entities of its own and without the network."""
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False))


def odt_page(data: bytes, name: str) -> tuple[str, list[str]]:
    try:
        from lxml import etree
    except ImportError as error:
        raise MissingPackage("lxml", "documents") from error
    with archive(data, name) as packed:
        names = packed.namelist()
        if any(b"encryption-data" in packed.read(name) for name in names if name == "META-INF/manifest.xml"):
            raise BadInput(f"{name} is locked with a password", todo="save it without one")
        if "content.xml" not in names:
            raise BadInput(f"{name} holds no content", todo="save it again")
        parts = {part: xml(packed.read(part), etree) for part in ("styles.xml", "content.xml") if part in names}
        pictures = sum(name.startswith("Pictures/") and not name.endswith("/") for name in names)
    edges: dict[str, list[str]] = {"header": [], "footer": []}
    for part, found in edges.items():
        for one in parts["styles.xml"].iter(ODF % "style" + part) if "styles.xml" in parts else ():
            found.append("".join(odf_page(child) for child in one))
    bodies = parts["content.xml"].iter(ODF % "office" + "text")
    page = "".join(odf_page(child) for body in bodies for child in body)
    tops, feet = ("".join(dict.fromkeys(found)) for found in edges.values())
    return tops + page + feet, [f"pictures were not read: {pictures}"] if pictures else []


ODF_TAGS = {
    **{ODF % "text" + name: tag for name, tag in {"h": "h2", "p": "p", "list": "ul", "list-item": "li"}.items()},
    **{ODF % "table" + name: tag for name, tag in {"table": "table", "table-row": "tr"}.items()},
}
ODF_CELLS = {ODF % "table" + name for name in ("table-cell", "covered-table-cell")}
MOST_REPEATED = 50  # cells of a row that are written once for several
ODF_SIGNS = {ODF % "text" + "line-break": "<br>", ODF % "text" + "tab": "\t", ODF % "text" + "soft-page-break": ""}
ODF_UNSEEN = {ODF % "text" + name for name in ("tracked-changes", "sequence-decls", "note-citation")}
ODF_UNSEEN |= {ODF % "office" + name for name in ("annotation", "forms")}
ODF_UNSEEN |= {f"{{urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0}}{name}" for name in ("title", "desc")}


def odf_page(element: Any) -> str:
    """An element of an OpenDocument text as HTML, with its tail."""
    tail = escape(element.tail or "")
    tag = element.tag
    if not isinstance(tag, str) or tag in ODF_UNSEEN:
        return tail
    if tag == ODF % "text" + "s":  # so many blanks
        return " " * count(element, ODF % "text" + "c") + tail
    if tag in ODF_SIGNS:
        return ODF_SIGNS[tag] + tail
    inner = escape(element.text or "") + "".join(odf_page(child) for child in element)
    if tag == ODF % "text" + "note":
        return f" ({inner.strip()}) {tail}"
    if tag in ODF_CELLS:
        cell = "th" if element.getparent().getparent().tag == ODF % "table" + "table-header-rows" else "td"
        return f"<{cell}>{inner}</{cell}>" * count(element, ODF % "table" + "number-columns-repeated") + tail
    named = ODF_TAGS.get(tag)
    return (f"<{named}>{inner}</{named}>" if named else inner) + tail


def count(element: Any, name: str) -> int:
    """How often an attribute says that something is there: 1 without it, MOST_REPEATED at most."""
    value = element.get(name, "1")
    return min(int(value), MOST_REPEATED) if re.fullmatch(r"\d{1,9}", value) else 1


def rtf_page(data: bytes, _: str) -> tuple[str, list[str]]:
    try:
        from striprtf.striprtf import rtf_to_text
    except ImportError as error:
        raise MissingPackage("striprtf", "documents") from error
    text = rtf_to_text(data.decode("latin-1"), encoding="cp1252", errors="replace")
    page: list[str] = []
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.rstrip().endswith("|") and line.count("|") > 1:  # a row of a table
            rows.append(line.rstrip()[:-1].split("|"))
            continue
        page += [tables(rows)] if rows else []
        rows = []
        page.append(lines(line or " "))
    return "".join(page) if text.strip() else "", []


def csv_page(data: bytes, name: str) -> tuple[str, list[str]]:
    warnings = []
    try:
        text = decode_text(data, name)
    except BadInput:
        if b"\x00" in data:
            raise
        text = data.decode("cp1252", "replace")  # what Excel writes in western Europe and America
        warnings.append("its characters were read as Windows-1252")
    if "\x00" in text:
        raise BadInput(f"{name} is a binary file", todo="convert it to text first")
    named = re.match(r"sep=(.)\r?\n", text)  # for Excel
    text = text[named.end() :] if named else text
    try:
        delimiter = named[1] if named else csv.Sniffer().sniff(text[:20_000], DELIMITERS).delimiter
    except csv.Error:
        delimiter = ","
    csv.field_size_limit(max(LARGEST, csv.field_size_limit()))  # of the whole process: only ever raised
    found = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if sum(map(len, found)) > MOST_CELLS:
        raise BadInput(f"{name} has more than {MOST_CELLS:,} cells", todo="split it")
    lengths = Counter(len(row) for row in found if row)
    if lengths and max(lengths.values()) < 0.8 * lengths.total():  # a text with commas
        return lines(text), warnings
    return tables(found), warnings


def xlsx_page(data: bytes, name: str) -> tuple[str, list[str]]:
    try:
        import openpyxl
    except ImportError as error:
        raise MissingPackage("openpyxl", "documents") from error
    with archive(data, name) as packed:
        sheets = {one: packed.read(one) for one in packed.namelist() if one.startswith("xl/worksheets/")}
    unknown = sum(len(re.findall(rb"</f>(?:<v\s*/>|<v></v>)?</c>", sheet)) for sheet in sheets.values())
    merged = {one: merged_cells(sheet) for one, sheet in sheets.items()}  # openpyxl has them only where it is not lazy
    warnings = [f"formulas whose value is not stored: {unknown}; open and save it in a spreadsheet"] if unknown else []
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    page, cells = [], 0
    for sheet in book.worksheets:
        if sheet.sheet_state != "visible":
            warnings.append(f"a hidden sheet was not read: {sheet.title}")
            continue
        sheet.reset_dimensions()  # what a file declares may be wrong
        found = []
        for row in sheet.iter_rows():
            found.append([cell_text(cell) for cell in row])
            cells += len(row)
            if cells > MOST_CELLS:
                raise BadInput(f"{name} has more than {MOST_CELLS:,} cells", todo="split it")
        if shown := tables(unmerged(found, merged.get(getattr(sheet, "_worksheet_path", ""), ()))):
            page.append((f"<h2>{escape(sheet.title)}</h2>" if len(book.worksheets) > 1 else "") + shown)
    return "".join(page), warnings


def merged_cells(sheet: bytes) -> list[tuple[int, int, int, int]]:
    """The merged cells of a sheet's XML: first column, first row, last column, last row, from 1."""
    from openpyxl.utils.cell import range_boundaries

    found = re.findall(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})"', sheet)
    return [range_boundaries(one.decode("ascii")) for one in found]


def cell_text(cell: Any) -> str:
    """A cell's value, nearly as a spreadsheet shows it: percentages, decimals, leading zeros, currencies, dates."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "minutes")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (int, float)):
        return number_text(value, str(cell.number_format or "General"))
    return str(value)


def number_text(value: float, form: str) -> str:
    """A number by the first section of its format.  Formats with more than digits, a decimal point, commas, "%" and
    words around them give the number as it is."""
    first = re.sub(r"\[\$([^\]-]*)[^\]]*\]", r'"\1"', form.split(";")[0])  # [$€-407] is a currency
    parts = NUMBER_FORMAT.fullmatch(first)
    if parts is None:
        return f"{value:.15g}"
    before, digits, places, percent, after = parts.groups(default="")
    shown = 100 * value if percent else value
    comma, width = "," if "," in digits else "", len(digits) if digits.startswith("0") else 0
    number = f"{shown:{comma}.{len(places)}f}"
    words = [re.sub(r'_.|\\|"', "", part) for part in (before, after)]
    padded = number.zfill(width + bool(places) + len(places)) if width else number
    return f"{words[0]}{padded}{percent}{words[1]}".strip()


def eml_page(data: bytes, name: str) -> tuple[str, list[str]]:
    from email import policy
    from email.parser import BytesParser

    mail = BytesParser(policy=policy.compat32).parsebytes(data)  # the newer policies need minutes for some headers
    given = {key.lower(): str(value) for key, value in reversed([*mail.raw_items()])}
    heads = [f"{key}: {header_text(given[key.lower()])}" for key in MAIL_HEADERS if key.lower() in given]
    if not heads:
        raise BadInput(f"{name} has no headers of a mail", todo="name it .txt, if it is a text")
    shown: list[str] = []
    warnings: list[str] = []
    read_part(mail, name, shown, warnings)
    page = lines("\n".join(heads)) + "".join("<div><br></div>" + lines(text) for text in shown)
    return page, warnings


def header_text(value: str) -> str:
    """A header's words, with the character sets that they name."""
    from email.header import decode_header, make_header

    plain = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        return " ".join(str(make_header(decode_header(plain))).split())
    except (LookupError, ValueError):  # a character set that is not known
        return " ".join(plain.split())


def read_part(part: Any, name: str, shown: list[str], warnings: list[str]) -> None:
    """Texts of a part of a mail: of alternatives the plain one, the page where that is empty.  It names attachments."""
    kind = part.get_content_type()
    if part.get_content_disposition() == "attachment" or (part.is_multipart() and kind == "message/rfc822"):
        warnings.append(f"an attachment was not read: {header_text(part.get_filename() or kind)}")
    elif part.is_multipart():
        parts: list[Any] = part.get_payload()
        if kind == "multipart/alternative":
            plain = [one for one in parts if one.get_content_type() == "text/plain" and part_text(one, name).strip()]
            parts = plain[:1] or parts[-1:]
        for one in parts:
            read_part(one, name, shown, warnings)
    elif kind in ("text/plain", "text/html"):
        if text := part_text(part, name).strip():
            shown.append(text)
    else:
        warnings.append(f"an attachment was not read: {header_text(part.get_filename() or kind)}")


def part_text(part: Any, name: str) -> str:
    """The text of a part, in the character set that it names, else in UTF-8, else in Windows-1252."""
    data = part.get_payload(decode=True) or b""
    text = data.decode("cp1252", "replace")
    for charset in (part.get_content_charset(), "utf-8"):
        try:
            text = data.decode(charset or "utf-8")
            break
        except (LookupError, UnicodeError):
            continue
    return html_text(text, name) if part.get_content_type() == "text/html" and text.strip() else text


READERS = {
    "docx": docx_page,
    "odt": odt_page,
    "rtf": rtf_page,
    "xlsx": xlsx_page,
    "csv": csv_page,
    "tsv": csv_page,
    "eml": eml_page,
}

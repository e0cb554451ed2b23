"""Files of office programs, mails and tables: what they say as "label: value", and what is refused by what it is."""

import datetime
import io
import sys
import zipfile

import openpyxl
import pytest
from raising import refused
from within import within

from reread.documents import office_files
from reread.documents.loaders import source_of
from reread.errors import BadInput, MissingPackage

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text", "table", "style")
)


def zipped(**parts):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        for name, text in parts.items():
            made.writestr(name, text)
    return held.getvalue()


def docx(body, **parts):
    types = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    named = f'<Relationship Id="r1" Type="{relation}" Target="word/document.xml"/>'
    relations = (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{named}</Relationships>'
    )
    document = f"<w:document {W}><w:body>{body}</w:body></w:document>"
    own = {"[Content_Types].xml": types, "_rels/.rels": relations, "word/document.xml": document}
    return zipped(**own, **parts)


def said(text):
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def row(*cells):
    return "<w:tr>" + "".join(f"<w:tc>{said(cell)}</w:tc>" for cell in cells) + "</w:tr>"


def odt(body, **parts):
    content = f"<office:body><office:text>{body}</office:text></office:body>"
    content = f"<office:document-content {ODF}>{content}</office:document-content>"
    return zipped(mimetype="application/vnd.oasis.opendocument.text", **{"content.xml": content}, **parts)


def test_word_documents():
    header = f"<w:hdr {W}>{said('Contract SA-2291')}</w:hdr>"
    deleted = "<w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:r><w:t>new &lt;b&gt;</w:t></w:r></w:p>"
    body = said("Lease") + f"<w:tbl>{row('Tenant', 'Ada')}{row('Rent', '450 EUR')}</w:tbl>" + deleted
    found = source_of(docx(body, **{"word/header1.xml": header}), "any.name")
    assert found.text == "Contract SA-2291\n\nLease\n\nTenant: Ada\nRent: 450 EUR\n\nnew <b>"
    wide = f"<w:tbl>{row('Item', 'Qty', 'Price')}{row('Bolt', '4', '2.50')}</w:tbl>"
    assert "Bolt" in source_of(docx(wide), "a.docx").text
    pictures = source_of(docx(said("Text"), **{"word/media/a.png": "-"}), "a.docx").warnings
    assert pictures == ("a.docx: pictures were not read: 1",)


def test_opendocument_texts():
    table = "".join(
        f"<table:table-row><table:table-cell><text:p>{a}</text:p></table:table-cell>"
        f"<table:table-cell><text:p>{b}</text:p></table:table-cell></table:table-row>"
        for a, b in (("Tenant", "Ada"), ("Rent", "450<text:s text:c='2'/>EUR"))
    )
    changes = "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
    body = f"{changes}<text:h>Lease</text:h><text:p>a<text:line-break/>b<text:tab/>c &lt;i&gt;</text:p>"
    found = source_of(odt(f"{body}<table:table>{table}</table:table>"), "a.odt").text
    assert found.split("\n\n")[0] == "Lease" and "a\nb c <i>" in found
    assert found.endswith("Tenant: Ada\nRent: 450 EUR") and "gone" not in found
    with refused(BadInput, naming=("password",)):
        source_of(odt("", **{"META-INF/manifest.xml": "<encryption-data/>"}), "a.odt")


def test_rich_text():
    rows = r"\trowd Tenant\cell Ada\cell\row\trowd Rent\cell 450\cell\row "
    text = r"{\rtf1\ansi\ansicpg1252 Ren\'e9\par " + rows + r"\pard\u8364? 5\par}"
    assert source_of(text.encode(), "a.txt").text == "René\nTenant: Ada\nRent: 450\n€ 5"


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.csv", "Name;Ort\nAda;London\n", "Name: Ort\nAda: London"),
        ("a.tsv", "Item\tQty\tPrice\nBolt\t4\t2.50\n", "Item: Bolt\nQty: 4\nPrice: 2.50"),
        ("a.csv", '\ufeffItem,Qty,Price\n"Nut, big",5,<3>\n\n', "Item: Nut, big\nQty: 5\nPrice: <3>"),
        ("a.csv", "one column\nof text\n", "one column\nof text"),
        ("a.csv", "sep=;\r\nName;Ort\r\nAda;London\r\n", "Name: Ort\nAda: London"),
        ("a.csv", 'Name,Note\nAda,"two\nlines"\n', "Name: Note\nAda: two lines"),
        ("a.csv", "Dear all,\none, two, three.\nFour\nfive, six", "Dear all,\none, two, three.\nFour\nfive, six"),
        ("a.csv", "a," + "b" * 200_000 + "\nc,d", None),
    ],
)
def test_tables_of_text(name, data, text):
    found = source_of(data.encode(), name).text
    assert found == text if text is not None else len(found) > 200_000


def test_a_table_in_the_characters_of_windows_is_read_and_said():
    found = source_of("Name;Ort\nJosé;Köln\n".encode("cp1252"), "a.csv")
    assert found.text == "Name: Ort\nJosé: Köln"
    assert found.warnings == ("a.csv: its characters were read as Windows-1252",)


def test_spreadsheets():
    book = openpyxl.Workbook()
    book.active.append(["Item", "Price", "Share", "Date"])
    book.active.append(["Bolt", 1234.5, 0.125, datetime.datetime(2024, 5, 3)])
    book.active["B2"].number_format, book.active["C2"].number_format = "#,##0.00", "0.0%"
    book.create_sheet("Secret").sheet_state = "hidden"
    held = io.BytesIO()
    book.save(held)
    found = source_of(held.getvalue(), "a.xlsx")
    assert found.text.endswith("Item: Bolt\nPrice: 1,234.50\nShare: 12.5%\nDate: 2024-05-03")
    assert found.warnings == ("a.xlsx: a hidden sheet was not read: Secret",)


def sheet(rows, *merged):
    """The text of a spreadsheet with these rows and merged cells."""
    book, held = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    for cells in merged:
        book.active.merge_cells(cells)
    book.save(held)
    return source_of(held.getvalue(), "a.xlsx").text


FORM = [["Invoice"], [], ["Number", None, "X-12"], ["Date", None, "2025-03-04"], []]
ITEMS = [["Items"], ["Item", "Qty", "Price"], ["Bolt", 10, 2.5], ["Total", None, 4]]


def test_a_sheet_with_a_form_and_a_table():
    text = sheet(FORM + ITEMS, "A1:D1", "A3:B3", "C3:D3")
    assert "Invoice" in text and "Number: X-12\nDate: 2025-03-04" in text and "Items" in text
    assert "Item: Bolt\nQty: 10\nPrice: 2.5" in text and "Item: Total\nPrice: 4" in text


def test_a_table_after_a_blank_row_keeps_its_header():
    rows = [["Item", "Qty", "Price"], ["Bolt", 10, 2.5], [], ["Nut", 4, 1.5]]
    assert "Item: Nut\nQty: 4\nPrice: 1.5" in sheet(rows)
    assert "Item: Nut\nQty: 4\nPrice: 1.5" in source_of(b"Item,Qty,Price\nBolt,10,2.5\n\nNut,4,1.5\n", "a.csv").text
    other = sheet(
        [["Item", "Qty", "Price"], ["Bolt", 10, 2.5], [], ["Name", None, None, "Age", "Place"], [1, 2, 3, 4, 5]]
    )
    assert "Item: Bolt" in other and "Item: 1" not in other


def test_cells_merged_over_rows_are_in_each_of_them():
    rows = [["Region", "City", "Sales"], ["North", "Oslo", 1], [None, "Bergen", 2], ["South", "Rome", 3]]
    text = sheet(rows, "A2:A3")
    assert "Region: North\nCity: Bergen\nSales: 2" in text and "Region: South\nCity: Rome" in text


def test_a_header_of_two_rows_is_one():
    rows = [["Region", "Q1", None, "Q2"], [None, "Plan", "Actual", "Plan", "Actual"], ["North", 1, 2, 3, 4]]
    assert sheet(rows, "B1:C1", "D1:E1", "A1:A2") == "Region: North\nQ1 Plan: 1\nQ1 Actual: 2\nQ2 Plan: 3\nQ2 Actual: 4"


def test_merged_cells_of_a_broken_file_take_no_time():
    with within(5):
        rows = office_files.unmerged([["a", "b", "c"]] * 20_000, [(1, 1, 1, 20_000)] * 20_000)
    assert len(rows) == 20_000
    assert office_files.unmerged([["a"]], [(5, 1, 9, 1), (1, 7, 1, 9)]) == [["a"]]


def test_mails():
    head = "From: Ada <a@b.c>\nTo: x@y.z\nSubject: =?utf-8?q?Re=C3=A9?=\nDate: Mon, 3 May 2021 10:00:00 +0000\n"
    page = head + "Content-Type: text/html; charset=utf-8\n\n<p>Total: <b>5 EUR</b></p><p hidden>6</p>"
    shown = "From: Ada <a@b.c>\nTo: x@y.z\nDate: Mon, 3 May 2021 10:00:00 +0000\nSubject: Reé\n\nTotal: 5 EUR"
    assert source_of(page.encode(), "m.eml").text == shown
    attached = "Content-Disposition: attachment; filename=a.pdf\n\n-\n"
    parts = f"--b\nContent-Type: text/plain\n\nSee <file>.\n--b\n{attached}--b--\n"
    found = source_of((head + "Content-Type: multipart/mixed; boundary=b\n\n" + parts).encode(), "m.eml")
    assert found.text.endswith("\n\nSee <file>.")
    assert found.warnings == ("m.eml: an attachment was not read: a.pdf",)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1234.5, "#,##0.00", "1,234.50"),
        (1234.5, '#,##0.00 "EUR"', "1,234.50 EUR"),
        (1234.5, "[$€-407]#,##0.00;[Red]-#,##0.00", "€1,234.50"),
        (0.125, "0.0%", "12.5%"),
        (12, '0" %"', "12 %"),
        (7, "00000", "00007"),
        (0.00001234, "0.00E+00", "1.234e-05"),
        (0.1 + 0.2, "General", "0.3"),
        (12, "0", "12"),
        (-3, "#,##0_);(#,##0)", "-3"),
    ],
)
def test_numbers_of_a_spreadsheet(value, form, text):
    assert office_files.number_text(value, form) == text


def test_all_of_a_spreadsheet_is_read_and_formulas_without_a_value_are_said():
    book = openpyxl.Workbook()
    book.active.append(["a", "b", "c"])
    book.active.append([1, 2, "=A2+B2"])
    held = io.BytesIO()
    book.save(held)
    with zipfile.ZipFile(held) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = parts[sheet].replace(b'<dimension ref="A1:C2"', b'<dimension ref="A1"')
    found = source_of(zipped(**parts), "a.xlsx")
    assert "a: 1\nb: 2" in found.text
    assert "formulas whose value is not stored: 1" in found.warnings[0]


def mail(body, *heads):
    return "\n".join(("From: a@b.c", *heads, "", body)).encode()


ALTERNATIVE = mail(
    "--b\n\n \n--b\nContent-Type: text/html\n\n<p>It is 5</p>\n--b--",
    "Content-Type: multipart/alternative; boundary=b",
)
MIXED = mail(
    "--b\n\nOne\n--b\nContent-Type: image/png\n\n-\n--b\n\nTwo\n--b--", "Content-Type: multipart/mixed; boundary=b"
)


@pytest.mark.parametrize(
    ("data", "text", "warned"),
    [
        (mail("Müller"), "Müller", ""),
        (mail("Müller").decode().encode("cp1252"), "Müller", ""),
        (mail("Müller", "Content-Type: text/plain; charset=us-ascii"), "Müller", ""),
        (mail("Müller", "Content-Type: text/plain; charset=nonsense"), "Müller", ""),
        (ALTERNATIVE, "It is 5", ""),
        (MIXED, "One\n\nTwo", "image/png"),
        (mail("From: x@y.z\n\nInner", "Content-Type: message/rfc822"), "", "message/rfc822"),
        (mail("Text", 'To: "' + '"' * 50_000), "Text", ""),
    ],
    ids=range(8),
)
def test_no_text_of_a_mail_is_lost(data, text, warned):
    with within(5):
        found = source_of(data, "m.eml")
    assert found.text.startswith("From: a@b.c") and found.text.endswith(text)
    assert warned in "".join(found.warnings) and bool(warned) == bool(found.warnings)


def odt_row(*cells, repeated=""):
    more = f' table:number-columns-repeated="{repeated}"' if repeated else ""
    cells = (f"<table:table-cell{more}><text:p>{cell}</text:p></table:table-cell>" for cell in cells)
    return f"<table:table-row>{''.join(cells)}</table:table-row>"


def test_tables_of_opendocument_texts_keep_their_columns_and_header():
    head = f"<table:table-header-rows>{odt_row('A', 'B', 'C')}</table:table-header-rows>"
    text = source_of(odt(f"<table:table>{head}{odt_row('1', repeated='3')}</table:table>"), "a.odt").text
    assert text == "A: 1\nB: 1\nC: 1"
    huge = odt_row("x", repeated="999999999")
    assert len(source_of(odt(f"<table:table>{huge}</table:table>"), "a.odt").text) < 1000


@pytest.mark.parametrize("text", ["BZhang wrote", "ID3 algorithm", "PAR1 of it", "Rar! said", "GIF8 is", "MZ company"])
def test_a_text_is_no_archive_because_of_how_it_begins(text):
    assert source_of(text.encode(), "a.txt").text == text


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"RIFF\x00\x00\x00\x00WEBP", "a WebP picture"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "password"),
        (b"\x1f\x8b\x08", "gzip"),
        (zipped(a="b"), "a ZIP archive"),
        (zipped(**{"[Content_Types].xml": "-", "ppt/presentation.xml": "-"}), "a presentation"),
        (zipped(mimetype="application/epub+zip"), "a book"),
        (zipped(a="b")[:-9], "broken"),
        (docx("")[:200], "broken"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", ["a.txt", "a.docx"])
def test_what_is_no_document_is_refused_by_what_it_is(data, what, name):
    with refused(BadInput, naming=(name, what)):
        source_of(data, name)


@pytest.mark.parametrize("name", ["a.docx", "a.odt", "a.rtf", "a.xlsx", "a.eml"])
def test_a_text_under_the_name_of_another_kind_is_refused(name):
    with refused(BadInput, naming=(name,)):
        source_of(b"A plain text.", name)


def test_broken_parts_are_one_sentence():
    with refused(BadInput, naming=("a.docx",)):
        source_of(docx("<w:p>"), "a.docx")
    with refused(BadInput, naming=("a.odt",)):
        source_of(zipped(mimetype="application/vnd.oasis.opendocument.text"), "a.odt")


def test_a_file_that_unfolds_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(office_files, "LARGEST", 1000)
    with refused(BadInput, naming=("a.docx", "unfolds")):
        source_of(docx(said("a" * 2000)), "a.docx")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mammoth", None)
    with pytest.raises(MissingPackage, match="mammoth"):
        source_of(docx(said("a")), "a.docx")

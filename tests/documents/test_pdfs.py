"""PDFs: label and value on one line however they are drawn, form fields in their place, columns apart."""

import io
import json
import sys

import pypdf
import pytest
from made_pdfs import characters, note, pdf, text, widget
from raising import containing, refused

from reread.documents.loaders import source_of
from reread.documents.pdf import parsed
from reread.errors import BadInput, MissingPackage

LINES = [
    ("Total area", "794 pieces"),
    ("Early interest", "XW-759"),
    ("Local material", "SE-5767"),
    ("Stage", "12 days"),
]
SHOWN = "\n".join(f"{label}: {value}" for label, value in LINES)
LEFT = ["The left column has a text of", "its own that runs over some", "lines and it ends here below."]
RIGHT = ["On the right stands another", "text that has nothing to do", "with all that is on the left."]


def drawn(draw, off: float = 0.0, x: float = 220, colon: str = ":") -> str:
    return "".join(
        draw(72, 700 - 16 * i, label + colon) + draw(x, 700 + off - 16 * i, value)
        for i, (label, value) in enumerate(LINES)
    )


@pytest.mark.parametrize(
    "content",
    [
        "".join(text(72, 700 - 16 * i, f"{label}: {value}") for i, (label, value) in enumerate(LINES)),
        drawn(text),
        drawn(text, colon=""),
        drawn(text, off=1.5),
        drawn(text, x=480),
        "".join(text(72, 700 - 16 * i, f"{label}:") for i, (label, _) in enumerate(LINES))
        + "".join(text(220, 700 - 16 * i, value) for i, (_, value) in enumerate(LINES)),
        "".join(characters(72, 700 - 16 * i, f"{label}: {value}") for i, (label, value) in enumerate(LINES)),
        drawn(characters),
        "".join(
            text(72 + 260 * (i % 2), 700 - 16 * (i // 2), f"{label}:")
            + text(170 + 260 * (i % 2), 700 - 16 * (i // 2), value)
            for i, (label, value) in enumerate(LINES)
        ),
    ],
)
def test_a_label_and_its_value_stand_on_one_line(content):
    assert parsed(pdf(content))["text"] == SHOWN


@pytest.mark.parametrize("by_line", [True, False])
def test_two_columns_of_text_stay_apart(by_line):
    left = [text(60, 700 - 14 * i, words) for i, words in enumerate(LEFT)]
    right = [text(330, 700 - 14 * i, words) for i, words in enumerate(RIGHT)]
    above, below = text(60, 730, "A line over both of the columns that is long enough to cross"), text(60, 600, "After")
    content = "".join(a + b for a, b in zip(left, right, strict=True)) if by_line else "".join(left + right)
    found = [line for line in parsed(pdf(above + content + below))["text"].split("\n") if line]
    assert found[1:-1] == LEFT + RIGHT and found[-1] == "After"


def test_a_line_of_many_pieces_keeps_them_apart():
    content = "".join(text(72 + 150 * i, 700, words) for i, words in enumerate(["2017", "2018", "2019"]))
    assert parsed(pdf(content))["text"] == "2017; 2018; 2019"


FORM = (
    widget("a", 698, "(Roche)"),
    widget("b", 668, "/Yes", "Btn", more="/AS /Yes"),
    widget("c", 638, "[(North) (South)]", "Ch"),
    widget("d", 608, "<FEFF005A00FC0072006900630068>"),
    widget("Order number", 500, "(R981207)"),
    widget("hidden", 470, "(OLD-111)", more="/F 2"),
    widget("empty", 440, "()"),
)


def test_values_of_form_fields_stand_beside_their_labels():
    labels = ["Applicant:", "Renewal:", "Region:", "Town:"]
    content = "".join(text(72, 703 - 30 * i, label) for i, label in enumerate(labels))
    found = parsed(pdf(content, annotations=FORM))["text"].split("\n")
    assert [line for line in found if line] == [
        "Applicant: Roche", "Renewal: Yes", "Region: North, South", "Town: Zürich", "Order number: R981207",
    ]  # fmt: skip


def test_a_value_of_a_field_above_is_the_fields_and_a_note_is_text():
    above = "<< /FT /Tx /T (group) /V (XW-759) >>"
    child = "<< /Subtype /Widget /Parent 6 0 R /Rect [160 698 300 716] >>"
    found = parsed(pdf(text(72, 703, "Early interest:"), annotations=(above, child)))["text"]
    assert found == "Early interest: XW-759"
    assert parsed(pdf(text(72, 703, "Code:"), annotations=(note(110, 700, "JMG"),)))["text"] == "Code: JMG"


def test_a_broken_field_costs_no_page_and_is_named():
    broken = "<< /Subtype /Widget /FT /Tx /V (x) /Rect [1 2] >>"
    found = source_of(pdf(text(72, 700, "Code: JMG"), annotations=(broken,)), "a.pdf")
    assert found.text == "Code: JMG" and "page 1" in found.warnings[0]


def test_pages_without_text_are_named():
    found = source_of(pdf(text(72, 700, "Code: JMG"), "", text(72, 700, "b"), ""), "a.pdf")
    assert found.text == "Code: JMG\n\nb"
    (warning,) = found.warnings
    assert "a.pdf" in warning and "page 2, 4" in warning
    with refused(BadInput, got=containing("pictures"), naming="a.pdf"):
        source_of(pdf("", ""), "a.pdf")


def test_characters_without_a_meaning_are_named():
    font = (
        "/Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts [<< /Type /Font /Subtype /CIDFontType2 "
        "/BaseFont /X /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> "
        "/FontDescriptor << /Type /FontDescriptor /FontName /X /Flags 4 >> >>]"
    )
    found = source_of(pdf("BT /F1 11 Tf 72 700 Td <000100020003> Tj ET", font=font), "a.pdf")
    assert any("page 1" in warning and "unknown" in warning for warning in found.warnings)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_a_locked_file_is_opened_with_an_empty_password_or_said_to_be_locked(algorithm):
    for password, opens in (("", True), ("secret", False)):
        writer = pypdf.PdfWriter(io.BytesIO(pdf(text(72, 700, "Code: JMG"))))
        writer.encrypt(password, owner_password="owner", algorithm=algorithm)
        writer.write(made := io.BytesIO())
        found = parsed(made.getvalue())
        assert found["text"] == "Code: JMG" if opens else found == {"locked": True}, json.dumps(found)


def test_without_pdfplumber_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pdfplumber", None)
    with refused(MissingPackage, naming="pdfplumber", todo=containing("reread[documents]")):
        source_of(pdf(text(72, 700, "x")), "a.pdf")

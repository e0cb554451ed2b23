"""Forms as PDFs of one page, written by hand: lines, label and value drawn apart, form fields.  Needs no package."""

from __future__ import annotations

from collections.abc import Sequence

Line = tuple[str, str]
LEFT, RIGHT, TOP, STEP = 72, 240, 720, 24  # points from the lower left


def pdf(content: str, fields: Sequence[str] = ()) -> bytes:
    """A page with this content stream in Helvetica, and these form fields (PDF 32000-1)."""
    places = " ".join(f"{6 + number} 0 R" for number in range(len(fields)))
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [{places}] >> >>",
        "<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R /Annots [{places}] "
        "/Resources << /Font << /F1 3 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        *fields,
    ]
    out, starts = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        starts.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{start:010} 00000 n \n" for start in starts)
    size = len(objects) + 1
    end = (
        f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(out)}\n"
    )
    return out + f"{end}%%EOF\n".encode()


def drawn(x: int, y: int, text: str) -> str:
    """A text of ASCII at a place."""
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /F1 11 Tf 1 0 0 1 {x} {y} Tm ({escaped}) Tj ET\n"


def in_lines(found: Sequence[Line]) -> bytes:
    return pdf("".join(drawn(LEFT, TOP - STEP * at, f"{label}: {value}") for at, (label, value) in enumerate(found)))


def apart(found: Sequence[Line]) -> bytes:
    """Labels and values in two columns, without colons, all labels first."""
    labels = "".join(drawn(LEFT, TOP - STEP * at, label) for at, (label, _) in enumerate(found))
    return pdf(labels + "".join(drawn(RIGHT, TOP - STEP * at, value) for at, (_, value) in enumerate(found)))


def form(found: Sequence[Line]) -> bytes:
    """Labels on the page, values in form fields alone."""
    fields = [
        f"<< /Type /Annot /Subtype /Widget /FT /Tx /T (f{at}) /V ({value}) "
        f"/Rect [{RIGHT} {TOP - STEP * at - 5} {RIGHT + 200} {TOP - STEP * at + 13}] >>"
        for at, (_, value) in enumerate(found)
    ]
    return pdf("".join(drawn(LEFT, TOP - STEP * at, f"{label}:") for at, (label, _) in enumerate(found)), fields)

"""PDFs written by hand, as makers of PDFs draw text: pieces at places, fields of forms, notes."""

WIDTHS = dict.fromkeys("abdeghnopquLABEKPSVXYFTZ0123456789", 0.556) | dict.fromkeys("cksvxyzJ", 0.5)
WIDTHS |= (
    dict.fromkeys("ijl", 0.222) | dict.fromkeys(" .:,ftI/", 0.278) | {"r": 0.333, "-": 0.333, "m": 0.833, "w": 0.722}
)
WIDTHS |= {"M": 0.833, "W": 0.944, "R": 0.722, "N": 0.722, "C": 0.722, "D": 0.722, "H": 0.722, "U": 0.722, "G": 0.778}
WIDTHS |= dict.fromkeys("ABEKPSVXY", 0.667) | {"F": 0.611, "T": 0.611, "Z": 0.611, "O": 0.778, "Q": 0.778}


def text(x: float, y: float, words: str, size: float = 11) -> str:
    """A piece of text that is drawn at a place."""
    return f"BT /F1 {size} Tf 1 0 0 1 {x:.2f} {y:.2f} Tm ({words}) Tj ET\n"


def characters(x: float, y: float, words: str, size: float = 11) -> str:
    """The same, a character at a time and without blanks."""
    drawn = ""
    for c in words:
        drawn += text(x, y, c, size) if c != " " else ""
        x += WIDTHS[c] * size
    return drawn


def pdf(*pages: str, annotations: tuple[str, ...] = (), font: str = "/Subtype /Type1 /BaseFont /Helvetica") -> bytes:
    """A PDF of pages with such contents; annotations: of the first page."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    first = 4 + 2 * len(pages)
    notes = " ".join(f"{first + i} 0 R" for i, one in enumerate(annotations) if "/Rect" in one)
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [{notes}] >> >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        f"<< /Type /Font {font} >>",
    ]
    for i, content in enumerate(pages):
        own = f"/Annots [{notes}]" if i == 0 else ""
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * i} 0 R {own} "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate([*objects, *annotations], start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\n"
    return out + f"{end}startxref\n{len(out)}\n%%EOF\n".encode()


def widget(name: str, y: float, value: str, kind: str = "Tx", x: float = 160, more: str = "") -> str:
    """A field of a form at a place."""
    rect = f"[{x} {y} {x + 200} {y + 18}]"
    return f"<< /Type /Annot /Subtype /Widget /FT /{kind} /T ({name}) /V {value} /Rect {rect} {more} >>"


def note(x: float, y: float, words: str) -> str:
    """A typed note (FreeText)."""
    return (
        f"<< /Type /Annot /Subtype /FreeText /Contents ({words}) /Rect [{x} {y} {x + 120} {y + 14}] /DA (/F1 11 Tf) >>"
    )

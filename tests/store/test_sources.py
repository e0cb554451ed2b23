"""Files and folders of documents; PDFs; what cannot be read is one sentence."""

import hashlib
import io
import signal
import subprocess
import sys
import threading
import time

import pypdf
import pytest
from raising import containing, refused

from reread.documents import pdf as pdf_text
from reread.documents.loaders import check_seconds, document_files, passed_over, read_source, source_of
from reread.errors import BadInput, MissingPackage


def pdf(*pages: str) -> bytes:
    """A PDF of so many pages with a line of text each, written by hand."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, text in enumerate(pages):
        shown = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET" if text else ""
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * i} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(shown)} >>\nstream\n{shown}\nendstream",
        ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\n"
    return out + f"{end}startxref\n{len(out)}\n%%EOF\n".encode()


def test_text_stands_as_it_is_and_markdown_without_its_marks(tmp_path):
    text = "# Title\n\n* Applicant: **Roche** — größer\n"
    for name in ("a.md", "a.txt", "a.log"):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        found = read_source(str(tmp_path / name))
        assert (found.name, found.text) == (name, "Title\n\n- Applicant: Roche — größer" if name == "a.md" else text)
        assert found.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_a_page_is_what_a_reader_would_see(tmp_path):
    page = "<html><head><meta charset=iso-8859-1><style>p{}</style></head><p>Größe: <b>12</b> mm<p>Rot</html>"
    (tmp_path / "page.HTM").write_bytes(page.encode("latin-1"))
    assert read_source(str(tmp_path / "page.HTM")).text == "Größe: 12 mm\n\nRot"
    with refused(BadInput, naming=("empty.html", "no text")):
        source_of(b"<html><script>x</script></html>", "empty.html")


def test_the_text_of_a_pdf_page_by_page_whatever_its_name_ends_in():
    data = pdf("Applicant: Roche Diagnostics", "Product code: DEW")
    for name in ("a.pdf", "a.txt"):
        assert source_of(data, name).text == "Applicant: Roche Diagnostics\n\nProduct code: DEW"


def test_a_pdf_that_is_broken_locked_or_without_text_is_one_sentence():
    data = pdf("Applicant: Roche")
    for n in (9, 40, 200, len(data) // 2):
        with refused(BadInput, naming="a.pdf"):
            source_of(data[:n], "a.pdf")
    with refused(BadInput, got=containing("pictures"), naming="a.pdf"):
        source_of(pdf("", ""), "a.pdf")
    writer = pypdf.PdfWriter(io.BytesIO(data))
    writer.encrypt("secret", algorithm="RC4-128")
    locked = io.BytesIO()
    writer.write(locked)
    with refused(BadInput, naming=("a.pdf", "password")):
        source_of(locked.getvalue(), "a.pdf")


def test_without_pdfplumber_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pdfplumber", None)
    with refused(MissingPackage, naming="pdfplumber", todo=containing("reread[documents]")):
        source_of(pdf("x"), "a.pdf")


def test_folders_give_their_documents_in_order_and_files_come_as_named(tmp_path):
    for name in ("b.txt", "a.pdf", "sub/c.html", "sub/.hidden/d.txt", ".e.txt", "image.png", "weights.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = list(document_files([str(tmp_path / "image.png"), str(tmp_path)]))
    assert [path.removeprefix(f"{tmp_path}/") for path in found] == ["image.png", "a.pdf", "b.txt", "sub/c.html"]
    (tmp_path / "none").mkdir()
    with refused(BadInput, got=tmp_path / "none", allowed=containing(".txt", ".pdf")):
        list(document_files([str(tmp_path / "none")]))


def test_what_is_left_out_of_a_folder_is_counted_by_kind(tmp_path):
    left = ("1.png", "2.png", "sub/3.png", "b.csv", "LICENSE", "c.d", "e.f", "g.h")
    for name in ("a.txt", "B.PDF", ".hidden.png", "sub/.git/x.png", *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert passed_over([str(tmp_path), "-", str(tmp_path / "1.png"), "x" * 400]) == (
        "passed over in the folders: 8 files (.png, no ending, .csv, .d, .f, ...); "
        "a text file among them is read where it is named."
    )
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.md").write_text("x")
    assert passed_over([str(tmp_path / "only")]) == passed_over([]) == ""


def test_what_is_no_file_is_one_sentence(tmp_path):
    for path, said in ((tmp_path / "x.txt", "no such file"), (tmp_path, "not a file"), ("y" * 400, "name too long")):
        with refused(BadInput, got=containing(str(path)[:60]), naming=said):
            read_source(str(path))
    (tmp_path / "b.txt").write_bytes(b"abc\x00")
    with refused(BadInput, naming=("b.txt", "binary")):
        read_source(str(tmp_path / "b.txt"))


@pytest.mark.slow
def test_a_pdf_that_takes_too_long_is_ended_and_is_one_sentence(monkeypatch, tmp_path):
    """A content stream whose parsing is endless, as far as anyone waits: a million nested arrays."""
    slow = pdf(") Tj " + "/F1 12 Tf (x) Tj " * 50_000 + "(y")
    (tmp_path / "slow.pdf").write_bytes(slow)
    began = time.perf_counter()
    with refused(BadInput, todo=containing("--seconds-per-document"), naming=("slow.pdf", "0.1 seconds")):
        read_source(str(tmp_path / "slow.pdf"), 0.1)
    assert time.perf_counter() - began < 10
    assert read_source(str(tmp_path / "slow.pdf"), 300.0).text.startswith("xxxx")


def test_a_pdf_reader_that_falls_over_is_one_sentence(monkeypatch):
    monkeypatch.setattr("reread.documents.pdf.sys.executable", "/bin/false")
    with refused(BadInput, naming=("a.pdf", "exit code 1")):
        source_of(pdf("x"), "a.pdf")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e7])
def test_a_limit_that_is_none_is_refused(seconds):
    with refused(BadInput, got=seconds, naming="86,400"):
        check_seconds(seconds)


def test_a_parser_that_hangs_ends_itself_and_can_be_ended(monkeypatch):
    """Its own alarm, for when the process that waits is killed; end_all, for when that one stops."""
    hang = "pdf_text.parsed = lambda data: __import__('time').sleep(60); pdf_text.child(1)"
    slow = f"import sys; sys.path[:] = {sys.path!r}; from reread.documents import pdf as pdf_text; {hang}"
    done = subprocess.run([sys.executable, "-c", slow], input=b"", capture_output=True, timeout=30)
    assert done.returncode == -signal.SIGALRM
    found: list = []
    monkeypatch.setattr(pdf_text.subprocess, "Popen", lambda words, **how: POPEN(["/bin/sleep", "60"], **how))
    thread = threading.Thread(target=lambda: found.append(pdf_text.read_pdf(b"", 50)))
    thread.start()
    until = time.monotonic() + 20
    while not pdf_text.RUNNING and time.monotonic() < until:
        time.sleep(0.01)
    pdf_text.end_all()
    thread.join(20)
    assert "ended" in found[0]["error"] and not pdf_text.RUNNING


POPEN = subprocess.Popen

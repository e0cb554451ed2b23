"""Documents from files as text, whatever they were written in: plain text, Markdown, HTML, PDF, files of
office programs, mails, tables.

The end of a file's name says what it is; a PDF and a page are also recognised by how they begin.  Every text passes the
text layer (documents/text.py).  Words only; knows no model.  What cannot be read is refused in one sentence, so that
one bad file stops no others.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reread.documents.charset import HEAD, decode_page
from reread.documents.files import LARGEST, decode, read_file
from reread.documents.html import html_text
from reread.documents.markdown import markdown_text
from reread.documents.office_files import kind_of, office_text
from reread.documents.pdf import TooSlow, read_pdf
from reread.documents.text import LINE_END, Cleaned, cleaned
from reread.errors import BadInput, MissingPackage

CONVERSION = 4  # of files into text, as it is now: rows of another are not continued
PDF_SECONDS = 120.0
MOST_SECONDS = 86_400.0
BEFORE_PAGE = re.compile(rb"\s+|<!--.*?-->|<%.*?%>|<\?xml[^>]*>", re.DOTALL | re.IGNORECASE)  # ASP.NET has directives
PAGE = re.compile(rb"<(?:!doctype\s+html\b|html[\s>])", re.IGNORECASE)
BOM = b"\xef\xbb\xbf"


def is_page(data: bytes) -> bool:
    """Whether these bytes begin as an HTML page does, whatever their name is.  One pass, piece by piece: an expression
    for all pieces together would try every way to divide a run of blanks."""
    head = data[:HEAD]
    place = len(BOM) if head.startswith(BOM) else 0
    while piece := BEFORE_PAGE.match(head, place):
        place = piece.end()
    return PAGE.match(head, place) is not None


def check_seconds(seconds: float) -> None:
    """Raise BadInput for a limit that is none."""
    if not 0 < seconds <= MOST_SECONDS:
        raise BadInput("a document has above 0 and at most 86,400 seconds", got=seconds)


@dataclass(frozen=True)
class Source:
    """A document: its file's name without folders, its text as a model is shown it, and the sha256 of its bytes.
    origin: the text before the text layer, which is that of the file where it is plain text.  warnings: what of the
    file is not in the text, in sentences."""

    name: str
    text: str
    sha256: str
    origin: Cleaned | None = None
    warnings: tuple[str, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters [start, end) of `text` in the text before the text layer."""
        return (start, end) if self.origin is None else self.origin.span(start, end)


def page_document(data: bytes, name: str) -> str:
    return decode(html_text(decode_page(data, name), name).encode("utf-8", "replace"), name)


def markdown_document(data: bytes, name: str) -> str:
    text = LINE_END.sub("\n", decode(data, name))
    return decode(markdown_text(text, name).encode("utf-8", "replace"), name)


def pdf_document(data: bytes, name: str, seconds: float = PDF_SECONDS) -> tuple[str, tuple[str, ...]]:
    """The text of every page, a blank line between two, and what is missing there.  Raises BadInput (locked, broken,
    pictures alone, too slow), MissingPackage."""
    need_pdfplumber()
    try:
        found = read_pdf(data, seconds)
    except TooSlow as error:
        todo = "save it again, or as text; read and extract can give it longer, --seconds-per-document"
        raise BadInput(f"the text of {name} was not there after {seconds:g} seconds", todo=todo) from error
    if "locked" in found:
        raise BadInput(f"{name} is locked with a password", todo="save it without one")
    if "error" in found:
        raise BadInput(f"{name} cannot be read as a PDF: {found['error'][:120]}", todo="save it again, or as text")
    if not found["text"].strip():
        raise BadInput(f"{name} holds no text", got="a PDF of pictures", todo="let a text recogniser read it first")
    warnings = []
    if found["empty"]:
        warnings.append(f"{name}: no text on page {pages(found['empty'])} (a picture, or empty)")
    if found["unknown"]:
        warnings.append(
            f"{name}: characters of unknown meaning on page {pages(found['unknown'])} (a font without a map)"
        )
    if found["lost"]:
        warnings.append(f"{name}: form fields or notes that cannot be read on page {pages(found['lost'])}")
    return decode(found["text"].replace("\x00", " ").encode("utf-8", "replace"), name), tuple(warnings)


def office_document(data: bytes, name: str, kind: str) -> tuple[str, tuple[str, ...]]:
    """The text of a file of an office program, a mail or a table, and what is missing there.  Raises BadInput,
    MissingPackage."""
    text, warnings = office_text(data, name, kind)
    if not text.strip():
        raise BadInput(f"{name} holds no text")
    return decode(text.replace("\x00", " ").encode("utf-8", "replace"), name), warnings


def pages(numbers: Sequence[int]) -> str:
    """Page numbers, the first ten of them."""
    return ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")


def check_packages(paths: Iterable[str]) -> None:
    """Raise MissingPackage where these files need a reader that is not installed: before hours, not after."""
    paths = list(paths)
    readers = {READERS.get(Path(path).suffix.lower()) for path in paths}
    if page_document in readers or markdown_document in readers:
        html_text("<p>any</p>")
    if markdown_document in readers:
        markdown_text("any")
    if pdf_document in readers:
        need_pdfplumber()
    for suffix in {Path(path).suffix.lower() for path in paths} & PACKAGES.keys():
        need(PACKAGES[suffix])


def need_pdfplumber() -> None:
    need("pdfplumber")  # in the child process


def need(package: str) -> None:
    """Raise MissingPackage where a package of the extra `documents` is not installed."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingPackage(package, "documents") from error


READERS: dict[str, Callable[..., Any]] = {
    ".txt": decode,
    ".text": decode,
    ".md": markdown_document,
    ".markdown": markdown_document,
    ".html": page_document,
    ".htm": page_document,
    ".xhtml": page_document,
    ".pdf": pdf_document,
    **{f".{kind}": partial(office_document, kind=kind) for kind in ("docx", "odt", "rtf", "xlsx", "eml")},
}
PACKAGES = {".docx": "mammoth", ".odt": "lxml", ".rtf": "striprtf", ".xlsx": "openpyxl"}
# Read where they are named: in folders they may be rows of `extract`.
TABLES: dict[str, Callable[..., Any]] = {f".{kind}": partial(office_document, kind=kind) for kind in ("csv", "tsv")}


def reader_of(data: bytes, name: str) -> Callable[..., Any]:
    """What reads these bytes: by how they begin, else by their name.  Raises BadInput for what is known to be no
    document, such as a picture."""
    if data.startswith(b"%PDF-"):
        return pdf_document
    if kind := kind_of(data, name):
        return partial(office_document, kind=kind)
    suffix = Path(name).suffix.lower()
    read = READERS.get(suffix) or TABLES.get(suffix) or decode
    if isinstance(read, partial) and suffix in (".docx", ".odt", ".xlsx", ".rtf"):
        raise BadInput(f"{name} is no {suffix} file, though its name ends so", todo="save it again, or as text")
    if read is decode and is_page(data):
        return page_document
    return read


def source_of(data: bytes, name: str, seconds: float = PDF_SECONDS) -> Source:
    """The document in these bytes, as its name says; a PDF within so many seconds.  Raises BadInput, MissingPackage."""
    if len(data) > LARGEST:
        raise BadInput(f"{name} is larger than {LARGEST // 2**20} MiB", got=f"{len(data)} bytes", todo="split it")
    read = reader_of(data, name)
    found = pdf_document(data, name, seconds) if read is pdf_document else read(data, name)
    text, warnings = (found, ()) if isinstance(found, str) else found
    origin = cleaned(text)
    if not origin.text.strip():
        raise BadInput(f"{name} holds no text")
    return Source(Path(name).name, origin.text, hashlib.sha256(data).hexdigest(), origin, warnings)


def read_source(path: str, seconds: float = PDF_SECONDS) -> Source:
    """The document in a file, or on standard input for "-"; a PDF within so many seconds.  Raises BadInput,
    MissingPackage."""
    return read_file(path, partial(source_of, seconds=seconds))


def document_files(paths: Iterable[str]) -> Iterator[str]:
    """Files as they are named; of folders, the files below them whose names end as in READERS, in order.

    Names that begin with a dot are left out.  Raises BadInput for a folder without any.
    """
    for path in paths:
        if not is_folder(path):
            yield path
            continue
        found = [str(file) for file in shown_files(Path(path)) if is_document(file)]
        if not found:
            raise BadInput("no documents in this folder", got=path, allowed=" ".join(READERS))
        yield from found


def check_any_there(files: Iterable[str]) -> None:
    """Raise BadInput where not one of these files is there."""
    named = list(files)
    if named and not any(path == "-" or is_there(path) for path in named):
        raise BadInput("no such file", got=", ".join(named[:3]) + (", ..." if len(named) > 3 else ""))


def is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def is_folder(path: str) -> bool:
    try:
        return path != "-" and Path(path).is_dir()
    except OSError:  # a name that no file can have; who reads it says so
        return False


def is_document(file: Path) -> bool:
    return file.suffix.lower() in READERS and file.is_file()


def shown_files(folder: Path) -> list[Path]:
    """All below a folder but other folders and what has a name that begins with a dot, in order."""
    found = (file for file in sorted(folder.rglob("*")) if not file.is_dir())
    return [file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts)]


def passed_over(paths: Iterable[str]) -> str:
    """What `document_files` left out of the folders among these, in a sentence; "" for nothing."""
    folders = [Path(path) for path in paths if is_folder(path)]
    others = [file for folder in folders for file in shown_files(folder) if not is_document(file)]
    kinds = Counter(file.suffix or "no ending" for file in others)
    named = ", ".join(kind for kind, _ in kinds.most_common(5)) + (", ..." if len(kinds) > 5 else "")
    todo = "a text file among them is read where it is named"
    files = "1 file" if len(others) == 1 else f"{len(others)} files"
    return f"passed over in the folders: {files} ({named}); {todo}." if others else ""

"""Documents from files as text, whatever they were written in: plain text, Markdown, HTML, PDF.

What a file is, is told by the end of its name; a PDF also by its first bytes.  Words only; knows no
model.  What cannot be read is refused in one sentence, so that one bad file stops no others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reread.errors import BadInput, MissingPackage
from reread.markdown_text import unmarked
from reread.pdf_text import TooSlow, read_pdf
from reread.prompting.documents import LARGEST, decode, read_file
from reread.tasks.html import decode_page, page_text

CONVERSION = 2  # of files into text, as it is now: rows of another are not continued
PDF_SECONDS = 120.0
MOST_SECONDS = 86_400.0


def check_seconds(seconds: float) -> None:
    """Raise BadInput for a limit that is none."""
    if not 0 < seconds <= MOST_SECONDS:
        raise BadInput("a document has above 0 and at most 86,400 seconds", got=seconds)


@dataclass(frozen=True)
class Source:
    """A document: its file's name without folders, its text, and the sha256 of its bytes as they came."""

    name: str
    text: str
    sha256: str


def html_text(data: bytes, name: str) -> str:
    return decode(page_text(decode_page(data, name), name, labels=True).encode("utf-8", "replace"), name)


def markdown_text(data: bytes, name: str) -> str:
    return decode(unmarked(decode(data, name)).encode("utf-8", "replace"), name)


def pdf_text(data: bytes, name: str, seconds: float = PDF_SECONDS) -> str:
    """The text of every page, a blank line between two.  Raises BadInput (locked, broken, pictures alone, too slow),
    MissingPackage."""
    need_pypdf()
    try:
        found = read_pdf(data, seconds)
    except TooSlow as error:
        todo = "save it anew, or as text; read and extract can give it longer, --seconds-per-document"
        raise BadInput(f"the text of {name} was not there after {seconds:g} seconds", todo=todo) from error
    if "locked" in found:
        raise BadInput(f"{name} is locked with a password", todo="save it without one")
    if "error" in found:
        raise BadInput(f"{name} cannot be read as a PDF: {found['error'][:120]}", todo="save it anew, or as text")
    if not found["text"].strip():
        raise BadInput(f"{name} holds no text", got="a PDF of pictures", todo="let a text recogniser read it first")
    return decode(found["text"].replace("\x00", " ").encode("utf-8", "replace"), name)


def check_packages(paths: Iterable[str]) -> None:
    """Raise MissingPackage where these files need a reader that is not installed: before hours, not after."""
    readers = {READERS.get(Path(path).suffix.lower()) for path in paths}
    if html_text in readers:
        page_text("<p>any</p>")
    if pdf_text in readers:
        need_pypdf()


def need_pypdf() -> None:
    try:
        import pypdf  # noqa: F401  (the child process needs it)
    except ImportError as error:
        raise MissingPackage("pypdf", "documents") from error


READERS: dict[str, Callable[[bytes, str], str]] = {
    ".txt": decode,
    ".text": decode,
    ".md": markdown_text,
    ".markdown": markdown_text,
    ".html": html_text,
    ".htm": html_text,
    ".xhtml": html_text,
    ".pdf": pdf_text,
}


def source_of(data: bytes, name: str, seconds: float = PDF_SECONDS) -> Source:
    """The document in these bytes, as its name says; a PDF within so many seconds.  Raises BadInput, MissingPackage."""
    if len(data) > LARGEST:
        raise BadInput(f"{name} is larger than {LARGEST // 2**20} MiB", got=f"{len(data)} bytes", todo="split it")
    read = READERS.get(Path(name).suffix.lower(), decode)
    if data.startswith(b"%PDF-"):
        read = pdf_text
    text = pdf_text(data, name, seconds) if read is pdf_text else read(data, name)
    return Source(Path(name).name, text, hashlib.sha256(data).hexdigest())


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

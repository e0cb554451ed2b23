"""The same forms in many layouts, as people's files have them: what a layout costs is a property of the reading of
files and questions, not of the form.  Needs no file.

A layout makes of the lines (label, value) of a form a file (its name, its bytes) and says how a label is asked.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from reread.prompting import Sample
from reread.tasks import layout_pdfs
from reread.tasks.synthetic import forms

Line = tuple[str, str]
PLAIN = "plain text"


@dataclass(frozen=True)
class Layout:
    """name: of the file that `write` makes the bytes of; ask: how a label is asked; says: why it may be found less
    often than in plain text, "" where it may not."""

    name: str
    write: Callable[[Sequence[Line]], bytes]
    ask: Callable[[str], str] = lambda label: label
    says: str = ""


def lines(form: str = "{}: {}", end: str = "\n", codec: str = "utf-8", mark: bytes = b"") -> Callable[..., bytes]:
    """A line per label and value."""
    return lambda found: mark + "".join(form.format(*line) + end for line in found).encode(codec)


def framed(before: str, form: str, after: str = "", between: str = "") -> Callable[..., bytes]:
    """A page of HTML: something before and after, and a piece per label and value."""

    def write(found: Sequence[Line]) -> bytes:
        pieces = between.join(form.format(*map(escape, line)) for line in found)
        return (
            f"<!DOCTYPE html><html><head><title>Form</title></head><body>{before}{pieces}{after}</body></html>".encode()
        )

    return write


def within(unseen: str) -> Callable[..., bytes]:
    """Something that cannot be seen within every word of more than three letters."""

    def cut(text: str) -> str:
        return " ".join(word[:2] + unseen + word[2:] if len(word) > 3 else word for word in text.split(" "))

    return lambda found: "".join(f"{cut(label)}: {cut(value)}\n" for label, value in found).encode()


def across(found: Sequence[Line]) -> tuple[list[str], list[str]]:
    return [label for label, _ in found], [value for _, value in found]


def wide_page(found: Sequence[Line]) -> bytes:
    heads, values = across(found)
    row = "".join(f"<th>{escape(one)}</th>" for one in heads), "".join(f"<td>{escape(one)}</td>" for one in values)
    return f"<!DOCTYPE html><html><body><table><tr>{row[0]}</tr><tr>{row[1]}</tr></table></body></html>".encode()


def wide_pipes(found: Sequence[Line]) -> bytes:
    heads, values = across(found)
    return f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n| {' | '.join(values)} |\n".encode()


def several_records(found: Sequence[Line]) -> bytes:
    """A pipe table with an empty record before and one after that of the form."""
    heads, values = across(found)
    rows = [[""] * len(heads), values, [""] * len(heads)]
    body = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n{body}".encode()


def pairs_in_rows(found: Sequence[Line]) -> bytes:
    """A table of HTML with two labels and their values in a row."""
    cells = [f"<td>{escape(label)}:</td><td>{escape(value)}</td>" for label, value in found]
    rows = "".join(f"<tr>{''.join(cells[at : at + 2])}</tr>" for at in range(0, len(cells), 2))
    return f"<!DOCTYPE html><html><body><table>{rows}</table></body></html>".encode()


BELOW = "a value below its label, which it was not trained on"
LAYOUTS: dict[str, Layout] = {
    PLAIN: Layout("form.txt", lines()),
    "CRLF": Layout("form.txt", lines(end="\r\n")),
    "CR": Layout("form.txt", lines(end="\r")),
    "form feeds": Layout("form.txt", lines(end="\f")),
    "vertical tabs": Layout("form.txt", lines(end="\v")),
    "NEL": Layout("form.txt", lines(end="\x85")),
    "U+2028": Layout("form.txt", lines(end="\u2028")),
    "UTF-16": Layout("form.txt", lines(codec="utf-16-le", mark=codecs.BOM_UTF16_LE)),
    "no-break space": Layout("form.txt", lines("{}:\xa0{}")),
    "tab after the colon": Layout("form.txt", lines("{}:\t{}")),
    "two columns with a tab": Layout("form.txt", lines("{}\t{}")),
    "aligned by blanks": Layout("form.txt", lines("{}:      {}")),
    "soft hyphens": Layout("form.txt", within("\xad")),
    "zero-width spaces": Layout("form.txt", within("\u200b")),
    "blank lines between": Layout("form.txt", lines(end="\n\n")),
    "indented": Layout("form.txt", lines("    {}: {}"), says="blanks before a label, which it was not trained on"),
    "list of dashes": Layout("form.txt", lines("- {}: {}")),
    "full-width colon": Layout("form.txt", lines("{}：{}")),
    "equals sign": Layout("form.txt", lines("{} = {}"), says="no colon between label and value"),
    "value in the next line": Layout("form.txt", lines("{}:\n{}"), says=BELOW),
    "Markdown, bold labels": Layout("form.md", lines("**{}:** {}", end="\n\n")),
    "Markdown, list with bold labels": Layout("form.md", lines("- **{}**: {}")),
    "Markdown, values as code": Layout("form.md", lines("{}: `{}`", end="  \n")),
    "Markdown, pipe table": Layout(
        "form.md", lambda found: b"| Field | Value |\n|---|---|\n" + lines("| {} | {} |")(found)
    ),
    "Markdown, padded pipe table": Layout(
        "form.md", lambda found: b"| Field | Value |\n|:--|--:|\n" + lines("| **{}**      | {}     |")(found)
    ),
    "Markdown, wide pipe table": Layout("form.md", wide_pipes),
    "Markdown, table of three records": Layout("form.md", several_records),
    "Markdown, headings": Layout("form.md", lines("## {}\n\n{}\n"), says=BELOW),
    "HTML, table": Layout("form.html", framed("<table>", "<tr><td>{}</td><td>{}</td></tr>", "</table>")),
    "HTML, table with th": Layout("form.html", framed("<table>", "<tr><th>{}<td><b>{}</b>", "</table>")),
    "HTML, wide table": Layout("form.html", wide_page),
    "HTML, two pairs in a row": Layout("form.html", pairs_in_rows),
    "HTML, definition list": Layout("form.html", framed("<dl>", "<dt>{}</dt><dd>{}</dd>", "</dl>")),
    "HTML, <pre>": Layout("form.html", framed("<pre>", "{}: {}", "</pre>", "\n")),
    "HTML, paragraphs": Layout("form.html", framed("", "<p><b>{}:</b>&nbsp;{}</p>\n")),
    "HTML, line breaks": Layout("form.html", framed("<p>", "{}: {}", "</p>", "<br>\n")),
    "HTML, form fields": Layout("form.html", framed("", "<p><label>{}: <input value='{}'></label></p>")),
    "HTML, hidden old values": Layout(
        "form.html", framed("", "<p>{}: <span style='display: none'>OLD-111</span>{}</p>")
    ),
    "HTML without its name": Layout("form.aspx", framed("<table>", "<tr><td>{}</td><td>{}</td></tr>", "</table>")),
    "PDF, lines": Layout("form.pdf", layout_pdfs.in_lines),
    "PDF, label and value drawn apart": Layout("form.pdf", layout_pdfs.apart),
    "PDF, form fields": Layout("form.pdf", layout_pdfs.form),
    "asked with a colon": Layout("form.txt", lines(), "{}:".format),
    "asked in bold": Layout("form.txt", lines(), "**{}**".format),
    "asked with a full-width colon": Layout("form.txt", lines(), "{}：".format),
    "asked with a no-break space": Layout("form.txt", lines(), lambda label: label.replace(" ", "\xa0")),
    "asked in lower case": Layout("form.txt", lines(), str.lower),
    "asked in capitals": Layout("form.txt", lines(), str.upper),
    "asked in capitals, CRLF": Layout("form.txt", lines(end="\r\n"), lambda label: f"{label.upper()} :"),
}


def lines_of(sample: Sample) -> list[Line]:
    """The lines of a form of `tasks.synthetic.forms`."""
    found = []
    for line in sample.document.split("\n"):
        label, _, value = line.partition(": ")
        found.append((label, value))
    return found


def written_forms(count: int, fields: int, seed: int) -> list[Sample]:
    """So many forms of so many lines."""
    return forms(fields, documents=count, seed=seed)

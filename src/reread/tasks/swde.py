"""SWDE: attributes of web pages, from the archive of pages and ground truth in its original layout.

    .../auto-aol(2000)/0000.htm                    a page: site, then number
    .../groundtruth/auto/auto-aol-engine.txt       a table: site, attribute; page, number of values, values

Hao, Cai, Pang and Zhang, "From One Tree to a Forest", 2011.  The values are HTML (entities) and are
read as such; white space in them is that of the page's text (one blank).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from reread.documents.charset import decode_page
from reread.errors import BadInput
from reread.prompting import Sample
from reread.tasks.files import LARGEST_WHOLE, members, text_of
from reread.tasks.html import page_text

PAGE = re.compile(r"(?:^|/)([^/()-]+-[^/()-]+)\(\d+\)/(\d+)\.html?$")
TABLE = re.compile(r"(?:^|/)groundtruth/[^/]+/([^/-]+-[^/-]+)-([^/]+)\.txt$")
NULL = "<NULL>"

Pages = dict[str, dict[str, str]]
Tables = dict[tuple[str, str], dict[str, tuple[str, ...]]]


def field_label(attribute: str) -> str:
    """ "predicate_510k_number" -> "predicate 510k number"."""
    return attribute.replace("_", " ")


def plain(value: str) -> str:
    """A value of the ground truth as it stands in the text of a page; without the colon of the label before it."""
    return re.sub(r"\s+", " ", html.unescape(value)).strip().removeprefix(":").strip()


def table(text: str, site: str, attribute: str) -> dict[str, tuple[str, ...]]:
    """Page -> values (none where the page has none).  Raises BadInput where the table is not of that layout."""
    where = f"the ground truth {site}-{attribute}.txt"
    lines = [line.rstrip("\r").split("\t") for line in text.split("\n") if line.strip()]
    if len(lines) < 2 or "-".join(lines[0]) != f"{site}-{attribute}":
        raise BadInput(
            f"{where} does not begin with its vertical, site and attribute",
            got="\t".join(lines[0]) if lines else "an empty file",
            allowed="vertical, site and attribute with tabs between them",
        )
    rows: dict[str, tuple[str, ...]] = {}
    for page, *columns in lines[2:]:
        kept = tuple(plain(value) for value in columns[1:] if value not in ("", NULL))
        if page in rows or columns[:1] != [str(len(kept))]:
            raise BadInput(
                f"{where}, page {page}: a row must be a page, the number of its values and the values",
                got="the page twice"
                if page in rows
                else f"{' '.join(columns[:1]) or 'nothing'} for {len(kept)} values",
            )
        rows[page] = kept
    return rows


def archive(path: Path) -> tuple[Pages, Tables]:
    """Texts by site and page, values by site and attribute."""
    pages: Pages = {}
    tables: Tables = {}
    held = 0
    for name, content in members(path):
        if found := PAGE.search(name):
            site, page = found.groups()
            text = page_text(decode_page(content, name), name)
            held += len(text)
            if held > LARGEST_WHOLE:
                raise BadInput(f"the pages of {path} hold too much text", todo="split the archive by site")
            pages.setdefault(site, {})[page] = text
        elif found := TABLE.search(name):
            site, attribute = found.groups()
            tables[site, attribute] = table(text_of(content, name), site, attribute)
    return pages, tables


def check_fit(pages: Pages, tables: Tables, path: Path) -> None:
    """Raises BadInput unless every table has a row for each page of its site and for no other."""
    if not pages:
        raise BadInput(f"{path} holds no page", allowed="files .../vertical-site(count)/0000.htm")
    without = sorted(set(pages) - {site for site, _ in tables})
    if without:
        raise BadInput(f"{path} holds pages without ground truth", got=", ".join(without))
    for (site, attribute), rows in tables.items():
        other = sorted(set(rows) ^ set(pages.get(site, {})))
        if other:
            raise BadInput(
                f"the ground truth {site}-{attribute}.txt does not fit the pages of {site}",
                got=f"page {other[0]}, which is only in {'the table' if other[0] in rows else 'the archive'}",
                todo="keep a row for each page, and no other",
            )


def swde(data: Path) -> Iterator[Sample]:
    """One sample per (page, attribute), by site and page; no answers where the ground truth has none."""
    path = data / "swde" / "swde_sample.tar.xz"
    pages, tables = archive(path)
    check_fit(pages, tables, path)
    for site, texts in sorted(pages.items()):
        attributes = sorted(attribute for of, attribute in tables if of == site)
        for page, text in sorted(texts.items()):
            for attribute in attributes:
                answers, label = tables[site, attribute][page], field_label(attribute)
                yield Sample(f"{site}/{page}/{attribute}", text, label, answers, "field", (label, *answers[:1]))

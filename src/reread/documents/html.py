"""HTML as text: what a browser would show, a line per block; parsed by lxml, rendered by inscriptis (CSS display,
white space, <pre>).

This file says in words what a page shows by its layout: a row of two cells and an entry of a definition list are
"label: value", wider tables have their header with each row, form fields show their values.  What is hidden is left
out.  Broken markup is mended as a browser would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from reread.errors import BadInput, MissingPackage

UNSEEN = frozenset(
    "script style noscript template iframe object embed svg math audio video canvas map datalist dialog head".split()
)
BLOCKS = frozenset(
    "address article aside blockquote center dd details dir div dl dt fieldset figcaption figure footer form h1 h2 h3 "
    "h4 h5 h6 header hr li main menu nav ol p pre section summary table tbody td tfoot th thead tr ul".split()
)
KEPT = frozenset("p pre h1 h2 h3 h4 h5 h6 blockquote".split())  # inscriptis knows how these are shown
DEEPEST = 250  # inscriptis calls itself for every element within another
NO_FIELD = frozenset("hidden password submit button reset image file color range".split())
HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))\b", re.IGNORECASE)
HIDES = re.compile(r"\b(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
SELECTOR = re.compile(r"(?P<tag>[a-z][a-z0-9]*)?(?P<mark>[.#])(?P<name>[\w-]+)", re.IGNORECASE)
LONGEST_LABEL, LONGEST_CELL = 40, 200
MARKED = tuple(":：?？!.。;,")
WHITE = re.compile(r"\s+")
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # what a tree cannot hold
DIRECTIVES = re.compile(r"\A(?:\s*<%.*?%>)+", re.DOTALL)  # of ASP.NET, before a page


def html_text(html: str, name: str = "the page") -> str:
    """The text of a page; empty when nothing can be seen.

    Raises MissingPackage; BadInput where the parser gave up, so that no text is lost in silence.
    """
    try:
        from inscriptis import Inscriptis
        from inscriptis.css_profiles import STRICT_CSS_PROFILE
        from inscriptis.model.config import ParserConfig
        from lxml import etree
    except ImportError as error:
        raise MissingPackage("inscriptis", "documents") from error
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    # the wrapping element keeps a page without any element from being "empty" to the parser
    page = f"<html>{NOT_XML.sub(' ', DIRECTIVES.sub('', html))}</html>"
    root = etree.fromstring(page.encode("utf-8", "replace"), parser)
    fatal = [entry.message for entry in parser.error_log if entry.level_name == "FATAL"]
    if fatal:
        what, todo = f"the markup of {name} cannot be read to its end", "mend or leave out the page"
        raise BadInput(what, got=fatal[0], todo=todo)
    prepare(root)
    flatten(root)
    shown = Inscriptis(root, ParserConfig(css=STRICT_CSS_PROFILE.copy())).get_text()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in shown.split("\n"))).strip("\n")


# what cannot be seen -------------------------------------------------------------------------------------------------


def remove(element: Any) -> None:
    """Take an element out of the tree; the text after it stays."""
    parent, tail = element.getparent(), element.tail
    if parent is None:
        return
    if tail:
        before = element.getprevious()
        if before is None:
            parent.text = (parent.text or "") + tail
        else:
            before.tail = (before.tail or "") + tail
    parent.remove(element)


def hiding_names(root: Any) -> set[tuple[str, str, str]]:
    """(tag or "", "." or "#", name) of the selectors of the page's style sheets that hide elements: those of a class or
    an id alone."""
    sheets = " ".join(style.text or "" for style in root.iter("style"))
    found = set()
    for rule in CSS_COMMENT.sub(" ", sheets).split("}"):
        before, _, body = rule.rpartition("{")
        for selector in before.rpartition("{")[2].split(",") if HIDES.search(body) else ():  # within @media too
            if one := SELECTOR.fullmatch(selector.strip()):
                found.add(((one["tag"] or "").lower(), one["mark"], one["name"]))
    return found


def is_hidden(element: Any, names: set[tuple[str, str, str]]) -> bool:
    if element.tag in UNSEEN or "hidden" in element.attrib or HIDDEN.search(element.get("style", "")):
        return element.tag not in ("head",) and not (element.tag == "dialog" and "open" in element.attrib)
    if not names or not ("class" in element.attrib or "id" in element.attrib):
        return False
    own = [(".", name) for name in element.get("class", "").split()] + [("#", element.get("id", ""))]
    return any((tag, mark, name) in names for mark, name in own for tag in ("", element.tag))


# what is shown by the layout -----------------------------------------------------------------------------------------


def prepare(root: Any) -> None:
    """Make the tree one whose text says what its layout shows."""
    names = hiding_names(root)
    for element in [one for one in root.iter() if not isinstance(one.tag, str) or is_hidden(one, names)]:
        remove(element)
    title = next((one.text or "" for one in root.iter("title")), "").strip()
    for head in list(root.iter("head")):
        remove(head)
    for element in list(root.iter("input", "select", "textarea", "br", "wbr")):
        field(element)
    for element in list(root.iter("pre")):
        if element.find(".//table") is None:
            becomes(element, "pre", "\n".join(lines_of(element)))
    for element in list(root.iter("dl")):
        definitions(element)
    for element in list(root.iter("ol", "ul", "menu")):
        items(element)
    for table in list(root.iter("table")):  # the outer ones first, which look for tables within
        rows(table)
    for element in list(root.iter(*BLOCKS)):
        if element.tag not in KEPT:
            element.tag = "div"
    if title:
        body = next(root.iter("body"), root)
        first = body.makeelement("div")
        first.text, first.tail, body.text = title, body.text, None
        body.insert(0, first)


def flatten(root: Any) -> None:
    """What lies deeper than DEEPEST as text and line breaks of the element at that depth."""
    depth, at_depth = 0, []
    for event, element in walk(root):
        if event == "start" and depth == DEEPEST and len(element):
            at_depth.append(element)
        depth += 1 if event == "start" else -1
    for element in at_depth:
        lines = lines_of(element)
        for child in list(element):
            element.remove(child)
        element.text = NOT_XML.sub(" ", lines[0])
        for line in lines[1:]:
            if line.strip():
                (made := element.makeelement("br")).tail = NOT_XML.sub(" ", line)
                element.append(made)


def raw(element: Any) -> str:
    return "".join(element.itertext()).strip("\n")


def text_of(element: Any) -> str:
    return WHITE.sub(" ", "".join(element.itertext())).strip()


def becomes(element: Any, tag: str, text: str | None = None) -> None:
    """Rename an element, without its attributes but for its style; text: in the place of what it holds."""
    style = element.get("style")
    element.tag = tag
    if text is not None:
        for child in list(element):
            element.remove(child)
        element.text = NOT_XML.sub(" ", text)
    element.attrib.clear()
    if style and tag not in ("span", "div"):
        element.set("style", style)


def field(element: Any) -> None:
    """A field of a form as its value."""
    if element.tag == "wbr":  # the parser knows it not as empty
        element.tag = "span"
    elif element.tag == "textarea":
        becomes(element, "pre")
    elif element.tag == "select":
        options = list(element.iter("option"))
        chosen = [one for one in options if "selected" in one.attrib] or options[:1]
        becomes(element, "span", ", ".join(text_of(one) for one in chosen))
    elif element.tag == "input":
        kind = element.get("type", "text").strip().lower()
        if kind in ("checkbox", "radio"):
            becomes(element, "span", "[x] " if "checked" in element.attrib else "[ ] ")
        elif kind in NO_FIELD:
            remove(element)
        else:
            becomes(element, "span", f" {element.get('value', '')} ")


def definitions(element: Any) -> None:
    """A definition list: "term: definition", further definitions in lines of their own."""
    for term in list(element.iter("dt")):
        value = term.getnext()
        if value is None or value.tag != "dd" or not is_label(term) or not text_of(value):
            continue
        join(term, value)


def items(element: Any) -> None:
    """Entries of lists with a dash, or their number."""
    number = int(start) if re.fullmatch(r"-?\d{1,6}", start := element.get("start", "1").strip()) else 1
    for item in element:
        if item.tag != "li":
            continue
        own = item.get("value", "")
        number = int(own) if re.fullmatch(r"\d{1,6}", own) else number
        mark = f"{number}. " if element.tag == "ol" else "- "
        number += 1
        if text_of(item):
            first = item
            while not (first.text or "").strip() and len(first) and first[0].tag in BLOCKS:
                first = first[0]
            first.text = mark + (first.text or "").lstrip()
        becomes(item, "div")
    becomes(element, "div")


def is_label(element: Any) -> bool:
    text = text_of(element)
    return bool(text) and len(text) <= LONGEST_LABEL and is_one_line(element)


def lines_of(element: Any) -> list[str]:
    """The lines that an element shows, with empty ones between blocks."""
    lines = [element.text or ""]
    for event, one in walk(element):
        if one is element:
            continue
        if one.tag in BLOCKS or (one.tag == "br" and event == "start"):
            lines.append("")
        lines[-1] += (one.text if event == "start" else one.tail) or ""
    return lines


def is_one_line(element: Any) -> bool:
    """Whether an element shows a line at most, and holds no table."""
    if element.find(".//table") is not None or any("\n" in raw(one) for one in element.iter("pre")):
        return False
    return sum(bool(line.strip()) for line in lines_of(element)) < 2


def inline(element: Any) -> None:
    """The element and what is in it as text in one line."""
    for one in element.iter():
        if one.tag in BLOCKS:
            becomes(one, "span")
    becomes(element, "span")


def trim(element: Any) -> None:
    """No blanks at the two ends of an element's text."""
    texts = [(one, "text") if event == "start" else (one, "tail") for event, one in walk(element)]
    texts = texts[:-1]  # its own tail is not in it
    for order, strip in ((texts, str.lstrip), (reversed(texts), str.rstrip)):
        for one, part in order:
            text = strip(getattr(one, part) or "")
            setattr(one, part, text)
            if text:
                break


def walk(element: Any) -> Iterator[tuple[str, Any]]:
    from lxml import etree

    return etree.iterwalk(element, events=("start", "end"))


def join(label: Any, value: Any) -> None:
    """Two elements that follow each other as "label: value" in one line; a value of several lines begins there."""
    shown = text_of(label)
    if is_one_line(value):
        inline(value)
    else:
        first = value
        while not (first.text or "").strip() and len(first) and first[0].tag in BLOCKS:
            first = first[0]
            first.tag = "span"
            for other in list(first.itersiblings())[:1]:
                other.tag = "div" if other.tag in BLOCKS else other.tag
        becomes(value, "span")
    inline(label)
    trim(label)
    trim(value)
    label.tail = " " if shown.endswith(MARKED) else ": "
    wrapper = label.makeelement("div")
    label.addprevious(wrapper)
    wrapper.tail, value.tail = value.tail, None
    wrapper.append(label)
    wrapper.append(value)


def cells_of(row: Any) -> list[Any]:
    return [one for one in row if one.tag in ("td", "th")]


def own_rows(table: Any) -> list[Any]:
    """The rows of a table that are not those of a table within it."""
    groups = ([one] if one.tag == "tr" else one for one in table if one.tag in ("tr", "thead", "tbody", "tfoot"))
    return [row for group in groups for row in group if row.tag == "tr"]


def header_of(all_rows: list[Any]) -> tuple[list[str], Any]:
    """The header of a table of three columns and more, and its row; [] and None where there is none."""
    if len(all_rows) < 2:
        return [], None
    first, cells = all_rows[0], cells_of(all_rows[0])
    marked = first.getparent().tag == "thead" or all(one.tag == "th" for one in cells)
    spans = any(one.get("colspan", "1") != "1" or one.get("rowspan", "1") != "1" for one in cells)
    texts = [text_of(one) for one in cells]
    if len(cells) < 3 or not marked or spans or not all(len(text) <= LONGEST_LABEL for text in texts) or not any(texts):
        return [], None
    if not any(len(cells_of(row)) == len(cells) for row in all_rows[1:]):
        return [], None
    return texts, first


def rows(table: Any) -> None:
    """A table as lines.  A row of two cells is "label: value"; a row of labels and values in turn is several such; in
    wider tables each value has the header of its column, and a line of its own; without a header "; " is between the
    values."""
    all_rows = own_rows(table)
    header, head_row = header_of(all_rows)
    body = [row for row in all_rows if row is not head_row]
    for row in body:
        cells = cells_of(row)
        plain = all(is_one_line(one) and len(text_of(one)) <= LONGEST_CELL for one in cells)
        if len(cells) == 2 and row.find(".//table") is None and is_label(cells[0]) and text_of(cells[1]):
            join(*cells)
        elif header and plain and len(cells) == len(header):
            headed(row, cells, header)
            row.text = None
            if row is not body[-1]:  # a blank line between records
                row.append(row.makeelement("br"))
        elif plain and len(cells) > 3 and len(cells) % 2 == 0 and in_turn(cells):
            for label, value in zip(cells[::2], cells[1::2], strict=True):
                if text_of(value):
                    join(label, value)
                else:
                    becomes(label, "div")
                    becomes(value, "div")
        elif plain and len(cells) > 1:
            in_one_line(row, cells)
        else:
            for one in cells:
                becomes(one, "div")
        becomes(row, "div")
    if head_row is not None:
        remove(head_row)
    for group in [one for one in table if one.tag in ("thead", "tbody", "tfoot", "caption", "colgroup")]:
        becomes(group, "div")
    becomes(table, "div")


def in_turn(cells: list[Any]) -> bool:
    """Whether every other cell is a label: in a th beside a td, or with a colon at its end."""
    labels, values = cells[::2], cells[1::2]
    heads = all(one.tag == "th" for one in labels) and all(one.tag == "td" for one in values)
    return (heads or all(text_of(one).endswith((":", "：")) for one in labels)) and all(map(is_label, labels))


def headed(row: Any, cells: list[Any], header: list[str]) -> None:
    """A row of a wide table: a line for each value, after the header of its column."""
    for head, cell in zip(header, cells, strict=True):
        text = text_of(cell)
        if not text:
            remove(cell)
            continue
        trim(cell)
        inline(cell)
        cell.tag = "div"
        cell.text = f"{head}{' ' if head.endswith(MARKED) else ': '}" * bool(head) + (cell.text or "")
        cell.tail = None


def in_one_line(row: Any, cells: list[Any]) -> None:
    """A row without a header, "; " between its cells."""
    shown = [one for one in cells if text_of(one)]
    for cell in cells:
        if cell not in shown:
            remove(cell)
            continue
        inline(cell)
        trim(cell)
        cell.tail = None if cell is shown[-1] else "; "

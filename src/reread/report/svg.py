"""A matplotlib figure as SVG that stands in a page: its own ids, the page's colours, no metadata."""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

# Stand-ins that no drawing uses otherwise; in the SVG they become the page's colours.
INK, GRID = "#010203", "#040506"
SERIES = tuple(f"#0a0b{number:02x}" for number in range(6))
COLOURS = {INK: "currentColor", GRID: "var(--grid)"} | {name: f"var(--series-{n})" for n, name in enumerate(SERIES)}
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def inline_svg(figure: Any, name: str) -> str:
    """The figure as one svg element.

    Ids are prefixed by `name`, so that several drawings share a page; sizes are left to the page
    (viewBox alone); style sheets inside, which would hold for the whole page, are dropped.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(stream.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            element.set(key.replace(f"{{{XLINK}}}", ""), f"{name}-{value}" if key == "id" else placed(value, name))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("xmlns", SVG)
    root.set("aria-hidden", "true")
    root.set("focusable", "false")
    return ElementTree.tostring(root, encoding="unicode")


def placed(value: str, name: str) -> str:
    """An attribute in the page: references to ids of the drawing prefixed, stand-ins turned into colours."""
    value = re.sub("|".join(COLOURS), lambda found: COLOURS[found.group()], value)
    return re.sub(r"(^|url\()#", rf"\1#{name}-", value)


LIGHT = ("#1b1d20", "#d9dce0", "#0072b2", "#c14f00", "#00795a", "#a34f80", "#8a6500", "#4a4f57")
DARK = ("#e8eaed", "#3a3f46", "#58b4f0", "#ff9357", "#35c79b", "#e59ac5", "#e8b62c", "#c3c8cf")


def picture(figure: Any, name: str) -> str:
    """The figure as an SVG file of its own: a page's light and dark colours (report/page.py), as the reader has it."""

    def colours(values: tuple[str, ...]) -> str:
        series = "".join(f"--series-{number}:{value};" for number, value in enumerate(values[2:]))
        return f"svg{{color:{values[0]};--grid:{values[1]};{series}}}"

    rules = f"{colours(LIGHT)}@media (prefers-color-scheme:dark){{{colours(DARK)}}}"
    text = inline_svg(figure, name).replace(' aria-hidden="true"', "").replace(' focusable="false"', "")
    head, end, rest = text.partition(">")
    return f'{head} font-family="system-ui,DejaVu Sans,sans-serif"{end}<style>{rules}</style>{rest}\n'

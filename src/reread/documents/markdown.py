"""Markdown as the text that its page would show: markdown-it-py makes HTML of it, and documents/html.py text of that.

CommonMark with tables, strikethrough and raw HTML.  A line stays a line, also where Markdown would make one paragraph
of several.  What looks like a tag and is none of HTML ("<name>") is text, as is a "*" between digits.
"""

from __future__ import annotations

import re
from typing import Any

from reread.documents.html import html_text
from reread.errors import MissingPackage

TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9-]*)")
FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?P<fields>.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


def parser() -> Any:
    """The parser.  Raises MissingPackage."""
    try:
        from lxml.html import defs
        from markdown_it import MarkdownIt
        from markdown_it.common.utils import escapeHtml
    except ImportError as error:
        raise MissingPackage("markdown-it-py", "documents") from error
    made = MarkdownIt("commonmark", {"html": True, "breaks": True}).enable(["table", "strikethrough"])
    known = frozenset(defs.tags)

    def html(renderer: Any, tokens: Any, place: int, options: Any, env: Any) -> str:
        content = tokens[place].content
        tag = TAG.match(content.lstrip())
        return escapeHtml(content) if tag and tag[1].lower() not in known else content

    made.inline.ruler.before("emphasis", "product", product)
    made.add_render_rule("html_inline", html)
    made.add_render_rule("html_block", html)
    return made


def product(state: Any, silent: bool) -> bool:
    """A "*" between digits is no mark of emphasis: 3*4*5."""
    at = state.pos
    if state.src[at] != "*" or not state.src[max(0, at - 1) : at].isdigit() or not state.src[at + 1 : at + 2].isdigit():
        return False
    if not silent:
        state.pending += "*"
    state.pos += 1
    return True


def markdown_text(text: str, name: str = "the page") -> str:
    """The text of a Markdown document; fields of a front matter stay as they are.  Raises MissingPackage, BadInput."""
    front = FRONT_MATTER.match(text)
    before = front["fields"] if front else ""
    shown = html_text(parser().render(text[front.end() :] if front else text), name)
    return f"{before}\n{shown}" if before and shown else before + shown

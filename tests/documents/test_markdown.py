"""Markdown as its page would show it."""

import sys
import time

import pytest
from raising import containing, refused

from reread.documents.loaders import source_of
from reread.documents.markdown import markdown_text
from reread.errors import MissingPackage

ASKED = "Early interest: XW-759"


@pytest.mark.parametrize(
    "text",
    [
        "| Field | Value |\n|---|---|\n| Early interest | XW-759 |",
        "Field | Value\n:--|--:\nEarly interest | XW-759\n",
        "| Field          | Value  |\n|:--------------:|--------|\n| **Early interest** | `XW-759` |",
        "| Total area | Early interest | Other |\n|---|---|---|\n| 794 | XW-759 | x |",
        "- **Early interest:** XW-759".replace("- ", ""),
        "**Early interest**: XW-759",
        "*Early interest:* `XW-759`",
        "__Early interest:__ _XW-759_",
        "***Early interest:*** ~~OLD~~ XW-759".replace("~~OLD~~ ", ""),
        "Total area: 794 pieces\nEarly interest: XW-759\nOther: x",
        "Total area: 794 pieces  \nEarly interest: XW-759\\\nOther: x",
        "Early interest: [XW-759](https://example.org/a_b_c)",
        "[Early interest][1]: XW-759\n\n[1]: https://example.org",
        "Early interest&#58;&nbsp;XW-759",
        "Early interest\\: XW\\-759",
        "Early interest: <b>XW-759</b>",
        "<table><tr><td>Early interest<td>XW-759</table>",
        "Early interest: <!-- OLD -->XW-759",
        "Early interest: <span hidden>OLD</span>XW-759",
        "    Early interest: XW-759",
        "```\nTotal area: 794\nEarly interest: XW-759\n```",
        "> Early interest: XW-759",
        "---\nTotal area: 794 pieces\nEarly interest: XW-759\n---\n\n# Title\n",
        "Total area: 794 pieces\r\nEarly interest: XW-759\r\nOther: x\r\n",
        "Total area: 794 pieces\rEarly interest: XW-759\rOther: x",
    ],
)
def test_a_label_and_its_value_stand_on_one_line(text):
    lines = [line.strip() for line in source_of(text.encode(), "a.md").text.split("\n")]
    assert ASKED in lines and "OLD" not in "".join(lines)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# Title\n\nText *here*.\n\nMore\n----\n", "Title\n\nText here.\n\nMore"),
        ("- a\n- **b**: c\n  - d\n", "- a\n- b: c\n- d"),
        ("3. c\n4. d", "3. c\n4. d"),
        ("| A | B \\| b | C |\n|-|-|-|\n| 1 | 2 | 3 |\n| 4 | 5 | 6 |", "A: 1\nB | b: 2\nC: 3\n\nA: 4\nB | b: 5\nC: 6"),
        ("2 * 3 * 4, snake_case_name and 3*4*5 = 2**3", "2 * 3 * 4, snake_case_name and 3*4*5 = 2**3"),
        ("Name: ______ Date: ______", "Name: ______ Date: ______"),
        (r"\*not\* \_this\_ \`nor this\`", "*not* _this_ `nor this`"),
        ("`**kwargs` and ``a`b``", "**kwargs and a`b"),
        ("```py\nx = a**b**c\n    y\n```\n**d**", "x = a**b**c\n    y\n\nd"),
        ("Name: <unknown>, <name@example.org> and <https://example.org/a>",
         "Name: <unknown>, name@example.org and https://example.org/a"),
        ("<placeholder>\n\ntext", "<placeholder>\n\ntext"),
        ("AT&amp;T &lt;b&gt;", "AT&T <b>"),
        ("![alt text](a.png) after", "after"),
        ("---\ntitle: A\n---\n", "title: A\n"),
    ],
)  # fmt: skip
def test_text_is_what_the_page_would_show(text, shown):
    assert markdown_text(text) == shown


def test_without_the_package_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "markdown_it", None)
    with refused(MissingPackage, naming="markdown-it-py", todo=containing("reread[documents]")):
        markdown_text("a")


@pytest.mark.parametrize(
    "part", ["**a ", "*a ", "_a ", "`a ", "[a](b ", "![", "<a ", "| a ", "> ", "- a\n", "``` ", "<!-- "]
)
def test_time_is_in_proportion_to_the_length(part):
    def seconds(times):
        began = time.process_time()
        markdown_text("x" + part * times)
        return time.process_time() - began

    few = min(seconds(500) for _ in range(2))
    assert seconds(4000) < 24 * few + 0.7  # a square would be 64 times

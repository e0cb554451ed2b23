"""The small inputs of ../shared/cases, each with the value that is right (cases.md)."""

from pathlib import Path

import pytest

from reread.documents.loaders import read_source

CASES = Path(__file__).parents[3] / "shared" / "cases"
CASES = CASES if CASES.is_dir() else Path("/work/shared/cases")
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the folder ../shared/cases is not here")


def lines(name: str) -> list[str]:
    return read_source(str(CASES / name)).text.split("\n")


@pytest.mark.parametrize("name", ["lf.txt", "crlf.txt", "t.md", "t_aligned.md", "pre.html"])
def test_a_label_and_its_value_stand_on_one_line(name):
    assert "Early interest: XW-759" in lines(name)
    assert "Total area: 794 pieces" in lines(name) and "Local material: SE-5767" in lines(name)
    assert "|" not in "".join(lines(name))


def test_what_is_hidden_is_not_there():
    assert lines("hidden.html") == ["Price code: XW-759"]


def test_the_values_of_a_filled_form_are_in_the_text():
    found = [line for line in lines("acroform.pdf") if line]
    assert {"Applicant: Roche Diagnostics", "Product code: JMG", "Order number: R981207", "Region: South"} <= set(found)
    assert {"Governing law: England and Wales", "Renewal: Yes"} <= set(found)


def test_label_and_value_drawn_apart_are_one_line():
    found = [line for line in lines("columns_label_value.pdf") if line]
    assert found == [
        "Applicant: Roche Diagnostics",
        "Product code: JMG",
        "Order number: R981207",
        "Governing law: England and Wales",
    ]

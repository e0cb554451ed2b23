"""Where an answer stands in a text, word for word."""

import pytest

from reread.prompting import verbatim_span

TEXT = "Total due: $2,450.00\nPaid by  Anna\n  Smith, Annapolis (MD). Total due again."


@pytest.mark.parametrize(
    ("answer", "stands"),
    [
        ("Total due", "Total due"),
        ("$2,450.00", "$2,450.00"),
        ("Anna Smith", "Anna\n  Smith"),
        ("  Anna\tSmith ", "Anna\n  Smith"),
        ("(MD)", "(MD)"),
        ("Annapolis (MD).", "Annapolis (MD)."),
        ("anna Smith", None),
        ("nna Smith", None),
        ("Anna Smi", None),
        ("Anna, Smith", None),
        ("", None),
        ("  ", None),
    ],
)
def test_the_first_place_as_whole_words(answer, stands):
    span = verbatim_span(answer, TEXT)
    assert span is None if stands is None else TEXT[slice(*span)] == stands


def test_a_part_of_a_word_is_passed_over_for_the_word_behind_it():
    assert verbatim_span("Ann", "Anna and Ann") == (9, 12)
    assert verbatim_span("total", "subtotal 3, total 4") == (12, 17)
    assert verbatim_span("Total due", TEXT) == (0, 9)


def test_special_characters_are_no_pattern():
    assert verbatim_span("a.c", "abc a.c") == (4, 7)
    assert verbatim_span("(.*)", "x (.*) y") == (2, 6)

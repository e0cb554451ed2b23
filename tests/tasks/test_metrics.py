"""Scorers."""

import pytest

from reread.tasks.metrics import contains, exact, f1


@pytest.mark.parametrize(
    ("prediction", "answers"),
    [
        ("the 1870s.", ["1870s "]),
        ("New York City", ["New  York"]),
        ("New York\nCity", [" new york city\t"]),
        ("a\xa0b", ["a b"]),
    ],
)
def test_contains_does_not_count_white_space(prediction, answers):
    assert contains(prediction, answers) == 1.0


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        ("made by ROCHE Diagnostics.", ["Roche diagnostics"], 1.0),
        ("Roche", ["Roche Diagnostics"], 0.0),
        ("a (b) c", ["(B)"], 1.0),
        ("two", ["one", "two"], 1.0),
        ("axc", ["a.c"], 0.0),
        ("ab", ["a b"], 0.0),
        ("anything", [" "], 0.0),
        ("anything", [], 0.0),
    ],
)
def test_contains_is_a_literal_case_insensitive_substring(prediction, answers, score):
    assert contains(prediction, answers) == score


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        ("the Cat", ["a cat!"], 1.0),
        ("red cat", ["red dog"], 0.5),
        ("x", ["y"], 0.0),
        ("", ["y"], 0.0),
        ("one two", ["three", "one two"], 1.0),
    ],
)
def test_f1_is_squads(prediction, answers, score):
    assert f1(prediction, answers) == pytest.approx(score)


@pytest.mark.parametrize(
    ("prediction", "answers", "f1_score", "exact_score"),
    [
        (" The  cat. ", ["cat"], 1.0, 1.0),
        ("a the an", ["."], 1.0, 1.0),  # nothing is left of either
        ("a", ["cat"], 0.0, 0.0),
        ("cat cat", ["cat"], 2 / 3, 0.0),
        ("cat", ["dog", "cat dog", "Cat"], 1.0, 1.0),
        ("catalogue", ["cat"], 0.0, 0.0),
    ],
)
def test_exact_and_f1_compare_squads_tokens(prediction, answers, f1_score, exact_score):
    assert f1(prediction, answers) == pytest.approx(f1_score)
    assert exact(prediction, answers) == exact_score

"""Scorers and intervals."""

import math

import pytest

from reread.tasks.metrics import contains, exact, f1, interval


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


def test_the_interval_holds_the_mean_and_shrinks_with_n():
    mean, low, high = interval([0.0, 1.0] * 20)
    assert low < mean == 0.5 < high
    _, low2, high2 = interval([0.0, 1.0] * 2000)
    assert high2 - low2 < (high - low) / 5


def test_the_interval_matches_the_binomial_error():
    _, low, high = interval([1.0] * 300 + [0.0] * 700)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.3 * 0.7 / 1000), rel=0.1)


def test_questions_of_one_document_count_as_one_when_they_agree():
    values = [1.0] * 30 + [0.0] * 70
    _, low, high = interval(values)
    repeated, names = [x for x in values for _ in range(5)], [i for i in range(100) for _ in range(5)]
    _, low5, high5 = interval(repeated, names)
    assert high5 - low5 == pytest.approx(high - low, rel=0.1)
    _, low_alone, high_alone = interval(repeated)
    assert high_alone - low_alone < 0.6 * (high5 - low5)


def test_values_all_alike_still_have_an_interval():
    mean, low, high = interval([0.0] * 100)
    assert mean == low == 0.0
    assert high == pytest.approx(1.96**2 / (100 + 1.96**2))
    mean, low, high = interval([1.0] * 100)
    assert mean == high == 1.0 and low == pytest.approx(1 - 1.96**2 / (100 + 1.96**2))
    mean, low, high = interval([0.0] * 100, worst=-1.0)
    assert mean == 0.0 and -low == high == pytest.approx(1.96**2 / (100 + 1.96**2))


def test_no_values_give_no_number():
    assert all(math.isnan(x) for x in interval([]))

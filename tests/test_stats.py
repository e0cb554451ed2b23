"""Estimates, intervals and tests give what their definitions and published examples say."""

import math

import pytest

from reread.stats import (
    mean_interval,
    mean_of_means,
    measure_interval,
    median_interval,
    newcombe,
    quartiles,
    ratio_interval,
    sign_test,
    t_interval,
    wilson,
)


def test_the_interval_holds_the_mean_and_shrinks_with_n():
    mean, low, high = mean_interval([0.0, 1.0] * 20)
    assert low < mean == 0.5 < high
    _, low2, high2 = mean_interval([0.0, 1.0] * 2000)
    assert high2 - low2 < (high - low) / 5


def test_the_interval_matches_the_binomial_error():
    _, low, high = mean_interval([1.0] * 300 + [0.0] * 700)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.3 * 0.7 / 1000), rel=0.1)


def test_questions_of_one_document_count_as_one_when_they_agree():
    values = [1.0] * 30 + [0.0] * 70
    _, low, high = mean_interval(values)
    repeated, names = [x for x in values for _ in range(5)], [i for i in range(100) for _ in range(5)]
    _, low5, high5 = mean_interval(repeated, names)
    assert high5 - low5 == pytest.approx(high - low, rel=0.1)
    _, low_alone, high_alone = mean_interval(repeated)
    assert high_alone - low_alone < 0.6 * (high5 - low5)


def test_values_that_are_all_equal_have_an_interval():
    mean, low, high = mean_interval([0.0] * 100)
    assert mean == low == 0.0
    assert high == pytest.approx(1.96**2 / (100 + 1.96**2))
    mean, low, high = mean_interval([1.0] * 100)
    assert mean == high == 1.0 and low == pytest.approx(1 - 1.96**2 / (100 + 1.96**2))
    mean, low, high = mean_interval([0.0] * 100, worst=-1.0)
    assert mean == 0.0 and -low == high == pytest.approx(1.96**2 / (100 + 1.96**2))


def test_no_values_give_no_number():
    assert all(math.isnan(x) for x in mean_interval([]))


def test_a_mean_of_means_of_values_that_are_all_equal_has_an_interval():
    value = mean_of_means([([0.0] * 5, range(5)), ([0.0] * 5, range(5))])
    assert value.mean == value.low == 0.0 < value.high < 0.4


def test_documents_and_not_questions_are_drawn_for_a_mean_of_means():
    values = [1.0] * 10 + [0.0] * 10
    few, many = [i // 10 for i in range(20)], range(20)
    wide, narrow = (mean_of_means([(values, groups), (values, groups)]) for groups in (few, many))
    assert (wide.low, wide.high) == (0.0, 1.0)
    assert 0.3 < narrow.low < 0.4 and 0.6 < narrow.high < 0.7


def test_a_mean_of_one_part_is_that_of_mean_interval():
    values, groups = [0.0, 1.0, 1.0, 0.0, 1.0], [0, 0, 1, 2, 2]
    assert mean_of_means([(values, groups)]) == pytest.approx(mean_interval(values, groups))


def test_a_ratio_with_equal_bottoms_is_a_mean_over_them():
    tops = [3.0, 1.0, 4.0, 1.0, 5.0]
    ratio, mean = ratio_interval(tops, [2.0] * 5), mean_interval(tops)
    assert ratio == pytest.approx([x / 2 for x in mean])
    assert ratio_interval([3.0], [2.0]) == (1.5, None, None)


def test_a_measure_that_is_a_mean_has_about_the_interval_of_a_mean():
    values, groups = [float(i % 3 == 0) for i in range(200)], [i // 2 for i in range(200)]
    found = measure_interval(groups, lambda places: sum(values[i] for i in places) / len(places))
    assert found == pytest.approx(mean_interval(values, groups), abs=0.01)
    assert found == measure_interval(groups, lambda places: sum(values[i] for i in places) / len(places))


def test_resamples_without_a_value_are_left_out():
    found = measure_interval([0, 1], lambda places: float(places[0]) if set(places) == {0, 1} else math.nan)
    assert (found.low, found.high) == (0.0, 1.0)


def test_students_interval():
    """The 97.5 % points are those of printed tables."""
    for n, point in ((2, 12.706), (3, 4.303), (10, 2.262), (17, 2.1199), (1001, 1.9623)):
        values = [float(i % 2) for i in range(n)]
        found = t_interval(values)
        mean = sum(values) / n
        half = point * math.sqrt(sum((x - mean) ** 2 for x in values) / (n - 1) / n)
        assert found == pytest.approx((mean, mean - half, mean + half), rel=1e-3)
    assert t_interval([3.0]) == (3.0, None, None)


def test_wilsons_and_newcombes_intervals():
    half = wilson(50, 100)
    assert (round(half.low, 3), round(half.high, 3)) == (0.404, 0.596)
    assert wilson(0, 100).low == 0 and 0.03 < wilson(0, 100).high < 0.04
    difference = newcombe(wilson(56, 70), wilson(48, 80))  # Newcombe 1998, table II (a): 0.0524, 0.3339
    assert difference.mean == pytest.approx(0.2)
    assert (round(difference.low, 3), round(difference.high, 3)) == (0.052, 0.334)


def test_the_interval_of_a_median():
    assert median_interval([3.0]) == (3.0, 3.0, 3.0)
    assert median_interval([1, 2, 3, 4, 50]) == (3, 1, 50)
    assert median_interval(range(9)) == (4, 1, 7)  # 2 (1 + 9) / 512 = 3.9 %
    assert median_interval(range(12)) == (5.5, 2, 9)  # 2 (1 + 12 + 66) / 4096 = 3.9 %


def test_quartiles_lie_between_order_statistics():
    assert quartiles([4.0, 1.0, 2.0, 3.0]) == (2.5, 1.75, 3.25)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)


@pytest.mark.parametrize(
    ("up", "down", "p"), [(0, 0, 1.0), (1, 0, 1.0), (5, 1, 0.21875), (10, 0, 2 / 1024), (3, 3, 1.0), (2000, 0, 0.0)]
)
def test_the_sign_test_is_the_exact_binomial_one(up, down, p):
    assert sign_test(up, down) == sign_test(down, up) == pytest.approx(p, abs=1e-12)

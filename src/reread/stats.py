"""Estimates with 95 % intervals, and tests.  Pure functions of numbers; every report takes its figures from here.

Questions about one document are not independent, so what is resampled is the document: the cluster bootstrap (Davison
and Hinkley 1997, section 3.8) with percentile intervals.  A difference is a mean of paired differences.  scipy is
imported where it is used, since its import takes about half a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
MEASURE_RESAMPLES = 1000  # of a measure that is a Python function of each resample
PERCENTILES = (2.5, 97.5)
Z = 1.96  # of Wilson's interval


class Estimate(NamedTuple):
    """A value and its 95 % interval; low and high are None where there is nothing to estimate it from."""

    mean: float
    low: float | None
    high: float | None

    def record(self) -> dict[str, float | None]:
        return self._asdict()


class Interval(NamedTuple):
    """A value and its 95 % interval."""

    mean: float
    low: float
    high: float

    def record(self) -> dict[str, float]:
        return self._asdict()


# bootstrap over documents -------------------------------------------------------------------------------------------


def sums_of(values: Sequence[float], groups: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count of the values (n,) of each group, both (groups,), in order of appearance."""
    number: dict[Hashable, int] = {}
    places = [number.setdefault(name, len(number)) for name in groups]
    return np.bincount(places, weights=np.asarray(values, dtype=np.float64)), np.bincount(places)


def resampled_ratios(top: np.ndarray, bottom: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Sum of top over sum of bottom, both (groups,), in RESAMPLES resamples of groups: (RESAMPLES,)."""
    drawn = draw.integers(len(top), size=(RESAMPLES, len(top)))
    return top[drawn].sum(axis=1) / bottom[drawn].sum(axis=1)


def percentiles(found: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(found, PERCENTILES)
    return float(low), float(high)


def without_spread(mean: float, groups: int, worst: float) -> Interval:
    """The interval where no resample differs: Wilson's for so many groups of one value, between `worst` and 1."""
    share = Z**2 / (groups + Z**2)
    return Interval(mean, mean - share * (mean - worst), mean + share * (1.0 - mean))


def mean_interval(values: Sequence[float], groups: Sequence[Hashable] | None = None, *, worst: float = 0.0) -> Interval:
    """Mean of the values (n,) with its interval; nan without values.

    groups: the document of each value (n,); None where every value is a document.  worst: the lowest value that is
    possible, -1 for differences of shares; it bounds the interval of values that are all equal.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    sums, counts = sums_of(values, range(data.size) if groups is None else groups)
    mean = float(data.mean())
    if data.min() == data.max():
        return without_spread(mean, len(counts), worst)
    return Interval(mean, *percentiles(resampled_ratios(sums, counts, np.random.default_rng(0))))


def mean_of_means(parts: Sequence[tuple[Sequence[float], Sequence[Hashable]]], *, worst: float = 0.0) -> Interval:
    """The mean of the parts' means, each part with equal weight, and its interval.

    parts: values (n,) and their documents (n,) of each.  Documents are resampled within a part; the parts are not.
    """
    draw = np.random.default_rng(0)
    total, mean, n = np.zeros(RESAMPLES), 0.0, 0
    for values, groups in parts:
        sums, counts = sums_of(values, groups)
        total += resampled_ratios(sums, counts, draw) / len(parts)
        mean, n = mean + float(np.mean(values)) / len(parts), n + len(counts)
    if np.ptp(total) < 1e-12:
        return without_spread(mean, n, worst)
    return Interval(mean, *percentiles(total))


def ratio_interval(tops: Sequence[float], bottoms: Sequence[float]) -> Estimate:
    """Sum of tops over sum of bottoms, both (documents,), with its interval; None for a single document."""
    top, bottom = np.asarray(tops, dtype=np.float64), np.asarray(bottoms, dtype=np.float64)
    mean = float(top.sum() / bottom.sum())
    if len(top) < 2:
        return Estimate(mean, None, None)
    return Estimate(mean, *percentiles(resampled_ratios(top, bottom, np.random.default_rng(0))))


def measure_interval(groups: Sequence[Hashable], measure: Callable[[Sequence[int]], float]) -> Interval:
    """A measure of the places of samples, with its interval.  groups: the document of each sample (n,).

    Resamples for which the measure is nan are left out.
    """
    places: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    held, draw = list(places.values()), np.random.default_rng(0)
    found = []
    for _ in range(MEASURE_RESAMPLES):
        drawn = np.concatenate([held[i] for i in draw.integers(len(held), size=len(held))])
        found.append(measure(drawn.tolist()))
    low, high = np.nanpercentile(found, PERCENTILES)
    return Interval(measure(range(len(groups))), float(low), float(high))


# other intervals ----------------------------------------------------------------------------------------------------


def t_interval(values: Sequence[float]) -> Estimate:
    """Mean of independent runs (n,) with Student's interval; None for a single one."""
    from scipy.stats import t

    mean = fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None)
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def wilson(right: float, n: int) -> Interval:
    """A share, right of n, with Wilson's interval.  right may be a sum of parts."""
    mean, middle = right / n, (right + Z * Z / 2) / (n + Z * Z)
    reach = Z / (n + Z * Z) * math.sqrt(right * (n - right) / n + Z * Z / 4)
    return Interval(mean, min(mean, middle - reach), max(mean, middle + reach))


def newcombe(one: Interval, other: Interval) -> Interval:
    """Difference of two independent shares with its interval (Newcombe 1998, method 10)."""
    mean = one.mean - other.mean
    below = math.hypot(one.mean - one.low, other.high - other.mean)
    above = math.hypot(one.high - one.mean, other.mean - other.low)
    return Interval(mean, mean - below, mean + above)


def median_interval(values: Sequence[float]) -> Interval:
    """Median, and the narrowest pair of order statistics, equally far from either end, that holds the true median with
    95 % or more (binomial with p = 1/2); with fewer than 6 values the lowest and the highest."""
    from scipy.stats import binom

    ordered, n = sorted(values), len(values)
    outer = 0
    while 2 * (outer + 1) < n and 2 * binom.cdf(outer + 1, n, 0.5) <= 0.05:
        outer += 1
    return Interval((ordered[(n - 1) // 2] + ordered[n // 2]) / 2, ordered[outer], ordered[n - 1 - outer])


def quartiles(values: Sequence[float]) -> Interval:
    """Median, and the first and third quartile, between order statistics linearly."""
    low, mean, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Interval(float(mean), float(low), float(high))


# tests --------------------------------------------------------------------------------------------------------------


def sign_test(up: int, down: int) -> float:
    """Two-sided p of the exact sign test; 1.0 where nothing differs."""
    from scipy.stats import binomtest

    return float(binomtest(up, up + down).pvalue) if up + down else 1.0


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The share of (positive, negative) pairs in which the positive has the higher score, ties half; nan without pairs.

    scores (n,), positive (n,) of bool.  It is Mann and Whitney's U over the number of pairs.
    """
    from scipy.stats import rankdata

    many, few = int(positive.sum()), int((~positive).sum())
    if not many or not few:
        return math.nan
    return float((rankdata(scores)[positive].sum() - many * (many + 1) / 2) / (many * few))

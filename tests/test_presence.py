"""The presence score, its calibration and its threshold."""

from dataclasses import replace

import numpy as np
import pytest
from raising import containing, refused

from reread.calibration import Judged
from reread.errors import BadInput
from reread.presence import MOST_FOUND, fit_presence, isotonic, presence_score, probability, says_absent


@pytest.mark.parametrize("text", ["not found", "Not found.", " NOT  FOUND", "", "--", "_"])
def test_answers_that_say_that_there_is_none(text):
    assert says_absent(text) and presence_score(text, 0.9) == 0.0


@pytest.mark.parametrize("text", ["not found in 1999", "found", "0", "notfound"])
def test_answers_that_say_something(text):
    assert not says_absent(text)
    assert presence_score(text, 0.9) == 0.9 and presence_score(text, 0.9, 0.5) == pytest.approx(0.45)


def test_an_answer_that_was_cut_is_never_found():
    assert presence_score("a value", 0.9, 0.1, ended=False) == 0.0


def draws(n, seed=0):
    """Answers of which score * score are right; a third of the others are of absent questions."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.01, 1, n).round(2)  # with ties
    right = rng.random(n) < scores**2
    present = right | (rng.random(n) < 2 / 3)
    return [
        Judged(float(s), bool(r), bool(p), f"d{i // 4}")
        for i, (s, r, p) in enumerate(zip(scores, right, present, strict=True))
    ]


def test_blocks_are_those_of_scipys_isotonic_regression():
    optimize = pytest.importorskip("scipy.optimize", reason="needs scipy")
    told = draws(300)
    scores, right = np.array([one.confidence for one in told]), np.array([float(one.right) for one in told])
    levels = np.unique(scores)
    means = [right[scores == level].mean() for level in levels]
    theirs = optimize.isotonic_regression(means, weights=[(scores == level).sum() for level in levels]).x
    points, shares = isotonic(scores, right)
    blocks = np.unique(theirs.round(9))
    np.testing.assert_allclose(shares, blocks, atol=1e-8)
    centres = [scores[np.isin(scores, levels[np.isclose(theirs, block)])].mean() for block in blocks]
    np.testing.assert_allclose(points, centres, atol=1e-8)


def test_a_calibration_gives_probabilities_and_a_threshold_that_few_absent_questions_reach():
    fit = fit_presence(draws(4000))
    assert np.all(np.diff(fit["score"]) > 0) and np.all(np.diff(fit["probability"]) > 0)
    grid = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(probability(fit, grid), grid**2, atol=0.08)
    assert probability(fit, np.array([0.0])) == 0.0
    for told, most in ((draws(4000), MOST_FOUND), (draws(4000, seed=1), 1.5 * MOST_FOUND)):
        found = probability(fit, np.array([one.confidence for one in told])) >= fit["threshold"]
        absent = np.array([not one.present for one in told])
        assert 0.5 * MOST_FOUND < found[absent].mean() <= most


def test_answers_not_found_count_as_absent_questions_that_are_not_found():
    """They have no part in the probabilities, and more of them allow a lower threshold."""
    told = draws(4000)
    silent = [Judged(0.0, False, False, "silent")] * 2000
    fit, more = fit_presence(told), fit_presence([*told, *silent])
    assert fit["score"] == more["score"] and fit["probability"] == more["probability"]
    assert more["threshold"] < fit["threshold"]


def test_too_few_answers_are_refused():
    told = draws(400)
    with refused(BadInput, got=containing("0 right"), allowed=containing("10", "20")):
        fit_presence([replace(one, right=False) for one in told])
    with refused(BadInput, got=containing("0 absent"), allowed=containing("10", "20")):
        fit_presence([replace(one, present=True) for one in told])


def test_scores_that_tell_nothing_are_refused():
    even = [Judged(0.5, i % 2 == 0, i % 2 == 0, f"d{i}") for i in range(100)]
    with refused(BadInput, got=containing("50")):
        fit_presence(even)

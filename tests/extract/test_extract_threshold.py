"""AUROC, curves and thresholds are what their definitions say, and a threshold is never another model's."""

import itertools
import json

import numpy as np
import pytest
from raising import containing, refused

from reread.calibration import ASSET, Judged, areas, at, calibrations, curve, fit, save, threshold_of
from reread.errors import BadInput
from reread.extract_bench import fit_threshold
from reread.runlog import Run
from reread.stats import auroc


def drawn(n=80, seed=0):
    """Answers whose confidence tells something: present ones 0.2 higher in the mean."""
    draw = np.random.default_rng(seed)
    found = []
    for i in range(n):
        present = bool(i % 2)
        right = present and bool(draw.random() < 0.7)
        sure = float(np.clip(draw.normal(0.4 + 0.3 * right, 0.15), 0, 1))
        found.append(Judged(round(sure, 2), right, present, f"d{i // 8}"))
    return found


def test_auroc_is_the_share_of_pairs_in_order():
    judged = drawn()
    sure = np.array([one.confidence for one in judged])
    right = np.array([one.right for one in judged])
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(sure[right], sure[~right])]
    assert auroc(sure, right) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auroc(np.array([1.0, 0.0]), np.array([True, False])) == 1.0
    assert np.isnan(auroc(np.array([1.0]), np.array([True])))
    told = areas(judged)["right"]
    assert told["low"] < told["mean"] < told["high"] and told["mean"] == pytest.approx(auroc(sure, right))


def test_the_fitted_threshold_has_the_largest_difference_of_shares_kept():
    judged = drawn()
    best = fit(judged)

    def gain(limit):
        kept = {r: np.mean([one.confidence >= limit for one in judged if one.right == r]) for r in (True, False)}
        return kept[True] - kept[False]

    assert gain(best) == pytest.approx(max(gain(limit) for limit in np.linspace(0, 1, 1001)))
    assert fit([Judged(0.9, True, True, "a"), Judged(0.5, False, False, "a")]) == pytest.approx(0.7)
    with refused(BadInput, got="0 of 1 right"):
        fit([Judged(0.9, False, True, "a")])


def test_what_a_threshold_keeps_is_counted():
    judged = [
        Judged(0.9, True, True, "a"),
        Judged(0.8, False, True, "a"),
        Judged(0.7, False, False, "b"),
        Judged(0.2, False, False, "b"),
    ]
    told = at(judged, 0.7)
    got = [told[name]["mean"] for name in ("coverage", "risk", "recall", "kept of removed")]
    assert got == pytest.approx([3 / 4, 2 / 3, 1 / 2, 1 / 2])
    assert at(judged, 0.95)["risk"] is None
    points = curve(judged, 4)
    assert [(p["coverage"], round(p["risk"], 3)) for p in points] == [(0.25, 0), (0.5, 0.5), (0.75, 0.667), (1, 0.75)]


def test_a_threshold_is_found_by_model_reading_and_the_nearest_budget(tmp_path):
    told = {"fingerprint": "m", "reading": "shared", "threshold": 0.25, "task": "t", "budget": 512}
    told["fitted on"] = {"answers": 7}
    file = tmp_path / "new" / "t.json"
    save(file, told)
    save(file, {**told, "reading": "schema", "threshold": 0.5})
    save(file, {**told, "threshold": 0.75})
    assert [(one["reading"], one["threshold"]) for one in calibrations(file)] == [("schema", 0.5), ("shared", 0.75)]
    assert threshold_of(str(file), "m", "schema", 512) == (0.5, "fitted on 7 answers of t at 512 tokens")
    assert threshold_of(str(file), "m", "schema", 1024)[1] == "fitted on 7 answers of t at 512 tokens, not at 1,024"
    save(file, {**told, "threshold": 0.125, "budget": 1024})
    assert [threshold_of(str(file), "m", "shared", n)[0] for n in (64, 767, 1000, 9000)] == [0.75, 0.75, 0.125, 0.125]
    assert threshold_of(str(file), "m", "shared", 1024)[1] == "fitted on 7 answers of t at 1,024 tokens"
    with refused(BadInput, got=containing("t.json: other, schema")):
        threshold_of(str(file), "other", "schema", 512)
    assert threshold_of(None, "other", "schema", 512)[0] == 0.0
    assert threshold_of("0.3", "m", "shared", 512) == (0.3, "as given")
    for wrong in ("1.5", "-1", "nan", "none.json"):
        with pytest.raises(BadInput):
            threshold_of(wrong, "m", "shared", 512)
    (tmp_path / "one.json").write_text(json.dumps(told))
    assert threshold_of(str(tmp_path / "one.json"), "m", "shared", 512)[0] == 0.25
    (tmp_path / "bad.json").write_text(json.dumps([{"threshold": 3}]))
    with refused(BadInput, got=containing("bad.json")):
        threshold_of(str(tmp_path / "bad.json"), "m", "shared", 512)


def test_a_threshold_parts_confidences_that_are_nearly_one():
    judged = [Judged(c, c > 0.99998, True, str(c)) for c in (0.999991, 0.999993, 0.999972, 0.3)]
    assert 0.999972 < fit(judged) <= 0.999991
    assert fit([Judged(0.9, True, True, "a"), Judged(0.4, False, True, "b")]) == 0.65


def test_a_threshold_needs_documents_to_be_told_of(tmp_path):
    run = Run.start(tmp_path / "run", "confidence", {"model": "m"})
    run.append({"document": "one"})
    with refused(BadInput, got=1, naming="documents"):
        fit_threshold(run)


def test_the_packages_threshold_is_of_the_embedded_model():
    from reread.models import load

    limit, source = threshold_of(None, load("embedded").model.fingerprint, "shared", 512)
    assert 0 < limit < 1 and "fda-aside" in source and len(calibrations(ASSET)) >= 1

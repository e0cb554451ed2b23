"""Calibrations in an adapter's manifest: read, refused, and what they give."""

import math

import pytest
from raising import refused

from reread.errors import BadCheckpoint
from reread.models.confidence import Calibration, read_calibrations
from reread.models.lora import Manifest, read_manifest

GOOD = {"score": [0.1, 0.5, 0.9], "probability": [0.0, 0.2, 1], "threshold": 0.4}


def test_between_breakpoints_it_is_linear_and_outside_constant():
    found = read_calibrations({"field": GOOD, "documents": 3}, "m")
    assert set(found) == {"field"} and found["field"].threshold == 0.4
    at = found["field"].at
    scores = [-1.0, 0.1, 0.3, 0.5, 0.7, 0.9, 2.0]
    assert [at(score) for score in scores] == pytest.approx([0, 0, 0.1, 0.2, 0.6, 1, 1])
    assert math.isnan(at(math.nan))
    assert Calibration((0.5,), (0.3,), 0.0).at(0.1) == Calibration((0.5,), (0.3,), 0.0).at(0.9) == 0.3


def test_none_is_no_calibration():
    assert read_calibrations(None, "m") == {} and Manifest().calibrations == {}


@pytest.mark.parametrize(
    "change",
    [
        {"score": [0.1, 0.5]},
        {"score": [0.1, 0.1, 0.9]},
        {"score": [0.9, 0.5, 0.1]},
        {"score": [0.1, 0.5, float("nan")]},
        {"score": "0.1"},
        {"probability": [0, 0.5, 1.1]},
        {"probability": [0, True, 1]},
        {"probability": [0, -0.1, 1]},
        {"score": [], "probability": []},
        {"threshold": None},
        {"threshold": 2},
        {"threshold": "0.4"},
    ],
)
def test_what_is_no_calibration_is_refused(change):
    with refused(BadCheckpoint, naming=("question", "m.json")):
        read_calibrations({"field": GOOD, "question": {**GOOD, **change}}, "m.json")


@pytest.mark.parametrize("found", [[], {}, 3, {"fields": GOOD}, {"field": None}, {"field": [1]}])
def test_another_shape_is_refused(found):
    with refused(BadCheckpoint, naming="m.json"):
        read_calibrations(found, "m.json")


def test_it_is_checked_when_the_manifest_is_read(tmp_path):
    manifest = Manifest(template="reader", calibration={"field": GOOD})
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    assert read_manifest(tmp_path).calibrations == read_calibrations({"field": GOOD}, "m")
    (tmp_path / "manifest.json").write_text(Manifest(calibration={"field": {**GOOD, "threshold": 3}}).to_json())
    with refused(BadCheckpoint, naming=tmp_path):
        read_manifest(tmp_path)

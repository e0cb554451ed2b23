"""The helper `refused` must fail where an error is not the expected one; otherwise no test of an error can fail."""

import pytest
from raising import containing, refused

from reread.errors import BadInput, MissingData, StoreTrouble, UnknownName

ERROR = BadInput("the width of a.json is wrong", got=5, allowed=[6, 7])


@pytest.mark.parametrize(
    "fields",
    [
        {"got": 5},
        {"got": "5", "allowed": "[6, 7]"},
        {"got": 5, "allowed": containing(6, 7), "todo": ""},
        {"allowed": lambda value: 6 in value},
        {"naming": "a.json"},
        {"naming": ("Width", 5)},
    ],
)
def test_the_expected_error_passes(fields):
    with refused(BadInput, **fields) as caught:
        raise ERROR
    assert caught.value is ERROR


@pytest.mark.parametrize(
    "fields",
    [
        {"got": 4},
        {"got": None},
        {"got": containing("55")},
        {"got": 5, "allowed": [6]},
        {"allowed": lambda value: 5 in value},
        {"got": 5, "todo": containing("6")},
        {"naming": "b.json"},
        {"naming": ("a.json", "height")},
    ],
)
def test_another_value_fails(fields):
    with pytest.raises(pytest.fail.Exception), refused(BadInput, **fields):
        raise ERROR


@pytest.mark.parametrize("error", [StoreTrouble("a subclass", got=5), None])
def test_a_subclass_or_nothing_fails(error):
    with pytest.raises(pytest.fail.Exception), refused(BadInput, got=5):
        if error:
            raise error


@pytest.mark.parametrize("error", [MissingData("another class", got=5), ValueError(5)])
def test_another_class_passes_through(error):
    with pytest.raises(type(error)), refused(BadInput, got=5):
        raise error


@pytest.mark.parametrize("fields", [{}, {"naming": ""}, {"naming": ("a", "")}])
def test_an_expectation_that_every_error_meets_is_no_expectation(fields):
    with pytest.raises(TypeError):
        refused(UnknownName, **fields)
    with pytest.raises(ValueError, match="every value"):
        containing("")
    with pytest.raises(TypeError):
        refused(ValueError, got=5)

"""Parameters of tests that only `make slow` uses."""

import pytest


def slow(*values):
    """Each value (a tuple: one per argument) as a parameter with the marker slow."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow) for value in values
    ]

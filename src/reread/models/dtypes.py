"""In which dtypes a state can be kept; packing.py says how.  Needs no torch."""

from __future__ import annotations

from reread.errors import UnknownName

LEVELS = {"int8": 127, "int4": 7}  # the largest whole number of each
STATE_DTYPES = ("fp32", "bf16", *LEVELS)


def check_state_dtype(name: str) -> str:
    """The name itself.  Raises UnknownName."""
    if name not in STATE_DTYPES:
        raise UnknownName("dtype of states", name, STATE_DTYPES)
    return name

"""In which dtypes a state can be kept (packing.py says how) and a model can be loaded.  Needs no torch."""

from __future__ import annotations

from typing import Any

from reread.errors import UnknownName

LEVELS = {"int8": 127, "int4": 7}  # the largest whole number of each
STATE_DTYPES = ("fp32", "bf16", *LEVELS)
MODEL_DTYPES = ("fp32", "bf16")


def check_state_dtype(name: str) -> str:
    """The name itself.  Raises UnknownName."""
    if name not in STATE_DTYPES:
        raise UnknownName("dtype of states", name, STATE_DTYPES)
    return name


def own_state_dtype(model: Any) -> str:
    """The dtype that a model's states are kept in where none is named: its `state_dtype`, else fp32."""
    return getattr(model, "state_dtype", "fp32")


def check_model_dtype(name: str | None) -> None:
    """Raise UnknownName for a dtype that no model is loaded in; None stands for the model's own choice."""
    if name is not None and name not in MODEL_DTYPES:
        raise UnknownName("dtype of models", name, MODEL_DTYPES)

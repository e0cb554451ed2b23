"""reread: in-context recall with recurrent language models.

    import reread
    answer = reread.ask(open("contract.txt").read(), "Governing law")

Importing this package imports nothing else: every name is imported when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it as true; importing it from typing would cost time
if TYPE_CHECKING:
    from typing import Any

    from reread.engine import Reader
    from reread.errors import BadCheckpoint, BadInput, BadState, MissingData, MissingPackage, RereadError, UnknownName
    from reread.models import load
    from reread.models.state import State
    from reread.prompting import Prompt

__version__ = "0.1.0.dev0"
__all__ = [
    "BadCheckpoint",
    "BadInput",
    "BadState",
    "MissingData",
    "MissingPackage",
    "Prompt",
    "Reader",
    "RereadError",
    "State",
    "UnknownName",
    "ask",
    "load",
]

_ERRORS = ("BadCheckpoint", "BadInput", "BadState", "MissingData", "MissingPackage", "RereadError", "UnknownName")
_LAZY = {
    **dict.fromkeys(_ERRORS, "reread.errors"),
    "Prompt": "reread.prompting",
    "load": "reread.models",
    "Reader": "reread.engine",
    "State": "reread.models.state",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'reread' has no attribute {name!r}")


def ask(
    document: str, question: str, *, model: str | None = None, strategy: str = "once", budget: int | None = None
) -> str:
    """The answer to one question (or the value of one field) of a document, with a model by name or folder
    (None: `smollm2`, or what the environment variable REREAD_MODEL names).

    At most `budget` tokens of the document are shown (per copy; None: what the model's positions hold), from its
    beginning; a UserWarning says what was left out.  For many questions, confidence, tokens and seconds use Reader.
    """
    import warnings

    from reread.engine import Reader
    from reread.models import load

    answer, prompt = Reader(load(model)).ask(document, question, strategy=strategy, budget=budget)
    if prompt.cut and prompt.cut.says():
        warnings.warn(prompt.cut.says(), stacklevel=2)
    return answer.text

"""`refused`: `pytest.raises` for the errors of reread, which compares their fields and not their sentences.

    with refused(BadInput, got=[13, 13], allowed="0 to [12, 12]"):
        model.read(tokens, 13)

So a message can be reworded without a change of a test. Sentences that a newcomer meets first are in test_wording.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from reread.errors import RereadError

ANY: Any = object()


class Containing:
    """A value whose text contains each of these parts."""

    def __init__(self, *parts: object):
        self.parts = [str(part) for part in parts]

    def holds(self, value: object) -> bool:
        return value is not None and all(part in str(value) for part in self.parts)

    def __repr__(self) -> str:
        return f"containing({', '.join(map(repr, self.parts))})"


def containing(*parts: object) -> Containing:
    """Expected value of a field: its text contains each of `parts`. Raises ValueError where that fits every value."""
    if not parts or not all(map(str, parts)):
        raise ValueError("containing() and containing('') fit every value")
    return Containing(*parts)


def fits(value: object, expected: object) -> bool:
    """Whether a field of an error has the expected value: containing(...), a predicate, or equal as text."""
    if isinstance(expected, Containing):
        return expected.holds(value)
    if callable(expected):
        return bool(expected(value))
    if value is None or expected is None:
        return value is expected
    return str(value) == str(expected)


class refused:
    """The block must raise exactly `kind`, with these fields. `with refused(...) as caught`: the error, caught.value.

    got, allowed, todo: the value of that field, `containing(...)` of its text, a predicate, or None: it must be absent.
    naming: names and numbers that the message must contain (a file, a row, a setting), one or several; where an error
        has neither `got` nor `allowed`, one or two words that identify it. Case does not count.
    Raises pytest's Failed where nothing is raised or a field differs. An exception of another class passes through.
    """

    def __init__(
        self,
        kind: type[RereadError],
        *,
        got: object = ANY,
        allowed: object = ANY,
        todo: object = ANY,
        naming: object | tuple[object, ...] = (),
    ):
        self.kind, self.raises = kind, pytest.raises(kind)
        self.names = [str(name).lower() for name in (naming if isinstance(naming, tuple) else (naming,))]
        self.fields = {k: v for k, v in (("got", got), ("allowed", allowed), ("todo", todo)) if v is not ANY}
        if not issubclass(kind, RereadError):
            raise TypeError(f"refused() is for errors of reread, not {kind.__name__}")
        if not all(self.names) or not (self.fields or self.names):
            raise TypeError("the class alone does not identify an error: give got, allowed, todo or naming")

    def __enter__(self) -> pytest.ExceptionInfo[RereadError]:
        return self.raises.__enter__()

    def __exit__(self, *raised: Any) -> bool:
        __tracebackhide__ = True
        if not self.raises.__exit__(*raised):
            return False
        error = raised[1]
        if type(error) is not self.kind:
            pytest.fail(f"raised {type(error).__name__}, expected {self.kind.__name__}: {error}")
        for name, expected in self.fields.items():
            if not fits(getattr(error, name), expected):
                pytest.fail(f"{name} is {getattr(error, name)!r}, expected {expected!r}; the whole error: {error}")
        for name in self.names:
            if name not in str(error).lower():
                pytest.fail(f"the error does not name {name!r}: {error}")
        return True

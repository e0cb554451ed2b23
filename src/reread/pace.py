"""How far a piece of work is, how long what is left will take, and how that is said.

Knows no run, no model and no terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable

CLOCK = time.monotonic
Tell = Callable[[str, int, int], None]  # what is worked at, how much of it is done, of how much


class Pace:
    """The pace of one piece of work, from what is told of it: how much is done of how much, whenever that has grown.

    What was done before the first telling counts as given.  The time from there to the second holds what happens
    once (loading, compiling, the first batch), and is left out as soon as more than as much has passed since.
    """

    def __init__(self, clock: Callable[[], float] = CLOCK):
        self.clock = clock
        self.marks: list[tuple[float, int]] = []  # the first two, and the last

    def seconds_left(self, done: int, total: int) -> float | None:
        """None before the pace is known."""
        if not self.marks or done > self.marks[-1][1]:
            self.marks = [*self.marks[:2], (self.clock(), done)]
        if len(self.marks) < 2:
            return None
        (began, before), (first, _), (now, after) = self.marks[0], self.marks[1], self.marks[-1]
        if now - first > first - began:
            began, before = self.marks[1]
        return (now - began) / (after - before) * (total - done)


def duration(seconds: float) -> str:
    """What is left, in words: "45 s", "12 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"

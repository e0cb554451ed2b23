"""How a client may ask for a text to be read: the names that `reread ask` knows, less what would name a file or
cost without end.  Words only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reread.config import Spec
from reread.policies import policy as known_policy
from reread.prompting import strategy as known_strategy
from reread.serve.problems import Refused

LONGEST = 200  # characters of a name with its settings
COPIES = 8  # of a document or of each unit of it
SMALLEST = 16  # tokens of a window that is scored


@dataclass(frozen=True)
class Ways:
    """How a text is read; None: as `reread ask` and `reread read` do."""

    strategy: str | None = None
    policy: str | None = None
    budget: int | None = None
    window: str | None = None
    state_dtype: str | None = None
    keep_tokens: bool = True

    def check(self) -> None:
        """Raise UnknownName, BadInput, Refused for what no text is read with here."""
        for what, name in (("strategy", self.strategy), ("policy", self.policy)):
            if name is not None:
                check_settings(what, name)
        if self.strategy is not None:
            known_strategy(self.strategy)
        if self.policy is not None:
            known_policy(self.policy)


def check_settings(what: str, name: str) -> None:
    """Raise Refused for settings that name a file, and for numbers that make a prompt of any length or cost."""
    if len(name) > LONGEST:
        raise Refused(400, f"the {what} is too long", got=f"{len(name)} characters", allowed=LONGEST, param="reread")
    spec = Spec.parse(name)
    for key, value in spec.settings:
        if key in ("path", "sha") or "learned(" in str(value):
            raise Refused(
                400, f"a {what} asked for over the network names no file", got=f"{key}={value}", param="reread"
            )
        numbers = [int(digits) for digits in re.findall(r"\d+", str(value))]
        if what == "strategy" and key in ("n", "times") and sum(numbers) > COPIES:
            raise Refused(400, "more copies than are shown here", got=f"{key}={value}", allowed=COPIES, param="reread")
        if any(int(size) < SMALLEST for size in re.findall(r"window\((\d+)\)", str(value).replace(" ", ""))):
            raise Refused(
                400, "windows smaller than are scored here", got=name, allowed=f"{SMALLEST} or more", param="reread"
            )

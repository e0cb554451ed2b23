"""How a client may ask for a text to be read: the names that `reread ask` knows, less what would name a file or
cost without end.  Words only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reread.config import Spec
from reread.models.kv_selection import RereadSettings, tokens_per_choice
from reread.models.kv_selection import selection as known_selection
from reread.policies import policy as known_policy
from reread.prompting import strategy as known_strategy
from reread.serve.problems import Refused

LONGEST = 200  # characters of a name with its settings
COPIES = 8  # of a document or of each unit of it
SMALLEST = 16  # tokens of a window that is scored
FORGOTTEN_UNITS = ("sentence", "line", "paragraph", "section", "none")
SMALLEST_PIECE = 128  # tokens that are read or repeated in one piece: each costs a call, and a repetition its cue


@dataclass(frozen=True)
class Ways:
    """How a text is read; None: as `reread ask` and `reread read` do; select None: the server's default; forgotten: of
    which units it is measured what a document's state lost."""

    strategy: str | None = None
    policy: str | None = None
    budget: int | None = None
    window: str | None = None
    state_dtype: str | None = None
    keep_tokens: bool = True
    select: str | None = None
    forgotten: str | None = None

    def check(self) -> None:
        """Raise UnknownName, BadInput, Refused for what no text is read with here."""
        for what, name in (("strategy", self.strategy), ("policy", self.policy)):
            if name is not None:
                check_settings(what, name)
        if self.strategy is not None:
            known_strategy(self.strategy)
        if self.policy is not None:
            known_policy(self.policy)
        if self.forgotten is not None and self.forgotten not in FORGOTTEN_UNITS:
            allowed = ", ".join(FORGOTTEN_UNITS)
            raise Refused(
                400, "no unit of text that is told here", got=self.forgotten[:80], allowed=allowed, param="forgotten"
            )
        if self.select is not None:
            check_length("selection", self.select)
            chosen = known_selection(self.select)
            if isinstance(chosen.settings, RereadSettings) and not chosen.settings.flat:
                what = "units of a document cost a cue each, and are not repeated here for a request"
                raise Refused(400, what, got=self.select, allowed="levels=document", param="reread")
            pieces = [tokens_per_choice(chosen) or SMALLEST_PIECE]
            pieces += [chosen.settings.chunk] if isinstance(chosen.settings, RereadSettings) else []
            if min(pieces) < SMALLEST_PIECE:
                what = "the document is read or repeated in smaller pieces than is allowed here"
                raise Refused(400, what, got=min(pieces), allowed=f"{SMALLEST_PIECE} or more", param="reread")


def check_length(what: str, name: str) -> None:
    if len(name) > LONGEST:
        raise Refused(400, f"the {what} is too long", got=f"{len(name)} characters", allowed=LONGEST, param="reread")


def check_settings(what: str, name: str) -> None:
    """Raise Refused for settings that name a file, and for numbers that make a prompt of any length or cost."""
    check_length(what, name)
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

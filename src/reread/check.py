"""Does a model keep its word?  read = read + extend = read + steps, batch = rows, any padding, saved = kept.

Every comparison is on logits, never on text (a wrong state often writes the same words), and
relative to the largest logit.  Nothing here knows what kind of model it looks at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reread.models import RecurrentModel, on_device

LIMIT = 1e-4
FIRST, TOTAL = 21, 33  # tokens: so many of so many are read at once


@dataclass(frozen=True)
class Finding:
    """One comparison: what was compared, the largest error relative to the largest logit, whether it will do."""

    what: str
    error: float

    @property
    def right(self) -> bool:
        return self.error <= LIMIT


class Examination:
    """The comparisons, on random tokens."""

    def __init__(self, model: RecurrentModel, vocabulary: int):
        draw = torch.Generator().manual_seed(0)
        self.model = model
        self.tokens = torch.randint(vocabulary, (2, TOTAL), generator=draw)
        self.want, _ = model.read(self.tokens, FIRST, last_only=False)
        _, self.state = model.read(self.tokens[:, :FIRST], FIRST, last_only=False)
        self.scale = float(self.want.abs().max())

    def error(self, got: Tensor, want: Tensor) -> float:
        return float((got - want).abs().max()) / self.scale

    def extend_in_one_call(self) -> float:
        got, _ = self.model.extend(self.tokens[:, FIRST:], self.state, last_only=False)
        return self.error(got, self.want[:, FIRST:])

    def steps(self) -> float:
        state, worst = self.state, 0.0
        for t in range(FIRST, self.tokens.shape[1]):
            logits, state = self.model.step(self.tokens[:, t], state)
            worst = max(worst, self.error(logits, self.want[:, t]))
        return worst

    def batch_of_two_against_single_rows(self) -> float:
        single = [self.model.read(row[None], FIRST, last_only=False)[0] for row in self.tokens]
        return self.error(torch.cat(single), self.want)

    def two_paddings(self) -> float:
        """Both rows short by some tokens, padded on the left and on the right."""
        lengths, T = (FIRST, FIRST - 5), FIRST + 4
        found = []
        for left in (True, False):
            tokens, mask = torch.zeros(2, T, dtype=torch.long), torch.zeros(2, T, dtype=torch.bool)
            for row, n in enumerate(lengths):
                at = slice(T - n, T) if left else slice(0, n)
                tokens[row, at], mask[row, at] = self.tokens[row, :n], True
            found.append(self.model.read(tokens, torch.tensor(lengths), mask, last_only=True)[0])
        exact = [self.model.read(self.tokens[row : row + 1, :n], n, last_only=True)[0] for row, n in enumerate(lengths)]
        return max(self.error(padded, torch.cat(exact)) for padded in found)

    def saved_and_loaded(self) -> float:
        state: Any = self.state
        with tempfile.TemporaryDirectory() as folder:
            save_file(state.to_flat(), Path(folder) / "state.safetensors")
            loaded = type(state).from_flat(load_file(Path(folder) / "state.safetensors"), state.fingerprint)
        token = self.tokens[:, FIRST]
        return self.error(self.model.step(token, loaded)[0], self.want[:, FIRST])

    def asked_twice_from_one_state(self) -> float:
        """Two continuations of one state: the first must not have changed it."""
        first, _ = self.model.step(self.tokens[:, FIRST], self.state)
        self.model.step(self.tokens[:, 0], self.state)
        again, _ = self.model.step(self.tokens[:, FIRST], self.state)
        return self.error(again, first)


COMPARISONS: dict[str, Callable[[Examination], float]] = {
    "read = read + extend": Examination.extend_in_one_call,
    "read = read + steps": Examination.steps,
    "batch = rows": Examination.batch_of_two_against_single_rows,
    "left = right padding": Examination.two_paddings,
    "saved = kept": Examination.saved_and_loaded,
    "state unchanged": Examination.asked_twice_from_one_state,
}


@torch.no_grad()
def check(model: RecurrentModel, vocabulary: int) -> list[Finding]:
    """Every comparison of COMPARISONS, for token ids below `vocabulary`."""
    examination = Examination(model, vocabulary)
    return [Finding(what, compare(examination)) for what, compare in COMPARISONS.items()]


def check_families() -> dict[str, list[Finding]]:
    """The comparisons for a tiny random model of every family of transformers that is known here, where
    REREAD_DEVICE says."""
    from reread.models.families import TINY, tiny

    found = {}
    for family in TINY:
        model = tiny(family)
        found[f"{family} ({model.resume})"] = check(on_device(model), model.config.vocab_size)
    return found


def markdown(found: dict[str, list[Finding]]) -> str:
    """Relative errors as a Markdown table; what is above LIMIT is marked WRONG."""
    lines = ["| model | " + " | ".join(COMPARISONS) + " |", "|" + "---|" * (1 + len(COMPARISONS))]
    for name, findings in found.items():
        words = [f"{finding.error:.0e}" + ("" if finding.right else " WRONG") for finding in findings]
        lines.append(f"| {name} | " + " | ".join(words) + " |")
    return "\n".join(lines)

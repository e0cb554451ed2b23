"""Writing answers: rows of logits into token ids, one token per row and step.

A Row says when it ends and how its tokens are drawn: the likeliest one, or by a seeded draw of its own, so that
what a row writes depends on no other row.  Decoding holds the rows that are written together; between two
steps rows may join and leave.  Knows no prompt, no text and no request.

Shapes: B rows that are being written, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from reread.errors import BadInput
from reread.models import RecurrentModel


@dataclass(frozen=True)
class Sampling:
    """temperature 0: the likeliest token; above: a draw from the likeliest ones that hold `top_p` of the
    probability.  Equal seeds draw equally; None: one that nobody knows.  Raises BadInput for what is out of range."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 2.0:
            raise BadInput("the temperature is out of range", got=self.temperature, allowed="0 (greedy) to 2")
        if not 0.0 < self.top_p <= 1.0:
            raise BadInput("top_p is out of range", got=self.top_p, allowed="above 0, 1 at most")


class Rule(Protocol):
    """Which tokens may come next, after those that were added: never none."""

    def ids(self) -> Sequence[int]: ...

    def add(self, token: int) -> None: ...


@dataclass(eq=False)
class Row:
    """One answer while it is written: token ids so far, and the sum of their log-probabilities under the model.

    ends: tokens that end it; most: new tokens at most; rule: which tokens it may write, None: any; done: nothing more
    is written, also where somebody else says so.
    """

    ends: frozenset[int]
    most: int
    sampling: Sampling = field(default_factory=Sampling)
    rule: Rule | None = None
    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    done: bool = False

    def __post_init__(self) -> None:
        self._draws = random.Random(self.sampling.seed)

    @property
    def ended(self) -> bool:
        """Whether the model itself wrote an end."""
        return bool(self.ids) and self.ids[-1] in self.ends

    def add(self, token: int, logprob: float) -> None:
        self.ids.append(token)
        self.logprob += logprob
        self.done = self.ended or len(self.ids) >= self.most
        if self.rule is not None and not self.done:
            self.rule.add(token)

    def allowed(self, logits: Tensor) -> Tensor:
        """Logits (V,) with -inf for tokens that the rule does not allow."""
        if self.rule is None:
            return logits
        ids = torch.tensor(self.rule.ids(), device=logits.device)
        return torch.full_like(logits, -torch.inf).index_copy(0, ids, logits[ids])

    def draw(self, logits: Tensor) -> int:
        """A token drawn from logits (V,)."""
        scores = (logits.double() - logits.double().max()) / self.sampling.temperature
        chances, tokens = scores.softmax(dim=-1).sort(descending=True, stable=True)
        sums = chances.cumsum(dim=-1)
        kept = int((sums - chances < self.sampling.top_p).sum())  # the token that reaches top_p is still in
        place = int(torch.searchsorted(sums[:kept], self._draws.random() * sums[kept - 1]))
        return int(tokens[min(place, kept - 1)])


class Decoding:
    """The rows that are written together with one model, their logits (B,V) and their state."""

    def __init__(self, model: RecurrentModel):
        self.model = model
        self.rows: list[Row] = []
        self.logits: Tensor | None = None
        self.state: Any = None

    def join(self, rows: Sequence[Row], logits: Tensor, state: Any) -> None:
        """More rows, with the logits and the state after what each of them has read."""
        if self.logits is not None:
            logits, state = torch.cat((self.logits, logits)), type(state).cat([self.state, state])
        self.rows, self.logits, self.state = [*self.rows, *rows], logits, state

    def drop_broken(self) -> list[Row]:
        """Rows whose logits are not finite leave; the others stay as they are."""
        assert self.logits is not None
        fine = torch.isfinite(self.logits).all(dim=-1).tolist()
        broken = [row for row, is_fine in zip(self.rows, fine, strict=True) if not is_fine]
        places = [place for place, is_fine in enumerate(fine) if is_fine]
        if broken and places:
            self.rows = [self.rows[place] for place in places]
            self.logits, self.state = self.logits[places], self.state.rows(places)
        elif broken:
            self.rows, self.logits, self.state = [], None, None
        return broken

    def write(self) -> None:
        """One token more for every row."""
        assert self.logits is not None
        scores = self.logits.float()
        best, chosen = scores.max(dim=-1)
        every = scores.logsumexp(dim=-1)
        surely, sums = (best - every).tolist(), every.tolist()
        for place, (row, token) in enumerate(zip(self.rows, chosen.tolist(), strict=True)):
            if row.sampling.temperature or row.rule is not None:
                mine = row.allowed(scores[place])
                drawn = row.draw(mine) if row.sampling.temperature else int(mine.argmax())
                row.add(drawn, float(scores[place, drawn]) - sums[place])
            else:
                row.add(token, surely[place])

    def go_on(self) -> None:
        """Rows that are done leave; the others read the token that they wrote."""
        alive = [place for place, row in enumerate(self.rows) if not row.done]
        if not alive:
            self.rows, self.logits, self.state = [], None, None
            return
        state, rows = self.state, [self.rows[place] for place in alive]
        if len(alive) < len(self.rows):
            state = state.rows(alive)
        self.logits, self.state = self.model.step(torch.tensor([row.ids[-1] for row in rows]), state)
        self.rows = rows

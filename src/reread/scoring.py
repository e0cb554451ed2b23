"""What a model thinks of pieces of text, by its log-probabilities: units of a document, and answers.

Nothing leaks: what is scored is read causally, from a state that was made before it.  Shapes: B
rows of a batch, T time, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from reread.errors import BadInput, UnknownName
from reread.models import LM, RecurrentModel
from reread.prompting import BY_MODEL, Part, Reading, Template, encode_parts, once, token_ids

PIECE = 128  # tokens of a continuation scored at once: B * PIECE * V logits are held


def pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of token ids as (B,T) tokens and mask, padded on the right with token 0."""
    T = max(len(row) for row in rows)
    tokens = torch.zeros(len(rows), T, dtype=torch.long)
    mask = torch.zeros(len(rows), T, dtype=torch.bool)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = True
    return tokens, mask


def in_pieces(
    model: RecurrentModel, rows: Sequence[Sequence[int]], state: Any = None
) -> Iterator[tuple[list[int], int, Tensor, Tensor]]:
    """Rows of token ids read causally, from a state or from nothing, PIECE tokens at a time: the rows that are not at
    their end, where the piece starts, its logits (b,t,V) and mask (b,t).  The given state stays as it was."""
    there = list(range(len(rows)))
    for start in range(0, max(map(len, rows), default=0), PIECE):
        alive = [place for place, row in enumerate(there) if len(rows[row]) > start]
        if state is not None and len(alive) < len(there):
            state = state.rows(alive)
        there = [there[place] for place in alive]
        tokens, mask = pad([rows[row][start : start + PIECE] for row in there])
        if state is None:
            logits, state = model.read(tokens, 0, mask, last_only=False)
        else:
            logits, state = model.extend(tokens, state, mask, last_only=False)
        yield there, start, logits, mask


def continuation_scores(
    model: RecurrentModel, logits: Tensor, state: Any, rows: Sequence[Sequence[int]]
) -> list[tuple[float, bool]]:
    """Log-probability (nats) of each row's tokens after a state, and whether greedy decoding would write them.

    logits (B,V): those of the next token; rows: B continuations of at least one token.  They are
    read causally, PIECE tokens at a time; the given state stays as it was.
    """
    total = torch.zeros(len(rows), dtype=torch.float64)
    greedy = torch.ones(len(rows), dtype=torch.bool)

    def count(row: int, logits: Tensor, ids: Sequence[int]) -> None:
        wanted = torch.tensor(ids)
        total[row] += logits.float().log_softmax(dim=-1).gather(-1, wanted[:, None]).double().sum().cpu()
        greedy[row] &= bool((logits.argmax(dim=-1) == wanted).all())

    for row, ids in enumerate(rows):
        count(row, logits[row : row + 1], ids[:1])
    for there, start, more, _ in in_pieces(model, [ids[:-1] for ids in rows], state):
        for place, row in enumerate(there):
            ids = rows[row][start + 1 : start + 1 + PIECE]
            count(row, more[place, : len(ids)], ids)
    return list(zip(total.tolist(), greedy.tolist(), strict=True))


def continuation_loglik(
    model: RecurrentModel, logits: Tensor, state: Any, rows: Sequence[Sequence[int]]
) -> list[float]:
    """The first of `continuation_scores`."""
    return [score for score, _ in continuation_scores(model, logits, state, rows)]


class UnitScores:
    """A score function (by, units) for strategies, asking one model about one question.

    likelihood: mean log-probability per token of the question after a unit.  entropy: minus the
    entropy (nats) of the first answer token after unit and question (OPRM, Ben-Kish et al. 2025).
    surprisal: mean negative log-probability per token of the unit itself, read alone.  tokens: how
    many the model has read for this so far; most: that many at most, or BadInput before any is read.
    """

    def __init__(self, lm: LM, question: str, template: Template, *, batch: int = 16, most: int | None = None):
        self.lm, self.question, self.template, self.batch, self.most = lm, question, template, batch, most
        self.tokens = 0

    def __call__(self, by: str, units: Sequence[str]) -> list[float]:
        known = {"likelihood": self._likelihood, "entropy": self._entropy, "surprisal": self._surprisal}
        if by not in known:
            raise UnknownName("score by a model", by, BY_MODEL)
        if self.most is not None:
            asked = 0 if by == "surprisal" else len(self._ids(self.template.fill(self.template.ask, self.question)))
            cost = sum(len(self._read_alone(unit)) + asked for unit in units)
            if cost > self.most:
                what = "to score every unit would take more tokens than are read here"
                raise BadInput(what, got=cost, allowed=self.most, todo="larger units, or by=bm25")
        with torch.inference_mode():
            return [score for i in range(0, len(units), self.batch) for score in known[by](units[i : i + self.batch])]

    def _ids(self, text: str) -> list[int]:
        """Tokens of a text that goes on from other text."""
        return token_ids(text, self.lm.tokenizer)

    def _read_alone(self, unit: str) -> list[int]:
        """Tokens of a unit that is read from nothing."""
        return list(encode_parts([Part("document", unit)], self.lm.tokenizer).tokens)

    def _read(self, rows: Sequence[Sequence[int]], *, causal: bool, last_only: bool) -> tuple[Tensor, Any, Tensor]:
        tokens, mask = pad(rows)
        self.tokens += int(mask.sum())
        prefix = torch.tensor([0 if causal else self.lm.prefix(len(row)) for row in rows])
        logits, state = self.lm.model.read(tokens, prefix, mask, last_only=last_only)
        return logits, state, mask

    def _likelihood(self, units: Sequence[str]) -> list[float]:
        asked = self._ids(self.template.fill(self.template.ask, self.question))
        if not asked:
            raise BadInput("likelihood scores units by the question, and there is none", got=self.template.name)
        logits, state, _ = self._read([self._read_alone(unit) for unit in units], causal=False, last_only=True)
        self.tokens += len(asked) * len(units)
        total = continuation_loglik(self.lm.model, logits, state, [asked] * len(units))
        return [score / len(asked) for score in total]

    def _entropy(self, units: Sequence[str]) -> list[float]:
        laid_out = [once(Reading(unit, self.question, self.template)) for unit in units]
        rows = [encode_parts(parts, self.lm.tokenizer).tokens for parts in laid_out]
        logits, _, _ = self._read(rows, causal=False, last_only=True)
        logp = logits.float().log_softmax(dim=-1)
        return [float(x) for x in (logp.exp() * logp).sum(dim=-1)]

    def _surprisal(self, units: Sequence[str]) -> list[float]:
        rows = {place: ids for place, unit in enumerate(units) if len(ids := self._read_alone(unit)) > 1}
        scores = [0.0] * len(units)
        if rows:
            logits, state, _ = self._read([ids[:1] for ids in rows.values()], causal=True, last_only=True)
            rest = [ids[1:] for ids in rows.values()]
            self.tokens += sum(map(len, rest))
            totals = continuation_loglik(self.lm.model, logits, state, rest)
            for place, total, ids in zip(rows, totals, rest, strict=True):
                scores[place] = -total / len(ids)
        return scores


@torch.inference_mode()
def next_token_entropies(lm: LM, rows: Sequence[Sequence[int]], *, batch: int = 16) -> list[float]:
    """Per row of token ids, read causally: the mean entropy of the next token over log V, 0 (sure) to 1 (uniform)."""
    sums = [0.0] * len(rows)
    for first in range(0, len(rows), batch):
        for there, _, logits, mask in in_pieces(lm.model, rows[first : first + batch]):
            logp = logits.float().log_softmax(dim=-1)
            entropy = -(logp.exp() * logp).sum(dim=-1).masked_fill(~mask, 0.0).sum(dim=1) / math.log(logits.shape[-1])
            for row, more in zip(there, entropy.tolist(), strict=True):
                sums[first + row] += more
    return [total / max(1, len(row)) for total, row in zip(sums, rows, strict=True)]


@torch.inference_mode()
def token_logliks(lm: LM, text: str, *, window: int = 1024) -> tuple[list[int], list[float]]:
    """The tokens of a text (BOS before them where the tokenizer gives it), and the log-probability (nats) of each but
    the first, read causally.

    The state carries from window to window, so every token is predicted from all before it.
    """
    ids = list(encode_parts([Part("document", text)], lm.tokenizer).tokens)
    found: list[float] = []
    state = None
    for start in range(0, len(ids) - 1, window):
        piece = torch.tensor([ids[start : min(start + window, len(ids) - 1)]])
        if state is None:
            logits, state = lm.model.read(piece, 0, last_only=False)
        else:
            logits, state = lm.model.extend(piece, state, last_only=False)
        targets = torch.tensor(ids[start + 1 : start + 1 + piece.shape[1]])
        found += logits[0].float().log_softmax(dim=-1).gather(-1, targets[:, None])[:, 0].tolist()
    return ids, found


def seen_pairs(ids: Sequence[int]) -> list[bool]:
    """For each token but the first: has it followed the token before it already, earlier in this text?

    Such tokens can be recalled from the context ("associative recall hits" of Zoology; figure 3 of "Just read twice",
    which counts only pairs that are rare in training).
    """
    known: set[tuple[int, int]] = set()
    found = []
    for pair in itertools.pairwise(ids):
        found.append(pair in known)
        known.add(pair)
    return found

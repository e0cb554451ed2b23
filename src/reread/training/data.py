"""Training rows: episodes and text as tokens, with what each position trains.

Row i of a run is a function of (seed, i) alone, so a resumed run sees the rows that it would have
seen.  Rows of one batch have one length; the schedule says which.  Words become tokens here and
nowhere else in training; layouts and templates are those of prompting/, so that a model is asked
as it was trained.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from reread.errors import BadInput
from reread.policies import policy
from reread.prompting import Encoded, build, template, token_ids
from reread.training.episodes import Episode
from reread.training.objective import IGNORE, MASKED, NEXT
from reread.training.recipe import DataConfig, Stage


@dataclass(frozen=True)
class Row:
    """One row: tokens in, (target, kind) per position, which answer a target is of, and the prefix length
    (the causal twin's rows have one too: it says where targets stand; the model does not look at it)."""

    tokens: np.ndarray
    targets: np.ndarray
    kind: np.ndarray
    answer: np.ndarray
    prefix_len: int


TRIES = 200
FITTED = 4  # rows that are made of every source and stage before the training


def drawn(shares: dict[str, float], rng: np.random.Generator) -> str:
    """A name, as often as its share says."""
    return str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))


class Source(Protocol):
    def draw(self, rng: np.random.Generator, tokens: int) -> Episode: ...


def train_next(tokens: list[int], T: int) -> tuple[np.ndarray, np.ndarray]:
    """tokens[:T] padded to T, and the next token at each position (0 where there is none)."""
    ids = np.zeros(T + 1, dtype=np.int64)
    ids[: min(len(tokens), T + 1)] = tokens[: T + 1]
    return ids[:-1].copy(), ids[1:].copy()


def inside_targets(row: Row, rng: np.random.Generator, rate: float, mask_id: int | None) -> Row:
    """Train a share of the positions inside the prefix, at the weight of the masked-token loss.

    With `mask_id` their tokens are masked and the target is what stood there (JRT-RNN); with None
    nothing is masked and the target stays the next token: the causal twin, which cannot look
    ahead, gets as many targets at the same places and weight.  The last prefix position keeps
    its next-token target; tokens that an answer holds are spared, so that the answers stay
    readable.
    """
    answers = row.targets[row.answer > 0]
    chosen = (rng.random(len(row.tokens)) < rate) & ~np.isin(row.tokens, answers)
    chosen[max(0, row.prefix_len - 1) :] = False
    kind = np.where(chosen, MASKED, row.kind)
    if mask_id is None:
        return replace(row, kind=kind)
    return replace(
        row,
        tokens=np.where(chosen, mask_id, row.tokens),
        targets=np.where(chosen, row.tokens, row.targets),
        kind=kind,
    )


PrefixOf = Callable[[Encoded, np.random.Generator], int]


def middle(row: Encoded, rng: np.random.Generator) -> int:
    """A quarter to three quarters of a row."""
    T = len(row.tokens)
    return int(rng.integers(T // 4, 3 * T // 4))


def text_row(ids: np.ndarray, T: int, rng: np.random.Generator, prefix_of: PrefixOf = middle) -> Row:
    """A stretch of text and its prefix."""
    start = int(rng.integers(len(ids) - T - 1))
    piece = ids[start : start + T + 1].astype(np.int64)
    prefix_len = prefix_of(Encoded(tuple(piece[:-1].tolist()), (("document", 0, T),), T), rng)
    kind = np.full(T, NEXT, dtype=np.int64)
    kind[: max(0, prefix_len - 1)] = IGNORE
    return Row(piece[:-1].copy(), piece[1:].copy(), kind, np.zeros(T, dtype=np.int64), prefix_len)


def spans_row(ids: np.ndarray, T: int, rng: np.random.Generator, newline: int) -> Row:
    """A stretch of text, then pieces of it in another order: each to be continued after its first tokens."""
    length = int(T * (0.4 + 0.4 * rng.random()))
    start = int(rng.integers(len(ids) - length))
    document = ids[start : start + length].tolist()
    tokens, answers, number = list(document), [0] * length, 0
    while len(tokens) <= T:
        number += 1
        size, lead = min(int(rng.integers(6, 20)), length // 2), int(rng.integers(2, 4))
        at = int(rng.integers(length - size))
        tokens += [newline, *document[at : at + size]]
        answers += [0] * (1 + lead) + [number] * (size - lead)
    inputs, targets = train_next(tokens, T)
    answer = np.array(answers[1 : T + 1], dtype=np.int64)
    return Row(inputs, targets, np.where(answer > 0, NEXT, IGNORE), answer, length)


class EpisodeRows:
    """Tokenises episodes in the layouts of prompting/strategies.py; mask_id None is the causal twin's."""

    def __init__(self, tokenizer: Tokenizer, config: DataConfig, mask_id: int | None):
        self.tokenizer, self.config, self.mask_id = tokenizer, config, mask_id
        self.newline = self.encode("\n")[0]
        self.policies = {name: policy(name) for name in (*config.policies, *config.text_policies)}

    def prefix_len(self, name: str, row: Encoded) -> int:
        """By the policy of that name."""
        return self.policies[name].choose([row], tokenizer=self.tokenizer)[0].prefix_len

    def text_prefix(self, row: Encoded, rng: np.random.Generator) -> int:
        """Of a text row: by a policy drawn from the configuration's, or as `middle`."""
        shares = self.config.text_policies
        return self.prefix_len(drawn(shares, rng), row) if shares else middle(row, rng)

    def encode(self, text: str) -> list[int]:
        return token_ids(text, self.tokenizer)

    def draw(self, source: Source, T: int, rng: np.random.Generator) -> Row:
        """One episode that fits T tokens, in a layout drawn anew with every try (short rows hold no second copy)."""
        row, shrink = None, 1.0
        for _ in range(TRIES):
            layout = drawn(self.config.layouts, rng)
            room = T - int(rng.integers(1, 9)) * 18 - (0 if layout == "once" else 12)
            episode = source.draw(rng, int(max(room, 32) * shrink) // (2 if layout == "twice" else 1))
            row = self.row(episode, layout, T, prefix=drawn(self.config.policies, rng))
            if row is not None:
                break
            shrink = 0.4 + 0.6 * rng.random()
        if row is None:
            raise BadInput("no episode of this source fits a row", got=f"{T} tokens", todo="use longer rows")
        return inside_targets(row, rng, self.config.mask_rate, self.mask_id) if rng.random() < 0.5 else row

    def row(self, episode: Episode, layout: str, T: int, *, prefix: str | None = None) -> Row | None:
        """The episode as one row, as many of its questions as fit; None when not one does.

        prefix: a policy of the configuration; without one, the prefix ends where the first question begins.
        """
        if not episode.questions:
            return None
        form = template(episode.template)
        encoded = build(layout, episode.document, episode.questions[0][0], form).encode(self.tokenizer)
        document_end = encoded.spans[-1][1]
        tokens, answers = list(encoded.tokens), [0] * len(encoded.tokens)
        for number, (question, value) in enumerate(episode.questions, start=1):
            # a further question starts where the answer before it ended: with the newline
            ask = self.encode(form.fill(form.ask, question))[1:] if number > 1 else []
            answer = self.encode(form.answer(value))
            if len(tokens) + len(ask) + len(answer) > T:
                break
            tokens += ask + answer
            answers += [0] * len(ask) + [number] * len(answer)
        if not any(answers):
            return None
        inputs, targets = train_next(tokens, T)
        answer_of = np.zeros(T, dtype=np.int64)
        answer_of[: len(tokens) - 1] = answers[1:]
        kind = np.where(answer_of > 0, NEXT, IGNORE)
        prefix_len = document_end if prefix is None else self.prefix_len(prefix, encoded)
        return Row(inputs, targets, kind, answer_of, prefix_len)


class Rows(Dataset):
    """Row i of the run, at the length its stage says: a function of (seed, i) alone."""

    def __init__(
        self,
        episodes: EpisodeRows,
        sources: dict[str, Source],
        text: dict[str, np.ndarray],
        stages: Sequence[Stage],
        seed: int,
    ):
        self.episodes, self.sources, self.text, self.stages, self.seed = episodes, sources, text, stages, seed

    def __getitem__(self, key: tuple[int, int]) -> Row:
        """Row `index` at the length and mix of stage `number`, for key = (index, number)."""
        index, number = key
        stage = self.stages[number]
        rng = np.random.default_rng((self.seed, index))
        return self.row_of(drawn(stage.mix or self.episodes.config.mix, rng), stage.tokens, rng)

    def row_of(self, name: str, T: int, rng: np.random.Generator) -> Row:
        """A row of T tokens of the source of that name.  Raises BadInput where none fits."""
        config = self.episodes.config
        if name in self.sources:
            return self.episodes.draw(self.sources[name], T, rng)
        ids = self.text[str(rng.choice(sorted(self.text)))]
        if name == "spans":
            return spans_row(ids, T, rng, self.episodes.newline)
        return inside_targets(
            text_row(ids, T, rng, self.episodes.text_prefix), rng, config.mask_rate, self.episodes.mask_id
        )


def check_rows(rows: Rows) -> None:
    """Raise BadInput for a stage in which a source has nothing that fits a row: before the first step, not at it."""
    rng = np.random.default_rng(0)  # of its own: row i stays a function of (seed, i) alone
    for number, stage in enumerate(rows.stages, start=1):
        for name, share in (stage.mix or rows.episodes.config.mix).items():
            for _ in range(FITTED if share > 0 else 0):
                try:
                    rows.row_of(name, stage.tokens, rng)
                except BadInput as error:
                    what = f"stage {number} cannot be trained with the source {name}: {error.what}"
                    raise BadInput(what, got=error.got, allowed=error.allowed, todo=error.todo) from error


class StagedBatches(Sampler):
    """Keys (row, stage) of each step's batch, stage after stage."""

    def __init__(self, stages: Sequence[Stage]):
        self.stages = stages

    def __len__(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        index = 0
        for number, stage in enumerate(self.stages):
            for _ in range(stage.steps):
                yield [(i, number) for i in range(index, index + stage.rows)]
                index += stage.rows


def collate(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Rows of one length as the columns that the trainer hands to the model and the objective."""
    return {
        "input_ids": torch.from_numpy(np.stack([row.tokens for row in rows])),
        "targets": torch.from_numpy(np.stack([row.targets for row in rows])),
        "kind": torch.from_numpy(np.stack([row.kind for row in rows])),
        "answer": torch.from_numpy(np.stack([row.answer for row in rows])),
        "prefix_lengths": torch.tensor([row.prefix_len for row in rows]),
    }

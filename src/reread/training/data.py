"""Training rows: episodes and text as tokens, with what each position trains.

Row i of a run is a function of (seed, i) alone, so a resumed run sees the rows that it would have
seen.  Rows of one batch have one length; the schedule says which.  Words become tokens here and
nowhere else in training; layouts and templates are those of prompting/, so that a model is asked
as it was trained.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from reread.config import at_least
from reread.errors import BadInput, UnknownName
from reread.models import load_tokenizer
from reread.policies import policy
from reread.prompting import Encoded, build, strategy, template, token_ids
from reread.tasks.recall import SET_ASIDE
from reread.training.episodes import Episode
from reread.training.objective import IGNORE, MASKED, NEXT


@dataclass(frozen=True)
class DataConfig:
    """What rows are made of.

    mix: relative share of rows per source (text, spans, fields, table, questions, sentences, forms);
    layouts: relative share of episodes per strategy; mask_rate: share of prefix tokens of text
    rows, and of half the episodes (answers spared), that become masked targets; policies:
    relative share of episodes per prefix policy (policies.py; of the prompt of an episode's first question);
    text_policies: the same of text rows (without any, a quarter to three quarters of each is prefix);
    characters: of text per file; set_aside: documents of the 510(k) table, and paragraphs with
    questions, kept for recall checks (with fewer than SET_ASIDE, fda-aside asks documents that were trained on).
    """

    mix: dict[str, float] = field(
        default_factory=lambda: {
            "text": 0.2, "spans": 0.1, "fields": 0.3, "table": 0.05, "questions": 0.1, "sentences": 0.1, "forms": 0.15,
        }
    )  # fmt: skip
    layouts: dict[str, float] = field(default_factory=lambda: {"once": 0.6, "question_first": 0.15, "twice": 0.25})
    mask_rate: float = 0.15
    policies: dict[str, float] = field(default_factory=lambda: {"prompt": 0.5, "document": 0.5})
    text_policies: dict[str, float] = field(default_factory=dict)
    characters: int = 20_000_000
    set_aside: int = SET_ASIDE

    def check(self) -> None:
        """Raise for an unknown source or strategy, and for shares and sizes that cannot be."""
        check_shares("data.mix", self.mix)
        if not self.layouts or min(self.layouts.values()) < 0 or not sum(self.layouts.values()):
            raise BadInput("data.layouts needs shares of 0 or more, one above 0", got=self.layouts)
        for name in self.layouts:
            strategy(name)
        if not 0 <= self.mask_rate <= 1:
            raise BadInput("data.mask_rate is a share", got=self.mask_rate, allowed="0 to 1")
        check_policies("data.policies", self.policies, ("document", "question"))
        if self.text_policies:
            check_policies("data.text_policies", self.text_policies, ("document",))
        at_least(self, 1, "set_aside", "characters")


SOURCES = ("text", "spans", "fields", "table", "questions", "sentences", "forms")


def check_shares(where: str, mix: dict[str, float]) -> None:
    """Raise for a mix that names an unknown source, or nothing to draw from."""
    for name in mix:
        if name not in SOURCES:
            raise UnknownName(f"source in {where}", name, SOURCES)
    if not mix or min(mix.values()) < 0 or not sum(mix.values()):
        raise BadInput(f"{where} needs shares of 0 or more, one above 0", got=mix)


def check_policies(where: str, shares: dict[str, float], roles: Sequence[str]) -> None:
    """Raise for shares that cannot be, and for a policy that asks a model or more than rows of these parts can tell."""
    if not shares or min(shares.values()) < 0 or not sum(shares.values()):
        raise BadInput(f"{where} needs shares of 0 or more, one above 0", got=shares)
    spans = tuple((role, at, at + 1) for at, role in enumerate(roles))
    for name in shares:
        policy(name).choose([Encoded(tuple(range(len(roles))), spans, 0)], tokenizer=load_tokenizer())


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


@dataclass(frozen=True)
class Stage:
    """So many steps with rows of so many tokens, so many rows a step; `mix` replaces that of the data."""

    steps: int
    tokens: int
    rows: int
    mix: dict[str, float] = field(default_factory=dict)


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
        stage, T = self.stages[number], self.stages[number].tokens
        rng = np.random.default_rng((self.seed, index))
        config = self.episodes.config
        name = drawn(stage.mix or config.mix, rng)
        if name in self.sources:
            return self.episodes.draw(self.sources[name], T, rng)
        ids = self.text[str(rng.choice(sorted(self.text)))]
        if name == "spans":
            return spans_row(ids, T, rng, self.episodes.newline)
        return inside_targets(
            text_row(ids, T, rng, self.episodes.text_prefix), rng, config.mask_rate, self.episodes.mask_id
        )


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

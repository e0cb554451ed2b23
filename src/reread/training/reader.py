"""Training rows for the pretrained reader, and the attention between the questions of one row.

One row is one document with several questions that do not see each other: the document's tokens, then each question
with its answer.  A question sees the document and itself, and its positions continue after the document, so it is
computed as if it had been asked alone.  The loss is on the answers' tokens and their line ends.  Rows of a step lie
behind each other in one sequence, without padding; attention never crosses rows.

Row i is a function of (seed, i) alone, and so is a step of its number, so a resumed run sees the rows that it would
have seen.  Layouts and template are those of prompting/, so that the reader is asked as it was trained.

Shapes: T tokens of all rows of a step, H heads, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from reread.errors import BadInput
from reread.models.kv_selection import FULL
from reread.prompting import NOT_FOUND, build, template, token_ids
from reread.training.data import drawn
from reread.training.reader_recipe import ReaderConfig
from reread.training.reader_sources import Asked, AskedDocument, ReaderSource

TEMPLATE = "reader"
IGNORE = -100
ROWS_PER_STEP = 256  # numbers of rows that are reserved for each step
FILL = 0.75  # of step_tokens: a step takes rows until it has so many; the last one brings it near step_tokens
SHARED = ("once", "twice(cue=False)")  # layouts in which several questions can follow the same tokens
TRIES = 100
ATTENTION = "reread_rows"


@dataclass(frozen=True)
class Row:
    """tokens, positions, targets (T,): int64, targets IGNORE but where an answer's token follows; block (T,): 0 for
    what every question sees, else the number of the question; document: its text; asked: the questions in it;
    selection: the id of what its questions see of the document."""

    tokens: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    block: np.ndarray
    document: str
    asked: tuple[Asked, ...]
    selection: str = FULL

    @property
    def shared(self) -> int:
        """Tokens that every question sees: the document, or the whole row where one question is asked."""
        return int((self.block == 0).sum())


class ReaderRows:
    """Makes rows of drawn documents."""

    def __init__(self, tokenizer: Tokenizer, config: ReaderConfig, sources: dict[str, ReaderSource]):
        self.tokenizer, self.config, self.sources = tokenizer, config, sources
        self.form = template(TEMPLATE)

    def __getitem__(self, index: int) -> Row:
        """Row `index` of the training.  Raises BadInput where its source has nothing that fits."""
        spec, rng = self.config.data, np.random.default_rng((self.config.seed, index))
        row = self.draw(drawn(spec.mix, rng), drawn(spec.layouts, rng), rng)
        if set(spec.selections) == {FULL}:
            return row
        return replace(row, selection=drawn(spec.selections, np.random.default_rng((self.config.seed, index, 1))))

    def draw(self, source: str, layout: str, rng: np.random.Generator, *, longest: int = 0, aside: bool = False) -> Row:
        """A row of a training document, or (aside) of one kept for measuring, whose document has at most `longest`
        tokens (0: as configured).  Raises BadInput."""
        spec = self.config.data
        longest = longest or spec.longest
        wanted = math.exp(rng.uniform(math.log(min(spec.shortest, longest)), math.log(longest)))
        for number in range(TRIES):
            room = wanted * (1.0 if number < 4 else 0.3 + 0.7 * rng.random())
            document = self.sources[source].draw(rng, int(room / (1 if layout == "once" else 2)), aside=aside)
            row = self.row(document, layout, longest) if document.asked and document.text.strip() else None
            if row is not None:
                return row
        todo = "raise data.longest, or give the source a share of 0"
        raise BadInput(f"no document of the source {source} fits a row", got=f"{longest} tokens", todo=todo)

    def answer(self, one: Asked) -> list[int]:
        """The tokens of an answer and its line end."""
        return token_ids(self.form.answer(NOT_FOUND if one.answer is None else one.answer), self.tokenizer)

    def row(self, document: AskedDocument, layout: str, longest: int) -> Row | None:
        """The document as one row, as many of its questions as fit; None where its tokens before the first question
        are more than `longest`, or no question fits."""
        first = build(layout, document.text, document.asked[0].ask, self.form, tokenizer=self.tokenizer)
        encoded = first.encode(self.tokenizer)
        start = encoded.spans[-1][1]
        if start > longest:
            return None
        tokens, block, targets = list(encoded.tokens[:start]), [0] * start, [IGNORE] * start
        positions, asked = list(range(start)), []
        alone = layout not in SHARED
        for one in document.asked[: 1 if alone else self.config.data.questions]:
            ask = (
                list(encoded.tokens[start:])
                if alone
                else token_ids(self.form.fill(self.form.ask, one.ask), self.tokenizer)
            )
            answer = self.answer(one)
            if len(tokens) - start + len(ask) + len(answer) > self.config.data.room:
                break
            asked.append(one)
            tokens += ask + answer
            block += [0 if alone else len(asked)] * len(ask + answer)
            targets += [IGNORE] * (len(ask) - 1) + answer + [IGNORE]
            positions += range(start, start + len(ask + answer))
        if not asked:
            return None
        columns = [np.array(x, dtype=np.int64) for x in (tokens, positions, targets, block)]
        return Row(columns[0], columns[1], columns[2], columns[3], document.text, tuple(asked))


class Steps(Dataset):
    """Item s: the rows of step s, a function of (seed, s) alone."""

    def __init__(self, rows: ReaderRows):
        self.rows = rows

    def __len__(self) -> int:
        return self.rows.config.steps

    def __getitem__(self, step: int) -> list[Row]:
        found, tokens = [], 0
        for index in range(step * ROWS_PER_STEP, (step + 1) * ROWS_PER_STEP):
            found.append(self.rows[index])
            tokens += len(found[-1].tokens)
            if tokens >= FILL * self.rows.config.step_tokens:
                break
        return found


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows behind each other: input_ids, position_ids (1,T); targets, block (T,); lengths (rows, 2): tokens that all
    questions of a row see, and all tokens of the row; selections: of each row."""

    def joined(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(row, name) for row in rows]))

    return {
        "input_ids": joined("tokens")[None],
        "position_ids": joined("positions")[None],
        "targets": joined("targets"),
        "block": joined("block"),
        "lengths": torch.tensor([[row.shared, len(row.tokens)] for row in rows]),
        "selections": [row.selection for row in rows],
    }


Stays = dict[int, Tensor]
"""Per layer with full attention: which keys of a row's document stay, (KV heads, tokens) bool."""


@dataclass(frozen=True)
class Place:
    """A row in a step: where it begins, tokens that all questions see, all tokens; mask: which keys (True) each token
    of its questions sees, (questions' tokens, all tokens), None where there is one question, read causally; stays: of
    the document for its questions, None where all of it does."""

    start: int
    shared: int
    total: int
    mask: Tensor | None
    stays: Stays | None = None

    def seen(self, layer: int, groups: int) -> Tensor:
        """Which keys the questions' tokens see in a layer, (1, 1 or H, questions' tokens, all tokens)."""
        assert self.mask is not None
        if self.stays is None or layer not in self.stays:
            return self.mask[None, None]
        stays = self.stays[layer].repeat_interleave(groups, dim=0)
        own = stays.new_ones(len(stays), self.total - self.shared)
        return (self.mask & torch.cat((stays, own), dim=1)[:, None])[None]


def layout_of(lengths: Tensor, block: Tensor, stays: Sequence[Stays | None] | None = None) -> list[Place]:
    """The rows of a step; stays: of each row's document, None where all of it does."""
    found: list[Place] = []
    start = 0
    for number, (shared, total) in enumerate(lengths.tolist()):
        own, mask = block[start : start + total], None
        if shared < total:
            order = torch.arange(total, device=block.device)
            causal = order[None, :] <= order[shared:, None]
            mask = causal & ((own[None, :] == 0) | (own[None, :] == own[shared:, None]))
        found.append(Place(start, shared, total, mask, stays[number] if stays else None))
        start += total
    return found


def rows_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    row_layout: list[Place] | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention within each row: causal over its shared tokens; its questions see those that stay, and themselves.

    query (1,H,T,D), key and value (1,H/g,T,D) -> (1,T,H,D).  Raises BadInput without a layout.
    """
    if row_layout is None:
        raise BadInput("this attention reads training rows", got="no row_layout")
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    out = []
    for row in row_layout:
        q, k, v = (x[:, :, row.start : row.start + row.total] for x in (query, key, value))
        first, keys, values = (x[:, :, : row.shared] for x in (q, k, v))
        out.append(F.scaled_dot_product_attention(first, keys, values, is_causal=True, scale=scaling))
        if row.mask is not None:
            seen = row.seen(int(module.layer_idx), groups)  # type: ignore[arg-type]
            asked = q[:, :, row.shared :]
            out.append(F.scaled_dot_product_attention(asked, k, v, attn_mask=seen, scale=scaling))
    return torch.cat(out, dim=2).transpose(1, 2).contiguous(), None


def use_rows_attention(model: Any) -> None:
    """Let a model of transformers read training rows."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, rows_attention)
    model.set_attn_implementation(ATTENTION)


def use_own_attention(model: Any) -> None:
    """Let it read prompts again."""
    model.set_attn_implementation("sdpa")


def row_logits(model: Any, columns: dict[str, Any], at: Tensor, stays: Sequence[Stays | None] | None = None) -> Tensor:
    """Logits (n,V) at those n places of the T tokens; the model reads with `use_rows_attention`.  stays: which keys of
    each row's document its questions see (training/reader_states.py); None: all."""
    layout = layout_of(columns["lengths"], columns["block"], stays)
    out = model(
        input_ids=columns["input_ids"],
        position_ids=columns["position_ids"],
        logits_to_keep=at,
        use_cache=False,
        row_layout=layout,
    )
    return out.logits[0]


def row_loss(model: Any, columns: dict[str, Any], stays: Sequence[Stays | None] | None = None) -> Tensor:
    """The mean negative log-probability of all answer tokens of a step, in float32, every token alike."""
    at = (columns["targets"] != IGNORE).nonzero()[:, 0]
    return F.cross_entropy(row_logits(model, columns, at, stays).float(), columns["targets"][at])

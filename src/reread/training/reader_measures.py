"""What is measured of an adapter while it is trained: questions about documents that are set aside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reread.engine import Reader
from reread.models import LM
from reread.models.kv_selection import FULL
from reread.prompting import NOT_FOUND, build
from reread.tasks.metrics import contains, exact
from reread.training.reader import (
    IGNORE,
    ReaderRows,
    Row,
    collate,
    row_loss,
    use_own_attention,
    use_rows_attention,
)
from reread.training.reader_states import Keeper

MEASURED_TOKENS, PER_DOCUMENT, NEW_TOKENS = 600, 2, 24  # of documents, questions, answers


@dataclass(frozen=True)
class Measured:
    """Set-aside rows of one or two questions, in the layout `once`; the same in every measurement of a recipe."""

    rows: tuple[Row, ...]

    @property
    def questions(self) -> int:
        return sum(len(row.asked) for row in self.rows)


def measured_rows(make: ReaderRows) -> Measured:
    """Rows of documents that are kept apart, of each source in turn, with as many questions as the recipe says."""
    rng, config = np.random.default_rng(12345), make.config
    found: list[Row] = []
    left = config.measured
    while left > 0:
        source = config.sources[len(found) % len(config.sources)]
        row = make.draw(source, "once", rng, longest=min(MEASURED_TOKENS, config.data.longest), aside=True)
        kept = first_questions(row, min(PER_DOCUMENT, left))
        found.append(kept)
        left -= len(kept.asked)
    return Measured(tuple(found))


def first_questions(row: Row, questions: int) -> Row:
    """The row with its first questions alone."""
    keep = row.block <= questions
    return Row(
        row.tokens[keep],
        row.positions[keep],
        row.targets[keep],
        row.block[keep],
        row.document,
        row.asked[:questions],
    )


def measure(lm: LM, measured: Measured, make: ReaderRows) -> dict[str, Any]:
    """Loss of the set-aside rows, and how their questions are answered.

    loss: mean per answer token; selected: the same from each state of the recipe that keeps a part, by its id; exact,
    contains: shares of the questions whose answer the document holds; n: their number; absent: share of the others that
    are answered "not found"; absent_n; false_absent: share of the first that are answered so.
    """
    model: Any = lm.model.model  # type: ignore[attr-defined]
    use_rows_attention(model)
    names = [FULL, *(name for name in make.config.data.selections if name != FULL)]
    keeper = Keeper(lm)
    losses = {name: mean_loss(model, measured, name, keeper) for name in names}
    use_own_attention(model)
    asked = [(row.document, one) for row in measured.rows for one in row.asked]
    prompts = [
        build("once", document, one.ask, make.form, tokenizer=make.tokenizer).encode(make.tokenizer)
        for document, one in asked
    ]
    told = Reader(lm).answer(prompts, stop=make.form.stop, max_new_tokens=NEW_TOKENS, batch=4)
    texts = [answer.text.strip() for answer in told]
    there = [(text, one.answer) for text, (_, one) in zip(texts, asked, strict=True) if one.answer is not None]
    absent = [text for text, (_, one) in zip(texts, asked, strict=True) if one.answer is None]
    selected = {"selected": {name: loss for name, loss in losses.items() if name != FULL}} if len(losses) > 1 else {}
    return {
        "loss": losses[FULL],
        **selected,
        "n": len(there),
        "exact": share(exact(text, [answer]) for text, answer in there),
        "contains": share(contains(text, [answer]) for text, answer in there),
        "false_absent": share(text.lower() == NOT_FOUND for text, _ in there),
        "absent_n": len(absent),
        "absent": share(text.lower() == NOT_FOUND for text in absent),
    }


@torch.no_grad()
def mean_loss(model: Any, measured: Measured, name: str, keeper: Keeper) -> float:
    """Mean per answer token of the set-aside rows, asked from the state that the selection of that id keeps."""
    losses, weights = [], []
    for row in measured.rows:
        columns = collate([replace(row, selection=name)])
        columns = {key: x.to(model.device) if isinstance(x, Tensor) else x for key, x in columns.items()}
        losses.append(float(row_loss(model, columns, keeper.stays(columns))))
        weights.append(int((row.targets != IGNORE).sum()))
    return round(float(np.average(losses, weights=weights)), 4)


def share(values: Iterable[float | bool]) -> float | None:
    """The mean of the values; None without any."""
    found = [float(value) for value in values]
    return round(sum(found) / len(found), 4) if found else None

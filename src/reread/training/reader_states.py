"""States of fixed size in the training of the reader: its questions see only the keys that a selection keeps.

A document is read and scored, and its keys are chosen, as when it is asked (models/kv_scores.py, kv_choice.py), with
the weights of the step and without gradients.  The row is then read in one forward: the document's tokens see each
other, and a question's tokens see the kept keys of the document and themselves.  Gradients run through the kept keys,
not through the choice.

Shapes: K KV heads, D tokens of the document.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reread.models import LM
from reread.models.kv_choice import choose
from reread.models.kv_scores import read_and_score
from reread.models.kv_selection import FULL, for_document, selection
from reread.models.pretrained import Pretrained
from reread.selecting import repeat_cue
from reread.training.reader import Stays, use_own_attention, use_rows_attention


class Keeper:
    """Chooses the keys that the questions of training rows see."""

    def __init__(self, lm: LM):
        self.model: Any = lm.model.model  # type: ignore[attr-defined]  # of transformers
        self.cue = repeat_cue(lm)

    @torch.no_grad()
    def stays(self, columns: dict[str, Any]) -> list[Stays | None]:
        """Per row of a step that was collated: what stays of its document, None where all of it does.  Raises BadInput
        as `read_and_score` and `choose` do."""
        names: Sequence[str] = columns["selections"]
        if all(name == FULL for name in names):
            return [None] * len(names)
        found: list[Stays | None] = []
        start, tokens = 0, columns["input_ids"]
        training = self.model.training
        use_own_attention(self.model)
        reader = Pretrained(self.model)  # of the weights of this step; sets them to evaluation
        for name, (shared, total) in zip(names, columns["lengths"].tolist(), strict=True):
            whole = name == FULL or shared == total
            found.append(None if whole else self.of(reader, tokens[:, start : start + shared], name))
            start += total
        use_rows_attention(self.model)
        self.model.train(training)
        return found

    def of(self, reader: Pretrained, document: Tensor, name: str) -> Stays:
        """Which keys of tokens (1,D) the selection of that id keeps."""
        chosen = selection(name)
        reading = read_and_score(reader, document, [chosen], self.cue)
        kept = choose(reading.scores[str(chosen)], for_document(chosen, reading.complexity), reading.sizes)
        every = torch.arange(document.shape[1])
        return {
            layer: torch.stack([torch.isin(every, one.cpu()) for one in heads]).to(document.device)
            for layer, heads in kept.items()
        }

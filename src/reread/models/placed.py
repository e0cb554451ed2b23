"""A model on another device than the words: tokens go there, logits come back, states stay.

Readers, scorers and stores hold tokens and choose among logits on the CPU; only what is large lives where
the model is.  This file knows neither prompts nor which model it holds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reread.errors import BadInput, reason
from reread.models import RecurrentModel
from reread.models.dtypes import own_state_dtype
from reread.models.fingerprint import check_in_memory


def checked(device: str) -> torch.device:
    """That device, if it can be computed on here.  Raises BadInput."""
    try:
        found = torch.device(device)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        what = f"cannot compute on this device: {reason(error)}"
        raise BadInput(what, got=device, allowed="cpu, or cuda where torch sees a GPU") from error
    return found


class Placed:
    """`model`, moved to `device`, behind the same three verbs; shapes as there."""

    def __init__(self, model: RecurrentModel, device: str):
        self.device = checked(device)
        module: Any = getattr(model, "model", model)  # a Pretrained holds the module
        check_in_memory(module)
        movable: Any = model
        movable.to(self.device)
        self.model = model

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def noncausal_prefix(self) -> bool:
        return self.model.noncausal_prefix

    @property
    def state_dtype(self) -> str:
        return own_state_dtype(self.model)

    @property
    def fingerprint(self) -> str:
        return self.model.fingerprint

    def _there(self, x: Any) -> Any:
        return x.to(self.device) if isinstance(x, Tensor) else x

    def read(
        self,
        tokens: Tensor,
        prefix_len: int | Tensor | None = None,
        mask: Tensor | None = None,
        *,
        last_only: bool = False,
        masking: str = "exact",
    ) -> tuple[Tensor, Any]:
        given = (self._there(tokens), self._there(prefix_len), self._there(mask))
        logits, state = self.model.read(*given, last_only=last_only, masking=masking)
        return logits.cpu(), state

    def extend(
        self, tokens: Tensor, state: Any, mask: Tensor | None = None, *, last_only: bool = False
    ) -> tuple[Tensor, Any]:
        there = state.to(self.device)
        logits, after = self.model.extend(self._there(tokens), there, self._there(mask), last_only=last_only)
        return logits.cpu(), after

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, after = self.model.step(self._there(token), state.to(self.device))
        return logits.cpu(), after

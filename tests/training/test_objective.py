"""The two losses."""

import pytest
import torch
import torch.nn.functional as F

from reread.training.objective import MASKED, NEXT, losses


def test_total_is_next_plus_weighted_masked():
    logits, targets = torch.randn(6, 11), torch.tensor([0, 1, 2, 3, 4, 5])
    kind = torch.tensor([NEXT, NEXT, MASKED, NEXT, MASKED, MASKED])
    out = losses(logits, targets, kind, 0.25)
    assert out.next == pytest.approx(F.cross_entropy(logits[kind == NEXT], targets[kind == NEXT]).item(), abs=1e-6)
    assert out.masked == pytest.approx(
        F.cross_entropy(logits[kind == MASKED], targets[kind == MASKED]).item(), abs=1e-6
    )
    assert out.total.item() == pytest.approx(out.next.item() + 0.25 * out.masked.item(), abs=1e-6)


def test_token_zero_is_an_ordinary_masked_target():
    logits = torch.zeros(1, 5)
    out = losses(logits, torch.tensor([0]), torch.tensor([MASKED]), 1.0)
    assert out.masked.item() == pytest.approx(torch.log(torch.tensor(5.0)).item())


def test_a_kind_without_positions_counts_zero_and_is_finite():
    out = losses(torch.randn(2, 5), torch.tensor([1, 2]), torch.tensor([NEXT, NEXT]), 0.25)
    assert out.masked.item() == 0.0
    assert torch.isfinite(out.total)

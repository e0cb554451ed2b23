"""Reads and steps of one token: of a fresh model, and of the rows of a batch."""

import pytest
import torch

from reread.models import LM
from reread.models.families import TINY, tiny
from reread.models.pretrained import Pretrained

FAST = [family for family in TINY if family not in ("olmo_hybrid", "qwen3_next", "nemotron_h", "granitemoehybrid")]


def ids(rows=3, length=10):
    return torch.randint(97, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", FAST)
def test_the_first_read_of_a_fresh_model_may_be_one_token(family):
    tokens = ids(1)
    want, _ = tiny(family).read(tokens)
    fresh = tiny(family)
    first, state = fresh.read(tokens[:, :1])
    rest, _ = fresh.extend(tokens[:, 1:], state)
    torch.testing.assert_close(torch.cat((first, rest), dim=1), want, rtol=0, atol=5e-6)


@pytest.mark.parametrize("family", FAST)
@pytest.mark.parametrize("known", [True, False], ids=["listed", "found out"])
def test_rows_of_one_token_are_read_as_each_alone(family, known):
    model, tokens = tiny(family), ids()
    if not known:
        model._resume, model._alone = None, False
    alone = [model.read(tokens[i : i + 1, :1]) for i in range(3)]
    for last_only in (False, True):
        together, state = model.read(tokens[:, :1], last_only=last_only)
        want = torch.cat([logits for logits, _ in alone])
        torch.testing.assert_close(together, want[:, 0] if last_only else want, rtol=0, atol=5e-6)
        step = model.step(tokens[:, 1], state)[0]
        want_step = torch.cat([model.step(tokens[i : i + 1, 1], one)[0] for i, (_, one) in enumerate(alone)])
        torch.testing.assert_close(step, want_step, rtol=0, atol=5e-6)


@pytest.mark.parametrize("family", ["rwkv", "recurrent_gemma", "llama"])
def test_one_token_beside_longer_rows(family):
    model, tokens = tiny(family), ids()
    mask = torch.arange(10)[None] < torch.tensor([[1], [10], [1]])
    logits, state = model.read(tokens, mask=mask, last_only=True)
    for row, length in enumerate((1, 10, 1)):
        want, alone = model.read(tokens[row : row + 1, :length], last_only=True)
        torch.testing.assert_close(logits[row], want[0], rtol=0, atol=5e-6)
        after = model.step(tokens[:, 2], state)[0][row]
        torch.testing.assert_close(after, model.step(tokens[row : row + 1, 2], alone)[0][0], rtol=0, atol=5e-6)


@pytest.mark.parametrize("family", ["rwkv", "recurrent_gemma"])
def test_surprisal_of_units_is_that_of_each_unit_alone(family, byte_tokenizer):
    from reread.prompting import template
    from reread.scoring import UnitScores

    torch.manual_seed(0)
    made = tiny(family).model
    made.resize_token_embeddings(256)
    lm = LM(family, Pretrained(made), byte_tokenizer)
    units = ["One unit.", "Another one", "a third"]
    scores = UnitScores(lm, "what", template("field"))
    together = scores("surprisal", units)
    assert together == pytest.approx([scores("surprisal", [unit])[0] for unit in units], abs=1e-4)

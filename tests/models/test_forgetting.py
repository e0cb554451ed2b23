"""What a state has forgotten: losses of repeating the document, and the budget that is chosen by them."""

import math
from dataclasses import replace

import pytest
import torch
from kv_models import ids, model_of
from raising import refused

from reread.errors import BadInput
from reread.models.kept_reading import SHARES, read_selected
from reread.models.kv_scores import Cue, token_losses
from reread.models.kv_selection import selection

CUE = Cue((5, 6, 7), (8, 9), (10,), tail=3)
T = 40


def stepwise(model, tokens, state, chunk):
    """The losses of repeating each chunk, token by token."""
    found = []
    for start in range(0, T, chunk):
        logits, now = model.extend(CUE.before(tokens, start), state, last_only=True)
        logits = logits.reshape(1, -1)
        for token in tokens[0, start : start + chunk]:
            found.append(-logits.double().log_softmax(-1)[0, token])
            logits, now = model.step(token[None], now)
    return torch.stack(found)


@pytest.mark.parametrize("chunk", [64, 16])
@pytest.mark.parametrize("family", ["llama", "jamba"])
def test_what_is_forgotten_is_the_difference_of_two_repetitions(family, chunk):
    model, tokens = model_of(family, 2), ids(T)
    chosen = selection(f"reread(share=0.25, chunk={chunk})")
    found = read_selected(model, tokens, chosen, CUE, forgotten=True)
    _, whole = model.read(tokens)
    want = stepwise(model, tokens, found.state, chunk) - stepwise(model, tokens, whole, chunk)
    torch.testing.assert_close(found.forgotten.double(), want.double(), rtol=1e-3, atol=1e-4)
    assert float(want.abs().max()) > 1e-3
    pieces = math.ceil(T / chunk)
    cues = len(CUE.first) + (pieces - 1) * (len(CUE.later) + CUE.tail + len(CUE.after))
    assert found.read_tokens == T + 2 * (T + cues)  # once, again for the scores, from the kept keys
    plain = read_selected(model, tokens, chosen, CUE)
    assert plain.forgotten is None and plain.read_tokens == 2 * T + cues
    for layer, own in plain.state.tensors[0].items():
        torch.testing.assert_close(own, found.state.tensors[0][layer])


def test_a_selection_of_one_reading_repeats_the_document_from_all_keys_too():
    model, tokens = model_of("llama", 2), ids(T)
    found = read_selected(model, tokens, selection("window(share=0.25)"), CUE, forgotten=True)
    _, whole = model.read(tokens)
    want = stepwise(model, tokens, found.state, T) - stepwise(model, tokens, whole, T)
    torch.testing.assert_close(found.forgotten.double(), want.double(), rtol=1e-3, atol=1e-4)
    assert found.read_tokens == T + 2 * (T + len(CUE.first))


@pytest.mark.parametrize("name", ["full", "reread(share=1.0)"])
def test_a_whole_cache_has_forgotten_nothing(name):
    found = read_selected(model_of("llama", 2), ids(T), selection(name), CUE, forgotten=True)
    assert found.forgotten.tolist() == [0.0] * T


@pytest.mark.parametrize("name", ["reread", "window"])
def test_a_limit_of_loss_takes_the_smallest_share_that_keeps_it(name):
    model, tokens = model_of("llama", 2), ids(T)
    lost = {}
    for share in SHARES:
        one = read_selected(model, tokens, selection(f"{name}(share={share})"), CUE, forgotten=True)
        lost[share] = float(one.forgotten.mean())
    limit = (lost[SHARES[4]] + lost[SHARES[6]]) / 2
    found = read_selected(model, tokens, selection(f"{name}(loss={limit})"), CUE)
    index = next(i for i, share in enumerate(SHARES) if found.positions == int(share * T) or share == 1.0)
    assert lost[SHARES[index]] <= limit < lost[SHARES[index - 1]]
    assert float(found.forgotten.mean()) == pytest.approx(lost[SHARES[index]], abs=1e-6)
    assert str(found.selection) == f"{name}(loss={limit})"


def test_a_large_limit_keeps_the_smallest_share_and_a_tiny_one_everything():
    model, tokens = model_of("llama", 2), ids(T)
    least = read_selected(model, tokens, selection("random(loss=1000)"), CUE)
    assert least.positions == 4
    most = read_selected(model, tokens, selection("random(loss=1e-9)"), CUE)
    assert most.all_kept or float(most.forgotten.mean()) <= 1e-9


def test_losses_are_minus_log_probabilities_block_by_block():
    logits, wanted = torch.randn(600, 11, generator=torch.Generator().manual_seed(0)), torch.arange(600) % 11
    want = -logits.double().log_softmax(-1)[torch.arange(600), wanted]
    torch.testing.assert_close(token_losses(logits, wanted).double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("text", ["window(loss=0)", "reread(loss=-1)", "reread(loss=1e999)"])
def test_a_loss_must_be_a_positive_number(text):
    with refused(BadInput, naming="loss must be above 0"):
        selection(text)


def test_without_a_cue_nothing_can_be_repeated():
    model = model_of("llama", 2)
    chosen = selection("window(share=0.5)")
    for cue in (None, replace(CUE, first=())):
        with refused(BadInput, naming="cue"):
            read_selected(model, ids(T), chosen, cue, forgotten=True)

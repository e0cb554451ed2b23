"""Every mixer, and linear attention with every feature map: the equivalences, padding, save and load, training.

Shapes: B batch, T time.
"""

from __future__ import annotations

import pytest
import torch
from marks import slow
from safetensors.torch import load_file, save_file

from reread.models.prefix_lm import MIXERS, PrefixLMForCausalLM
from reread.models.state import State

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
MODELS = {name: {"mixers": ["conv", name, "window", name]} for name in MIXERS} | {
    text: {"mixers": ["linear", "conv", "linear"], "feature_map": text}
    for text in ("identity", "elu", "relu", "gelu", "polynomial(degree=3)", "gaussian", "mlp", "softmax", "hedgehog")
}
MODELS |= {
    "mixture": {"mixers": ["conv", "linear"], "feature_map": "mixture(taylor, relu, hedgehog, gaussian(features=9))"},
    "qk_norm": {"mixers": ["conv", "linear", "linear"], "qk_norm": True},
    "not normalised": {"mixers": ["conv", "linear", "linear"], "feature_map": "identity", "normalise": False},
}


@pytest.fixture(params=MODELS, ids=str)
def sizes(request):
    return MODELS[request.param]


@pytest.fixture(params=[True, False], ids=["jrt", "causal"])
def model(request, tiny_model, sizes):
    return tiny_model(prefix_encoder=request.param, **sizes)


@pytest.fixture(scope="session", params=[0])
def tiny_config(request, tiny_config):
    return tiny_config


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(0, 64, shape)


def close(got: State, want: State) -> None:
    """Equal tensors; full attention may hold zeros after the row's own end, as its batch needed."""
    got_flat, want_flat = got.to_flat(), want.to_flat()
    for name, x in want_flat.items():
        y = got_flat[name]
        if x.dim() > 1 and y.shape[1] > x.shape[1]:
            assert not y[:, x.shape[1] :].any()
            y = y[:, : x.shape[1]]
        torch.testing.assert_close(y, x, **CLOSE)
    assert got_flat.keys() == want_flat.keys()


@torch.no_grad()
@pytest.mark.parametrize("first", [6, *slow(1, 29)])
def test_read_all_equals_read_then_extend_and_read_then_steps(model, first):
    ids = tokens(2, 80)
    want, end = model.read(ids, first)
    logits, state = model.read(ids[:, :first], first)
    more, extended = model.extend(ids[:, first:], state)
    torch.testing.assert_close(torch.cat((logits, more), dim=1), want, **CLOSE)
    close(extended, end)
    for t in range(first, first + 12):
        step, state = model.step(ids[:, t], state)
        torch.testing.assert_close(step, want[:, t], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("where", ["both", *slow("left", "right")])
def test_rows_of_several_lengths_with_prefixes_of_their_own_equal_single_rows(model, where):
    lengths, prefixes, T = (23, 5, 1), (11, 0, 1), 30
    rows = [tokens(n) for n in lengths]
    padded, mask = tokens(3, T), torch.zeros(3, T, dtype=torch.bool)
    for b, (row, n) in enumerate(zip(rows, lengths, strict=True)):
        at = {"left": range(T - n, T), "right": range(n), "both": range(T - n - 1, T - 1)}[where]
        padded[b, list(at)], mask[b, list(at)] = row, True
    logits, state = model.read(padded, torch.tensor(prefixes), mask, last_only=True)
    for b, row in enumerate(rows):
        want, end = model.read(row[None], prefixes[b], last_only=True)
        torch.testing.assert_close(logits[b : b + 1], want, **CLOSE)
        close(state.rows([b]), end)


@torch.no_grad()
def test_only_a_prefix_encoder_looks_ahead(model):
    ids = tokens(1, 40)
    other = ids.clone()
    other[0, 15] = (other[0, 15] + 1) % 64
    changed = (model.read(ids, 20)[0] - model.read(other, 20)[0]).abs().amax(-1)[0] > 1e-6
    causal_alone = set(model.config.mixers) <= {"conv", "window", "attention", "decayed_linear"}
    assert model.noncausal_prefix == (model.config.prefix_encoder and not causal_alone)
    assert changed[16:].any()
    assert bool(changed[:15].any()) == model.noncausal_prefix


@torch.no_grad()
def test_save_and_load_keep_logits_fingerprint_and_states(model, tmp_path):
    ids = tokens(1, 20)
    want, state = model.read(ids)
    model.save_pretrained(tmp_path)
    again = PrefixLMForCausalLM.from_pretrained(tmp_path)
    assert again.fingerprint == model.fingerprint
    torch.testing.assert_close(again.read(ids)[0], want, rtol=0, atol=0)
    save_file(state.to_flat(), tmp_path / "state.safetensors")
    loaded = State.from_flat(load_file(tmp_path / "state.safetensors"), model.fingerprint)
    torch.testing.assert_close(again.extend(ids, loaded)[0], model.extend(ids, state)[0], rtol=0, atol=0)


def test_it_trains(tiny_model, sizes):
    """The loss of one repeated batch falls, and every parameter gets a finite gradient."""
    model = tiny_model(**sizes).train()
    ids = tokens(4, 24)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss = model(ids, labels=ids, prefix_lengths=torch.full((4,), 8)).loss
        loss.backward()
        for name, p in model.named_parameters():
            assert p.grad is not None and p.grad.isfinite().all(), name
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]

"""Keys at other positions, and documents with more tokens than the model has positions, against transformers alone."""

import math

import pytest
import torch
from kv_models import ids, model_of
from marks import slow
from raising import containing, refused
from transformers import DynamicCache

from reread.errors import BadInput
from reread.models.kept_keys import kept_positions
from reread.models.kept_reading import read_selected
from reread.models.kv_attention import scored_layers
from reread.models.kv_scores import Cue
from reread.models.kv_selection import selection
from reread.models.moved_keys import can_move, turns_of
from reread.models.pretrained import Pretrained

CUE = Cue((5, 6, 7), (8, 9), (10,), tail=3)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # transformers takes angles in fp32
LIMIT, T, SHIFT = 64, 150, 37


@pytest.mark.parametrize(
    "family",
    [
        *("llama", "qwen3", "phi", "smollm3", "falcon_h1"),
        *slow("qwen2", "mistral", "jamba", "granitemoehybrid", "lfm2", "qwen3_next", "bamba"),
    ],
)
@torch.no_grad()
def test_a_moved_key_is_the_key_that_is_read_at_that_position(family):
    model, tokens = model_of(family), ids(12)
    turns = turns_of(model)
    assert set(turns) == set(scored_layers(model))
    at = torch.arange(12)[None]
    first, later = (model.model(tokens, position_ids=at + s, use_cache=True).past_key_values for s in (0, SHIFT))
    for layer, turn in turns.items():
        here, there = (one.layers[layer].keys[0] for one in (first, later))
        for k in range(len(here)):
            torch.testing.assert_close(turn.of(here[k], torch.full((12,), SHIFT)), there[k], **CLOSE)
            torch.testing.assert_close(turn.of(there[k], torch.full((12,), -SHIFT)), here[k], **CLOSE)


@pytest.mark.parametrize(
    ("family", "settings", "why"),
    [
        ("gpt2", {}, "learned positions"),
        ("gemma2", {}, "sliding window"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, "'dynamic'"),
    ],
)
def test_families_whose_keys_cannot_be_moved_are_refused_before_the_document_is_read(family, settings, why):
    model = model_of(family, **settings)
    limit = model.named_positions
    with refused(BadInput, got=containing(why)):
        read_selected(model, ids(limit + 20), selection("reread(tokens=8, read=30)"), CUE)
    assert not can_move(model)


def turned(key, steps):
    """key (K,N,D) turned by `steps` (N,) positions, by Llama's formula with base 10,000."""
    D = key.shape[-1]
    angle = steps[:, None].double() * 10000.0 ** (-torch.arange(0, D, 2).double() / D)
    cos, sin = angle.cos(), angle.sin()
    a, b = key[..., : D // 2], key[..., D // 2 :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


@torch.no_grad()
def newest(model, tokens, questions, budget, read):
    """The newest positions read in pieces, by transformers with a cache of our own making; logits of the questions."""
    layers = range(model.config.num_hidden_layers)
    held, end, closed = [], 0, 0

    def cache():
        made = DynamicCache(config=model.config)
        for i in layers if held else ():
            made.update(held[i][0][None], held[i][1][None], i)
        return made

    def go(some):
        positions = torch.arange(end, end + some.shape[1])[None]
        mask = torch.zeros(1, 1, some.shape[1], (held[0][0].shape[1] if held else 0) + some.shape[1])
        mask[..., -some.shape[1] :] = torch.full((some.shape[1],) * 2, -math.inf).triu(1)
        return model.model(some, attention_mask=mask.double(), position_ids=positions, past_key_values=cache())

    def close():
        n = held[0][0].shape[1]
        return [(turned(key, torch.arange(n) - at), value) for key, value in held], torch.arange(n), n

    at = torch.arange(0)
    for begin in range(0, tokens.shape[1], read):
        piece = tokens[:, begin : begin + read]
        if held and end + read > LIMIT:
            held, at, end = close()
            closed += 1
        out = go(piece).past_key_values
        at = torch.cat((at, torch.arange(end, end + piece.shape[1])))
        end += piece.shape[1]
        stays = torch.cat((torch.arange(4), torch.arange(max(4, len(at) - budget + 4), len(at))))
        held = [(out.layers[i].keys[0][:, stays], out.layers[i].values[0][:, stays]) for i in layers]
        at = at[stays]
    if end + LIMIT // 4 > LIMIT:
        held, at, end = close()
        closed += 1
    return go(questions).logits, at, end, closed


@pytest.mark.parametrize("read", [16, 22])
def test_the_newest_positions_of_a_document_longer_than_the_models_positions(read):
    model, tokens, questions = model_of("llama", max_position_embeddings=LIMIT), ids(T), ids(6, seed=1)
    found = read_selected(model, tokens, selection(f"window(tokens=10, read={read})"))
    want, at, end, closed = newest(model, tokens, questions, 10, read)
    assert found.closed == closed > 1 and found.state.position.tolist() == [end] and found.tokens == T
    assert all((one == at).all() for heads in kept_positions(found.state.tensors[0]).values() for one in heads)
    got, after = model.extend(questions, found.state)
    torch.testing.assert_close(got, want, **CLOSE)
    assert after.position.tolist() == [end + 6]


@pytest.mark.parametrize("family", ["llama", "falcon_h1"])
@torch.no_grad()
def test_no_token_goes_beyond_the_positions_and_kept_keys_are_those_of_the_document(family, monkeypatch):
    model, tokens = model_of(family, max_position_embeddings=LIMIT), ids(T)
    ends, plain = [], Pretrained._forward

    def forward(self, x, flat, at, *args, **more):
        ends.append(at.max())
        return plain(self, x, flat, at, *args, **more)

    monkeypatch.setattr(Pretrained, "_forward", forward)
    found = read_selected(model, tokens, selection("reread(tokens=10, read=16)"), CUE)
    model.extend(ids(8, seed=1), found.state)
    assert int(max(ends)) < LIMIT and found.closed > 1 and not found.all_kept
    kept = kept_positions(found.state.tensors[0])
    counts = [len(one) for heads in kept.values() for one in heads]
    assert sum(counts) == 10 * len(counts) and found.positions == 10
    if family != "llama":
        return
    layer = model.model.model.layers[0]
    raw = layer.self_attn.k_proj(layer.input_layernorm(model.model.model.embed_tokens(tokens)))[0]
    raw = raw.unflatten(-1, (2, -1)).transpose(0, 1)  # (K,T,D) before they are turned
    key = found.state.tensors[0]["kept.0.key"].split([len(one) for one in kept[0]])
    for k, (own, at) in enumerate(zip(key, kept[0], strict=True)):
        back = turned(own[None], -at)[0]
        place = (back[:, None] - raw[k]).abs().amax(dim=-1).min(dim=1)
        assert (place.values < 1e-4).all() and (tokens[0, place.indices[4:]] >= 0).all()


def test_a_document_that_fits_is_read_as_before():
    tokens, chosen = ids(40), selection("reread(tokens=10, read=12)")
    found = read_selected(model_of("llama", max_position_embeddings=LIMIT), tokens, chosen, CUE)
    other = read_selected(model_of("llama", max_position_embeddings=4096), tokens, chosen, CUE)
    assert found.closed == other.closed == 0 and torch.equal(found.logits, other.logits)


def test_pieces_that_do_not_fit_behind_the_kept_positions_are_refused():
    model = model_of("llama", max_position_embeddings=LIMIT)
    with refused(BadInput, allowed=LIMIT, naming="pieces"):
        read_selected(model, ids(T), selection("reread(tokens=10, read=30)"), CUE)

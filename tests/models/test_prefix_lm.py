"""PrefixLM: the equivalences of read, extend and step, padding, states, fingerprints, and the transformers skin.

Shapes: B batch, T time, H heads, E width of an attention head, W window.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from raising import containing, refused
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from reread.errors import BadInput, UnknownName
from reread.models import LM
from reread.models.mixers import GatedConv, Span, WindowAttention
from reread.models.prefix_lm import PrefixLMForCausalLM
from reread.models.state import State

both_models = pytest.mark.parametrize("prefix_encoder", [True, False], ids=["jrt", "causal"])
paddings = pytest.mark.parametrize("where", ["left", "right", "both"])
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def gradients(_no_grad):
    with torch.enable_grad():
        yield


@pytest.fixture
def model(tiny_model):
    return tiny_model()


def draw(*shape: int, vocab: int = 64) -> torch.Tensor:
    return torch.randint(0, vocab, shape)


def pad(rows: list[torch.Tensor], where: str, T: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of several lengths as (B,T) tokens and mask; padding holds random tokens."""
    tokens, mask = draw(len(rows), T), torch.zeros(len(rows), T, dtype=torch.bool)
    for b, row in enumerate(rows):
        n = len(row)
        at = {
            "left": torch.arange(T - n, T),
            "right": torch.arange(n),
            "both": torch.arange((T - n) // 2, (T - n) // 2 + n),
        }[where]
        tokens[b, at], mask[b, at] = row, True
    return tokens, mask


def assert_states_close(got: State, want: State) -> None:
    assert got.fingerprint == want.fingerprint
    got, want = got.to_flat(), want.to_flat()
    assert got["position"].tolist() == want["position"].tolist() and got.keys() == want.keys()
    errors = {
        name: ((got[name] - x).double().norm() / x.double().norm().clamp(min=1e-6)).item() for name, x in want.items()
    }
    assert max(errors.values()) < 1e-5, errors


def steps(model, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
    logits = []
    for t in range(tokens.shape[1]):
        one, state = model.step(tokens[:, t], state)
        logits.append(one)
    return torch.stack(logits, dim=1), state


@both_models
@pytest.mark.parametrize("first", [1, 2, 4, 5, 17, 29])
def test_read_all_equals_read_then_extend(tiny_model, prefix_encoder, first):
    model, tokens = tiny_model(prefix_encoder), draw(2, 30)
    want, want_state = model.read(tokens, first)
    head, state = model.read(tokens[:, :first])
    tail, state = model.extend(tokens[:, first:], state)
    torch.testing.assert_close(torch.cat((head, tail), dim=1), want, **CLOSE)
    assert_states_close(state, want_state)


@both_models
@pytest.mark.parametrize("first", [1, 3, 17])
def test_read_all_equals_read_then_steps(tiny_model, prefix_encoder, first):
    model, tokens = tiny_model(prefix_encoder), draw(2, 30)
    want, want_state = model.read(tokens, first)
    _, state = model.read(tokens[:, :first])
    tail, state = steps(model, tokens[:, first:], state)
    torch.testing.assert_close(tail, want[:, first:], **CLOSE)
    assert_states_close(state, want_state)


@both_models
def test_equivalence_holds_across_chunks_of_the_op(tiny_model, prefix_encoder):
    model, tokens = tiny_model(prefix_encoder), draw(1, 200)
    want, want_state = model.read(tokens, 90)
    _, state = model.read(tokens[:, :90])
    tail, state = model.extend(tokens[:, 90:], state)
    torch.testing.assert_close(tail, want[:, 90:], **CLOSE)
    assert_states_close(state, want_state)


def test_prefix_zero_of_the_noncausal_model_equals_steps_from_one_token(model):
    tokens = draw(2, 12)
    want, want_state = model.read(tokens, 0)
    _, state = model.read(tokens[:, :1], 0)
    tail, state = steps(model, tokens[:, 1:], state)
    torch.testing.assert_close(tail, want[:, 1:], **CLOSE)
    assert_states_close(state, want_state)


def test_prefix_len_none_means_all_tokens(model):
    tokens = draw(2, 12)
    torch.testing.assert_close(model.read(tokens)[0], model.read(tokens, 12)[0], rtol=0, atol=0)


def test_a_prefix_longer_than_its_row_is_refused_with_both_lengths(model):
    tokens, mask = draw(2, 12), torch.arange(12)[None] < torch.tensor([[12], [7]])
    with refused(BadInput, got=[13, 13], allowed="0 to [12, 12]"):
        model.read(tokens, 13)
    for lengths in (torch.tensor([12, 8]), torch.tensor([-1, 3])):
        with refused(BadInput, got=lengths.tolist(), allowed="0 to [12, 7]"):
            model.read(tokens, lengths, mask)
        with refused(BadInput, got=lengths.tolist(), allowed="0 to [12, 7]"):
            model(tokens, mask, prefix_lengths=lengths, logits_at=mask)
    with refused(BadInput, got="torch.int64 (3,)", allowed="int64 (2,)"):
        model.read(tokens, torch.tensor([1, 2, 3]))


@pytest.mark.parametrize("verb", ["read", "extend"])
def test_a_mask_with_a_hole_is_refused_with_its_place(model, verb):
    mask = torch.tensor([[0, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 0]]).bool()
    state = model.read(draw(2, 4))[1] if verb == "extend" else None
    with refused(BadInput, got=containing("row 1", "from 0", "from 4")):
        model.read(draw(2, 6), 0, mask) if state is None else model.extend(draw(2, 6), state, mask)


def test_a_state_of_another_dtype_is_refused(model):
    _, state = model.read(draw(2, 9))
    for cast in (torch.bfloat16, torch.float64):
        layers = tuple({name: x.to(cast) for name, x in layer.items()} for layer in state.layers)
        with refused(BadInput, got=containing(cast, "torch.float32"), allowed=torch.float32):
            model.step(draw(2), State(layers, state.position, state.fingerprint))


def test_float16_on_a_cpu_is_refused(model):
    with refused(BadInput, got="torch.float16 on cpu", allowed="float32, bfloat16"):
        model.half().read(draw(1, 5))


def test_prefix_len_per_row_equals_single_rows(model):
    tokens, lengths = draw(4, 20), [0, 1, 13, 20]
    logits, state = model.read(tokens, torch.tensor(lengths))
    for b, length in enumerate(lengths):
        alone, alone_state = model.read(tokens[b : b + 1], length)
        torch.testing.assert_close(logits[b : b + 1], alone, **CLOSE)
        assert_states_close(state.rows([b]), alone_state)


LENGTHS = (1, 3, 9, 20)


@both_models
@paddings
def test_padded_read_equals_unpadded_rows(tiny_model, prefix_encoder, where):
    model, rows, prefixes = tiny_model(prefix_encoder), [draw(n) for n in LENGTHS], [0, 2, 9, 11]
    tokens, mask = pad(rows, where, 26)
    logits, state = model.read(tokens, torch.tensor(prefixes), mask)
    for b, row in enumerate(rows):
        want, want_state = model.read(row[None], prefixes[b])
        torch.testing.assert_close(logits[b][mask[b]], want[0], **CLOSE)
        assert_states_close(state.rows([b]), want_state)


@both_models
@paddings
def test_padded_read_of_the_whole_row_as_prefix_equals_unpadded_rows(tiny_model, prefix_encoder, where):
    model, rows = tiny_model(prefix_encoder), [draw(n) for n in LENGTHS]
    tokens, mask = pad(rows, where, 26)
    logits, _ = model.read(tokens, None, mask)
    for b, row in enumerate(rows):
        torch.testing.assert_close(logits[b][mask[b]], model.read(row[None])[0][0], **CLOSE)


@both_models
@paddings
def test_padded_extend_equals_unpadded_rows(tiny_model, prefix_encoder, where):
    model = tiny_model(prefix_encoder)
    documents, questions = [draw(n) for n in LENGTHS], [draw(n) for n in (7, 1, 5, 2)]
    _, state = model.read(*pad_read(documents))
    tokens, mask = pad(questions, where, 10)
    logits, state = model.extend(tokens, state, mask)
    for b, (document, question) in enumerate(zip(documents, questions, strict=True)):
        want, want_state = model.read(torch.cat((document, question))[None], len(document))
        torch.testing.assert_close(logits[b][mask[b]], want[0, len(document) :], **CLOSE)
        assert_states_close(state.rows([b]), want_state)


def pad_read(rows: list[torch.Tensor]) -> tuple[torch.Tensor, None, torch.Tensor]:
    """Arguments of read: rows left-padded, everything in the prefix."""
    tokens, mask = pad(rows, "left", max(map(len, rows)))
    return tokens, None, mask


@both_models
def test_steps_after_a_padded_read_equal_unpadded_rows(tiny_model, prefix_encoder):
    model, rows, tail = tiny_model(prefix_encoder), [draw(n) for n in LENGTHS], draw(4, 6)
    _, state = model.read(*pad_read(rows))
    logits, _ = steps(model, tail, state)
    for b, row in enumerate(rows):
        want, _ = model.read(torch.cat((row, tail[b]))[None], len(row))
        torch.testing.assert_close(logits[b], want[0, len(row) :], **CLOSE)


def test_a_row_of_padding_only_keeps_its_state_in_extend(model):
    _, state = model.read(draw(2, 9))
    mask = torch.tensor([[True, True, True], [False, False, False]])
    _, after = model.extend(draw(2, 3), state, mask)
    assert_states_close(after.rows([1]), state.rows([1]))


def test_an_integer_mask_equals_a_bool_mask(model):
    tokens, mask = pad([draw(3), draw(7)], "left", 9)
    torch.testing.assert_close(model.read(tokens, 2, mask.long())[0], model.read(tokens, 2, mask)[0], rtol=0, atol=0)


@paddings
def test_last_only_gives_the_logits_of_the_last_real_token(model, where):
    tokens, mask = pad([draw(n) for n in LENGTHS], where, 26)
    prefixes = torch.tensor([1, 3, 5, 5])
    full, _ = model.read(tokens, prefixes, mask)
    last, _ = model.read(tokens, prefixes, mask, last_only=True)
    want = torch.stack([row[keep][-1] for row, keep in zip(full, mask, strict=True)])
    torch.testing.assert_close(last, want, **CLOSE)


@both_models
def test_batch_equals_singles(tiny_model, prefix_encoder):
    model, tokens = tiny_model(prefix_encoder), draw(3, 21)
    logits, state = model.read(tokens, 10)
    singles = [model.read(tokens[b : b + 1], 10) for b in range(3)]
    torch.testing.assert_close(logits, torch.cat([one for one, _ in singles]), **CLOSE)
    assert_states_close(state, State.cat([one for _, one in singles]))


@pytest.mark.parametrize("verb", ["extend", "padded extend", "step"])
def test_the_given_state_is_not_changed(model, verb):
    _, state = model.read(draw(2, 9))
    before, mask = state.clone(), torch.arange(6)[None] < torch.tensor([[2], [5]])
    if verb == "step":
        model.step(draw(2), state)
    else:
        model.extend(draw(2, 6), state, mask if verb == "padded extend" else None)
    assert state.position.equal(before.position)
    torch.testing.assert_close(state.layers, before.layers, rtol=0, atol=0)


@both_models
def test_state_has_one_size_after_10_and_200_tokens(tiny_model, prefix_encoder):
    model = tiny_model(prefix_encoder)
    _, short = model.read(draw(1, 10))
    _, long = model.extend(draw(1, 190), short)
    assert (long.nbytes, long.position.item()) == (short.nbytes, 200)


def test_state_has_one_size_from_the_first_token_on(model):
    assert model.read(draw(1, 1))[1].nbytes == model.read(draw(1, 10))[1].nbytes


def held_bytes(state: State) -> int:
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage() for x in state.to_flat().values()}
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("T", [1, 10, 1000])
def test_state_holds_no_more_memory_than_it_says(model, T):
    _, state = model.read(draw(1, T))
    assert held_bytes(state) <= 1.2 * state.nbytes


def test_state_is_float32_for_a_bf16_model(tiny_model):
    _, state = tiny_model().bfloat16().read(draw(1, 10))
    assert {x.dtype for layer in state.layers for x in layer.values()} == {torch.float32}


def turn(x_THE: torch.Tensor, base: float) -> torch.Tensor:
    """Rotary embedding as a complex product; position = index along time."""
    T, _, E = x_THE.shape
    angle = torch.arange(T)[:, None, None] * base ** (-torch.arange(E // 2) * 2 / E)
    z = torch.complex(x_THE[..., : E // 2], x_THE[..., E // 2 :]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((z.real, z.imag), dim=-1)


def brute_window(mixer: WindowAttention, x: torch.Tensor) -> torch.Tensor:
    """One row x (T,C), query by query: softmax over the token itself and the W before it."""
    T, C = x.shape
    q, k, v = mixer.qkv_proj(x).reshape(T, 3, mixer.heads, -1).unbind(1)
    q, k = turn(q, mixer.base), turn(k, mixer.base)
    y = []
    for t in range(T):
        seen = slice(max(0, t - mixer.window), t + 1)
        scores = torch.einsum("he,jhe->hj", q[t], k[seen]) / q.shape[-1] ** 0.5
        y.append(torch.einsum("hj,jhe->he", scores.softmax(-1), v[seen]).reshape(C))
    return mixer.out_proj(torch.stack(y))


def run_pieces(mixer, x: torch.Tensor, pieces: list[int]) -> torch.Tensor:
    """x (1,T,C) through the mixer in pieces of these lengths, state handed on."""
    y, state, position = [], None, 0
    for part in x.split(pieces, dim=1):
        out, state = mixer(part, Span(torch.tensor([position])), state)
        y.append(out)
        position += part.shape[1]
    return torch.cat(y, dim=1)


PIECES = ([30], [1] * 30, [3, 27], [4, 4, 22], [5, 1, 1, 9, 14], [29, 1], [2, 8, 20])


@pytest.mark.parametrize("pieces", PIECES, ids=str)
@pytest.mark.parametrize("window", [1, 4, 7, 40])
def test_window_attention_equals_brute_force(window, pieces):
    mixer, x = WindowAttention(16, 2, window, 10000.0), torch.randn(1, 30, 16)
    torch.testing.assert_close(run_pieces(mixer, x, pieces)[0], brute_window(mixer, x[0]), **CLOSE)


@pytest.mark.parametrize("pieces", PIECES, ids=str)
def test_gated_convolution_equals_a_causal_depthwise_convolution(pieces):
    mixer, x = GatedConv(16, 3, 2), torch.randn(1, 30, 16)
    torch.nn.init.normal_(mixer.conv)
    u, gate = mixer.in_proj(x).chunk(2, dim=-1)
    c = F.conv1d(F.pad(u.transpose(1, 2), (2, 0)), mixer.conv[:, None], groups=32).transpose(1, 2)
    torch.testing.assert_close(run_pieces(mixer, x, pieces), mixer.out_proj(F.silu(c) * gate), **CLOSE)


def changed_at(tokens: torch.Tensor, t: int) -> torch.Tensor:
    other = tokens.clone()
    other[:, t] = (other[:, t] + 1) % 64
    return other


@both_models
@pytest.mark.parametrize("t", [10, 11, 25])
def test_a_token_after_the_prefix_changes_no_earlier_logits(tiny_model, prefix_encoder, t):
    model, tokens = tiny_model(prefix_encoder), draw(2, 30)
    torch.testing.assert_close(model.read(changed_at(tokens, t), 10)[0][:, :t], model.read(tokens, 10)[0][:, :t])


@both_models
def test_a_token_after_the_prefix_changes_its_own_and_far_later_logits(tiny_model, prefix_encoder):
    model, tokens = tiny_model(prefix_encoder), draw(1, 40)
    change = (model.read(changed_at(tokens, 10), 5)[0] - model.read(tokens, 5)[0]).abs().amax(-1)[0]
    assert change[10] > 1e-2 and change[39] > 1e-4


def test_a_prefix_token_changes_earlier_logits_of_the_noncausal_model(model):
    tokens = draw(2, 30)
    change = (model.read(changed_at(tokens, 9), 10)[0] - model.read(tokens, 10)[0]).abs().amax(-1)
    assert change[:, 0].min() > 1e-4


def test_a_prefix_token_changes_no_earlier_logits_of_the_causal_twin(tiny_model):
    model, tokens = tiny_model(False), draw(2, 30)
    torch.testing.assert_close(model.read(changed_at(tokens, 9), 10)[0][:, :9], model.read(tokens, 10)[0][:, :9])


def test_the_causal_twin_ignores_prefix_len(tiny_model):
    model, tokens = tiny_model(False), draw(2, 30)
    torch.testing.assert_close(model.read(tokens, 10)[0], model.read(tokens, 0)[0], rtol=0, atol=0)


@both_models
def test_noncausal_prefix_says_which_model_looks_ahead(tiny_model, prefix_encoder):
    assert tiny_model(prefix_encoder).noncausal_prefix is prefix_encoder


@pytest.mark.parametrize("verb", ["extend", "step"])
def test_a_state_of_other_weights_is_refused(tiny_model, verb):
    _, state = tiny_model(seed=0).read(draw(1, 5))
    other = tiny_model(seed=1)
    with refused(BadInput, got=f"state of {state.fingerprint}, model {other.fingerprint}"):
        if verb == "extend":
            other.extend(draw(1, 3), state)
        else:
            other.step(draw(1), state)


def test_a_state_of_another_batch_is_refused(model):
    _, state = model.read(draw(2, 5))
    with refused(BadInput, got="2 and 3", naming="batch"):
        model.extend(draw(3, 4), state)


def test_tokens_without_time_are_refused(model):
    with refused(BadInput, got=(2, 0)):
        model.read(draw(2, 0))


def test_a_mask_of_another_shape_is_refused(model):
    with refused(BadInput, got="(2, 4) and (2, 5)"):
        model.read(draw(2, 5), 3, torch.ones(2, 4, dtype=torch.bool))


def test_an_unknown_mixer_lists_the_known_ones_and_the_nearest(tiny_config):
    with refused(UnknownName, got="liner", todo=containing("linear")):
        tiny_config(mixers=["liner"])


def test_heads_that_do_not_divide_the_width_are_refused(tiny_config):
    with refused(BadInput, got="32 and 5", naming="num_attention_heads"):
        tiny_config(num_attention_heads=5)


def test_two_models_of_one_seed_have_one_fingerprint(tiny_model):
    assert tiny_model(seed=3).fingerprint == tiny_model(seed=3).fingerprint


def test_fingerprint_changes_when_a_weight_changes_in_place(model):
    before = model.fingerprint
    model.layers[1].mixer.k_proj.weight[0, 0] += 1e-3
    assert model.fingerprint != before


def test_fingerprint_changes_when_weights_are_loaded(tiny_model):
    model, other = tiny_model(seed=0), tiny_model(seed=1)
    before = model.fingerprint
    model.load_state_dict(other.state_dict())
    assert model.fingerprint == other.fingerprint != before


def test_fingerprint_changes_when_a_weight_or_a_part_is_replaced(model, tiny_model):
    before, mlp = model.fingerprint, model.layers[0].mlp
    mlp.down.weight = torch.nn.Parameter(mlp.down.weight.clone())
    assert model.fingerprint == before  # the same numbers
    mlp.down.weight = torch.nn.Parameter(mlp.down.weight + 1)
    replaced = model.fingerprint
    model.layers[0] = tiny_model(seed=9).layers[0]
    assert len({before, replaced, model.fingerprint, model.bfloat16().fingerprint}) == 4


@pytest.mark.usefixtures("gradients")
def test_fingerprint_changes_after_an_optimizer_step(model):
    before = model.fingerprint
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(draw(1, 5), labels=draw(1, 5)).loss.backward()
    optimizer.step()
    assert model.fingerprint != before


@pytest.mark.parametrize("size", [{"window": 5}, {"rope_theta": 500.0}, {"rms_norm_eps": 1e-4}], ids=str)
def test_fingerprint_changes_with_a_size_that_no_weight_shows(tiny_model, size):
    assert tiny_model(**size).fingerprint != tiny_model().fingerprint


@both_models
@pytest.mark.parametrize("loader", [PrefixLMForCausalLM, AutoModelForCausalLM])
def test_save_and_load_keep_logits_and_fingerprint(tiny_model, tmp_path, prefix_encoder, loader):
    model, tokens = tiny_model(prefix_encoder), draw(2, 9)
    model.save_pretrained(tmp_path)
    loaded = loader.from_pretrained(tmp_path)
    assert isinstance(loaded, PrefixLMForCausalLM) and loaded.fingerprint == model.fingerprint
    torch.testing.assert_close(loaded.read(tokens, 5)[0], model.read(tokens, 5)[0], rtol=0, atol=0)


def test_a_state_continues_in_a_loaded_copy_of_its_model(model, tmp_path):
    _, state = model.read(draw(1, 5))
    model.save_pretrained(tmp_path)
    token = draw(1)
    logits, _ = PrefixLMForCausalLM.from_pretrained(tmp_path).step(token, state)
    torch.testing.assert_close(logits, model.step(token, state)[0], rtol=0, atol=0)


def test_load_keeps_every_size(tiny_model, tmp_path):
    model = tiny_model(window=5, rope_theta=77.0, mixers=["window", "linear"], mask_token_id=3)
    model.save_pretrained(tmp_path)
    loaded = PrefixLMForCausalLM.from_pretrained(tmp_path).config
    names = ("window", "rope_theta", "mixers", "mask_token_id", "feature_dim", "num_hidden_layers", "prefix_encoder")
    assert [getattr(loaded, name) for name in names] == [5, 77.0, ["window", "linear"], 3, 4, 2, True]


def test_embeddings_are_tied_after_load(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = PrefixLMForCausalLM.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.embed.weight


def test_untied_embeddings_survive_load(tiny_model, tmp_path):
    model = tiny_model(tie_word_embeddings=False)
    model.save_pretrained(tmp_path)
    loaded = PrefixLMForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.lm_head.weight, model.lm_head.weight, rtol=0, atol=0)


def prompt(*shape: int) -> torch.Tensor:
    """Tokens without 0: transformers takes padding tokens in a prompt without attention_mask for padding."""
    return torch.randint(1, 64, shape)


def greedy(model, row: torch.Tensor, n: int, prefix_len: int | None = None) -> list[int]:
    """n tokens after one row (T,), by read and step."""
    logits, state = model.read(row[None], prefix_len)
    token, out = logits[:, -1].argmax(-1), []
    for _ in range(n):
        out.append(token.item())
        logits, state = model.step(token, state)
        token = logits.argmax(-1)
    return out


@both_models
def test_generate_equals_read_and_steps(tiny_model, prefix_encoder):
    model, tokens = tiny_model(prefix_encoder), prompt(2, 9)
    out = model.generate(tokens, max_new_tokens=12, do_sample=False, pad_token_id=0)
    assert out[:, 9:].tolist() == [greedy(model, row, 12) for row in tokens]


def test_generate_in_train_mode_steps_and_does_not_read_again(model):
    tokens = prompt(1, 9)
    expected = model.generate(tokens, max_new_tokens=6, do_sample=False, pad_token_id=0)
    model.train()
    seen = []
    handle = model.embed.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    out = model.generate(tokens, max_new_tokens=6, do_sample=False, pad_token_id=0)
    handle.remove()
    assert out.tolist() == expected.tolist() and seen == [9, 1, 1, 1, 1, 1]


@both_models
def test_generate_from_a_left_padded_batch_equals_single_rows(tiny_model, prefix_encoder):
    model, rows = tiny_model(prefix_encoder), [prompt(n) for n in LENGTHS]
    tokens, mask = pad(rows, "left", 20)
    out = model.generate(tokens, attention_mask=mask.long(), max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert out[:, 20:].tolist() == [greedy(model, row, 8) for row in rows]


def test_generate_from_a_right_padded_batch_is_refused(model):
    tokens, mask = pad([prompt(n) for n in LENGTHS], "right", 20)
    with refused(BadInput, naming=("generate", "padding")):
        model.generate(tokens, attention_mask=mask.long(), max_new_tokens=2, do_sample=False, pad_token_id=0)


def test_hidden_states_asked_for_by_the_configuration_are_refused_too(model, monkeypatch):
    monkeypatch.setattr(model.config, "output_hidden_states", True)
    with refused(BadInput, got="output_hidden_states"):
        model(draw(1, 4))
    model(draw(1, 4), output_hidden_states=False)


def test_generate_with_prefix_lengths_reads_only_that_much_as_prefix(model):
    tokens = prompt(1, 9)
    out = model.generate(tokens, prefix_lengths=torch.tensor([4]), max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert out[0, 9:].tolist() == greedy(model, tokens[0], 8, prefix_len=4)


def test_forward_reads_and_returns_the_state(model):
    tokens = draw(2, 9)
    out = model(tokens, prefix_lengths=torch.tensor([4, 9]))
    want, want_state = model.read(tokens, torch.tensor([4, 9]))
    torch.testing.assert_close(out.logits, want, rtol=0, atol=0)
    assert_states_close(out.state, want_state)


def test_forward_with_a_state_extends(model):
    tokens = draw(2, 9)
    state = model(tokens[:, :5], prefix_lengths=torch.tensor([5, 5])).state
    torch.testing.assert_close(model(tokens[:, 5:], state=state).logits, model.read(tokens, 5)[0][:, 5:], **CLOSE)


def test_training_forward_equals_eval_forward(model):
    tokens, lengths = draw(2, 9), torch.tensor([4, 9])
    want = model(tokens, prefix_lengths=lengths).logits
    torch.testing.assert_close(model.train()(tokens, prefix_lengths=lengths).logits, want, **CLOSE)


def test_training_forward_honours_the_attention_mask(model):
    tokens, mask = pad([draw(4), draw(9)], "left", 9)
    want = model(tokens, mask, prefix_lengths=torch.tensor([2, 2])).logits
    got = model.train()(tokens, mask, prefix_lengths=torch.tensor([2, 2])).logits
    torch.testing.assert_close(got[mask], want[mask], **CLOSE)


@both_models
@pytest.mark.parametrize("training", [True, False])
def test_logits_at_gives_the_chosen_rows_of_the_full_logits(tiny_model, prefix_encoder, training):
    model, tokens, chosen = tiny_model(prefix_encoder), draw(2, 9), torch.rand(2, 9) < 0.5
    want = model(tokens, prefix_lengths=torch.tensor([4, 9])).logits[chosen]
    got = model.train(training)(tokens, prefix_lengths=torch.tensor([4, 9]), logits_at=chosen).logits
    torch.testing.assert_close(got, want, **CLOSE)


def test_logits_at_honours_the_attention_mask(model):
    tokens, mask = pad([draw(4), draw(9)], "left", 9)
    want = model(tokens, mask, prefix_lengths=torch.tensor([2, 2])).logits[mask]
    got = model(tokens, mask, prefix_lengths=torch.tensor([2, 2]), logits_at=mask).logits
    torch.testing.assert_close(got, want, **CLOSE)


def test_logits_at_honours_the_state(model):
    tokens, every = draw(1, 9), torch.ones(1, 4, dtype=torch.bool)
    state = model(tokens[:, :5]).state
    want = model(tokens[:, 5:], state=state).logits[every]
    torch.testing.assert_close(model(tokens[:, 5:], state=state, logits_at=every).logits, want, **CLOSE)


@pytest.mark.parametrize("training", [True, False])
def test_labels_give_the_next_token_cross_entropy(model, training):
    tokens, labels = draw(2, 9), draw(2, 9)
    labels[0, :5] = -100
    out = model.train(training)(tokens, labels=labels)
    want = F.cross_entropy(out.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    torch.testing.assert_close(out.loss, want)


def test_tokens_that_the_prefix_shows_are_no_labels(tiny_model):
    """Padding before and after a row; the step from the last prefix token to the next is trained."""
    tokens, causal, jrt = draw(3, 9), tiny_model(False), tiny_model(True)
    prefix, mask = torch.tensor([0, 4, 4]), torch.ones(3, 9, dtype=torch.bool)
    mask[1, :2] = mask[2, 7:] = False
    shown = torch.zeros_like(mask)
    shown[1, :6] = shown[2, :4] = True  # what stands within the prefix, and padding before it
    labels = tokens.masked_fill(~mask, -100)
    hidden = labels.masked_fill(shown, -100)

    def loss(model, labels):
        return model(tokens, mask, prefix_lengths=prefix, labels=labels).loss

    torch.testing.assert_close(loss(jrt, labels), loss(jrt, hidden), rtol=0, atol=0)
    assert abs(loss(causal, labels) - loss(causal, hidden)) > 1e-3


@pytest.mark.usefixtures("gradients")
@both_models
def test_every_parameter_gets_a_finite_gradient(tiny_model, prefix_encoder):
    model, tokens = tiny_model(prefix_encoder).train(), draw(3, 70)
    model(tokens, prefix_lengths=torch.tensor([0, 5, 70]), labels=tokens).loss.backward()
    norms = {name: 0.0 if p.grad is None else p.grad.norm().item() for name, p in model.named_parameters()}
    assert [name for name, norm in norms.items() if not 0 < norm < float("inf")] == []


@pytest.mark.usefixtures("gradients")
def test_gradients_flow_through_a_state(model):
    _, state = model.read(draw(1, 9))
    model.extend(draw(1, 4), state)[0].sum().backward()
    assert model.layers[1].mixer.k_enc_proj.weight.grad.norm() > 0


@pytest.fixture
def state(model) -> State:
    """Three rows of 2, 5 and 9 tokens."""
    return model.read(*pad_read([draw(2), draw(5), draw(9)]))[1]


def test_position_counts_real_tokens(state):
    assert state.position.tolist() == [2, 5, 9]


def test_nbytes_counts_every_tensor(state):
    assert state.nbytes == sum(x.nbytes for x in state.to_flat().values())


def test_clone_shares_no_memory(state):
    copy = state.clone()
    for x in copy.to_flat().values():
        x.fill_(7)
    assert state.position.tolist() == [2, 5, 9]


def test_rows_selects_and_repeats(state):
    rows = state.rows([2, 0, 2])
    assert rows.position.tolist() == [9, 2, 9]
    torch.testing.assert_close(rows.layers[1]["S"], state.layers[1]["S"][[2, 0, 2]], rtol=0, atol=0)


def test_rows_then_cat_is_the_same_state(state):
    again = State.cat([state.rows([b]) for b in range(3)])
    assert again.fingerprint == state.fingerprint
    torch.testing.assert_close(again.to_flat(), state.to_flat(), rtol=0, atol=0)


def test_cat_of_two_models_is_refused(state):
    with refused(BadInput, got=f"{state.fingerprint}, other"):
        State.cat([state, State(state.layers, state.position, "other")])


def test_cat_of_nothing_is_refused():
    with refused(BadInput, naming="State.cat"):
        State.cat([])


def test_flat_and_back_is_the_same_state(state):
    again = State.from_flat(state.to_flat(), state.fingerprint)
    assert again.fingerprint == state.fingerprint
    torch.testing.assert_close((again.layers, again.position), (state.layers, state.position), rtol=0, atol=0)


def test_flat_names_are_those_of_the_layers(state, tiny_config):
    names = {"layers.0.conv", "layers.2.keys", "layers.2.values", "position"}
    linear = ("S", "z", "keys") if tiny_config().key_conv else ("S", "z")
    assert set(state.to_flat()) == names | {f"layers.{i}.{name}" for i in (1, 3) for name in linear}


def test_flat_state_survives_a_safetensors_file(model, tmp_path):
    _, state = model.read(draw(2, 9))
    save_file(state.to_flat(), tmp_path / "state.safetensors")
    again = State.from_flat(load_file(tmp_path / "state.safetensors"), state.fingerprint)
    torch.testing.assert_close(again.to_flat(), state.to_flat(), rtol=0, atol=0)


@pytest.mark.parametrize("key", ["layers.x.S", "layers.1", "weights.1.S", "layers.1.S.a"])
def test_a_name_that_is_not_of_a_state_is_refused(state, key):
    with refused(BadInput, got=key, allowed="layers.<number>.<name>, position"):
        State.from_flat({**state.to_flat(), key: torch.zeros(1)}, "x")


def test_a_flat_state_without_position_is_refused(state):
    flat = state.to_flat()
    del flat["position"]
    with refused(BadInput, got=[0, 1, 2, 3], naming="position"):
        State.from_flat(flat, "x")


def test_a_flat_state_with_a_missing_layer_is_refused(state):
    flat = state.to_flat()
    del flat["layers.0.conv"]
    with refused(BadInput, got=[1, 2, 3]):
        State.from_flat(flat, "x")


def test_a_mask_is_of_truth_values(model):
    tokens = draw(2, 6)
    additive = torch.zeros(2, 6).masked_fill(torch.arange(6) > 3, -torch.inf)
    for wrong in (additive, torch.full((2, 6), 2)):
        with refused(BadInput, got=wrong.dtype, naming="mask"):
            model.read(tokens, None, wrong)
    ones = (torch.arange(6)[None] < torch.tensor([[6], [4]])).long()
    torch.testing.assert_close(model.read(tokens, None, ones)[0], model.read(tokens, None, ones.bool())[0])


@pytest.mark.parametrize(("wrong", "got"), [([[64, 1]], "1 to 64"), ([[-1, 1]], "-1 to 1")])
def test_tokens_outside_the_vocabulary_are_refused(model, wrong, got):
    with refused(BadInput, got=got, allowed="0 to 63"):
        model.read(torch.tensor(wrong))
    with refused(BadInput, got="torch.float32", naming="token ids"):
        model.read(torch.zeros(1, 3))


def test_a_prefix_and_a_state_exclude_each_other(model):
    _, state = model.read(draw(2, 5))
    for training in (True, False):
        with refused(BadInput, got="state and prefix_lengths"):
            model.train(training)(draw(2, 5), state=state, prefix_lengths=torch.tensor([1, 2]))


def test_rows_are_chosen_by_number(model):
    _, state = model.read(draw(2, 5))
    assert state.rows([1, 1, 0]).batch == 3
    for wrong, got in (([True, False], "torch.bool (2,)"), ([0.0, 1.0], "torch.float32 (2,)")):
        with refused(BadInput, got=got, allowed="(n,) int64"):
            state.rows(wrong)
    with refused(BadInput, got=[2], allowed="0 to 1"):
        state.rows([2])


def test_a_state_of_another_shape_is_refused(model):
    _, state = model.read(draw(2, 5))
    with refused(BadInput, got=3, allowed=4, naming="layers"):
        model.step(draw(2), State(state.layers[:3], state.position, state.fingerprint))
    with refused(BadInput, got="conv of layer 0: 2 rows, position 1"):
        model.step(draw(1), State(state.layers, state.position[:1], state.fingerprint))


def test_another_dtype_is_another_model(model):
    before = model.fingerprint
    _, state = model.read(draw(2, 5))
    assert model.bfloat16().fingerprint != before
    with refused(BadInput, got=f"state of {state.fingerprint}, model {model.fingerprint}"):
        model.step(draw(2), state)


def test_equal_numbers_of_another_dtype_are_another_model(model):
    low = model.bfloat16().fingerprint
    _, state = model.read(draw(2, 5))
    assert model.float().fingerprint != low  # the weights are what bfloat16 left of them
    with refused(BadInput, got=f"state of {state.fingerprint}, model {model.fingerprint}"):
        model.step(draw(2), state)


def test_weights_that_change_places_are_another_model(model):
    before = model.fingerprint
    one, other = [x for name, x in model.named_parameters() if name.endswith("norm.weight") or "norm" in name][:2]
    assert one.shape == other.shape
    with torch.no_grad():
        one += 1.0
        changed = model.fingerprint
        one -= 1.0
        other += 1.0
        exchanged = model.fingerprint
    assert len({before, changed, exchanged}) == 3


@pytest.mark.usefixtures("gradients")
def test_the_verbs_of_a_loaded_model_keep_no_gradients(model):
    lm = LM("tiny", model)
    logits, state = lm.read(draw(1, 5))
    steps = lm.step(draw(1), state)[0], lm.extend(draw(1, 3), state)[0]
    assert not any(x.requires_grad for x in (logits, *steps, *state.layers[1].values()))
    assert model.read(draw(1, 5))[0].requires_grad


def test_the_published_masking_is_for_padding_on_the_left(model, tiny_model):
    right = torch.arange(6)[None] < torch.tensor([[6], [4]])
    with refused(BadInput, got=containing("padding"), naming="published"):
        model.read(draw(2, 6), 6, right, masking="published")
    other = tiny_model(mixers=["conv", "retention"])
    with refused(BadInput, got="conv, retention"):
        other.read(draw(2, 6), 6, ~right, masking="published")


@pytest.mark.parametrize("wrong", ["8", -3, True])
def test_a_trained_prefix_is_a_number(tiny_config, wrong):
    with refused(BadInput, got=repr(wrong), naming="max_prefix"):
        tiny_config(max_prefix=wrong)

"""Rows of unequal length in one padded call have the logits and states of each row alone, where a model allows it."""

import pytest
import torch

from reread.models import pretrained
from reread.models.families import tiny
from reread.models.pretrained import PretrainedState

LENGTHS, MORE = (20, 9, 31, 14), (5, 2, 1, 7)
RAGGED, OTHERS = ("llama", "gpt2"), ("mamba2", "bamba", "recurrent_gemma")


def padded(lengths, left=False):
    """Random tokens (B,T) and their mask."""
    steps = torch.arange(max(lengths))
    n = torch.tensor(lengths)[:, None]
    return torch.randint(1, 97, (len(lengths), max(lengths))), steps >= max(lengths) - n if left else steps < n


def counted(model):
    """The shapes of all calls of the module from now on."""
    shapes = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(args[0].shape)), with_kwargs=True
    )
    return shapes


def same(got: PretrainedState, want: PretrainedState):
    """The rows of two states, tensor by tensor."""
    assert got.batch == want.batch and torch.equal(got.position, want.position)
    for mine, single in zip(got.tensors, want.tensors, strict=True):
        assert mine.keys() == single.keys()
        for name, x in single.items():
            torch.testing.assert_close(mine[name], x, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def told(model, left, *, last_only):
    """Logits and state after read, extend and two steps of ragged rows, together and each row alone."""
    first, mask = padded(LENGTHS, left)
    more, more_mask = padded(MORE, left)
    token = torch.randint(1, 97, (2, len(LENGTHS)))
    got, states = [], []
    logits, state = model.read(first, None, mask, last_only=last_only)
    got, states = [logits], [state]
    logits, state = model.extend(more, state, more_mask, last_only=last_only)
    got.append(logits)
    for t in range(2):
        states.append(state)
        logits, state = model.step(token[t], state)
        got.append(logits)
    states.append(state)
    alone = []
    for row in range(len(LENGTHS)):
        a, one = model.read(first[row][mask[row]][None], last_only=last_only)
        b, two = model.extend(more[row][more_mask[row]][None], one, last_only=last_only)
        c, three = model.step(token[0, row : row + 1], two)
        d, four = model.step(token[1, row : row + 1], three)
        alone.append(([a, b, c, d], [one, two, three, four]))
    masks = (None, None, None, None) if last_only else (mask, more_mask, None, None)
    return got, states, alone, masks


@pytest.mark.parametrize("family", [*RAGGED, *OTHERS])
@pytest.mark.parametrize("left", [True, False], ids=["left", "right"])
def test_ragged_rows_are_read_as_each_row_alone(family, left):
    model = tiny(family)
    for last_only in (True, False):
        got, states, alone, masks = told(model, left, last_only=last_only)
        for at, (logits, mask) in enumerate(zip(got, masks, strict=True)):
            for row, (want, _) in enumerate(alone):
                mine = logits[row] if mask is None else logits[row][mask[row]]
                torch.testing.assert_close(mine, want[at][0], rtol=1e-4, atol=1e-4)
                assert torch.equal(mine.argmax(-1), want[at][0].argmax(-1))
        for at, state in enumerate(states):
            same(state, PretrainedState.cat([one[at] for _, one in alone]))


def test_only_models_with_full_attention_alone_share_a_padded_call():
    assert all(tiny(family).ragged for family in RAGGED)
    assert not any(tiny(family).ragged for family in (*OTHERS, "jamba", "mamba", "rwkv", "minimax"))


def test_a_model_that_ignores_the_mask_is_found_out(monkeypatch):
    model = tiny("llama")
    forward = model.model.forward
    monkeypatch.setattr(model.model, "forward", lambda *args, attention_mask=None, **more: forward(*args, **more))
    assert not model.ragged
    got, _, alone, _ = told(model, False, last_only=True)
    for row, (want, _) in enumerate(alone):
        torch.testing.assert_close(got[2][row], want[2][0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", [*RAGGED, "mamba2"])
def test_ragged_rows_take_one_call_each_verb_where_they_may(family):
    model = tiny(family)
    assert model.ragged == (family in RAGGED)
    shapes = counted(model)
    first, mask = padded((20, 9, 17))
    _, state = model.read(first, None, mask, last_only=True)
    _, state = model.extend(*_tails((5, 2, 1), state), last_only=True)
    _, state = model.step(torch.tensor([1, 2, 3]), state)
    if family in RAGGED:
        assert shapes == [(3, 20), (3, 5), (3, 1)]
    else:
        assert sorted(shapes) == sorted([(1, n) for n in (20, 9, 17, 5, 2, 1)] + [(1, 1)] * 3)


def _tails(lengths, state):
    tokens, mask = padded(lengths)
    return tokens, state, mask


@torch.no_grad()
def test_rows_far_from_alike_go_apart(monkeypatch):
    monkeypatch.setattr(pretrained, "FEW", 4)
    model = tiny("llama")
    assert model.ragged
    shapes = counted(model)
    model.read(*_read((40, 5, 38, 4)), last_only=True)
    assert sorted(shapes) == [(2, 5), (2, 40)]


def _read(lengths):
    tokens, mask = padded(lengths)
    return tokens, None, mask


@torch.no_grad()
def test_rows_leave_join_and_repeat_without_padding_in_any_state():
    model = tiny("llama")
    tokens, mask = padded((20, 9, 17))
    _, state = model.read(tokens, None, mask, last_only=True)
    _, state = model.extend(*_tails((3, 1, 2), state), last_only=True)
    assert [row["layers.0.keys"].shape[2] for row in state.tensors] == state.position.tolist() == [23, 10, 19]
    flat = PretrainedState.from_flat(state.to_flat(), state.fingerprint)
    assert state.nbytes == flat.nbytes == state.clone().nbytes
    for index in ([1], [2, 0], [1, 1, 0, 2]):
        some = state.rows(index)
        same(some, flat.rows(index))
        token = torch.arange(1, 1 + len(index))
        torch.testing.assert_close(model.step(token, some)[0], model.step(token, flat.rows(index))[0])
        same(PretrainedState.cat([some, state]), PretrainedState.cat([flat.rows(index), flat]))
    same(state, flat)


@torch.no_grad()
def test_a_step_of_ragged_rows_copies_their_keys_once():
    model = tiny("llama")
    tokens, mask = padded((40, 30, 35))
    _, state = model.read(tokens, None, mask, last_only=True)
    _, state = model.step(torch.tensor([1, 2, 3]), state)
    copies = []

    class Made(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.dim() == 4 and out.shape[2] >= 30 and "view" not in str(func):
                copies.append((str(func), tuple(out.shape)))
            return out

    with Made():
        model.step(torch.tensor([4, 5, 6]), state)
    assert sum("cat" in name for name, _ in copies) == 2 * model.config.num_hidden_layers
    assert not any(word in name for name, _ in copies for word in ("clone", "index", "copy")), copies


@pytest.mark.parametrize("family", [*RAGGED, "mamba2", "bamba"])
def test_only_the_last_logits_are_computed_where_no_others_are_asked(family):
    model = tiny(family)
    assert model.resume
    made = []
    model.model.get_output_embeddings().register_forward_hook(lambda _, args, out: made.append(tuple(out.shape)))
    _, state = model.read(torch.randint(97, (2, 30)), last_only=True)
    model.extend(torch.randint(97, (2, 7)), state, last_only=True)
    assert made[-2:] == [(2, 1, 97), (2, 1, 97)]


@torch.no_grad()
def test_bf16_rows_share_calls_too():
    model = tiny("llama")
    model.model.to(torch.bfloat16)
    assert model.ragged

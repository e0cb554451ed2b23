"""Recurrences with decay against their token-by-token definitions: outputs, final states, all gradients.

Shapes: B batch, T time, H heads, D width of q and k, V width of v, X channels.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.ops import (
    diagonal_recurrence,
    diagonal_state,
    gated_delta_rule,
    gated_delta_state,
    gated_linear_attention,
    gated_linear_state,
    linear_attention,
)
from reread.ops.feature_maps import feature_map

B, H, D, V, X = 2, 2, 5, 3, 6
SIZES = (0, 1, 15, 16, 17, 63, 64, 65, 300)
OPS = ("gla", "retention", "delta", "diagonal")


def make(name: str, T: int, batch: int = B) -> dict[str, torch.Tensor]:
    """Every tensor the op can take."""
    if name == "diagonal":
        x, decay, state = torch.randn(batch, T, X), F.logsigmoid(2 * torch.randn(batch, T, X)), torch.randn(batch, X)
        return {name: y.double() for name, y in {"x": x, "log_decay": decay, "state": state}.items()}
    tensors = {
        "q": torch.randn(batch, T, H, D),
        "k": F.normalize(torch.randn(batch, T, H, D), dim=-1),
        "v": torch.randn(batch, T, H, V),
        "log_decay": F.logsigmoid(2 * torch.randn(batch, T, H, D if name == "gla" else 1)),
        "state": torch.randn(batch, H, D, V),
    }
    if name == "delta":
        tensors["beta"] = torch.rand(batch, T, H)
    return {key: y.double() for key, y in tensors.items()}


def call(name: str, x: dict, **options):
    if name == "diagonal":
        return diagonal_recurrence(x["x"], log_decay=x["log_decay"], state=x.get("state"), **options)
    op = gated_delta_rule if name == "delta" else gated_linear_attention
    more = {"beta": x["beta"]} if name == "delta" else {}
    return op(x["q"], x["k"], x["v"], log_decay=x["log_decay"], state=x.get("state"), **more, **options)


def run(name: str, x: dict, backend: str, mask=None) -> dict:
    """Output, final state, and the gradient of a random projection of them to every input."""
    x = {key: y.clone().requires_grad_() for key, y in x.items()}
    y, state = call(name, x, backend=backend, mask=mask)
    draw = torch.Generator().manual_seed(1)
    real = y if mask is None else y * mask.reshape(*mask.shape, *[1] * (y.dim() - 2))
    sum((out * torch.randn(out.shape, generator=draw, dtype=torch.float64)).sum() for out in (real, state)).backward()
    gradients = {f"grad_{key}": torch.zeros_like(y) if y.grad is None else y.grad for key, y in x.items()}
    return {"y": real.detach(), "state": state.detach(), **gradients}


def assert_same(got: dict, want: dict, limit: float) -> None:
    assert got.keys() == want.keys()
    for key in want:
        assert got[key].shape == want[key].shape
        error = float((got[key].double() - want[key]).norm() / want[key].norm().clamp(min=1e-6))
        assert error < limit, (key, error)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("T", SIZES)
@pytest.mark.parametrize("masked", [False, True])
def test_chunks_equal_the_definition(name, T, masked):
    x, mask = make(name, T), (torch.rand(B, T) < 0.7) if masked else None
    assert_same(run(name, x, "chunked", mask), run(name, x, "reference_steps", mask), 1e-9)


def remember(name: str, x: dict, mask=None):
    """The final state from nothing by the op that reads nothing out."""
    if name == "diagonal":
        return diagonal_state(x["x"], log_decay=x["log_decay"], mask=mask)
    if name == "delta":
        return gated_delta_state(x["k"], x["v"], beta=x["beta"], log_decay=x["log_decay"], mask=mask)
    return gated_linear_state(x["k"], x["v"], log_decay=x["log_decay"], mask=mask)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("T", SIZES)
@pytest.mark.parametrize("masked", [False, True])
def test_the_state_alone_is_the_final_state_of_the_definition(name, T, masked):
    x, mask = make(name, T), (torch.rand(B, T) < 0.7) if masked else None
    del x["state"]
    if T > 20:
        x["log_decay"][:, 20] = -1e4
    got, want = ({key: y.clone().requires_grad_() for key, y in x.items() if key != "q"} for _ in range(2))
    state = remember(name, got, mask)
    _, want_state = call(name, {**want, "q": x.get("q")}, backend="reference_steps", mask=mask)
    torch.testing.assert_close(state, want_state)
    if T == 0:
        return  # nothing to have a gradient
    for result in (state, want_state):
        (result * torch.linspace(-1, 1, result.numel(), dtype=torch.float64).view_as(result)).sum().backward()
    for key, y in want.items():
        torch.testing.assert_close(got[key].grad, torch.zeros_like(y) if y.grad is None else y.grad, msg=key)


@pytest.mark.parametrize("name", OPS)
def test_the_state_alone_is_float32_for_bf16_and_refuses_what_the_op_refuses(name):
    x = make(name, 70)
    low = {key: y.bfloat16() for key, y in x.items() if key != "state"}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        state = remember(name, low)
    want = remember(name, {key: y.double() for key, y in low.items()})
    assert state.dtype == torch.float32 and float((state - want).norm() / want.norm()) < 1e-5
    wrong = x["log_decay"][:, :4]
    with refused(BadInput, got=tuple(wrong.shape), allowed=containing("(2, 70, "), naming="log_decay"):
        remember(name, {**x, "log_decay": wrong})
    with refused(BadInput, got="torch.bool (2, 4)", naming="mask"):
        remember(name, x, mask=torch.ones(B, 4, dtype=torch.bool))


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("backend", ["chunked", "reference_steps"])
def test_masked_positions_count_as_removed_whatever_stands_there(name, backend):
    x, keep = make(name, 90, batch=1), torch.rand(90) < 0.6
    only = {key: y if key == "state" else y[:, keep] for key, y in x.items()}
    dirty = {
        key: y if key == "state" else y.masked_fill(~keep.reshape(1, -1, *[1] * (y.dim() - 2)), math.nan)
        for key, y in x.items()
    }
    y, state = call(name, dirty, mask=keep[None], backend=backend)
    want, want_state = call(name, only, backend=backend)
    torch.testing.assert_close((y[:, keep], state), (want, want_state))


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("first", [0, 1, 40, 64])
def test_two_runs_chained_by_the_state_equal_one(name, first):
    x = make(name, 100)
    want, want_state = call(name, x)
    before = {key: y if key == "state" else y[:, :first] for key, y in x.items()}
    y1, state = call(name, before)
    after = {key: y[:, first:] for key, y in x.items() if key != "state"}
    y2, state = call(name, {**after, "state": state})
    torch.testing.assert_close((torch.cat((y1, y2), dim=1), state), (want, want_state))


@pytest.mark.parametrize("name", OPS)
def test_a_batch_equals_its_rows(name):
    x, mask = make(name, 70), torch.rand(B, 70) < 0.8
    y, state = call(name, x, mask=mask)
    for b in range(B):
        row = {key: z[b : b + 1] for key, z in x.items()}
        torch.testing.assert_close(call(name, row, mask=mask[b : b + 1]), (y[b : b + 1], state[b : b + 1]))


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("strength", [-1e-4, -60.0, -1e4])
def test_decays_from_hardly_any_to_complete_stay_finite_and_right(name, strength):
    x = make(name, 200)
    x["log_decay"] = torch.full_like(x["log_decay"], strength)
    assert_same(run(name, x, "chunked"), run(name, x, "reference_steps"), 1e-8)
    small = {key: y.float().requires_grad_() for key, y in x.items()}
    y, state = call(name, small)
    (y.sum() + state.sum()).backward()
    assert all(t.isfinite().all() for t in (y, state, *(z.grad for z in small.values())))


@pytest.mark.parametrize("name", OPS)
def test_bf16_inputs_give_an_fp32_state_and_the_answer_within_rounding(name):
    x = make(name, 300)
    rounded = {key: y.float() if key == "state" else y.bfloat16() for key, y in x.items()}
    y, state = call(name, rounded)
    want, want_state = call(name, {key: z.double() for key, z in rounded.items()}, backend="reference_steps")
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert float((y.double() - want).norm() / want.norm()) < 5e-3
    assert float((state.double() - want_state).norm() / want_state.norm()) < 1e-5


@pytest.mark.parametrize("name", OPS)
def test_autocast_and_the_given_state_are_left_alone(name):
    x = {key: y.float() for key, y in make(name, 70).items()}
    state = x["state"].clone()
    plain = call(name, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(call(name, x), plain, rtol=0, atol=0)
    assert torch.equal(x["state"], state)


def test_without_decay_gated_linear_attention_is_linear_attention():
    x = make("retention", 130)
    y, S = gated_linear_attention(x["q"], x["k"], x["v"], log_decay=torch.zeros_like(x["log_decay"]))
    phi = feature_map("identity", D)
    want, (S_want, _) = linear_attention(x["q"], x["k"], x["v"], feature_map=phi, normalise=False)
    torch.testing.assert_close((y / math.sqrt(D), S * D**-0.25), (want, S_want))


def test_retention_is_its_formula():
    x, gamma = make("retention", 9, batch=1), 0.8
    decay = torch.full_like(x["log_decay"], math.log(gamma))
    y, _ = gated_linear_attention(x["q"], x["k"], x["v"], log_decay=decay)
    q, k, v = (x[name][0, :, 0] for name in "qkv")
    want = torch.stack([sum(gamma ** (i - j) * (q[i] @ k[j]) * v[j] for j in range(i + 1)) for i in range(9)])
    torch.testing.assert_close(y[0, :, 0], want)


def test_the_delta_rule_replaces_what_stood_at_a_key():
    k = F.one_hot(torch.tensor([[0, 1, 0]]), D)[:, :, None].double()
    v = torch.tensor([[1.0, 2.0, 5.0]]).double()[..., None, None].expand(1, 3, 1, V)
    ones = torch.ones(1, 3, 1, dtype=torch.float64)
    _, S = gated_delta_rule(k, k, v, beta=ones, log_decay=0 * ones[..., None])
    assert S[0, 0, :, 0].tolist() == [5.0, 2.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", OPS)
def test_wrong_shapes_are_refused_with_both(name):
    x = make(name, 5)
    wrong = x["log_decay"][:, :4]
    with refused(BadInput, got=tuple(wrong.shape), allowed=containing("(2, 5, "), naming="log_decay"):
        call(name, {**x, "log_decay": wrong})
    with refused(BadInput, got=tuple(x["state"][:1].shape), allowed=tuple(x["state"].shape), naming="state"):
        call(name, {**x, "state": x["state"][:1]})
    with refused(BadInput, got="torch.bool (2, 4)", naming="mask"):
        call(name, x, mask=torch.ones(B, 4, dtype=torch.bool))
    with refused(UnknownName, got="chunkd", todo=containing("chunked")):
        call(name, x, backend="chunkd")


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("decay", [-math.inf, -1e6, -1e3])
def test_a_position_that_forgets_everything_is_exact_in_chunks(name, decay):
    x = {key: y.float() for key, y in make(name, 150).items()}
    for t in (0, 40, 41, 149):
        x["log_decay"][:, t] = decay
    y, state = call(name, x)
    exact = {key: z.double() for key, z in x.items()}
    want, want_state = call(name, exact, backend="reference_steps")
    assert bool(y.isfinite().all()) and float((y - want).norm() / want.norm()) < 2e-4
    assert float((state - want_state).norm() / want_state.norm()) < 2e-4


@pytest.mark.parametrize("name", OPS)
def test_decays_above_one_and_of_whole_numbers_are_refused(name):
    x = make(name, 5)
    above = x["log_decay"] + 9
    for wrong, got in ((above, float(above.max())), (x["log_decay"].long(), "torch.int64")):
        with refused(BadInput, got=got, naming="log_decay"):
            call(name, {**x, "log_decay": wrong})


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("backend", ["auto", "reference_steps"])
def test_the_state_after_nothing_is_a_state_of_its_own(name, backend):
    x = make(name, 0)
    _, state = call(name, x, backend=backend)
    assert torch.equal(state, x["state"]) and state.data_ptr() != x["state"].data_ptr()

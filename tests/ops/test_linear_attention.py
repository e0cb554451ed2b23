"""The op against its definition: outputs, final states and all gradients, at hostile sizes and masks.

Shapes: B batch, T time, P prefix, H heads, D width of q and k, V width of v, F expanded width.
"""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from raising import containing, refused
from torch.utils._python_dispatch import TorchDispatchMode

from reread.errors import BadInput, UnknownName
from reread.ops import BACKENDS, feature_map, linear_attention, prefix_state

B, H, D, V = 2, 2, 4, 3
PHI = feature_map("taylor", D, H)
F = PHI.width
SIZES = (0, 1, 63, 64, 65, 500, 1025)


def make(T: int, P: int = 7, *, batch: int = B, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    """Every tensor the op can take; S and z are a plausible state (sums over five earlier tokens)."""
    S, z = prefix_state(torch.randn(batch, 5, H, D), torch.randn(batch, 5, H, V), feature_map=PHI)
    tensors = {
        "q": torch.randn(batch, T, H, D),
        "k": torch.randn(batch, T, H, D),
        "v": torch.randn(batch, T, H, V),
        "k_prefix": torch.randn(batch, P, H, D),
        "v_prefix": torch.randn(batch, P, H, V),
        "S": S,
        "z": z,
    }
    return {name: x.to(dtype) for name, x in tensors.items()}


def run(x: dict, backend: str, dtype: torch.dtype, mask=None, prefix_mask=None, prefix_lengths=None) -> dict:
    """y, S and z after prefix and stream, and the gradient of a random projection of them to every input."""
    x = {name: y.to(dtype).clone().requires_grad_() for name, y in x.items()}
    S, z = prefix_state(
        x["k_prefix"],
        x["v_prefix"],
        feature_map=PHI,
        mask=prefix_mask,
        prefix_lengths=prefix_lengths,
        backend=backend,
    )
    y, (S, z) = linear_attention(
        x["q"], x["k"], x["v"], feature_map=PHI, state=(S + x["S"], z + x["z"]), mask=mask, backend=backend
    )
    draw = torch.Generator().manual_seed(1)
    loss = sum((out * torch.randn(out.shape, generator=draw, dtype=torch.float64).to(dtype)).sum() for out in (y, S, z))
    loss.backward()
    gradients = {f"grad_{name}": torch.zeros_like(y) if y.grad is None else y.grad for name, y in x.items()}
    return {"y": y.detach(), "S_out": S.detach(), "z_out": z.detach(), **gradients}


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    """Norm of the difference over the norm of what is wanted."""
    assert got.shape == want.shape
    return float((got.double() - want.double()).norm() / want.double().norm().clamp(min=1e-12))


def assert_same(got: dict, want: dict, limit: float) -> None:
    assert got.keys() == want.keys()
    errors = {name: error(got[name], want[name]) for name in want}
    assert max(errors.values()) < limit, errors


@pytest.mark.parametrize("T", SIZES)
@pytest.mark.parametrize("backend", ["chunked", "reference_steps"])
def test_fp64_outputs_states_and_gradients_equal_the_quadratic_definition(backend, T):
    x = make(T)
    assert_same(run(x, backend, torch.float64), run(x, "reference", torch.float64), 1e-10)


@pytest.mark.parametrize("T", SIZES)
def test_fp32_outputs_states_and_gradients_equal_the_fp64_definition(T):
    x = make(T, dtype=torch.float32)
    assert_same(run(x, "chunked", torch.float32), run(x, "reference", torch.float64), 1e-5)


@pytest.mark.parametrize("P", [0, 1, 65, 100, 250, 1025])
def test_prefix_of_any_length_equals_the_definition(P):
    x = make(65, P)
    assert_same(run(x, "chunked", torch.float64), run(x, "reference", torch.float64), 1e-10)


@pytest.mark.parametrize("T", [1, 63, 500])
def test_masked_gradients_equal_the_quadratic_definition(T):
    x = make(T, 20)
    mask, prefix_mask = torch.rand(B, T) < 0.7, torch.rand(B, 20) < 0.7
    got, want = (run(x, backend, torch.float64, mask, prefix_mask) for backend in ("chunked", "reference"))
    assert_same(got, want, 1e-10)


def test_auto_is_a_known_backend():
    x = make(5)
    y, _ = linear_attention(x["q"], x["k"], x["v"], feature_map=PHI, backend="auto")
    want, _ = linear_attention(x["q"], x["k"], x["v"], feature_map=PHI, backend="reference")
    torch.testing.assert_close(y, want)


def test_first_output_without_state_is_the_first_value():
    x = make(5)
    y, _ = linear_attention(x["q"], x["k"], x["v"], feature_map=PHI)
    torch.testing.assert_close(y[:, 0], x["v"][:, 0])


def test_prefix_linear_attention_equals_the_papers_double_sum():
    x = make(6, 4, batch=1)

    def kernel(a, b):
        s = (a @ b) / math.sqrt(D)
        return 1 + s + s * s / 2

    state = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=PHI)
    y, _ = linear_attention(x["q"], x["k"], x["v"], feature_map=PHI, state=state)
    q, k, v, k_prefix, v_prefix = (x[name][0, :, 0] for name in ("q", "k", "v", "k_prefix", "v_prefix"))
    for i in range(6):
        keys = torch.cat((k_prefix, k[: i + 1]))
        values = torch.cat((v_prefix, v[: i + 1]))
        weights = torch.stack([kernel(q[i], key) for key in keys])
        torch.testing.assert_close(y[0, i, 0], weights @ values / weights.sum())


@pytest.mark.parametrize("backend", BACKENDS)
def test_prefix_lengths_per_row_equal_single_rows(backend):
    lengths = [0, 1, 63, 64, 99, 100, 42]
    x = make(0, 100, batch=len(lengths))
    k, v = x["k_prefix"], x["v_prefix"]
    S, z = prefix_state(k, v, feature_map=PHI, prefix_lengths=torch.tensor(lengths), backend=backend)
    for b, length in enumerate(lengths):
        S_b, z_b = prefix_state(k[b : b + 1, :length], v[b : b + 1, :length], feature_map=PHI)
        torch.testing.assert_close(S[b : b + 1], S_b)
        torch.testing.assert_close(z[b : b + 1], z_b)


def test_prefix_lengths_and_mask_hold_together():
    x = make(0, 10)
    mask = torch.rand(B, 10) < 0.5
    lengths = torch.tensor([4, 8])
    both = mask & (torch.arange(10) < lengths[:, None])
    got = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=PHI, mask=mask, prefix_lengths=lengths)
    torch.testing.assert_close(got, prefix_state(x["k_prefix"], x["v_prefix"], feature_map=PHI, mask=both))


def test_gradients_stop_at_the_prefix_length():
    got = run(make(5, 10), "chunked", torch.float64, prefix_lengths=torch.tensor([3, 10]))
    reached = got["grad_k_prefix"].abs().amax(dim=(2, 3)) > 0
    assert reached.tolist() == [[True] * 3 + [False] * 7, [True] * 10]


def test_empty_prefix_gives_the_empty_state():
    S, z = prefix_state(torch.zeros(B, 0, H, D), torch.zeros(B, 0, H, V), feature_map=PHI)
    assert torch.equal(S, torch.zeros(B, H, F, V)) and torch.equal(z, torch.zeros(B, H, F))


def poisoned(x: dict, names: tuple[str, ...], mask: torch.Tensor) -> dict:
    return {name: y.masked_fill(~mask[:, :, None, None], math.nan) if name in names else y for name, y in x.items()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("T", [1, 64, 130])
def test_nan_in_masked_keys_and_values_changes_no_output_state_or_gradient(backend, T):
    x, mask = make(T), torch.rand(B, T) < 0.6
    clean = run(x, backend, torch.float64, mask)
    assert_same(run(poisoned(x, ("k", "v"), mask), backend, torch.float64, mask), clean, 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_in_masked_prefix_changes_no_output_state_or_gradient(backend):
    x, mask = make(9, 70), torch.rand(B, 70) < 0.6
    clean = run(x, backend, torch.float64, prefix_mask=mask)
    dirty = poisoned(x, ("k_prefix", "v_prefix"), mask)
    assert_same(run(dirty, backend, torch.float64, prefix_mask=mask), clean, 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_beyond_the_prefix_lengths_changes_no_state(backend):
    x, lengths = make(0, 70), torch.tensor([0, 65])
    dirty = poisoned(x, ("k_prefix", "v_prefix"), torch.arange(70) < lengths[:, None])
    got, want = (
        prefix_state(y["k_prefix"], y["v_prefix"], feature_map=PHI, prefix_lengths=lengths, backend=backend)
        for y in (dirty, x)
    )
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_in_masked_queries_reaches_no_real_output(backend):
    x, mask = make(100), torch.rand(B, 100) < 0.6
    q = poisoned(x, ("q",), mask)["q"]
    y, _ = linear_attention(q, x["k"], x["v"], feature_map=PHI, mask=mask, backend=backend)
    assert y[mask].isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_in_masked_queries_reaches_no_gradient_of_keys_and_values(backend):
    x, mask = make(100), torch.rand(B, 100) < 0.6
    k, v = x["k"].requires_grad_(), x["v"].requires_grad_()
    q = poisoned(x, ("q",), mask)["q"]
    y, _ = linear_attention(q, k, v, feature_map=PHI, mask=mask, backend=backend)
    y[mask].sum().backward()
    assert k.grad.isfinite().all() and v.grad.isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("T", [1, 65, 200])
def test_masked_positions_count_as_removed(backend, T):
    x = make(T, batch=1)
    keep = torch.rand(T) < 0.6
    q, k, v = (x[name] for name in ("q", "k", "v"))
    y, state = linear_attention(q, k, v, feature_map=PHI, mask=keep[None], backend=backend)
    want, want_state = linear_attention(q[:, keep], k[:, keep], v[:, keep], feature_map=PHI, backend=backend)
    torch.testing.assert_close((y[:, keep], state), (want, want_state))


def test_masked_prefix_positions_count_as_removed():
    x, keep = make(0, 90, batch=1), torch.rand(90) < 0.6
    k, v = x["k_prefix"], x["v_prefix"]
    got = prefix_state(k, v, feature_map=PHI, mask=keep[None])
    torch.testing.assert_close(got, prefix_state(k[:, keep], v[:, keep], feature_map=PHI))


def test_all_masked_row_keeps_its_state_and_stays_finite():
    x = make(65)
    mask = torch.tensor([[False] * 65, [True] * 65])
    got = run(x, "chunked", torch.float64, mask)
    S, z = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=PHI)
    torch.testing.assert_close((got["S_out"][0], got["z_out"][0]), ((S + x["S"])[0], (z + x["z"])[0]))


def test_all_masked_row_without_state_has_finite_outputs_and_gradients():
    x = make(65)
    q, k, v = (x[name].requires_grad_() for name in ("q", "k", "v"))
    mask = torch.tensor([[False] * 65, [True] * 65])
    y, _ = linear_attention(q, k, v, feature_map=PHI, mask=mask)
    y.sum().backward()
    assert all(t.isfinite().all() for t in (y, q.grad, k.grad, v.grad))


@pytest.mark.parametrize("T", [1, 65])
def test_batch_of_two_equals_two_batches_of_one(T):
    x, mask = make(T), torch.rand(B, T) < 0.8
    together = run(x, "chunked", torch.float64, mask)
    for b in range(B):
        row = {name: y[b : b + 1] for name, y in x.items()}
        alone = run(row, "chunked", torch.float64, mask[b : b + 1])
        assert_same(
            {name: y[b : b + 1] for name, y in together.items() if "grad" not in name},
            {name: y for name, y in alone.items() if "grad" not in name},
            1e-12,
        )


def scatter(x: torch.Tensor, at: torch.Tensor, T: int) -> torch.Tensor:
    """x (1,n,...) placed at positions `at` of T, garbage elsewhere."""
    out = torch.full((1, T, *x.shape[2:]), 7.0, dtype=x.dtype)
    out[:, at] = x
    return out


@pytest.mark.parametrize("padding", ["left", "interior"])
def test_two_paddings_of_one_text_agree(padding):
    n, T = 70, 150
    x = make(n, batch=1)
    at = {"left": torch.arange(T - n, T), "interior": torch.randperm(T)[:n].sort().values}[padding]
    mask = torch.zeros(1, T, dtype=torch.bool)
    mask[:, at] = True
    right = torch.arange(T)[None] < n

    def attend(at, mask):
        y, state = linear_attention(*(scatter(x[name], at, T) for name in ("q", "k", "v")), feature_map=PHI, mask=mask)
        return y[mask], state

    torch.testing.assert_close(attend(at, mask), attend(torch.arange(n), right))


@pytest.fixture
def rounded():
    """bf16 inputs of 300 tokens, and the exact answer for these rounded inputs (fp64)."""
    x = {name: y.bfloat16() for name, y in make(300, dtype=torch.float32).items() if name in ("q", "k", "v")}
    exact = linear_attention(*(y.double() for y in x.values()), feature_map=PHI, backend="reference")
    return tuple(x.values()), exact


def test_bf16_output_is_within_rounding_of_the_exact_one(rounded):
    inputs, (want, _) = rounded
    y, _ = linear_attention(*inputs, feature_map=PHI)
    assert y.dtype == torch.bfloat16 and error(y, want) < 5e-3


def test_bf16_inputs_sum_to_an_fp32_exact_state(rounded):
    inputs, (_, (S_want, z_want)) = rounded
    _, (S, z) = linear_attention(*inputs, feature_map=PHI, backend="chunked")
    assert max(error(S, S_want), error(z, z_want)) < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_bf16_inputs_give_an_fp32_state_and_a_bf16_output(backend, rounded):
    y, (S, z) = linear_attention(*rounded[0], feature_map=PHI, backend=backend)
    assert (y.dtype, S.dtype, z.dtype) == (torch.bfloat16, torch.float32, torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bf16_prefix_gives_an_fp32_state(backend, rounded):
    _, k, v = rounded[0]
    S, z = prefix_state(k, v, feature_map=PHI, backend=backend)
    assert (S.dtype, z.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_does_not_touch_the_op(backend):
    x = make(70, dtype=torch.float32)

    def both():
        state = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=PHI, backend=backend)
        return linear_attention(x["q"], x["k"], x["v"], feature_map=PHI, state=state, backend=backend)

    plain = both()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = both()
    torch.testing.assert_close(cast, plain, rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("T", [0, 1, 70])
def test_the_given_state_is_not_changed(backend, T):
    x = make(T)
    S, z = x["S"].clone(), x["z"].clone()
    linear_attention(x["q"], x["k"], x["v"], feature_map=PHI, state=(x["S"], x["z"]), backend=backend)
    assert torch.equal(x["S"], S) and torch.equal(x["z"], z)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("first", [0, 1, 63, 64, 130])
def test_two_runs_chained_by_the_state_equal_one_run(backend, first):
    x = make(131)
    q, k, v = (x[name] for name in ("q", "k", "v"))
    want, want_state = linear_attention(q, k, v, feature_map=PHI, backend=backend)
    y1, state = linear_attention(q[:, :first], k[:, :first], v[:, :first], feature_map=PHI, backend=backend)
    y2, state = linear_attention(
        q[:, first:], k[:, first:], v[:, first:], feature_map=PHI, state=state, backend=backend
    )
    torch.testing.assert_close((torch.cat((y1, y2), dim=1), state), (want, want_state))


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_ones_give_ones_and_a_counting_state(backend):
    T = 130
    ones, phi = torch.ones(1, T, 1, 4, dtype=torch.float64), feature_map("taylor", 4)
    y, (S, z) = linear_attention(ones, ones, ones, feature_map=phi, backend=backend)
    count = T * phi(torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close((y, z[0, 0], S[0, 0]), (ones, count, count[:, None].expand(-1, 4)))


def test_keys_without_heads_are_refused_with_both_shapes():
    with refused(BadInput, got="keys (2, 5, 4), values (2, 5, 2, 3)"):
        linear_attention(torch.randn(2, 5, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 2, 3), feature_map=PHI)


def test_keys_and_values_of_two_lengths_are_refused():
    x = make(5)
    with refused(BadInput, got="keys (2, 5, 2, 4), values (2, 4, 2, 3)"):
        linear_attention(x["q"], x["k"], x["v"][:, :4], feature_map=PHI)


def test_queries_unlike_keys_are_refused_with_both_shapes():
    x = make(5)
    with refused(BadInput, got="q (2, 4, 2, 4), k (2, 5, 2, 4)"):
        linear_attention(x["q"][:, :4], x["k"], x["v"], feature_map=PHI)


@pytest.mark.parametrize("mask", [torch.ones(B, 4, dtype=torch.bool), torch.ones(B, 5)], ids=["shape", "dtype"])
def test_a_mask_that_does_not_fit_is_refused(mask):
    x = make(5)
    with refused(BadInput, got=f"{mask.dtype} {tuple(mask.shape)}", naming=("mask", "(2, 5)")):
        linear_attention(x["q"], x["k"], x["v"], feature_map=PHI, mask=mask)


def test_a_state_of_another_width_is_refused_with_the_width_it_needs():
    x = make(5)
    with refused(BadInput, got=containing(f"S (2, 2, {F - 1}, 3)"), allowed=f"S (2, 2, {F}, 3), z (2, 2, {F})"):
        linear_attention(x["q"], x["k"], x["v"], feature_map=PHI, state=(x["S"][:, :, :-1], x["z"][:, :, :-1]))


def test_prefix_lengths_of_another_batch_are_refused():
    x = make(0)
    with refused(BadInput, got="torch.int64 (3,)", allowed="int64 (2,)"):
        prefix_state(x["k_prefix"], x["v_prefix"], feature_map=PHI, prefix_lengths=torch.tensor([1, 2, 3]))


def test_prefix_lengths_may_be_a_list():
    x = make(0)
    read = partial(prefix_state, x["k_prefix"], x["v_prefix"], feature_map=PHI)
    for got, want in zip(read(prefix_lengths=[3, 7]), read(prefix_lengths=torch.tensor([3, 7])), strict=True):
        assert torch.equal(got, want)
    for wrong, got in (([3.0, 7.0], "torch.float32 (2,)"), ([3], "torch.int64 (1,)"), (3, "torch.int64 ()")):
        with refused(BadInput, got=got, allowed="int64 (2,)"):
            read(prefix_lengths=wrong)


@pytest.mark.parametrize("phi", ["taylor", torch.nn.functional.relu, torch.nn.ReLU()])
def test_what_is_no_feature_map_is_refused_with_how_to_make_one(phi):
    x = make(5)
    for verb, inputs in ((prefix_state, "kv"), (linear_attention, "qkv")):
        with refused(BadInput, got=containing(type(phi).__name__), todo=containing('feature_map("taylor", D)')):
            verb(*(x[name] for name in inputs), feature_map=phi)


@pytest.mark.parametrize("verb", ["prefix_state", "linear_attention"])
def test_an_unknown_backend_lists_the_known_ones_and_the_nearest(verb):
    x = make(5)
    with refused(UnknownName, got="chunkd", allowed=containing("auto, ", "triton"), todo=containing("chunked")):
        if verb == "prefix_state":
            prefix_state(x["k"], x["v"], feature_map=PHI, backend="chunkd")
        else:
            linear_attention(x["q"], x["k"], x["v"], feature_map=PHI, backend="chunkd")


class Largest(TorchDispatchMode):
    """Remembers the most elements of any tensor made inside, forward and backward."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(x, torch.Tensor):
                self.numel = max(self.numel, x.numel())
        return out


def test_no_tensor_grows_faster_than_time():
    def largest(T):
        q, k, v = (torch.randn(1, T, 1, width, requires_grad=True) for width in (D, D, V))
        with Largest() as seen:
            state = prefix_state(k, v, feature_map=PHI)
            y, _ = linear_attention(q, k, v, feature_map=PHI, state=state)
            y.sum().backward()
        return seen.numel

    assert largest(4096) <= 2.1 * largest(2048)


@pytest.mark.parametrize("backend", ["auto", "chunked"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_at_32k_no_tensor_is_wider_than_a_value_and_its_normaliser(backend, dtype):
    """So none of N x N, N x M (the prefix) or N x F."""
    T, width = 32768, 64
    phi = feature_map("taylor", 16)
    q, k = torch.randn(2, 1, T, 1, 16).to(dtype)
    v = torch.randn(1, T, 1, width).to(dtype)
    with Largest() as seen:
        state = prefix_state(k[:, : T // 2], v[:, : T // 2], feature_map=phi, backend=backend)
        linear_attention(q, k, v, feature_map=phi, state=state, backend=backend)
    assert seen.numel <= T * (width + 1) < T * phi.width / 2


@pytest.mark.parametrize("verb", ["prefix_state", "linear_attention"])
def test_nothing_is_cast_in_silence(verb):
    def call(dtype, other, state=torch.float32):
        x = make(5, dtype=torch.float32)
        if verb == "prefix_state":
            return prefix_state(x["k"].to(dtype), x["v"].to(other), feature_map=PHI)
        start = (x["S"].to(state), x["z"].to(state))
        return linear_attention(x["q"].to(dtype), x["k"].to(dtype), x["v"].to(other), feature_map=PHI, state=start)

    with refused(BadInput, got=containing("torch.float32, v", "torch.bfloat16")):
        call(torch.float32, torch.bfloat16)
    with refused(BadInput, got="torch.float16 on cpu", allowed="float32, bfloat16"):
        call(torch.float16, torch.float16)
    with refused(BadInput, got=containing("torch.int64")):
        call(torch.int64, torch.int64)
    if verb == "linear_attention":
        for wrong in (torch.bfloat16, torch.float64):
            with refused(BadInput, got=f"state {wrong}, inputs torch.bfloat16", allowed="torch.float32"):
                call(torch.bfloat16, torch.bfloat16, state=wrong)


def test_a_prefix_length_outside_the_prefix_is_refused():
    x = make(5)
    for lengths in ([5, 6], [-1, 0]):
        with refused(BadInput, got=lengths, allowed="0 to 5"):
            prefix_state(x["k"], x["v"], feature_map=PHI, prefix_lengths=torch.tensor(lengths))


def test_what_is_kept_for_the_backward_pass_grows_linearly():
    def kept(T):
        q, k, v = (torch.randn(1, T, 1, width, requires_grad=True) for width in (D, D, V))
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            linear_attention(q, k, v, feature_map=PHI)
        return sum(sizes)

    assert kept(4096) <= 2.1 * kept(2048)


@pytest.mark.parametrize("T", [1, 64, 1000])
def test_the_returned_state_holds_no_more_memory_than_its_size(T):
    x = make(T, dtype=torch.float32)
    _, (S, z) = linear_attention(x["q"], x["k"], x["v"], feature_map=PHI)
    held = {y.untyped_storage().data_ptr(): y.untyped_storage().nbytes() for y in (S, z)}
    assert sum(held.values()) <= 1.5 * (S.nbytes + z.nbytes)


def test_tensors_on_two_devices_are_refused_by_name():
    x = make(5, 4)
    q, k, v = (x[name] for name in "qkv")
    there = torch.device("meta")
    with refused(BadInput, got="v on meta, the others on cpu"):
        linear_attention(q, k, v.to(there), feature_map=PHI)
    state = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=PHI)
    with refused(BadInput, got="state on meta, the others on cpu"):
        linear_attention(q, k, v, feature_map=PHI, state=tuple(part.to(there) for part in state))
    with refused(BadInput, got="mask on meta, the others on cpu"):
        linear_attention(q, k, v, feature_map=PHI, mask=torch.ones(q.shape[:2], dtype=torch.bool, device=there))

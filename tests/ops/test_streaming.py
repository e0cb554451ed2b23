"""The inference path against the definition: outputs and states, masks, initial states, odd sizes, bf16.

Shapes: B batch, T time, H heads, D width of q and k, V width of v.
"""

import pytest
import torch
from raising import refused

from reread.errors import BadInput
from reread.ops import feature_map, linear_attention, prefix_state, streaming

B, H, V = 2, 3, 5
SIZES = (0, 1, 2, 63, 127, 128, 129, 500, 1024, 1025, 1100)


def make(T: int, D: int, dtype: torch.dtype = torch.float64):
    q, k = torch.randn(2, B, T, H, D, dtype=torch.float64).to(dtype)
    return q, k, torch.randn(B, T, H, V, dtype=torch.float64).to(dtype)


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got.double() - want.double()).norm() / want.double().norm().clamp(min=1e-9))


@pytest.mark.parametrize("D", [1, 2, 3, 6, 16])
@pytest.mark.parametrize("T", SIZES)
@pytest.mark.parametrize("normalise", [True, False])
def test_it_equals_the_definition(D, T, normalise):
    phi, (q, k, v), mask = feature_map("taylor", D), make(T, D), torch.rand(B, T) < 0.8
    state = prefix_state(torch.randn_like(k), torch.randn_like(v), feature_map=phi)
    got, (S, z) = linear_attention(
        q, k, v, feature_map=phi, state=state, mask=mask, normalise=normalise, backend="streaming"
    )
    want, (S_want, z_want) = linear_attention(
        q, k, v, feature_map=phi, state=state, mask=mask, normalise=normalise, backend="reference"
    )
    assert max(error(got[mask], want[mask]), error(S, S_want), error(z, z_want)) < 1e-10


def test_the_states_of_both_orders_are_one_state():
    for D in (1, 2, 5, 16):
        S1 = torch.randn(4, feature_map("taylor", D).width, 3)
        torch.testing.assert_close(streaming.to_packed(streaming.to_cyclic(S1, D), D), S1)


def test_bf16_products_stay_within_rounding_and_their_state_is_fp32():
    phi, rounded = feature_map("taylor", 16), make(2000, 16, torch.bfloat16)
    want, (S_want, z_want) = linear_attention(*(x.double() for x in rounded), feature_map=phi, backend="chunked")
    y, (S, z) = linear_attention(*rounded, feature_map=phi, backend="streaming")
    assert (y.dtype, S.dtype, z.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert error(y, want) < 1e-2 and error(S, S_want) < 1e-2 and error(z, z_want) < 1e-2


@pytest.mark.parametrize(("wanted", "path"), [(True, "chunked"), (False, "streaming")])
def test_auto_streams_only_where_no_gradient_is_wanted(wanted, path, monkeypatch):
    called = []
    for name, module in (("streaming", streaming), ("chunked", __import__("reread.ops.chunked").ops.chunked)):
        original = module.linear_attention

        def spy(*args, original=original, name=name):
            called.append(name)
            return original(*args)

        monkeypatch.setattr(module, "linear_attention", spy)
    from reread import ops

    monkeypatch.setitem(ops.BACKENDS, "chunked", (ops.chunked.prefix_state, ops.chunked.linear_attention))
    q, k, v = (x.requires_grad_(wanted) for x in make(9, 4))
    linear_attention(q, k, v, feature_map=feature_map("taylor", 4))
    assert called == [path]


@pytest.mark.parametrize(
    ("lengths", "dtype", "streams"),
    [
        ((63, 63), torch.bfloat16, False),
        ((64, 64), torch.bfloat16, True),
        ((2, 200), torch.bfloat16, False),
        ((2, 2), torch.float32, True),
    ],
)
def test_in_bf16_a_batch_streams_where_every_row_has_read_64_keys(lengths, dtype, streams, monkeypatch):
    phi, (q, k, v) = feature_map("taylor", 4), make(200, 4, dtype)
    state = prefix_state(k, v, feature_map=phi, prefix_lengths=torch.tensor(lengths))
    called, original = [], streaming.linear_attention
    monkeypatch.setattr(streaming, "linear_attention", lambda *x: called.append(1) or original(*x))
    linear_attention(q[:, :9], k[:, :9], v[:, :9], feature_map=phi, state=state)
    assert bool(called) == streams


@pytest.mark.parametrize("D", [1, 3, 16])
@pytest.mark.parametrize("P", SIZES)
def test_the_state_of_a_prefix_equals_the_definition(D, P):
    phi, (_, k, v), mask = feature_map("taylor", D), make(P, D), torch.rand(B, P) < 0.8
    lengths = torch.tensor([P, P // 2])
    options = {"feature_map": phi, "mask": mask, "prefix_lengths": lengths}
    got = prefix_state(k, v, **options, backend="streaming")
    for x, want in zip(got, prefix_state(k, v, **options, backend="reference"), strict=True):
        assert x.shape == want.shape and error(x, want) < 1e-10


def test_a_prefix_in_bf16_stays_within_rounding():
    phi, (_, k, v) = feature_map("taylor", 16), make(2000, 16, torch.bfloat16)
    got = prefix_state(k, v, feature_map=phi)
    for x, want in zip(got, prefix_state(k.double(), v.double(), feature_map=phi, backend="reference"), strict=True):
        assert x.dtype == torch.float32 and error(x, want) < 1e-2


def test_gradients_and_other_maps_are_refused():
    phi, (q, k, v) = feature_map("taylor", 4), make(5, 4)
    for verb in (lambda *x, **options: linear_attention(q, *x, **options), prefix_state):
        with refused(BadInput, allowed="auto, chunked", naming="gradients"):
            verb(k.clone().requires_grad_(), v, feature_map=phi, backend="streaming")
        with refused(BadInput, got="elu", naming="taylor"):
            verb(k, v, feature_map=feature_map("elu", 4), backend="streaming")


@pytest.mark.parametrize("scale", [1.0, 5.0, 10.0, 30.0])
@pytest.mark.parametrize("P", [1, 3, 40, 200])
def test_large_bf16_inputs_after_few_keys_keep_the_kernel_positive(scale, P):
    """The sum of rounded features is no 1 + s + s^2/2; outputs must stay within what the values span."""
    phi = feature_map("taylor", 16)
    k_prefix, k, q = (scale * torch.randn(B, n, H, 16) for n in (P, 130, 130))
    v_prefix, v = torch.randn(B, P, H, V), torch.randn(B, 130, H, V)
    k = 1e-3 * k
    found = {}
    for dtype in (torch.bfloat16, torch.float64):
        cast = [x.bfloat16().to(dtype) for x in (k_prefix, v_prefix, q, k, v)]
        with torch.no_grad():
            state = prefix_state(*cast[:2], feature_map=phi)
            found[dtype], _ = linear_attention(*cast[2:], feature_map=phi, state=state)
    assert error(found[torch.bfloat16], found[torch.float64]) < 2e-2


@pytest.mark.parametrize("backend", ["auto", "streaming"])
def test_a_batch_of_none_is_a_batch_of_none(backend):
    q, k, v = (x[:0] for x in make(5, 4))
    options = {"feature_map": feature_map("taylor", 4), "backend": backend}
    y, (S, z) = linear_attention(q, k, v, state=prefix_state(k, v, **options), **options)
    assert y.shape == v.shape and S.shape[0] == z.shape[0] == 0

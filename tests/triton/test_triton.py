"""The GPU kernels in triton's interpreter, against the definition in float64: outputs, states, all gradients.

What these tests cannot see: how the compiled kernels round, and whether the compiler is right.  Every matrix of
products that the kernels do not write themselves would show, because all fresh memory is NaN here.

Limits: 1e-5 of the norm in float32 (measured 4e-7 at most, 1e-6 where the normaliser nearly vanishes), 5e-3 for
outputs and 1e-2 for gradients with bfloat16 inputs (both are rounded once, to 8 bits; so is y before its use).

Shapes: B batch, T time, P prefix, H heads, D width of q and k, V width of v.
"""

from __future__ import annotations

import math
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from marks import slow
from raising import containing, refused

from reread.errors import BadInput
from reread.ops import feature_map, linear_attention, prefix_state, triton_op

pytest.importorskip("triton")
NAMES = ("y", "S", "z", "grad_q", "grad_k", "grad_v", "grad_k_prefix", "grad_v_prefix", "grad_S", "grad_z")


@pytest.fixture(autouse=True)
def small_segments_in_poisoned_memory(monkeypatch, request):
    """Segments of 128 tokens, so that short texts have several, and NaN in all memory that nothing has written."""
    monkeypatch.setattr(triton_op, "SEGMENT", {"taylor": 128, "elementwise": 128})
    monkeypatch.setattr(triton_op, "SCAN_BLOCK", 8192)
    if "fresh_memory" in request.keywords:
        return
    for name in ("empty", "empty_like"):
        fresh = getattr(torch, name)

        def poisoned(*args, fresh=fresh, **options):
            x = fresh(*args, **options)
            return x.fill_(math.nan) if x.is_floating_point() else x

        monkeypatch.setattr(torch, name, poisoned)


def make(D: int, V: int, T: int, P: int, *, B: int = 2, H: int = 1, ones: bool = False) -> dict[str, torch.Tensor]:
    draw = torch.ones if ones else torch.randn
    shapes = {"q": (T, D), "k": (T, D), "v": (T, V), "k_prefix": (P, D), "v_prefix": (P, V)}
    return {name: draw(B, n, H, width) for name, (n, width) in shapes.items()}


def run(phi, x: dict, backend: str, dtype=None, *, mask=None, prefix_mask=None, prefix_lengths=None, normalise=True):
    """y, S, z, and the gradients of a random projection of them to all inputs and to a state in between."""
    x = {name: (y.to(dtype) if dtype else y).clone().requires_grad_() for name, y in x.items()}
    options = {"feature_map": phi, "backend": backend}
    S0, z0 = prefix_state(x["k_prefix"], x["v_prefix"], mask=prefix_mask, prefix_lengths=prefix_lengths, **options)
    S0.retain_grad()
    z0.retain_grad()
    y, (S, z) = linear_attention(x["q"], x["k"], x["v"], state=(S0, z0), mask=mask, normalise=normalise, **options)
    draw = torch.Generator().manual_seed(1)
    loss = sum((o * torch.randn(o.shape, generator=draw, dtype=torch.float64).to(o.dtype)).sum() for o in (y, S, z))
    loss.backward()
    return {
        "y": y.detach(),
        "S": S.detach(),
        "z": z.detach(),
        **{f"grad_{name}": t.grad for name, t in x.items()},
        "grad_S": S0.grad,
        "grad_z": z0.grad,
    }


def assert_same(got: dict, want: dict, limit: float, names=NAMES) -> None:
    errors = {}
    for name in names:
        assert got[name].shape == want[name].shape, name
        difference = (got[name].double() - want[name].double()).norm()
        errors[name] = float(difference / want[name].double().norm().clamp(min=1e-6))
    assert all(error < limit for error in errors.values()), errors


CASES = [
    ("taylor", 16, 64, 1, 1),
    ("taylor", 16, 64, 63, 0),
    ("taylor", 8, 32, 65, 64),
    ("elu", 8, 32, 140, 65),
    ("relu", 32, 112, 70, 10),
    ("gelu", 64, 64, 140, 1),
    *slow(
        ("taylor", 16, 64, 300, 130),
        ("taylor", 16, 112, 129, 3),
        ("taylor", 32, 128, 70, 5),
        ("identity", 16, 64, 140, 65),
    ),
]


@pytest.mark.parametrize(("name", "D", "V", "T", "P"), CASES)
def test_outputs_states_and_gradients_equal_the_definition(name, D, V, T, P):
    B = 1 if D == 32 else 2
    phi, x = feature_map(name, D), make(D, V, T, P, B=B)
    options = {
        "mask": torch.rand(B, T) < 0.8,
        "prefix_mask": torch.rand(B, P) < 0.9,
        "prefix_lengths": torch.tensor([P, P // 2])[:B],
    }
    want = run(phi, x, "reference", torch.float64, **options)
    assert_same(run(phi, x, "triton", **options), want, 1e-5)


SMALL_TILES = {"BT": 32, "BK": 16, "HEAD": 32, "TAIL": 16, "BV": 16}


@pytest.mark.slow
def test_small_tiles_and_many_borders(monkeypatch):
    tiles = triton_op.tiles

    def small(*args):
        chosen = tiles(*args)
        return {**chosen, **{key: size for key, size in SMALL_TILES.items() if key in chosen}}

    monkeypatch.setattr(triton_op, "tiles", small)
    monkeypatch.setattr(triton_op, "SEGMENT", {"taylor": 32})
    phi, x = feature_map("taylor", 8), make(8, 48, 70, 20, B=1, H=1)
    assert_same(run(phi, x, "triton"), run(phi, x, "reference", torch.float64), 1e-5)


def test_one_whole_segment_of_the_real_size(monkeypatch):
    monkeypatch.setattr(triton_op, "SEGMENT", {"taylor": 512})
    phi, x = feature_map("taylor", 16), make(16, 32, 500, 0, B=1)
    want, (S, z) = linear_attention(*(x[n].double() for n in "qkv"), feature_map=phi, backend="reference")
    got, (S_got, z_got) = linear_attention(*(x[n] for n in "qkv"), feature_map=phi, backend="triton")
    assert_same({"y": got, "S": S_got, "z": z_got}, {"y": want, "S": S, "z": z}, 1e-5, NAMES[:3])


def test_a_long_prefix_of_many_heads_gets_longer_segments(monkeypatch):
    """The lengths of the real ones: 128 and 2048; here 128 and 256."""
    monkeypatch.setattr(triton_op, "PREFIX_SEGMENT", 256)
    monkeypatch.setattr(triton_op, "ENOUGH_PROGRAMS", 1)
    phi, x = feature_map("taylor", 8), make(8, 16, 5, 300, B=1)
    plans = [triton_op.prefix_plan(phi, x["k_prefix"][:, :P], x["v_prefix"][:, :P], None) for P in (255, 300)]
    assert [(p.segments.length, len(p.segments.table)) for p in plans] == [(128, 2), (256, 2)]
    assert_same(run(phi, x, "triton"), run(phi, x, "reference", torch.float64), 1e-5)


@pytest.mark.parametrize("name", ["taylor", "relu"])
def test_without_normalising(name):
    phi, x = feature_map(name, 8), make(8, 16, 40, 9, B=1)
    want = run(phi, x, "reference", torch.float64, normalise=False)
    assert_same(run(phi, x, "triton", normalise=False), want, 1e-5)


def test_a_guarded_normaliser_passes_no_gradient():
    """relu: where all features are zero, the normaliser is its guard, a constant."""
    phi, x = feature_map("relu", 8), make(8, 16, 20, 4, B=1)
    x["k"][:, :10] = -x["k"][:, :10].abs()
    x["k_prefix"] = -x["k_prefix"].abs()
    x["q"][:, 15:] = -x["q"][:, 15:].abs()
    assert_same(run(phi, x, "triton"), run(phi, x, "reference", torch.float64), 1e-5)


@pytest.mark.parametrize("name", ["taylor", "elu"])
def test_common_inputs(name):
    """All ones: every output is the mean of equal values."""
    phi, x = feature_map(name, 16), make(16, 64, 70, 10, B=1, ones=True)
    got = run(phi, x, "triton")
    torch.testing.assert_close(got["y"], torch.ones_like(got["y"]))
    assert_same(got, run(phi, x, "reference", torch.float64), 1e-5, NAMES[1:3])


@pytest.mark.parametrize("name", ["taylor", "gelu", *slow("identity")])
@pytest.mark.parametrize("fresh", [True, False])
def test_a_decoding_step_equals_the_definition(name, fresh):
    phi, x, mask = feature_map(name, 16), make(16, 112, 1, 20, H=2), torch.tensor([[True], [False]])
    for masked in (None, mask):
        state = None
        if not fresh:
            state = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=phi, backend="reference")
            before = [t.clone() for t in state]
        options = {"feature_map": phi, "state": state, "mask": masked}
        want, after = linear_attention(x["q"], x["k"], x["v"], **options, backend="reference")
        got, new = linear_attention(x["q"], x["k"], x["v"], **options, backend="triton")
        found, wanted = ({"y": a, "S": b[0], "z": b[1]} for a, b in ((got[:1], new), (want[:1], after)))
        assert_same(found, wanted, 1e-5, NAMES[:3])
        assert got.isfinite().all()
        assert fresh or all(torch.equal(a, b) for a, b in zip(state, before, strict=True))


def test_states_go_on_in_other_backends_and_come_back():
    phi, x = feature_map("taylor", 16), make(16, 32, 90, 50, B=1)
    want, final = linear_attention(
        *(x[n] for n in "qkv"),
        feature_map=phi,
        state=prefix_state(x["k_prefix"], x["v_prefix"], feature_map=phi, backend="chunked"),
        backend="chunked",
    )
    for backends in (["triton", "chunked", "triton"], ["chunked", "triton", "chunked"]):
        state = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=phi, backend=backends[0])
        parts = []
        for backend, part in zip(backends, (slice(0, 40), slice(40, 41), slice(41, 90)), strict=True):
            inputs = (x[n][:, part] for n in "qkv")
            y, state = linear_attention(*inputs, feature_map=phi, state=state, backend=backend)
            parts.append(y)
        torch.testing.assert_close(torch.cat(parts, dim=1), want, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(state, final, rtol=1e-4, atol=1e-4)


def test_nothing_read_leaves_a_state_as_it_is_to_the_bit():
    phi, x = feature_map("taylor", 16), make(16, 32, 0, 50, B=2)
    state = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=phi, backend="chunked")
    y, after = linear_attention(*(x[n] for n in "qkv"), feature_map=phi, state=state, backend="triton")
    assert y.shape == (2, 0, 1, 32)
    assert all(torch.equal(a, b) for a, b in zip(state, after, strict=True))
    empty = prefix_state(x["k"], x["v"], feature_map=phi, backend="triton")
    assert not empty[0].any() and not empty[1].any()


def test_a_batch_of_none_is_a_batch_of_none():
    phi, x = feature_map("taylor", 16), {name: t[:0] for name, t in make(16, 32, 5, 5).items()}
    y, (S, z) = linear_attention(*(x[n] for n in "qkv"), feature_map=phi, backend="triton")
    assert y.shape == (0, 5, 1, 32) and S.shape[0] == z.shape[0] == 0


@pytest.mark.slow
def test_two_runs_give_the_same_bits():
    phi, x = feature_map("taylor", 16), make(16, 32, 140, 30, B=1)
    one, two = (run(phi, x, "triton") for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_batch_equals_its_rows():
    phi, x, lengths = feature_map("taylor", 8), make(8, 16, 70, 30, B=3), torch.tensor([0, 17, 30])
    whole = run(phi, x, "triton", prefix_lengths=lengths)
    for b in range(3):
        row = {name: t[b : b + 1] for name, t in x.items()}
        row["k_prefix"], row["v_prefix"] = (row[n][:, : lengths[b]] for n in ("k_prefix", "v_prefix"))
        options = {"feature_map": phi, "backend": "triton"}
        state = prefix_state(row["k_prefix"], row["v_prefix"], **options)
        y, (S, z) = linear_attention(*(row[n] for n in "qkv"), state=state, **options)
        for name, got in {"y": y, "S": S, "z": z}.items():
            torch.testing.assert_close(whole[name][b : b + 1], got)


def test_nan_at_masked_positions_reaches_nothing():
    phi, x = feature_map("elu", 16), make(16, 32, 70, 20)
    mask, prefix_mask = torch.rand(2, 70) < 0.6, torch.rand(2, 20) < 0.6
    dirty = {
        name: t.masked_fill(~(prefix_mask if "prefix" in name else mask)[:, :, None, None], math.nan)
        for name, t in x.items()
    }
    clean, got = (run(phi, t, "triton", mask=mask, prefix_mask=prefix_mask) for t in (x, dirty))
    assert all(torch.equal(clean[name], got[name]) for name in clean)


def test_bf16_inputs():
    phi, x = feature_map("taylor", 16), make(16, 32, 140, 30, B=1)
    x = {name: t.bfloat16() for name, t in x.items()}
    want, got = run(phi, x, "reference", torch.float64), run(phi, x, "triton")
    assert {got[name].dtype for name in ("y", "grad_q", "grad_v_prefix")} == {torch.bfloat16}
    assert got["S"].dtype == got["z"].dtype == torch.float32
    assert_same(got, want, 5e-3, NAMES[:3])
    assert_same(got, want, 1e-2, NAMES[3:])


def test_behind_few_keys_what_rounding_takes_is_added(monkeypatch):
    """The interpreter has no bf16 products, so fp16 ones stand in for them."""
    import triton.language as tl

    monkeypatch.setattr(triton_op.Plan, "products", lambda p: {"DOT": tl.float16, "PRECISION": "ieee"})
    phi, x = feature_map("taylor", 16), make(16, 32, 3, 5, B=1)
    x = {name: t if name[0] == "v" else 4 * t for name, t in x.items()}
    x = {name: t.half().float() for name, t in x.items()}
    x["k"] = 0.01 * x["k"]

    def outputs(backend: str, dtype: torch.dtype):
        y = {name: t.to(dtype) for name, t in x.items()}
        state = prefix_state(y["k_prefix"], y["v_prefix"], feature_map=phi, backend=backend)
        out, _ = linear_attention(*(y[n] for n in "qkv"), feature_map=phi, state=state, backend=backend)
        return out.double()

    want, errors = outputs("reference", torch.float64), {}
    for split in (True, False):
        monkeypatch.setattr(triton_op.Plan, "splits", split)
        errors[split] = float((outputs("triton", torch.float32) - want).norm() / want.norm())
    assert errors[True] < 1e-5 and errors[False] > 1e-4, errors


def test_fp16_inputs():
    """Below the op's check: no CPU computes in float16, but the interpreter loads and stores it."""
    phi, x = feature_map("taylor", 16), make(16, 32, 70, 0, B=1)
    x = {name: t.half() for name, t in x.items()}
    got, _ = triton_op.linear_attention(x["q"], x["k"], x["v"], phi, None, None, True)
    want, _ = linear_attention(*(x[n].double() for n in "qkv"), feature_map=phi, backend="reference")
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.double(), want, rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_inputs_that_are_views_are_read_as_what_they_show():
    phi, x = feature_map("taylor", 8), make(8, 16, 40, 9)
    views = {name: torch.stack((t, t + 1), dim=-1)[..., 0] for name, t in x.items()}
    assert_same(run(phi, views, "triton"), run(phi, x, "triton"), 1e-9)


@pytest.mark.slow
@pytest.mark.fresh_memory
def test_offsets_beyond_32_bits():
    """Tokens behind 2^31 values of v; the memory before them is never touched, so it costs nothing."""
    phi, (H, D, V), T = feature_map("taylor", 8), (2, 8, 128), 20
    first = 2**31 // (H * V) + 5
    q, k, v = (torch.empty(1, first + T, H, width, dtype=torch.bfloat16) for width in (D, D, V))
    for x in (q, k, v):
        x[:, first:] = torch.randn(1, T, H, x.shape[-1])
    options = {"phi": phi, "state": None, "mask": None, "normalise": True}
    y, (S, _) = triton_op.linear_attention(q, k, v, **options, bounds=(first, first + T))
    few = [x[:, first:].clone() for x in (q, k, v)]
    want, (S_want, _) = triton_op.linear_attention(*few, **options)
    assert torch.equal(y[:, first:], want) and torch.equal(S, S_want)


def test_auto_never_takes_triton_on_a_cpu(monkeypatch):
    monkeypatch.setattr(triton_op, "plan", None)
    phi, x = feature_map("taylor", 16), make(16, 32, 5, 4)
    state = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=phi)
    linear_attention(*(x[n] for n in "qkv"), feature_map=phi, state=state)


def test_a_map_without_kernels_is_computed_in_chunks_and_says_so_once():
    triton_op.say_once.cache_clear()
    phi, x = feature_map("softmax", 16), make(16, 32, 5, 4)
    with pytest.warns(UserWarning, match="no kernels for the feature map softmax: computed in chunks"):
        got, _ = linear_attention(*(x[n] for n in "qkv"), feature_map=phi, backend="triton")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_attention(*(x[n] for n in "qkv"), feature_map=phi, backend="triton")
    want, _ = linear_attention(*(x[n] for n in "qkv"), feature_map=phi, backend="chunked")
    assert torch.equal(got, want)


@pytest.mark.parametrize(
    ("D", "V", "dtype", "fields"),
    [
        (4, 32, torch.float32, {"got": containing("(8, 16, 32)", "4 and 32")}),
        (16, 33, torch.float32, {"got": containing("16 and 33")}),
        (16, 32, torch.float64, {"got": containing("float32, bfloat16", "torch.float64")}),
    ],
)
def test_shapes_without_kernels_are_refused(D, V, dtype, fields):
    x = {name: t.to(dtype) for name, t in make(D, V, 5, 4).items()}
    with refused(BadInput, **fields):
        linear_attention(*(x[n] for n in "qkv"), feature_map=feature_map("taylor", D), backend="triton")


def test_without_triton_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    phi, x = feature_map("taylor", 16), make(16, 32, 5, 4)
    with refused(BadInput, got=containing("pip install 'reread[gpu]'")):
        prefix_state(x["k"], x["v"], feature_map=phi, backend="triton")


def test_a_cpu_another_version_and_an_old_gpu_are_refused(monkeypatch):
    import triton

    phi, x = feature_map("taylor", 16), make(16, 32, 5, 4)
    cuda = SimpleNamespace(device=torch.device("cuda"), shape=x["k"].shape, dtype=torch.float32, is_cuda=True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "compute capability 8.0, and this is an old card" in triton_op.why_not(phi, cuda, x["v"])
    with refused(BadInput, got=containing("8.0", "an old card")):
        triton_op.takes("triton", phi, cuda, x["v"])
    with pytest.warns(UserWarning, match="old card: computed in chunks"):
        assert not triton_op.takes("auto", phi, cuda, x["v"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert triton_op.takes("auto", phi, cuda, x["v"])
    wide = SimpleNamespace(**{**vars(cuda), "shape": (1, 5, 2, 32)})
    small = SimpleNamespace(shared_memory_per_block_optin=101_376)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: small)
    assert triton_op.why_not(phi, cuda, x["v"]) is None
    assert "need 106,496 bytes of shared memory" in triton_op.why_not(phi, wide, torch.empty(1, 5, 2, 128))
    wide.dtype = torch.bfloat16
    assert triton_op.why_not(phi, wide, torch.empty(1, 5, 2, 128)) is None
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert "made for CUDA, and this is ROCm 6.2" in triton_op.why_not(phi, cuda, x["v"])
    monkeypatch.setattr(triton_op, "interpreted", lambda: False)
    with refused(BadInput, got=containing("CUDA", "cpu")):
        prefix_state(x["k"], x["v"], feature_map=phi, backend="triton")
    monkeypatch.setattr(triton, "__version__", "3.3.1")
    with refused(BadInput, got=containing("triton 3.6, 3.7", "3.3.1")):
        prefix_state(x["k"], x["v"], feature_map=phi, backend="triton")

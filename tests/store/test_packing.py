"""Packing: what goes in comes out, as exactly as the dtype allows, and in the bytes it promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models.packing import DTYPES, LEVELS, STATE_DTYPES, Layout, expected, pack, unpack


def flat():
    torch.manual_seed(0)
    return {
        "S": torch.randn(1, 3, 40, 24) * torch.logspace(-3, 3, 40)[:, None],
        "odd": torch.randn(1, 37, 5),
        "z": torch.rand(1, 3, 40) * 1e4,
        "position": torch.tensor([7]),
        "flag": torch.tensor(True),
        "empty": torch.zeros(0, 4),
    }


@pytest.mark.parametrize("dtype", STATE_DTYPES)
def test_shapes_and_dtypes_come_back_and_whole_numbers_stay(dtype):
    before = flat()
    packed, layout = pack(before, dtype)
    after = unpack(packed, layout)
    assert {n: (x.dtype, x.shape) for n, x in after.items()} == {n: (x.dtype, x.shape) for n, x in before.items()}
    assert torch.equal(after["position"], before["position"]) and bool(after["flag"])
    for name, (kind, shape, scales) in ((n, expected(one)) for n, one in layout.items()):
        assert packed[name].dtype == kind and tuple(packed[name].shape) == shape
        assert not scales or packed[f"scale of {name}"].shape == (scales,)
    if dtype == "fp32":
        assert all(torch.equal(after[n], before[n]) for n in before)


@pytest.mark.parametrize("dtype", LEVELS)
def test_every_value_is_off_by_half_a_step_of_its_row_at_most(dtype):
    x = flat()["S"]
    packed, layout = pack({"S": x}, dtype)
    got = unpack(packed, layout)["S"]
    step = x.abs().amax(dim=-1, keepdim=True) / LEVELS[dtype]
    assert bool(((got - x).abs() <= 0.52 * step + LEVELS[dtype] * step * 2**-8).all())
    size = sum(p.numel() * p.element_size() for p in packed.values())
    assert size == x.numel() * (8 if dtype == "int8" else 4) // 8 + x.numel() // 24 * 2


def test_small_tensors_beside_a_large_one_are_bfloat16():
    _, layout = pack({"S": torch.randn(1, 64, 64), "z": torch.randn(1, 64), "conv": torch.randn(1, 2, 16)}, "int4")
    assert {name: one.kept for name, one in layout.items()} == {"S": "int4", "z": "bf16", "conv": "bf16"}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 33), min_size=1, max_size=3), st.sampled_from(STATE_DTYPES), st.integers(0, 99))
def test_any_shape_packs_and_unpacks_again_to_the_same(shape, dtype, seed):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    packed, layout = pack({"x": x}, dtype)
    once = unpack(packed, layout)["x"]
    error = float((once - x).abs().max() / x.abs().max())
    assert error <= {"fp32": 0.0, "bf16": 2**-8, "int8": 1 / 127, "int4": 1 / 7}[dtype]


@pytest.mark.parametrize("dtype", STATE_DTYPES)
def test_a_state_of_bfloat16_and_a_row_of_zeros_survive(dtype):
    x = torch.zeros(4, 32, dtype=torch.bfloat16)
    x[1] = 3.0
    got = unpack(*pack({"x": x}, dtype))["x"]
    assert got.dtype == torch.bfloat16 and torch.allclose(got.float(), x.float(), rtol=2**-7)


def test_what_is_not_finite_and_unknown_dtypes_are_refused():
    with refused(BadInput, got="S", naming="finite"):
        pack({"S": torch.tensor([[1.0, float("nan")]])}, "fp32")
    with refused(UnknownName, got="int9", todo=containing("int8")):
        pack({}, "int9")
    assert set(DTYPES) >= {"float32", "bfloat16", "int64", "bool"}


def test_sizes_below_nothing_are_refused():
    with refused(BadInput, got=(-1, -16), naming="sizes"):
        expected(Layout("float32", (-1, -16), "int8"))

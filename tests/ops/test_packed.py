"""Packed documents: each as if it were alone, whatever computes it.

Shapes: T time, N documents, H heads, D width of q and k, V width of v.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from raising import refused

from reread.errors import BadInput
from reread.ops import feature_map, linear_attention, prefix_state

H, D, V, LENGTHS = 1, 8, 16, (5, 0, 1, 70)
ENDS = list(itertools.accumulate(LENGTHS, initial=0))
NAMES = ("q", "k", "v", "k_prefix", "v_prefix")


def make() -> dict[str, torch.Tensor]:
    return {name: torch.randn(1, ENDS[-1], H, V if name[0] == "v" else D) for name in NAMES}


def outcome(y: torch.Tensor, state, x: dict) -> dict:
    draw = torch.Generator().manual_seed(1)
    sum((t * torch.randn(t.shape, generator=draw)).sum() for t in (y, *state)).backward()
    return {"y": y.detach(), "S": state[0].detach(), "z": state[1].detach(), **{name: t.grad for name, t in x.items()}}


@pytest.mark.parametrize("backend", ["chunked", "triton"])
@pytest.mark.parametrize("masked", [False, True])
def test_every_document_is_as_if_alone(backend, masked):
    if backend == "triton":
        pytest.importorskip("triton")
    phi, values, borders = feature_map("taylor", D), make(), torch.tensor(ENDS)
    mask = torch.rand(1, ENDS[-1]) < 0.8 if masked else None
    x = {name: t.clone().requires_grad_() for name, t in values.items()}
    options = {"feature_map": phi, "cu_seqlens": borders, "mask": mask, "backend": backend}
    state = prefix_state(x["k_prefix"], x["v_prefix"], **options)
    got = outcome(*linear_attention(x["q"], x["k"], x["v"], state=state, **options), x)

    x = {name: t.clone().requires_grad_() for name, t in values.items()}
    parts, states = [], []
    for a, b in itertools.pairwise(ENDS):
        own = {"feature_map": phi, "mask": None if mask is None else mask[:, a:b], "backend": "reference"}
        part = {name: t[:, a:b] for name, t in x.items()}
        state = prefix_state(part["k_prefix"], part["v_prefix"], **own)
        y, state = linear_attention(part["q"], part["k"], part["v"], state=state, **own)
        parts.append(y)
        states.append(state)
    want = outcome(torch.cat(parts, dim=1), [torch.cat(t) for t in zip(*states, strict=True)], x)
    for name in want:
        assert got[name].shape == want[name].shape
        assert float((got[name] - want[name]).norm() / want[name].norm()) < 1e-5, name


@pytest.mark.parametrize(
    ("borders", "fields"),
    [
        (torch.tensor([0, 3]), {"got": [0, 3], "allowed": "0 to 5"}),
        (torch.tensor([0, 4, 3, 5]), {"got": [0, 4, 3, 5], "allowed": "0 to 5"}),
        (torch.tensor([5]), {"got": "torch.int64 (1,)", "allowed": "int64 (documents + 1,)"}),
        (torch.tensor([0.0, 5.0]), {"got": "torch.float32 (2,)", "allowed": "int64 (documents + 1,)"}),
    ],
)
def test_borders_that_cannot_be_are_refused(borders, fields):
    x = torch.randn(1, 5, H, D)
    with refused(BadInput, **fields):
        linear_attention(x, x, x, feature_map=feature_map("taylor", D), cu_seqlens=borders)


def test_two_rows_and_lengths_of_prefixes_are_refused():
    x, phi, borders = torch.randn(2, 5, H, D), feature_map("taylor", D), torch.tensor([0, 5])
    with refused(BadInput, got=2, allowed=1, naming="row"):
        linear_attention(x, x, x, feature_map=phi, cu_seqlens=borders)
    with refused(BadInput, naming="lengths"):
        prefix_state(x[:1], x[:1], feature_map=phi, cu_seqlens=borders, prefix_lengths=torch.tensor([3]))


def test_a_state_needs_a_row_for_each_document():
    x, phi = torch.randn(1, 5, H, D), feature_map("taylor", D)
    state = prefix_state(x, x, feature_map=phi)
    with refused(BadInput, got="S (1, 1, 45, 8), z (1, 1, 45)", allowed="S (2, 1, 45, 8), z (2, 1, 45)"):
        linear_attention(x, x, x, feature_map=phi, state=state, cu_seqlens=torch.tensor([0, 2, 5]))

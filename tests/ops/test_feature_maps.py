"""Feature maps: their kernels, their widths, and the op with each of them against its definition.

Shapes: B batch, T time, H heads, D width of q and k, V width of v, F expanded width.
"""

from __future__ import annotations

import math

import pytest
import torch
from marks import slow
from raising import containing, refused

from reread.config import Spec
from reread.errors import BadInput, UnknownName
from reread.ops import FEATURE_MAPS, feature_map, linear_attention, prefix_state

B, H, D, V = 2, 4, 6, 3
SPECS = (
    "taylor",
    "identity",
    "elu",
    "relu",
    "gelu",
    "polynomial",
    "polynomial(degree=3)",
    "gaussian",
    "gaussian(features=10, seed=3, kind='fourier')",
    "mlp",
    "mlp(features=5, hidden=7)",
    "softmax",
    "hedgehog",
    "mixture(taylor, relu)",
    "mixture(identity, gaussian(features=8), mlp(features=9), polynomial(degree=3))",
)


def phi_of(text: str) -> torch.nn.Module:
    phi = feature_map(text, D, H)
    with torch.no_grad():
        for p in phi.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return phi


def test_every_map_is_tested():
    assert {Spec.parse(text).name for text in SPECS} == set(FEATURE_MAPS)


@pytest.mark.parametrize("text", SPECS)
@pytest.mark.parametrize("middle", [(), (5,), (3, 5)])
def test_the_width_is_what_comes_out(text, middle):
    phi = phi_of(text)
    assert phi(torch.randn(B, H, *middle, D)).shape == (B, H, *middle, phi.width)


@pytest.mark.parametrize("text", SPECS)
def test_positions_do_not_see_one_another(text):
    phi, x = phi_of(text), torch.randn(B, H, 3, 5, D, dtype=torch.float64)
    torch.testing.assert_close(phi(x)[:, :, 1, 2], phi(x[:, :, 1, 2]))


KERNELS = {
    "taylor": lambda s: 1 + s + s**2 / 2,
    "identity": lambda s: s,
    "polynomial": lambda s: (1 + s) ** 2,
    "polynomial(degree=3)": lambda s: (1 + s) ** 3,
}


@pytest.mark.parametrize("text", KERNELS)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 16])
def test_inner_products_of_features_are_the_kernel(text, width):
    phi = feature_map(text, width)
    q, k = torch.randn(2, 1, 1, 50, width, dtype=torch.float64)
    inner = (q * k).sum(-1)
    want = KERNELS[text](inner / math.sqrt(width))
    torch.testing.assert_close((phi(q) * phi(k)).sum(-1), want, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(phi.similarity(inner), want, rtol=1e-10, atol=1e-10)


def published_taylor(x: torch.Tensor) -> torch.Tensor:
    """The published map: 1, x / d^(1/4), and all d^2 products over sqrt(2 d)."""
    d = x.shape[-1]
    products = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2) / math.sqrt(2)
    return torch.cat((torch.ones_like(x[..., :1]), x / d**0.25, products / math.sqrt(d)), dim=-1)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 8, 16])
def test_packed_taylor_equals_the_published_map_with_every_product(width):
    phi = feature_map("taylor", width)
    q, k = torch.randn(2, 1, 1, 50, width, dtype=torch.float64)
    want = (published_taylor(q) * published_taylor(k)).sum(-1)
    torch.testing.assert_close((phi(q) * phi(k)).sum(-1), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "width"), [("taylor", 153), ("polynomial", 153), ("polynomial(degree=3)", 969), ("hedgehog", 32)]
)
def test_widths_at_the_published_head_width(text, width):
    assert feature_map(text, 16).width == width


ELEMENTWISE = {
    "elu": lambda x: torch.where(x > 0, 1 + x, x.exp()),
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))) + 0.171,
    "softmax": lambda x: x.exp() / x.exp().sum(-1, keepdim=True),
}


@pytest.mark.parametrize("text", ELEMENTWISE)
def test_elementwise_maps_are_their_formulas(text):
    x = torch.randn(1, 1, 20, D, dtype=torch.float64)
    torch.testing.assert_close(feature_map(text, D)(x), ELEMENTWISE[text](x))


@pytest.mark.parametrize("kind", ["positive", "fourier"])
def test_gaussian_features_approach_the_gaussian_kernel_as_they_grow_in_number(kind):
    q, k = 0.7 * torch.randn(2, 1, 1, 40, D, dtype=torch.float64)
    want = torch.exp(-((q - k) ** 2).sum(-1) / (2 * math.sqrt(D)))

    def off(features):
        errors = []
        for seed in range(8):
            phi = feature_map(f"gaussian(features={features}, seed={seed}, kind='{kind}')", D)
            errors.append(((phi(q) * phi(k)).sum(-1) - want).abs().mean())
        return float(torch.stack(errors).mean())

    assert off(4096) < 0.02 and off(4096) < 0.5 * off(128)


def test_gaussian_directions_are_orthogonal_and_seeded():
    phi = feature_map(f"gaussian(features={2 * D})", D)
    block = phi.w[:D].double()
    gram = block @ block.T
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()), atol=1e-5, rtol=0)
    assert torch.equal(phi.w, feature_map(f"gaussian(features={2 * D})", D).w)
    assert not torch.equal(phi.w, feature_map(f"gaussian(features={2 * D}, seed=1)", D).w)
    assert "w" in phi.state_dict()


def test_a_mixture_is_each_map_on_its_own_heads():
    phi, x = feature_map("mixture(taylor, relu)", D, H), torch.randn(B, H, 5, D)
    y = phi(x)
    torch.testing.assert_close(y[:, :2], feature_map("taylor", D)(x[:, :2]))
    torch.testing.assert_close(y[:, 2:, :, :D], x[:, 2:].relu())
    assert not y[:, 2:, :, D:].any()


def test_every_head_of_a_mixture_keeps_its_own_guard():
    q, k, v = 0.05 * torch.randn(1, 6, 2, D), 0.05 * torch.randn(1, 6, 2, D), torch.randn(1, 6, 2, V)
    y, _ = linear_attention(q, k, v, feature_map=feature_map("mixture(relu, identity)", D, 2))
    for head, name in enumerate(("relu", "identity")):
        at = slice(head, head + 1)
        alone, _ = linear_attention(q[:, :, at], k[:, :, at], v[:, :, at], feature_map=feature_map(name, D))
        torch.testing.assert_close(y[:, :, at], alone)


def learned(text: str) -> torch.nn.Module:
    return phi_of(text).double()


def run(phi, x: dict, backend: str, mask=None, normalise: bool = True) -> dict:
    """y, S, z, and the gradients of a random projection of them to inputs and parameters."""
    x = {name: y.clone().requires_grad_() for name, y in x.items()}
    phi.zero_grad()
    state = prefix_state(x["k_prefix"], x["v_prefix"], feature_map=phi, backend=backend)
    y, (S, z) = linear_attention(
        x["q"], x["k"], x["v"], feature_map=phi, state=state, mask=mask, normalise=normalise, backend=backend
    )
    draw = torch.Generator().manual_seed(1)
    real = y if mask is None else y * mask[:, :, None, None]
    sum((out * torch.randn(out.shape, generator=draw, dtype=torch.float64)).sum() for out in (real, S, z)).backward()
    gradients = {f"grad_{name}": y.grad for name, y in x.items()}
    parameters = {f"grad_{name}": p.grad.clone() for name, p in phi.named_parameters()}
    return {"y": real.detach(), "S": S.detach(), "z": z.detach(), **gradients, **parameters}


def make(T: int, P: int = 7) -> dict[str, torch.Tensor]:
    shapes = {"q": (T, D), "k": (T, D), "v": (T, V), "k_prefix": (P, D), "v_prefix": (P, V)}
    return {name: torch.randn(B, t, H, w, dtype=torch.float64) for name, (t, w) in shapes.items()}


@pytest.mark.parametrize("text", SPECS)
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("T", [1, 65, *slow(150)])
def test_chunked_and_steps_equal_the_definition(text, normalise, T):
    phi, x, mask = learned(text), make(T), torch.rand(B, T) < 0.8
    want = run(phi, x, "reference", mask, normalise)
    for backend in ("chunked", "reference_steps"):
        got = run(phi, x, backend, mask, normalise)
        for name in want:
            error = float((got[name] - want[name]).norm() / want[name].norm().clamp(min=1e-9))
            assert error < 1e-9, (backend, name, error)


@pytest.mark.parametrize("text", SPECS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_common_and_large_inputs_give_finite_outputs_and_gradients(text, scale, dtype):
    phi = phi_of(text)
    q, k, v = ((scale * torch.randn(1, 80, H, D)).to(dtype).requires_grad_() for _ in range(3))
    y, state = linear_attention(q, k, v, feature_map=phi)
    y.float().sum().backward()
    assert all(t.isfinite().all() for t in (y, *state, q.grad, k.grad, v.grad))
    assert all(p.grad.isfinite().all() for p in phi.parameters())


@pytest.mark.parametrize("text", SPECS)
def test_long_streams_stay_near_the_exact_answer(text):
    """fp32 over 2,000 tokens; the median, because a near-zero sum is a large derivative where it is guarded."""
    phi, x = phi_of(text).requires_grad_(False), {name: y for name, y in make(2000).items() if name in "qkv"}
    want, _ = linear_attention(*x.values(), feature_map=phi, backend="chunked")
    got, _ = linear_attention(*(y.float() for y in x.values()), feature_map=phi)
    assert float(((got.double() - want).abs() / want.abs().clamp(min=1e-2)).median()) < 1e-4


@pytest.mark.parametrize("text", [t for t in SPECS if not feature_map(t, D, H).can_vanish])
def test_a_map_that_says_its_sum_cannot_vanish_has_a_positive_kernel(text):
    phi = phi_of(text).double()
    q, k = 3 * torch.randn(2, 1, H, 400, D, dtype=torch.float64)
    assert (phi(q) @ phi(k).transpose(-1, -2)).min() > 0


VANISHING = {
    "identity": (torch.tensor([1.0] * D), torch.tensor([-1.0] * D)),
    "relu": (torch.tensor([1.0] * D), torch.tensor([-1.0] * D)),
    "polynomial(degree=3)": (torch.tensor([2.0] * D), torch.tensor([-2.0] * D)),
    "polynomial": (torch.tensor([1.0] + [0.0] * (D - 1)), torch.tensor([-math.sqrt(D)] + [0.0] * (D - 1))),
    "gaussian": (torch.tensor([40.0] * D), torch.tensor([-40.0] * D)),
}


@pytest.mark.parametrize("text", VANISHING)
def test_a_map_that_says_its_sum_can_vanish_is_guarded_where_it_does(text):
    phi = feature_map(text, D)
    q, k = (x.reshape(1, 1, 1, D) for x in VANISHING[text])
    assert phi.can_vanish and float((phi(q) * phi(k)).sum()) < 1e-3
    v = torch.ones(1, 1, 1, V)
    y, _ = linear_attention(q, k, v, feature_map=phi)
    assert y.isfinite().all() and y.abs().max() <= abs(float((phi(q) * phi(k)).sum())) / phi.guard + 1e-5


def test_without_normalising_the_output_is_the_numerator():
    phi, x = feature_map("identity", D, H), make(20)
    y, _ = linear_attention(x["q"], x["k"], x["v"], feature_map=phi, normalise=False)
    scores = torch.einsum("bihd,bjhd->bhij", x["q"], x["k"]).tril() / math.sqrt(D)
    torch.testing.assert_close(y, torch.einsum("bhij,bjhv->bihv", scores, x["v"]))


def test_an_unknown_feature_map_lists_the_known_ones_and_the_nearest():
    with refused(UnknownName, got="tailor", allowed=containing("elu, ", "taylor"), todo=containing("taylor")):
        feature_map("tailor", D)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("taylor(degree=2)", {"got": "degree", "allowed": "none", "naming": "taylor"}),
        ("polynomial(degree=0)", {"got": 0, "naming": ("degree", "polynomial")}),
        ("gaussian(features=-3)", {"got": -3, "naming": ("features", "gaussian")}),
        ("gaussian(seed=x)", {"got": "x", "naming": ("seed", "int")}),
        ("mlp(hidden=-1)", {"got": -1, "naming": ("hidden", "mlp")}),
        ("mixture(a=2)", {"got": "mixture(a=2)", "allowed": "mixture(taylor, relu)"}),
        ("gaussian(kind='furier')", {"got": "furier", "todo": containing("fourier")}),
        ("mixture(taylor, relu, elu)", {"got": "3 maps, 4 heads"}),
        ("mixture()", {"got": "0 maps, 4 heads"}),
        ("taylor(", {"got": "taylor(", "allowed": containing("name(part, key=value)")}),
        ("__import__('os')", {"got": "__import__('os')", "allowed": containing("name(part, key=value)")}),
    ],
)
def test_settings_that_cannot_be_are_refused(text, fields):
    kind = UnknownName if "todo" in fields or ("naming" in fields and fields["naming"] == "taylor") else BadInput
    with refused(kind, **fields):
        feature_map(text, D, H)


@pytest.mark.parametrize("text", SPECS)
def test_a_name_with_settings_parses_back(text):
    assert Spec.parse(str(Spec.parse(text))) == Spec.parse(text)


@pytest.mark.parametrize(("width", "heads"), [(0, 2), (-1, 2), (6, 0)])
def test_heads_of_no_width_and_no_heads_are_refused(width, heads):
    with refused(BadInput, got=f"{heads} heads, {width} wide"):
        feature_map("taylor", width, heads)


def test_keys_of_another_width_are_refused_with_both():
    with refused(BadInput, got=5, allowed=6, naming="width"):
        linear_attention(*torch.randn(3, 1, 2, H, 5), feature_map=feature_map("taylor", D))


@pytest.mark.parametrize("text", ["mlp", "hedgehog", "mixture(taylor, elu)"])
def test_a_map_of_another_number_of_heads_is_refused(text):
    from reread.ops import linear_attention, prefix_state

    x = torch.randn(1, 5, 4, 8)
    phi = feature_map(text, 8, 2)
    for verb in (lambda: linear_attention(x, x, x, feature_map=phi), lambda: prefix_state(x, x, feature_map=phi)):
        with refused(BadInput, got=4, allowed=2, naming="heads"):
            verb()


@pytest.mark.parametrize("degree", [2, 3])
def test_casting_a_polynomial_map_rounds_none_of_its_weights(degree):
    x = torch.randn(2, 1, 6, 8)
    exact, cast = (feature_map(f"polynomial(degree={degree})", 8) for _ in range(2))
    torch.testing.assert_close(cast.bfloat16()(x), exact(x), rtol=0, atol=0)

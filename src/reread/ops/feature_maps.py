"""Feature maps: phi with phi(q) . phi(k) = the similarity that linear attention uses.

A feature map is a module that knows its expanded width F, its parameters (most have none), and
how small the sum of similarities may become: `guard`.  It knows nothing of masks, positions or
states.  It is written as a name with settings, "taylor" or "polynomial(degree=3)".

Shapes: B batch, H heads, D head width of q and k, F = `width` expanded width.  A map takes
(B,H,...,D) to (B,H,...,F), heads second, because learned maps have parameters of their own per head.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from reread.config import Spec, settings_of
from reread.errors import BadInput, UnknownName


class FeatureMap(nn.Module):
    """phi: (B,H,...,D) -> (B,H,...,F).

    guard: what the normaliser is not let below, in absolute value: 0 where the sum of similarities
    over any non-empty set is positive (it cannot vanish), more where it can be 0 or negative
    (max(|z . phi(q)|, guard), as in xLSTM, Beck et al. 2024, eq. 21).
    """

    guard: float = 0.0
    per_head = False  # whether it has parameters or maps of each head's own

    def __init__(self, head_width: int, heads: int, width: int):
        super().__init__()
        self.head_width, self.heads, self.width = head_width, heads, width

    def floor(self) -> float | Tensor:
        """The guard as the op uses it: one number, or (H,1) where it differs between heads."""
        return self.guard

    @property
    def can_vanish(self) -> bool:
        """Whether the sum of similarities over a non-empty set can be 0 or negative."""
        return self.guard > 0

    def similarity(self, inner: Tensor) -> Tensor | None:
        """The kernel at plain inner products q . k, elementwise; None where it is no function of them alone."""
        return None

    def start(self) -> dict[str, Tensor]:
        """The values that its parameters and buffers begin with, by name."""
        return {}

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Taylor(FeatureMap):
    """Second-order Taylor expansion of exp(q . k / sqrt(D)), packed.

    phi(q) . phi(k) = 1 + s + s^2 / 2 with s = q . k / sqrt(D)  ("Just read twice", appendix B.3, eq. 6
    and 7, with the scale of the published code).  The published map lists all D^2 products x_i x_j;
    here each unordered pair appears once, so F = 1 + D + D(D+1)/2 (153 instead of 273 for D = 16) with
    the same inner products.  The kernel is never below 1/2, so the normaliser of any non-empty set is
    positive.
    """

    def __init__(self, head_width: int, heads: int = 1):
        super().__init__(head_width, heads, 1 + head_width + head_width * (head_width + 1) // 2)

    def similarity(self, inner: Tensor) -> Tensor:
        s = inner * (1.0 / math.sqrt(self.head_width))
        return torch.addcmul(1.0 + s, s, s, value=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Pairs are taken along cyclic diagonals x_i x_{i+r}: slices and products only, because the
        backward pass of an index gather is slow on a CPU."""
        d = self.head_width
        x = x * d**-0.25
        twice = torch.cat((x, x), dim=-1)
        parts = [torch.ones_like(x[..., :1]), x, x * x * math.sqrt(0.5)]
        for r in range(1, (d - 1) // 2 + 1):
            parts.append(x * twice[..., r : r + d])
        if d % 2 == 0:
            parts.append(x[..., : d // 2] * x[..., d // 2 :])
        return torch.cat(parts, dim=-1)


class Identity(FeatureMap):
    """phi(x) = x / D^(1/4): similarity q . k / sqrt(D), "Linear" in the report.  F = D.  It can be negative."""

    guard = 1.0

    def __init__(self, head_width: int, heads: int = 1):
        super().__init__(head_width, heads, head_width)

    def similarity(self, inner: Tensor) -> Tensor:
        return inner * (1.0 / math.sqrt(self.head_width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.head_width**-0.25


class Elu(FeatureMap):
    """phi(x) = 1 + elu(x), elementwise and positive (Katharopoulos et al. 2020, eq. 7).  F = D."""

    def __init__(self, head_width: int, heads: int = 1):
        super().__init__(head_width, heads, head_width)

    def forward(self, x: Tensor) -> Tensor:
        return 1.0 + functional.elu(x)


class Relu(FeatureMap):
    """phi(x) = max(x, 0), elementwise (the report, section 4.2).  F = D.  All features can be 0 at once."""

    guard = 1e-3

    def __init__(self, head_width: int, heads: int = 1):
        super().__init__(head_width, heads, head_width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x)


class Gelu(FeatureMap):
    """phi(x) = gelu(x) + 0.171, elementwise (the report, section 4.2), shifted above its minimum of -0.16997.

    F = D.  Every feature is at least 0.001, so the normaliser cannot vanish.
    """

    SHIFT = 0.171

    def __init__(self, head_width: int, heads: int = 1):
        super().__init__(head_width, heads, head_width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(x) + self.SHIFT


class Polynomial(FeatureMap):
    """phi(q) . phi(k) = (1 + q . k / sqrt(D))^degree, packed: every monomial once, F = C(D + degree, degree).

    Monomials of (1, x) with the square roots of their multinomial coefficients.  An odd degree can
    be negative, an even one zero.
    """

    index: Tensor
    count: Tensor

    def __init__(self, head_width: int, heads: int = 1, *, degree: int = 2):
        if degree < 1:
            raise BadInput("the degree of a polynomial feature map must be at least 1", got=degree)
        super().__init__(head_width, heads, math.comb(head_width + degree, degree))
        self.degree, self.guard = degree, 1.0 if degree % 2 else 1e-3
        for name, value in self.start().items():
            self.register_buffer(name, value, persistent=False)

    def start(self) -> dict[str, Tensor]:
        chosen = list(itertools.combinations_with_replacement(range(self.head_width + 1), self.degree))
        counts = [
            self._multinomial(monomial) for monomial in chosen
        ]  # whole numbers: no cast of the module rounds them
        return {"index": torch.tensor(chosen).T.contiguous(), "count": torch.tensor(counts)}

    @staticmethod
    def _multinomial(monomial: tuple[int, ...]) -> int:
        count = math.factorial(len(monomial))
        for factor in set(monomial):
            count //= math.factorial(monomial.count(factor))
        return count

    def similarity(self, inner: Tensor) -> Tensor:
        return (1.0 + inner * (1.0 / math.sqrt(self.head_width))) ** self.degree

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat((torch.ones_like(x[..., :1]), x * self.head_width**-0.25), dim=-1)
        features = self.count.double().sqrt().to(x.dtype) * x[..., self.index[0]]
        for index in self.index[1:]:
            features = features * x[..., index]
        return features


class Gaussian(FeatureMap):
    """Random features of the Gaussian kernel exp(-|q - k|^2 / (2 sigma^2)), sigma^2 = sqrt(D).

    kind="positive" (default): exp(w . x - |x|^2) / sqrt(m), never negative (after FAVOR+, Choromanski
    et al. 2021); F = features.  kind="fourier": cos and sin of w . x / sqrt(m) (Rahimi and Recht
    2007); F = 2 features; sums can be negative.  The directions w are normal with lengths as normal
    vectors have and, in blocks of D, orthogonal; one draw per seed, the same for all heads, saved
    with the weights.
    """

    guard = 1e-6
    w: Tensor

    def __init__(self, head_width: int, heads: int = 1, *, features: int = 0, seed: int = 0, kind: str = "positive"):
        not_negative("gaussian", {"features": features, "seed": seed})
        features = features or 4 * head_width
        if kind not in ("positive", "fourier"):
            raise UnknownName("kind of gaussian feature map", kind, ("positive", "fourier"))
        super().__init__(head_width, heads, features if kind == "positive" else 2 * features)
        self.features, self.kind, self.seed = features, kind, seed
        if kind == "fourier":
            self.guard = 1.0
        self.register_buffer("w", self.start()["w"])

    def start(self) -> dict[str, Tensor]:
        return {"w": self.directions(self.seed)}

    def directions(self, seed: int) -> Tensor:
        """(features, D), orthogonal in blocks of D."""
        draw, D = torch.Generator().manual_seed(seed), self.head_width
        blocks = []
        for _ in range(-(-self.features // D)):
            q, r = torch.linalg.qr(torch.randn(D, D, generator=draw, dtype=torch.float64))
            q = q * r.diagonal().sign()  # QR alone prefers one sign of each direction
            lengths = torch.randn(D, D, generator=draw, dtype=torch.float64).norm(dim=1)
            blocks.append(q.T * lengths[:, None])
        return torch.cat(blocks)[: self.features].float()

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.head_width**-0.25
        inner = x @ self.w.to(x.dtype).T
        if self.kind == "fourier":
            return torch.cat((inner.cos(), inner.sin()), dim=-1) * self.features**-0.5
        return torch.exp(inner - (x * x).sum(dim=-1, keepdim=True)) * self.features**-0.5


class Mlp(FeatureMap):
    """phi(x) = 1 + elu(W2 gelu(W1 x + b1) + b2), learned, with matrices of its own for each head (the report,
    section 4.2: learnable MLP layers).  Positive.  F = features (default 4 D), inner width = hidden (default 2 D).
    """

    w1: nn.Parameter
    b1: nn.Parameter
    w2: nn.Parameter
    b2: nn.Parameter

    per_head = True

    def __init__(self, head_width: int, heads: int = 1, *, features: int = 0, hidden: int = 0):
        not_negative("mlp", {"features": features, "hidden": hidden})
        features, hidden = features or 4 * head_width, hidden or 2 * head_width
        super().__init__(head_width, heads, features)
        self.hidden = hidden
        for name, value in self.start().items():
            self.register_parameter(name, nn.Parameter(value))

    def start(self) -> dict[str, Tensor]:
        H, D, M, F = self.heads, self.head_width, self.hidden, self.width
        return {
            "w1": torch.randn(H, D, M) * D**-0.5,
            "b1": torch.zeros(H, M),
            "w2": torch.randn(H, M, F) * 2 * M**-0.5,
            "b2": torch.zeros(H, F),
        }

    def forward(self, x: Tensor) -> Tensor:
        def layer(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            wide = b.reshape(1, b.shape[0], *[1] * (x.dim() - 3), b.shape[1]).to(x.dtype)
            return torch.einsum("bh...d,hdm->bh...m", x, w.to(x.dtype)) + wide

        inner = functional.gelu(layer(x, self.w1, self.b1))
        return 1.0 + functional.elu(layer(inner, self.w2, self.b2))


class Softmax(FeatureMap):
    """phi(x) = softmax(x) over the D features, of queries and keys.  F = D.  Positive.  (Shen et al. 2021, "efficient
    attention", do so with queries; keys they normalise over positions.)"""

    def __init__(self, head_width: int, heads: int = 1):
        super().__init__(head_width, heads, head_width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.softmax(x, dim=-1)


class Hedgehog(FeatureMap):
    """phi(x) = [softmax(W x), softmax(-W x)], W learned per head and the identity at first (Zhang et al. 2024).

    F = 2 D.  Positive.
    """

    w: nn.Parameter

    per_head = True

    def __init__(self, head_width: int, heads: int = 1):
        super().__init__(head_width, heads, 2 * head_width)
        self.register_parameter("w", nn.Parameter(self.start()["w"]))

    def start(self) -> dict[str, Tensor]:
        return {"w": torch.eye(self.head_width).repeat(self.heads, 1, 1)}

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("bh...d,hde->bh...e", x, self.w.to(x.dtype))
        return torch.cat((functional.softmax(y, dim=-1), functional.softmax(-y, dim=-1)), dim=-1)


class Mixture(FeatureMap):
    """Different maps on different heads (the report, section 6, future work: multi-head or hybrid maps).

    The heads are dealt out in equal runs, in the order of the maps; F is the widest map's, narrower
    ones end in zeros.
    """

    guards: Tensor

    per_head = True

    def __init__(self, head_width: int, heads: int, *maps: Spec):
        if not maps or heads % len(maps):
            raise BadInput("a mixture needs maps that divide the heads", got=f"{len(maps)} maps, {heads} heads")
        share = heads // len(maps)
        parts = [feature_map(spec, head_width, share) for spec in maps]
        super().__init__(head_width, heads, max(part.width for part in parts))
        self.maps = nn.ModuleList(parts)
        self.guard = max(part.guard for part in parts)
        self.head_guards = [[part.guard] for part in parts for _ in range(share)]
        self.register_buffer("guards", self.start()["guards"], persistent=False)

    def start(self) -> dict[str, Tensor]:
        return {"guards": torch.tensor(self.head_guards)}

    def floor(self) -> Tensor:
        return self.guards

    def forward(self, x: Tensor) -> Tensor:
        parts = [phi(y) for phi, y in zip(self.maps, x.chunk(len(self.maps), dim=1), strict=True)]
        return torch.cat([functional.pad(y, (0, self.width - y.shape[-1])) for y in parts], dim=1)


FEATURE_MAPS: dict[str, Callable[..., FeatureMap]] = {
    "taylor": Taylor,
    "identity": Identity,
    "elu": Elu,
    "relu": Relu,
    "gelu": Gelu,
    "polynomial": Polynomial,
    "gaussian": Gaussian,
    "mlp": Mlp,
    "softmax": Softmax,
    "hedgehog": Hedgehog,
    "mixture": Mixture,
}


def not_negative(name: str, settings: dict[str, int]) -> None:
    """Raise BadInput for a setting below 0."""
    for key, value in settings.items():
        if value < 0:
            raise BadInput(f"{key} of {name} must be 0 or more", got=value)


def feature_map(text: str | Spec, head_width: int, heads: int = 1) -> FeatureMap:
    """The feature map of that name and settings for heads of that width.

    Raises UnknownName with the known ones, BadInput for settings that the map does not have.
    """
    spec = Spec.parse(text) if isinstance(text, str) else text
    if head_width < 1 or heads < 1:
        raise BadInput("a feature map is for heads of 1 or more", got=f"{heads} heads, {head_width} wide")
    if spec.name not in FEATURE_MAPS:
        raise UnknownName("feature map", spec.name, FEATURE_MAPS)
    if spec.name == "mixture":
        if spec.settings:
            raise BadInput("a mixture has maps and no settings", got=str(spec), allowed="mixture(taylor, relu)")
        return Mixture(head_width, heads, *spec.parts)
    kind = FEATURE_MAPS[spec.name]
    return kind(head_width, heads, **settings_of(spec, kind))

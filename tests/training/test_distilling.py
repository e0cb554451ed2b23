"""The fit of distilled scores: sums against whole matrices, documents of each part, and a planted relation."""

import itertools
import random

import numpy as np
import pytest
import torch
from in_process import complained, reread
from raising import containing, refused

from reread.errors import BadInput
from reread.models import LM, distilled, load
from reread.models.distilled import FILE, LayerInputs, distilled_of, read_distilled
from reread.models.kept_reading import read_selected
from reread.models.kv_attention import observed, scored_layers
from reread.models.kv_selection import selection
from reread.models.pretrained import Pretrained
from reread.training import distilling
from reread.training.distilling import (
    CARD,
    DistillConfig,
    Moments,
    choose_ridge,
    compared,
    drawn,
    fit_distilled,
    overlap,
    rank_correlation,
)
from reread.training.reader_sources import AskedDocument

N, H, K = 400, 12, 3
SMALL = DistillConfig(
    documents=10, choosing=3, measuring=4, shortest=40, longest=90, sources=("made",), ridges=(1e-6, 1.0)
)


def made(n=N, noise=0.0, seed=0):
    """Inputs that depend on each other and have large means, planted weights, and targets."""
    draw = torch.Generator().manual_seed(seed)
    mix = torch.randn(H, H, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.randn(n, H, generator=draw, dtype=torch.float64) @ mix + 5.0
    w = torch.randn(K, H + 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = x @ w[:, :-1].mT + w[:, -1]
    return x, w, y + noise * torch.randn(n, K, generator=draw, dtype=torch.float64)


def moments(x, y, parts=1):
    found = Moments(H, K)
    for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True):
        found.add(a, b)
    return found


def test_the_ridge_recovers_a_planted_linear_relation():
    x, w, y = made()
    torch.testing.assert_close(moments(x, y, parts=7).solve(1e-12), w, rtol=1e-6, atol=1e-6)
    assert float((moments(x, y).solve(1.0)[:, :-1] - w[:, :-1]).norm()) > 0.1 * float(w[:, :-1].norm())


@pytest.mark.parametrize("ridge", [0.01, 0.5])
def test_the_penalised_error_has_its_minimum_there(ridge):
    x, _, y = made(noise=1.0)
    w = moments(x, y, parts=3).solve(ridge).requires_grad_()
    error = ((x @ w[:, :-1].mT + w[:, -1] - y) ** 2).mean(dim=0).sum()
    penalty = ridge * (x.var(dim=0, unbiased=False) * w[:, :-1] ** 2).sum()
    (gradient,) = torch.autograd.grad(error + penalty, w)
    assert float(gradient.abs().max()) < 1e-8 * float(error.detach())


def test_errors_are_those_of_the_whole_matrices():
    x, _, y = made(noise=2.0)
    sums, w = moments(x, y, parts=5), torch.randn(K, H + 1)
    want = float(((x @ w[:, :-1].double().mT + w[:, -1].double() - y) ** 2).sum())
    assert sums.squared_error(w) == pytest.approx(want, rel=1e-9)
    assert sums.spread() == pytest.approx(float(((y - y.mean(dim=0)) ** 2).sum()), rel=1e-9)
    assert sums.squared_error(sums.heads_alone()) == pytest.approx(sums.spread(), rel=1e-9)


def test_the_penalty_is_the_one_that_is_best_on_other_documents():
    few, many = made(n=14, noise=8.0), made(n=4000, noise=8.0, seed=9)
    fitted, aside = {0: moments(*few[::2])}, {0: moments(*many[::2])}
    ridges = (1e-9, 0.1, 1e6)
    errors = {}
    for ridge in ridges:
        w = fitted[0].solve(ridge)
        errors[ridge] = float(((many[0] @ w[:, :-1].mT + w[:, -1] - many[2]) ** 2).mean())
    assert choose_ridge(fitted, aside, ridges) == min(errors, key=errors.get) == 0.1


def test_rank_correlation_and_overlap():
    x = torch.tensor([[0.1, 0.4, 0.2, 0.9]])
    assert rank_correlation(x, x.exp()) == pytest.approx(1.0) and rank_correlation(x, -x) == pytest.approx(-1.0)
    assert rank_correlation(x, torch.tensor([[1.0, 4.0, 3.0, 2.0]])) == pytest.approx(0.4)
    one = {0: (torch.tensor([0, 1, 2, 3, 5, 6]), torch.tensor([0, 1, 2, 3]))}
    other = {0: (torch.tensor([0, 1, 2, 3, 6, 9, 11]), torch.tensor([0, 1, 2, 3, 7]))}
    assert overlap(one, other) == 0.5 and overlap(other, other) == 1.0
    scores = {0: torch.rand(2, 64, generator=torch.Generator().manual_seed(0))}
    agrees = compared(scores, {0: scores[0] ** 2})
    assert agrees["overlap 0.25"] == agrees["overlap 0.125"] == 1.0 and agrees["rank correlation"] == pytest.approx(1)
    turned = compared({0: -scores[0]}, scores)
    assert turned["overlap 0.25"] < 0.2 and turned["rank correlation"] == pytest.approx(-1.0)


class Texts:
    """A source of texts; `most`: different ones of each half."""

    def __init__(self, most=10**6):
        self.most, self.asked = most, []

    def draw(self, rng, tokens, *, aside=False):
        self.asked.append((tokens, aside))
        number = int(rng.integers(self.most))
        count = tokens // 8 if self.most > 9 else 9
        words = random.Random(f"{number}/{aside}").choices(["tea", "Owner: Ann", "12 pounds", "no", "river"], k=count)
        return AskedDocument("made", f"{number} {aside}: " + " ".join(words), ())


def test_documents_are_drawn_once_and_from_their_half():
    source, seen = Texts(), set()
    texts = [
        list(itertools.islice(drawn(SMALL, {"made": source}, part, seen), count))
        for part, count in enumerate((9, 5, 5))
    ]
    assert len({*itertools.chain(*texts)}) == 19 == len(seen)
    assert [aside for _, aside in source.asked] == [False] * 9 + [True] * 10
    assert all(40 <= tokens <= 90 for tokens, _ in source.asked) and len({tokens for tokens, _ in source.asked}) > 9
    again = list(itertools.islice(drawn(SMALL, {"made": Texts()}, 0, set()), 9))
    assert again == texts[0]
    with refused(BadInput, got=containing("3")):
        list(itertools.islice(drawn(SMALL, {"made": Texts(most=3)}, 0, set()), 4))


@pytest.fixture
def lm(byte_llama):
    return LM("tiny", Pretrained(byte_llama.model.model), byte_llama.tokenizer)


@pytest.fixture
def planted(monkeypatch):
    """Second readings whose scores are a linear function of the layers' inputs."""
    draw = torch.Generator().manual_seed(0)
    weights = {i: torch.randn(2, 33, generator=draw) * 0.3 for i in (0, 1)}

    def scores_of(model, tokens, state, cue):
        observer = LayerInputs(scored_layers(model))
        observed(model, observer).read(tokens, last_only=True)
        return {
            i: (w[:, :-1] @ x.mT + w[:, -1:]).exp()
            for (i, x), w in zip(observer.taken().items(), weights.values(), strict=True)
        }

    monkeypatch.setattr(distilling, "second_reading", scores_of)
    monkeypatch.setattr(distilling, "build_sources", lambda recipe, data: {"made": Texts()})
    monkeypatch.setattr(DistillConfig, "check", lambda self: None)
    return weights


def test_a_planted_relation_is_fitted_written_and_found(lm, planted, tmp_path, monkeypatch):
    told = []
    found = fit_distilled(lm, SMALL, tmp_path, tmp_path / "out", progress=lambda *one: told.append(one))
    assert [count for what, _, count in told if what == "measuring"] == [4] * 4 and len(told) == 17
    assert found.path == tmp_path / "out" / FILE and found.size == found.path.stat().st_size
    read = read_distilled(found.path)
    # layer 0 sees a token alone, and there are fewer of them than inputs: only what it predicts is determined
    torch.testing.assert_close(read.weights[1], planted[1], rtol=0.05, atol=0.02)
    fit = read.fit
    assert fit == found.fit and fit.fingerprint == lm.model.fingerprint and fit.documents == 10 and fit.ridge == 1e-6
    assert len(fit.r2) == 2 and min(fit.r2) > 0.99 and fit.measured["r2"] > 0.99
    good, alone = fit.measured["distilled"], fit.measured["heads alone"]
    assert good["overlap 0.25"]["mean"] > 0.97 > 0.6 > alone["overlap 0.25"]["mean"]
    assert good["overlap 0.25"]["documents"] == 4 and good["rank correlation"]["mean"] > 0.99
    card = (tmp_path / "out" / CARD).read_text()
    assert fit.fingerprint in card and f"{found.size:,} bytes" in card and "| heads alone |" in card
    monkeypatch.setattr(distilled, "packaged_files", lambda: [])
    tokens = torch.tensor([lm.tokenizer.encode("The owner is Ann. " * 6).ids])
    lm.model.folders = (tmp_path / "out",)
    assert distilled_of(lm.model).fit == fit
    assert read_selected(lm.model, tokens, selection("distilled(tokens=20)")).positions == 20


def test_what_cannot_be_fitted_is_refused(tmp_path):
    for changes, fields in (
        ({"documents": 0}, {"got": 0, "naming": "documents"}),
        ({"longest": 20}, {"got": 20}),
        ({"ridges": (0.1, 0.0)}, {"naming": "ridges"}),
        ({"sources": ()}, {"naming": "source"}),
        ({"threads": -1}, {"got": -1, "naming": "threads"}),
    ):
        with refused(BadInput, **fields):
            DistillConfig(**changes).check()
    with pytest.raises(Exception, match="ofice"):
        DistillConfig(sources=("ofice",)).check()
    with refused(BadInput, naming="fixed size already"):
        fit_distilled(load("small-jrt"), DistillConfig(), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    complained(reread("fit-selection", "--model", "small-jrt", "--data", tmp_path, "--set", "documents=0"), "documents")


def test_draws_do_not_depend_on_numpy_state():
    np.random.seed(0)
    first = next(drawn(SMALL, {"made": Texts()}, 1, set()))
    np.random.seed(1)
    assert next(drawn(SMALL, {"made": Texts()}, 1, set())) == first

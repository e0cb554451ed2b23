"""Budgets that follow a document's complexity: levels, the numbers that are kept, complexity against eager logits."""

import math

import pytest
import torch
from kv_models import eager, ids, model_of
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models import kv_scores
from reread.models.kept_reading import read_selected
from reread.models.kv_choice import choose
from reread.models.kv_scores import Cue, plain_reading, read_and_score
from reread.models.kv_selection import THRESHOLDS, for_document, level_of, possible_positions, selection
from reread.prompting.complexity import unigram_entropy

CUE = Cue((5, 6, 7), (8, 9), (10,), tail=3)
FOUR = "thresholds=0.2+0.4+0.6+0.8"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("reread(tokens=256, dynamic=unigram, step=0.1)", "reread(dynamic=unigram, tokens=256)"),
        ("window(share=0.25,dynamic=loss,step=0.05)", "window(dynamic=loss, share=0.25, step=0.05)"),
        (f"reread(mib=1, dynamic=model, {FOUR}, step=-0.2)",
         "reread(dynamic=model, mib=1.0, step=-0.2, thresholds=0.2+0.4+0.6+0.8)"),
        ("tova(tokens=9, dynamic=loss, thresholds=2)", "tova(dynamic=loss, thresholds='2', tokens=9)"),
    ],
)  # fmt: skip
def test_an_id_parses_back(text, written):
    one = selection(text)
    assert str(one) == written and selection(str(one)) == one


def test_wrong_ids_are_refused():
    with refused(UnknownName, got="bigram", allowed=containing("unigram", "model", "loss")):
        selection("reread(tokens=9, dynamic=bigram)")
    with refused(BadInput, got="0.5+0.4", naming="rise"):
        selection("reread(tokens=9, dynamic=unigram, thresholds=0.5+0.4)")
    with refused(BadInput, got="a+b", naming="numbers"):
        selection("reread(tokens=9, dynamic=unigram, thresholds=a+b)")
    for step in ("0.0", "0.5", "-0.5", "1.0"):
        with refused(BadInput, got=f"step={step}", allowed=containing("0.5")):
            selection(f"reread(tokens=9, dynamic=unigram, {FOUR}, step={step})")
    for more in ("step=0.2", "step=0.1", FOUR):
        with refused(BadInput, got=containing("tokens=9"), todo=containing("dynamic"), naming=more.partition("=")[0]):
            selection(f"reread(tokens=9, {more})")
    with refused(BadInput, got="reread(loss=0.1, dynamic=unigram)", allowed=containing("share")):
        selection("reread(loss=0.1, dynamic=unigram)")
    with refused(BadInput, got="window(tokens=9, read=8, dynamic=loss)", todo=containing("read")):
        selection("window(tokens=9, read=8, dynamic=loss)")


@pytest.mark.parametrize("step", [0.05, 0.1, 0.2, -0.1])
@pytest.mark.parametrize(("budget", "T"), [("tokens=50", 400), ("share=0.25", 200), ("mib=2", 400)])
def test_the_budget_of_each_level(step, budget, T):
    chosen = selection(f"reread({budget}, dynamic=unigram, step={step}, {FOUR})")
    name, value = budget.split("=")
    for k, complexity in enumerate((0.1, 0.3, 0.5, 0.7, 0.9)):
        assert level_of(chosen.settings, complexity) == k - 2
        found = for_document(chosen, {"unigram": complexity, "loss": 9.0})
        want = float(value) * (1 + step * (k - 2))
        got = getattr(found.settings, name)
        assert got == pytest.approx(int(round(want, 9)) if name == "tokens" else want)
        assert not found.settings.dynamic and found.name == "reread"
    assert level_of(chosen.settings, 0.4) == -1  # a threshold lies below what is above it
    if name != "mib":
        want = {int(round(50 * (1 + step * k), 9)) for k in range(-2, 3)}
        assert possible_positions(chosen.settings, T) == want
    with refused(BadInput, got="unigram"):
        for_document(chosen, {"loss": 1.0})
    plain = selection(f"reread({budget})")
    assert for_document(plain, {}) is plain and (name == "mib" or possible_positions(plain.settings, T) == {50})


def test_one_threshold_and_small_budgets():
    one = selection("reread(tokens=5, dynamic=unigram, thresholds=0.5, step=0.8)")
    assert [for_document(one, {"unigram": x}).settings.tokens for x in (0.4, 0.6)] == [4, 7]
    wide = selection(f"reread(share=0.9, dynamic=unigram, {FOUR})")
    assert for_document(wide, {"unigram": 0.9}).settings.share == 1.0


def test_the_thresholds_that_come_with_the_package_rise():
    for name, values in THRESHOLDS.items():
        assert len(values) == 4 and list(values) == sorted(set(values)), name
        assert selection(f"reread(tokens=9, dynamic={name})").settings.limits == values


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "falcon_h1"])
@pytest.mark.parametrize("T", [1, 5, 37])
def test_complexity_is_that_of_eager_logits(family, T, monkeypatch):
    monkeypatch.setattr(kv_scores, "PIECE", 8)
    model, tokens = model_of(family), ids(T)
    found = plain_reading(model, tokens, predictions=True)
    module, _ = eager(model)
    p = module(tokens).logits[0].double().softmax(dim=-1)
    losses = [-math.log(float(p[i - 1, int(tokens[0, i])])) for i in range(1, T)]
    entropies = [-sum(x * math.log(x) for x in p[i - 1].tolist() if x > 0) for i in range(1, T)]
    torch.testing.assert_close(found.predictions.losses, torch.tensor([0.0, *losses]), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.predictions.entropies, torch.tensor([0.0, *entropies]), rtol=1e-3, atol=1e-4)
    n = max(T - 1, 1)
    assert found.complexity["loss"] == pytest.approx(sum(losses) / n, rel=1e-3, abs=1e-4)
    assert found.complexity["model"] == pytest.approx(sum(entropies) / n / math.log(97), rel=1e-3, abs=1e-4)
    assert found.complexity["unigram"] == unigram_entropy(tokens[0].tolist()) and found.read_tokens == T
    plain = plain_reading(model, tokens)
    torch.testing.assert_close(found.logits, plain.logits, rtol=1e-4, atol=1e-5)
    assert found.state.position.tolist() == [T] and plain.complexity == {"unigram": found.complexity["unigram"]}


@pytest.mark.parametrize("name", ["reread", "window"])
@pytest.mark.parametrize("kind", ["unigram", "model", "loss"])
def test_a_document_is_read_into_a_state_of_its_own_size(name, kind):
    model, T = model_of("llama"), 40
    simple, complex_ = torch.tensor([[3, 3, 3, 4] * 10]), ids(T)
    told = {}
    for tokens in (simple, complex_):
        found = plain_reading(model, tokens, predictions=True).complexity
        told[tokens.sum().item()] = found[kind]
    middle = sum(told.values()) / 2
    chosen = selection(f"{name}(tokens=10, dynamic={kind}, thresholds={middle:.6f}, step=0.8)")
    for tokens in (simple, complex_):
        read = read_selected(model, tokens, chosen, CUE)
        above = told[tokens.sum().item()] > middle
        assert read.positions == (14 if above else 6) and read.selection == chosen
        plain = read_selected(model, tokens, selection(f"{name}(tokens={14 if above else 6})"), CUE)
        for part, x in plain.state.tensors[0].items():
            torch.testing.assert_close(read.state.tensors[0][part], x, rtol=1e-4, atol=1e-5)
        extra = T if name == "window" and kind != "unigram" else 0  # the reading that observes the attention
        assert read.read_tokens == plain.read_tokens + extra


def test_a_reading_serves_dynamic_and_plain_selections():
    model, tokens = model_of("llama"), ids(30)
    chosen = [selection(f"reread(share=0.5, dynamic=loss, {FOUR})"), selection("reread(share=0.5)")]
    reading = read_and_score(model, tokens, [*chosen, selection("tova(share=0.5)")], CUE)
    first, second = (reading.scores[str(one)] for one in chosen)
    assert first is second and reading.read_tokens == 3 * 30 + 3 and set(reading.scores) >= {"tova(share=0.5)"}
    own = for_document(chosen[0], reading.complexity)
    kept = choose(first, own, reading.sizes)
    assert sum(len(one) for heads in kept.values() for one in heads) == 4 * int(30 * own.settings.share)

"""Learnt prefix lengths: learners find what pays in a made table, rewards are resumable, files are read by name."""

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from raising import containing, refused

from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.models import LM, load_tokenizer
from reread.policies import FEATURES, Seen, policy, prompt_features
from reread.prompting import Sample
from reread.training.prefix_policy import (
    BEST,
    FitConfig,
    Fitted,
    Table,
    bandit,
    complexities,
    fit_prefix,
    learn,
    markdown,
    parts,
    quantiles,
    regression,
    reinforce,
    rewards,
    shown,
    table,
)

ACTIONS = ("none", "share(r=0.5)", "prompt")
SPEC = FitConfig(actions=ACTIONS, price=1e-3, steps=1500, deals=1)


def made(n=400, seed=0):
    """States whose first feature says whether nothing (below 0) or all of 100 tokens (above) is worth its price."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, len(FEATURES)))
    need = x[:, 0] > 0
    right = np.stack([~need, np.full(n, 0.5), need], axis=1).astype(float)
    prefix = np.tile([0.0, 50.0, 100.0], (n, 1))
    return Table(x, right, np.exp(right - 2), prefix, tuple(str(i // 2) for i in range(n)))


def states(x):
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


@pytest.mark.parametrize("learner", [reinforce, bandit, regression])
@pytest.mark.parametrize("baseline", ["leave_one_out", "value"])
def test_learners_find_what_pays_and_tell_it_of_other_states(learner, baseline):
    train, test = made(seed=0), made(seed=1)
    spec = FitConfig(actions=ACTIONS, price=1e-3, baseline=baseline, steps=1500)
    weights = learner(states(train.x), train.reward(spec), spec)
    chosen = (states(test.x) @ weights.T).argmax(axis=1)
    best = test.reward(spec).argmax(axis=1)
    assert set(best) == {0, 2} and (chosen == best).mean() > 0.9


def test_a_learner_is_shown_only_the_rewards_of_its_own_actions():
    """LinUCB with rewards that it cannot have drawn put to NaN would fail if it looked at them."""
    train = made()
    reward = train.reward(SPEC)
    seen = np.full_like(reward, np.nan)

    class Spy(np.ndarray):
        def __getitem__(self, key):
            if isinstance(key, tuple) and len(key) == 2 and np.ndim(key[1]) == 0:
                seen[key] = 1.0
            return super().__getitem__(key)

    spec = FitConfig(actions=ACTIONS, passes=1)
    weights = bandit(states(train.x), reward.view(Spy), spec)
    assert np.nansum(seen) == len(reward)
    assert np.array_equal(bandit(states(train.x), reward * seen, spec), weights) and np.isfinite(weights).all()


def test_a_price_that_nothing_is_worth_leaves_no_prefix():
    free, dear = (
        learn(made(), FitConfig(actions=ACTIONS, price=price, steps=800, deals=1))[1]["held out"]
        for price in (0.0, 1.0)
    )
    assert dear["reinforce"]["prefix tokens"] < 2 and dear["bandit"]["prefix tokens"] < 2
    assert free["reinforce"]["contains"] > 0.9 and free["reinforce"]["prefix tokens"] > 30


def test_nothing_beats_the_oracle_and_gains_are_over_the_best_single_action():
    whole = made()
    policy_, told = learn(whole, SPEC)
    held = told["held out"]
    assert all(held["oracle"]["reward"] >= one["reward"] - 1e-9 for one in held.values())
    assert held[BEST]["reward gained"][:1] == [0.0]
    for name in ("reinforce", "bandit"):
        mean, low, high = held[name]["reward gained"]
        assert low <= mean <= high and mean > 0.2
        assert mean == pytest.approx(held[name]["reward"] - held[BEST]["reward"], abs=2e-4)
    assert all(sum(shares.values()) == pytest.approx(1, abs=1e-3) for shares in told["chosen"].values())
    assert policy_.actions == ACTIONS


def test_no_document_is_on_both_sides():
    whole = made()
    deals = [parts(whole.documents, SPEC, deal) for deal in (0, 1)]
    for dealt in deals:
        assert sorted(state for part in dealt for state in part) == list(range(len(whole.documents)))
        owners = [{whole.documents[i] for i in part} for part in dealt]
        assert len(owners) == 3 and sum(map(len, owners)) == len(set(whole.documents))
    assert deals[0] != deals[1]
    with refused(BadInput, got=2, allowed=containing("3"), naming="documents"):
        parts(["a", "b", "a"], SPEC, 0)


def test_no_choice_is_made_by_what_was_learnt_of_its_own_document(monkeypatch):
    """Every fit is asked about the states it was not given, and about each of them once a deal."""
    whole, asked = made(), []
    keys = {tuple(row): i for i, row in enumerate(whole.x)}
    assert len(keys) == len(whole.x)
    fit = Fitted.to

    def spy(train, spec):
        fitted = fit(train, spec)
        given = {keys[tuple(row)] for row in train.x}

        class Asked(Fitted):
            def choose(self, method, x):
                states_ = {keys[tuple(row)] for row in x}
                assert not states_ & given and len(states_ | given) == len(whole.x)
                asked.extend(states_)
                return fitted.choose(method, x)

        return Asked(fitted.mean, fitted.scale, fitted.weights, fitted.best)

    monkeypatch.setattr(Fitted, "to", staticmethod(spy))
    learn(whole, replace(SPEC, steps=5, passes=1, deals=2))
    assert Counter(asked) == dict.fromkeys(range(len(whole.x)), 2 * 3)


@pytest.fixture
def lm(tiny_model):
    tokenizer = load_tokenizer("embedded")
    return LM("tiny", tiny_model(vocab_size=tokenizer.get_vocab_size()), tokenizer)


@pytest.fixture
def samples():
    words = "Alpha Beta Gamma Delta Epsilon Zeta".split()
    text = "\n".join(f"{word}: {n}17" for n, word in enumerate(words))
    return {"made": [Sample(str(i), f"{text}\nId {i}", words[i], (f"{i}17",), "field", (words[i],)) for i in range(6)]}


@pytest.mark.slow
def test_rewards_are_those_of_the_reader_and_a_stopped_table_goes_on(lm, samples, tmp_path):
    def stop(what, done, total):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rewards(Reader(lm), samples, tmp_path / "r", ACTIONS, progress=stop)
    run = rewards(Reader(lm), samples, tmp_path / "r", ACTIONS)
    rows = list(run.rows())
    assert len(rows) == len({(r["id"], r["action"]) for r in rows}) == 18 == run.summary()["rows"]
    reader = Reader(lm)
    for row in rows:
        sample = samples["made"][int(row["id"])]
        prompt = shown(sample, reader, 1024)
        (answer,) = reader.answer([prompt], policy=row["action"], golds=[f" {sample.answers[0]}\n"])
        assert row["prefix_len"] == answer.prefix_len and row["loglik"] == pytest.approx(answer.loglik, abs=1e-3)
        assert row["features"] == pytest.approx(prompt_features(Seen(prompt, lm.tokenizer)), abs=1e-5)
    made_table = table(run, ACTIONS)
    assert made_table.x.shape == (6, len(FEATURES)) and made_table.prefix[:, 0].max() == 0
    with refused(BadInput, got=containing("of 6", tmp_path / "r"), naming="rewards"):
        table(run, (*ACTIONS, "document"))
    with refused(BadInput, got=containing("actions [", tmp_path / "r"), allowed="['none', 'prompt']"):
        rewards(reader, samples, tmp_path / "r", ("none", "prompt"))


@pytest.mark.parametrize("method", ["reinforce", "bandit", "regression"])
def test_a_policy_is_fitted_saved_and_used_by_name(lm, samples, tmp_path, method):
    spec = FitConfig(actions=ACTIONS, method=method, steps=50)
    out = tmp_path / "new" / "policy.json"
    found = fit_prefix(Reader(lm), samples, out, spec, rewards_in=tmp_path / "r")
    assert json.loads(out.read_text()) == found and found["settings"]["method"] == method
    lines = markdown(found).splitlines()
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {name}" for name in found["held out"]]
    chosen = policy(f"learned(path='{out}')")
    prompts = [shown(sample, Reader(lm), 1024) for sample in samples["made"]]
    lengths = {len(p.tokens) for p in prompts} | {0} | {(len(p.tokens) + 1) // 2 for p in prompts}
    answers = Reader(lm).answer(prompts, policy=chosen, max_new_tokens=1)
    assert {a.prefix_len for a in answers} <= lengths
    assert [a.prefix_len for a in answers] == [c.prefix_len for c in chosen.choose(prompts, lm)]


def test_a_causal_model_has_nothing_to_learn(tiny_model, samples, tmp_path):
    tokenizer = load_tokenizer("embedded")
    causal = LM("causal", tiny_model(prefix_encoder=False, vocab_size=tokenizer.get_vocab_size()), tokenizer)
    with refused(BadInput, got="causal", naming="prefix"):
        fit_prefix(Reader(causal), samples, tmp_path / "p.json", SPEC, rewards_in=tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("changes", "error", "fields"),
    [
        ({"actions": ("none",)}, BadInput, {"got": ["none"], "naming": "actions"}),
        ({"actions": ("none", "question_aware")}, BadInput, {"got": "question_aware", "naming": "action"}),
        ({"actions": ("none", "al")}, UnknownName, {"got": "al", "naming": "policy"}),
        ({"method": "q"}, UnknownName, {"got": "q", "allowed": "bandit, regression, reinforce"}),
        ({"baseline": "none"}, UnknownName, {"got": "none", "allowed": "leave_one_out, value"}),
        ({"price": -1.0}, BadInput, {"got": -1.0, "naming": "price"}),
        ({"draws": 1}, BadInput, {"got": 1, "naming": "draws"}),
        ({"parts": 1}, BadInput, {"got": 1, "naming": "parts"}),
        ({"deals": 0}, BadInput, {"got": 0, "naming": "deals"}),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, error, fields):
    with refused(error, **fields):
        FitConfig(**changes).check()


def test_thresholds_are_quantiles_of_what_the_policy_measures(lm, samples):
    values = complexities(Reader(lm), samples["made"], "unigram", 1024)
    assert quantiles(values, [0.0, 1.0]) == [round(min(values), 4), round(max(values), 4)]
    asked = complexities(Reader(lm), samples["made"], "model", 1024)
    assert len(asked) == 6 and all(0 < value < 1 for value in asked)
    top = (min(values) + max(values)) / 2
    long = policy(f"entropy(base=0.5, increment=1.0, thresholds={top})")
    prompts = [shown(sample, Reader(lm), 1024) for sample in samples["made"]]
    halves = [c.prefix_len < len(p.tokens) for c, p in zip(long.choose(prompts), prompts, strict=True)]
    assert halves == [value <= top for value in values]
    with refused(BadInput, got="[0.5] of 0", allowed="0 to 1"):
        quantiles([], [0.5])
    with pytest.raises(UnknownName):
        complexities(SimpleNamespace(), [], "trigram", 8)

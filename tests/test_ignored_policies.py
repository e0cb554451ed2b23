"""A prefix policy beside a causal model changes nothing, and that is said."""

import logging

import pytest

from reread.engine import Reader
from reread.evaluate import EvalConfig, evaluate
from reread.models import LM, load
from reread.policies import policy

TEXT = "Name: Ada\nTown: Ulm\n"


@pytest.fixture
def causal(tiny_model):
    words = load("small-causal").tokenizer
    return LM("a/causal", tiny_model(False, vocab_size=words.get_vocab_size()), words)


def said(caplog):
    return [record for record in caplog.records if record.levelno == logging.WARNING and record.name == "reread.engine"]


@pytest.mark.parametrize(
    "name, warned", [("share(r=0.5)", True), ("fixed(n=3)", True), ("prompt", False), ("none", False)]
)
def test_a_reader_warns_once_of_a_policy_without_effect(causal, caplog, name, warned):
    reader = Reader(causal)
    for _ in range(3):
        reader.ask(TEXT, "Name", policy=name, max_new_tokens=2)
    assert len(said(caplog)) == warned
    assert all(name in record.getMessage() for record in said(caplog))


def test_a_model_that_looks_ahead_is_not_warned_of(caplog):
    Reader(load("small-jrt")).ask(TEXT, "Name", policy="share(r=0.5)", max_new_tokens=2)
    assert not said(caplog)
    assert not policy("share(r=0.5)").has_no_effect_on(load("small-jrt"))


def test_the_header_of_an_evaluation_names_policies_without_effect(tmp_path):
    policies = ("prompt", "share(r=0.5)")
    config = EvalConfig(models=("small-causal", "small-jrt"), tasks=("forms-8",), policies=policies, limit=2)
    header = evaluate(config, tmp_path, tmp_path / "run").header()
    assert header["config"]["policies_ignored"] == {"small-causal": ["share(r=0.5)"]}
    evaluate(config, tmp_path, tmp_path / "run")  # goes on


def test_the_header_of_an_evaluation_without_such_policies_is_as_before(tmp_path):
    config = EvalConfig(models=("small-causal",), tasks=("forms-8",), limit=2)
    assert "policies_ignored" not in evaluate(config, tmp_path, tmp_path / "run").header()["config"]

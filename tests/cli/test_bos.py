"""--bos and --no-bos: who takes them, and what is written down."""

import json

import dummy_blanks
import pytest
from in_process import reread

from reread.config import build, to_dict
from reread.evaluate import EvalConfig


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """(model folder, document file) of a Llama whose tokenizer gives BOS."""
    folder = tmp_path_factory.mktemp("bos")
    document = folder / "document.txt"
    document.write_text(dummy_blanks.LINES[0], encoding="utf-8")
    return str(dummy_blanks.model_folder(folder / "m", dummy_blanks.llama())), str(document)


def told(*words):
    found = reread(*words, "--json")
    assert not found.returncode, found.stderr
    return json.loads(found.stdout)


def test_ask_says_that_bos_was_overruled_only_where_it_was(here):
    model, document = here
    ask = ("ask", document, "Product code", "--model", model)
    default, same, other = told(*ask), told(*ask, "--bos"), told(*ask, "--no-bos")
    assert "add_bos" not in default and "add_bos" not in same and other["add_bos"] is False
    assert default["prompt_tokens"] == same["prompt_tokens"] == other["prompt_tokens"] + 1


def test_prompt_shows_bos_as_a_span(here):
    model, document = here
    prompt = ("prompt", document, "Product code", "--model", model)
    spans = told(*prompt)["spans"]
    assert spans[0] == {"role": "bos", "start": 0, "end": 1} and spans[1]["role"] == "document"
    assert told(*prompt, "--no-bos")["spans"][0]["role"] == "document"


def test_read_keeps_a_state_of_each_and_a_state_is_not_asked_with_the_option(here, tmp_path):
    model, document = here
    read = ("read", document, "--model", model, "--out", tmp_path / "states")
    (default,), (same,), (other,) = told(*read), told(*read, "--bos"), told(*read, "--no-bos")
    assert same["already_there"] and same["state"] == default["state"] != other["state"]
    assert default["tokens"] == other["tokens"] + 1
    for row in (default, other):
        ask = ("ask", "--state", row["state"], "Product code", "--model", model)
        assert told(*ask)["prompt_tokens"] > row["tokens"]
        assert reread(*ask, "--no-bos").returncode == 2


def test_bos_is_refused_where_the_tokenizer_has_none(here):
    _, document = here
    found = reread("ask", document, "Product code", "--bos")
    assert found.returncode == 2 and not found.stdout and found.stderr.count("\n") == 1


def test_an_evaluation_names_the_setting_only_where_it_is_given():
    assert "add_bos" not in to_dict(EvalConfig())
    assert to_dict(build(EvalConfig, {"add_bos": False}))["add_bos"] is False


def test_lm_eval_and_eval_hand_the_option_on(here, tmp_path, monkeypatch):
    pytest.importorskip("lm_eval")
    from reread import evaluate, harness

    given = {}

    class Stop(Exception):
        pass

    def stop(config, *args, **settings):
        given[type(config).__name__] = getattr(config, "add_bos", settings.get("add_bos_token"))
        raise Stop

    monkeypatch.setattr(harness, "evaluate", stop)
    monkeypatch.setattr(evaluate, "evaluate", stop)
    for words in (["lm-eval", "--no-bos"], ["eval", "--no-bos", "--task", "forms-16", "--data", tmp_path]):
        with pytest.raises(Stop):
            reread(*words)
    assert given == {"str": False, "EvalConfig": False}

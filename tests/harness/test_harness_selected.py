"""lm-eval with a selection: keys of what stands before the question alone; what is refused."""

import json
from types import SimpleNamespace

import pytest
import torch
from in_process import complained, reread
from raising import containing, refused

from reread import lm_eval_tasks
from reread.engine import Reader
from reread.errors import BadInput
from reread.models import LM
from reread.scoring import continuation_scores
from reread.selecting import read_with

SELECT = "window(tokens=12)"
DOCUMENT = "Applicant: Roche Diagnostics. The old town lies under a blue sky. Code: DEW."
ASKED = [" Applicant:", " Code:"]


def reread_lm(lm, **settings):
    from reread.harness import RereadLM

    return RereadLM(lm, **{"select": SELECT, "question_at": " ", **settings})


def after(lm, document, question, select=SELECT):
    """Logits and state after both, by hand."""
    found = read_with(lm, torch.tensor([lm.tokenizer.encode(document).ids]), select)
    return lm.model.extend(torch.tensor([lm.tokenizer.encode(question).ids]), found.state, last_only=True)


@torch.no_grad()
def by_hand(lm, question, continuation, **more):
    logits, state = after(lm, DOCUMENT, question, **more)
    return continuation_scores(lm.model, logits, state, [lm.tokenizer.encode(continuation).ids])[0]


def row(*args, asked):
    return SimpleNamespace(args=args, doc={"asked": asked})


@pytest.mark.parametrize("batch", [1, 8])
def test_loglikelihoods_go_on_from_the_kept_keys(byte_llama, batch):
    pairs = [(question, text) for question in ASKED for text in (" DEW", " Roche", ".")]
    requests = [row(DOCUMENT + question, text, asked=question) for question, text in pairs]
    got = reread_lm(byte_llama, question_at="", batch_size=batch).loglikelihood(requests)
    full = [by_hand(byte_llama, *pair, select="full")[0] for pair in pairs]
    for (score, greedy), pair, whole in zip(got, pairs, full, strict=True):
        want = by_hand(byte_llama, *pair)
        assert score == pytest.approx(want[0], abs=2e-3) and greedy == want[1]
        assert abs(score - whole) > 1e-2
    named = [SimpleNamespace(args=request.args) for request in requests]  # the last blank, as question_at says
    assert reread_lm(byte_llama, batch_size=batch).loglikelihood(named) == got


def test_a_document_is_read_once_for_all_its_questions(byte_llama, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "reread.selecting.read_with", lambda lm, ids, select: seen.append(ids) or read_with(lm, ids, select)
    )
    reread_lm(byte_llama).loglikelihood(
        [SimpleNamespace(args=(DOCUMENT + question, text)) for question in ASKED for text in (" DEW", " R")]
    )
    assert [ids.shape[1] for ids in seen] == [len(DOCUMENT)]


def test_texts_are_those_of_the_reader(byte_llama):
    requests = [row(DOCUMENT + question, {"until": ["\n"], "max_gen_toks": 6}, asked=question) for question in ASKED]
    got = reread_lm(byte_llama, question_at="").generate_until(requests)
    reader = Reader(byte_llama)
    for text, question in zip(got, ASKED, strict=True):
        found = read_with(byte_llama, torch.tensor([byte_llama.tokenizer.encode(DOCUMENT).ids]), SELECT)
        tail = byte_llama.tokenizer.encode(question).ids
        (answer,) = reader.answer_from(found.state, [tail], max_new_tokens=6)
        assert text == answer.text
    assert reread_lm(byte_llama).get_model_info()["selection"] == SELECT
    assert "selection" not in reread_lm(byte_llama, select="full").get_model_info()


def test_a_context_that_is_cut_loses_the_beginning_of_its_document(byte_llama):
    request = row(DOCUMENT + ASKED[0], "xx", asked=ASKED[0])
    got = reread_lm(byte_llama, max_length=60, question_at="").loglikelihood([request])[0][0]
    room = 60 - len("xx") - len(ASKED[0])
    with torch.no_grad():
        logits, state = after(byte_llama, DOCUMENT[-room:], ASKED[0])
        want = continuation_scores(byte_llama.model, logits, state, [byte_llama.tokenizer.encode("xx").ids])[0][0]
    assert got == pytest.approx(want, abs=2e-3)
    with refused(BadInput, got=12, naming="document"):
        reread_lm(byte_llama, max_length=12, question_at="").loglikelihood([request])


def test_contexts_that_do_not_say_where_the_question_begins_are_refused(byte_llama):
    harness = reread_lm(byte_llama, question_at="")
    for request in (
        SimpleNamespace(args=(DOCUMENT, "x")),
        row(DOCUMENT, "x", asked=""),
        row("Code:", "x", asked="Code:"),
    ):
        with refused(BadInput, got=containing("Code"), todo=containing("question_at", "_once")):
            harness.loglikelihood([request])
    with refused(BadInput, got=SELECT, allowed="select=full"):
        harness.loglikelihood_rolling([SimpleNamespace(args=(DOCUMENT,))])


def test_models_and_settings_that_allow_no_selection_are_refused(byte_llama, tiny_model, byte_tokenizer):
    with refused(BadInput, naming="fixed size already"):
        reread_lm(LM("tiny", tiny_model(True, vocab_size=256), byte_tokenizer))
    with refused(BadInput, got="iterate", allowed="no_pad"):
        reread_lm(byte_llama, prefill="iterate")


ROWS = {
    "fda": {"text": "A. Applicant: Acme\nB. Panel: Chemistry\n", "key": "panel", "value": "Chemistry"},
    "swde": {"text": "Alien. Year: 1979 Summary of information above: x", "key": "year", "value": "1979"},
    "squad": {
        "text": "The sky is blue. The sky has the colour", "context": "The sky is blue.", "question": "Which?",
        "value": "blue",
    },
    "nq": {"context": "Bern is it. ", "question": "The capital is", "orig_question": "which", "answers": ["Bern"]},
    "drop": {"context": "3 goals.", "question": "The number was", "orig_question": "How many?", "answers": ["3"]},
    "triviaqa": {"context": "[DOC]Bern.", "question": "The city is", "orig_question": "Which?", "answers": ["Bern"]},
}  # fmt: skip


@pytest.mark.parametrize("task", sorted(ROWS))
def test_rows_of_packaged_tasks_say_where_the_question_begins(task):
    ends = {
        "fda": " Panel:", "swde": " Year:", "squad": " The sky has the colour", "nq": " The capital is",
        "drop": " The number was", "triviaqa": " The city is",
    }  # fmt: skip
    once, twice = (lm_eval_tasks.examples(task, strategy, [ROWS[task]], "here")[0] for strategy in ("once", "twice"))
    assert once["asked"] == ends[task] and once["prompt"].endswith(ends[task]) and twice["asked"] == ""


def test_a_cut_that_takes_the_question_away_leaves_none():
    cut = lambda task, row: {**row, "text": "The sky is blue. The"}  # noqa: E731
    assert lm_eval_tasks.examples("squad", "once", [ROWS["squad"]], "here", cut)[0]["asked"] == ""


def test_the_command_takes_tasks_that_ask_after_the_document(byte_llama_folder, tmp_path):
    (tmp_path / "fda.jsonl").write_text(json.dumps(ROWS["fda"]) + "\n")
    words = ("lm-eval", "--data", tmp_path, "--model", byte_llama_folder, "--select", SELECT, "--json")
    for name in ("reread_fda_twice", "reread_fda_once,reread_fda_twice", "reread_recall"):
        complained(reread(*words, "--task", name), "twice(cue=False)")
    said = reread(*words, "--task", "reread_fda_once")
    assert said.returncode == 0 and json.loads(said.stdout[said.stdout.index("[") :])[0]["task"] == "reread_fda_once"

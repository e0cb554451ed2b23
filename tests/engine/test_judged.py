"""What a person is told of an answer: whether it was found, where it stands, how likely it is right."""

import dataclasses
import math

import pytest
import torch
from raising import refused

from reread.answer import Answer, best_of
from reread.engine import Reader
from reread.errors import BadInput
from reread.models import LM
from reread.models.families import TINY
from reread.models.lora import Manifest
from reread.models.pretrained import Pretrained
from reread.options import MAX_NEW_TOKENS, QUESTION_TOKENS
from reread.prompting import BUDGET, NOT_FOUND, cut_parts, template

CALIBRATION = {
    "field": {"score": [0.0, 1.0], "probability": [0.0, 0.5], "threshold": 0.2},
    "question": {"score": [0.0, 1.0], "probability": [0.5, 1.0], "threshold": 0.75},
}
DOCUMENT = "  Applicant: Roche\nCity: New\n York"


@pytest.fixture(scope="module")
def llama(byte_tokenizer):
    """made(family="llama", **sizes): a tiny model that reads bytes."""
    from transformers import AutoConfig, AutoModelForCausalLM

    def made(family="llama", manifest=None, **sizes):
        torch.manual_seed(0)
        config = AutoConfig.for_model(family, **{**TINY[family], "vocab_size": 256, **sizes})
        return Reader(LM(family, Pretrained(AutoModelForCausalLM.from_config(config)), byte_tokenizer, (), manifest))

    return made


@pytest.fixture(scope="module")
def taught(llama):
    return llama(manifest=Manifest(template="reader", calibration=CALIBRATION))


def answer(text, logprob=-2.0, new=4, ended=True, absent=0.25):
    return Answer(text, 9, 9.0, 0, new, 0.0, 0.0, 0, None, logprob, ended, absent)


def test_it_is_asked_with_the_template_of_its_adapter(taught, llama):
    own = taught.show(cut_of(taught, DOCUMENT), "Applicant")
    assert own.prompt.text == DOCUMENT.strip() + "\n\nQuestion: Applicant\nAnswer:"
    other = llama().show(cut_of(taught, DOCUMENT), "Applicant")
    assert other.prompt.text == DOCUMENT.strip() + "\nApplicant:"


def cut_of(reader, text):
    from reread.prompting import cut

    return cut(text, reader.lm.tokenizer, 500, "head")


def test_the_score_is_the_mean_probability_times_that_of_an_answer():
    found = answer("x")
    assert found.confidence == found.mean_probability == math.exp(-0.5)
    assert found.score == math.exp(-0.5) * 0.75
    assert dataclasses.replace(found, absent=None).score == math.exp(-0.5)


@pytest.mark.parametrize(("question", "at", "limit"), [("City", 0.0, 0.2), ("Which city?", 0.5, 0.75)])
def test_confidence_and_threshold_are_those_of_the_kind(taught, question, at, limit):
    got = taught.judge(answer("New York"), question, DOCUMENT)
    assert got.confidence == pytest.approx(at + 0.5 * got.score) and got.threshold == limit
    assert got.found == (got.confidence >= limit)
    assert DOCUMENT[slice(*got.span)] == "New\n York" and got.verbatim
    assert bool(got.doubts) == (not got.found)


def test_without_a_calibration_confidence_is_the_mean_probability_and_all_is_found(llama):
    got = llama().judge(answer("Roche", absent=None), "Applicant", DOCUMENT)
    assert got.found and got.confidence == got.mean_probability and got.threshold == 0 and got.doubts == ()
    assert llama().judge(answer(NOT_FOUND), "Applicant").found  # it was not taught that this means something
    iterated = llama().judge(answer("Roche", logprob=None), "Applicant", DOCUMENT)
    assert iterated.found and math.isnan(iterated.confidence)


def test_a_threshold_that_is_given_goes_before_the_models(taught):
    assert taught.judge(answer("Roche"), "Applicant", DOCUMENT).found
    got = taught.judge(answer("Roche"), "Applicant", DOCUMENT, threshold=0.9)
    assert not got.found and got.threshold == 0.9 and len(got.doubts) == 1
    assert taught.judge(answer("Roche", logprob=-90.0), "Applicant", DOCUMENT, threshold=0.0).found


@pytest.mark.parametrize("text", [NOT_FOUND, "Not found."])
def test_not_found_is_no_answer_and_no_doubt(taught, text):
    got = taught.judge(answer(text), "Applicant", "What is not found here")
    assert (got.found, got.confidence, got.verbatim, got.span, got.doubts) == (False, 0.0, None, None, ())


def test_what_is_not_in_the_document_is_doubted_but_found(taught):
    got = taught.judge(answer("Novartis"), "Applicant", DOCUMENT)
    assert got.found and got.verbatim is False and got.span is None and len(got.doubts) == 1
    assert taught.judge(answer("Yes", logprob=0.0), "Is it Roche?", DOCUMENT).doubts == ()
    unknown = taught.judge(answer("Novartis"), "Applicant")
    assert unknown.found and unknown.verbatim is None and unknown.doubts == ()


def test_what_came_to_no_end_is_not_found(taught):
    got = taught.judge(answer("Roche", ended=False), "Applicant", DOCUMENT)
    assert not got.found and got.verbatim and len(got.doubts) == 1
    assert not taught.judge(answer(""), "Applicant", DOCUMENT).found


def test_absent_is_the_probability_of_not_found_at_the_first_token(taught, llama):
    prompt = taught.show(cut_of(taught, DOCUMENT), "Applicant").encoded
    (logits, _) = taught.lm.read(torch.tensor([prompt.tokens]))
    first = taught.lm.tokenizer.encode(f" {NOT_FOUND}").ids[0]
    want = float(logits[0, -1].softmax(-1)[first])
    assert want > 0
    (asked,) = taught.answer([prompt], max_new_tokens=2)
    start = prompt.spans[-1][1]
    _, state = taught.lm.read(torch.tensor([prompt.tokens[:start]]))
    (resumed,) = taught.answer_from(state, [prompt.tokens[start:]], max_new_tokens=2)
    assert asked.absent == pytest.approx(want) and resumed.absent == pytest.approx(want, rel=1e-3)
    (other,) = llama().answer([prompt], max_new_tokens=2)
    assert other.absent is None


def test_ask_gives_the_place_in_the_document_as_it_was_given(taught, monkeypatch):
    monkeypatch.setattr(Reader, "answer", lambda *given, **named: [answer("Roche")])
    got, _ = taught.ask(DOCUMENT, "Applicant")
    assert DOCUMENT[slice(*got.span)] == "Roche" and got.found


# budgets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "copies"),
    [
        ("once", 1),
        ("question_first", 1),
        ("question_twice", 1),
        ("twice", 2),
        ("cqcq", 2),
        ("repeat(n=5)", 5),
        ("selective", 2),
        ("hierarchical", 2),
        ("hierarchical(times=1+2)", 3),
        ("oprm", 1),
    ],
)
def test_the_default_budget_is_what_the_positions_hold_shared_by_the_copies(llama, strategy, copies):
    reader = llama(max_position_embeddings=4096)
    free = 4096 - QUESTION_TOKENS - MAX_NEW_TOKENS
    assert reader.budget(strategy) == pytest.approx(free / copies, rel=0.1)
    document = "Word after word. " * 400
    prompt = reader.show(cut_to(reader, document, reader.budget(strategy)), "What is it?", strategy=strategy).encoded
    assert len(prompt.tokens) + MAX_NEW_TOKENS <= 4096


def cut_to(reader, text, budget):
    from reread.prompting import cut

    return cut(text, reader.lm.tokenizer, budget, "head")


def test_a_long_question_takes_its_room_from_the_document(llama):
    reader = llama(max_position_embeddings=2048)
    long = "why " * 300 + "?"
    assert reader.budget("once", long) < reader.budget("once", "Why?") - 900
    assert reader.budget("question_twice", long) < 2


def test_models_without_positions_show_as_much_as_before(llama):
    assert llama("mamba").budget("twice") == BUDGET
    assert llama("mamba").lm.positions is None


def test_embedded_models_have_no_positions():
    from reread.models import load, positions_of

    assert Reader(load("small-jrt")).budget("twice") == BUDGET and positions_of("small-jrt") is None


def test_a_document_beyond_the_positions_is_cut_and_the_cut_is_said(llama):
    reader = llama(max_position_embeddings=512)
    got, prompt = reader.ask("Word after word. " * 100, "What?", max_new_tokens=2)
    assert prompt.cut.says() and got.prompt_tokens <= 512 - MAX_NEW_TOKENS
    small = llama("gpt2")  # 128 positions, in a table
    assert small.ask("Word after word. " * 100, "What?")[0].prompt_tokens <= 128 - MAX_NEW_TOKENS


def test_a_prompt_beyond_the_positions_is_refused_before_it_is_read(llama, monkeypatch):
    reader = llama(max_position_embeddings=512)
    monkeypatch.setattr(Reader, "answer", None)
    with refused(BadInput, allowed=512):
        reader.ask("Word after word. " * 100, "What?", budget=600)
    with refused(BadInput, allowed=512):
        reader.ask("Word after word. " * 100, "What?", strategy="repeat(n=9)", budget=100)
    with refused(BadInput, allowed=512):
        reader.ask("Word.", "why " * 1250 + "?")


@pytest.mark.parametrize("document", ["x", "é", "字"])
@pytest.mark.parametrize("question", ["?", "ΩΩ", "Wie heißt der Antragsteller?", "誰ですか?"])
def test_short_documents_and_other_languages_are_answered(taught, document, question):
    got, _ = taught.ask(document, question, max_new_tokens=3)
    assert got.new_tokens > 0 and got.found in (True, False)


@pytest.mark.parametrize("document", ["", " \n"])
def test_an_empty_document_is_refused(taught, document):
    with refused(BadInput, naming="no text"):
        taught.ask(document, "What?")


def test_templates_name_what_means_not_found():
    assert template("reader").means_not_found(" Not found. ") and not template("field").means_not_found("not found")


def test_of_several_texts_the_best_answer_is_taken():
    def judged(text, found, confidence):
        return dataclasses.replace(answer(text, logprob=-1.0), found=found, calibrated=confidence)

    none, weak, sure = judged("not found", False, 0.0), judged("Basel", False, 0.4), judged("Roche", True, 0.6)
    for order in ([none, weak, sure], [sure, none, weak], [weak, sure, none]):
        best = best_of(order)
        assert best.text == "Roche" and best.read_tokens == 27.0
    assert best_of([none, weak]).text == "Basel"
    assert best_of([sure, dataclasses.replace(sure, text="later")]).text == "Roche"
    unknown = dataclasses.replace(weak, calibrated=None, logprob=None)
    assert best_of([unknown, none]).text == "not found"


def test_parts_give_what_the_best_of_their_texts_gives(taught):
    document = "  " + ";".join(f"Clause-{i}:Firm-{i * 7}." for i in range(40))
    answer, prompt = taught.ask(document, "Firm", budget=100, window="parts", max_new_tokens=5)
    parts = cut_parts(document, taught.lm.tokenizer, 100)
    each = [taught.ask(part.text, "Firm", budget=100, max_new_tokens=5)[0] for part in parts]
    assert len(parts) > 5 and answer.text == best_of(each).text
    assert answer.read_tokens == pytest.approx(sum(one.read_tokens for one in each))
    assert prompt.cut in parts and prompt.cut.says() == ""
    if answer.span:
        assert document[slice(*answer.span)] == answer.text

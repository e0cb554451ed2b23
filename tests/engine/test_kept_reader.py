"""A Reader that keeps chosen keys of a document: one question, many questions, what is said and what is refused."""

import pytest
import torch
from marks import needs_reader
from raising import containing, refused

import reread
from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.models import LM
from reread.models.families import TINY, tiny
from reread.models.kept_keys import kept_layers
from reread.selecting import repeat_cue

TEXT = "Applicant: Roche Diagnostics. Product code: DEW. Decided on the 3rd of May 2011 by the panel."
QUESTIONS = ["Product code", "Who decided?", "Applicant"]


@pytest.fixture
def reader(byte_tokenizer, monkeypatch):
    monkeypatch.setitem(TINY, "llama", {**TINY["llama"], "vocab_size": 256})
    return Reader(LM("llama", tiny("llama"), byte_tokenizer))


def test_many_questions_are_asked_of_one_reading(reader):
    read = reader.read(TEXT, select="reread(tokens=20)")
    assert kept_layers(read.state.tensors[0]) == (0, 1)
    tokens = read.selected.tokens
    assert read.selected.says() == f"reread(tokens=20) kept 20 of {tokens} positions per head"
    cue = repeat_cue(reader.lm)
    assert read.selected.read_tokens == 2 * tokens + len(cue.first)
    answers = reader.ask_read(read, [*QUESTIONS, QUESTIONS[0]], max_new_tokens=6)
    assert answers[0] == answers[3] and len(answers) == 4
    for question, answer in zip(QUESTIONS, answers, strict=False):
        alone, prompt = reader.ask(TEXT, question, select="reread(tokens=20)", max_new_tokens=6)
        assert (alone.text, alone.found, alone.span) == (answer.text, answer.found, answer.span)
        assert alone.read_tokens == answer.read_tokens + read.selected.read_tokens
        assert alone.state_bytes < reader.ask(TEXT, question, max_new_tokens=6)[0].state_bytes
        assert prompt.text.startswith(TEXT)


def test_a_state_is_extended_and_split(reader):
    read = reader.read(TEXT, select="window(tokens=20)")
    more = torch.tensor([reader.lm.tokenizer.encode(" More text.").ids])
    _, longer = reader.lm.model.extend(more, read.state)
    both = type(longer).cat([read.state, longer, reader.read(TEXT, select="full").state])
    logits, after = reader.lm.model.step(torch.tensor([65, 65, 65]), both)
    alone, _ = reader.lm.model.step(torch.tensor([65]), both.rows([1]))
    torch.testing.assert_close(logits[1], alone[0], rtol=1e-4, atol=1e-5)
    assert after.rows([2, 0]).position.tolist() == [read.selected.tokens + 1] * 2


def test_what_was_forgotten_is_told_by_unit(reader):
    text = "Applicant: Roche.\nProduct code: DEW.\n\nDecided in May."
    read = reader.read(text, select="window(tokens=20)", forgotten="line")
    assert [text[one.start : one.end] for one in read.lost] == [
        "Applicant: Roche.\n",
        "Product code: DEW.\n",
        "\nDecided in May.",
    ]
    tokens = read.selected.forgotten  # a byte is a token here
    assert len(tokens) == len(text)
    for one in read.lost:
        assert one.nats == pytest.approx(float(tokens[one.start : one.end].mean()), abs=1e-5)
    assert max(abs(one.nats) for one in read.lost) > 1e-4
    assert reader.read(text, select="window(tokens=20)").lost == ()
    assert {one.nats for one in reader.read(text, forgotten="line").lost} == {0.0}
    shown = reader.read(text, select="window(tokens=20)", strategy="twice(cue=False)", forgotten="line")
    assert len(shown.lost) == 3 and len(shown.selected.forgotten) == shown.selected.tokens > 2 * len(text)
    with refused(UnknownName, got="word"):
        reader.read(text, forgotten="word")


def test_tokens_of_a_text_in_several_pieces_belong_to_their_lines(reader, monkeypatch):
    monkeypatch.setattr("reread.prompting.pieces.PIECE", 24)
    text = "Applicant: Roche.\nProduct code: DEW.\n\nDecided in May."
    read = reader.read(text, select="window(tokens=20)", forgotten="line")
    tokens = read.selected.forgotten
    assert [one.nats for one in read.lost] == pytest.approx(
        [float(tokens[one.start : one.end].mean()) for one in read.lost], abs=1e-5
    )


def test_a_question_of_lost_text_is_read_again_with_all_keys_where_that_is_wished(reader, monkeypatch):
    ways = {"select": "window(tokens=20)", "max_new_tokens": 6, "forgotten": "sentence"}
    told = []
    plain, _ = reader.ask(TEXT, "Product code", **ways)
    read = reader.read(TEXT, select="window(tokens=20)", forgotten="sentence")
    assert plain.forgotten == pytest.approx(read.lost_near("Product code")) and not plain.read_again
    assert read.lost_near("Zebra") is None and reader.read(TEXT, select="window(tokens=20)").lost_near("code") is None
    same, _ = reader.ask(TEXT, "Product code", reread_when_lost=True, **ways)  # little is lost: nothing is read again
    assert same.text == plain.text and not same.read_again and same.read_tokens == plain.read_tokens
    monkeypatch.setattr("reread.forgotten.FORGOTTEN", -99.0)
    doubted, _ = reader.ask(TEXT, "Product code", **ways)
    assert any("forgot" in doubt for doubt in doubted.doubts) and doubted.text == plain.text
    again, _ = reader.ask(TEXT, "Product code", reread_when_lost=True, told=told.append, **ways)
    whole, _ = reader.ask(TEXT, "Product code", max_new_tokens=6)
    assert again.text == whole.text and again.read_again and again.forgotten == plain.forgotten
    assert not any("forgot" in doubt for doubt in again.doubts) and "again" in told[-1]
    assert again.read_tokens > plain.read_tokens + read.selected.tokens
    parts, _ = reader.ask(TEXT, "Product code", reread_when_lost=True, window="parts", budget=50, **ways)
    assert parts.read_again
    with refused(BadInput, got="line", naming="keeps all keys"):
        reader.ask(TEXT, "Product code", forgotten="line")


def test_a_document_is_read_in_pieces(reader):
    read = reader.read(TEXT, select="reread(tokens=20, read=30)")
    tokens = read.selected.tokens
    assert read.selected.says() == f"reread(read=30, tokens=20) kept 20 of {tokens} positions per head"
    answer, _ = reader.ask(TEXT, "Product code", select="reread(tokens=20, read=30)", max_new_tokens=6)
    assert answer.text == reader.ask_read(read, ["Product code"], max_new_tokens=6)[0].text
    cue = repeat_cue(reader.lm)
    later = len(cue.later) + cue.tail + len(cue.after)
    assert read.selected.read_tokens == 2 * tokens + len(cue.first) + (-(-tokens // 30) - 1) * later
    with refused(BadInput, got="reread(read=30, tokens=20)", naming="forgotten"):
        reader.read(TEXT, select="reread(tokens=20, read=30)", forgotten="line")


def test_full_is_what_ask_gives_without_a_selection(reader):
    for question in QUESTIONS:
        want, _ = reader.ask(TEXT, question, max_new_tokens=6)
        got, _ = reader.ask(TEXT, question, select="full", max_new_tokens=6)
        read = reader.ask_read(reader.read(TEXT), [question], max_new_tokens=6)[0]
        assert got.text == want.text == read.text and got.prompt_tokens == want.prompt_tokens == read.prompt_tokens


def test_a_budget_larger_than_the_document_is_said(reader):
    read = reader.read(TEXT, select="reread(tokens=4000)")
    assert read.selected.all_kept and "nothing was dropped" in read.selected.says()
    assert (
        reader.ask_read(read, QUESTIONS[:1], max_new_tokens=6)[0].text
        == reader.ask(TEXT, QUESTIONS[0], max_new_tokens=6)[0].text
    )


def test_an_empty_document_is_no_document(reader):
    for select in ("full", "reread(tokens=20)"):
        with refused(BadInput, naming="no text"):
            reader.read("", select=select)


@pytest.mark.parametrize(
    ("select", "kind", "name"),
    [
        ("reread", BadInput, "reread"),
        ("rereed(tokens=9)", UnknownName, "rereed"),
        ("window(share=2)", BadInput, "share"),
    ],
)
def test_a_selection_that_is_none_is_refused(reader, select, kind, name):
    with refused(kind, naming=name):
        reader.ask(TEXT, "Product code", select=select)


def test_layouts_that_look_at_the_question_are_refused(reader):
    with refused(BadInput, allowed=containing("once")):
        reader.ask(TEXT, "Product code", strategy="twice", select="reread(tokens=20)")


def test_models_with_a_fixed_state_are_refused(byte_tokenizer, tiny_model):
    reader = Reader(LM("tiny", tiny_model(True, 0, vocab_size=256), byte_tokenizer))
    with refused(BadInput, naming="fixed size already"):
        reader.ask(TEXT, "Product code", select="reread(tokens=20)")


@pytest.mark.slow
@needs_reader
def test_the_reader_answers_from_a_quarter_of_the_keys():
    lines = [
        f"Clause {i}. The parties keep a record of meeting {i} and its minutes for the file." for i in range(1, 13)
    ]
    text = "\n".join([*lines[:6], "Governing law: England and Wales. Notice period: 45 days.", *lines[6:]])
    reader = Reader(reread.load("smollm2"))
    read = reader.read(text, select="reread(share=0.25)")
    newest = reader.read(text, select="window(share=0.25)")
    assert read.state.nbytes < 0.3 * reader.read(text).state.nbytes
    assert "45" in reader.ask_read(read, ["Notice period"])[0].text
    assert "45" not in reader.ask_read(newest, ["Notice period"])[0].text


@pytest.mark.parametrize("select", ["full", "reread(tokens=20)"])
def test_a_copied_answer_is_in_the_document_or_says_that_nothing_is(reader, select):
    free = [reader.ask(TEXT, question, select=select, max_new_tokens=30)[0] for question in QUESTIONS]
    copied = [reader.ask(TEXT, question, select=select, max_new_tokens=30, copy=True)[0] for question in QUESTIONS]
    assert not any(answer.text and answer.text in TEXT for answer in free)  # an untrained model
    for answer, question in zip(copied, QUESTIONS, strict=True):
        assert answer.text in TEXT or answer.text in ("yes", "no")
        assert answer.text and (answer.ended or answer.new_tokens == 30)
        (again,) = reader.ask_read(reader.read(TEXT, select=select), [question], max_new_tokens=30, copy=True)
        assert again.text == answer.text
    logprobs = [answer.logprob for answer in copied]
    assert all(value < 0 for value in logprobs) and logprobs != [answer.logprob for answer in free]


def test_copying_is_refused_where_every_token_reads_all_again(reader):
    slow = Reader(reader.lm, prefill="iterate")
    with refused(BadInput, got="iterate"):
        slow.ask(TEXT, "Applicant", copy=True)

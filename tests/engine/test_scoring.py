"""Scores of units and answers are sums of log-probabilities by hand; nothing leaks; documents are read once for many
questions."""

import pytest
import torch
from raising import containing, refused

from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.models import LM, load_tokenizer
from reread.models.families import tiny
from reread.models.pretrained import Pretrained
from reread.prompting import Encoded, build, template
from reread.scoring import UnitScores, continuation_loglik, next_token_entropies, pad, seen_pairs, token_logliks

FIELD = template("field")


@pytest.fixture(params=["jrt", "causal", "gpt2"])
def lm(request, tiny_model):
    tokenizer = load_tokenizer("embedded")
    size = tokenizer.get_vocab_size()
    if request.param == "gpt2":
        small = tiny("gpt2").model
        small.resize_token_embeddings(size)
        return LM("gpt2", Pretrained(small), tokenizer)
    return LM("tiny", tiny_model(prefix_encoder=request.param == "jrt", vocab_size=size), tokenizer)


@torch.no_grad()
def logp_by_hand(lm, context, continuation, prefix):
    """From one pass over context and continuation, the first `prefix` tokens read as prefix."""
    logits, _ = lm.model.read(torch.tensor([[*context, *continuation]]), prefix, last_only=False)
    logp = logits[0].float().log_softmax(-1)
    return float(sum(logp[len(context) - 1 + i, token] for i, token in enumerate(continuation)))


@torch.no_grad()
def test_a_continuation_is_scored_as_one_pass_would(lm):
    contexts, rows = [[5, 6, 7, 8], [9, 10, 11, 12]], [[3], [4, 5, 6]]
    logits, state = lm.model.read(torch.tensor(contexts), 4, last_only=True)
    got = continuation_loglik(lm.model, logits, state, rows)
    want = [logp_by_hand(lm, context, row, 4) for context, row in zip(contexts, rows, strict=True)]
    assert got == pytest.approx(want, abs=1e-3)
    assert continuation_loglik(lm.model, logits, state, rows) == got
    assert continuation_loglik(lm.model, logits, state, [[3, 1], [4, 5]]) != got


@torch.no_grad()
def test_nothing_of_a_continuation_leaks_into_its_own_probability(lm):
    logits, state = lm.model.read(torch.tensor([[5, 6, 7, 8]]), 4, last_only=True)
    first = continuation_loglik(lm.model, logits, state, [[3]])[0]
    for later in ([9], [400], [7, 7, 7]):
        whole = continuation_loglik(lm.model, logits, state, [[3, *later]])[0]
        _, after = lm.model.step(torch.tensor([3]), state)
        rest = continuation_loglik(lm.model, lm.model.step(torch.tensor([3]), state)[0], after, [later])[0]
        assert whole == pytest.approx(first + rest, abs=1e-3)


@torch.no_grad()
def test_units_are_scored_as_by_hand(lm):
    units, question = ["Code: X-17.", "It rains in Oslo today."], "code"
    scores = UnitScores(lm, question, FIELD, batch=1)
    ids = [lm.tokenizer.encode(unit).ids for unit in units]
    asked = lm.tokenizer.encode("\nCode:").ids
    want = [logp_by_hand(lm, unit, asked, len(unit)) / len(asked) for unit in ids]
    assert scores("likelihood", units) == pytest.approx(want, abs=1e-3)
    for unit, got in zip(ids, scores("entropy", units), strict=True):
        logits, _ = lm.model.read(torch.tensor([[*unit, *asked]]), len(unit) + len(asked), last_only=True)
        assert got == pytest.approx(-float(torch.distributions.Categorical(logits=logits[0]).entropy()), abs=1e-3)
    for unit, got in zip(ids, scores("surprisal", units), strict=True):
        assert got == pytest.approx(-logp_by_hand(lm, unit[:1], unit[1:], 0) / (len(unit) - 1), abs=1e-3)
    assert scores.tokens == sum(3 * len(unit) + 2 * len(asked) for unit in ids)
    assert UnitScores(lm, question, FIELD, batch=2)("entropy", units) == pytest.approx(
        scores("entropy", units), abs=1e-4
    )
    with refused(UnknownName, got="entropie", todo=containing("entropy")):
        scores("entropie", units)


def test_long_units_are_scored_piece_by_piece_and_come_out_the_same(lm, monkeypatch):
    units = ["Rome is old. " * 9, "R", "", "It rains in Oslo today, and more so in Bergen."]
    ids = [lm.tokenizer.encode(unit).ids for unit in units]
    whole = UnitScores(lm, "code", FIELD)("surprisal", units), next_token_entropies(lm, [row for row in ids if row])
    asked = []

    def counting(verb):
        def call(tokens, *rest, last_only=False, **more):
            asked.append(1 if last_only else tokens.shape[1])
            return verb(tokens, *rest, last_only=last_only, **more)

        return call

    monkeypatch.setattr("reread.scoring.PIECE", 5)
    for name in ("read", "extend"):
        monkeypatch.setattr(lm.model, name, counting(getattr(lm.model, name)))
    assert UnitScores(lm, "code", FIELD)("surprisal", units) == pytest.approx(whole[0], abs=1e-4)
    assert next_token_entropies(lm, [row for row in ids if row]) == pytest.approx(whole[1], abs=1e-5)
    assert whole[0][1:3] == [0.0, 0.0] and len(asked) > 10 and max(asked) == 5


def test_a_text_has_one_likelihood_whatever_the_window(lm):
    text = "Rome is old. " * 9
    ids, whole = token_logliks(lm, text, window=1000)
    assert ids == lm.tokenizer.encode(text).ids and len(whole) == len(ids) - 1
    assert sum(whole) == pytest.approx(logp_by_hand(lm, ids[:1], ids[1:], 0), abs=1e-2)
    for window in (1, 7, len(whole)):
        assert token_logliks(lm, text, window=window)[1] == pytest.approx(whole, abs=1e-3)
    assert token_logliks(lm, "", window=5) == ([], [])


def test_a_pair_is_seen_from_its_second_time_on():
    assert seen_pairs([1, 2, 1, 2, 2, 2, 2]) == [False, False, True, False, True, True]
    assert seen_pairs([7]) == seen_pairs([]) == []


@pytest.mark.parametrize("policy", ["document", "fixed(n=4)", "prompt"])
def test_questions_of_one_document_share_its_reading(lm, policy):
    documents, questions = (
        ["Applicant: Roche. Code: 3.", "Applicant: Foo. Code: 4. More."],
        ["code", "applicant", "name"],
    )
    prompts = [
        build("once", text, question, FIELD).encode(lm.tokenizer) for text in documents for question in questions
    ]
    golds = [FIELD.answer(str(i)) for i in range(6)]
    together = Reader(lm).answer(prompts, policy=policy, max_new_tokens=6, golds=golds)
    alone = [
        Reader(lm).answer([p], policy=policy, max_new_tokens=6, golds=[g])[0]
        for p, g in zip(prompts, golds, strict=True)
    ]
    assert [a.text for a in together] == [a.text for a in alone]
    assert [a.loglik for a in together] == pytest.approx([a.loglik for a in alone], abs=1e-3)
    shares = policy != "prompt" or not lm.model.noncausal_prefix
    fed, whole = sum(a.read_tokens for a in together), sum(a.read_tokens for a in alone)
    assert whole == sum(a.prompt_tokens for a in alone) and (fed < 0.7 * whole if shares else fed == whole)


@torch.no_grad()
def test_the_gold_answer_is_scored_after_the_prompt(lm):
    prompt = build("twice", "Code: X-17.", "code", FIELD).encode(lm.tokenizer)
    (answer,) = Reader(lm).answer([prompt], max_new_tokens=1, golds=[" X-17.\n"])
    want = logp_by_hand(lm, list(prompt.tokens), lm.tokenizer.encode(" X-17.\n").ids, prompt.prefix_len)
    assert answer.loglik == pytest.approx(want, abs=1e-3)


def test_rows_are_padded_on_the_right():
    tokens, mask = pad([[1, 2], [3]])
    assert tokens.tolist() == [[1, 2], [3, 0]] and mask.tolist() == [[True, True], [True, False]]


def test_prompts_of_one_document_with_different_prefixes_are_read_apart(lm):
    prompt = build("once", "Applicant: Roche. Code: 3.", "code", FIELD).encode(lm.tokenizer)
    whole, causal = (Encoded(prompt.tokens, prompt.spans, end) for end in (prompt.spans[-1][1], 0))
    golds = [FIELD.answer("3")] * 2
    together = [a.loglik for a in Reader(lm).answer([whole, causal], max_new_tokens=1, golds=golds)]
    alone = [Reader(lm).answer([p], max_new_tokens=1, golds=golds[:1])[0].loglik for p in (whole, causal)]
    assert together == pytest.approx(alone, abs=1e-3)
    assert (abs(alone[0] - alone[1]) > 1e-2) == lm.model.noncausal_prefix


def test_units_that_cost_more_than_is_allowed_are_not_read(lm):
    units, question = ["Rome is old.", "Oslo is cold."], "town"
    whole = UnitScores(lm, question, FIELD)
    whole("likelihood", units)
    assert UnitScores(lm, question, FIELD, most=whole.tokens)("likelihood", units) == whole("likelihood", units)
    short = UnitScores(lm, question, FIELD, most=10)
    with refused(BadInput, got=19, allowed=10):
        short("likelihood", units)
    assert short.tokens == 0

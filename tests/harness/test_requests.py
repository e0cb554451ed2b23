"""lm-eval's three requests: nothing leaks into the prefix, batches are single runs, texts end where they should."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from marks import slow
from raising import containing, refused

from reread.errors import BadCheckpoint, BadInput, UnknownName
from reread.models import LM
from reread.models.families import tiny
from reread.models.placed import Placed

CONTEXT = "The sky over the old town is very"
TEXTS = [" blue", " blue and calm.", " red", ".", " bluebell woods go on and on", " b"]


@pytest.fixture(params=["jrt", "causal", "mamba", *slow("llama", "recurrent_gemma")])
def lm(request, tiny_model, characters):
    own = {"jrt": True, "causal": False}
    model = tiny_model(own[request.param], vocab_size=57) if request.param in own else tiny(request.param)
    return LM(request.param, model, characters)


@pytest.fixture
def jrt(tiny_model, characters):
    return LM("jrt", tiny_model(vocab_size=57), characters)


def reread_lm(lm, **settings):
    from reread.harness import RereadLM

    return RereadLM(lm, **settings)


def ids_of(lm, text):
    return lm.tokenizer.encode(text).ids


def by_hand(lm, context, continuation, *, prefix_len):
    """Log-probabilities and greedy tokens, from one read of the context and one extension, a single row."""
    tokens = torch.tensor([context])
    with torch.no_grad():
        logits, state = lm.model.read(tokens, prefix_len, last_only=False)
        more, _ = lm.model.extend(torch.tensor([continuation]), state, last_only=False)
    logits = torch.cat((logits[0, -1:], more[0, :-1]))
    logp = logits.float().log_softmax(dim=-1)
    return logp[range(len(continuation)), continuation], logits.argmax(dim=-1).tolist()


@pytest.mark.parametrize(("policy", "batch"), [("prompt", 1), ("prompt", 8), ("none", 8), ("fixed(n=3)", 8)])
def test_loglikelihood_is_a_read_of_the_context_and_a_causal_extension(lm, request_of, policy, batch):
    contexts = [CONTEXT, "A b", CONTEXT + " Of"]
    pairs = list(itertools.product(contexts, TEXTS))
    got = reread_lm(lm, batch_size=batch, policy=policy).loglikelihood([request_of(*pair) for pair in pairs])
    for (context, text), (score, greedy) in zip(pairs, got, strict=True):
        ids, wanted = ids_of(lm, context), ids_of(lm, text)
        logp, likeliest = by_hand(
            lm, ids, wanted, prefix_len={"prompt": len(ids), "none": 0}.get(policy, min(3, len(ids)))
        )
        assert score == pytest.approx(float(logp.sum()), abs=2e-4)
        assert greedy == (likeliest == wanted)


def test_a_token_is_not_moved_by_what_follows_it(jrt, request_of):
    def score(continuation):
        return reread_lm(jrt).loglikelihood([request_of(CONTEXT, continuation)])[0][0]

    ids = ids_of(jrt, CONTEXT + " blue")
    for after in ("X", "zzz", " and the rest of it"):
        last, _ = by_hand(jrt, ids, ids_of(jrt, after), prefix_len=len(ids_of(jrt, CONTEXT)))
        assert score(" blue" + after) - float(last.sum()) == pytest.approx(score(" blue"), abs=2e-4)
    with torch.no_grad():  # the published way, everything as prefix, does move it: this test could fail
        leaking = [
            jrt.model.read(torch.tensor([ids + ids_of(jrt, after)]))[0][0, len(ids) - 2].log_softmax(-1)[ids[-1]]
            for after in ("XXX", "zzz")
        ]
    assert abs(leaking[0] - leaking[1]) > 1e-3


def test_the_greedy_continuation_is_known_as_such(jrt, request_of):
    written = [(c, greedy_text(jrt, c, 4)) for c in (CONTEXT, "A b", CONTEXT + " Of", "On and on", "xyz xyz", "Hm")]
    written = [(c, text) for c, text in written if len(text) == 4 and not c[-1].isspace()]
    assert len(written) > 2
    harness = reread_lm(jrt)
    for context, text in written:
        for place in range(4):
            other = text[:place] + ("Q" if text[place] != "Q" else "R") + text[place + 1 :]
            answers = harness.loglikelihood([request_of(context, text), request_of(context, other)])
            assert [greedy for _, greedy in answers] == [True, False]


def test_a_context_is_read_once_for_all_its_continuations(jrt, request_of, monkeypatch):
    seen = []
    read = jrt.model.read

    def counted(tokens, *args, **kwargs):
        seen.append(tokens.shape[0])
        return read(tokens, *args, **kwargs)

    monkeypatch.setattr(jrt.model, "read", counted)
    pairs = [request_of(context, text) for text in TEXTS for context in (CONTEXT, "A b")]
    reread_lm(jrt, batch_size=2).loglikelihood(pairs)
    assert seen == [2]


def test_blanks_at_the_end_of_a_context_belong_to_the_continuation(jrt, request_of):
    harness = reread_lm(jrt)
    both = harness.loglikelihood([request_of(CONTEXT + "  ", "blue"), request_of(CONTEXT, "  blue")])
    assert both[0] == both[1]


def test_an_empty_continuation_costs_nothing_and_an_empty_context_is_the_end_token(jrt, request_of):
    harness = reread_lm(jrt)
    assert harness.loglikelihood([request_of(CONTEXT, "")]) == [(0.0, True)]
    [(score, _)] = harness.loglikelihood([request_of("", CONTEXT)])
    logp, _ = by_hand(jrt, [0], ids_of(jrt, CONTEXT), prefix_len=0)
    assert score == pytest.approx(float(logp.sum()), abs=2e-4)
    assert harness.loglikelihood_rolling([request_of(CONTEXT)]) == pytest.approx([score], abs=2e-4)


@pytest.mark.parametrize("batch", [1, 8])
def test_rolling_is_the_sum_over_the_causal_logits(lm, request_of, batch):
    texts = [" ".join(TEXTS) * 5, "a", CONTEXT * 2, " ".join(TEXTS)]
    got = reread_lm(lm, batch_size=batch).loglikelihood_rolling([request_of(text) for text in texts])
    for text, score in zip(texts, got, strict=True):
        tokens = torch.tensor([[0, *ids_of(lm, text)]])
        with torch.no_grad():
            logits, _ = lm.model.read(tokens, 0, last_only=False)
        logp = logits[0, :-1].log_softmax(dim=-1)[range(tokens.shape[1] - 1), tokens[0, 1:]]
        assert score == pytest.approx(float(logp.sum()), rel=1e-5, abs=2e-4)
    from reread.scoring import PIECE

    assert len(texts[0]) > 2 * PIECE


def greedy_text(lm, context, new):
    """The raw greedy text, token by token, a single row; everything is prefix where the model can."""
    ids = ids_of(lm, context)
    written = []
    with torch.no_grad():
        logits, state = lm.model.read(torch.tensor([ids]), len(ids), last_only=True)
        while len(written) < new:
            written.append(int(logits.argmax()))
            if written[-1] == 0:
                break
            logits, state = lm.model.step(torch.tensor(written[-1:]), state)
    return lm.tokenizer.decode(written)


STOPS = [["\n"], "\n", ["e", "\n"], ["\n", " "], [" a", "\n", " b", "c"], []]


@pytest.mark.parametrize("batch", [1, 8])
def test_texts_end_before_the_first_stop_string_of_any_kind(lm, request_of, batch):
    contexts = [CONTEXT, "A b", CONTEXT + " Of", "Hm"]
    harness = reread_lm(lm, batch_size=batch)
    requests = [request_of(c, {"until": stops, "max_gen_toks": 12}) for stops in STOPS for c in contexts]
    got = harness.generate_until(requests)
    whole = {c: greedy_text(lm, c, 12) for c in contexts}
    for request, text in zip(requests, got, strict=True):
        until = request.args[1]["until"]
        assert text == first_piece(whole[request.args[0]], [until] if isinstance(until, str) else until)
    assert len(set(got)) > 3


def first_piece(raw, stops):
    return raw[: min((raw.index(stop) for stop in stops if stop in raw), default=len(raw))].strip()


@given(
    raw=st.text(alphabet="\n ab:", max_size=12),
    stops=st.lists(st.text(alphabet="\n ab:", min_size=1, max_size=3), max_size=4),
)
def test_the_first_stop_string_counts_whatever_stands_at_the_edges(raw, stops):
    from reread.harness import RereadLM

    class Scripted:
        def answer(self, prompts, *, stop, **_):
            return [SimpleNamespace(text=(raw.split(stop)[0] if stop else raw).strip()) for _ in prompts]

    harness = object.__new__(RereadLM)
    harness.reader, harness.batch_size, harness.select = Scripted(), 1, "full"
    assert harness._written([None], stops, 9) == [first_piece(raw, stops)]


def test_max_gen_toks_is_kept_for_each_request(jrt, request_of):
    never = {"until": ["never there"]}
    got = reread_lm(jrt).generate_until([request_of(CONTEXT, {**never, "max_gen_toks": n}) for n in (9, 1, 4)])
    assert got == [greedy_text(jrt, CONTEXT, n).strip() for n in (9, 1, 4)]


def test_prefix_none_reads_a_prompt_causally(jrt, request_of):
    settings = {"until": ["\n"], "max_gen_toks": 12}
    contexts = [CONTEXT, "A b", "xyz xyz xyz", "Hm", "On and on"]
    requests = [request_of(c, settings) for c in contexts]
    looking, causal = (reread_lm(jrt, policy=p).generate_until(requests) for p in ("prompt", "none"))
    assert looking != causal
    assert reread_lm(jrt, policy="none").generate_until(requests[:1]) == causal[:1]


def test_the_prefix_is_at_most_what_the_model_was_trained_with(tiny_model, characters):
    short = LM("short", tiny_model(vocab_size=57, max_prefix=8), characters)
    assert reread_lm(short)._context([3] * 20, 0).prefix_len == 8
    assert reread_lm(short)._context([3] * 5, 0).prefix_len == 5


def test_a_device_that_lm_eval_asks_for_is_said_only_where_the_model_is_elsewhere(jrt, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for asked in (None, "cpu"):
        reread_lm(jrt, device=asked)
    assert not caplog.text
    reread_lm(jrt, device="cuda:0")
    assert "the model computes on cpu" in caplog.text and "device=cuda:0 is not used" in caplog.text
    caplog.clear()
    elsewhere = LM("jrt", Placed(jrt.model, "meta"), jrt.words)
    reread_lm(elsewhere, device="meta:0")
    assert not caplog.text
    reread_lm(elsewhere, device="cpu")
    assert "the model computes on meta" in caplog.text


def test_max_length_cuts_on_the_left_and_says_how_often(jrt, request_of, caplog):
    harness = reread_lm(jrt, max_length=20)
    settings = {"until": ["\n"], "max_gen_toks": 8}
    got = harness.generate_until([request_of(CONTEXT, settings), request_of("short", settings)])
    assert got[0] == harness.generate_until([request_of(CONTEXT[-12:], settings)])[0]
    assert "1 of 2 contexts were cut on the left to fit max_length=20" in caplog.text
    scores = harness.loglikelihood([request_of(CONTEXT, " blue"), request_of(CONTEXT[-15:], " blue")])
    assert scores[0] == pytest.approx(scores[1])
    with refused(BadInput, got=20, naming="max_length"):
        harness.generate_until([request_of(CONTEXT, {"until": ["\n"], "max_gen_toks": 20})])


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({"do_sample": True}, {"got": True, "naming": "do_sample"}),
        ({"num_beams": 4}, {"got": 4, "naming": "num_beams"}),
        ({"max_gen_toks": 0}, {"got": 0, "naming": "max_gen_toks"}),
        ({"unti": ["\n"]}, {"got": "unti", "allowed": containing("until", "max_gen_toks", "do_sample")}),
    ],
)
def test_what_cannot_be_met_is_refused(jrt, request_of, settings, fields):
    with refused(BadInput, **fields):
        reread_lm(jrt).generate_until([request_of(CONTEXT, settings)])


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"policy": "context"}, UnknownName),
        ({"policy": "document"}, BadInput),
        ({"prefill": "left"}, UnknownName),
        ({"batch_size": "auto"}, BadInput),
        ({"batch_size": 0}, BadInput),
        ({"max_length": -1}, BadInput),
    ],
)
def test_wrong_settings_are_refused(jrt, settings, error):
    with pytest.raises(error):
        reread_lm(jrt, **settings)


def test_loglikelihoods_are_not_made_up_for_other_prefills(jrt, request_of):
    with refused(BadInput, got="iterate", allowed="prefill=no_pad"):
        reread_lm(jrt, prefill="iterate").loglikelihood([request_of(CONTEXT, " blue")])


def test_a_tokenizer_without_special_tokens_has_nothing_for_an_empty_context(tiny_model, byte_tokenizer, request_of):
    bare = LM("bare", tiny_model(vocab_size=256), byte_tokenizer)
    assert len(reread_lm(bare).loglikelihood([request_of("a", "b")])) == 1
    with refused(BadCheckpoint, got="bare", naming="special token"):
        reread_lm(bare).loglikelihood([request_of("", "b")])

"""The Reader: batches give what single prompts give, rows end on their own, nothing is silently cut."""

import pytest
from raising import refused

from reread.engine import FORK_BYTES, LIKE, Reader, fitting
from reread.errors import BadInput
from reread.models import LM, load_tokenizer
from reread.policies import policy as known_policy
from reread.prompting import Encoded, build, template


@pytest.fixture(params=[True, False], ids=["jrt", "causal"])
def reader(request, tiny_model):
    tokenizer = load_tokenizer("embedded")
    model = tiny_model(prefix_encoder=request.param, vocab_size=tokenizer.get_vocab_size())
    return Reader(LM("tiny", model, tokenizer))


def test_without_a_stop_the_text_is_whole(reader):
    ids = reader.lm.tokenizer.encode("one\n two").ids
    assert reader.text(ids, "") == "one\n two" and reader.text(ids, "\n") == "one"


def prompts(reader):
    texts = ["Applicant: Roche", "Code: X-17. " * 9, "Applicant: Foo\nCode: 3\n" * 4]
    form = template("field")
    return [build(s, t, "Applicant", form).encode(reader.lm.tokenizer) for t in texts for s in ("once", "twice")]


def test_a_batch_answers_as_single_prompts_do(reader):
    rows = prompts(reader)
    together = reader.answer(rows, max_new_tokens=12, batch=6)
    alone = [reader.answer([row], max_new_tokens=12)[0] for row in rows]
    assert [a.text for a in together] == [a.text for a in alone]
    assert [a.new_tokens for a in together] == [a.new_tokens for a in alone]
    assert len({a.text for a in together}) > 1


def test_answers_come_back_in_the_order_of_the_prompts(reader):
    rows = prompts(reader)
    assert [a.prompt_tokens for a in reader.answer(rows, max_new_tokens=1, batch=2)] == [len(r.tokens) for r in rows]


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_batches_hold_every_prompt_once_and_lengths_that_are_alike(batch):
    lengths = [100, 112, 113, 9, 10, 9, 200, 100, 101, 60]
    made = Reader.batches(sorted(range(len(lengths)), key=lengths.__getitem__), lengths, batch)
    assert sorted(i for chosen in made for i in chosen) == list(range(len(lengths)))
    assert all(len(chosen) <= batch for chosen in made)
    spread = [max(lengths[i] for i in chosen) / min(lengths[i] for i in chosen) for chosen in made]
    if batch == 16:
        assert [[lengths[i] for i in chosen] for chosen in made] == [
            [9, 9, 10],
            [60],
            [100, 100, 101, 112],
            [113],
            [200],
        ]
    assert max(spread) <= LIKE and (batch == 1) == (max(spread) == 1.0)


def test_rows_end_at_the_stop_string_one_by_one_and_the_others_go_on(reader):
    rows, never = prompts(reader), "no token holds this"
    whole = reader.answer(rows, stop=never, max_new_tokens=12, batch=6)
    assert {(a.new_tokens, a.ended) for a in whole} == {(12, False)}
    letters = {c for a in whole for c in a.text if c.isalnum()}
    place = {c: {a.text.find(c) for a in whole} for c in letters}
    stop = max(sorted(letters), key=lambda c: len(place[c]))
    ended = reader.answer(rows, stop=stop, max_new_tokens=12, batch=6)
    assert [a.text for a in ended] == [a.text.split(stop)[0].strip() for a in whole]
    assert len({a.new_tokens for a in ended}) > 1


def test_state_bytes_do_not_depend_on_the_document(reader):
    assert len({a.state_bytes for a in reader.answer(prompts(reader), max_new_tokens=1, batch=1)}) == 1


def test_prefix_len_is_reported_as_read(reader):
    row = prompts(reader)[0]
    expected = row.prefix_len if reader.lm.model.noncausal_prefix else 0
    assert reader.answer([row], max_new_tokens=1)[0].prefix_len == expected


def test_ask_says_what_it_cut(reader):
    _, prompt = reader.ask("word " * 300, "Applicant", budget=50, max_new_tokens=1)
    assert prompt.cut.kept_tokens <= 50
    assert "kept" in prompt.cut.says()
    _, whole = reader.ask("word " * 30, "Applicant", budget=50, max_new_tokens=1)
    assert whole.cut.says() == ""


def test_an_empty_question_is_refused(reader):
    with refused(BadInput, naming="question is empty"):
        reader.ask("Applicant: Roche", "  ")


def test_tokens_read_for_choosing_units_are_counted(reader):
    document = "Applicant: Roche. Code: X-17. Class: II."
    by_words, _ = reader.ask(document, "Code", strategy="selective(k=1, by=first)", max_new_tokens=1)
    by_model, prompt = reader.ask(document, "Code", strategy="selective(k=1, by=entropy)", max_new_tokens=1)
    assert by_words.read_tokens == by_words.prompt_tokens
    assert by_model.read_tokens > by_model.prompt_tokens == len(prompt.encode(reader.lm.tokenizer).tokens)


POLICIES = (
    "prompt", "document", "none", "fixed(n=9)", "share(r=0.25)", "entropy(thresholds=0.5+0.7)", "question_aware",
    "entropy(of=model, thresholds=0.5, tokens=16)",
)  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
def test_every_row_of_a_batch_has_a_prefix_of_its_own(reader, policy):
    rows, golds = prompts(reader), [" Roche\n"] * 6
    together = reader.answer(rows, policy=policy, max_new_tokens=4, batch=6, golds=golds)
    alone = [reader.answer([row], policy=policy, max_new_tokens=4, golds=golds[:1])[0] for row in rows]
    assert [a.text for a in together] == [a.text for a in alone]
    assert [a.prefix_len for a in together] == [a.prefix_len for a in alone]
    assert [a.loglik for a in together] == pytest.approx([a.loglik for a in alone], abs=1e-3)
    chosen = [c.prefix_len for c in known_policy(policy).choose(rows, reader.lm)]
    assert [a.prefix_len for a in together] == (chosen if reader.lm.model.noncausal_prefix else [0] * 6)


def test_a_policy_changes_what_a_looking_model_reads_and_what_it_asks_is_counted(reader):
    rows, golds = prompts(reader)[:2], [" Roche\n"] * 2
    whole, none, asked = (
        reader.answer(rows, policy=p, max_new_tokens=1, golds=golds, batch=1) for p in ("prompt", "none", POLICIES[-1])
    )
    looks = reader.lm.model.noncausal_prefix
    assert (abs(whole[0].loglik - none[0].loglik) > 1e-2) == looks
    more = [a.read_tokens - w.read_tokens for a, w in zip(asked, whole, strict=True)]
    assert more == ([min(16, len(row.tokens)) for row in rows] if looks else [0, 0])


def test_a_policy_and_iterate_do_not_go_together(reader):
    one = Reader(reader.lm, prefill="iterate")
    if reader.lm.model.noncausal_prefix:
        with refused(BadInput, got="none", naming="iterate"):
            one.answer(prompts(reader)[:1], policy="none", max_new_tokens=1)
    assert one.answer(prompts(reader)[:1], policy="prompt", max_new_tokens=1)


def test_ask_takes_a_policy(reader):
    answer, _ = reader.ask("word " * 30, "Applicant", policy="fixed(n=3)", max_new_tokens=1)
    assert answer.prefix_len == (3 if reader.lm.model.noncausal_prefix else 0)


def test_long_prompts_are_read_in_smaller_batches():
    assert Reader.batches([0, 1, 2, 3], [5000, 5100, 5200, 16_400], 16) == [[0, 1, 2], [3]]
    assert Reader.batches([0, 1, 2], [8000, 8192, 8200], 16) == [[0, 1], [2]]
    assert Reader._groups([[0, 1], [2], [3]], [10, 11, 20, 16_400], 16) == [[[0, 1], [2]], [[3]]]
    assert Reader._groups([[0], [1], [2]], [10, 20, 30], 2) == [[[0], [1]], [[2]]]


@pytest.mark.parametrize("limit", [1, 2**30])
def test_documents_of_unequal_length_answered_together_answer_as_each_alone(reader, monkeypatch, limit):
    monkeypatch.setattr("reread.engine.FORK_BYTES", limit)
    heads = [Encoded(row.tokens, row.spans, len(row.tokens)) for row in prompts(reader)]
    tails = [[[7], [8, 9]]] * len(heads)
    together = reader.answer_forks(heads, tails, max_new_tokens=6)
    alone = [reader.answer_forks([head], [tails[0]], max_new_tokens=6)[0] for head in heads]
    assert [[a.text for a in row] for row in together] == [[a.text for a in row] for row in alone]
    for row, one in zip(together, alone, strict=True):
        assert [a.logprob for a in row] == pytest.approx([a.logprob for a in one], abs=1e-3)
        assert [(a.read_tokens, a.prefix_len) for a in row] == [(a.read_tokens, a.prefix_len) for a in one]


@pytest.mark.parametrize(
    ("most", "size", "n"), [(64, 1, 64), (64, FORK_BYTES // 4, 4), (64, 2 * FORK_BYTES, 1), (9, 0, 9)]
)
def test_large_states_are_answered_a_few_together(most, size, n):
    assert fitting(most, size) == n

"""The official client asks, whole and streamed, and is told of mistakes by its own exceptions."""

import math

import openai
import pytest
from local_server import CONTRACT, ROOT

from reread.engine import Reader

TEXT = CONTRACT.read_text(encoding="utf-8")
FIELDS = ["Governing law", "Notice period", "Who signed for the client?", "Site"]


@pytest.fixture(scope="module")
def client(served):
    with served.openai() as one:
        yield one


def ask(client, question, document=None, **more):
    options = {"document": document} if document else {}
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(
        model="embedded",
        messages=more.pop("messages", messages),
        extra_body={"reread": {**options, **more.pop("ways", {})}},
        **more,
    )


def test_the_model_is_listed(client, served):
    (one,) = client.models.list().data
    assert (one.id, one.owned_by) == ("embedded", "reread")
    assert client.models.retrieve("embedded").model_extra["fingerprint"] == served.desk.reader.lm.model.fingerprint


@pytest.mark.parametrize("question", FIELDS)
def test_a_document_that_was_read_is_asked_as_by_the_command(client, served, contract, question):
    want = served.desk.session(contract["id"]).ask([question])[0]
    got = ask(client, question, contract["id"])
    assert got.choices[0].message.content == want.text
    assert got.choices[0].finish_reason == "stop"
    assert got.usage.prompt_tokens == want.prompt_tokens and got.usage.completion_tokens == want.new_tokens
    assert got.usage.total_tokens == want.prompt_tokens + want.new_tokens
    assert got.usage.prompt_tokens_details.cached_tokens == contract["tokens"]
    assert got.system_fingerprint == served.desk.reader.lm.model.fingerprint
    told = got.model_extra["reread"]
    assert told["document"] == contract["id"] and told["state_bytes"] == want.state_bytes
    assert told["confidence"] == pytest.approx(want.confidence, abs=1e-3)
    assert told["read_tokens"] == want.read_tokens and told["prefix_len"] == contract["prefix_len"]


@pytest.mark.parametrize("question", FIELDS[:2])
def test_a_stream_is_the_whole_answer_in_pieces(client, contract, question):
    whole = ask(client, question, contract["id"])
    chunks = list(ask(client, question, contract["id"], stream=True, stream_options={"include_usage": True}))
    pieces = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert "".join(pieces) == whole.choices[0].message.content and len(pieces) > 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert chunks[-2].model_extra["reread"]["document"] == contract["id"]
    assert len({c.id for c in chunks}) == 1
    assert all(c.usage is None for c in ask(client, question, contract["id"], stream=True))


@pytest.mark.parametrize(
    "ways",
    [{}, {"strategy": "twice"}, {"strategy": "question_first", "policy": "none"}, {"budget": 100}, {"window": "head"}],
)
def test_a_document_that_is_sent_is_asked_as_by_the_command(client, served, ways):
    want, prompt = Reader(served.desk.reader.lm).ask(TEXT, "Notice period", **ways)
    messages = [{"role": "system", "content": TEXT}, {"role": "user", "content": "Notice period"}]
    got = ask(client, "", messages=messages, ways=ways)
    assert got.choices[0].message.content == want.text
    assert got.usage.prompt_tokens == want.prompt_tokens and got.usage.prompt_tokens_details.cached_tokens == 0
    told = got.model_extra["reread"]
    assert (told["strategy"], told["prefix_len"], told["cut"]) == (prompt.strategy, want.prefix_len, prompt.cut.says())
    assert sum(part["tokens"] for part in told["parts"]) == want.prompt_tokens
    again = [part for part in told["parts"] if part["role"] == "repeat"]
    assert len(again) == (ways.get("strategy") == "twice")
    assert all(part["text"] and part["text"] in TEXT for part in again)


def test_what_a_strategy_reads_to_choose_is_counted(client, served):
    pytest.importorskip("nupunkt")
    ways = {"strategy": "selective(k=1, unit=line, by=likelihood)"}
    want, _ = Reader(served.desk.reader.lm).ask(TEXT, "Notice period", **ways)
    messages = [{"role": "user", "content": TEXT}, {"role": "user", "content": "Notice period"}]
    told = ask(client, "", messages=messages, ways=ways)
    assert told.choices[0].message.content == want.text
    assert told.model_extra["reread"]["read_tokens"] == pytest.approx(want.read_tokens) and want.read_tokens > 800


def test_a_question_is_asked_of_the_document_alone(client, contract):
    """Turns before it are not shown to the model, and that is said."""
    before = [{"role": "user", "content": "Site"}, {"role": "assistant", "content": "Mill Lane, Harrowby"}]
    got = ask(client, "", contract["id"], messages=[*before, {"role": "user", "content": "Governing law"}])
    assert got.choices[0].message.content == ask(client, "Governing law", contract["id"]).choices[0].message.content
    assert got.model_extra["reread"]["messages_not_shown"] == 2
    assert ask(client, "Governing law", contract["id"]).model_extra["reread"]["messages_not_shown"] == 0


def test_a_completion_goes_on_from_the_prompt_as_it_stands(client, served, contract):
    prompt = TEXT + "\nGoverning law:"
    got = client.completions.create(model="embedded", prompt=prompt, stop="\n", max_tokens=20)
    assert got.choices[0].text == " England and Wales" and got.choices[0].finish_reason == "stop"
    assert got.usage.prompt_tokens == len(served.desk.tokens(prompt))
    streamed = client.completions.create(model="embedded", prompt=prompt, stop="\n", max_tokens=20, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == got.choices[0].text
    short = client.completions.create(model="embedded", prompt=prompt, max_tokens=1)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 1
    from_state = client.completions.create(
        model="embedded", prompt="\nGoverning law:", stop=["\n"], extra_body={"reread": {"document": contract["id"]}}
    )
    assert from_state.choices[0].text == got.choices[0].text
    assert from_state.usage.prompt_tokens_details.cached_tokens == contract["tokens"]


def test_several_prompts_are_several_choices(client):
    prompts = [TEXT + "\nSite:", TEXT + "\nTerm:", "x"]
    got = client.completions.create(model="embedded", prompt=prompts, stop="\n", max_tokens=12)
    alone = [client.completions.create(model="embedded", prompt=one, stop="\n", max_tokens=12) for one in prompts]
    assert [c.text for c in got.choices] == [a.choices[0].text for a in alone]
    assert [c.index for c in got.choices] == [0, 1, 2]
    assert got.usage.prompt_tokens == sum(a.usage.prompt_tokens for a in alone)
    streamed = ["", "", ""]
    for chunk in client.completions.create(model="embedded", prompt=prompts, stop="\n", max_tokens=12, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [c.text for c in got.choices]


def test_stop_cuts_the_answer_also_within_a_token_and_across_tokens(client, contract):
    whole = ask(client, "Governing law", contract["id"]).choices[0].message.content
    assert whole == "England and Wales"
    for stop, left in (("land", "Eng"), (["d W", "zzz"], "England an"), ("England and Wales", ""), ("\n\n", whole)):
        got = ask(client, "Governing law", contract["id"], stop=stop)
        assert (got.choices[0].message.content, got.choices[0].finish_reason) == (left, "stop")
        chunks = ask(client, "Governing law", contract["id"], stop=stop, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == left


def test_draws_are_those_of_their_seed(quick):
    with quick.openai() as client:

        def drawn(**more):
            got = client.completions.create(model="tiny", prompt="Some text.", max_tokens=12, **more)
            return got.choices[0].text

        assert drawn() == drawn(temperature=0, seed=3)
        assert drawn(temperature=1.0, seed=3) == drawn(temperature=1.0, seed=3)
        assert len({drawn(temperature=1.5, seed=i) for i in range(5)}) == 5
        assert drawn(temperature=2.0, top_p=1e-6, seed=1) == drawn()
        assert len({drawn(temperature=2.0) for _ in range(4)}) > 1


def test_max_tokens_end_an_answer_and_say_so(quick):
    with quick.openai() as client:
        for name in ("max_tokens", "max_completion_tokens"):
            got = client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": "A document."}, {"role": "user", "content": "Field"}],
                **{name: 3},
            )
            assert got.usage.completion_tokens <= 3
            assert (got.choices[0].finish_reason == "length") == (got.usage.completion_tokens == 3)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (openai.NotFoundError, lambda c, d: c.chat.completions.create(model="gpt", messages=[])),
        (openai.NotFoundError, lambda c, d: ask(c, "Site", "0" * 24 + "-" + "0" * 16)),
        (openai.NotFoundError, lambda c, d: c.models.retrieve("gpt")),
        (openai.NotFoundError, lambda c, d: c.embeddings.create(model="embedded", input="x")),
        (openai.BadRequestError, lambda c, d: ask(c, "Site")),
        (openai.BadRequestError, lambda c, d: ask(c, "  ", d)),
        (openai.BadRequestError, lambda c, d: ask(c, "Site", d, max_tokens=100_000)),
        (openai.BadRequestError, lambda c, d: ask(c, "Site", d, n=2)),
        (openai.BadRequestError, lambda c, d: ask(c, "Site", d, temperature=3)),
        (openai.BadRequestError, lambda c, d: ask(c, "Site", d, ways={"budget": 5})),
        (openai.BadRequestError, lambda c, d: ask(c, "Site", d, ways={"strategy": "twise"})),
        (openai.ConflictError, lambda c, d: ask(c, "Site", d, ways={"strategy": "twice(cue=False)"})),
        (openai.BadRequestError, lambda c, d: c.completions.create(model="embedded", prompt="")),
    ],
)
def test_mistakes_are_the_clients_own_exceptions(client, contract, kind, call):
    with pytest.raises(kind) as told:
        call(client, contract["id"])
    assert set(told.value.body) == {"message", "type", "param", "code"}
    assert told.value.body["message"].endswith((".", "?")) and told.value.code


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (openai.BadRequestError, {"ways": {"budget": 5}}),
        (openai.ConflictError, {"ways": {"strategy": "repeat(cue=False, n=3)"}}),
        (openai.BadRequestError, {"temperature": 3}),
    ],
)
def test_a_mistake_in_a_stream_is_an_error_before_it_begins(client, contract, kind, more):
    with pytest.raises(kind):
        ask(client, "Site", contract["id"], stream=True, **more)


def test_confidence_is_the_geometric_mean(client, contract):
    told = ask(client, "Site", contract["id"]).model_extra["reread"]
    assert 0 < told["confidence"] <= 1 and math.isfinite(told["confidence"])


def test_the_examples_of_the_readme_folder_can_be_asked(client, served):
    text = (ROOT / "examples" / "datasheet.txt").read_text(encoding="utf-8")
    read = served.read(text, name="datasheet.txt")
    want = served.desk.session(read["id"]).ask(["Order number"])[0].text
    assert ask(client, "Order number", read["id"]).choices[0].message.content == want != ""

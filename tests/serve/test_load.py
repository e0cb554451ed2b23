"""Under load: 200 requests at once are answered as each is alone, streamed or not, greedy or drawn."""

import asyncio
import random

import openai
import pytest
from tokenizers import Tokenizer, decoders, models

from reread.models import LM
from reread.models.families import tiny as tiny_family

TEXTS = [
    f"Applicant: Firm {i}. Product code: {'ABCDEFGH'[i] * 3}. Decided on the {i}rd of May. {'More. ' * i}"
    for i in range(4)
]
QUESTIONS = ["Applicant", "Product code", "Who decided?", "When was it decided on?"]


def requests(ids):
    """Forty different ones: of documents that were read, of ones that are sent, completions, drawn and greedy."""
    made = []
    for i in range(40):
        document, question = i % 4, QUESTIONS[(i // 4) % 4]
        drawn = {"temperature": 1.2, "top_p": 0.9, "seed": i} if i % 3 == 0 else {}
        limits: dict = {"max_tokens": 4 + i % 9}
        if i % 4 == 1:
            limits["stop"] = ["\x19\x19", "T"]
        if i % 5 == 0:
            prompt = TEXTS[document] + f"\n{question}:"
            made.append(("completions", {"prompt": prompt, **limits, **drawn}))
        elif i % 5 < 3:
            ask = {"messages": [{"role": "user", "content": question}]}
            made.append(("chat", {**ask, "extra_body": {"reread": {"document": ids[document]}}, **limits, **drawn}))
        else:
            ask = {"messages": [{"role": "system", "content": TEXTS[document]}, {"role": "user", "content": question}]}
            ways = {"strategy": ["once", "twice", "question_first"][i % 3], "policy": ["prompt", "document"][i % 2]}
            made.append(("chat", {**ask, "extra_body": {"reread": ways}, **limits, **drawn}))
    return made


async def answer(client, kind, request, stream):
    """(text, why it ended, tokens)."""
    create = client.chat.completions.create if kind == "chat" else client.completions.create
    if not stream:
        got = await create(model="tiny", **request)
        text = got.choices[0].message.content if kind == "chat" else got.choices[0].text
        return text, got.choices[0].finish_reason, got.usage.prompt_tokens, got.usage.completion_tokens
    text, finish, usage = "", None, None
    async for chunk in await create(model="tiny", stream=True, stream_options={"include_usage": True}, **request):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += (choice.delta.content if kind == "chat" else choice.text) or ""
            finish = choice.finish_reason or finish
    return text, finish, usage.prompt_tokens, usage.completion_tokens


@pytest.mark.slow
@pytest.mark.parametrize(("count", "settings"), [(200, {}), (80, {"concurrency": 3})])
def test_200_at_once_are_answered_as_each_alone(serving, count, settings):
    with serving(**settings) as served:
        made = requests([served.read(text)["id"] for text in TEXTS])

        async def run():
            limits = openai.DefaultAsyncHttpxClient(timeout=120)
            async with served.openai(openai.AsyncOpenAI, http_client=limits) as client:
                alone = [await answer(client, kind, request, False) for kind, request in made]
                many = [i % 40 for i in range(count)]
                random.Random(0).shuffle(many)
                streams = [place % 2 == 0 for place in range(count)]
                asked = [answer(client, *made[i], stream) for i, stream in zip(many, streams, strict=True)]
                return alone, many, await asyncio.gather(*asked)

        alone, many, together = asyncio.run(run())
        assert len(set(alone)) > 30 and {one[1] for one in alone} == {"stop", "length"}
        assert together == [alone[i] for i in many]
        assert served.metric("reread_writing") == 0 == served.metric("reread_waiting")


@pytest.mark.parametrize("family", ["llama", "mamba2"])
def test_models_of_transformers_are_served_alike(serving, family):
    """States that grow with the text and states that do not; documents of several lengths, asked together."""
    letters = [chr(code) for code in range(32, 127)] + ["\n"]
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    with serving(LM("tiny", tiny_family(family), tokenizer)) as served:
        ids = [served.read(text)["id"] for text in TEXTS[:3]]
        asked = [(ids[i % 3], QUESTIONS[i % 4], {"max_tokens": 5 + i % 3}) for i in range(12)]

        async def run():
            async with served.openai(openai.AsyncOpenAI) as client:

                def one(id, question, limits):
                    request = {"messages": [{"role": "user", "content": question}], **limits}
                    return answer(client, "chat", {**request, "extra_body": {"reread": {"document": id}}}, False)

                return [await one(*each) for each in asked], await asyncio.gather(*(one(*each) for each in asked))

        alone, together = asyncio.run(run())
        assert together == alone and len(set(alone)) > 6


def test_documents_are_read_once_though_many_send_them_at_once(serving):
    with serving() as served:

        async def run():
            async with openai.DefaultAsyncHttpxClient(base_url=served.url, timeout=60) as client:
                sent = [client.post("/v1/documents", json={"text": TEXTS[i % 4]}) for i in range(24)]
                return [got.json() for got in await asyncio.gather(*sent)]

        got = asyncio.run(run())
        assert len({one["id"] for one in got}) == 4 and sum(not one["already_there"] for one in got) == 4
        assert len(list(served.desk.store.folder.glob("*.safetensors"))) == 4


def test_answers_join_one_that_is_being_written(serving):
    """A short answer does not wait for a long one to end."""
    with serving(max_tokens=100_000) as served, served.openai() as client:
        long = client.completions.create(model="tiny", prompt="Write.", max_tokens=30_000, stream=True)
        next(iter(long))
        short = client.completions.create(model="tiny", prompt="Write.", max_tokens=5)
        assert short.usage.completion_tokens == 5
        assert served.metric("reread_writing") == 1
        long.close()

"""Texts that a server writes under a tokenizer with a dummy blank and BOS: streamed or whole, every blank in place."""

import dummy_blanks
import pytest
import torch

from reread.models import load
from reread.prompting import special_ids, token_ids

PROMPTS = [*dummy_blanks.LINES[:3], "code", "The"]


def written(lm, prompt: str, new: int) -> str:
    """The greedy text after a prompt, decoded with the prompt and cut behind it."""
    ids = [*special_ids(lm.tokenizer).start, *lm.tokenizer.encode(prompt, add_special_tokens=False).ids]
    found = list(ids)
    with torch.inference_mode():
        while len(found) < len(ids) + new and (len(found) == len(ids) or found[-1] != 3):
            found.append(int(lm.model.read(torch.tensor([found]), 0, last_only=True)[0].argmax()))
    decoded = lm.tokenizer.decode(found)
    assert decoded.startswith(prompt)
    return decoded[len(prompt) :]


@pytest.mark.parametrize("name", ["llama", "first", "gemma"])
def test_streams_and_whole_answers_keep_their_blanks(serving, tmp_path, monkeypatch, name):
    monkeypatch.setattr("reread.sessions.own_state_dtype", lambda model: "fp32")  # random weights: ties are close
    folder = dummy_blanks.model_folder(tmp_path / "m", dummy_blanks.KINDS[name](), seed=5)
    lm = load(folder)
    with serving(lm) as served:
        client, texts = served.openai(), []
        for prompt in PROMPTS:
            want = written(lm, prompt, 8)
            asked = {"model": "m", "prompt": prompt, "max_tokens": 8, "temperature": 0}
            whole = client.completions.create(**asked)
            pieces = [one.choices[0].text for one in client.completions.create(**asked, stream=True) if one.choices]
            assert whole.choices[0].text == "".join(pieces) == want
            assert whole.usage.prompt_tokens == len(token_ids(prompt, lm.tokenizer, first=True)) + 1
            texts.append(want)
        assert any(text.startswith(" ") for text in texts)
        read = served.read(dummy_blanks.LINES[1])
        assert [part["role"] for part in read["parts"]] == ["bos", "document"]
        assert sum(part["tokens"] for part in read["parts"]) == read["tokens"]
        chat = [{"role": "user", "content": "What is the rent?"}]
        reread = {"reread": {"document": read["id"]}}
        stored = client.chat.completions.create(model="m", messages=chat, extra_body=reread)
        fresh = [{"role": "system", "content": dummy_blanks.LINES[1]}, *chat]
        again = client.chat.completions.create(model="m", messages=fresh)
        assert stored.choices[0].message.content == again.choices[0].message.content
        assert [part["role"] for part in again.model_extra["reread"]["parts"]] == ["bos", "document", "question"]

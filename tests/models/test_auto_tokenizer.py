"""transformers' AutoTokenizer reads the tokenizers that we ship and write, and gives the same ids."""

import json
from importlib import resources
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from reread.models import load_tokenizer
from reread.training.tokenizer import CONFIG, save_tokenizer
from reread.training.trainer import export

ASSETS = Path(str(resources.files("reread") / "assets"))
TEXTS = [
    "Hello 123, x=4.5\n  Zwei  W\u00f6rter.", "a <|end|> b", "<|mask|>", " lead", "A. B ,  C !", "don't  's \u00a0x",
    "\u65e5\u672c\u8a9e \U0001f600", "",
]  # fmt: skip


def same_as_ours(folder):
    theirs, ours = AutoTokenizer.from_pretrained(folder), load_tokenizer()
    for text in TEXTS:
        ids = ours.encode(text, add_special_tokens=False).ids
        assert theirs(text)["input_ids"] == ids and theirs.decode(ids) == text == ours.decode(ids)
    end = ours.token_to_id("<|end|>")
    assert (theirs.eos_token, theirs.eos_token_id, theirs.pad_token_id) == ("<|end|>", end, end)
    assert theirs.mask_token_id == ours.token_to_id("<|mask|>") and len(theirs) == ours.get_vocab_size()
    assert theirs.decode([end], skip_special_tokens=True) == ""


@pytest.mark.parametrize("name", ["small-jrt", "small-causal", "tokenizer"])
def test_a_shipped_folder(name):
    same_as_ours(ASSETS / name)
    assert (ASSETS / name / "tokenizer.json").read_bytes() == (ASSETS / "tokenizer" / "tokenizer.json").read_bytes()
    assert json.loads((ASSETS / name / "tokenizer_config.json").read_text()) == CONFIG


def test_what_training_writes(tmp_path, tiny_model):
    export(tiny_model(vocab_size=load_tokenizer().get_vocab_size()), load_tokenizer(), tmp_path)
    same_as_ours(tmp_path)


def test_a_tokenizer_that_is_saved_alone(tmp_path):
    save_tokenizer(load_tokenizer(), tmp_path)
    same_as_ours(tmp_path)

"""Byte-level tokenizers have no dummy blank and give no BOS: their ids are those of commit 729150a."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from reread.models import load_tokenizer
from reread.prompting import STRATEGIES, Example, build, cut, template, token_ids, units

TEXTS = [
    "Applicant: Roche Diagnostics. Product code: DEW.",
    " a leading blank",
    "   three blanks",
    "trailing blank ",
    "\n\nTwo newlines\n",
    "\tA tab",
    "Größe: 12,5 µm; façade; 12 345",
    "日本語のテキスト",
    "emoji 🙂🙂 end",
    "'s a clitic, it's",
    "(x) [y] {z} <s> </s> <|end|> ▁under",
    "a" * 50,
    " ",
    "1234567890",
    "A one. B two.\n\nC three. D four. E five.\n\n# F\n\nG six.",
]
DOCUMENT = "# One\n\nThe code is DEW. The rent is 2,450 pounds.\n\n# Two\n\nIt ends in May. Größe: 5 µm." * 3
GOLDEN = {
    "embedded": "5d9730aa9eec14ff000d7ad9aa1ae1c935b4e052801e7e296f5ce3ce7aa6818d",
    "gpt2": "bb8fd81f4a1ff1cf5b6f572a72c3d0ce3c97011cca718c9035afff231700435e",
}


def tokenizer_of(name: str) -> Tokenizer:
    if name == "embedded":
        return load_tokenizer()
    folder = Path(os.environ.get("REREAD_DATA", "")) / "tokenizer_gpt2"
    if not (folder / "vocab.bpe").is_file():
        pytest.skip("needs tokenizer_gpt2 in the folder that REREAD_DATA names")
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "encoder.json"), str(folder / "vocab.bpe")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def ids_of_everything(tokenizer: Tokenizer) -> list:
    """Ids of texts, prompts of every strategy, windows of documents and units."""
    found: list = [token_ids(text, tokenizer) for text in TEXTS]
    examples = lambda: [Example("A one.", "one", "A"), Example("B two.", "two", "B")]  # noqa: E731
    score = lambda by, units: [float(len(unit)) for unit in units]  # noqa: E731
    for name in sorted(STRATEGIES):
        for form in ("field", "question", "cloze"):
            made = build(
                name, DOCUMENT, "code", template(form), tokenizer=tokenizer, score=score, examples=examples
            ).encode(tokenizer)
            found.append([list(made.tokens), [list(span) for span in made.spans], made.prefix_len])
    for budget in (1, 7, 20, 1000):
        for window in ("head", "answer_centered"):
            if budget > 1 or window == "head":
                one = cut(DOCUMENT, tokenizer, budget, window, ["rent"])
                found.append([one.text, one.start, one.end, one.kept_tokens, one.document_tokens])
    found.append([list(span) for span in units(DOCUMENT, "window(16)", tokenizer)])
    return found


@pytest.mark.parametrize("name", ["embedded", "gpt2"])
def test_ids_under_byte_level_tokenizers_are_as_before(name):
    found = json.dumps(ids_of_everything(tokenizer_of(name)))
    assert hashlib.sha256(found.encode()).hexdigest() == GOLDEN[name]

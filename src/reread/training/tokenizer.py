"""The byte-level BPE tokenizer of the embedded models, trained on the training text.

Digits stand alone, so that a number is copied digit by digit however it was merged elsewhere.
Special tokens: <|end|> (also padding) and <|mask|> (input of the masked-token loss).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from reread.errors import BadInput
from reread.training.corpus import corpus

END, MASK = "<|end|>", "<|mask|>"


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token.  Raises BadInput when the tokenizer has none of that name."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise BadInput("the tokenizer lacks a special token", got=token, todo="make one with: reread tokenizer")
    return number


def train_tokenizer(samples: Iterator[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of that many entries, specials included."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, MASK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(samples, trainer)
    return tokenizer


CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "eos_token": END,
    "pad_token": END,
    "mask_token": MASK,
    "split_special_tokens": True,  # "<|end|>" written in a document is text, not the end
    "clean_up_tokenization_spaces": False,
}
"""What AutoTokenizer of transformers needs beside tokenizer.json to give the ids that reread gives."""


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")


SAMPLE = {
    "text/fda510k-00.jsonl.xz": 14_000_000,
    "text/fda510k-01.jsonl.xz": 6_000_000,
    "text/wiki-00.jsonl.xz": 8_000_000,
    "text/imdb-00.jsonl.xz": 5_000_000,
    "text/gutenberg-00.jsonl.xz": 4_000_000,
    "fda_510k/train_docs.jsonl.xz": 3_000_000,
}


def sample_texts(data: Path) -> Iterator[str]:
    """The training text that the embedded tokenizer was made from: file and characters in SAMPLE."""
    for name, characters in SAMPLE.items():
        for _, text in corpus(data / name, characters):
            yield text

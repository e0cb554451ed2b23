"""Answers that are written from a document's substrings, against a plain search for them."""

import random
import re

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from reread.copying import Copy, Source, token_bytes
from reread.decoding import Decoding, Row, Sampling
from reread.models.families import tiny

TEXT = "Invoice no. FT 2025/417\nTotal:  2,450 pounds,\n\tdue on 3 May. Naïve café."


@pytest.fixture(scope="module")
def tokenizer():
    """Byte-level BPE with some merges, so that a word has several tokenisations, and tokens that hold the line end."""
    letters = sorted(set(pre_tokenizers.ByteLevel.alphabet()))
    extra = [
        "Ġ2",
        "45",
        "Ġ2,",
        "450",
        "ĠT",
        "otal",
        "Ġnot",
        "Ġfound",
        ".Ċ",
        "sĊĊ",
        "ĠFT",
        "FT",
        "Ġ20",
        "caf",
        "Ġdue",
        "Ġno",
    ]
    vocab = {word: i for i, word in enumerate([*letters, *extra])}
    made = Tokenizer(models.BPE(vocab, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(["<|end|>"])
    return made


def ends(tokenizer):
    return [i for i, word in enumerate(token_bytes(tokenizer)) if b"\n" in word or not word]


@pytest.fixture(scope="module")
def source(tokenizer):
    return Source(TEXT, tokenizer, ends(tokenizer), "\n", ("not found",))


def may_be(words, whole):
    """Whether words can begin (whole: be) an answer: substrings of whole words, or a phrase."""
    plain = " ".join(TEXT.split())
    words = words.removeprefix(b" ") if words.startswith(b" ") else words
    if words == b"not found" or (not whole and b"not found".startswith(words)):
        return True
    data = plain.encode()
    for at in range(len(data)):
        if not data.startswith(words, at):
            continue
        try:
            head = data[:at].decode()
        except UnicodeDecodeError:  # within a letter
            continue
        try:
            own, tail = words.decode(), data[at + len(words) :].decode()
        except UnicodeDecodeError:
            if whole:
                continue
            own, tail = (words + data[at + len(words) :]).decode(), ""
        cut_before = bool(re.search(r"\w\Z", head) and re.match(r"\w", own or tail))
        cut_after = bool(re.search(r"\w\Z", own) and re.match(r"\w", tail))
        if not cut_before and not (whole and cut_after):
            return True
    return False


def test_what_may_be_written_is_what_stands_in_the_document(tokenizer, source):
    words, draw, written = token_bytes(tokenizer), random.Random(0), set()
    for _ in range(60):
        row, text = Copy(source), draw.choice([b"", b" not found", b"Total: 2,45", b" 2,4", b"Na"])
        for byte in text:
            row.add(words.index(bytes([byte])))
        for _ in range(14):
            allowed = set(row.ids())
            assert allowed
            for token, word in enumerate(words):
                if b"\n" in word or not word:
                    head = text + word.split(b"\n")[0]
                    want = bool(head.strip()) and may_be(head, True)
                elif not text and word == b" ":
                    want = True
                else:
                    want = may_be(text + word, False) and b"  " not in text + word
                if (token in allowed) != want:
                    assert (text, word, token in allowed) == (text, word, want)
            token = draw.choice(sorted(allowed))
            if token in source.ends:
                text += words[token].split(b"\n")[0]
                break
            row.add(token)
            text += words[token]
        else:
            continue
        assert may_be(text, True)
        written.add(text.strip().decode())
    assert len(written) > 5


class Wanting:
    """A model whose logits want a text, whatever was written."""

    config = None

    def __init__(self, size, wanted):
        self.size, self.wanted, self.at = size, wanted, 0

    def logits(self):
        made = torch.zeros(1, self.size)
        made[0, self.wanted[min(self.at, len(self.wanted) - 1)]] = 9.0
        return made

    def step(self, tokens, state):
        self.at += 1
        return self.logits(), state


class Nothing:
    def rows(self, places):
        return self


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (" 2,450 pounds\n", "2,450 pounds"),
        (" 2,4\n", "2,450"),  # a number is not cut
        (" 2,9\n", "2,450"),  # and goes on as the document does
        (" not found\n", "not found"),
        ("café\n", "café"),
        (" 2,450 pounds, due on\n", "2,450 pounds, due on"),  # over a line end
    ],
)
def test_a_row_writes_what_the_model_wants_as_far_as_the_document_has_it(tokenizer, source, wanted, got):
    ids = tokenizer.encode(wanted).ids
    model = Wanting(tokenizer.get_vocab_size(), ids)
    row = Row(frozenset(source.ends), 40, rule=source.start())
    decoding = Decoding(model)
    decoding.join([row], model.logits(), Nothing())
    while decoding.rows:
        decoding.write()
        decoding.go_on()
    assert tokenizer.decode(row.ids).strip().startswith(got[:4]) and row.ended
    text = tokenizer.decode(row.ids).split("\n")[0].replace("<|end|>", "").strip()
    assert text == got or may_be(text.encode(), True)
    assert got != "2,450 pounds" or text == got


def test_rows_without_a_rule_and_the_probability_are_unchanged(tokenizer, source):
    model = tiny("llama")
    logits = torch.randn(2, tokenizer.get_vocab_size(), generator=torch.Generator().manual_seed(0))
    free, held = Row(frozenset(), 1), Row(frozenset(), 1, rule=source.start())
    drawn = Row(frozenset(), 1, Sampling(1.0, seed=1), rule=source.start())
    decoding = Decoding(model)
    decoding.rows, decoding.logits = [free, held, drawn], torch.cat((logits[:1], logits[:1], logits[:1]))
    decoding.write()
    assert free.ids == [int(logits[0].argmax())]
    allowed = source.start().ids()
    assert held.ids == [max(allowed, key=lambda i: float(logits[0, i]))] and drawn.ids[0] in allowed
    for row in (free, held, drawn):
        assert row.logprob == pytest.approx(float(logits[0].log_softmax(-1)[row.ids[0]]), abs=1e-5)

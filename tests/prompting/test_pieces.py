"""Long texts are tokenised piece by piece, and that changes no token, no window and no count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.models import load_tokenizer
from reread.prompting import cut, pieces
from reread.prompting.pieces import encoded, token_count, token_ids

TEXT = (
    "A. Applicant:\tRoche  Diagnostics, Inc.\r\n\r\n  B.\u00a0Product code: DEW (don't)\n"
    "Größe: 12,5 µm; 価格は千円です。 🙂🙂  end\n"
) * 9
WORDS = st.lists(
    st.sampled_from(["a", "Word", " ", "  ", "\n", "\t", "\u00a0", "é", "🙂", "千円", "12", ".", "'s"]), max_size=80
)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded")


@pytest.fixture
def small(monkeypatch):
    """small(n): pieces of n characters."""
    return lambda n: monkeypatch.setattr(pieces, "PIECE", n)


@pytest.mark.parametrize("size", [1, 7, 40, 1000, 10**6])
def test_pieces_are_the_text_and_none_is_too_long(small, size):
    small(size)
    found = list(pieces.pieces(TEXT))
    assert "".join(piece for _, piece in found) == TEXT and all(0 < len(piece) <= size for _, piece in found)
    assert all(TEXT[at:].startswith(piece) for at, piece in found)
    assert (len(found) == 1) == (size >= len(TEXT)) and not list(pieces.pieces(""))


@given(words=WORDS)
def test_a_text_has_the_tokens_of_its_pieces(tokenizer, words):
    text = "".join(words)
    whole = tokenizer.encode(text, add_special_tokens=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", 12)
        if all(at == 0 or text[at].isspace() for at, _ in pieces.pieces(text)):
            assert token_ids(text, tokenizer) == whole.ids and token_count(text, tokenizer) == len(whole)
            offsets = [(at + a, at + b) for at, one in encoded(text, tokenizer) for a, b in one.offsets]
            assert offsets == whole.offsets


@pytest.mark.parametrize("window", ["head", "answer_centered"])
@pytest.mark.parametrize("budget", [5, 100, 10**4])
def test_a_window_is_the_same_in_pieces(small, tokenizer, window, budget):
    whole = cut(TEXT, tokenizer, budget, window, ["µm"])
    small(40)
    assert cut(TEXT, tokenizer, budget, window, ["µm"]) == whole


def test_a_long_text_is_never_encoded_at_once_nor_under_the_lock(small, tokenizer):
    lengths = []

    class Seen:
        def encode_batch(self, texts, **how):
            lengths.extend(map(len, texts))
            return tokenizer.encode_batch(texts, **how)

        def __getattr__(self, name):  # what is asked of the tokenizer's parts
            return getattr(tokenizer, name)

    small(40)
    assert token_count(TEXT, Seen()) == len(tokenizer.encode(TEXT, add_special_tokens=False))
    assert sum(lengths) == len(TEXT) and max(lengths) <= 40

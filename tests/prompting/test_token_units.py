"""Units of a text as spans of its tokens."""

import pytest
from raising import refused

from reread.errors import UnknownName
from reread.models import load_tokenizer
from reread.prompting.segment import units
from reread.prompting.token_units import token_starts, token_units

TEXT = (
    "Document: H\u00e9 \u6f22\u5b57 \U0001f642\U0001f642 b.\n\nSecond paragraph here. It has two sentences.\n"
    "And a line.\n\n\n Third one.  "
)


@pytest.fixture(params=["embedded", "bytes"])
def tokenizer(request, byte_tokenizer):
    return load_tokenizer() if request.param == "embedded" else byte_tokenizer


def test_tokens_begin_where_the_tokenizer_says(tokenizer):
    encoded = tokenizer.encode(TEXT, add_special_tokens=False)
    text, starts = token_starts(encoded.ids, tokenizer)
    assert text == TEXT and starts == sorted(starts) and starts[0] == 0
    complete = 0  # characters of the longest beginning that ends with a character
    for i in range(len(encoded.ids)):
        before = tokenizer.decode(encoded.ids[:i])
        complete = complete if before.endswith("\ufffd") else len(before)
        assert TEXT.startswith(before.rstrip("\ufffd")) and starts[i] == complete
    assert token_starts([], tokenizer) == ("", [])


@pytest.mark.parametrize("unit", ["section", "paragraph", "line", "sentence", "window(4)"])
@pytest.mark.parametrize("overlap", [0.0, 0.3])
def test_units_tile_the_tokens_and_hold_their_words(tokenizer, unit, overlap):
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    found = token_units(ids, unit, tokenizer, overlap)
    assert [one.start for one in found] == [0, *(one.end for one in found[:-1])] and found[-1].end == len(ids)
    if not unit.startswith("window"):
        want = [TEXT[start:end].strip() for start, end in units(TEXT, unit)]
        assert [tokenizer.decode(ids[one.start : one.end]).strip() for one in found] == want
    for one in found:
        before, own = tokenizer.decode(ids[one.early : one.start]), tokenizer.decode(ids[one.start : one.end])
        assert one.early <= one.start and len(before) <= overlap * len(own) + 2  # a token may begin with a blank
    assert any(one.early < one.start for one in found) == (overlap > 0 and len(found) > 1)


def test_a_text_without_units_is_one_and_no_text_has_none(tokenizer):
    ids = tokenizer.encode("  ", add_special_tokens=False).ids
    (one,) = token_units(ids, "sentence", tokenizer)
    assert (one.early, one.start, one.end) == (0, 0, len(ids)) and token_units([], "sentence", tokenizer) == []
    with refused(UnknownName, got="chapter"):
        token_units(ids, "chapter", tokenizer)

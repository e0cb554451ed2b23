"""A document that is read in parts: all of it, with texts that overlap."""

import itertools

import pytest
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models import load_tokenizer
from reread.options import check_ask_options
from reread.prompting import PARTS, cut, cut_parts, token_ids

TEXT = "  " + " ".join(f"Clause {i} names the firm Varn-{i * 37} and Düsseldorf." for i in range(60)) + "\n"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.mark.parametrize("budget", [1, 7, 64, 200])
def test_parts_hold_all_of_a_document_and_overlap(tokenizer, budget):
    text = TEXT if budget > 1 else "  One firm.\n"
    parts = cut_parts(text, tokenizer, budget)
    assert len(parts) > 2
    for part in parts:
        assert part.text == text[part.start : part.end] and part.window == PARTS
        assert 0 < part.kept_tokens == len(token_ids(part.text, tokenizer)) <= budget
        assert part.dropped_tokens == 0 and part.says() == ""
    assert parts[0].start == len(text) - len(text.lstrip()) and parts[-1].end == len(text.rstrip())
    for one, after in itertools.pairwise(parts):
        assert one.start < after.start and one.end < after.end
        shared = token_ids(text[after.start : one.end], tokenizer)
        assert after.start <= one.end or not text[one.end : after.start].strip()
        assert len(shared) >= budget // 8 - 2


def test_an_answer_across_an_end_is_whole_in_a_part(tokenizer):
    value = "Varn-370 and Düsseldorf"
    for budget in range(190, 230):
        assert any(value in part.text for part in cut_parts(TEXT, tokenizer, budget))


def test_a_document_that_fits_is_one_part(tokenizer):
    (one,) = cut_parts(TEXT, tokenizer, 10**6)
    assert one.text == TEXT.strip() and one.kept_tokens == one.document_tokens


def test_what_is_refused(tokenizer):
    with refused(BadInput, got=0):
        cut_parts(TEXT, tokenizer, 0)
    with refused(BadInput, naming="no text"):
        cut_parts(" \n", tokenizer, 9)
    with refused(UnknownName, got=PARTS):
        cut(TEXT, tokenizer, 9, PARTS)
    asked = {"strategy": "once", "policy": "prompt", "budget": None, "prefill": "no_pad"}
    check_ask_options("Who?", window=PARTS, **asked)
    with refused(UnknownName, got="tail", allowed=containing("head", PARTS)):
        check_ask_options("Who?", window="tail", **asked)

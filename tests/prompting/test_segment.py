"""Units tile any text exactly; overlaps begin earlier; scores choose as they say."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.prompting import units
from reread.prompting.ranking import best, bm25, scores
from reread.prompting.segment import overlapping

NAMES = ("section", "paragraph", "line", "sentence", "window(7)")
TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n\n- one\n- two\n\n\n1. Intro\nText. More text!\n\nB) NEXT\nEnd"
pieces = st.sampled_from(
    ["word", ". ", "\n", "\n\n", " \n \n", "# H\n", "1.2. X", "CAPITALS HERE\n", "\r\n", "\t", "é", "🙂", "|"]
)
texts = st.one_of(st.text(max_size=80), st.lists(pieces, max_size=30).map("".join))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=texts, unit=st.sampled_from(NAMES))
@example(text=TABLE, unit="section")
@example(text="x" * 5000, unit="sentence")
@example(text="\n\n  \n", unit="paragraph")
def test_units_tile_any_text(byte_tokenizer, text, unit):
    spans = units(text, unit, byte_tokenizer)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(start < end for start, end in spans)
    if text.strip():
        assert all(text[start:end].strip() for start, end in spans)


def shown(text, unit, tokenizer=None):
    return [text[start:end].strip() for start, end in units(text, unit, tokenizer)]


def test_units_are_what_their_names_say(byte_tokenizer):
    text = "# One\n\nAnna came at 5 p.m. today. Dr. Who left.\n\n2. TWO\nIt rains."
    assert shown(text, "section") == ["# One\n\nAnna came at 5 p.m. today. Dr. Who left.", "2. TWO\nIt rains."]
    assert shown(text, "paragraph") == ["# One", "Anna came at 5 p.m. today. Dr. Who left.", "2. TWO\nIt rains."]
    assert shown(text, "line") == ["# One", "Anna came at 5 p.m. today. Dr. Who left.", "2. TWO", "It rains."]
    assert "Anna came at 5 p.m. today." in shown(text, "sentence") and "Dr. Who left." in shown(text, "sentence")
    assert [len(x.encode()) for x in (text[a:b] for a, b in units(text, "window(10)", byte_tokenizer))][:3] == [10] * 3


def test_a_window_never_cuts_a_character(byte_tokenizer):
    assert "".join(shown("🙂🙂🙂", "window(3)", byte_tokenizer)) == "🙂🙂🙂"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=texts, unit=st.sampled_from(NAMES[:4]), share=st.floats(0, 0.5))
def test_an_overlapping_unit_begins_earlier_and_ends_where_it_did(text, unit, share):
    spans = units(text, unit)
    for (start, end), (early, late) in zip(spans, overlapping(text, spans, share), strict=True):
        assert late == end and max(0, start - share * (end - start)) <= early <= start


def test_an_overlap_begins_at_a_word():
    text = "alpha beta gamma. delta epsilon zeta eta."
    ((_, _), (early, end)) = overlapping(text, units(text, "sentence"), 0.4)
    assert text[early:end] == "gamma. delta epsilon zeta eta."


@pytest.mark.parametrize("share", [-0.1, 0.6])
def test_an_overlap_outside_its_range_is_refused(share):
    with refused(BadInput, got=share, naming="0 to 0.5"):
        overlapping("a b", [(0, 3)], share)


def test_unknown_units_and_windows_without_a_tokenizer_are_refused(byte_tokenizer):
    with refused(UnknownName, got="sentences", todo=containing("sentence")):
        units("a", "sentences")
    for unit, tokenizer in (("window(5)", None), ("window(0)", byte_tokenizer)):
        with refused(BadInput, got=unit):
            units("a", unit, tokenizer)


def test_bm25_prefers_the_unit_that_holds_the_rare_word():
    found = ["the cat sat", "the code is here", "the cat and the dog"]
    assert best(bm25(found, "what is the code"), 1) == [1]
    assert bm25(found, "zebra") == [0.0, 0.0, 0.0]


def test_places_and_choices():
    five = list("abcde")
    assert [best(scores(by, five, "q", None), 2) for by in ("first", "last", "middle")] == [[0, 1], [3, 4], [1, 2]]
    assert best([1.0, 3.0, 2.0], 2) == [1, 2] and best([1.0, 3.0, 2.0], 1, worst=True) == [0]
    assert best(scores("middle", "abcdefghi", "q", None), 1) == [4]
    assert scores("random", five, "q", None) == scores("random", five, "q", None) != scores("random", five, "p", None)
    assert scores("entropy", five, "q", lambda by, units: range(5)) == [0, 1, 2, 3, 4]


def test_a_score_by_a_model_needs_one():
    with refused(BadInput, allowed=containing("bm25", "random"), naming="entropy"):
        scores("entropy", ["a"], "q", None)
    with refused(UnknownName, got="bm26", todo=containing("bm25")):
        scores("bm26", ["a"], "q", None)


def test_bm25_counts_a_word_that_is_asked_twice_twice():
    once, twice = bm25(["beta", "alpha"], "beta alpha alpha")
    assert twice > once

"""Text shown while tokens come is never taken back, and in the end is what the whole answer is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reread.serve.writing import Writing


def shown(tokenizer, ids, stops, strip):
    """The pieces, and the ids that were needed."""
    writing, pieces = Writing(tokenizer, stops, strip=strip), []
    for n in range(1, len(ids) + 1):
        pieces.append(writing.see(ids[:n], last=n == len(ids)))
        if writing.stopped:
            break
    assert "".join(pieces) == writing.text
    return writing, pieces


def first_stop(text, stops):
    """The text before the stop that is whole first, character by character."""
    for n in range(len(text) + 1):
        found = [place for place in (text[:n].find(stop) for stop in stops) if place >= 0]
        if found:
            return text[: min(found)]
    return text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.text(alphabet="ab \n\té€😀", max_size=30),
    st.lists(st.text(alphabet="ab \né", min_size=1, max_size=3), max_size=3),
    st.booleans(),
)
def test_the_pieces_are_the_text_before_the_first_stop(byte_tokenizer, text, stops, strip):
    writing, _ = shown(byte_tokenizer, byte_tokenizer.encode(text).ids, stops, strip)
    wanted = first_stop(text, stops)
    assert writing.text == (wanted.strip() if strip else wanted)


def test_half_a_character_and_half_a_stop_are_held_back(byte_tokenizer):
    writing, pieces = shown(byte_tokenizer, byte_tokenizer.encode("a€END").ids, ["ENDE"], False)
    assert pieces == ["a", "", "", "€", "", "", "END"]
    assert writing.text == "a€END" and not writing.stopped
    writing, pieces = shown(byte_tokenizer, byte_tokenizer.encode("abENDc").ids, ["END"], False)
    assert pieces == ["a", "b", "", "", ""] and writing.stopped


@pytest.mark.parametrize("text", ["  a b  ", "\n", "", " x"])
def test_strip_is_that_of_the_whole(byte_tokenizer, text):
    assert shown(byte_tokenizer, byte_tokenizer.encode(text).ids, [], True)[0].text == text.strip()


def test_bytes_that_are_no_text_are_shown_at_the_end(byte_tokenizer):
    ids = [byte_tokenizer.encode("€").ids[0], byte_tokenizer.encode("a").ids[0], byte_tokenizer.encode("€").ids[0]]
    writing, pieces = shown(byte_tokenizer, ids, [], False)
    assert pieces == ["", "\ufffda", "\ufffd"] and writing.text == byte_tokenizer.decode(ids)

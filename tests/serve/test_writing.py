"""Text shown while tokens come is never taken back, and in the end is what the whole answer is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reread.serve.writing import Writing


def shown(tokenizer, ids, stops, end=""):
    """The pieces, and the ids that were needed."""
    writing, pieces = Writing(tokenizer, stops, end=end), []
    for n in range(1, len(ids) + 1):
        pieces.append(writing.see(ids[:n], last=n == len(ids)))
        if writing.stopped:
            break
    assert "".join(pieces) == writing.text
    return writing, pieces


def first_stop(text, stops, end=""):
    """The text before the stop that is whole first, character by character; stops begin after leading space."""
    first = len(text) - len(text.lstrip()) if end else 0
    for n in range(len(text) + 1):
        places = [text[:n].find(stop, first) for stop in stops] + ([text[:n].find(end)] if end else [])
        found = [place for place in places if place >= 0]
        if found:
            return text[: min(found)]
    return text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.text(alphabet="ab \n\té€😀", max_size=30),
    st.lists(st.text(alphabet="ab \né", min_size=1, max_size=3), max_size=3),
    st.sampled_from(["", "\n", "\n\n", "b"]),
)
def test_the_pieces_are_the_text_before_the_first_stop(byte_tokenizer, text, stops, end):
    writing, _ = shown(byte_tokenizer, byte_tokenizer.encode(text).ids, stops, end)
    wanted = first_stop(text, stops, end)
    assert writing.text == (wanted.strip() if end else wanted)


@pytest.mark.parametrize(
    ("text", "stops", "end", "wanted"),
    [
        (" 14 March 2025\n", [" "], "\n", "14"),
        (" 14 March 2025\n", [" "], "", ""),
        (" 14 March 2025\n", [" March"], "\n", "14"),
        ("\n14", [" "], "\n", ""),
        ("  \n", [" "], "\n", ""),
    ],
)
def test_a_stop_of_the_client_is_not_the_space_before_an_answer(byte_tokenizer, text, stops, end, wanted):
    assert shown(byte_tokenizer, byte_tokenizer.encode(text).ids, stops, end)[0].text == wanted


def test_half_a_character_and_half_a_stop_are_held_back(byte_tokenizer):
    writing, pieces = shown(byte_tokenizer, byte_tokenizer.encode("a€END").ids, ["ENDE"])
    assert pieces == ["a", "", "", "€", "", "", "END"]
    assert writing.text == "a€END" and not writing.stopped
    writing, pieces = shown(byte_tokenizer, byte_tokenizer.encode("abENDc").ids, ["END"])
    assert pieces == ["a", "b", "", "", ""] and writing.stopped


@pytest.mark.parametrize("text", ["  a b  ", "\n", "", " x"])
def test_strip_is_that_of_the_whole(byte_tokenizer, text):
    assert shown(byte_tokenizer, byte_tokenizer.encode(text).ids, [], "END")[0].text == text.strip()


def test_bytes_that_are_no_text_are_shown_at_the_end(byte_tokenizer):
    ids = [byte_tokenizer.encode("€").ids[0], byte_tokenizer.encode("a").ids[0], byte_tokenizer.encode("€").ids[0]]
    writing, pieces = shown(byte_tokenizer, ids, [])
    assert pieces == ["", "\ufffda", "\ufffd"] and writing.text == byte_tokenizer.decode(ids)

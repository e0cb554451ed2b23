"""The text layer: what a model is shown of any text, and where each character of it stood."""

import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reread.documents.text import clean, cleaned, folded, one_line

LINES = ["Total area: 794 pieces", "Early interest: XW-759", "Local material: SE-5767"]


@pytest.mark.parametrize(
    "end", ["\r\n", "\r", "\r\r\n", "\f", "\v", "\x85", "\u2028", "\u2029", "\x1c", "\x1d", "\x1e", " \r\n", "\t\n"]
)
def test_every_line_end_is_a_line_feed(end):
    assert clean(end.join(LINES)) == "\n".join(LINES)
    assert clean("".join(line + end for line in LINES)) == "".join(line + "\n" for line in LINES)


@pytest.mark.parametrize("blank", ["\xa0", "\t", " \t ", "\t\t", "\u202f", "\u2009", "\u3000", "\u205f", "\u1680"])
def test_every_blank_within_a_line_is_a_blank(blank):
    assert clean(f"Early interest:{blank}XW-759") == "Early interest: XW-759"


def test_plain_blanks_within_a_line_stay_and_those_at_its_end_do_not():
    assert clean("a  b   c  \n  d\n\n\n e") == "a  b   c\n  d\n\n\n e"
    assert clean("\tif x:\n\t\ty") == "    if x:\n        y"


def test_blanks_after_a_colon_are_one():
    assert clean("Early interest:      XW-759") == "Early interest: XW-759"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_two_columns_with_a_tab_are_labels_and_values(end):
    found = cleaned(end.join(["Total area\t794 pieces", "Early interest\t\tXW-759", "Local material:\tSE-5767"]))
    assert found.text == "\n".join(LINES)
    start = found.text.index("XW-759")
    assert found.original[slice(*found.span(start, start + 6))] == "XW-759"
    for other in ("alone\tx", "a\tb\tc\nd\te\tf", "\tx\n\ty", "a\tb\nprose\nc\td"):
        assert ":" not in clean(other)


def test_a_full_width_colon_in_text_of_ascii_is_a_colon():
    assert clean("Early interest：XW-759\nB： 2") == "Early interest: XW-759\nB: 2"
    assert clean("価格コード：XW-759") == "価格コード：XW-759"


@pytest.mark.parametrize("unseen", ["\xad", "\u200b", "\u2060", "\ufeff", "\u200e", "\u202a", "\u2068", "\x07", "\x9b"])
def test_what_cannot_be_seen_goes(unseen):
    assert clean(f"{unseen}Early inte{unseen}rest:{unseen} {unseen}XW-7{unseen}59{unseen}") == "Early interest: XW-759"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("XW\u200d-7\u200c59 a\u200db \u200dc", "XW-759 ab c"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_joiners_stay_where_they_join(text, found):
    assert clean(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Cafe\u0301", "Caf\xe9"),
        ("\u212bngstr\xf6m", "\xc5ngstr\xf6m"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),
        ("o\ufb03ce \ufb01le \ufb02ow", "office file flow"),
        ("\ufefb", "\u0644\u0627"),
        ("\ud83d\ude00", "😀"),
        ("a\ud83d b\ude00", "a\ufffd b\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("ＸＷ－７５９ ½ ①", "ＸＷ－７５９ ½ ①"),
        ("\u0915\u093c", "\u0915\u093c"),
    ],
)
def test_characters_are_those_that_are_meant(text, found):
    assert clean(text) == found


CHARACTERS = st.one_of(
    st.characters(),
    st.sampled_from(" \t\n\r\xa0\u200b\u200d\xad\u0301e\u0327\u1112\u1161\u11ab\u2028👨क़ि\ud83d\ude00ﬁ"),
)


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(text=st.lists(CHARACTERS, max_size=30).map("".join))
@example(text="a \u200b\nb")
@example(text="e\u200d\u0301")
def test_clean_text_is_clean_and_every_character_leads_back(text):
    found = cleaned(text)
    assert unicodedata.is_normalized("NFC", found.text) and clean(found.text) == found.text
    assert found.text.splitlines() == found.text.removesuffix("\n").split("\n") or found.text in ("", "\n")
    spans = [found.span(place, place + 1) for place in range(len(found.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)


def test_an_answer_is_found_again_in_the_text_as_it_came():
    text = "\ufeffTotal area:\t794\r\nEarly in\xadterest:\xa0XW\u200b-759\r\n  Ort: Zu\u0308rich\r\n"
    found = cleaned(text)
    for value, was in (("XW-759", "XW\u200b-759"), ("794", "794"), ("Zürich", "Zu\u0308rich"), ("Ort", "Ort")):
        start = found.text.index(value)
        begin, end = found.span(start, start + len(value))
        assert text[begin:end] == was
    assert found.line(text.index("Ort")) == 3 and found.line(0) == 1
    assert found.span(5, 5) == (6, 6)


def test_clean_text_is_itself_and_has_no_steps():
    text = "Applicant: Roche — größer\n\n  * 한글 😀\n"
    assert cleaned(text).text is text and cleaned(text).steps == ()


@pytest.mark.parametrize(
    "part", ["x ", " ", "\t", "e\u0301", "v\xa0\r\n", "汉", "\u200d", "\ud800", " \xa0x", "\u0301"]
)
def test_time_is_in_proportion_to_the_length(part):
    def seconds(times):
        began = time.process_time()
        clean(part * times)
        return time.process_time() - began

    few = min(seconds(5_000) for _ in range(3))
    assert min(seconds(40_000) for _ in range(2)) < 24 * few + 0.3  # a square would be 64 times


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ＸＷ－７５９", "xw-759"),
        ("Straße", "STRASSE"),
        ("İstanbul", "istanbul"),
        ("o\ufb03ce", "OFFICE"),
        ("ｶﾞｲﾄﾞ", "ガイド"),
        ("Cafe\u0301", "CAFÉ"),
        ("early\u00adinterest", "EarlyInterest"),
    ],
)
def test_texts_that_are_compared_are_folded(one, other):
    assert folded(one) == folded(other)
    assert folded("resume") != folded("résumé")


def test_one_line():
    assert one_line("\u200b Early\xa0\r\ninterest \t") == "Early interest"

"""What is asked is one thing, however people write it."""

import pytest

from reread.prompting import is_question, label_in, plain_question, template_for, units
from reread.prompting.ranking import best, bm25, words

WAYS = [
    "Early interest", "Early interest:", "Early interest :", " Early\xa0interest:\t", "**Early interest**",
    "**Early interest:**", "**Early interest**:", "*Early interest*", "_Early interest_", "__Early interest__:",
    "`Early interest`", "***Early interest***", "Early interest：", "Early interest﹕", "# Early interest",
    "## Early interest:", "- Early interest", "- **Early interest:**", "* Early interest", "> Early interest",
    "| Early interest |", "Early inte\u00adrest", "\u200bEarly interest", "Early\r\ninterest", "Early interest::",
]  # fmt: skip


@pytest.mark.parametrize("asked", WAYS)
def test_a_label_is_one_label_in_every_way_of_writing(asked):
    assert plain_question(asked) == "Early interest" and template_for(asked) == "field"


@pytest.mark.parametrize(
    "asked",
    ["Ratio a:b", "10:30", "snake_case_name", "5 * 3 * 2", "**a** and **b**", "***", "::", "a*", "C#", "p < 0.05*"],
)  # fmt: skip
def test_what_is_no_mark_stays(asked):
    assert plain_question(asked) == asked


@pytest.mark.parametrize("end", ["?", "？", "؟", "﹖", "‽", "? ", "？\xa0"])
def test_question_marks_of_all_kinds_end_a_question(end):
    assert is_question(f"Which code{end}") and template_for(f"Which code{end}") == "question"
    assert plain_question(f"**Which code{end.strip()}**") == f"Which code{end.strip()}"


DOCUMENT = "Intro: the early interest.\n  Early Interest : XW-759\nSTRASSE: x\nAPPLICANT\nRoche\nPreis-Code：7"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("early interest", "Early Interest"),
        ("EARLY INTEREST", "Early Interest"),
        ("Ｅａｒｌｙ interest", "Early Interest"),
        ("Straße", "STRASSE"),
        ("applicant", "APPLICANT"),
        ("preis-code", "Preis-Code"),
        ("interest", "Interest"),
        ("Product", "Product"),
        ("Early interest?", "Early interest?"),
        ("(", "("),
    ],
)
def test_a_label_is_asked_as_the_document_spells_it(asked, found):
    assert label_in(asked, DOCUMENT) == found


def test_a_label_that_the_document_has_as_it_is_asked_stays():
    assert label_in("Code", "CODE: 1\nCode: 2") == "Code"


@pytest.mark.parametrize(
    ("asked", "unit"),
    [
        ("Straße", "STRASSE 7"),
        ("office", "o\ufb03ce hours"),
        ("ＣＯＤＥ", "code"),
        ("istanbul", "İstanbul"),
        ("Cafe\u0301", "CAFÉ"),
        ("ガイド", "ｶﾞｲﾄﾞ"),
        ("हिन्दी", "हिन्दी भाषा"),
        ("soft", "so\u00adft ware"),
    ],
)
def test_bm25_finds_words_in_whatever_form(asked, unit):
    assert best(bm25(["nothing of it", "other things", unit], asked), 1) == [2]
    assert bm25(["x", unit], asked)[1] > 0


def test_a_mark_does_not_cut_a_word():
    assert words("हिन्दी किताब") == ["हिन्दी", "किताब"] and words("汉字 ไทย") == list("汉字ไทย")
    assert words("a_b x1 Y-2") == ["a_b", "x1", "y", "2"]


@pytest.mark.parametrize(
    "sentences",
    [
        ["これは文です。", "次の文！", "最後？"],
        ["यह पहला वाक्य है। ", "यह दूसरा है।"],
        ["هل هذا سؤال؟ ", "نعم هو۔"],
        ["「文です。」", "次です。"],
        ["Dr. Who came. ", "He left."],
    ],
)
def test_sentences_end_as_their_script_ends_them(sentences):
    text = "".join(sentences)
    assert [text[start:end] for start, end in units(text, "sentence")] == sentences


@pytest.mark.parametrize("end", ["\r\n", "\r", "\u2028", "\x85", "\f"])
def test_lines_and_paragraphs_end_at_every_line_end(end):
    text = f"one{end}two{end}{end}three"
    assert [text[a:b].strip() for a, b in units(text, "line")] == ["one", "two", "three"]
    assert len(units(text, "paragraph")) == 2
    assert "".join(text[a:b] for a, b in units(text, "line")) == text

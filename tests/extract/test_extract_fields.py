"""fields.json is taken whole or refused in one sentence; readings show what they say."""

from types import SimpleNamespace

import pytest

from reread.errors import BadInput, RereadError, UnknownName
from reread.extract import field_values
from reread.fields import READINGS, Field, check_reading, fields_of, reading
from reread.models import load_tokenizer
from reread.prompting import TEMPLATES, Cut

TEXT = "Applicant: Roche.\nCode: DEW."
SHOWN = Cut(TEXT, "head", 0, len(TEXT), 9, 9)
FIELDS = (Field("a", "Applicant"), Field("who", "Who applies?"), Field("c", "Product code"))


def test_names_and_objects_are_fields():
    found = fields_of('["Applicant", {"name": " code ", "ask": "Product code"}, {"name": "x", "threshold": 1}]', "f")
    assert found == (Field("Applicant", "Applicant"), Field("code", "Product code"), Field("x", "x", 1.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[1,", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "must hold a list"),
        ('"Applicant"', "must hold a list"),
        ("[]", "an empty list"),
        ("[3]", "field 1 is neither a name nor an object"),
        ("[null]", "field 1 is neither"),
        ('["a", ["b"]]', "field 2 is neither"),
        ("[{}]", "field 1 has no name"),
        ('[{"ask": "A"}]', "field 1 has no name"),
        ('[{"name": 3}]', "the name of field 1 must be words"),
        ('["  "]', "the name of field 1 must be words"),
        ('[{"name": "a", "ask": ""}]', "the question of field 1 must be words"),
        ('[{"name": "a", "ask": null}]', "the question of field 1 must be words"),
        ('["a\\nb"]', "not one line"),
        (f'["{"a" * 201}"]', "too long"),
        ('[{"name": "a", "threshold": "1"}]', "the threshold of field 1 is no probability"),
        ('[{"name": "a", "threshold": true}]', "no probability"),
        ('[{"name": "a", "threshold": 1.5}]', "no probability"),
        ('[{"name": "a", "threshold": NaN}]', "no probability"),
        ('["a", "a"]', "the name of field 2 is taken"),
        ('["a", "a_found"]', "'a_found' is a column of field 1"),
        ('["error"]', "a column that every row has"),
        ('[{"name": "a", "name": "b"}]', "names something twice"),
    ],
)
def test_a_mistake_is_one_sentence(text, said):
    with pytest.raises(BadInput) as caught:
        fields_of(text, "fields.json")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'ask'"):
        fields_of('[{"name": "a", "asks": "b"}]', "f")


def test_shared_reads_the_document_once_and_schema_names_every_field_between_two_copies():
    (once,) = reading("shared")[1](SHOWN, FIELDS, load_tokenizer())
    assert once.prompt.text == TEXT and once.asked == (0, 1, 2)
    (listed,) = reading("schema")[1](SHOWN, FIELDS, load_tokenizer())
    middle = "\nInformation about Applicant, Product code.\nWho applies?\n"
    assert listed.prompt.text == TEXT + middle + TEXT and listed.asked == (0, 1, 2)
    assert [part.role for part in listed.prompt.parts] == ["document", "cue", "repeat", "question"]


def test_each_has_a_prompt_per_field_that_names_it():
    heads = reading("each(strategy=question_first)")[1](SHOWN, FIELDS, load_tokenizer())
    assert [head.asked for head in heads] == [(0,), (1,), (2,)]
    cues = ["Information about Applicant.\n", "Who applies?\n", "Information about Product code.\n"]
    assert [head.prompt.text for head in heads] == [cue + TEXT for cue in cues]


def test_readings_parse_back_and_are_tried_before_any_document():
    for name in (*READINGS, "shared(strategy=twice(cue=False))", "each(strategy=question_first)"):
        assert check_reading(check_reading(name, load_tokenizer()), load_tokenizer()) == str(reading(name)[0])
    for wrong in (
        "shraed",
        "shared(strategy=twice)",
        "schema(strategy=once)",
        "each(strategy=twise)",
        "each(",
        "each(3)",
    ):
        with pytest.raises(RereadError):
            check_reading(wrong, load_tokenizer())


def test_fields_and_questions_end_alike():
    """One batch answers both, so both forms must stop at the same text."""
    assert TEMPLATES["field"].stop == TEMPLATES["question"].stop


@pytest.mark.parametrize(
    ("text", "confidence", "own", "found"),
    [
        ("x", 0.5, None, True),
        ("x", 0.49, None, False),
        ("x", 0.6, 0.7, False),
        ("x", 0.7, 0.7, True),
        ("", 1.0, 0.0, False),
    ],
)
def test_a_value_is_found_from_its_threshold_on_and_nothing_is_no_value(text, confidence, own, found):
    values = SimpleNamespace(answers=(SimpleNamespace(text=text, confidence=confidence, ended=True),))
    told = field_values(values, [Field("Code", "Code", own)], 0.5)
    assert told == {"Code": {"value": text if found else None, "confidence": confidence, "found": found}}


def test_a_value_that_came_to_no_end_is_not_found_however_sure_every_token_was():
    values = SimpleNamespace(answers=(SimpleNamespace(text="Anna: Anna: Anna", confidence=0.98, ended=False),))
    told = field_values(values, [Field("Customer", "Customer", 0.0 + 1e-9)], 0.5)
    assert told == {"Customer": {"value": None, "confidence": 0.0, "found": False}}

"""fields.json is taken whole or refused in one sentence; readings show what they say."""

from types import SimpleNamespace

import pytest
from raising import containing, refused

from reread.errors import BadInput, RereadError, UnknownName
from reread.extract import field_values
from reread.fields import READINGS, Field, check_reading, fields_of, reading
from reread.models import load_tokenizer
from reread.models.lora import Manifest
from reread.prompting import TEMPLATES, Cut

TEXT = "Applicant: Roche.\nCode: DEW."
SHOWN = Cut(TEXT, "head", 0, len(TEXT), 9, 9)
FIELDS = (Field("a", "Applicant"), Field("who", "Who applies?"), Field("c", "Product code"))


def test_names_and_objects_are_fields():
    found = fields_of('["Applicant", {"name": " code ", "ask": "Product code"}, {"name": "x", "threshold": 1}]', "f")
    assert found == (Field("Applicant", "Applicant"), Field("code", "Product code"), Field("x", "x", 1.0))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", {"naming": ("fields.json", "line 1 column 1")}),
        ("[1,", {"naming": ("fields.json", "line 1 column 4")}),
        ("[" * 100_000, {"naming": ("fields.json", "recursion")}),
        ("{}", {"got": "dict", "naming": "fields.json"}),
        ('"Applicant"', {"got": "str", "naming": "fields.json"}),
        ("[]", {"got": containing("empty"), "naming": "fields.json"}),
        ("[3]", {"got": "3", "naming": "field 1"}),
        ("[null]", {"got": "null", "naming": "field 1"}),
        ('["a", ["b"]]', {"got": '["b"]', "naming": "field 2"}),
        ("[{}]", {"got": containing("empty"), "naming": "field 1"}),
        ('[{"ask": "A"}]', {"got": "ask", "naming": "field 1"}),
        ('[{"name": 3}]', {"got": "3", "naming": "name of field 1"}),
        ('["  "]', {"got": '"  "', "naming": "name of field 1"}),
        ('[{"name": "a", "ask": ""}]', {"got": '""', "naming": "question of field 1"}),
        ('[{"name": "a", "ask": null}]', {"got": "null", "naming": "question of field 1"}),
        ('["a\\nb"]', {"got": "a\nb", "todo": containing("one line"), "naming": "field 1"}),
        (f'["{"a" * 201}"]', {"got": "a" * 60, "todo": containing("200"), "naming": "field 1"}),
        ('[{"name": "a", "threshold": "1"}]', {"got": '"1"', "allowed": "0 to 1", "naming": "field 1"}),
        ('[{"name": "a", "threshold": true}]', {"got": "true", "allowed": "0 to 1", "naming": "field 1"}),
        ('[{"name": "a", "threshold": 1.5}]', {"got": "1.5", "allowed": "0 to 1", "naming": "field 1"}),
        ('[{"name": "a", "threshold": NaN}]', {"got": "NaN", "allowed": "0 to 1", "naming": "field 1"}),
        ('["a", "a"]', {"got": "a", "naming": ("field 2", "column of field 1")}),
        ('["a", "a_found"]', {"got": "a_found", "naming": ("field 2", "column of field 1")}),
        ('["error"]', {"got": "error", "naming": ("field 1", "column")}),
        ('[{"name": "a", "name": "b"}]', {"got": "name", "naming": "twice"}),
    ],
)
def test_a_mistake_is_one_sentence(text, fields):
    with refused(BadInput, **fields) as caught:
        fields_of(text, "fields.json")
    assert "\n" not in str(caught.value).replace("a\nb", "")


def test_an_unknown_key_names_the_nearest():
    with refused(UnknownName, got="asks", todo=containing("ask")):
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


@pytest.mark.parametrize("found", [True, False])
def test_a_value_stands_in_a_row_only_where_it_is_found(found):
    answer = SimpleNamespace(text="x", confidence=0.5, ended=True, found=found, verbatim=True, span=(3, 4))
    told = field_values(SimpleNamespace(answers=(answer,)), [Field("Code", "Code")])
    where = {"verbatim": True, "span": [3, 4]} if found else {"verbatim": None, "span": None}
    assert told == {"Code": {"value": "x" if found else None, "confidence": 0.5, "found": found, **where}}


def test_a_value_that_came_to_no_end_has_no_confidence_however_sure_every_token_was():
    answer = SimpleNamespace(text="Anna: Anna", confidence=0.98, ended=False, found=False, verbatim=False, span=None)
    told = field_values(SimpleNamespace(answers=(answer,)), [Field("Customer", "Customer")])
    assert told["Customer"]["confidence"] == 0.0 and told["Customer"]["value"] is None


def test_the_readings_ask_with_the_templates_that_they_are_given():
    taught = Manifest(template="reader").asked_with
    (listed,) = reading("schema")[1](SHOWN, FIELDS, load_tokenizer(), taught)
    middle = "\nQuestion: Applicant, Product code\n\nQuestion: Who applies?\n"
    assert listed.prompt.text == TEXT + middle + TEXT
    first, *_ = reading("each(strategy=question_first)")[1](SHOWN, FIELDS, load_tokenizer(), taught)
    assert first.prompt.text == "Question: Applicant\n\n" + TEXT
    asked = FIELDS[0].tail(load_tokenizer(), taught)
    assert load_tokenizer().decode(asked) == "\n\nQuestion: Applicant\nAnswer:"

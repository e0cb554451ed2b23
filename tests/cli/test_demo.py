"""The demonstration and its documents."""

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from in_process import reread
from marks import needs_reader

from reread.demo import documents
from reread.models import EMBEDDED, PACKAGED
from reread.prompting import template_for

ASSETS = Path(str(resources.files("reread") / "assets"))
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_examples_are_the_documents_of_the_demo():
    texts, _ = documents()
    assert {p.name: p.read_text(encoding="utf-8").strip() for p in EXAMPLES.glob("*.txt")} == texts


@pytest.mark.parametrize("name", sorted(set(EMBEDDED.values())))
def test_an_embedded_model_is_small_enough_to_ship(name):
    weights = ASSETS / name / "model.safetensors"
    assert weights.stat().st_size <= 25e6
    header = json.loads(weights.read_bytes()[8 : 8 + int.from_bytes(weights.read_bytes()[:8], "little")])
    assert {entry["dtype"] for key, entry in header.items() if key != "__metadata__"} == {"BF16"}


def test_every_expected_answer_stands_in_its_document():
    texts, questions = documents()
    assert len(texts) == 3 and len(questions) == 30
    assert sum(not q["answers"] for q in questions) == 3
    for q in questions:
        assert all(answer in texts[q["document"]] for answer in q["answers"])
        if template_for(q["question"]) == "field":
            assert (q["question"].lower() in texts[q["document"]].lower()) == bool(q["answers"])


@pytest.fixture(scope="module")
def result():
    return reread("demo", "--json")


def test_the_demo_asks_a_model_of_fields_every_field_once_and_twice(result):
    assert result.returncode == 0, result.stderr
    value = json.loads(result.stdout)
    assert len(value["rows"]) == 18
    for row in value["rows"]:
        for strategy in ("once", "twice"):
            assert row[strategy]["right"] == (row["answer"].lower() in row[strategy]["text"].lower())
    assert value["right"] == {s: sum(row[s]["right"] for row in value["rows"]) for s in ("once", "twice")}


def test_the_demo_says_what_the_numbers_mean_and_what_to_try_next(result):
    assert "Right: " in json.loads(result.stdout)["says"]
    assert "Try next: reread ask" in json.loads(result.stdout)["says"]


@pytest.mark.slow
@needs_reader
def test_the_demo_of_the_default_model_shows_what_a_second_reading_is_for():
    done = reread("demo", "--model", "smollm2", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert len(value["rows"]) == 30
    for way in ("whole", "once", "twice"):
        assert value["right"][way] == sum(row[way]["right"] for row in value["rows"])
        for row in value["rows"]:
            assert row[way]["right"] == (row["answer"].lower() in row[way]["text"].lower())
    assert value["right"]["whole"] == 30
    assert value["right"]["twice"] >= value["right"]["once"] + 15
    assert value["forgotten"]["whole"] == 0 < value["forgotten"]["twice"] < value["forgotten"]["once"] / 4
    assert value["state_bytes"]["once"] == value["state_bytes"]["twice"] < value["state_bytes"]["whole"] / 9


def test_without_the_weights_of_the_default_the_demo_goes_on_with_the_small_model_and_says_so(monkeypatch):
    monkeypatch.setitem(PACKAGED, "smollm2", replace(PACKAGED["smollm2"], package="no_such_package"))
    monkeypatch.delenv("REREAD_MODEL")
    done = reread("demo", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["model"] == "small-jrt"
    assert PACKAGED["smollm2"].install in done.stderr and "small-jrt" in done.stderr
    refused = reread("ask", str(EXAMPLES / "form.txt"), "Applicant")
    assert refused.returncode == 2 and PACKAGED["smollm2"].install in refused.stderr

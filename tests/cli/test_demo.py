"""The demonstration and its documents."""

import json
import subprocess
import sys

import pytest

from reread.demo import documents


def test_every_expected_answer_stands_in_its_document():
    texts, questions = documents()
    assert len(texts) == 3 and len(questions) == 18
    for q in questions:
        assert q["question"].lower() in texts[q["document"]].lower()
        assert all(answer in texts[q["document"]] for answer in q["answers"])


@pytest.fixture(scope="module")
def result():
    return subprocess.run(
        [sys.executable, "-m", "reread", "demo", "--json"], capture_output=True, text=True, timeout=120
    )


def test_the_demo_asks_every_question_once_and_twice(result):
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

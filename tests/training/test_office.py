"""The generator of office documents: answers stand in the text, absent ones do not, lengths and variety hold."""

import ast
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

from reread.errors import BadInput
from reread.training import office
from reread.training.office import asking, extras, fillers, layouts
from reread.training.office.compose import numbered
from reread.training.office.record import Section
from reread.training.office.values import Values, in_words

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted(Path(office.__file__).parent.glob("*.py"))


@pytest.fixture(scope="module")
def drawn():
    """400 documents of 80 to 2,000 tokens: (wish, document, what it was composed of)."""
    made = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        wish = int(rng.integers(80, 2001))
        made.append((wish, *office.draw_traced(rng, wish)))
    return made


def digest(seed):
    rng = np.random.default_rng(seed)
    documents = [office.draw(rng, int(rng.integers(80, 2001))) for _ in range(50)]
    return hashlib.sha256(repr(documents).encode()).hexdigest()


def test_the_same_seed_gives_the_same_documents():
    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


def test_another_process_gives_the_same_documents():
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_office as t; print(t.digest(1))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(1)


def test_answers_stand_in_the_text_with_whole_words_at_their_borders(drawn):
    for _, document, _ in drawn:
        for one in document.asked:
            assert one.ask.strip() == one.ask and one.ask
            assert one.type in ("field", "question")
            if one.answer is not None:
                assert one.answer.strip() == one.answer and one.answer
                assert "\n" not in one.answer
                assert asking.stands(one.answer, document.text), (document.kind, one)


def test_an_answer_is_a_whole_value_of_the_record(drawn):
    for _, document, composed in drawn:
        whole = {fact.value for fact in composed.facts.values()} | {str(fact.other) for fact in composed.facts.values()}
        whole |= {cell for table in composed.tables.values() for row in table.rows for cell in row}
        assert {one.answer for one in document.asked} - {None} <= whole


def test_a_question_has_one_answer(drawn):
    for _, document, _ in drawn:
        asks = Counter(asking.plain(one.ask) for one in document.asked)
        assert max(asks.values()) == 1, (document.kind, asks.most_common(1))


def test_a_label_that_two_shown_facts_share_is_not_asked(drawn):
    for _, document, composed in drawn:
        holders: dict[str, set[str]] = {}
        for fact in composed.facts.values():
            for label in fact.labels:
                holders.setdefault(label.lower(), set()).add(fact.value)
        for one in document.asked:
            if one.type == "field" and one.answer is not None:
                assert len(holders.get(one.ask.rstrip(":").lower(), {one.answer})) == 1, (document.kind, one)


def test_dropped_values_that_are_asked_do_not_stand_in_the_text(drawn):
    absent = 0
    for _, document, composed in drawn:
        text = document.text.lower()
        none = {asking.plain(one.ask) for one in document.asked if one.answer is None}
        shown = {label.lower() for fact in composed.facts.values() for label in fact.labels}
        absent += len(none)
        for fact in composed.dropped:
            asks = {asking.plain(label) for label in fact.labels}
            asks |= {asking.plain(asking.fill(question, composed.record.names)) for question in fact.questions}
            if none & asks and not {label.lower() for label in fact.labels} & shown:
                assert fact.value.lower() not in text, (document.kind, fact)
                assert fact.key not in composed.shown
    assert absent > 400


def test_about_eighteen_percent_are_absent(drawn):
    asked = [one for _, document, _ in drawn for one in document.asked]
    assert 0.14 < sum(one.answer is None for one in asked) / len(asked) < 0.22
    assert min(len(document.asked) for _, document, _ in drawn) >= 3
    share = Counter(one.type for one in asked)
    assert 0.35 < share["field"] / len(asked) < 0.65


def test_lengths_are_near_the_wish(drawn):
    for wish, document, composed in drawn:
        tokens = len(document.text) / 4
        assert 0.8 * wish <= tokens <= 1.2 * wish, (wish, tokens, document.kind, composed.layout)


def test_short_documents_are_near_the_wish_too():
    for seed in range(200):
        document = office.draw(np.random.default_rng(seed), 80)
        assert 256 <= len(document.text) <= 384, (seed, document.kind, len(document.text))


def test_all_kinds_and_layouts_are_reached(drawn):
    assert len(office.KINDS) >= 20
    assert {document.kind for _, document, _ in drawn} == set(office.KINDS)
    assert {composed.layout for _, _, composed in drawn} == {layout.name for layout in layouts.LAYOUTS}


def test_a_record_has_many_facts_with_several_wordings():
    for kind, make in office.KINDS.items():
        record = make(Values(Random(3)), 400)
        facts = record.facts
        assert len(facts) >= 8, kind
        assert len({fact.key for fact in facts}) == len(facts), kind
        for fact in facts:
            assert len(fact.labels) >= 2, (kind, fact.key)
            assert fact.questions, (kind, fact.key)
        assert all(isinstance(part, Section) or part.asks for part in record.parts)


def test_first_lines_differ():
    rng = np.random.default_rng(5)
    lines = [office.draw(rng, 150).text.split("\n")[0] for _ in range(500)]
    assert len(set(lines)) >= 0.95 * len(lines)


def test_the_text_has_no_marks_of_the_writer(drawn):
    for _, document, _ in drawn:
        assert not set(document.text) & set("\r\x00\x01\x02\x03\x04{}"), document.kind
        assert not any("{" in one.ask for one in document.asked)


def test_hosts_are_invented(drawn):
    for _, document, _ in drawn:
        for word in document.text.split():
            if "://" in word or ("@" in word and "." in word):
                host = word.strip("<>()|,.;*").split("//")[-1].split("@")[-1].split("/")[0]
                assert host.endswith(("example.com", "example.org", "example.net")), word


def test_lines_and_headings_are_numbered_in_the_order_of_the_text():
    assert numbered("\x04. A\n\x02) b\n\x04. C\n\x02) d\n\x03 e\n\x03 f") == "1. A\n1) b\n2. C\n2) d\na e\nb f"


def test_there_are_enough_filler_sentences_and_none_twice():
    sentences = list(fillers.GENERAL) + [line for pool in fillers.POOLS.values() for line in pool]
    assert len(sentences) >= 250
    assert len(set(sentences)) == len(sentences)
    assert set(fillers.POOLS) == set(office.KINDS)
    assert set(extras.NOT_WITH) <= set(office.KINDS)


def constants():
    """All string constants of the generator's source files, with their parts between marks and blanks."""
    text = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text.append(node.value)
    return "\n".join(text).lower()


def test_no_answer_of_the_office_set_is_a_constant_of_the_generator():
    questions = ROOT / "data" / "office" / "questions.jsonl"
    if not questions.exists():
        pytest.skip("the office set is not in this checkout")
    made = constants()
    answers = {
        str(answer).lower()
        for line in questions.read_text(encoding="utf-8").splitlines()
        for answer in json.loads(line)["answers"]
        if len(str(answer)) >= 8
    }
    found = sorted(answer for answer in answers if answer in made)
    assert not found, f"{len(found)} answers are constants"


def test_bad_input_is_refused():
    with pytest.raises(BadInput) as refused:
        office.draw(np.random.default_rng(0), 79)
    assert refused.value.got == "79 tokens"
    with pytest.raises(BadInput) as refused:
        office.draw_traced(np.random.default_rng(0), 100, "poem")
    assert refused.value.got == "'poem'"


@pytest.mark.slow
def test_two_hundred_documents_a_second_of_processor_time():
    rng = np.random.default_rng(0)
    office.draw(rng, 500)
    start = time.process_time()
    for _ in range(200):
        office.draw(rng, int(rng.integers(80, 2001)))
    assert time.process_time() - start < 1.0


def test_an_absent_author_is_not_asked_where_the_mail_address_names_them():
    for seed in range(200):
        document, composed = office.draw_traced(np.random.default_rng(seed), 120, "package metadata")
        author = next((fact.value for fact in composed.dropped if fact.key == "author"), None)
        if author and author.split()[-1].lower() in document.text.lower():
            asks = {one.ask for one in document.asked if one.answer is None}
            assert not asks & {"Author", "Who is the author?", f"Who wrote {composed.record.names['name']}?"}


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "zero"), (12, "twelve"), (13, "thirteen"), (20, "twenty"), (42, "forty-two"), (90, "ninety"),
        (100, "one hundred"), (1200, "twelve hundred"), (2000, "two thousand"), (36000, "thirty-six thousand"),
        (101, "101"), (2450, "2,450"),
    ],
)  # fmt: skip
def test_numbers_are_written_in_words(count, words):
    assert in_words(count) == words

"""Scenes: answers stand in the text, absent values do not, questions have one answer, the share is a setting."""

import time
from collections import Counter
from random import Random

import numpy as np
import pytest
from raising import refused

from reread.errors import BadInput
from reread.training import office
from reread.training.office import asking, scenes
from reread.training.office.scenes import SceneValues
from reread.training.reader_recipe import ReaderData
from reread.training.reader_sources import office as office_source


@pytest.fixture(scope="module")
def written():
    """Fifteen documents of every scene: (kind, wish in tokens, document)."""
    made = []
    for number, kind in enumerate(office.SCENES):
        for seed in range(15):
            wish = (80, 150, 300, 500, 900)[seed % 5]
            values = SceneValues(Random(1000 * number + seed))
            made.append((kind, wish, scenes.write(values, office.SCENES[kind], wish)))
    return made


def test_answers_stand_in_the_text_word_for_word(written):
    for kind, _, document in written:
        for one in document.asked:
            assert one.ask.strip() == one.ask and one.ask and "{" not in one.ask and "[" not in one.ask, (kind, one)
            assert one.type in ("field", "question")
            if one.answer is not None:
                assert one.answer.strip() == one.answer and "\n" not in one.answer
                assert asking.stands(one.answer, document.text), (kind, one)


def wordings(kind):
    """What a scene asks for: slot -> wordings."""
    _, text = office.SCENES[kind](SceneValues(Random(0)))
    return {
        slot: asks
        for block in scenes.blocks_of(text)
        for slot, asks in block.asks
        if not slot[1:2].isdigit() or "x" not in slot
    }


def test_values_of_slots_that_are_asked_in_vain_do_not_stand_in_the_text(written):
    seen = 0
    for kind, _, document in written:
        slots = document.slots
        vain = {asking.plain(one.ask) for one in document.asked if one.answer is None}
        for slot, asks in wordings(kind).items():
            words = {
                asking.plain(scenes.SLOT.sub(lambda found, slots=slots: slots[found.group(2)], ask)) for ask in asks
            }
            if words & vain:
                seen += 1
                assert document.slots[slot].lower() not in document.text.lower(), (kind, slot)
    assert seen > 100


def test_no_question_is_asked_twice(written):
    for kind, _, document in written:
        counts = Counter(asking.plain(one.ask) for one in document.asked)
        assert max(counts.values()) == 1, (kind, counts.most_common(1))


def test_a_document_has_eight_to_sixteen_questions_and_a_share_without_an_answer(written):
    asked = [one for _, _, document in written for one in document.asked]
    assert 0.12 < sum(one.answer is None for one in asked) / len(asked) < 0.24
    assert 0.35 < sum(one.type == "field" for one in asked) / len(asked) < 0.65
    for kind, wish, document in written:
        assert len(document.asked) <= 16, kind
        if wish >= 300:
            assert len(document.asked) >= 7, (kind, wish, len(document.asked))


def test_the_text_has_no_marks_of_the_writer(written):
    for kind, _, document in written:
        assert not set(document.text) & set("\r\x00\x05\x06{}^~"), kind
        assert "::" not in document.text and "|]" not in document.text, kind


def test_length_is_at_most_about_the_wish(written):
    for kind, wish, document in written:
        if wish >= 500:
            assert len(document.text) <= 5 * wish, (kind, wish, len(document.text))


def test_every_scene_asks_for_many_of_its_slots():
    assert len(office.SCENES) >= 18
    assert not set(office.SCENES) & set(office.KINDS)
    for kind in office.SCENES:
        assert len(wordings(kind)) >= 15, kind


def test_a_document_takes_less_than_twenty_milliseconds():
    rng = np.random.default_rng(0)
    for kind in office.SCENES:
        office.draw_scene(rng, 500, kind)
    start = time.process_time()
    for _ in range(100):
        office.draw_scene(rng, 500)
    assert time.process_time() - start < 2.0


def test_without_scenes_the_same_documents_are_drawn_as_before():
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(10):
        assert office.draw(one, 300) == office.draw_traced(other, 300)[0]
    assert not {office_source(20).draw(one, 300).kind for _ in range(20)} & set(office.SCENES)


def test_the_share_of_scenes_is_that_of_the_setting():
    rng = np.random.default_rng(4)
    source = office_source(20, 0.6)
    kinds = [source.draw(rng, 300).kind for _ in range(200)]
    assert 0.5 < sum(kind in office.SCENES for kind in kinds) / 200 < 0.7


def test_a_share_above_one_is_refused():
    with refused(BadInput, got=1.5, allowed="0 to 1"):
        ReaderData(scenes=1.5).check()

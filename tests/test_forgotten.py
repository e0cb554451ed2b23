"""What was forgotten, in words: the nearest units of a question, the line about it, and the default unit."""

import builtins
import importlib.util

import pytest
from raising import refused

from reread.errors import BadInput, UnknownName
from reread.forgotten import (
    Lost,
    Near,
    checked_forgotten,
    default_unit,
    is_lost,
    known_lost_near,
    lost_near,
    lost_units,
    nearest,
    says_forgotten,
    unit_facts,
    unit_texts,
)
from reread.options import checked_unit

TEXTS = ["The rent is due monthly.", "Governing law: England.", "The law is old.", "Nothing else."]


def test_the_nearest_units_come_first_and_those_without_a_word_of_the_question_never():
    near = nearest(TEXTS, [0.1, 0.2, 0.3, 0.4], "Governing law")
    assert [(one.place, one.nats) for one in near] == [(1, 0.2), (2, 0.3)] and near[0].score > near[1].score > 0
    assert nearest(TEXTS, [0.0] * 4, "Zebra") == [] == nearest([], [], "law")
    assert len(nearest(TEXTS, [0.0] * 4, "law rent governing nothing", most=2)) == 2


def test_the_loss_of_the_nearest_is_weighted_by_their_scores():
    near = [Near(0, 3.0, 2.0), Near(1, 1.0, 0.0), Near(2, 1.0, -1.0), Near(3, 1.0, 100.0)]  # three count
    assert lost_near(near) == pytest.approx((6.0 + 0.0 - 1.0) / 5)
    assert lost_near([]) is None
    assert [is_lost(nats) for nats in (None, 1.0, 1.001, float("nan"))] == [False, False, True, False]


def test_without_the_package_a_question_is_compared_with_nothing_and_that_is_logged(monkeypatch, caplog):
    own = builtins.__import__

    def missing(name, *more, **ways):
        if name == "bm25s":
            raise ImportError
        return own(name, *more, **ways)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert known_lost_near(TEXTS, [9.0] * 4, "law") is None
    assert "bm25s" in caplog.text and "reread[prompts]" in caplog.text


def test_the_line_counts_the_lost_and_names_the_worst_of_them():
    said = says_forgotten("sentence", TEXTS, [1.5, 0.2, 3.25, 2.0])
    assert said.startswith("3 of 4 sentences forgotten") and "\n" not in said
    assert said.index("The law is old.") < said.index("Nothing else.") < said.index("The rent is due")
    assert "Governing" not in said and "3.2" in said
    assert says_forgotten("line", TEXTS[:1], [0.5]) == "0 of 1 line forgotten"
    assert "'" not in says_forgotten("line", None, [7.0, 0.0])  # texts are not known
    assert len(says_forgotten("line", ["word " * 99], [7.0])) < 200


def test_units_of_tokens_are_texts_and_characters(byte_tokenizer):
    text = "Ädult fee.\nChild fee."
    ids = byte_tokenizer.encode(text).ids
    first = len("Ädult fee.\n".encode())
    texts = unit_texts(ids, [0, first, len(ids)], byte_tokenizer)
    assert texts == ["Ädult fee.\n", "Child fee."]
    lost = lost_units(texts, [1.0, 2.0], start=3)
    assert lost == (Lost(3, 14, 1.0), Lost(14, 24, 2.0))
    assert unit_facts(texts, lost)[1] == {"start": 14, "end": 24, "nats": 2.0, "text": "Child fee."}


@pytest.mark.parametrize(
    ("select", "unit"),
    [
        ("full", ""), ("window(tokens=20)", ""), ("window(loss=0.1)", "sentence"), ("reread(share=0.25)", "sentence"),
        ("reread(loss=0.1)", "sentence"), ("reread(tokens=20, read=64)", ""),
    ],
)  # fmt: skip
def test_sentences_are_the_default_where_the_document_is_repeated_anyway(select, unit, monkeypatch):
    assert default_unit(select) == checked_unit(None, select) == unit
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert default_unit(select) == ""


def test_a_unit_and_a_selection_that_do_not_fit_are_refused():
    assert checked_forgotten("none", "full") == "" == checked_unit("none", "reread(share=0.25)")
    assert checked_unit(None, "window(tokens=20)", needed=True) == "sentence"
    assert checked_unit("line", "window(tokens=20)") == "line"
    assert checked_unit("window(32)", "window(tokens=20)") == "window(32)"
    with refused(UnknownName, got="word"):
        checked_unit("word", "reread(share=0.25)")
    with refused(BadInput, got="line", naming="keeps all keys"):
        checked_unit("line", "full")
    for unit, select in ((None, "full"), ("line", "full"), ("none", "reread(share=0.25)")):
        with refused(BadInput, naming="read again"):
            checked_unit(unit, select, needed=True)

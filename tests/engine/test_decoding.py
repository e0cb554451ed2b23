"""Rows that are written together write what each writes alone; draws are seeded and follow the probabilities."""

from collections import Counter

import pytest
import torch

from reread.decoding import Decoding, Row, Sampling
from reread.errors import BadInput

PROMPTS = [[5, 9, 2], [7, 7, 7, 1, 3, 60], [1, 2], [33, 4, 8, 15]]
SAMPLINGS = [Sampling(), Sampling(0.8, 1.0, 1), Sampling(1.5, 0.9, 2), Sampling(1.0, 0.5, 3)]


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model()


def begun(model, ids):
    with torch.inference_mode():
        return model.read(torch.tensor([ids]), 0, last_only=True)


def written(model, rows):
    """Rows joined in turns: a new one every third step."""
    waiting, decoding = list(rows), Decoding(model)
    step = 0
    with torch.inference_mode():
        while waiting or decoding.rows:
            if waiting and step % 3 == 0:
                ids, row = waiting.pop(0)
                decoding.join([row], *begun(model, ids))
            if decoding.rows:
                decoding.write()
                decoding.go_on()
            step += 1
    return [row for _, row in rows]


def make_rows(most=9):
    return [
        (ids, Row(frozenset(), most + 2 * i, sampling))
        for i, (ids, sampling) in enumerate(zip(PROMPTS, SAMPLINGS, strict=True))
    ]


def test_rows_that_join_and_leave_write_what_each_writes_alone(model):
    alone = [written(model, [pair])[0] for pair in make_rows()]
    together = written(model, make_rows())
    assert [row.ids for row in together] == [row.ids for row in alone]
    assert [row.logprob for row in together] == pytest.approx([row.logprob for row in alone], abs=1e-3)
    assert [len(row.ids) for row in together] == [9, 11, 13, 15] and len({tuple(row.ids) for row in alone}) == 4


def test_a_row_ends_at_its_own_end_and_says_so(model):
    (whole,) = written(model, make_rows()[:1])
    end = whole.ids[4]
    row = Row(frozenset({end}), 9)
    written(model, [(PROMPTS[0], row)])
    assert row.ids == whole.ids[: whole.ids.index(end) + 1] and row.ended and not whole.ended


def test_who_is_said_to_be_done_leaves_and_the_others_go_on(model):
    pairs, decoding = make_rows(), Decoding(model)
    with torch.inference_mode():
        for ids, row in pairs:
            decoding.join([row], *begun(model, ids))
        decoding.write()
        pairs[1][1].done = True
        decoding.go_on()
        assert decoding.rows == [row for _, row in pairs if row is not pairs[1][1]]
        while decoding.rows:
            decoding.write()
            decoding.go_on()
    assert len(pairs[1][1].ids) == 1
    assert pairs[2][1].ids == written(model, [make_rows()[2]])[0].ids


def test_draws_follow_the_probabilities_and_top_p_cuts_them():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    draws = Row(frozenset(), 1, Sampling(1.0, 1.0, 7))
    counts = Counter(draws.draw(logits) for _ in range(4000))
    assert [counts[i] / 4000 for i in range(4)] == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    few = Row(frozenset(), 1, Sampling(1.0, 0.7, 7))
    counts = Counter(few.draw(logits) for _ in range(4000))
    assert set(counts) == {0, 1} and counts[0] / 4000 == pytest.approx(0.625, abs=0.03)
    one = Row(frozenset(), 1, Sampling(2.0, 1e-9, 7))
    assert {one.draw(logits) for _ in range(50)} == {0}
    warm = Row(frozenset(), 1, Sampling(0.05, 1.0, 7))
    assert Counter(warm.draw(logits) for _ in range(200))[0] > 195


@pytest.mark.parametrize("wrong", [(-0.1,), (2.1,), (float("nan"),), (1.0, 0.0), (1.0, 1.1), (1.0, float("nan"))])
def test_what_no_draw_is_made_with_is_refused(wrong):
    with pytest.raises(BadInput):
        Sampling(*wrong)


def test_the_smallest_temperature_draws_what_is_likeliest():
    logits = torch.tensor([0.0, 3.0, 2.999, -5.0])
    assert {Row(frozenset(), 1, Sampling(1e-308, 1.0, seed)).draw(logits) for seed in range(20)} == {1}


def test_rows_whose_logits_are_not_finite_leave_and_the_others_write_what_they_would(model):
    alone = [written(model, [pair])[0] for pair in make_rows()]
    rows = [row for _, row in make_rows()]
    decoding = Decoding(model)
    with torch.inference_mode():
        for (ids, _), row in zip(make_rows(), rows, strict=True):
            decoding.join([row], *begun(model, ids))
        assert decoding.drop_broken() == []
        decoding.logits[2, 5] = torch.nan
        assert decoding.drop_broken() == [rows[2]]
        while decoding.rows:
            decoding.write()
            decoding.go_on()
        assert [rows[i].ids for i in (0, 1, 3)] == [alone[i].ids for i in (0, 1, 3)] and rows[2].ids == []
        decoding.join([Row(frozenset(), 1)], torch.full((1, 3), torch.inf), None)
        assert len(decoding.drop_broken()) == 1 and not decoding.rows

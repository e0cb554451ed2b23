"""Set disjointness and MQAR keep what their definitions say."""

import subprocess
import sys

import numpy as np
import pytest
from raising import containing, refused

from reread.errors import BadInput
from reread.tasks.sets import (
    ANSWER,
    BLANK,
    FIRST_SET,
    IGNORED,
    PUBLISHED_TEST,
    PUBLISHED_TRAIN,
    SECOND_SET,
    SPECIALS,
    asked_keys,
    shared_element,
)

SETS = [((4, 16), 64), ((16, 4), 64), ((1, 7), 22), ((7, 1), 22), ((10, 6), 20)]


def sets_of(symbols, size):
    a, b = size
    return symbols.tokens[:, 1 : 1 + a], symbols.tokens[:, 2 + a : 2 + a + b]


@pytest.mark.parametrize("size, vocabulary", SETS)
def test_two_sets_share_exactly_the_element_that_is_asked(size, vocabulary):
    symbols = shared_element(np.random.default_rng(0), 200, size, vocabulary)
    first, second = sets_of(symbols, size)
    assert first.shape == (200, size[0]) and second.shape == (200, size[1])
    for a, b, target in zip(first, second, symbols.targets[:, -1], strict=True):
        assert len(set(a)) == size[0] and len(set(b)) == size[1]
        assert set(a) & set(b) == {target}


@pytest.mark.parametrize("size, vocabulary", SETS)
def test_separators_lengths_ids_and_the_one_label(size, vocabulary):
    symbols = shared_element(np.random.default_rng(0), 50, size, vocabulary)
    a, b = size
    assert symbols.tokens.shape == symbols.targets.shape == (50, a + b + 3)
    assert symbols.tokens.dtype == symbols.targets.dtype == np.int64
    assert (symbols.tokens[:, [0, a + 1, a + b + 2]] == [FIRST_SET, SECOND_SET, ANSWER]).all()
    elements = np.delete(symbols.tokens, [0, a + 1, a + b + 2], axis=1)
    assert elements.min() >= SPECIALS and elements.max() < vocabulary
    assert (symbols.targets[:, :-1] == IGNORED).all()
    assert symbols.prefix_len == a + b + 2


def test_every_id_comes_into_both_sets_and_the_shared_one_to_every_place():
    symbols = shared_element(np.random.default_rng(0), 4000, (4, 5), 24)
    first, second = sets_of(symbols, (4, 5))
    assert set(first.ravel()) == set(second.ravel()) == set(range(SPECIALS, 24))
    for part, places in ((first, 4), (second, 5)):
        counts = (part == symbols.targets[:, -1:]).sum(axis=0)
        assert counts.sum() == 4000
        assert abs(counts / 4000 - 1 / places).max() < 0.03
    shares = np.bincount(symbols.targets[:, -1], minlength=24)[SPECIALS:] / 4000
    assert abs(shares - 1 / 20).max() < 0.02


def test_a_second_pass_shows_the_same_sets_again():
    once, twice = (shared_element(np.random.default_rng(3), 20, (3, 6), 40, passes) for passes in (1, 2))
    text = once.tokens[:, :-1]
    assert (twice.tokens == np.concatenate([text, text, once.tokens[:, -1:]], axis=1)).all()
    assert (twice.targets[:, -1] == once.targets[:, -1]).all() and (twice.targets[:, :-1] == IGNORED).all()
    assert twice.prefix_len == 2 * once.prefix_len


@pytest.mark.parametrize("task, size", [(shared_element, (3, 5)), (asked_keys, (3, 20))])
def test_a_seed_gives_the_same_samples_and_another_seed_others(task, size):
    def tokens(seed):
        return task(np.random.default_rng(seed), 10, size, 30).tokens

    assert (tokens(1) == tokens(1)).all()
    assert (tokens(1) != tokens(2)).any()


def test_the_published_sizes_can_be_drawn_with_the_published_vocabulary():
    assert len(PUBLISHED_TRAIN) == 12 and len(PUBLISHED_TEST) == 20
    for size in {*PUBLISHED_TRAIN, *PUBLISHED_TEST}:
        assert shared_element(np.random.default_rng(0), 2, size, 2048).tokens.shape[1] == sum(size) + 3
        assert (size[1], size[0]) in PUBLISHED_TRAIN + PUBLISHED_TEST


@pytest.mark.parametrize("size", [(33, 1), (1, 29), (0, 4), (4, 0)])
def test_sets_that_do_not_fit_the_pools_are_refused(size):
    with refused(BadInput, got=containing(f"{size[0]} and {size[1]}"), allowed=containing("1 to 32 and 1 to 28")):
        shared_element(np.random.default_rng(0), 2, size, 64)


@pytest.mark.parametrize("size, vocabulary", [((4, 16), 20), ((4, 40), 64), ((9, 36), 20), ((1, 5), 8)])
def test_every_query_key_occurs_once_before_and_its_label_is_its_value(size, vocabulary):
    pairs, length = size
    symbols = asked_keys(np.random.default_rng(0), 100, size, vocabulary)
    assert symbols.tokens.shape == symbols.targets.shape == (100, length)
    assert symbols.prefix_len == 2 * pairs
    for tokens, targets in zip(symbols.tokens, symbols.targets, strict=True):
        keys, values = tokens[: 2 * pairs : 2], tokens[1 : 2 * pairs : 2]
        assert len(set(keys)) == pairs and keys.min() >= 1 and keys.max() < vocabulary // 2
        assert len(set(values)) == pairs and vocabulary // 2 <= values.min() and values.max() < vocabulary
        asked = np.flatnonzero(targets != IGNORED)
        assert asked.min() >= 2 * pairs and (asked % 2 == 0).all()
        assert sorted(tokens[asked]) == sorted(keys)
        value_of = dict(zip(keys, values, strict=True))
        assert [value_of[key] for key in tokens[asked]] == list(targets[asked])
        others = np.setdiff1d(np.arange(2 * pairs, length), asked)
        assert (tokens[others] == BLANK).all()


def test_queries_stand_nearer_to_the_pairs_than_chance():
    symbols = asked_keys(np.random.default_rng(0), 500, (2, 100), 64)
    slots = (np.nonzero(symbols.targets != IGNORED)[1] - 4) // 2
    assert np.median(slots) < 10  # 48 slots; 23.5 if all were alike
    assert slots.max() > 40


def test_a_second_pass_of_mqar_shows_the_pairs_again():
    once, twice = (asked_keys(np.random.default_rng(3), 20, (3, 16), 40, passes) for passes in (1, 2))
    assert (twice.tokens == np.concatenate([once.tokens[:, :6], once.tokens], axis=1)).all()
    assert (twice.targets[:, 6:] == once.targets).all() and twice.prefix_len == 12


def test_mqar_that_does_not_fit_is_refused():
    for size, vocabulary, most in (((4, 15), 64, 31), ((8, 64), 16, 7), ((0, 8), 64, 31)):
        with refused(BadInput, got=f"{size[0]} pairs in {size[1]} tokens", allowed=containing(f"1 to {most} pairs")):
            asked_keys(np.random.default_rng(0), 2, size, vocabulary)


def test_symbols_need_no_torch():
    code = "import sys, reread.tasks.sets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""Facts hidden in a haystack: once, at the depth and length that the id says."""

import random
import re

from hypothesis import given
from hypothesis import strategies as st
from raising import refused

from reread.errors import BadInput
from reread.tasks.needle import DEPTHS, LENGTHS, REPEATS, Haystack, essays, needles
from reread.tasks.recall import TASKS

TEXT = " ".join(f"Sentence {'word ' * (i % 7)}number {chr(97 + i % 26)} ends here." for i in range(400))
FACT = re.compile(r"The archive number of \w+ \w+ is (\d{5})\.")


def place(sample):
    """(words, share of the words that stand before the fact)."""
    found = FACT.search(sample.document)
    words = len(sample.document.split()) - len(found.group().split())
    return words, len(sample.document[: found.start()].split()) / words


def test_each_cell_of_the_grid_keeps_its_length_and_depth():
    grid = list(needles(TEXT, lengths=(100, 400), depths=(0, 25, 50, 100), repeats=3))
    assert len({s.id for s in grid}) == len(grid) == 24
    for sample in grid:
        want, depth = (int(number) for number in re.findall(r"(?:words|depth) (\d+)", sample.id))
        words, share = place(sample)
        assert want <= words < want + 11
        assert abs(share - depth / 100) <= 11 / words
        assert FACT.findall(sample.document) == list(sample.answers)
        assert sample.question.removeprefix("What is the ").removesuffix("?") in sample.document
        rest = FACT.sub("", sample.document)
        assert " ".join(rest.split()) in TEXT


def test_a_cell_does_not_depend_on_the_others():
    alone = list(needles(TEXT, lengths=(400,), depths=(50,), repeats=1))
    assert alone[0] in needles(TEXT, lengths=(100, 400), depths=(0, 50), repeats=2)
    assert alone[0] not in needles(TEXT, lengths=(400,), depths=(50,), repeats=1, seed=1)


@given(st.text(st.sampled_from('aB9. !?"\n\u3002'), min_size=1), st.integers(1, 40))
def test_any_haystack_is_cut_into_all_of_its_sentences(text, words):
    haystack = Haystack(text)
    pieces = [haystack.text[a:b] for a, b in zip(haystack.starts, haystack.starts[1:], strict=False)]
    assert "".join(pieces).strip() == text.strip()
    assert haystack.words[-1] == len(text.split())
    if words <= haystack.words[-1]:
        first, end = haystack.draw(random.Random(0), words)
        assert haystack.words[end] - haystack.words[first] >= words
    else:
        with refused(BadInput, got=f"{words} words", allowed=f"up to {haystack.words[-1]}"):
            haystack.draw(random.Random(0), words)


def test_the_real_essays(real):
    text = essays(real)
    assert text.count("archive number of") == 0
    loaded = TASKS["needle"].load(real)
    assert len(loaded.samples) == len(LENGTHS) * len(DEPTHS) * REPEATS
    assert loaded.left_out == loaded.counted == {}
    for sample in loaded.samples:
        want, depth = (int(number) for number in re.findall(r"(?:words|depth) (\d+)", sample.id))
        words, share = place(sample)
        assert want <= words < want + 150
        assert abs(share - depth / 100) <= 150 / words
        assert sample.document.count(sample.answers[0]) == 1

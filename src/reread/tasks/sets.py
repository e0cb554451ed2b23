"""Symbols instead of words: two sets that share one element, and keys with values that are asked again.

Set disjointness is that of "Just read twice" (algorithm 1, figure 2, appendix B.1): which element do
A and B have in common?  MQAR is that of Zoology (Arora et al. 2023, section 3): which value stood
behind each of these keys?  Both are drawn from a numpy generator, a batch at a time; a batch holds
samples of one size, so nothing is ever padded.  This file knows no model and needs no torch.

Shapes: n samples, T tokens of one sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reread.errors import BadInput

IGNORED = -100  # target of a position that nothing is asked of
BLANK, FIRST_SET, SECOND_SET, ANSWER = range(4)  # special ids of set disjointness; BLANK also fills MQAR's gaps
SPECIALS = 4
GAP_POWER = 0.01  # exponent a of the density a x^(a-1) of the gap before a query (Zoology, appendix E)


@dataclass(frozen=True)
class Symbols:
    """tokens, targets (n,T) int64: what to answer at each position, IGNORED where nothing is asked;
    prefix_len: how many of the first tokens a prefix encoder may read."""

    tokens: np.ndarray
    targets: np.ndarray
    prefix_len: int


def distinct(rng: np.random.Generator, samples: int, count: int, below: int) -> np.ndarray:
    """(samples, count) numbers of 0 to below - 1, different within a row, every ordered choice alike likely."""
    keys = rng.random((samples, below), dtype=np.float32)
    chosen = np.argpartition(keys, min(count, below - 1), axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(keys, chosen, axis=1), axis=1)
    return np.take_along_axis(chosen, order, axis=1)


def shared_element(
    rng: np.random.Generator, samples: int, size: tuple[int, int], vocabulary: int, passes: int = 1
) -> Symbols:
    """Set disjointness: [1] A [2] B [3], and the one element of both is asked at the end.

    size: |A|, |B|.  The ids from 4 to vocabulary - 1 are dealt out anew for every sample, the first
    vocabulary / 2 to the pool of A, the rest to that of B; both sets hold distinct ids of their pool; then
    a random element of A takes the place of a random element of B.  passes: how often [1] A [2] B
    is shown before [3].  T = passes (|A| + |B| + 2) + 1; the prefix is everything before [3].  Raises BadInput.
    """
    a, b = size
    pool_a, pool_b = vocabulary // 2, vocabulary - SPECIALS - vocabulary // 2
    if min(a, b, passes, samples) < 1 or a > pool_a or b > pool_b:
        allowed = f"1 to {max(pool_a, 0)} and 1 to {max(pool_b, 0)} (half of the vocabulary each), shown once or more"
        raise BadInput("two sets of these sizes cannot be drawn", got=f"{a} and {b}, passes {passes}", allowed=allowed)
    drawn = SPECIALS + distinct(rng, samples, a + b, vocabulary - SPECIALS)
    first, second = drawn[:, :a], drawn[:, a:].copy()
    row = np.arange(samples)
    shared = first[row, rng.integers(a, size=samples)]
    second[row, rng.integers(b, size=samples)] = shared

    def mark(symbol: int) -> np.ndarray:
        return np.full((samples, 1), symbol)

    text = np.concatenate([mark(FIRST_SET), first, mark(SECOND_SET), second], axis=1)
    tokens = np.concatenate([*[text] * passes, mark(ANSWER)], axis=1).astype(np.int64)
    targets = np.full_like(tokens, IGNORED)
    targets[:, -1] = shared
    return Symbols(tokens, targets, tokens.shape[1] - 1)


def asked_keys(
    rng: np.random.Generator, samples: int, size: tuple[int, int], vocabulary: int, passes: int = 1
) -> Symbols:
    """MQAR: key value key value ..., then every key once more among blanks; its value is asked there.

    size: pairs P, length N >= 4 P.  Keys are distinct ids of 1 to vocabulary / 2 - 1, values distinct
    ids of the upper half.  After the 2 P tokens of the pairs come (N - 2 P) / 2 slots of two tokens; a
    query is the first token of its slot, and slots near the pairs are likelier (GAP_POWER).
    passes: how often the pairs are shown; each pass but the first makes the text longer by 2 P.
    The prefix is all pairs.  Raises BadInput.
    """
    pairs, length = size
    slots = (length - 2 * pairs) // 2
    half = vocabulary // 2
    if min(pairs, passes, samples) < 1 or slots < pairs or pairs > half - 1:
        allowed = f"1 to {max(half - 1, 0)} pairs in at least 4 tokens each, shown once or more"
        raise BadInput("MQAR of this size cannot be drawn", got=f"{pairs} pairs in {length} tokens", allowed=allowed)
    keys = 1 + distinct(rng, samples, pairs, half - 1)
    values = half + distinct(rng, samples, pairs, vocabulary - half)
    shown = np.stack([keys, values], axis=2).reshape(samples, 2 * pairs)
    weight = GAP_POWER * np.arange(1, slots + 1) ** (GAP_POWER - 1)
    # the largest of log(u) / weight are a weighted draw without replacement (Efraimidis and Spirakis 2006)
    lot = np.argsort(-np.log(rng.random((samples, slots))) / weight, axis=1)[:, :pairs]
    rest = np.full((samples, length - 2 * pairs), BLANK)
    answers = np.full_like(rest, IGNORED)
    np.put_along_axis(rest, 2 * lot, keys, axis=1)
    np.put_along_axis(answers, 2 * lot, values, axis=1)
    tokens = np.concatenate([*[shown] * passes, rest], axis=1).astype(np.int64)
    before = np.full((samples, 2 * pairs * passes), IGNORED)
    return Symbols(tokens, np.concatenate([before, answers], axis=1).astype(np.int64), 2 * pairs * passes)


Draw = Callable[[np.random.Generator, int, tuple[int, int], int, int], Symbols]
SYMBOL_TASKS: dict[str, Draw] = {"sets": shared_element, "mqar": asked_keys}

# The sizes of the paper's figure 2, as published: (|A|, |B|), 20,000 training and 1,000 test samples each.
PUBLISHED_TRAIN = (
    (4, 16), (16, 4), (8, 32), (32, 8), (64, 16), (16, 64), (4, 128), (128, 4), (16, 256), (256, 16), (4, 256),
    (256, 4),
)  # fmt: skip
PUBLISHED_TEST = (
    (1, 32), (32, 1), (4, 32), (32, 4), (4, 128), (128, 4), (16, 256), (256, 16), (4, 256), (256, 4), (16, 512),
    (512, 16), (4, 512), (512, 4), (8, 768), (768, 8), (16, 768), (768, 16), (4, 768), (768, 4),
)  # fmt: skip

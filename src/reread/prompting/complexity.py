"""How complex a text is, and the thresholds that tell complex texts from simple ones.  Words only.

Shapes: n tokens of one text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from reread.errors import BadInput


def unigram_entropy(tokens: Sequence[int]) -> float:
    """Entropy of the distribution of the tokens over their own vocabulary, over log n: 1 when no token comes twice."""
    n = len(tokens)
    if n < 2:
        return 0.0
    return sum(count / n * math.log(n / count) for count in Counter(tokens).values()) / math.log(n)


def numbers(text: str) -> tuple[float, ...]:
    """Numbers between plus signs, rising: "0.7+0.75".  Raises BadInput."""
    try:
        found = tuple(float(part) for part in text.split("+"))
    except ValueError as error:
        raise BadInput("thresholds are numbers between plus signs", got=text, allowed="0.7+0.75") from error
    if not all(map(math.isfinite, found)) or list(found) != sorted(found):
        raise BadInput("thresholds are finite and rise", got=text, allowed="0.7+0.75")
    return found

"""Where an answer stands in a text, word for word.  Words only."""

from __future__ import annotations

import re


def verbatim_span(answer: str, text: str) -> tuple[int, int] | None:
    """The characters [start, end) of `text` where `answer` first stands, as whole words; None where it does not.

    Any run of white space equals any other; case and punctuation count.
    """
    words = answer.split()
    if not words:
        return None
    before = r"(?<!\w)" if re.match(r"\w", words[0]) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", words[-1]) else ""
    found = re.search(before + r"\s+".join(map(re.escape, words)) + after, text)
    return found.span() if found else None

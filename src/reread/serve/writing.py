"""The text of one answer while its tokens come: what is shown never has to be taken back.

Knows tokens and words; no model and no request.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from reread.prompting import decode

UNFINISHED = "\ufffd"  # what a character looks like whose bytes have not all come


class Writing:
    """stops: texts that end the answer and do not belong to it; strip: leave out space at both ends."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = (), *, strip: bool = False):
        self.tokenizer, self.stops, self.strip = tokenizer, [stop for stop in stops if stop], strip
        self.text, self.stopped = "", False

    def see(self, ids: Sequence[int], *, last: bool) -> str:
        """What may be shown beyond `text` after all tokens so far (`last`: all there is); it then is part of it."""
        whole = decode(ids, self.tokenizer)
        ends = [place for place in (whole.find(stop) for stop in self.stops) if place >= 0]
        self.stopped = bool(ends)
        sure = whole[: min(ends)] if ends else whole
        if not last and not ends:
            sure = sure.rstrip(UNFINISHED)
            sure = sure[: len(sure) - self._begun(sure)]
        if self.strip:
            sure = sure.strip()
        if not sure.startswith(self.text):  # a decoder that changes what it gave before: nothing is taken back
            return ""
        new, self.text = sure[len(self.text) :], sure
        return new

    def _begun(self, text: str) -> int:
        """How many characters at the end may be the beginning of a stop."""
        lengths = [n for stop in self.stops for n in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:n])]
        return max(lengths, default=0)

"""The text of one answer while its tokens come: what is shown never has to be taken back.

Knows tokens and words; no model and no request.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from reread.prompting import decode

UNFINISHED = "\ufffd"  # what a character looks like whose bytes have not all come


class Writing:
    """stops: texts that end the answer and do not belong to it; end: the text with which a template ends answers, ""
    for none.  With an `end`, space at both ends of the answer is left out, and `stops` are looked for after it."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = (), *, end: str = ""):
        self.tokenizer, self.stops, self.end = tokenizer, [stop for stop in stops if stop], end
        self.text, self.stopped = "", False

    def see(self, ids: Sequence[int], *, last: bool) -> str:
        """What may be shown beyond `text` after all tokens so far (`last`: all there is); it then is part of it."""
        whole = decode(ids, self.tokenizer)
        first = len(whole) - len(whole.lstrip()) if self.end else 0
        places = [whole.find(stop, first) for stop in self.stops] + ([whole.find(self.end)] if self.end else [])
        ends = [place for place in places if place >= 0]
        self.stopped = bool(ends)
        sure = whole[: min(ends)] if ends else whole
        if not last and not ends:
            sure = sure.rstrip(UNFINISHED)
            sure = sure[: len(sure) - self._begun(sure)]
        if self.end:
            sure = sure.strip()
        if not sure.startswith(self.text):  # a decoder that changes what it gave before: nothing is taken back
            return ""
        new, self.text = sure[len(self.text) :], sure
        return new

    def _begun(self, text: str) -> int:
        """How many characters at the end may be the beginning of a stop."""
        stops = [*self.stops, *filter(None, [self.end])]
        lengths = [n for stop in stops for n in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:n])]
        return max(lengths, default=0)

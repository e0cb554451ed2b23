"""Answer: what a model wrote, what is known of it, and what it cost.  Words and numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reread.documents.text import Cleaned
from reread.errors import BadInput


@dataclass(frozen=True)
class Answer:
    """What came out, and what it cost.  Times are the row's share of its batch, in seconds.

    read_tokens: the row's share of the tokens that were read: less than prompt_tokens where several
    questions continue from one document, more where `prefill` pads or repeats or a policy asks the model.
    kept_positions: positions of the document that each head kept, on average, where keys were selected; else None.
    loglik: log-probability (nats) of the gold answer with its stop after the prompt, where one was
    given (not with "iterate").  logprob: that of the new tokens, their end among them (not with "iterate").
    ended: whether the model wrote an end, and was not cut at the most tokens it may write.
    absent: the probability, at the first new token, that the answer is "not found"; None where the model was not
    trained to say so.
    The rest is set by Reader.judge.  found: whether the answer is one (not "not found", not empty, ended) and its
    confidence reaches the threshold.  span: the characters [start, end) of the document where it stands word for word;
    verbatim: whether it does; None for both where the document's text is not known.  calibrated: the probability that
    it is right, where the model's adapter has a calibration; 0 for "not found".  doubts: clauses for a person about an
    answer that may be wrong.  forgotten: nats per token that the state lost of the text nearest to the question
    (forgotten.py); None where that is not known, or where no text shares a word with the question.
    read_again: the document was read again with all keys, since the state had forgotten the text that was asked about.
    """

    text: str
    prompt_tokens: int
    read_tokens: float
    prefix_len: int
    new_tokens: int
    read_seconds: float
    decode_seconds: float
    state_bytes: int
    loglik: float | None = None
    logprob: float | None = None
    ended: bool = True
    absent: float | None = None
    found: bool | None = None
    verbatim: bool | None = None
    span: tuple[int, int] | None = None
    calibrated: float | None = None
    threshold: float = 0.0
    doubts: tuple[str, ...] = ()
    kept_positions: float | None = None
    forgotten: float | None = None
    read_again: bool = False

    @property
    def mean_probability(self) -> float:
        """The geometric mean of the new tokens' probabilities, 0 to 1; nan where they are not known."""
        known = self.logprob is not None and self.new_tokens > 0
        return math.exp(self.logprob / self.new_tokens) if known and self.logprob is not None else math.nan

    @property
    def score(self) -> float:
        """What calibrations are fitted to: mean_probability times the probability that the answer is not "not found";
        nan where it is not known."""
        return self.mean_probability * (1 - (self.absent or 0.0))

    @property
    def confidence(self) -> float:
        """`calibrated`, else mean_probability; 0 to 1, nan where it is not known."""
        return self.mean_probability if self.calibrated is None else self.calibrated

    @property
    def rank(self) -> tuple[bool, float]:
        """Orders judged answers to one question from several texts, the best last: those that are found, then by
        confidence (0 for "not found"); a confidence that is not known comes first."""
        return bool(self.found), -1.0 if math.isnan(self.confidence) else self.confidence

    def after(self, other: Answer, tokens: int) -> Answer:
        """This answer, after the document was read again with all keys of its `tokens` tokens, in the place of another
        one that came from a state: with the tokens and seconds of both."""
        return replace(
            self,
            kept_positions=float(tokens),
            forgotten=other.forgotten,
            read_again=True,
            read_tokens=self.read_tokens + other.read_tokens,
            read_seconds=self.read_seconds + other.read_seconds,
            decode_seconds=self.decode_seconds + other.decode_seconds,
        )


def answer_facts(answer: Answer) -> dict[str, Any]:
    """What a row of a measurement holds of an answer, its costs apart.  Raises BadInput for a probability that is no
    number."""
    if not math.isfinite(answer.confidence):
        raise BadInput("the model's logits after this document are not finite")
    return {
        "prediction": answer.text,
        "logprob": None if answer.logprob is None else round(answer.logprob, 6),
        "new_tokens": answer.new_tokens,
        "confidence": round(answer.confidence, 6),
        "absent": None if answer.absent is None else round(answer.absent, 6),
        "ended": answer.ended,
    }


def in_original(answer: Answer, origin: Cleaned) -> Answer:
    """The answer with its span in the text as it came, where it has one in the clean text."""
    return answer if answer.span is None else replace(answer, span=origin.span(*answer.span))


def best_of(answers: Sequence[Answer]) -> Answer:
    """The best of judged answers to one question, each from another text (Answer.rank; of equals the first), with the
    tokens and seconds of all of them."""
    best = max(answers, key=lambda answer: answer.rank)
    return replace(
        best,
        read_tokens=sum(answer.read_tokens for answer in answers),
        read_seconds=sum(answer.read_seconds for answer in answers),
        decode_seconds=sum(answer.decode_seconds for answer in answers),
    )

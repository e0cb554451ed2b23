"""Reader: prompts in, answers out.  The only place that batches and decodes prompts.

A Reader asks its model only for the three verbs, never for its name.  It knows no benchmark and
no file.

Shapes: B rows of a batch, T time.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reread.decoding import Decoding, Row
from reread.errors import BadInput, UnknownName
from reread.models import LM
from reread.models.state import State, too_long
from reread.options import (
    MAX_NEW_TOKENS,
    PREFILLS,
    Prefill,
    check_prefill,
    check_question,
    default_budget,
    probe_layout,
)
from reread.policies import Choice, Policy
from reread.policies import policy as known_policy
from reread.prompting import (
    Cut,
    Encoded,
    Prompt,
    build,
    cut,
    decode,
    special_ids,
    template_for,
    token_ids,
    verbatim_span,
)
from reread.scoring import UnitScores, continuation_loglik, pad

FORKS = 4  # questions answered together, per document of a batch
FORK_BYTES = 2**30  # of the states of questions that are answered together
TOGETHER = 16_384  # tokens that are read together, padding included
LIKE = 1.125  # the longest prompt of a batch is at most this many times as long as its shortest


@dataclass(frozen=True)
class Answer:
    """What came out, and what it cost.  Times are the row's share of its batch, in seconds.

    read_tokens: the row's share of the tokens that were read: less than prompt_tokens where several
    questions go on from one document, more where `prefill` pads or repeats or a policy asks the model.
    loglik: log-probability (nats) of the gold answer with its stop after the prompt, where one was
    given (not with "iterate").  logprob: that of the new tokens, their end among them (not with "iterate").
    ended: whether the model wrote an end, and was not cut at the most tokens it may write.
    absent: the probability, at the first new token, that the answer is "not found"; None where the model was not
    trained to say so.
    The rest is set by Reader.judge.  found: whether the answer is one (not "not found", not empty, ended) and its
    confidence reaches the threshold.  span: the characters [start, end) of the document where it stands word for word;
    verbatim: whether it does; None for both where the document's text is not known.  calibrated: the probability that
    it is right, where the model's adapter has a calibration; 0 for "not found".  doubts: clauses for a person about an
    answer that may be wrong.
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


@dataclass(frozen=True)
class Asked:
    """A prompt in words and in tokens, what ends its answer, and the tokens that were read to lay it out."""

    prompt: Prompt
    encoded: Encoded
    stop: str
    scored_tokens: int


@dataclass(frozen=True)
class Begun:
    """Prompts that were read and not yet answered: logits (B,V) after them, the state, each row's share of the
    tokens that were read."""

    logits: Tensor
    state: State
    read_tokens: list[float]


class Reader:
    """Reads prompts with one model and answers them, greedily.

    prefill: see Prefill; models without a trained prefix length read every prompt as it is (but
    for iterate).
    """

    def __init__(self, lm: LM, *, prefill: str | Prefill = Prefill.NO_PAD):
        if prefill not in PREFILLS:
            raise UnknownName("prefill", str(prefill), PREFILLS)
        self.lm, self.prefill = lm, Prefill(prefill)
        self.limit = lm.longest_prefix
        self._told: set[str] = set()
        self._end_ids: dict[str, frozenset[int]] = {}

    @torch.inference_mode()
    def answer(
        self,
        prompts: Sequence[Encoded],
        *,
        policy: str | Policy | None = None,
        stop: str = "\n",
        max_new_tokens: int = MAX_NEW_TOKENS,
        batch: int = 16,
        golds: Sequence[str] | None = None,
    ) -> list[Answer]:
        """One Answer per prompt, in order.  Each ends before `stop` or after max_new_tokens tokens.

        policy: how much of each prompt is read non-causally (policies.py; None: its own prefix_len), by a
        model that can; what choosing takes is in the answers' tokens and seconds.  golds: what a
        right answer would be written as, per prompt, for Answer.loglik.  Prompts of like length
        go together (see LIKE), those of one document side by side.
        """
        began = time.perf_counter()
        choices = self._choices(prompts, policy)
        prompts = [replace(one, prefix_len=choice.prefix_len) for one, choice in zip(prompts, choices, strict=True)]
        choosing = (time.perf_counter() - began) / max(1, len(prompts))
        answers: dict[int, Answer] = {}
        lengths = [len(prompt.tokens) for prompt in prompts]
        order = sorted(range(len(prompts)), key=lambda i: (lengths[i] // 64, self._head(prompts[i]) or (), lengths[i]))
        for chosen in self.batches(order, lengths, batch):
            expected = None if golds is None else [golds[i] for i in chosen]
            some = self._batch([prompts[i] for i in chosen], stop, max_new_tokens, expected)
            answers |= dict(zip(chosen, some, strict=True))
        return [
            replace(
                answers[i],
                read_tokens=answers[i].read_tokens + choice.read_tokens,
                read_seconds=answers[i].read_seconds + choosing,
            )
            for i, choice in enumerate(choices)
        ]

    @torch.inference_mode()
    def choose(self, prompt: Encoded, policy: str | Policy) -> tuple[Encoded, int]:
        """The prompt with the prefix that a policy gives it, and the tokens that were read to choose it."""
        (choice,) = self._choices([prompt], policy)
        return replace(prompt, prefix_len=choice.prefix_len), choice.read_tokens

    @torch.inference_mode()
    def begin(self, prompts: Sequence[Encoded]) -> Begun:
        """Read prompts of like length, to be answered by who asks for it (see Decoding)."""
        return Begun(*self._read(prompts))

    @torch.inference_mode()
    def begin_from(self, state: State, tails: Sequence[Sequence[int]]) -> Begun:
        """Read each row of a state on, by the tokens of its tail; the state stays."""
        tokens, mask = pad(tails)
        logits, after = self.lm.model.extend(tokens, state, mask, last_only=True)
        return Begun(logits, after, [float(len(tail)) for tail in tails])

    def prefix_read(self, prompt: Encoded) -> int:
        """How much of a prompt this model reads non-causally, as `prefill` reads it."""
        n, asked = len(prompt.tokens), prompt.prefix_len
        if self.prefill is Prefill.ITERATE:
            asked = n
        elif self._short(prompt):
            twice = 2 * n - prompt.text_start
            asked = {Prefill.LEFT_PAD: self.limit or 0, Prefill.READ_TWICE: twice}.get(self.prefill, asked)
        return self.lm.prefix(asked)

    def absent(self, logits: Tensor) -> list[float | None]:
        """Answer.absent of each row, from the logits (B,V) after the prompts."""
        form = self.lm.template("field")
        if not form.not_found:
            return [None] * len(logits)
        first = token_ids(form.answer(form.not_found), self.lm.tokenizer)[0]
        return logits.float().softmax(dim=-1)[:, first].tolist()

    def judge(
        self,
        answer: Answer,
        question: str,
        text: str | None = None,
        *,
        start: int = 0,
        threshold: float | None = None,
    ) -> Answer:
        """The answer with `found` and the fields after it.

        text: the document as it was shown, from character `start` of it on; None where it is not known.  threshold: the
        confidence from which an answer is found; None: that of the model's calibration, 0 without one.
        """
        kind = template_for(question)
        calibration, form = self.lm.calibration(kind), self.lm.template(kind)
        refused, doubts = form.means_not_found(answer.text), []
        limit = threshold if threshold is not None else calibration.threshold if calibration else 0.0
        calibrated = 0.0 if refused else calibration.at(answer.score) if calibration else None
        answer = replace(answer, calibrated=calibrated, threshold=limit)
        span = None if text is None or refused else verbatim_span(answer.text, text)
        verbatim = None if text is None or refused else span is not None
        if not answer.ended:
            doubts.append(f"the answer was cut at {answer.new_tokens:,} tokens")
        if verbatim is False and answer.text.rstrip(".").lower() not in ("", "yes", "no"):
            doubts.append("the answer does not stand in the document word for word")
        sure = not answer.confidence < limit  # also where it is not known
        if not sure and not refused:
            doubts.append(f"its confidence {answer.confidence:.2f} is below the threshold {limit:.2f}")
        return replace(
            answer,
            found=bool(answer.text) and not refused and answer.ended and sure,
            verbatim=verbatim,
            span=span and (start + span[0], start + span[1]),
            doubts=tuple(doubts),
        )

    def budget(self, strategy: str = "once", question: str = "?") -> int:
        """Document tokens per copy that are shown where no budget is named (see `default_budget`).  Raises
        UnknownName, BadInput."""
        if self.lm.positions is None:
            return default_budget(None, Prompt((), ""), self.lm.tokenizer)
        layout = probe_layout(strategy, question, self.lm.template(template_for(question)), self.lm.tokenizer)
        return default_budget(self.lm.positions, layout, self.lm.tokenizer)

    def check_fits(self, tokens: int) -> None:
        """Raise BadInput for a prompt of so many tokens that leaves no position for an answer."""
        if self.lm.positions is not None and tokens >= self.lm.positions:
            raise too_long(tokens + 1, self.lm.positions)

    def warn_if_ignored(self, policy: Policy) -> None:
        """Logs a warning, once per policy, when it has no effect on this model."""
        if policy.has_no_effect_on(self.lm) and str(policy) not in self._told:
            self._told.add(str(policy))
            said = "the prefix policy %s has no effect: %s reads every token causally"
            logging.getLogger(__name__).warning(said, policy, self.lm.short_name)

    def _choices(self, prompts: Sequence[Encoded], policy: str | Policy | None) -> list[Choice]:
        """The policy's choices; the prompts' own prefixes without one, and where a model reads none."""
        if policy is None:
            return [Choice(one.prefix_len, 0) for one in prompts]
        chosen = known_policy(policy) if isinstance(policy, str) else policy
        if not self.lm.model.noncausal_prefix:
            self.warn_if_ignored(chosen)
            return [Choice(one.prefix_len, 0) for one in prompts]
        check_prefill(self.prefill, chosen)
        return chosen.choose(prompts, self.lm)

    @staticmethod
    def batches(order: Sequence[int], lengths: Sequence[int], batch: int) -> list[list[int]]:
        """Batches of at most `batch` prompts in that order, whose lengths are alike, and of at most TOGETHER tokens."""
        batches: list[list[int]] = []
        shortest = longest = 0
        for i in order:
            shortest, longest = min(shortest, lengths[i]), max(longest, lengths[i])
            full = bool(batches) and (len(batches[-1]) == batch or (len(batches[-1]) + 1) * longest > TOGETHER)
            if not batches or full or longest > LIKE * shortest:
                batches.append([])
                shortest = longest = lengths[i]
            batches[-1].append(i)
        return batches

    @torch.inference_mode()
    def answer_from(
        self,
        state: State,
        tails: Sequence[Sequence[int]],
        *,
        stop: str = "\n",
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> list[Answer]:
        """One Answer per row of a state that was read before, each after the tokens of its tail; the state stays.

        Its times are of the tails alone, and its prefix_len is 0: who read the state knows that.
        """
        began = time.perf_counter()
        begun = self.begin_from(state, tails)
        read = time.perf_counter() - began
        absent = self.absent(begun.logits)
        written, logprobs = self._decode(begun.logits, begun.state, stop, max_new_tokens)
        decode, n = time.perf_counter() - began - read, len(tails)
        return [
            Answer(
                text=self.text(ids, stop),
                prompt_tokens=int(state.position[row]) + len(tail),
                read_tokens=float(len(tail)),
                prefix_len=0,
                new_tokens=len(ids),
                read_seconds=read / n,
                decode_seconds=decode / n,
                state_bytes=begun.state.nbytes // n,
                logprob=logprobs[row],
                ended=self.ended(ids, stop),
                absent=absent[row],
            )
            for row, (ids, tail) in enumerate(zip(written, tails, strict=True))
        ]

    @torch.inference_mode()
    def answer_forks(
        self,
        heads: Sequence[Encoded],
        tails: Sequence[Sequence[Sequence[int]]],
        *,
        stop: str = "\n",
        max_new_tokens: int = MAX_NEW_TOKENS,
        batch: int = 16,
    ) -> list[list[Answer]]:
        """Per head, one Answer per tail of it: every head is read once and each tail goes on from a copy of its state.

        Heads of like length (see `batches`) are read together; the tails of up to `batch` heads are answered together,
        FORKS for each, fewer where their states take more than FORK_BYTES.  A head's tokens and seconds are shared out
        over its tails' Answers.
        """
        answers: list[list[Answer]] = [[] for _ in heads]
        lengths = [len(head.tokens) for head in heads]
        order = sorted(range(len(heads)), key=lambda i: lengths[i])
        for together in self._groups(self.batches(order, lengths, batch), lengths, batch):
            states: list[Any] = []
            prefixes: dict[int, int] = {}
            spent: dict[int, float] = {}
            for chosen in together:
                began = time.perf_counter()
                tokens, mask = pad([heads[i].tokens for i in chosen])
                prefixes |= {i: self.lm.prefix(heads[i].prefix_len) for i in chosen}
                own = torch.tensor([prefixes[i] for i in chosen])
                states.append(self.lm.model.read(tokens, own, mask, last_only=True)[1])
                spent |= dict.fromkeys(chosen, (time.perf_counter() - began) / len(chosen))
            read = [i for chosen in together for i in chosen]
            state = states[0] if len(states) == 1 else type(states[0]).cat(states)
            forks = [(place, tail) for place, i in enumerate(read) for tail in tails[i]]
            most = max(1, min(FORKS * batch, FORK_BYTES * len(read) // max(1, state.nbytes)))
            for start in range(0, len(forks), most):
                some = forks[start : start + most]
                places = [place for place, _ in some]
                after, rows = state.rows(places), [tail for _, tail in some]
                found = self.answer_from(after, rows, stop=stop, max_new_tokens=max_new_tokens)
                for place, answer in zip(places, found, strict=True):
                    i = read[place]
                    part = replace(
                        answer,
                        read_tokens=answer.read_tokens + lengths[i] / len(tails[i]),
                        read_seconds=answer.read_seconds + spent[i] / len(tails[i]),
                        prefix_len=prefixes[i],
                    )
                    answers[i].append(part)
        return answers

    @staticmethod
    def _groups(batches: Sequence[list[int]], lengths: Sequence[int], batch: int) -> list[list[list[int]]]:
        """Batches that are answered together: of at most `batch` prompts and TOGETHER tokens, or one alone."""
        groups: list[list[list[int]]] = []
        for chosen in batches:
            read = [i for one in groups[-1] for i in one] + chosen if groups else chosen
            if groups and len(read) <= batch and sum(lengths[i] for i in read) <= TOGETHER:
                groups[-1].append(chosen)
            else:
                groups.append([chosen])
        return groups

    def _short(self, prompt: Encoded) -> bool:
        """Whether a prompt is shorter than the prefix that its model was trained with."""
        return self.limit is not None and len(prompt.tokens) < self.limit

    def _head(self, prompt: Encoded) -> tuple[int, ...] | None:
        """The tokens before the question, where other questions may go on from them: the state after them must not
        depend on the question."""
        start = prompt.spans[-1][1]
        causal = self.lm.prefix(prompt.prefix_len) <= start
        return prompt.tokens[:start] if causal and 0 < start < len(prompt.tokens) else None

    def _batch(
        self, prompts: Sequence[Encoded], stop: str, max_new_tokens: int, golds: Sequence[str] | None
    ) -> list[Answer]:
        began = time.perf_counter()
        logits, state, fed = self._read(prompts)
        read = time.perf_counter() - began
        logliks: list[float | None] = [None] * len(prompts)
        if golds is not None and self.prefill is not Prefill.ITERATE:
            ids = [token_ids(gold, self.lm.tokenizer) for gold in golds]
            logliks = [*continuation_loglik(self.lm.model, logits, state, ids)]
            began = time.perf_counter() - read
        state_bytes, absents = state.nbytes // len(prompts), self.absent(logits)
        if self.prefill is Prefill.ITERATE:
            written = [self._iterate(prompt, stop, max_new_tokens) for prompt in prompts]
            logprobs: list[float | None] = [None] * len(prompts)
            lengths = [(len(prompt.tokens), len(ids)) for prompt, ids in zip(prompts, written, strict=True)]
            fed = [float(read + sum(read + i for i in range(new))) for read, new in lengths]
        else:
            written, logprobs = self._decode(logits, state, stop, max_new_tokens)
        decode = time.perf_counter() - began - read
        n = len(prompts)
        return [
            Answer(
                text=self.text(ids, stop),
                prompt_tokens=len(prompt.tokens),
                read_tokens=tokens,
                prefix_len=self.prefix_read(prompt),
                new_tokens=len(ids),
                read_seconds=read / n,
                decode_seconds=decode / n,
                state_bytes=state_bytes,
                loglik=loglik,
                logprob=logprob,
                ended=self.ended(ids, stop),
                absent=absent,
            )
            for prompt, ids, tokens, loglik, logprob, absent in zip(
                prompts, written, fed, logliks, logprobs, absents, strict=True
            )
        ]

    def _read(self, prompts: Sequence[Encoded]) -> tuple[Tensor, State, list[float]]:
        """Logits (B,V) after the prompts, the state, and each row's share of the tokens that were read."""
        found = [self._head(prompt) for prompt in prompts] if self.prefill is Prefill.NO_PAD else []
        heads = [head for head in found if head is not None]
        shared = [(head, self.lm.prefix(p.prefix_len)) for p, head in zip(prompts, heads, strict=False)]
        sharing = Counter(shared)
        if len(heads) < len(prompts) or len(sharing) == len(prompts):
            return self._read_each(prompts)
        documents = list(sharing)
        tokens, mask = pad([head for head, _ in documents])
        lengths = torch.tensor([prefix for _, prefix in documents])
        _, state = self.lm.model.read(tokens, lengths, mask, last_only=True)
        tails = [prompt.tokens[prompt.spans[-1][1] :] for prompt in prompts]
        begun = self.begin_from(state.rows([documents.index(key) for key in shared]), tails)
        fed = [own + len(key[0]) / sharing[key] for own, key in zip(begun.read_tokens, shared, strict=True)]
        return begun.logits, begun.state, fed

    def _read_each(self, prompts: Sequence[Encoded]) -> tuple[Tensor, State, list[float]]:
        """As `_read`, every prompt on its own, as `prefill` says."""
        twice = self.prefill is Prefill.READ_TWICE
        rows = [[*p.tokens, *(p.tokens[p.text_start :] if twice and self._short(p) else ())] for p in prompts]
        prefixes = [self.prefix_read(p) for p in prompts]
        if self.prefill is Prefill.LEFT_PAD and self.limit is not None and any(map(self._short, prompts)):
            fed = [float(max(self.limit, len(row))) for row in rows]
            return (*self._left_padded(prompts, self.limit), fed)
        tokens, mask = pad(rows)
        logits, state = self.lm.model.read(tokens, torch.tensor(prefixes), mask, last_only=True)
        return logits, state, [float(len(row)) for row in rows]

    def _left_padded(self, prompts: Sequence[Encoded], limit: int) -> tuple[Tensor, State]:
        """Each row alone, padded on the left to the trained prefix length, as the published code reads it."""
        filler = getattr(self.lm.model.config, "pad_token_id", None)
        if filler is None:
            raise BadInput(
                "left_pad needs the padding token that a model was trained with",
                got=self.lm.name,
                todo="set pad_token_id in its config.json",
            )
        logits, states = [], []
        for prompt in prompts:
            missing = max(0, limit - len(prompt.tokens))
            tokens = torch.tensor([[filler] * missing + list(prompt.tokens)])
            mask = torch.arange(tokens.shape[1])[None] >= missing
            one, state = self.lm.model.read(tokens, self.prefix_read(prompt), mask, last_only=True, masking="published")
            logits.append(one)
            states.append(state)
        return torch.cat(logits), type(states[0]).cat(states)

    def _iterate(self, prompt: Encoded, stop: str, max_new_tokens: int) -> list[int]:
        """Greedy token ids of one row, everything read anew as prefix for every token: quadratic, the paper's bound."""
        ends, tokens = self.ends(stop), list(prompt.tokens)
        written: list[int] = []
        while len(written) < max_new_tokens and (not written or written[-1] not in ends):
            logits, _ = self.lm.model.read(torch.tensor([tokens + written]), last_only=True)
            written.append(int(logits.argmax()))
        return written

    def text(self, ids: Sequence[int], stop: str) -> str:
        """The words of generated ids, before the first `stop`."""
        words = decode(ids, self.lm.tokenizer)
        return (words.split(stop)[0] if stop else words).strip()

    def _decode(
        self, logits: Tensor, state: State, stop: str, max_new_tokens: int
    ) -> tuple[list[list[int]], list[float | None]]:
        """Greedy token ids per row, (B,V) logits in, and their log-probabilities summed; a row ends at the first token
        that holds `stop`."""
        rows = [Row(self.ends(stop), self.room(max_new_tokens, read)) for read in state.position.tolist()]
        decoding = Decoding(self.lm.model)
        decoding.join(rows, logits, state)
        while decoding.rows:
            decoding.write()
            decoding.go_on()
        return [row.ids for row in rows], [row.logprob for row in rows]

    def room(self, most: int, read: int) -> int:
        """How many of `most` tokens a row may write that has read so many: a model may have no more places."""
        model = self.lm.model
        places = getattr(model, "places", None) or getattr(model.config, "n_positions", None)
        return most if places is None else max(1, min(most, places - read))

    def ended(self, ids: Sequence[int], stop: str) -> bool:
        return bool(ids) and ids[-1] in self.ends(stop)

    def ends(self, stop: str) -> frozenset[int]:
        """Ids of the tokens that hold `stop` ("": none), and the end tokens of tokenizer and configuration."""
        if stop not in self._end_ids:
            tokenizer = self.lm.tokenizer
            ids = {i for i in range(tokenizer.get_vocab_size()) if stop and stop in decode([i], tokenizer)}
            own = getattr(self.lm.model.config, "eos_token_id", None)
            own = own if isinstance(own, list) else [own]
            ends = {tokenizer.token_to_id("<|end|>"), special_ids(tokenizer).eos, *own}
            special = {one.content: i for i, one in tokenizer.get_added_tokens_decoder().items() if one.special}
            ends |= {special.get(stop)}  # `decode` leaves special tokens out
            self._end_ids[stop] = frozenset(ids | (ends - {None}))
        return self._end_ids[stop]

    def ask(
        self,
        document: str,
        question: str,
        *,
        strategy: str = "once",
        policy: str = "prompt",
        budget: int | None = None,
        window: str = "head",
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> tuple[Answer, Prompt]:
        """Answer one question of one document, judged; prompt.cut says what the budget (in tokens) left out.

        budget None: what the model's positions hold (see `budget`).  Raises BadInput for a question without text, and
        for a prompt that is longer than the model's positions.
        """
        check_question(question)
        tokens = self.budget(strategy, question) if budget is None else budget
        shown = cut(document, self.lm.tokenizer, tokens, window)
        asked = self.show(shown, question, strategy=strategy)
        self.check_fits(len(asked.encoded.tokens))
        (answer,) = self.answer([asked.encoded], policy=policy, stop=asked.stop, max_new_tokens=max_new_tokens)
        answer = self.judge(answer, question, shown.text, start=shown.start)
        return replace(answer, read_tokens=answer.read_tokens + asked.scored_tokens), asked.prompt

    def show(self, shown: Cut, question: str, *, strategy: str = "once", most_scored: int | None = None) -> Asked:
        """What a model will see of a document and a question; most_scored: tokens that may be read to choose units.
        Raises BadInput for a question without text."""
        check_question(question)
        form = self.lm.template(template_for(question))
        score = UnitScores(self.lm, question, form, most=most_scored)
        prompt = build(strategy, shown.text, question, form, cut=shown, tokenizer=self.lm.tokenizer, score=score)
        return Asked(prompt, prompt.encode(self.lm.tokenizer), form.stop, score.tokens)

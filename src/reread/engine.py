"""Reader: prompts in, answers out.  The only place that batches and decodes prompts.

A Reader asks its model only for the three verbs, never for its name.  It knows no benchmark and
no file.

Shapes: B rows of a batch, T time.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reread.answer import Answer, best_of, in_original
from reread.copying import Original, Source
from reread.decoding import Decoding, Row
from reread.documents.text import clean, cleaned
from reread.errors import BadInput, UnknownName
from reread.forgotten import checked_forgotten, is_lost, lost_doubt, says_again
from reread.models import LM
from reread.models.kv_selection import FULL
from reread.models.state import State, too_long
from reread.options import (
    ANY_LENGTH,
    MAX_NEW_TOKENS,
    PREFILLS,
    Prefill,
    check_prefill,
    check_question,
    checked_select,
    default_budget,
    probe_layout,
)
from reread.policies import Choice, Policy
from reread.policies import policy as known_policy
from reread.prompting import (
    PARTS,
    Cut,
    Encoded,
    Prompt,
    build,
    build_unasked,
    cut,
    cut_parts,
    decode,
    label_in,
    plain_question,
    special_ids,
    template_for,
    token_ids,
    units,
    verbatim_span,
)
from reread.scoring import UnitScores, continuation_loglik, pad
from reread.selecting import ReadDocument, any_length, checked_selection, lost_of, read_heads, read_with

FORKS = 4  # questions answered together, per document of a batch
FORK_BYTES = 2**30  # of the states of questions that are answered together
TOGETHER = 16_384  # tokens that are read together, padding included
LIKE = 1.125  # the longest prompt of a batch is at most this many times as long as its shortest


def fitting(most: int, size: int) -> int:
    """How many of `most` states of `size` bytes are answered together: at most FORK_BYTES of them, one at least."""
    return max(1, min(most, FORK_BYTES // max(1, size)))


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
    tokens that were read, and Answer.kept_positions (empty: nothing was selected)."""

    logits: Tensor
    state: State
    read_tokens: list[float]
    kept_positions: Sequence[float | None] = ()


def as_asked(question: str, text: str | None = None) -> str:
    """A question or a label in its plain form; a label as the document's text spells it, where that is known."""
    plain = plain_question(question)
    return plain if text is None else label_in(plain, text)


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
        select: str = FULL,
        copied: Sequence[Original] | None = None,
    ) -> list[Answer]:
        """One Answer per prompt, in order.  Each ends before `stop` or after max_new_tokens tokens.

        policy: how much of each prompt is read non-causally (policies.py; None: its own prefix_len), by a
        model that can; what choosing takes is in the answers' tokens and seconds.  golds: what a
        right answer would be written as, per prompt, for Answer.loglik.  Prompts of like length
        go together (see LIKE), those of one document side by side.  select: which keys of the parts before the
        last one, the question, are kept (as `ask`).  copied: per prompt, what the answer may be written from, and
        nothing else (copying.py); None: free.  Raises BadInput for a selection and a prompt without either.
        """
        select = checked_select(select, prefill=self.prefill)
        if copied is not None and self.prefill is Prefill.ITERATE:
            raise BadInput(
                "answers are not copied where everything is read again for every token", got=self.prefill.value
            )
        began = time.perf_counter()
        choices = self._choices(prompts, policy)
        prompts = [replace(one, prefix_len=choice.prefix_len) for one, choice in zip(prompts, choices, strict=True)]
        choosing = (time.perf_counter() - began) / max(1, len(prompts))
        answers: dict[int, Answer] = {}
        lengths = [len(prompt.tokens) for prompt in prompts]
        order = sorted(range(len(prompts)), key=lambda i: (lengths[i] // 64, self._head(prompts[i]) or (), lengths[i]))
        for chosen in self.batches(order, lengths, batch):
            expected = None if golds is None else [golds[i] for i in chosen]
            originals = None if copied is None else [copied[i] for i in chosen]
            some = self._batch([prompts[i] for i in chosen], stop, max_new_tokens, expected, select, originals)
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
    def begin(self, prompts: Sequence[Encoded], select: str = FULL) -> Begun:
        """Read prompts of like length, to be answered by who asks for it (see Decoding); select: as `answer`."""
        return self._read(prompts, checked_select(select, prefill=self.prefill))

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

    def original(self, text: str, question: str) -> Original:
        """What a copied answer to a question of a text is written from: the text, "not found", and yes or no."""
        kind = template_for(plain_question(question))
        refusal = self.lm.template(kind).not_found
        return Original(text, (*([refusal] if refusal else []), *(("yes", "no") if kind == "question" else ())))

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
        forgotten: float | None = None,
    ) -> Answer:
        """The answer with `found` and the fields after it.

        text: the document as it was shown, from character `start` of it on; None where it is not known.  threshold: the
        confidence from which an answer is found; None: that of the model's calibration, 0 without one.  forgotten:
        Answer.forgotten.
        """
        kind = template_for(plain_question(question))
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
            doubts.append("the answer is not in the document word for word")
        sure = not answer.confidence < limit  # also where it is not known
        if not sure and not refused:
            doubts.append(f"its confidence {answer.confidence:.2f} is below the threshold {limit:.2f}")
        if forgotten is not None and is_lost(forgotten):
            doubts.append(lost_doubt(forgotten))
        return replace(
            answer,
            forgotten=forgotten,
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

    def is_longer(self, text: str, tokens: int) -> bool:
        """Whether a text may have more tokens than that, and than the model has positions for."""
        return self.lm.positions is not None and len(text) > tokens

    def check_fits(self, tokens: int, select: str = FULL) -> None:
        """Raise BadInput for a prompt of so many tokens that leaves no position for an answer; select: with which it is
        read."""
        if self.lm.positions is not None and tokens >= self.lm.positions and not any_length(self.lm, select):
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
        copied: Sequence[Original] | None = None,
    ) -> list[Answer]:
        """One Answer per row of a state that was read before, each after the tokens of its tail; the state stays.
        copied: as `answer`, per row.

        Its times are of the tails alone, and its prefix_len is 0: who read the state knows that.
        """
        began = time.perf_counter()
        begun = self.begin_from(state, tails)
        read = time.perf_counter() - began
        absent = self.absent(begun.logits)
        written, logprobs = self._decode(begun.logits, begun.state, stop, max_new_tokens, copied)
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

    def tail(self, question: str, read: int, text: str | None = None) -> tuple[list[int], str]:
        """The tokens that ask after `read` tokens of a document, and what ends the answer; text: the document's, for a
        label as it stands there.  Raises BadInput for a question without text, and where it does not fit behind the
        document."""
        check_question(question)
        question = as_asked(question, text)
        form = self.lm.template(template_for(question))
        tail = token_ids(form.fill(form.ask, question), self.lm.tokenizer)
        self.check_fits(read + len(tail))
        return tail, form.stop

    def answer_each(
        self,
        states: Sequence[State],
        tails: Sequence[tuple[Sequence[int], str]],
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        batch: int = 16,
        copied: Sequence[Original] | None = None,
    ) -> list[Answer]:
        """One Answer per state of one row and tail (see `tail`), in order: `answer_from`, `batch` of them together,
        fewer where the states are large (see `fitting`).  A state may come several times.  copied: as `answer`."""
        answers: dict[int, Answer] = {}
        for stop in sorted({stop for _, stop in tails}):
            mine = [i for i, (_, own) in enumerate(tails) if own == stop]
            most = fitting(batch, max(states[i].nbytes for i in mine))
            for start in range(0, len(mine), most):
                some = mine[start : start + most]
                together = type(states[some[0]]).cat([states[i] for i in some])
                originals = None if copied is None else [copied[i] for i in some]
                found = self.answer_from(
                    together, [tails[i][0] for i in some], stop=stop, max_new_tokens=max_new_tokens, copied=originals
                )
                answers |= dict(zip(some, found, strict=True))
        return [answers[i] for i in range(len(tails))]

    @torch.inference_mode()
    def answer_forks(
        self,
        heads: Sequence[Encoded],
        tails: Sequence[Sequence[Sequence[int]]],
        *,
        stop: str = "\n",
        max_new_tokens: int = MAX_NEW_TOKENS,
        batch: int = 16,
        select: str = FULL,
        copied: Sequence[Sequence[Original]] | None = None,
    ) -> list[list[Answer]]:
        """Per head, one Answer per tail of it: every head is read once and each tail goes on from a copy of its state.

        Heads of similar length (see `batches`) are read together; the tails of up to `batch` heads are answered
        together, FORKS for each, fewer where their states take more than FORK_BYTES.  A head's tokens and seconds are
        shared out over its tails' Answers.  select: which keys of the heads are kept (as `ask`).  copied: as `answer`,
        per head and tail.
        """
        select = checked_select(select, prefill=self.prefill)
        answers: list[list[Answer]] = [[] for _ in heads]
        lengths = [len(head.tokens) for head in heads]
        order = sorted(range(len(heads)), key=lambda i: lengths[i])
        for together in self._groups(self.batches(order, lengths, batch), lengths, batch):
            states: list[Any] = []
            prefixes: dict[int, int] = {}
            spent: dict[int, float] = {}
            fed: dict[int, float] = {}
            kept: dict[int, float | None] = {}
            for chosen in together:
                began = time.perf_counter()
                prefixes |= {i: self.lm.prefix(heads[i].prefix_len) for i in chosen}
                own = read_heads(self.lm, [heads[i].tokens for i in chosen], [prefixes[i] for i in chosen], select)
                states.append(own.state)
                fed |= dict(zip(chosen, own.read_tokens, strict=True))
                kept |= dict(zip(chosen, own.kept_positions, strict=True))
                spent |= dict.fromkeys(chosen, (time.perf_counter() - began) / len(chosen))
            read = [i for chosen in together for i in chosen]
            state = states[0] if len(states) == 1 else type(states[0]).cat(states)
            forks = [(place, tail) for place, i in enumerate(read) for tail in tails[i]]
            originals = None if copied is None else [one for i in read for one in copied[i]]
            most = fitting(FORKS * batch, state.nbytes // len(read))
            for start in range(0, len(forks), most):
                some = forks[start : start + most]
                places = [place for place, _ in some]
                after, rows = state.rows(places), [tail for _, tail in some]
                mine = None if originals is None else originals[start : start + most]
                found = self.answer_from(after, rows, stop=stop, max_new_tokens=max_new_tokens, copied=mine)
                for place, answer in zip(places, found, strict=True):
                    i = read[place]
                    part = replace(
                        answer,
                        read_tokens=answer.read_tokens + fed[i] / len(tails[i]),
                        read_seconds=answer.read_seconds + spent[i] / len(tails[i]),
                        prefix_len=prefixes[i],
                        kept_positions=kept[i],
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
        self,
        prompts: Sequence[Encoded],
        stop: str,
        max_new_tokens: int,
        golds: Sequence[str] | None,
        select: str,
        copied: Sequence[Original] | None,
    ) -> list[Answer]:
        began = time.perf_counter()
        begun = self._read(prompts, select)
        logits, state, fed = begun.logits, begun.state, begun.read_tokens
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
            written, logprobs = self._decode(logits, state, stop, max_new_tokens, copied)
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
                kept_positions=kept,
            )
            for prompt, ids, tokens, loglik, logprob, absent, kept in zip(
                prompts, written, fed, logliks, logprobs, absents, begun.kept_positions or [None] * n, strict=True
            )
        ]

    def _read(self, prompts: Sequence[Encoded], select: str) -> Begun:
        """Read prompts; what several share before their questions is read once."""
        found = [self._head(prompt) for prompt in prompts] if self.prefill is Prefill.NO_PAD else []
        heads = [head for head in found if head is not None]
        shared = [(head, self.lm.prefix(p.prefix_len)) for p, head in zip(prompts, heads, strict=False)]
        sharing = Counter(shared)
        if select == FULL and (len(heads) < len(prompts) or len(sharing) == len(prompts)):
            return Begun(*self._read_each(prompts))
        if len(heads) < len(prompts):
            raise BadInput("keys are selected from a document before its question, and a prompt lacks one of them")
        documents = list(sharing)
        read = read_heads(self.lm, [head for head, _ in documents], [prefix for _, prefix in documents], select)
        tails = [prompt.tokens[prompt.spans[-1][1] :] for prompt in prompts]
        rows = [documents.index(key) for key in shared]
        begun = self.begin_from(read.state.rows(rows), tails)
        shares = [tokens / sharing[key] for tokens, key in zip(read.read_tokens, documents, strict=True)]
        fed = [own + shares[row] for own, row in zip(begun.read_tokens, rows, strict=True)]
        return Begun(begun.logits, begun.state, fed, [read.kept_positions[row] for row in rows])

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
        self, logits: Tensor, state: State, stop: str, max_new_tokens: int, copied: Sequence[Original] | None = None
    ) -> tuple[list[list[int]], list[float | None]]:
        """Greedy token ids per row, (B,V) logits in, and their log-probabilities summed; a row ends at the first token
        that holds `stop`.  copied: as `answer`, per row."""
        rows = [Row(self.ends(stop), self.room(max_new_tokens, read)) for read in state.position.tolist()]
        if copied is not None:
            words, ends = self.lm.tokenizer, self.ends(stop)
            sources = {one: Source(one.text, words, ends, stop, one.phrases) for one in dict.fromkeys(copied)}
            for row, one in zip(rows, copied, strict=True):
                row.rule = sources[one].start()
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
        select: str = FULL,
        forgotten: str = "",
        reread_when_lost: bool = False,
        copy: bool = False,
        told: Callable[[str], None] | None = None,
    ) -> tuple[Answer, Prompt]:
        """Answer one question of one document, judged; prompt.cut says what the budget (in tokens) left out.

        window: what is kept of a longer document (WINDOWS); `parts`: all of it is read, in parts that are each asked
        (cut_parts), and the best answer is taken (best_of) with the prompt that it came from.
        budget None: what the model's positions hold (see `budget`), or all of the document where `select` reads it in
        pieces of which only a part is kept.  select: which keys of the document the model keeps before it sees the
        question, such as "reread(tokens=256)"; of each part, where it is read in parts.
        forgotten: a unit of text, such as "sentence"; the answer then tells whether the state lost the units nearest to
        the question (Answer.forgotten, a doubt), and with reread_when_lost the document, or that part of it, is read
        again with all keys.  copy: only what is in the document word for word is written, or "not found" (to a question
        also yes or no).  told: called with what was kept and what was read again, in words, for each part.  Raises
        BadInput for a question without text, for a prompt that is longer than the model's positions, and as `read`
        does.
        """
        check_question(question)
        chosen = checked_selection(self.lm, select)
        unit = checked_forgotten(forgotten, chosen)
        origin = cleaned(document)
        document = origin.text
        tokens = self.budget(strategy, question) if budget is None else budget
        if budget is None and window != PARTS and self.is_longer(document, tokens) and any_length(self.lm, chosen):
            tokens = ANY_LENGTH
        parts = cut_parts(document, self.lm.tokenizer, tokens) if window == PARTS else None
        texts = parts or [cut(document, self.lm.tokenizer, tokens, window)]
        asked = [self.show(one, question, strategy=strategy) for one in texts]
        for one in asked:
            self.check_fits(len(one.encoded.tokens), chosen)
        if chosen != FULL:
            self.warn_if_ignored(known_policy(policy))
            answers = []
            for number, text in enumerate(texts, start=1):  # the state of one part at a time
                read = self.read_shown(text, chosen, strategy, unit or None)
                part = f"part {number} of {len(texts)}: " * (len(texts) > 1)
                if told is not None:
                    told(part + read.selected.says())
                (answer,) = self.ask_read(read, [question], max_new_tokens=max_new_tokens, copy=copy)
                answer = read.charged(answer)
                if reread_when_lost and is_lost(answer.forgotten):
                    if told is not None:
                        told(part + says_again(answer.forgotten))
                    answer = self.ask_again(read, question, answer, max_new_tokens, copy=copy)
                answers.append(answer)
        else:
            prompts, stop = [one.encoded for one in asked], asked[0].stop
            copied = [self.original(text.text, question) for text in texts] if copy else None
            plain = self.answer(prompts, policy=policy, stop=stop, max_new_tokens=max_new_tokens, copied=copied)
            answers = [
                replace(
                    self.judge(answer, question, text.text, start=text.start),
                    read_tokens=answer.read_tokens + one.scored_tokens,
                )
                for answer, one, text in zip(plain, asked, texts, strict=True)
            ]
        best = max(range(len(answers)), key=lambda i: answers[i].rank)
        return in_original(best_of(answers), origin), asked[best].prompt

    def read(
        self,
        document: str,
        *,
        select: str = FULL,
        strategy: str = "once",
        budget: int | None = None,
        window: str = "head",
        forgotten: str | None = None,
    ) -> ReadDocument:
        """Read a document before any question, into a state that keeps the keys that `select` chooses.

        budget: document tokens (None: as `ask`); forgotten: a unit of text, as "sentence" or "line", for each of
        which it is measured what the state lost.  Raises BadInput for a strategy that looks at the question, for a
        document that is longer than the model's positions, and for a model whose state has a fixed size already.
        """
        checked_selection(self.lm, select)
        tokens = self.budget(strategy) if budget is None else budget
        document = clean(document)
        if budget is None and self.is_longer(document, tokens) and any_length(self.lm, select):
            tokens = ANY_LENGTH
        return self.read_shown(cut(document, self.lm.tokenizer, tokens, window), select, strategy, forgotten)

    @torch.inference_mode()
    def read_shown(self, shown: Cut, select: str, strategy: str = "once", forgotten: str | None = None) -> ReadDocument:
        """As `read`, of a document that was cut."""
        checked_select(select, prefill=self.prefill)
        began = time.perf_counter()
        prompt = build_unasked(strategy, shown.text, cut=shown, tokenizer=self.lm.tokenizer)
        ids = prompt.encode(self.lm.tokenizer).tokens
        self.check_fits(len(ids), select)
        lost = None if forgotten is None else units(shown.text, forgotten, self.lm.tokenizer)  # refused before reading
        selected = read_with(self.lm, torch.tensor([ids], dtype=torch.long), select, forgotten=lost is not None)
        spans = () if lost is None else lost_of(self.lm, prompt, selected, lost)
        return ReadDocument(prompt, shown, selected, time.perf_counter() - began, spans)

    def ask_read(
        self,
        read: ReadDocument,
        questions: Sequence[str],
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        batch: int = 16,
        copy: bool = False,
    ) -> list[Answer]:
        """One judged Answer per question, in order, each from a copy of the state.  Its tokens and seconds are of the
        question alone.  copy: as `ask`.  Raises BadInput for a question without text, and where it does not fit behind
        the document."""
        tails = [self.tail(question, read.selected.end, read.shown.text) for question in questions]
        states = [read.state] * len(questions)
        copied = [self.original(read.shown.text, question) for question in questions] if copy else None
        answers = self.answer_each(states, tails, max_new_tokens=max_new_tokens, batch=batch, copied=copied)
        return [self.judge_read(read, answer, question) for answer, question in zip(answers, questions, strict=True)]

    def judge_read(self, read: ReadDocument, answer: Answer, question: str) -> Answer:
        """The answer to a question of a document that was read, judged, with what was kept of the document."""
        tokens = answer.prompt_tokens + read.selected.tokens - read.selected.end
        answer = replace(answer, kept_positions=read.selected.kept_positions, prompt_tokens=tokens)
        near = read.lost_near(question)
        return self.judge(answer, question, read.shown.text, start=read.shown.start, forgotten=near)

    def ask_again(
        self, read: ReadDocument, question: str, answer: Answer, max_new_tokens: int, *, copy: bool = False
    ) -> Answer:
        """The answer after what was read into a state is read again with all keys; with the tokens and seconds of
        `answer`, which came from the state."""
        whole = self.read_shown(read.shown, FULL, read.prompt.strategy)
        (again,) = self.ask_read(whole, [question], max_new_tokens=max_new_tokens, copy=copy)
        again = whole.charged(again)
        return again.after(answer, whole.selected.tokens)

    def show(self, shown: Cut, question: str, *, strategy: str = "once", most_scored: int | None = None) -> Asked:
        """What a model will see of a document and a question; most_scored: tokens that may be read to choose units.
        Raises BadInput for a question without text."""
        check_question(question)
        question = as_asked(question, shown.text)
        form = self.lm.template(template_for(question))
        score = UnitScores(self.lm, question, form, most=most_scored)
        prompt = build(strategy, shown.text, question, form, cut=shown, tokenizer=self.lm.tokenizer, score=score)
        return Asked(prompt, prompt.encode(self.lm.tokenizer), form.stop, score.tokens)

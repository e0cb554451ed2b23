"""Policies: how many tokens of a prompt are its prefix, the part that is read non-causally.

A policy has an id such as "share(r=0.5)" that stands in every table and parses back, and gives every
row of a batch a length of its own, with the tokens that were read to find it.  Fixed lengths are those
of "Just read twice"; `entropy` is section 4.1 of "Improving recall in recurrent LMs"; `learned` is the
future work of its section 6 (fitted by training/prefix_policy.py).  A policy sees tokens and the roles
of their spans; it knows no task, no answer, and no longest prefix of a model (engine.py cuts to that).
torch is needed only where a model is asked.

Shapes: n tokens of one prompt.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from reread.config import Spec, settings_of
from reread.errors import BadInput, UnknownName, reason
from reread.prompting import TEMPLATES, Encoded, decode, encoding
from reread.prompting.complexity import numbers, unigram_entropy
from reread.prompting.ranking import words
from reread.prompting.segment import units

if TYPE_CHECKING:
    from reread.models import LM

SHOWN = ("document", "repeat")
PIECE = 32  # tokens of one piece, where the first pass reads pieces from all over a prompt
TEMPLATE_WORDS = frozenset(word for one in TEMPLATES.values() for word in words(one.ask))


@dataclass(frozen=True)
class Unit:
    """A unit of what is shown: its words, and the token of the prompt that it ends before."""

    words: frozenset[str]
    end: int


@dataclass(frozen=True)
class Seen:
    """What a rule is given of one row; tokenizer and entropy (of the first pass) only where it asks for them."""

    prompt: Encoded
    tokenizer: Tokenizer | None = None
    entropy: float = math.nan

    @property
    def n(self) -> int:
        return len(self.prompt.tokens)

    def text(self, start: int, end: int) -> str:
        if self.tokenizer is None:
            raise BadInput("this policy reads words, and there is no tokenizer here", allowed="share, fixed, entropy")
        return decode(self.prompt.tokens[start:end], self.tokenizer, first=start == self.prompt.text_start)

    @property
    def question_start(self) -> int:
        """Where the question begins.  Raises BadInput for a prompt without one."""
        role, start, _ = self.prompt.spans[-1]
        if role != "question":
            raise BadInput("this policy needs to know where the question begins", got=f"a prompt that ends with {role}")
        return start

    @cached_property
    def terms(self) -> frozenset[str]:
        """Words of the question, without those of the templates around it."""
        return frozenset(words(self.text(self.question_start, self.n))) - TEMPLATE_WORDS

    def units(self, unit: str) -> list[Unit]:
        """Units of the document and its repeats, in order; windows are counted in the prompt's own tokens."""
        found = []
        for role, start, end in self.prompt.spans:
            if role not in SHOWN or start == end:
                continue
            text = self.text(start, end)
            begins = start == self.prompt.text_start
            encoded = encoding(text, self.tokenizer, first=begins) if self.tokenizer else None
            begun = [first for first, _ in encoded.offsets] if encoded else []
            for first, last in units(text, unit, self.tokenizer):
                ends = min(end, start + bisect.bisect_left(begun, last))
                found.append(Unit(frozenset(words(text[first:last])), ends))
        return found


@dataclass(frozen=True)
class FirstPass:
    """A cheap causal pass: `tokens` of the prompt at most, its first ones or (spread) PIECEs from all over it."""

    tokens: int
    at: str

    def ids(self, tokens: Sequence[int]) -> list[int]:
        """The tokens that are read."""
        if self.at == "first" or len(tokens) <= self.tokens:
            return list(tokens[: self.tokens])
        pieces = max(1, self.tokens // PIECE)
        size = self.tokens // pieces
        starts = [round(k * (len(tokens) - size) / max(1, pieces - 1)) for k in range(pieces)]
        return [token for start in starts for token in tokens[start : start + size]]


@dataclass(frozen=True)
class Rule:
    """The length of one row's prefix; words: whether it reads words; first: the pass it asks of a model."""

    length: Callable[[Seen], float]
    words: bool = False
    first: FirstPass | None = None


def prompt() -> Rule:
    """All of the prompt, as the published models read it."""
    return Rule(lambda seen: seen.n)


def document() -> Rule:
    """All before the question, so that further questions can go on from one state."""
    return Rule(lambda seen: seen.question_start)


def none() -> Rule:
    """Nothing: the prompt is read causally."""
    return Rule(lambda seen: 0)


def fixed(*, n: int = 512) -> Rule:
    """The first n tokens ("Just read twice" trains and reads with n = 1,024)."""
    if n < 0:
        raise BadInput("a prefix has 0 or more tokens", got=n)
    return Rule(lambda seen: n)


def share(*, r: float = 0.5) -> Rule:
    """That share of the prompt's tokens."""
    check_share("r", r)
    return Rule(lambda seen: r * seen.n)


def check_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise BadInput(f"{name} is a share of the prompt", got=value, allowed="0 to 1")


# Quantiles 0.25 (low) and 0.50, 0.75, 0.90 over training documents; docs/prefix.md has the command.
THRESHOLDS: dict[str, tuple[float, tuple[float, ...]]] = {
    "unigram": (0.7271, (0.7437, 0.7726, 0.791)),
    "model": (0.4596, (0.484, 0.5298, 0.5809)),
}


def entropy(
    *,
    of: str = "unigram",
    base: float = 0.5,
    increment: float = 0.1,
    thresholds: str = "",
    low: float = -1.0,
    shorten: float = 0.0,
    tokens: int = 128,
    at: str = "spread",
) -> Rule:
    """Longer for complex contexts ("Improving recall in recurrent LMs", section 4.1).

    The length is base * (1 + increment * k) of the prompt, k the number of thresholds that the
    complexity lies above, all of it at most; below `low` it is less by base * shorten, and kept
    for shorten = 0.  Complexity, 0 to 1: of=unigram, `unigram_entropy` of the prompt; of=model, the mean
    entropy of the model's next token over log V, in a causal pass over `tokens` tokens (at=first
    or at=spread).  thresholds "" and low -1: those of THRESHOLDS, low
    no higher than the first threshold.
    """
    if of not in THRESHOLDS:
        raise UnknownName("complexity", of, THRESHOLDS)
    if at not in ("first", "spread"):
        raise UnknownName("place of the first pass", at, ("first", "spread"))
    if tokens < 2 or not 0 <= increment < math.inf:
        raise BadInput("a first pass reads 2 tokens or more; an increment is 0 or more", got=f"{tokens}, {increment}")
    check_share("base", base)
    check_share("shorten", shorten)
    steps = numbers(thresholds) if thresholds else THRESHOLDS[of][1]
    bottom = min(THRESHOLDS[of][0], steps[0]) if low == -1.0 else low
    if bottom > steps[0]:
        raise BadInput("low must not lie above a threshold", got=low, allowed=f"{steps[0]} at most")

    def length(seen: Seen) -> float:
        complexity = seen.entropy if of == "model" else unigram_entropy(seen.prompt.tokens)
        longer = increment * sum(complexity > step for step in steps)
        return base * (1 + longer - (shorten if complexity < bottom else 0.0)) * seen.n

    return Rule(length, first=FirstPass(tokens, at) if of == "model" else None)


def matches(seen: Seen, unit: str, rare: float) -> list[tuple[int, float]]:
    """(end, weight) of every unit: how much of the question's terms it holds, rarer ones weighing more.

    A term counts when it stands in at most `rare` of the units (in one, where there are few): a word
    that is everywhere says nothing about a place.  Weight: sum over terms of log(1 + units / units with it).
    """
    found = seen.units(unit)
    holding = Counter(term for one in found for term in seen.terms & one.words)
    weight = {
        term: math.log(1 + len(found) / count)
        for term, count in sorted(holding.items())
        if count <= max(1.0, rare * len(found))
    }
    return [(one.end, sum(value for term, value in weight.items() if term in one.words)) for one in found]


def question_aware(*, unit: str = "window(32)", until: str = "last", rare: float = 0.5, after: int = 0) -> Rule:
    """As long as the question needs: the prefix ends with the last unit of the document that shares a term with the
    question (until=last), or with the unit that shares most (until=best, the later of two); see `matches`.

    after: so many units more, since an answer may follow what is asked.  Where no unit shares a term, nothing
    is known and all of the prompt is prefix.
    """
    if until not in ("last", "best"):
        raise UnknownName("end of a prefix", until, ("last", "best"))
    check_share("rare", rare)
    if after < 0:
        raise BadInput("after is a number of units, 0 or more", got=after)

    def length(seen: Seen) -> float:
        if not seen.question_start:  # raises where there is no question
            return seen.n
        found = matches(seen, unit, rare)
        hits = [(weight if until == "best" else 0.0, at) for at, (_, weight) in enumerate(found) if weight > 0]
        return found[min(max(hits)[1] + after, len(found) - 1)][0] if hits else seen.n

    return Rule(length, words=True)


def prompt_features(seen: Seen) -> dict[str, float]:
    """What is known of a prompt before a model has seen it, each about 0 to 1: `learned` decides by these."""
    tokens, n = seen.prompt.tokens, seen.n
    text = seen.text(0, n)
    found = matches(seen, "window(32)", 0.5)
    hits = [(end, weight) for end, weight in found if weight > 0]
    best = max(hits, key=lambda one: (one[1], one[0]))[0] if hits else n
    held: frozenset[str] = frozenset().union(*(one.words for one in seen.units("window(32)")), frozenset())
    return {
        "length": math.log2(1 + n) / 12,
        "unigram entropy": unigram_entropy(tokens),
        "question length": min(1.0, len(seen.terms) / 16),
        "terms found": len(seen.terms & held) / max(1, len(seen.terms)),
        "units with terms": len(hits) / max(1, len(found)),
        "first match": hits[0][0] / n if hits else 1.0,
        "last match": hits[-1][0] / n if hits else 1.0,
        "best match": best / n,
        "lines": min(1.0, text.count("\n") * 8 / n),
        "digits": sum(c.isdigit() for c in text) / max(1, len(text)),
        "colons": min(1.0, text.count(":") * 8 / n),
        "copies": sum(role in SHOWN for role, _, _ in seen.prompt.spans) / 4,
    }


FEATURES = (
    "length", "unigram entropy", "question length", "terms found", "units with terms", "first match", "last match",
    "best match", "lines", "digits", "colons", "copies",
)  # fmt: skip
VERSION = 1


@dataclass(frozen=True)
class Learned:
    """Linear scores of actions over standardised `prompt_features`; the highest is taken.

    weights: one row per action, a constant last.
    """

    actions: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    def action(self, features: dict[str, float]) -> str:
        x = [(features[name] - m) / s for name, m, s in zip(FEATURES, self.mean, self.scale, strict=True)]
        scores = [sum(w * v for w, v in zip(row, (*x, 1.0), strict=True)) for row in self.weights]
        return self.actions[scores.index(max(scores))]

    @property
    def sha(self) -> str:
        """The first 12 hex digits of the sha256 of `facts` as JSON: equal for files that decide alike."""
        return hashlib.sha256(json.dumps(self.facts()).encode()).hexdigest()[:12]

    def facts(self) -> dict[str, Any]:
        """What a learned file decides by; the rest of it tells where that came from."""
        return {
            "version": VERSION,
            "features": list(FEATURES),
            "actions": list(self.actions),
            "mean": list(self.mean),
            "scale": list(self.scale),
            "weights": [list(row) for row in self.weights],
        }

    @staticmethod
    def read(data: bytes, where: str) -> Learned:
        """Raises BadInput for what is no such file: version, features, actions, and finite numbers, so many of each."""
        try:
            facts = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{where} is not JSON: {error}", todo="reread fit-prefix writes such files") from error
        if not isinstance(facts, dict) or facts.get("version") != VERSION:
            got = facts.get("version") if isinstance(facts, dict) else type(facts).__name__
            raise BadInput(f"{where} is no learned prefix policy of this version", got=repr(got), allowed=VERSION)
        if facts.get("features") != list(FEATURES):
            raise BadInput(f"{where} decides by other features", got=facts.get("features"), allowed=", ".join(FEATURES))
        actions = facts.get("actions")
        if not isinstance(actions, list) or not actions or not all(isinstance(one, str) for one in actions):
            raise BadInput(f"{where} names no actions", got=repr(actions)[:60])
        for one in actions:
            check_action(one)
        mean, scale = (vector(facts.get(name), len(FEATURES), f"{where}: {name}") for name in ("mean", "scale"))
        if min(scale) <= 0:
            raise BadInput(f"{where}: scale must lie above 0", got=min(scale))
        rows = facts.get("weights")
        if not isinstance(rows, list) or len(rows) != len(actions):
            raise BadInput(f"{where}: weights must be one row per action", allowed=f"{len(actions)} rows")
        weights = tuple(vector(row, len(FEATURES) + 1, f"{where}: weights") for row in rows)
        return Learned(tuple(actions), mean, scale, weights)


def check_action(name: str) -> None:
    """Raise for an action that is no policy, or one that asks words or a model."""
    named = Spec.parse(name).name
    rule = None if named == "learned" else policy(name).rule
    if rule is None or rule.words or rule.first:
        raise BadInput("an action is a policy that looks at lengths alone", got=name, allowed="none, share, fixed, ...")


def vector(values: Any, size: int, where: str) -> tuple[float, ...]:
    """So many finite numbers.  Raises BadInput."""
    right = isinstance(values, list) and len(values) == size
    if not right or not all(type(x) in (int, float) and math.isfinite(x) for x in values):
        raise BadInput(f"{where} must be {size} finite numbers", got=repr(values)[:60])
    return tuple(float(x) for x in values)


def load_learned(path: str) -> Learned:
    """What a learned file holds, the one that comes with the package for "".  Raises BadInput."""
    file = Path(path) if path else Path(str(resources.files("reread") / "assets" / "prefix" / "policy.json"))
    try:
        return Learned.read(file.read_bytes(), path or "the policy of the package")
    except (OSError, ValueError) as error:
        what = f"no learned policy can be read: {reason(error)}"
        raise BadInput(what, got=str(file), todo="reread fit-prefix writes one") from error


def learned(*, path: str = "", sha: str = "") -> Rule:
    """What `reread fit-prefix` wrote to `path` ("": the policy that comes with the package).

    sha: of what it decides by, which every id of a loaded policy holds.  Raises BadInput for a file of another.
    """
    fitted = load_learned(path)
    if sha and sha != fitted.sha:
        raise BadInput(f"{path or 'the policy of the package'} holds other weights", got=fitted.sha, allowed=sha)
    rules = {name: policy(name).rule for name in fitted.actions}
    return Rule(lambda seen: rules[fitted.action(prompt_features(seen))].length(seen), words=True)


POLICIES: dict[str, Callable[..., Rule]] = {
    "prompt": prompt,
    "document": document,
    "none": none,
    "fixed": fixed,
    "share": share,
    "entropy": entropy,
    "question_aware": question_aware,
    "learned": learned,
}
OTHER_NAMES = {"all": "prompt"}


@dataclass(frozen=True)
class Choice:
    """The length of one row's prefix, and the tokens that a model read to find it."""

    prefix_len: int
    read_tokens: int


@dataclass(frozen=True)
class Policy:
    """A rule under its id."""

    spec: Spec
    rule: Rule

    def __str__(self) -> str:
        return str(self.spec)

    def has_no_effect_on(self, lm: LM) -> bool:
        """Whether somebody who names this policy should be told that it changes nothing: `lm` reads causally, and the
        policy is neither a default nor "none"."""
        return not lm.model.noncausal_prefix and self.spec.name not in ("prompt", "document", "none")

    def choose(
        self, prompts: Sequence[Encoded], lm: LM | None = None, *, tokenizer: Tokenizer | None = None
    ) -> list[Choice]:
        """One Choice per prompt, in order, each as if the prompt were alone.

        lm: whom a rule asks; where there is none, `tokenizer` does for rules that read words.  Raises
        BadInput where a model is asked and there is none.
        """
        rule, heard, fed = self.rule, [math.nan] * len(prompts), [0] * len(prompts)
        if rule.words and tokenizer is None and lm is not None:
            tokenizer = lm.tokenizer
        if rule.first is not None:
            if lm is None:
                raise BadInput("this policy asks a model, and there is none here", got=str(self), allowed="of=unigram")
            from reread.scoring import next_token_entropies

            rows = [rule.first.ids(one.tokens) for one in prompts]
            heard, fed = next_token_entropies(lm, rows), [len(row) for row in rows]
        lengths = [rule.length(Seen(one, tokenizer, h)) for one, h in zip(prompts, heard, strict=True)]
        whole = [
            max(0, min(len(p.tokens), math.floor(min(x, len(p.tokens)) + 0.5)))
            for p, x in zip(prompts, lengths, strict=True)
        ]
        return [Choice(length, tokens) for length, tokens in zip(whole, fed, strict=True)]


def policy(text: str) -> Policy:
    """The policy of an id such as "fixed(n=256)"; the id of what is learnt holds the hash of what that decides by.

    Raises UnknownName, BadInput.
    """
    spec = Spec.parse(text)
    spec = replace(spec, name=OTHER_NAMES.get(spec.name, spec.name))
    if spec.name not in POLICIES:
        raise UnknownName("prefix policy", spec.name, POLICIES)
    settings = settings_of(spec, POLICIES[spec.name])
    rule = POLICIES[spec.name](**settings)
    if spec.name == "learned":
        settings["sha"] = load_learned(settings.get("path", "")).sha
    return Policy(Spec(spec.name, (), tuple(sorted(settings.items()))), rule)

"""How long a prefix should be, learnt: a policy on cheap features, against recall minus a price per prefix token.

"Improving recall in recurrent LMs" leaves this to future work.  A prompt is a state, a plain policy
(`none`, `share(r=0.5)`, ...) an action, and what an answer is worth less the price of the prefix the
reward.  Every action of every question is answered once and kept in a run folder, so that learners see
the same rewards: REINFORCE (Williams 1992) with a baseline, and the simple rival, a contextual bandit
(LinUCB, Li et al. 2010), which is shown the reward of its own action alone.  Both are judged on documents
that were left out, beside the best single action and the best action per question.  Knows tasks only as samples.

Shapes: N states, A actions, F features (a constant last).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reread.config import at_least, to_dict
from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.pace import Tell
from reread.policies import FEATURES, Learned, Seen, check_action, prompt_features
from reread.policies import entropy as entropy_rule
from reread.prompting import BUDGET, Encoded, Sample, build, cut, template
from reread.prompting.complexity import unigram_entropy
from reread.runlog import Run, write_json
from reread.scoring import next_token_entropies
from reread.stats import mean_interval
from reread.tasks.metrics import contains

ACTIONS = ("none", "share(r=0.25)", "share(r=0.5)", "share(r=0.75)", "document", "prompt")
ANSWERED = 16  # prompts at a time
Array = np.ndarray


@dataclass(frozen=True)
class FitConfig:
    """How rewards are made and learnt from.

    price: of a prefix token, in answers (1e-4: a hundred tokens more must bring one answer in a hundred);
    gold: weight of the gold answer's probability beside whether the answer is right; draws: actions
    sampled per state and step; bonus: weight of the policy's entropy; alpha: width of LinUCB's
    confidence; parts: the documents are dealt into so many, each of which judges once what was learnt of the
    others; deals: how often.
    """

    actions: tuple[str, ...] = ACTIONS
    price: float = 1e-4
    gold: float = 0.0
    method: str = "reinforce"
    baseline: str = "leave_one_out"
    steps: int = 4000
    batch: int = 64
    draws: int = 4
    rate: float = 0.5
    bonus: float = 0.002
    alpha: float = 0.5
    ridge: float = 1.0
    passes: int = 5
    parts: int = 3
    deals: int = 5
    seed: int = 0

    def check(self) -> None:
        """Raise for unknown names and sizes that cannot be."""
        if len(self.actions) < 2 or len(set(self.actions)) < len(self.actions):
            raise BadInput("a policy chooses between two actions or more, each named once", got=list(self.actions))
        for name in self.actions:
            check_action(name)
        for value, known, what in ((self.method, METHODS, "method"), (self.baseline, BASELINES, "baseline")):
            if value not in known:
                raise UnknownName(what, value, known)
        at_least(self, 0, "price", "gold", "bonus", "alpha")
        at_least(self, 1, "steps", "batch", "passes", "deals")
        at_least(self, 2, "draws", "parts")
        if min(self.rate, self.ridge) <= 0:
            raise BadInput("rate and ridge must be above 0", got=f"{self.rate} and {self.ridge}")


def shown(sample: Sample, reader: Reader, budget: int) -> Encoded:
    """The sample's prompt, read once, as evaluations show it (window answer_centered where there are anchors)."""
    tokenizer, window = reader.lm.tokenizer, "answer_centered" if sample.anchors else "head"
    part = cut(sample.document, tokenizer, budget, window, sample.anchors)
    made = build("once", part.text, sample.question, template(sample.template), cut=part, tokenizer=tokenizer)
    return made.encode(tokenizer)


def rewards(
    reader: Reader,
    samples: Mapping[str, Sequence[Sample]],
    out: Path,
    actions: Sequence[str],
    *,
    budget: int = BUDGET,
    progress: Tell = lambda *_: None,
) -> Run:
    """Every action of every question answered once, into a run folder; a stopped one goes on."""
    counts = {task: len(some) for task, some in samples.items()}
    described = {
        "model": reader.lm.name,
        "fingerprint": reader.lm.model.fingerprint,
        "samples": counts,
        "actions": list(actions),
        "budget": budget,
        "features": list(FEATURES),
    }
    with Run.start(out, "prefix-rewards", described, resume=True) as run:
        if run.done:
            return run
        seen = {(row["task"], row["id"], row["question"], row["action"]) for row in run.rows()}
        done, total = len(seen), len(actions) * sum(counts.values())
        for task, some in samples.items():
            for start in range(0, len(some), 4 * ANSWERED):
                part = some[start : start + 4 * ANSWERED]
                for action in actions:
                    todo = [s for s in part if (task, s.id, s.question, action) not in seen]
                    for row in answered(reader, todo, action, budget):
                        run.append({"task": task, **row})
                    done += len(todo)
                    progress("rewards", done, total)
        run.finish({"rows": total})
        return run


def answered(reader: Reader, samples: Sequence[Sample], action: str, budget: int) -> Iterator[dict[str, Any]]:
    """One row per sample: what the action brought, and what the prompt looks like."""
    if not samples:
        return
    prompts = [shown(sample, reader, budget) for sample in samples]
    forms = [template(sample.template) for sample in samples]
    golds = [form.answer(sample.answers[0]) for form, sample in zip(forms, samples, strict=True)]
    answers = reader.answer(prompts, policy=action, stop=forms[0].stop, batch=ANSWERED, golds=golds)
    for sample, prompt, answer in zip(samples, prompts, answers, strict=True):
        features = prompt_features(Seen(prompt, reader.lm.tokenizer))
        yield {
            "id": sample.id,
            "document": sample.document_hash,
            "question": sample.question,
            "action": action,
            "contains": contains(answer.text, sample.answers),
            "loglik": None if answer.loglik is None else round(answer.loglik, 4),
            "prefix_len": answer.prefix_len,
            "prompt_tokens": answer.prompt_tokens,
            "features": {name: round(value, 6) for name, value in features.items()},
        }


@dataclass(frozen=True)
class Table:
    """States and what every action brings there: x (N,F), right, gold and prefix (N,A), a document per state."""

    x: Array
    right: Array
    gold: Array
    prefix: Array
    documents: tuple[str, ...]

    def reward(self, spec: FitConfig) -> Array:
        """(N,A)"""
        return self.right + spec.gold * self.gold - spec.price * self.prefix

    def part(self, rows: Sequence[int]) -> Table:
        keep = list(rows)
        documents = tuple(self.documents[i] for i in keep)
        return Table(self.x[keep], self.right[keep], self.gold[keep], self.prefix[keep], documents)


def table(run: Run, actions: Sequence[str]) -> Table:
    """The rows of `rewards` as a table.  Raises BadInput for a question that lacks an action."""
    states: dict[tuple, dict[str, dict[str, Any]]] = {}
    for row in run.rows():
        states.setdefault((row["task"], row["id"], row["question"]), {})[row["action"]] = row
    found = [[by[name] for name in actions] for by in states.values() if all(name in by for name in actions)]
    if len(found) < len(states) or not found:
        raise BadInput("rewards are missing", got=f"{len(found)} whole of {len(states)} ({run.folder})")
    logliks = [[row["loglik"] for row in rows] for rows in found]
    return Table(
        np.array([[rows[0]["features"][name] for name in FEATURES] for rows in found]),
        np.array([[row["contains"] for row in rows] for rows in found]),
        np.exp(np.array([[-np.inf if value is None else value for value in values] for values in logliks])),
        np.array([[row["prefix_len"] for row in rows] for rows in found], dtype=np.float64),
        tuple(rows[0]["document"] for rows in found),
    )


def probabilities(scores: Array) -> Array:
    """Softmax over actions, (...,A)."""
    high = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return high / high.sum(axis=-1, keepdims=True)


def reinforce(x: Array, reward: Array, spec: FitConfig) -> Array:
    """Weights (A,F) of a softmax policy by REINFORCE: log pi(a|x) rises with the reward of a above a baseline.

    baseline leave_one_out: the mean reward of the other draws in the same state; value: a linear
    function of the features, fitted to the rewards drawn so far.
    """
    draw = np.random.default_rng(spec.seed)
    weights, value = np.zeros((reward.shape[1], x.shape[1])), np.zeros(x.shape[1])
    for step in range(spec.steps):
        rows = draw.integers(len(x), size=spec.batch)
        states = x[rows]
        pi = probabilities(states @ weights.T)
        ladder = pi.cumsum(axis=1)[:, None, :]
        chosen = (draw.random((spec.batch, spec.draws, 1)) > ladder).sum(axis=2).clip(max=reward.shape[1] - 1)
        got = np.take_along_axis(reward[rows], chosen, axis=1)
        if spec.baseline == "leave_one_out":
            above = got - (got.sum(axis=1, keepdims=True) - got) / (spec.draws - 1)
        else:
            above = got - (states @ value)[:, None]
            value += 0.05 * (above.mean(axis=1)[:, None] * states).mean(axis=0)
        taken = np.eye(reward.shape[1])[chosen]
        gain = (above[..., None] * (taken - pi[:, None, :])).mean(axis=1)
        log = np.log(np.maximum(pi, 1e-12))
        gain -= spec.bonus * pi * (log - (pi * log).sum(axis=1, keepdims=True))
        weights += spec.rate * (1 - step / spec.steps) * gain.T @ states / spec.batch
    return weights


def bandit(x: Array, reward: Array, spec: FitConfig) -> Array:
    """Weights (A,F) of the expected reward per action, by ridge regression on the rewards of LinUCB's own actions."""
    draw = np.random.default_rng(spec.seed)
    A, F = reward.shape[1], x.shape[1]
    inverse, sums, weights = np.stack([np.eye(F) / spec.ridge] * A), np.zeros((A, F)), np.zeros((A, F))
    for row in np.concatenate([draw.permutation(len(x)) for _ in range(spec.passes)]):
        state = x[row]
        seen = inverse @ state
        a = int((weights @ state + spec.alpha * np.sqrt(seen @ state)).argmax())
        inverse[a] -= np.outer(seen[a], seen[a]) / (1 + seen[a] @ state)
        sums[a] += reward[row, a] * state
        weights[a] = inverse[a] @ sums[a]
    return weights


def regression(x: Array, reward: Array, spec: FitConfig) -> Array:
    """Weights (A,F) of the expected reward per action, by ridge regression on the rewards of every action: what could
    be learnt without choosing, were each tried on each question."""
    return np.linalg.solve(x.T @ x + spec.ridge * np.eye(x.shape[1]), x.T @ reward).T


METHODS: dict[str, Callable[[Array, Array, FitConfig], Array]] = {
    "reinforce": reinforce,
    "bandit": bandit,
    "regression": regression,
}
BASELINES = ("leave_one_out", "value")
BEST = "best single action"  # of the documents that were learnt from


def seed_of(spec: FitConfig, deal: int) -> int:
    """No two seeds share a deal."""
    return 1000 * spec.seed + deal


def parts(documents: Sequence[str], spec: FitConfig, deal: int) -> list[list[int]]:
    """The states of each part that the documents are dealt into.  Raises BadInput for fewer documents than parts."""
    names = sorted(set(documents))
    if len(names) < (least := max(3, spec.parts)):
        why = "a policy is learnt on some documents and judged on others; there are too few"
        raise BadInput(why, got=len(names), allowed=f"{least} or more")
    random.Random(seed_of(spec, deal)).shuffle(names)
    part_of = {name: n for n, some in enumerate(np.array_split(np.array(names), spec.parts)) for name in some}
    return [[i for i, name in enumerate(documents) if part_of[name] == n] for n in range(spec.parts)]


@dataclass(frozen=True)
class Fitted:
    """What all methods learnt of one table.  mean, scale (F-1,) of its features; weights: by method, (A,F); best: the
    single action of the highest mean reward."""

    mean: Array
    scale: Array
    weights: dict[str, Array]
    best: int

    @staticmethod
    def to(train: Table, spec: FitConfig) -> Fitted:
        reward = train.reward(spec)
        mean, scale = train.x.mean(axis=0), np.maximum(train.x.std(axis=0), 1e-3)
        x = standardised(train.x, mean, scale)
        weights = {name: method(x, reward, spec) for name, method in METHODS.items()}
        return Fitted(mean, scale, weights, int(reward.mean(axis=0).argmax()))

    def choose(self, method: str, x: Array) -> Array:
        """An action per state, (N,)"""
        return (standardised(x, self.mean, self.scale) @ self.weights[method].T).argmax(axis=1)


def standardised(x: Array, mean: Array, scale: Array) -> Array:
    """(N,F-1) to (N,F): features as learners see them, a constant last."""
    return np.concatenate([(x - mean) / scale, np.ones((len(x), 1))], axis=1)


def judged(whole: Table, chosen: Array, against: Array, spec: FitConfig) -> dict[str, Any]:
    """What a choice of actions brings, and what more than another [95 % paired interval over documents].

    chosen, against: (D,N), an action per deal and state; a state's values are means over deals.
    """
    rows = np.arange(chosen.shape[1])
    told: dict[str, Any] = {"prefix tokens": round(float(whole.prefix[rows, chosen].mean()), 1)}
    for name, values in (("reward", whole.reward(spec)), ("contains", whole.right)):
        own, other = (values[rows, actions].mean(axis=0) for actions in (chosen, against))
        mean, low, high = mean_interval((own - other).tolist(), whole.documents, worst=-1.0)
        told[name] = round(float(own.mean()), 4)
        told[f"{name} gained"] = [round(float(v), 4) for v in (mean, low, high)]
    return told


def learn(whole: Table, spec: FitConfig) -> tuple[Learned, dict[str, Any]]:
    """The policy of `spec.method`, learnt from all parts of the first deal but one, and what every contender brings to
    documents that it has not learnt from: in each deal each part judges once what the others taught."""
    N = len(whole.documents)
    choices = {name: np.empty((spec.deals, N), dtype=np.int64) for name in (BEST, *METHODS)}
    fits = []
    for deal in range(spec.deals):
        dealt = replace(spec, seed=seed_of(spec, deal))
        for left in parts(whole.documents, spec, deal):
            fits.append(Fitted.to(whole.part(sorted(set(range(N)) - set(left))), dealt))
            choices[BEST][deal, left] = fits[-1].best
            for name in METHODS:
                choices[name][deal, left] = fits[-1].choose(name, whole.x[left])
    always = {f"always {name}": np.full((1, N), a) for a, name in enumerate(spec.actions)}
    oracle = {"oracle": whole.reward(spec).argmax(axis=1)[None]}
    contenders = {**always, **choices, **oracle}
    told = {
        "states": N,
        "documents": len(set(whole.documents)),
        "held out": {name: judged(whole, chosen, choices[BEST], spec) for name, chosen in contenders.items()},
        "chosen": {
            name: {action: round(float((made == a).mean()), 4) for a, action in enumerate(spec.actions)}
            for name, made in choices.items()
        },
    }
    first = fits[0]
    rows = tuple(tuple(float(w) for w in row) for row in first.weights[spec.method])
    return Learned(spec.actions, tuple(map(float, first.mean)), tuple(map(float, first.scale)), rows), told


def fit_prefix(
    reader: Reader,
    samples: Mapping[str, Sequence[Sample]],
    out: Path,
    spec: FitConfig,
    *,
    rewards_in: Path,
    budget: int = BUDGET,
    progress: Tell = lambda *_: None,
) -> dict[str, Any]:
    """A learned policy in the file that learned(path='OUT') reads, and what was found.  Raises BadInput."""
    spec.check()
    if not reader.lm.model.noncausal_prefix:
        raise BadInput("this model reads no prefix, so there is nothing to learn", got=reader.lm.name)
    run = rewards(reader, samples, rewards_in, spec.actions, budget=budget, progress=progress)
    policy, told = learn(table(run, spec.actions), spec)
    facts = {
        **policy.facts(),
        "model": reader.lm.name,
        "fingerprint": reader.lm.model.fingerprint,
        "tasks": {task: len(some) for task, some in samples.items()},
        "budget": budget,
        "settings": to_dict(spec),
        **told,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, facts)
    return facts


def markdown(facts: Mapping[str, Any]) -> str:
    """What a learned file says of its contenders, as a table."""

    def points(values: Sequence[float]) -> str:
        mean, low, high = (100 * value for value in values)
        return f"{mean:.1f} [{low:.1f}, {high:.1f}]"

    settings = facts["settings"]
    lines = [
        f"{facts['states']} questions of {facts['documents']} documents, dealt into {settings['parts']} parts "
        f"{settings['deals']} times; each part judges what was learnt of the others.  Budget {facts['budget']:,}, "
        f"{settings['price']:g} of an answer per prefix token.  Gains, in points, are over the best single action of "
        "the documents learnt from [95 % paired bootstrap interval over documents].",
        "",
        "| prefix | recall, % | recall gained | prefix tokens | reward gained |",
        "|---|---|---|---|---|",
    ]
    for name, told in facts["held out"].items():
        gains = ["-" if name == BEST else points(told[f"{what} gained"]) for what in ("contains", "reward")]
        lines.append(
            f"| {name} | {100 * told['contains']:.1f} | {gains[0]} | {told['prefix tokens']:.0f} | {gains[1]} |"
        )
    return "\n".join(lines)


def complexities(reader: Reader, samples: Sequence[Sample], of: str, budget: int) -> list[float]:
    """What the policy `entropy` measures, of every sample's prompt.  Raises UnknownName."""
    first = entropy_rule(of=of).first
    prompts = [shown(sample, reader, budget) for sample in samples]
    if first is None:
        return [unigram_entropy(prompt.tokens) for prompt in prompts]
    return next_token_entropies(reader.lm, [first.ids(prompt.tokens) for prompt in prompts])


def quantiles(values: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Of the values, to four digits: thresholds for the policy `entropy`."""
    if not values or not all(0 <= share <= 1 for share in shares):
        raise BadInput("quantiles are shares of some values", got=f"{list(shares)} of {len(values)}", allowed="0 to 1")
    return [round(float(x), 4) for x in np.quantile(np.asarray(values), list(shares))]

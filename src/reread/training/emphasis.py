"""Emphasis that is learnt: how much a second look at a unit of a text helps, told from what the unit looks like.

For a document and a question, one unit at a time is shown again after the document.  What it gains
is the change of the log-probability of the right answer.  Weights of the features of ranking.py are
fitted to the gains by ridge regression; how well they put the looks at one document for one question
in order is measured on a third of the documents that was left out, beside BM25 alone.  This is the
"learned hierarchy" that "Improving recall in recurrent LMs" leaves to future work, in its smallest form.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reread.engine import Reader
from reread.errors import BadInput
from reread.pace import Tell
from reread.prompting import BUDGET, Prompt, Reading, Sample, cut, features, question_first, template
from reread.runlog import write_json
from reread.stats import mean_interval

RIDGE = 1.0
SHOWN = BUDGET // 2  # document tokens at most
SEED = 0


@dataclass(frozen=True)
class Look:
    """A second look at one unit: of which document, for which question, what the unit looks like, and what the
    look gained (nats)."""

    document: str
    question: str
    features: dict[str, float]
    gain: float


def looks(reader: Reader, sample: Sample, unit: str, count: int) -> list[Look]:
    """Gains of at most `count` units of one sample's document, the others left out at random."""
    tokenizer, form = reader.lm.tokenizer, template(sample.template)
    window = "answer_centered" if sample.anchors else "head"
    shown = cut(sample.document, tokenizer, SHOWN, window, sample.anchors)
    reading = Reading(shown.text, sample.question, form, tokenizer)
    texts = reading.texts(reading.spans(unit))
    known = features(texts, sample.question)
    chosen = sorted(
        random.Random(f"{SEED}/{sample.id}/{sample.question}").sample(range(len(texts)), min(count, len(texts)))
    )
    before = question_first(reading)
    layouts = [before, *((*before[:-1], reading.again(texts[i]), before[-1]) for i in chosen)]
    prompts = [Prompt(parts, "look").encode(tokenizer) for parts in layouts]
    gold = form.answer(sample.answers[0])
    answers = reader.answer(prompts, max_new_tokens=1, golds=[gold] * len(prompts))
    base, *after = [float(answer.loglik or 0.0) for answer in answers]
    return [
        Look(sample.document, sample.question, known[i], gain - base) for i, gain in zip(chosen, after, strict=True)
    ]


def alternatives(found: Sequence[Look]) -> dict[tuple[str, str], list[Look]]:
    """The looks between which a reader chooses: those at one document for one question."""
    groups: dict[tuple[str, str], list[Look]] = {}
    for look in found:
        groups.setdefault((look.document, look.question), []).append(look)
    return groups


def fit(found: Sequence[Look]) -> dict[str, float]:
    """Ridge weights per feature, on features and gains less their means over the looks for one question."""
    names = list(found[0].features)
    groups = alternatives(found).values()
    x, y = (
        np.concatenate([values - values.mean(axis=0) for values in parts])
        for parts in (
            [np.array([[look.features[name] for name in names] for look in group]) for group in groups],
            [np.array([look.gain for look in group]) for group in groups],
        )
    )
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(len(names)), x.T @ y)
    return dict(zip(names, (round(float(w), 5) for w in weights), strict=True))


def ranked(weights: dict[str, float], found: Sequence[Look]) -> dict[str, Any]:
    """Share of pairs of looks for one question that the weights put in the order of their gains (a tie is half), its
    95 % interval over documents, and the pairs.  Raises BadInput when there is no pair."""
    right, documents = [], []
    for (document, _), rows in alternatives(found).items():
        score = [sum(weights.get(name, 0.0) * value for name, value in look.features.items()) for look in rows]
        for i, j in itertools.combinations(range(len(rows)), 2):
            if rows[i].gain != rows[j].gain:
                order = (score[i] - score[j]) * (rows[i].gain - rows[j].gain)
                right.append(0.5 if order == 0 else float(order > 0))
                documents.append(document)
    if not right:
        raise BadInput("no two looks for one question gained differently", todo="fit on more samples")
    share, low, high = mean_interval(right, documents)
    return {"in order": round(share, 4), "interval": [round(low, 4), round(high, 4)], "pairs": len(right)}


def fit_emphasis(
    reader: Reader,
    samples: Sequence[Sample],
    out: Path,
    *,
    unit: str = "sentence",
    count: int = 8,
    progress: Tell = lambda *_: None,
) -> dict[str, Any]:
    """Weights fitted on the samples' documents, in a JSON file that "learned(PATH)" reads, and what was found.
    Raises BadInput."""
    documents = sorted({sample.document for sample in samples})
    if len(documents) < 3:
        raise BadInput("weights are fitted on two thirds of the documents; there are too few", got=len(documents))
    random.Random(SEED).shuffle(documents)
    held_out = set(documents[: len(documents) // 3])
    found: list[Look] = []
    for n, sample in enumerate(samples, start=1):
        found += looks(reader, sample, unit, count)
        progress("second looks", n, len(samples))
    train, test = ([look for look in found if (look.document in held_out) is part] for part in (False, True))
    weights = fit(train)
    facts = {
        "model": reader.lm.name,
        "fingerprint": reader.lm.model.fingerprint,
        "unit": unit,
        "budget": SHOWN,
        "looks": len(found),
        "documents": len(documents),
        "held out": {"documents": len(held_out), **ranked(weights, test)},
        "bm25 alone": ranked({"bm25": 1.0}, test),
        "mean gain": round(float(np.mean([look.gain for look in found])), 4),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {"weights": weights, **facts})
    return {"weights": weights, **facts}

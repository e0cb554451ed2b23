"""Evaluation: (model x task x strategy x prefix policy x window x budget) -> rows in a run folder.

Every row holds the prediction, the accepted answers and the scores, so that a table can be made
again or judged otherwise.  A killed run goes on with the same command.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reread.config import LATER, Spec, at_least, each_once, to_dict
from reread.errors import BadInput
from reread.models import LM, load, locate
from reread.models.kv_selection import FULL
from reread.options import MAX_NEW_TOKENS, checked_policy, checked_select, checked_strategy
from reread.pace import Tell
from reread.policies import policy
from reread.prompting import (
    PUBLISHED,
    Example,
    Prompt,
    Sample,
    build,
    build_published,
    cut,
    learned_file,
    strategy,
    window_start,
)
from reread.runlog import Run
from reread.tasks.metrics import SCORER, SCORERS, contains
from reread.tasks.recall import task

if TYPE_CHECKING:
    from reread.engine import Reader
    from reread.scoring import UnitScores


@dataclass(frozen=True)
class EvalConfig:
    """What to measure: every combination of models, tasks, strategies, policies, windows, budgets and selections.

    budgets: tokens at most, of the document per copy (budget_of = "copy") or of the whole prompt
    (budget_of = "prompt"); template: "own", each task's own, or "published" (prompting/published.py);
    limit: samples per task, drawn with `seed` (0 = all); loglik: also the log-probability of the
    first accepted answer; policies: how much of a prompt is prefix (policies.py); prefill: see engine.Reader;
    add_bos: whether a prompt begins with BOS (None: as each model's tokenizer says); adapters: folders of LoRA adapters
    that are merged into every model, in this order; selections: which keys of the text before the question a
    Transformer keeps (models/kv_selection.py).
    """

    models: tuple[str, ...] = ("embedded",)
    tasks: tuple[str, ...] = ("fda", "squad")
    strategies: tuple[str, ...] = ("once", "twice")
    policies: tuple[str, ...] = ("prompt",)
    windows: tuple[str, ...] = ("answer_centered",)
    budgets: tuple[int, ...] = (512,)
    budget_of: str = "copy"
    template: str = "own"
    loglik: bool = True
    prefill: str = "no_pad"
    limit: int = 0
    seed: int = 0
    batch: int = 16
    max_new_tokens: int = MAX_NEW_TOKENS
    add_bos: bool | None = field(default=None, metadata=LATER)
    adapters: tuple[str, ...] = field(default=(), metadata=LATER)
    selections: tuple[str, ...] = field(default=(FULL,), metadata=LATER)

    @property
    def together(self) -> int:
        """Samples that are asked together: some batches, so that those of one document meet."""
        return 4 * self.batch

    def check(self) -> None:
        """Raise for an unknown name before anything is loaded."""
        each_once(self, "models", "tasks", "strategies", "policies", "windows", "budgets", "selections")
        if len({os.path.normpath(name) for name in self.models}) < len(self.models):
            raise BadInput("a model is named twice", got=", ".join(self.models))
        ids = [self.try_strategy(name) for name in self.strategies]
        if len(set(ids)) < len(ids):
            raise BadInput("a strategy is named twice", got=", ".join(ids))
        policies = [self.try_policy(name) for name in self.policies]
        if len(set(policies)) < len(policies):
            raise BadInput("a policy is named twice", got=", ".join(policies))
        self.check_selections()
        for name in self.tasks:
            task(name)
        for value, allowed in ((self.budget_of, ("copy", "prompt")), (self.template, ("own", "published"))):
            if value not in allowed:
                raise BadInput("no such setting of an evaluation", got=value, allowed=", ".join(allowed))
        if self.template == "published":
            self.check_published()
        for name in self.windows:
            window_start(name)
        at_least(self, 1, "batch", "max_new_tokens", "budgets")
        at_least(self, 0, "limit")

    def check_selections(self) -> None:
        """Raise for selections without a document that ends before its question, before anything is loaded."""
        ids = [checked_select(one, strategies=self.strategies, prefill=self.prefill) for one in self.selections]
        if len(set(ids)) < len(ids):
            raise BadInput("a selection is named twice", got=", ".join(ids))
        if ids != [FULL] and self.template == "published":
            what = "a published layout is one text, in which nothing says where the question begins"
            raise BadInput(what, got=", ".join(ids), todo='template "own", or the selection full')

    @property
    def needs_data(self) -> bool:
        """Whether a task reads the data folder."""
        return any(task(name).needs_data for name in self.tasks)

    def canonical(self) -> EvalConfig:
        """The same with the ids of strategies, policies and selections as tables have them."""
        return dataclasses.replace(
            self,
            strategies=tuple(str(strategy(name)[0]) for name in self.strategies),
            policies=tuple(str(policy(name)) for name in self.policies),
            selections=tuple(map(checked_select, self.selections)),
        )

    @staticmethod
    def try_strategy(name: str) -> str:
        """The strategy's id; raises what laying out a document would, before anything is loaded."""
        shown = [Example("A one.", "one", "A")] * EXAMPLES
        return checked_strategy(name, examples=lambda: shown)

    def try_policy(self, name: str) -> str:
        """The policy's id; raises what a prompt of this evaluation would, before anything is loaded."""
        roles = ("published",) if self.template == "published" else ("document", "question")
        return checked_policy(name, self.prefill, roles)

    def check_published(self) -> None:
        """The published layouts are of six tasks, once and twice; four of them need statements to complete."""
        for name in self.tasks:
            if not task(name).published:
                raise BadInput("this task has no published layout", got=name, allowed=", ".join(PUBLISHED))
            if task(name).published not in ("swde", "fda") and not name.startswith("hub/"):
                raise BadInput(
                    "the original files hold questions, and the published layout needs statements to complete",
                    got=name,
                    allowed=f"hub/{task(name).published}",
                )
        for name in self.strategies:
            if name not in ("once", "twice"):
                raise BadInput("published layouts are once and twice", got=name)


def choose(samples: list[Sample], limit: int, seed: int) -> list[Sample]:
    """`limit` samples drawn without replacement, in their own order; all of them for 0.  Raises BadInput below 0."""
    if limit < 0:
        raise BadInput("limit must be 0 (all) or more", got=limit)
    if not limit or limit >= len(samples):
        return samples
    return [samples[i] for i in sorted(random.Random(seed).sample(range(len(samples)), limit))]


@dataclass(frozen=True)
class Cell:
    """One cell of the grid: what is asked of which model, and how it is shown."""

    model: str
    task: str
    strategy: str
    policy: str
    window: str
    budget: int
    selection: str = FULL

    @property
    def name(self) -> str:
        return "/".join(map(str, self.facts.values()))

    @property
    def facts(self) -> dict[str, Any]:
        """What a row says of its cell; no selection for `full`, as in rows of older runs."""
        found = dataclasses.asdict(self)
        return {name: value for name, value in found.items() if (name, value) != ("selection", FULL)}

    def window_of(self, sample: Sample) -> str:
        """The window that a sample is shown through.

        Tasks without anchors (drop, triviaqa, lambada) show the head of a document whatever the window,
        as the published evaluation does.
        """
        return self.window if sample.anchors else "head"

    def key(self, sample: Sample) -> tuple[Any, ...]:
        """What tells the sample's row of this cell from all other rows of a run."""
        where = dataclasses.astuple(dataclasses.replace(self, window=self.window_of(sample)))
        return (*where, sample.id, sample.question)

    @classmethod
    def key_of(cls, row: dict[str, Any]) -> tuple[Any, ...]:
        """As `key`, of a row."""
        cell = cls(**{one.name: row[one.name] for one in dataclasses.fields(cls) if one.name in row})
        return (*dataclasses.astuple(cell), row["id"], row["question"])


EXAMPLES = 8  # answered samples that a prompt may show at most


def examples_for(sample: Sample, pool: Sequence[Sample], seed: int) -> list[Sample]:
    """Samples of other documents of the same task, drawn for this question: EXAMPLES, or as many as there are."""
    draw = random.Random(f"{seed}/{sample.id}/{sample.question}")
    found: dict[str, Sample] = {}
    for one in draw.sample(pool, min(len(pool), 8 * EXAMPLES)):
        if one.document != sample.document and one.answers:
            found.setdefault(one.document, one)
    return list(found.values())[:EXAMPLES]


def prompt_for(
    sample: Sample, lm: LM, cell: Cell, config: EvalConfig, score: UnitScores, pool: Sequence[Sample] = ()
) -> Prompt:
    """The sample's prompt: its document cut by the window, laid out by the strategy or as published; pool: samples
    that may be shown as answered examples."""

    def made(tokens: int) -> Prompt:
        def examples() -> list[Example]:
            others = examples_for(sample, pool, config.seed)
            shown = (cut(o.document, lm.tokenizer, tokens, cell.window_of(o), o.anchors).text for o in others)
            return [Example(text, o.question, o.answers[0]) for text, o in zip(shown, others, strict=True)]

        score.tokens = 0
        shown = cut(sample.document, lm.tokenizer, tokens, cell.window_of(sample), sample.anchors)
        if config.template == "published":
            layout = task(cell.task).published
            return build_published(
                layout, cell.strategy, shown.text, sample.question, sample.original_question, cut=shown
            )
        form = lm.template(sample.template)
        return build(
            cell.strategy,
            shown.text,
            sample.question,
            form,
            cut=shown,
            tokenizer=lm.tokenizer,
            score=score,
            original_question=sample.original_question,
            examples=examples,
        )

    if config.budget_of == "copy":
        return made(cell.budget)
    prompt, score.tokens = fit(made, lm, cell.budget, score)
    return prompt


def fit(made: Callable[[int], Prompt], lm: LM, budget: int, score: UnitScores) -> tuple[Prompt, int]:
    """The prompt with the most document tokens that has at most `budget` tokens in all, found by bisection, and the
    tokens that were scored to make it.  Raises BadInput."""
    low, high, found = 1, budget, None
    while low <= high:
        middle = (low + high) // 2
        prompt = made(middle)
        if len(prompt.encode(lm.tokenizer).tokens) <= budget:
            low, found = middle + 1, (prompt, score.tokens)
        else:
            high = middle - 1
    if found is None:
        raise BadInput("the budget does not hold the question and one token of the document", got=budget)
    return found


def shown_facts(sample: Sample, prompt: Prompt) -> dict[str, Any]:
    """What was shown of a sample's document: tokens, what was cut, and where the answer stands in it (0 to 1)."""
    text = prompt.cut.text if prompt.cut else sample.document
    places = [text.lower().find(answer.lower().strip()) for answer in sample.answers if answer.strip()]
    found = min((place for place in places if place >= 0), default=None)
    return {
        "in_document": contains(text, sample.answers),
        "position": None if found is None else round(found / max(1, len(text)), 4),
        "document_tokens": prompt.cut.kept_tokens if prompt.cut else None,
        "dropped_tokens": prompt.cut.dropped_tokens if prompt.cut else 0,
    }


def cell_rows(
    reader: Reader, samples: list[Sample], cell: Cell, config: EvalConfig, pool: Sequence[Sample] = ()
) -> Iterator[dict[str, Any]]:
    """Rows of one cell, some batches at a time, samples of one document together; pool: as `prompt_for`."""
    from reread.scoring import UnitScores

    forget_peak()
    step = config.together
    for start in range(0, len(samples), step):
        part = samples[start : start + step]
        scores = [UnitScores(reader.lm, s.question, reader.lm.template(s.template), batch=config.batch) for s in part]
        prompts, seconds = [], []
        for sample, score in zip(part, scores, strict=True):
            began = time.perf_counter()
            prompts.append(prompt_for(sample, reader.lm, cell, config, score, pool))
            seconds.append((time.perf_counter() - began) * bool(score.tokens))
        forms = [reader.lm.template(sample.template) for sample in part]
        used = "published" if config.template == "published" else ""
        golds = [f.answer(s.answers[0]) for f, s in zip(forms, part, strict=True)] if config.loglik else None
        answers = reader.answer(
            [p.encode(reader.lm.tokenizer) for p in prompts],
            policy=cell.policy,
            stop=forms[0].stop,
            max_new_tokens=config.max_new_tokens,
            batch=config.batch,
            golds=golds,
            select=cell.selection,
        )
        for sample, form, prompt, answer, score, spent in zip(
            part, forms, prompts, answers, scores, seconds, strict=True
        ):
            yield {
                **cell.facts,
                "id": sample.id,
                "document": sample.document_hash,
                "question": sample.question,
                "window": cell.window_of(sample),
                "template": used or form.name,
                "prediction": answer.text,
                "answers": list(sample.answers),
                **{scorer: judge(answer.text, sample.answers) for scorer, judge in SCORERS.items()},
                "loglik": None if answer.loglik is None else round(answer.loglik, 4),
                **shown_facts(sample, prompt),
                "scorer": SCORER,
                "prompt_tokens": answer.prompt_tokens,
                "read_tokens": round(answer.read_tokens + score.tokens, 1),
                "prefix_len": answer.prefix_len,
                "new_tokens": answer.new_tokens,
                "read_seconds": round(answer.read_seconds + spent, 5),
                "decode_seconds": round(answer.decode_seconds, 5),
                "state_bytes": answer.state_bytes,
                "peak_bytes": peak_bytes(),
                **({} if answer.kept_positions is None else {"kept_positions": round(answer.kept_positions, 2)}),
            }


def check_selectable(config: EvalConfig, lms: Iterable[LM], samples: dict[str, list[Sample]]) -> None:
    """Raise BadInput for a selection with a model whose state has a fixed size already, or a task without questions."""
    if config.selections == (FULL,):
        return
    from reread.selecting import checked_selection

    for lm, select in itertools.product(lms, config.selections):
        checked_selection(lm, select)
    for name, some in samples.items():
        if any(not sample.question.strip() for sample in some):
            what = "keys are selected from a document before its question, and this task asks none"
            raise BadInput(what, got=name, todo="leave the task or the selection out")


def learned_weights(specs: Iterable[Spec]) -> dict[str, str]:
    """Hashes of the files of fitted weights that strategies read, by score: an id such as "learned(FILE)" alone does
    not say which weights were there."""
    files = {by: learned_file(by) for by in (str(dict(spec.settings).get("by", "")) for spec in specs)}
    return {by: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for by, file in files.items() if file is not None}


def policies_ignored(policies: Iterable[str], lms: dict[str, LM]) -> dict[str, list[str]]:
    """By model: the policies whose rows are those of any other policy, since the model reads causally."""
    named = {name: [p for p in policies if policy(p).has_no_effect_on(lm)] for name, lm in lms.items()}
    return {name: ids for name, ids in named.items() if ids}


def forget_peak() -> None:
    """Begin anew with `peak_bytes`, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most memory that this process has held since `forget_peak`; elsewhere than on Linux since it began."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource

    return (1 if sys.platform == "darwin" else 1024) * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def evaluate(config: EvalConfig, data: Path, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """Measure every cell; returns the finished run.  Raises UnknownName, BadInput, MissingData, BadCheckpoint; what the
    arguments alone tell before a model is loaded."""
    config.check()
    config = config.canonical()
    for name in config.models:
        locate(name, config.adapters)
    Run.check(out, "eval", to_dict(config))
    loaded = {name: task(name).load(data) for name in config.tasks}
    samples = {name: choose(found.samples, config.limit, config.seed) for name, found in loaded.items()}
    from reread.engine import Reader

    lms = {name: load(name, add_bos=config.add_bos, adapter=config.adapters) for name in config.models}
    check_selectable(config, lms.values(), samples)
    described = {
        **to_dict(config),
        "learned": learned_weights(strategy(name)[0] for name in config.strategies),
        "fingerprints": {name: lm.model.fingerprint for name, lm in lms.items()},
        "left_out": {name: found.left_out for name, found in loaded.items()},
        "counted": {name: found.counted for name, found in loaded.items()},
        "in_means": {name: task(name).in_means for name in config.tasks},
    }
    if ignored := policies_ignored(config.policies, lms):
        described["policies_ignored"] = ignored
    with Run.start(out, "eval", described, resume=True, apart=("policies_ignored",)) as run:
        if run.done:
            return run
        readers = {name: Reader(lm, prefill=config.prefill) for name, lm in lms.items()}
        seen = set(map(Cell.key_of, run.rows()))
        grid = (config.strategies, config.policies, config.windows, config.budgets, config.selections)
        for cell in itertools.starmap(Cell, itertools.product(config.models, config.tasks, *grid)):
            wanted, pool = samples[cell.task], loaded[cell.task].samples
            todo = [sample for sample in wanted if cell.key(sample) not in seen]
            before = len(wanted) - len(todo)
            if todo:
                progress(cell.name, before, len(wanted))
            for n, row in enumerate(cell_rows(readers[cell.model], todo, cell, config, pool), start=1):
                run.append(row)
                seen.add(Cell.key_of(row))
                if n % config.together == 0 or n == len(todo):
                    progress(cell.name, before + n, len(wanted))
        run.finish({"rows": sum(1 for _ in run.rows())})
        return run

"""What several evaluations say together, on little room: a line for each way of asking, a column for each task.

The numbers are those of `merged_report`, which also has all that is left out here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from reread.errors import BadInput
from reread.report.cells import COMPARED, Record
from reread.report.markdown import section, table
from reread.report.paired import MEAN_OF_TASKS
from reread.report.runs import gather
from reread.report.words import BY_DEFAULT, labels, pair_words, percent, run_table

CELL_FOLDER = re.compile(r"(?:seed\d+-)?(.+)-[0-9a-f]{8}")
RECALL_SAYS = (
    "Answers found in what the model wrote (`contains`), in percent [95 % bootstrap interval over documents]; one set "
    "of weights per model, so training seeds are in no interval."
)
TIMES = "times the first"
TOKENS_SAYS = (
    "Tokens that the model was fed for one question, in the mean, scoring passes too; times the first: those of the "
    "tasks of the mean, over those that the way of asking named first takes."
)
PAIRS_SAYS = (
    "Differences of `contains` in points, question by question, to what is named first [95 % paired bootstrap interval "
    "over documents]; wins and losses: questions, of all tasks in the mean."
)


def short_names(models: Iterable[str]) -> dict[str, str]:
    """As `labels`; cells of an experiment without their seed and hash, where that still tells them apart."""
    long = labels(models)
    short = {model: (CELL_FOLDER.fullmatch(name) or [name, name])[1] for model, name in long.items()}
    return short if len(set(short.values())) == len(short) else long


def columns_of(cells: Sequence[Record]) -> dict[str, str]:
    """The heading of every task: its name, n, and the window where not all have the same.  Raises BadInput where
    lines differ in one of them."""
    windows = {cell["window"] for cell in cells}
    heads: dict[str, str] = {}
    for cell in cells:
        more = f", {cell['window']}" if len(windows) > 1 else ""
        head = f"{cell['task']} (n = {cell['n']}{more})"
        if heads.setdefault(cell["task"], head) != head:
            what = "not every line asks a task as often and in one window"
            raise BadInput(what, got=f"{heads[cell['task']]}, {head}", todo="use the table that `reread report` makes")
    return heads


def lines(records: Iterable[Record], names: Sequence[str], value: Callable[[Record], str | float]) -> list[Record]:
    """One line for all records that agree in `names`, the value of each under its task.  Raises BadInput for two."""
    found: dict[tuple, Record] = {}
    for record in records:
        key = tuple(record[name] for name in names)
        line = found.setdefault(key, dict(zip(names, key, strict=True)))
        if record["task"] in line:
            what = "a task stands here twice, in two windows or templates"
            raise BadInput(what, got=record["task"], todo="use the table that `reread report` makes")
        line[record["task"]] = value(record)
    return list(found.values())


def token_lines(fed: Sequence[Record], tasks: Sequence[str]) -> list[Record]:
    """Lines of token counts in words; of `tasks` together as many times those of the first strategy, model by model."""
    first: dict[tuple, float] = {}
    found = []
    for line in fed:
        counts = {task: value for task, value in line.items() if isinstance(value, float)}
        words = {task: f"{value:,.0f}" for task, value in counts.items()}
        if tasks and all(task in counts for task in tasks):
            total = sum(counts[task] for task in tasks)
            began = first.setdefault((line["model"], line.get("policy"), line["budget"]), total)
            words[TIMES] = f"{total / began:.2f}"
        found.append({**line, **words})
    return found


def headed(body: Sequence[Record], names: Sequence[str], heads: dict[str, str], *more: str) -> str:
    columns = (*names, *(task for task in heads if any(task in line for line in body)), *more)
    words = [{heads.get(column, column): line.get(column, "-") for column in columns} for line in body]
    return table(words, [heads.get(column, column) for column in columns])


def pair_grid(found: Record) -> str:
    """The differences alone, with wins and losses of the mean."""
    short = short_names(dict.fromkeys(cell["model"] for cell in found["cells"]))
    names = [*varying(found["cells"]), "budget"]
    pairs = [pair_words(record, short) for record in found["differences"]]
    body = lines(pairs, names, lambda record: record["contains"])
    mean = {tuple(r[name] for name in names): r for r in pairs if r["task"] == MEAN_OF_TASKS}
    for line in body:
        one = mean.get(tuple(line[name] for name in names), {})
        line |= {"wins, losses": f"{one['wins']}, {one['losses']}" if one else "-"}
    heads = {**columns_of(found["cells"]), MEAN_OF_TASKS: MEAN_OF_TASKS}
    return f"{PAIRS_SAYS}\n\n{headed(body, names, heads, 'wins, losses')}\n"


def varying(cells: Sequence[Record]) -> list[str]:
    """Model and strategy; the policy and the selection where there are several."""
    always = ("model", "strategy")
    return [name for name in COMPARED if name in always or len({cell.get(name) for cell in cells}) > 1]


def recall_grid(folders: list[Path]) -> str:
    """Recall, tokens and differences to what the runs name first; and the runs."""
    found = gather(folders)
    cells = found["cells"]
    short = short_names(dict.fromkeys(cell["model"] for cell in cells))
    names, heads = [*varying(cells), "budget"], {**columns_of(cells), MEAN_OF_TASKS: MEAN_OF_TASKS}
    named = [{**BY_DEFAULT, **record, "model": short[record["model"]]} for record in (*cells, *found["means"])]
    recall = headed(lines(named, names, lambda record: percent(record["contains"])), names, heads)
    tasks = list(found["means"][0]["tasks"]) if found["means"] else []
    known = [record for record in named[: len(cells)] if "tokens read" in record]
    fed = token_lines(lines(known, names, lambda record: float(record["tokens read"])), tasks)
    says = f"{RECALL_SAYS} Mean: of {', '.join(tasks) or 'none'}, every one counting alike."
    return (
        f"{says}\n\n{recall}\n\n{TOKENS_SAYS}\n\n"
        f"{headed(fed, names, heads, *([TIMES] if tasks else []))}\n\n{pair_grid(found)}\n{section(run_table(found))}"
    )


def pairs_to(folders: list[Path], against: str = "") -> str:
    """Differences to that strategy, policy or model instead."""
    return pair_grid(gather(folders, against))

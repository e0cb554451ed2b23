"""Numbers as words: the tables of a report, whichever way they are written down.

A Table knows its columns and what they mean; Markdown, LaTeX and HTML render the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reread.report.cells import DEFAULT_POLICY, DEFAULT_SELECTION, KEY, Record
from reread.report.predicted import PAIRS
from reread.report.runs import commits, machines

POLICY_COLUMNS = ("policy", "prefix tokens", "read ms")  # shown where not every prompt was prefix as a whole
CELL_COLUMNS = (
    *KEY, "n", "documents", "answer shown", "contains", "f1", "prompt tokens", "prefix tokens", "read ms",
    "read tokens/s", "state",
)  # fmt: skip
ALL_CELL_COLUMNS = (
    *KEY, "selection", "template", "n", "documents", "left out", "answer shown", "contains", "exact", "f1", "loglik",
    "document tokens", "prompt tokens", "prefix tokens", "tokens read", "read ms", "read tokens/s", "state",
    "peak memory", "run",
)  # fmt: skip
PAIR_COLUMNS = (*KEY, "n", "contains")
COMPARISON_COLUMNS = (
    *KEY, "selection", "template", "templates", "n", "documents", "contains", "wins", "losses", "ties", "p",
)  # fmt: skip
MEAN_COLUMNS = (
    "model", "strategy", "policy", "window", "budget", "selection", "templates", "tasks", "n", "documents", "contains",
)  # fmt: skip
BENCH_COLUMNS = ("what", "dtype", "N", "name", "rounds", "ms", "tokens/s", "times as fast")
SIZE_COLUMNS = ("state", "parameters")
WORK_COLUMNS = ("GB/s", "TFLOP/s", "of the roofline")
MEMORY_COLUMNS = ("peak", "above short")
HARD_COLUMNS = (
    "model", "task", "strategy", "policy", "budget", "selection", "id", "question", "prediction", "accepted answers",
)  # fmt: skip
SOMETIMES = ("selection", "templates")  # columns that are shown only where a record has them
BY_DEFAULT = {"selection": DEFAULT_SELECTION}  # of records that lack it
RUN_COLUMNS = ("run", "kind", "date", "commit", "machine", "rows", "settings", "command")
NAMES = frozenset((
    *KEY, "selection", "template", "templates", "tasks", "run", "what", "dtype", "name", "kind", "date", "commit",
    "machine", "settings", "command", "id", "question", "prediction", "accepted answers",
))  # fmt: skip
MOST_HARD, LONGEST = 120, 200


@dataclass(frozen=True)
class Table:
    """Rows of words.  says: what the columns mean, in a sentence or two."""

    name: str
    title: str
    says: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def clean(text: Any) -> str:
    """Any text on one line, without what no file or page may hold: control characters and lone surrogates."""
    line = re.sub(r"\s+", " ", str(text)).strip()
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", line)


def shorten(text: Any, longest: int = LONGEST) -> str:
    """The beginning of a long text, and how many characters are not shown."""
    line = clean(text)
    return line if len(line) <= longest else f"{line[:longest]} ... ({len(line) - longest:,} characters more)"


def size(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def spread_words(value: Record, form: str = ".2f", factor: float = 1.0) -> str:
    """ "41.2 [37.0, 45.4]"; the mean alone where there is no interval."""
    mean, *ends = (format(factor * value[x], form) for x in ("mean", "low", "high") if value[x] is not None)
    return f"{mean} [{', '.join(ends)}]" if ends else mean


def percent(value: Record) -> str:
    return spread_words(value, ".1f", 100)


def p_words(p: float | None) -> str:
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def labels(models: Iterable[str]) -> dict[str, str]:
    """Every model's folder without the path to it, as much of it as tells the models apart; for weights that lie in the
    folder of their training (RUN/model, RUN/train/model), that of the run."""
    paths = {model: run_of(Path(model).parts) or (model,) for model in models}
    if len(set(paths.values())) < len(paths):
        paths = {model: Path(model).parts or (model,) for model in paths}
    short: dict[str, str] = {}
    for model, parts in paths.items():
        others = [other for name, other in paths.items() if name != model]
        n = next((n for n in range(1, len(parts)) if not any(o[-n:] == parts[-n:] for o in others)), len(parts))
        short[model] = "/".join(parts[-n:])
    return short


def run_of(parts: tuple[str, ...]) -> tuple[str, ...]:
    for inside in ("model", "train"):
        parts = parts[:-1] if len(parts) > 1 and parts[-1] == inside else parts
    return parts


def cell_words(record: Record, short: dict[str, str]) -> Record:
    speed = record["read tokens/s"]
    words = {
        **BY_DEFAULT,
        **record,
        "model": short[record["model"]],
        "answer shown": f"{100 * record['answer shown']:.0f} %",
        "contains": percent(record["contains"]),
        "f1": percent(record["f1"]),
        "prompt tokens": f"{record['prompt tokens']:.0f}",
        "read tokens/s": f"{speed:,.0f}" if speed else "-",
        "state": size(record["state"]),
        "run": ", ".join(record.get("runs", ())),
    }
    write: dict[str, Callable[[Any], str]] = {
        "exact": percent,
        "loglik": spread_words,
        "read ms": spread_words,
        "peak memory": size,
    }
    write |= dict.fromkeys(("document tokens", "tokens read", "prefix tokens"), "{:.0f}".format)
    return words | {name: words_of(record[name]) for name, words_of in write.items() if name in record}


def pair_words(record: Record, short: dict[str, str]) -> Record:
    named = {**BY_DEFAULT, **record, "model": short[record["model"]], "contains": percent(record["contains"])}
    against = short.get(record["against"], record["against"])
    return {**named, record["differs"]: f"{named[record['differs']]} - {against}", "p": p_words(record["p"])}


def timing_words(record: Record) -> Record:
    seconds, ratio = record["seconds"], record["times as fast"]
    places = 1 if 1e3 * seconds["mean"] >= 1 else 3
    work = {} if "GB/s" not in record else {
        "GB/s": f"{record['GB/s']:,.3g}",
        "TFLOP/s": f"{record['TFLOP/s']:.3g}",
        "of the roofline": f"{100 * record['of the roofline']:.0f} %",
    }  # fmt: skip
    peaks = {name: size(int(record[name]["mean"])) for name in MEMORY_COLUMNS if name in record}
    return {
        **record,
        "N": f"{record['N']:,}",
        "batch": f"{record['batch']:,}",
        "ms": spread_words(seconds, f",.{places}f", 1e3),
        "tokens/s": f"{record['tokens/s']:,.0f}",
        "times as fast": spread_words(ratio) if ratio else "-",
        "state": size(record["state"]) if record["state"] else "-",
        "parameters": f"{record['parameters'] / 1e6:.0f} M" if record["parameters"] else "-",
        **work,
        **peaks,
    }


def prediction_words(record: Record, short: dict[str, str]) -> Record:
    speed = record["tokens/s"]
    slices = {name: spread_words(record[name], ".1f") for name in PAIRS[1:] if name in record}
    if PAIRS[0] in record:
        slices[PAIRS[0]] = f"{100 * record[PAIRS[0]]:.0f} %"
    return {
        **record,
        "model": short[record["model"]],
        "tokens": f"{record['tokens']:,}",
        "perplexity": spread_words(record["perplexity"], ".1f"),
        **slices,
        "bits per byte": spread_words(record["bits per byte"], ".3f"),
        "tokens/s": f"{speed:,.0f}" if speed else "-",
    }


def bench_columns(timings: Sequence[Record]) -> tuple[str, ...]:
    """Batches where one is not 1; sizes of models and states, peaks of memory, or the work of an op, where a record
    has them."""
    batch = ("batch",) if any(record["batch"] != 1 for record in timings) else ()
    sizes = SIZE_COLUMNS if any(record["state"] or record["parameters"] for record in timings) else ()
    work = WORK_COLUMNS if any("GB/s" in record for record in timings) else ()
    memory = MEMORY_COLUMNS if any("peak" in record for record in timings) else ()
    return (*BENCH_COLUMNS[:2], *batch, *BENCH_COLUMNS[2:], *sizes, *memory, *work)


def bench_notes(done: Record) -> list[str]:
    """What the roofline is, and what could not be timed."""
    notes = [
        f"{dtype}: a large copy reached {rates['bytes/s'] / 1e9:,.3g} GB/s both ways, a large matrix product "
        f"{rates['operations/s'] / 1e12:.3g} TFLOP/s; of the roofline: the least time by these two in that of the row."
        for dtype, rates in done.get("reached", {}).items()
    ]
    notes += [f"Not timed: {name}: {clean(why)}" for name, why in done.get("refused", {}).items()]
    return notes


def present(columns: Sequence[str], records: Sequence[Record], always: Sequence[str]) -> tuple[str, ...]:
    """The columns that are always there, and of the others those that a record has; POLICY_COLUMNS only where a
    policy is not the default."""
    hidden = () if any(record["policy"] != DEFAULT_POLICY for record in records) else POLICY_COLUMNS
    return tuple(
        name for name in columns if name not in hidden and (name in always or any(name in one for one in records))
    )


def cell_columns(records: Sequence[Record]) -> tuple[str, ...]:
    """The columns of today's table, and those of newer measures where a cell has them."""
    several = len({name for record in records for name in record.get("runs", ())}) > 1
    columns = present(ALL_CELL_COLUMNS, records, CELL_COLUMNS)
    return (*columns, "run") if several else columns


def made(name: str, title: str, says: str, columns: Sequence[str], records: Iterable[Record]) -> Table:
    rows = tuple(tuple(clean(record.get(column, "-")) for column in columns) for record in records)
    return Table(name, title, says, tuple(columns), rows)


def run_words(run: Record) -> Record:
    """Where numbers come from: one line per run folder."""
    header, config = run["header"], run["header"]["config"]
    plain = {name: value for name, value in config.items() if not isinstance(value, dict | list)}
    dropped = [
        f"left out of {task}: {', '.join(f'{count} {reason}' for reason, count in reasons.items()) or 'none'}"
        for task, reasons in config.get("left_out", {}).items()
    ]
    return {
        **run,
        "kind": header["kind"],
        "date": header["started"][:10],
        "commit": commits(header),
        "machine": machines(header),
        "settings": "; ".join([*(f"{name} {value}" for name, value in plain.items()), *dropped]),
    }


def hard_words(record: Record, short: dict[str, str]) -> Record:
    accepted = [shorten(answer, 100) for answer in record["answers"][:3]]
    more = len(record["answers"]) - len(accepted)
    return {
        **BY_DEFAULT,
        **record,
        "model": short[record["model"]],
        "question": shorten(record["question"]),
        "prediction": shorten(record["prediction"]) or "(nothing)",
        "accepted answers": " | ".join(accepted) + (f" | ({more} more)" if more else ""),
    }


CELLS_SAY = (
    "Mean [95 % bootstrap interval over documents], in percent; one set of weights per model, so training seeds are in "
    "no interval. n: questions; budget: document tokens at most, per copy; answer shown: samples whose answer stands "
    "in what was shown of the document; contains: an accepted answer stands in what the model wrote."
)
OPTIONAL_SAY = {
    "left out": "left out: questions in the task's files that are no samples (no answer, one character)",
    "selection": "selection: which keys of the document were kept before the question was read (docs/states.md)",
    "exact": "exact: the whole answer is an accepted one, normalised",
    "loglik": "loglik: log-likelihood of the accepted answer in nats, over the samples that have one",
    "prefix tokens": "policy: what sets how long the prefix is (docs/prefix.md); prefix tokens: its mean length",
    "read ms": "read ms: reading the prompt, and choosing its prefix, the row's share of its batch",
    "tokens read": "tokens read: all that the model was fed for a sample, scoring passes too",
    "peak memory": "peak memory: the highest of any sample",
}
PAIRS_SAY = (
    "Differences of contains in points, question by question, to what is named first [95 % paired bootstrap interval "
    "over documents]; wins, losses, ties: questions; p: two-sided sign test over documents, not corrected for the "
    "number of comparisons."
)
MEANS_SAY = (
    "contains in percent, every task counting alike [95 % bootstrap interval, documents resampled within tasks; the "
    "choice of tasks is in no interval]. Only tasks that every line of the same window and budget has."
)
BENCH_SAY = "Contenders in turn; median over rounds [quartiles]. Times as fast: as the first named, within each round."
HARD_SAY = (
    "Wrong answers of every cell, those first whose question was answered least often over all cells; at most three "
    "per cell. Long texts are cut, and say so."
)


def eval_tables(found: Record) -> list[Table]:
    short = labels(dict.fromkeys(record["model"] for record in found["cells"]))
    columns = cell_columns(found["cells"])
    notes = [CELLS_SAY, *(f"{note}." for name, note in OPTIONAL_SAY.items() if name in columns)]
    tables = [
        made("recall", "Recall", " ".join(notes), columns, (cell_words(r, short) for r in found["cells"])),
    ]
    if found["means"]:
        apart = found["kept out of means"]
        says = MEANS_SAY + (f" Kept out of means: {', '.join(apart)}." if apart else "")
        words = [
            {
                **BY_DEFAULT,
                **r,
                "model": short[r["model"]],
                "tasks": ", ".join(r["tasks"]),
                "contains": percent(r["contains"]),
            }
            for r in found["means"]
        ]
        columns = present(MEAN_COLUMNS, found["means"], [name for name in MEAN_COLUMNS if name not in SOMETIMES])
        tables.append(made("means", "Mean of tasks", says, columns, words))
    if found["differences"]:
        words = [pair_words(record, short) for record in found["differences"]]
        columns = present(COMPARISON_COLUMNS, found["differences"], KEY)
        tables.append(made("differences", "Paired differences", PAIRS_SAY, columns, words))
    return tables


def tables_of(found: Record) -> list[Table]:
    """Every table of numbers of what `runs.gather` found, in the order of a report."""
    tables = eval_tables(found) if found["cells"] else []
    for bench in found["benches"]:
        name = clean(Path(bench["run"]).name)
        columns = bench_columns(bench["timings"])
        says = f"{BENCH_SAY} Run {bench['run']}, {bench['header']['config'].get('threads', '?')} threads."
        says = " ".join([says, *bench_notes(bench["done"])])
        tables.append(made(f"bench-{name}", f"Speed: {name}", says, columns, map(timing_words, bench["timings"])))
    return tables


def hard_table(found: Record) -> Table | None:
    if not found["hardest"]:
        return None
    short = labels(dict.fromkeys(record["model"] for record in found["cells"]))
    rows = found["hardest"][:MOST_HARD]
    left = len(found["hardest"]) - len(rows)
    says = HARD_SAY + (f" {left} more lines are left out." if left else "")
    columns = present(HARD_COLUMNS, rows, [name for name in HARD_COLUMNS if name not in SOMETIMES])
    return made("hardest", "Hardest cases", says, columns, (hard_words(row, short) for row in rows))


def run_table(found: Record) -> Table:
    says = "Every number on this page comes from these folders; DIR is the folder of the benchmark files."
    return made("runs", "Where the numbers come from", says, RUN_COLUMNS, map(run_words, found["runs"]))

"""Run folders as a report reads them: one, or several merged into one table without mixing what differs.

Raises BadInput for what is no finished run of rows, and for runs that one table would mix in silence.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reread.errors import BadInput, UnknownName
from reread.report.asking import ASK_KEY, ask_cells
from reread.report.cells import (
    DEFAULT_POLICY,
    KEY,
    Record,
    by_document_tokens,
    by_position,
    cell_key,
    cells_of,
    compared,
    hardest,
    summarise,
)
from reread.report.extracting import CONFIDENCE_KEY, FIELDS_KEY, confidence_facts, field_cells
from reread.report.layouts import LAYOUT_FIELDS, layout_cells
from reread.report.paired import differences, mean_differences, task_means
from reread.report.predicted import PERPLEXITY_KEY, predictions
from reread.report.reader import READER_FIELDS, reader_cells
from reread.report.selections import SELECTION_FIELDS, selection_tables
from reread.report.sizes import FILES_KEY, SIZES_KEY, file_cells, state_cells
from reread.report.timings import BENCH_KEY, timings
from reread.runlog import Run

SETTINGS = ("prefill", "max_new_tokens")
GRID = {"window": "windows", "prefix": "policies"}  # settings of older runs that are dimensions of the grid now
TIMED = ("read_seconds", "decode_seconds", "peak_bytes")


@dataclass(frozen=True)
class Source:
    """A finished run: the folder as it was given, its header and its rows."""

    folder: str
    header: Record
    rows: list[Record]

    @property
    def config(self) -> Record:
        return self.header["config"]

    @property
    def kind(self) -> str:
        return self.header["kind"]


@dataclass(frozen=True)
class Kind:
    """A kind of run: the fields of its rows, what those say as numbers, and whether it is reported alone.

    How the numbers are written: WRITERS in markdown.py."""

    fields: tuple[str, ...]
    numbers: Callable[[Source], Record]
    alone: bool = True


def scorers(rows: Sequence[Record]) -> Record:
    """The versions of `contains` in these rows, where there are several."""
    found = sorted({row.get("scorer", 1) for row in rows})
    return {"scorers": found} if len(found) > 1 else {}


KINDS = {
    "eval": Kind(
        (*KEY, "id", "document", "question", "contains", "f1", "in_document", "prompt_tokens", "read_seconds",
         "state_bytes"),
        lambda run: {"cells": cells(run.rows, [run]), "differences": differences(run.rows), **scorers(run.rows)},
        alone=False,
    ),
    "bench": Kind(
        (*BENCH_KEY, "name", "round", "seconds"),
        lambda run: {"timings": timings(run.rows), "done": Run(Path(run.folder)).summary()},
        alone=False,
    ),
    "bench_ask": Kind(
        (*ASK_KEY, "name", "round", "questions", "seconds", "decode_seconds", "new_tokens", "error"),
        lambda run: {"asked": ask_cells(run.rows), "errors": sorted({row["error"] for row in run.rows})},
    ),
    "perplexity": Kind(
        (*PERPLEXITY_KEY, "document", "nats", "tokens", "bytes", "seconds"),
        lambda run: {"predictions": predictions(run.rows)},
    ),
    "state_sizes": Kind(
        (*SIZES_KEY, "id", "document", "question", "contains", "state_bytes", "logit_error"),
        lambda run: {"states": state_cells(run.rows)},
    ),
    "state_files": Kind(
        (*FILES_KEY, "state_dtype", "file_bytes", "state_bytes"), lambda run: {"files": file_cells(run.rows)}
    ),
    "extract_fields": Kind(
        (*FIELDS_KEY, "document", "document_tokens", "tokens_read", "seconds", "answers"),
        lambda run: {"extractions": field_cells(run.rows)},
    ),
    "extract_confidence": Kind(
        (*CONFIDENCE_KEY, "right", "document", "prediction", "answers"),
        lambda run: {"confidence": confidence_facts(run.rows, sorted({0.0, run.config.get("threshold", 0.0)}))},
    ),
    "reader_bench": Kind(READER_FIELDS, lambda run: reader_cells(run.rows)),
    "layouts": Kind(LAYOUT_FIELDS, lambda run: {"layouts": layout_cells(run.rows)}),
    "select_bench": Kind(SELECTION_FIELDS, lambda run: {"selections": selection_tables(run.rows)}),
}  # fmt: skip


def source(folder: Path) -> Source:
    """Raises BadInput for a folder that is no run, is not finished, or whose rows are not what they should be."""
    run = Run(folder)
    header, rows = run.header(), list(run.rows())
    kind = header.get("kind") if isinstance(header.get("config"), dict) else None
    if kind not in KINDS:
        raise BadInput("this run holds nothing to report", got=f"{kind} ({folder})", allowed=", ".join(KINDS))
    expected = run.summary().get("rows", len(rows))
    if len(rows) != expected:
        raise BadInput("rows of this run are missing", got=f"{len(rows)} ({folder})", allowed=f"{expected} (done.json)")
    if not rows:
        raise BadInput("this run has no rows", got=str(folder), todo="measure something first")
    if kind == "eval":  # runs before there were policies say in their header what they read as prefix
        before = header["config"].get("prefix", DEFAULT_POLICY)
        rows = [{"policy": before, **row} if isinstance(row, dict) else row for row in rows]
    for number, row in enumerate(rows, start=1):
        lacking = [name for name in KINDS[kind].fields if not isinstance(row, dict) or name not in row]
        if lacking:
            raise BadInput(f"line {number} of rows.jsonl lacks {', '.join(lacking)}", got=str(folder))
    return Source(str(folder), header, rows)


def sources(folders: Sequence[Path]) -> list[Source]:
    """Every run once, in the order given."""
    seen: dict[Path, Path] = {}
    for folder in folders:
        if (other := seen.setdefault(folder.resolve(), folder)) is not folder:
            raise BadInput("the same run is named twice", got=f"{other}, {folder}")
    return [source(folder) for folder in folders]


def commits(header: Record) -> str:
    """The commits at which a run was started and went on."""
    return ", ".join(map(str, dict.fromkeys(part["commit"] for part in (header, *header.get("resumed", ())))))


def machines(header: Record) -> str:
    """Where a run was started and went on."""
    parts = (header, *header.get("resumed", ()))
    return "; ".join(dict.fromkeys(part["machine"] for part in parts if "machine" in part))


def origin(found: Record) -> str:
    """ "Run `fda` of 2026-11-21, commit 1a2b3c4, x86_64, 2 cores", of what `gather` found of one run."""
    header = found["header"]
    return f"Run `{Path(found['run']).name}` of {header['started'][:10]}, commit {commits(header)}, {machines(header)}"


def command(run: Source) -> str:
    """The command that measures this again, from the header: every setting named, DIR for the benchmark files."""
    config = dict(run.config)
    told = run.header.get("command")
    if told:
        return told if isinstance(told, str) else shlex.join(told)
    words = ["reread", "eval"]
    if run.kind == "bench":
        words = ["reread", "bench", str(config.pop("bench", "op"))]
        if (waiting := config.pop("OMP_WAIT_POLICY", "default")) != "default":  # it was not set
            words.insert(0, f"OMP_WAIT_POLICY={waiting}")
    if device := run.header.get("machine", "").partition(" cores, ")[2]:
        words.insert(0, f"REREAD_DEVICE={device}")
    if run.kind == "eval":
        config = {GRID.get(name, name): [value] if name in GRID else value for name, value in config.items()}
    for name, value in config.items():
        if value is not None and not isinstance(value, dict):
            words += ["--set", f"{name}={json.dumps(value, ensure_ascii=False)}"]
    where = [] if run.kind == "bench" else ["--data", "DIR"]
    return shlex.join([*words, *where, "--out", run.folder])


def agree(runs: Sequence[Source]) -> None:
    """Raise BadInput where two runs differ in what no column of a table says: a setting, the weights behind a
    model's name, a template named by one alone.  A setting that an older run does not name is not compared."""
    told: dict[Any, tuple[Any, Source]] = {}

    def same(what: str, key: Any, value: Any, run: Source, todo: str) -> None:
        before, other = told.setdefault((what, key), (value, run))
        if before != value:
            raise BadInput(
                f"runs of another {what} would be mixed",
                got=f"{before} in {other.folder}, {value} in {run.folder}",
                todo=todo,
            )

    for run in runs:
        for name in SETTINGS:
            if name in run.config:
                same(name, None, run.config[name], run, "report them apart")
        for model, fingerprint in run.config.get("fingerprints", {}).items():
            same(f"model under the name {model}", None, fingerprint, run, "report them apart")
        for by, weights in run.config.get("learned", {}).items():
            same(f"weights under the name {by}", None, weights, run, "report them apart")
        for task, has in dict.fromkeys((row["task"], "template" in row) for row in run.rows):
            word = "a named template" if has else "a template that is not named"
            same(f"template of {task}", task, word, run, "measure the older one again, or report them apart")


def equal(one: Any, other: Any) -> bool:
    """Numbers to three digits (likelihoods of another batch differ in the last ones), all else exactly."""
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-6)
    return bool(one == other)


def merged(runs: Sequence[Source]) -> list[Record]:
    """Rows of several evaluations as of one, each with its run's number under "run".

    A row that two runs have counts once.  Raises BadInput, naming both runs, where such rows differ
    in anything but time and memory, and as `agree`.
    """
    agree(runs)
    rows: list[Record] = []
    seen: dict[tuple, Record] = {}
    for number, run in enumerate(runs):
        fresh = []
        for row in run.rows:
            key = (*cell_key(row), row["id"], row["question"])
            other = seen.get(key)
            if other is None:
                fresh.append((key, {**row, "run": number}))
                continue
            differing = [n for n in row if n in other and n not in TIMED and not equal(row[n], other[n])]
            if differing:
                where = f"{', '.join(map(str, key[: len(KEY)]))}, sample {row['id']}"
                raise BadInput(
                    f"two runs have this sample with another {differing[0]}",
                    got=f"{where}: {runs[other['run']].folder}, {run.folder}",
                    todo="report them apart",
                )
        seen.update(fresh)
        rows += [row for _, row in fresh]
    return rows


def left_out(run: Source, task: str) -> dict[str, int]:
    """Samples of a task that the run did not ask, by reason; nothing where the header does not say."""
    return run.config.get("left_out", {}).get(task, {})


def cells(rows: Sequence[Record], runs: Sequence[Source]) -> list[Record]:
    """`summarise`, with the folders that a cell's rows come from and the samples they left out."""
    records = summarise(rows)
    for record, cell in zip(records, cells_of(rows).values(), strict=True):
        of = [runs[number] for number in dict.fromkeys(row.get("run", 0) for row in cell)]
        record["runs"] = [run.folder for run in of]
        if any("left_out" in run.config for run in of):
            record["left out"] = sum(sum(left_out(run, record["task"]).values()) for run in of)
    return records


def without_mean(runs: Sequence[Source]) -> set[str]:
    """Tasks that a run keeps out of means over tasks."""
    return {task for run in runs for task, belongs in run.config.get("in_means", {}).items() if belongs is False}


def led_by(rows: Sequence[Record], against: str) -> list[Record]:
    """The rows of that model, strategy, policy or selection before all others.  Raises UnknownName."""
    known = {value for row in rows for value in compared(row)}
    if against not in known:
        raise UnknownName("model, strategy, policy or selection of these runs", against, known)
    return sorted(rows, key=lambda row: against not in compared(row))


def gather(folders: Sequence[Path], against: str = "") -> Record:
    """What several runs say together, as numbers: their headers, and either of evaluations and benches what is there.

    against: the model, strategy, policy or selection that others are compared with ("": those named first).  Raises
    UnknownName for one that is not there, BadInput as `sources` and `merged`.
    """
    if not folders:
        raise BadInput("no run is named", todo="name one or more run folders")
    found = sources(folders)
    for run in found:
        if KINDS[run.kind].alone:
            what = f"a {run.kind} run is reported alone"
            raise BadInput(what, got=run.folder, todo=f"reread report {run.folder}")
    evals = [run for run in found if run.kind == "eval"]
    rows = led_by(merged(evals), against) if against else merged(evals)
    apart = without_mean(evals)
    headers = [{"run": r.folder, "header": r.header, "command": command(r), "rows": len(r.rows)} for r in found]
    return {
        "runs": headers,
        "cells": cells(rows, evals),
        "means": task_means(rows, apart),
        "kept out of means": sorted(apart & {row["task"] for row in rows}),
        "differences": [*differences(rows), *mean_differences(rows, apart)],
        "positions": by_position(rows),
        "lengths": by_document_tokens(rows),
        "hardest": hardest(rows),
        "benches": [
            {"run": run.folder, "header": run.header, **KINDS[run.kind].numbers(run)}
            for run in found
            if run.kind == "bench"
        ],
    }


def tables(folder: Path) -> Record:
    """What a run says, as numbers: header, and cells with paired differences, or timings, or predictions of text.

    Raises BadInput for an unfinished run, and for one whose rows are not all there.
    """
    run = source(folder)
    return {"run": run.folder, "header": run.header, **KINDS[run.kind].numbers(run)}

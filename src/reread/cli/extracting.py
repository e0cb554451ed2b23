"""Commands that extract: fields from many documents into rows; the threshold of "not found"; what it is all worth."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from reread.cli.app import (
    Adapter,
    Budget,
    Copy,
    Data,
    Json,
    Model,
    Select,
    Settings,
    app,
    data_of_tasks,
    emit,
    progress_bars,
    say,
)
from reread.errors import BadInput, UnknownName
from reread.models.hub import DEFAULT as DEFAULT_MODEL
from reread.models.kv_selection import FULL
from reread.pace import duration
from reread.whole import check_file

HERE = "process"
ENGINES = (HERE, "ray")
WARNINGS = 20  # about files, printed at most
EVERY = 1.0  # seconds between two notes of progress, where nobody looks at a terminal ten times as long

ReadingOption = Annotated[
    str,
    typer.Option(
        help="shared (one read for all fields), schema (read, list of fields, read again), each (one per field)."
    ),
]


@app.command("extract")
def extract_command(
    documents: Annotated[list[str], typer.Argument(help="Text, Markdown, HTML, PDF, office, mail files, or folders.")],
    fields: Annotated[str, typer.Option(help='File of JSON: ["Applicant", {"name": "code", "ask": "Product code"}].')],
    out: Annotated[Path, typer.Option(help="A .jsonl, .csv or .parquet file; a stopped extraction goes on.")],
    reading: ReadingOption = "shared",
    threshold: Annotated[
        str | None,
        typer.Option(help="Confidence below which a value is not found, or a file of fit-threshold [default: fitted]."),
    ] = None,
    model: Model = DEFAULT_MODEL,
    adapter: Adapter = None,
    budget: Budget = None,
    window: Annotated[
        str,
        typer.Option(
            help="head: a longer document is cut; parts: it is read in parts of --budget tokens, and the best "
            "answer of them is taken."
        ),
    ] = "head",
    policy: Annotated[
        str, typer.Option(help="What is read non-causally: document, none or fixed(n=256).")
    ] = "document",
    select: Select = FULL,
    copy: Copy = False,
    batch: Annotated[int, typer.Option(help="Documents that are read together.")] = 16,
    seconds_per_document: Annotated[
        float, typer.Option(help="For taking the text out of one document (PDF); then it is a row with an error.")
    ] = 120.0,
    engine: Annotated[str, typer.Option(help="process (this one), or ray: workers that each hold the model.")] = HERE,
    workers: Annotated[int | None, typer.Option(help="Of the engine ray [default: 2].")] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster that runs [default: $RAY_ADDRESS, else one begun here].")
    ] = None,
    keep_formulas: Annotated[
        bool, typer.Option("--keep-formulas", help="Leave CSV cells that a spreadsheet would run as they are.")
    ] = False,
    bom: Annotated[bool, typer.Option("--bom", help="Begin a CSV file with a byte order mark, for Excel.")] = False,
    as_json: Json = False,
) -> None:
    """Extract fields from many documents into rows, one per document; exit code 1 if one could not be read."""
    from reread.calibration import check_threshold
    from reread.documents.loaders import check_any_there, check_packages, document_files, passed_over
    from reread.extract import ExtractConfig, distinct, extract
    from reread.fields import read_fields
    from reread.models import locate
    from reread.rowfile import CsvForm, check_target

    config = ExtractConfig(
        reading, budget, policy, batch, seconds=seconds_per_document, window=window, select=select, copy=copy
    )
    config.check()
    form = CsvForm(keep_formulas, bom)
    check_target(out, form)
    reads = engine_of(engine, workers, address)
    check_threshold(threshold)
    locate(model, adapter)
    wanted, files = read_fields(fields), distinct(list(document_files(documents)))
    check_any_there(files)
    check_packages(files)
    extractor = extractor_of(model, wanted, config, adapter or ())
    limit, source = threshold_for(extractor, threshold)
    if left_out := passed_over(documents):
        say(left_out)
    try:
        with reads as read:
            rows = extract(extractor, files, out, threshold=limit, progress=line_of_progress(), read=read, csv=form)
    except KeyboardInterrupt:
        say(f"stopped; what was read is kept beside {out}, and the same command goes on from there.")
        raise typer.Exit(130) from None
    bad = [row for row in rows if row["error"] is not None]
    cut = [row["tokens_cut"] for row in rows if row["tokens_cut"]]
    told = {"rows": len(rows), "errors": len(bad), "cut": len(cut), "tokens_cut": sum(cut), "out": str(out)}
    told |= {"threshold": limit, "threshold_from": source}
    told |= {} if config.selection == FULL else {"selection": config.selection}
    below = "" if limit is None else f" below {limit:g}"
    emit(told) if as_json else print(f"{out}: {len(rows)} rows; not found{below} ({source})")
    if cut:
        more = f"{sum(cut):,} of their tokens were not shown (--budget, --window parts)"
        say(f"{len(cut)} of {len(rows)} documents are longer than {extractor.budget:,} tokens; {more}.")
    say_warnings(rows)
    for row in bad:
        say(row["error"] if row["document"] in row["error"] else f"{row['document']}: {row['error']}")
    if bad:
        say(f"{len(bad)} of {len(rows)} documents could not be read.")
        raise typer.Exit(1)


def say_warnings(rows: Sequence[dict[str, Any]]) -> None:
    """What of the files did not become text, the first WARNINGS of them; all are in the rows."""
    found = [warning for row in rows for warning in row["warnings"]]
    for warning in found[:WARNINGS]:
        say(f"{warning}.")
    if len(found) > WARNINGS:
        say(f"{len(found) - WARNINGS} more warnings about files are in the rows (warnings).")


@contextlib.contextmanager
def on_ray(workers: int, address: str) -> Iterator[Any]:
    """Readers on Ray, whose own words about dead workers, which it writes on standard output, are not heard."""
    from reread.scale import OnRay

    with OnRay(workers, address, say) as read, contextlib.redirect_stdout(io.StringIO()):
        yield read


def engine_of(engine: str, workers: int | None, address: str | None) -> Any:
    """A context of who reads the documents.  Raises UnknownName, BadInput, MissingPackage."""
    from reread.extract import in_process

    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    if engine == HERE:
        if workers is not None or address is not None:
            raise BadInput("workers and an address are of the engine ray", got=engine, todo="add --engine ray")
        return contextlib.nullcontext(in_process)
    from reread.scale import check_workers

    many = 2 if workers is None else workers
    check_workers(many)
    return on_ray(many, address or "")


def extractor_of(model: str, fields: Any, config: Any, adapter: Sequence[str] = ()) -> Any:
    from reread.engine import Reader
    from reread.extract import Extractor
    from reread.models import load
    from reread.selecting import checked_selection

    lm = load(model, adapter=adapter)
    checked_selection(lm, config.select)
    return Extractor(Reader(lm), fields, config)


def threshold_for(extractor: Any, threshold: str | None) -> tuple[float | None, str]:
    """The threshold that holds, None for those of the model's calibration, and where it is from."""
    from reread.calibration import threshold_of
    from reread.fields import reading

    lm = extractor.reader.lm
    own = lm.manifest.calibrations if lm.manifest else {}
    if threshold is None and own:
        limits = ", ".join(f"{kind} {one.threshold:g}" for kind, one in own.items())
        return None, f"as the adapter's manifest says: {limits}"
    ways = str(reading(extractor.config.reading)[0])
    return threshold_of(threshold, lm.model.fingerprint, ways, extractor.budget)


def line_of_progress() -> Callable[[Any], None]:
    """Progress on standard error: one line that is written over on a terminal, else a line now and then."""
    last, live = [0.0], sys.stderr.isatty()

    def progress(told: Any) -> None:
        now, whole = time.monotonic(), told.done == told.total
        if not whole and now - last[0] < EVERY * (1 if live else 10):
            return
        last[0] = now
        left = "" if told.seconds_left is None or whole else f", {duration(told.seconds_left)} left"
        bad = f", {told.bad} could not be read" if told.bad else ""
        line = f"reread: {told.done} of {told.total} documents{left}{bad}"
        print(f"\r{line:<78}" if live else line, end="\n" if whole or not live else "", file=sys.stderr, flush=True)

    return progress


@app.command("fit-threshold")
def fit_threshold_command(
    out: Annotated[Path, typer.Argument(help="The file to write (JSON); a calibration there of another model stays.")],
    task: Annotated[str, typer.Option(help="Documents to fit on and, every other one, to measure on.")] = "fda-aside",
    model: Model = DEFAULT_MODEL,
    reading: ReadingOption = "shared",
    setting: Settings = None,
    data: Data = None,
    run: Annotated[Path, typer.Option(help="Run folder of the answers; a stopped run goes on.")] = Path(
        "runs/threshold"
    ),
    as_json: Json = False,
) -> None:
    """Fit the confidence below which a value is "not found", on documents with and without their answers.

    --set limit=200 --set budget=512 --set seed=1.
    """
    from reread.calibration import calibrations, save
    from reread.config import build, merge, overrides
    from reread.extract_bench import ConfidenceBench, fit_threshold, measure_confidence
    from reread.report.words import spread_words

    given = {"task": task, "model": model, "reading": reading}
    config = build(ConfidenceBench, merge(given, overrides(setting or [])))
    config.check()
    check_file(out, "the thresholds")
    if out.exists():
        calibrations(out)
    with progress_bars() as progress:
        found = fit_threshold(measure_confidence(config, data_of_tasks(data, config.task), run, progress=progress))
    save(out, found)
    if as_json:
        emit(found)
        return
    area = found["held out"]["auroc"]["right"]
    print(
        f"{out}: threshold {found['threshold']}, fitted on {found['fitted on']['answers']} answers; AUROC of right "
        f"against wrong {spread_words(area, '.3f')} on {found['held out']['documents']} "
        "documents left out"
    )


@app.command("extract-bench")
def extract_bench_command(
    what: Annotated[str, typer.Argument(help="fields (recall against their number) or confidence.")],
    setting: Settings = None,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Run folder; a stopped run goes on there.")] = Path("runs/extract"),
    as_json: Json = False,
) -> None:
    """Measure extraction: recall and tokens against the number of fields, or confidence against right and wrong.

    fields: --set task=fda --set counts=[1,4,12] --set readings=[\\"shared\\",\\"schema\\"] --set least=8 --set
    documents=100; confidence: --set task=fda --set limit=300.
    """
    from reread.config import build, overrides
    from reread.extract_bench import ConfidenceBench, FieldsBench, measure_confidence, measure_fields
    from reread.report import report, tables

    measures: dict[str, tuple[Any, Any]] = {
        "fields": (FieldsBench, measure_fields),
        "confidence": (ConfidenceBench, measure_confidence),
    }
    if what not in measures:
        raise UnknownName("thing to measure", what, measures)
    kind, measure = measures[what]
    config = build(kind, overrides(setting or []))
    config.check()
    with progress_bars() as progress:
        run = measure(config, data_of_tasks(data, config.task), out, progress=progress)
    emit(tables(run.folder)) if as_json else print(report(run.folder))

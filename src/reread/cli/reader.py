"""Commands about the measure of readers: reader-bench, select-bench, reader-answers, fit-presence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reread.cli.app import Data, Json, Settings, app, data_folder, emit, progress_bars
from reread.errors import BadInput

if TYPE_CHECKING:
    from reread.runlog import Run

SystemOption = Annotated[str, typer.Option(help="A system of the run, as its tables name it [default: all of them].")]


@app.command("reader-bench")
def reader_bench_command(
    model: Annotated[str, typer.Option(help="One system in place of the recipe's: a model as for ask, or regex.")] = "",
    adapter: Annotated[str, typer.Option(help="With --model: folder of its adapter, or none.")] = "",
    strategy: Annotated[str, typer.Option(help="With --model: once, twice, ...; see docs/prompts.md.")] = "once",
    recipe: Annotated[Path | None, typer.Option(help="A TOML recipe; the options have priority.")] = None,
    setting: Settings = None,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Run folder; a stopped run resumes there.")] = Path("runs/reader_bench"),
    as_json: Json = False,
) -> None:
    """Measure readers: right answers about documents, and questions that a document does not answer, into a run folder.

    Without a recipe: the sets office-dev and aside. --set sets=[\\"office-dev\\"] --set sampling.documents=3 --set
    sampling.answerable=100 --set sampling.budgets=[512] --set systems='[{model="smollm2", adapter="none"}]'.
    """
    from reread.config import build, merge, overrides, read_toml
    from reread.reader_bench import ReaderBench, measure_readers

    if not model and (adapter or strategy != "once"):
        raise BadInput("--adapter and --strategy belong to --model", got=adapter or strategy, todo="name a --model")
    chosen = {"systems": [{"model": model, "adapter": adapter, "strategy": strategy}]} if model else {}
    settings = merge(merge(read_toml(recipe) if recipe else {}, chosen), overrides(setting or []))
    measure(build(ReaderBench, settings), measure_readers, data, out, as_json)


@app.command("select-bench")
def select_bench_command(
    model: Annotated[str, typer.Option(help="A model as for ask, in place of the recipe's.")] = "",
    adapter: Annotated[str, typer.Option(help="Folder of the model's adapter, or none.")] = "",
    recipe: Annotated[Path | None, typer.Option(help="A TOML recipe; the options have priority.")] = None,
    setting: Settings = None,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Run folder; a stopped run resumes there.")] = Path("runs/select_bench"),
    as_json: Json = False,
) -> None:
    """Measure how much of the whole cache's recall remains in states of fixed size, into a run folder.

    Every selection of keys is measured at every budget, against the whole cache (docs/states.md).

    Without a recipe: FDA and SQuAD, all selections. --set selections=[\\"reread\\",\\"window\\"] --set
    budgets=[\\"share=0.25\\",\\"tokens=64\\"] --set sets=[\\"fda\\"] --set sampling.answerable=300.
    """
    from reread.config import build, merge, overrides, read_toml
    from reread.select_bench import SelectBench, measure_selections

    chosen = {"model": model, "adapter": adapter} if model else {"adapter": adapter} if adapter else {}
    settings = merge(merge(read_toml(recipe) if recipe else {}, chosen), overrides(setting or []))
    measure(build(SelectBench, settings), measure_selections, data, out, as_json)


def measure(config: Any, into: Callable[..., Run], data: Path | None, out: Path, as_json: bool) -> None:
    """Measure what a config says into a run folder, and print its tables."""
    from reread.report import report, tables

    config.check()
    with progress_bars() as progress:
        run = into(config, data_folder(data, config.needs_data), out, progress=progress)
    emit(tables(run.folder)) if as_json else print(report(run.folder))


@app.command("select-thresholds")
def select_thresholds_command(
    setting: Settings = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Fit the thresholds of dynamic budgets: quintiles of the complexity of set-aside training documents.

    --set sampling.aside=120 --set sets=[\\"aside\\"] --set model=smollm2; other settings as of select-bench.
    """
    from reread.config import build, merge, overrides
    from reread.select_bench import SelectBench, fit_thresholds

    config = build(SelectBench, merge({"sets": ["aside"]}, overrides(setting or [])))
    config.check()
    with progress_bars() as progress:
        found = fit_thresholds(config, data_folder(data, config.needs_data), progress=progress)
    if as_json:
        emit(found)
        return
    for name, kinds in found.items():
        for kind, values in kinds.items():
            print(f"{name}: dynamic={kind}, thresholds={'+'.join(map(str, values))}")


@app.command("reader-answers")
def reader_answers_command(
    run: Annotated[Path, typer.Argument(help="Run folder of reader-bench; it may be unfinished.")],
    set_name: Annotated[str, typer.Argument(metavar="SET", help="A set of the run, for instance office-dev.")],
    system: SystemOption = "",
    wrong: Annotated[int | None, typer.Option(help="Only so many wrong answers, evenly spaced.")] = None,
    as_json: Json = False,
) -> None:
    """Print the answers of a set, to read them: document, question, expected and given answer."""
    from reread.report.markdown import answers_report
    from reread.report.reader import answers_of

    if wrong is not None and wrong < 1:
        raise BadInput("at least one wrong answer is printed", got=wrong)
    found = answers_of(run, set_name, system, wrong=wrong)
    emit(found) if as_json else print(answers_report(found), end="")


@app.command("fit-presence")
def fit_presence_command(
    run: Annotated[Path, typer.Argument(help="Finished run folder of reader-bench with the set aside.")],
    adapter: Annotated[Path, typer.Argument(help="Folder of the adapter whose manifest.json gets the calibration.")],
    system: Annotated[str, typer.Option(help="The system of the run [default: the only one].")] = "",
    as_json: Json = False,
) -> None:
    """Fit how probable it is that an answer is right, and the default threshold, and write both into an adapter's
    manifest.
    """
    from reread.reader_bench import calibrate

    fitted = calibrate(run, adapter, system)
    if as_json:
        emit(fitted)
        return
    print(f"{adapter}: fitted on {fitted['questions']} questions about {fitted['documents']} documents")
    for kind in ("field", "question"):
        print(f"{kind}: threshold {fitted[kind]['threshold']:.3f}, {len(fitted[kind]['score'])} points")

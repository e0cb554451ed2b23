"""Commands that measure: eval, perplexity, lm-eval, bench, check, report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reread.cli.app import (
    Adapter,
    Bos,
    Data,
    Json,
    Model,
    Select,
    Settings,
    app,
    data_folder,
    data_of_tasks,
    emit,
    names,
    progress_bars,
    say,
)
from reread.errors import BadInput, UnknownName
from reread.models.hub import DEFAULT as DEFAULT_MODEL
from reread.models.kv_selection import FULL

if TYPE_CHECKING:
    from reread.gpu_check import GpuCheck


BENCHES = ("ask", "layouts", "memory", "model", "op", "prefix")


def check_new_run(out: Path) -> None:
    """Raise BadInput where no run can begin in this folder: it holds one, or cannot be made."""
    from reread.runlog import Run

    Run.check(out, "", {}, resume=False)


@app.command("eval")
def evaluate_command(
    task: Annotated[str, typer.Option(help="Tasks, comma separated (docs/data.md): fda, forms-16, ...")] = "",
    model: Annotated[str, typer.Option(help="Models, comma separated, as for ask; docs/models.md.")] = "",
    adapter: Adapter = None,
    strategy: Annotated[str, typer.Option(help="Strategies, comma separated.")] = "",
    policy: Annotated[str, typer.Option(help="Prefix policies, comma separated; see docs/prefix.md.")] = "",
    select: Annotated[str, typer.Option(help="Selections of keys, comma separated; see docs/states.md.")] = "",
    data: Data = None,
    limit: Annotated[int | None, typer.Option(help="Samples per task, drawn with a fixed seed; 0 for all.")] = None,
    bos: Bos = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML recipe; the options stand above it.")] = None,
    setting: Settings = None,
    out: Annotated[Path, typer.Option(help="Run folder; a stopped run goes on there.")] = Path("runs/eval"),
    as_json: Json = False,
) -> None:
    """Measure recall: every model on every task with every strategy, into a run folder.

    Without a recipe: the embedded model, fda and squad, once and twice, all of a prompt as prefix, budget
    512, window answer_centered.  Further settings: --set budgets=[512,1024] --set windows=head --set
    prefill=left_pad --set seed=1 --set batch=16.
    """
    from reread.config import build, merge, overrides, read_toml
    from reread.evaluate import EvalConfig, evaluate
    from reread.models import locate
    from reread.report import report, tables
    from reread.whole import check_folder

    given = {"tasks": names(task), "models": names(model), "strategies": names(strategy), "policies": names(policy)}
    given |= {"adapters": tuple(adapter or ()), "selections": names(select)}
    options: dict[str, Any] = {key: value for key, value in given.items() if value}
    options |= {key: value for key, value in {"limit": limit, "add_bos": bos}.items() if value is not None}
    given_recipe = {key: value for key, value in (read_toml(recipe) if recipe else {}).items() if key != "scales"}
    settings = merge(merge(given_recipe, options), overrides(setting or []))
    config = build(EvalConfig, settings)
    config.check()
    for name in config.models:
        locate(name, config.adapters)
    check_folder(out, "the run folder")
    folder = data_of_tasks(data, *config.tasks)
    with progress_bars() as progress:
        run = evaluate(config, folder, out, progress=progress)
    if as_json:
        emit(tables(run.folder))
    else:
        print(report(run.folder))


@app.command("perplexity")
def perplexity_command(
    model: Annotated[str, typer.Option(help="Models, comma separated, as for ask; docs/models.md.")] = "embedded",
    setting: Settings = None,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Run folder; a stopped run goes on there.")] = Path("runs/perplexity"),
    as_json: Json = False,
) -> None:
    """Measure how well models predict held-out text (DATA/text_valid), into a run folder.

    --set texts=["wiki"] --set characters=4000 --set limit=0 --set window=512.
    """
    from reread.config import build, merge, overrides
    from reread.perplexity import PerplexityConfig, perplexity
    from reread.report import report, tables

    config = build(PerplexityConfig, merge({"models": names(model)}, overrides(setting or [])))
    with progress_bars() as progress:
        run = perplexity(config, data_folder(data), out, progress=progress)
    emit(tables(run.folder)) if as_json else print(report(run.folder))


@app.command("lm-eval")
def lm_eval_command(
    task: Annotated[
        str, typer.Option(help="reread_TASK_once and reread_TASK_twice, comma separated; reread_recall: all.")
    ] = "reread_recall",
    model: Model = DEFAULT_MODEL,
    data: Annotated[
        Path | None, typer.Option(help="Folder of TASK.jsonl in the hub's format [default: the hub].")
    ] = None,
    limit: Annotated[int, typer.Option(help="First rows of each task; 0 for all.")] = 0,
    tokens: Annotated[int, typer.Option(help="Of a document at most, cut as published (950 there); 0: all.")] = 0,
    bos: Bos = None,
    select: Select = FULL,
    as_json: Json = False,
) -> None:
    """Run the packaged recall tasks in lm-eval (pip install 'reread[lm-eval]'); --json gives every example."""
    from reread.lm_eval_tasks import check_options, strategy_of
    from reread.models import locate
    from reread.options import checked_select

    check_options(names(task), data, limit, tokens)
    checked_select(select, strategies=[*map(strategy_of, names(task))])
    locate(model)
    from reread.harness import evaluate, example_rows

    results = evaluate(model, names(task), data=data, limit=limit, tokens=tokens, add_bos_token=bos, select=select)
    if as_json:
        emit(example_rows(results))
        return
    from lm_eval.utils import make_table

    print(make_table(results))


@app.command("report")
def report_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders of eval and bench; several are merged; or an experiment.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, report.tex and report.html.")] = None,
    against: Annotated[
        str, typer.Option(help="The model, strategy or policy to compare with, as tables have it.")
    ] = "",
    wrong: Annotated[
        bool, typer.Option("--wrong", help="The kinds of wrong answers alone: nothing, repetition, else.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tables of runs in Markdown; with --out also in LaTeX, and as one HTML page with plots.

    What is named first is what the rest is compared with, unless --against says another.  Runs that one
    table would mix are refused.
    """
    from reread.report import gather, merged_report, report, tables, write_report
    from reread.report.experiments import experiment_report, experiment_tables
    from reread.report.wrong import wrong_answers, wrong_table

    if wrong:
        emit(wrong_answers(runs)) if as_json else print(wrong_table(runs))
    elif len(runs) == 1 and (runs[0] / "experiment.json").exists() and out is None:
        emit(experiment_tables(runs[0])) if as_json else print(experiment_report(runs[0]))
    elif out is not None:
        paths = [str(path) for path in write_report(runs, out, against)]
        emit({"files": paths}) if as_json else print("\n".join(paths))
    elif as_json:
        emit(tables(runs[0]) if len(runs) == 1 and not against else gather(runs, against))
    else:
        print(report(runs[0]) if len(runs) == 1 and not against else merged_report(runs, against))


@app.command("bench")
def bench_command(
    what: Annotated[str, typer.Argument(help="op, model, prefix, ask, memory or layouts.")],
    setting: Settings = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML recipe of settings; --set stands above it.")] = None,
    data: Data = None,
    device: Annotated[str, typer.Option(help="As reread --device: cpu, or cuda where torch sees a GPU.")] = "",
    out: Annotated[Path, typer.Option(help="Run folder, not yet there.")] = Path("runs/bench"),
    as_json: Json = False,
) -> None:
    """Time the op against softmax attention, whole models or prefix policies against each other, in turns; or one more
    question of a document that was read, against reading it again; or measure the memory that reading takes.

    op: --set sizes=[512,2048] --set dtypes=[\\"bfloat16\\"] --set rounds=9 --set batches=[1,16] --set
    passes=[\\"forward\\",\\"backward\\",\\"decode\\"] --set prefixes=[0.5,1024]; model: --set tokens=[512] --set new=8;
    prefix: --set policies=[\\"prompt\\",\\"share(r=0.5)\\"] --set tokens=[1024]; ask: --set model=llama --set
    tokens=[1024,8192] --set document=FILE --set together=[1,4,16] --set documents=16 --set batched=[1024];
    memory: --set selections=[\\"full\\",\\"reread(tokens=256,read=512)\\"] --set tokens=[4096,32768];
    layouts (right answers in forms of many layouts, no times): --set model=smollm2 --set forms=60.
    """
    from reread.config import merge, overrides, read_toml

    if what not in BENCHES:
        raise UnknownName("thing to time", what, BENCHES)
    settings = merge(read_toml(recipe) if recipe else {}, overrides(setting or []))
    if what != "layouts":  # which goes on where it was stopped
        check_new_run(out)
    from reread.ask_bench import AskBench, bench_ask
    from reread.bench import ModelBench, PrefixBench, bench_model, bench_prefix
    from reread.config import build
    from reread.op_bench import OpBench, bench_op
    from reread.report import report, tables

    if device:
        os.environ["REREAD_DEVICE"] = device
    if what == "op":
        run = bench_op(build(OpBench, settings), out, say)
    elif what == "model":
        run = bench_model(build(ModelBench, settings), out, say)
    elif what == "memory":
        from reread.memory_bench import MemoryBench, bench_memory

        run = bench_memory(build(MemoryBench, settings), out, say)
    elif what == "prefix":
        run = bench_prefix(build(PrefixBench, settings), out, say)
    elif what == "layouts":
        from reread.layouts_bench import LayoutsBench, measure_layouts

        with progress_bars() as progress:
            run = measure_layouts(build(LayoutsBench, settings), out, progress=progress)
    else:
        spec = build(AskBench, settings)
        spec.check()
        run = bench_ask(spec, data_folder(data, not spec.document), out, say)
    emit(tables(run.folder)) if as_json else print(report(run.folder))


@app.command("check")
def check_command(
    model: Annotated[str, typer.Option(help="'embedded', a model folder, a published name or hf:OWNER/NAME.")] = "",
    families: Annotated[bool, typer.Option("--families", help="A tiny random model of every known family.")] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="The GPU kernels against the definition in float64.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="With --gpu: every case, for minutes.")] = False,
    jobs: Annotated[int, typer.Option(help="With --gpu: processes that compile and compute at a time.")] = 4,
    out: Annotated[Path | None, typer.Option(help="With --gpu: run folder; a stopped check goes on there.")] = None,
    as_json: Json = False,
) -> None:
    """Compare read with extend and steps, batches with rows, paddings, saved states with kept ones; or, with --gpu, the
    kernels with their definition on this GPU.  Exit code 1 if anything differs."""
    from reread.models import load, locate

    if bool(model) + families + gpu != 1:
        raise BadInput("name a model, or ask for all families or the GPU", allowed="--model M, --families or --gpu")
    if gpu:
        from reread.gpu_check import GpuCheck

        return check_gpu_here(GpuCheck(everything, jobs, out), as_json)
    if everything or out is not None:
        raise BadInput("these options are for the GPU", got="--all" if everything else "--out", allowed="with --gpu")
    if model:
        locate(model)
    from reread.check import check, check_families, markdown

    lm = None if families else load(model)
    found = check_families() if lm is None else {lm.name: check(lm.model, lm.model.config.vocab_size)}
    if as_json:
        emit({name: {f.what: {"error": f.error, "right": f.right} for f in all_} for name, all_ in found.items()})
    else:
        print(markdown(found))
    if not all(finding.right for findings in found.values() for finding in findings):
        raise typer.Exit(1)


def check_gpu_here(config: GpuCheck, as_json: bool) -> None:
    """What the GPU is, a line for every case as it comes, a table; exit code 1 if one is wrong."""
    from reread.gpu_check import check_gpu, device, machine, markdown, wrong

    config.check()
    where = device()
    about = machine(where)
    if not as_json:
        print("\n".join(f"{name}: {value}" for name, value in about.items() if value is not None), flush=True)
        print("the kernels can be used" if where.type == "cuda" else "the smallest cases, in triton's interpreter")
    tell = (lambda line: None) if as_json else lambda line: print(line, flush=True)
    rows = check_gpu(config, where, about, tell)
    bad = wrong(rows)
    if as_json:
        emit({"machine": about, "wrong": len(bad), "cases": rows})
    else:
        interpreted = "" if where.type == "cuda" else " (in the interpreter: no GPU was asked)"
        print(f"\n{markdown(rows)}\n\n{len(rows)} cases, {len(bad)} wrong{interpreted}")
    if bad:
        raise typer.Exit(1)

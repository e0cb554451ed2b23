"""Commands that make models and what they need: train, average-adapters, fit-emphasis, fit-prefix, fit-selection,
prefix-thresholds, tokenizer, convert."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from reread.cli.app import (
    Adapter,
    Data,
    Json,
    Model,
    OwnModel,
    Settings,
    app,
    data_folder,
    emit,
    names,
    progress_bars,
    say,
)
from reread.errors import BadInput
from reread.whole import check_file, check_folder

Shown = Annotated[int, typer.Option(help="Document tokens to show at most, per copy.")]


@app.command("train")
def train_command(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe, such as recipes/small_jrt.toml.")],
    setting: Settings = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Train a model, or an adapter (kind = "reader"), from a recipe; the same command goes on after a stop."""
    from reread.config import merge, overrides, read_toml
    from reread.training.reader_recipe import KIND

    given = merge(read_toml(recipe), overrides(setting or []))
    if given.get("kind") == KIND:
        train, config = reader_training({key: value for key, value in given.items() if key != "kind"})
        made = "adapter"
    elif "kind" in given or "tasks" in given:
        raise BadInput("this is a recipe of `reread experiment`", got=str(recipe), todo=f"reread experiment {recipe}")
    else:
        train, config = prefix_training(given)
        made = "model"
    config.check()
    folder = data_folder(data)
    if not (Path(config.out) / "done.json").exists():  # a finished training only prints its summary
        check_folder(config.out, "the run folder")
        config.check_files(folder)
    from reread.training.trainer import last_checkpoint

    try:
        with contextlib.redirect_stdout(sys.stderr):  # the trainer prints its own metrics
            summary = train(config, folder)
    except KeyboardInterrupt:
        last = last_checkpoint(Path(config.out) / "checkpoints")
        kept = f"{last} is kept, and the same command goes on from it" if last else "nothing was kept yet"
        say(f"stopped; {kept}.")
        raise typer.Exit(130) from None
    emit(summary) if as_json else print(f"trained: {config.out}/{made}, {summary}")


def prefix_training(given: dict[str, Any]) -> tuple[Any, Any]:
    """What trains a model of reread's own layout, and its configuration.  Raises UnknownName, BadInput,
    MissingPackage."""
    from reread.config import build
    from reread.training.recipe import TrainConfig, check_packages

    config = build(TrainConfig, given)
    check_packages()

    def train(*given: Any) -> Any:
        from reread.training import trainer

        return trainer.train(*given)

    return train, config


def reader_training(given: dict[str, Any]) -> tuple[Any, Any]:
    """What trains an adapter for the reader, and its configuration.  Raises UnknownName, BadInput, MissingPackage."""
    from reread.config import build
    from reread.training.reader_recipe import ReaderConfig, check_reader_packages

    config = build(ReaderConfig, given)
    check_reader_packages()

    def train(*given: Any) -> Any:
        from reread.training.reader_trainer import train_reader

        return train_reader(*given)

    return train, config


@app.command("fit-emphasis")
def fit_emphasis_command(
    out: Annotated[Path, typer.Argument(help="The JSON file to write; strategies read it as by='learned(FILE)'.")],
    model: OwnModel = "small-jrt",
    task: Annotated[str, typer.Option(help="A task of training documents.")] = "fda-aside",
    unit: Annotated[str, typer.Option(help="section, paragraph, line, sentence or window(64).")] = "sentence",
    limit: Annotated[int, typer.Option(help="Samples, drawn with a fixed seed; 0 for all.")] = 0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Learn which units of a text are worth a second look, from what looks at them gain on training documents."""
    from reread.evaluate import choose
    from reread.models import load, load_tokenizer, locate
    from reread.prompting import units
    from reread.tasks.recall import task as known_task

    chosen = known_task(task)
    units("A text.", unit, load_tokenizer())
    locate(model)
    check_file(out, "the weights")
    samples = choose(chosen.load(data_folder(data, chosen.needs_data)).samples, limit, 0)
    from reread.engine import Reader
    from reread.training.emphasis import fit_emphasis

    with progress_bars() as progress:
        found = fit_emphasis(Reader(load(model)), samples, out, unit=unit, progress=progress)
    if as_json:
        emit(found)
        return
    held = found["held out"]
    print(f"{out}: weights {found['weights']}")
    for name, told in (("these weights", held), ("BM25 alone", found["bm25 alone"])):
        low, high = told["interval"]
        share = f"{100 * told['in order']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        print(
            f"{name}: {share} of {told['pairs']:,} pairs of looks in order, in {held['documents']} documents left out"
        )


def training_samples(tasks: str, limit: int, data: Path | None) -> dict[str, list]:
    """Samples of tasks between commas, by task; each `limit` drawn with a fixed seed (0: all)."""
    from reread.evaluate import choose
    from reread.tasks.recall import task as known_task

    chosen = [known_task(name) for name in names(tasks)]
    if not chosen:
        raise BadInput("a task must be named", allowed="fda-aside, forms-16-aside, ...")
    folder = data_folder(data, any(one.needs_data for one in chosen))
    return {one.name: choose(one.load(folder).samples, limit, 0) for one in chosen}


TRAINING = "fda-aside,forms-16-aside,forms-32-aside"
TrainingTasks = Annotated[str, typer.Option("--task", help="Tasks of training documents, comma separated.")]
PerTask = Annotated[int, typer.Option(help="Samples per task, drawn with a fixed seed; 0 for all.")]


@app.command("fit-prefix")
def fit_prefix_command(
    out: Annotated[Path, typer.Argument(help="The JSON file to write, for the policy learned(path='FILE').")],
    model: OwnModel = "small-jrt",
    tasks: TrainingTasks = TRAINING,
    limit: PerTask = 200,
    budget: Shown = 1024,
    rewards: Annotated[
        Path | None, typer.Option(help="Run folder of rewards; a stopped run goes on there [default: beside the file].")
    ] = None,
    setting: Settings = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Learn how long a prefix should be: reinforcement on recall minus a price per prefix token.

    Further settings: --set method=bandit --set price=1e-4 --set gold=0.5 --set baseline=value --set seed=1.
    """
    from reread.config import build, overrides
    from reread.engine import Reader
    from reread.models import load, locate
    from reread.options import check_budget
    from reread.training.prefix_policy import FitConfig, fit_prefix, markdown

    spec = build(FitConfig, overrides(setting or []))
    spec.check()
    check_budget(budget)
    locate(model)
    check_file(out, "the policy")
    folder = rewards or out.with_name(f"{out.stem}-rewards")
    check_folder(folder, "the run folder of rewards")
    samples = training_samples(tasks, limit, data)
    with progress_bars() as progress:
        found = fit_prefix(Reader(load(model)), samples, out, spec, rewards_in=folder, budget=budget, progress=progress)
    if as_json:
        emit(found)
        return
    print(f"{out}: {spec.method}\n\n{markdown(found)}")


@app.command("average-adapters")
def average_adapters_command(
    adapters: Annotated[list[Path], typer.Argument(help="Folders of two or more adapters of one training.")],
    out: Annotated[Path, typer.Option(help="A new folder for the mean.")],
    version: Annotated[str, typer.Option(help="The version that its manifest names.")] = "",
    as_json: Json = False,
) -> None:
    """Average the matrices of adapters that were trained on from one another (a model soup)."""
    from reread.training.adapter_mean import average_adapters

    found = average_adapters(adapters, out, version)
    emit({"out": str(out), "sha256": found}) if as_json else print(f"{out}: sha256 of the tensors {found}")


@app.command("fit-selection")
def fit_selection_command(
    model: Model = "smollm2",
    adapter: Adapter = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the file: the adapter's or the model's, where it is found.")
    ] = Path("runs/selection"),
    setting: Settings = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Fit the scores of the selection `distilled` to those of second readings of training documents.

    The file and its card go into the folder. Further settings: --set documents=150 --set choosing=20
    --set measuring=30 --set threads=2 --set seed=1.
    """
    from reread.config import build, overrides
    from reread.models import load, locate
    from reread.training.distilling import DistillConfig, fit_distilled, measures

    config = build(DistillConfig, overrides(setting or []))
    config.check()
    locate(model, adapter)
    check_folder(out, "the folder of the scores")
    folder = data_folder(data)
    with progress_bars() as progress:
        found = fit_distilled(load(model, adapter=adapter), config, folder, out, progress=progress)
    if as_json:
        emit(found.facts())
        return
    print(f"{found.path}: {found.size:,} bytes, {found.fit.documents} documents, ridge {found.fit.ridge:g}\n")
    print(measures(found.fit))


@app.command("prefix-thresholds")
def prefix_thresholds_command(
    model: OwnModel = "small-jrt",
    tasks: TrainingTasks = TRAINING,
    of: Annotated[str, typer.Option(help="Whose complexity: unigram or model.")] = "unigram",
    shares: Annotated[str, typer.Option("--quantiles", help="Shares between commas.")] = "0.25,0.5,0.75,0.9",
    limit: PerTask = 200,
    budget: Shown = 1024,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Thresholds for the policy entropy: quantiles of the complexity of training documents, every task alike."""
    from reread.models import load, locate
    from reread.options import check_budget
    from reread.policies import entropy

    try:
        wanted = [float(share) for share in names(shares)]
    except ValueError as error:
        raise BadInput("quantiles are numbers between commas", got=shares, allowed="0.5,0.75") from error
    if not wanted or not all(0 <= share <= 1 for share in wanted):
        raise BadInput("quantiles are shares", got=shares, allowed="numbers from 0 to 1 between commas")
    entropy(of=of)
    check_budget(budget)
    locate(model)
    by_name = training_samples(tasks, limit, data)
    from reread.engine import Reader
    from reread.training.prefix_policy import complexities, quantiles

    reader, values = Reader(load(model)), {}
    for task, samples in by_name.items():
        values[task] = complexities(reader, samples, of, budget)
    pooled = quantiles([value for some in values.values() for value in some], wanted)
    if as_json:
        by_task = {task: quantiles(some, wanted) for task, some in values.items()}
        emit({"of": of, "quantiles": wanted, "pooled": pooled, "by task": by_task})
        return
    for task, some in values.items():
        print(f"{task}: n = {len(some)}, {quantiles(some, wanted)}")
    print(f"all: {pooled}, as in entropy(of={of}, thresholds={'+'.join(map(str, sorted(pooled)))})")


@app.command()
def tokenizer(
    out: Annotated[Path, typer.Argument(help="Where tokenizer.json goes.")],
    data: Data = None,
    entries: Annotated[int, typer.Option(help="Vocabulary entries, specials included.")] = 8192,
    as_json: Json = False,
) -> None:
    """Train the byte-level BPE tokenizer on the training text, as the embedded one was."""
    from reread.training.tokenizer import sample_texts, train_tokenizer

    check_file(out, "the tokenizer")
    if not out.parent.is_dir():
        raise BadInput("the folder to write into is not there", got=str(out.parent))
    trained = train_tokenizer(sample_texts(data_folder(data)), entries)
    trained.save(str(out))
    emit({"tokenizer": str(out), "entries": trained.get_vocab_size()}) if as_json else print(out)


@app.command("convert")
def convert_command(
    source: Annotated[Path, typer.Argument(help="A model folder of the published JRT layout, or one of reread.")],
    target: Annotated[Path, typer.Argument(help="The folder to write.")],
    as_json: Json = False,
) -> None:
    """Turn a published checkpoint (JRT, Based, attention) into a folder of reread, or back."""
    from reread.models import find, locate

    locate(str(source))
    if target.exists():
        raise BadInput("the target is there already", got=str(target), todo="name a folder that is not")
    check_folder(target, "the target")
    from reread.models.checkpoints import convert

    done = convert(find(str(source)), target)
    emit({"converted": done, "target": str(target)}) if as_json else print(f"{done}: {target}")

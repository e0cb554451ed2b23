"""The command of experiments: a recipe's grid, cell by cell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from reread.cli.app import Data, Json, Settings, app, data_folder, emit, say


@app.command("experiment")
def experiment_command(
    recipe: Annotated[
        Path,
        typer.Argument(help="A TOML recipe with a kind (recipes/order.toml), or of evaluations."),
    ],
    scale: Annotated[str, typer.Option(help="A scale of the recipe: smoke, cpu, h100 [default: as it stands].")] = "",
    jobs: Annotated[
        int, typer.Option(help="Cells at a time, each in a process with one thread; 0: as many as cores, one on a GPU.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the cells [default: runs/RECIPE or RECIPE_SCALE].")
    ] = None,
    data: Data = None,
    setting: Settings = None,
    as_json: Json = False,
) -> None:
    """Run every cell of a recipe's grid that is not done yet, and write the table of them all to OUT/report.md.

    The same command goes on after a stop; exit code 1 if a cell failed. --set a.b=c sets a setting of every cell.
    """
    from reread.experiment import cells_of, run_experiment
    from reread.grid import read_recipe
    from reread.report.experiments import experiment_report, experiment_tables, write_experiment_report

    known = read_recipe(recipe, scale, setting or [])
    folder = out or Path("runs") / "_".join(filter(None, (known.name, scale)))
    files = data_folder(data, any(cell.needs_data for cell in cells_of(known, folder)))
    try:
        at_a_time = jobs or (os.cpu_count() or 1 if os.environ["REREAD_DEVICE"] == "cpu" else 1)
        outcome = run_experiment(known, folder, data=files, jobs=at_a_time, say=say)
    except KeyboardInterrupt:
        say("stopped; the same command goes on.")
        raise typer.Exit(130) from None
    path = write_experiment_report(folder)
    emit(experiment_tables(folder) | {"failed": outcome.failed}) if as_json else print(experiment_report(folder), path)
    for name, why in outcome.failed.items():
        say(f"failed: {name}: {why}")
    if outcome.failed:
        raise typer.Exit(1)


@app.command("pack")
def pack_command(
    runs: Annotated[list[Path], typer.Argument(help="Finished run folders, or folders of them.")],
    least: Annotated[int, typer.Option(help="Leave rows of fewer bytes as they are.")] = 100_000,
    as_json: Json = False,
) -> None:
    """Compress the rows of finished runs, some thirtyfold; every command reads them as before."""
    from reread.errors import BadInput
    from reread.runlog import Run

    found = sorted({header.parent for folder in runs for header in folder.rglob("header.json")})
    if not found:
        raise BadInput("no run folder is there", got=", ".join(map(str, runs)))
    packed = {}
    for folder in found:
        rows = folder / "rows.jsonl"
        if Run(folder).done and rows.exists() and rows.stat().st_size >= least:
            before, after = packed[str(folder)] = Run(folder).pack()
            say(f"{folder}: {before:,} bytes are {after:,} now")
    if as_json:
        emit({"packed": packed, "left": len(found) - len(packed)})
    else:
        print(f"packed {len(packed)} of {len(found)}; what is left is not finished, packed already or small (--least)")

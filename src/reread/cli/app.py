"""The application that every command registers with, the options they share, and how they speak.

It knows no command.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reread import __version__
from reread.errors import MissingData
from reread.pace import Tell
from reread.plugins import load_plugins, name_plugins
from reread.prompting import BUDGET

app = typer.Typer(
    name="reread",
    help="Read documents with recurrent language models, once or twice, and answer from what was read.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def say_version(wanted: bool) -> None:
    if wanted:
        print(f"reread {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    device: Annotated[
        str, typer.Option(envvar="REREAD_DEVICE", help="Where models compute: cpu, or cuda where torch sees a GPU.")
    ] = "cpu",
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="REREAD_PLUGINS",
            help="Python file that adds your own strategies, policies, maps, mixers or tasks; may repeat; see "
            "docs/own.md.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=say_version, help="Print the version and end.")
    ] = False,
) -> None:
    os.environ["REREAD_DEVICE"] = device
    name_plugins(plugin or ())
    load_plugins()


Json = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
Strategy = Annotated[str, typer.Option(help="once, question_first, twice, repeat(n=3), ...; see docs/prompts.md.")]
MODELS = "smollm2, small-jrt, a model or run folder, FILE.gguf, a published name, hf:OWNER/NAME."
Model = Annotated[str, typer.Option(envvar="REREAD_MODEL", help=MODELS)]
OwnModel = Annotated[str, typer.Option(help="small-jrt, small-causal, or a folder of reread train.")]
Adapter = Annotated[
    list[str] | None,
    typer.Option(
        help="Folder of a LoRA adapter (PEFT's files) to merge into the model; may repeat, in order; none: without the "
        "one that comes with the model."
    ),
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value over the recipe; may repeat.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the benchmark files [default: $REREAD_DATA].")]
Budget = Annotated[
    int | None,
    typer.Option(
        help="Document tokens to show at most, per copy [default: what the model's positions hold; "
        f"{BUDGET:,} for a model without positions]."
    ),
]
Select = Annotated[
    str,
    typer.Option(
        help="Which keys of the document a Transformer keeps: full, reread(tokens=256), window(share=0.25), ...; see "
        "docs/states.md."
    ),
]
Forgotten = Annotated[
    str | None,
    typer.Option(
        help="Measure what the state lost of each sentence or line, or none [default: sentence for a selection that "
        "repeats the document anyway, as reread, if reread[prompts] is installed]; see docs/states.md."
    ),
]
RereadWhenLost = Annotated[
    bool,
    typer.Option(
        "--reread-when-lost",
        help="Read the document again with all keys where the state lost the text nearest to the question.",
    ),
]
Copy = Annotated[
    bool,
    typer.Option("--copy", help="Write only what is in the document word for word, or not found."),
]
Window = Annotated[str, typer.Option(help="What is kept of a longer document: head or answer_centered.")]
AskWindow = Annotated[
    str,
    typer.Option(
        help="head: the beginning of a longer document; parts: all of it, in parts of --budget tokens, each asked; the "
        "best answer is taken."
    ),
]
Bos = Annotated[
    bool | None,
    typer.Option("--bos/--no-bos", help="Whether a prompt begins with BOS [default: as the model's tokenizer says]."),
]
Prefill = Annotated[
    str,
    typer.Option(help="How a prompt shorter than the trained prefix is read: no_pad, left_pad, read_twice, iterate."),
]
Policy = Annotated[
    str,
    typer.Option(
        help="How much of a prompt is read non-causally: prompt, document, none, fixed(n=256), share(r=0.5), entropy, "
        "question_aware, learned; see docs/prefix.md."
    ),
]


def say(text: str) -> None:
    """A note to the person, on standard error."""
    print(f"reread: {text}", file=sys.stderr)


def emit(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))


def cut_note(cut: str, budget: int | None, positions: int | None) -> str:
    """The sentence on a document that was cut (Cut.says), with what shows more of it."""
    if budget is None and positions is not None:
        return (
            f"{cut}; the model's {positions:,} positions hold no more beside a question and its answer.  "
            "--window parts reads all of it."
        )
    return f"{cut}; --budget shows more."


def data_folder(given: Path | None, needed: bool = True) -> Path:
    """The benchmark folder from --data or REREAD_DATA; Path() where none is named or needed.  Raises MissingData."""
    name = given or os.environ.get("REREAD_DATA")
    if not name and not needed:
        return Path()
    if not name or not Path(name).is_dir():
        raise MissingData(
            "the data folder is missing",
            got=str(name) if name else "nothing",
            todo="give it with --data or in the environment variable REREAD_DATA",
        )
    return Path(name)


def data_of_tasks(given: Path | None, *tasks: str) -> Path:
    """As data_folder, for tasks by name: some need no file."""
    from reread.tasks.recall import task

    return data_folder(given, any(task(name).needs_data for name in tasks))


def names(text: str) -> tuple[str, ...]:
    """Names between commas; commas inside brackets and quotes belong to a name."""
    parts, depth, quote = [""], 0, ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        depth += 0 if quote else (c in "([{") - (c in ")]}")
        if c == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += c
    return tuple(part.strip() for part in parts if part.strip())


@contextlib.contextmanager
def progress_bars() -> Iterator[Tell]:
    """A bar per cell on standard error; yields progress(cell, done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=Console(stderr=True))
    bar_of: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:

        def progress(cell: str, done: int, total: int) -> None:
            if not bar_of:
                stack.enter_context(bars)
            if cell not in bar_of:
                bar_of[cell] = bars.add_task(cell, total=total)
            bars.update(bar_of[cell], completed=done)

        yield progress

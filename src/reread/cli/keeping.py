"""Commands that keep what was read: documents into state files; list, ask, remove, verify them; recall against size."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from reread.cli.app import (
    Adapter,
    Bos,
    Budget,
    Data,
    Forgotten,
    Json,
    Model,
    RereadWhenLost,
    Select,
    Settings,
    Strategy,
    app,
    cut_note,
    data_of_tasks,
    emit,
    progress_bars,
    say,
)
from reread.cli.forgetting import answers_again, check_again, say_hint, with_tokens_at_hand
from reread.errors import BadInput, BadState, RereadError
from reread.forgotten import NO_UNIT, unit_facts
from reread.models.hub import DEFAULT as DEFAULT_MODEL
from reread.models.kv_selection import FULL, selection, without_fit

if TYPE_CHECKING:
    from reread.store import Entry

store_app = typer.Typer(help="List, ask, remove and verify the states in store folders.", no_args_is_help=True)
app.add_typer(store_app, name="store")

StateDtype = Annotated[
    str | None,
    typer.Option(help="fp32, bf16, int8 or int4 [default: bf16 for a full cache of keys and values, else fp32]."),
]
# options, and the fields of a header
FIXED = {"strategy": "strategy", "policy": "policy", "select": "selection", "forgotten": "forgotten"}
READ_WITH = ("budget", "window", "prefill", "bos")


@app.command("read")
def read_command(
    documents: Annotated[list[str], typer.Argument(help="Text, Markdown, HTML, PDF, office, mail files, or folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the state files (a store).")],
    strategy: Strategy = "once",
    model: Model = DEFAULT_MODEL,
    adapter: Adapter = None,
    budget: Budget = None,
    policy: Annotated[
        str, typer.Option(help="What is read non-causally: document, none or fixed(n=256).")
    ] = "document",
    state_dtype: StateDtype = None,
    select: Select = FULL,
    forgotten: Forgotten = None,
    bos: Bos = None,
    forget_tokens: Annotated[
        bool, typer.Option("--forget-tokens", help="Leave the document's tokens out of the file; see docs/states.md.")
    ] = False,
    limit_mib: Annotated[
        int | None, typer.Option(help="MiB of the folder at most: the longest unused states are removed.")
    ] = None,
    seconds_per_document: Annotated[
        float, typer.Option(help="For taking the text out of one document (PDF); then it is named and left out.")
    ] = 120.0,
    as_json: Json = False,
) -> None:
    """Read documents once into state files, to be asked later with `reread ask --state FILE QUESTION`."""
    from reread.documents.loaders import check_any_there, check_packages, check_seconds, document_files, passed_over
    from reread.models import locate
    from reread.options import check_read_options, check_store, checked_select, checked_unit

    check_seconds(seconds_per_document)
    ways: dict[str, Any] = {"strategy": strategy, "budget": budget, "policy": policy, "state_dtype": state_dtype}
    check_read_options(**ways)
    ways["select"] = checked_select(select)
    ways["forgotten"] = checked_unit(forgotten, ways["select"])
    check_store(out, limit_mib)
    locate(model, adapter)
    files = list(document_files(documents))
    check_any_there(files)
    check_packages(files)
    store, reader = store_of(out, limit_mib), document_reader(model, bos, adapter or ())
    if ways["select"] != FULL:
        from reread.selecting import checked_selection

        checked_selection(reader.lm, ways["select"])  # before any document is read
    ways |= {"keep_tokens": not forget_tokens}
    if left_out := passed_over(documents):
        say(left_out)
    rows = [read_one(reader, store, file, ways, quiet=as_json, seconds=seconds_per_document) for file in files]
    if as_json:
        emit(rows)
    gone = sum("state" in row and not Path(row["state"]).exists() for row in rows)
    if gone:
        say(f"{gone} of these states are gone again: the folder may hold {limit_mib} MiB (--limit-mib).")
    if gone or any("error" in row for row in rows):
        raise typer.Exit(1)


def document_reader(model: str, bos: bool | None = None, adapter: Sequence[str] = ()) -> Any:
    from reread.engine import Reader
    from reread.models import load
    from reread.sessions import DocumentReader

    return DocumentReader(Reader(load(model, add_bos=bos, adapter=adapter)))


def store_of(folder: Path, limit_mib: int | None = None, *, there: bool = False) -> Any:
    """The store in a folder; `there`: it must exist."""
    from reread.options import check_store

    check_store(folder, limit_mib, there=there)
    from reread.store import Store

    return Store(folder, None if limit_mib is None else limit_mib * 2**20)


def read_one(
    reader: Any, store: Any, file: str, ways: dict[str, Any], *, quiet: bool, seconds: float
) -> dict[str, Any]:
    """One document into the store: what was kept, or the sentence that says why not."""
    from reread.documents.loaders import read_source

    began = time.perf_counter()
    try:
        source = read_source(file, seconds)
        kept = reader.keep(store, source, **ways)
    except RereadError as error:
        say(str(error) if file in str(error) else f"{file}: {error}")
        return {"document": file, "error": str(error)}
    for warning in source.warnings:
        say(f"{warning}.")
    if kept.header.cut:
        say(f"{file}: {cut_note(kept.header.cut, ways['budget'], reader.lm.positions)}")
    if kept.kept:
        say(f"{file}: {kept.kept}.")
    if kept.forgotten:
        say(f"{file}: {kept.forgotten}.")
    facts = {
        "document": file,
        "state": str(kept.path),
        "tokens": kept.header.read,
        "state_bytes": kept.state_bytes,
        "state_dtype": kept.header.state_dtype,
        "already_there": kept.already_there,
        "cut": kept.header.cut,
        **({"warnings": list(source.warnings)} if source.warnings else {}),
        **({"selection": kept.header.selection} if kept.kept else {}),
        "seconds": round(time.perf_counter() - began, 3),
        **({"forgotten": kept.header.forgotten, "lost": unit_facts(kept.texts, kept.lost)} if kept.forgotten else {}),
    }
    if not quiet:
        was = " (there already)" if kept.already_there else ""
        print(f"{file}: {kept.header.read:,} tokens -> {kept.path}{was}")
    return facts


def ask_state(
    context: typer.Context,
    file: Path,
    question: str,
    model: str,
    adapter: Sequence[str] = (),
    *,
    again: bool = False,
) -> dict[str, Any]:
    """The answer of one state file, as `ask` prints it; again: after the document is read again with all keys, where
    the state lost the text nearest to the question.  Raises BadState where an option asks for another reading."""
    from reread.models import locate
    from reread.options import check_question

    check_question(question)
    for option in READ_WITH:
        if was_given(context, option):
            todo = "leave the option out, or read the document again with it"
            raise BadState(f"a state was read before, and --{option} is about reading", got=str(file), todo=todo)
    given = {option: given_id(context, option) for option in FIXED if was_given(context, option)}
    locate(model, adapter)
    check_state_file(file)
    from reread.store import open_file

    document = open_file(file)
    for option, name in given.items():
        made_with = getattr(document.header, FIXED[option])
        if name not in (made_with, without_fit(made_with) if option == "select" else made_with):
            todo = "leave the option out, or read the document again with it"
            what = "unit of what was forgotten" if option == "forgotten" else FIXED[option]
            found, wanted = made_with or "none", name or "none"
            raise BadState(f"this state was read with another {what}", got=found, allowed=wanted, todo=todo)
    if again:
        check_again(document)
    reader = document_reader(model, adapter=adapter)
    session = reader.open(with_tokens_at_hand(reader, document, file))
    if document.header.cut:
        say(document.header.cut + ".")
    if kept := document.says_kept():
        say(f"{kept}.")
    (answer,) = answers_again([session], question, session.ask([question]), again=again)
    say_hint([answer], again=again)
    h = document.header
    return answer_facts(answer, h.strategy, h.policy, h.cut, h.selection)


def answer_facts(answer: Any, strategy: str, policy: str, cut: str, select: str = FULL) -> dict[str, Any]:
    """The answer of one question alone as JSON has it: what it read is no share of a reading, so a whole number."""
    unsaid = {"calibrated", "kept_positions"}
    unsaid |= {name for name, value in (("forgotten", None), ("read_again", False)) if getattr(answer, name) is value}
    told = {name: value for name, value in vars(answer).items() if name not in unsaid}
    told |= {"read_tokens": round(answer.read_tokens), "confidence": known(answer.confidence)}
    told |= {"strategy": strategy, "policy": policy, "cut": cut}
    return told if select == FULL else {**told, "selection": select, "kept_positions": round(answer.kept_positions, 2)}


def known(number: float) -> float | None:
    """The number; None for nan, which JSON does not have."""
    return None if math.isnan(number) else number


def was_given(context: typer.Context, option: str) -> bool:
    """Whether the person wrote the option, rather than leaving it as it is."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def given_id(context: typer.Context, option: str) -> str:
    """The id that the option names, as the headers of states have it.  Raises UnknownName, BadInput."""
    from reread.policies import policy
    from reread.prompting import strategy

    made = {"strategy": lambda text: strategy(text)[0], "policy": policy, "select": selection}
    if option == "forgotten":
        unit = str(context.params[option])
        return "" if unit == NO_UNIT else unit
    return str(made[option](context.params[option]))


def check_state_file(file: Path) -> None:
    """Raise BadInput where this is no file."""
    if not file.is_file():
        what = f"no state file can be read there: {'it is a folder' if file.is_dir() else 'no such file'}"
        raise BadInput(what, got=str(file), todo="reread store ls DIR shows what is there")


@store_app.command("ls")
def store_ls(
    folders: Annotated[list[Path], typer.Argument(help="Store folders.")],
    as_json: Json = False,
) -> None:
    """List the states in store folders, the longest unused first."""
    entries = [entry for folder in folders for entry in store_of(folder, there=True).ls()]
    if as_json:
        emit([entry_facts(entry) for entry in entries])
        return
    table = Table()
    for column in ("id", "document", "model", "strategy", "tokens", "dtype", "KiB", "last used"):
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for entry in entries:
        h, used = entry.header, time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        told = (
            ("?", entry.wrong, "?", "?", "?")
            if h is None
            else (h.name, h.model_name, h.strategy, h.read, h.state_dtype)
        )
        name, *rest = map(str, told)
        table.add_row(entry.id, name, *rest, f"{entry.bytes / 1024:,.0f}", used)
    Console(width=None if Console().is_terminal else 200, markup=False).print(table)
    print(f"{len(entries)} state{'s' * (len(entries) != 1)}, {sum(entry.bytes for entry in entries):,} bytes")


def entry_facts(entry: Entry) -> dict[str, Any]:
    from reread.statefile import facts_of

    told = {"error": entry.wrong} if entry.header is None else facts_of(entry.header)
    return {"id": entry.id, "file": str(entry.path), "bytes": entry.bytes, "last_used": entry.used, **told}


@store_app.command("ask")
def store_ask(
    folder: Annotated[Path, typer.Argument(help="A store folder.")],
    question: Annotated[str, typer.Argument(help="A question (ending in ?) or the name of a field.")],
    model: Model = DEFAULT_MODEL,
    adapter: Adapter = None,
    batch: Annotated[int, typer.Option(help="States that are asked together.")] = 16,
    reread_when_lost: RereadWhenLost = False,
    as_json: Json = False,
) -> None:
    """Ask every state in a store one question: a line per document, by name; exit code 1 if one cannot be asked."""
    from reread.models import locate
    from reread.options import check_question, check_store

    if batch < 1:
        raise BadInput("states are asked one at a time at least", got=batch)
    check_question(question)
    check_store(folder, there=True)
    locate(model, adapter)
    from reread.sessions import ask_each
    from reread.store import open_file

    entries = sorted(store_of(folder, there=True).ls(), key=lambda one: (one.header.name if one.header else "", one.id))
    if not entries:
        raise BadInput("this store holds no state", got=str(folder), todo="reread read DOC --out DIR makes one")
    reader, told, bad = document_reader(model, adapter=adapter or ()), [], 0
    found: list[Any] = []
    for start in range(0, len(entries), batch):
        opened: list[tuple[Any, Any]] = []
        for entry in entries[start : start + batch]:
            try:
                document = with_tokens_at_hand(reader, open_file(entry.path), entry.path)
                opened.append((entry, reader.open(document)))
                if reread_when_lost and document.lost is None:
                    say(f"{document.header.name}: this state does not tell what it has forgotten.")
            except RereadError as error:
                bad += 1
                say(str(error))
        sessions = [one for _, one in opened]
        answers = ask_each(sessions, [question] * len(opened))
        answers = answers_again(sessions, question, answers, again=reread_when_lost, named=True)
        found += answers
        for (entry, session), answer in zip(opened, answers, strict=True):
            name = session.document.header.name
            header = session.document.header
            facts = answer_facts(answer, header.strategy, header.policy, header.cut, header.selection)
            kept = (
                "text", "confidence", "found", "verbatim", "span", "doubts", "cut", "selection", "kept_positions",
                "forgotten", "read_again",
            )  # fmt: skip
            told.append({"document": name, "id": entry.id, **{key: facts[key] for key in kept if key in facts}})
            for doubt in [*([header.cut] if header.cut else []), *answer.doubts]:
                say(f"{name}: {doubt}.")
            if not as_json:
                print(f"{name}\t{answer.text}", flush=True)
    say_hint(found, again=reread_when_lost)
    if as_json:
        emit(told)
    if bad:
        raise typer.Exit(1)


@store_app.command("rm")
def store_rm(
    folder: Annotated[Path, typer.Argument(help="A store folder.")],
    ids: Annotated[list[str], typer.Argument(help="Ids as `store ls` shows them, or their beginnings.")],
    as_json: Json = False,
) -> None:
    """Remove states from a store; all that are named or, when one is not there, none."""
    gone = [str(path) for path in store_of(folder, there=True).rm(ids)]
    emit({"removed": gone}) if as_json else print("\n".join(gone))


@store_app.command("verify")
def store_verify(
    folders: Annotated[list[Path], typer.Argument(help="Store folders.")],
    level: Annotated[str, typer.Option(help="checksum (needs no model), canary, or full (reads anew).")] = "canary",
    model: Model = DEFAULT_MODEL,
    adapter: Adapter = None,
    as_json: Json = False,
) -> None:
    """Verify every state in store folders; exit code 1 if one is not right."""
    from reread.models import locate
    from reread.options import check_level, check_store

    check_level(level)
    for folder in folders:
        check_store(folder, there=True)
    if level != "checksum":
        locate(model, adapter)
    from reread.sessions import verify
    from reread.store import open_file

    paths = [entry.path for folder in folders for entry in store_of(folder, there=True).ls()]
    reader = None if level == "checksum" else document_reader(model, adapter=adapter or ())
    found = {str(path): verify(partial(open_file, path), reader, level) for path in paths}
    if as_json:
        emit({path: wrong or "right" for path, wrong in found.items()})
    else:
        for path, wrong in found.items():
            print(f"{path}: {wrong or 'right'}")
    if any(found.values()):
        raise typer.Exit(1)


@app.command("state-sizes")
def state_sizes_command(
    setting: Settings = None,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Run folder; a stopped run goes on there.")] = Path("runs/state_sizes"),
    files: Annotated[bool, typer.Option("--files", help="Bytes of state files instead: chosen keys, caches.")] = False,
    as_json: Json = False,
) -> None:
    """Measure recall against the bytes of a state: fp32, bf16, int8 and int4, into a run folder.

    --set model=small-jrt --set tasks=[\\"fda\\"] --set dtypes=[\\"fp32\\",\\"int4\\"] --set limit=300 --set budget=512.
    With --files no question is asked: the files of smollm2 with 128, 256 and 512 positions are written beside those of
    its whole cache and of recurrent models. --set positions=[64,128] --set tokens=1024 --set selection=window.
    """
    from reread.config import build, overrides
    from reread.report import report, tables
    from reread.state_files import FilesConfig, state_files
    from reread.state_sizes import SizesConfig, state_sizes

    if files:
        with progress_bars() as progress:
            run = state_files(build(FilesConfig, overrides(setting or [])), out, progress=progress)
        emit(tables(run.folder)) if as_json else print(report(run.folder))
        return
    config = build(SizesConfig, overrides(setting or []))
    config.check()
    with progress_bars() as progress:
        run = state_sizes(config, data_of_tasks(data, *config.tasks), out, progress=progress)
    emit(tables(run.folder)) if as_json else print(report(run.folder))

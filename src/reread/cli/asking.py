"""Commands that read documents and answer: ask, prompt, demo."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reread.cli.app import (
    Adapter,
    AskWindow,
    Bos,
    Budget,
    Copy,
    Forgotten,
    Json,
    Model,
    Policy,
    Prefill,
    RereadWhenLost,
    Select,
    Strategy,
    Window,
    app,
    cut_note,
    emit,
    say,
)
from reread.cli.forgetting import say_hint
from reread.cli.keeping import answer_facts, ask_state
from reread.errors import BadInput, MissingPackage
from reread.models.hub import DEFAULT as DEFAULT_MODEL
from reread.models.kv_selection import FULL
from reread.prompting import PARTS, bos_facts


@app.command()
def ask(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            help="A document: text, Markdown, HTML, PDF, office, mail. - for standard input. With --state, a question."
        ),
    ],
    question: Annotated[str | None, typer.Argument(help="A question (ending in ?) or the name of a field.")] = None,
    strategy: Strategy = "once",
    model: Model = DEFAULT_MODEL,
    adapter: Adapter = None,
    budget: Budget = None,
    window: AskWindow = "head",
    policy: Policy = "prompt",
    prefill: Prefill = "no_pad",
    bos: Bos = None,
    select: Select = FULL,
    forgotten: Forgotten = None,
    reread_when_lost: RereadWhenLost = False,
    copy: Copy = False,
    state: Annotated[
        Path | None, typer.Option(help="Ask a state file of `reread read` in place of a document.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer one question about one document, or, with --state, about one that was read before."""
    if (question is None) != (state is not None):
        raise BadInput("ask takes a document and a question, or --state FILE and a question", got=file)
    if state is not None:
        if copy:
            raise BadInput("--copy needs the document's text, and a state may not hold it", todo="ask the document")
        told = ask_state(context, state, file, model, adapter or (), again=reread_when_lost)
    else:
        ways = (strategy, model, budget, window, policy, prefill, bos, adapter or (), select, forgotten)
        told = ask_document(file, question or "", *ways, again=reread_when_lost, copy=copy)
    if told["doubts"]:
        say("; ".join(told["doubts"]) + ".")
    emit(told) if as_json else print(told["text"])


def ask_document(
    file: str,
    question: str,
    strategy: str,
    model: str,
    budget: int | None,
    window: str,
    policy: str,
    prefill: str,
    bos: bool | None,
    adapter: Sequence[str] = (),
    select: str = FULL,
    forgotten: str | None = None,
    *,
    again: bool = False,
    copy: bool = False,
) -> dict[str, Any]:
    """The answer and what it cost.  Prints what was cut, which keys were kept, and whether the document was read again,
    on standard error."""
    from reread.documents.loaders import read_source
    from reread.models import locate
    from reread.options import check_ask_options, checked_select, checked_unit

    check_ask_options(question, strategy=strategy, policy=policy, budget=budget, window=window, prefill=prefill)
    chosen = checked_select(select, strategies=[strategy], prefill=prefill)
    unit = checked_unit(forgotten, chosen, needed=again)
    locate(model, adapter)
    source = read_source(file)
    for warning in source.warnings:
        say(f"{warning}.")
    from reread.engine import Reader
    from reread.models import load

    lm = load(model, add_bos=bos, adapter=adapter)
    ways: dict[str, Any] = {"strategy": strategy, "policy": policy, "budget": budget, "window": window}
    answer, prompt = Reader(lm, prefill=prefill).ask(
        source.text,
        question,
        **ways,
        select=chosen,
        forgotten=unit,
        reread_when_lost=again,
        copy=copy,
        told=lambda it: say(f"{it}."),
    )
    say_hint([answer], again=again)
    if prompt.cut and prompt.cut.says():
        say(cut_note(prompt.cut.says(), budget, lm.positions))
    if prompt.cut and prompt.cut.window == PARTS and prompt.cut.kept_tokens < prompt.cut.document_tokens:
        all_tokens, tokens = prompt.cut.document_tokens, prompt.cut.kept_tokens
        say(f"the document has {all_tokens:,} tokens and was read in parts; the answer is from {tokens:,} of them.")
    answer = replace(answer, span=answer.span and source.span(*answer.span))
    told = answer_facts(answer, strategy, policy, prompt.cut.says() if prompt.cut else "", chosen)
    told |= {"warnings": list(source.warnings)} if source.warnings else {}
    return {**told, **bos_facts(lm.tokenizer)}


@app.command()
def prompt(
    file: Annotated[str, typer.Argument(help="A document, as for ask, or - for standard input.")],
    question: Annotated[str, typer.Argument(help="A question (ending in ?), the name of a field, or a cloze.")],
    strategy: Strategy = "once",
    model: Annotated[
        str, typer.Option(envvar="REREAD_MODEL", help="Whose tokens to count; as for ask.")
    ] = DEFAULT_MODEL,
    adapter: Annotated[list[str] | None, typer.Option(help="Whose template to use; as for ask.")] = None,
    template_name: Annotated[
        str,
        typer.Option(
            "--template",
            help="field, question, reader, or published/TASK (swde, fda, squad, nq, triviaqa, drop) [default: as ask].",
        ),
    ] = "",
    original_question: Annotated[str, typer.Option(help="The question as a person asks it: published twice.")] = "",
    budget: Annotated[
        int | None, typer.Option(help="Document tokens at most, per copy [default: as ask; published: all].")
    ] = None,
    window: Window = "head",
    policy: Policy = "prompt",
    bos: Bos = None,
    as_json: Json = False,
) -> None:
    """Print the prompt that `ask` would show the model, and nothing else; spans in tokens with --json."""
    from reread.documents.loaders import read_source
    from reread.models import Manifest, load_tokenizer, manifest_of, positions_of
    from reread.options import check_question, default_budget, probe_layout
    from reread.policies import policy as known_policy
    from reread.prompting import (
        build,
        build_published,
        cut,
        label_in,
        plain_question,
        published_template,
        template,
        template_for,
    )

    check_question(question)
    chosen, published = known_policy(policy), published_template(template_name)
    source = read_source(file)
    for warning in source.warnings:
        say(f"{warning}.")
    text = source.text
    if not published:
        question = label_in(plain_question(question), text)
    tokenizer, positions = load_tokenizer(model, bos), positions_of(model)
    asked_with = (manifest_of(model, adapter or None) or Manifest()).asked_with
    form = template(template_name) if template_name and not published else asked_with(template_for(question))
    tokens = budget
    if budget is None and not published:
        tokens = default_budget(positions, probe_layout(strategy, question, form, tokenizer), tokenizer)
    shown = None if tokens is None else cut(text, tokenizer, tokens, window)
    text = text if shown is None else shown.text
    if published:
        made = build_published(published, strategy, text, question, original_question, cut=shown)
    else:
        made = build(strategy, text, question, form, cut=shown, tokenizer=tokenizer)
    if shown is not None and shown.says():
        say(cut_note(shown.says(), budget, positions))
    if as_json:
        emit(prompt_facts(made, tokenizer, chosen))
        return
    sys.stdout.write(made.text + ("\n" if sys.stdout.isatty() or not published else ""))


def prompt_facts(made: Any, tokenizer: Any, policy: Any) -> dict[str, Any]:
    """A prompt as JSON: its text, and its parts in tokens."""
    encoded = made.encode(tokenizer)
    return {
        "strategy": made.strategy,
        "text": made.text,
        "tokens": len(encoded.tokens),
        "policy": str(policy),
        "prefix_len": policy.choose([encoded], tokenizer=tokenizer)[0].prefix_len,
        "spans": [{"role": role, "start": start, "end": end} for role, start, end in encoded.spans],
        "dropped_tokens": made.cut.dropped_tokens if made.cut else 0,
    }


@app.command()
def demo(model: Model = DEFAULT_MODEL, adapter: Adapter = None, as_json: Json = False) -> None:
    """Read three example documents, ask fields and questions of each, and show what came back."""
    from reread.models import locate
    from reread.models.hub import SMALL

    try:
        locate(model, adapter)
    except MissingPackage as error:
        if model != DEFAULT_MODEL or adapter:
            raise
        say(f"{error} The demonstration uses the small embedded model {SMALL}.")
        model = SMALL
    from reread.demo import costs_of, run_demo

    result = run_demo(model, adapter or ())
    if as_json:
        emit(result)
        return
    ways = list(result["right"])
    table = Table(title=f"reread demo: {result['model']}, {len(result['rows'])} questions of three documents")
    for column in ("asked", "expected", *ways):
        table.add_column(column, overflow="fold")
    for document, own in groupby(result["rows"], key=lambda row: row["document"]):
        table.add_section()
        table.add_row(f"[bold]{document}[/]")
        for row in own:
            shown = [("[green]✓[/] " if row[way]["right"] else "[red]✗[/] ") + escape(row[way]["text"]) for way in ways]
            table.add_row(row["question"], row["answer"], *shown)
    console = Console()
    console.print(table)
    if costs := costs_of(result):
        summary = Table(*costs[0])
        for line in costs[1:]:
            summary.add_row(*line)
        console.print(summary)
    console.print(result["says"], markup=False, highlight=False)

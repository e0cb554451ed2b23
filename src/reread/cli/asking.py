"""Commands that read documents and answer: ask, prompt, demo."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reread.cli.app import (
    Adapter,
    Bos,
    Budget,
    Json,
    Model,
    Policy,
    Prefill,
    Strategy,
    Window,
    app,
    cut_note,
    emit,
    say,
)
from reread.cli.keeping import answer_facts, ask_state
from reread.errors import BadInput, MissingPackage
from reread.models.hub import DEFAULT as DEFAULT_MODEL
from reread.prompting import bos_facts


@app.command()
def ask(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(help="A text, Markdown, HTML or PDF file, or - for standard input; with --state, the question."),
    ],
    question: Annotated[str | None, typer.Argument(help="A question (ending in ?) or the name of a field.")] = None,
    strategy: Strategy = "once",
    model: Model = DEFAULT_MODEL,
    adapter: Adapter = None,
    budget: Budget = None,
    window: Window = "head",
    policy: Policy = "prompt",
    prefill: Prefill = "no_pad",
    bos: Bos = None,
    state: Annotated[
        Path | None, typer.Option(help="Ask a state file of `reread read` in place of a document.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer one question about one document, or, with --state, about one that was read before."""
    if (question is None) != (state is not None):
        raise BadInput("ask takes a document and a question, or --state FILE and a question", got=file)
    told = (
        ask_document(file, question or "", strategy, model, budget, window, policy, prefill, bos, adapter or ())
        if state is None
        else ask_state(context, state, file, model, adapter or ())
    )
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
) -> dict[str, Any]:
    """The answer and what it cost; what was cut is said."""
    from reread.models import locate
    from reread.options import check_ask_options
    from reread.sources import read_source

    check_ask_options(question, strategy=strategy, policy=policy, budget=budget, window=window, prefill=prefill)
    locate(model, adapter)
    document = read_source(file).text
    from reread.engine import Reader
    from reread.models import load

    lm = load(model, add_bos=bos, adapter=adapter)
    answer, prompt = Reader(lm, prefill=prefill).ask(
        document, question, strategy=strategy, policy=policy, budget=budget, window=window
    )
    if prompt.cut and prompt.cut.says():
        say(cut_note(prompt.cut.says(), budget, lm.positions))
    told = answer_facts(answer, strategy, policy, prompt.cut.says() if prompt.cut else "")
    return {**told, **bos_facts(lm.tokenizer)}


@app.command()
def prompt(
    file: Annotated[str, typer.Argument(help="A text, Markdown, HTML or PDF file, or - for standard input.")],
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
    from reread.models import Manifest, load_tokenizer, manifest_of, positions_of
    from reread.options import check_question, default_budget, probe_layout
    from reread.policies import policy as known_policy
    from reread.prompting import build, build_published, cut, published_template, template, template_for
    from reread.sources import read_source

    check_question(question)
    chosen, published = known_policy(policy), published_template(template_name)
    text = read_source(file).text
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
def demo(model: Model = DEFAULT_MODEL, as_json: Json = False) -> None:
    """Read three example documents, ask fields and questions of each, and show what came back."""
    from reread.models import locate
    from reread.models.hub import SMALL

    try:
        locate(model)
    except MissingPackage as error:
        if model != DEFAULT_MODEL:
            raise
        say(f"{error} The demonstration goes on with the small embedded model {SMALL}.")
        model = SMALL
    from reread.demo import run_demo

    result = run_demo(model)
    if as_json:
        emit(result)
        return
    strategies = list(result["right"])
    table = Table(title=f"reread demo: {result['model']}, {len(result['rows'])} questions of three documents")
    for column in ("document", "asked", "expected", *(f"read {strategy}" for strategy in strategies)):
        table.add_column(column, overflow="fold")
    for row in result["rows"]:
        shown = [("[green]✓[/] " if row[s]["right"] else "[red]✗[/] ") + escape(row[s]["text"]) for s in strategies]
        table.add_row(row["document"], row["question"], row["answer"], *shown)
    console = Console()
    console.print(table)
    console.print(result["says"], markup=False, highlight=False)

"""The command that serves: documents and questions over HTTP, in the OpenAI shape."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from reread.cli.app import MODELS, Adapter, Json, Select, app, emit, say
from reread.models.hub import DEFAULT as DEFAULT_MODEL
from reread.models.kv_selection import FULL
from reread.serve import ServeConfig, serve
from reread.serve.config import KEY

DEFAULT = ServeConfig()


@app.command("serve")
def serve_command(
    model: Annotated[str, typer.Argument(envvar="REREAD_MODEL", help=MODELS)] = DEFAULT_MODEL,
    adapter: Adapter = None,
    host: Annotated[str, typer.Option(help="Address to bind; others than loopback need an API key.")] = DEFAULT.host,
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = DEFAULT.port,
    store: Annotated[Path, typer.Option(help="Folder of the documents' states.")] = DEFAULT.store,
    api_key: Annotated[
        str | None, typer.Option(envvar=KEY, help="Key that clients must send; better from the variable than in sight.")
    ] = None,
    max_body_mib: Annotated[int, typer.Option(help="MiB of one request at most.")] = DEFAULT.max_body_mib,
    max_tokens: Annotated[int, typer.Option(help="New tokens of one answer at most.")] = DEFAULT.max_tokens,
    max_prompt_tokens: Annotated[
        int, typer.Option(help="Tokens of one prompt or document at most.")
    ] = DEFAULT.max_prompt_tokens,
    concurrency: Annotated[int, typer.Option(help="Answers that are written together.")] = DEFAULT.concurrency,
    queue: Annotated[int, typer.Option(help="Requests that may wait beside them.")] = DEFAULT.queue,
    limit_mib: Annotated[
        int | None, typer.Option(help="MiB of the store at most: the longest unused states are removed.")
    ] = None,
    select: Select = FULL,
    as_json: Json = False,
) -> None:
    """Serve documents and questions in the OpenAI shape, with a small page at /; see docs/serve.md."""
    config = ServeConfig(
        model,
        store,
        host,
        port,
        api_key,
        max_body_mib,
        max_tokens,
        max_prompt_tokens,
        concurrency,
        queue,
        limit_mib,
        adapters=tuple(adapter or ()),
        select=select,
    )

    def ready(url: str) -> None:
        if as_json:
            emit({"url": url, "model": model, "store": str(store)})
            sys.stdout.flush()
        say(f"{url} serves {model}; documents are kept in {store}; Ctrl-C stops.")

    serve(config, ready=ready)

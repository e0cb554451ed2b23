"""Perplexity of held-out text: how well models predict it, per token and per byte, into a run folder.

Documents are read causally, whole, the state carried from window to window; a tokenizer of its own
per model makes tokens incomparable, so bits per byte stand beside.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from reread.config import at_least, each_once, to_dict
from reread.errors import BadInput, MissingData
from reread.models import load, locate
from reread.pace import Tell
from reread.runlog import Run
from reread.tasks.files import json_lines


@dataclass(frozen=True)
class PerplexityConfig:
    """models; texts: names of files DATA/text_valid/NAME.jsonl.xz; characters: of every document at most; limit:
    documents per file at most (0 = all); window: tokens read at once."""

    models: tuple[str, ...] = ("embedded",)
    texts: tuple[str, ...] = ("fda510k", "gutenberg", "imdb", "wiki")
    characters: int = 16_000
    limit: int = 20
    window: int = 1024

    def check(self) -> None:
        each_once(self, "models", "texts")
        at_least(self, 1, "characters", "window")
        at_least(self, 0, "limit")


def documents(path: Path, limit: int, characters: int) -> list[str]:
    """The first `limit` texts of a file, each cut.  Raises MissingData, BadInput."""
    if not path.is_file():
        names = ", ".join(sorted(p.name.split(".")[0] for p in path.parent.glob("*.jsonl.xz"))) or "none"
        raise MissingData("a text to predict is missing", got=str(path), allowed=names)
    rows = islice(json_lines(path, {"text": "text"}), limit or None)
    found = [row["text"][:characters] for row in rows]
    if not found:
        raise BadInput("this file holds no text", got=str(path))
    return found


def perplexity(config: PerplexityConfig, data: Path, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """One row per model and document: nats, tokens, bytes, and the nats and tokens where a pair of tokens of the same
    document comes again (what can be recalled); a stopped run goes on.  Raises as evaluate."""
    config.check()
    for name in config.models:
        locate(name)
    Run.check(out, "perplexity", to_dict(config))
    texts = {n: documents(data / "text_valid" / f"{n}.jsonl.xz", config.limit, config.characters) for n in config.texts}
    from reread.scoring import seen_pairs, token_logliks

    lms = {name: load(name) for name in config.models}
    described = {**to_dict(config), "fingerprints": {name: lm.model.fingerprint for name, lm in lms.items()}}
    with Run.start(out, "perplexity", described, resume=True) as run:
        if run.done:
            return run
        seen = {(row["model"], row["text"], row["document"]) for row in run.rows()}
        for model, lm in lms.items():
            for name, found in texts.items():
                todo = [number for number in range(len(found)) if (model, name, number) not in seen]
                for n, number in enumerate(todo, start=len(found) - len(todo)):
                    progress(f"{model}/{name}", n, len(found))
                    began = time.perf_counter()
                    ids, nats = token_logliks(lm, found[number], window=config.window)
                    size = len(found[number].encode())
                    lost = {"nats": round(math.fsum(nats), 4), "tokens": len(nats), "bytes": size}
                    again = [nat for nat, seen in zip(nats, seen_pairs(ids), strict=True) if seen]
                    cost = {"seconds": round(time.perf_counter() - began, 4)}
                    pairs = {"pair_nats": round(math.fsum(again), 4), "pair_tokens": len(again)}
                    run.append({"model": model, "text": name, "document": number, **lost, **pairs, **cost})
                progress(f"{model}/{name}", len(found), len(found))
        run.finish({"rows": len(lms) * sum(map(len, texts.values()))})
        return run

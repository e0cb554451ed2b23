"""Runs of `bench ask` in words: the two tables of `asking`."""

from __future__ import annotations

from reread.report.cells import Record
from reread.report.runs import origin
from reread.report.words import size, spread_words

ONE_MORE = "one more"
MORE_COLUMNS = (
    "document tokens", "way", "rounds", "first token, ms", "first token, times as fast", "new tokens",
    "answer, ms",
    "answer, times as fast", "state", "state file",
)  # fmt: skip
TOGETHER_COLUMNS = ("document tokens", "asked", "way", "rounds", "ms per question", "times as fast")


def ask_says(found: Record) -> str:
    config = found["header"]["config"]
    return (
        f"{origin(found)}, {config['threads']} thread{'s' * (config['threads'] != 1)}: model "
        f"`{config['model']}`, text `{config['text']}`, at most {config['new']} new tokens, greedy; contenders in "
        "turns, times as fast: as the first named, within each round; median over rounds [95 % interval of the median "
        "by order statistics; with fewer than 6 rounds the lowest and highest]. Before any timing the logits after the "
        f"questions were found within {config['tolerance']:.0e} of a fresh reading's (largest error over the largest "
        f"logit: {max(found['errors']):.0e}), and every timed answer had its words."
    )


def more_words(record: Record) -> Record:
    """A line of the table about one more question."""
    told = {"document tokens": f"{record['tokens']:,}", "way": record["name"], "rounds": record["rounds"]}
    for measure in ("first token", "answer"):
        told[f"{measure}, ms"] = spread_words(record[measure], ",.1f", 1e3)
        told[f"{measure}, times as fast"] = spread_words(record[f"{measure}, times as fast"], ",.1f")
    told["new tokens"] = record["new tokens"]
    again = record["name"] == "read again"
    held, kept = record["state_bytes"], record["file_bytes"]
    return {**told, "state": "-" if again else size(held), "state file": "-" if again else size(kept)}


def together_words(record: Record) -> Record:
    """A line of the table about questions together."""
    return {
        "document tokens": f"{record['tokens']:,}",
        "asked": f"{record['questions']} questions of one document"
        if record["what"].startswith("questions")
        else f"a question of each of {record['questions']} documents",
        "way": record["name"],
        "rounds": record["rounds"],
        "ms per question": spread_words(record["answer"], ",.1f", 1e3),
        "times as fast": spread_words(record["answer, times as fast"], ".2f"),
    }

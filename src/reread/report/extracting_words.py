"""Runs of extraction in words: the tables of `extracting`."""

from __future__ import annotations

from reread.report.cells import Record
from reread.report.runs import origin
from reread.report.words import percent, spread_words

FIELDS_COLUMNS = (
    "reading", "fields", "documents", "n", "contains", "exact", "against each", "wins, losses", "tokens per field",
    "of the tokens of each", "of the seconds of each",
)  # fmt: skip
AT_COLUMNS = ("threshold", "kept", "wrong of the kept", "recall", "kept where removed")
CURVE_COLUMNS = ("kept", "wrong of the kept", "threshold")
INTERVALS = "in percent [95 % bootstrap interval over documents]"


def fields_says(found: Record) -> str:
    config = found["header"]["config"]
    return (
        f"{origin(found)}: model `{config['model']}`, task `{config['task']}`, prefix `document`, the first "
        f"{config['budget']} document tokens, greedy; documents of which {config['least']} or more fields stand there. "
        f"n: fields with a known value; contains and exact {INTERVALS}; exact: all that was written is an accepted "
        "value, normalised; against each: paired differences of contains in points; tokens per "
        "field: all that was read, over the fields asked; seconds: sums within one process."
    )


def field_words(record: Record) -> Record:
    gain = record["against each"]
    return {
        **record,
        "contains": percent(record["contains"]),
        "exact": percent(record["exact"]),
        "against each": "-" if gain is None else percent(gain),
        "wins, losses": "-" if gain is None else f"{gain['wins']}, {gain['losses']}",
        "tokens per field": f"{record['tokens per field']:,.0f}",
        "of the tokens of each": share(record["of the tokens"]),
        "of the seconds of each": share(record["of the seconds"]),
    }


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def confidence_says(found: Record) -> str:
    config, told = found["header"]["config"], found["confidence"]
    present, right = (spread_words(told["auroc"][name], ".3f") for name in ("present", "right"))

    return (
        f"{origin(found)}: model `{config['model']}`, task `{config['task']}`, reading `{config['reading']}`, "
        f"the first {config['budget']} document tokens; {told['present']} fields asked of {told['documents']} "
        f"documents that hold their value, and {told['removed']} of the same documents without the lines that hold it. "
        f"Recall before any threshold {percent(told['recall'])} %. AUROC of the confidence: present against removed "
        f"{present}, right against wrong {right}. The rest {INTERVALS}; kept: answers at or above the "
        "threshold, of all; recall: right ones kept, of those present."
    )


def at_words(record: Record) -> Record:
    names = {
        "kept": "coverage",
        "wrong of the kept": "risk",
        "recall": "recall",
        "kept where removed": "kept of removed",
    }
    told = {column: "-" if record[name] is None else percent(record[name]) for column, name in names.items()}
    return {"threshold": f"{record['threshold']:.3f}", **told}


def curve_words(record: Record) -> Record:
    return {
        "kept": f"{100 * record['coverage']:.0f} %",
        "wrong of the kept": f"{100 * record['risk']:.1f} %",
        "threshold": f"{record['threshold']:.3f}",
    }

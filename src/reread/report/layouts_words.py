"""Runs of `bench layouts` in words: a line per layout."""

from __future__ import annotations

from reread.report.cells import Record
from reread.report.words import percent
from reread.tasks.layouts import LAYOUTS

LAYOUT_COLUMNS = ("layout", "n", "exact", "of plain text", "label: value", "why")
LEAST = 0.9  # of the exact answers in plain text, below which a layout needs a reason


def layout_words(record: Record) -> Record:
    share, name = record["of plain text"], record["layout"]
    low = share is not None and share < LEAST
    says = LAYOUTS[name].says if name in LAYOUTS else ""
    return {
        "layout": name,
        "n": str(record["n"]),
        "exact": percent(record["exact"]),
        "of plain text": "-" if share is None else f"{share:.2f}",
        "label: value": f"{100 * record['label: value']:.0f} %",
        "why": (says or "not known") if low else "",
    }


def layouts_says(origin: str, found: Record) -> str:
    config = found["header"]["config"]
    return (
        f"{origin}: model `{config['model']}`, {config['forms']} forms of {config['lines']} lines, the same in every "
        "layout, one line asked, read once, greedy. exact: answers that equal the value, in percent [95 % bootstrap "
        f"interval over forms]; of plain text: their share of those in plain text; label: value: texts in which the "
        f'asked line is "label: value"; why: for layouts below {LEAST} of plain text.'
    )

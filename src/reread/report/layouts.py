"""Runs of `bench layouts`: right answers in every layout, against plain text."""

from __future__ import annotations

from collections.abc import Sequence

from reread.report.cells import Record
from reread.stats import mean_interval
from reread.tasks.layouts import PLAIN

LAYOUT_FIELDS = ("layout", "form", "question", "prediction", "answer", "exact", "on_one_line")


def layout_cells(rows: Sequence[Record]) -> list[Record]:
    """Per layout: exact answers with a bootstrap interval over forms, their share of those in plain text, and the share
    of texts that hold "label: value" on one line."""
    by_name: dict[str, list[Record]] = {}
    for row in rows:
        by_name.setdefault(row["layout"], []).append(row)
    plain = sum(row["exact"] for row in by_name[PLAIN]) / len(by_name[PLAIN])
    return [
        {
            "layout": name,
            "n": len(own),
            "exact": mean_interval([row["exact"] for row in own]).record(),
            "of plain text": sum(row["exact"] for row in own) / len(own) / plain if plain else None,
            "label: value": sum(row["on_one_line"] for row in own) / len(own),
        }
        for name, own in by_name.items()
    ]

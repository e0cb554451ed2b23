"""Runs of extraction as numbers: recall, tokens and seconds against the number of fields; confidence against right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reread.calibration import Judged, areas, at, curve
from reread.report.cells import Record, documents_of, mean_of
from reread.stats import mean_interval
from reread.tasks.metrics import exact

FIELDS_KEY = ("reading", "fields")
CONFIDENCE_KEY = ("present", "confidence")


def known(row: Record) -> list[Record]:
    """A row's answers to fields that the document has a value for, each with the row's document."""
    return [{**one, "document": row["document"]} for one in row["answers"] if one["contains"] is not None]


def gain(first: Sequence[Record], second: Sequence[Record]) -> Record:
    """Difference in recall of the same fields of the same documents, with its interval over documents."""
    before = {(one["document"], one["question"]): one["contains"] for row in first for one in known(row)}
    after = [one for row in second for one in known(row)]
    values = [one["contains"] - before[one["document"], one["question"]] for one in after]
    return {
        **mean_interval(values, documents_of(after), worst=-1.0).record(),
        "wins": sum(v > 0 for v in values),
        "losses": sum(v < 0 for v in values),
    }


def field_cells(rows: Iterable[Record]) -> list[Record]:
    """One record per reading and number of fields; each against the reading `each` of that number, if it is there."""
    cells: dict[tuple[str, int], list[Record]] = {}
    for row in rows:
        cells.setdefault((row["reading"], row["fields"]), []).append(row)
    found = []
    for (name, count), cell in cells.items():
        answers = [one for row in cell for one in known(row)]
        apart = next((c for (other, n), c in cells.items() if n == count and other.startswith("each")), None)
        seconds = sum(row["seconds"] for row in cell)
        found.append(
            {
                "reading": name,
                "fields": count,
                "documents": len(cell),
                "n": len(answers),
                "contains": mean_of([one["contains"] for one in answers], answers),
                "exact": mean_of([exact(one["prediction"], one["answers"]) for one in answers], answers),
                "tokens per field": sum(row["tokens_read"] for row in cell) / (count * len(cell)),
                "of document": sum(row["tokens_read"] / row["document_tokens"] for row in cell) / (count * len(cell)),
                "seconds": seconds,
                "against each": None if apart is None or apart is cell else gain(apart, cell),
                "of the tokens": None if apart is None else total(cell, "tokens_read") / total(apart, "tokens_read"),
                "of the seconds": None if apart is None else seconds / total(apart, "seconds"),
            }
        )
    return found


def total(cell: Sequence[Record], name: str) -> float:
    return sum(row[name] for row in cell)


def confidence_facts(rows: Sequence[Record], thresholds: Sequence[float]) -> Record:
    """AUROC, risk and coverage of a confidence run, and what comes of the thresholds."""
    judged = [Judged(row["confidence"], row["right"], row["present"], row["document"]) for row in rows]
    there = [row for row in rows if row["present"]]
    return {
        "documents": len({row["document"] for row in rows}),
        "present": len(there),
        "removed": len(rows) - len(there),
        "recall": mean_of([float(row["right"]) for row in there], there),
        "auroc": areas(judged),
        "at": [at(judged, threshold) for threshold in thresholds],
        "curve": curve(judged),
    }

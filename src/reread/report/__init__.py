"""Tables and figures from run folders, and nothing else: no torch, no model, no benchmark file.

Every mean stands with its n and its 95 % bootstrap interval; every table names the window.  A
report is a function of run folders: `gather` reads and merges them into numbers, `tables_of` makes
words of those, and markdown, latex and page write the words down.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from reread.errors import BadInput
from reread.report.cells import summarise
from reread.report.markdown import markdown, merged_report, report
from reread.report.paired import differences
from reread.report.runs import gather, tables
from reread.report.words import labels, size

__all__ = [
    "differences", "gather", "labels", "merged_report", "report", "size", "summarise", "tables", "write_report",
]  # fmt: skip


def write_report(folders: Sequence[Path], out: Path, against: str = "") -> list[Path]:
    """report.md, report.tex and report.html about these runs in the folder `out`; returns the paths.

    All three are made before the first is written, and each is whole or not there.  Raises
    MissingPackage without matplotlib, and BadInput for runs as `gather` and for a folder that
    cannot be written.
    """
    from reread.report.latex import latex
    from reread.report.page import html_page
    from reread.report.plots import pictures

    if out.exists() and not out.is_dir():
        raise BadInput("the report goes into a folder, and this is a file", got=str(out))
    found = gather(folders, against)
    texts = {"report.md": markdown(found), "report.tex": latex(found), "report.html": html_page(found, pictures(found))}
    parts = {out / name: out / f"{name}.part" for name in texts}
    try:
        out.mkdir(parents=True, exist_ok=True)
        try:
            for part, text in zip(parts.values(), texts.values(), strict=True):
                part.write_text(text, encoding="utf-8")
            for whole, part in parts.items():
                os.replace(part, whole)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write the report: {error.strerror}", got=str(out)) from error
    return list(parts)

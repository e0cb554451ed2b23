"""Pages of docs/ whose tables come from run folders: what stands between two marks is made anew.

    <!-- made: experiment results/law -->
    (the table)
    <!-- end -->

The words of a page are a person's; this file knows only marks, and which table a mark means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from reread.errors import UnknownName
from reread.report.experiments import experiment_report
from reread.report.markdown import report
from reread.report.symbols import order_table, size_table, symbol_runs

MADE = re.compile(r"(<!-- made: (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
TABLES: dict[str, Callable[[Path], str]] = {
    "experiment": experiment_report,
    "order": lambda folder: order_table(symbol_runs([folder])),
    "order_longer": lambda folder: order_table(symbol_runs([folder]), trained=False),
    "run": report,
    "sizes": lambda folder: size_table(symbol_runs([folder])),
}


def made_anew(text: str, root: Path) -> str:
    """The page with every marked table as its run folder, below `root`, says it now.  Raises UnknownName, BadInput."""

    def table(found: re.Match[str]) -> str:
        head, name, folder, end = found.groups()
        if name not in TABLES:
            raise UnknownName("table of a page", name, TABLES)
        return f"{head}{TABLES[name](root / folder).strip()}\n{end}"

    return MADE.sub(table, text)


def make_anew(page: Path, root: Path) -> None:
    """Write the page with its tables made anew."""
    text = made_anew(page.read_text(encoding="utf-8"), root)
    part = page.with_name(page.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(page)

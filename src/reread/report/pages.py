"""Pages of docs/ whose tables come from run folders: what stands between two marks is made anew.

    <!-- made: experiment results/law -->
    (the table)
    <!-- end -->

Several folders are named with commas between them; "compile" names a file of facts.

The words of a page are a person's; this file knows only marks, and which table a mark means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from reread.errors import UnknownName
from reread.report.compiled import compile_table
from reread.report.experiments import experiment_report
from reread.report.grids import pairs_to, recall_grid
from reread.report.markdown import merged_report, report
from reread.report.symbols import order_table, size_table, symbol_runs
from reread.report.wrong import wrong_table
from reread.whole import write_whole

MADE = re.compile(r"(<!-- made: (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def against_half(folders: list[Path]) -> str:
    """The paired differences of several runs to half of the prompt as prefix."""
    text = merged_report(folders, "share(r=0.5)").partition("## Paired differences\n")[2]
    return text.partition("\n## ")[0]


TABLES: dict[str, Callable[[list[Path]], str]] = {
    "against_half": against_half,
    "compile": compile_table,
    "experiment": lambda folders: experiment_report(*folders),
    "grid": recall_grid,
    "merged": lambda folders: merged_report(folders).removeprefix("# Report\n"),
    "order": lambda folders: order_table(symbol_runs(folders)),
    "order_longer": lambda folders: order_table(symbol_runs(folders), trained=False),
    "pairs": pairs_to,
    "pairs_to_twice": partial(pairs_to, against="twice"),
    "run": lambda folders: report(*folders),
    "sizes": lambda folders: size_table(symbol_runs(folders)),
    "wrong": wrong_table,
}


def made_anew(text: str, root: Path) -> str:
    """The page with every marked table as its run folders, below `root`, say it now.  Raises UnknownName, BadInput."""

    def table(found: re.Match[str]) -> str:
        head, name, folders, end = found.groups()
        if name not in TABLES:
            raise UnknownName("table of a page", name, TABLES)
        return f"{head}{TABLES[name]([root / folder for folder in folders.split(',')]).strip()}\n{end}"

    return MADE.sub(table, text)


def make_anew(page: Path, root: Path) -> None:
    """Write the page with its tables made anew."""
    text = made_anew(page.read_text(encoding="utf-8"), root)
    write_whole(page, text)

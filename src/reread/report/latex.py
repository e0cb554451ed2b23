"""Tables in LaTeX in the style of booktabs, to be \\input one file at a time; long ones go on over pages.

Columns in which every line says the same stand once, below the table.  Names in scripts that the
document's fonts lack need LuaLaTeX or XeLaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reread.report.cells import Record
from reread.report.words import NAMES, Table, clean, run_table, tables_of

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
}  # fmt: skip
PREAMBLE = (
    "\\usepackage{booktabs} and \\usepackage{longtable}, and \\usepackage[T1]{fontenc} and "
    "\\usepackage{textcomp} for pdfLaTeX"
)
PAGE = 40  # rows that one page surely holds
NARROW = ("policy", "window", "budget", "template", "run", "answer shown")


def escape(text: object) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(SPECIAL.get(character, character) for character in clean(text))


def number(text: str) -> str:
    """A number or interval: escaped, its minus signs as such."""
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escape(text))


def tabular(one: Table) -> str:
    """One table, a comment with its title above it."""
    alike = [
        name
        for at, name in enumerate(one.columns)
        if name in NARROW and len(one.rows) > 1 and len({row[at] for row in one.rows}) == 1
    ]
    shown = [at for at, name in enumerate(one.columns) if name not in alike]
    names = [one.columns[at] for at in shown]
    columns = "".join("l" if name in NAMES else "r" for name in names)
    kind = "longtable" if len(one.rows) > PAGE else "tabular"
    lines = [f"% {clean(one.title)}: {clean(one.says)}", f"\\begin{{{kind}}}{{{columns}}}", "\\toprule"]
    lines += [line([escape(name) for name in names]), "\\midrule"]
    if kind == "longtable":
        lines += ["\\endhead", "\\bottomrule", "\\endfoot"]
    for row in one.rows:
        lines.append(line([(escape if one.columns[at] in NAMES else number)(row[at]) for at in shown]))
    if kind == "tabular":
        lines.append("\\bottomrule")
    if alike:
        note = "; ".join(f"{name}: {one.rows[0][one.columns.index(name)]}" for name in alike)
        lines.append(f"\\multicolumn{{{len(names)}}}{{l}}{{{escape('In every line ' + note)}}} \\\\")
    return "\n".join([*lines, f"\\end{{{kind}}}", ""])


def line(cells: Sequence[str]) -> str:
    """A row; a bracket or star that opens it would be read as an argument of the row before."""
    guard = "{}" if cells[0][:1] in ("[", "*") else ""
    return f"{guard}{' & '.join(cells)} \\\\"


def latex(found: Record) -> str:
    """What `runs.gather` found: every table, and in comments where the numbers come from."""
    runs = run_table(found)
    head = [f"% Tables of reread report. They need {PREAMBLE}.", f"% {clean(runs.says)}"]
    for row in runs.rows:
        told = [f"{name} {words}" for name, words in zip(runs.columns, row, strict=True)]
        head.append("% " + "; ".join(told))
    return "\n".join([*head, "", *map(tabular, tables_of(found))])

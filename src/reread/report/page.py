"""A report as one HTML page that needs nothing else: no script, no network, no second file.

Everything that comes from rows, headers and folder names passes through `html.escape`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from reread.report.cells import DEFAULT_POLICY, Record
from reread.report.plots import Picture
from reread.report.words import NAMES, Table, clean, hard_table, run_table, tables_of

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
NUMBER = ' class="number"'
WRAPPED = ("strategy", "policy", "selection", "tasks")
LONG = ("settings", "command", "prediction", "accepted answers", "question")
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1d20; --quiet: #55595f; --grid: #d9dce0;
  --band: #f3f4f6; --link: #0b57a4; --series-0: #0072b2; --series-1: #c14f00; --series-2: #00795a;
  --series-3: #a34f80; --series-4: #8a6500; --series-5: #4a4f57; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15171a; --ink: #e8eaed; --quiet: #a9aeb6; --grid: #3a3f46; --band: #1f2226; --link: #8ab8f0;
    --series-0: #58b4f0; --series-1: #ff9357; --series-2: #35c79b; --series-3: #e59ac5; --series-4: #e8b62c;
    --series-5: #c3c8cf; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0.5rem 0; line-height: 1.2; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 0.25rem; overflow-wrap: anywhere; }
p, li, figcaption { max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; padding: 0; list-style: none; }
.says, figcaption { color: var(--quiet); font-size: 0.9rem; }
.scroll { overflow-x: auto; max-width: 100%; border: 1px solid var(--grid); border-radius: 4px; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid var(--grid); background: var(--band); }
tbody th { font-weight: 600; }
tbody tr:nth-child(even) { background: var(--band); }
.number { text-align: right; }
.long { white-space: normal; min-width: 14rem; max-width: 30rem; overflow-wrap: anywhere; }
.wrap { white-space: normal; max-width: 20rem; }
.command { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.9em; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 0 2rem; }
figure { margin: 1rem 0 1.5rem; break-inside: avoid; }
figure svg { display: block; width: 100%; max-width: 44rem; height: auto; color: var(--ink); overflow: visible; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
summary { cursor: pointer; padding: 0.25rem 0; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  :root { color-scheme: light; --paper: #ffffff; --ink: #000000; --quiet: #333333; --grid: #bbbbbb; --band: #f3f4f6;
    --series-0: #0072b2; --series-1: #c14f00; --series-2: #00795a; --series-3: #a34f80; --series-4: #8a6500;
    --series-5: #4a4f57; }
  body { max-width: none; padding: 0; font-size: 9pt; }
  nav { display: none; }
  .scroll { overflow: visible; border: 0; }
  table { font-size: 6.5pt; min-width: 0; }
  th, td { padding: 1pt 3pt; white-space: normal; overflow-wrap: break-word; }
  td.number { white-space: nowrap; }
  .long { min-width: 0; }
  .figures { display: block; }
  .figures > div { break-inside: avoid; }
  h2, h3, .says { break-after: avoid; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
  figure svg { max-width: 150mm; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
""".strip()


def escape(text: Any) -> str:
    """Text of a page, whatever it holds."""
    return html.escape(clean(text), quote=True)


def anchor(name: str) -> str:
    """A name as an id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "part"


def cell(column: str, text: str, first: bool) -> str:
    """One cell; the text stands in a bdi, so that letters written from the right turn nothing else around."""
    kinds = [] if column in NAMES else ["number"]
    kinds += ["wrap"] * (column in WRAPPED) + ["long"] * (column in LONG) + ["command"] * (column == "command")
    classes = f' class="{" ".join(kinds)}"' if kinds else ""
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    return f"<{tag}{scope}{classes}><bdi>{escape(text)}</bdi></{tag}>"


def table(one: Table) -> str:
    """A table that scrolls on its own where the page is narrow."""
    heads = "".join(f'<th scope="col"{"" if name in NAMES else NUMBER}>{escape(name)}</th>' for name in one.columns)
    lines = [
        "<tr>"
        + "".join(cell(c, text, at == 0) for at, (c, text) in enumerate(zip(one.columns, row, strict=True)))
        + "</tr>"
        for row in one.rows
    ]
    body = "\n".join(lines)
    return (
        f'<div class="scroll" role="region" aria-label="Table: {escape(one.title)}" tabindex="0">\n<table>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def table_section(one: Table) -> str:
    return section(one.name, one.title, f'<p class="says">{escape(one.says)}</p>\n{table(one)}')


def section(name: str, title: str, body: str) -> str:
    here = anchor(name)
    head = f'<h2 id="{here}-title">{escape(title)}</h2>'
    return f'<section id="{here}" aria-labelledby="{here}-title">\n{head}\n{body}\n</section>'


def figure(one: Picture) -> str:
    """A drawing with its text alternative and its caption."""
    return (
        f'<div>\n<h3>{escape(one.title)}</h3>\n<figure id="{anchor(one.name)}">\n'
        f'<div role="img" aria-label="{escape(one.alt)}">\n{one.svg}\n</div>\n'
        f"<figcaption>{escape(one.says)}</figcaption>\n</figure>\n</div>"
    )


def folded(one: Table) -> str:
    """The hardest cases, task by task, folded away."""
    at = one.columns.index("task")
    parts = []
    for task in dict.fromkeys(row[at] for row in one.rows):
        rows = tuple(row for row in one.rows if row[at] == task)
        part = Table(one.name, f"{one.title}, {task}", one.says, one.columns, rows)
        parts.append(
            f"<details>\n<summary>{escape(task)}: {len(rows)} wrong answers</summary>\n{table(part)}\n</details>"
        )
    return section(one.name, one.title, f'<p class="says">{escape(one.says)}</p>\n' + "\n".join(parts))


def headline(found: Record) -> str:
    """What was measured, in a sentence."""
    models, tasks, strategies, policies = (
        list(dict.fromkeys(record[name] for record in found["cells"]))
        for name in ("model", "task", "strategy", "policy")
    )
    words = []
    if found["cells"]:
        questions = sum(record["n"] for record in found["cells"])
        words.append(
            f"{questions:,} answers in {len(found['cells'])} cells. Models: {', '.join(models)}. "
            f"Tasks: {', '.join(tasks)}. Strategies: {', '.join(strategies)}."
        )
        if policies != [DEFAULT_POLICY]:
            words.append(f"Prefix policies: {', '.join(policies)}.")
    if found["benches"]:
        words.append(f"Bench runs: {', '.join(bench['run'] for bench in found['benches'])}.")
    dates = sorted(run["header"]["started"][:10] for run in found["runs"])
    return " ".join(
        [*words, f"Measured {dates[0]}." if dates[0] == dates[-1] else f"Measured {dates[0]} to {dates[-1]}."]
    )


def html_page(found: Record, pictures: Sequence[Picture]) -> str:
    """What `runs.gather` found and its figures as one page."""
    names = ", ".join(run["run"] for run in found["runs"])
    tables, hard = tables_of(found), hard_table(found)
    parts = [(one.name, one.title, table_section(one)) for one in tables]
    if pictures:
        inside = "\n".join(map(figure, pictures))
        drawn = section("figures", "Figures", f'<div class="figures">\n{inside}\n</div>')
        parts.append(("figures", "Figures", drawn))
    if hard:
        parts.append((hard.name, hard.title, folded(hard)))
    runs = run_table(found)
    parts.append((runs.name, runs.title, table_section(runs)))
    links = "".join(f'<li><a href="#{anchor(name)}">{escape(title)}</a></li>' for name, title, _ in parts)
    body = "\n".join(text for _, _, text in parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>reread report: {escape(names)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<header>\n"
        f"<h1>reread report</h1>\n<p>{escape(headline(found))}</p>\n"
        f'<nav aria-label="Parts"><ul>{links}</ul></nav>\n</header>\n'
        f"<main>\n{body}\n</main>\n</body>\n</html>\n"
    )

"""Reports in Markdown: one run as docs/results.md holds it, or several merged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from reread.report.asking_words import (
    MORE_COLUMNS,
    ONE_MORE,
    TOGETHER_COLUMNS,
    ask_says,
    more_words,
    together_words,
)
from reread.report.cells import Record
from reread.report.extracting_words import (
    AT_COLUMNS,
    CURVE_COLUMNS,
    FIELDS_COLUMNS,
    at_words,
    confidence_says,
    curve_words,
    field_words,
    fields_says,
)
from reread.report.layouts_words import LAYOUT_COLUMNS, layout_words, layouts_says
from reread.report.predicted import PAIRS, PERPLEXITY_COLUMNS
from reread.report.reader_words import (
    LEFT_OUT_COLUMNS,
    PRESENCE_COLUMNS,
    READING_COLUMNS,
    answer_columns,
    answer_words,
    left_out_says,
    left_out_words,
    presence_says,
    presence_words,
    reader_says,
    reading_words,
)
from reread.report.runs import gather, origin, tables
from reread.report.selections_words import (
    SELECTION_COLUMNS,
    WARNING_COLUMNS,
    selection_words,
    selections_says,
    selections_title,
    warning_words,
    warnings_title,
)
from reread.report.sizes_words import (
    CACHE_COLUMNS,
    SIZES_COLUMNS,
    cache_words,
    file_columns,
    file_words,
    files_says,
    size_words,
    sizes_says,
)
from reread.report.words import (
    PAIR_COLUMNS,
    Table,
    bench_columns,
    bench_notes,
    cell_columns,
    cell_words,
    clean,
    labels,
    pair_words,
    prediction_words,
    present,
    run_table,
    tables_of,
    timing_words,
)


def escape(text: Any) -> str:
    """A cell's text: what Markdown would read as markup, a tag or the end of the cell is text."""
    return re.sub(r"([\\|`*])", r"\\\1", clean(text)).replace("<", "&lt;")


def table(records: Iterable[Record], columns: Sequence[str]) -> str:
    """Records of words as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(escape(record.get(column, "-")) for column in columns) + " |" for record in records]
    return "\n".join(lines)


def bench_report(found: Record) -> str:
    return (
        f"{origin(found)}, {found['header']['config']['threads']} threads: contenders in turn, median over "
        "rounds [quartiles]; times as fast: as the first named, within each round.\n\n"
        + table(map(timing_words, found["timings"]), bench_columns(found["timings"]))
        + "".join(f"\n{note}\n" for note in bench_notes(found["done"]))
    )


def ask_report(found: Record) -> str:
    """One more question against reading again; and questions together, where that was measured."""
    more = [record for record in found["asked"] if record["what"] == ONE_MORE]
    rest = [record for record in found["asked"] if record["what"] != ONE_MORE]
    text = ask_says(found) + "\n\n" + table(map(more_words, more), MORE_COLUMNS) + "\n"
    return text + ("\n" + table(map(together_words, rest), TOGETHER_COLUMNS) + "\n" if rest else "")


def perplexity_report(found: Record) -> str:
    config, short = found["header"]["config"], labels(dict.fromkeys(record["model"] for record in found["predictions"]))
    rows = [prediction_words(record, short) for record in found["predictions"]]
    columns = [name for name in PERPLEXITY_COLUMNS if name not in PAIRS or any(name in row for row in rows)]
    return (
        f"{origin(found)}: at most {config['characters']:,} characters of each document, read causally and "
        f"whole, {config['window']:,} tokens at a time; the first token of a document is not "
        "counted. [95 % bootstrap interval over documents].\n\n" + table(rows, columns) + "\n"
    )


def sizes_report(found: Record) -> str:
    """Recall beside bytes; and, where both were measured, fp32 and int4 beside a cache of keys and values."""
    config, cells = found["header"]["config"], found["states"]
    text = sizes_says(found) + "\n\n" + table(map(size_words, cells), SIZES_COLUMNS) + "\n"
    if {"fp32", "int4"} <= {cell["state dtype"] for cell in cells}:
        text += (
            f"\nArithmetic, not measured: keys and values of a Transformer of {config['layers']} layers of width "
            f"{config['width']} take 2 x {config['layers']} x {config['width']} x 4 bytes per token in fp32; the state "
            "does not grow.\n\n" + table(cache_words(config, cells), CACHE_COLUMNS) + "\n"
        )
    return text


def files_report(found: Record) -> str:
    """Bytes of state files, a line per state and a column per state dtype."""
    cells = found["files"]
    return files_says(found) + "\n\n" + table(map(file_words, cells), file_columns(cells)) + "\n"


def extraction_report(found: Record) -> str:
    """Recall and tokens against the number of fields."""
    says = fields_says(found)
    return says + "\n\n" + table(map(field_words, found["extractions"]), FIELDS_COLUMNS) + "\n"


def confidence_report(found: Record) -> str:
    """What thresholds keep, and the curve of risk against coverage."""
    told = found["confidence"]
    text = confidence_says(found) + "\n\n"
    text += table(map(at_words, told["at"]), AT_COLUMNS) + "\n\nRisk against coverage:\n\n"
    return text + table(map(curve_words, told["curve"]), CURVE_COLUMNS) + "\n"


def reader_report(found: Record) -> str:
    """Right answers; and questions without an answer, where there are any."""
    text = reader_says(found) + "\n\n" + table(map(reading_words, found["readings"]), READING_COLUMNS) + "\n"
    if not found["presence"]:
        return text
    words = map(presence_words, found["presence"])
    text = f"{text}\n{presence_says(found)}\n\n{table(words, PRESENCE_COLUMNS)}\n"
    if not found["left out"]:
        return text
    return f"{text}\n{left_out_says()}\n\n{table(map(left_out_words, found['left out']), LEFT_OUT_COLUMNS)}\n"


def selections_report(found: Record) -> str:
    """States of fixed size against the whole cache, a table per set, window and budget."""
    parts = [selections_says(found)]
    for record in found["selections"]:
        parts += [selections_title(record), table(map(selection_words, record["lines"]), SELECTION_COLUMNS)]
        if "warnings" in record:
            unit = found["header"]["config"]["forgotten"]
            parts += [warnings_title(unit), table(map(warning_words, record["warnings"]), WARNING_COLUMNS)]
    return "\n\n".join(parts) + "\n"


def answers_report(records: Sequence[Record]) -> str:
    """Single answers of a run of `reader-bench`."""
    return table(map(answer_words, records), answer_columns(records)) + "\n"


def windows(config: Record) -> str:
    """The windows of an evaluation; runs before there could be several name one."""
    names = config.get("windows") or [config["window"]]
    return f"window{'s' * (len(names) > 1)} {', '.join(f'`{name}`' for name in names)}"


def prefixes(config: Record) -> str:
    """The prefix policies of an evaluation, in the same way."""
    names = config.get("policies") or [config["prefix"]]
    return f"prefix{'es' * (len(names) > 1)} {', '.join(f'`{name}`' for name in names)}"


def layouts_report(found: Record) -> str:
    """Exact answers per layout."""
    head = layouts_says(origin(found), found)
    return f"{head}\n\n{table(map(layout_words, found['layouts']), LAYOUT_COLUMNS)}\n"


def eval_report(found: Record) -> str:
    config = found["header"]["config"]
    short = labels(dict.fromkeys(record["model"] for record in found["cells"]))
    text = (
        f"{origin(found)}: {windows(config)}, {prefixes(config)}, greedy, at most "
        f"{config['max_new_tokens']} new tokens. Mean [95 % bootstrap interval over documents], in percent; one set "
        f"of weights per model, so training seeds are not in the interval. budget: document tokens at most, per "
        f"copy; answer shown: samples whose answer stands in what was shown of the document."
    )
    if "scorers" in found:
        text += " Rows of several versions of `contains`: white space in answers counted in version 1."
    columns = cell_columns(found["cells"])
    text += "\n\n" + table((cell_words(record, short) for record in found["cells"]), columns) + "\n"
    if found["differences"]:
        words = [pair_words(record, short) for record in found["differences"]]
        columns = present(
            (*PAIR_COLUMNS[:-2], "selection", "template", *PAIR_COLUMNS[-2:]), found["differences"], PAIR_COLUMNS
        )
        text += "\nPaired differences of `contains`, in points:\n\n"
        text += table(words, columns) + "\n"
    return text


WRITERS: dict[str, Callable[[Record], str]] = {
    "eval": eval_report,
    "bench": bench_report,
    "bench_ask": ask_report,
    "perplexity": perplexity_report,
    "state_sizes": sizes_report,
    "state_files": files_report,
    "extract_fields": extraction_report,
    "extract_confidence": confidence_report,
    "reader_bench": reader_report,
    "select_bench": selections_report,
    "layouts": layouts_report,
}


def report(folder: Path) -> str:
    """The tables of a run in Markdown, headed by where they came from.  Raises as `tables`."""
    found = tables(folder)
    return WRITERS[found["header"]["kind"]](found)


def section(one: Table) -> str:
    body = table((dict(zip(one.columns, row, strict=True)) for row in one.rows), one.columns)
    return f"## {escape(one.title)}\n\n{escape(one.says)}\n\n{body}\n"


def markdown(found: Record) -> str:
    """What `runs.gather` found, whole."""
    return "\n".join(["# Report\n", *map(section, (*tables_of(found), run_table(found)))])


def merged_report(folders: Sequence[Path], against: str = "") -> str:
    """Several runs merged into one report in Markdown.  Raises as `runs.gather`."""
    return markdown(gather(folders, against))

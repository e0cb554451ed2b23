"""What a compiler said of every GPU kernel, as a table: registers, spills, shared memory.

The facts are made by gpu/compile_facts.py, which needs no GPU; this file only reads them, and knows nothing of
kernels or of time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reread.errors import BadInput
from reread.report.markdown import table

COLUMNS = {
    "segment_sums": "sums",
    "segment_sums weighted": "sums, backward",
    "attend": "attend",
    "grad_q": "grad_q",
    "grad_kv": "grad_kv",
    "grad_kv prefix": "grad_kv, prefix",
    "step": "step",
}
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def compile_table(files: list[Path]) -> str:
    """A sentence on how it was made and a row for each shape, for each file of facts.  Raises BadInput."""
    return "\n\n".join(_one(file) for file in files)


def _one(file: Path) -> str:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        header, rows = found["header"], found["rows"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BadInput("no file of compile facts", got=str(file), todo="python gpu/compile_facts.py") from error
    spilled = [row for row in rows if row["spill_stores"] or row["spill_loads"]]
    says = (
        f"For {header['architecture']}, {header['date']}, triton {header['triton']}, ptxas {header['ptxas']}: "
        f"{len(rows)} kernels compiled, {len(spilled)} of them with spills."
    )
    shapes: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        shape = (row["map"], row["D"], row["V"], DTYPES[row["dtype"]])
        cells = shapes.setdefault(shape, dict(zip(("map", "D", "V", "inputs"), shape, strict=True)))
        flags = [word for word in row["tiles"].split() if "=" not in word]
        name = " ".join([row["kernel"], *flags])
        if name in COLUMNS:
            cells[COLUMNS[name]] = f"{row['registers']} / {row['spill_stores']} / {row['shared'] / 1024:.0f}"
    return says + "\n\n" + table(shapes.values(), ["map", "D", "V", "inputs", *COLUMNS.values()])

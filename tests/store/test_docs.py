"""docs/states.md says what the run folder, the code and the tests say."""

import re
from pathlib import Path

import faults
import pytest
import test_faults

from reread.documents.loaders import read_source
from reread.engine import Reader
from reread.models import load
from reread.report import report, tables
from reread.report.sizes import cache_bytes
from reread.sessions import FRESH, STEP, DocumentReader
from reread.store import Store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
RUN = ROOT / "results" / "state_sizes" / "small_jrt"


def test_the_table_of_sizes_is_the_report_of_its_run():
    assert report(RUN).strip() in TEXT
    cells = {(c["task"], c["state dtype"]): c for c in tables(RUN)["states"]}
    assert all(cell["n"] == 500 for cell in cells.values()) and len(cells) == 8
    small = cells["fda", "int4"]
    assert f"int4 is {100 * small['of first']:.0f} % of the bytes" in TEXT
    assert abs(small["against first"]["contains"]["low"]) < 0.01 and small["against first"]["contains"]["high"] < 0.01


def test_the_cache_is_the_arithmetic_that_is_stated():
    assert cache_bytes(1024, 7, 192) == 2 * 7 * 192 * 4 * 1024
    config = load("embedded").model.config
    assert f"{config.num_hidden_layers} layers of width {config.hidden_size}" in TEXT


def test_faults_and_tolerances_are_counted_as_they_are():
    assert f"{test_faults.QUICK:,} faults of {len(faults.BROKEN) + len(faults.SIGNED)} kinds" in TEXT
    assert f"({test_faults.LONG:,} behind `-m slow`)" in TEXT
    rows = {row[0]: row for row in re.findall(r"^\| (\w+) \| \S+ \| (\S+) \| \S+ \| (\S+) \|$", TEXT, re.MULTILINE)}
    assert {name: float(row[1]) for name, row in rows.items()} == FRESH
    assert {name: float(row[2]) for name, row in rows.items()} == STEP


def test_the_walks_in_python_run_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "contract.txt").write_bytes((ROOT / "src/reread/assets/demo/contract.txt").read_bytes())
    first, *selections = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(selections) == 2
    for code in (first, "".join(selections)):
        found: dict = {}
        exec(code, found)
        assert found["answers"][0].text == "England and Wales"
        assert found["answers"][1].text in ("ninety days", "ninety days, in writing")
    lost = found["read"].lost
    assert (lost[0].start, lost[-1].end) == (0, len(found["read"].shown.text)) and len(lost) > 10


def test_the_ids_of_the_walk_are_those_of_the_document_that_comes_along(tmp_path):
    reader = DocumentReader(Reader(load("embedded")))
    kept = reader.keep(Store(tmp_path), read_source(str(ROOT / "src/reread/assets/demo/contract.txt")))
    assert f"{kept.header.read} tokens -> states/{kept.path.name[:24]}" in TEXT

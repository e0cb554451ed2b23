"""The table of compile facts: from a small file of facts, and the script that makes such files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from raising import containing, refused

from reread.errors import BadInput
from reread.report.compiled import compile_table

ROOT = Path(__file__).parent.parent.parent
HEADER = {"architecture": "sm_90a", "date": "2026-11-21", "triton": "3.7.1", "ptxas": "12.8.93"}
SHAPE = {"map": "taylor", "D": 16, "V": 64, "dtype": "bfloat16", "registers": 100, "spill_stores": 0, "spill_loads": 0}


def test_a_row_for_each_shape_and_a_count_of_spills(tmp_path):
    rows = [
        {**SHAPE, "kernel": "attend", "tiles": "BT=128 L=512", "shared": 24576},
        {**SHAPE, "kernel": "grad_kv", "tiles": "BT=64 prefix", "shared": 1024, "spill_stores": 8, "spill_loads": 8},
        {**SHAPE, "kernel": "attend", "tiles": "BT=128 L=512", "shared": 2048, "V": 32},
    ]
    file = tmp_path / "facts.json"
    file.write_text(json.dumps({"header": HEADER, "rows": rows}))
    text = compile_table([file])
    assert text.startswith("For sm_90a, 2026-11-21, triton 3.7.1, ptxas 12.8.93: 3 kernels compiled, 1 of them with")
    assert "| taylor | 16 | 64 | bf16 | - | - | 100 / 0 / 24 | - | - | 100 / 8 / 1 | - |" in text
    assert "| taylor | 16 | 32 | bf16 | - | - | 100 / 0 / 2 | - | - | - | - |" in text


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_what_holds_no_facts_is_refused(tmp_path, content):
    file = tmp_path / "facts.json"
    file.write_text(content)
    with refused(BadInput, got=file, todo=containing("gpu/compile_facts.py")):
        compile_table([file])


@pytest.mark.slow
def test_the_script_compiles_a_kernel_without_a_gpu():
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(ROOT / "gpu" / "compile_facts.py"), "--try", "step", "BV=32"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert row["kernel"] == "step" and row["registers"] > 16 and row["spill_stores"] == 0

"""The self-test of the kernels: it reaches every launch shape, finds what is wrong, and outlives what it asks.

Kernels run in triton's interpreter here; that the check is right on a GPU only a GPU can say.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from raising import containing, refused

from reread import gpu_check, kernel_cases, ops
from reread.errors import BadInput
from reread.gpu_check import GpuCheck, Processes, case_of, check_gpu
from reread.kernel_cases import KINDS, LIMITS, Case
from reread.ops import feature_map, triton_op

pytest.importorskip("triton")
CPU = torch.device("cpu")
SMALL = Case("text", "taylor", 8, 32, "float32", 9, 4)
ABOUT = {"gpu": "none", "ptxas_path": "here"}


def reread(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "reread", "check", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def plan(name, D, V, dtype):
    return triton_op.Plan(feature_map(name, D), None, True, getattr(torch, dtype), 2, V)


def reached(monkeypatch, cases):
    """(kernel, dtype, tiles) that the cases choose, and the names of all kernels that they start; none is run."""
    found, chosen = set(), triton_op.tiles
    given = [(case, kernel_cases.drawn(case)) for case in cases]

    def tiles(kernel, p):
        t = chosen(kernel, p)
        found.add((kernel, p.dtype, tuple(sorted(t.items()))))
        return t

    monkeypatch.setattr(triton_op, "interpreted", lambda: False)
    monkeypatch.setattr(triton_op, "takes", lambda *_: True)
    monkeypatch.setattr(triton_op, "tiles", tiles)
    monkeypatch.setattr(triton_op, "launch", lambda kernel, *_, **__: found.add(kernel.__name__))
    monkeypatch.setattr(ops, "check_dtypes", lambda *_, **__: None)  # no float16 on a CPU
    for case, x in given:
        kernel_cases.answered(case, x, "triton", CPU)
    return found


def test_all_cases_together_reach_every_launch_shape_for_every_dtype(monkeypatch):
    possible = set()
    with monkeypatch.context() as patch:
        patch.setattr(triton_op, "interpreted", lambda: False)
        for name, dtype, V in itertools.product(
            ("taylor", "identity", "elu", "relu", "gelu"), LIMITS, triton_op.VALUE_WIDTHS
        ):
            for D in triton_op.WIDTHS["taylor" if name == "taylor" else "elementwise"]:
                p = plan(name, D, V, dtype)
                possible |= {(k, p.dtype, tuple(sorted(triton_op.tiles(k, p).items()))) for k in triton_op.TILES}
    assert len(possible) > 60
    cases = kernel_cases.every(free=0)
    one_of_each = {(case.kind, case.shape): case for case in sorted(cases, key=lambda case: -case.T)}.values()
    found = reached(monkeypatch, one_of_each)
    kernels = {one for one in found if isinstance(one, str)}
    assert possible == found - kernels
    assert kernels == {*triton_op.TILES, "scan", "grad_normaliser", "step"}


def test_cases_are_of_every_kind_width_map_and_dtype():
    cases = kernel_cases.every(free=kernel_cases.LARGE_FREE)
    assert len(set(cases)) == len(cases)
    assert {case.kind for case in cases} == set(KINDS) and {case.dtype for case in cases} == set(LIMITS)
    assert {case.V for case in cases} == set(triton_op.VALUE_WIDTHS)
    assert {case.map for case in cases} == {"taylor", "identity", "elu", "relu", "gelu"}
    assert set(cases) - set(kernel_cases.every(free=0)) == set(cases[-2:])
    long, far = cases[-2:]
    assert far.P * kernel_cases.HEADS * far.V > 2**31 and far.kind == "far"
    k, v = (torch.empty(2, long.P, kernel_cases.HEADS, n, device="meta") for n in (long.D, long.V))
    assert triton_op.prefix_plan(feature_map("taylor", 8), k, v, None).segments.length == triton_op.PREFIX_SEGMENT
    quick = kernel_cases.quick()
    assert set(quick) < {*cases, *(c for c in quick if c.shape == ("gelu", 64, 64, "bfloat16"))}
    assert {case.kind for case in kernel_cases.smallest()} == set(KINDS)


@pytest.mark.slow
def test_the_definition_is_no_answer_of_the_kernels(monkeypatch):
    """A case asks both, and a kernel that writes a little too much is found."""
    assert kernel_cases.examined(SMALL, CPU)["right"]
    attend = triton_op.attend

    def more(*args):
        y, den = attend(*args)
        return y * (1 + 1e-4), den

    monkeypatch.setattr(triton_op, "attend", more)
    row = kernel_cases.examined(SMALL, CPU)
    assert not row["right"] and row["same_twice"] and 5e-5 < row["errors"]["y"] < 2e-4
    assert "WRONG" in gpu_check.line(row)


@pytest.mark.slow
def test_memory_that_no_kernel_writes_is_found(monkeypatch):
    launch = triton_op.launch

    def all_but_one(kernel, grid, *tensors, **constants):
        if kernel.__name__ != "grad_q":
            launch(kernel, grid, *tensors, **constants)

    monkeypatch.setattr(triton_op, "launch", all_but_one)
    row = kernel_cases.examined(SMALL, CPU)
    assert not row["right"] and row["errors"]["grad_q"] is None and row["errors"]["grad_k"] < 1e-5
    assert gpu_check.worst([row], gradients=True) == "not finite"


def test_poison_is_taken_back():
    with kernel_cases.poisoned():
        assert torch.empty(100).isnan().all() and torch.empty_like(torch.ones(3, dtype=torch.bfloat16)).isnan().all()
    assert not torch.are_deterministic_algorithms_enabled()


def test_two_runs_that_differ_are_found(monkeypatch):
    step, seen = triton_op.step, []

    def drifting(*args):
        seen.append(None)
        y, state = step(*args)
        return y * (1 + 1e-7 * len(seen)), state

    monkeypatch.setattr(triton_op, "step", drifting)
    row = kernel_cases.examined(Case("step", "taylor", 8, 32, "float32", 1, 9), CPU)
    assert row["right"] and not row["same_twice"] and "two runs differ" in gpu_check.line(row)


def test_a_gradient_of_zero_is_held_against_that_of_v():
    want = {"grad_v": torch.full((100,), 1.0), "grad_q": torch.zeros(100), "grad_S0": torch.zeros(100)}
    off = {name: x + 1e-4 for name, x in want.items()}
    found = kernel_cases.errors(off, want)
    assert found == pytest.approx({"grad_v": 1e-4, "grad_q": 1e-3, "grad_S0": 1e3}, rel=0.01)


ANSWER = "print(json.dumps({**case, 'right': True, 'same_twice': True, 'errors': {}, 'pid': os.getpid()}), flush=True)"
CHILDREN = {
    "whole": f"for case in cases: {ANSWER}",
    "dies at 3": f"for case in cases:\n    if case['T'] == 3: sys.exit('out of memory')\n    {ANSWER}",
    "torn at 3": f"for case in cases:\n    if case['T'] == 3: print('{{', end=''); sys.exit(3)\n    {ANSWER}",
    "hangs at 3": f"for case in cases:\n    if case['T'] == 3: time.sleep(60)\n    {ANSWER}",
    "lost after 3": f"for case in cases:\n    {ANSWER}\n    if case['T'] == 3: sys.exit(3)",
    "never": "sys.exit('no such device')",
}


@pytest.mark.parametrize("how", CHILDREN)
def test_every_case_gets_a_row_whatever_becomes_of_the_processes(monkeypatch, how):
    code = "import json, os, sys, time\ncases = json.loads(sys.stdin.readline())['cases']\n" + CHILDREN[how]
    monkeypatch.setattr(gpu_check, "CHILD", [sys.executable, "-c", code])
    groups = [[Case("text", name, 8, 32, "float32", T, 0) for T in range(1, 7)] for name in ("taylor", "elu")]
    rows = list(Processes(CPU, limit=1.5).rows(groups, jobs=2))
    assert sorted(map(case_of, rows), key=str) == sorted(itertools.chain(*groups), key=str)
    bad = {row["T"]: row["error"] for row in gpu_check.wrong(rows)}
    assert set(bad) == {"whole": set(), "never": set(range(1, 7)), "lost after 3": set()}.get(how, {3})
    if how == "dies at 3":
        assert bad[3] == "its process ended with 1: out of memory"
    if how == "hangs at 3":
        assert bad[3] == "no answer within 2 s"
    if how == "never":
        assert "no such device" in bad[1] and "not run: 4 processes died over this shape" in bad[6]
    pids = {(row["map"], row["pid"]) for row in rows if "pid" in row}
    assert len(pids) == {"whole": 2, "never": 0}.get(how, 4)


def test_leaving_early_ends_the_processes(monkeypatch):
    code = "import json, os, sys, time\ncases = json.loads(sys.stdin.readline())['cases']\n"
    monkeypatch.setattr(gpu_check, "CHILD", [sys.executable, "-c", code + f"case = cases[0]\n{ANSWER}\ntime.sleep(60)"])
    processes = Processes(CPU)
    rows = processes.rows([[SMALL, SMALL]], jobs=1)
    pid = next(rows)["pid"]
    rows.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not processes.running


@pytest.mark.slow
def test_a_process_whose_check_was_killed_ends_too(tmp_path):
    waiting = "from reread.gpu_check import end_with_parent; print('here', flush=True); end_with_parent()"
    starting = f"""import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {waiting!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(2)  # it has seen its parent
os.kill(os.getpid(), 9)"""
    pid = subprocess.run([sys.executable, "-c", starting], capture_output=True, text=True, timeout=60).stdout.strip()
    until = time.monotonic() + 20
    stat = Path("/proc", pid, "stat")
    while stat.exists() and stat.read_text().split()[2] != "Z":  # ended, whether or not anybody has looked
        assert time.monotonic() < until
        time.sleep(0.2)


def test_rows_of_a_stopped_check_are_kept_and_others_refused(monkeypatch, tmp_path):
    asked = []

    class Answering(Processes):
        def ask(self, cases):
            asked.extend(cases)
            for case in cases:
                self.found.put({**gpu_check.failed(case, ""), "right": True, "same_twice": True})

    monkeypatch.setattr(gpu_check, "Processes", Answering)
    config, said = GpuCheck(out=tmp_path / "run"), []
    rows = check_gpu(config, CPU, ABOUT, said.append)
    cases = kernel_cases.smallest()
    assert [case_of(row) for row in rows] == cases and len(said) == len(cases) and len(asked) == len(cases)
    (tmp_path / "run" / "done.json").unlink()
    text = (tmp_path / "run" / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "rows.jsonl").write_text("".join(text[:-1]) + text[-1][:40])  # killed while it wrote
    asked.clear()
    again = check_gpu(config, CPU, {**ABOUT, "ptxas_path": "elsewhere"}, said.append)
    assert again == rows and len(asked) == 1 and (tmp_path / "run" / "done.json").exists()
    with refused(BadInput, got=f"gpu 'none' in {tmp_path / 'run'}", allowed="'another'"):
        check_gpu(config, CPU, {**ABOUT, "gpu": "another"})


def test_on_a_gpu_cases_of_one_shape_stand_together(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 2**30, 80 * 2**30))
    for everything, n in ((True, len(kernel_cases.every(0))), (False, len(kernel_cases.quick()))):
        cases = gpu_check.chosen(GpuCheck(everything), torch.device("cuda"))
        assert len(cases) == n
        groups = [shape for shape, _ in itertools.groupby(cases, key=lambda case: case.shape)]
        assert len(groups) == len(set(groups)) and groups[0] == ("taylor", 16, 64, "bfloat16")
    assert [gpu_check.at_a_time(GpuCheck(jobs=n), torch.device("cuda")) for n in (1, 2, 8)] == [1, 2, 2]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**30, 80 * 2**30))
    assert gpu_check.at_a_time(GpuCheck(jobs=8), torch.device("cuda")) == 1


def test_what_the_machine_is(monkeypatch, tmp_path):
    about = SimpleNamespace(name="NVIDIA H100 80GB HBM3", major=9, minor=0, total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: about)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 580.1\necho 580.1\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = gpu_check.machine(torch.device("cuda", 0))
    assert (told["gpu"], told["capability"], told["memory_gib"], told["driver"]) == (about.name, "9.0", 80.0, "580.1")
    assert told["ptxas"] and told["torch"] == torch.__version__
    assert gpu_check.ptxas_version("/no/such/ptxas") is None and gpu_check.ptxas_version(sys.executable) is None


def test_a_process_on_a_gpu_that_answers_goes_on(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    assert gpu_check.answers(CPU) and asked == [CPU]
    monkeypatch.setattr(torch, "ones", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("CUDA error")))
    assert not gpu_check.answers(CPU)


@pytest.mark.slow
def test_the_command_without_a_gpu_says_so():
    refused = reread("--gpu", TRITON_INTERPRET="0")
    assert refused.returncode == 2 and not refused.stdout
    assert (
        refused.stderr.startswith("reread: there is no GPU to check the kernels on; ")
        and refused.stderr.count("\n") == 1
    )


@pytest.mark.dry_run
def test_the_command_checks_in_the_interpreter_and_a_wrong_row_is_exit_code_1(tmp_path):
    done = reread("--gpu", "--out", tmp_path / "run", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr
    count = len(kernel_cases.smallest())
    assert done.stdout.endswith(f"{count} cases, 0 wrong (in the interpreter: no GPU was asked)\n")
    assert done.stdout.startswith("gpu: none: triton's interpreter, on the CPU\n")
    assert done.stdout.count("\nright  ") == count and "| taylor | 8 | 32 | float32 |" in done.stdout
    rows = (tmp_path / "run" / "rows.jsonl").read_text()
    (tmp_path / "run" / "rows.jsonl").write_text(rows.replace('"right": true', '"right": false', 1))
    wrong = reread("--gpu", "--json", "--out", tmp_path / "run", TRITON_INTERPRET="1")  # the rows that lie there
    told = json.loads(wrong.stdout)
    assert wrong.returncode == 1 and told["wrong"] == 1 and len(told["cases"]) == count
    assert told["machine"]["triton"] and told["machine"]["kernels"] == gpu_check.kernels()


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["--families", "--all"], {"got": "--all", "allowed": containing("--gpu")}),
        (["--model", "embedded", "--out", "run"], {"got": "--out", "allowed": containing("--gpu")}),
        (["--gpu", "--families"], {"naming": ("--model", "--families", "--gpu")}),
        (["--gpu", "--jobs", "0"], {"got": 0, "naming": "jobs"}),
    ],
)
def test_options_that_do_not_fit_are_refused(words, fields):
    from typer.testing import CliRunner

    from reread.cli import app

    with refused(BadInput, **fields):
        CliRunner().invoke(app, ["check", *words], catch_exceptions=False)


def test_why_the_kernels_cannot_be_used_is_said_before_a_case_runs(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with refused(BadInput, got=containing("8.0", "an old card")):
        gpu_check.device()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert gpu_check.device() == torch.device("cuda", 0)
    monkeypatch.setitem(sys.modules, "triton", None)
    with refused(BadInput, got=containing("pip install 'reread[gpu]'")):
        gpu_check.device()


def test_a_gpu_that_answers_nobody_ends_the_process(monkeypatch, capfd):
    import io

    monkeypatch.setattr(gpu_check, "examined", lambda case, where: 1 / 0)
    monkeypatch.setattr(gpu_check, "answers", lambda where: False)
    job = {"device": "cuda", "cases": [vars(SMALL)] * 2}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(job) + "\n"))
    kept = os.dup(1)
    try:
        assert gpu_check.child() == 3
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    (row,) = map(json.loads, capfd.readouterr().out.splitlines())
    assert row["error"] == "ZeroDivisionError: division by zero" and case_of(row) == SMALL

"""Every job of the GPU queue runs to its end here, on the CPU, with no more packages than the GPU machine has.

Marked dry_run, because all together take minutes: `make dry-runs`, which CI runs.  What a job needs beside the
machine's packages stands in its `needs`, and is carried (gpu/QUEUE.md).
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from reread.grid import read_recipe

ROOT = Path(__file__).parent.parent.parent
# as the machine was described; what these need themselves is there too
THERE = """accelerate aiohttp click einops filelock fsspec httpx huggingface-hub jinja2 matplotlib numpy packaging
pandas pillow psutil pyarrow pygments pytest pyyaml regex requests rich safetensors scikit-learn scipy sentencepiece
tiktoken tokenizers torch torchvision tqdm transformers triton typer typing-extensions""".split()
REFUSING = """import sys

NAMES = frozenset({names})


class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in NAMES else self.finder.find_spec(name, path, target)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def script(name):
    spec = importlib.util.spec_from_file_location(f"gpu_{name}_of_dry_runs", ROOT / "gpu" / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


JOBS, SELFTEST = script("jobs"), script("selftest")


def lacking() -> set[str]:
    """Modules that are installed here and that no package of the GPU machine has or needs."""
    needs = {}
    for one in metadata.distributions():
        found = [Requirement(text) for text in one.requires or ()]
        plain = [r.name for r in found if r.marker is None or r.marker.evaluate({"extra": ""})]
        needs[canonical(one.name)] = {canonical(name) for name in plain}
    there, left = set(), [canonical(name) for name in THERE]
    while left:
        name = left.pop()
        if name in needs and name not in there:
            there.add(name)
            left += needs[name]
    modules = metadata.packages_distributions()
    return {
        module for module, found in modules.items() if not there & {canonical(name) for name in found}
    } - {"reread", "pip"}  # fmt: skip


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def run_job(valid_data, tmp_path):
    """run_job(*words, allowed=...): gpu/run.sh where nothing else can be imported."""

    def run(*words, allowed=(), **environment):
        (tmp_path / "site").mkdir(exist_ok=True)
        names = sorted(lacking() - set(allowed))
        (tmp_path / "site" / "sitecustomize.py").write_text(REFUSING.format(names=names))
        (tmp_path / "bin").mkdir(exist_ok=True)
        if not (tmp_path / "bin" / "python3").exists():  # as there: the plain python3 is the one with torch
            (tmp_path / "bin" / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
            (tmp_path / "bin" / "python3").chmod(0o755)
        known = {**os.environ, "REREAD_GPU_WORK": str(tmp_path / "work"), "OUT": str(tmp_path / "out")}
        known |= {"REREAD_DATA": str(valid_data), "REREAD_COMMIT": "abc1234", "OMP_NUM_THREADS": "1"}
        known |= {"PYTHONPATH": str(tmp_path / "site"), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", ROOT / "gpu" / "run.sh", *words], env=known | environment, capture_output=True, text=True,
            timeout=900,
        )  # fmt: skip

    return run


def brought(folder: Path, job: str) -> dict[str, bytes]:
    with tarfile.open(folder / "out" / f"{job}.tar.xz") as archive:
        return {one.name: archive.extractfile(one).read() for one in archive.getmembers()}


def test_packages_that_the_machine_lacks_are_refused_here():
    refused = lacking()
    assert {"nupunkt", "bm25s", "lxml", "pypdf", "datasets", "lm_eval", "fastapi", "uvicorn", "ray"} <= refused
    assert not refused & {"torch", "numpy", "transformers", "typer", "rich", "yaml", "pyarrow", "triton", "tokenizers"}


def test_a_job_whose_packages_were_not_carried_says_so_before_it_starts(run_job, tmp_path):
    done = run_job("six_tasks", "--dry-run")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert "six_tasks needs lxml, nupunkt, bm25s: " in done.stderr


def test_needs_are_what_the_tasks_and_strategies_of_a_job_import():
    """swde is read with lxml; the dry runs show the rest, but have no pages of swde."""
    for name, job in JOBS.JOBS.items():
        for words in JOBS.script(name, Path("none"), dry=False):
            if words[2:4] == ["reread", "experiment"]:
                scale = words[words.index("--scale") + 1]
                sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
                recipe = read_recipe(ROOT / words[4], scale, sets)
                swde = any('"swde"' in json.dumps(settings) for _, settings in recipe.cells())
                assert swde == ("lxml" in job.needs), name


def test_the_queue_says_what_to_carry():
    text = (ROOT / "gpu" / "QUEUE.md").read_text(encoding="utf-8")
    (fetched,) = re.findall(r"^    pip download .*", text.replace("python3 -m pip", "pip"), flags=re.MULTILINE)
    for name, job in JOBS.JOBS.items():
        assert set(job.needs) <= set(fetched.split()), name
        if job.needs:
            (line,) = [line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line]
            assert "`.whl`" in line, line


def test_carried_wheels_are_installed_there_and_stay(tmp_path):
    tree = tmp_path / "tree"
    (tree / ".whl").mkdir(parents=True)
    (tree / "gpu").mkdir()
    (tree / "gpu" / "run.sh").write_bytes((ROOT / "gpu" / "run.sh").read_bytes())
    (tree / "gpu" / "jobs.py").write_text("import lacked, sys; print(lacked.HERE, *sys.argv[1:])")
    with zipfile.ZipFile(tree / ".whl" / "lacked-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lacked.py", "HERE = 'carried'\n")
        about = "lacked-1.0.dist-info/"
        wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\nName: lacked\nVersion: 1.0\n")
        wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(about + "RECORD", "lacked.py,,\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "REREAD_GPU_WORK": str(tmp_path / "work"), "PATH": path}
    call = ["bash", tree / "gpu" / "run.sh", "six_tasks"]
    first = subprocess.run(call, env=environment, capture_output=True, text=True)
    assert first.stdout == "carried six_tasks\n", first.stderr
    (tree / ".whl" / "lacked-1.0-py3-none-any.whl").unlink()
    assert subprocess.run(call, env=environment, capture_output=True, text=True).stdout == "carried six_tasks\n"


def test_compute_sanitizer_that_hangs_is_ended_and_one_that_is_not_there_is_a_finding(tmp_path, monkeypatch, capsys):
    pytest.importorskip("triton")
    pid = tmp_path / "pid"
    (tmp_path / "compute-sanitizer").write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {pid}\nwait\n")
    (tmp_path / "compute-sanitizer").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(SELFTEST, "SANITIZER_S", 1)
    monkeypatch.setattr(SELFTEST, "TOOLS", ("memcheck",))
    SELFTEST.sanitizer(tmp_path / "a", dry=False)
    rows = [json.loads(line) for line in (tmp_path / "a" / "sanitizer" / "rows.jsonl").read_text().splitlines()]
    assert [row["shape"] for row in rows] == ["taylor 16 64 bfloat16", "taylor 16 64 float32", "gelu 16 128 bfloat16"]
    assert all((row["late"], row["exit"], row["answered"], row["cases"]) == (True, -9, 0, 3) for row in rows)
    stat = Path("/proc", pid.read_text().strip(), "stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"  # ended, whether or not its parent has looked
    (tmp_path / "compute-sanitizer").unlink()
    monkeypatch.setattr(SELFTEST.shutil, "which", lambda _: None)
    SELFTEST.sanitizer(tmp_path / "b", dry=True)
    assert "compute-sanitizer cannot be run" in (tmp_path / "b" / "sanitizer" / "rows.jsonl").read_text()


def test_the_newest_assembler_is_taken_and_an_older_one_is_none(tmp_path, monkeypatch, capsys):
    for name, version in (("old", "12.8.61"), ("new", "13.0.88"), ("newer", "13.1.9")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho 'release, V{version}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(SELFTEST.shutil, "which", lambda _: str(tmp_path / "old"))
    monkeypatch.setattr(SELFTEST.glob, "glob", lambda _: [str(tmp_path / "new"), str(tmp_path / "newer"), "/no/such"])
    assert SELFTEST.newer("/own/ptxas", "12.8.93") == (str(tmp_path / "newer"), "13.1.9")
    assert SELFTEST.newer(str(tmp_path / "newer"), "13.0.88") is None
    SELFTEST.assemblers(tmp_path, {"ptxas_path": "/own/ptxas", "ptxas": "13.1.9"}, dry=True)
    assert json.loads((tmp_path / "ptxas.json").read_text()) == {"own": "13.1.9", "newer": None}


def test_two_assemblers_are_compared_case_by_case():
    cases = [{"kind": "text", "map": "elu", "D": 8, "V": 16, "dtype": "float32", "P": 0, "inputs": "ones"} | {"T": T}
             for T in (1, 2, 3)]  # fmt: skip
    first = [case | {"right": True, "same_twice": True, "bits": "a"} for case in cases]
    second = [first[0], first[1] | {"bits": "b"}, first[2] | {"right": False, "bits": None}]
    assert SELFTEST.compared(first, second) == {
        "cases": 3, "same_bits": 1, "wrong": [0, 1], "wrong_in_one": ["text elu 8x16 float32 0+3 ones"]
    }  # fmt: skip
    assert SELFTEST.compared(first, second[:1])["cases"] == 1


@pytest.mark.dry_run
@pytest.mark.parametrize("name", [name for name in JOBS.JOBS if name not in ("pace", "selftest")])
def test_a_job_runs_to_its_end(run_job, tmp_path, name):
    done = run_job(name, "--dry-run", allowed=JOBS.JOBS[name].needs)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    files = brought(tmp_path, name)
    assert "facts.json" in {Path(file).name for file in files}
    if any("experiment" in command for command in JOBS.JOBS[name].dry):
        (recipe,) = {file.split("/")[1] for file in files if file.count("/") > 1}
        cells = json.loads(files[f"{name}/{recipe}/experiment.json"])["cells"]
        assert cells and all(f"{name}/{recipe}/{cell}/done.json" in files for cell in cells)


@pytest.mark.dry_run
def test_pace_runs_to_its_end_and_its_weights_come_back(run_job, tmp_path):
    done = run_job("pace", "--dry-run", "--weights", "pace")
    assert done.returncode == 0, done.stdout + done.stderr
    files = brought(tmp_path, "pace")
    assert {"pace/facts.json", "pace/pace/rows.jsonl", "pace/pace/done.json"} <= set(files)
    assert b"abc1234" in files["pace/pace/header.json"]
    assert not [name for name in files if "model" in name or "checkpoints" in name]
    assert (tmp_path / "out" / "pace.safetensors.00").stat().st_size > 100_000


NEWER = "#!/bin/sh\necho 'Cuda compilation tools, release 99.1, V99.1.7'\n"
SANITIZER = """#!/bin/bash
# takes the options that the real one takes, says what it would, and runs the program
while [ "$1" != {python} ]; do
  case "$1" in --tool) tool=$2 ;; --log-file) log=$2 ;; --error-exitcode|--target-processes) ;; *) exit 9 ;; esac
  shift 2
done
if [ $tool = racecheck ]; then echo '========= Error: Device not supported' > "$log"; exit 1; fi
[ "$PYTORCH_NO_CUDA_MEMORY_CACHING" = 1 ] || exit 8
"$@" || exit 7
echo '========= ERROR SUMMARY: 0 errors' > "$log"
"""


@pytest.mark.dry_run
def test_the_selftest_runs_its_three_parts_and_goes_on_where_it_stood(run_job, tmp_path):
    pytest.importorskip("triton")
    (tmp_path / "bin").mkdir()
    for name, text in (("ptxas", NEWER), ("compute-sanitizer", SANITIZER.format(python=sys.executable))):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    done = run_job("selftest", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    files = {name.partition("/")[2].partition("/")[2]: data for name, data in brought(tmp_path, "selftest").items()}
    assert {"check/rows.jsonl", "ptxas/rows.jsonl", "ptxas.json", "sanitizer/done.json"} <= set(files)
    count = json.loads(files["check/done.json"])["cases"]
    told = json.loads(files["ptxas.json"])
    assert told["newer"] == "99.1.7" and told["path"] == str(tmp_path / "bin" / "ptxas")
    assert told["cases"] == told["same_bits"] == count > 8 and told["wrong"] == [0, 0] and not told["wrong_in_one"]
    assert json.loads(files["ptxas/header.json"])["config"]["ptxas"] == "99.1.7"
    rows = [json.loads(line) for line in files["sanitizer/rows.jsonl"].splitlines()]
    assert [(row["tool"], row["exit"], row["answered"], row["wrong"]) for row in rows] == [
        ("memcheck", 0, 1, 0), ("racecheck", 1, 0, 0)
    ]  # fmt: skip
    assert rows[0]["summary"] == "ERROR SUMMARY: 0 errors" and "Device not supported" in rows[1]["said"][0]
    (folder,) = (tmp_path / "work" / "dry" / "selftest").glob("*/check")
    (folder.parent / "ptxas.json").unlink()
    before = (folder / "rows.jsonl").read_bytes(), (folder.parent / "sanitizer" / "rows.jsonl").read_bytes()
    again = run_job("selftest", "--dry-run")
    assert again.returncode == 0 and "right  " not in again.stdout, again.stdout  # nothing is computed anew
    assert before == ((folder / "rows.jsonl").read_bytes(), (folder.parent / "sanitizer" / "rows.jsonl").read_bytes())
    assert json.loads((folder.parent / "ptxas.json").read_text()) == told

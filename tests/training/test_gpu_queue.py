"""The GPU queue: every job's commands build, and what goes is whole; test_gpu_dry_runs.py runs the jobs."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from reread.bench import ModelBench
from reread.config import build, merge, overrides, read_toml
from reread.experiment import cells_of
from reread.grid import read_recipe
from reread.op_bench import OpBench
from reread.training.trainer import TrainConfig

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setenv("REREAD_GPU_WORK", str(tmp_path / "work"))
    spec = importlib.util.spec_from_file_location("gpu_jobs", ROOT / "gpu" / "jobs.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_jobs", module)
    spec.loader.exec_module(module)
    return module


def settings(words):
    return [words[i + 1] for i, word in enumerate(words) if word == "--set"]


@pytest.mark.slow
@pytest.mark.parametrize("dry", [False, True])
def test_every_command_of_every_job_is_one_that_reread_takes(jobs, dry, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for model in "ab":
        (tmp_path / "work" / "runs" / "train_ladder" / "ladder" / model / "train" / "model").mkdir(parents=True)
    for name in jobs.JOBS:
        for command in jobs.script(name, tmp_path, dry):
            if command[1].endswith(".py"):
                assert (ROOT / command[1]).is_file()
                continue
            _, _, _, verb, recipe, *more = command
            if verb == "bench":
                kind = {"op": OpBench, "model": ModelBench}[recipe]
                build(kind, overrides(settings(more))).check()
            elif verb == "experiment":
                known = read_recipe(recipe, more[more.index("--scale") + 1], settings(more))
                assert cells_of(known, tmp_path / "none"), name
            else:
                assert verb == "train", name
                build(TrainConfig, merge(read_toml(recipe), overrides(settings(more)))).check()


def test_a_job_on_the_ladders_models_names_those_that_are_there(jobs, tmp_path):
    assert "run that first" in jobs.missing("ladder_reading", False)
    model = tmp_path / "work" / "runs" / "train_ladder" / "ladder" / "JRT-RNN" / "train" / "model"
    model.mkdir(parents=True)
    assert "run that first" not in jobs.missing("ladder_reading", False)
    (command,) = jobs.script("ladder_reading", tmp_path, dry=False)
    assert f'models=["{model}"]' in command


def test_the_queue_names_every_job(jobs):
    text = (ROOT / "gpu" / "QUEUE.md").read_text()
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    assert set(jobs.JOBS) <= set(re.findall(r"`(\w+)`", table))


def test_a_job_is_started_once_waited_for_and_brought_back(jobs, tmp_path, monkeypatch):
    slow = "import time; print('here', flush=True); time.sleep(3)"
    monkeypatch.setattr(jobs, "script", lambda *_: [[sys.executable, "-c", slow]])
    runs = tmp_path / "runs"
    runs.mkdir()
    monkeypatch.setattr(jobs.subprocess, "Popen", lambda command, **how: POPEN([sys.executable, "-c", slow], **how))
    jobs.start("pace", runs)
    pid = (runs / "pid").read_text()
    jobs.start("pace", runs)
    assert (runs / "pid").read_text() == pid and jobs.alive(runs)
    jobs.wait(runs, 1)
    assert not jobs.alive(runs) and (runs / "log.txt").read_text() == "here\n"


def test_what_comes_back_is_small_and_leaves_out_what_a_trainer_may_delete(jobs, tmp_path):
    runs, out = tmp_path / "runs", tmp_path / "out"
    for name in ("cell/rows.jsonl", "cell/train/model/config.json", "cell/train/checkpoints/5/state.json", "pid"):
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        (runs / name).write_text(name)
    (runs / "cell" / "train" / "model" / "model.safetensors").write_bytes(b"weights")
    with tarfile.open(jobs.bring_back("pace", runs, out)[0].split(" (")[0]) as archive:
        assert archive.getnames() == ["pace/cell/rows.jsonl"]
    assert len(jobs.bring_back("pace", runs, out, weights="cell")) == 2
    assert (out / "cell.safetensors.00").read_bytes() == b"weights"


def test_results_of_earlier_leases_are_taken_once_and_never_over_newer_ones(jobs, tmp_path, monkeypatch):
    earlier, runs = tmp_path / "results" / "h100" / "selftest" / "GPU", tmp_path / "runs"
    earlier.mkdir(parents=True)
    runs.mkdir()
    (earlier / "ptxas.json").write_text("earlier")
    monkeypatch.setattr(jobs, "ROOT", tmp_path)
    monkeypatch.setattr(jobs.subprocess, "Popen", lambda command, **how: POPEN([sys.executable, "-c", ""], **how))
    for written in ("newer", "newest"):
        jobs.start("selftest", runs)
        jobs.wait(runs, 1)
        assert (runs / "GPU" / "ptxas.json").read_text() == ("earlier" if written == "newer" else "newer")
        (runs / "GPU" / "ptxas.json").write_text(written)


POPEN = subprocess.Popen


def test_a_command_that_fails_does_not_keep_the_others_from_running(jobs, tmp_path, monkeypatch, capfd):
    commands = [[sys.executable, "-c", code] for code in ("print('one')", "raise SystemExit(3)", "print('three')")]
    monkeypatch.setattr(jobs, "script", lambda *_: commands)
    assert jobs.carry_out("pace", tmp_path, dry=True) == 3 and not jobs.finished(tmp_path)
    said = capfd.readouterr().out
    assert "one\n" in said and "gpu: ended with 3" in said and "three\n" in said
    monkeypatch.setattr(jobs, "script", lambda *_: commands[::2])
    assert jobs.carry_out("pace", tmp_path, dry=True) == 0 and jobs.finished(tmp_path)
    monkeypatch.setattr(jobs, "here", lambda: "another GPU or other kernels")
    assert not jobs.finished(tmp_path)


def test_a_finished_timing_is_kept_and_a_stopped_one_begins_anew(jobs, tmp_path):
    run = tmp_path / "runs" / "forward"
    run.mkdir(parents=True)
    command = ["python", "-m", "reread", "bench", "op", "--out", str(run)]
    (run / "rows.jsonl").write_text("")
    assert not jobs.timed(command) and not run.exists()
    run.mkdir()
    (run / "done.json").write_text("{}")
    assert jobs.timed(command) and run.exists() and not jobs.timed(["python", "-m", "reread", "train"])


def test_a_process_that_ended_without_its_parent_looking_is_not_alive(jobs, tmp_path):
    held = "import subprocess, time, sys; p = subprocess.Popen(['true']); print(p.pid, flush=True); time.sleep(30)"
    with subprocess.Popen([sys.executable, "-c", held], stdout=subprocess.PIPE, text=True) as parent:
        (tmp_path / "pid").write_text(parent.stdout.readline().strip())
        time.sleep(0.5)
        assert Path("/proc", (tmp_path / "pid").read_text()).exists() and not jobs.alive(tmp_path)
        parent.kill()
    (tmp_path / "pid").write_text(str(os.getppid()))
    assert jobs.alive(tmp_path)


def test_data_travels_in_parts_and_is_whole_there(jobs, tmp_path):
    (tmp_path / "data" / "text").mkdir(parents=True)
    written = os.urandom(70 * 2**20)
    (tmp_path / "data" / "text" / "a.bin").write_bytes(written)
    tree = tmp_path / "tree"
    (tree / "gpu").mkdir(parents=True)
    (tree / "gpu" / "pack.sh").write_bytes((ROOT / "gpu" / "pack.sh").read_bytes())
    subprocess.run(["bash", tree / "gpu" / "pack.sh", tmp_path / "data"], check=True, capture_output=True)
    parts = sorted((tree / "gpu_data").iterdir())
    assert [part.name for part in parts] == ["00", "01", "02"]
    said = [jobs.unpack(part) for part in parts]
    assert said[:2] == ["1 of 3 parts of the data are here", "2 of 3 parts of the data are here"]
    assert (jobs.DATA / "text" / "a.bin").read_bytes() == written and jobs.data_folder() == jobs.DATA
    refused = subprocess.run(["bash", tree / "gpu" / "pack.sh", tmp_path / "no"], capture_output=True, text=True)
    assert refused.returncode == 2 and "no such folder" in refused.stderr


def test_commands_hold_no_quotes_that_splitting_would_lose(jobs):
    for job in jobs.JOBS.values():
        assert all(len(command.split()) == len(shlex.split(command)) for command in (*job.commands, *job.dry))

"""extract on Ray: the rows of one process, also where workers are killed; nothing lost, nothing doubled."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from in_process import interruptible, reread
from raising import refused

from reread import scale
from reread.engine import Reader
from reread.errors import BadInput, MissingPackage
from reread.extract import ExtractConfig, Extractor, extract
from reread.fields import Field
from reread.models import load

HELD_S = 120


def without_seconds(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def rows_of(path):
    return without_seconds(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


@pytest.fixture
def docs(tmp_path):
    """Documents of many lengths, one of them none, and a file of fields; their paths."""
    (tmp_path / "docs").mkdir()
    for i in range(15):
        (tmp_path / "docs" / f"{i:02}.txt").write_text(f"Number: {i}\n" + "A line of text.\n" * (20 + 3 * i))
    (tmp_path / "docs" / "bad.txt").write_bytes(b"\x00\x01")
    (tmp_path / "fields.json").write_text('["Number", "Text"]')
    return sorted(str(path) for path in (tmp_path / "docs").iterdir())


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two workers on this machine, which this process is in; what extracts there leaves it as it is."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray")
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=scale.STORE,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        yield ray
    finally:
        ray.shutdown()


def extractor_of(name):
    return Extractor(Reader(load(name)), (Field("Number", "Number"), Field("t", "Text")), ExtractConfig(batch=2))


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_changes_no_row(cluster, model_folder, docs, tmp_path):
    extractor, said, killed = extractor_of(model_folder), [], []
    want = extract(extractor, docs, tmp_path / "whole.jsonl")
    with scale.OnRay(2, tell=said.append) as read:

        def kill(told):
            if told.done and len(read.pids) == 2 and not killed:
                killed.append(read.pids[0])
                os.kill(killed[0], signal.SIGKILL)

        rows = extract(extractor, docs, tmp_path / "r.jsonl", progress=kill, read=read)
        assert len(killed) == 1 and killed[0] not in read.pids
    assert cluster.is_initialized()
    assert without_seconds(rows) == without_seconds(want) == rows_of(tmp_path / "r.jsonl") and len(rows) == 16
    assert len(said) <= 1 and all("a worker ended while it read" in one for one in said)


class Died(Exception):
    """As Ray raises for a worker that is no more."""


class Actor:
    """A worker as Ray hands it out."""

    def __init__(self, worker):
        for name in ("begin", "rows"):
            setattr(self, name, SimpleNamespace(remote=partial(partial, getattr(worker, name))))


class Alone:
    """Ray as far as OnRay asks it, in this process: a promise is kept when it is asked for.  `never`: none is."""

    exceptions = SimpleNamespace(
        RayError=Died, RayActorError=Died, WorkerCrashedError=Died, OutOfMemoryError=Died, NodeDiedError=Died,
        ObjectLostError=Died,
    )  # fmt: skip

    def __init__(self, never=False):
        self.never, self.made, self.ended = never, [], []

    def actor(self, worker):
        self.made.append(Actor(worker))
        return self.made[-1]

    def is_initialized(self):
        return True

    def remote(self, **options):
        assert options == {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
        return lambda kind: SimpleNamespace(remote=lambda: self.actor(kind()))

    def wait(self, promises, num_returns, timeout):
        return ([] if self.never else promises[-1:]), promises

    def get(self, promise):
        return promise()

    def kill(self, worker):
        self.ended.append(worker)


class Light:
    """A worker that loads nothing and dies of documents with bomb in their names."""

    wrong, fingerprint, dies = "", "", False

    def begin(self, folder, model, fields, config):
        if self.dies:
            raise Died
        return self.wrong, self.fingerprint, 1

    def rows(self, paths, threshold):
        if any("bomb" in path for path in paths):
            raise Died
        return [{"document": path, "error": None} for path in paths]


@pytest.fixture
def light(monkeypatch, model_folder):
    """light(never=False, **of a worker): a reader of light workers, and an extractor."""
    extractor = extractor_of(model_folder)

    def make(never=False, said=None, **how):
        ray = Alone(never)
        told = {"fingerprint": extractor.reader.lm.model.fingerprint, **how}
        monkeypatch.setattr(scale, "Worker", type("Worker", (Light,), told))
        monkeypatch.setattr(scale, "imported", lambda: ray)
        return scale.OnRay(2, tell=(said if said is not None else []).append), extractor

    return make


def test_a_document_that_ends_its_worker_is_a_row_and_its_neighbours_are_read(light):
    said = []
    read, extractor = light(said=said)
    rows = list(read(extractor, [["a", "b"], ["c", "bomb"], ["d"]], 0.0))
    assert sorted(row["document"] for row in rows) == ["a", "b", "bomb", "c", "d"]
    (bad,) = [row for row in rows if row["error"]]
    assert "bomb ended the worker that read it 3 times" in bad["error"] and list(bad["fields"]) == ["Number", "t"]
    assert len(said) == 6 and "it read 2 documents (3 of 3); each of them is read alone" in said[2]
    assert len(scale.imported().made) == 2 + 6 and set(scale.imported().made) == set(scale.imported().ended)
    assert list(read(extractor, [], 0.0)) == []


@pytest.mark.parametrize(
    ("how", "fields"),
    [
        ({"wrong": "unknown model 'x'"}, {"got": "local", "naming": "unknown model 'x'"}),
        ({"fingerprint": "0123"}, {"got": "0123", "allowed": lambda sha: len(sha) == 16}),
        ({"dies": True}, {"got": 6, "naming": "workers"}),
        ({"never": True}, {"got": "local", "naming": "0.1 seconds"}),
    ],
)
def test_workers_that_cannot_begin_are_one_sentence(light, monkeypatch, how, fields):
    monkeypatch.setattr(scale, "START", 0.1)
    read, extractor = light(**how)
    with refused(BadInput, **fields):
        list(read(extractor, [["a"], ["b"]], 0.0))
    assert set(scale.imported().made) == set(scale.imported().ended) and read.pids == []


@pytest.mark.slow
def test_a_document_that_kills_its_worker_on_a_real_cluster(cluster, monkeypatch, model_folder):
    fingerprint = load(model_folder).model.fingerprint

    class Mortal:  # of this function, so that Ray sends it whole
        def begin(self, *_):
            return "", fingerprint, os.getpid()

        def rows(self, paths, threshold):
            if "bomb" in paths:
                os.kill(os.getpid(), signal.SIGKILL)
            return [{"document": path, "error": None} for path in paths]

    monkeypatch.setattr(scale, "Worker", Mortal)
    rows = list(scale.OnRay(2)(extractor_of(model_folder), [["a", "b"], ["c", "bomb"], ["d"]], 0.0))
    assert sorted((row["document"], row["error"] is None) for row in rows) == [
        ("a", True), ("b", True), ("bomb", False), ("c", True), ("d", True),
    ]  # fmt: skip


def test_without_ray_one_process_extracts_and_the_other_engine_says_what_to_install(docs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ("extract", docs[0], "--fields", tmp_path / "fields.json", "--out", tmp_path / "r.jsonl")
    done = reread(*words, "--engine", "ray")
    assert (done.stdout, done.returncode) == ("", 2)
    assert "pip install 'reread[scale]'" in done.stderr and done.stderr.count("\n") == 1
    with pytest.raises(MissingPackage):
        scale.OnRay()
    for more, sentence in ((("--engine", "rye"), "'ray'"), (("--workers", 2), "--engine ray")):
        done = reread(*words, *more)
        assert (done.stdout, done.returncode) == ("", 2) and sentence in done.stderr
        assert not list(tmp_path.glob("r.jsonl*"))
    assert reread(*words).returncode == 0 and len(rows_of(tmp_path / "r.jsonl")) == 1


def test_a_cluster_where_nobody_listens_is_one_sentence(light, model_folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    light()  # as if this process were in no cluster
    scale.imported().is_initialized = lambda: False
    scale.imported().shutdown = lambda: None
    with (
        scale.OnRay(1, f"127.0.0.1:{port}") as read,
        refused(BadInput, got=f"127.0.0.1:{port}", naming="cluster"),
    ):
        list(read(extractor_of(model_folder), [["a"]], 0.0))


def test_a_node_that_does_not_start_is_one_sentence(light, model_folder):
    def init(**options):
        raise Exception("The current node timed out during startup.\nSee the logs.")

    light()
    ray = scale.imported()
    ray.is_initialized, ray.init, ray.shutdown = (lambda: False), init, (lambda: None)
    with (
        scale.OnRay(1) as read,
        refused(BadInput, naming=("cluster", "The current node timed out during startup")),
    ):
        list(read(extractor_of(model_folder), [["a"]], 0.0))


def test_no_worker_is_no_engine(docs, tmp_path):
    with refused(BadInput, got=0, naming="worker"):
        scale.check_workers(0)


def marked(mark):
    """Processes that have the mark in their environment, by id: their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
    return found


def waited(true, seconds=HELD_S):
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.05)
    return true()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["worker", signal.SIGINT, signal.SIGKILL])
def test_the_command_on_two_workers_survives_what_is_killed(docs, tmp_path, how):
    pytest.importorskip("ray")
    mark, out = f"reread-test-{uuid.uuid4().hex}", tmp_path / "rows.jsonl"
    words = ["extract", str(tmp_path / "docs"), "--fields", str(tmp_path / "fields.json"), "--batch", "1", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "reread", *words, "--out", str(out), "--engine", "ray", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MARK": mark},
        start_new_session=True,
        preexec_fn=interruptible,
    )
    part = tmp_path / "rows.jsonl.part"
    try:
        assert waited(lambda: (part.exists() and part.read_bytes().count(b"\n") >= 3) or process.poll() is not None)
        if how == "worker":
            os.kill(next(pid for pid, line in marked(mark).items() if line.startswith("ray::Worker")), signal.SIGKILL)
        elif how == signal.SIGINT:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        else:
            process.send_signal(how)
        said, errors = process.communicate(timeout=HELD_S)
    finally:
        process.kill()
    assert "Traceback" not in errors
    assert waited(lambda: not marked(mark)), marked(mark)
    if how == "worker":
        assert process.returncode == 1 and json.loads(said)["rows"] == 16 and json.loads(said)["errors"] == 1
    else:
        assert process.returncode == (130 if how == signal.SIGINT else -how) and not out.exists()
        assert reread(*words, "--out", out).returncode == 1
    assert reread(*words, "--out", tmp_path / "whole.jsonl").returncode == 1
    assert rows_of(out) == rows_of(tmp_path / "whole.jsonl") and len(rows_of(out)) == 16

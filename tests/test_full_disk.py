"""A run whose rows, header or end cannot be written is one sentence, and an empty folder is not left behind."""

import errno
from pathlib import Path

import pytest
from in_process import reread

from reread.errors import BadInput
from reread.runlog import Run

FULL = "No space left on device"


@pytest.fixture
def full(monkeypatch):
    """full(name): from now on no file of that name can be opened for writing."""
    opened = Path.open

    def refuse(name):
        def open_(self, mode="r", *given, **named):
            if self.name.removesuffix(".new") == name and set(mode) & set("wax"):
                raise OSError(errno.ENOSPC, FULL, str(self))
            return opened(self, mode, *given, **named)

        monkeypatch.setattr(Path, "open", open_)

    return refuse


@pytest.mark.parametrize("name", ["header.json", "rows.jsonl", "done.json"])
def test_a_full_disk_is_one_sentence(name, full, tmp_path):
    full(name)
    with pytest.raises(BadInput) as raised, Run.start(tmp_path / "run", "eval", {}) as run:
        run.append({"a": 1})
        run.finish({})
    assert raised.value.got == str(tmp_path / "run") and FULL in raised.value.what
    assert (tmp_path / "run").exists() == (name != "header.json")


def test_a_folder_that_was_there_stays(full, tmp_path):
    full("header.json")
    with pytest.raises(BadInput):
        Run.start(tmp_path, "eval", {})
    assert tmp_path.is_dir()


def test_an_evaluation_on_a_full_disk_is_one_sentence(full, tmp_path):
    full("rows.jsonl")
    words = ("--task", "forms-8", "--limit", 1, "--strategy", "once", "--set", "budgets=[64]", "--out", tmp_path / "r")
    said = reread("eval", *words)
    assert said.returncode == 2 and not said.stdout
    *_, last = said.stderr.strip().splitlines()  # behind the bar of progress
    assert last.startswith("reread: ") and FULL in last and "Traceback" not in said.stderr


def test_what_the_system_refuses_is_one_sentence_wherever_it_happens(monkeypatch, tmp_path):
    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "somewhere")

    monkeypatch.setattr("reread.documents.loaders.read_source", refused)
    (tmp_path / "a.txt").write_text("x")
    said = reread("prompt", tmp_path / "a.txt", "Colour")
    assert (said.returncode, said.stdout, said.stderr) == (2, "", "reread: Permission denied: somewhere.\n")

"""What of a file does not become text is said by every command that reads files, and by the server."""

import json

import pytest
from in_process import reread

pytest.importorskip("openpyxl", reason="needs the extra documents")
WARNING = "its characters were read as Windows-1252"


@pytest.fixture
def file(tmp_path):
    (tmp_path / "a.csv").write_bytes("Label,Value\nCode,Grüße\n".encode("cp1252"))
    return tmp_path / "a.csv"


@pytest.mark.parametrize("command", ["ask", "prompt"])
def test_a_question_about_a_file(file, command):
    done = reread(command, file, "Code", "--model", "small-jrt", "--json")
    assert done.returncode == 0 and WARNING in done.stderr
    if command == "ask":
        assert WARNING in json.loads(done.stdout)["warnings"][0]


def test_read(file, tmp_path):
    done = reread("read", file, "--model", "small-jrt", "--out", tmp_path / "states", "--json")
    assert done.returncode == 0 and WARNING in done.stderr and WARNING in done.stdout, done


def test_rows(file, tmp_path):
    (tmp_path / "fields.json").write_text('["Code"]')
    more = ("--fields", tmp_path / "fields.json", "--model", "small-jrt", "--out")
    done = reread("extract", file, *more, tmp_path / "rows.jsonl")
    (row,) = map(json.loads, (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines())
    assert done.returncode == 0 and done.stderr.count(WARNING) == 1 and WARNING in row["warnings"][0]
    assert reread("extract", file, *more, tmp_path / "rows.csv", "--bom", "--keep-formulas").returncode == 0
    told = (tmp_path / "rows.csv").read_bytes()
    assert told.startswith(b"\xef\xbb\xbf") and WARNING in told.decode("utf-8")
    done = reread("extract", file, *more, tmp_path / "other.jsonl", "--bom")
    assert done.returncode == 2 and "--bom" in done.stderr and not (tmp_path / "other.jsonl").exists()


def test_of_many_warnings_the_first_are_printed(file, tmp_path):
    (tmp_path / "fields.json").write_text('["Code"]')
    copies = [tmp_path / f"{number:02}.csv" for number in range(22)]
    for copy in copies:
        copy.write_bytes(file.read_bytes())
    more = ("--fields", tmp_path / "fields.json", "--model", "small-jrt", "--out", tmp_path / "rows.jsonl")
    done = reread("extract", *copies, *more)
    assert done.stderr.count(WARNING) == 20 and "2 more warnings" in done.stderr

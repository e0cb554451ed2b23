"""Damaged, foreign and oversized files are refused in a sentence that names them."""

import lzma

import pytest
from raising import containing, refused

from reread.errors import BadInput, MissingData
from reread.tasks import files
from reread.tasks.files import json_file, json_lines, members

ROW = {"a": "text"}


def test_rows_come_one_at_a_time(write):
    rows = json_lines(write("x.jsonl.gz", '{"a": "1"}\n\n{"a": "\u2028"}\n{broken'), ROW)
    assert next(rows) == {"a": "1"}
    assert next(rows) == {"a": "\u2028"}
    with refused(BadInput, got=containing("line 1 column 2"), naming="x.jsonl.gz, line 4"):
        next(rows)


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (b'{"a": "\xe9"}', {"got": "byte 7", "naming": ("line 1", "UTF-8")}),
        ("[1]", {"got": "list", "naming": "line 1"}),
        ('{"b": 1}', {"got": "b", "allowed": "a", "naming": "line 1"}),
        ('{"a": 1}', {"got": "1", "allowed": "text", "naming": "line 1"}),
        ("[" * 100_000, {"got": containing("recursion"), "naming": "line 1"}),
    ],
)
def test_a_row_that_cannot_be_used_names_its_line(write, content, fields):
    with refused(BadInput, **fields):
        list(json_lines(write("x.jsonl", content), ROW))


def test_kinds_of_fields():
    assert files.KINDS["texts"](["a"]) and not files.KINDS["texts"](["a", 1])
    assert files.KINDS["rows"]([{}]) and not files.KINDS["rows"](["a"])
    assert files.KINDS["pairs"]([["a", "b"]]) and not files.KINDS["pairs"]([["a"]]) and not files.KINDS["pairs"]([1])


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_a_truncated_file_is_said_to_be_cut_short(write, ending):
    path = write(f"x.jsonl{ending}", "".join(f'{{"a": "{i * 7919 % 10007}"}}\n' for i in range(20_000)))
    path.write_bytes(path.read_bytes()[:-1000])
    rows = json_lines(path, ROW)
    assert next(rows) == {"a": "0"}
    with refused(BadInput, got=containing("ended before"), naming=path):
        list(rows)


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_a_file_that_is_not_packed_is_said_to_be_damaged(tmp_path, ending):
    (tmp_path / f"x.json{ending}").write_text("{}")
    with refused(BadInput, got=containing("gzip" if ending == ".gz" else "format"), naming=f"x.json{ending}"):
        json_file(tmp_path / f"x.json{ending}", {})


def test_a_missing_file_and_a_folder_in_its_place(tmp_path):
    with refused(MissingData, got=tmp_path / "x.json", todo=containing("--data", "REREAD_DATA")):
        json_file(tmp_path / "x.json", {})
    with refused(MissingData, got=tmp_path):
        json_file(tmp_path, {})


def test_sizes_have_a_limit(write, archived, monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 2**20)
    monkeypatch.setattr(files, "LARGEST_WHOLE", 2**20)
    with refused(BadInput, naming=("x.jsonl.xz, line 1", "1 MiB")):
        list(json_lines(write("x.jsonl.xz", b" " * (2**20 + 1)), ROW))
    with refused(BadInput, naming=("x.json.xz", "1 MiB")):
        json_file(write("x.json.xz", b" " * (2**20 + 1)), {})
    with refused(BadInput, naming=("x.tar.xz", "big", "1 MiB")):
        list(members(archived("x.tar.xz", {"big": b" " * (2**20 + 1)})))


def test_an_archive_that_ends_early_is_no_shorter_archive(archived):
    path = archived("x.tar.xz", {f"{i}": bytes((i * j * 31) % 251 for j in range(5000)) for i in range(50)})
    whole = path.read_bytes()
    assert len(list(members(path))) == 50
    for share in (0.3, 0.6, 0.9, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with refused(BadInput, got=containing("ended before"), naming="x.tar.xz"):
            list(members(path))


def test_what_is_no_archive_is_refused(write, tmp_path):
    with refused(BadInput, got="invalid header", naming="x.tar.xz"):
        list(members(write("x.tar.xz", b"no archive" * 200)))
    (tmp_path / "y.tar.xz").write_bytes(lzma.compress(b"")[:-4])
    with refused(BadInput, got=containing("ended before"), naming="y.tar.xz"):
        list(members(tmp_path / "y.tar.xz"))

"""Rows outlive their writer: torn lines, other configurations, formats, and the rename at the end."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet
import pytest
from raising import refused

from reread.errors import BadInput
from reread.rowfile import CsvForm, RowFile, as_csv, as_jsonl, check_target, flat

HEADER = {"model": "m", "budget": 3}


def row(name, value='Roche, "Ltd"\nBasel', sure=0.5):
    fields = {"a": {"value": value, "confidence": sure, "found": None if sure is None else value is not None}}
    costs = {"tokens_read": 15, "seconds": 0.1, "tokens_cut": 0}
    return {"document": name, "sha256": "0", "fields": fields, **costs, "error": None if sure else "bad"}


@pytest.mark.parametrize("torn", [b'{"document": "y", "fie', '{"document": "caf\u00e9'.encode()[:-1]])
def test_rows_go_on_after_a_torn_line_and_the_part_is_gone_at_the_end(tmp_path, torn):
    file = RowFile(tmp_path / "r.jsonl")
    assert file.start(HEADER) == [] and not file.out.exists()
    file.append(row("x"))
    with file.part.open("ab") as part:
        part.write(torn)
    assert file.start(HEADER) == [row("x")]
    file.append(row("y"))
    assert file.start(HEADER) == [row("x"), row("y")]
    file.finish([row("x"), row("y")])
    assert [json.loads(line) for line in file.out.read_text().splitlines()] == [row("x"), row("y")]
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]
    with refused(BadInput, got=file.out):
        file.start(HEADER)


def test_rows_of_another_configuration_or_broken_ones_are_refused_and_stay(tmp_path):
    file = RowFile(tmp_path / "r.jsonl")
    file.start(HEADER)
    file.append(row("x"))
    before = file.part.read_bytes()
    with refused(BadInput, got=f"3 in {file.part}", allowed=4, naming="budget"):
        file.start({**HEADER, "budget": 4})
    file.part.write_bytes(before.replace(b'"document"', b"document"))
    with refused(BadInput, got=file.part):
        file.start(HEADER)
    file.part.write_bytes(before)
    assert file.start(HEADER) == [row("x")]


def test_a_kill_before_the_header_was_whole_begins_anew(tmp_path):
    file = RowFile(tmp_path / "r.jsonl")
    file.part.write_text('{"model": "m"')
    assert file.start(HEADER) == []
    file.append(row("x"))
    assert file.start(HEADER) == [row("x")]


def test_two_writers_at_once_are_refused(tmp_path):
    file = RowFile(tmp_path / "r.jsonl")
    with file.held(), refused(BadInput, got=file.out, naming="process"), RowFile(tmp_path / "r.jsonl").held():
        pass
    with file.held():
        pass
    with pytest.raises(BrokenPipeError), file.held():  # not of the rows: whoever raised it says so
        raise BrokenPipeError
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path, monkeypatch):
    file = RowFile(tmp_path / "r.jsonl")
    file.start(HEADER)
    before = file.part.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reread.whole.os.fsync", full)
    for act in (lambda: file.start(HEADER), lambda: file.append(row("x")), lambda: file.finish([])):
        with refused(BadInput, got=file.out, naming="No space left"):
            act()
    monkeypatch.undo()
    assert file.part.read_bytes().startswith(before) and [path.name for path in tmp_path.iterdir()] == ["r.jsonl.part"]


@pytest.mark.parametrize("end", [".jsonl", ".csv", ".parquet"])
def test_a_name_that_is_no_text_is_written_and_found_again(tmp_path, end):
    name = b"bad\xff.txt".decode("utf-8", "surrogateescape")
    file = RowFile(tmp_path / f"r{end}")
    file.start(HEADER)
    file.append(row(name))
    assert file.start(HEADER) == [row(name)]
    file.finish([row(name)])
    assert b"bad\\udcff.txt" in file.out.read_bytes()


def test_csv_and_parquet_hold_what_the_rows_hold(tmp_path):
    rows = [row("x"), row("y", None, 0.1), row("z", None, None)]
    flats = [flat(one) for one in rows]
    names = ["document", "sha256", "a", "a_confidence", "a_found", "tokens_read", "seconds", "tokens_cut", "error"]
    assert list(flats[0]) == names
    for end in (".csv", ".parquet"):
        file = RowFile(tmp_path / f"r{end}")
        file.start(HEADER)
        file.finish(rows)
    with (tmp_path / "r.csv").open(newline="") as text:
        got = list(csv.DictReader(text))
    assert got == [{key: "" if value is None else str(value) for key, value in one.items()} for one in flats]
    table = pyarrow.parquet.read_table(tmp_path / "r.parquet")
    assert table.to_pylist() == flats
    kinds = {field.name: str(field.type) for field in table.schema}
    assert (kinds["a"], kinds["a_confidence"], kinds["a_found"], kinds["error"]) == (
        "string",
        "double",
        "bool",
        "string",
    )


def test_parquet_columns_are_typed_where_nothing_is_known(tmp_path):
    file = RowFile(tmp_path / "r.parquet")
    file.start(HEADER)
    file.finish([row("z", None, None)])
    kinds = {field.name: str(field.type) for field in pyarrow.parquet.read_schema(file.out)}
    assert (kinds["a"], kinds["a_confidence"], kinds["tokens_cut"]) == ("string", "double", "int64")


def test_a_target_that_cannot_be_written_is_refused_at_once(tmp_path):
    for name, got, allowed in (("r.xlsx", "r.xlsx", ".jsonl, .csv, .parquet"), ("no/r.csv", "no", None)):
        with refused(BadInput, got=tmp_path / got, allowed=allowed):
            check_target(tmp_path / name)
    (tmp_path / "d.csv").mkdir()
    with refused(BadInput, got=tmp_path / "d.csv"):
        check_target(tmp_path / "d.csv")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder here in which nobody can write, whoever asks")
def test_where_nothing_can_be_written_nobody_is_said_to_be_writing():
    with (
        refused(BadInput, got="/proc/r.jsonl", naming="No such file"),
        RowFile(Path("/proc/r.jsonl")).held(),
    ):
        pass


def test_formulas_are_kept_and_a_mark_comes_first_where_csv_is_asked_for_so(tmp_path):
    fields = {"a": {"value": "=1+1", "confidence": 0.5, "found": True}}
    row = {"document": "a.txt", "fields": fields, "warnings": ["a page", "a sheet"], "error": None}
    plain = as_csv([row]).decode("utf-8")
    assert plain.splitlines()[1] == "a.txt,'=1+1,0.5,True,a page; a sheet,"
    kept = as_csv([row], CsvForm(formulas=True)).decode("utf-8")
    assert kept == plain.replace("'=1+1", "=1+1")
    assert as_csv([row], CsvForm(bom=True)) == b"\xef\xbb\xbf" + plain.encode()
    assert flat({**row, "warnings": []})["warnings"] is None
    with refused(BadInput, got=str(tmp_path / "r.jsonl"), naming="--bom"):
        check_target(tmp_path / "r.jsonl", CsvForm(bom=True))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " =", "＝"])
def test_no_cell_of_csv_is_run_by_a_spreadsheet(tmp_path, start):
    text = f"{start}HYPERLINK(1)"
    fields = {text: {"value": text, "confidence": 0.5, "found": True}}
    costs = {"tokens_read": -1, "seconds": 0.1, "tokens_cut": 0}
    data = as_csv([{"document": text, "sha256": "0", "fields": fields, **costs, "error": None}])
    head, cells = csv.reader(io.StringIO(data.decode(), newline=""))
    assert head[2] == cells[0] == cells[2] == f"'{text}" and "-1" in cells
    (row,) = [json.loads(line) for line in as_jsonl([{"document": text}]).decode().splitlines()]
    assert row == {"document": text}

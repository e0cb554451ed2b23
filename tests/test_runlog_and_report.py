"""Run folders and the tables made from them."""

import json
import os
import subprocess
import sys

import pytest
from in_process import reread
from raising import containing, refused

from reread.errors import BadInput
from reread.lock import Lock
from reread.report import differences, labels, report, size, summarise, tables
from reread.report.runs import machines
from reread.runlog import Run, commit

CONFIG = {"budgets": [8], "window": "head", "prefix": "prompt", "max_new_tokens": 4}


def row(model="m", contains=1.0, **changes):
    base = {
        "model": model,
        "task": "fda",
        "strategy": "once",
        "policy": "prompt",
        "window": "head",
        "budget": 8,
        "id": "a",
        "document": "d",
        "question": "q",
        "in_document": 1.0,
        "contains": contains,
        "f1": 0.5,
        "prompt_tokens": 10,
        "read_seconds": 0.5,
        "state_bytes": 2048,
    }
    return {**base, **changes}


def finished(folder, rows):
    run = Run.start(folder, "eval", CONFIG)
    for r in rows:
        run.append(r)
    run.finish({"rows": len(rows)})
    return run


def test_the_table_has_mean_interval_n_and_window(tmp_path):
    rows = [row(id=str(i), document=str(i // 2), contains=float(i < 3), in_document=float(i < 4)) for i in range(10)]
    finished(tmp_path / "run", rows)
    text = report(tmp_path / "run")
    assert "| m | fda | once | head | 8 | 10 | 5 | 40 % | 30.0 [" in text
    assert "95 % bootstrap interval over documents" in text
    assert "| 10 | 20 | 2 KiB |" in text


def test_cells_are_kept_apart(tmp_path):
    records = summarise([row(), row(model="n", contains=0.0), row(strategy="twice")])
    assert [(r["model"], r["strategy"], r["n"]) for r in records] == [
        ("m", "once", 1),
        ("n", "once", 1),
        ("m", "twice", 1),
    ]


def test_models_of_one_folder_name_are_told_apart():
    models = ["runs/a/model", "runs/b/train/model", "embedded", "model"]
    assert list(labels(models).values()) == ["a", "b", "embedded", "model"]
    assert list(labels(["x/a/model", "y/a/model", "z/b"]).values()) == ["x/a", "y/a", "b"]
    assert list(labels(["x/a/model", "x/a"]).values()) == ["model", "a"]  # not told apart without it


def test_differences_are_paired_by_sample_and_against_the_first_named():
    def cell(right, **changes):
        return [row(id=str(i), contains=float(i in right), **changes) for i in range(4)]

    rows = [*cell({0, 1}), *cell({1, 2, 3}, strategy="twice"), *cell({0}, model="n")]
    records = differences(rows)
    assert [(r["differs"], r["model"], r["strategy"], r["against"], r["n"]) for r in records] == [
        ("model", "n", "once", "m", 4),
        ("strategy", "m", "twice", "once", 4),
    ]
    assert [r["contains"]["mean"] for r in records] == [-0.25, 0.25]


def test_the_table_names_both_sides_of_a_difference(tmp_path):
    finished(tmp_path / "run", [row(), row(strategy="twice"), row(model="x/n", contains=0.0)])
    text = report(tmp_path / "run")
    assert "| m | fda | twice - once | head | 8 | 1 | 0.0 [" in text
    assert "| n - m | fda | once | head | 8 | 1 | -100.0 [" in text


def test_numbers_come_with_header_and_intervals(tmp_path):
    finished(tmp_path / "run", [row(id=str(i), document=str(i), contains=float(i < 3)) for i in range(10)])
    value = tables(tmp_path / "run")
    assert value["header"]["config"] == CONFIG
    contains = value["cells"][0]["contains"]
    assert contains["mean"] == pytest.approx(0.3)
    assert contains["low"] < 0.3 < contains["high"]


def test_a_run_that_went_on_names_both_commits(tmp_path, monkeypatch):
    monkeypatch.setattr("reread.runlog.commit", lambda: "aaaaaaa")
    Run.start(tmp_path / "run", "eval", CONFIG).append(row())
    monkeypatch.setattr("reread.runlog.commit", lambda: "bbbbbbb")
    Run.start(tmp_path / "run", "eval", CONFIG, resume=True).finish({"rows": 1})
    assert "commit aaaaaaa, bbbbbbb," in report(tmp_path / "run")


def test_a_package_that_no_repository_tracks_has_no_commit(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setattr("reread.runlog.__file__", str(tmp_path / "runlog.py"))
    (tmp_path / "runlog.py").write_text("")
    assert commit() is None
    subprocess.run(["git", "-C", tmp_path, "add", "runlog.py"], check=True)
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", tmp_path, *who, "commit", "-qm", "x"], check=True)
    clean = commit()
    assert clean and not clean.endswith("+")
    (tmp_path / "other.py").write_text("")
    assert commit() == clean + "+"


def test_a_line_broken_in_the_middle_is_said_and_nothing_is_dropped(tmp_path):
    run = Run.start(tmp_path / "run", "eval", CONFIG)
    run.release()
    (run.folder / "rows.jsonl").write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with refused(BadInput, got=tmp_path / "run", naming="line 2 of rows.jsonl"):
        Run.start(tmp_path / "run", "eval", CONFIG, resume=True)
    assert (run.folder / "rows.jsonl").read_text().count("\n") == 3


def test_a_run_that_lost_rows_gives_no_table(tmp_path):
    run = finished(tmp_path / "run", [row(), row(id="b")])
    run.keep(lambda r: r["id"] == "a")
    with refused(BadInput, got=f"1 ({tmp_path / 'run'})", allowed=containing("2 ")):
        report(tmp_path / "run")


def test_a_run_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with refused(BadInput, got=folder):
            Run.start(folder, "eval", CONFIG)


def test_an_unfinished_run_gives_no_table(tmp_path):
    Run.start(tmp_path / "run", "eval", CONFIG).append(row())
    with refused(BadInput, got=tmp_path / "run", naming="done.json"):
        report(tmp_path / "run")


def test_a_folder_without_header_is_no_run(tmp_path):
    with refused(BadInput, got=tmp_path, naming="header.json"):
        report(tmp_path)


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path):
    run = Run.start(tmp_path / "run", "eval", CONFIG)
    run.append({"a": 1})
    with (run.folder / "rows.jsonl").open("a") as file:
        file.write('{"a": 2, "b')
    assert list(run.rows()) == [{"a": 1}]


def test_a_run_goes_on_only_with_its_own_configuration(tmp_path):
    Run.start(tmp_path / "run", "eval", CONFIG)
    assert Run.start(tmp_path / "run", "eval", CONFIG, resume=True).folder == tmp_path / "run"
    Run.start(tmp_path / "run", "eval", CONFIG, resume=True)
    assert len(Run(tmp_path / "run").header()["resumed"]) == 2
    Run.start(tmp_path / "run", "eval", CONFIG, resume=True).append({"a": 1})
    with refused(BadInput, got=f"budgets [8] in {tmp_path / 'run'}", allowed="[9]"):
        Run.start(tmp_path / "run", "eval", {**CONFIG, "budgets": [9]}, resume=True)
    with refused(BadInput, got=tmp_path / "run", naming=("another version", "'budgets'")):
        Run.start(tmp_path / "run", "eval", {k: v for k, v in CONFIG.items() if k != "budgets"}, resume=True)
    with refused(BadInput, got=tmp_path / "run", naming=("another version", "'colour'")):
        Run.start(tmp_path / "run", "eval", {**CONFIG, "colour": 1}, resume=True)
    with refused(BadInput, got=tmp_path / "run", naming="in use"):
        Run.start(tmp_path / "run", "eval", CONFIG)


def test_a_run_that_never_wrote_a_row_takes_another_configuration(tmp_path):
    with Run.start(tmp_path / "run", "eval", CONFIG):
        pass
    with Run.start(tmp_path / "run", "train", {"seed": 1}, resume=True) as run:
        header = run.header()
    assert (header["kind"], header["config"]) == ("train", {"seed": 1}) and "resumed" not in header
    run.append({"a": 1})
    with refused(BadInput, got=tmp_path / "run", allowed="eval", naming="train"):
        Run.start(tmp_path / "run", "eval", {"seed": 1}, resume=True)
    with Run.start(tmp_path / "nested", "train", {"data": {"mix": {"text": 1.0}}}, resume=True) as run:
        run.append({"a": 1})
    with refused(BadInput, got=f"data.mix.text 1.0 in {tmp_path / 'nested'}", allowed="2.0"):
        Run.start(tmp_path / "nested", "train", {"data": {"mix": {"text": 2.0}}}, resume=True)
    with refused(BadInput, got=f"data.mix.spans None in {tmp_path / 'nested'}", allowed="0.5"):
        Run.start(tmp_path / "nested", "train", {"data": {"mix": {"text": 1.0, "spans": 0.5}}}, resume=True)


WRITER = """
import sys, time
from reread.runlog import Run

with Run.start(sys.argv[1], "eval", {}, resume=True) as run:
    run.append({"by": "the other"})
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_run_that_another_process_writes_is_refused_until_that_ends_however_it_ends(tmp_path):
    folder = tmp_path / "run"
    other = subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout and other.stdout.readline() == "writing\n"
        for resume in (True, False):
            with refused(BadInput, got=folder, naming="process"):
                Run.start(folder, "eval", {}, resume=resume)
    finally:
        other.kill()  # which lets it remove nothing
        other.communicate()
    with Run.start(folder, "eval", {}, resume=True) as run:
        run.append({"by": "this one"})
    assert [row["by"] for row in run.rows()] == ["the other", "this one"]
    assert sorted(path.name for path in folder.iterdir()) == ["header.json", "rows.jsonl"]


def test_one_process_holds_a_run_once_until_it_is_finished_left_or_refused(tmp_path):
    with pytest.raises(ZeroDivisionError), Run.start(tmp_path / "run", "eval", CONFIG) as run:
        with refused(BadInput, got=tmp_path / "run", naming="process"):
            Run.start(tmp_path / "run", "eval", CONFIG, resume=True)
        raise ZeroDivisionError
    Run.start(tmp_path / "run", "eval", CONFIG, resume=True).append({"a": 1})
    with refused(BadInput, got=tmp_path / "run", naming="'budgets'"):
        Run.start(tmp_path / "run", "eval", {}, resume=True)
    run = Run.start(tmp_path / "run", "eval", CONFIG, resume=True)
    run.finish({"rows": 0})
    assert not (tmp_path / "run" / ".lock").exists()
    with Lock(tmp_path / "run" / ".lock"):  # what is done is only read
        assert Run.start(tmp_path / "run", "eval", CONFIG, resume=True).done


def test_a_process_that_is_forked_from_the_writer_lets_nothing_go(tmp_path):
    with Run.start(tmp_path / "run", "eval", CONFIG) as run:
        if not (child := os.fork()):
            run.release()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with refused(BadInput, got=tmp_path / "run", naming="process"):
            Run.start(tmp_path / "run", "eval", CONFIG, resume=True)


def test_a_packed_run_gives_the_same_table_and_a_broken_one_is_said(tmp_path):
    run = finished(tmp_path / "run", [row(), row(id="b", question="x\u2028y")])
    before, rows = report(run.folder), list(run.rows())
    size = (run.folder / "rows.jsonl").stat().st_size
    assert run.pack()[0] == size and run.pack() == (0, 0) and not (run.folder / "rows.jsonl").exists()
    assert report(run.folder) == before and list(run.rows()) == rows
    packed = run.folder / "rows.jsonl.xz"
    packed.write_bytes(packed.read_bytes()[:-9])
    with refused(BadInput, got=run.folder, naming="rows.jsonl.xz"):
        report(run.folder)
    Run.start(tmp_path / "going", "eval", CONFIG).append(row())
    with refused(BadInput, got=tmp_path / "going", naming="done.json"):
        Run(tmp_path / "going").pack()


def test_the_command_packs_what_is_finished_and_large_and_says_what_it_left(tmp_path):
    run = finished(tmp_path / "run", [row()])
    Run.start(tmp_path / "going", "eval", CONFIG).append(row())
    assert "packed 0 of 2" in reread("pack", tmp_path).stdout and not run.folder.joinpath("rows.jsonl.xz").exists()
    told = json.loads(reread("pack", tmp_path, "--least", 0, "--json").stdout)
    assert list(told["packed"]) == [str(run.folder)] and told["left"] == 1
    assert (tmp_path / "going" / "rows.jsonl").exists() and not (run.folder / "rows.jsonl").exists()


def test_sizes_are_readable():
    assert (size(2048), size(3 * 2**20)) == ("2 KiB", "3.00 MiB")


@pytest.mark.parametrize("torn", [b'{"a": 2, "b', '{"a": "\u00e9'.encode()[:-1]])
def test_a_resumed_run_writes_on_after_a_torn_line_and_keeps_odd_line_separators(tmp_path, torn):
    run = Run.start(tmp_path / "run", "eval", CONFIG)
    run.append({"a": "x\u2028y\u0085z"})
    with (run.folder / "rows.jsonl").open("ab") as file:
        file.write(torn)
    run.release()
    again = Run.start(tmp_path / "run", "eval", CONFIG, resume=True)
    again.append({"a": 3})
    assert list(again.rows()) == [{"a": "x\u2028y\u0085z"}, {"a": 3}]


def test_a_run_says_where_it_went_on(tmp_path):
    Run.start(tmp_path / "run", "eval", CONFIG, device="cpu").release()
    Run.start(tmp_path / "run", "eval", CONFIG, resume=True, device="cuda").release()
    header = Run(tmp_path / "run").header()
    first, second = header["machine"], header["resumed"][0]["machine"]
    assert second == f"{first}, cuda" and header["resumed"][0]["packages"] == header["packages"]
    assert machines(header) == f"{first}; {second}"


@pytest.mark.parametrize("name", ["header.json", "done.json"])
@pytest.mark.parametrize("content", [b"", b'{"kind": "ev', b"[1]", b"\xff\xfe"])
def test_a_broken_header_or_summary_is_one_sentence(tmp_path, name, content):
    run = Run.start(tmp_path / "run", "eval", {})
    run.finish({})
    (run.folder / name).write_bytes(content)
    with refused(BadInput, got=str(run.folder), naming=name):
        run.header() if name == "header.json" else run.summary()


@pytest.mark.parametrize("content", ["{}", '{"kind": "eval"}', '{"kind": "eval", "config": 3}', '{"config": {}}'])
def test_a_header_without_kind_or_configuration_is_broken(tmp_path, content):
    (tmp_path / "header.json").write_text(content)
    with refused(BadInput, got=str(tmp_path), naming="header.json"):
        Run(tmp_path).header()

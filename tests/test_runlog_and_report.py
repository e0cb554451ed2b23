"""Run folders and the tables made from them."""

import pytest

from reread.errors import BadInput
from reread.report import markdown, report, size, summarise
from reread.runlog import Run

CONFIG = {"context": 8, "window": "head", "prefix": "prompt", "max_new_tokens": 4}


def row(model="m", contains=1.0, **changes):
    base = {
        "model": model,
        "task": "fda",
        "strategy": "once",
        "window": "head",
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
    finished(tmp_path / "run", [row(contains=float(i < 3)) for i in range(10)])
    text = report(tmp_path / "run")
    assert "| m | fda | once | head | 10 | 30.0 [" in text
    assert "95 % bootstrap interval" in text
    assert "20" in text and "2 KiB" in text


def test_cells_are_kept_apart(tmp_path):
    records = summarise([row(), row(model="n", contains=0.0), row(strategy="twice")])
    assert [(r["model"], r["strategy"], r["n"]) for r in records] == [
        ("m", "once", 1),
        ("n", "once", 1),
        ("m", "twice", 1),
    ]
    assert markdown(records).count("\n") == 4


def test_an_unfinished_run_gives_no_table(tmp_path):
    Run.start(tmp_path / "run", "eval", CONFIG).append(row())
    with pytest.raises(BadInput, match="not whole"):
        report(tmp_path / "run")


def test_a_folder_without_header_is_no_run(tmp_path):
    with pytest.raises(BadInput, match="not a run folder"):
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
    with pytest.raises(BadInput, match="another configuration"):
        Run.start(tmp_path / "run", "eval", {**CONFIG, "context": 9}, resume=True)
    with pytest.raises(BadInput, match="in use"):
        Run.start(tmp_path / "run", "eval", CONFIG)


def test_sizes_are_readable():
    assert (size(2048), size(3 * 2**20)) == ("2 KiB", "3.00 MiB")


def test_a_resumed_run_writes_on_after_a_torn_line_and_keeps_odd_line_separators(tmp_path):
    run = Run.start(tmp_path / "run", "eval", CONFIG)
    run.append({"a": "x\u2028y\u0085z"})
    with (run.folder / "rows.jsonl").open("a") as file:
        file.write('{"a": 2, "b')
    again = Run.start(tmp_path / "run", "eval", CONFIG, resume=True)
    again.append({"a": 3})
    assert list(again.rows()) == [{"a": "x\u2028y\u0085z"}, {"a": 3}]

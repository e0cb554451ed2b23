"""Several run folders as one report, and what is refused."""

import itertools
import json
import shlex

import pytest
from made_rows import CONFIG, bench_rows, rich_rows, row
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.report import gather, merged_report, report, tables
from reread.report.runs import command, source
from reread.runlog import Run


def test_rows_of_two_runs_stand_in_one_table_with_their_folders(write):
    one = write("one", [row(id=str(i), document=str(i), contains=float(i < 5)) for i in range(10)])
    two = write("two", [row(id=str(i), document=str(i), strategy="twice", contains=float(i < 8)) for i in range(10)])
    found = gather([one, two])
    assert [(c["strategy"], c["n"], c["runs"]) for c in found["cells"]] == [
        ("once", 10, [str(one)]),
        ("twice", 10, [str(two)]),
    ]
    (gain,) = found["differences"]
    assert gain["contains"]["mean"] == pytest.approx(0.3) and gain["wins"] == 3
    text = merged_report([one, two])
    assert "| small | fda | twice - once | head | 512 | 10 | 10 | 30.0 [" in text
    assert f"{one} |" in text and "reread eval --set" in text


def test_a_row_that_two_runs_have_counts_once(write):
    rows = [row(id=str(i), document=str(i)) for i in range(4)]
    again = [{**r, "read_seconds": 9.0, "peak_bytes": 3} for r in rows[:2]]
    (cell,) = gather([write("one", rows), write("two", again)])["cells"]
    assert cell["n"] == 4


def test_a_row_that_two_runs_have_with_another_answer_is_refused(write):
    one, two = write("one", [row()]), write("two", [row(prediction="other")])
    with refused(BadInput, got=containing("sample a", one, two), naming="prediction"):
        gather([one, two])


def test_likelihoods_may_differ_in_their_last_digits(write):
    gather([write("one", [row(loglik=-2.0)]), write("two", [row(loglik=-2.0001)])])
    with refused(BadInput, got=containing("sample a", "three", "four"), naming="loglik"):
        gather([write("three", [row(loglik=-2.0)]), write("four", [row(loglik=-2.1)])])


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({"prefill": "no_pad"}, {"prefill": "left_pad"}, ("no_pad", "left_pad", "prefill")),
        ({"fingerprints": {"small": "a"}}, {"fingerprints": {"small": "b"}}, ("a", "b", "small")),
    ],
)
def test_runs_that_differ_in_what_no_column_says_are_refused(write, first, second, named):
    one = write("one", [row()], **first)
    two = write("two", [row(task="squad")], **second)
    ours, theirs, what = named
    with refused(BadInput, got=f"{ours} in {one}, {theirs} in {two}", naming=what):
        gather([one, two])


def test_what_older_runs_name_prefix_in_their_header_is_their_policy(write):
    old = {name: value for name, value in row().items() if name != "policy"}
    one = write("one", [old], prefix="prompt")
    two = write("two", [{**old, "contains": 0.0}], prefix="document")
    three = write("three", [row(policy="none")], policies=["none"])
    found = gather([one, two, three])
    assert [cell["policy"] for cell in found["cells"]] == ["prompt", "document", "none"]
    assert [(d["differs"], d["policy"], d["against"]) for d in found["differences"]] == [
        ("policy", "document", "prompt"),
        ("policy", "none", "prompt"),
    ]


def test_policies_are_compared_within_a_strategy_and_in_means_over_tasks(write):
    rows = [
        row(task=task, strategy=s, policy=p, id=str(i), document=f"{task}{i}", contains=float(i < 2 + (p != "prompt")))
        for task in ("fda", "squad")
        for s in ("once", "twice")
        for p in ("prompt", "none", "share(r=0.5)")
        for i in range(4)
    ]
    found = gather([write("one", rows)])
    by_policy = [d for d in found["differences"] if d["differs"] == "policy"]
    assert len(by_policy) == 2 * 2 * 2 + 2 * 2 and {d["contains"]["mean"] for d in by_policy} == {0.25}
    assert {(m["strategy"], m["policy"]) for m in found["means"]} == {
        (s, p) for s in ("once", "twice") for p in ("prompt", "none", "share(r=0.5)")
    }


def test_what_others_are_compared_with_can_be_named(write):
    rows = [row(policy=p, contains=c, id=str(i)) for p, c in (("prompt", 1.0), ("none", 0.0)) for i in range(3)]
    runs = [write("one", rows)]
    (first,), (other,) = (gather(runs, against)["differences"] for against in ("", "none"))
    assert (first["policy"], first["against"], first["contains"]["mean"]) == ("none", "prompt", -1.0)
    assert (other["policy"], other["against"], other["contains"]["mean"]) == ("prompt", "none", 1.0)
    with refused(UnknownName, got="nonee", todo=containing("none")):
        gather(runs, "nonee")


def test_a_setting_that_an_older_run_does_not_name_is_not_compared(write):
    assert gather([write("one", [row()]), write("two", [row(id="b")], prefill="no_pad")])["cells"][0]["n"] == 2


def test_a_task_with_and_without_named_templates_is_refused(write):
    with refused(BadInput, got=containing("one", "two"), naming="template of fda"):
        gather([write("one", [row()]), write("two", [row(strategy="twice", template="field")])])


def test_windows_stand_in_cells_of_their_own(write):
    runs = [write("one", [row()]), write("two", [row(window="answer_centered", strategy="twice")])]
    found = gather(runs)
    assert [c["window"] for c in found["cells"]] == ["head", "answer_centered"] and found["differences"] == []


def test_samples_left_out_are_counted_in_the_table_and_named_in_the_source(rich):
    found = gather(rich)
    assert {(c["task"], c["left out"]) for c in found["cells"]} == {("fda", 12), ("squad", 0)}
    text = merged_report(rich)
    assert "left out of fda: 12 no answer in the document" in text
    assert "| template |" in text and "| exact |" in text and "| tokens read |" in text


def test_a_task_that_a_run_keeps_out_of_means_is_said(write):
    rows = [r for task in ("a", "b", "c") for s in ("once", "twice") for r in [row(task=task, strategy=s)]]
    run = write("run", rows, in_means={"a": True, "b": True, "c": False})
    assert [m["tasks"] for m in gather([run])["means"]] == [["a", "b"], ["a", "b"]]
    assert "Kept out of means: c." in merged_report([run])


def test_one_run_alone_keeps_its_short_table_and_newer_columns_are_shown_where_it_has_them(write):
    assert "| budget | n |" in report(write("old", [row()]))
    text = report(write("new", list(rich_rows(n=4))))
    assert "| budget | template | n |" in text and "| state | peak memory |" in text


def test_the_command_names_every_setting_and_parses_back(write):
    from reread.config import overrides

    folder = write(
        "run", [row()], strategies=["once", 'hierarchical(levels="a+b", overlap=0.2)'], fingerprints={"a": "b"}
    )
    words = shlex.split(command(source(folder)))
    settings = [word for before, word in itertools.pairwise(words) if before == "--set"]
    config = {k: v for k, v in source(folder).config.items() if k not in ("fingerprints", "window", "prefix")}
    assert overrides(settings) == {**config, "windows": ["head"], "policies": ["prompt"]}, "today's names of settings"
    assert words[:2] == ["reread", "eval"] and words[-2:] == ["--out", str(folder)]
    bench = write("bench", bench_rows(), kind="bench", bench="model", OMP_WAIT_POLICY="PASSIVE", threads=2)
    assert command(source(bench)).startswith("OMP_WAIT_POLICY=PASSIVE reread bench model --set threads=2 --out ")


def test_the_command_names_the_device_and_no_waiting_that_was_never_set(write):
    def on(name, machine, *rows, **config):
        header = write(name, *rows, **config) / "header.json"
        header.write_text(json.dumps({**json.loads(header.read_text()), "machine": machine}))
        return command(source(header.parent))

    told = {"kind": "bench", "bench": "op", "OMP_WAIT_POLICY": "default"}
    assert on("gpu", "x86_64, 16 cores, cuda", bench_rows(), **told).startswith("REREAD_DEVICE=cuda reread bench op ")
    assert on("cpu", "x86_64, 16 cores", bench_rows(), **told).startswith("reread bench op ")
    assert on("eval", "x86_64, 2 cores, cuda", [row()]).startswith("REREAD_DEVICE=cuda reread eval ")


def test_benches_and_evaluations_go_together(rich):
    found = gather(rich)
    (bench,) = found["benches"]
    assert len(bench["timings"]) == 6 and found["cells"]
    assert "## Speed: speed" in merged_report(rich)
    assert gather(rich[1:])["cells"] == []


def test_what_is_no_run_of_rows_is_one_sentence(tmp_path, write):
    (tmp_path / "nothing").mkdir()
    for folder in (tmp_path / "nothing", tmp_path / "absent"):
        with refused(BadInput, got=folder, naming="header.json"):
            gather([folder])
    Run.start(tmp_path / "open", "eval", CONFIG).append(row())
    with refused(BadInput, got=tmp_path / "open", naming="done.json"):
        gather([tmp_path / "open"])
    with refused(BadInput, got=containing("empty"), naming="rows"):
        gather([write("empty", [])])
    with refused(BadInput, got=containing("train ("), allowed=containing("eval, bench")):
        gather([write("train", [{}], kind="train")])
    with refused(BadInput, got=containing("odd"), naming=("line 1 of rows.jsonl", "model, task")):
        gather([write("odd", [{"a": 1}])])
    with refused(BadInput, got=containing("open, ", "nothing/../open")):
        gather([tmp_path / "open", tmp_path / "nothing" / ".." / "open"])
    with refused(BadInput, naming="no run"):
        gather([])
    broken = write("broken", [row()])
    (broken / "header.json").write_text("{")
    with refused(BadInput, got=broken, naming="header.json"):
        tables(broken)

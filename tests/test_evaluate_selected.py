"""eval with selections: a dimension of the grid, the answers of Reader.ask, resuming, reports, and what is refused."""

import json

import pytest
from in_process import complained, reread
from raising import containing, refused

from reread.config import to_dict
from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.evaluate import Cell, EvalConfig, choose, evaluate
from reread.report import gather, merged_report, report, tables
from reread.report.grids import recall_grid
from reread.report.runs import source
from reread.runlog import Run
from reread.tasks.recall import task

SELECT, WINDOW = "reread(share=0.25)", "window(share=0.25)"


def config(model, **changes):
    base = {"models": (model,), "tasks": ("forms-8",), "strategies": ("once",), "windows": ("head",)}
    base |= {"budgets": (400,), "limit": 4, "batch": 3, "max_new_tokens": 5, "selections": ("full", SELECT, WINDOW)}
    return EvalConfig(**{**base, **changes})


@pytest.fixture(scope="module")
def run(byte_llama_folder, tmp_path_factory):
    return evaluate(config(byte_llama_folder), None, tmp_path_factory.mktemp("eval") / "run")


def test_every_selection_is_a_cell_whose_rows_are_the_answers_of_ask(run, byte_llama):
    rows, reader = list(run.rows()), Reader(byte_llama)
    samples = {one.question: one for one in choose(task("forms-8").load(None).samples, 4, 0)}
    assert [row.get("selection", "full") for row in rows] == ["full"] * 4 + [SELECT] * 4 + [WINDOW] * 4
    for row in rows:
        sample = next(s for s in samples.values() if (s.id, s.question) == (row["id"], row["question"]))
        answer, _ = reader.ask(
            sample.document, sample.question, budget=400, max_new_tokens=5, select=row.get("selection", "full")
        )
        assert (row["prediction"], row["prompt_tokens"]) == (answer.text, answer.prompt_tokens)
        assert row["state_bytes"] == pytest.approx(answer.state_bytes, rel=0.35)  # padded within its batch
        if "selection" in row:
            assert row["kept_positions"] == pytest.approx(answer.kept_positions, abs=0.01)
            assert row["loglik"] < 0 and row["kept_positions"] < 0.26 * row["prompt_tokens"]
        else:
            assert "kept_positions" not in row
    logliks = [[row["loglik"] for row in rows[start : start + 4]] for start in (0, 4, 8)]
    assert logliks[0] != logliks[1] != logliks[2]
    twice = [row["read_tokens"] > 1.5 * row["prompt_tokens"] for row in rows]
    assert twice == [False] * 4 + [True] * 4 + [False] * 4


def test_a_stopped_evaluation_goes_on_and_another_selection_is_refused(byte_llama_folder, tmp_path):
    def stop(cell, done, total):
        if cell.endswith(f"400/{SELECT}") and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(config(byte_llama_folder, limit=5, batch=1), None, tmp_path / "cut", progress=stop)
    assert [row.get("selection", "full") for row in Run(tmp_path / "cut").rows()] == ["full"] * 5 + [SELECT] * 4
    with refused(BadInput, naming="selections"):
        evaluate(config(byte_llama_folder, limit=5, batch=1, selections=("full",)), None, tmp_path / "cut")
    whole = evaluate(config(byte_llama_folder, limit=5, batch=1), None, tmp_path / "cut")
    keys = [Cell.key_of(row) for row in whole.rows()]
    assert len(keys) == len(set(keys)) == 15 and whole.header()["config"]["selections"] == ["full", SELECT, WINDOW]


def test_full_alone_leaves_header_and_rows_as_before(byte_llama_folder, run, tmp_path):
    plain = config(byte_llama_folder, selections=("full",), limit=1)
    assert "selections" not in to_dict(plain)
    done = evaluate(plain, None, tmp_path / "run")
    (row,) = done.rows()
    assert not {"selection", "kept_positions"} & set(row) and "selections" not in done.header()["config"]
    assert "selection" not in report(done.folder) and "selection" not in json.dumps(tables(done.folder)["cells"])
    (key, *_) = (Cell.key_of(row) for row in run.rows())
    assert Cell(*key[:-2]).name == f"{byte_llama_folder}/forms-8/once/prompt/head/400"


def test_reports_have_a_column_for_it_and_pair_each_with_the_first(run):
    found = gather([run.folder])
    assert [cell.get("selection", "full") for cell in found["cells"]] == ["full", SELECT, WINDOW]
    differences = [(one["differs"], one["against"], one["selection"]) for one in found["differences"]]
    assert differences == [("selection", "full", SELECT), ("selection", "full", WINDOW)]
    for text in (report(run.folder), merged_report([run.folder])):
        assert "| budget | selection |" in text and f"| {SELECT} - full |" in text
    assert f"| once | {SELECT} | 400 |" in recall_grid([run.folder])
    led = gather([run.folder], SELECT)
    assert {one["against"] for one in led["differences"]} == {SELECT}
    assert f"| full - {SELECT} |" in merged_report([run.folder], SELECT)
    assert source(run.folder).rows[0].keys() < source(run.folder).rows[-1].keys()


@pytest.mark.parametrize(
    ("changes", "kind", "fields"),
    [
        ({"selections": ("rereed(tokens=9)",)}, UnknownName, {"got": "rereed"}),
        ({"selections": ("reread",)}, BadInput, {"got": "reread"}),
        ({"selections": ()}, BadInput, {"got": "none", "naming": "selections"}),
        (
            {"selections": ("full", "window(tokens=9)", "window(heads='global', tokens=9)")},
            BadInput,
            {"naming": "twice"},
        ),
        ({"strategies": ("once", "twice")}, BadInput, {"allowed": containing("once", "twice(cue=False)")}),
        ({"prefill": "iterate"}, BadInput, {"got": "iterate", "allowed": "no_pad"}),
        ({"tasks": ("fda",), "template": "published"}, BadInput, {"got": containing(SELECT), "naming": "published"}),
    ],
)
def test_what_cannot_be_selected_is_refused_before_a_model_is_loaded(changes, kind, fields):
    with refused(kind, **fields):
        config("no such model", **changes).check()


def test_models_with_a_fixed_state_and_tasks_without_questions_leave_no_run(tmp_path, byte_llama_folder):
    import gzip

    with refused(BadInput, naming="fixed size already"):
        evaluate(config("small-causal"), None, tmp_path / "run")
    (tmp_path / "lambada").mkdir()
    with gzip.open(tmp_path / "lambada" / "lambada_openai.jsonl.gz", "wt") as file:
        file.write(json.dumps({"context": "It was a bright cold", "continuation": " day"}) + "\n")
    with refused(BadInput, got="lambada", naming="question"):
        evaluate(config(byte_llama_folder, tasks=("lambada",)), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_takes_several(byte_llama_folder, tmp_path):
    words = ("eval", "--task", "forms-8", "--strategy", "once", "--limit", 1, "--set", "windows=head")
    words += ("--set", "max_new_tokens=2", "--set", "budgets=200", "--out", tmp_path / "run")
    complained(reread(*words, "--model", "small-causal", "--select", SELECT), "fixed size already")
    said = reread(*words, "--model", byte_llama_folder, "--select", f"full, window(tokens=20, heads=equal), {SELECT}")
    assert said.returncode == 0 and "window(heads=equal, tokens=20) - full" in said.stdout, said

"""Evaluation end to end with a tiny model on small files in the benchmarks' formats."""

import gzip
import json
import lzma
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from raising import containing, refused

from reread.engine import Reader
from reread.errors import BadInput, MissingData, UnknownName
from reread.evaluate import EXAMPLES, EvalConfig, choose, evaluate, examples_for, prompt_for, shown_facts
from reread.prompting import Sample
from reread.report import report
from reread.runlog import Run
from reread.tasks.recall import task


@pytest.fixture
def data(tmp_path):
    (tmp_path / "fda_510k").mkdir()
    (tmp_path / "squad_v2").mkdir()
    table = {}
    with lzma.open(tmp_path / "fda_510k" / "dev_docs.jsonl.xz", "wt") as file:
        for i in range(6):
            text = "filler words here. " * 40 + f"A. Applicant: Company {i}\nB. Product code: X{i}\n" + "more. " * 90
            file.write(json.dumps({"file_name": f"K{i}_REVIEW.md", "panel": "p", "text": text}) + "\n")
            table[f"K{i}_REVIEW.md"] = {"applicant": f"Company {i}", "product_code": f"X{i}"}
    (tmp_path / "fda_510k" / "dev_table.json").write_text(json.dumps(table))
    qas = [{"id": str(i), "question": f"Which {i}?", "answers": [{"text": "blue"}]} for i in range(5)]
    with gzip.open(tmp_path / "squad_v2" / "dev-v2.0.json.gz", "wt") as file:
        json.dump({"data": [{"paragraphs": [{"context": "The sky is blue.", "qas": qas}]}]}, file)
    return tmp_path


@pytest.fixture
def model(model_folder):
    return model_folder


def config(model, **changes):
    base = {"models": (model,), "tasks": ("fda", "squad"), "budgets": (64,), "batch": 3, "max_new_tokens": 4}
    return EvalConfig(**{**base, **changes})


def test_every_cell_gets_every_sample_once(data, model, tmp_path):
    run = evaluate(config(model), data, tmp_path / "run")
    rows = list(run.rows())
    assert len(rows) == 2 * (12 + 5) == run.summary()["rows"]
    assert len({(r["task"], r["strategy"], r["id"], r["question"]) for r in rows}) == len(rows)
    assert all(r["in_document"] == 1.0 for r in rows)
    assert len({r["document"] for r in rows}) == 7
    twice = {r["id"]: r["prompt_tokens"] for r in rows if r["strategy"] == "twice"}
    assert all(r["prompt_tokens"] < twice[r["id"]] for r in rows if r["strategy"] == "once")
    assert "| tiny | fda | once | answer_centered | 64 | field | 12 |" in report(run.folder)


def test_a_stopped_evaluation_goes_on_and_repeats_nothing(data, model, tmp_path):
    told = []

    def stop(cell, done, total):
        told.append((done, total))
        if cell.endswith("fda/twice/prompt/answer_centered/64") and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(config(model, batch=1), data, tmp_path / "cut", progress=stop)
    assert told == [(0, 12), (4, 12), (8, 12), (12, 12), (0, 12), (4, 12)]
    assert len(list(Run(tmp_path / "cut").rows())) == 16
    with refused(BadInput, got=tmp_path / "cut", naming="done.json"):
        report(tmp_path / "cut")
    key = ("task", "strategy", "id", "question", "prediction")
    cut = [tuple(r[k] for k in key) for r in evaluate(config(model, batch=1), data, tmp_path / "cut").rows()]
    whole = [tuple(r[k] for k in key) for r in evaluate(config(model, batch=1), data, tmp_path / "whole").rows()]
    assert cut == whole


def test_a_window_that_looks_at_the_answer_and_one_that_does_not(data, model, tmp_path):
    rows = list(evaluate(config(model, windows=("head",), tasks=("fda",)), data, tmp_path / "run").rows())
    assert all(r["in_document"] == 0.0 and r["dropped_tokens"] > 0 for r in rows)


def test_the_drawn_samples_depend_on_the_seed_alone():
    samples = list(range(100))
    assert choose(samples, 10, 0) == choose(samples, 10, 0) != choose(samples, 10, 1)
    assert choose(samples, 0, 0) == choose(samples, 200, 0) == samples


@pytest.mark.parametrize("change", [{"strategies": ("tvice",)}, {"windows": ("heat",)}, {"tasks": ("fd",)}])
def test_unknown_names_are_refused_before_anything_is_loaded(change, tmp_path):
    with pytest.raises(UnknownName):
        evaluate(config("no such model", **change), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_files_leave_no_run_folder(model, tmp_path):
    with pytest.raises(MissingData):
        evaluate(config(model), tmp_path / "none", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change, fields",
    [
        ({"strategies": ("once", "once")}, {"got": "once, once", "naming": "strategies"}),
        ({"tasks": ()}, {"got": "none", "naming": "tasks"}),
        ({"models": ("runs/m", "./runs/m/")}, {"got": "runs/m, ./runs/m/", "naming": "model"}),
    ],
)
def test_a_cell_named_twice_or_not_at_all_is_refused(change, fields, tmp_path):
    with refused(BadInput, **fields):
        evaluate(config("embedded", **change), tmp_path, tmp_path / "run")


def test_a_budget_of_the_whole_prompt_is_kept_and_used_up(data, model, tmp_path):
    names = ("once", "twice", "repeat(n=3)", "selective(k=1, by=entropy)", "oprm(unit=window(16))")
    settings = config(model, tasks=("fda",), strategies=names, budgets=(90,), budget_of="prompt", limit=2)
    rows = list(evaluate(settings, data, tmp_path / "run").rows())
    assert len(rows) == 2 * len(names) and all(row["prompt_tokens"] <= 90 for row in rows)
    assert all(row["prompt_tokens"] > 80 for row in rows if row["strategy"] in names[:3])
    kept = {row["strategy"]: row["document_tokens"] for row in rows}
    assert kept["once"] > 1.7 * kept["twice"] > 2.2 * kept["repeat(n=3)"] > 0
    asked = [row for row in rows if row["strategy"].startswith(("selective", "oprm"))]
    assert all(row["read_tokens"] > row["prompt_tokens"] for row in asked)
    with refused(BadInput, got=2, naming="budget"):
        evaluate(config(model, tasks=("fda",), budgets=(2,), budget_of="prompt"), data, tmp_path / "none")


def test_published_layouts_are_asked_for_by_name(data, model, tmp_path):
    rows = list(evaluate(config(model, tasks=("fda",), template="published", limit=1), data, tmp_path / "run").rows())
    assert [row["template"] for row in rows] == ["published"] * 2
    with refused(BadInput, got="cqcq", naming="published"):
        config(model, tasks=("fda",), template="published", strategies=("cqcq",)).check()
    with refused(BadInput, got="forms-8", naming="published"):
        config(model, tasks=("forms-8",), template="published").check()


def test_a_row_says_where_the_answer_stands_and_how_likely_it_is(data, model, tmp_path):
    rows = list(evaluate(config(model, strategies=("once",)), data, tmp_path / "run").rows())
    assert all(0 <= row["position"] <= 1 and row["loglik"] < 0 and row["peak_bytes"] > 1e6 for row in rows)
    assert {row["exact"] for row in rows} <= {0.0, 1.0}
    without = evaluate(config(model, strategies=("once",), loglik=False), data, tmp_path / "without").rows()
    assert {row["loglik"] for row in without} == {None}


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (("once", "selective(by=bm52)"), {"kind": UnknownName, "got": "bm52", "todo": containing("bm25")}),
        (("selective(unit=sentense)",), {"kind": UnknownName, "got": "sentense", "todo": containing("sentence")}),
        (("oprm(times=3)",), {"kind": BadInput, "got": 3, "naming": "twice"}),
        (("repeat(n=3)", "repeat( n = 3 )"), {"kind": BadInput, "got": "repeat(n=3), repeat(n=3)"}),
    ],
)
def test_strategies_are_tried_before_anything_is_loaded(names, fields):
    with refused(**fields):
        EvalConfig(tasks=("fda",), strategies=names).check()


def test_units_scored_on_the_way_to_a_budget_are_not_counted(data, model, tmp_path):
    settings = {"tasks": ("fda",), "strategies": ("selective(k=1, by=entropy)",), "limit": 1, "loglik": False}
    (exact,) = evaluate(config(model, budgets=(90,), budget_of="prompt", **settings), data, tmp_path / "exact").rows()
    again = config(model, budgets=(exact["document_tokens"],), **settings)
    (plain,) = evaluate(again, data, tmp_path / "plain").rows()
    assert exact["read_tokens"] == plain["read_tokens"] and exact["prompt_tokens"] == plain["prompt_tokens"]


def test_a_row_names_the_window_that_was_used(data, model, tmp_path, monkeypatch):
    from reread.tasks import recall
    from reread.tasks.task import Task

    bare = Task("bare", lambda folder: [Sample("1", "The sky is blue. " * 99, "sky", ("blue",))], "no anchors")
    monkeypatch.setitem(recall.TASKS, "bare", bare)
    rows = list(evaluate(config(model, tasks=("bare", "fda"), strategies=("once",)), data, tmp_path / "run").rows())
    assert {(row["task"], row["window"]) for row in rows} == {("bare", "head"), ("fda", "answer_centered")}


def test_windows_are_cells_and_what_has_no_anchors_is_asked_once(data, model, tmp_path, monkeypatch):
    from reread.tasks import recall
    from reread.tasks.task import Task

    bare = Task("bare", lambda folder: [Sample("1", "The sky is blue. " * 99, "sky", ("blue",))], "no anchors")
    monkeypatch.setitem(recall.TASKS, "bare", bare)
    both = config(model, tasks=("bare", "fda"), strategies=("once",), windows=("answer_centered", "head"), limit=3)
    run = evaluate(both, data, tmp_path / "run")
    rows = list(run.rows())
    assert Counter((row["task"], row["window"]) for row in rows) == {
        ("bare", "head"): 1, ("fda", "answer_centered"): 3, ("fda", "head"): 3,
    }  # fmt: skip
    assert run.summary()["rows"] == 7 and "windows `answer_centered`, `head`" in report(run.folder)


@pytest.mark.slow
def test_memory_is_measured_anew_in_every_cell():
    """In a process of its own, since what others have freed may be taken again."""
    code = """
import sys
from reread.evaluate import forget_peak, peak_bytes
forget_peak()
before = peak_bytes()
large = bytearray(200 * 2**20)
large[::4096] = b"x" * len(large[::4096])
high = peak_bytes()
del large
forget_peak()
print(before, high, peak_bytes())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, high, after = map(int, done.stdout.split())
    assert high - before > 150 * 2**20
    assert high - after > 150 * 2**20 or not sys.platform.startswith("linux")


def test_layouts_that_need_statements_refuse_questions():
    with refused(BadInput, got="squad", allowed="hub/squad"):
        EvalConfig(tasks=("squad",), template="published").check()


def test_policies_are_a_dimension_of_the_grid(data, model, tmp_path):
    names = ("prompt", "none", "share(r=0.5)", "entropy(of=model, thresholds=0.5)")
    settings = config(model, tasks=("fda",), strategies=("once",), policies=names, limit=4)
    rows = list(evaluate(settings, data, tmp_path / "run").rows())
    assert Counter(row["policy"] for row in rows) == {
        "prompt": 4, "none": 4, "share(r=0.5)": 4, "entropy(of=model, thresholds='0.5')": 4,
    }  # fmt: skip
    by = {(row["policy"], row["id"]): row for row in rows}
    for row in rows:
        whole = by["prompt", row["id"]]
        assert whole["prefix_len"] == whole["prompt_tokens"] == row["prompt_tokens"]
        if row["policy"] == "none":
            assert row["prefix_len"] == 0
        if row["policy"].startswith("entropy"):
            assert row["read_tokens"] == row["prompt_tokens"] + min(128, row["prompt_tokens"])
    text = report(tmp_path / "run")
    assert "| policy |" in text and "none - prompt" in text and "prefixes `prompt`, `none`" in text


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"policies": ("half",)}, {"kind": UnknownName, "got": "half", "naming": "policy"}),
        ({"policies": ("all", "prompt")}, {"got": "prompt, prompt", "naming": "policy"}),
        ({"policies": ()}, {"got": "none", "naming": "policies"}),
        ({"policies": ("none",), "prefill": "iterate"}, {"got": "none", "naming": "iterate"}),
        ({"policies": ("share(r=0.5)",), "prefill": "left_pad"}, {"got": "share(r=0.5)", "naming": "left_pad"}),
        ({"policies": ("none",), "prefill": "read_twice"}, {"got": "none", "naming": "read_twice"}),
        ({"policies": ("document",), "template": "published"}, {"got": containing("published"), "naming": "question"}),
    ],
)
def test_policies_that_cannot_be_are_refused_before_anything_is_read(model, changes, fields):
    with refused(**{"kind": BadInput, **fields}):
        config(model, tasks=("fda",), **changes).check()


def test_no_example_is_of_the_samples_own_document():
    pool = [Sample(f"a{i}", "one text", f"field {i}", ("x",)) for i in range(5)]
    pool += [Sample(f"b{i}", "another text", f"field {i}", ("y",)) for i in range(2)]
    for sample in pool:
        for seed in range(5):
            (example,) = examples_for(sample, pool, seed)
            assert example.document != sample.document


def test_the_gold_answer_is_scored_as_a_model_is_trained_to_write_it(data, model, tmp_path, monkeypatch):
    answer, given = Reader.answer, []

    def spied(reader, prompts, **options):
        given.append((options["golds"], options["stop"]))
        return answer(reader, prompts, **options)

    monkeypatch.setattr(Reader, "answer", spied)
    rows = list(evaluate(config(model, tasks=("fda",), strategies=("once",)), data, tmp_path / "run").rows())
    assert {stop for _, stop in given} == {"\n"}
    assert [gold for golds, _ in given for gold in golds] == [f" {row['answers'][0]}\n" for row in rows]


def test_the_place_of_an_answer_is_that_of_its_first_hit_in_what_is_shown():
    sample = Sample("a", "left out. left out. xx beta alpha beta", "field", ("Alpha", "beta"))
    prompt = SimpleNamespace(cut=SimpleNamespace(text="xx beta alpha beta", kept_tokens=4, dropped_tokens=6))
    facts = shown_facts(sample, prompt)
    assert facts == {"in_document": 1.0, "position": round(3 / 18, 4), "document_tokens": 4, "dropped_tokens": 6}
    assert shown_facts(sample, SimpleNamespace(cut=None))["position"] == round(23 / 38, 4)


def test_the_time_of_choosing_what_to_show_is_time_of_reading(data, model, tmp_path, monkeypatch):
    def slowly(sample, lm, cell, config, score, pool):
        prompt = prompt_for(sample, lm, cell, config, score, pool)
        time.sleep(0.2)
        score.tokens = 7 * sample.answers[0].startswith("Company")
        return prompt

    monkeypatch.setattr("reread.evaluate.prompt_for", slowly)
    changes = {"tasks": ("fda",), "strategies": ("once",), "limit": 6, "loglik": False}
    rows = list(evaluate(config(model, **changes), data, tmp_path / "run").rows())
    chosen = [row for row in rows if row["read_tokens"] == row["prompt_tokens"] + 7]
    assert chosen and len(chosen) < len(rows)
    assert all(row["read_seconds"] >= 0.2 for row in chosen)
    others = [row["read_seconds"] for row in rows if row not in chosen]
    assert min(others) < min(row["read_seconds"] for row in chosen)


def test_few_shot_shows_other_documents_of_the_task_with_their_answers(model_folder, tmp_path):
    pool = task("forms-8").load(tmp_path).samples
    sample = pool[3]
    others = examples_for(sample, pool, 0)
    assert len(others) == EXAMPLES and len({one.document for one in others}) == EXAMPLES
    assert sample.document not in {one.document for one in others} and others == examples_for(sample, pool, 0)
    assert others != examples_for(sample, pool, 1) and others != examples_for(pool[4], pool, 0)
    config = EvalConfig(
        models=(model_folder,),
        tasks=("forms-8",),
        strategies=("few_shot(n=2)", "once"),
        limit=2,
        max_new_tokens=2,
        loglik=False,
    )
    run = evaluate(config, tmp_path, tmp_path / "run")
    tokens = {row["strategy"]: row["prompt_tokens"] for row in run.rows() if row["id"] == next(run.rows())["id"]}
    assert 2 * tokens["once"] < tokens["few_shot(n=2)"] < 5 * tokens["once"]

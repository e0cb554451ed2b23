"""Evaluation end to end with a tiny model on small files in the benchmarks' formats."""

import gzip
import json
import lzma

import pytest

from reread.errors import BadInput, MissingData, UnknownName
from reread.evaluate import EvalConfig, choose, evaluate
from reread.models import load_tokenizer
from reread.report import report


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
def model(tmp_path, tiny_model):
    tokenizer = load_tokenizer()
    tiny_model(vocab_size=tokenizer.get_vocab_size()).save_pretrained(tmp_path / "tiny")
    tokenizer.save(str(tmp_path / "tiny" / "tokenizer.json"))
    return str(tmp_path / "tiny")


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
    assert "| tiny | fda | once | answer_centered | 64 | 12 |" in report(run.folder)


def test_a_stopped_evaluation_goes_on_and_repeats_nothing(data, model, tmp_path):
    def stop(cell, done, total):
        if cell.endswith("fda/twice/64") and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(config(model), data, tmp_path / "cut", progress=stop)
    with pytest.raises(BadInput, match="not whole"):
        report(tmp_path / "cut")
    key = ("task", "strategy", "id", "question", "prediction")
    cut = [tuple(r[k] for k in key) for r in evaluate(config(model), data, tmp_path / "cut").rows()]
    whole = [tuple(r[k] for k in key) for r in evaluate(config(model), data, tmp_path / "whole").rows()]
    assert cut == whole


def test_a_window_that_looks_at_the_answer_and_one_that_does_not(data, model, tmp_path):
    rows = list(evaluate(config(model, window="head", tasks=("fda",)), data, tmp_path / "run").rows())
    assert all(r["in_document"] == 0.0 and r["dropped_tokens"] > 0 for r in rows)


def test_the_drawn_samples_depend_on_the_seed_alone():
    samples = list(range(100))
    assert choose(samples, 10, 0) == choose(samples, 10, 0) != choose(samples, 10, 1)
    assert choose(samples, 0, 0) == choose(samples, 200, 0) == samples


@pytest.mark.parametrize("change", [{"strategies": ("tvice",)}, {"window": "heat"}, {"tasks": ("fd",)}])
def test_unknown_names_are_refused_before_anything_is_loaded(change, tmp_path):
    with pytest.raises(UnknownName):
        evaluate(config("no such model", **change), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_files_leave_no_run_folder(model, tmp_path):
    with pytest.raises(MissingData):
        evaluate(config(model), tmp_path / "none", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change", [{"strategies": ("once", "once")}, {"tasks": ()}, {"models": ("runs/m", "./runs/m/")}]
)
def test_a_cell_named_twice_or_not_at_all_is_refused(change, tmp_path):
    with pytest.raises(BadInput, match="each once"):
        evaluate(config("embedded", **change), tmp_path, tmp_path / "run")

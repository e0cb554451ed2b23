"""The packaged tasks: the published strings, lm-eval offline against the Reader, example by example, and mistakes."""

import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest
from raising import containing, refused

from reread import lm_eval_tasks
from reread.engine import Reader
from reread.errors import BadInput, MissingData, MissingPackage, UnknownName
from reread.models import load
from reread.prompting import Encoded
from reread.tasks.metrics import contains
from reread.tasks.recall import task as benchmark

DATA = os.environ.get("REREAD_DATA")
SUBMISSION = "A. 510(k) Number: K{n}\nB. Applicant: {name} Inc.\nC. Product code: QX{n}\nD. Panel: Chemistry"
ROWS = {
    "fda": [
        {"text": SUBMISSION.format(n=n, name=name) + "\n", "key": key, "value": f" {value}\n", "doc_id": str(n)}
        for n, name in enumerate(("Acme", "Roche Diagnostics", "Ny"), start=83617)
        for key, value in (("applicant", f"{name} Inc"), ("product code", f"QX{n}"), ("panel", "Chemistry"))
    ],
    "swde": [
        {"text": "Casablanca. Director: Michael Curtiz. director:", "key": "director", "value": "Michael Curtiz"},
        {"text": "Alien. Year: 1979 Summary of information above: x", "key": "year", "value": "1979"},
    ],
    "squad": [
        {
            "text": "The sky is blue. The sky has the colour",
            "context": "The sky is blue.",
            "question": "Which colour is the sky?",
            "value": "blue",
        }
    ],
    "nq": [
        {
            "context": "Bern is the capital of Switzerland. ",
            "question": "The capital of Switzerland is",
            "orig_question": "what is the capital of Switzerland:",
            "answers": ["Bern", "City of Bern"],
        }
    ],
    "triviaqa": [
        {
            "context": "[DOC] [TLE] Bern[PAR]Bern is the capital of Switzerland.",
            "question": "The capital of Switzerland is",
            "orig_question": "Which city is the capital of Switzerland?",
            "answers": ["Bern"],
        }
    ],
    "drop": [
        {
            "context": "The home team scored 3 goals in 90 minutes.",
            "question": "The number of goals was",
            "orig_question": "How many goals?",
            "answers": ["3", "three"],
        }
    ],
}
GOLDEN = {  # by hand, from the description of the published code
    ("fda", "once"): SUBMISSION.format(n=83617, name="Acme") + ". Applicant:",
    ("fda", "twice"): "Information about Applicant. {0}.\n{0}. Applicant:".format(
        SUBMISSION.format(n=83617, name="Acme")
    ),
    ("swde", "once"): "Casablanca. Director: Michael Curtiz. Director:",
    ("swde", "twice"): (
        "Information about Director. Casablanca. Director: Michael Curtiz.\n"
        "Casablanca. Director: Michael Curtiz. Director:"
    ),
    ("squad", "once"): "The sky is blue. The sky has the colour",
    ("squad", "twice"): "Which colour is the sky? The sky is blue.\nThe sky is blue. The sky has the colour",
    ("nq", "once"): "Bern is the capital of Switzerland. The capital of Switzerland is",
    ("nq", "twice"): (
        "what is the capital of Switzerland Bern is the capital of Switzerland.\n"
        "Bern is the capital of Switzerland. The capital of Switzerland is"
    ),
    ("triviaqa", "once"): "BernBern is the capital of Switzerland. The capital of Switzerland is",
    ("triviaqa", "twice"): (
        "Which city is the capital of Switzerland? BernBern is the capital of Switzerland.\n"
        "BernBern is the capital of Switzerland. The capital of Switzerland is"
    ),
    ("drop", "once"): "The home team scored 3 goals in 90 minutes. The number of goals was",
    ("drop", "twice"): (
        "How many goals? The home team scored 3 goals in 90 minutes.\n"
        "The home team scored 3 goals in 90 minutes. The number of goals was"
    ),
}


def write(folder, rows):
    for name, some in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path):
    return write(tmp_path, ROWS)


def alone(lm, prompt):
    """What the Reader writes after a prompt, by itself, as published: at most 48 tokens, all of the prompt prefix."""
    ids = lm.tokenizer.encode(prompt, add_special_tokens=False).ids
    return Reader(lm).answer([Encoded(tuple(ids), (("prompt", 0, len(ids)),), len(ids))], max_new_tokens=48)[0].text


def agree(lm, rows):
    for row in rows:
        assert row["prediction"] == alone(lm, row["prompt"])
        assert row["contains"] == contains(row["prediction"], row["answers"])


@pytest.mark.slow
def test_lm_eval_offline_agrees_with_the_reader_example_by_example(data):
    from reread.harness import evaluate, example_rows

    lm = load("embedded")
    results = evaluate(lm, data=data, batch=5)
    rows = example_rows(results)
    names = {f"reread_{name}_{strategy}" for name in ROWS for strategy in ("once", "twice")}
    assert {row["task"] for row in rows} == names == set(results["results"])
    assert len(rows) == 2 * sum(map(len, ROWS.values()))
    agree(lm, rows)
    assert {row["contains"] for row in rows} == {0.0, 1.0}
    for name in names:
        scores = [row["contains"] for row in rows if row["task"] == name]
        assert results["results"][name]["contains,none"] == pytest.approx(sum(scores) / len(scores))
    first = {row["task"]: row["prompt"] for row in rows if row["id"] == 0}
    assert first == {f"reread_{name}_{strategy}": text for (name, strategy), text in GOLDEN.items()}
    sent = [sample["arguments"] for some in results["samples"].values() for sample in some]
    assert {each[0][0] for each in sent} == {row["prompt"] for row in rows}
    assert all(each[0][1] == {"until": ["\n"], "max_gen_toks": 48, "do_sample": False} for each in sent)
    assert results["config"]["fingerprint"] == lm.model.fingerprint


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="REREAD_DATA is not set: the benchmark files are beside the project")
def test_the_same_on_real_510k_summaries_with_a_limit(tmp_path):
    from reread.harness import evaluate, example_rows

    samples = [s for s in benchmark("fda").load(Path(DATA)).samples if s.answers[0] in s.document[:1500]]
    rows = [{"text": s.document[:1500], "key": s.question, "value": s.answers[0]} for s in samples]
    lm = load("embedded")
    tasks = ["reread_fda_once", "reread_fda_twice"]
    got = example_rows(evaluate(lm, tasks, data=write(tmp_path, {"fda": rows}), limit=8, batch=4))
    assert [(row["task"], row["id"]) for row in got] == [(name, i) for name in tasks for i in range(8)]
    agree(lm, got)
    assert {row["contains"] for row in got} == {0.0, 1.0}


@pytest.mark.parametrize(("window", "tokens"), [("head", 0), ("answer_centered", 40)])
def test_reread_eval_and_lm_eval_agree_example_by_example(tmp_path, window, tokens):
    from reread.evaluate import EvalConfig
    from reread.evaluate import evaluate as reread_eval
    from reread.harness import evaluate, example_rows

    (tmp_path / "fda_510k").mkdir()
    rows = [{**row, "text": row["text"].strip(), "value": row["value"].strip()} for row in ROWS["fda"]]
    table: dict = {}
    for row in rows:
        table.setdefault(f"K{row['doc_id']}_REVIEW.md", {})[row["key"].replace(" ", "_")] = row["value"]
    (tmp_path / "fda_510k" / "dev_table.json").write_text(json.dumps(table))
    documents = {f"K{row['doc_id']}_REVIEW.md": row["text"] for row in rows}
    with lzma.open(tmp_path / "fda_510k" / "dev_docs.jsonl.xz", "wt") as file:
        for name, text in documents.items():
            file.write(json.dumps({"file_name": name, "panel": "p", "text": text}) + "\n")
    write(tmp_path, {"fda": rows})
    config = EvalConfig(tasks=("fda",), template="published", windows=(window,), budgets=(tokens or 4096,), batch=5)
    run = reread_eval(config, tmp_path, tmp_path / "run")
    ours = {(row["strategy"], row["id"]): row for row in run.rows()}
    assert (max(row["dropped_tokens"] for row in ours.values()) > 0) == bool(tokens)
    theirs = example_rows(evaluate("embedded", ["reread_fda_once", "reread_fda_twice"], data=tmp_path, tokens=tokens))
    assert len(ours) == len(theirs) == 2 * len(rows)
    for row in theirs:
        key = rows[row["id"]]["key"].replace(" ", "_")
        mine = ours[row["task"].removeprefix("reread_fda_"), f"K{rows[row['id']]['doc_id']}/{key}"]
        assert (row["prediction"], row["contains"]) == (mine["prediction"], mine["contains"])
    assert len({row["prediction"] for row in theirs}) > 5


def test_a_row_as_the_hub_has_it_gives_the_published_string_for_squad_too():
    row = ROWS["squad"][0]
    cloze = row["text"][len(row["context"]) :].strip()
    for strategy in ("once", "twice"):
        by_parts = lm_eval_tasks.published_prompt("squad", strategy, row["context"], cloze, row["question"])
        assert lm_eval_tasks.prompt("squad", strategy, row) == by_parts


def test_the_hub_set_is_read_where_no_folder_is_given(monkeypatch):
    import datasets

    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return datasets.Dataset.from_list(ROWS["nq"])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    from reread.harness import evaluate, example_rows

    [row] = example_rows(evaluate("small-causal", ["reread_nq_twice"]))
    assert asked == [("hazyresearch/based_nq_1024", "validation")]
    assert row["prompt"] == GOLDEN["nq", "twice"]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("no way")))
    with refused(MissingData, naming=("hub", "hazyresearch/based_nq_1024", "no way")):
        evaluate("small-causal", ["reread_nq_twice"])


def test_answers_are_stripped_and_rows_without_one_are_counted(caplog):
    rows = [{"text": "A.", "key": "k", "value": value} for value in (" x \n", "", " ")]
    made = lm_eval_tasks.examples("fda", "once", rows, "here")
    assert [(each["id"], each["answers"]) for each in made] == [(0, ["x"])]
    assert "here: 2 rows without an answer are left out" in caplog.text
    assert lm_eval_tasks.score({"answers": ["K12(a)"]}, ["it is k12(A) indeed"]) == {"contains": 1.0}
    assert lm_eval_tasks.score({"answers": ["K12(a)"]}, ["it is k12a"]) == {"contains": 0.0}
    with refused(BadInput, got="here", naming="answer"):
        lm_eval_tasks.examples("fda", "once", rows[1:], "here")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"text": "a", "key": "k"}', {"got": "no text in value", "naming": ("row 1", "fda.jsonl")}),
        ("[1]", {"got": "list", "naming": "fda.jsonl, line 1"}),
        ('\n{"text": ', {"got": containing("line 1 column 10"), "naming": ("fda.jsonl, line 2", "JSON")}),
    ],
)
def test_broken_files_are_named_with_the_place(tmp_path, text, fields):
    from reread.harness import evaluate

    (tmp_path / "fda.jsonl").write_text(text)
    with refused(BadInput, **fields):
        evaluate("small-causal", ["reread_fda_once"], data=tmp_path)


def test_missing_things_are_said_in_a_sentence(data):
    from reread.harness import evaluate

    with refused(UnknownName, got="reread_fda_onc", todo=containing("reread_fda_once")):
        evaluate("embedded", ["reread_fda_onc"], data=data)
    with refused(MissingData, got=data / "none"):
        evaluate("embedded", ["reread_fda_once"], data=data / "none")
    (data / "fda.jsonl").unlink()
    with refused(MissingData, got=data / "fda.jsonl"):
        evaluate("small-causal", ["reread_fda_once"], data=data)
    with refused(UnknownName, got="embeded", naming="model"):
        evaluate("embeded", ["reread_nq_once"], data=data)


def test_without_lm_eval_the_way_to_install_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "reread.harness", raising=False)
    with refused(MissingPackage, naming="lm_eval", todo=containing("reread[lm-eval]")):
        import reread.harness  # noqa: F401


def test_the_model_is_known_to_lm_eval_by_name():
    import lm_eval.api.registry

    from reread.harness import RereadLM

    made = lm_eval.api.registry.get_model("reread")
    lm = made.create_from_arg_string("pretrained=small-causal,policy=none,max_length=300", {"batch_size": 3})
    assert made is RereadLM
    assert (lm.lm.name, str(lm.policy), lm.max_length, lm.batch_size) == ("small-causal", "none", 300, 3)


@pytest.mark.slow
def test_lm_evals_own_command_runs_our_tasks(data, tmp_path):
    """Takes half a minute: the command looks through all of lm-eval's own tasks."""
    words = ["run", "--model", "reread", "--model_args", "pretrained=small-causal", "--tasks", "reread_drop_once"]
    more = ["--metadata", json.dumps({"data": str(data)}), "--output_path", str(tmp_path / "out")]
    run = [sys.executable, "-m", "reread.harness", *words]
    done = subprocess.run([*run, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "reread_drop_once" in done.stdout
    [found] = (tmp_path / "out").rglob("results_*.json")
    assert json.loads(found.read_text())["results"]["reread_drop_once"]["sample_len"] == 1
    (data / "drop.jsonl").unlink()
    done = subprocess.run([*run, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "drop.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cut_needs_a_tokenizer():
    with refused(BadInput, got="none", naming="tokenizer"):
        lm_eval_tasks.load("fda", "once", "hub", data="folder", tokens=950)

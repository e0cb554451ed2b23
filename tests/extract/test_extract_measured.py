"""What extraction is worth is measured on what the runs say: documents asked, answers removed, tables, thresholds."""

import json
import re
from pathlib import Path

import pytest
from raising import containing, refused

from reread import extract_bench
from reread.calibration import ASSET, calibrations
from reread.documents.loaders import document_files
from reread.engine import Reader
from reread.errors import BadInput
from reread.extract import ExtractConfig, Extractor, extract
from reread.extract_bench import ConfidenceBench, FieldsBench, documents_asked, fit_threshold, pairs, without_answer
from reread.fields import read_fields
from reread.models import load
from reread.prompting import Cut, Sample
from reread.report import report, tables
from reread.runlog import Run
from reread.tasks.metrics import contains
from reread.tasks.task import Loaded, Task

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "results" / "extract"
THRESHOLD = next(one["threshold"] for one in calibrations(ASSET) if one["reading"] == "shared")


def show(text):
    return Cut(text[:60], "head", 0, 60, 12, 12)


def samples(n=6):
    found = []
    for i in range(n):
        pairs_ = {f"Label {k}": f"value{k}{i}" for k in range(4)}
        text = "\n".join(f"{label}: {value}" for label, value in pairs_.items()) + f"\nlate: far{i}"
        found += [
            Sample(f"{i}/{label}", text, label, (value,)) for label, value in {**pairs_, "late": f"far{i}"}.items()
        ]
    return found


def test_documents_are_asked_their_known_fields_first_in_an_order_of_their_own():
    more = Sample("z/x", "nothing known here", "Unknown", ("nothing",))
    asked = documents_asked([*samples(), more], show, FieldsBench(counts=(1, 5), least=3, documents=0))
    assert len(asked) == 6
    for one in asked:
        known = [question for question, golds in one.questions if golds]
        assert set(known) <= {f"Label {k}" for k in range(4)} and len(known) >= 3
        assert [bool(golds) for _, golds in one.questions] == [True] * len(known) + [False] * (
            len(one.questions) - len(known)
        )
        assert all(contains(one.shown.text, golds) for _, golds in one.questions if golds)
        assert "late" not in known and len({question for question, _ in one.questions}) == len(one.questions)
    assert len({tuple(question for question, _ in one.questions) for one in asked}) > 1
    assert documents_asked(samples(), show, FieldsBench(least=5, documents=0)) == []


def test_the_lines_that_hold_an_answer_are_removed_and_no_others():
    text = "Applicant: Roche\nsigned by ROCHE, Basel\nCode: DEW\n\nroc he"
    assert without_answer(text, ("Roche", "Novartis")) == "Code: DEW\n\nroc he"
    wanted = [Sample("1", text, "Applicant", ("Roche",)), Sample("2", text, "Code", ("DEW\n\nroc",))]
    ((sample, whole, removed),) = pairs(wanted, show)
    assert sample.id == "1" and whole.text == text and removed.text == "Code: DEW\n\nroc he"


@pytest.fixture
def task_of(monkeypatch):
    one = Task("made", lambda data: samples(), "made", needs_data=False)
    monkeypatch.setattr(extract_bench, "task", lambda name: one)
    assert isinstance(one.load(Path()), Loaded)


def test_a_run_of_fields_counts_what_was_read_and_goes_on_after_a_stop(task_of, model_folder, tmp_path):
    config = FieldsBench(model_folder, "made", ("shared", "schema", "each"), (1, 3), 3, documents=2, budget=64)
    run = extract_bench.measure_fields(config, Path(), tmp_path / "run")
    rows = list(run.rows())
    assert len(rows) == 2 * 3 * 2 and {len(row["answers"]) for row in rows} == {1, 3}
    by = {(row["reading"], row["fields"], row["document"]): row for row in rows}
    for document in {row["document"] for row in rows}:
        one = [by[name, n, document] for name in ("shared", "each") for n in (1, 3)]
        assert [a["prediction"] for a in one[0]["answers"]] == [a["prediction"] for a in one[1]["answers"][:1]]
        assert one[0]["answers"] == one[1]["answers"][:1] and one[2]["answers"] == one[3]["answers"][:1]
        tokens = {key[:2]: row["tokens_read"] for key, row in by.items() if key[2] == document}
        length = one[0]["document_tokens"]
        assert tokens["shared", 3] - tokens["shared", 1] < length < tokens["shared", 1] < 2 * length
        assert tokens["each", 3] > 2.5 * tokens["each", 1] > 2.5 * 2 * length
        assert 2 * length < tokens["schema", 1] < tokens["schema", 3] < 4 * length
    (tmp_path / "run" / "done.json").unlink()
    lines = (tmp_path / "run" / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "rows.jsonl").write_text("".join(lines[:5]) + lines[5][:9])
    again = list(extract_bench.measure_fields(config, Path(), tmp_path / "run").rows())
    strip = [{**row, "seconds": 0} for row in rows]
    assert sorted(map(json.dumps, ({**row, "seconds": 0} for row in again))) == sorted(map(json.dumps, strip))
    cells = {(c["reading"], c["fields"]): c for c in tables(tmp_path / "run")["extractions"]}
    cell = cells["schema", 3]
    want = sum(row["tokens_read"] for row in rows if (row["reading"], row["fields"]) == ("schema", 3)) / 6
    assert (
        cell["tokens per field"] == pytest.approx(want) and cell["n"] == 6 and cells["each", 3]["against each"] is None
    )
    assert "| schema | 3 | 2 | 6 |" in report(tmp_path / "run")
    with refused(BadInput, got=(4, 1), allowed=containing("1, 2, 4")):
        FieldsBench(counts=(4, 1)).check()
    with refused(BadInput, got=9, naming="fields"):
        extract_bench.measure_fields(FieldsBench(model_folder, "made", least=9), Path(), tmp_path / "other")


def test_a_run_of_confidence_judges_both_documents(task_of, model_folder, tmp_path):
    config = ConfidenceBench(model_folder, "made", limit=7)
    run = extract_bench.measure_confidence(config, Path(), tmp_path / "run")
    rows = list(run.rows())
    assert len(rows) == 14 and sum(row["present"] for row in rows) == 7
    assert not any(row["right"] for row in rows if not row["present"])
    with refused(BadInput, got="0 of 6", allowed=containing("10")):
        fit_threshold(run)  # an untrained model is never right
    (tmp_path / "made").mkdir()
    made = Run.start(tmp_path / "made" / "run", "extract_confidence", run.header()["config"])
    for i in range(80):
        row = rows[i % len(rows)]
        made.append(
            {**row, "document": f"d{i // 4}", "right": row["present"], "confidence": 0.6 + 0.2 * row["present"]}
        )
    made.finish({"rows": 80})
    found = fit_threshold(made)
    assert found["threshold"] == pytest.approx(0.7) and found["held out"]["auroc"]["right"]["mean"] == 1.0
    assert found["fitted on"] == {"documents": 10, "answers": 40, "right": 20} and found["held out"]["present"] == 20
    few = Run.start(tmp_path / "made" / "few", "extract_confidence", run.header()["config"])
    for row in made.rows():
        few.append({**row, "right": row["right"] and int(row["document"][1:]) < 8})
    with refused(BadInput, got="8 of 40", allowed=containing("10")):
        fit_threshold(few)


RUNS = sorted(path.parent for path in FOLDER.rglob("header.json"))


def test_every_run_has_its_table_in_docs():
    """That the tables are those of the runs, tests/test_results.py says."""
    text = (ROOT / "docs" / "extract.md").read_text(encoding="utf-8")
    assert {folder.name for folder in RUNS} >= {"confidence_aside", "confidence_fda", "fields_fda"}
    assert [folder.name for folder in RUNS if f"<!-- made: run results/extract/{folder.name} -->" not in text] == []


def test_the_scores_of_the_rows_are_those_of_their_predictions():
    for folder in RUNS:
        for row in Run(folder).rows():
            for one in row["answers"] if folder.name.startswith("fields") else ():
                want = contains(one["prediction"], one["answers"]) if one["answers"] else None
                assert one["contains"] == want
            if "present" in row:
                assert row["right"] == bool(row["present"] and contains(row["prediction"], row["answers"]))


@pytest.mark.slow
def test_the_packages_threshold_is_the_one_fitted_on_its_run():
    runs = ("confidence_aside", "confidence_aside_1024", "confidence_selective")
    assert [fit_threshold(Run(FOLDER / name)) for name in runs] == calibrations(ASSET)


@pytest.mark.slow
def test_intervals_in_sentences_are_of_tables_and_of_the_fitted_threshold():
    text = (ROOT / "docs" / "extract.md").read_text(encoding="utf-8")
    interval = re.compile(r"-?\d+\.\d+ \[-?\d+\.\d+, -?\d+\.\d+\]")
    areas = [area for one in calibrations(ASSET) for area in one["held out"]["auroc"].values()]
    made = re.compile(r"<!-- made: .*?<!-- end -->", re.DOTALL)  # compared with their runs in tests/test_results.py
    known = "".join([*made.findall(text), *(f"{a['mean']:.3f} [{a['low']:.3f}, {a['high']:.3f}]" for a in areas)])
    told = interval.findall(made.sub("", text))
    assert told and [one for one in told if one not in known] == []


def test_the_walk_in_docs_is_what_the_command_says(tmp_path, monkeypatch):
    """All of the row but the time, and the code."""
    text = (ROOT / "docs" / "extract.md").read_text(encoding="utf-8")
    row = json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0])
    monkeypatch.chdir(ROOT)
    fields = read_fields("examples/fields.json")
    extractor = Extractor(Reader(load("embedded")), fields, ExtractConfig())
    rows = extract(extractor, list(document_files(["examples"])), tmp_path / "r.jsonl", threshold=THRESHOLD)
    got = next(one for one in rows if one["document"] == row["document"])
    for one in (got, row):
        one["seconds"] = 0
        for value in one["fields"].values():
            value["confidence"] = round(value["confidence"], 2)
    assert got == row and (ROOT / "examples" / "fields.json").read_text().strip() in text
    assert f"not found below {THRESHOLD:g}" in text
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_bytes((ROOT / "examples" / "form.txt").read_bytes())
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(code, found)
    assert found["rows"][0]["fields"]["Product code"]["value"] == "JMG" and (tmp_path / "rows.csv").exists()

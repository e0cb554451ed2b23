"""reader-bench: what is asked, the run and its resume, the measures, the calibration, single answers."""

import gzip
import json
import lzma
from dataclasses import replace
from pathlib import Path

import pytest
from in_process import complained, reread
from marks import needs_reader
from raising import containing, refused

from reread.config import build, read_toml, to_dict
from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.models import load, load_tokenizer
from reread.models.lora import MANIFEST, Manifest, read_manifest
from reread.prompting import cut
from reread.reader_bench import (
    ModelAnswers,
    ReaderBench,
    System,
    calibrate,
    line_value,
    measure_readers,
    template_of,
)
from reread.reader_sets import SETS, Document, Question, ReaderSet, Sampling, shown_documents
from reread.report import report, tables
from reread.report.reader import READER_FIELDS, answers_of, calibration_of
from reread.runlog import Run
from reread.tasks.metrics import contains
from reread.training.episodes import normal

ROOT = Path(__file__).parents[1]
OFFICE = ROOT / "data" / "office"
LABELS = ("applicant", "product_code", "panel", "measurand")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """FDA documents of 40 lines, each with three of four fields in the first half; SQuAD v2 paragraphs with questions
    of both kinds."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("fda_510k", "squad_v2"):
        (folder / name).mkdir()
    docs, table = [], {}
    for i in range(8):
        own = {label: f"{label[:3]}{i}{i}" for k, label in enumerate(LABELS) if k != i % 4}
        lines = [f"Nothing is said in line {n} of the document number {i}." for n in range(40)]
        for k, (label, value) in enumerate(own.items()):
            lines[12 + k] = f"{label.replace('_', ' ').capitalize()}: {value}"
        docs.append({"file_name": f"K{i}_REVIEW.md", "text": "\n".join(lines)})
        table[f"K{i}_REVIEW.md"] = own
    with lzma.open(folder / "fda_510k" / "dev_docs.jsonl.xz", "wt") as file:
        file.writelines(json.dumps(one) + "\n" for one in docs)
    (folder / "fda_510k" / "dev_table.json").write_text(json.dumps(table))
    paragraphs = [
        {
            "context": f"Item {i} is red. It was bought in shop {i * 7}.",
            "qas": [
                {"id": f"{i}a", "question": f"What colour is item {i}?", "answers": [{"text": "red"}]},
                {"id": f"{i}b", "question": "Who sold it?", "answers": [], "is_impossible": True},
            ],
        }
        for i in range(6)
    ]
    with gzip.open(folder / "squad_v2" / "dev-v2.0.json.gz", "wt") as file:
        json.dump({"data": [{"title": "t", "paragraphs": paragraphs}]}, file)
    return folder


def shown(name, data, **changes):
    words = load_tokenizer()
    return shown_documents(name, data, OFFICE, Sampling(**{"budgets": (80, 160), "together": 2, **changes}), words)


# what is asked ------------------------------------------------------------------------------------------------------


def test_the_same_fields_are_asked_in_every_window_and_absent_ones_are_not_shown(data):
    found = shown("fda", data, answerable=9)
    table = json.loads((data / "fda_510k" / "dev_table.json").read_text())
    values = [value for own in table.values() for value in own.values()]
    by_window = {}
    for one in found:
        asked = [question for question in one.questions if question.answers]
        by_window.setdefault((one.window, one.budget), []).append((one.document, asked))
        assert one.cut.kept_tokens <= one.budget and 1 <= len(asked) <= 2
        if one.window == "answer_centered":
            assert all(contains(one.cut.text, question.answers) for question in asked)
        for question in one.questions:
            assert question.kind == "field"
            if not question.answers:
                assert normal(question.ask) not in normal(one.cut.text)
        assert sum(value in one.cut.text for value in values) <= 3
    assert set(by_window) == {(w, b) for w in ("answer_centered", "head") for b in (80, 160)}
    first, *others = by_window.values()
    assert all(other == first for other in others) and sum(len(asked) for _, asked in first) == 9
    assert any(
        not contains(o.cut.text, q.answers) for o in found if o.window == "head" for q in o.questions if q.answers
    )
    assert sum(not q.answers for o in found for q in o.questions) > 0


def test_a_set_with_its_own_absent_questions_asks_as_many_of_each_as_wanted(data):
    found = shown("squad-v2", data, answerable=5, absent=3)
    asked = [question for one in found for question in one.questions]
    assert [sum(bool(q.answers) is kind for q in asked) for kind in (True, False)] == [5, 3]
    assert {one.budget for one in found} == {Sampling().longest} and {q.kind for q in asked} == {"question"}
    assert found == shown("squad-v2", data, answerable=5, absent=3)
    other = shown("squad-v2", data, answerable=5, absent=3, seed=1)
    assert [one.document for one in found] != [one.document for one in other]
    assert len(shown("squad-v2", data, documents=2)) == 2


def test_office_sets_are_the_documents_of_their_split_with_every_question():
    rows = [json.loads(line) for line in (OFFICE / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    for split in ("dev", "test"):
        found = shown(f"office-{split}", Path())
        assert {q.id for one in found for q in one.questions} == {row["id"] for row in rows if row["split"] == split}
        assert sum(one.cut.dropped_tokens for one in found) == 0
    asked = {q.id: q for one in found for q in one.questions}
    for row in rows:
        if row["split"] == "test":
            assert (asked[row["id"]].kind, list(asked[row["id"]].answers)) == (row["type"], row["answers"])


# answers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a\nDue: 8 June\nDue: 9 June", "8 June"),
        ("DUE . . 8 June  \n", "8 June"),
        ("Amount due: 5", "not found"),
        ("Duement: 5", "not found"),
        ("due\n5", "not found"),
    ],
)
def test_the_regular_expression_takes_the_first_line_that_begins_with_the_label(text, value):
    assert line_value(text, "Due") == value


def causal_lm(tmp_path, tiny_model):
    words = load_tokenizer()
    folder = tmp_path / "causal"
    tiny_model(vocab_size=words.get_vocab_size(), prefix_encoder=False).save_pretrained(folder)
    words.save(str(folder / "tokenizer.json"))
    return load(folder)


def test_answers_after_one_reading_are_those_of_prompts_of_their_own(tmp_path, tiny_model, data):
    lm = causal_lm(tmp_path, tiny_model)
    one = shown("fda", data)[0]
    answers = ModelAnswers(System("tiny"), Reader(lm), 8)
    assert answers.later and not ModelAnswers(System("tiny", strategy="twice"), Reader(lm), 8).later
    forms = [template_of(lm, System("tiny"), question) for question in one.questions]
    (shared,), alone = answers.shared([one], [forms]), answers.alone(one, forms)
    assert [a.text for a in shared] == [a.text for a in alone] and len(shared) == len(one.questions) > 1
    assert [a.logprob for a in shared] == pytest.approx([a.logprob for a in alone], abs=1e-4)
    assert sum(a.read_tokens for a in shared) < 2 * one.cut.kept_tokens


def test_the_template_is_the_named_one_then_the_manifests_then_the_kind_of_question(tmp_path, tiny_model):
    lm, (field, question) = (
        causal_lm(tmp_path, tiny_model),
        (Question("1", "field", "Due"), Question("2", "question", "Who?")),
    )
    assert [template_of(lm, System("m"), one).name for one in (field, question)] == ["field", "question"]
    tuned = replace(lm, manifest=Manifest(template="reader"))
    assert [template_of(tuned, System("m"), one).name for one in (field, question)] == ["reader", "reader"]
    assert template_of(tuned, System("m", template="cloze"), field).name == "cloze"


# the run ------------------------------------------------------------------------------------------------------------


def bench(model, **changes):
    sampling = Sampling(answerable=6, absent=4, together=2, budgets=(80,), documents=3)
    sets = ("fda", "squad-v2")
    systems = (System(model), System("regex"))
    settings = {"sampling": sampling, "sets": sets, "systems": systems, "tokenizer": "embedded", "max_new_tokens": 6}
    return ReaderBench(**{**settings, **changes})


def test_a_run_asks_every_system_the_same_and_resumes_after_a_stop(model_folder, data, tmp_path):
    config, told = bench(model_folder), []
    run = measure_readers(config, data, tmp_path / "run", progress=lambda *now: told.append(now))
    rows = list(run.rows())
    assert all(set(READER_FIELDS) < set(row) for row in rows) and run.summary()["rows"] == len(rows)
    asked = {
        name: [(r["set"], r["window"], r["id"]) for r in rows if r["system"] == name]
        for name in (model_folder, "regex")
    }
    assert [one for one in asked[model_folder] if one[0] == "fda"] == asked["regex"]
    assert {kind for kind, _, _ in asked[model_folder]} == {"fda", "squad-v2"}
    for row in rows:
        assert row["shown"] <= bool(row["answers"]) <= (row["shown"] or row["window"] == "head")
        if row["system"] == "regex" and row["shown"]:
            assert contains(row["prediction"], row["answers"])
    assert told[-1][1:] == (6, 6) and {one[0] for one in told} >= {f"{model_folder} squad-v2", "regex fda"}
    (tmp_path / "run" / "done.json").unlink()
    lines = (tmp_path / "run" / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "rows.jsonl").write_text("".join(lines[:4]) + lines[4][:9])
    again = list(measure_readers(config, data, tmp_path / "run").rows())
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in rows]


def test_a_run_does_not_go_on_with_another_model_of_that_name(model_folder, data, tmp_path, tiny_model):
    config = bench(model_folder, systems=(System(model_folder),))
    run = measure_readers(config, data, tmp_path / "run")
    (tmp_path / "run" / "done.json").unlink()
    before = next(run.rows())["fingerprint"]
    tiny_model(vocab_size=load_tokenizer().get_vocab_size(), initializer_range=0.3).save_pretrained(model_folder)
    with refused(BadInput, got=lambda got: got != before, allowed=before):
        measure_readers(config, data, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "kind", "got"),
    [
        ({"sets": ("office",)}, UnknownName, "office"),
        ({"sets": ("fda", "fda")}, BadInput, "fda, fda"),
        ({"systems": ()}, BadInput, "none"),
        ({"systems": (System("regex"), System("regex", "a"))}, BadInput, "regex; regex"),
        ({"systems": (System("embeded"),)}, UnknownName, "embeded"),
        ({"systems": (System("small-jrt", adapter="nowhere"),)}, BadInput, "small-jrt"),
        ({"systems": (System("small-jrt", strategy="twise"),)}, UnknownName, "twise"),
        ({"systems": (System("small-jrt", template="chat"),)}, UnknownName, "chat"),
        ({"sampling": Sampling(together=0)}, BadInput, 0),
        ({"sampling": Sampling(windows=("tail",))}, UnknownName, "tail"),
        ({"sampling": Sampling(budgets=(0,))}, BadInput, (0,)),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_folder_is_made(changes, kind, got, tmp_path):
    with refused(kind, got=got):
        measure_readers(bench("small-jrt", **changes), tmp_path, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@needs_reader
def test_the_recipe_in_the_repository_measures_every_set():
    config = build(ReaderBench, read_toml(ROOT / "recipes" / "reader_bench.toml"))
    config.check()
    assert set(config.sets) == set(SETS) - {"triviaqa-reconstructed"} and "office-test" not in ReaderBench().sets


# measures -----------------------------------------------------------------------------------------------------------


def made_run(folder, adapter="", documents=40):
    """Per document and kind: a right answer, a wrong one, one that misses, an absent question not found, and one
    that is found, with a low score in all documents but a few."""
    config = ReaderBench(systems=(System("m", adapter),), sets=("aside", "office-dev"))
    run = Run.start(folder, "reader_bench", to_dict(config))
    for name in config.sets:
        for i in range(documents):
            high = i < documents // 40
            for kind in ("field", "question"):
                for number, (answers, text, sure, absent, seen) in enumerate([
                    (["Ada"], "Ada Lovelace", 0.8 + i / 400, None, True),
                    (["Ada"], "Bob", 0.5, None, True),
                    (["Ada"], "not found", 0.9, None, i % 2 == 0),
                    ([], "not found", 0.9, None, False),
                    ([], "Eve", 0.95 if high else 0.6, 0.0 if high else 0.5, False),
                ]):  # fmt: skip
                    run.append({
                        "system": config.systems[0].name, "set": name, "window": "head", "budget": 6000,
                        "document": f"{'fda' if i % 2 else 'office'} {i}", "id": f"{i}/{kind}/{number}", "kind": kind,
                        "ask": "Who?", "answers": answers, "shown": seen, "prediction": text,
                        "confidence": sure, "absent": absent, "ended": True,
                    })  # fmt: skip
    run.finish({"rows": 2 * 2 * 5 * documents})
    return run


def test_measures_of_a_run_whose_answers_are_known(tmp_path):
    run = made_run(tmp_path / "run")
    found = tables(run.folder)
    assert len(found["readings"]) == len(found["presence"]) == 4
    reading, presence = found["readings"][0], found["presence"][0]
    assert (reading["n"], reading["documents"], reading["shown"]) == (120, 40, pytest.approx(100 / 120))
    assert reading["contains"]["mean"] == pytest.approx(1 / 3) and reading["exact"]["mean"] == 0
    assert reading["f1"]["mean"] == pytest.approx(2 / 9) and reading["false absent"]["mean"] == pytest.approx(20 / 100)
    assert (presence["right"], presence["absent"]) == (40, 80) and presence["said"]["mean"] == 0.5
    assert presence["auroc"]["mean"] == pytest.approx(1 - 1 / 80)
    assert presence["own"]["lost"]["mean"] == 0 and presence["own"]["found"]["mean"] == pytest.approx(1 / 80)
    assert presence["default"]["lost"]["mean"] == 0 and presence["default"]["found"]["mean"] == pytest.approx(1 / 80)
    assert presence["default"]["right"]["mean"] == pytest.approx(40 / 81)
    office, fda = [one for one in found["left out"] if one["kind"] == "field"]
    assert (office["source"], fda["source"]) == ("office", "fda") and office["absent"] == fda["absent"] == 40
    assert office["found"]["mean"] == pytest.approx(1 / 40) and fda["found"]["mean"] == 0
    assert office["lost"]["mean"] == fda["lost"]["mean"] == 0 and fda["right"]["mean"] == 0.5
    text = report(run.folder)
    assert "| m | field | fda | 20 | 40 | " in text
    assert "| m | office-dev | field | head | 6,000 | 40 | 120 | 83 % |" in text
    assert "| m | aside | question | head | 6,000 | 40 | 80 | 0.988 [" in text


def test_a_calibration_is_written_into_the_manifest_of_the_adapter_that_was_measured(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    run = made_run(tmp_path / "run", str(folder))
    with refused(BadInput, got=str(folder)):
        calibrate(run.folder, folder)
    (folder / MANIFEST).write_text(Manifest("3", ("ab" * 32,), "reader", None, "c", {"steps": 5}).to_json())
    done = reread("fit-presence", run.folder, folder, "--json")
    fitted = json.loads(done.stdout)
    assert set(fitted) == {"field", "question", "documents", "questions", "set"} and fitted["set"] == "aside"
    assert (fitted["documents"], fitted["questions"]) == (40, 400)
    assert read_manifest(folder) == Manifest("3", ("ab" * 32,), "reader", fitted, "c", {"steps": 5})
    assert fitted == calibration_of(run.rows()) and 0 < fitted["field"]["threshold"] < 1
    other = made_run(tmp_path / "other", str(tmp_path / "elsewhere"))
    with refused(BadInput, got=str(folder), allowed=str(tmp_path / "elsewhere")):
        calibrate(other.folder, folder)
    with refused(UnknownName, got="n"):
        calibration_of(run.rows(), "n")
    few = made_run(tmp_path / "few", documents=4)
    with refused(BadInput, got=containing("4 right"), allowed=containing("10")):
        calibration_of(few.rows())
    assert tables(few.folder)["presence"][0]["default"] is None and "| - | - | - |" in report(few.folder)


def test_answers_are_printed_to_be_read_all_or_wrong_ones(tmp_path):
    run = made_run(tmp_path / "run")
    every = answers_of(run.folder, "office-dev")
    assert len(every) == 400 and sum(not row["right"] for row in every) == 240
    ten = answers_of(run.folder, "office-dev", wrong=10)
    assert len(ten) == len({row["id"] for row in ten}) == 10 and not any(row["right"] for row in ten)
    assert {row["document"] for row in ten} > {"office 0", "fda 39"}
    text = reread("reader-answers", run.folder, "office-dev", "--wrong", 10).stdout
    assert text.count("\n") == 12 and "| office 0 | Who? | Ada | Bob | 0.500 | no |" in text
    (run.folder / "done.json").unlink()
    assert (
        "| office 0 | Who? | not found | not found | 0.900 | yes |"
        in reread("reader-answers", run.folder, "aside").stdout
    )
    with refused(UnknownName, got="fda"):
        answers_of(run.folder, "fda")
    with refused(UnknownName, got="n"):
        answers_of(run.folder, "aside", "n")
    complained(reread("reader-answers", run.folder, "aside", "--wrong", 0), 0)


def test_the_command_measures_one_system_and_prints_its_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    small = ("--set", "sets=office-dev", "--set", "sampling.documents=2", "--set", "tokenizer=embedded")
    done = reread("reader-bench", "--model", "regex", *small, "--out", tmp_path / "run")
    assert done.returncode == 0 and "| regex | office-dev | field | head | 6,000 | 2 |" in done.stdout, done
    complained(reread("reader-bench", "--adapter", "x", "--out", tmp_path / "other"), "x")


def test_documents_of_a_set_of_ones_own_are_shown_complete(monkeypatch):
    documents = [
        Document(str(i), f"Colour: c{i}", (Question(f"{i}", "field", "Colour", (f"c{i}",)),)) for i in range(3)
    ]
    monkeypatch.setitem(SETS, "own", ReaderSet(lambda *given: documents, sampled=False))
    found = shown("own", Path())
    assert [one.document for one in found] == ["0", "1", "2"]
    assert found[0].cut == cut("Colour: c0", load_tokenizer(), 6000, "head")

"""The published data sets in the hub's format: local copies, stray white space, and what is missing."""

import sys

import pytest
from raising import containing, refused

from reread.errors import BadInput, MissingData, MissingPackage, UnknownName
from reread.prompting import Sample
from reread.tasks.hub import HUB, hub
from reread.tasks.recall import TASKS

KEYED = {
    "doc_id": "1",
    "file_name": "f",
    "text": "\n A. Applicant: Roche\nApplicant:\n ",
    "key": " Applicant ",
    "value": " Roche\n",
}
ASKED = {
    "doc_id": "1",
    "context": " Paris is in France. The city in France is\n",
    "question": " The city in France is ",
    "orig_question": " Which city? ",
    "answers": [" Paris", "", " city of light ", "Paris "],
}
PAIRED = {
    "context": " Super Bowl 50 was won by Denver. ",
    "text": " Super Bowl 50 was won by Denver. The winner of Super Bowl 50 was\n",
    "question": " Who won? ",
    "value": " Denver ",
}
CONTEXT = "Paris is in France. The city in France is"
ANSWERS = ("Paris", "city of light")


def cloze(name, anchors):
    return Sample(f"hub/{name} 0", CONTEXT, "The city in France is", ANSWERS, "cloze", anchors, "Which city?")


def keyed(name):
    document = "A. Applicant: Roche\nApplicant:"
    return Sample(f"hub/{name} 0", document, "Applicant", ("Roche",), "field", ("Applicant", "Roche"))


@pytest.mark.parametrize(
    ("name", "row", "sample"),
    [
        ("swde", KEYED, keyed("swde")),
        ("fda", KEYED, keyed("fda")),
        (
            "squad",
            PAIRED,
            Sample(
                "hub/squad 0",
                "Super Bowl 50 was won by Denver.",
                "The winner of Super Bowl 50 was",
                ("Denver",),
                "cloze",
                ("Denver",),
                "Who won?",
            ),
        ),
        ("triviaqa", ASKED, cloze("triviaqa", ())),
        ("drop", ASKED, cloze("drop", ())),
        ("nq-512", ASKED, cloze("nq-512", ("Paris",))),
        ("nq-1024", ASKED, cloze("nq-1024", ("Paris",))),
        ("nq-2048", ASKED, cloze("nq-2048", ("Paris",))),
    ],
)
def test_a_row_becomes_a_stripped_sample(write, tmp_path, name, row, sample):
    write(f"hub/{name}.jsonl", [row])
    task = TASKS[f"hub/{name}"]
    loaded = task.load(tmp_path)
    assert loaded.samples == [sample]
    assert (loaded.left_out, loaded.counted) == ({}, {})
    assert task.published == HUB[name].family
    assert task.in_means and not task.needs_data


def test_the_window_takes_an_alternative_where_the_first_answer_is_not_there(write, tmp_path):
    row = {**ASKED, "answers": ["Lutetia"], "alt_answers": ["Rome", " france "]}
    write("hub/nq-512.jsonl.gz", [row, {**row, "alt_answers": None}, {**row, "alt_answers": ["Rome"]}])
    loaded = TASKS["hub/nq-512"].load(tmp_path)
    assert [s.anchors for s in loaded.samples] == [("france",), ("Lutetia",), ("Lutetia",)]
    assert loaded.counted == {"answer not in the document": 3}


def test_what_is_left_out_is_counted(write, tmp_path):
    rows = [{**KEYED, **change} for change in ({"value": None}, {"value": " 7 "}, {"key": " "}, {"text": "\n"}, {})]
    write("hub/fda.jsonl", rows)
    loaded = TASKS["hub/fda"].load(tmp_path)
    assert [s.id for s in loaded.samples] == ["hub/fda 4"]
    reasons = ("no answer", "answer of one character or less", "question without text", "document without text")
    assert loaded.left_out == dict.fromkeys(reasons, 1)


def test_short_answers_stay_where_the_published_window_looks_at_none(write, tmp_path):
    write("hub/drop.jsonl", [{**ASKED, "answers": ["3"]}])
    assert [s.answers for s in TASKS["hub/drop"].load(tmp_path).samples] == [("3",)]


def test_the_environment_names_a_folder_of_copies(write, tmp_path, monkeypatch):
    write("copies/fda.jsonl.xz", [KEYED])
    write("data/hub/fda.jsonl", [KEYED, KEYED])
    assert len(TASKS["hub/fda"].load(tmp_path / "data").samples) == 2
    monkeypatch.setenv("REREAD_HUB", str(tmp_path / "copies"))
    assert len(TASKS["hub/fda"].load(tmp_path / "data").samples) == 1


def test_a_folder_in_the_format_of_the_hub(write, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "hub" / "triviaqa"
    (folder / "data").mkdir(parents=True)
    datasets.Dataset.from_list([ASKED]).to_parquet(folder / "data" / "validation-00000-of-00001.parquet")
    datasets.Dataset.from_list([ASKED] * 3).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    assert TASKS["hub/triviaqa"].load(tmp_path).samples == [cloze("triviaqa", ())]


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        (
            {"text": "a", "key": "b"},
            {"got": "text, key", "allowed": "text, key, value", "naming": ("fda.jsonl", "line 1")},
        ),
        (["a"], {"got": "list", "naming": ("fda.jsonl", "line 1")}),
    ],
)
def test_a_copy_in_another_format_is_refused(write, tmp_path, row, fields):
    write("hub/fda.jsonl", [row])
    with refused(BadInput, **fields):
        TASKS["hub/fda"].load(tmp_path)


def test_a_statement_is_what_follows_the_context(write, tmp_path):
    spaced = {**PAIRED, "text": "Super Bowl 50  was won\nby Denver. It was won by"}
    write("hub/squad.jsonl", [spaced, {**PAIRED, "text": "Another text"}, {**PAIRED, "text": PAIRED["context"]}])
    loaded = TASKS["hub/squad"].load(tmp_path)
    assert [(s.id, s.question) for s in loaded.samples] == [("hub/squad 0", "It was won by")]
    assert loaded.left_out == {"question without text": 2}


def test_without_a_copy_the_hub_is_asked_and_its_silence_is_a_sentence(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def nobody(name, split):
        asked.append((name, split))
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr(datasets, "load_dataset", nobody)
    wanted = {"got": "Couldn't reach the hub", "todo": containing("hub/drop.jsonl")}
    with refused(MissingData, **wanted, naming=("validation", "hazyresearch/based_drop")):
        TASKS["hub/drop"].load(tmp_path)
    assert asked == [("hazyresearch/based_drop", "validation")]


def test_without_the_library_the_pip_line_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with refused(MissingPackage, naming="datasets", todo=containing("reread[eval]")):
        TASKS["hub/drop"].load(tmp_path)


def test_an_unknown_set_names_the_nearest():
    with refused(UnknownName, got="nq-102", todo=containing("nq-1024")):
        hub("nq-102")

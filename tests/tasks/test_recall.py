"""The table of tasks: readers on small files (always), counts and answers of the real ones (where they are)."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from raising import containing, refused

from reread.errors import BadInput, MissingData, UnknownName
from reread.prompting import Sample
from reread.tasks.questions import rejoined, squad_json
from reread.tasks.recall import TASKS, fda, task
from reread.tasks.swde import field_label
from reread.tasks.task import sort_out

DOCUMENT = {"file_name": "K1_REVIEW.md", "panel": "p", "text": "A. Applicant: Roche"}
TABLE = {"K1_REVIEW.md": {"applicant": "Roche", "product_code": "X1"}}


@pytest.fixture
def fda_files(write):
    """fda_files(documents, table): the two files of the 510(k) summaries."""

    def make(documents, table):
        write("fda_510k/dev_docs.jsonl.xz", documents)
        write("fda_510k/dev_table.json", table)

    return make


def test_one_fda_sample_per_value(fda_files, tmp_path):
    fda_files([DOCUMENT], TABLE)
    first, second = fda(tmp_path)
    assert (first.id, first.question, first.answers) == ("K1/applicant", "applicant", ("Roche",))
    assert second.question == "product code"
    assert first.anchors == ("applicant", "Roche")
    assert TASKS["fda"].load(tmp_path).counted == {"answer not in the document": 1}


@pytest.mark.parametrize(
    ("documents", "table", "fields"),
    [
        (
            [DOCUMENT],
            {},
            {"got": containing("document K1_REVIEW.md", "table"), "naming": ("dev_table.json", "dev_docs")},
        ),
        ([], TABLE, {"got": containing("K1_REVIEW.md", "file of documents")}),
        ([DOCUMENT] * 2, TABLE, {"got": containing("document K1_REVIEW.md", "table")}),
        (
            [DOCUMENT],
            {"K1_REVIEW.md": {"applicant": 7}},
            {"got": "7", "allowed": "text", "naming": ("K1_REVIEW.md", "applicant")},
        ),
        ([DOCUMENT], {"K1_REVIEW.md": ["Roche"]}, {"got": "list", "naming": "K1_REVIEW.md"}),
        (
            [{"file_name": "K1_REVIEW.md"}],
            TABLE,
            {"got": "file_name", "allowed": "file_name, text", "naming": ("dev_docs.jsonl.xz", "line 1")},
        ),
    ],
)
def test_a_table_that_does_not_fit_its_documents_is_refused(fda_files, tmp_path, documents, table, fields):
    fda_files(documents, table)
    with refused(BadInput, **fields):
        fda(tmp_path)


def squad_file(tmp_path, qas, context="Al and Bo, 7"):
    path = tmp_path / "squad_v2" / "dev-v2.0.json.gz"
    path.parent.mkdir()
    with gzip.open(path, "wt") as file:
        json.dump({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}, file)
    return path


def test_squad_keeps_answerable_questions_and_counts_the_others(tmp_path):
    qas = [
        {"id": "1", "question": " Who? ", "answers": [{"text": "Al"}, {"text": "Al"}, {"text": "Bo"}]},
        {"id": "2", "question": "What?", "answers": [], "is_impossible": True},
        {"id": "3", "question": "What?", "answers": [{"text": "Al"}], "is_impossible": True},
        {"id": "4", "question": "How many?", "answers": [{"text": "7"}]},
        {"id": "5", "question": "Who else?", "answers": [{"text": "Cy"}]},
        {"id": "6", "question": " ", "answers": [{"text": "Al"}]},
        {"id": "7", "question": "What else?", "answers": [{"text": "nd"}]},
    ]
    path = squad_file(tmp_path, qas)
    loaded = TASKS["squad"].load(tmp_path)
    assert loaded.samples[0] == Sample("1", "Al and Bo, 7", "Who?", ("Al", "Bo"), "question", ("Al",), "Who?")
    assert [s.id for s in loaded.samples] == ["1", "5", "7"]
    assert loaded.left_out == {"no answer": 2, "answer of one character or less": 1, "question without text": 1}
    assert loaded.counted == {
        "answer not in the document": 1,
        "answer only within a longer word or number": 1,
    }
    assert [s.id for s in squad_json(path)] == ["1", "4", "5", "6", "7"]  # what training reads


@pytest.mark.parametrize(
    ("qa", "fields"),
    [
        (
            {"id": "1", "question": "Who?"},
            {"got": "id, question", "allowed": "id, question, answers", "naming": ("dev-v2.0.json.gz", "question")},
        ),
        ({"id": "1", "question": "Who?", "answers": "Al"}, {"got": "'Al'", "allowed": "rows", "naming": "answers"}),
        (
            {"id": "1", "question": "Who?", "answers": [{"start": 0}]},
            {"got": "start", "allowed": "text", "naming": "an answer"},
        ),
        ({"id": "1", "question": None, "answers": []}, {"got": "None", "allowed": "text", "naming": "'question'"}),
    ],
)
def test_another_json_than_squads_is_refused(tmp_path, qa, fields):
    squad_file(tmp_path, [qa])
    with refused(BadInput, **fields):
        TASKS["squad"].load(tmp_path)


def test_blank_answers_and_documents_are_no_samples():
    kept = Sample("0", "Al", "Who?", ("", " ", "Al", "Al"))
    loaded = sort_out([kept, Sample("1", "Al", "Who?", (" ",)), Sample("2", "\n", "Who?", ("Al",))])
    assert [s.answers for s in loaded.samples] == [("Al",)]
    assert loaded.left_out == {"no answer": 1, "document without text": 1}


def test_natural_questions_show_the_gold_paragraph(write, tmp_path):
    row = {"question": "who", "answers": ["Bo", "Al"], "ctxs": [{"text": "no"}, {"text": "Al, Bo", "isgold": True}]}
    write("nq/nq-open-oracle.jsonl.gz", [row])
    (sample,) = TASKS["nq"].load(tmp_path).samples
    assert sample == Sample("nq 0", "Al, Bo", "who", ("Bo", "Al"), "question", ("Bo",), "who")
    write("nq/nq-open-oracle.jsonl.gz", [{**row, "ctxs": [{"text": "no"}]}])
    with refused(BadInput, got=0, allowed=1, naming="question 0"):
        TASKS["nq"].load(tmp_path)


def test_a_page_needs_as_many_answers_as_questions(write, tmp_path):
    row = {"input": "<P> Al </P>", "instructions": ["who", "where"], "outputs": ["Al", " no ", "1"]}
    write("nq/leval_natural_question.jsonl.gz", [row])
    with refused(BadInput, got="2 and 3", naming="page 0"):
        TASKS["nq-pages"].load(tmp_path)
    write("nq/leval_natural_question.jsonl.gz", [{**row, "outputs": ["Al", " no "]}] * 2)
    loaded = TASKS["nq-pages"].load(tmp_path)
    assert [(s.id, s.answers) for s in loaded.samples[1:3]] == [("page 0/1", ("no",)), ("page 1/0", ("Al",))]
    assert loaded.counted == {"answer not in the document": 2}


def test_evidence_that_was_cut_is_put_together():
    text = "The winner of the long race was Al; who ran in it was a winner of a long, long race."
    pieces = [text[start : start + 13].strip() for start in range(0, len(text), 13)]
    assert pieces[:4] == ["The winner of", "the long rac", "e was Al; who", "ran in it wa"]
    assert rejoined(pieces) == text
    assert rejoined(["to sum", "up", "."]) == "to sum up."
    assert rejoined(["a winner", "win\nner\nb, win", "ner (1)"]) == "a winner win\nner\nb, winner (1)"
    assert rejoined(["one"]) == "one"


def test_trivia_reads_its_segments_in_order(write, tmp_path):
    segments = [{"index": 1, "content": "two"}, {"index": 0, "content": "one"}, {"index": 2, "content": ""}]
    write(
        "triviaqa/triviaqa_evidence_sample.jsonl.gz",
        [{"id": "t", "question": "Which?", "answer": "3", "segments": segments}],
    )
    loaded = TASKS["triviaqa"].load(tmp_path)
    assert loaded.samples == [Sample("t", "onetwo", "Which?", ("3",), "question", (), "Which?")]
    assert loaded.counted == {"answer not in the document": 1}


def test_drop_is_parted_by_whether_an_answer_stands_in_the_passage(write, tmp_path):
    context = "Passage: Al won.\nQuestion: no\nQuestion: Who won? \nAnswer:"
    rows = [{"context": context, "ref_text": "7|al"}, {"context": context, "ref_text": "2"}]
    write("drop/drop_v0_dev.jsonl.gz", [*rows, {**rows[0], "ref_text": ""}])
    (spans,), (other,) = TASKS["drop"].load(tmp_path).samples, TASKS["drop-other"].load(tmp_path).samples
    document = "Al won.\nQuestion: no"
    assert spans == Sample("drop 0", document, "Who won?", ("7", "al"), "question", (), "Who won?")
    assert (other.id, other.answers) == ("drop 1", ("2",))
    assert TASKS["drop-other"].load(tmp_path).left_out == {"no answer": 1}
    write("drop/drop_v0_dev.jsonl.gz", [{"context": "Text", "ref_text": "a"}])
    with refused(BadInput, got="Text", allowed=containing("Passage: "), naming="row 0"):
        TASKS["drop"].load(tmp_path)


def test_a_key_is_asked_as_it_stands_in_its_object(write, tmp_path):
    row = {"ordered_kv_records": [["a1", "b2"], ["c3", "d4"]], "key": "c3", "value": "d4"}
    write("kv_retrieval/kv-retrieval-75_keys.jsonl.gz", [row])
    (sample,) = TASKS["kv-75"].load(tmp_path).samples
    assert (sample.id, sample.question, sample.answers) == ("kv 0/place 1", '"c3"', ("d4",))
    assert json.loads(sample.document) == {"a1": "b2", "c3": "d4"}
    assert f"{sample.question}: " in sample.document
    write("kv_retrieval/kv-retrieval-75_keys.jsonl.gz", [{**row, "value": "b2"}])
    with refused(BadInput, got="c3", naming="row 0"):
        TASKS["kv-75"].load(tmp_path)


def test_lambada_has_no_question(write, tmp_path):
    write("lambada/lambada_openai.jsonl.gz", [{"context": "Al saw", "continuation": " Al"}])
    (sample,) = TASKS["lambada"].load(tmp_path).samples
    assert sample == Sample("lambada 0", "Al saw", "", ("Al",), "continuation")


@pytest.mark.parametrize("name", [name for name, one in TASKS.items() if one.needs_data])
def test_a_missing_file_names_the_path_and_the_variable(tmp_path, name):
    with refused(MissingData, got=containing(tmp_path), todo=containing("REREAD_DATA")):
        TASKS[name].load(tmp_path)


def test_the_page_of_data_names_every_task_and_the_file_that_it_misses(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    lines = {name: row for row in rows for name in re.findall(r"`([^`]*)`", row.split(" | ")[0])}
    assert [name for name in TASKS if name not in lines and not name.startswith("forms-")] == []
    for name, one in TASKS.items():
        if one.needs_data:
            with pytest.raises(MissingData) as missing:
                one.load(tmp_path)
            told = re.search(re.escape(str(tmp_path)) + r"/([\w/.-]+)", str(missing.value))
            assert told and f"`{told[1]}`" in lines[name], name


def test_an_unknown_task_names_the_nearest():
    with refused(UnknownName, got="sqad", todo=containing("squad")):
        task("sqad")


def test_labels():
    assert field_label("predicate_510k_number") == "predicate 510k number"


def test_what_may_enter_a_mean_is_measured_on_genuine_evidence():
    apart = {name for name, one in TASKS.items() if not one.in_means}
    synthetic = {"forms-8", "forms-16", "forms-32", "forms-64", "kv-75", "needle", "lambada"}
    aside = {"fda-aside", *(f"forms-{fields}-aside" for fields in (8, 16, 32, 64))}
    trained_on = {"squadshifts-amazon", "squadshifts-reddit"}
    assert apart == {"triviaqa-reconstructed", "drop-other"} | aside | synthetic | trained_on
    families = Counter(one.published for one in TASKS.values())
    assert set(families) == {"swde", "fda", "squad", "nq", "triviaqa", "drop", ""}
    assert all(one.published == "" for name, one in TASKS.items() if name in synthetic)


# task -> (samples, short answers left out, others left out): their sum is what SOURCES.md counts
REAL = {
    "fda": (3667, 0, 0),
    "fda-aside": (435, 0, 0),
    "squad": (2403, 6, 2611),
    "squad1": (842, 1, 0),
    "squadshifts-wiki": (5853, 8, 0),
    "squadshifts-amazon": (9753, 132, 0),
    "squadshifts-reddit": (9710, 93, 0),
    "nq": (1845, 15, 0),
    "nq-pages": (78, 0, 0),
    "triviaqa": (3, 0, 0),
    "triviaqa-reconstructed": (101, 0, 0),
    "drop": (4073, 0, 0),
    "drop-other": (6384 - 4073, 0, 0),
    "kv-75": (500, 0, 0),
    "lambada": (5153, 0, 0),
}
NOT_INSIDE = {"nq-pages": 4, "drop-other": 2311, "lambada": 806}


def bare(text):
    """As `contains` of scorer version 2 compares: one blank for every run of white space, none around."""
    return " ".join(text.lower().split())


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_the_real_files_hold_so_many_samples(real, name):
    """... every one of its own, and with an answer in its document but where NOT_INSIDE says otherwise."""
    loaded = TASKS[name].load(real)
    kept, short, none = REAL[name]
    assert len(loaded.samples) == kept
    reasons = {"answer of one character or less": short, "no answer": none}
    assert loaded.left_out == {reason: n for reason, n in reasons.items() if n}
    outside = sum(not any(bare(a) in bare(s.document) for a in s.answers) for s in loaded.samples)
    assert outside == NOT_INSIDE.get(name, 0) == loaded.counted.get("answer not in the document", 0)
    assert len({s.id for s in loaded.samples}) == kept
    assert loaded == TASKS[name].load(real)


@pytest.mark.slow
def test_the_parts_of_drop_are_all_of_it(real):
    parts = [TASKS[name].load(real).samples for name in ("drop", "drop-other")]
    assert len({s.id for part in parts for s in part}) == 6384
    assert len({s.document for part in parts for s in part}) == 405


def test_whole_pages_are_long(real):
    """15 rows (one page stands twice) of 23,000 to 140,000 characters."""
    documents = [s.document for s in TASKS["nq-pages"].load(real).samples]
    assert len(set(documents)) == 14
    assert (min(map(len, documents)), max(map(len, documents))) == (22_915, 140_097)


def test_keys_are_asked_in_all_places(real):
    places = Counter(int(s.id.rsplit(" ", 1)[1]) for s in TASKS["kv-75"].load(real).samples)
    assert min(places) == 0 and max(places) == 74 and len(places) > 60

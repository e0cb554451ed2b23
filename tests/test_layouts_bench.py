"""Forms in many layouts: what reaches the model, the run, its table."""

import json
from pathlib import Path

import pytest
from raising import containing, refused

from reread.config import build, read_toml
from reread.documents.loaders import source_of
from reread.errors import BadInput, UnknownName
from reread.layouts_bench import LayoutsBench, measure_layouts
from reread.prompting import label_in, plain_question
from reread.report import report, tables
from reread.tasks.layouts import LAYOUTS, PLAIN, lines_of, written_forms

ROOT = Path(__file__).parent.parent
FORMS = written_forms(4, 8, 0)
OTHERWISE = {"list of dashes", "equals sign", "value in the next line", "Markdown, list with bold labels",
             "Markdown, headings"}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_label_and_value_of_every_layout_reach_the_model_on_one_line(name):
    for sample in FORMS:
        layout = LAYOUTS[name]
        text = source_of(layout.write(lines_of(sample)), layout.name).text
        asked = label_in(plain_question(layout.ask(sample.question)), text)
        lines = [line.strip() for line in text.split("\n")]
        for label, value in lines_of(sample):
            assert value in text and (f"{label}: {value}" in lines) is (name not in OTHERWISE), text
        assert asked.lower() == sample.question.lower()
        assert name == "asked in lower case" or asked == sample.question


def test_forms_are_of_their_own_and_layouts_are_many():
    assert len(LAYOUTS) >= 40 and len({one.document for one in written_forms(60, 8, 0)}) == 60
    assert [len(lines_of(one)) for one in FORMS] == [8] * 4


def test_a_run_has_a_row_per_layout_and_form_and_goes_on(tmp_path):
    config = LayoutsBench(layouts=(PLAIN, "CRLF", "asked in capitals", "Markdown, headings"), forms=3)
    run = measure_layouts(config, tmp_path / "run")
    rows = list(run.rows())
    assert [row["layout"] for row in rows[::3]] == list(config.layouts) and len(rows) == 12
    by_layout = {name: [row["prediction"] for row in rows if row["layout"] == name] for name in config.layouts}
    assert by_layout[PLAIN] == by_layout["CRLF"] == by_layout["asked in capitals"]
    assert all(row["exact"] == float(row["prediction"] == row["answer"]) for row in rows)
    lines = (tmp_path / "run" / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "rows.jsonl").write_text("".join(lines[:7]))
    (tmp_path / "run" / "done.json").unlink()
    assert list(measure_layouts(config, tmp_path / "run").rows()) == rows
    found = {one["layout"]: one for one in tables(run.folder)["layouts"]}
    plain = found[PLAIN]
    assert plain["n"] == 3 and plain["exact"]["low"] <= plain["exact"]["mean"] <= plain["exact"]["high"]
    assert found["CRLF"]["exact"] == plain["exact"] and found["Markdown, headings"]["label: value"] == 0
    assert "| CRLF | 3 |" in report(run.folder)


def test_mistakes_are_refused_before_a_model_is_loaded():
    with refused(UnknownName, got="CRFL", todo=containing("CRLF")):
        LayoutsBench(layouts=(PLAIN, "CRFL")).check()
    with refused(BadInput, got="CRLF", todo=containing(PLAIN)):
        LayoutsBench(layouts=("CRLF",)).check()
    with refused(BadInput, naming="forms"):
        LayoutsBench(forms=0).check()


def test_the_recipe_in_the_repository_is_right():
    build(LayoutsBench, read_toml(ROOT / "recipes" / "layouts.toml")).check()


def test_the_run_in_the_repository_names_a_reason_for_what_is_below():
    folder = ROOT / "results" / "layouts" / "small_jrt"
    header = json.loads((folder / "header.json").read_text())
    assert header["config"]["forms"] >= 60 and len(header["config"]["layouts"]) >= 20
    below = [one["layout"] for one in tables(folder)["layouts"] if one["of plain text"] < 0.9]
    assert [name for name in below if not LAYOUTS[name].says] == []

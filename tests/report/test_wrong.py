"""Kinds of wrong answers are told from what was written, and counted over all questions."""

import pytest
from in_process import reread
from made_rows import row
from raising import refused

from reread.errors import BadInput
from reread.report.wrong import WRONG, kind_of, repeats, wrong_answers, wrong_table


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "nothing"),
        (" .,- \n", "nothing"),
        ("p p p", "repetition"),
        ("The code The code the code", "repetition"),
        ("well, " + "one two three four five six seven eight " * 3, "repetition"),
        ("1 2 1 2 1", "else"),
        ("a a b b a a", "else"),
        ("one two three four five six seven eight nine " * 3, "else"),
        ("JMG", "else"),
        ("是 是 是", "repetition"),
    ],
)
def test_what_a_wrong_answer_is(text, kind):
    assert kind_of(text) == kind and repeats(text) == (kind == "repetition")


def answered(strategy, *predictions):
    rows = []
    for number, (prediction, contains) in enumerate(predictions):
        rows.append(row(strategy=strategy, id=str(number), document=str(number), contains=contains))
        rows[-1] |= {"prediction": prediction, "answers": ["x"]}
    return rows


def test_shares_are_of_all_questions_and_a_right_answer_is_of_no_kind(write):
    rows = answered("once", ("x x x", 1.0), ("", 0.0), ("y y y y", 0.0), ("no", 0.0))
    run = write("run", [*rows, *answered("twice", ("x", 1.0), ("x", 1.0), ("x", 1.0), ("z", 0.0))])
    once, twice = wrong_answers([run])
    assert [once[name]["mean"] for name in ("wrong", *WRONG)] == [0.75, 0.25, 0.25, 0.25]
    assert [twice[name]["mean"] for name in ("wrong", *WRONG)] == [0.25, 0, 0, 0.25]
    assert once["wrong"]["low"] < 0.75 < once["wrong"]["high"] and once["n"] == 4
    said = reread("report", run, "--wrong")
    assert said.returncode == 0 and said.stdout.strip() == wrong_table([run]).strip()
    assert "| model | strategy | budget | task | n | wrong | nothing | repetition | else |" in said.stdout


def test_rows_without_predictions_are_refused(write):
    run = write("run", [{k: v for k, v in row().items() if k != "prediction"}])
    with refused(BadInput, got=run, naming="predictions"):
        wrong_answers([run])

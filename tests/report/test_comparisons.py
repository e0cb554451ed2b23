"""Paired differences, the sign test, means over tasks, curves."""

import pytest
from made_rows import row

from reread.report.cells import by_document_tokens, by_position, extras, hardest, summarise
from reread.report.paired import MEAN_OF_TASKS, differences, mean_differences, task_means
from reread.stats import mean_interval, sign_test


def cell(scores, per_document=1, **changes):
    task = changes.get("task", "fda")
    return [
        row(id=str(i), document=f"{task} {i // per_document}", contains=float(c), **changes)
        for i, c in enumerate(scores)
    ]


def test_a_difference_has_n_interval_wins_losses_ties_and_p():
    rows = [*cell([1, 0, 0, 0, 1, 0] * 5), *cell([1, 1, 1, 0, 0, 1] * 5, strategy="twice")]
    (record,) = differences(rows)
    gains = [0, 1, 1, 0, -1, 1] * 5
    assert (record["n"], record["wins"], record["losses"], record["ties"]) == (30, 15, 5, 10)
    assert (record["differs"], record["against"], record["strategy"]) == ("strategy", "once", "twice")
    assert record["contains"] == mean_interval(gains, list(range(30)), worst=-1.0).record()
    assert record["p"] == sign_test(15, 5)


def test_p_counts_documents_and_not_their_questions():
    """Ten questions of one document are one document."""
    rows = [*cell([0] * 10, per_document=10), *cell([1] * 10, per_document=10, strategy="twice")]
    (record,) = differences(rows)
    assert (record["wins"], record["documents"], record["p"]) == (10, 1, 1.0)


def test_everything_is_compared_with_what_is_named_first_and_on_samples_of_both():
    rows = [*cell([1, 0]), *cell([1, 1, 1], strategy="twice"), *cell([0, 0], model="n", strategy="twice")]
    assert [(r["model"], r["strategy"], r["differs"], r["against"], r["n"]) for r in differences(rows)] == [
        ("n", "twice", "model", "small", 2),
        ("small", "twice", "strategy", "once", 2),
    ]


def test_cells_of_another_window_or_template_are_not_paired():
    assert differences([*cell([1]), *cell([1], strategy="twice", window="answer_centered")]) == []
    assert differences([*cell([1], template="a"), *cell([1], strategy="twice", template="b")]) == []


def test_every_task_counts_alike_in_the_mean_of_tasks():
    rows = [*cell([1] * 4 + [0] * 4), *cell([0, 0, 0, 1] * 20, task="squad")]
    (record,) = task_means(rows)
    assert record["task"] == MEAN_OF_TASKS and record["tasks"] == ["fda", "squad"]
    assert (record["n"], record["documents"]) == (88, 88)
    assert record["contains"]["mean"] == pytest.approx((0.5 + 0.25) / 2)
    small, large = (record["contains"][end] for end in ("low", "high"))
    assert small < 0.375 < large
    _, low, _ = mean_interval([1.0] * 4 + [0.0] * 4)
    assert 0.375 - small < 0.5 - low  # two tasks know more than the smaller one alone


def test_a_gold_answer_that_is_certain_counts():
    """A log-probability of 0 is one."""
    rows = [{**row, "loglik": value} for row, value in zip(cell([1, 0]), (0.0, -1.0), strict=True)]
    assert extras(rows)["loglik"]["n"] == 2 and extras(rows)["loglik"]["mean"] == -0.5


def test_tasks_kept_out_and_tasks_that_one_strategy_lacks_are_in_no_mean():
    rows = [*cell([1, 0]), *cell([1, 0], task="squad"), *cell([1, 1], task="nq"), *cell([0, 0], task="drop")]
    rows += [*cell([1, 1], strategy="twice"), *cell([0, 1], task="squad", strategy="twice")]
    rows += cell([1, 1], task="drop", strategy="twice")
    assert [(r["strategy"], r["tasks"]) for r in task_means(rows, {"drop"})] == [
        ("once", ["fda", "squad"]),
        ("twice", ["fda", "squad"]),
    ]
    assert task_means(rows, {"drop", "squad"}) == []


def test_the_gain_of_the_mean_is_the_mean_of_the_gains():
    rows = [*cell([0, 0, 1, 1]), *cell([0, 1], task="squad")]
    rows += [*cell([1, 1, 1, 1], strategy="twice"), *cell([0, 0], task="squad", strategy="twice")]
    (record,) = mean_differences(rows)
    assert record["contains"]["mean"] == pytest.approx((0.5 - 0.5) / 2)
    assert (record["wins"], record["losses"], record["ties"], record["n"]) == (2, 1, 3, 6)
    assert record["contains"]["low"] < 0 < record["contains"]["high"]


def test_a_task_with_two_templates_is_two_means_and_never_mixed():
    rows = []
    for task, ours in (("fda", "field"), ("squad", "question")):
        rows += [*cell([1, 1], task=task, template=ours), *cell([0, 0], task=task, template=f"published/{task}")]
    assert [(r["templates"], r["contains"]["mean"]) for r in task_means(rows)] == [("own", 1.0), ("published", 0.0)]
    rows += cell([0, 1], task="fda", template="another")
    assert [r["templates"] for r in task_means(rows)] == ["published"]


def test_newer_fields_are_shown_where_every_row_has_them():
    rows = [
        row(
            id=str(i),
            document=str(i),
            exact=float(i < 2),
            loglik=None if i == 0 else -float(i),
            peak_bytes=i,
            read_tokens=20,
        )
        for i in range(4)
    ]
    (record,) = summarise(rows)
    assert record["exact"]["mean"] == 0.5 and record["peak memory"] == 3 and record["tokens read"] == 20
    assert record["loglik"]["mean"] == -2.0 and record["loglik"]["n"] == 3
    assert record["loglik"]["low"] < -2.0 < record["loglik"]["high"]
    (older,) = summarise([*rows[1:], row(id="x", document="x")])
    assert not {"exact", "peak memory", "tokens read", "template"} & set(older)


def test_a_likelihood_that_is_always_the_same_has_no_interval():
    (record,) = summarise([row(loglik=-2.0)])
    assert record["loglik"] == {"mean": -2.0, "low": None, "high": None, "n": 1}


def test_positions_fall_into_fifths_and_rows_without_one_into_none():
    places = [0.0, 0.19, 0.2, 0.5, 0.99, 1.0, None]
    (record,) = by_position([row(id=str(i), document=str(i), position=p) for i, p in enumerate(places)])
    assert [(round(one["low"], 1), one["n"]) for one in record["bins"]] == [(0.0, 2), (0.2, 1), (0.4, 1), (0.8, 2)]
    assert by_position([row()]) == []


def test_lengths_fall_between_powers_of_two_each_row_once():
    sizes = [63, 64, 127, 128, 1024]
    (record,) = by_document_tokens([row(id=str(n), document=str(n), document_tokens=n) for n in sizes])
    assert [(one["low"], one["n"]) for one in record["bins"]] == [(32, 1), (64, 2), (128, 1), (1024, 1)]


def test_many_cells_show_fewer_cases_each_and_none_is_without():
    rows = [one for n in range(5) for one in cell([0, 0, 0], strategy=f"repeat({n})")]
    assert [r["strategy"] for r in hardest(rows, most=10)] == [f"repeat({n})" for n in range(5) for _ in range(2)]
    assert len(hardest(rows, most=2)) == 5


def test_the_hardest_cases_are_wrong_and_rarely_answered():
    rows = [*cell([0, 0, 0, 1]), *cell([1, 0, 1, 1], strategy="twice")]
    assert [(r["strategy"], r["id"]) for r in hardest(rows, per_cell=2)] == [
        ("once", "1"),
        ("once", "0"),
        ("twice", "1"),
    ]

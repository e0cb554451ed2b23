"""Compact tables of several evaluations: the numbers of the long ones, a line for each way of asking."""

from made_rows import STRATEGIES, TASKS, rich_rows, row
from raising import refused

from reread.errors import BadInput
from reread.report import gather
from reread.report.grids import pairs_to, recall_grid
from reread.report.words import percent

CELLS = ("runs/seed0-Based-0123abcd/train/model", "runs/seed0-JRT-RNN-89efabcd/train/model")
APART = {"in_means": {"fda": True, "squad": True}}


def lines_of(text, count):
    """The cells of every line of the tables, heads and rules left out."""
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:2] == "| "]
    return [line for line in lines if len(line) == count]


def test_recall_tokens_and_differences_are_those_of_the_long_report(write):
    run = write("run", rich_rows(CELLS), **APART)
    found, text = gather([run]), recall_grid([run])
    names = dict(zip(CELLS, ("Based", "JRT-RNN"), strict=True))
    cells = {(names[c["model"]], c["strategy"], c["task"]): c for c in found["cells"]}
    means = {(names[c["model"]], c["strategy"]): percent(c["contains"]) for c in found["means"]}
    half = 1 + 2 * len(STRATEGIES)
    both = lines_of(text, 6)
    recall, fed = both[:half], both[half:]
    assert recall[0] == ["model", "strategy", "budget", "fda (n = 30)", "squad (n = 30)", "mean of tasks"]
    assert fed[0] == [*recall[0][:5], "times the first"] and len(fed) == half
    for model, strategy, budget, *numbers in recall[1:]:
        wanted = [percent(cells[model, strategy, task]["contains"]) for task in ("fda", "squad")]
        assert (budget, numbers) == ("512", [*wanted, means[model, strategy]])
    for model, strategy, _, *counts, times in fed[1:]:
        wanted = [cells[model, strategy, task]["tokens read"] for task in ("fda", "squad")]
        began = [cells[model, STRATEGIES[0], task]["tokens read"] for task in ("fda", "squad")]
        assert counts == [f"{count:,.0f}" for count in wanted] and times == f"{sum(wanted) / sum(began):.2f}"
    pairs = lines_of(text, 7)[1:]
    gains = {(r["strategy"], r["task"]): r for r in found["differences"] if r["differs"] == "model"}
    first = [line for line in pairs if line[0] == "JRT-RNN - Based"]
    assert len(first) == len(STRATEGIES) and len(pairs) == len(STRATEGIES) + 2 * (len(STRATEGIES) - 1)
    for _, strategy, _, *numbers, wins in first:
        tasks = ("fda", "squad", "mean of tasks")
        assert numbers == [percent(gains[strategy, task]["contains"]) for task in tasks]
        mean = gains[strategy, "mean of tasks"]
        assert wins == f"{mean['wins']}, {mean['losses']}"
    assert "of fda, squad, every one counting alike" in text and str(run) in text


def test_differences_to_another_strategy(write):
    run = write("run", rich_rows(), **APART)
    text = pairs_to([run], "twice")
    assert {line[1] for line in lines_of(text, 7)[1:] if "small_causal - " not in line[0]} == {
        f"{strategy} - twice" for strategy in STRATEGIES if strategy != "twice"
    }
    means = [
        r for r in gather([run], "twice")["differences"] if (r["differs"], r.get("tasks")) == ("strategy", [*TASKS])
    ]
    assert means and all(
        f"| {percent(mean['contains'])} | {mean['wins']}, {mean['losses']} |" in text for mean in means
    )


def test_names_that_are_alike_without_their_hash_stay_whole_and_tasks_apart_have_no_mean(write):
    same = ("runs/seed0-Based-0123abcd/train/model", "runs/seed1-Based-89efabcd/train/model")
    text = recall_grid([write("run", rich_rows(same), in_means={"fda": False, "squad": False})])
    assert "| seed0-Based-0123abcd | once |" in text and "Mean: of none" in text
    assert "mean of tasks" not in text and "| times the first |" not in text


def test_windows_stand_in_the_heads_and_one_task_in_two_windows_is_refused(write):
    two = [row(), row(task="squad", window="answer_centered", document="e")]
    assert "fda (n = 1, head) | squad (n = 1, answer_centered)" in recall_grid([write("run", two)])
    for number, other in enumerate(({"window": "answer_centered"}, {"model": "b", "window": "answer_centered"})):
        with refused(BadInput, got="fda (n = 1, head), fda (n = 1, answer_centered)"):
            recall_grid([write(f"other {number}", [row(), row(**other)])])
    with refused(BadInput, got="fda (n = 1), fda (n = 2)"):
        recall_grid([write("more", [row(), row(model="b"), row(model="b", id="b")])])

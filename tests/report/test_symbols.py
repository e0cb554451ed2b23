"""Runs on symbols as numbers, tables and figures."""

import xml.etree.ElementTree as ElementTree

import pytest
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.report.experiments import FIGURES, experiment_tables, write_experiment_report
from reread.report.pages import made_anew, make_anew
from reread.report.symbols import (
    GUESS,
    by_order,
    cells,
    guess,
    in_both_orders,
    order_figure,
    order_table,
    recall_figure,
    seed_gaps,
    size_table,
    symbol_runs,
)
from reread.runlog import Run, write_json

CONFIG = {
    "task": "sets", "mixer": "linear", "feature_map": "taylor", "feature_dim": 2, "hidden_size": 32, "layers": 2,
}  # fmt: skip
RIGHT = {  # (size, trained): of 100, by learning rate
    ((2, 8), True): {1e-3: 90, 3e-3: 10},
    ((8, 2), True): {1e-3: 70, 3e-3: 99},
    ((2, 16), True): {1e-3: 60, 3e-3: 10},
    ((16, 2), True): {1e-3: 40, 3e-3: 99},
    ((2, 20), False): {1e-3: 55, 3e-3: 0},
    ((20, 2), False): {1e-3: 15, 3e-3: 0},
}


def made(folder, seed=0, more=0, state=1000, done=True, **changes):
    run = Run.start(folder, "synthetic", {**CONFIG, "seed": seed, "reading": "causal", **changes})
    for (size, trained), by_rate in RIGHT.items():
        for rate, right in by_rate.items():
            told = {"what": "test", "learning_rate": rate, "first": size[0], "second": size[1], "trained": trained}
            run.append({**told, "n": 100, "correct": min(100, right + more), "accuracy": min(100, right + more) / 100})
    run.append({"what": "validation", "learning_rate": 1e-3, "accuracy": 0.9, "last": True})
    if done:
        run.finish({"learning_rate": 1e-3, "state_bytes": state, "parameters": 12_345, "seconds": 2.0, "rows": 13})
    return run


@pytest.fixture
def folder(tmp_path):
    made(tmp_path / "a", seed=0)
    made(tmp_path / "b", seed=1, more=4)
    made(tmp_path / "c", seed=0, state=4000, feature_dim=8)
    made(tmp_path / "d", seed=0, more=10, reading="twice")
    return tmp_path


def test_seeds_are_pooled_and_the_learning_rate_is_that_of_the_validation(folder):
    found = cells(symbol_runs([folder]))
    assert [(c["reading"], c["state"], c["seeds"]) for c in found] == [
        ("causal", 1000, 2), ("causal", 4000, 1), ("twice", 1000, 1),
    ]  # fmt: skip
    share = found[0]["sizes"][2, 8]
    assert (share["correct"], share["n"], share["mean"], share["seeds"]) == (184, 200, 0.92, [0.9, 0.94])


def test_either_order_is_the_mean_over_mirrored_sizes(folder):
    cell = cells(symbol_runs([folder]))[1]
    short, long = by_order(cell)
    assert (short["mean"], long["mean"], short["n"]) == (0.75, 0.55, 200)
    assert by_order(cell, trained=False)[1]["mean"] == 0.15
    assert in_both_orders(cell, True) == [(2, 8), (2, 16)] and guess(cell) == 0.5
    del cell["sizes"][8, 2], cell["sizes"][16, 2]
    with refused(BadInput, got=[(2, 8), (2, 16), (2, 20), (20, 2)]):
        by_order(cell)


def test_every_seed_has_a_gap_of_its_own(folder):
    cell = cells(symbol_runs([folder]))[0]
    assert seed_gaps(cell, True) == pytest.approx([0.2, 0.2])
    cell["sizes"][8, 2]["seeds"] = [0.7, 0.5]
    assert seed_gaps(cell, True) == pytest.approx([0.2, 0.32])


def test_tables_show_orders_sizes_and_what_was_not_trained_on(folder):
    text = order_table(symbol_runs([folder]))
    assert text.splitlines()[2].startswith("| causal | linear | 1,000 | 12 k | 2 | 0.001 | 400 | 50.0 | 77.0 [")
    assert text.splitlines()[2].endswith("| 20.0, 20.0 |")
    assert "| 20.0 [" in text
    sizes = size_table(symbol_runs([folder]))
    assert "| 2, 8 | 8, 2 | 2, 16 | 16, 2 | 2, 20 * | 20, 2 * |" in sizes.splitlines()[0]
    assert sizes.splitlines()[2].startswith("| causal | linear | 1,000 | 2 | 200 | 92 [87, 95] |")


@pytest.mark.parametrize("figure", FIGURES.values())
def test_figures_stand_alone_and_name_their_lines(figure, folder):
    svg = figure(symbol_runs([folder]), "made")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and "prefers-color-scheme:dark" in svg and "#010203" not in svg
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert "bytes of state (logarithmic)" in texts
    assert {"causal", "twice"} <= {text.split(",")[0] for text in texts if text}
    assert svg == figure(symbol_runs([folder]), "made")
    assert ({"twice, long set first", GUESS} <= texts) == (figure is order_figure)


def test_a_line_per_mixer_where_there_are_several(folder):
    assert ">twice<" in recall_figure(symbol_runs([folder]), "made")
    made(folder / "e", mixer="delta")
    assert ">causal, delta<" in recall_figure(symbol_runs([folder]), "made")


def test_runs_that_did_not_end_and_folders_without_runs_are_refused(tmp_path):
    with refused(BadInput, got=tmp_path):
        symbol_runs([tmp_path])
    made(tmp_path / "a", done=False)
    with refused(BadInput, got=tmp_path / "a", naming="done.json"):
        symbol_runs([tmp_path])


def test_an_experiment_draws_the_figure_that_its_table_names(folder):
    made(folder / "f", seed=7, done=False)
    told = {
        "recipe": "r", "kind": "synthetic", "scale": "", "settings": {}, "table": {"figure": "order"},
        "cells": {name: {} for name in ("a", "d", "f")},
    }  # fmt: skip
    write_json(folder / "experiment.json", told)
    write_experiment_report(folder)
    assert "twice, short set first" in (folder / "figure.svg").read_text()
    assert "Not there yet: `f`" in (folder / "report.md").read_text()
    write_json(folder / "experiment.json", {**told, "table": {"figure": "ordre"}})
    with refused(UnknownName, got="ordre", todo=containing("order")):
        experiment_tables(folder)


def test_a_page_gets_its_tables_from_run_folders_and_keeps_its_words(folder):
    page = folder / "page.md"
    page.write_text("Words.\n<!-- made: order . -->\nold\n<!-- end -->\nMore.\n<!-- made: sizes . --><!-- end -->\n")
    page.write_text(page.read_text().replace("--><!--", "-->\n<!--"))
    make_anew(page, folder)
    text = page.read_text()
    assert text.startswith("Words.\n<!-- made: order . -->\n| reading |") and "\n<!-- end -->\nMore.\n" in text
    assert "old" not in text and "| 2, 20 * |" in text
    assert made_anew(text, folder) == text
    with refused(UnknownName, got="oder", todo=containing("order")):
        made_anew("<!-- made: oder . -->\n<!-- end -->", folder)

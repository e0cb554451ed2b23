"""Experiments: the grid as cells, cells in processes, what a stop keeps, and the table over seeds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from in_process import interruptible
from raising import containing, refused

from reread import experiment
from reread.config import read_toml
from reread.errors import BadInput, MissingData, UnknownName
from reread.experiment import Kind, cells_of, in_turn, run_experiment
from reread.grid import read_recipe
from reread.plugins import VARIABLE
from reread.report.experiments import experiment_report, experiment_tables, over_seeds
from reread.runlog import Run
from reread.training.reader_recipe import KIND

COUNTING = '''
"""A cheap kind: counts to `steps`, a row each, slowly if asked; every start leaves a line in starts.txt."""

import time
from dataclasses import dataclass, field

from reread.config import to_dict
from reread.errors import BadInput
from reread.runlog import Run


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    name: str = "x"


@dataclass(frozen=True)
class Counting:
    seed: int = 0
    steps: int = 3
    pause: float = 0.0
    inner: Inner = field(default_factory=Inner)

    def check(self):
        if self.steps < 0:
            raise BadInput("steps must be 0 or more", got=self.steps)


def count(config, out, progress):
    run = Run.start(out, "counting", to_dict(config), resume=True)
    with (out / "starts.txt").open("a") as file:
        file.write("start\\n")
    if config.inner.name == "broken":
        raise BadInput("this one cannot be measured", got=config.seed)
    if config.inner.name == "crash":
        raise ZeroDivisionError("a mistake of the program")
    before = len(list(run.rows()))
    for step in range(before, config.steps):
        time.sleep(config.pause)
        run.append({"step": step, "size": step % 2, "value": step * config.inner.rate + config.seed})
        if not config.pause:  # a slow one says nothing: it must not be its broken pipe that ends it
            progress("counting", step + 1, config.steps)
    run.finish({"rows": config.steps, "total": config.steps * config.inner.rate})
    return run
'''
RECIPE = """
kind = "counting"
[settings]
steps = 4
[grid]
seed = [0, 1, 2]
[together]
map = [
    { label = "slow", inner.rate = 1.0, inner.name = "a" },
    { label = "fast", inner.rate = 10.0, inner.name = "b" },
]
[scales.smoke]
settings.steps = 2
grid.seed = [0]
[table]
rows = ["map"]
values = [
    { name = "even", field = "value", where = { size = 0 } },
    { name = "total", field = "summary.total", digits = 0 },
]
"""


SHARING = """

@dataclass(frozen=True)
class Sharing(Counting):
    @property
    def shared_work(self) -> str:
        return str(self.seed)

    @property
    def needs_data(self) -> bool:
        return self.seed == 2
"""


@pytest.fixture
def counting(tmp_path, monkeypatch) -> Path:
    """The folder of the cheap kind, which child processes can import, with a recipe."""
    (tmp_path / "counting_kind.py").write_text(COUNTING)
    (tmp_path / "counts.toml").write_text(RECIPE)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("counting_kind", None)  # another test's
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    kind = Kind("counting_kind:Counting", "counting_kind:count", needs_data=False)
    monkeypatch.setitem(experiment.KINDS, "counting", kind)
    return tmp_path


def run(folder: Path, *sets: str, recipe: str = "counts.toml", out: str = "out", scale: str = "", jobs: int = 1):
    return run_experiment(read_recipe(folder / recipe, scale, sets), folder / out, jobs=jobs)


def starts(out: Path) -> dict[str, int]:
    return {path.parent.name: len(path.read_text().splitlines()) for path in out.glob("*/starts.txt")}


def test_the_grid_is_the_product_of_values_and_of_tables_that_vary_together(counting):
    recipe = read_recipe(counting / "counts.toml")
    cells = cells_of(recipe, counting / "out")
    assert [cell.labels for cell in cells] == [{"seed": s, "map": m} for s in (0, 1, 2) for m in ("slow", "fast")]
    assert cells[1].config == {"seed": 0, "steps": 4, "pause": 0.0, "inner": {"rate": 10.0, "name": "b"}}
    assert cells[1].folder.name.startswith("0-fast-") and len({cell.folder for cell in cells}) == 6


def test_the_process_of_every_cell_runs_the_plugins(counting, monkeypatch):
    ran = counting / "ran.txt"
    mine = counting / "mine.py"
    mine.write_text(f"import os\nopen({str(ran)!r}, 'a').write(f'{{os.getpid()}}\\n')\n")
    monkeypatch.setenv(VARIABLE, str(mine))
    assert not run(counting, scale="smoke").failed
    processes = ran.read_text().split()
    assert len(processes) == len(set(processes)) == 2 and str(os.getpid()) not in processes


def test_cells_that_wait_for_each_other_are_not_started_side_by_side(counting, monkeypatch):
    (counting / "counting_kind.py").write_text(COUNTING + SHARING)
    monkeypatch.setitem(experiment.KINDS, "counting", Kind("counting_kind:Sharing", "counting_kind:count"))
    cells = cells_of(read_recipe(counting / "counts.toml"), counting / "out")
    assert [cell.needs_data for cell in cells] == [False, False, False, False, True, True]
    turns = [(cell.labels["map"], cell.labels["seed"]) for cell in in_turn(cells)]
    assert turns == [("slow", 0), ("slow", 1), ("slow", 2), ("fast", 0), ("fast", 1), ("fast", 2)]
    monkeypatch.setitem(experiment.KINDS, "counting", Kind("counting_kind:Counting", "counting_kind:count"))
    alone = cells_of(read_recipe(counting / "counts.toml"), counting / "out")
    assert in_turn(alone) == alone and all(cell.needs_data for cell in alone)


def test_a_scale_lies_over_the_recipe_and_a_setting_over_both(counting):
    smoke = cells_of(read_recipe(counting / "counts.toml", "smoke"), counting)
    assert [(cell.labels["seed"], cell.config["steps"]) for cell in smoke] == [(0, 2), (0, 2)]
    one = cells_of(read_recipe(counting / "counts.toml", "", ["seed=2", "pause=0.5"]), counting)
    assert [(cell.labels["seed"], cell.config["pause"]) for cell in one] == [(2, 0.5), (2, 0.5)]


@pytest.mark.parametrize(
    ("old", "new", "error", "fields"),
    [
        ('kind = "counting"', 'kind = "counitng"', UnknownName, {"got": "counitng", "todo": containing("counting")}),
        ("[grid]", "grid = 3\n[other]", UnknownName, {"got": "other", "allowed": containing("grid, kind")}),
        ("[grid]", "[gird]", UnknownName, {"got": "gird", "todo": containing("grid")}),
        ("steps = 4", "stesp = 4", UnknownName, {"got": "stesp", "todo": containing("steps")}),
        ("steps = 4", "steps = -1", BadInput, {"got": -1, "naming": "steps"}),
        ("seed = [0, 1, 2]", "seed = []", BadInput, {"got": [], "naming": "grid.seed"}),
        ("seed = [0, 1, 2]", "seed = [0, 0]", BadInput, {"got": [0, 0], "naming": "grid.seed"}),
        ('label = "fast"', 'label = "slow"', BadInput, {"got": "slow", "naming": "twice"}),
        (
            'inner.rate = 10.0, inner.name = "b"',
            'inner.rate = 1.0, inner.name = "a"',
            BadInput,
            {"got": containing("'slow'", "'fast'"), "naming": "one configuration"},
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_one_sentence_before_anything_runs(counting, old, new, error, fields):
    text = (counting / "counts.toml").read_text()
    assert old in text
    (counting / "counts.toml").write_text(text.replace(old, new))
    with refused(error, **fields):
        run(counting)
    assert not list((counting / "out").glob("*/"))


def test_settings_of_the_grid_are_refused_where_they_make_no_sense(counting):
    with refused(BadInput, got="inner.rate", naming="together"):
        read_recipe(counting / "counts.toml", "", ["inner.rate=3.0"])
    with refused(UnknownName, got="big", allowed="smoke"):
        read_recipe(counting / "counts.toml", "big")


def test_what_a_cell_is_at_is_said(counting):
    said = []
    run_experiment(read_recipe(counting / "counts.toml", "", ["seed=1"]), counting / "out", say=said.append)
    assert sum(line.endswith(": counting, 1 of 4") for line in said) == 2 and "2 cells, 0 done before" in said[0]


def test_only_missing_cells_run_and_the_grid_may_grow(counting):
    outcome = run(counting, "seed=1")
    assert (outcome.cells, outcome.skipped, len(outcome.done)) == (2, 0, 2)
    outcome = run(counting)
    assert (outcome.cells, outcome.skipped, len(outcome.done)) == (6, 2, 4)
    assert run(counting).done == []
    assert set(starts(counting / "out").values()) == {1}


def test_a_setting_that_a_later_version_knows_makes_no_new_cells(counting):
    run(counting)
    source = (counting / "counting_kind.py").read_text()
    (counting / "counting_kind.py").write_text(
        source.replace("pause: float = 0.0", "pause: float = 0.0\n    new: int = 7")
    )
    sys.modules.pop("counting_kind")
    assert run(counting).skipped == 6


def test_a_finished_cell_of_another_default_is_not_taken_for_todays(counting):
    run(counting, "seed=1")
    header = next((counting / "out").glob("*/header.json"))
    told = json.loads(header.read_text())
    told["config"]["pause"] = 0.25
    header.write_text(json.dumps(told))
    with refused(BadInput, got=containing("pause 0.25, now 0.0")):
        run(counting)
    assert set(starts(counting / "out").values()) == {1}


@pytest.mark.slow
def test_jobs_at_once_give_what_one_after_the_other_gives(counting):
    run(counting, out="serial")
    run(counting, out="parallel", jobs=3)

    def rows(out):
        return {folder.name: list(Run(folder).rows()) for folder in sorted((counting / out).glob("*/"))}

    assert rows("serial") == rows("parallel") and len(rows("serial")) == 6
    assert experiment_tables(counting / "serial")["lines"] == experiment_tables(counting / "parallel")["lines"]


def test_a_failed_cell_is_named_and_stops_no_other(counting):
    text = (counting / "counts.toml").read_text()
    (counting / "counts.toml").write_text(text.replace('inner.name = "a"', 'inner.name = "broken"'))
    outcome = run(counting)
    assert len(outcome.done) == 3 and len(outcome.failed) == 3
    assert all("this one cannot be measured" in why for why in outcome.failed.values())
    assert run(counting).skipped == 3
    assert all(f"`{name}`" in experiment_report(counting / "out") for name in outcome.failed)


def test_a_crash_names_its_last_line_and_its_log(counting):
    text = (counting / "counts.toml").read_text()
    (counting / "counts.toml").write_text(text.replace('inner.name = "a"', 'inner.name = "crash"'))
    (why, *_) = run(counting).failed.values()
    assert "ZeroDivisionError: a mistake of the program" in why and "log.txt" in why


def test_a_cell_whose_folder_cannot_be_written_is_a_failed_cell(counting):
    run(counting, "seed=0")
    (blocked,) = (
        cell
        for cell in cells_of(read_recipe(counting / "counts.toml"), counting / "out")
        if cell.labels == {"seed": 1, "map": "slow"}
    )
    blocked.folder.write_text("a file stands where the folder should")
    outcome = run(counting)
    assert list(outcome.failed) == [blocked.folder.name] and len(outcome.done) == 3
    assert "cannot be started" in outcome.failed[blocked.folder.name]


@pytest.mark.slow
def test_a_folder_of_other_settings_or_of_something_else_is_refused(counting):
    run(counting)
    with refused(BadInput, got=containing("0.5, there None"), naming="settings.pause"):
        run(counting, "pause=0.5")
    with refused(BadInput, got=containing("'smoke', there ''"), naming="scale"):
        run(counting, scale="smoke")
    (counting / "full").mkdir()
    (counting / "full" / "note.txt").write_text("mine")
    with refused(BadInput, got=containing("full (note.txt)")):
        run(counting, out="full")
    assert (counting / "full" / "note.txt").read_text() == "mine"


PARENT = """
import sys
from pathlib import Path
from reread import experiment
from reread.grid import read_recipe
from reread.plugins import VARIABLE

experiment.KINDS["counting"] = experiment.Kind("counting_kind:Counting", "counting_kind:count", needs_data=False)
folder = Path(sys.argv[1])
try:
    experiment.run_experiment(read_recipe(folder / "counts.toml"), folder / "out", jobs=2)
except KeyboardInterrupt:
    sys.exit(130)
"""


def slow_parent(folder: Path, rows: int) -> subprocess.Popen:
    """An experiment with slow cells in a process of its own, once a cell has that many rows."""
    text = (folder / "counts.toml").read_text()
    (folder / "counts.toml").write_text(text.replace("steps = 4", "steps = 12\npause = 0.25"))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], preexec_fn=interruptible)
    for _ in range(400):
        if any(len(list(Run(cell).rows())) >= rows for cell in (folder / "out").glob("*/")):
            return parent
        time.sleep(0.1)
    parent.kill()
    raise AssertionError("no cell began")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_ends_the_cells_too_and_the_same_call_goes_on(counting, how):
    parent = slow_parent(counting, rows=3)
    parent.send_signal(how)
    assert parent.wait(timeout=30) == (130 if how == signal.SIGINT else -signal.SIGKILL)
    time.sleep(0.5)
    kept = {cell.name: len(list(Run(cell).rows())) for cell in (counting / "out").glob("*/")}
    time.sleep(1)
    assert kept == {cell.name: len(list(Run(cell).rows())) for cell in (counting / "out").glob("*/")}
    assert not any(Run(cell).done for cell in (counting / "out").glob("*/"))
    text = (counting / "counts.toml").read_text()
    (counting / "counts.toml").write_text(text.replace("seed = [0, 1, 2]", "seed = [0]"))
    outcome = run(counting, jobs=2)
    assert len(outcome.done) == 2 and set(starts(counting / "out")) >= set(outcome.done)
    for name in outcome.done:
        assert [row["step"] for row in Run(counting / "out" / name).rows()] == list(range(12))
        assert starts(counting / "out")[name] == 2


def test_two_processes_are_not_in_one_folder_at_once(counting):
    parent = slow_parent(counting, rows=1)
    try:
        with refused(BadInput, got=counting / "out", naming="process"):
            run(counting)
    finally:
        parent.kill()
        parent.wait()


def test_the_table_has_means_over_seeds_with_intervals(counting):
    run(counting)
    slow, fast = experiment_tables(counting / "out")["lines"]
    assert slow["key"] == {"map": "slow"}
    even = slow["values"]["even"]  # per seed s: mean of 0 + s and 2 + s
    assert (even["mean"], even["n"]) == (2.0, 3)
    assert even["high"] - even["mean"] == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert fast["values"]["total"]["mean"] == 40 and fast["values"]["total"]["low"] == 40
    text = experiment_report(counting / "out")
    for cell in (counting / "out").glob("?-*/done.json"):
        cell.unlink()
    assert "Not there yet: `0-slow-" in experiment_report(counting / "out")
    assert "6 of 6 cells done" in text and "| slow | 3 | 2.0 [-0.5, 4.5] | 4 |" in text


@pytest.mark.slow
def test_fields_of_rows_may_be_columns_and_a_value_may_point_to_another(counting):
    table = 'rows = ["map"]\ncolumns = ["size"]\nover = ["seed"]\nvalues = [{ name = "v", field = "value", where = '
    text = (counting / "counts.toml").read_text().partition("[table]")[0]
    (counting / "counts.toml").write_text(text + "[table]\n" + table + '{ step = "@size" } }]\n')
    run(counting)
    slow, _ = experiment_tables(counting / "out")["lines"]  # step 0 has size 0, step 1 size 1
    assert {name: value["mean"] for name, value in slow["values"].items()} == {"v (0)": 1.0, "v (1)": 2.0}


def test_a_value_may_be_held_against_another_line_seed_by_seed(counting):
    text = (counting / "counts.toml").read_text().partition("[table]")[0]
    value = '{ name = "more", field = "value", where = { step = 3 }, against = { map = "slow" } }'
    share = '{ name = "share", field = "summary.total", against = { map = "slow" }, relative = true }'
    (counting / "counts.toml").write_text(text + f'[table]\nrows = ["map"]\nvalues = [{value}, {share}]\n')
    run(counting)
    slow, fast = experiment_tables(counting / "out")["lines"]
    assert slow["values"]["more"]["mean"] == 0
    more = fast["values"]["more"]  # 3 * 10 + seed less 3 + seed: the seed is in neither
    assert (more["mean"], more["low"], more["high"], more["n"]) == (27, 27, 27, 3)
    assert fast["values"]["share"]["mean"] == pytest.approx(900)
    (counting / "counts.toml").write_text(text + '[table]\nrows = ["map"]\nvalues = [{ name = "x", field = "value", ')
    with (counting / "counts.toml").open("a") as file:
        file.write('against = { mop = "slow" } }]\n')
    with refused(UnknownName, got="mop", todo=containing("map")):
        run(counting)


@pytest.mark.slow
def test_the_figures_of_others_stand_beside(counting):
    with (counting / "counts.toml").open("a") as file:
        file.write('[table.beside]\n"theirs" = { fast = 7.5 }\n')
    run(counting)
    text = experiment_report(counting / "out")
    assert "| map | n | even | total | theirs |" in text and "| 40 | 7.5 |" in text.replace("| 400 |", "| 40 |")
    assert "| 4 | - |" in text


def test_a_table_that_mixes_what_differs_is_refused(counting):
    text = (counting / "counts.toml").read_text()
    (counting / "counts.toml").write_text(text.replace('rows = ["map"]', "rows = []"))
    with refused(BadInput, got="map", naming="seeds"):
        run(counting)
    assert not list((counting / "out").glob("*/")), "before hours of cells, not after"


def test_one_seed_has_no_interval():
    assert over_seeds([3.0]) == {"mean": 3.0, "low": None, "high": None, "n": 1}


@pytest.mark.parametrize("name", ["order", "law", "small_lm", "prefix_training"])
def test_the_cells_of_a_recipe_of_each_kind_build(name):
    path = Path(__file__).parent.parent / "recipes" / f"{name}.toml"
    assert cells_of(read_recipe(path, next(iter(read_toml(path)["scales"]))), Path("none"))


@pytest.mark.slow
def test_every_cell_of_every_recipe_builds():
    for path in sorted((Path(__file__).parent.parent / "recipes").glob("*.toml")):
        data = read_toml(path)
        experiment = "tasks" in data or data.get("kind", KIND) != KIND  # KIND: recipes of `reread train` for the reader
        for scale in ("", *data.get("scales", ())) if experiment else ():
            assert cells_of(read_recipe(path, scale), Path("none")), path


@pytest.mark.slow
def test_a_recipe_of_evaluations_is_an_experiment_with_the_report_of_its_runs(tmp_path, model_folder):
    (tmp_path / "looks.toml").write_text(
        f"""models = ["{model_folder}"]
tasks = ["forms-8", "forms-16"]
strategies = ["once", "selective(unit=line, k=2)"]
limit = 9
max_new_tokens = 2
loglik = false
[scales.smoke]
limit = 2
"""
    )
    recipe = read_recipe(tmp_path / "looks.toml", "smoke")
    outcome = run_experiment(recipe, tmp_path / "out", data=tmp_path)
    assert len(outcome.done) == 2 and not outcome.failed
    text = experiment_report(tmp_path / "out")
    assert "`looks` at scale smoke: 2 of 2 cells done" in text and text.count("| selective(k=2, unit=line) | ") == 2
    assert {cell["task"] for cell in experiment_tables(tmp_path / "out")["cells"]} == {"forms-8", "forms-16"}
    assert run_experiment(recipe, tmp_path / "out", data=tmp_path).skipped == 2
    with refused(UnknownName, got="cpu", allowed="smoke"):
        read_recipe(tmp_path / "looks.toml", "cpu")


@pytest.mark.slow
def test_data_is_asked_for_where_a_task_of_an_evaluation_needs_it(tmp_path, model_folder, monkeypatch):
    from typer.testing import CliRunner

    from reread.cli import app

    monkeypatch.delenv("REREAD_DATA", raising=False)
    recipe = tmp_path / "looks.toml"
    recipe.write_text(f'models = ["{model_folder}"]\ntasks = ["forms-8"]\nlimit = 2\nmax_new_tokens = 2\n')
    command = ["experiment", str(recipe), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, command).exit_code == 0
    asked = CliRunner().invoke(app, [*command, "--set", 'tasks=["forms-8", "fda"]', "--out", str(tmp_path / "other")])
    assert isinstance(asked.exception, MissingData) and not (tmp_path / "other").exists()


@pytest.mark.slow
def test_the_command_runs_a_recipe_and_fails_with_a_cell(counting, monkeypatch):
    from typer.testing import CliRunner

    from reread.cli import app

    monkeypatch.chdir(counting)
    result = CliRunner().invoke(app, ["experiment", "counts.toml", "--scale", "smoke", "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["cells"] == 2
    assert (counting / "runs" / "counts_smoke" / "report.md").read_text() == experiment_report(
        counting / "runs" / "counts_smoke"
    )
    assert "2 of 2 cells done" in CliRunner().invoke(app, ["report", "runs/counts_smoke"]).stdout
    text = (counting / "counts.toml").read_text()
    (counting / "counts.toml").write_text(text.replace('inner.name = "a"', 'inner.name = "broken"'))
    result = CliRunner().invoke(app, ["experiment", "counts.toml", "--out", "other"])
    assert result.exit_code == 1 and "this one cannot be measured" in result.stderr

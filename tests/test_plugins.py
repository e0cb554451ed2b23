"""A plugin's names work in commands and in their child processes; one that fails is named with its line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from raising import containing, refused

from reread.errors import BadInput
from reread.plugins import VARIABLE, load_plugins, name_plugins
from reread.prompting import STRATEGIES, build_unasked

PAGE = (Path(__file__).parent.parent / "docs" / "own.md").read_text(encoding="utf-8")
INVOICE = "Invoice\nInvoice number: INV-77\nCustomer: Anna Meyer\n"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write a plugin and name it: its path."""

    def written(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        name_plugins([path])
        return path

    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    tables = dict(STRATEGIES)
    yield written
    STRATEGIES.clear()
    STRATEGIES.update(tables)


def reread(*words, **environment):
    command = [sys.executable, "-m", "reread", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300)


def test_the_plugin_of_the_page_works_in_commands(tmp_path):
    code, *_ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    mine, invoice = tmp_path / "mine.py", tmp_path / "invoice.txt"
    mine.write_text(code, encoding="utf-8")
    invoice.write_text(INVOICE, encoding="utf-8")
    asked = ("ask", invoice, "Invoice number", "--model", "small-jrt", "--strategy", "headline(lines=2)")
    got = reread("--plugin", mine, *asked, "--policy", "but_the_last", "--json")
    assert got.returncode == 0 and '"headline(lines=2)"' in got.stdout and "INV-77" in got.stdout, got.stderr
    assert reread(*asked, "--json", REREAD_PLUGINS=str(mine)).returncode == 0
    without = reread(*asked)
    assert without.returncode == 2 and "headline" in without.stderr


def test_a_plugin_is_run_once(plugin):
    path = plugin(
        "from reread.prompting import STRATEGIES, Strategy, once\nSTRATEGIES['mine'] = Strategy(once, False)\n"
    )
    load_plugins()
    first = STRATEGIES["mine"]
    load_plugins()
    assert STRATEGIES["mine"] is first and build_unasked("mine", "A.").strategy == "mine"
    name_plugins([path.parent / "." / path.name])
    load_plugins()
    assert STRATEGIES["mine"] is first


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("x = 1\n1 / 0\n", "ZeroDivisionError", 2),
        ("def broken(:\n", "SyntaxError", 1),
        ("import no_such_package\n", "no_such_package", 1),
        ("x = 1\n\nraise RuntimeError('mine')\n", "RuntimeError: mine", 3),
        ("import sys\nsys.exit(0)\n", "SystemExit", 2),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_line(plugin, text, said, line):
    path = plugin(text)
    with refused(BadInput, got=f"{path}, line {line}", naming=said):
        load_plugins()


def test_a_binary_file_is_named(plugin):
    path = plugin("")
    path.write_bytes(b"\xff\xfe\x00")
    with refused(BadInput, got=str(path), naming="SyntaxError"):
        load_plugins()


def test_what_is_no_plugin_is_refused(plugin, tmp_path):
    for name in ("none.py", "text.txt"):
        if name == "text.txt":
            (tmp_path / name).write_text("x = 1")
        name_plugins([tmp_path / name])
        with refused(BadInput, got=containing(name), allowed=containing(".py")):
            load_plugins()


def test_two_plugins_of_one_name_are_refused(plugin, tmp_path):
    first = plugin("x = 1\n")
    (tmp_path / "b").mkdir()
    second = tmp_path / "b" / first.name
    second.write_text("x = 2\n")
    name_plugins([first, second])
    with refused(BadInput, got=containing(str(second)), naming="same name"):
        load_plugins()


def test_a_child_process_runs_the_same_plugins(plugin):
    plugin("from reread.prompting import STRATEGIES, once\nSTRATEGIES['mine'] = once\n")
    code = "import reread.plugins as p, reread.prompting as q; p.load_plugins(); q.strategy('mine')"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ), timeout=300).returncode == 0


def test_an_installed_package_adds_its_names_without_an_option(tmp_path):
    code, *_ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine_of_a_package.py").write_text(code, encoding="utf-8")
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[reread.plugins]\nmine = mine_of_a_package\n")
    (tmp_path / "invoice.txt").write_text(INVOICE, encoding="utf-8")
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    shown = ("prompt", tmp_path / "invoice.txt", "Customer", "--strategy", "headline(lines=2)")
    got = reread(*shown, PYTHONPATH=paths)
    assert got.returncode == 0 and got.stdout.count("INV-77") == 2, got.stdout + got.stderr
    (tmp_path / "mine_of_a_package.py").write_text("raise RuntimeError('not today')\n")
    got = reread(*shown, PYTHONPATH=paths)
    assert got.returncode == 2 and "mine = mine_of_a_package" in got.stderr and "not today" in got.stderr


def test_a_mistake_in_a_plugin_ends_a_command_with_one_sentence(plugin):
    path = plugin("1 / 0\n")
    got = reread("--plugin", path, "prompt", path, "what?")
    assert got.returncode == 2 and got.stderr.startswith("reread: a plugin failed: ZeroDivisionError"), got.stderr
    assert "Traceback" not in got.stderr and "line 1" in got.stderr

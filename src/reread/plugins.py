"""Plugins: Python files, and installed packages, that put their own entries into the tables of names.

A plugin is run once per process, before a command looks up any name.  It is code of the user's choice and is trusted
like any import.  Child processes run the same files: their paths are in the environment.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from reread.errors import BadInput, RereadError

GROUP = "reread.plugins"  # of entry points
VARIABLE = "REREAD_PLUGINS"  # paths, divided by os.pathsep


def name_plugins(files: Sequence[Path]) -> None:
    """Set the files that `load_plugins` runs, here and in child processes."""
    os.environ[VARIABLE] = os.pathsep.join(str(file.absolute()) for file in files)


def load_plugins() -> None:
    """Run the plugins of installed packages (entry points of `reread.plugins`) and the files of REREAD_PLUGINS, each
    once per process.  Raises BadInput for one that is not there or fails; a RereadError of its own passes."""
    for entry in entry_points(group=GROUP):
        with named_if_it_fails(f"{entry.name} = {entry.value}"):
            entry.load()
    for path in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        run_file(Path(path))


def run_file(path: Path) -> None:
    """Run one file as the module `reread_plugin_STEM`, unless this process has run it.  Raises BadInput."""
    name = f"reread_plugin_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return
    if known is not None:
        raise BadInput("two plugins have the same name", got=f"{known.__file__}, {path}", todo="rename one file")
    if path.suffix != ".py" or not path.is_file():
        raise BadInput("no such plugin", got=str(path), allowed="a Python file, such as mine.py")
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # of a .py file there is one
    module = sys.modules[name] = module_from_spec(spec)
    with named_if_it_fails(str(path)):
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise


@contextmanager
def named_if_it_fails(plugin: str) -> Iterator[None]:
    """Raise BadInput with the plugin, its line and the exception, for any that is no RereadError."""
    try:
        yield
    except RereadError:
        raise
    except (Exception, SystemExit) as error:
        lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == plugin]
        if isinstance(error, SyntaxError) and error.filename == plugin:
            lines.append(error.lineno)
        place = f"{plugin}, line {lines[-1]}" if lines else plugin
        what = f"a plugin failed: {type(error).__name__}: {str(error)[:200]}"
        raise BadInput(what, got=place, todo="mend it, or do without it") from error

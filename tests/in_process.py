"""The command `reread` in the process of the tests, which is much faster than one of its own."""

import contextlib
import io
import signal
import subprocess

import pytest

from reread.cli import main


def interruptible():
    """In a child before it starts: Ctrl-C reaches it, also where the tests run in the background and ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def reread(*words):
    """What it printed and said, and its exit code."""
    out, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["reread", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())

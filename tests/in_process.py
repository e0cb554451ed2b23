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


def complained(result, *named):
    """The command ended with 2, printed nothing, and said one sentence on standard error that contains each of `named`.

    `named` are the wrong value and the allowed ones, as the error's `got` and `allowed`; see raising.py.
    """
    assert result.returncode == 2 and not result.stdout and "Traceback" not in result.stderr, result
    assert result.stderr.startswith("reread: ") and result.stderr.count("\n") == 1, result.stderr
    assert named and all(str(name) in result.stderr for name in named), (result.stderr, named)


def reread(*words, text=None, env=None):
    """What it printed and said, and its exit code. text: its standard input; env: variables of its environment."""
    out, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["reread", *map(str, words)])
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((text or "").encode())))
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())

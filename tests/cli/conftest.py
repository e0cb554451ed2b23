"""The entry point changes what Ctrl-C does in its process; each test leaves it as it was."""

import signal

import pytest


@pytest.fixture(autouse=True)
def _ctrl_c_as_it_was():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)

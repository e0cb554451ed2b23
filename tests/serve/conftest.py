"""Servers over the embedded model, and over tiny ones that read bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from local_server import CONTRACT, Served, running

from reread.models import LM, load


@pytest.fixture(scope="session")
def embedded() -> LM:
    return load("embedded")


@pytest.fixture(scope="session")
def served(embedded, tmp_path_factory) -> Iterator[Served]:
    """A server over the embedded model."""
    with running(embedded, tmp_path_factory.mktemp("store")) as one:
        yield one


@pytest.fixture(scope="session")
def tiny(tiny_model, byte_tokenizer) -> LM:
    return LM("tiny", tiny_model(True, vocab_size=256), byte_tokenizer)


@pytest.fixture(scope="session")
def quick(tiny, tmp_path_factory) -> Iterator[Served]:
    """A server over a tiny model that reads bytes."""
    with running(tiny, tmp_path_factory.mktemp("quick")) as one:
        yield one


@pytest.fixture
def serving(tiny, tmp_path) -> Callable:
    """serving(**settings): a server over the tiny model, as a context manager."""
    return lambda lm=None, **settings: running(lm or tiny, tmp_path / "states", **settings)


@pytest.fixture(scope="session")
def contract(served) -> dict:
    """The contract, read once into the server's store."""
    return served.read(CONTRACT.read_text(encoding="utf-8"), name="contract.txt")

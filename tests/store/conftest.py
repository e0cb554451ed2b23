"""Document readers over tiny models, and a few documents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from reread.documents.loaders import Source
from reread.engine import Reader
from reread.models import LM
from reread.sessions import DocumentReader

# equally long in bytes, so that every tensor of one state could stand in the other
TEXTS = (
    "Applicant: Roche Diagnostics. Product code: DEW. Decided on the 3rd of May 2011.",
    "The lease begins on 1 June and ends after nine months; the rent is 2,450 pounds.",
)


@pytest.fixture(scope="session")
def source() -> Callable[[int], Source]:
    """source(i): the i-th document."""

    def make(i: int = 0) -> Source:
        return Source(f"document{i}.txt", TEXTS[i], hashlib.sha256(TEXTS[i].encode()).hexdigest())

    return make


@pytest.fixture(scope="session")
def document_reader(tiny_model, byte_tokenizer) -> Callable[..., DocumentReader]:
    """document_reader(prefix_encoder=True, seed=0, **sizes): of a tiny model that reads bytes."""

    def make(prefix_encoder: bool = True, seed: int = 0, **sizes) -> DocumentReader:
        model = tiny_model(prefix_encoder, seed, vocab_size=256, **sizes)
        return DocumentReader(Reader(LM("tiny", model, byte_tokenizer)))

    return make


@pytest.fixture(scope="session")
def read() -> Callable:
    """read(document_reader, source, **ways): its DocumentState."""

    def make(reader: DocumentReader, source: Source, *, strategy="once", state_dtype="fp32", keep_tokens=True):
        shown = reader.show(source, strategy=strategy)
        header = reader.header(source, shown, state_dtype=state_dtype)
        return reader.read(header, shown[1], keep_tokens=keep_tokens)

    return make

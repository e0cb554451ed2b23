"""Nothing wrong is ever believed: faults of every kind are each one sentence, and none is an accident."""

import random
from collections import Counter

import faults
import pytest
import torch
from raising import refused

from reread.engine import Reader
from reread.errors import BadInput, BadState
from reread.models import LM
from reread.models.families import TINY, tiny
from reread.sessions import DocumentReader
from reread.statefile import checksum, decode, encode
from reread.store import Store, open_file

QUICK, LONG = 1300, 20_000


@pytest.fixture(scope="module")
def subjects(document_reader, read, source, byte_tokenizer):
    """(reader, its two files) of the tiny model in two dtypes, its twin, and two families of transformers."""
    made = []
    ours = [(document_reader(), "fp32"), (document_reader(), "int4"), (document_reader(False), "int8")]
    theirs = []
    for family in ("llama", "mamba"):
        kept = dict(TINY[family])
        TINY[family]["vocab_size"] = 256
        theirs.append((DocumentReader(Reader(LM(family, tiny(family), byte_tokenizer))), "fp32"))
        TINY[family].update(kept)
    for reader, dtype in (*ours, *theirs):
        files = [encode(read(reader, source(i), state_dtype=dtype)) for i in (0, 1)]
        for data in files:
            reader.open(decode(data, "a good one"), "full")
        made.append((reader, *files))
    return made


def caught(subjects, fault, draw, number):
    """At which step a fault was found; fails the test when it was not, or with anything but a sentence."""
    reader, a, b = subjects[number % len(subjects)]
    broken = fault(a, b, draw)
    assert broken != a and broken != b, fault.__name__
    step = "file"
    try:
        document = decode(broken, "a file")
        step = "canary"
        reader.open(document, "canary")
        step = "full"
        reader.open(document, "full")
    except (BadState, BadInput) as error:
        said = str(error)
        assert said.endswith((".", "?")) and "\n" not in said and len(said) < 1000, said
        return step
    raise AssertionError(f"{fault.__name__} was believed ({number})")


def inject(subjects, count, seed):
    draw = random.Random(seed)
    steps = Counter()
    for number in range(count):
        kind = faults.BROKEN if number % 2 else faults.SIGNED
        fault = kind[number // 2 % len(kind)]
        steps[fault.__name__, caught(subjects, fault, draw, number)] += 1
    return steps


def check(steps, count):
    print("\n".join(f"{name} {step} {n}" for (name, step), n in sorted(steps.items())))
    assert sum(steps.values()) == count
    assert {name for name, _ in steps} == {f.__name__ for f in (*faults.BROKEN, *faults.SIGNED)}
    for fault in faults.BROKEN:  # the checksum alone finds these
        assert {step for name, step in steps if name == fault.__name__} == {"file"}
    by_canary = sum(n for (name, step), n in steps.items() if name == "mixed" and step == "canary")
    assert by_canary >= 0.5 * sum(n for (name, _), n in steps.items() if name == "mixed")


def test_more_than_a_thousand_faults_are_all_found(subjects):
    check(inject(subjects, QUICK, seed=0), QUICK)


@pytest.mark.slow
def test_twenty_thousand_faults_are_all_found(subjects):
    check(inject(subjects, LONG, seed=1), LONG)


def test_every_length_of_a_cut_header_and_every_byte_of_the_start_are_found(subjects):
    _, a, _ = subjects[0]
    for n in range(faults.header_size(a) + 1):
        with pytest.raises(BadState):
            decode(a[:n], "a file")
    for at in range(120):
        with pytest.raises(BadState):
            decode(a[:at] + bytes([a[at] ^ 0x20]) + a[at + 1 :], "a file")


def test_in_a_store_even_claims_that_nothing_else_contradicts_are_found_by_the_name(subjects, tmp_path):
    reader, a, b = subjects[0]
    path = Store(tmp_path).put(decode(a, "a file"))
    assert path.read_bytes() == a
    for field in faults.CLAIMS:
        broken = faults.claim(a, field)
        reader.open(decode(broken, "another name"), "full")  # no content says otherwise: docs/states.md
        path.write_bytes(broken)
        with refused(BadState, got=lambda found: found != path.stem, naming=(path.name, "its name")):
            open_file(path)
    path.write_bytes(b)
    with refused(BadState, got=lambda found: found != path.stem, naming=(path.name, "its name")):
        open_file(path)
    path.write_bytes(a)
    assert open_file(path).header == decode(a, "a file").header


def test_the_sentences_name_what_is_wrong(subjects):
    _, a, _ = subjects[0]
    facts, tensors = faults.opened(a)
    for broken, fields in (
        (b"", {"got": "a file", "naming": "beginning"}),
        (b"abc" * 99, {"got": "a file", "naming": "beginning"}),
        (a[:-1], {"got": "a file", "naming": "checksum"}),
        (a + b"x", {"got": "a file", "naming": "checksum"}),
        (faults.signed({**facts, "format": 2}, tensors), {"got": 2, "allowed": 1}),
        (faults.signed({**facts, "read": 99}, tensors), {"naming": ("a file", "position")}),
        (faults.signed({**facts, "strategy": "onse"}, tensors), {"naming": ("a file", "strategy", "got 'onse'")}),
    ):
        with refused(BadState, **fields):
            decode(broken, "a file")


def test_the_same_content_gives_the_same_bytes(subjects):
    for _, a, _ in subjects:
        assert encode(decode(a, "a file")) == a and len(checksum(a, "a file")) == 64
        kept = decode(a, "a file")
        assert all(torch.isfinite(x).all() for x in kept.flat().values() if x.is_floating_point())

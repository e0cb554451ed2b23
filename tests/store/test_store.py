"""A store: files whole or not there, the longest unused first to go, two processes at once, a writer killed."""

import dataclasses
import itertools
import multiprocessing
import os
import time

import pytest
from raising import refused

import reread.store
from reread.errors import BadInput, BadState, StoreTrouble
from reread.statefile import decode, encode
from reread.store import Store, open_file

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def states(document_reader, read, source):
    """Four states of one model, each a file of its own."""
    reader = document_reader()
    ways = [(i, dtype) for dtype in ("fp32", "bf16") for i in (0, 1)]
    return [read(reader, source(i), state_dtype=dtype) for i, dtype in ways]


def write(folder, states, limit, rounds, ready):
    store = Store(folder, limit)
    ready.set()
    for i in range(rounds) if rounds else itertools.count():
        store.put(states[i % len(states)])


def writer(folder, states, limit, rounds=0):
    """Another process that puts the states in turn, for ever or so many times; forked, for it has to begin at once."""
    ready = FORK.Event()
    process = FORK.Process(target=write, args=(folder, states, limit, rounds, ready))
    process.start()
    assert ready.wait(60)
    return process


def test_a_state_is_put_found_listed_and_removed(states, tmp_path):
    store = Store(tmp_path / "new" / "store")
    assert store.ls() == [] and store.find(states[0].key) is None
    path = store.put(states[0])
    assert store.put(states[0]) == path == store.find(states[0].key)
    assert encode(store.get(path.stem)) == encode(states[0]) == path.read_bytes()
    assert encode(store.get(states[0].key[:8])) == encode(states[0])
    (entry,) = store.ls()
    assert (entry.id, entry.bytes, entry.header) == (path.stem, path.stat().st_size, states[0].header)
    store.put(states[1])
    with refused(BadInput, got="nothing"):
        store.rm([states[1].key[:9], "nothing"])
    assert len(store.ls()) == 2
    assert store.rm([path.stem]) == [path] and len(store.ls()) == 1
    with refused(BadInput, got="", naming="state"):
        store.get("")


def test_whatever_a_reading_depends_on_is_in_its_key(states):
    header = states[0].header
    other = {
        "model": "x", "tokenizer": "x", "tokens": "x", "prefix_len": 1, "strategy": "x", "policy": "x",
        "state_dtype": "x", "document": "x",
    }  # fmt: skip
    keys = {dataclasses.replace(header, **{name: value}).key(kept=True) for name, value in other.items()}
    assert len({*keys, header.key(kept=True), header.key(kept=False)}) == len(other) + 2
    assert dataclasses.replace(header, name="renamed").key(kept=True) == header.key(kept=True)


def test_what_several_states_begin_with_names_none(states, tmp_path):
    store = Store(tmp_path)
    paths = [store.put(states[0]), store.put(states[1])]
    twin = paths[0].with_name(paths[0].name[:1] + paths[1].name[1:])
    paths[1].rename(twin)
    for ask in (store.get, lambda name: store.rm([name])):
        with refused(BadInput, got=twin.name[:1]):
            ask(twin.name[:1])
    assert paths[0].exists() and twin.exists()


def test_the_longest_unused_goes_first_and_the_limit_holds(states, tmp_path):
    sizes = [len(encode(state)) for state in states]
    store = Store(tmp_path, limit_bytes=sizes[0] + sizes[1] + sizes[2])
    paths = [store.put(state) for state in states[:3]]
    for age, path in zip((30, 20, 10), paths, strict=True):
        os.utime(path, (time.time() - age,) * 2)
    store.get(paths[0].stem)
    store.put(states[3])
    assert {entry.path for entry in store.ls()} == {paths[0], paths[2], store.find(states[3].key)}
    assert sum(entry.bytes for entry in store.ls()) <= store.limit
    with refused(BadInput, got=lambda size: size > 1000, allowed=100):
        Store(tmp_path, limit_bytes=100).put(states[1])
    with refused(BadInput, got=0, naming="byte"):
        Store(tmp_path, limit_bytes=0)


def test_a_smaller_limit_holds_also_where_nothing_is_written(states, document_reader, source, tmp_path):
    reader, roomy = document_reader(), Store(tmp_path)
    kept = [reader.keep(roomy, source(i)) for i in (0, 1)]
    for age, one in zip((20, 10), kept, strict=True):
        os.utime(one.path, (time.time() - age,) * 2)
    tight = Store(tmp_path, limit_bytes=kept[0].path.stat().st_size * 3 // 2)
    assert reader.keep(tight, source(0)).already_there
    assert [entry.path for entry in roomy.ls()] == [kept[0].path]
    roomy.put(states[2])
    assert tight.put(states[2]) == roomy.find(states[2].key) and len(roomy.ls()) == 1
    for again in (lambda: Store(tmp_path, 100).put(states[2]), lambda: reader.keep(Store(tmp_path, 100), source(0))):
        with refused(BadInput, got=lambda size: size > 1000, allowed=100):
            again()


def test_what_is_no_state_is_left_alone_and_a_broken_one_is_listed_as_that(states, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model.safetensors").write_text("mine too")
    store = Store(tmp_path, limit_bytes=1_000_000)
    path = store.put(states[0])
    path.write_bytes(path.read_bytes()[:40])
    (entry,) = store.ls()
    assert entry.header is None and "header of this state file cannot be read" in entry.wrong
    with refused(BadState, got=path.name):
        store.get(path.stem)
    again = store.put(states[0])
    assert encode(open_file(again)) == encode(states[0])
    assert (tmp_path / "notes.txt").exists() and (tmp_path / "model.safetensors").exists()
    with refused(BadInput, got=tmp_path / "notes.txt"):
        Store(tmp_path / "notes.txt")


def test_what_killed_writers_left_is_swept_away_when_it_is_old(states, tmp_path):
    old, new = tmp_path / "old.part", tmp_path / "new.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    Store(tmp_path).put(states[0])
    assert not old.exists() and new.exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(states, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reread.store.write_new", full)
    with refused(StoreTrouble, got=tmp_path, naming="No space left on device"):
        Store(tmp_path).put(states[0])
    assert not list(tmp_path.glob("*.part")) and not Store(tmp_path).ls()


def test_room_is_made_before_a_state_is_written(states, tmp_path, monkeypatch):
    """A disk that holds no more than the limit."""
    limit = max(len(encode(state)) for state in states)
    store = Store(tmp_path, limit)
    store.put(states[0])
    write = reread.store.write_new

    def small_disk(path, data):
        if sum(file.stat().st_size for file in tmp_path.iterdir()) + len(data) > limit:
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr("reread.store.write_new", small_disk)
    assert store.put(states[1]).exists() and len(store.ls()) == 1


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_whole_files_only(states, tmp_path):
    limit = 3 * max(len(encode(state)) for state in states) // 2  # every put removes what was there
    seen = halves = 0
    for n in range(40):
        process = writer(tmp_path, states, limit)
        time.sleep(0.003 * (n % 10) + 0.0007 * n)
        process.kill()
        process.join(30)
        halves += len(list(tmp_path.glob("*.part")))
        for entry in Store(tmp_path).ls():
            assert entry.header is not None and open_file(entry.path).header.read == 80
            seen += 1
        assert Store(tmp_path, limit).put(states[n % 4]).exists()  # the lock went with its holder
    assert seen >= 20 and halves  # some were killed in the middle of a file


@pytest.mark.slow
def test_two_writers_and_a_reader_on_one_store_that_is_too_small(states, tmp_path):
    limit = 2 * max(len(encode(state)) for state in states)
    keys = {encode(state) for state in states}
    processes = [writer(tmp_path, states, limit, rounds=120) for _ in range(2)]
    store, reads = Store(tmp_path, limit), 0
    while any(process.is_alive() for process in processes):
        for entry in store.ls():
            try:
                assert encode(store.get(entry.id)) in keys
                reads += 1
            except BadInput as error:  # removed between being listed and being read: said so, nothing else
                assert "no such state" in str(error) or "no state file can be read" in str(error)
        assert sum(entry.bytes for entry in store.ls()) <= 2 * limit
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert reads > 10 and sum(entry.bytes for entry in store.ls()) <= limit
    assert not list(tmp_path.glob("*.part"))
    assert all(decode(entry.path.read_bytes(), "a file").key for entry in store.ls())

"""State files that hold chosen keys: round trips in every dtype, keys of a store, what is refused."""

import dataclasses
import json
import random

import faults
import pytest
import torch
from marks import slow
from raising import containing, refused

from reread.engine import Reader
from reread.errors import BadInput, BadState
from reread.models import LM
from reread.models.families import TINY, tiny
from reread.models.kept_keys import kept_layers
from reread.sessions import DocumentReader, relative
from reread.statefile import decode, encode
from reread.store import Store

SELECT = "reread(tokens=20)"


@pytest.fixture
def reader_of(byte_tokenizer, monkeypatch):
    def make(family):
        monkeypatch.setitem(TINY, family, {**TINY[family], "vocab_size": 256})
        return DocumentReader(Reader(LM(family, tiny(family), byte_tokenizer)))

    return make


def made(reader, source, select=SELECT, dtype="fp32"):
    shown = reader.show(source)
    return reader.read(reader.header(source, shown, state_dtype=dtype, select=select), shown[1])


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        *(("llama", dtype) for dtype in ("fp32", "bf16", "int8", "int4")),
        ("falcon_h1", "int8"),
        *slow(*(("falcon_h1", dtype) for dtype in ("fp32", "bf16", "int4"))),
    ],
)
def test_a_file_gives_the_state_back(reader_of, source, family, dtype):
    reader = reader_of(family)
    document = made(reader, source(), dtype=dtype)
    again = decode(encode(document), "a file")
    assert again.header == document.header and again.header.selection == SELECT
    assert again.says_kept() == f"{SELECT} kept 20 of {again.header.read} positions per head"
    session = reader.open(again, "full")
    assert kept_layers(session.state.tensors[0]) == reader.mould.layers
    whole = made(reader, source(), select="full", dtype=dtype)
    assert document.nbytes < whole.nbytes
    if dtype == "fp32":
        flat = document.flat()
        assert all(torch.equal(x, flat[name]) for name, x in session.state.to_flat().items())
    answers = session.ask(["Product code", "Who decided?"])
    assert [len(answers), answers[0].prompt_tokens] == [2, again.header.read + len(session.tail("Product code")[0])]


@pytest.mark.parametrize("select", ["reread(read=16, tokens=20)", "window(read=16, tokens=20)"])
def test_a_file_of_a_document_that_was_read_in_pieces(reader_of, source, select):
    reader = reader_of("llama")
    document = made(reader, source(), select=select, dtype="bf16")
    again = decode(encode(document), "a file")
    assert again.header.selection == select and again.says_kept().startswith(f"{select} kept 20 of ")
    session = reader.open(again, "full")
    assert session.ask(["Product code"])[0].prompt_tokens > again.header.read
    other = dataclasses.replace(again.header, selection="reread(read=50, tokens=20)")
    with refused(BadState, got=containing("are the same"), allowed="100%"):
        reader.open(decode(encode(dataclasses.replace(again, header=other)), "a file"), "full")


@pytest.mark.parametrize("select", ["reread(read=16, tokens=10)", "window(read=16, tokens=10)"])
def test_a_document_with_more_tokens_than_the_model_has_positions(reader_of, source, monkeypatch, tmp_path, select):
    monkeypatch.setitem(TINY, "llama", {**TINY["llama"], "max_position_embeddings": 100})
    reader, store = reader_of("llama"), Store(tmp_path)
    monkeypatch.setattr("reread.selecting.FIRST", "\nAgain: ")
    monkeypatch.setattr("reread.selecting.LATER", "\nAfter ")
    monkeypatch.setattr("reread.selecting.AFTER", ": ")
    text = " ".join(f"Item {i} costs {i * i} euros." for i in range(20))
    whole = dataclasses.replace(source(), text=text)
    kept = reader.keep(store, whole, select=select)
    document = decode(kept.path.read_bytes(), "a file")
    assert document.header.read > 400 and 10 <= document.header.end < 100 and not document.header.cut
    assert containing("the gaps between them were closed").holds(kept.kept)
    session = reader.open(document, "full")
    (answer,) = session.ask(["Product code"], max_new_tokens=4)
    assert answer.prompt_tokens == document.header.read + len(session.tail("Product code")[0])
    assert reader.keep(store, whole, select=select).already_there
    asked = reader.reader.ask(whole.text, "Product code", select=select, max_new_tokens=4)[0]
    assert asked.text == answer.text and asked.prompt_tokens == answer.prompt_tokens
    for position in (0, document.header.end + 1, document.header.read, -1):
        lie = dataclasses.replace(document, header=dataclasses.replace(document.header, position=position))
        with refused(BadState, naming="position"):
            decode(encode(lie), "a file")
    with refused(BadInput, allowed=100):
        reader.keep(store, whole, select="reread(tokens=10)", budget=1000)


def test_a_file_without_a_selection_says_nothing_of_one(reader_of, source):
    reader = reader_of("llama")
    data = encode(made(reader, source(), select="full"))
    assert b"selection" not in data
    assert decode(data, "a file").header.selection == "full"
    assert decode(data, "a file").says_kept() == ""


def test_two_selections_never_share_an_entry(reader_of, source, tmp_path):
    reader, store = reader_of("llama"), Store(tmp_path)
    selects = ("full", SELECT, "reread(tokens=21)", "reread(chunk=30, tokens=20)", "window(tokens=20)")
    selects += ("reread(read=30, tokens=20)", "reread(read=31, tokens=20)", "window(read=30, tokens=20)")
    kept = [reader.keep(store, source(), select=select) for select in selects]
    assert len({one.path for one in kept}) == len(selects) and not any(one.already_there for one in kept)
    again = reader.keep(store, source(), select="reread(heads=global, tokens=20)")
    assert again.already_there and again.path == kept[1].path and again.kept == kept[1].kept != ""
    shown = reader.show(source())
    full = reader.header(source(), shown)
    before = dataclasses.asdict(full)
    assert full.key(True) == dataclasses.replace(full, name="another").key(True) and before["selection"] == "full"


def test_states_of_several_selections_are_asked_together(reader_of, source):
    from reread.sessions import ask_each

    reader = reader_of("llama")
    selects = ("full", SELECT, "window(share=0.5)", "reread(tokens=500)")
    sessions = [reader.open(made(reader, source(i % 2), select=one)) for i, one in enumerate(selects)]
    together = ask_each(sessions, ["Product code"] * 4, max_new_tokens=6)
    alone = [one.ask(["Product code"], max_new_tokens=6)[0] for one in sessions]
    assert [one.text for one in together] == [one.text for one in alone]


def test_a_budget_that_holds_the_document_is_an_ordinary_state_that_says_so(reader_of, source):
    reader = reader_of("llama")
    document = made(reader, source(), select="reread(tokens=500)")
    assert "nothing was dropped" in document.says_kept()
    assert document.packed.keys() == made(reader, source(), select="full").packed.keys()
    reader.open(decode(encode(document), "a file"), "full")


def test_a_state_with_kept_keys_between_dtypes_of_one_model(reader_of, source):
    reader = reader_of("llama")
    document = made(reader, source())
    reader.lm.model.model.bfloat16()
    wide = DocumentReader(Reader(reader.lm))
    document = dataclasses.replace(
        document, header=dataclasses.replace(document.header, model=wide.lm.model.fingerprint)
    )
    state = wide.open(document, "canary").state
    assert state.tensors[0]["kept.0.key"].dtype == torch.bfloat16
    ids = torch.tensor([[65, 66]])
    logits, _ = wide.lm.model.extend(ids, state)
    assert bool(torch.isfinite(logits).all())


def changed(document, name, change):
    x = document.packed[name].clone()
    packed = {**document.packed, name: change(x)}
    shape = {name: dataclasses.replace(document.header.layout[name], shape=tuple(packed[name].shape))}
    header = dataclasses.replace(document.header, layout={**document.header.layout, **shape})
    return encode(dataclasses.replace(document, header=header, packed=packed))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("positions", lambda x: x.flip(0)),
        ("positions", lambda x: x + 1000),
        ("positions", lambda x: x - 1),
        ("positions", lambda x: x[:-1]),
        ("positions", lambda x: x.long()),
        ("counts", lambda x: x + 1),
        ("counts", lambda x: torch.cat((x[:1] + x[1:], x[:1] * 0, x[:1] * 0))),
        ("key", lambda x: x[:-1]),
        ("value", lambda x: torch.cat((x, x))),
    ],
)
def test_positions_that_disagree_with_tensors_are_refused_before_a_model_is_asked(reader_of, source, part, change):
    document = made(reader_of("llama"), source())
    with refused(BadState, naming="contradicts itself"):
        decode(changed(document, f"rows.0.kept.1.{part}", change), "a file")


@pytest.mark.parametrize(
    "select", ["full", "reread(tokens=21)", "reread(share=0.5)", "reread(tokens=20, heads=global)"]
)
def test_a_selection_that_its_tensors_contradict_is_refused(reader_of, source, select):
    document = made(reader_of("llama"), source())
    broken = dataclasses.replace(document, header=dataclasses.replace(document.header, selection=select))
    with refused(BadState, naming="contradicts itself"):
        decode(encode(broken), "a file")


def test_an_ordinary_state_is_not_one_of_a_small_budget(reader_of, source):
    document = made(reader_of("llama"), source(), select="full")
    broken = dataclasses.replace(document, header=dataclasses.replace(document.header, selection=SELECT))
    with refused(BadState, naming="contradicts itself"):
        decode(encode(broken), "a file")


def test_another_selection_of_the_same_size_is_found_when_the_document_is_read_anew(reader_of, source):
    reader = reader_of("llama")
    document = made(reader, source())
    broken = dataclasses.replace(document, header=dataclasses.replace(document.header, selection="window(tokens=20)"))
    with refused(BadState, got=containing("are the same"), allowed="90%"):
        reader.open(decode(encode(broken), "a file"), "full")


@pytest.mark.parametrize("family", ["mamba", "rwkv"])
def test_a_family_with_a_fixed_state_is_refused_before_it_reads(reader_of, source, family):
    reader = reader_of(family)
    with refused(BadInput, got=family, naming="fixed size already"):
        reader.header(source(), reader.show(source()), select=SELECT)


def test_models_of_the_jrt_layout_are_refused(document_reader, source):
    reader = document_reader()
    with refused(BadInput, naming="fixed size already"):
        reader.header(source(), reader.show(source()), select=SELECT)


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_faults_in_states_with_kept_keys_are_all_found(reader_of, source, dtype):
    reader = reader_of("llama")
    a, b = (encode(made(reader, source(i), dtype=dtype)) for i in (0, 1))
    draw, kinds = random.Random(0), (*faults.BROKEN, *faults.SIGNED)
    for number in range(130):
        fault = kinds[number % len(kinds)]
        broken = fault(a, b, draw)
        with pytest.raises((BadState, BadInput)) as caught:
            reader.open(decode(broken, "a file"), "full")
        assert len(str(caught.value)) < 1000, fault.__name__


def test_the_header_is_plain_json(reader_of, source):
    facts, _ = faults.opened(encode(made(reader_of("llama"), source())))
    assert json.loads(json.dumps(facts))["selection"] == SELECT
    assert relative(torch.tensor([1]), torch.tensor([1, 2])) == float("inf")

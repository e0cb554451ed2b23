"""State files that tell what was forgotten: round trips, keys, contradictions, and what a fresh reading finds."""

import dataclasses
import random

import faults
import pytest
import torch
from marks import slow
from raising import containing, refused

from reread.engine import Reader
from reread.errors import BadInput, BadState, UnknownName
from reread.models import LM
from reread.models.families import TINY, tiny
from reread.models.lost_units import BOUNDS, NATS, LostUnits
from reread.sessions import DocumentReader
from reread.statefile import decode, encode
from reread.store import Store, open_file

SELECT = "reread(tokens=20)"


@pytest.fixture
def reader_of(byte_tokenizer, monkeypatch):
    def make(family="llama"):
        monkeypatch.setitem(TINY, family, {**TINY[family], "vocab_size": 256})
        return DocumentReader(Reader(LM(family, tiny(family), byte_tokenizer)))

    return make


def made(reader, source, select=SELECT, forgotten="sentence", dtype="fp32", strategy="once", keep_tokens=True):
    shown = reader.show(source, strategy=strategy)
    header = reader.header(source, shown, state_dtype=dtype, select=select, forgotten=forgotten)
    return reader.read(header, shown[1], prompt=shown[0], keep_tokens=keep_tokens)


@pytest.mark.parametrize("strategy", ["once", "twice(cue=False)"])
def test_a_file_gives_back_what_reader_read_measures(reader_of, source, strategy):
    reader, text = reader_of(), source().text
    document = made(reader, source(), strategy=strategy)
    again = decode(encode(document), "a file")
    assert again.header.forgotten == "sentence" and again.header == document.header
    want = reader.reader.read(text, select=SELECT, strategy=strategy, forgotten="sentence").lost
    session = reader.open(again, "full")
    assert [text[one.start : one.end] for one in session.lost] == [text[one.start : one.end] for one in want]
    assert len(want) == 3 and "".join(text[one.start : one.end] for one in want) == text
    assert [one.nats for one in session.lost] == pytest.approx([one.nats for one in want], abs=2e-3)
    assert max(abs(one.nats) for one in want) > 2e-3
    more = len(encode(document)) - len(encode(made(reader, source(), forgotten="", strategy=strategy)))
    assert document.lost.bounds.numel() * 4 + document.lost.nats.numel() * 2 == 22 < more


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_packing_changes_nothing_of_it(reader_of, source, dtype):
    reader = reader_of()
    document = decode(encode(made(reader, source(), dtype=dtype)), "a file")
    assert torch.equal(document.lost.nats, made(reader, source()).lost.nats)
    reader.open(document, "full")


def test_units_without_blanks_before_them_begin_with_a_word():
    """A token with a blank before its word belongs to the unit of the word."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    from reread.prompting import build_unasked, units
    from reread.selecting import unit_bounds

    words = ["A", " first", " one", ".", " Then", " more"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="."))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[A-Za-z]+|\."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    text = "A first one. Then more."
    spans = units(text, "sentence")
    assert [text[start:end] for start, end in spans] == ["A first one. ", "Then more."]
    prompt = build_unasked("once", text)
    assert unit_bounds(LM("words", None, tokenizer), prompt, spans) == [0, 4, 7]


def test_a_file_that_tells_nothing_has_no_word_of_it(reader_of, source):
    reader = reader_of()
    for select in ("full", SELECT):
        data = encode(made(reader, source(), select=select, forgotten=""))
        assert b"forgotten" not in data and decode(data, "a file").lost is None


def test_states_that_tell_and_that_do_not_never_share_an_entry(reader_of, source, tmp_path):
    reader, store = reader_of(), Store(tmp_path)
    kept = [reader.keep(store, source(), select=SELECT, forgotten=unit) for unit in ("", "sentence", "line")]
    assert len({one.path for one in kept}) == 3 and not any(one.already_there for one in kept)
    assert kept[0].forgotten == "" and kept[0].lost == () and kept[1].forgotten.startswith("0 of 3 sentences")
    again = reader.keep(store, source(), select=SELECT, forgotten="sentence")
    assert again == dataclasses.replace(kept[1], already_there=True) and len(again.lost) == 3
    assert "".join(again.texts) == source().text and open_file(again.path).lost is not None
    assert reader.keep(store, source(), select=SELECT, forgotten="none").path == kept[0].path


def test_a_budget_that_holds_the_document_has_forgotten_nothing(reader_of, source):
    reader = reader_of()
    document = decode(encode(made(reader, source(), select="reread(tokens=500)")), "a file")
    assert document.lost.nats.tolist() == [0.0] * 3
    reader.open(document, "full")


def broken_lost(document, bounds=None, nats=None, **header):
    lost = document.lost and LostUnits(
        document.lost.bounds if bounds is None else bounds, document.lost.nats if nats is None else nats
    )
    return encode(dataclasses.replace(document, header=dataclasses.replace(document.header, **header), lost=lost))


@pytest.mark.parametrize(
    "broken",
    [
        {"nats": torch.zeros(2, dtype=torch.float16)},
        {"nats": torch.zeros(3)},
        {"nats": torch.tensor([0, float("nan"), 0], dtype=torch.float16)},
        {"nats": torch.zeros(0, dtype=torch.float16)},
        {"nats": torch.zeros(0, dtype=torch.float16), "bounds": torch.zeros(1, dtype=torch.int32)},
        {"nats": torch.zeros(0, dtype=torch.float16), "bounds": torch.zeros(0, dtype=torch.int32)},
        {"bounds": torch.tensor([0, 40, 30, 80], dtype=torch.int32)},
        {"bounds": torch.tensor([0, 30, 40, 9999], dtype=torch.int32)},
        {"bounds": torch.tensor([-1, 30, 40, 80], dtype=torch.int32)},
        {"bounds": torch.tensor([0, 30, 40, 80])},
        {"bounds": torch.tensor([[0, 30, 40, 80]], dtype=torch.int32)},
        {"forgotten": "word"},
        {"forgotten": "none"},
        {"selection": "full"},
        {"selection": "reread(read=20, tokens=20)"},
    ],
)
def test_units_that_disagree_with_their_tensors_are_refused_before_a_model_is_asked(reader_of, source, broken):
    document = made(reader_of(), source())
    decode(broken_lost(document), "a file")
    with refused(BadState, naming="contradicts itself"):
        decode(broken_lost(document, **broken), "a file")


def test_a_header_and_tensors_that_differ_in_whether_it_is_told_are_refused(reader_of, source):
    document = made(reader_of(), source())
    with refused(BadState, naming=BOUNDS):
        decode(encode(dataclasses.replace(document, lost=None)), "a file")
    with refused(BadState, got=containing("forgotten.")):
        decode(broken_lost(document, forgotten=""), "a file")
    facts, tensors = faults.opened(encode(document))
    del tensors[NATS]
    with refused(BadState, naming=NATS):
        decode(faults.signed(facts, tensors), "a file")


def test_other_units_and_other_losses_are_found_when_the_document_is_read_anew(reader_of, source):
    reader = reader_of()
    document = made(reader, source())
    moved = document.lost.bounds + torch.tensor([0, 1, 0, 0], dtype=torch.int32)
    for broken in ({"forgotten": "line"}, {"bounds": moved}):
        found = decode(broken_lost(document, **broken), "a file")
        reader.open(found, "canary")
        with refused(BadState, naming="other units"):
            reader.open(found, "full")
    nats = document.lost.nats.clone()
    nats[1] += 0.5
    with refused(BadState, got=containing("0.50", "off"), naming="forgotten"):
        reader.open(decode(broken_lost(document, nats=nats), "a file"), "full")


@pytest.mark.parametrize("dtype", ["fp32", *slow("int4")])
def test_faults_in_states_that_tell_it_are_all_found(reader_of, source, dtype):
    reader = reader_of()
    a, b = (encode(made(reader, source(i), dtype=dtype)) for i in (0, 1))
    draw, kinds = random.Random(1), (*faults.BROKEN, *faults.SIGNED)
    for number in range(130):
        fault = kinds[number % len(kinds)]
        with pytest.raises((BadState, BadInput)) as caught:
            reader.open(decode(fault(a, b, draw), "a file"), "full")
        assert len(str(caught.value)) < 1000, fault.__name__


def test_what_cannot_be_told_is_refused_before_it_is_read(reader_of, source):
    reader = reader_of()
    shown = reader.show(source())
    for select, unit, kind in (
        ("full", "line", BadInput), ("reread(read=20, tokens=20)", "line", BadInput), (SELECT, "word", UnknownName),
        (SELECT, "window(0)", BadInput),
    ):  # fmt: skip
        with refused(kind, got=select if "read=" in select else unit):
            reader.header(source(), shown, select=select, forgotten=unit)
    header = reader.header(source(), shown, select=SELECT, forgotten="line")
    with refused(BadInput, got=source().name, naming="units of a text"):
        reader.read(header, shown[1])


# questions ----------------------------------------------------------------------------------------------------------


def lossy(document, *nats):
    """The state with other losses."""
    lost = LostUnits(document.lost.bounds, torch.tensor(nats, dtype=torch.float16))
    return dataclasses.replace(document, lost=lost)


def test_a_question_of_a_lost_sentence_is_doubted_and_can_be_asked_again_with_all_keys(reader_of, source):
    reader = reader_of()
    document = lossy(made(reader, source()), 0.5, 3.0, 0.25)
    session = reader.open(document)
    (asked,) = session.ask(["Product code"], max_new_tokens=6)
    assert asked.forgotten == 3.0 and any("forgot" in doubt for doubt in asked.doubts) and not asked.read_again
    (other,) = session.ask(["Applicant"], max_new_tokens=6)
    assert other.forgotten == 0.5 and not any("forgot" in doubt for doubt in other.doubts)
    (unknown,) = session.ask(["Zebra?"], max_new_tokens=6)
    assert unknown.forgotten is None
    again = session.ask_again("Product code", asked, max_new_tokens=6)
    (whole,) = reader.open(made(reader, source(), select="full", forgotten="")).ask(["Product code"], max_new_tokens=6)
    assert (again.text, again.logprob) == (whole.text, pytest.approx(whole.logprob, abs=1e-4))
    assert again.read_again and again.forgotten == 3.0 and not any("forgot" in doubt for doubt in again.doubts)
    assert again.kept_positions == document.header.read
    assert again.read_tokens == asked.read_tokens + whole.read_tokens + document.header.read


def test_without_tokens_it_is_not_known_until_the_document_is_at_hand(reader_of, source):
    reader = reader_of()
    document = lossy(made(reader, source(), keep_tokens=False), 0.5, 3.0, 0.25)
    session = reader.open(document)
    (asked,) = session.ask(["Product code"], max_new_tokens=6)
    assert asked.forgotten is None and session.lost == ()
    with refused(BadState, naming="no tokens"):
        session.ask_again("Product code", asked)
    assert reader.with_tokens(document, source(1)) is None
    shorter = dataclasses.replace(document, header=dataclasses.replace(document.header, tokens="0" * 64))
    assert reader.with_tokens(shorter, source()) is None
    found = reader.with_tokens(document, source())
    (asked,) = reader.open(found).ask(["Product code"], max_new_tokens=6)
    assert asked.forgotten == 3.0

"""extract with a selection: the answers of Reader.ask per document, what rows say, resuming, and what is refused."""

import csv
import json

import pytest
from in_process import complained, reread
from raising import refused

from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.extract import ExtractConfig, Extractor, extract
from reread.fields import Field

SELECT = "reread(tokens=24)"
FIELDS = (Field("Applicant", "Applicant"), Field("code", "Product code"), Field("who", "Who decided?"))
TEXTS = [
    f"Applicant: Firm {i}. " + "Some more text. " * (2 * i) + f"Product code: X{i}Y. Decided by panel {i}."
    for i in range(4)
]


@pytest.fixture
def extractor(byte_llama):
    def make(**settings):
        return Extractor(Reader(byte_llama), FIELDS, ExtractConfig(max_new_tokens=6, **settings))

    return make


@pytest.fixture
def files(tmp_path):
    for i, text in enumerate(TEXTS):
        (tmp_path / f"{i}.txt").write_text(text)
    return [str(tmp_path / f"{i}.txt") for i in range(len(TEXTS))]


def test_values_are_the_answers_of_ask_per_document(extractor):
    one = extractor(select=SELECT)
    found = one.values([one.show(text) for text in TEXTS])
    whole = extractor().values([one.show(text) for text in TEXTS])
    for text, values in zip(TEXTS, found, strict=True):
        for field, answer in zip(FIELDS, values.answers, strict=True):
            alone, _ = one.reader.ask(text, field.ask, select=SELECT, max_new_tokens=6)
            assert (answer.text, answer.prompt_tokens) == (alone.text, alone.prompt_tokens)
            assert answer.logprob == pytest.approx(alone.logprob, rel=1e-3)
            assert answer.kept_positions == alone.kept_positions == 24
        reading = one.reader.read(text, select=SELECT).selected.read_tokens
        assert values.tokens_read == reading + sum(map(len, one.tails)) and values.kept_positions == 24
    logprobs = [[[answer.logprob for answer in values.answers] for values in some] for some in (found, whole)]
    assert logprobs[0] != logprobs[1] and whole[0].kept_positions is None


def test_a_document_in_parts_keeps_keys_of_each_part(extractor):
    one = extractor(select=SELECT, window="parts", budget=60)
    (values,) = one.best_values([one.texts(TEXTS[3])])
    for field, answer in zip(FIELDS, values.answers, strict=True):
        alone, _ = one.reader.ask(TEXTS[3], field.ask, select=SELECT, window="parts", budget=60, max_new_tokens=6)
        assert answer.text == alone.text and answer.kept_positions == 24


def test_rows_and_their_file_say_what_was_kept(extractor, files, tmp_path):
    for end in (".jsonl", ".csv", ".parquet"):
        rows = extract(extractor(select="reread(heads=global, tokens=24)"), files, tmp_path / f"r{end}")
        assert [(row["selection"], row["kept_positions"], row["error"]) for row in rows] == [(SELECT, 24, None)] * 4
    with (tmp_path / "r.csv").open(newline="") as text:
        assert [row["kept_positions"] for row in csv.DictReader(text)] == ["24.0"] * 4
    (row, *_) = extract(extractor(), files, tmp_path / "whole.jsonl")
    assert not {"selection", "kept_positions"} & set(row)


def test_a_bad_document_costs_no_other(extractor, files, tmp_path):
    (tmp_path / "1.txt").write_text(" \n")
    (tmp_path / "2.txt").write_bytes(b"\x00\x01")
    rows = extract(extractor(select=SELECT), files, tmp_path / "r.jsonl")
    assert [row["error"] is None for row in rows] == [True, False, False, True]
    assert "no text" in rows[1]["error"] and rows[1]["kept_positions"] is None
    assert [row["kept_positions"] for row in rows] == [24, None, None, 24]


@pytest.mark.parametrize(("then", "now"), [(SELECT, "full"), ("full", SELECT), (SELECT, "window(tokens=24)")])
def test_rows_of_another_selection_are_never_continued(extractor, files, tmp_path, then, now):
    def stop(told):
        if told.done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "r.jsonl"
    with pytest.raises(KeyboardInterrupt):
        extract(extractor(select=then, batch=1), files, out, progress=stop)
    with refused(BadInput, allowed=now if now != "full" else "none", naming="selection"):
        extract(extractor(select=now, batch=1), files, out)
    whole = extract(extractor(select=then, batch=1), files, tmp_path / "whole.jsonl")
    again = extract(extractor(select=then, batch=1), files, out)
    assert [row["fields"] for row in again] == [row["fields"] for row in whole]


@pytest.mark.parametrize(
    ("settings", "kind", "fields"),
    [
        ({"reading": "schema"}, BadInput, {"got": "schema", "allowed": "shared"}),
        ({"reading": "each(strategy=once)"}, BadInput, {"got": "each(strategy=once)", "allowed": "shared"}),
        ({"reading": "shared(strategy=twice)"}, BadInput, {"naming": "twice(cue=False)"}),
        ({"select": "rereed(tokens=9)"}, UnknownName, {"got": "rereed"}),
        ({"select": "reread"}, BadInput, {"got": "reread"}),
    ],
)
def test_what_cannot_be_selected_is_refused_before_a_model_is_loaded(settings, kind, fields):
    with refused(kind, **fields):
        ExtractConfig(**{"select": SELECT, **settings}).check()


def test_the_command_tells_and_refuses(byte_llama_folder, files, tmp_path):
    (tmp_path / "fields.json").write_text('["Applicant", {"name": "code", "ask": "Product code"}]')
    words = ("extract", *files, "--fields", tmp_path / "fields.json", "--out", tmp_path / "r.jsonl", "--json")
    complained(reread(*words, "--select", SELECT, "--model", "small-causal"), "fixed size already")
    complained(reread(*words, "--select", SELECT, "--reading", "schema", "--model", "no such model"), "shared")
    assert not list(tmp_path.glob("r.jsonl*"))
    said = reread(*words, "--select", SELECT, "--model", byte_llama_folder, "--threshold", 0)
    assert said.returncode == 0 and json.loads(said.stdout)["selection"] == SELECT, said
    assert json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])["kept_positions"] == 24


@pytest.mark.parametrize("select", ["full", SELECT])
def test_copied_values_are_those_of_ask_and_rows_are_of_their_own(extractor, files, tmp_path, select):
    one = extractor(select=select, copy=True)
    for text, values in zip(TEXTS, one.values([one.show(text) for text in TEXTS]), strict=True):
        for field, answer in zip(FIELDS, values.answers, strict=True):
            alone, _ = one.reader.ask(text, field.ask, select=select, max_new_tokens=6, copy=True)
            assert answer.text == alone.text and (answer.text in text or answer.text in ("yes", "no"))
    free, copied = extract(extractor(), files, tmp_path / "a.jsonl"), extract(one, files, tmp_path / "b.jsonl")
    assert [row["fields"] for row in free] != [row["fields"] for row in copied]

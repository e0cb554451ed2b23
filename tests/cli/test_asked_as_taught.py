"""A model whose adapter has a template and a calibration, in the commands: how it is asked, what they say."""

import json

import pytest
import torch
from in_process import complained, reread

from reread.models.families import TINY
from reread.models.lora import Manifest
from reread.options import MAX_NEW_TOKENS

peft = pytest.importorskip("peft", reason="needs the package peft")

POSITIONS = 400
CALIBRATION = {
    "field": {"score": [0, 1], "probability": [0.25, 0.25], "threshold": 0.2},
    "question": {"score": [0, 1], "probability": [0.25, 0.25], "threshold": 0.5},
}
TEXT = "Applicant: Roche\nCity: Basel\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, byte_tokenizer):
    """A tiny llama that reads bytes, an adapter of it, and documents."""
    from transformers import AutoConfig, AutoModelForCausalLM

    root = tmp_path_factory.mktemp("taught")
    torch.manual_seed(0)
    sizes = {**TINY["llama"], "vocab_size": 256, "max_position_embeddings": POSITIONS}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes))
    model.save_pretrained(root / "base")
    byte_tokenizer.save(str(root / "base" / "tokenizer.json"))
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    tuned.save_pretrained(root / "taught")
    manifest = Manifest(template="reader", calibration=CALIBRATION)
    (root / "taught" / "manifest.json").write_text(manifest.to_json())
    (root / "doc.txt").write_text(TEXT)
    (root / "long.txt").write_text("Word after word. " * 12_000)
    (root / "fields.json").write_text('["Applicant", {"name": "city", "ask": "Which city?"}]')
    return root


@pytest.fixture(scope="module")
def model(folder):
    return "--model", folder / "base", "--adapter", folder / "taught"


def test_prompt_shows_the_template_of_the_adapter_without_loading_it(folder, model, monkeypatch):
    monkeypatch.setattr("reread.models.load", None)
    shown = reread("prompt", folder / "doc.txt", "Applicant", *model)
    assert shown.stdout == TEXT + "\nQuestion: Applicant\nAnswer:\n"
    plain = reread("prompt", folder / "doc.txt", "Applicant", *model[:2])
    assert plain.stdout == TEXT + "Applicant:\n"
    named = reread("prompt", folder / "doc.txt", "Applicant", *model, "--template", "field")
    assert named.stdout == plain.stdout


def test_prompt_cuts_as_ask_does(folder, model):
    shown = json.loads(reread("prompt", folder / "long.txt", "City", *model, "--strategy", "twice", "--json").stdout)
    asked = reread("ask", folder / "long.txt", "City", *model, "--strategy", "twice", "--json")
    told = json.loads(asked.stdout)
    assert shown["tokens"] == told["prompt_tokens"] <= POSITIONS - MAX_NEW_TOKENS
    assert told["cut"] and told["cut"] in asked.stderr and f"{POSITIONS}" in asked.stderr


def test_a_long_document_is_asked_in_parts(folder, model, tmp_path):
    text = " ".join(f"Clause {i}: word {i * i}." for i in range(60))
    (tmp_path / "clauses.txt").write_text(text)
    asked = reread("ask", tmp_path / "clauses.txt", "City", *model, "--window", "parts", "--json")
    told = json.loads(asked.stdout)
    assert told["cut"] == "" and "parts" in asked.stderr and told["read_tokens"] > POSITIONS > told["prompt_tokens"]
    if told["span"]:
        assert text[slice(*told["span"])] == told["text"]
    (tmp_path / "fields.json").write_text('["City"]')
    options = ("--fields", tmp_path / "fields.json", "--out", tmp_path / "rows.jsonl", "--window", "parts", *model)
    reread("extract", tmp_path / "clauses.txt", *options)
    (row,) = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert row["tokens_cut"] == 0 and row["tokens_read"] == told["read_tokens"]


def test_ask_tells_what_speaks_against_an_answer(folder, model, tmp_path):
    asked = reread("ask", folder / "doc.txt", "Which city?", *model, "--json")
    told = json.loads(asked.stdout)
    assert told["confidence"] == 0.25 and told["threshold"] == 0.5 and told["found"] is False
    assert 0 <= told["absent"] <= 1 and told["verbatim"] in (True, False)
    assert told["doubts"] and all(doubt in asked.stderr for doubt in told["doubts"])
    assert "0.25" in asked.stderr and asked.stderr.count("\n") == 1
    kept = json.loads(reread("read", folder / "doc.txt", "--out", tmp_path, *model, "--json").stdout)
    again = reread("ask", "--state", kept[0]["state"], "Which city?", *model, "--json")
    same = ("text", "found", "verbatim", "span", "doubts", "threshold", "confidence")
    assert {key: json.loads(again.stdout)[key] for key in same} == {key: told[key] for key in same}
    (line,) = json.loads(reread("store", "ask", tmp_path, "Which city?", *model, "--json").stdout)
    assert line["doubts"] == told["doubts"] and line["cut"] == ""


def test_a_state_of_a_long_document_says_what_was_cut_when_it_is_asked(folder, model, tmp_path):
    kept = json.loads(reread("read", folder / "long.txt", "--out", tmp_path, *model, "--json").stdout)
    asked = reread("ask", "--state", kept[0]["state"], "City", *model, "--json")
    assert json.loads(asked.stdout)["cut"] == kept[0]["cut"] != "" and kept[0]["cut"] in asked.stderr


@pytest.mark.parametrize(
    "options", [("--strategy", "repeat(n=9)", "--budget", 300), ("--budget", POSITIONS)], ids=["copies", "budget"]
)
def test_more_tokens_than_positions_are_refused(folder, model, options):
    complained(reread("ask", folder / "long.txt", "City", *model, *options), f"allowed: {POSITIONS}")


def test_a_question_that_leaves_no_room_is_refused(folder, model):
    complained(reread("ask", folder / "doc.txt", "why " * 1250 + "?", *model), f"allowed: {POSITIONS}")


def test_files_without_text_are_refused(folder, model, tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))
    complained(reread("ask", tmp_path / "empty.txt", "City", *model), "no text")
    complained(reread("ask", tmp_path / "binary.txt", "City", *model), "binary.txt")


def test_extract_uses_the_thresholds_of_the_calibration_unless_one_is_given(folder, model, tmp_path):
    words = ("extract", folder / "doc.txt", folder / "long.txt", "--fields", folder / "fields.json", *model)
    told = reread(*words, "--out", tmp_path / "rows.jsonl", "--json")
    assert json.loads(told.stdout)["threshold"] is None and json.loads(told.stdout)["cut"] == 1
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        assert set(row["fields"]["city"]) == {"value", "confidence", "found", "verbatim", "span"}
        assert row["fields"]["city"]["found"] is False and row["fields"]["city"]["value"] is None
        assert row["fields"]["Applicant"]["confidence"] in (0.0, 0.25)
    assert rows[1]["tokens_cut"] > 0 and rows[0]["tokens_cut"] == 0
    given = json.loads(reread(*words, "--out", tmp_path / "rows.csv", "--threshold", "0.1", "--json").stdout)
    assert given["threshold"] == 0.1
    header = (tmp_path / "rows.csv").read_text().splitlines()[0]
    assert "city,city_confidence,city_found" in header and "span" not in header


def test_rows_of_another_calibration_are_not_continued(folder, tmp_path):
    from reread.engine import Reader
    from reread.extract import ExtractConfig, Extractor, header_of
    from reread.fields import Field
    from reread.models import load

    found = []
    for adapter in (folder / "taught", "none"):
        reader = Reader(load(folder / "base", adapter=adapter))
        found.append(header_of(Extractor(reader, (Field("a", "a"),), ExtractConfig()), None))
    assert found[0]["calibration"] != found[1]["calibration"] and found[0]["template"] == "reader"
    assert 0 < found[0]["budget"] < POSITIONS and found[1]["template"] == ""

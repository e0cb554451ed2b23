"""--forgotten and --reread-when-lost: what a state forgot is said; documents at hand are read again on demand."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from in_process import complained, reread

from reread.models.families import TINY
from reread.statefile import encode
from reread.store import Store, open_file

TEXT = "Applicant: Roche Diagnostics. Product code: DEW. Decided on the 3rd of May 2011.\n"
SELECT = ("--select", "reread(tokens=20)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, byte_tokenizer):
    """A tiny llama that reads bytes, and a document."""
    from transformers import AutoConfig, AutoModelForCausalLM

    root = tmp_path_factory.mktemp("forgotten")
    torch.manual_seed(0)
    sizes = {**TINY["llama"], "vocab_size": byte_tokenizer.get_vocab_size()}
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes)).save_pretrained(root / "m")
    byte_tokenizer.save(str(root / "m" / "tokenizer.json"))
    (root / "doc.txt").write_text(TEXT)
    return root


def with_losses(file, nats):
    """The state in a file with other losses, in its place."""
    made = open_file(Path(file))
    lost = dataclasses.replace(made.lost, nats=torch.tensor(nats, dtype=torch.float16))
    Path(file).unlink()
    store = Store(Path(file).parent)
    return str(store.put(dataclasses.replace(made, lost=lost)))


@pytest.fixture
def read(folder, tmp_path):
    """read(*options): what `reread read --json` says of the document, and its standard error."""

    def run(*options):
        made = reread("read", folder / "doc.txt", "--out", tmp_path, "--model", folder / "m", "--json", *options)
        assert made.returncode == 0, made.stderr
        return json.loads(made.stdout)[0], made.stderr

    return run


def test_read_says_it_in_one_line_and_json_has_all_of_it(read):
    facts, said = read(*SELECT)
    (line,) = [line for line in said.splitlines() if "sentences forgotten" in line]
    assert "0 of 3 sentences forgotten" in line
    assert facts["forgotten"] == "sentence" and "".join(one["text"] for one in facts["lost"]) == TEXT.strip()
    assert [TEXT[one["start"] : one["end"]] for one in facts["lost"]] == [one["text"] for one in facts["lost"]]
    assert all(isinstance(one["nats"], float) for one in facts["lost"])
    again, _ = read(*SELECT)
    assert again["already_there"] and again["lost"] == facts["lost"]
    for options in ((), ("--select", "window(tokens=20)"), (*SELECT, "--forgotten", "none")):
        plain, said = read(*options)
        assert "lost" not in plain and "sentence" not in said and plain["state"] != facts["state"]
    lines, said = read("--select", "window(tokens=20)", "--forgotten", "line")
    assert len(lines["lost"]) == 1 and "of 1 line forgotten" in said
    hidden, _ = read(*SELECT, "--forget-tokens")
    assert hidden["lost"] == facts["lost"]


def ask(folder, *words):
    done = reread("ask", *words, "--model", folder / "m", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_lost_sentence_is_warned_of_and_the_document_is_read_again_on_demand(folder, read):
    state = with_losses(read(*SELECT)[0]["state"], [0.0, 2.5, 0.0])
    told, said = ask(folder, "--state", state, "Product code")
    assert told["forgotten"] == 2.5 and any("forgot" in doubt for doubt in told["doubts"])
    assert "forgot" in said and "--reread-when-lost" in said and "read_again" not in told
    again, said = ask(folder, "--state", state, "Product code", "--reread-when-lost")
    whole, _ = ask(folder, folder / "doc.txt", "Product code")
    assert again["text"] == whole["text"] and again["read_again"] and again["forgotten"] == 2.5
    assert "read again with all keys" in said and not any("forgot" in doubt for doubt in again["doubts"])
    assert again["kept_positions"] == again["prompt_tokens"] - whole["prompt_tokens"] + len(TEXT.strip())
    other, said = ask(folder, "--state", state, "Applicant", "--reread-when-lost")
    assert "read_again" not in other and "again" not in said and other["forgotten"] == 0.0


def test_a_store_is_asked_with_the_warning_of_each_document(folder, read, tmp_path):
    with_losses(read(*SELECT)[0]["state"], [0.0, 2.5, 0.0])
    read()
    words = ("store", "ask", tmp_path, "Product code", "--model", folder / "m", "--json")
    plain = reread(*words)
    told = sorted(json.loads(plain.stdout), key=lambda one: "selection" in one)
    assert "forgotten" not in told[0] and told[1]["forgotten"] == 2.5 and "--reread-when-lost" in plain.stderr
    again = reread(*words, "--reread-when-lost")
    told = sorted(json.loads(again.stdout), key=lambda one: "selection" in one)
    assert told[1]["read_again"] and told[0]["text"] == told[1]["text"]
    assert "doc.txt: the text nearest" in again.stderr and "does not tell what it has forgotten" in again.stderr


def test_without_tokens_the_document_beside_the_state_is_read_again(folder, read, tmp_path):
    state = with_losses(read(*SELECT, "--forget-tokens")[0]["state"], [0.0, 2.5, 0.0])
    told, said = ask(folder, "--state", state, "Product code", "--reread-when-lost")
    assert "not at hand" in said and "forgotten" not in told and "read_again" not in told
    (tmp_path / "doc.txt").write_text("Another document.\n")
    told, said = ask(folder, "--state", state, "Product code", "--reread-when-lost")
    assert "not at hand" in said and "forgotten" not in told
    (tmp_path / "doc.txt").write_text(TEXT)
    told, said = ask(folder, "--state", state, "Product code", "--reread-when-lost")
    assert "not at hand" not in said and told["read_again"]


def test_ask_of_a_document_warns_and_reads_again(folder, monkeypatch):
    document = (folder / "doc.txt", "Product code")
    told, said = ask(folder, *document, *SELECT)
    assert isinstance(told["forgotten"], float) and "forgot" not in said
    plain, _ = ask(folder, *document, *SELECT, "--forgotten", "none")
    assert "forgotten" not in plain and plain["text"] == told["text"] and plain["read_tokens"] < told["read_tokens"]
    monkeypatch.setattr("reread.forgotten.FORGOTTEN", -99.0)
    warned, said = ask(folder, *document, *SELECT)
    assert any("forgot" in doubt for doubt in warned["doubts"]) and "--reread-when-lost" in said
    again, said = ask(folder, *document, "--select", "window(tokens=20)", "--reread-when-lost")
    whole, _ = ask(folder, *document)
    assert again["read_again"] and again["text"] == whole["text"] and "read again with all keys" in said
    assert again["read_tokens"] > 3 * whole["read_tokens"] and "forgotten" in again


def test_what_does_not_fit_is_one_sentence(folder, read, tmp_path):
    model = ("--model", folder / "m")
    ask = ("ask", folder / "doc.txt", "Product code", *model)
    complained(reread(*ask, "--forgotten", "line"), "keeps all keys")
    complained(reread(*ask, *SELECT, "--forgotten", "word"), "word", "sentence")
    complained(reread(*ask, "--reread-when-lost"), "selection")
    complained(reread(*ask, *SELECT, "--forgotten", "none", "--reread-when-lost"), "--forgotten none")
    pieces = ("--select", "reread(tokens=20, read=20)", "--forgotten", "line")
    complained(reread("read", folder / "doc.txt", "--out", tmp_path / "s", *model, *pieces), "read=20")
    assert not (tmp_path / "s").exists()
    facts, _ = read(*SELECT, "--forgotten", "none")
    complained(reread("ask", "--state", facts["state"], "Product code", *model, "--reread-when-lost"), "does not tell")
    complained(
        reread("ask", "--state", facts["state"], "Product code", *model, "--forgotten", "line"),
        "another unit", "allowed: line",
    )  # fmt: skip
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    done = reread("read", empty, "--out", tmp_path / "e", *model, *SELECT, "--forgotten", "line")
    assert done.returncode == 1 and "no text" in done.stderr and not list((tmp_path / "e").glob("*.safetensors"))
    assert reread("ask", "--state", facts["state"], "Applicant", *model, "--forgotten", "none").returncode == 0
    data = encode(open_file(Path(facts["state"])))
    assert b"forgotten" not in data

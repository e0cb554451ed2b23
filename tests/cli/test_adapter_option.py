"""--adapter of the commands: it reaches the model, and what is wrong with it is found before the model is loaded."""

import json

import pytest
import torch
from raising import containing, refused
from typer.testing import CliRunner

import reread
from reread.cli import app
from reread.errors import BadInput
from reread.evaluate import EvalConfig, evaluate
from reread.models.families import TINY

peft = pytest.importorskip("peft", reason="needs the package peft")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, byte_tokenizer):
    """A tiny llama that reads bytes and two adapters for it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    root = tmp_path_factory.mktemp("adapters")
    torch.manual_seed(0)
    sizes = {**TINY["llama"], "vocab_size": byte_tokenizer.get_vocab_size()}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes))
    model.save_pretrained(root / "base")
    byte_tokenizer.save(str(root / "base" / "tokenizer.json"))
    for name in ("one", "two"):
        fresh = AutoModelForCausalLM.from_pretrained(root / "base")
        tuned = peft.get_peft_model(fresh, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
        tuned.save_pretrained(root / name)
    (root / "doc.txt").write_text("Applicant: Roche\n")
    (root / "fields.json").write_text('["Applicant"]')
    return root


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_ask_and_states_name_the_adapters_and_belong_to_them(folders, tmp_path):
    given = ["--model", folders / "base", "--adapter", folders / "one", "--adapter", folders / "two"]
    assert run("ask", folders / "doc.txt", "Applicant", *given, "--json").exit_code == 0
    told = json.loads(run("read", folders / "doc.txt", "--out", tmp_path / "store", *given, "--json").stdout)
    listed = json.loads(run("store", "ls", tmp_path / "store", "--json").stdout)
    assert "base+one+two" in json.dumps(listed)
    assert run("ask", "--state", told[0]["state"], "Applicant", *given).exit_code == 0
    sha256 = [one["sha256"][:12] for one in listed[0]["adapters"]]
    needed = tuple(f"{name} (sha256 {digits})" for name, digits in zip(("one", "two"), sha256, strict=True))
    with refused(reread.BadState, got=needed[0], naming=needed):
        run("ask", "--state", told[0]["state"], "Applicant", *given[:4])
    with refused(reread.BadState, got="no adapter", naming=needed):
        run("ask", "--state", told[0]["state"], "Applicant", *given[:2])
    bare = json.loads(run("read", folders / "doc.txt", "--out", tmp_path / "bare", *given[:2], "--json").stdout)
    with refused(
        reread.BadState, got=containing("base, "), naming="without an adapter", todo=containing("--adapter none")
    ):
        run("ask", "--state", bare[0]["state"], "Applicant", *given)
    with refused(reread.BadState, got=containing("base+one+two, "), naming="another model", todo=containing("--model")):
        run("ask", "--state", told[0]["state"], "Applicant", "--model", "small-jrt")
    assert run("store", "ask", tmp_path / "store", "Applicant", *given).exit_code == 0
    assert run("store", "verify", tmp_path / "store", *given).exit_code == 0


def test_extract_and_eval_take_adapters(folders, tmp_path):
    given = ["--model", folders / "base", "--adapter", folders / "one"]
    out = tmp_path / "rows.jsonl"
    wanted = ["--fields", folders / "fields.json", "--out", out, "--threshold", "0"]
    assert run("extract", folders / "doc.txt", *wanted, *given).exit_code == 0
    prints = {}
    for adapters in ((), (str(folders / "one"),)):
        config = EvalConfig(
            (str(folders / "base"),), ("forms-8",), ("once",), limit=1, adapters=adapters, budgets=(64,)
        )
        header = evaluate(config, tmp_path, tmp_path / f"eval{len(adapters)}").header()["config"]
        assert header.get("adapters", []) == list(adapters)
        prints[adapters] = header["fingerprints"][str(folders / "base")]
    assert len(set(prints.values())) == 2


@pytest.mark.parametrize("command", ["ask", "read", "extract", "eval", "serve"])
def test_a_missing_adapter_is_refused_before_the_model_is_loaded(folders, tmp_path, monkeypatch, command):
    monkeypatch.setattr("reread.models.load", lambda *_, **__: pytest.fail("a model is loaded"))
    monkeypatch.setattr("reread.evaluate.load", lambda *_, **__: pytest.fail("a model is loaded"))
    words = {
        "ask": [folders / "doc.txt", "Applicant", "--model", folders / "base"],
        "read": [folders / "doc.txt", "--out", tmp_path / "s", "--model", folders / "base"],
        "extract": [
            folders / "doc.txt", "--fields", folders / "fields.json", "--out", tmp_path / "x.jsonl", "--model",
            folders / "base",
        ],
        "eval": ["--task", "forms-8", "--model", folders / "base", "--out", tmp_path / "e"],
        "serve": [folders / "base", "--store", tmp_path / "s", "--port", "0"],
    }[command]  # fmt: skip
    with refused(BadInput, got=containing("no_such")):
        run(command, *words, "--adapter", tmp_path / "no_such")
    if command != "serve":
        words = ["small-jrt" if word == folders / "base" else word for word in words]
        with refused(BadInput, got="small-jrt"):
            run(command, *words, "--adapter", folders / "one")

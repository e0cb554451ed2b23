"""--select of ask and read: it reaches the state, what was kept is said, and what is wrong is one sentence."""

import json

import pytest
from in_process import complained, reread


@pytest.fixture(scope="module")
def folder(tmp_path_factory, byte_llama_folder):
    """A tiny llama that reads bytes, and a document."""
    root = tmp_path_factory.mktemp("select")
    (root / "m").symlink_to(byte_llama_folder)
    (root / "doc.txt").write_text("Applicant: Roche Diagnostics. Product code: DEW. Decided on the 3rd of May 2011.\n")
    return root


def test_ask_keeps_chosen_keys_and_says_how_many(folder):
    words = ("ask", folder / "doc.txt", "Product code", "--model", folder / "m", "--json")
    chosen, whole = reread(*words, "--select", "reread(heads=global, tokens=20)"), reread(*words)
    assert chosen.stderr.startswith("reread: reread(tokens=20) kept 20 of ") and "kept" not in whole.stderr
    chosen, whole = json.loads(chosen.stdout), json.loads(whole.stdout)
    assert chosen["selection"] == "reread(tokens=20)" and "selection" not in whole
    assert chosen["state_bytes"] < whole["state_bytes"] and chosen["read_tokens"] > whole["read_tokens"]
    assert chosen["prompt_tokens"] == whole["prompt_tokens"]


def test_each_part_of_a_long_document_keeps_its_own_keys(folder):
    asked = reread(
        "ask", folder / "doc.txt", "Product code", "--model", folder / "m", "--json", "--window", "parts",
        "--budget", 50, "--select", "window(tokens=20)",
    )  # fmt: skip
    for part in (1, 2):
        assert f"part {part} of 2: window(tokens=20) kept 20 of " in asked.stderr, asked.stderr
    assert json.loads(asked.stdout)["selection"] == "window(tokens=20)"


def test_a_state_file_is_asked_as_the_document_is(folder, tmp_path):
    model = ("--model", folder / "m")
    read = ("read", folder / "doc.txt", "--out", tmp_path, *model, "--json", "--state-dtype", "fp32")
    made = reread(*read, "--select", "reread(tokens=20)")
    assert "kept 20 of" in made.stderr
    (facts,) = json.loads(made.stdout)
    assert facts["selection"] == "reread(tokens=20)"
    (full,) = json.loads(reread(*read).stdout)
    assert full["state"] != facts["state"] and facts["state_bytes"] < full["state_bytes"] and "selection" not in full
    asked = reread(
        "ask", "--state", facts["state"], "Product code", *model, "--select", "reread(heads=global, tokens=20)"
    )
    fresh = reread("ask", folder / "doc.txt", "Product code", *model, "--select", "reread(tokens=20)")
    assert asked.stdout == fresh.stdout and "kept 20 of" in asked.stderr
    complained(
        reread("ask", "--state", facts["state"], "Product code", *model, "--select", "window(tokens=20)"),
        "another selection",
        "reread(tokens=20)",
        "window(tokens=20)",
    )
    verified = reread("store", "verify", tmp_path, *model, "--level", "full")
    assert verified.returncode == 0 and verified.stdout.count(": right") == 2


def test_what_is_no_selection_or_cannot_be_had_is_said(folder, tmp_path):
    ask = ("ask", folder / "doc.txt", "Product code", "--model", folder / "m")
    complained(reread(*ask, "--select", "rereed(tokens=20)"), "rereed", "reread")
    complained(reread(*ask, "--select", "reread"), "tokens or mib or share")
    complained(reread(*ask, "--select", "window(tokens=20)", "--strategy", "twice"), "once")
    complained(reread(*ask, "--select", "window(tokens=20)", "--prefill", "iterate"), "iterate", "no_pad")
    for words in (ask[:3], ("read", folder / "doc.txt", "--out", tmp_path)):
        complained(reread(*words, "--select", "window(tokens=20)", "--model", "embedded"), "fixed size already")

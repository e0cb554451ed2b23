"""read, ask --state and store as a person meets them: one sentence for a mistake, nothing lost at a stop or a kill."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from in_process import complained, reread

from reread.store import Store, open_file

TEXT = "A. Applicant: Roche Diagnostics\nB. Product code: DEW\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a document, a page, a file that is none, and a store they were read into; what `read` said."""
    root = tmp_path_factory.mktemp("walk")
    (root / "docs").mkdir()
    (root / "docs" / "a.txt").write_text(TEXT)
    (root / "docs" / "b.html").write_text(f"<p>{TEXT.splitlines()[0]}<p>{'word ' * 90}")
    (root / "docs" / "c.txt").write_bytes(b"\x00\x01")
    said = reread("read", root / "docs", "--out", root / "store", "--budget", 60)
    return root, said


def test_a_folder_is_read_and_the_bad_one_is_named_while_the_others_go_on(folder):
    root, said = folder
    assert said.returncode == 1 and "Traceback" not in said.stderr
    lines = said.stdout.splitlines()
    assert len(lines) == 2 and lines[0].startswith(f"{root}/docs/a.txt: 14 tokens -> {root}/store/"), lines
    assert "c.txt" in said.stderr and "binary" in said.stderr and "'head' kept 60" in said.stderr
    assert sorted(e.header.name for e in Store(root / "store").ls()) == ["a.txt", "b.html"]


def test_a_state_answers_as_its_document_does(folder):
    root, said = folder
    file = said.stdout.splitlines()[0].split(" -> ")[1]
    from_state = json.loads(reread("ask", "--state", file, "Applicant", "--json").stdout)
    document = ("ask", root / "docs" / "a.txt", "Applicant", "--policy", "document", "--json")
    fresh = json.loads(reread(*document).stdout)
    same = ("text", "prompt_tokens", "prefix_len", "new_tokens", "state_bytes", "strategy", "policy")
    assert [from_state[name] for name in same] == [fresh[name] for name in same]
    assert from_state["text"] == "Roche Diagnostics" and from_state["read_tokens"] < fresh["read_tokens"]
    assert reread("ask", "--state", file, "Applicant").stdout == "Roche Diagnostics\n"


def test_one_question_is_asked_of_a_whole_store(folder, tmp_path):
    root, _ = folder
    said = reread("store", "ask", root / "store", "Applicant", "--batch", 1)
    lines = [line.split("\t") for line in said.stdout.splitlines()]
    assert said.returncode == 0 and [name for name, _ in lines] == ["a.txt", "b.html"]
    assert lines[0][1] == "Roche Diagnostics"
    together = json.loads(reread("store", "ask", root / "store", "Applicant", "--json").stdout)
    assert [(one["document"], one["text"]) for one in together] == [tuple(line) for line in lines]
    assert all(0 < one["confidence"] <= 1 for one in together)
    complained(reread("store", "ask", tmp_path, "Applicant"), tmp_path)
    shutil.copytree(root / "store", tmp_path / "store")
    state = next((tmp_path / "store").glob("*.safetensors"))
    state.write_bytes(state.read_bytes()[:-9])
    broken = reread("store", "ask", tmp_path / "store", "Applicant")
    assert broken.returncode == 1 and len(broken.stdout.splitlines()) == 1 and state.name in broken.stderr


def test_the_limit_of_the_folder_reaches_the_store(folder, tmp_path, monkeypatch):
    root, _ = folder
    limits, put = [], Store.put
    monkeypatch.setattr(Store, "put", lambda store, state: limits.append(store.limit) or put(store, state))
    assert reread("read", root / "docs" / "a.txt", "--out", tmp_path / "s", "--limit-mib", 3).returncode == 0
    assert reread("read", root / "docs" / "a.txt", "--out", tmp_path / "t").returncode == 0
    assert limits == [3 * 2**20, None]


def test_states_that_the_limit_took_again_are_counted(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"Applicant: {name}\n")
    words = ("read", tmp_path, "--out", tmp_path / "s", "--limit-mib", 1, "--state-dtype", "int8")
    assert reread(*words, "--json").returncode == 0
    large = ("read", tmp_path, "--out", tmp_path / "t", "--limit-mib", 1)
    said = reread(*large)
    assert said.returncode == 1 and "1 MiB" in said.stderr and "--limit-mib" in said.stderr, said
    assert len(Store(tmp_path / "t").ls()) == 1


def test_what_a_folder_holds_besides_documents_is_said(folder, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.pptx").write_bytes(b"x")
    said = reread("read", tmp_path, "--out", tmp_path / "s")
    assert said.returncode == 0 and "1 file (.pptx)" in said.stderr, said


def test_another_reading_than_the_states_is_refused(folder, tmp_path, model_folder):
    root, said = folder
    file = said.stdout.splitlines()[0].split(" -> ")[1]
    ask = ("ask", "--state", file, "Applicant")
    complained(reread(*ask, "--strategy", "twice"), "strategy", "got 'once'", "allowed: twice")
    for option in (("--budget", 5), ("--window", "head"), ("--prefill", "left_pad")):
        complained(reread(*ask, *option), option[0])
    complained(reread(*ask, "--policy", "prompt"), "policy", "got 'document'", "allowed: prompt")
    complained(reread(*ask, "--model", model_folder), "another model", "--model")
    complained(reread(*ask, "more"), "--state FILE")
    complained(reread("ask", root / "docs" / "a.txt"), "--state FILE")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(Path(file).read_bytes()[:-9])
    complained(reread("ask", "--state", broken, "Applicant"), "broken.safetensors", "checksum", "reread read DOC")
    complained(reread("ask", "--state", tmp_path / "none", "Applicant"), tmp_path / "none")
    complained(reread("read", root / "docs", "--out", tmp_path / "s", "--strategy", "twice"), "twice(cue=False)")
    complained(reread("read", root / "docs", "--out", root / "docs" / "a.txt"), root / "docs" / "a.txt")
    complained(reread("read", root / "docs", "--out", tmp_path / "s", "--state-dtype", "int9"), "'int9'", "'int8'")
    assert not (tmp_path / "s").exists()


def test_read_in_json_keeps_smaller_states_and_forgets_tokens(folder, tmp_path):
    root, _ = folder
    words = ("read", root / "docs" / "a.txt", "--out", tmp_path, "--state-dtype", "int4", "--forget-tokens", "--json")
    (row,) = json.loads(reread(*words).stdout)
    made = open_file(Path(row["state"]))
    assert made.tokens is None and made.header.state_dtype == "int4" and row["state_bytes"] == made.nbytes
    (again,) = json.loads(reread(*words).stdout)
    assert again["already_there"] and again["state"] == row["state"]
    assert reread("ask", "--state", row["state"], "Applicant").stdout == "Roche Diagnostics\n"


def test_store_lists_verifies_and_removes(folder, tmp_path):
    root, _ = folder
    reread("read", root / "docs" / "a.txt", root / "docs" / "b.html", "--out", tmp_path)
    listed = json.loads(reread("store", "ls", tmp_path, "--json").stdout)
    assert [row["name"] for row in listed] == ["a.txt", "b.html"] and all(row["bytes"] > 0 for row in listed)
    table = reread("store", "ls", tmp_path).stdout
    assert all(row["id"] in table for row in listed) and "2 states" in table
    right = reread("store", "verify", tmp_path, "--level", "full")
    assert right.returncode == 0 and right.stdout.count(": right\n") == 2, right
    file = Path(listed[1]["file"])
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    wrong = reread("store", "verify", tmp_path, "--level", "checksum", "--json")
    assert wrong.returncode == 1 and "checksum" in json.loads(wrong.stdout)[str(file)]
    assert reread("store", "rm", tmp_path, listed[1]["id"][:12]).stdout == f"{file}\n" and not file.exists()
    complained(reread("store", "rm", tmp_path, "x"), "'x'", "no such state")
    complained(reread("store", "ls", tmp_path / "none"), tmp_path / "none")
    complained(reread("store", "verify", tmp_path, "--level", "checksums"), "'checksums'", "'checksum'")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_or_killed_reading_keeps_what_was_read_and_goes_on(tmp_path, how):
    (tmp_path / "docs").mkdir()
    for i in range(40):
        (tmp_path / "docs" / f"{i:02}.txt").write_text(f"Number: {i}\n" + "A line of text.\n" * 60)
    words = ["read", str(tmp_path / "docs"), "--out", str(tmp_path / "store"), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "reread", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 60
    while not list((tmp_path / "store").glob("*.safetensors")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -how) and "Traceback" not in errors
    kept = [entry.path for entry in Store(tmp_path / "store").ls()]
    assert 0 < len(kept) < 40 and all(open_file(path) for path in kept)
    rows = json.loads(reread(*words).stdout)
    assert len(rows) == 40 and sum(row["already_there"] for row in rows) >= len(kept)

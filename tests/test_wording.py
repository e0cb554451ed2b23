"""Sentences that a newcomer meets first, as they are printed: the only tests that compare whole messages.

Every other test of an error compares its class and fields (raising.py), so that a message can be reworded. Whoever
rewords one of these changes it here too. "..." stands for the rest of a long list of names.
"""

import pytest
from in_process import reread

pytestmark = pytest.mark.wording

SENTENCES = {
    "ask no.txt x": "no such file; got 'no.txt'; name a file that holds text, or -.",
    "ask empty.txt x": "empty.txt holds no text.",
    "ask binary.bin x": "binary.bin is a binary file; convert it to text first.",
    "ask .": "ask takes a document and a question, or --state FILE and a question; got '.'.",
    "ask a.txt x --strategy twise": "unknown strategy; got 'twise'; allowed: cqcq, ...; did you mean 'twice'?",
    "ask a.txt x --model embeded": "unknown model (neither an embedded or published name nor a folder); got 'embeded'; "
    "allowed: embedded, ...; did you mean 'embedded'?",
    "ask a.txt x --policy halff": "unknown prefix policy; got 'halff'; "
    "allowed: document, entropy, fixed, learned, none, prompt, question_aware, share.",
    "ask a.txt x --budget 0": "the token budget of a document must be at least 1; got 0.",
    "ask a.txt x --window answer_centered --budget 4": "the window 'answer_centered' needs the answer, "
    "which only an evaluation knows; allowed: head; use --window head.",
    "ask --state no.safetensors x": "no state file can be read there: no such file; "
    "got 'no.safetensors'; reread store ls DIR shows what is there.",
    "ask --state a.txt x": "not a state file, or its beginning is broken; got 'a.txt'; "
    "read the document again: reread read DOC --out DIR.",
    "prompt a.txt x --template feild": "unknown template; got 'feild'; "
    "allowed: cloze, continuation, field, question, reader; did you mean 'field'?",
    "eval --task fdaa --out r": "unknown task; got 'fdaa'; allowed: drop, ...; did you mean 'fda'?",
    "eval --task fda --data no --out r": "the data folder is missing; got 'no'; "
    "give it with --data or in the environment variable REREAD_DATA.",
    "report no": "not a run folder (no header.json); got 'no'.",
    "train no.toml": "the recipe is not there; got 'no.toml'; the repository's recipes are in recipes/.",
    "extract a.txt --fields no.json --out r.csv": "no such file; got 'no.json'; name a file that holds text, or -.",
    "extract a.txt --fields a.txt --out r.csv": "a.txt is not JSON: Expecting value: line 1 column 1 (char 0); "
    'allowed: ["Applicant", {"name": "code", "ask": "Product code"}].',
    "store ls no": "no such store; got 'no'; reread read DOC --out DIR makes one.",
    "bench opp": "unknown thing to time; got 'opp'; allowed: ask, layouts, memory, model, op, prefix; "
    "did you mean 'op'?",
}


@pytest.mark.parametrize("words", SENTENCES)
def test_what_a_newcomer_reads(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Applicant: Roche\n")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.bin").write_bytes(b"abc\x00\x01def")
    result = reread(*words.split())
    first, _, last = SENTENCES[words].partition("...")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"reread: {first}") and result.stderr.endswith(f"{last}\n"), result.stderr
    assert last or result.stderr == f"reread: {first}\n"

"""Timing one more question: what is timed answers as a fresh reading does, and what does not is refused."""

import json

import pytest
from raising import containing, refused

from reread import ask_bench
from reread.answer import Answer
from reread.ask_bench import AskBench, WrongAnswer, bench_ask, timed_rows
from reread.errors import BadInput
from reread.report import report, tables
from reread.sessions import Session


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text(
        " ".join(f"Item {i} was sold to firm {i * 7 % 91} in the year {1900 + i % 90}." for i in range(400))
    )
    return str(path)


@pytest.fixture
def spec(model_folder, document):
    """spec(**settings): a small run."""
    small = {"tokens": (24, 60), "together": (1, 3), "documents": 3, "batched": (24,), "new": 4, "rounds": 2}
    return lambda **more: AskBench(**{"model": model_folder, "document": document, **small, **more})


def test_a_run_has_a_row_per_round_and_its_tables(spec, tmp_path):
    run = bench_ask(spec(), tmp_path, tmp_path / "run")
    rows = list(run.rows())
    assert len(rows) == 2 * (2 * 3 + 2 + 2) and run.summary()["rows"] == len(rows)
    assert all(row["seconds"] > 0 and row["decode_seconds"] < row["seconds"] and row["error"] < 1e-4 for row in rows)
    asked = {(r["what"], r["name"]): r["questions"] for r in rows}
    assert asked[("one more", "state file")] == 1 and asked[("questions of one document", "3 together")] == 3
    text = report(tmp_path / "run")
    assert "| 3 questions of one document | 3 together | 2 |" in text and "of each of 3 documents | one by one" in text
    assert text.count("| read again | 2 |") == 2 and "long.txt" in text
    cells = {(c["tokens"], c["name"]): c for c in tables(tmp_path / "run")["asked"]}
    tokens = sorted({row["N"] for row in rows if row["what"] == "one more"})
    assert len(tokens) == 2 and cells[(tokens[0], "read again")]["answer, times as fast"]["mean"] == 1.0
    assert cells[(tokens[1], "state file")]["file_bytes"] > cells[(tokens[1], "state file")]["state_bytes"]


def test_ratios_are_within_rounds_and_per_question(tmp_path):
    run = ask_bench.Run.start(tmp_path / "run", "bench_ask", {})
    base = {"what": "one more", "N": 8, "questions": 2, "new_tokens": 4, "error": 0.0}
    for number, (slow, quick) in enumerate([(4.0, 1.0), (40.0, 10.0), (2.0, 0.5)]):
        for name, seconds in (("read again", slow), ("state in memory", quick)):
            run.append({**base, "name": name, "round": number, "seconds": seconds, "decode_seconds": seconds / 2})
    run.finish({"rows": 6})
    again, held = tables(tmp_path / "run")["asked"]
    assert held["answer, times as fast"] == {"mean": 4.0, "low": 4.0, "high": 4.0}
    assert again["answer"] == {"mean": 2.0, "low": 1.0, "high": 20.0} and again["first token"]["mean"] == 1.0


def test_a_state_that_answers_otherwise_is_not_timed(spec, tmp_path, monkeypatch):
    ask = ask_bench.ask_each

    def forgetful(sessions, questions, **how):
        return ask(sessions, [question.upper() for question in questions], **how)

    monkeypatch.setattr(ask_bench, "ask_each", forgetful)
    with refused(WrongAnswer, got=lambda text: isinstance(text, str), naming="in memory"):
        bench_ask(spec(), tmp_path, tmp_path / "run")
    with refused(BadInput, got=tmp_path / "run", naming="done.json"):
        report(tmp_path / "run")


def test_a_state_with_other_logits_is_not_timed(spec, tmp_path, monkeypatch):
    made = Session.__init__

    def bent(self, reader, document, state):
        state.layers[1]["S"].mul_(1.01)
        made(self, reader, document, state)

    monkeypatch.setattr(Session, "__init__", bent)
    with refused(WrongAnswer, got="Name", allowed="1e-04", naming="logits"):
        bench_ask(spec(), tmp_path, tmp_path / "run")


def test_one_wrong_answer_in_a_later_round_is_found():
    said = iter("right right wrong".split())

    def ask():
        return [Answer(next(said), 1, 1.0, 0, 1, 0.0, 0.0, 0)]

    with refused(WrongAnswer, got="wrong", allowed="right"):
        list(timed_rows({"a state": ask}, ["right"], 2))


def test_what_cannot_be_timed_is_refused(spec, tmp_path):
    for wrong in ({"tokens": ()}, {"rounds": 0}, {"together": (2, 4)}, {"together": (1, 99)}, {"documents": 0}):
        with pytest.raises(BadInput):
            spec(**wrong).check()
    with refused(
        BadInput, got=containing("tokens"), allowed=containing("100,064")
    ):  # the first length would do, the second not
        bench_ask(spec(tokens=(16, 10**5)), tmp_path, tmp_path / "long")
    assert not (tmp_path / "long").exists()


def test_a_cache_of_keys_and_values_is_timed_too(spec, tmp_path):
    run = bench_ask(spec(model="llama", tokens=(40,), batched=(), rounds=1), tmp_path, tmp_path / "run")
    sizes = {row["name"]: row["state_bytes"] for row in run.rows()}
    assert (
        sizes["state file"] > 40 * 2 * 7 * 192 * 4 and json.loads((run.folder / "done.json").read_text())["rows"] == 3
    )

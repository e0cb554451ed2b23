"""extract as a person meets it: a row per document, nothing lost or doubled by a kill, mistakes in a sentence."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from in_process import complained, interruptible, reread
from raising import containing, refused

from reread.answer import best_of
from reread.calibration import threshold_of
from reread.documents.loaders import read_source
from reread.engine import Reader
from reread.errors import BadInput, MissingPackage, UnknownName
from reread.extract import ExtractConfig, Extractor, Progress, extract, header_of
from reread.fields import Field, read_fields
from reread.models import LM, load, load_tokenizer

TIMES = ("seconds",)


def rows_of(path):
    """Rows without the times, which no two runs share."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


@pytest.fixture
def folder(tmp_path):
    """Documents of many lengths, one that is none, one twice; and a file of fields."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for i in range(7):
        (docs / f"{i}.txt").write_text(f"Applicant: Firm {i}\nCode: X{i}Y\n" + "More of it. " * (3 * i * i))
    (docs / "same.txt").write_bytes((docs / "0.txt").read_bytes())
    (docs / "bad.txt").write_bytes(b"\x00\x01")
    (tmp_path / "fields.json").write_text(
        '["Applicant", {"name": "code", "ask": "Code"}, {"name": "q", "ask": "Who?"}]'
    )
    return tmp_path


def command(folder, out="rows.jsonl", *more):
    return reread("extract", folder / "docs", "--fields", folder / "fields.json", "--out", folder / out, *more)


def test_a_row_per_document_and_a_sentence_for_the_bad_one(folder):
    said = command(folder, "rows.jsonl", "--budget", 60)
    assert said.returncode == 1 and "1 of 9 documents could not be read" in said.stderr, said
    assert "bad.txt" in said.stderr and "binary" in said.stderr and "9 of 9 documents" in said.stderr
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert [os.path.basename(row["document"]) for row in rows] == [
        *(f"{i}.txt" for i in range(7)),
        "bad.txt",
        "same.txt",
    ]
    for row in rows:
        with open(row["document"], "rb") as file:
            assert row["sha256"] == hashlib.sha256(file.read()).hexdigest()
        assert list(row["fields"]) == ["Applicant", "code", "q"]
        if row["error"] is None:
            assert row["tokens_read"] > 0 and row["seconds"] > 0 and row["tokens_cut"] >= 0
            for one in row["fields"].values():
                assert 0 <= one["confidence"] <= 1 and one["found"] == (one["value"] is not None)
        else:
            assert all(set(one.values()) == {None} for one in row["fields"].values())
    assert rows[0]["fields"] == rows[-1]["fields"] and rows[0]["fields"]["Applicant"]["value"] == "Firm 0"
    assert rows[6]["tokens_cut"] > 0
    complained(command(folder), folder / "rows.jsonl")
    assert sorted(path.name for path in folder.iterdir()) == ["docs", "fields.json", "rows.jsonl"]


@pytest.mark.slow
def test_a_pdf_that_takes_too_long_is_a_row_and_the_others_are_read(folder):
    (folder / "docs" / "slow.pdf").write_bytes(b"%PDF-1.4\n")
    said = command(folder, "rows.jsonl", "--seconds-per-document", 0.01)
    rows = {os.path.basename(row["document"]): row["error"] for row in rows_of(folder / "rows.jsonl")}
    assert said.returncode == 1 and len(rows) == 10 and sum(error is None for error in rows.values()) == 8
    assert "slow.pdf was not there after 0.01 seconds" in rows["slow.pdf"]
    complained(command(folder, "r.csv", "--seconds-per-document", 0), "got 0", "86,400")


def test_a_file_named_twice_is_one_row(folder):
    docs = folder / "docs"
    twice = (docs / "1.txt", docs / ".." / "docs" / "1.txt", docs / "0.txt")
    said = reread("extract", *twice, "--fields", folder / "fields.json", "--out", folder / "r.csv", "--json")
    told = json.loads(said.stdout)
    assert (told["rows"], told["errors"], said.returncode) == (2, 0, 0) and "fda-aside" in told["threshold_from"]


def test_mistakes_are_one_sentence_and_leave_nothing(folder, tmp_path):
    before = sorted(path.name for path in folder.iterdir())
    (folder / "empty").mkdir()
    fields, docs = folder / "fields.json", folder / "docs"
    complained(
        reread("extract", folder / "empty", "--fields", fields, "--out", folder / "r.csv"), folder / "empty", ".pdf"
    )
    complained(reread("extract", docs, "--fields", folder / "no.json", "--out", folder / "r.csv"), folder / "no.json")
    complained(
        reread("extract", docs, "--fields", docs / "0.txt", "--out", folder / "r.csv"), "0.txt", "line 1 column 1"
    )
    complained(command(folder, "r.xls"), "r.xls'", "allowed: .jsonl, .csv, .parquet")
    complained(command(folder, "r.csv", "--reading", "schemer"), "'schemer'", "'schema'")
    complained(command(folder, "r.csv", "--reading", "shared(strategy=twice)"), "twice(cue=False)")
    complained(command(folder, "r.csv", "--threshold", 2), "got '2'", "0 to 1")
    complained(command(folder, "r.csv", "--budget", 0), "budget", "got 0")
    complained(command(folder, "r.csv", "--policy", "learned"), "learned", "prefix")
    complained(
        reread("extract", "-", "--fields", fields, "--out", folder / "r.csv", "--threshold", 0), "standard input"
    )
    (folder / "empty").rmdir()
    assert sorted(path.name for path in folder.iterdir()) == before


def test_thresholds_of_one_and_of_a_field_hide_values_but_not_confidences(folder):
    (folder / "fields.json").write_text('["Applicant", {"name": "code", "ask": "Code", "threshold": 0}]')
    command(folder, "all.jsonl", "--threshold", 0)
    command(folder, "none.jsonl", "--threshold", 1)
    every, none = rows_of(folder / "all.jsonl"), rows_of(folder / "none.jsonl")
    assert every[0]["fields"]["Applicant"]["found"]
    for a, b in zip(every, none, strict=True):
        assert a["fields"]["code"] == b["fields"]["code"]
        assert b["fields"]["Applicant"]["value"] is None
        assert a["fields"]["Applicant"]["confidence"] == b["fields"]["Applicant"]["confidence"]


def test_another_configuration_is_refused_and_the_rows_stay(folder):
    command(folder)
    done = (folder / "rows.jsonl").read_text()
    for change, value in ((("--budget", 9), "9"), (("--reading", "schema"), "schema")):
        header = half_done(folder, done)
        complained(
            command(folder, "rows.jsonl", "--threshold", header["threshold"], *change),
            change[0].strip("-"),
            f"allowed: {value}",
        )
    half_done(folder, done)
    (folder / "fields.json").write_text('["Applicant"]')
    complained(command(folder, "rows.jsonl", "--threshold", header["threshold"]), "another fields", "rows.jsonl.part")
    assert (folder / "rows.jsonl.part").read_text().count("\n") == 4


def half_done(folder, done):
    """As a kill after three rows leaves it; the header is that of a run that a limit stopped."""
    out = folder / "rows.jsonl"
    out.unlink(missing_ok=True)
    (folder / "rows.jsonl.part").unlink(missing_ok=True)
    config = ExtractConfig()
    extractor = Extractor(Reader(load("embedded")), read_fields(str(folder / "fields.json")), config)
    header = header_of(extractor, threshold_of(None, extractor.reader.lm.model.fingerprint, "shared", 512)[0])
    lines = done.splitlines()[:3]
    (folder / "rows.jsonl.part").write_text("\n".join([json.dumps(header), *lines]) + "\n")
    return header


@pytest.fixture
def small(tiny_model):
    """small(**settings): an extractor of a tiny model."""

    def make(**settings):
        tokenizer = load_tokenizer()
        lm = LM("tiny", tiny_model(vocab_size=tokenizer.get_vocab_size()), tokenizer)
        fields = (Field("Applicant", "Applicant"), Field("c", "Code"), Field("q", "Who is it?"))
        return Extractor(Reader(lm), fields, ExtractConfig(max_new_tokens=6, **settings))

    return make


@pytest.mark.parametrize("reading", ["shared", "schema", "each", "shared(strategy=twice(cue=False))"])
def test_a_batch_gives_what_single_documents_give(small, folder, reading):
    together, alone = small(reading=reading, batch=16), small(reading=reading, batch=1)
    texts = [f"Applicant: Firm {i}. " * (1 + 2 * i) for i in range(6)]
    many = together.values([together.show(text) for text in texts])
    for text, found in zip(texts, many, strict=True):
        (one,) = alone.values([alone.show(text)])
        assert [a.text for a in one.answers] == [a.text for a in found.answers]
        for a, b in zip(one.answers, found.answers, strict=True):
            assert a.confidence == pytest.approx(b.confidence, rel=1e-4) and a.prefix_len == b.prefix_len
        assert one.tokens_read == pytest.approx(found.tokens_read)
    assert len({a.text for found in many for a in found.answers}) > 3


def test_a_document_in_parts_gives_the_best_value_of_each_field(small):
    extractor = small(budget=24, window="parts")
    long, short = " ".join(f"Applicant: Firm {i}." for i in range(30)), "Applicant: Roche."
    texts = [extractor.texts(long), extractor.texts(short)]
    assert len(texts[0]) > 4 and len(texts[1]) == 1
    many, one = extractor.best_values(texts)
    parts = [extractor.values([part])[0] for part in texts[0]]
    for place, best in enumerate(many.answers):
        found = [part.answers[place] for part in parts]
        assert best.text == best_of(found).text and best.confidence == pytest.approx(best_of(found).confidence)
    assert many.tokens_read == sum(part.tokens_read for part in parts) > 0
    assert [a.text for a in one.answers] == [a.text for a in extractor.values(texts[1])[0].answers]
    assert header_of(extractor, None)["window"] == "parts" and "window" not in header_of(small(budget=24), None)
    with refused(UnknownName, got="tail", allowed=containing("head", "parts")):
        small(window="tail").config.check()


def test_a_fork_answers_as_the_strategy_does(small):
    extractor = small(reading="each(strategy=question_first)")
    text = "Applicant: Roche. Code: DEW. " * 4
    (found,) = extractor.values([extractor.show(text)])
    for field, answer in zip(extractor.fields, found.answers, strict=True):
        fresh, _ = extractor.reader.ask(text, field.ask, strategy="question_first", policy="document", max_new_tokens=6)
        assert (answer.text, answer.prompt_tokens) == (fresh.text, fresh.prompt_tokens)
        assert answer.logprob == pytest.approx(fresh.logprob, rel=1e-3)
    tokens = len(extractor.reader.lm.tokenizer.encode(text.strip()).ids)
    (shared,) = small(reading="shared").values([extractor.show(text)])
    assert shared.tokens_read == pytest.approx(tokens + sum(map(len, extractor.tails)))


def test_confidence_is_the_mean_probability_of_the_tokens_written(small):
    extractor = small()
    reader = extractor.reader
    (found,) = extractor.values([extractor.show("Applicant: Roche. Code: DEW.")])
    head = reader.lm.tokenizer.encode("Applicant: Roche. Code: DEW.").ids
    logits, state = reader.lm.read(torch.tensor([head]), len(head))
    logits, state = reader.lm.extend(torch.tensor([extractor.tails[0]]), state)
    logits, total, answer = logits[:, -1], 0.0, found.answers[0]
    for _ in range(answer.new_tokens):
        total += float(logits[0].log_softmax(-1).max())
        logits, state = reader.lm.step(logits.argmax(-1), state)
    assert answer.logprob == pytest.approx(total, rel=1e-4)
    assert answer.confidence == pytest.approx(2.718281828 ** (total / answer.new_tokens), rel=1e-4)


class Stopped(Exception):
    pass


def test_a_stop_anywhere_gives_the_same_rows_as_none(small, folder):
    paths = sorted(str(path) for path in (folder / "docs").iterdir())
    whole = extract(small(batch=4), paths, folder / "whole.jsonl", threshold=0.01)
    seen: list[Progress] = []

    def stop(told):
        seen.append(told)
        if len(seen) in (3, 8):
            raise Stopped

    for _ in range(2):
        with pytest.raises(Stopped):
            extract(small(batch=4), paths, folder / "r.jsonl", threshold=0.01, progress=stop)
        assert not (folder / "r.jsonl").exists()
    extract(small(batch=4), paths, folder / "r.jsonl", threshold=0.01, progress=stop)
    assert rows_of(folder / "r.jsonl") == rows_of(folder / "whole.jsonl") and len(whole) == len(paths)
    assert seen[-1].done == seen[-1].total == 9 and seen[-1].bad == 1 and seen[1].seconds_left > 0


def test_a_changed_document_is_read_again_and_one_no_longer_named_is_left_out(small, folder):
    paths = sorted(str(path) for path in (folder / "docs").iterdir())

    def stop(told):
        if told.done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        extract(small(batch=4), paths, folder / "r.jsonl", threshold=0, progress=stop)
    (folder / "docs" / "1.txt").write_text("Another text of it. Code: none.")
    rows = extract(small(batch=4), paths[1:], folder / "r.jsonl", threshold=0)
    assert [row["document"] for row in rows] == paths[1:]
    with open(paths[1], "rb") as file:
        assert rows[0]["sha256"] == hashlib.sha256(file.read()).hexdigest()


def test_a_missing_package_stops_and_what_could_not_be_read_is_tried_again(small, folder, monkeypatch):
    """No row says what the next call may say otherwise."""
    paths = sorted(str(path) for path in (folder / "docs").iterdir())

    def reading(error):
        def read(path, seconds):
            if path == paths[0]:
                raise error
            return read_source(path, seconds)

        return read

    def stop(told):
        if told.done == 5:
            raise Stopped

    monkeypatch.setattr("reread.extract.read_source", reading(BadInput("took too long")))
    with pytest.raises(Stopped):
        extract(small(batch=4), paths, folder / "r.jsonl", threshold=0, progress=stop)
    monkeypatch.setattr("reread.extract.read_source", reading(MissingPackage("pypdf", "pdf")))
    with refused(MissingPackage, naming="pypdf", todo=containing("reread[pdf]")):
        extract(small(batch=4), paths, folder / "r.jsonl", threshold=0)
    monkeypatch.undo()
    rows = extract(small(batch=4), paths, folder / "r.jsonl", threshold=0)
    assert [row["document"] for row in rows] == paths and rows[0]["error"] is None


def test_what_a_model_cannot_read_is_a_row_and_its_neighbours_are_read(small, folder, monkeypatch):
    """A document that the model refuses does not take its batch with it."""
    paths = sorted(str(path) for path in (folder / "docs").glob("[0-9].txt"))
    texts = [(folder / "docs" / f"{i}.txt").read_text() for i in range(7)]
    extractor = small(batch=16)
    longest = max(len(extractor.reader.lm.tokenizer.encode(text.strip()).ids) for text in texts)
    model, read = extractor.reader.lm.model, extractor.reader.lm.model.read

    def limited(tokens, *rest, **named):
        if tokens.shape[1] >= longest:
            raise BadInput("more tokens than the model has positions", got=tokens.shape[1])
        return read(tokens, *rest, **named)

    monkeypatch.setattr(model, "read", limited)
    rows = extract(extractor, paths, folder / "r.jsonl", threshold=0)
    assert [row["error"] is None for row in rows] == [True] * 6 + [False]
    assert "positions" in rows[-1]["error"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_extraction_goes_on_and_gives_the_rows_of_an_undisturbed_one(tmp_path, how):
    (tmp_path / "docs").mkdir()
    for i in range(24):
        (tmp_path / "docs" / f"{i:02}.txt").write_text(f"Number: {i}\n" + "A line of text.\n" * 60)
    (tmp_path / "fields.json").write_text('["Number", "Text"]')
    words = ["extract", tmp_path / "docs", "--fields", tmp_path / "fields.json", "--batch", 2, "--budget", 256, "--out"]
    out = tmp_path / "rows.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "reread", *map(str, words), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )
    part, until = tmp_path / "rows.jsonl.part", time.monotonic() + 120
    while time.monotonic() < until and (not part.exists() or part.read_bytes().count(b"\n") < 4):
        time.sleep(0.02)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -how) and "Traceback" not in errors
    assert ("the same command goes on from there" in errors) == (how == signal.SIGINT)
    kept = part.read_text().splitlines()[1:]
    assert not out.exists() and 3 <= len(kept) < 24
    assert reread(*words, out).returncode == 0 and reread(*words, tmp_path / "whole.jsonl").returncode == 0
    assert rows_of(out) == rows_of(tmp_path / "whole.jsonl") and len(rows_of(out)) == 24
    lines = out.read_text().splitlines()
    assert [line for line in kept if line in lines] == kept

"""Perplexity runs: a row per document, sums that do not depend on the window, runs that go on."""

import json
import lzma
import math

import pytest
from raising import containing, refused

from reread.errors import BadInput, MissingData
from reread.perplexity import PerplexityConfig, perplexity
from reread.report import report, tables
from reread.runlog import Run


@pytest.fixture
def data(tmp_path):
    (tmp_path / "text_valid").mkdir()
    for name, texts in {"a": ["Rome is old. " * 20, "Oslo is cold."], "b": ["x " * 50]}.items():
        with lzma.open(tmp_path / "text_valid" / f"{name}.jsonl.xz", "wt") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return tmp_path


@pytest.fixture
def model(model_folder):
    return model_folder


def rows(run):
    return {(row["text"], row["document"]): row for row in run.rows()}


def test_every_document_has_its_row(data, model, tmp_path):
    config = PerplexityConfig((model,), ("a", "b"))
    found = rows(perplexity(config, data, tmp_path / "run"))
    assert set(found) == {("a", 0), ("a", 1), ("b", 0)} and found["a", 1]["bytes"] == 13
    assert all(0 > row["nats"] > -2 * math.log(8192) * row["tokens"] for row in found.values())
    other = rows(perplexity(PerplexityConfig((model,), ("a", "b"), window=5), data, tmp_path / "other"))
    assert all(other[key]["nats"] == pytest.approx(row["nats"], abs=0.05) for key, row in found.items())


def test_a_stopped_run_goes_on(data, model, tmp_path):
    def stop(cell, done, total):
        if done:
            raise KeyboardInterrupt

    config = PerplexityConfig((model,), ("a", "b"), characters=20, limit=1)
    with pytest.raises(KeyboardInterrupt):
        perplexity(config, data, tmp_path / "run", progress=stop)
    assert len(list(Run(tmp_path / "run").rows())) == 1
    run = perplexity(config, data, tmp_path / "run")
    assert sorted(rows(run)) == [("a", 0), ("b", 0)] and len(list(run.rows())) == 2 == run.summary()["rows"]


def test_missing_texts_and_empty_settings_are_refused(data, model, tmp_path):
    with refused(MissingData, got=data / "text_valid" / "c.jsonl.xz", allowed="a, b"):
        perplexity(PerplexityConfig((model,), ("c",)), data, tmp_path / "run")
    with refused(BadInput, got=0, naming="window"):
        perplexity(PerplexityConfig((model,), window=0), data, tmp_path / "run")


def test_the_report_sums_before_it_divides(data, model, tmp_path):
    run = perplexity(PerplexityConfig((model,), ("a", "b")), data, tmp_path / "run")
    found = {record["text"]: record for record in tables(run.folder)["predictions"]}
    two = [row for row in run.rows() if row["text"] == "a"]
    nats, size, tokens = (sum(row[name] for row in two) for name in ("nats", "bytes", "tokens"))
    assert found["a"]["perplexity"]["mean"] == pytest.approx(math.exp(-nats / tokens))
    bits = found["a"]["bits per byte"]
    assert bits["mean"] == pytest.approx(-nats / math.log(2) / size) and bits["low"] < bits["mean"] < bits["high"]
    assert found["b"]["perplexity"]["low"] is None
    assert f"| tiny | a | 2 | {tokens:,} |" in report(run.folder)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"no xz", containing("format")),
        (lzma.compress(b"no json\n"), containing("line 1 column 1")),
        (lzma.compress(b'{"t": 1}\n'), "t"),
        (lzma.compress(b""), containing("broken.jsonl.xz")),
    ],
)
def test_a_broken_file_is_refused(data, model, tmp_path, content, got):
    (data / "text_valid" / "broken.jsonl.xz").write_bytes(content)
    with refused(BadInput, got=got, naming="broken.jsonl.xz"):
        perplexity(PerplexityConfig((model,), ("broken",)), data, tmp_path / "run")

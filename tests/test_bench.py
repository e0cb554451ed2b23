"""Timing: turns, refusals, rows and tables."""

import json

import pytest
import torch
from raising import refused

from reread import bench
from reread.bench import (
    ModelBench,
    PrefixBench,
    WrongAnswer,
    bench_model,
    bench_prefix,
    rounds,
)
from reread.errors import BadInput, UnknownName
from reread.policies import policy
from reread.report import report


def test_contenders_take_turns_after_a_round_that_does_not_count():
    calls = []
    found = list(rounds({name: lambda n=name: calls.append(n) for name in "abc"}, 12))
    assert "".join(calls[:6]) == "abcabc" and calls[3:] == [name for _, name, _ in found]
    orders = ["".join(calls[at : at + 3]) for at in range(3, len(calls), 3)]
    assert all(sorted(order) == list("abc") for order in orders) and len(set(orders)) > 3
    assert [number for number, *_ in found] == [number for number in range(12) for _ in "abc"]
    assert all(seconds >= 0 for *_, seconds in found)


def test_a_model_run_times_reading_and_writing(tmp_path, monkeypatch, tiny_model):
    from reread.models.families import TINY, tiny

    monkeypatch.setattr(bench, "MODELS", {"ours": lambda: tiny_model(vocab_size=9000), "llama": lambda: tiny("llama")})
    monkeypatch.setattr(torch, "randint", lambda high, size, **kw: torch.zeros(size, dtype=torch.long))
    assert "llama" in TINY
    run = bench_model(ModelBench(models=("ours", "llama"), tokens=(16,), new=2, rounds=1), tmp_path / "run")
    rows = list(run.rows())
    assert {(row["what"], row["name"]) for row in rows} == {
        (w, n) for w in ("read", "write") for n in ("ours", "llama")
    }
    assert all(row["state_bytes"] > 0 and row["parameters"] > 0 for row in rows)
    assert json.loads((tmp_path / "run" / "done.json").read_text())["rounds"] == 1
    assert "| read | float32 | 16 | ours | 1 |" in report(tmp_path / "run")


def test_a_transformer_is_also_timed_behind_the_verbs_against_transformers_itself(tmp_path, monkeypatch):
    from reread.models.families import tiny

    monkeypatch.setattr(bench, "MODELS", {"llama": lambda: tiny("llama"), "mamba2": lambda: tiny("mamba2")})
    spec = ModelBench(models=("llama", "mamba2"), tokens=(16,), batches=(1, 2), new=3, rounds=2, verbs=True)
    monkeypatch.setattr(bench, "VOCABULARY", 97)
    rows = list(bench_model(spec, tmp_path / "run").rows())
    assert {row["name"] for row in rows} == {"llama", "llama (reread)", "mamba2"}
    assert {row["against"] for row in rows} == {"llama"}
    for batch in (1, 2):
        sizes = {row["name"]: row["state_bytes"] for row in rows if row["batch"] == batch}
        assert abs(sizes["llama (reread)"] - sizes["llama"]) < 200  # the same cache, and its counters
    assert "| write | float32 | 2 | 16 | llama (reread) | 2 |" in report(tmp_path / "run")


def test_the_models_to_time_are_of_about_equal_size_and_two_are_the_published_ones():
    with torch.device("meta"):
        counts = {name: bench.parameters(make()) for name, make in bench.MODELS.items()}
    for size in ("", "-tiny", "-130m", "-360m", "-1.3b"):
        alike = [count for name, count in counts.items() if name.endswith(size) and ("-" in name) == bool(size)]
        assert len(alike) > 1 and max(alike) < 1.15 * min(alike), counts
    assert (
        counts["prefix_lm-360m"] == 356_578_304 and counts["prefix_lm-1.3b"] == 1_375_143_168
    )  # jrt: 356.58, 1375.14 M


def test_a_call_on_a_gpu_is_timed_by_its_events_after_its_cache_was_overwritten(monkeypatch):
    done = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            done.append("event")

        def elapsed_time(self, other):
            assert other is not self and done[-1] == "waited"
            return 250.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("waited"))
    monkeypatch.setattr(bench, "CACHE_BYTES", 16)
    clock = bench.Events(torch.device("cpu"))
    clock.cache.fill_(7)
    assert clock(lambda: done.append(f"call, cache {int(clock.cache.sum())}")) == 0.25
    assert done == ["event", "call, cache 0", "event", "waited"]
    assert isinstance(bench.clock_of(torch.device("cpu")), type(bench.wall))


def test_batches_are_timed_as_batches(tmp_path, monkeypatch, tiny_model):
    from reread.models.families import tiny

    made = {"llama": lambda: tiny("llama"), "ours": lambda: tiny_model(vocab_size=9000)}
    monkeypatch.setattr(bench, "MODELS", made)
    monkeypatch.setattr(bench, "VOCABULARY", 90)
    run = bench_model(
        ModelBench(models=("llama", "ours"), tokens=(16,), batches=(1, 3), new=2, rounds=2), tmp_path / "run"
    )
    rows = list(run.rows())
    assert len(rows) == 2 * 2 * 2 * 2
    size = {(row["name"], row["batch"]): row["state_bytes"] for row in rows}
    assert all(size[name, 3] > 2.5 * size[name, 1] for name in ("llama", "ours"))
    assert {row["tokens"] for row in rows if row["batch"] == 3} == {48, 6}
    text = report(tmp_path / "run")
    assert "| what | dtype | batch | N | name |" in text and "| read | float32 | 3 | 16 | ours | 2 |" in text


def test_many_rows_of_a_transformer_read_and_write_what_single_ones_do():
    from reread.models.families import tiny

    model = tiny("llama")
    ids = torch.randint(model.config.vocab_size, (3, 11), generator=torch.Generator().manual_seed(0))
    together = bench.timed(model)
    logits, cache = together.read(ids)
    before = [layer.keys.clone() for layer in cache.layers]
    together.write(logits, cache, 4)
    assert all(torch.equal(layer.keys, keys) for layer, keys in zip(cache.layers, before, strict=True))
    single = torch.cat([model.read(row[None], last_only=True)[0] for row in ids])
    torch.testing.assert_close(logits, single)
    assert isinstance(bench.timed(tiny("mamba")), bench.Verbs)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (ModelBench(models=("lama",)), UnknownName),
        (ModelBench(rounds=0), BadInput),
    ],
)
def test_what_cannot_be_timed_is_refused(spec, error, tmp_path):
    with pytest.raises(error):
        spec.check()


def test_a_model_of_ones_own_is_timed_beside_the_others(model_folder, tmp_path, monkeypatch, tiny_model):
    monkeypatch.setattr(bench, "MODELS", {"ours": tiny_model})
    run = bench_model(ModelBench(models=("ours", model_folder), tokens=(16,), new=2, rounds=1), tmp_path / "run")
    assert {row["name"] for row in run.rows()} == {"ours", model_folder}
    with refused(UnknownName, got="none/here", naming="model"):
        ModelBench(models=("none/here",)).check()


def test_a_model_that_does_not_keep_its_word_is_not_timed(tmp_path, monkeypatch):
    from reread.models.families import tiny
    from reread.models.pretrained import WHOLE

    wrong = tiny("mamba")
    wrong._resume = WHOLE
    monkeypatch.setattr(bench, "MODELS", {"wrong": lambda: wrong})
    monkeypatch.setattr(bench, "VOCABULARY", 97)
    with refused(WrongAnswer, naming=("wrong", "read = read + extend")):
        bench_model(ModelBench(models=("wrong",), tokens=(8,), new=1, rounds=1), tmp_path / "run")


@pytest.mark.parametrize(
    "spec", [ModelBench(models=()), ModelBench(tokens=()), ModelBench(batches=()), ModelBench(threads=-1)]
)
def test_settings_without_a_meaning_are_refused(spec):
    with pytest.raises(BadInput):
        spec.check()


def test_prefix_policies_are_timed_in_turns_on_one_prompt(model_folder, tmp_path):
    names = ("prompt", "none", "entropy(of=model, tokens=8)", "question_aware")
    spec = PrefixBench(model=model_folder, policies=names, tokens=(24, 48), rounds=2)
    rows = list(bench_prefix(spec, tmp_path / "run").rows())
    assert len(rows) == 2 * 4 * 2 and {row["name"] for row in rows} == {str(policy(name)) for name in names}
    assert len({row["N"] for row in rows}) == 2 and all(row["seconds"] > 0 for row in rows)
    assert "| prefix | float32 |" in report(tmp_path / "run")
    for wrong in (PrefixBench(policies=("half",)), PrefixBench(policies=()), PrefixBench(tokens=(0,))):
        with pytest.raises((BadInput, UnknownName)):
            wrong.check()

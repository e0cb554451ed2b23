"""Timing: turns, refusals, rows and tables."""

import json

import pytest
import torch

from reread import bench
from reread.bench import (
    ModelBench,
    OpBench,
    PrefixBench,
    WrongAnswer,
    bench_model,
    bench_op,
    bench_prefix,
    rounds,
)
from reread.errors import BadInput, UnknownName
from reread.policies import policy
from reread.report import report, tables

SMALL = {"sizes": (64,), "dtypes": ("float32",), "heads": 2, "feature_dim": 4, "value_dim": 8, "rounds": 3}


def test_contenders_take_turns_after_a_round_that_does_not_count():
    calls = []
    found = list(rounds({name: lambda n=name: calls.append(n) for name in "ab"}, 3))
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert [(number, name) for number, name, _ in found] == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]
    assert all(seconds >= 0 for *_, seconds in found)


def test_an_op_run_has_a_row_per_round_and_a_table(tmp_path):
    run = bench_op(OpBench(**SMALL), tmp_path / "run")
    assert len(list(run.rows())) == 3 * 3
    text = report(tmp_path / "run")
    assert "| op | float32 | 64 | softmax (SDPA) | 3 |" in text and "| 1.00 [1.00, 1.00] |" in text
    fast = {record["name"]: record["times as fast"]["mean"] for record in tables(tmp_path / "run")["timings"]}
    assert fast["softmax (SDPA)"] == 1.0 and all(value > 0 for value in fast.values())


def test_ratios_are_within_rounds(tmp_path):
    run = bench.start(OpBench(**SMALL), "op", tmp_path / "run")
    for number, (slow, quick) in enumerate([(4.0, 1.0), (40.0, 10.0), (2.0, 0.5)]):
        for name, seconds in (("base", slow), ("ours", quick)):
            run.append({"what": "op", "dtype": "float32", "N": 8, "name": name, "round": number, "seconds": seconds})
    run.finish({"rounds": 3})
    base, ours = tables(tmp_path / "run")["timings"]
    assert ours["times as fast"] == {"mean": 4.0, "low": 4.0, "high": 4.0}
    assert base["seconds"]["mean"] == 4.0 and ours["tokens/s"] == 8.0


def test_an_op_that_is_wrong_is_not_timed(tmp_path, monkeypatch):
    right = bench.linear_attention

    def wrong(q, k, v, *, backend="auto", **options):
        y, state = right(q, k, v, backend=backend, **options)
        return (y if backend == "reference" else 1.01 * y), state

    monkeypatch.setattr(bench, "linear_attention", wrong)
    with pytest.raises(WrongAnswer, match="linear is not timed: at N = 64 it differs from its reference form by 1"):
        bench_op(OpBench(**SMALL), tmp_path / "run")
    with pytest.raises(BadInput, match="not whole"):
        report(tmp_path / "run")


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


def test_the_models_to_time_are_of_about_equal_size():
    counts = {name: bench.parameters(make()) for name, make in bench.MODELS.items()}
    assert max(counts.values()) < 1.15 * min(counts.values()), counts


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (OpBench(dtypes=("float16",)), UnknownName),
        (ModelBench(models=("lama",)), UnknownName),
        (OpBench(rounds=0), BadInput),
    ],
)
def test_what_cannot_be_timed_is_refused(spec, error, tmp_path):
    with pytest.raises(error):
        spec.check()


def test_an_op_that_is_wrong_beyond_a_segment_is_not_timed(tmp_path, monkeypatch):
    right = bench.linear_attention

    def forgetful(q, k, v, *, state=None, backend="auto", **options):
        if backend != "auto":
            return right(q, k, v, state=state, backend=backend, **options)
        pieces = [
            right(*(x[:, i : i + 512] for x in (q, k, v)), state=state, **options) for i in range(0, q.shape[1], 512)
        ]
        return torch.cat([y for y, _ in pieces], dim=1), pieces[-1][1]

    monkeypatch.setattr(bench, "linear_attention", forgetful)
    with pytest.raises(WrongAnswer, match="at N = 1,024 it differs from its chunked form"):
        bench_op(OpBench(**{**SMALL, "sizes": (1024,)}), tmp_path / "run")


def test_a_model_that_does_not_keep_its_word_is_not_timed(tmp_path, monkeypatch):
    from reread.models.families import tiny
    from reread.models.pretrained import WHOLE

    wrong = tiny("mamba")
    wrong._resume = WHOLE
    monkeypatch.setattr(bench, "MODELS", {"wrong": lambda: wrong})
    monkeypatch.setattr(bench, "VOCABULARY", 97)
    with pytest.raises(WrongAnswer, match=r"wrong is not timed: read = read \+ extend does not hold"):
        bench_model(ModelBench(models=("wrong",), tokens=(8,), new=1, rounds=1), tmp_path / "run")


@pytest.mark.parametrize(
    "spec", [OpBench(sizes=()), OpBench(prefix=2.0), OpBench(threads=-1), ModelBench(models=()), ModelBench(tokens=())]
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

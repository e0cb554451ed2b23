"""Timing the op: passes, contenders, what is refused, what stands in the table."""

import json

import pytest
import torch
from raising import refused

from reread import bench, op_bench
from reread.bench import WrongAnswer
from reread.errors import BadInput, UnknownName
from reread.op_bench import PASSES, Draw, OpBench, bench_op, ceilings, sequence_ops, work
from reread.ops import feature_map
from reread.report import merged_report, report, tables
from reread.report.timings import timings

SMALL = {"sizes": (64,), "dtypes": ("float32",), "heads": 2, "feature_dim": 4, "value_dim": 8, "rounds": 3}


@pytest.fixture(autouse=True)
def small_ceilings(monkeypatch):
    monkeypatch.setattr(op_bench, "CEILING_BYTES", {"cpu": 2**20})
    monkeypatch.setattr(op_bench, "CEILING_SIDE", {"cpu": 64})


def test_every_pass_has_a_row_per_round_and_a_table(tmp_path):
    run = bench_op(OpBench(**SMALL, passes=tuple(PASSES), batches=(1, 2), prefixes=(0.5, 20)), tmp_path / "run")
    rows = list(run.rows())
    whole = {"softmax (SDPA)", "linear", "linear, 2 N", "prefix linear, 0.5 N", "prefix linear, 20"}
    for what, names in (("forward", whole), ("backward", whole), ("decode", {"softmax (SDPA)", "linear"})):
        own = [row for row in rows if row["what"] == PASSES[what]]
        assert {row["name"] for row in own} == names and len(own) == 3 * 2 * len(names)
        assert {row["tokens"] for row in own} == ({1, 2} if what == "decode" else {64, 128})
    text = report(tmp_path / "run")
    assert "| op | float32 | 2 | 64 | softmax (SDPA) | 3 |" in text and "| 1.00 [1.00, 1.00] |" in text
    assert "of the roofline |" in text and "float32: a large copy reached" in text
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
    assert base["seconds"]["mean"] == 4.0 and ours["tokens/s"] == 8.0 and ours["batch"] == 1
    assert "GB/s" not in ours and "roofline" not in report(tmp_path / "run")


def wrong(right, part):
    """linear_attention with an error in the output or in the gradient, where the backend is not named."""

    def mistaken(q, k, v, *, backend="auto", **options):
        y, state = right(q, k, v, backend=backend, **options)
        if backend != "auto":
            return y, state
        return (1.01 * y if part == "output" else y.detach() + 1.01 * (y - y.detach())), state

    return mistaken


@pytest.mark.parametrize(("what", "part"), [("forward", "output"), ("decode", "output"), ("backward", "gradient")])
def test_an_op_that_is_wrong_is_not_timed(tmp_path, monkeypatch, what, part):
    monkeypatch.setattr(op_bench, "linear_attention", wrong(op_bench.linear_attention, part))
    length = 1 if what == "decode" else 64
    form = "reference (gradient)" if what == "backward" else "reference"
    with refused(WrongAnswer, got="float32", naming=("linear", f"N = {length} ", form, "by 1")):
        bench_op(OpBench(**SMALL, passes=(what,)), tmp_path / "run")
    with refused(BadInput, got=tmp_path / "run", naming="done.json"):
        report(tmp_path / "run")


def test_an_op_that_is_wrong_beyond_a_segment_is_not_timed(tmp_path, monkeypatch):
    right = op_bench.linear_attention

    def forgetful(q, k, v, *, state=None, backend="auto", **options):
        if backend != "auto":
            return right(q, k, v, state=state, backend=backend, **options)
        pieces = [
            right(*(x[:, i : i + 512] for x in (q, k, v)), state=state, **options) for i in range(0, q.shape[1], 512)
        ]
        return torch.cat([y for y, _ in pieces], dim=1), pieces[-1][1]

    monkeypatch.setattr(op_bench, "linear_attention", forgetful)
    with refused(WrongAnswer, got="float32", naming=("N = 1,024", "chunked")):
        bench_op(OpBench(**{**SMALL, "sizes": (1024,)}), tmp_path / "run")


def test_a_kernel_of_others_that_fails_is_told_and_ours_that_fails_is_not_hidden(tmp_path, monkeypatch):
    def broken(*_, **settings):
        raise RuntimeError("no kernel for | this")

    monkeypatch.setattr(op_bench, "softmax", broken)
    for what in PASSES:
        run = bench_op(OpBench(**SMALL, passes=(what,)), tmp_path / what)
        ours = {"linear"} if what == "decode" else {"linear", "linear, 2 N", "prefix linear, 0.5 N"}
        assert {row["name"] for row in run.rows()} == ours
    run = bench_op(OpBench(**SMALL), tmp_path / "run")
    told = "Not timed: softmax (SDPA) (float32, forward, batch 1, N = 64): RuntimeError: no kernel"
    assert told in report(run.folder) and told in merged_report([run.folder])
    assert all(record["times as fast"] is None for record in tables(run.folder)["timings"])  # and not another's times
    assert "1.00 [" not in report(run.folder)
    monkeypatch.setattr(op_bench, "verify", lambda *_: None)
    monkeypatch.setattr(op_bench, "linear_attention", broken)
    with pytest.raises(RuntimeError, match="no kernel"):
        bench_op(OpBench(**SMALL), tmp_path / "other")


def late(y):
    y = y.clone()
    y[:, -300:] = 0
    return y


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("the last tokens are not written", lambda y, S, z: (late(y), (S, z))),
        ("the second half is 5 % too large", lambda y, S, z: (torch.cat([y[:, :1000], 1.05 * y[:, 1000:]], 1), (S, z))),
        ("the last row is another's", lambda y, S, z: (torch.cat([y[:-1], y[:1]]), (S, z))),
        ("the state is not that of the text", lambda y, S, z: (y, (S.roll(1, 2), z))),
        ("the normaliser's state is wrong in one head", lambda y, S, z: (y, (S, torch.cat([z[:, :1], z[:, :1]], 1)))),
    ],
)
def test_an_op_that_is_wrong_in_one_place_is_not_timed(monkeypatch, what, change):
    """What a norm over everything lets through, because late tokens of linear attention are small."""
    right = op_bench.linear_attention

    def wrong_there(q, k, v, *, backend="auto", **options):
        y, state = right(q, k, v, backend=backend, **options)
        return change(y, *state) if backend == "auto" and q.shape[:2] == (6, 2000) else (y, state)

    spec = OpBench(**{**SMALL, "sizes": (2000,)}, prefixes=())
    ops = sequence_ops(spec, 2000, Draw(spec, 6, "float32", torch.device("cpu")), feature_map("taylor", 4, 2))
    op_bench.verify("linear", ops["linear"], "float32", False)
    monkeypatch.setattr(op_bench, "linear_attention", wrong_there)
    with refused(WrongAnswer, got="float32", naming=("N = 2,000", "chunked")):
        op_bench.verify("linear", ops["linear"], "float32", False)


def test_gradients_are_compared_beyond_a_segment(monkeypatch):
    right = op_bench.linear_attention

    def wrong_later(q, k, v, *, backend="auto", **options):
        y, state = right(q, k, v, backend=backend, **options)
        if backend != "auto" or q.shape[1] <= 512:
            return y, state
        first, rest = y[:, :512], y[:, 512:]
        return torch.cat([first, rest.detach() + 0.9 * (rest - rest.detach())], 1), state

    spec = OpBench(**{**SMALL, "sizes": (1024,)})
    ops = sequence_ops(spec, 1024, Draw(spec, 1, "float32", torch.device("cpu")), feature_map("taylor", 4, 2))
    monkeypatch.setattr(op_bench, "linear_attention", wrong_later)
    monkeypatch.setattr(op_bench, "GRADIENTS", {"cpu": op_bench.GRADIENTS["cuda"]})
    op_bench.verify("linear", ops["linear"], "float32", False)
    with refused(WrongAnswer, got="float32", naming=("N = 1,024", "chunked (gradient)")):
        op_bench.verify("linear", ops["linear"], "float32", True)


def test_graphs_are_held_against_the_graph_of_the_first():
    row = {"what": "op, one token", "dtype": "bfloat16", "N": 8, "batch": 4, "round": 0}
    times = {"softmax": 8.0, "softmax, CUDA graph": 6.0, "linear": 4.0, "linear, CUDA graph": 2.0}
    rows = []
    for name, seconds in times.items():
        against = "softmax" + (", CUDA graph" if name.endswith("graph") else "")
        rows.append({**row, "name": name, "seconds": seconds, "against": against})
    found = {record["name"]: record["times as fast"]["mean"] for record in timings(rows)}
    assert found == {"softmax": 1.0, "softmax, CUDA graph": 1.0, "linear": 2.0, "linear, CUDA graph": 3.0}


def test_another_that_disagrees_with_ours_is_not_timed():
    spec = OpBench(**SMALL)
    ops = sequence_ops(spec, 64, Draw(spec, 1, "float32", torch.device("cpu")), feature_map("taylor", 4, 2))
    like = {
        "agrees": lambda q, k, v: op_bench.linear(feature_map("taylor", 4, 2), q, k, v)[0],
        "does not": lambda q, k, v: v + 0 * (q.sum() + k.sum()),
    }
    foreign = {name: op_bench.Op(call, ops["linear"].tensors, 1.0, 1.0, like="linear") for name, call in like.items()}
    for what in ("forward", "backward"):
        calls, refused = op_bench.willing({**ops, **foreign}, what, "float32")
        assert "agrees" in calls and "does not" not in calls and "differs from linear by" in refused["does not"]


def test_least_bytes_and_operations_are_those_of_the_definition():
    spec = OpBench(heads=2, feature_dim=16, value_dim=64, prefixes=(0.5,))
    draw, N, B = Draw(spec, 3, "float32", torch.device("cpu")), 10, 3
    phi = feature_map("taylor", 16, 2)
    ops = sequence_ops(spec, N, draw, phi)
    n = B * 2 * N
    assert ops["softmax (SDPA)"].bytes == 4 * 64 * n * 4 and ops["softmax (SDPA)"].flops == 2 * 64 * N * n
    assert ops["linear"].bytes == (2 * 16 + 2 * 64) * n * 4 and ops["linear"].flops == 4 * phi.width * 64 * n
    assert ops["linear, 2 N"].flops == 2 * ops["linear"].flops
    prefix = ops["prefix linear, 0.5 N"]
    assert prefix.bytes == ops["linear"].bytes + (16 + 64) * n / 2 * 4 and prefix.flops == 1.25 * ops["linear"].flops
    assert work(ops["linear"], "forward", (1e9, 1e12))["least_seconds"] == ops["linear"].bytes / 1e9
    assert work(ops["linear"], "backward", (1e12, 1.0))["least_seconds"] == 3 * ops["linear"].flops
    assert work(ops["softmax (SDPA)"], "backward", (1e12, 1.0))["least_seconds"] == 3.5 * ops["softmax (SDPA)"].flops


def test_the_share_of_the_roofline_is_the_least_time_in_the_measured_one():
    row = {"what": "op", "dtype": "float32", "N": 8, "batch": 2, "name": "a", "round": 0, "seconds": 0.5}
    (record,) = timings([{**row, "tokens": 16, "bytes": 1e9, "flops": 3e12, "least_seconds": 0.1}])
    assert record["GB/s"] == 2.0 and record["TFLOP/s"] == 6.0 and record["of the roofline"] == 0.2


def test_ceilings_are_what_the_clock_said():
    copied, done = ceilings("float32", torch.device("cpu"), lambda call: call() is None or 0.5)
    assert copied == 2 * 2**20 / 0.5 and done == 2 * 64**3 / 0.5


def test_the_device_is_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("REREAD_DEVICE", "cuda")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with refused(BadInput, got="cuda"):
        bench_op(OpBench(**SMALL), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (OpBench(dtypes=("float16",)), UnknownName),
        (OpBench(passes=("sideways",)), UnknownName),
        (OpBench(rounds=0), BadInput),
        (OpBench(sizes=()), BadInput),
        (OpBench(batches=(0,)), BadInput),
        (OpBench(prefixes=(1.5,)), BadInput),
        (OpBench(prefixes=(-0.5,)), BadInput),
        (OpBench(threads=-1), BadInput),
    ],
)
def test_what_cannot_be_timed_is_refused(spec, error):
    with pytest.raises(error):
        spec.check()


def test_a_finished_run_says_what_the_machine_reached(tmp_path):
    run = bench_op(OpBench(**{**SMALL, "rounds": 1}), tmp_path / "run")
    done = json.loads((run.folder / "done.json").read_text())
    assert set(done["reached"]) == {"float32"} and done["reached"]["float32"]["bytes/s"] > 1e6 and not done["refused"]

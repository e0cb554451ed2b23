"""What a second identical reading does to one layer's memory: the exact statements, and that they are measured."""

import json
import math

import pytest
import torch
from raising import refused

from reread.errors import BadInput, UnknownName
from reread.ops import (
    FEATURE_MAPS,
    feature_map,
    gated_delta_rule,
    gated_linear_attention,
    linear_attention,
    prefix_state,
)
from reread.training.law import MEMORIES, LawConfig, keys, measure_law, orders, recall

R, N, D, V = 3, 24, 16, 12


@pytest.fixture
def text():
    rng = torch.Generator().manual_seed(0)
    k = keys(R, N, D, 0.4, rng)[:, :, None]
    return k, torch.randn(R, N, 1, V, generator=rng)


def twice(x):
    return torch.cat((x, x), dim=1)


def close(a, b, within=1e-5):
    assert float((a.detach() - b.detach()).norm() / b.detach().norm()) < within


@pytest.mark.parametrize("name", [name for name in FEATURE_MAPS if name != "mixture"])
def test_a_normalised_additive_memory_is_unchanged_by_an_identical_second_pass(name, text):
    k, v = text
    phi = feature_map(name, D)
    with torch.no_grad():
        once = prefix_state(k, v, feature_map=phi)
        _, again = linear_attention(k, k, v, feature_map=phi, state=once)
    for a, b in zip(again, once, strict=True):
        close(a, 2 * b)
    if phi.can_vanish and name != "relu":  # their guard acts on sums that are not positive: not a pure quotient
        return
    q = phi(torch.randn(R, 1, 5, D))
    read = [(q @ S) / (q * z[:, :, None]).sum(-1, keepdim=True) for S, z in (once, again)]
    close(read[1], read[0])


def test_where_the_guard_holds_the_normaliser_a_second_pass_doubles_the_read_out(text):
    k, v = text
    phi = feature_map("identity", D)
    small = 1e-3 * k  # sums far below the guard of 1

    def read(*states):
        return [linear_attention(small[:, :1], 0 * k[:, :1], 0 * v[:, :1], feature_map=phi, state=s)[0] for s in states]

    once, again = read(prefix_state(small, v, feature_map=phi), prefix_state(twice(small), twice(v), feature_map=phi))
    assert phi.guard == 1 and float(again.norm()) > 0
    close(again, 2 * once)


def test_the_read_out_through_the_op_is_unchanged_too(text):
    k, v = text
    q = torch.randn(R, 7, 1, D)
    close(recall("normalised", q, twice(k), twice(v)), recall("normalised", q, k, v))
    close(recall("additive", q, twice(k), twice(v)), 2 * recall("additive", q, k, v))


def test_one_decay_per_head_only_scales_what_stands_there_even_when_it_depends_on_the_token(text):
    k, v = text
    fading = -torch.rand(R, N, 1, 1) * 0.1
    _, S = gated_linear_attention(k, k, v, log_decay=fading)
    _, again = gated_linear_attention(twice(k), twice(k), twice(v), log_decay=twice(fading))
    close(again, (1 + fading.sum(dim=1).exp())[..., None] * S)
    close(
        recall("decayed(decay=0.9)", k, twice(k), twice(v)),
        (1 + 0.9**N) * recall("decayed(decay=0.9)", k, k, v),
    )


def test_a_decay_per_key_dimension_does_more_than_scale(text):
    k, v = text
    fading = -torch.rand(R, N, 1, D) * 0.1
    _, S = gated_linear_attention(k, k, v, log_decay=fading)
    _, again = gated_linear_attention(twice(k), twice(k), twice(v), log_decay=twice(fading))
    close(again, (1 + fading.sum(dim=1).exp())[..., None] * S)  # diag(1 + A) S: rows by different factors
    assert (1 + fading.sum(dim=1).exp()).std() > 0.05


@pytest.mark.parametrize("beta, decay", [(1.0, 1.0), (0.5, 1.0), (1.0, 0.95)])
def test_p_readings_of_the_delta_rule_are_a_geometric_series_of_its_transitions(beta, decay, text):
    k, v = (x.double() for x in text)
    A = torch.eye(D, dtype=torch.float64).repeat(R, 1, 1)
    for t in range(N):
        key = k[:, t, 0]
        A = decay * (A - beta * key[:, :, None] * (key[:, None] @ A))

    def read(times):
        many_k, many_v = k.repeat(1, times, 1, 1), v.repeat(1, times, 1, 1)
        strength, fading = torch.full(many_k.shape[:3], beta), torch.full((*many_k.shape[:3], 1), math.log(decay))
        return gated_delta_rule(many_k, many_k, many_v, beta=strength.double(), log_decay=fading.double())[1][:, 0]

    S = read(1)
    close(read(2), S + A @ S)
    close(read(3), S + A @ S + A @ A @ S)


def test_the_error_of_the_delta_rule_shrinks_by_its_transitions_at_every_reading():
    rng = torch.Generator().manual_seed(1)
    k = keys(R, 10, D, 0.4, rng)[:, :, None].double()
    v = torch.randn(R, 10, 1, V, generator=rng, dtype=torch.float64)
    star = torch.linalg.pinv(k[:, :, 0]) @ v[:, :, 0]  # answers every key: 10 items in 16 dimensions
    A = torch.eye(D, dtype=torch.float64).repeat(R, 1, 1)
    for t in range(10):
        A = A - k[:, t, 0][:, :, None] * (k[:, t, 0][:, None] @ A)
    for times in (1, 2, 4):
        ones = torch.ones(R, 10 * times, 1, dtype=torch.float64)
        many = k.repeat(1, times, 1, 1), v.repeat(1, times, 1, 1)
        S = gated_delta_rule(many[0], *many, beta=ones, log_decay=torch.zeros_like(ones)[..., None])[1][:, 0]
        close(star - S, torch.linalg.matrix_power(A, times) @ star)


@pytest.mark.parametrize("memory", [*MEMORIES, "decayed(decay=0.8)", "delta(beta=0.5, decay=0.9)"])
def test_reading_out_writes_nothing_and_finds_a_lone_item(memory):
    k = keys(R, 1, D, 0.0, torch.Generator().manual_seed(0))[:, :, None]
    v = torch.randn(R, 1, 1, V)
    q = torch.cat((k, torch.randn(R, 3, 1, D), k), dim=1)
    y = recall(memory, q, k, v)
    close(y[:, -1], y[:, 0])
    share = (y[:, 0] * v[:, 0]).sum(-1) / (v[:, 0] * v[:, 0]).sum(-1)
    assert (share > 0.4).all()
    close(y[:, 0], share[..., None] * v[:, 0])


def test_keys_have_length_one_and_the_inner_product_that_is_asked():
    k = keys(50, 40, 64, 0.3, torch.Generator().manual_seed(0))
    gram = k @ k.transpose(1, 2)
    assert torch.allclose(gram.diagonal(dim1=1, dim2=2), torch.ones(50, 40), atol=1e-5)
    others = (gram.sum() - 50 * 40) / (50 * 40 * 39)
    assert abs(float(others) - 0.3) < 0.01


def test_orders_are_what_their_names_say():
    read, quarter = orders(5, 16, torch.Generator().manual_seed(0))
    assert {name: order.shape[1] for name, order in read.items()} == {
        "once": 16, "once + same": 32, "once + reversed": 32, "once + shuffled": 32, "once + quarter": 20,
        "once + other quarter": 20, "4 times": 64, "quarter twice": 8,
    }  # fmt: skip
    assert (read["once + quarter"][:, 16:] == quarter).all()
    for row in range(5):
        assert not set(read["once + other quarter"][row, 16:].tolist()) & set(quarter[row].tolist())
        assert sorted(read["once + shuffled"][row, 16:].tolist()) == list(range(16))
        assert read["once + reversed"][row, 16:].tolist() == list(range(15, -1, -1))


def test_a_run_holds_every_cell_and_shows_the_law(tmp_path):
    config = LawConfig(items=(32,), shared=(0.5,), width=32, codes=128, draws=8)
    run = measure_law(config, tmp_path / "law")
    rows = list(run.rows())
    assert len(rows) == run.summary()["rows"] == 6 * 8 * 2
    mean = {(r["memory"], r["read"], r["asked"]): r["recalled"] for r in rows}
    assert all(r["draws"] == 8 and r["N"] == 32 and r["rho"] == 0.5 for r in rows)
    for memory in ("additive", "normalised", "decayed(decay=0.99)"):
        assert mean[memory, "once + same", "all"] == pytest.approx(mean[memory, "once", "all"], abs=0.01)
    assert mean["delta", "once + same", "all"] > mean["delta", "once", "all"] + 0.1
    for memory in ("additive", "delta"):
        assert mean[memory, "once + quarter", "quarter"] > mean[memory, "once", "quarter"] + 0.2
    assert mean["additive", "once + other quarter", "quarter"] < mean["additive", "once", "quarter"]
    assert measure_law(config, tmp_path / "law").summary() == run.summary()


def test_a_measurement_that_was_killed_starts_anew_and_gives_the_same(tmp_path):
    config = LawConfig(memories=("delta",), items=(8, 16), shared=(0.5,), width=8, codes=16, draws=4)
    whole = measure_law(config, tmp_path / "whole")
    killed = measure_law(config, tmp_path / "killed")
    (killed.folder / "done.json").unlink()
    killed.keep(lambda row: row["N"] == 8)
    assert list(measure_law(config, tmp_path / "killed").rows()) == list(whole.rows())
    assert len(json.loads((killed.folder / "header.json").read_text())["resumed"]) == 1


def test_mistakes_are_one_sentence():
    with refused(UnknownName, got="delt", allowed="additive, decayed, delta, normalised"):
        LawConfig(memories=("delt",)).check()
    with refused(BadInput, got="delta(speed=1)", naming="settings"):
        LawConfig(memories=("delta(speed=1)",)).check()
    with refused(BadInput, got=[30], naming="items"):
        LawConfig(items=(30,)).check()
    with refused(BadInput, got=[1.0], naming="shared"):
        LawConfig(shared=(1.0,)).check()

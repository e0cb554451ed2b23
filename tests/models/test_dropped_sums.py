"""Dropped keys summed into a state of linear attention: against loops over keys in fp64, budgets, batches, refusals."""

import math

import pytest
import torch
from kv_models import ids, model_of
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models.dropped_sums import Queries, sum_bytes, summed, sums_of
from reread.models.kept_keys import KeptRows
from reread.models.kept_reading import add_sums, keep_keys, read_selected
from reread.models.kv_attention import Observer, observed, scored_layers
from reread.models.kv_choice import choose_beside
from reread.models.kv_scores import Cue, plain_reading, read_and_score
from reread.models.kv_selection import Dropped, selection
from reread.models.pretrained import PretrainedState
from reread.ops.feature_maps import Gaussian

CUE = Cue((5, 6, 7), (8, 9), (10,), tail=3)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
MAPS = ("mean", "relu", "gaussian(features=5)")


def features(kind, x, F):
    """phi(x), a list of F numbers."""
    if kind == "mean":
        return [1.0]
    if kind == "relu":
        return [max(float(one), 0.0) for one in x]
    w = Gaussian(len(x), features=F).w.double()
    return [math.exp(float(w[f] @ x - x @ x / 2)) / math.sqrt(F) for f in range(F)]


def weight(kind, q, k, mean, scale, F):
    """The weight of a dropped key, before the shift."""
    root = math.sqrt(scale)
    pairs = zip(features(kind, root * q, F), features(kind, root * (k - mean), F), strict=True)
    return math.exp(scale * float(q @ mean)) * sum(a * b for a, b in pairs)


def shift(kind, queries, keys, mean, scale, F):
    """Mean difference of the logarithms of the exact and the approximate weight of all dropped keys."""
    found = []
    for q in queries:
        mass = sum(weight(kind, q, k, mean, scale, F) for k in keys)
        if mass > 0:
            found.append(math.log(sum(math.exp(scale * float(q @ k)) for k in keys)) - math.log(mass))
    return sum(found) / len(found)


class Joined(Observer):
    """Attention in which queries from T on see a dropped key with the weight of its features.  Loops."""

    def __init__(self, T, kept, dropped, queries):
        super().__init__()
        self.T, self.kept, self.dropped, self.queries = T, kept, dropped, queries

    def __call__(self, call):
        K, G, Q, _ = call.query.shape
        S, s, kind, F = call.key.shape[1], call.rule.scale, self.dropped.kind, self.dropped.features
        out = call.output()
        for k in range(K):
            stays = set(self.kept[call.layer][k].tolist())
            away = [i for i in range(self.T) if i not in stays]
            mean = call.key[k, away].mean(dim=0) if kind != "relu" else torch.zeros_like(call.key[k, 0])
            seen = self.queries[call.layer].query[k].flatten(0, 1)
            c = shift(kind, seen, call.key[k, away], mean, s, F)
            for g in range(G):
                for j in range(S - Q, S):
                    if j < self.T:
                        continue
                    q, weights = call.query[k, g, j - (S - Q)], []
                    for i in range(j + 1):
                        exact = i >= self.T or i in stays
                        own = (
                            math.exp(s * float(q @ call.key[k, i]))
                            if exact
                            else math.exp(c) * weight(kind, q, call.key[k, i], mean, s, F)
                        )
                        weights.append(own)
                    w = torch.tensor(weights, dtype=call.value.dtype)
                    out[k, g, j - (S - Q)] = w @ call.value[k, : j + 1] / w.sum()
        return out


@torch.no_grad()
@pytest.mark.parametrize("text", MAPS)
@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "smollm3"])
def test_questions_are_answered_as_by_loops_over_all_keys(family, text):
    model, T = model_of(family), 14
    tokens, questions = ids(T), torch.cat((ids(4, seed=1), ids(4, seed=2)))
    chosen = selection(f"reread(tokens=6, dropped={text})")
    reading = read_and_score(model, tokens, [chosen], CUE)
    kept, _ = choose_beside(reading.scores[str(chosen)], chosen, reading.sizes, {})
    queries, dropped = reading.queries[chosen.settings.repetition], chosen.settings.sums
    state = add_sums(reading.state, keep_keys(reading.state, kept), kept, queries, dropped)
    view = observed(model, Joined(T, kept, dropped, queries))
    got, _ = model.extend(questions, state.rows([0, 0]))
    for row, question in zip(got, questions, strict=True):
        want = view.model(torch.cat((tokens, question[None]), dim=1), use_cache=False).logits[0, T:]
        torch.testing.assert_close(row, want, **CLOSE)
    plain, _ = model.extend(questions, keep_keys(reading.state, kept).rows([0, 0]))
    assert float((got - plain).abs().max()) > 1e-3
    first, middle = model.extend(questions[:1, :2], state)
    second, _ = model.extend(questions[:1, 2:], middle)
    torch.testing.assert_close(torch.cat((first, second), dim=1), got[:1], **CLOSE)


def kept_but(model, state, missing):
    """All positions but `missing` of each head."""
    (row,) = state.tensors
    stays = torch.tensor([i for i in range(int(state.position)) if i not in missing])
    return {i: [stays] * row[f"layers.{i}.keys"].shape[1] for i in scored_layers(model)}


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "gpt2", "falcon_h1"])
def test_the_mean_of_one_dropped_key_is_that_key(family):
    model, tokens, question = model_of(family), ids(20), ids(5, seed=3)
    chosen = selection("reread(tokens=8, dropped=mean)")
    reading = read_and_score(model, tokens, [chosen], CUE)
    kept = kept_but(model, reading.state, {7})
    queries = reading.queries[chosen.settings.repetition]
    without = keep_keys(reading.state, kept)
    got, _ = model.extend(question, add_sums(reading.state, without, kept, queries, Dropped(kind="mean")))
    want, _ = model.extend(question, reading.state)
    torch.testing.assert_close(got, want, **CLOSE)
    assert float((model.extend(question, without)[0] - want).abs().max()) > 1e-3


@torch.no_grad()
def test_many_features_come_near_to_all_keys():
    draw = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    key, value, query, scale = drawn(1, 30, 8) / 2, drawn(1, 30, 8), drawn(1, 2, 40, 8) / 2, 8**-0.5
    kept = torch.arange(10)
    logits = scale * query[0].flatten(0, 1) @ key[0].T
    want = logits.softmax(dim=-1) @ value[0]
    out = logits[:, :10].softmax(dim=-1) @ value[0, :10]

    def error(F):
        made = summed(key, value, [kept], Queries(query, scale), Dropped(kind="gaussian", features=F), 0)
        sums = sums_of(KeptRows(({**made, "kept.0.key": key[0]},)), 0)
        rows = query.flatten(1, 2)[None]
        got = sums.joined(rows, out[None, None], logits[:, :10].logsumexp(dim=-1)[None, None], scale)
        return float((got[0, 0] - want).norm() / want.norm())

    assert error(20000) < 0.02 < error(8) / 3 and error(20000) < float((out - want).norm() / want.norm()) / 3


@torch.no_grad()
@pytest.mark.parametrize("budget", ["tokens=20", "share=0.5", "mib=0.01", "tokens=20, heads=equal"])
@pytest.mark.parametrize("text", MAPS)
def test_the_sums_are_in_the_budget(text, budget):
    model, tokens = model_of("llama"), ids(40)
    read = read_selected(model, tokens, selection(f"reread({budget}, dropped={text})"), CUE)
    (row,) = read.state.tensors
    kind, _, _ = text.partition("(")
    sums = {name: x for name, x in row.items() if f".{kind}." in name}
    F, D = {"mean": 1, "relu": 8, "gaussian": 5}[kind], 8
    for i in (0, 1):
        assert sums[f"kept.{i}.{kind}.sums"].shape == (2, F, D + 1)
        assert sums[f"kept.{i}.{kind}.mean"].shape == (2, D) and sums[f"kept.{i}.{kind}.shift"].shape == (2,)
        assert bool((sums[f"kept.{i}.{kind}.mean"] == 0).all()) == (kind == "relu")
        key = row[f"kept.{i}.key"][None]
        assert sum_bytes(selection(f"reread({budget}, dropped={text})").settings.sums, key, key) == (
            (F * (D + 1) + D + 1) * 8
        )
    assert len(sums) == 6 and read.state.to_flat().keys() >= {f"rows.0.{name}" for name in sums}
    plain = read_selected(model, tokens, selection(f"reread({budget})"), CUE)
    spare = (2 * D * 8 + 4) * (4 if "equal" in budget else 1)  # one position, of each head where they are equal
    most = plain.state.nbytes + (spare if "mib" in budget else 0)  # which the plain budget may leave unused
    assert plain.state.nbytes - spare < read.state.nbytes <= most
    assert read.positions < plain.positions and not read.all_kept
    told = read_selected(model, tokens, selection(f"reread({budget}, dropped={text})"), CUE, forgotten=True)
    assert told.forgotten.shape == (40,) and bool(told.forgotten.isfinite().all())


def test_a_budget_of_a_loss_is_chosen_with_the_sums():
    model, tokens = model_of("llama"), ids(40)
    read = read_selected(model, tokens, selection("reread(loss=0.02, dropped=mean)"), CUE)
    assert float(read.forgotten.mean()) <= 0.02 and not read.all_kept
    assert "kept.0.mean.sums" in read.state.tensors[0]


def test_a_budget_without_room_for_sums_keeps_keys_alone():
    model, tokens = model_of("llama"), ids(40)
    for budget in ("tokens=8", "share=0.2", "tokens=40", "share=1.0"):
        read = read_selected(model, tokens, selection(f"reread({budget}, dropped=gaussian)"), CUE)
        plain = read_selected(model, tokens, selection(f"reread({budget})"), CUE)
        assert read.all_kept == plain.all_kept and read.positions == plain.positions
        (got,), (want,) = read.state.tensors, plain.state.tensors
        assert got.keys() == want.keys() and all(torch.equal(got[name], x) for name, x in want.items())


@torch.no_grad()
def test_rows_of_a_batch_are_those_of_each_alone():
    model = model_of("llama")
    chosen = selection("reread(tokens=14, dropped=relu)")
    states = [read_selected(model, ids(n, seed=n), chosen, CUE).state for n in (30, 25)]
    both, question = PretrainedState.cat([states[0], states[1], states[0]]), ids(3, seed=5).expand(3, -1)
    got, after = model.extend(question, both)
    for i, one in enumerate((states[0], states[1], states[0])):
        want, _ = model.extend(question[:1], one)
        torch.testing.assert_close(got[i], want[0], **CLOSE)
    assert after.rows([1]).to_flat().keys() == model.extend(question[:1], states[1])[1].to_flat().keys()
    again = PretrainedState.from_flat({k: x.clone() for k, x in states[0].to_flat().items()}, states[0].fingerprint)
    torch.testing.assert_close(model.extend(question[:1], again)[0][0], got[0], **CLOSE)
    texts = ("relu", "mean", "gaussian(features=3)", "gaussian(features=4)")
    mixed = [read_selected(model, ids(40), selection(f"reread(tokens=30, dropped={x})"), CUE).state for x in texts]
    mixed += [read_selected(model, ids(30), selection("reread(tokens=14)"), CUE).state, model.read(ids(30))[1]]
    question = ids(3, seed=5).expand(len(mixed), -1)
    got, after = model.extend(question, PretrainedState.cat(mixed))
    step, _ = model.step(question[:, 0], after)
    for i, one in enumerate(mixed):
        want, own = model.extend(question[:1], one)
        torch.testing.assert_close(got[i], want[0], **CLOSE)
        torch.testing.assert_close(step[i], model.step(question[0, :1], own)[0][0], **CLOSE)


@torch.no_grad()
def test_large_queries_and_keys_stay_finite_in_fp32():
    draw = torch.Generator().manual_seed(0)
    key, value = 30 * torch.randn(2, 50, 8, generator=draw), torch.randn(2, 50, 8, generator=draw)
    queries = Queries(30 * torch.randn(2, 3, 20, 8, generator=draw), 8**-0.5)
    kept = [torch.arange(4), torch.arange(50)]  # the second head drops nothing
    for text in MAPS:
        made = summed(key, value, kept, queries, selection(f"reread(tokens=8, dropped={text})").settings.sums, 0)
        assert all(bool(x.isfinite().all()) for x in made.values()), text
        rows = KeptRows(({**made, "kept.0.key": key[0]},))
        out, weight = torch.zeros(1, 2, 60, 8), torch.full((1, 2, 60), -1e4)
        joined = sums_of(rows, 0).joined(queries.query.flatten(1, 2)[None], out, weight, 8**-0.5)
        assert bool(joined.isfinite().all()) and float(joined[0, 0].abs().max()) > 0
        assert bool((joined[0, 1] == 0).all())  # no key was dropped there


def test_a_model_in_bfloat16_keeps_sums_in_fp32():
    model = model_of("llama")
    model.model.bfloat16()
    read = read_selected(model, ids(40), selection("reread(tokens=20, dropped=relu)"), CUE)
    (row,) = read.state.tensors
    assert row["kept.0.key"].dtype == torch.bfloat16 and row["kept.0.relu.sums"].dtype == torch.float32
    logits, _ = model.extend(ids(3), read.state)
    assert logits.dtype == torch.bfloat16 and bool(logits.isfinite().all())


def test_wrong_ids_and_models_are_refused():
    with refused(UnknownName, got="taylor", allowed=containing("gaussian", "relu", "mean")):
        selection("reread(tokens=8, dropped=taylor)")
    with refused(UnknownName, got="features"):
        selection("reread(tokens=8, dropped=relu(features=3))")
    with refused(BadInput, got=0, naming="features"):
        selection("reread(tokens=8, dropped=gaussian(features=0))")
    with refused(BadInput, got="dropped=relu, read=9"):
        selection("reread(tokens=8, dropped=relu, read=9)")
    with refused(UnknownName, got="dropped"):
        selection("window(tokens=8, dropped=relu)")
    one = selection("reread(tokens=8, dropped=gaussian(features=32))")
    assert str(one) == "reread(dropped=gaussian(features=32), tokens=8)" and selection(str(one)) == one
    with refused(BadInput, naming="softcap"):
        read_selected(model_of("gemma2"), ids(20), selection("reread(tokens=8, dropped=relu)"), CUE)
    read_selected(model_of("gemma2"), ids(20), selection("reread(tokens=8)"), CUE)
    assert plain_reading(model_of("llama"), ids(9)).queries == {}

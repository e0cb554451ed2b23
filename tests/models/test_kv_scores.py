"""Scores of keys against loops over full attention matrices of transformers' eager attention, in fp64."""

import math

import pytest
import torch
from kv_models import EAGER, eager, full, ids, model_of, output_norm
from raising import containing, refused
from torch.utils._python_dispatch import TorchDispatchMode

from reread.errors import BadInput
from reread.models import kv_attention, kv_scores
from reread.models.families import tiny
from reread.models.kv_attention import Observer, masked_logits, observed, scored_layers
from reread.models.kv_choice import choose
from reread.models.kv_scores import Cue, first_reading, read_and_score, second_reading
from reread.models.kv_selection import selection

ONE = [selection(f"{name}(share=0.5)") for name in ("window", "tova", "snapkv", "keydiff", "expected", "random")]
CUE = Cue((5, 6, 7), (8, 9), (10,), tail=3)
CLOSE = {"rtol": 1e-4, "atol": 1e-6}  # transformers takes softmax, norms and angles in fp32


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(kv_attention, "BLOCK", 16)


def table(K, T, f):
    return torch.tensor([[float(f(k, i)) for i in range(T)] for k in range(K)], dtype=torch.float64)


def group(seen, layer, k):
    """Numbers of the query heads that share KV head k."""
    n = len(seen.attention[layer]) // len(seen.keys[layer])
    return range(k * n, (k + 1) * n)


def rope(config, layer, D, p):
    """(D,D) rotation of position p, with the halves of the first dimensions as pairs."""
    R = torch.eye(D, dtype=torch.float64)
    kind = config.model_type
    if kind == "gpt2" or (kind == "smollm3" and not config.no_rope_layers[layer]):
        return R
    r = int(D * config.rope_parameters.get("partial_rotary_factor", 1.0))
    for i in range(r // 2):
        angle = p * config.rope_parameters["rope_theta"] ** (-2 * i / r)
        a, b = i, i + r // 2
        R[a, a] = R[b, b] = math.cos(angle)
        R[a, b], R[b, a] = -math.sin(angle), math.sin(angle)
    return R


@torch.no_grad()
@pytest.mark.parametrize("T", [3, 64, 70])
@pytest.mark.parametrize("family", EAGER)
def test_scores_of_one_reading(family, T):
    model = model_of(family)
    tokens = ids(T)
    found = first_reading(model, tokens, ONE).scores
    seen = full(model, tokens)
    for layer in scored_layers(model):
        a, keys = seen.attention[layer], seen.keys[layer]
        K = len(keys)
        old = max(0, T - 64)

        def snap(k, i, a=a, old=old, layer=layer):
            if i >= old:
                return 1 + (i - old + 1) / 64

            def mean(j):
                heads = group(seen, layer, k)
                return sum(float(a[h, q, j]) for h in heads for q in range(old, T)) / (len(heads) * (T - old))

            return sum(mean(j) for j in range(i - 2, i + 3) if 0 <= j < old) / 5

        anchor = [sum(keys[k, j] / keys[k, j].norm() for j in range(T)) / T for k in range(K)]
        want = {
            "window": table(K, T, lambda k, i: i),
            "tova": table(K, T, lambda k, i, a=a: sum(a[h, T - 1, i] for h in range(len(a))) / len(a)),
            "snapkv": table(K, T, snap),
            "keydiff": table(
                K,
                T,
                lambda k, i, keys=keys, m=anchor: -(keys[k, i] @ m[k]) / (keys[k, i].norm() * m[k].norm()),
            ),
        }
        for name, expected in want.items():
            torch.testing.assert_close(found[f"{name}(share=0.5)"][layer], expected, **CLOSE, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("family", [*EAGER, "phi", "smollm3"])
def test_expected_attention(family):
    model, T = model_of(family), 21
    tokens = ids(T)
    found = first_reading(model, tokens, [selection("expected(tokens=9)")]).scores["expected(tokens=9)"]
    seen = full(model, tokens)
    for layer in scored_layers(model):
        keys, values, part = seen.keys[layer], seen.values[layer], seen.modules[layer]
        K, _, D = keys.shape
        H = len(seen.attention[layer])
        R = sum(rope(model.config, layer, D, p) for p in range(T, T + 512)) / 512
        want = torch.zeros(K, T, dtype=torch.float64)
        for k in range(K):
            for h in group(seen, layer, k):
                q = seen.queries[layer].view(T, H, D)[4:, h]
                m, C = R @ q.mean(dim=0), R @ q.T.cov(correction=0) @ R.T
                s = part.scaling
                logits = torch.stack([x @ m * s + x @ C @ x * s * s / 2 for x in keys[k, 4:]])
                for i, p in enumerate(logits.softmax(dim=0).tolist(), start=4):
                    want[k, i] += p * output_norm(part, H, h, values[k, i]) / len(group(seen, layer, k))
        torch.testing.assert_close(found[layer], want, rtol=1e-3, atol=1e-6)


def naive_second(model, tokens, plus, chunk):
    """Largest attention of repeated tokens, from one forward of document, cue and chunk for every chunk."""
    T = tokens.shape[1]
    best = {}
    for start in range(0, T, chunk):
        before = [5, 6, 7] if not start else [8, 9, *tokens[0, max(0, start - 3) : start].tolist(), 10]
        again = tokens[:, start : start + chunk]
        seen = full(model, torch.cat((tokens, torch.tensor([before]), again), dim=1))
        for layer in scored_layers(model):
            a, part, h_in = seen.attention[layer], seen.modules[layer], seen.inputs[layer]
            begin = T + len(before)
            K = len(seen.keys[layer])

            def score(k, i, a=a, part=part, h_in=h_in, layer=layer, seen=seen, begin=begin):
                found = []
                for h in group(seen, layer, k):
                    length = output_norm(part, len(a), h, seen.values[layer][k, i]) if plus else 1.0
                    for j in range(begin, a.shape[1]):
                        found.append(float(a[h, j, i]) * length / (float(h_in[j].norm()) if plus else 1.0))
                return max(found)

            made = table(K, T, score)
            best[layer] = made if layer not in best else torch.maximum(best[layer], made)
    return best


@torch.no_grad()
@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize(("T", "chunk"), [(3, 2048), (33, 2048), (33, 16)])
@pytest.mark.parametrize("family", EAGER)
def test_a_second_reading(family, T, chunk, plus):
    model = model_of(family)
    tokens = ids(T)
    _, state = model.read(tokens)
    before = {name: x.clone() for name, x in state.to_flat().items()}
    found = second_reading(model, tokens, state, CUE, plus=plus, chunk=chunk)
    want = naive_second(model, tokens, plus, chunk)
    assert found.keys() == want.keys()
    for layer, expected in want.items():
        torch.testing.assert_close(found[layer], expected, **CLOSE)
    assert all(torch.equal(before[name], x) for name, x in state.to_flat().items())


@torch.no_grad()
@pytest.mark.parametrize("family", ["jamba", "lfm2", "falcon_h1", "qwen3_next", "granitemoehybrid", "llama", "gpt2"])
def test_the_observed_view_computes_what_the_model_computes(family):
    model = tiny(family)
    tokens = ids(50)
    want, state = model.read(tokens[:, :40])
    more, _ = model.extend(tokens[:, 40:], state)
    view = observed(model, Observer())
    got, same = view.read(tokens[:, :40])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(view.extend(tokens[:, 40:], same)[0], more, rtol=1e-4, atol=1e-5)
    assert same.fingerprint == model.fingerprint
    reading = read_and_score(model, tokens, [*ONE, selection("reread(share=0.5)")], CUE)
    assert all(x.keys() == set(scored_layers(model)) for x in reading.scores.values())


def test_scores_are_the_same_every_time_and_selections_share_a_reading():
    model = tiny("llama")
    both = [*ONE, *map(selection, ("reread(share=0.5)", "reread(share=0.25, plus=True)", "full"))]
    first, again = (read_and_score(model, ids(40), both, CUE) for _ in range(2))
    assert list(first.scores) == [str(one) for one in both[:6]] + ["full", *map(str, both[6:8])]
    for name, scores in first.scores.items():
        assert all(torch.equal(x, again.scores[name][layer]) for layer, x in scores.items())
    other = read_and_score(model, ids(40), [selection("random(share=0.5, seed=1)")])
    assert not torch.equal(other.scores["random(seed=1, share=0.5)"][0], first.scores["random(share=0.5)"][0])
    assert first.sizes == {0: 68, 1: 68}  # keys and values of 8 numbers in fp32, and 4 bytes of the position
    assert torch.equal(first.state.position, torch.tensor([40]))


def test_a_weight_that_is_replaced_later_is_seen_by_the_model_and_its_next_view():
    model = tiny("llama")
    view = observed(model, Observer())
    before = view.fingerprint
    model.model.lm_head = torch.nn.Linear(32, 97, bias=False)
    assert model.fingerprint != before == view.fingerprint
    assert observed(model, Observer()).fingerprint == model.fingerprint


class Largest(TorchDispatchMode):
    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.numel = max(self.numel, out.numel())
        return out


def test_no_layer_holds_all_weights():
    model, T = tiny("llama"), 400
    _, state = model.read(ids(T))
    with Largest() as largest:
        second_reading(model, ids(T), state, CUE)
    assert largest.numel < T * T


def test_a_model_is_left_as_it_was(monkeypatch):
    model = tiny("llama")
    module = model.model
    print_before, implementation = model.fingerprint, module.config._attn_implementation
    view = observed(model, Observer())
    assert {x.data_ptr() for x in view.model.parameters()} == {x.data_ptr() for x in module.parameters()}

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(kv_scores.ATTENTION_SCORES, "tova", interrupt)
    with pytest.raises(KeyboardInterrupt):
        first_reading(model, ids(20), ONE)
    assert module.config._attn_implementation == implementation != view.config._attn_implementation
    assert model.fingerprint == print_before and model.model is module
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in module.modules())
    assert not any(hasattr(part, "kv_observer") for part in module.modules())


def test_attention_that_is_not_a_number_is_refused():
    model = tiny("llama")
    _, state = model.read(ids(9))
    with torch.no_grad():
        model.model.model.layers[1].self_attn.q_proj.weight[0, 0] = math.nan
    with refused(BadInput, got="layer 1"):
        first_reading(model, ids(9), [selection("tova(share=0.5)")])
    broken = type(state)(state.tensors, state.position, model.fingerprint)
    with refused(BadInput, got="layer 1"):
        second_reading(model, ids(9), broken, CUE)


def test_what_cannot_be_scored_is_refused():
    model = tiny("llama")
    _, state = model.read(ids(9))
    view = observed(model, Observer())
    with refused(BadInput, got="a batch of 2", allowed=1):
        view.read(ids(9).expand(2, -1))
    mask = torch.zeros(1, 1, 9, 9)
    for more, name in (({"attention_mask": mask}, "attention_mask"), ({"is_causal": False}, "not causal")):
        with refused(BadInput, got=name):
            view.model(ids(9), **more)
    with refused(BadInput, got=(2, 9), allowed="(1,T)"):
        first_reading(model, ids(9).expand(2, -1))
    with refused(BadInput, got="[9] tokens", allowed=[8]):
        second_reading(model, ids(8), state, CUE)
    for cue in (None, Cue(())):
        with refused(BadInput, got="reread(share=0.5)", naming="cue"):
            read_and_score(model, ids(9), [selection("reread(share=0.5)")], cue)
    with refused(BadInput, got="reread(share=0.5)", naming="second reading"):
        first_reading(model, ids(9), [selection("reread(share=0.5)")])
    with refused(BadInput, got="mamba2", naming="full attention"):
        first_reading(tiny("mamba2"), ids(9))
    with refused(BadInput, got=containing("zamba2"), naming="AttentionInterface"):
        first_reading(tiny("zamba2"), ids(9))


def test_a_table_of_positions_bounds_the_chunks():
    model = tiny("gpt2")
    T = model.places - 10
    _, state = model.read(ids(T))
    found = second_reading(model, ids(T), state, CUE)  # chunks of 4 tokens
    assert torch.equal(found[0], second_reading(model, ids(T), state, CUE, chunk=4)[0])
    long = ids(model.places - 6)
    _, state = model.read(long)
    with refused(BadInput, got=model.places + 1, allowed=model.places):
        second_reading(model, long, state, CUE)


@torch.no_grad()
@pytest.mark.parametrize("family", EAGER)
def test_masked_logits_are_those_of_eager_attention_with_masks_per_head(family):
    model, T, Q = model_of(family), 40, 7
    tokens, questions = ids(T), torch.cat((ids(Q, seed=1), ids(Q, seed=2)))
    reading = read_and_score(model, tokens, [selection("reread(share=0.25)")], CUE)
    (scores,) = reading.scores.values()
    kept = choose(scores, selection("reread(share=0.25)"), reading.sizes)
    assert len({len(one) for heads in kept.values() for one in heads}) > 1
    module, parts = eager(model)
    S = T + Q
    for layer, part in parts.items():
        window = getattr(part, "sliding_window", None) or S
        heads = model.config.num_attention_heads
        seen = torch.tensor([[[j - window < i <= j for i in range(S)] for j in range(S)]] * heads)
        for k, stays in enumerate(kept.get(layer, ())):
            n = heads // len(kept[layer])
            for i in set(range(T)) - set(stays.tolist()):
                seen[k * n : (k + 1) * n, T:, i] = False
        mask = torch.zeros(1, heads, S, S, dtype=torch.float64).masked_fill(~seen, torch.finfo(torch.float64).min)

        def masked(m, args, kwargs, mask=mask):
            return args, {**kwargs, "attention_mask": mask}

        part.register_forward_pre_hook(masked, with_kwargs=True)
    got = masked_logits(model, tokens, questions, kept)
    want = torch.cat([module(torch.cat((tokens, q[None]), dim=1)).logits[:, T:] for q in questions])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    everything = masked_logits(model, tokens, questions, choose(scores, selection("full"), reading.sizes))
    plain = torch.cat([model.read(torch.cat((tokens, q[None]), dim=1))[0][:, T:] for q in questions])
    torch.testing.assert_close(everything, plain, rtol=1e-4, atol=1e-5)
    assert float((got - plain).abs().max()) > 1e-2

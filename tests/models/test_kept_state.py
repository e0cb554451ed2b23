"""States that keep some keys: against masks in fp64 for every family, against whole caches, in batches, as values."""

import threading

import pytest
import torch
from kv_models import ids, model_of
from raising import containing, refused

from reread.errors import BadInput
from reread.models.families import tiny
from reread.models.kept_keys import KeptRows, kept_layers
from reread.models.kept_reading import keep_keys, read_selected
from reread.models.kv_attention import masked_logits, scored_layers
from reread.models.kv_choice import choose
from reread.models.kv_scores import Cue, read_and_score
from reread.models.kv_selection import selection
from reread.models.packing import pack, unpack
from reread.models.pretrained import Pretrained, PretrainedState

CUE = Cue((5, 6, 7), (8, 9), (10,), tail=3)
TRANSFORMERS = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "mistral", "phi", "smollm3", "gpt2")
HYBRIDS = (
    "jamba", "falcon_h1", "lfm2", "qwen3_next", "granitemoehybrid", "bamba", "nemotron_h", "olmo_hybrid", "minimax",
)  # fmt: skip
FAMILIES = (*TRANSFORMERS, *HYBRIDS)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # transformers takes softmax, norms and angles in fp32
FP32 = ("qwen3_next", "nemotron_h", "minimax")  # whose recurrences are computed in fp32
LOOSE = {family: {"rtol": 1e-2, "atol": 5e-3} for family in FP32}
QUARTER = selection("reread(share=0.25)")


def kept_of(model: Pretrained, tokens: torch.Tensor, chosen):
    reading = read_and_score(model, tokens, [chosen], CUE)
    return choose(reading.scores[str(chosen)], chosen, reading.sizes)


def everything(model: Pretrained, state: PretrainedState) -> PretrainedState:
    (row,) = state.tensors
    T = int(state.position)
    return keep_keys(state, {i: [torch.arange(T)] * row[f"layers.{i}.keys"].shape[1] for i in scored_layers(model)})


@pytest.mark.parametrize("heads", [2, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_questions_after_a_selection_are_answered_as_with_masks(family, heads):
    model, T, Q = model_of(family, heads), 40, 7
    document, questions = ids(T), torch.cat((ids(Q, seed=1), ids(Q, seed=2)))
    kept = kept_of(model, document, QUARTER)
    found = read_selected(model, document, QUARTER, CUE)
    assert not found.all_kept and found.positions == 10
    (row,) = found.state.tensors
    for layer, own in kept.items():
        assert row[f"kept.{layer}.counts"].tolist() == [len(one) for one in own]
        assert row[f"kept.{layer}.positions"].tolist() == torch.cat(own).tolist()
        assert row[f"layers.{layer}.keys"].shape[2] == 0
    want = masked_logits(model, document, questions, kept)
    forks, close = found.state.rows([0, 0]), LOOSE.get(family, CLOSE)
    got, after = model.extend(questions, forks)
    torch.testing.assert_close(got, want, **close)
    assert after.position.tolist() == [T + Q] * 2
    first, state = model.extend(questions[:, :3], forks)
    steps = [first]
    for t in range(3, Q):
        logits, state = model.step(questions[:, t], state)
        steps.append(logits[:, None])
    torch.testing.assert_close(torch.cat(steps, dim=1), want, **close)
    plain, _ = model.extend(questions, read_selected(model, document, selection("full")).state.rows([0, 0]))
    assert float((got - plain).abs().max()) > 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_that_keeps_all_keys_is_read_on_from_as_one_with_whole_caches(family):
    model = model_of(family)
    tokens = ids(33)
    _, state = model.read(tokens[:, :20])
    want, _ = model.extend(tokens[:, 20:], state)
    start = everything(model, state)
    got, _ = model.extend(tokens[:, 20:], start)
    torch.testing.assert_close(got, want, **CLOSE)
    first, middle = model.extend(tokens[:, 20:25], start)
    second, _ = model.extend(tokens[:, 25:], middle)
    torch.testing.assert_close(torch.cat((first, second), dim=1), want, **CLOSE)
    step, _ = model.step(tokens[:, 20], start)
    torch.testing.assert_close(step, want[:, 0], **CLOSE)


def rows_of(model):
    """States of documents of several lengths, selections and tails; the last one is not compressed."""
    chosen = [selection("reread(tokens=8)"), selection("window(share=0.5)"), selection("random(tokens=6, heads=equal)")]
    states = [read_selected(model, ids(n, seed=n), one, CUE).state for n, one in zip((30, 21, 40), chosen, strict=True)]
    states[1] = model.extend(ids(5, seed=9), states[1])[1]
    return [*states, model.read(ids(18))[1]]


@pytest.mark.parametrize("family", ["llama", "gpt2", "smollm3", "gemma2", "falcon_h1", "lfm2", "jamba"])
def test_rows_of_unequal_length_in_one_batch_are_those_of_each_alone(family):
    model = model_of(family)
    states = rows_of(model)
    both = PretrainedState.cat(states)
    assert both.nbytes == sum(state.nbytes for state in states)
    lengths = torch.tensor([4, 2, 6, 3])
    mask = torch.arange(6) < lengths[:, None]
    tokens = torch.cat([ids(6, seed=10 + i) for i in range(4)])
    got, after = model.extend(tokens, both, mask)
    stepped, _ = model.step(torch.tensor([1, 2, 3, 4]), after)
    for i, (state, n) in enumerate(zip(states, lengths.tolist(), strict=True)):
        want, alone = model.extend(tokens[i : i + 1, :n], state)
        torch.testing.assert_close(got[i, :n], want[0], **CLOSE)
        assert after.rows([i]).nbytes == alone.nbytes
        torch.testing.assert_close(stepped[i], model.step(torch.tensor([1 + i]), alone)[0][0], **CLOSE)
        again, _ = model.step(torch.tensor([1 + i]), after.rows([i]))
        torch.testing.assert_close(again[0], stepped[i], **CLOSE)
    turned, _ = model.step(torch.tensor([4, 1]), after.rows([3, 0]))
    torch.testing.assert_close(turned, stepped[[3, 0]], **CLOSE)


def test_rows_with_kept_keys_share_one_call(monkeypatch):
    model = model_of("llama")
    assert model.ragged
    both = PretrainedState.cat(rows_of(model)[:3])
    sizes = []
    plain = Pretrained._forward
    monkeypatch.setattr(Pretrained, "_forward", lambda self, x, *more: sizes.append(len(x)) or plain(self, x, *more))
    model.step(torch.tensor([1, 2, 3]), both)
    assert sizes == [3]


def test_a_state_is_a_value_and_forks_share_its_keys():
    model = model_of("llama")
    state = read_selected(model, ids(40), QUARTER, CUE).state
    before = {name: x.clone() for name, x in state.to_flat().items()}
    forks = state.rows([0] * 5)
    kept = KeptRows.of(forks.tensors)
    assert kept.padded(0).key.shape[0] == 1  # padded once for all
    _, after = model.extend(torch.cat([ids(4, seed=i) for i in range(5)]), forks)
    assert all(torch.equal(x, before[name]) for name, x in state.to_flat().items())
    assert after.tensors.kept.rows[0]["kept.0.key"] is state.tensors[0]["kept.0.key"]
    copied, there = state.clone(), after.to("cpu")
    assert copied.tensors[0]["kept.0.key"].data_ptr() != state.tensors[0]["kept.0.key"].data_ptr()
    one = torch.tensor([3] * 5)
    torch.testing.assert_close(model.step(one, there)[0], model.step(one, after)[0])
    torch.testing.assert_close(model.step(one[:1], copied)[0], model.step(one[:1], state)[0])


@pytest.mark.parametrize("family", ["llama", "gemma2", "falcon_h1"])
def test_a_state_goes_through_flat_tensors(family):
    model = tiny(family) if family != "gemma2" else model_of(family)
    state = read_selected(model, ids(30), QUARTER, CUE).state
    flat = state.to_flat()
    assert kept_layers([name.removeprefix("rows.0.") for name in flat]) == scored_layers(model)
    packed, layout = pack(flat, "fp32")
    again = PretrainedState.from_flat(unpack(packed, layout), model.fingerprint)
    assert torch.equal(model.step(torch.tensor([5]), again)[0], model.step(torch.tensor([5]), state)[0])


@pytest.mark.parametrize("budget", ["mib=0.002", "tokens=10", "share=0.25"])
def test_the_state_has_the_size_of_its_budget(budget):
    model, T = tiny("llama"), 40
    state = read_selected(model, ids(T), selection(f"reread({budget})"), CUE).state
    row = {name: x for name, x in state.tensors[0].items() if x.dim() and not name.endswith("counts")}
    held, position = sum(x.numel() * x.element_size() for x in row.values()), 4 * 16 + 4
    if budget.startswith("mib"):
        assert 0.002 * 2**20 - position < held <= 0.002 * 2**20
    else:
        assert held == 10 * 4 * position
    assert state.position.tolist() == [T]


def test_a_budget_that_holds_the_document_keeps_it_whole():
    model = tiny("llama")
    _, plain = model.read(ids(20))
    for text in ("reread(tokens=20)", "window(tokens=500)", "snapkv(mib=4)", "reread(share=1)"):
        found = read_selected(model, ids(20), selection(text), CUE)
        assert found.all_kept and found.positions == 20
        assert containing("20 positions", "nothing was dropped").holds(found.says())
        assert not kept_layers(found.state.tensors[0]) and found.state.nbytes == plain.nbytes


def test_full_is_the_models_own_reading_bit_by_bit():
    model = tiny("llama")
    logits, plain = model.read(ids(20), last_only=True)
    found = read_selected(model, ids(20), selection("full"))
    assert torch.equal(found.logits, logits) and found.says() == ""
    assert all(torch.equal(x, plain.to_flat()[name]) for name, x in found.state.to_flat().items())


@pytest.mark.parametrize("family", ["mamba", "rwkv", "recurrent_gemma"])
def test_a_family_with_a_fixed_state_is_refused(family):
    with refused(BadInput, got=family, naming="fixed size already"):
        read_selected(tiny(family), ids(20), QUARTER, CUE)


def test_sliding_windows_alone_are_refused():
    with refused(BadInput, naming="fixed size already"):
        read_selected(model_of("mistral", sliding_window=8), ids(20), QUARTER, CUE)


def test_attention_outside_the_interface_is_refused():
    with refused(BadInput, naming="AttentionInterface"):
        read_selected(tiny("zamba2"), ids(20), QUARTER, CUE)


def test_an_empty_document_and_a_missing_cue_are_refused():
    model = tiny("llama")
    with refused(BadInput, got=(1, 0)):
        read_selected(model, ids(0), QUARTER, CUE)
    with refused(BadInput, naming="cue"):
        read_selected(model, ids(20), QUARTER)


@pytest.mark.parametrize("text", ["window(tokens=8)", "reread(tokens=8)", "keydiff(tokens=8)"])
def test_numbers_that_are_not_finite_are_refused(text):
    model = tiny("llama")
    with torch.no_grad():
        model.model.model.layers[1].self_attn.v_proj.weight[0, 0] = float("nan")
    with refused(BadInput, naming="finite"):
        read_selected(model, ids(20), selection(text), CUE)


def test_attention_that_gives_something_else_with_kept_keys_is_refused(monkeypatch):
    model = tiny("llama")
    monkeypatch.setattr("reread.models.kept_attention.Call.keys_at", lambda self, S: torch.zeros(1, S).long())
    with refused(BadInput, got="llama", naming="kept keys"):
        read_selected(model, ids(20), QUARTER, CUE)


def test_a_state_of_another_dtype_is_refused():
    model = tiny("llama")
    state = read_selected(model, ids(20), QUARTER, CUE).state
    row = {name: x.bfloat16() if name == "kept.1.value" else x for name, x in state.tensors[0].items()}
    with refused(BadInput, got=containing("kept.1.value"), allowed=torch.float32):
        model.step(torch.tensor([1]), PretrainedState((row,), state.position, state.fingerprint))


def test_a_weight_that_is_replaced_is_used():
    model = tiny("llama")
    state = read_selected(model, ids(20), QUARTER, CUE).state
    before, _ = model.step(torch.tensor([1]), state)
    model.model.lm_head = torch.nn.Linear(32, 97, bias=False)
    state = PretrainedState(state.tensors, state.position, model.fingerprint)
    after, _ = model.step(torch.tensor([1]), state)
    assert not torch.equal(before, after)
    assert model.model.config._attn_implementation != "reread_kept"


def test_threads_do_not_see_each_others_keys():
    model = tiny("llama")
    states = [read_selected(model, ids(30, seed=i), QUARTER, CUE).state for i in range(3)]
    want = [model.step(torch.tensor([7]), state)[0] for state in states]
    wrong = []

    def ask(i):
        for _ in range(30):
            if not torch.equal(model.step(torch.tensor([7]), states[i])[0], want[i]):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong


def test_a_model_in_bfloat16():
    model = tiny("llama")
    model.model.bfloat16()
    state = read_selected(model, ids(40), QUARTER, CUE).state
    assert state.tensors[0]["kept.0.key"].dtype == torch.bfloat16
    wide = tiny("llama")
    kept = {
        i: tuple(state.tensors[0][f"kept.{i}.positions"].split(state.tensors[0][f"kept.{i}.counts"].tolist()))
        for i in (0, 1)
    }
    want = masked_logits(wide, ids(40), ids(5, seed=1), kept)
    got, _ = model.extend(ids(5, seed=1), state)
    assert float((got - want).abs().max()) < 0.05 * float(want.abs().max())

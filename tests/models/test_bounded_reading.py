"""Documents that are read in pieces: against whole attention matrices in fp64, positions that are held, refusals."""

import math

import pytest
import torch
from kv_models import ids, model_of
from marks import slow
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models.families import tiny
from reread.models.kept_keys import kept_layers, kept_positions
from reread.models.kept_reading import read_selected
from reread.models.kv_attention import Observer, observed, scored_layers
from reread.models.kv_scores import Cue
from reread.models.kv_selection import selection
from reread.models.packing import pack, unpack
from reread.models.pretrained import Pretrained, PretrainedState

CUE = Cue((5, 6, 7), (8, 9), (10,), tail=3)
CUED = 6  # tokens of the longest cue
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # transformers takes softmax, norms and angles in fp32
T = 40


class Chosen(Observer):
    """Whole attention matrices of one forward without a cache.  choices: after `end` tokens these positions stayed, so
    that no query from `end` on sees another key before it."""

    def __init__(self, choices):
        super().__init__()
        self.choices, self.weights = choices, {}

    def __call__(self, call):
        K, _, S, _ = call.query.shape
        j, i = torch.arange(S)[:, None], torch.arange(S)
        seen = ((i <= j) & (i > j - (call.rule.window or S))).expand(K, S, S)
        for end, kept in self.choices:
            if call.layer in kept:
                stays = torch.stack([torch.isin(i, torch.tensor(one)) for one in kept[call.layer]])
                seen = seen & (stays[:, None] | (i >= end) | (j < end))
        logits = torch.einsum("kgqd,ksd->kgqs", call.query, call.key) * call.rule.scale
        if call.rule.softcap is not None:
            logits = call.rule.softcap * torch.tanh(logits / call.rule.softcap)
        p = self.weights[call.layer] = logits.masked_fill(~seen[:, None], -math.inf).softmax(dim=-1)
        return torch.einsum("kgqs,kse->kgqe", p, call.value)


def best(scores, budget, equal):
    """scores: by (layer, head), of each position that is held.  The positions that stay."""
    keys = [
        (-math.inf if i < 4 else -s, i, number, place)
        for number, place in enumerate(sorted(scores))
        for i, s in scores[place].items()
    ]
    if equal:
        taken = [one for place in scores for one in sorted(key for key in keys if key[3] == place)[:budget]]
    else:
        taken = sorted(keys)[: budget * len(scores)]
    return {place: sorted(i for _, i, _, own in taken if own == place) for place in scores}


@torch.no_grad()
def reference(model, tokens, budget, read, chunk, equal=False):
    """The choices after each piece, by one forward of everything for each repeated chunk."""
    choices, scores = [], {}
    for begin in range(0, tokens.shape[1], read):
        end = min(begin + read, tokens.shape[1])
        for start in range(begin, end, chunk):
            before, again = CUE.before(tokens, start), tokens[:, start : min(start + chunk, end)]
            seen = Chosen(choices)
            observed(model, seen).model(torch.cat((tokens[:, :end], before, again), dim=1), use_cache=False)
            for layer in scored_layers(model):
                highest = seen.weights[layer][:, :, end + before.shape[1] :, :end].amax(dim=(1, 2))
                for k, row in enumerate(highest.tolist()):
                    own = scores.setdefault((layer, k), {})
                    held = [*own, *range(begin, end)] if start == begin else list(own)
                    scores[layer, k] = {i: max(own.get(i, 0.0), row[i]) for i in held}
        stays = best(scores, min(budget, end), equal)
        scores = {place: {i: scores[place][i] for i in own} for place, own in stays.items()}
        kept = {layer: [stays[place] for place in sorted(stays) if place[0] == layer] for layer in scored_layers(model)}
        choices.append((end, kept))
    return choices


def positions(found):
    kept = kept_positions(found.state.tensors[0])
    return {layer: [one.tolist() for one in heads] for layer, heads in kept.items()}


@pytest.mark.parametrize(
    ("family", "more"),
    [
        *((family, "") for family in ("llama", "gemma2", "gpt2", "falcon_h1")),
        ("llama", ", chunk=5"),
        ("qwen3", ", heads=equal"),
        *slow(*((family, "") for family in ("qwen3", "gemma3_text", "jamba", "lfm2", "granitemoehybrid"))),
    ],
)
@torch.no_grad()
def test_pieces_are_read_scored_and_cut_as_with_masks(family, more):
    model, tokens, questions = model_of(family), ids(T), ids(6, seed=1)
    found = read_selected(model, tokens, selection(f"reread(tokens=10, read=12{more})"), CUE)
    choices = reference(model, tokens, 10, 12, 5 if "chunk" in more else 12, equal="equal" in more)
    assert positions(found) == choices[-1][1] and found.positions == 10 and not found.all_kept
    assert positions(found) != positions(read_selected(model, tokens, selection("reread(tokens=10)"), CUE))
    masked = Chosen(choices)
    want = observed(model, masked).model(torch.cat((tokens, questions), dim=1), use_cache=False).logits
    torch.testing.assert_close(found.logits, want[:, T - 1], **CLOSE)
    got, after = model.extend(questions, found.state)
    torch.testing.assert_close(got, want[:, T:], **CLOSE)
    assert after.position.tolist() == [T + 6]
    (row,) = found.state.tensors
    assert all(row[f"layers.{layer}.keys"].shape[2] == 0 for layer in kept_layers(row))


@torch.no_grad()
def test_the_newest_positions_of_a_document_read_in_pieces():
    model, tokens, questions = model_of("llama"), ids(T), ids(6, seed=1)
    found = read_selected(model, tokens, selection("window(tokens=10, read=12)"))
    assert positions(found) == {layer: [[*range(4), *range(T - 6, T)]] * 2 for layer in (0, 1)}
    assert found.read_tokens == T
    ends = [*range(12, T, 12), T]
    choices = [(n, {layer: [[*range(4), *range(n - 6, n)]] * 2 for layer in (0, 1)}) for n in ends]
    want = observed(model, Chosen(choices)).model(torch.cat((tokens, questions), dim=1), use_cache=False).logits
    torch.testing.assert_close(model.extend(questions, found.state)[0], want[:, T:], **CLOSE)


@pytest.mark.parametrize("budget", ["tokens=10", "mib=0.006", "tokens=10, heads=equal", "tokens=10, plus=True"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "falcon_h1", "gpt2"])
def test_one_piece_is_the_whole_document(family, budget):
    model, tokens = model_of(family), ids(T)
    whole = read_selected(model, tokens, selection(f"reread({budget})"), CUE)
    piece = read_selected(model, tokens, selection(f"reread({budget}, read={T})"), CUE)
    assert positions(piece) == positions(whole) and not whole.all_kept
    assert piece.read_tokens == whole.read_tokens
    torch.testing.assert_close(model.extend(ids(5), piece.state)[0], model.extend(ids(5), whole.state)[0], **CLOSE)


@pytest.mark.parametrize("family", ["llama", "falcon_h1"])
def test_a_budget_that_holds_the_document_gives_an_ordinary_state(family):
    model, tokens = model_of(family), ids(T)
    found = read_selected(model, tokens, selection("reread(tokens=40, read=12)"), CUE)
    _, plain = model.read(tokens)
    assert found.all_kept and containing("nothing was dropped").holds(found.says())
    assert found.state.nbytes == plain.nbytes and found.state.to_flat().keys() == plain.to_flat().keys()
    for name, x in plain.to_flat().items():
        torch.testing.assert_close(found.state.to_flat()[name], x, **CLOSE)


@pytest.mark.parametrize(("chunk", "repeated"), [(2048, 8), (3, 3)])
def test_no_more_is_held_than_the_budget_a_piece_and_its_repetition(monkeypatch, chunk, repeated):
    model, budget, read = tiny("llama"), 10, 8
    held, plain = [], Pretrained._forward

    def forward(self, tokens, flat, places, mask=None, ends=None, kept=None):
        own = 0 if kept is None else sum(int(kept[0][f"kept.{layer}.counts"].sum()) for layer in (0, 1)) / 4
        cached = 0 if flat is None else flat["layers.0.keys"].shape[2]
        held.append(own + cached + tokens.shape[1])
        return plain(self, tokens, flat, places, mask, ends, kept)

    read_selected(model, ids(20), selection("window(tokens=10)"))  # the model's own tries
    monkeypatch.setattr(Pretrained, "_forward", forward)
    text = f"reread(tokens={budget}, read={read}, chunk={chunk})"
    found = read_selected(model, ids(48), selection(text), CUE)
    assert max(held) == budget + read + CUED + repeated
    pieces = [3 if chunk == 3 else 8, 3, 2][: 3 if chunk == 3 else 1]
    assert found.read_tokens == 2 * 48 + 6 * len(pieces) * CUED - (CUED - len(CUE.first))


def test_the_first_positions_and_the_number_kept_do_not_depend_on_the_pieces():
    model = tiny("llama")
    for n, reads in {5: (3,), 11: (1, 4), 12: (4, 11), 25: (4, 12)}.items():
        for read in reads:
            found = read_selected(model, ids(n), selection(f"reread(tokens=11, read={read})"), CUE)
            assert found.positions == min(n, 11) and found.state.position.tolist() == [n]
            if n > 11:
                assert all(one[:4] == [0, 1, 2, 3] for heads in positions(found).values() for one in heads)


def test_a_state_of_bytes_has_their_size():
    model = tiny("llama")
    state = read_selected(model, ids(60), selection("reread(mib=0.002, read=9)"), CUE).state
    row = {name: x for name, x in state.tensors[0].items() if x.dim() and not name.endswith("counts")}
    held = sum(x.numel() * x.element_size() for x in row.values())
    assert 0.002 * 2**20 - (4 * 16 + 4) < held <= 0.002 * 2**20


def test_a_state_goes_through_flat_tensors_and_is_read_on_from_in_a_batch():
    model = tiny("falcon_h1")
    state = read_selected(model, ids(30), selection("reread(tokens=8, read=9)"), CUE).state
    packed, layout = pack(state.to_flat(), "fp32")
    again = PretrainedState.from_flat(unpack(packed, layout), model.fingerprint)
    step = torch.tensor([5])
    assert torch.equal(model.step(step, again)[0], model.step(step, state)[0])
    other = read_selected(model, ids(30, seed=3), selection("reread(tokens=8)"), CUE).state
    both, _ = model.step(torch.tensor([5, 5]), PretrainedState.cat([other, state]))
    torch.testing.assert_close(both[1], model.step(step, state)[0][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", ["reread(share=0.5, read=8)", "window(loss=0.1, read=8)"])
def test_budgets_that_depend_on_the_length_are_refused(text):
    with refused(BadInput, got=text, allowed="tokens or mib"):
        selection(text)


@pytest.mark.parametrize("name", ["tova", "snapkv", "keydiff", "expected", "random"])
def test_selections_that_score_all_keys_at_once_are_refused(name):
    with refused(UnknownName, got="read", allowed=containing("tokens", "share")):
        selection(f"{name}(tokens=8, read=8)")


def test_what_cannot_be_read_in_pieces_is_refused():
    with refused(BadInput, got=-1, naming="read"):
        selection("reread(tokens=8, read=-1)")
    model, chosen = tiny("llama"), selection("reread(tokens=8, read=9)")
    with refused(BadInput, got=str(chosen), naming="forgotten"):
        read_selected(model, ids(20), chosen, CUE, forgotten=True)
    with refused(BadInput, naming="cue"):
        read_selected(model, ids(20), chosen)
    with refused(BadInput, got=(1, 0)):
        read_selected(model, ids(0), chosen, CUE)
    with refused(BadInput, got="mamba", naming="fixed size already"):
        read_selected(tiny("mamba"), ids(20), chosen, CUE)
    with refused(BadInput, got="mib=0.001"):
        read_selected(model, ids(20), selection("reread(mib=0.001, read=9)"), CUE)


def test_a_document_that_leaves_no_positions_is_refused_before_it_is_read(monkeypatch):
    model, chosen = tiny("gpt2"), selection("reread(tokens=8, read=30)")
    assert read_selected(model, ids(128 - CUED - 1), chosen, CUE).positions == 8
    sizes, plain = [], Pretrained._forward
    monkeypatch.setattr(
        Pretrained, "_forward", lambda self, x, *a, **k: sizes.append(len(x)) or plain(self, x, *a, **k)
    )
    with refused(BadInput, got=containing("gpt2: learned positions")):
        read_selected(model, ids(128 - CUED), chosen, CUE)
    assert not sizes


@pytest.mark.parametrize("text", ["window(tokens=8, read=9)", "reread(tokens=8, read=9)"])
def test_numbers_that_are_not_finite_are_refused(text):
    model = tiny("llama")
    with torch.no_grad():
        model.model.model.layers[1].self_attn.v_proj.weight[0, 0] = float("nan")
    with refused(BadInput, naming="finite"):
        read_selected(model, ids(20), selection(text), CUE)

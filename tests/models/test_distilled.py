"""Distilled scores: the linear function of a layer's input, its file and where it is found, and reading in pieces."""

import dataclasses
import json

import pytest
import torch
from kv_models import full, ids, model_of
from raising import containing, refused
from safetensors.torch import save_file
from test_bounded_reading import CLOSE, CUE, Chosen, best, positions

from reread.errors import BadCheckpoint, BadInput
from reread.models import distilled
from reread.models.distilled import (
    FILE,
    Distilled,
    Fit,
    LayerInputs,
    distilled_of,
    encoded,
    packaged_files,
    read_distilled,
    read_fit,
    with_fit,
)
from reread.models.kept_reading import read_selected
from reread.models.kv_attention import observed, scored_layers
from reread.models.kv_scores import read_and_score
from reread.models.kv_selection import selection
from reread.models.lora import AdapterId
from reread.models.pretrained import Pretrained

T = 40
WHOLE, PIECES = selection("distilled(tokens=10)"), selection("distilled(tokens=10, read=12)")
FAMILIES = ("llama", "qwen3", "gemma2", "gpt2", "falcon_h1", "jamba")


def fit_of(model, **facts):
    facts = {"model": "tiny", "fingerprint": model.fingerprint, "documents": 3, "tokens": 120, "ridge": 0.1, **facts}
    return Fit(target="reread", dtype="float64", **facts)


def planted(model, folder, **facts):
    """A model with a file of random weights, in a copy of its own folders; rounded as in the file."""
    draw = torch.Generator().manual_seed(3)
    heads, H = {i: kv_heads(model, i) for i in scored_layers(model)}, model.config.hidden_size
    weights = {i: torch.randn(K, H + 1, generator=draw) * 0.5 for i, K in heads.items()}
    made = Distilled(weights, fit_of(model, **facts)).rounded()
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(encoded(made))
    model.folders = (folder,)
    return made


def kv_heads(model, layer):
    """KV heads of a layer."""
    with torch.no_grad():
        _, state = model.read(ids(3), last_only=True)
    return state.tensors[0][f"layers.{layer}.keys"].shape[1]


def expected_scores(made, layer, hidden):
    """One key at a time, in Python."""
    w = made.weights[layer].double()
    rows = [[float((row[:-1] * h.double()).sum() + row[-1]) for h in hidden] for row in w]
    return torch.tensor(rows, dtype=torch.float64).exp()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_scores_are_the_linear_function_of_the_layers_input(family, tmp_path):
    model, tokens = model_of(family), ids(T)
    made = planted(model, tmp_path)
    reading = read_and_score(model, tokens, [WHOLE])
    observer = LayerInputs(scored_layers(model))
    observed(model, observer).read(tokens, last_only=True)
    inputs = observer.taken()
    assert inputs.keys() == set(scored_layers(model)) and not observer.taken() and observer.inputs == (None, {})
    if family not in ("falcon_h1", "jamba"):  # the inputs, by a hook on transformers' own attention
        want = full(model, tokens).inputs
        for i, x in inputs.items():
            torch.testing.assert_close(x, want[i], **CLOSE)
    for i, x in inputs.items():
        torch.testing.assert_close(reading.scores[str(WHOLE)][i], expected_scores(made, i, x), rtol=1e-6, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_pieces_are_scored_while_they_are_read(family, tmp_path):
    model, tokens, questions = model_of(family), ids(T), ids(6, seed=1)
    made = planted(model, tmp_path)
    found = read_selected(model, tokens, PIECES)

    class Inputs(Chosen):
        def __call__(self, call):
            self.weights.setdefault("inputs", {})[call.layer] = self.argument(call, "hidden_states")[0]
            inputs = self.weights["inputs"]
            out = super().__call__(call)
            self.weights["inputs"] = inputs
            return out

    choices, scores = [], {}
    for begin in range(0, T, 12):
        end = min(begin + 12, T)
        seen = Inputs(choices)
        observed(model, seen).model(tokens[:, :end], use_cache=False)
        for layer in scored_layers(model):
            rows = expected_scores(made, layer, seen.weights["inputs"][layer])
            for k, row in enumerate(rows.tolist()):
                scores.setdefault((layer, k), {}).update({i: row[i] for i in range(begin, end)})
        stays = best(scores, min(10, end), equal=False)
        scores = {place: {i: scores[place][i] for i in own} for place, own in stays.items()}
        kept = {layer: [stays[place] for place in sorted(stays) if place[0] == layer] for layer in scored_layers(model)}
        choices.append((end, kept))
    assert positions(found) == choices[-1][1] and found.positions == 10
    assert found.read_tokens == T and not found.all_kept
    want = observed(model, Chosen(choices)).model(torch.cat((tokens, questions), dim=1), use_cache=False).logits
    torch.testing.assert_close(model.extend(questions, found.state)[0], want[:, T:], **CLOSE)


@torch.no_grad()
def test_one_piece_is_the_whole_document_and_a_large_budget_keeps_all(tmp_path):
    model, tokens = model_of("llama"), ids(T)
    planted(model, tmp_path)
    whole, piece = (read_selected(model, tokens, selection(f"distilled(tokens=10, read={n})")) for n in (0, T))
    assert positions(whole) == positions(piece) and whole.read_tokens == piece.read_tokens == T
    every = read_selected(model, tokens, selection(f"distilled(tokens={T}, read=7)"))
    assert every.all_kept
    torch.testing.assert_close(every.logits, model.read(tokens, last_only=True)[0], **CLOSE)
    lost = read_selected(model, tokens, WHOLE, CUE, forgotten=True)
    assert lost.forgotten is not None and lost.read_tokens > T
    by_loss = read_selected(model, tokens, selection("distilled(loss=0.01)"), CUE)
    assert float(by_loss.forgotten.mean()) <= 0.01


def test_a_file_holds_what_was_written(tmp_path):
    model = model_of("llama")
    adapters = (AdapterId("reader-9", "9", "a" * 64),)
    made = planted(model, tmp_path, adapters=adapters, r2=(0.5, 0.25), measured={"r2": 0.4}, commit="abc", seed=4)
    found = read_distilled(tmp_path / FILE)
    assert found.fit == made.fit == read_fit(tmp_path / FILE)
    assert all(torch.equal(found.weights[i], w) for i, w in made.weights.items())
    assert encoded(found) == (tmp_path / FILE).read_bytes()


def test_the_file_of_the_model_is_found_and_of_no_other(tmp_path, monkeypatch):
    model, other = model_of("llama"), model_of("llama", hidden_size=48)
    monkeypatch.setattr(distilled, "packaged_files", lambda: [])
    with refused(BadInput, got=containing("llama", model.fingerprint), todo=containing("fit-selection")):
        distilled_of(model)
    made = planted(model, tmp_path / "own")
    assert distilled_of(model).fit == made.fit
    other.folders = (tmp_path / "own",)
    with refused(BadInput, got=containing(other.fingerprint), allowed=containing(model.fingerprint, "tiny")):
        distilled_of(other)
    with refused(BadInput, naming="other model"):
        read_selected(other, ids(9), WHOLE)
    with refused(BadInput, naming="other model"):
        read_selected(other, ids(9), PIECES)
    theirs = planted(other, tmp_path / "theirs")
    other.folders = (tmp_path / "nothing", tmp_path / "own", tmp_path / "theirs")
    assert distilled_of(other).fit == theirs.fit
    with torch.no_grad():
        other.model.model.layers[0].mlp.up_proj.weight[0, 0] += 1  # the model is another now
    with refused(BadInput, got=containing(other.fingerprint)):
        distilled_of(other)
    monkeypatch.setattr(distilled, "packaged_files", lambda: [tmp_path / "own" / FILE])
    model.folders = ()
    assert distilled_of(Pretrained(model.model)).fit == made.fit


def test_weights_have_a_name_that_a_selection_may_ask_for(tmp_path):
    model = model_of("llama")
    made = planted(model, tmp_path / "a")
    named = with_fit(model, WHOLE)
    assert str(named) == str(selection(f"distilled(fit='{made.id}', tokens=10)")) and with_fit(model, named) == named
    assert read_distilled(tmp_path / "a" / FILE).id == made.id
    scores = read_and_score(model, ids(T), [named, WHOLE]).scores
    assert all(torch.equal(x, scores[str(WHOLE)][i]) for i, x in scores[str(named)].items())
    changed = Distilled({i: w + (i == 1) * 1e-2 for i, w in made.weights.items()}, made.fit)
    assert changed.id != made.id == Distilled(made.weights, fit_of(model, commit="later")).id
    (tmp_path / "a" / FILE).write_bytes(encoded(changed))
    distilled._FOUND.clear()
    for chosen in (named, selection(f"distilled(fit='{made.id}', tokens=10, read=12)")):
        with refused(BadInput, got=changed.id, allowed=made.id):
            read_selected(model, ids(T), chosen)


def test_a_model_is_known_by_the_file_that_it_was_read_from_in_any_dtype(tmp_path):
    module = model_of("llama").model
    first = Pretrained(module, "gguf 1")
    made = planted(first, tmp_path, identity=first.identity)
    assert first.identity == "gguf 1"
    module.config.pad_token_id = 3  # as another version of transformers may add to a configuration
    again = Pretrained(module.float(), "gguf 1")
    again.folders = (tmp_path,)
    assert again.fingerprint != first.fingerprint and distilled_of(again).fit == made.fit
    with torch.no_grad():
        module.model.layers[0].mlp.up_proj.weight[0, 0] += 1
    assert again.identity == ""
    with refused(BadInput, naming="other model"):
        distilled_of(again)


def test_files_that_do_not_fit_are_refused(tmp_path):
    model = model_of("llama")
    made, path = planted(model, tmp_path), tmp_path / FILE
    facts = dataclasses.asdict(made.fit)

    def written(tensors, **changes):
        save_file(tensors, path, {"reread": json.dumps({**facts, **changes})})

    def refuses(**fields):
        with refused(BadCheckpoint, **fields):
            distilled_of(model)

    w = {f"layers.{i}.weight": x[:, :-1].half().contiguous() for i, x in made.weights.items()}
    b = {f"layers.{i}.bias": x[:, -1].contiguous() for i, x in made.weights.items()}
    written({**w, **b})
    assert distilled_of(model).fit == made.fit
    for parts, fields in (
        ({"layers.0.weight": w["layers.0.weight"], "layers.0.bias": b["layers.0.bias"]}, {"got": (0,)}),
        (w, {"naming": "layer 0"}),
        ({**w, **b, "more": b["layers.0.bias"].clone()}, {"got": containing("more")}),
        ({**w, **b, "layers.0.bias": b["layers.0.bias"] * float("nan")}, {"got": containing("layers.0.bias")}),
    ):
        written(parts)
        distilled._FOUND.clear()
        refuses(**fields)
    written({**w, **b}, format=2)
    refuses(got=2, allowed=1)
    save_file(w, path)
    refuses(naming=FILE)
    path.write_bytes(b"no tensors")
    refuses(naming=FILE)
    narrow = Distilled({i: x[:, 1:] for i, x in made.weights.items()}, made.fit)
    path.write_bytes(encoded(narrow))
    with refused(BadInput, got=32, allowed=31):
        read_selected(model, ids(9), WHOLE)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    model = model_of("llama")
    with torch.no_grad():
        model.model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    planted(model, tmp_path)
    for chosen in (WHOLE, PIECES):
        with refused(BadInput, naming="finite"):
            read_selected(model, ids(20), chosen)


def test_what_the_package_brings_belongs_to_its_own_adapter():
    for path in packaged_files():
        found = read_distilled(path)
        assert found.fit.adapters[-1].name == path.parent.name and len(found.fit.r2) == len(found.weights)
        assert path.with_name("distilled.md").is_file() and path.stat().st_size < 2 * 2**20

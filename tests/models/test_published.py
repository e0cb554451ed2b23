"""The published layouts: the logits of the published implementation, both directions, and what is refused."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import reread
from reread.errors import BadCheckpoint, BadInput
from reread.models.checkpoints import convert, is_published, published_sizes, read_published, to_published

DATA = os.environ.get("REREAD_DATA")
REFERENCE = Path(DATA).parent / "reference" / "published_layout" if DATA else Path("nowhere")
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the reference outputs of the published implementation are not beside REREAD_DATA"
)
MIXERS = {
    "jrt": {"mixers": ["conv", "linear", "window", "conv"], "prefix_encoder": True, "max_prefix": 8},
    "based": {"mixers": ["conv", "linear", "window", "conv"], "prefix_encoder": False},
    "based_decay": {"mixers": ["conv", "decayed_linear", "window"], "prefix_encoder": False},
    "attn": {"mixers": ["attention", "attention"], "prefix_encoder": False, "rotary_share": 0.5},
}


@pytest.fixture(scope="session", params=[0])
def tiny_config(request, tiny_config):
    return tiny_config


@needs_reference
@pytest.mark.parametrize("family", MIXERS)
def test_the_logits_of_the_published_implementation(family):
    lm = reread.load(REFERENCE / family)
    cases = torch.load(REFERENCE / family / "cases.pt", weights_only=True)
    for case in cases.values():
        with torch.no_grad():
            logits, _ = lm.read(case["ids"])
        torch.testing.assert_close(logits, case["logits"], rtol=0, atol=1e-5)


@needs_reference
@pytest.mark.parametrize("family", MIXERS)
def test_published_to_ours_and_back_is_the_identity(family, tmp_path):
    convert(REFERENCE / family, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back")
    ids = torch.randint(0, 200, (2, 40))
    with torch.no_grad():
        want = reread.load(REFERENCE / family).read(ids)[0]
        assert torch.equal(reread.load(tmp_path / "ours").read(ids)[0], want)
    theirs, back = read_published(REFERENCE / family), read_published(tmp_path / "back")
    assert theirs.keys() == back.keys()
    assert all(torch.equal(theirs[name], back[name]) for name in theirs)
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == json.loads(
        (REFERENCE / family / "config.json").read_text()
    )


@pytest.fixture(params=MIXERS)
def folder(request, tiny_model, tmp_path):
    """A published folder made of one of our models, its weights pickled as published ones are."""
    model = tiny_model(**MIXERS[request.param])
    folder = tmp_path / request.param
    folder.mkdir()
    torch.save({**to_published(model), "metrics.count": torch.tensor(3)}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(published_sizes(model.config)))
    return folder


def edit(folder: Path, **changes) -> None:
    sizes = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**sizes, **changes}))


def test_a_model_of_ours_comes_back_from_the_published_layout(folder, tiny_model):
    model, lm = tiny_model(**MIXERS[folder.name]), reread.load(folder)
    assert is_published(json.loads((folder / "config.json").read_text()))
    ids = torch.randint(0, 64, (2, 30))
    with torch.no_grad():
        assert torch.equal(lm.read(ids)[0], model.read(ids)[0])
    assert lm.model.noncausal_prefix == (folder.name == "jrt")


def test_safetensors_serve_as_well_as_pickles(folder):
    want = reread.load(folder).model.fingerprint
    save_file(read_published(folder), folder / "model.safetensors")
    (folder / "pytorch_model.bin").unlink()
    assert reread.load(folder).model.fingerprint == want


def test_the_default_prefix_is_the_configurations(folder):
    lm, ids = reread.load(folder), torch.randint(0, 64, (1, 20))
    with torch.no_grad():
        default, eight, all_ = (lm.read(ids, n)[0] for n in (None, 8, 20))
    assert torch.equal(default, eight)
    assert (folder.name == "jrt") == (not torch.allclose(default, all_))


@pytest.mark.parametrize(
    ("change", "says"),
    [({"n_layer": 9}, "number of layers; got 9"), ({"n_embd": 48}, "the width; got 48"), ({"n_head": None}, "lack")],
)
def test_a_json_that_contradicts_the_weights_is_refused(folder, change, says):
    edit(folder, **change)
    if change["n_head" if "n_head" in change else next(iter(change))] is None:
        sizes = json.loads((folder / "config.json").read_text())
        del sizes["n_head"]
        (folder / "config.json").write_text(json.dumps(sizes))
    with pytest.raises(BadCheckpoint, match=says):
        reread.load(folder)


def test_a_missing_and_an_extra_tensor_are_named(folder):
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    lost = weights.pop("model.transformer.layers.1.norm1.weight")
    torch.save({**weights, "model.other": lost}, folder / "pytorch_model.bin")
    with pytest.raises(
        BadCheckpoint, match=r"missing \['transformer.layers.1.norm1.weight'\], not expected \['other'\]"
    ):
        reread.load(folder)


class Harm:
    def __reduce__(self):
        return (os.mkdir, ("harm-was-done",))


def test_a_pickle_that_would_run_code_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Harm()}))
    with pytest.raises(BadCheckpoint):
        reread.load(folder)
    assert not (tmp_path / "harm-was-done").exists()


def test_target_strings_are_not_imported(folder):
    sizes = json.loads((folder / "config.json").read_text())
    edit(folder, mixer={**sizes["mixer"], "_target_": "antigravity.Mixer"})
    reread.load(folder)
    import sys

    assert "antigravity" not in sys.modules


def test_a_model_that_the_layout_cannot_hold_is_refused(tiny_model, tmp_path):
    tiny_model(mixers=["conv", "delta"]).save_pretrained(tmp_path / "m")
    with pytest.raises(BadCheckpoint, match="holds no such model"):
        convert(tmp_path / "m", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_target_that_is_there_is_not_overwritten(folder, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="there already"):
        convert(folder, tmp_path / "there")


def test_words_are_refused_where_there_is_no_tokenizer(folder):
    with pytest.raises(BadCheckpoint, match=r"no tokenizer\.json"):
        reread.Reader(reread.load(folder)).ask("text", "question")


def test_a_hub_name_without_network_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadCheckpoint, match="the hub gave no hazyresearch/JRT-360M-30B"):
        reread.load("hazyresearch/JRT-360M-30B")

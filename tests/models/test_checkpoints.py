"""Loading: strict, from safetensors, in one sentence when something is wrong."""

import json
from fnmatch import fnmatch
from functools import partial

import pytest
import torch
from raising import containing, refused
from safetensors.torch import load_file, save_file

from reread.errors import BadCheckpoint, UnknownName
from reread.models import from_hub, load
from reread.models.hub import PUBLISHED, UNREADABLE


@pytest.fixture
def tiny(tiny_model, byte_tokenizer):
    return partial(tiny_model, vocab_size=byte_tokenizer.get_vocab_size())


@pytest.fixture
def folder(tmp_path, tiny, byte_tokenizer):
    tiny().save_pretrained(tmp_path / "m")
    byte_tokenizer.save(str(tmp_path / "m" / "tokenizer.json"))
    return tmp_path / "m"


def change(folder, edit):
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors")


def test_a_saved_model_loads_with_the_same_fingerprint(folder, tiny):
    assert load(str(folder)).model.fingerprint == tiny().fingerprint


@pytest.mark.parametrize(
    ("file", "text", "fields"),
    [
        ("tokenizer.json", "{", {"naming": ("tokenizer.json", "line 1")}),
        ("config.json", "[]", {"got": "list", "allowed": "a JSON object"}),
    ],
)
def test_a_broken_json_is_refused(folder, file, text, fields):
    (folder / file).write_text(text)
    with refused(BadCheckpoint, **fields):
        load(str(folder))


def test_a_missing_tensor_is_named(folder):
    change(folder, lambda w: w.pop("layers.0.norm1.weight"))
    with refused(BadCheckpoint, naming="missing ['layers.0.norm1.weight']"):
        load(str(folder))


def test_a_tensor_too_many_is_named(folder):
    change(folder, lambda w: w.update(extra=torch.zeros(1)))
    with refused(BadCheckpoint, naming="expected ['extra']"):
        load(str(folder))


def test_a_misshapen_tensor_is_named_with_both_shapes(folder):
    change(folder, lambda w: w.update({"norm.weight": torch.zeros(7)}))
    with refused(BadCheckpoint, got=(7,), allowed=containing("(32,)"), naming="norm.weight"):
        load(str(folder))


def test_a_cut_weights_file_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with refused(BadCheckpoint, naming="model.safetensors"):
        load(str(folder))


def test_broken_and_foreign_configurations_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with refused(BadCheckpoint, naming=("missing", "transformer.h.0.attn")):
        load(str(folder))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "nobody"}))
    with refused(BadCheckpoint, got=containing("'nobody'"), allowed="reread_prefix_lm"):
        load(str(folder))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": ["x"]}))
    with refused(BadCheckpoint, got="['x']", naming="model_type"):
        load(str(folder))
    (folder / "config.json").write_text("{")
    with refused(BadCheckpoint, naming=("config.json", "line 1 column 2")):
        load(str(folder))


def test_an_unknown_name_lists_the_known_ones():
    with refused(UnknownName, got="embeded", todo=containing("embedded")):
        load("embeded")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with refused(BadCheckpoint, got=tmp_path, naming="config.json"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("size", "value", "named"),
    [
        ("num_attention_heads", 0, ["num_attention_heads", "got '0'"]),
        ("hidden_size", "abc", ["hidden_size", "got \"'abc'\""]),
        ("hidden_size", -4, ["hidden_size", "got '-4'"]),
        ("window", 0, ["window", "got '0'"]),
        ("mixers", [], ["mixer"]),
        ("mixers", ["lineer"], ["mixer", "got 'lineer'"]),
        ("feature_map", "tailor", ["feature map", "got 'tailor'"]),
        ("conv_kernel", 1.5, ["conv_kernel", "got '1.5'"]),
    ],
)
def test_a_wrong_size_in_the_configuration_is_named(folder, size, value, named):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, size: value}))
    with refused(BadCheckpoint, naming=("config.json", *named)):
        load(str(folder))


def test_a_folder_without_its_tokenizer_is_refused_where_words_are_asked(folder):
    (folder / "tokenizer.json").unlink()
    with refused(BadCheckpoint, got=folder, naming="tokenizer.json"):
        load(str(folder)).tokenizer  # noqa: B018


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path, tiny_model, byte_tokenizer):
    tiny_model(vocab_size=16).save_pretrained(tmp_path / "m")
    byte_tokenizer.save(str(tmp_path / "m" / "tokenizer.json"))
    with refused(BadCheckpoint, got="256", allowed=containing("16", "vocab_size")):
        load(str(tmp_path / "m"))


def test_untied_output_weights_are_loaded(folder, tiny):
    model = tiny(tie_word_embeddings=False)
    model.save_pretrained(folder)
    torch.testing.assert_close(load(str(folder)).model.lm_head.weight, model.lm_head.weight)


@pytest.mark.parametrize(
    ("dtype", "value", "fields"),
    [
        (torch.int64, 1, {"got": "torch.int64", "naming": "norm.weight"}),
        (torch.float32, float("nan"), {"got": "32", "allowed": 0, "naming": ("norm.weight", "NaN")}),
    ],
)
def test_numbers_that_are_no_weights_are_refused(folder, dtype, value, fields):
    change(folder, lambda w: w.update({"norm.weight": torch.full((32,), value, dtype=dtype)}))
    with refused(BadCheckpoint, **fields):
        load(str(folder))


def test_a_tied_output_that_is_not_the_embedding_is_refused(folder):
    change(folder, lambda w: w.update({"lm_head.weight": w["embed.weight"] + 1}))
    with refused(BadCheckpoint, naming="tie_word_embeddings"):
        load(str(folder))


@pytest.mark.parametrize(
    "sizes",
    [
        {"feature_map": "polynomial(degree=3)"},
        {"feature_map": "gaussian"},
        {"feature_map": "hedgehog"},
        {"feature_map": "mlp"},
        {"mixers": ["retention", "gla", "delta", "diagonal"]},
    ],
)
def test_what_is_no_weight_is_right_after_loading(folder, tiny, sizes):
    """Models are built without initialising: buffers that no file holds must be there all the same."""
    model, ids = tiny(**sizes), torch.randint(0, 64, (1, 12))
    model.save_pretrained(folder)
    with torch.no_grad():
        assert torch.equal(load(str(folder)).read(ids)[0], model.read(ids)[0])


HUB = {
    "safetensors alone": (["model.safetensors", "pytorch_model.bin", "model.fp16.safetensors"], ["model.safetensors"]),
    "in parts": (
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
    ),
    "pickles": (["pytorch_model.bin", "optimizer.bin", "training_args.bin"], ["pytorch_model.bin"]),
    "pickles in parts": (
        ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
        ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
    ),
}


@pytest.mark.parametrize("kind", HUB)
def test_the_weights_of_a_hub_repository_are_brought_whole_or_in_parts(kind, tmp_path, monkeypatch):
    there, wanted = HUB[kind]
    always = ["config.json", "tokenizer.json"]

    def snapshot(name, allow_patterns):
        assert name == "someone/some-model"
        for file in [*there, *always, "README.md"]:
            if any(fnmatch(file, pattern) for pattern in allow_patterns):
                (tmp_path / file).touch()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert from_hub("someone/some-model") == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*wanted, *always])


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_published_model_that_cannot_be_read_is_said_so_before_it_is_brought(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: pytest.fail("the hub was asked"))
    assert name in PUBLISHED
    with refused(BadCheckpoint, naming=(name, "mamba_ssm")):
        load(name)

"""Loading: strict, from safetensors, in one sentence when something is wrong."""

import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from reread.errors import BadCheckpoint, UnknownName
from reread.models import load


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
    ("file", "text", "says"),
    [("tokenizer.json", "{", "no tokenizer can be read"), ("config.json", "[]", "no table of sizes")],
)
def test_a_broken_json_is_refused(folder, file, text, says):
    (folder / file).write_text(text)
    with pytest.raises(BadCheckpoint, match=says):
        load(str(folder))


def test_a_missing_tensor_is_named(folder):
    change(folder, lambda w: w.pop("layers.0.norm1.weight"))
    with pytest.raises(BadCheckpoint, match=r"missing \['layers.0.norm1.weight'\]"):
        load(str(folder))


def test_a_tensor_too_many_is_named(folder):
    change(folder, lambda w: w.update(extra=torch.zeros(1)))
    with pytest.raises(BadCheckpoint, match=r"not expected \['extra'\]"):
        load(str(folder))


def test_a_misshapen_tensor_is_named_with_both_shapes(folder):
    change(folder, lambda w: w.update({"norm.weight": torch.zeros(7)}))
    with pytest.raises(BadCheckpoint, match=r"norm.weight .*\(7,\).*\(32,\)"):
        load(str(folder))


def test_a_cut_weights_file_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadCheckpoint, match="cannot read the checkpoint"):
        load(str(folder))


def test_broken_and_foreign_configurations_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(BadCheckpoint, match="do not fit"):
        load(str(folder))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "nobody"}))
    with pytest.raises(BadCheckpoint, match="nobody"):
        load(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(BadCheckpoint, match="cannot read"):
        load(str(folder))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownName, match="did you mean 'embedded'"):
        load("embeded")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(BadCheckpoint, match=r"no config.json"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("size", "value"),
    [
        ("num_attention_heads", 0),
        ("hidden_size", "abc"),
        ("hidden_size", -4),
        ("window", 0),
        ("mixers", []),
        ("mixers", ["lineer"]),
        ("feature_map", "tailor"),
        ("conv_kernel", 1.5),
    ],
)
def test_a_wrong_size_in_the_configuration_is_named(folder, size, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, size: value}))
    with pytest.raises(BadCheckpoint, match="wrong size"):
        load(str(folder))


def test_a_folder_without_its_tokenizer_is_refused_where_words_are_asked(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadCheckpoint, match="no tokenizer"):
        load(str(folder)).tokenizer  # noqa: B018


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path, tiny_model, byte_tokenizer):
    tiny_model(vocab_size=16).save_pretrained(tmp_path / "m")
    byte_tokenizer.save(str(tmp_path / "m" / "tokenizer.json"))
    with pytest.raises(BadCheckpoint, match=r"more entries .*16"):
        load(str(tmp_path / "m"))


def test_untied_output_weights_are_loaded(folder, tiny):
    model = tiny(tie_word_embeddings=False)
    model.save_pretrained(folder)
    torch.testing.assert_close(load(str(folder)).model.lm_head.weight, model.lm_head.weight)

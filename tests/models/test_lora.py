"""LoRA adapters: merged as PEFT merges them, named, and refused in one sentence where they cannot be merged."""

import json
from pathlib import Path

import pytest
import torch
from raising import containing, refused
from safetensors.torch import load_file, save_file

import reread
from reread.errors import BadCheckpoint, BadInput
from reread.models.families import tiny
from reread.models.hub import default_model
from reread.models.lora import CONFIG, MANIFEST, TENSORS, file_sha256, merge, read_adapter
from reread.models.pretrained import load_pretrained

peft = pytest.importorskip("peft", reason="needs the package peft")

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS = {
    "seven": {"r": 4, "lora_alpha": 8, "target_modules": SEVEN},
    "rslora": {"r": 4, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"], "use_rslora": True},
    "regular expression": {"r": 1, "lora_alpha": 2, "target_modules": r".*\.1\.mlp\.(up|down)_proj"},
    "one layer": {"r": 2, "lora_alpha": 2, "target_modules": SEVEN, "layers_to_transform": [1]},
    "patterns": {
        "r": 2, "lora_alpha": 2, "target_modules": SEVEN, "rank_pattern": {"q_proj": 3},
        "alpha_pattern": {"0.mlp.up_proj": 7},
    },
    "all-linear": {"r": 2, "lora_alpha": 2, "target_modules": "all-linear", "exclude_modules": ["k_proj"]},
}  # fmt: skip


@pytest.fixture
def base(tmp_path, byte_tokenizer) -> Path:
    """A tiny llama with a tokenizer, as a folder of transformers."""
    tiny("llama").model.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def adapter(base: Path, folder: Path, seed: int = 0, **settings) -> torch.nn.Module:
    """Writes a random adapter with PEFT; returns PEFT's own merge of it."""
    tuned = peft.get_peft_model(load_pretrained(base).model, peft.LoraConfig(**{**KINDS["seven"], **settings}))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn(p.shape, generator=draw) * 0.3)
    tuned.save_pretrained(folder)
    return tuned.merge_and_unload()


def change(folder: Path, **settings) -> None:
    told = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**told, **settings}))


def equal(model, other) -> None:
    theirs = other.state_dict()
    for name, x in model.state_dict().items():
        torch.testing.assert_close(x, theirs[name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merge_is_that_of_peft(base, tmp_path, kind):
    want = adapter(base, tmp_path / "a", **KINDS[kind])
    lm = reread.load(base, adapter=tmp_path / "a")
    equal(lm.model.model, want)
    before = load_pretrained(base).model.state_dict()
    assert any(float((x - before[name]).abs().max()) > 0.01 for name, x in lm.model.model.state_dict().items())


def test_a_conv1d_is_merged_transposed(tmp_path):
    model = tiny("gpt2").model
    model.save_pretrained(tmp_path / "base")
    want = adapter(tmp_path / "base", tmp_path / "a", target_modules=["c_attn", "c_fc"], fan_in_fan_out=True)
    equal(reread.load(tmp_path / "base", adapter=tmp_path / "a").model.model, want)


def test_several_adapters_are_merged_in_order_and_named_and_change_the_fingerprint(base, tmp_path):
    adapter(base, tmp_path / "a", seed=1)
    adapter(base, tmp_path / "b", seed=2, target_modules=["q_proj"], r=2)
    both = reread.load(base, adapter=[tmp_path / "a", tmp_path / "b"])
    one = reread.load(base, adapter=str(tmp_path / "a"))
    plain = reread.load(base)
    assert len({lm.model.fingerprint for lm in (both, one, plain)}) == 3
    assert (both.short_name, one.short_name, plain.short_name) == ("base+a+b", "base+a", "base")
    assert both.name == str(base)
    merge(one.model.model, [read_adapter(tmp_path / "b")])
    equal(both.model.model, one.model.model)


def test_a_bf16_weight_is_summed_in_float32_and_cast_once(base, tmp_path):
    adapter(base, tmp_path / "a")
    adapter(base, tmp_path / "b", seed=3)
    model = load_pretrained(base).model.bfloat16()
    weight = model.model.layers[0].mlp.up_proj.weight
    name, before = "model.layers.0.mlp.up_proj", weight.detach().clone()
    found = [read_adapter(tmp_path / "a"), read_adapter(tmp_path / "b")]
    merge(model, found)
    total = before.float()
    for one in found:
        a, b = one.pairs[name]
        total = total + one.scale(name) * (b @ a)
    assert weight.dtype == torch.bfloat16 and torch.equal(weight, total.bfloat16())


@pytest.mark.parametrize(
    ("settings", "got"),
    [
        ({"use_dora": True}, "use_dora = True"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"peft_type": "IA3"}, "peft_type = 'IA3'"),
        ({"target_parameters": ["x"]}, "target_parameters"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"lora_bias": True}, "lora_bias"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"r": 0}, "r = 0"),
        ({"lora_alpha": "8"}, "lora_alpha = '8'"),
        ({"target_modules": "("}, "target_modules"),
        ({"target_modules": None}, "target_modules"),
        ({"rank_pattern": {"q.*": 2}}, "rank_pattern"),
        ({"a_setting_of_tomorrow": 1}, "a_setting_of_tomorrow"),
        ({"r": 5}, "rank 4"),
        ({"target_modules": [*SEVEN, "lm_head"]}, "no tensor for lm_head"),
        ({"target_modules": SEVEN[:-1]}, "a tensor for no target model.layers.0.mlp.down_proj and 1 more"),
    ],
)
def test_settings_that_cannot_be_merged_are_refused(base, tmp_path, settings, got):
    adapter(base, tmp_path / "a")
    change(tmp_path / "a", **settings)
    with refused(BadCheckpoint, got=containing(got), naming=tmp_path / "a"):
        reread.load(base, adapter=tmp_path / "a")


def without(tensors, name):
    return {key: x for key, x in tensors.items() if name not in key}


TENSOR_FAULTS = {
    "one of a pair": (lambda t: without(t, "0.mlp.up_proj.lora_A"), "model.layers.0.mlp.up_proj: lora_B"),
    "a module": (lambda t: without(t, "0.mlp.up_proj"), "no tensor for model.layers.0.mlp.up_proj"),
    "another name": (lambda t: {**t, "other": torch.zeros(2, 2)}, "other"),
    "no float": (lambda t: {key: x.int() for key, x in t.items()}, "int32"),
    "nan": (lambda t: {key: x * float("nan") for key, x in t.items()}, "lora_"),
    "shape": (lambda t: {k: x[:, :-1].contiguous() if "lora_A" in k else x for k, x in t.items()}, "A (4, "),
}


@pytest.mark.parametrize("fault", TENSOR_FAULTS)
def test_tensors_that_do_not_fit_are_refused(base, tmp_path, fault):
    adapter(base, tmp_path / "a")
    made, got = TENSOR_FAULTS[fault]
    save_file(made(load_file(tmp_path / "a" / TENSORS)), tmp_path / "a" / TENSORS)
    with refused(BadCheckpoint, got=containing(got), naming=tmp_path / "a"):
        reread.load(base, adapter=tmp_path / "a")


def test_a_bad_adapter_leaves_the_weights_as_they_were(base, tmp_path):
    adapter(base, tmp_path / "a")
    adapter(base, tmp_path / "b")
    change(tmp_path / "b", r=5)
    model = load_pretrained(base).model
    with pytest.raises(BadCheckpoint):
        merge(model, [read_adapter(tmp_path / "a"), read_adapter(tmp_path / "b")])
    equal(model, load_pretrained(base).model)


def test_no_adapter_broken_files_and_models_without_adapters_are_refused(base, tmp_path):
    with refused(BadInput, got=tmp_path / "nothing", naming=CONFIG):
        reread.load(base, adapter=tmp_path / "nothing")
    adapter(base, tmp_path / "a")
    with refused(BadInput, got="small-jrt"):
        reread.load("small-jrt", adapter=tmp_path / "a")
    (tmp_path / "a" / TENSORS).write_bytes(b"broken")
    with refused(BadCheckpoint, naming=TENSORS):
        reread.load(base, adapter=tmp_path / "a")
    (tmp_path / "a" / CONFIG).write_text("{")
    with refused(BadCheckpoint, naming=CONFIG):
        reread.load(base, adapter=tmp_path / "a")


def test_a_tied_weight_is_not_merged(tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    from reread.models.families import TINY

    config = AutoConfig.for_model("llama", **TINY["llama"], tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "tied")
    adapter(tmp_path / "tied", tmp_path / "a", target_modules=["lm_head"])
    with refused(BadCheckpoint, got=containing("lm_head")):
        reread.load(tmp_path / "tied", adapter=tmp_path / "a")


def test_a_manifest_that_names_another_base_is_refused(base, tmp_path):
    adapter(base, tmp_path / "a")
    own, other = file_sha256(base / "model.safetensors"), "0" * 64
    manifest = tmp_path / "a" / MANIFEST
    manifest.write_text(json.dumps({"base": [other, own]}))
    assert reread.load(base, adapter=tmp_path / "a").adapters == (str(tmp_path / "a"),)
    manifest.write_text(json.dumps({"base": [other]}))
    with refused(BadCheckpoint, got=containing(own), allowed=other):
        reread.load(base, adapter=tmp_path / "a")
    manifest.write_text(json.dumps({"base": "any"}))
    with refused(BadCheckpoint, got="any"):
        reread.load(base, adapter=tmp_path / "a")
    manifest.write_text("[]")
    with pytest.raises(BadCheckpoint):
        reread.load(base, adapter=tmp_path / "a")


def test_an_adapters_template_takes_the_place_of_field_and_question(base, tmp_path):
    adapter(base, tmp_path / "a")
    assert reread.load(base, adapter=tmp_path / "a").template("field").name == "field"
    manifest = tmp_path / "a" / MANIFEST
    manifest.write_text(json.dumps({"template": "reader"}))
    lm = reread.load(base, adapter=tmp_path / "a")
    assert [lm.template(name).name for name in ("field", "question", "cloze")] == ["reader", "reader", "cloze"]
    manifest.write_text(json.dumps({"template": "none such"}))
    with refused(BadCheckpoint, got="'none such'"):
        reread.load(base, adapter=tmp_path / "a")


def test_a_packaged_model_comes_with_its_adapter_and_none_leaves_it_out(monkeypatch):
    from dataclasses import replace

    from reread.models import PACKAGED, adapters_of

    monkeypatch.setitem(PACKAGED, "smollm2", replace(PACKAGED["smollm2"], adapter="reader-9"))
    assert [one.name for one in adapters_of("smollm2", None)] == ["reader-9"]
    assert adapters_of("smollm2", "none") == () and adapters_of("small-jrt", None) == ()
    assert adapters_of("smollm2", ["a", "b"]) == (Path("a"), Path("b"))
    with refused(BadInput, got="none, a"):
        adapters_of("smollm2", ["none", "a"])


def test_the_default_is_smollm2_or_what_the_environment_names(monkeypatch):
    assert reread.load().name == "embedded"  # as tests/conftest.py sets it
    monkeypatch.delenv("REREAD_MODEL")
    assert default_model() == "smollm2"

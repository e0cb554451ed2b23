"""The fingerprint of weights that come from a file of known sha256: made of it and the configuration, not of dtypes."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reread.models import pretrained
from reread.models.pretrained import Pretrained


def llama(**sizes):
    small = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=2, num_key_value_heads=1, **sizes))


@pytest.fixture
def model():
    return Pretrained(llama(), "gguf abc 1")


def test_it_is_the_same_in_every_dtype_and_on_every_device(model):
    rounded = llama()
    rounded.config.dtype = torch.bfloat16
    assert Pretrained(rounded.bfloat16(), "gguf abc 1").fingerprint == model.fingerprint
    before = model.fingerprint
    assert model.to("cpu") is model and model.fingerprint == before


def test_it_stays_when_the_weights_are_moved_to_other_memory(model, monkeypatch):
    before = model.fingerprint

    def move(device):  # what .to("cuda") does to the parameters of a module
        for x in model.model.parameters():
            x.data = x.data.clone()

    monkeypatch.setattr(model.model, "to", move)
    assert model.to("cuda").fingerprint == before
    with torch.no_grad():
        model.model.lm_head.weight[3, 3] += 1
    changed = model.fingerprint
    assert changed != before and model.to("cuda").fingerprint == changed


def test_it_depends_on_the_identity_and_the_configuration(model):
    assert Pretrained(llama(), "gguf abd 1").fingerprint != model.fingerprint
    assert Pretrained(llama(rms_norm_eps=1e-3), "gguf abc 1").fingerprint != model.fingerprint
    assert Pretrained(llama()).fingerprint != model.fingerprint


def test_no_weight_is_hashed(model, monkeypatch):
    monkeypatch.setattr(pretrained, "_bytes", lambda x: pytest.fail("hashed"))
    assert len(model.fingerprint) == 16


CHANGES = {
    "in place": lambda m: m.lm_head.weight.mul_(2),
    "replaced": lambda m: setattr(m.lm_head, "weight", torch.nn.Parameter(m.lm_head.weight.detach() * 2)),
    "other memory": lambda m: setattr(m.lm_head.weight, "data", m.lm_head.weight.data * 2),
    "cast": lambda m: m.bfloat16(),
    "a part added": lambda m: m.model.layers[1].register_parameter("more", torch.nn.Parameter(torch.zeros(2))),
}


@pytest.mark.parametrize("asked_before", [True, False])
@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_a_change_of_weights_is_seen(change, asked_before, model):
    want = Pretrained(llama(), "gguf abc 1").fingerprint
    if asked_before:
        assert model.fingerprint == want
    CHANGES[change](model.model)
    assert model.fingerprint != want


def test_an_adapter_is_seen_and_its_removal_gives_the_file_s_fingerprint_back(model):
    peft = pytest.importorskip("peft", reason="needs the package peft")
    before = model.fingerprint
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(model.model, config)
    with_adapter = model.fingerprint
    assert with_adapter != before
    with adapted.disable_adapter():
        assert model.fingerprint not in (before, with_adapter)
    assert model.fingerprint == with_adapter
    adapted.unload()
    assert model.fingerprint == before

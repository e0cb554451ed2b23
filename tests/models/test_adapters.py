"""A state belongs to the weights and the adapters that made it."""

import pytest
import torch

from reread.errors import BadInput
from reread.models.families import tiny

peft = pytest.importorskip("peft", reason="needs the package peft")


@pytest.fixture(params=["transformers", "prefix_lm"])
def models(request, tiny_model):
    """The model with its three verbs, and the PEFT model around it, with weights that change logits."""
    base = tiny("llama") if request.param == "transformers" else tiny_model()
    targets = ["q_proj", "v_proj"] if request.param == "transformers" else ["up_gate", "down"]
    config = peft.LoraConfig(r=2, target_modules=targets)
    tuned = peft.get_peft_model(base.model if request.param == "transformers" else base, config)
    tuned.add_adapter("other", config)
    for name, p in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(p, std=0.5)
    return base, tuned.eval()


def lora_layers(tuned):
    return [part for part in tuned.modules() if hasattr(part, "lora_A")]


def scale(tuned):
    for layer in lora_layers(tuned):
        layer.scaling["default"] = 3.0


CHANGES = {
    "disable": lambda tuned: tuned.base_model.disable_adapter_layers(),
    "set": lambda tuned: tuned.set_adapter("other"),
    "scaling": scale,
    "merge": lambda tuned: tuned.merge_adapter(),
    "delete": lambda tuned: tuned.delete_adapter("other"),
    "weights": lambda tuned: torch.nn.init.normal_(lora_layers(tuned)[0].lora_B["default"].weight),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_state_from_before_an_adapter_changed_is_refused(models, change):
    base, tuned = models
    ids = torch.arange(2, 12)[None]
    state = base.read(ids)[1]
    base.extend(ids, state)  # nothing has changed yet
    before = base.fingerprint
    CHANGES[change](tuned)
    assert base.fingerprint != before
    with pytest.raises(BadInput) as refused:
        base.extend(ids, state)
    assert before in refused.value.got


def test_an_adapter_switched_off_and_on_again_takes_its_states(models):
    base, tuned = models
    ids = torch.arange(2, 12)[None]
    want, state = base.read(ids)[0], base.read(ids)[1]
    tuned.base_model.disable_adapter_layers()
    assert float((base.read(ids)[0] - want).detach().abs().max()) > 0.01
    tuned.base_model.enable_adapter_layers()
    base.extend(ids, state)


def test_fingerprints_without_adapters_are_those_of_before():
    assert tiny("llama").fingerprint == tiny("llama").fingerprint
    from reread.models import load

    assert load("small-jrt").model.fingerprint == "4853acc33021bea7"

"""Weights that are not in memory (device "meta") are refused in one sentence, wherever they are needed."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from reread.errors import BadCheckpoint
from reread.models.families import TINY, tiny
from reread.models.placed import Placed
from reread.models.prefix_lm import PrefixLMForCausalLM
from reread.models.pretrained import Pretrained

IDS = torch.arange(6)[None]


@pytest.fixture
def meta(tiny_config):
    with torch.device("meta"):
        return PrefixLMForCausalLM(tiny_config()).eval()


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.fingerprint,
        lambda model: model.read(IDS),
        lambda model: model(IDS),
        lambda model: model.generate(IDS, max_new_tokens=2),
        lambda model: Placed(model, "cpu"),
    ],
)
def test_a_model_without_values_is_refused(meta, call):
    with pytest.raises(BadCheckpoint) as raised:
        call(meta)
    assert raised.value.got in dict(meta.named_parameters())


def test_a_family_of_transformers_whose_layers_are_offloaded_is_refused(tmp_path):
    from accelerate import cpu_offload

    model = tiny("llama").model
    offloaded = cpu_offload(model)  # computes through hooks; its parameters stand on "meta"
    assert next(offloaded.parameters()).is_meta
    with pytest.raises(BadCheckpoint) as raised:
        Pretrained(offloaded).read(IDS)
    assert raised.value.got in dict(model.named_parameters())
    with pytest.raises(BadCheckpoint):
        _ = Pretrained(offloaded).fingerprint
    with pytest.raises(BadCheckpoint):
        Placed(Pretrained(offloaded), "cpu")


def test_a_model_that_transformers_offloads_to_the_disk_is_refused(tmp_path):
    tiny("llama").model.save_pretrained(tmp_path / "m")
    layers = {"model.embed_tokens": "cpu", "lm_head": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    loaded = AutoModelForCausalLM.from_pretrained(
        tmp_path / "m", device_map={**layers, "model.layers": "disk"}, offload_folder=tmp_path / "disk"
    )
    with pytest.raises(BadCheckpoint) as raised:
        Pretrained(loaded).read(IDS)
    assert "layers" in raised.value.got


def test_what_is_in_memory_is_read_as_before():
    assert "llama" in TINY
    logits, state = tiny("llama").read(IDS)
    assert logits.shape[:2] == (1, 6) and state.position.tolist() == [6]

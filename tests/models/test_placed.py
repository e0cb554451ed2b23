"""Models on another device: what goes there, what comes back, and what is refused."""

import pytest
import torch
from raising import refused

from reread.ask_bench import llama
from reread.check import check_families
from reread.engine import Reader
from reread.errors import BadInput
from reread.models import LM, load
from reread.models.placed import Placed


class Recording(torch.nn.Module):
    """Stands where a module would, and notes on which device its tensors come."""

    def __init__(self):
        super().__init__()
        self.seen, self.moved = [], None

    def to(self, device):
        self.moved = torch.device(device)
        return self

    def read(self, tokens, prefix_len, mask, *, last_only, masking):
        self.seen += [tokens.device.type, *(x.device.type for x in (prefix_len, mask) if isinstance(x, torch.Tensor))]
        return torch.zeros(2), "state"


def test_tokens_prefixes_and_masks_go_to_the_device_and_logits_come_back():
    model = Recording()
    placed = Placed(model, "meta")
    logits, state = placed.read(
        torch.zeros(1, 2, dtype=torch.long), torch.tensor([1]), torch.ones(1, 2, dtype=torch.bool)
    )
    assert model.moved.type == "meta" and model.seen == ["meta"] * 3
    assert logits.device.type == "cpu" and state == "state"


def test_a_placed_model_answers_as_the_model(model_folder):
    lm = load(model_folder)
    twin = LM(lm.name, Placed(load(model_folder).model, "cpu"), lm.words)
    document = "Applicant: Roche. Code: 3. Class: II."
    plain, placed = (Reader(one).ask(document, "Code", strategy="twice")[0] for one in (lm, twin))
    assert (placed.text, placed.state_bytes, placed.logprob) == (plain.text, plain.state_bytes, plain.logprob)
    assert twin.model.fingerprint == lm.model.fingerprint


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_device_that_is_not_there_is_one_sentence(monkeypatch):
    with refused(BadInput, got="cuda"):
        load("small-jrt", "cuda")
    monkeypatch.setenv("REREAD_DEVICE", "nonsense")
    with refused(BadInput, got="nonsense"):
        load("small-jrt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
@pytest.mark.parametrize("make", [llama, check_families])
def test_models_made_here_are_refused_a_device_as_loaded_ones_are(make, monkeypatch):
    monkeypatch.setenv("REREAD_DEVICE", "cuda")
    with refused(BadInput, got="cuda"):
        make()

"""Seeds, one thread, a byte tokenizer and tiny models for all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

# Before anything imports triton (torch does): tests/triton runs its kernels in the interpreter.  No other test
# uses triton, because "auto" never takes it on a CPU.
os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ["REREAD_MODEL"] = "embedded"  # small and quick; tests of the default name it

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from reread.models import load_tokenizer
from reread.models.prefix_lm import PrefixLMConfig, PrefixLMForCausalLM

torch.set_num_threads(1)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("REREAD_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def chromium():
    """A browser, driven by playwright: a system package, or what REREAD_CHROMIUM names."""
    if not CHROMIUM:
        pytest.skip("no Chromium here: install the system package chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _seed_and_no_settings_of_the_machine(monkeypatch) -> None:
    torch.manual_seed(0)
    for name in ("REREAD_API_KEY", "REREAD_HUB", "REREAD_DEVICE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def byte_tokenizer() -> Tokenizer:
    """One token per UTF-8 byte: no merges, no specials, 256 entries."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., PrefixLMConfig]:
    """tiny_config(prefix_encoder=True, **sizes): four layers, all three mixers.

    The initialiser is ten times the default, so that logits are of order one and a wrong token shows.
    """

    def make(prefix_encoder: bool = True, **sizes) -> PrefixLMConfig:
        small = {
            "vocab_size": 64,
            "hidden_size": 32,
            "mixers": ["conv", "linear", "window", "linear"],
            "num_attention_heads": 4,
            "feature_dim": 4,
            "window": 4,
            "intermediate_size": 48,
            "initializer_range": 0.2,
        }
        return PrefixLMConfig(prefix_encoder=prefix_encoder, **{**small, **sizes})

    return make


@pytest.fixture(scope="session")
def tiny_model(tiny_config) -> Callable[..., PrefixLMForCausalLM]:
    """tiny_model(prefix_encoder=True, seed=0, **sizes): fresh weights of that seed, in eval mode."""

    def make(prefix_encoder: bool = True, seed: int = 0, **sizes) -> PrefixLMForCausalLM:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return PrefixLMForCausalLM(tiny_config(prefix_encoder, **sizes)).eval()

    return make


@pytest.fixture
def model_folder(tmp_path, tiny_model) -> str:
    """A saved tiny model with the embedded tokenizer, as `load` takes it."""
    tokenizer = load_tokenizer()
    tiny_model(vocab_size=tokenizer.get_vocab_size()).save_pretrained(tmp_path / "tiny")
    tokenizer.save(str(tmp_path / "tiny" / "tokenizer.json"))
    return str(tmp_path / "tiny")


@pytest.fixture(scope="session")
def byte_llama(byte_tokenizer):
    """A tiny llama that reads bytes, a full-attention model; weights so large that answers depend on the keys kept."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from reread.models import LM
    from reread.models.families import TINY
    from reread.models.pretrained import Pretrained

    sizes = {**TINY["llama"], "vocab_size": byte_tokenizer.get_vocab_size()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes))
        for p in model.parameters():
            if p.dim() > 1:
                torch.nn.init.normal_(p, std=0.3)
    return LM("byte_llama", Pretrained(model), byte_tokenizer)


@pytest.fixture(scope="session")
def byte_llama_folder(byte_llama, tmp_path_factory) -> str:
    """The same model, saved as `load` takes it."""
    folder = tmp_path_factory.mktemp("byte_llama")
    byte_llama.model.model.save_pretrained(folder)
    byte_llama.tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)

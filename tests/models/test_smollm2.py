"""The real packaged model: its tokens and logits against transformers' own conversion.  One load of each, in all."""

import json

import pytest
import torch
from marks import needs_reader

pytestmark = needs_reader
TEXTS = [
    "", " ", "\n", "The lease begins on 1 March 2027; the rent is $2,450.00 (two thousand four hundred and fifty).",
    "| Item | Qty |\n|---|---|\n| Bolt M8x40 | 1,200 |\n", "Total:          due\t\tnow",
    "    indented\n\n\n\n        more\n ",
    "def area(r: float) -> float:\n    return 3.14159 * r**2  # m^2\n", "for (int i=0;i<10;i++){a[i]=0xFF;}",
    "don't we'll IT'S",
    "Grüße, Ærø, 東京都, Привет, שלום, नमस्ते, 🙂🙃🇩🇪 e\u0301 \u00a0\u2003\u200b", "a" * 70, "ACME-2024/11-B.7", "http://a.b/c?d=1&e=%20",
    "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|><repo_name>x<file_sep>",
    "<|im_end", "  \r\n x \r y",
]  # fmt: skip
# Behind several blanks, digits are split off first: so the model was trained, and so llama.cpp reads "smollm".  The
# conversion of transformers 5.24 does not split them off; its ids of these texts are other ones.
DIGITS_BEHIND_BLANKS = ["Total:      2,450", "1  2\n\n  3", "  \n 5", "½ ² Ⅳ"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REREAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        from reread.models import find

        return find("smollm2")


@pytest.fixture(scope="module")
def theirs():
    """transformers' own conversion of the tokenizer."""
    from transformers import AutoTokenizer

    from reread.models import locate

    path = locate("smollm2")
    return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).backend_tokenizer


def test_ids_are_those_of_transformers_conversion(folder, theirs):
    from tokenizers import Tokenizer, pre_tokenizers

    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        assert ours.encode(text).ids == theirs.encode(text).ids, text
    assert any(ours.encode(text).ids != theirs.encode(text).ids for text in DIGITS_BEHIND_BLANKS)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    for text in TEXTS + DIGITS_BEHIND_BLANKS:
        assert ours.encode(text).ids == theirs.encode(text).ids, text
        assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text


def test_the_configuration_and_the_special_tokens(folder):
    sizes = json.loads((folder / "config.json").read_text())
    named = {key: sizes[key] for key in ("num_hidden_layers", "hidden_size", "num_key_value_heads", "head_dim")}
    assert named == {"num_hidden_layers": 30, "hidden_size": 576, "num_key_value_heads": 3, "head_dim": 64}
    assert (sizes["bos_token_id"], sizes["eos_token_id"], sizes["tie_word_embeddings"]) == (1, 2, True)
    table = json.loads((folder / "tokenizer_config.json").read_text())
    assert (
        table["bos_token"] == "<|im_start|>"
        and table["add_bos_token"] is False
        and "im_start" in table["chat_template"]
    )


@pytest.mark.slow
def test_logits_are_those_of_transformers_own_loading():
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    from reread.models import locate
    from reread.models.gguf import llama_config, read_weights
    from reread.models.gguf_header import read_header

    path = locate("smollm2")
    header = read_header(path)
    theirs = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    ids = torch.randint(17, 49_152, (1, 48))
    with torch.no_grad():
        want = theirs(ids).logits
        theirs = None  # half a gigabyte
        ours = LlamaForCausalLM(llama_config(header)).float().eval()
        ours.load_state_dict(read_weights(header, ours.config), strict=False)
        got = ours(ids).logits
    assert float(want.abs().max()) > 5 and float((got - want).abs().max()) < 1e-4


def test_it_writes_english(monkeypatch, folder):
    monkeypatch.setenv("REREAD_CACHE", str(folder.parent))
    from reread.engine import Reader
    from reread.models import load

    lm = load("smollm2", dtype="fp32", adapter=["none"])
    said = lm.tokenizer.decode(_greedy(lm, "The capital of France is", 3)).strip()
    assert said.startswith("Paris")
    assert Reader(lm).lm is lm


def _greedy(lm, text, count):
    logits, state = lm.read(torch.tensor([lm.tokenizer.encode(text).ids]))
    ids = [int(logits[0, -1].argmax())]
    while len(ids) < count:
        logits, state = lm.step(torch.tensor(ids[-1:]), state)
        ids.append(int(logits[0].argmax()))
    return ids


def test_an_adapter_names_the_packaged_file_as_its_base():
    from reread.models import base_sha256

    assert base_sha256("smollm2") == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

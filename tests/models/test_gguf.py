"""GGUF files of the Llama architecture: weights, tokenizer, and every kind of file that is refused.

The definition of the weights is the model that a file was written from; transformers' own conversion is the other.
"""

import random

import pytest
import torch
from raising import containing, refused
from tokenizers import Tokenizer, pre_tokenizers

pytest.importorskip("gguf", reason="needs the package gguf: pip install 'gguf'")

from gguf_files import MERGES, TOKENS, llama, mixed, write

from reread.errors import BadCheckpoint
from reread.models.gguf import build_tokenizer, llama_config, load_gguf, read_weights, tokenizer_files
from reread.models.gguf_header import read_header

TEXTS = [
    "", " ", "The invoice of 12 March names $2,450.00 and 3 copies.", "Total:     12\t34", "a  1  2\n\n  3", "  \n 5",
    "def f(x):\n    if x:\n        return {'a': [1, 2]}\n\n\n# the end\n", "don't it's I'LL we've",
    "1234567890 0x1F 1e-5",
    "Grüße aus Köln, 東京 は 大きい. Привет, мир! שלום 🙂🙃 e\u0301", "½ ² ٣٤ Ⅳ ① x²",
    "\r\n\r\n\ttab\u00a0nbsp\u2003em",
    "          ten blanks", "ends with blanks     ", "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
    "<|im_end", "the " * 40,
]  # fmt: skip


def defined(ids_of: Tokenizer, pre: str) -> Tokenizer:
    """Another tokenizer of the same vocabulary, split by the definition of `pre`, of parts of tokenizers."""
    made = Tokenizer.from_str(ids_of.to_str())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, words]) if pre == "smollm" else words
    return made


def theirs_of(path):
    """transformers' own conversion."""
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).backend_tokenizer


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.mark.parametrize("tied", [True, False])
def test_the_weights_are_those_that_the_file_was_written_from(tied, tmp_path):
    model = llama(tied)
    header = read_header(write(tmp_path / "m.gguf", model))
    config = llama_config(header)
    weights = read_weights(header, config)
    want = {name: x for name, x in model.state_dict().items() if name != "lm_head.weight" or not tied}
    assert weights.keys() == want.keys() and config.tie_word_embeddings is tied
    assert all(torch.equal(weights[name], x) for name, x in want.items())
    assert config.rms_norm_eps == 1e-5 and config.rope_parameters["rope_theta"] == 5000.0


def test_a_model_of_a_file_computes_what_the_written_one_does(tmp_path):
    model = llama()
    for x in model.parameters():
        x.data = x.data.bfloat16().float()  # a file that was loaded keeps what bfloat16 holds
    ids = torch.randint(len(TOKENS), (2, 40))
    with torch.no_grad():
        got, want = load_gguf(write(tmp_path / "m.gguf", model), torch.float32)(ids).logits, model(ids).logits
    assert float(want.abs().max()) > 1 and torch.allclose(got, want, atol=1e-5)


def test_expanded_blocks_give_the_logits_of_transformers_own_loading(tmp_path):
    pytest.importorskip("accelerate", reason="transformers' loading of GGUF files needs accelerate")
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    path = write(tmp_path / "m.gguf", kinds=mixed)
    header = read_header(path)
    ours = LlamaForCausalLM(llama_config(header)).float().eval()
    ours.load_state_dict(read_weights(header, ours.config), strict=False)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32).eval()
    ids = torch.randint(len(TOKENS), (2, 60))
    with torch.no_grad():
        got, want = ours(ids).logits, theirs(ids).logits
    assert float(want.abs().max()) > 1 and float((got - want).abs().max()) < 1e-4


@pytest.mark.parametrize("pre", ["smollm", "gpt-2"])
def test_ids_are_those_of_the_definition(pre, tmp_path):
    made = build_tokenizer(read_header(write(tmp_path / "m.gguf", tokenizer__ggml__pre=pre)))
    want = defined(made, pre)
    assert [made.encode(text).ids for text in TEXTS] == [want.encode(text).ids for text in TEXTS]
    assert all(made.decode(made.encode(text).ids, skip_special_tokens=False) == text for text in TEXTS)
    assert made.encode("<|im_end|>").ids == [2]


def test_ids_are_those_of_transformers_conversion_split_as_the_file_says(file):
    made, theirs = build_tokenizer(read_header(file)), theirs_of(file)
    assert theirs.get_vocab() == made.get_vocab() and len(TOKENS) == made.get_vocab_size()
    theirs.pre_tokenizer = defined(made, "smollm").pre_tokenizer
    for text in TEXTS:
        assert made.encode(text).ids == theirs.encode(text).ids, text


def test_each_digit_is_a_token_of_its_own_behind_blanks_too(file):
    made = build_tokenizer(read_header(file))
    assert made.encode("a  12").tokens == ["a", "ĠĠ", "1", "2"]  # although the vocabulary has "12" and "Ġ1"


def test_the_rule_of_llama_3_takes_three_digits_together(tmp_path):
    path = write(tmp_path / "m.gguf", tokenizer__ggml__pre="llama-bpe", tokenizer__ggml__add_bos_token=None)
    made = build_tokenizer(read_header(path))
    assert [text for text, _ in made.pre_tokenizer.pre_tokenize_str("a 12345.\n\nB")] == [
        "a",
        "Ġ",
        "123",
        "45",
        ".ĊĊ",
        "B",
    ]
    assert '"add_bos_token": true' in tokenizer_files(read_header(path))["tokenizer_config.json"]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"architecture": "qwen2"}, {"got": "qwen2", "allowed": "llama"}),
        ({"tokenizer__ggml__model": "llama"}, {"got": "llama", "allowed": containing("gpt2")}),
        ({"tokenizer__ggml__pre": "tekken"}, {"got": "tekken", "allowed": containing("smollm", "gpt-2")}),
        ({"tokenizer__ggml__pre": None}, {"got": "None"}),
        ({"tokenizer__ggml__tokens": [*TOKENS[:-1], TOKENS[-2]]}, {"naming": "token occurs twice"}),
        ({"tokenizer__ggml__merges": [*MERGES, "zz zz"]}, {"naming": "merges"}),
        ({"tokenizer__ggml__merges": [*MERGES, "z"]}, {"naming": "merge"}),
        ({"tokenizer__ggml__tokens": [1, 2, 3]}, {"naming": "tokenizer.ggml.tokens"}),
        ({"tokenizer__ggml__eos_token_id": 5000}, {"got": 5000}),
        ({"llama__rope__scaling__type": "yarn"}, {"got": "yarn", "allowed": "none"}),
        ({"llama__expert_count": 8}, {"got": 8, "allowed": 0}),
        ({"llama__block_count": 2_000_000_000}, {"got": 2_000_000_000}),
        ({"llama__block_count": 1}, {"naming": "blk.1"}),
        ({"llama__block_count": None}, {"got": "None", "naming": "llama.block_count"}),
        ({"llama__feed_forward_length": 128}, {"got": (96, 64), "allowed": (128, 64)}),
        ({"llama__attention__head_count_kv": 3}, {"got": containing("4 heads, 3")}),
        ({"llama__rope__dimension_count": 8}, {"got": containing("8")}),
        ({"llama__attention__layer_norm_rms_epsilon": float("nan")}, {"got": "nan"}),
        ({"drop": ["blk.1.ffn_up.weight"]}, {"naming": "blk.1.ffn_up.weight"}),
        ({"drop": ["token_embd.weight"]}, {"naming": "token_embd.weight"}),
        ({"add": ["rope_freqs.weight"]}, {"naming": "rope_freqs.weight"}),
    ],
)
def test_a_file_that_is_not_read_rightly_is_refused(changes, fields, tmp_path):
    path = write(tmp_path / "m.gguf", **changes)
    with refused(BadCheckpoint, **fields):
        header = read_header(path)
        tokenizer_files(header)
        read_weights(header, llama_config(header))


def test_not_a_number_is_refused(tmp_path):
    model = llama()
    model.model.layers[1].mlp.up_proj.weight.data[3, 4] = float("nan")
    header = read_header(write(tmp_path / "m.gguf", model))
    with refused(BadCheckpoint, naming="blk.1.ffn_up.weight"):
        read_weights(header, llama_config(header))


@pytest.mark.parametrize(
    ("at", "new", "fields"),
    [
        (0, b"GGML", {"got": b"GGML"}),
        (4, b"\x01\0\0\0", {"got": 1, "allowed": containing("3")}),
        (4, b"\0\0\0\x03", {"got": 3 << 24}),  # the other order of bytes
        (4, b"\x04\0\0\0", {"got": 4}),
        (16, b"\xff" * 8, {"naming": "header"}),  # the number of metadata entries
        (8, b"\xff" * 7 + b"\x7f", {"naming": "dimensions"}),  # the number of tensors
    ],
)
def test_another_beginning_is_refused(at, new, fields, file, tmp_path):
    data = bytearray(file.read_bytes())
    data[at : at + len(new)] = new
    (tmp_path / "m.gguf").write_bytes(data)
    with refused(BadCheckpoint, **fields):
        read_header(tmp_path / "m.gguf")


def read_all(path):
    header = read_header(path)
    tokenizer_files(header)
    return read_weights(header, llama_config(header))


def test_a_file_cut_anywhere_is_refused(file, tmp_path):
    data, draw = file.read_bytes(), random.Random(0)
    for length in (0, 1, 4, 8, 20, len(data) - 1, *sorted(draw.randrange(len(data)) for _ in range(60))):
        (tmp_path / "m.gguf").write_bytes(data[:length])
        with pytest.raises(BadCheckpoint):
            read_all(tmp_path / "m.gguf")


def test_changed_bytes_of_a_header_are_refused_or_read_but_raise_nothing_else(file, tmp_path):
    data, draw = file.read_bytes(), random.Random(1)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(draw.choice((1, 1, 4))):
            broken[draw.randrange(24, 6000)] = draw.randrange(256)
        (tmp_path / "m.gguf").write_bytes(broken)
        try:
            read_all(tmp_path / "m.gguf")
        except BadCheckpoint:
            continue


@pytest.mark.parametrize("name", ["none.gguf", "."])
def test_what_is_no_file_is_refused(name, tmp_path):
    with refused(BadCheckpoint, got=str(tmp_path / name)):
        read_header(tmp_path / name)

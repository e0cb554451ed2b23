"""Tokenizers of SentencePiece's kind, trained on a few lines, and model folders that hold them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LINES = [
    "Applicant: Roche Diagnostics. Product code: DEW. Decided on the 3rd of May 2011.",
    "The lease begins on 1 June and ends after nine months; the rent is 2,450 pounds.",
    "The sky over the old town is very blue and calm. Bluebell woods go on and on.",
    "What is the product code?\nQuestion: What is the rent?\nAnswer: it is 2,450 pounds a month.",
]
NAMED = ["<pad>", "<unk>", "<s>", "</s>"]  # ids 0 to 3: the first special tokens are neither BOS nor EOS
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TEXTS = [
    LINES[0], " a leading blank", "  two blanks", "\nNew line", "trailing ", "Größe 5 µm", "日本 🙂", "<s> text </s>",
    "x", "▁under", "code", ":",
]  # fmt: skip


def trained(normalizer, pre_tokenizer=None, decoder=None, *, bos: bool = True) -> Tokenizer:
    """BPE with byte fallback over the lines; bos: the post-processor gives BOS."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=[*NAMED, *BYTES], show_progress=False)
    tokenizer.train_from_iterator([*LINES, *(word for line in LINES for word in line.split())], trainer)
    found = json.loads(tokenizer.to_str())
    found["added_tokens"] = found["added_tokens"][: len(NAMED)]
    tokenizer = Tokenizer.from_str(json.dumps(found))
    tokenizer.encode_special_tokens = True
    tokenizer.decoder = decoder
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 2)]
        )
    return tokenizer


def fallback_decoder(*more):
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *more])


def llama(**how) -> Tokenizer:
    """Normalizer Prepend: a blank before every text, also before one that begins with a blank."""
    steps = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return trained(steps, None, fallback_decoder(decoders.Strip(" ", 1, 0)), **how)


def metaspace(scheme: str = "first", **how) -> Tokenizer:
    """Pre-tokenizer Metaspace: a blank before a text that does not begin with one."""
    pre = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    return trained(None, pre, fallback_decoder(decoders.Strip(" ", 1, 0)), **how)


def gemma(**how) -> Tokenizer:
    """Normalizer Replace: no dummy blank."""
    return trained(normalizers.Replace(" ", "▁"), None, fallback_decoder(), **how)


KINDS = {"llama": llama, "first": metaspace, "always": lambda **how: metaspace("always", **how), "gemma": gemma}
DUMMY = ("llama", "first", "always")


def model_folder(folder: Path, tokenizer: Tokenizer, *, seed: int = 0, **said) -> Path:
    """A tiny random Llama with that tokenizer, which does not write single bytes (they are seldom text); said: more
    of tokenizer_config.json."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.3,
        bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[: len(NAMED) + len(BYTES)] = 0.0
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    written = {"tokenizer_class": "PreTrainedTokenizerFast", **named, **said}
    (folder / "tokenizer_config.json").write_text(json.dumps(written), encoding="utf-8")
    return folder

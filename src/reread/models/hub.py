"""Which published models there are, by their names on the hub.  Needs no torch."""

from __future__ import annotations

PUBLISHED = {
    "hazyresearch/JRT-360M-30B": "JRT-RNN, 26 layers of width 1024, 30 B tokens of the Pile, prefix 1,024",
    "hazyresearch/JRT-1B-50B": "JRT-RNN, 36 layers of width 1792, 50 B tokens of the Pile, prefix 1,024",
    "hazyresearch/based-360M-30B": "Based, 27 layers of width 1024, fixed decay, 30 B tokens of the Pile",
    "hazyresearch/based-1b-50b": "Based of 1.3 B parameters, no decay, 50 B tokens of the Pile",
    "hazyresearch/based-1b": "Based of 1.3 B parameters, 10 B tokens, of the earlier Based release",
    "hazyresearch/attn-360M-30B": "Transformer, 24 layers of width 1024, 30 B tokens of the Pile",
    "hazyresearch/attn-1b-50bn": "Transformer, 36 layers of width 1680, 50 B tokens of the Pile",
    "hazyresearch/mamba-360M-30B": "Mamba, 46 layers of width 1024, 30 B tokens of the Pile",
    "hazyresearch/mamba-1b-50b": "Mamba, 46 layers of width 2048, 50 B tokens of the Pile",
}
UNREADABLE = dict.fromkeys(
    ("hazyresearch/mamba-360M-30B", "hazyresearch/mamba-1b-50b"),
    "its weights are in the layout of the mamba_ssm package, which is not read here",
)

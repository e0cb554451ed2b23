"""Faults for state files: what a disk, a careless program and somebody who signs what he changed might do.

A fault is a function of two good files (bytes, bytes) and a source of chance -> the broken file.  BROKEN
leaves the checksum as it was; SIGNED carries one that fits.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import torch
from safetensors.torch import load, save

from reread.statefile import CANARY_PARTS, ids_hash, sealed

Fault = Callable[[bytes, bytes, random.Random], bytes]


def header_size(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def flipped(data: bytes, start: int, end: int, times: int, draw: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(times):
        out[draw.randrange(start, end)] ^= 1 << draw.randrange(8)
    return bytes(out) if bytes(out) != data else flipped(data, start, end, times, draw)


def flip_one(a, b, draw):
    return flipped(a, 0, len(a), 1, draw)


def flip_many(a, b, draw):
    return flipped(a, 0, len(a), draw.randrange(2, 9), draw)


def flip_header(a, b, draw):
    return flipped(a, 0, header_size(a), 1, draw)


def flip_start(a, b, draw):
    return flipped(a, 0, 64, 1, draw)


def cut(a, b, draw):
    return a[: draw.randrange(len(a))]


def cut_header(a, b, draw):
    return a[: draw.randrange(header_size(a))]


def append(a, b, draw):
    return a + draw.randbytes(draw.randrange(1, 99))


def drop(a, b, draw):
    at, n = draw.randrange(len(a) - 100), draw.randrange(1, 99)
    return a[:at] + a[at + n :]


def repeat(a, b, draw):
    at, n = draw.randrange(len(a) - 100), draw.randrange(1, 99)
    return a[: at + n] + a[at:]


def zero(a, b, draw):
    at, n = draw.randrange(len(a) - 600), draw.randrange(64, 599)
    return a[:at] + bytes(n) + a[at + n :] if any(a[at : at + n]) else flip_one(a, b, draw)


def swap_blocks(a, b, draw):
    n = draw.randrange(16, 256)
    first = draw.randrange(header_size(a), (len(a) + header_size(a)) // 2 - n)
    second = draw.randrange(first + n, len(a) - n)
    out = bytearray(a)
    out[first : first + n], out[second : second + n] = a[second : second + n], a[first : first + n]
    return bytes(out) if bytes(out) != a else flip_one(a, b, draw)


def splice(a, b, draw):
    at = draw.randrange(1, min(len(a), len(b)))
    out = a[:at] + b[at:]
    return out if out not in (a, b) else flip_one(a, b, draw)


def header_length(a, b, draw):
    lie = draw.choice([0, 1, 2**20, 2**40, 2**63, header_size(a) - 9, header_size(a) - 7, len(a)])
    return lie.to_bytes(8, "little") + a[8:]


def noise(a, b, draw):
    return draw.randbytes(draw.randrange(0, 4096))


BROKEN: list[Fault] = [
    flip_one, flip_many, flip_header, flip_start, cut, cut_header, append, drop, repeat, zero, swap_blocks, splice,
    header_length, noise,
]  # fmt: skip


def opened(data: bytes) -> tuple[dict, dict[str, torch.Tensor]]:
    """Header facts and tensors of a file."""
    facts = json.loads(json.loads(data[8 : header_size(data)])["__metadata__"]["reread"])
    return facts, load(data)


def signed(facts: dict, tensors: dict[str, torch.Tensor]) -> bytes:
    facts = {**facts, "sha256": "0" * 64}
    text = json.dumps(facts, separators=(",", ":"))
    return sealed(save({name: x.contiguous() for name, x in tensors.items()}, {"reread": text}))


def floats(tensors: dict[str, torch.Tensor]) -> list[str]:
    return sorted(name for name, x in tensors.items() if x.is_floating_point() and x.numel())


def not_finite(a, b, draw):
    facts, tensors = opened(a)
    name = draw.choice(floats(tensors))
    tensors[name].view(-1)[draw.randrange(tensors[name].numel())] = draw.choice(
        [float("nan"), float("inf"), -float("inf")]
    )
    return signed(facts, tensors)


def mixed(a, b, draw):
    """Some tensors of the other state, as large as their own; at least one that differs."""
    facts, tensors = opened(a)
    _, others = opened(b)
    same = [
        n
        for n in sorted(tensors)
        if n.startswith("state.") and n != "state.position" and n in others and tensors[n].shape == others[n].shape
        and not torch.equal(tensors[n], others[n])
    ]  # fmt: skip
    for name in draw.sample(same, draw.randrange(1, len(same) + 1)):
        tensors[name] = others[name]
    return signed(facts, tensors)


def exchanged(a, b, draw):
    """Two tensors of one shape in each other's place."""
    facts, tensors = opened(a)
    names = [n for n in sorted(tensors) if n.startswith("state.") and tensors[n].dim() > 1]
    pairs = [
        (x, y)
        for i, x in enumerate(names)
        for y in names[i + 1 :]
        if tensors[x].shape == tensors[y].shape and tensors[x].dtype == tensors[y].dtype
        and not torch.equal(tensors[x], tensors[y])
    ]  # fmt: skip
    if not pairs:
        return one_value(a, b, draw)
    one, other = draw.choice(pairs)
    tensors[one], tensors[other] = tensors[other], tensors[one]
    return signed(facts, tensors)


def one_value(a, b, draw):
    """One number of the state changed by as much as the largest of its tensor."""
    facts, tensors = opened(a)
    name = draw.choice([n for n in floats(tensors) if n.startswith("state.") and tensors[n].abs().max() > 0])
    x = tensors[name].view(-1)
    at = int(x.float().abs().argmax())
    x[at] = -x[at] if not name.startswith("state.scale of ") else x[at] * 3
    return signed(facts, tensors)


def reshaped(a, b, draw):
    facts, tensors = opened(a)
    name = draw.choice(sorted(n for n in tensors if tensors[n].numel() > 1))
    x = tensors[name]
    options = [x.flatten()[:-1], x.flatten()[None, None], torch.cat((x, x)), x[..., :-1]]
    options += [x.flatten()] if x.dim() > 1 else []
    tensors[name] = draw.choice(options)
    if draw.random() < 0.7 and name.removeprefix("state.") in facts["layout"]:  # the header lies along
        facts["layout"][name.removeprefix("state.")]["shape"] = list(tensors[name].shape)
    return signed(facts, tensors)


def recast(a, b, draw):
    facts, tensors = opened(a)
    name = draw.choice(sorted(tensors))
    kinds = [torch.float16, torch.float64, torch.int32, torch.bfloat16, torch.uint8]
    kind = draw.choice([kind for kind in kinds if kind != tensors[name].dtype])
    tensors[name] = tensors[name].to(kind)
    if draw.random() < 0.7 and name.removeprefix("state.") in facts["layout"]:
        facts["layout"][name.removeprefix("state.")]["dtype"] = str(kind).removeprefix("torch.")
    return signed(facts, tensors)


def lost_or_new(a, b, draw):
    facts, tensors = opened(a)
    name = draw.choice(sorted(n for n in tensors if n != "tokens"))
    x = tensors[name]
    if draw.random() < 0.5:
        del tensors[name]
        if draw.random() < 0.7:
            facts["layout"].pop(name.removeprefix("state."), None)
    else:
        tensors[draw.choice(["state.layers.99.S", "other", "state.", "state.position.x"])] = x.clone()
    return signed(facts, tensors)


LATER = ("compute_dtype", "adapters", "selection")  # headers of before have none of them
LIES = {
    "compute_dtype": ["bfloat16", "float64", "fp8", 3],
    "forgotten": ["line", "none", "word", "window(0)", 3],
    "selection": ["full ", "reread", "reread(tokens=9)", "window(tokens=11)", 3],
    "adapters": ["one", [{"name": "one", "version": "", "sha256": "0" * 64}], [{"name": "one"}], 1],
    "model": ["0" * 16, "../../etc/passwd", "", 3],
    "tokenizer": ["0" * 64, "x", None],
    "tokens": ["0" * 64, ""],
    "read": [0, 1, -1, 2**31, 2**70, 1.5, True, "9"],
    "prefix_len": [-1, 1, 3, 2**31, None],
    "policy": ["prompt", "", "share(r=0.5)", "fixed(n=81)", "polisy"],
    "strategy": ["onse", "once(", "twice(cue=3)", "once ", "(" * 9999],
    "state_dtype": ["fp64", "bf16", "fp32", "int4", ""],
    "next_token": [-1, 0, 255, 256, 2**40],
    "loss": [-1.0, 1e999, 7.0, "0"],
    "layout": [{}, [], {"position": {"dtype": "int64", "shape": [1], "kept": "whole"}}],
    "format": [0, 2, 999999999],
    "more": ["a field that nobody knows"],
    "document": ["", "x" * 64, 5],
    "name": [5, None],
}


def lie(a, b, draw):
    """A header field with another value, valid or not, that contradicts the rest of the file."""
    facts, tensors = opened(a)
    while True:
        name = draw.choice(sorted(LIES))
        value = draw.choice(LIES[name])
        if facts.get(name) != value or type(facts.get(name)) is not type(value):
            return signed({**facts, name: value}, tensors)


def lost_field(a, b, draw):
    facts, tensors = opened(a)
    del facts[draw.choice(sorted(set(facts) - {"format", "sha256", *LATER}))]
    return signed(facts, tensors)


def other_tokens(a, b, draw):
    """Another id among the tokens, with the hash that belongs to it."""
    facts, tensors = opened(a)
    ids = tensors["tokens"].to(torch.int64)
    at = draw.randrange(len(ids))
    ids[at] = (int(ids[at]) + draw.randrange(1, 200)) % 256
    facts["tokens"] = ids_hash(ids.tolist())
    return signed(facts, {**tensors, "tokens": ids.to(torch.uint32)})


def other_canary(a, b, draw):
    facts, tensors = opened(a)
    name = draw.choice(CANARY_PARTS)
    x = tensors[name]
    x[draw.randrange(len(x))] += draw.choice([-3, 5])
    return signed(facts, {**tensors, name: x.flip(0) if draw.random() < 0.3 else x})


def header_of_the_other(a, b, draw):
    """The tensors of one file under the header of the other."""
    facts, _ = opened(b)
    return signed(facts, opened(a)[1])


SIGNED: list[Fault] = [
    not_finite, mixed, exchanged, one_value, reshaped, recast, lost_or_new, lie, lost_field, other_tokens,
    other_canary, header_of_the_other,
]  # fmt: skip
CLAIMS = {"name": "other.txt", "document": "0" * 64, "model_name": "other", "cut": "half of it", "version": "9.9",
          "strategy": "repeat(cue=False, n=2)"}  # fmt: skip


def claim(a: bytes, field: str) -> bytes:
    """A header field that nothing else in the file says anything about, changed and signed."""
    facts, tensors = opened(a)
    return signed({**facts, field: CLAIMS[field]}, tensors)

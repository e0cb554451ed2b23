"""Speed, measured so that it can be trusted on a machine that is never quiet: whole models, prefix policies.

Contenders run one after another in rounds, in another order each round; what is reported
is the median over rounds and the ratio to the baseline within each round.  A model that does not keep its
word is not timed.  Every round is a row of a run folder; tables come from there.  The op: op_bench.py.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reread.check import check
from reread.config import LATER, at_least, each_once, to_dict
from reread.errors import RereadError, UnknownName
from reread.models import EMBEDDED, LM, PACKAGED, RecurrentModel, device_name, find, load, locate
from reread.models.placed import Placed, checked
from reread.models.pretrained import Pretrained
from reread.policies import Policy, policy
from reread.prompting import Encoded, build, cut, template
from reread.runlog import Run
from reread.tasks.synthetic import forms

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
VOCABULARY, GPT2 = 8192, 50_264
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # of the norm of some positions; gradients twice that
MODEL_TOLERANCE = 5e-4  # of the largest logit, float32: 24 random layers of Mamba differ by 2e-4 in the last digits
CACHE_BYTES = 2**28  # more than any GPU caches
Contender = Callable[[], Any]
Clock = Callable[[Contender], float]


class WrongAnswer(RereadError):
    """An op that is about to be timed does not match its reference."""


@dataclass(frozen=True)
class ModelBench:
    """Whole models: reading `tokens` tokens, and writing `new` after them.

    models: names of MODELS (random weights, groups of about equal size), or what `load` takes: "embedded", a folder
    (./mine), hf:OWNER/NAME.  A Transformer with full attention is timed as transformers runs it;
    verbs: also behind read and step, as "NAME (reread)", in the same rounds.
    """

    models: tuple[str, ...] = ("prefix_lm", "llama", "mamba2", "mamba")
    tokens: tuple[int, ...] = (512, 2048)
    batches: tuple[int, ...] = (1,)
    new: int = 16
    dtypes: tuple[str, ...] = ("float32",)
    rounds: int = 3
    threads: int = 0
    verbs: bool = field(default=False, metadata=LATER)

    def check(self) -> None:
        each_once(self, "models", "tokens", "batches", "dtypes")
        at_least(self, 1, "tokens", "batches", "new", "rounds")
        at_least(self, 0, "threads")
        for name in self.models:
            if name in MODELS:
                continue
            if name not in (*EMBEDDED, *PACKAGED) and "/" not in name:
                raise UnknownName("model to time", name, [*MODELS, *EMBEDDED, *PACKAGED, "./FOLDER", "hf:OWNER/NAME"])
            find(name)
        for name in self.dtypes:
            if name not in DTYPES:
                raise UnknownName("dtype", name, DTYPES)


@dataclass(frozen=True)
class PrefixBench:
    """Reading one prompt with the prefixes of several policies, the choosing included; tokens: of its document."""

    model: str = "embedded"
    policies: tuple[str, ...] = (
        "prompt", "document", "none", "fixed(n=256)", "fixed(n=512)", "share(r=0.5)", "entropy", "entropy(of=model)",
        "question_aware", "learned",
    )  # fmt: skip
    tokens: tuple[int, ...] = (512, 1024)
    rounds: int = 9
    threads: int = 0

    def check(self) -> None:
        each_once(self, "policies", "tokens")
        at_least(self, 1, "tokens", "rounds")
        at_least(self, 0, "threads")
        for name in self.policies:
            policy(name)


def wall(call: Contender) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


class Events:
    """Seconds of one call on a GPU between two of its own events, its cache overwritten before."""

    def __init__(self, device: torch.device):
        self.cache = torch.empty(CACHE_BYTES, dtype=torch.uint8, device=device)

    def __call__(self, call: Contender) -> float:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.cache.zero_()
        began.record()
        call()
        ended.record()
        torch.cuda.synchronize()
        return began.elapsed_time(ended) / 1000


def clock_of(device: torch.device) -> Clock:
    return Events(device) if device.type == "cuda" else wall


def rounds(contenders: dict[str, Contender], count: int, clock: Clock = wall) -> Iterator[tuple[int, str, float]]:
    """(round, name, seconds); one round more goes first, unmeasured, to warm up.  After the first the order is drawn
    anew for every round, so that nobody always comes after the same one (a GPU's clock follows what it did before)."""
    names = list(contenders)
    for number in range(-1, count):
        for name in names if number < 1 else random.Random(number).sample(names, len(names)):
            seconds = clock(contenders[name])
            if number >= 0:
                yield number, name, seconds


def _prefix_lm(mixers: list[str], width: int, heads: int, inner: int, vocabulary: int = VOCABULARY) -> RecurrentModel:
    from reread.models.prefix_lm import PrefixLMConfig, PrefixLMForCausalLM

    config = PrefixLMConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        mixers=mixers,
        num_attention_heads=heads,
        intermediate_size=inner,
        window=128,
    )
    return PrefixLMForCausalLM(config).eval()


def _family(name: str, vocab_size: int = VOCABULARY, **sizes: Any) -> RecurrentModel:
    from transformers import AutoConfig, AutoModelForCausalLM

    from reread.models.pretrained import Pretrained

    config = AutoConfig.for_model(name, vocab_size=vocab_size, tie_word_embeddings=True, **sizes)
    return Pretrained(AutoModelForCausalLM.from_config(config))


def _llama(layers: int, width: int, heads: int, inner: int, vocabulary: int = VOCABULARY) -> RecurrentModel:
    return _family(
        "llama", vocabulary, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads, intermediate_size=inner, max_position_embeddings=65_536,
    )  # fmt: skip


def _layers(count: int, linear: tuple[int, ...], window: tuple[int, ...]) -> list[str]:
    return ["linear" if i in linear else "window" if i in window else "conv" for i in range(count)]


# "-tiny": does everything run?  "-360m" and "-1.3b": the shapes of the published JRT-RNN checkpoints (the paper's
# table 15 has other places for some layers), "-130m" the same pattern; beside them Transformers of about the same
# number of parameters whose heads are as wide as fast attention likes them.
MODELS: dict[str, Callable[[], RecurrentModel]] = {
    "prefix_lm": lambda: _prefix_lm(_layers(13, (1, 6, 11), (2, 7, 12)), 768, 12, 1536),
    "llama": lambda: _llama(12, 768, 12, 2048),
    "mamba2": lambda: _family(
        "mamba2", hidden_size=768, num_hidden_layers=24, num_heads=24, head_dim=64, state_size=64, n_groups=1
    ),
    "mamba": lambda: _family("mamba", hidden_size=768, num_hidden_layers=24),
    "prefix_lm-tiny": lambda: _prefix_lm(_layers(3, (1,), (2,)), 64, 2, 128),
    "llama-tiny": lambda: _llama(3, 64, 2, 176),
    "prefix_lm-130m": lambda: _prefix_lm(_layers(13, (1, 6, 11), (2, 7, 12)), 768, 12, 1536, GPT2),
    "llama-130m": lambda: _llama(12, 768, 12, 2304, GPT2),
    "prefix_lm-360m": lambda: _prefix_lm(_layers(26, (1, 6, 11, 16, 21), (2, 7, 12, 17, 22)), 1024, 16, 2048, GPT2),
    "llama-360m": lambda: _llama(24, 1024, 16, 2752, GPT2),
    "prefix_lm-1.3b": lambda: _prefix_lm(
        _layers(36, (1, 6, 11, 16, 21, 27, 33), (2, 7, 12, 17, 22, 28, 34)), 1792, 16, 3584, GPT2
    ),
    "llama-1.3b": lambda: _llama(24, 2048, 16, 5632, GPT2),
}


class Growing:
    """A transformers model with keys and values that grow, as transformers itself runs it.  Each step copies all keys
    and values (DynamicCache), which costs it up to twice the reading of them."""

    def __init__(self, model: Any, cache_argument: str):
        self.model, self.cache_argument = model, cache_argument

    def read(self, ids: Tensor) -> tuple[Tensor, Any]:
        out = self.model(ids, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1], out[self.cache_argument]

    def write(self, logits: Tensor, cache: Any, count: int) -> None:
        for _ in range(count):
            given = {self.cache_argument: cache, "use_cache": True}
            logits = self.model(logits.argmax(dim=-1)[:, None], **given).logits[:, -1]
        cache.crop(-count)  # as it was before


class Verbs:
    """A model behind our three verbs, as it is timed."""

    def __init__(self, model: RecurrentModel):
        self.model = model

    def read(self, ids: Tensor) -> tuple[Tensor, Any]:
        return self.model.read(ids, last_only=True)

    def write(self, logits: Tensor, state: Any, count: int) -> None:
        """Greedy decoding of so many tokens, a step at a time."""
        for _ in range(count):
            logits, state = self.model.step(logits.argmax(dim=-1), state)


def start(spec: Any, kind: str, out: Path) -> Run:
    """The run folder, and as many threads as asked."""
    spec.check()
    if spec.threads:
        torch.set_num_threads(spec.threads)
    waiting = os.environ.get("OMP_WAIT_POLICY", "default")  # passive threads sleep at every barrier: fair, but slow
    described = {"bench": kind, **to_dict(spec), "threads": torch.get_num_threads(), "OMP_WAIT_POLICY": waiting}
    return Run.start(out, "bench", described)


def made(name: str, dtype: str, device: torch.device) -> RecurrentModel:
    """A model of MODELS with random weights or one that is loaded, checked in float32, then in that dtype.
    Raises WrongAnswer."""
    if name in MODELS:
        with device:
            model = MODELS[name]()
    else:
        model = load(name, "cpu", dtype="fp32").model
    vocabulary = model.config.vocab_size
    wrong = [f.what for f in check(Placed(model, str(device)), vocabulary) if f.error > MODEL_TOLERANCE]
    if wrong:
        raise WrongAnswer(f"{name} is not timed: {', '.join(wrong)} does not hold")
    module_of(model).to(DTYPES[dtype])
    return model


def timed(model: RecurrentModel) -> Growing | Verbs:
    """As transformers runs it where every layer keeps all keys and values, else behind the three verbs."""
    if isinstance(model, Pretrained) and model.keeps_all:
        return Growing(model.model, model.cache_argument)
    return Verbs(model)


@torch.inference_mode()
def bench_model(spec: ModelBench, out: Path, progress: Callable[[str], None] = lambda _: None) -> Run:
    """Time reading and writing of whole models at every length, batch and dtype, where REREAD_DEVICE says, into a run
    folder."""
    device = checked(device_name())
    clock = clock_of(device)
    with start(spec, "model", out) as run:
        for dtype in spec.dtypes:
            models = {name: made(name, dtype, device) for name in spec.models}
            known = min(VOCABULARY, *(model.config.vocab_size for model in models.values()))
            for batch, N in itertools.product(spec.batches, spec.tokens):
                progress(f"{dtype}, batch {batch}, {N:,} tokens")
                draw = torch.Generator().manual_seed(0)
                ids = torch.randint(known, (batch, N), generator=draw).to(device)
                chosen = {name: timed(model) for name, model in models.items()}
                owner = {name: name for name in models}
                for name in [name for name, one in chosen.items() if spec.verbs and isinstance(one, Growing)]:
                    chosen[f"{name} (reread)"], owner[f"{name} (reread)"] = Verbs(models[name]), name
                read = {name: one.read(ids) for name, one in chosen.items()}
                contenders: dict[str, dict[str, Contender]] = {
                    "read": {name: partial(one.read, ids) for name, one in chosen.items()},
                    "write": {name: partial(one.write, *read[name], spec.new) for name, one in chosen.items()},
                }
                for what, calls in contenders.items():
                    for number, name, seconds in rounds(calls, spec.rounds, clock):
                        tokens = batch * (N if what == "read" else spec.new)
                        row = {"what": what, "dtype": dtype, "batch": batch, "N": N, "name": name, "round": number}
                        row["against"] = spec.models[0]
                        size = {"state_bytes": kept(read[name][1]), "parameters": parameters(models[owner[name]])}
                        run.append({**row, "seconds": seconds, "tokens": tokens, **size})
        run.finish({"rounds": spec.rounds})
        return run


def kept(state: Any) -> int:
    """Bytes of a state, or of the keys and values of a cache."""
    if hasattr(state, "nbytes"):
        return state.nbytes
    return sum(x.numel() * x.element_size() for layer in state.layers for x in (layer.keys, layer.values))


def made_prompt(lm: LM, tokens: int) -> Encoded:
    """A form written by a program, so many tokens of it, and the label that stands in its middle."""
    (sample,) = forms(max(2, tokens // 8), documents=1)
    part = cut(sample.document, lm.tokenizer, tokens, "head")
    lines = part.text.splitlines()
    question = lines[len(lines) // 2].partition(":")[0]
    return build("once", part.text, question, template("field"), cut=part).encode(lm.tokenizer)


@torch.inference_mode()
def bench_prefix(spec: PrefixBench, out: Path, progress: Callable[[str], None] = lambda _: None) -> Run:
    """Time reading under every policy, choosing included, at every length into a run folder."""
    spec.check()
    locate(spec.model)
    Run.check(out, "bench", {}, resume=False)
    chosen = {str(one): one for one in map(policy, spec.policies)}
    lm = load(spec.model)

    def read(prompt: Encoded, one: Policy) -> Any:
        (choice,) = one.choose([prompt], lm)
        return lm.model.read(torch.tensor([prompt.tokens]), lm.prefix(choice.prefix_len), last_only=True)

    with start(spec, "prefix", out) as run:
        for tokens in spec.tokens:
            prompt = made_prompt(lm, tokens)
            progress(f"{len(prompt.tokens):,} tokens")
            contenders: dict[str, Contender] = {name: partial(read, prompt, one) for name, one in chosen.items()}
            for number, name, seconds in rounds(contenders, spec.rounds):
                row = {"what": "prefix", "dtype": "float32", "N": len(prompt.tokens), "name": name, "round": number}
                row["against"] = next(iter(contenders))
                run.append({**row, "seconds": seconds, "parameters": parameters(lm.model)})
        run.finish({"rounds": spec.rounds})
        return run


def module_of(model: Any) -> torch.nn.Module:
    """The torch module behind the three verbs."""
    return model if isinstance(model, torch.nn.Module) else module_of(model.model)


def parameters(model: RecurrentModel) -> int:
    """Parameters of the module, tied ones once."""
    return sum(p.numel() for p in module_of(model).parameters())

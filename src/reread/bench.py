"""Speed, measured so that it can be trusted on a machine that is never quiet.

Contenders run one after another in rounds, the order turned by one each round; what is reported
is the median over rounds and the ratio to the baseline within each round.  An op that does not
match its reference is not timed.  Every round is a row of a run folder; tables come from there.

Shapes: B batch, N time, H heads, D width of q and k, V width of v.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reread.check import check
from reread.config import to_dict
from reread.errors import BadInput, RereadError, UnknownName
from reread.models import LM, RecurrentModel, load
from reread.ops import feature_map, linear_attention, prefix_state
from reread.policies import Policy, policy
from reread.prompting import Encoded, build, cut, template
from reread.runlog import Run
from reread.tasks.synthetic import forms

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
VOCABULARY = 8192
TOLERANCE = {"float32": 1e-4, "bfloat16": 3e-2}
MODEL_TOLERANCE = 5e-4  # of the largest logit, float32: 24 random layers of Mamba differ by 2e-4 in the last digits
Contender = Callable[[], Any]


def named(threads: int, **lists: tuple) -> None:
    """Raise BadInput for a list of contenders or sizes that names nothing, and for threads below 0."""
    for name, values in lists.items():
        if not values:
            raise BadInput(f"{name} must name something to time", got="nothing")
    if threads < 0:
        raise BadInput("threads must be 0 (as torch decides) or more", got=threads)


class WrongAnswer(RereadError):
    """An op that is about to be timed does not match its reference."""


@dataclass(frozen=True)
class OpBench:
    """One sequence-mixing op: linear attention with the Taylor map against causal softmax attention.

    sizes: N; prefix: share of N that is read as prefix by "prefix linear" (keys and values of its
    own, as JRT-RNN); heads, D = feature_dim, V = value_dim (softmax attention has q, k, v of V).
    """

    sizes: tuple[int, ...] = (512, 2048, 8192)
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    batch: int = 1
    heads: int = 16
    feature_dim: int = 16
    value_dim: int = 64
    prefix: float = 0.5
    rounds: int = 7
    threads: int = 0

    def check(self) -> None:
        named(self.threads, sizes=self.sizes, dtypes=self.dtypes)
        for name in self.dtypes:
            if name not in DTYPES:
                raise UnknownName("dtype", name, DTYPES)
        if min(self.batch, self.heads, self.feature_dim, self.value_dim, self.rounds, *self.sizes) < 1:
            raise BadInput("sizes, batch, heads, widths and rounds must be at least 1", got=to_dict(self))
        if not 0.0 <= self.prefix <= 1.0:
            raise BadInput("prefix is a share of the tokens, 0 to 1", got=self.prefix)


@dataclass(frozen=True)
class ModelBench:
    """Whole models of about equal size with random weights: reading `tokens` tokens, and writing `new` after them."""

    models: tuple[str, ...] = ("prefix_lm", "llama", "mamba2", "mamba")
    tokens: tuple[int, ...] = (512, 2048)
    new: int = 16
    dtypes: tuple[str, ...] = ("float32",)
    rounds: int = 3
    threads: int = 0

    def check(self) -> None:
        named(self.threads, models=self.models, tokens=self.tokens, dtypes=self.dtypes)
        for name in self.models:
            if name not in MODELS:
                raise UnknownName("model to time", name, MODELS)
        for name in self.dtypes:
            if name not in DTYPES:
                raise UnknownName("dtype", name, DTYPES)
        if min(self.new, self.rounds, *self.tokens) < 1:
            raise BadInput("tokens, new and rounds must be at least 1", got=to_dict(self))


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
        named(self.threads, policies=self.policies, tokens=self.tokens)
        for name in self.policies:
            policy(name)
        if min(self.rounds, *self.tokens) < 1:
            raise BadInput("tokens and rounds must be at least 1", got=to_dict(self))


def rounds(contenders: dict[str, Contender], count: int) -> Iterator[tuple[int, str, float]]:
    """(round, name, seconds); one round more goes first, unmeasured, to warm up."""
    names = list(contenders)
    for number in range(-1, count):
        turn = max(number, 0) % len(names)
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter()
            contenders[name]()
            seconds = time.perf_counter() - began
            if number >= 0:
                yield number, name, seconds


def op_contenders(spec: OpBench, N: int, dtype: str) -> dict[str, Contender]:
    """The ops on random inputs of that length, the baseline first.  Raises WrongAnswer."""
    draw = torch.Generator().manual_seed(0)

    def random(T: int, width: int) -> Tensor:
        return torch.randn(spec.batch, T, spec.heads, width, generator=draw).to(DTYPES[dtype])

    phi = feature_map("taylor", spec.feature_dim, spec.heads)
    q, k, v = random(N, spec.feature_dim), random(N, spec.feature_dim), random(N, spec.value_dim)
    P = max(1, int(N * spec.prefix))
    k_enc, v_enc = random(P, spec.feature_dim), random(P, spec.value_dim)
    q_wide, k_wide, v_wide = (random(N, spec.value_dim).transpose(1, 2).contiguous() for _ in range(3))

    def linear(n: int = N, backend: str = "auto") -> Tensor:
        return linear_attention(q[:, :n], k[:, :n], v[:, :n], feature_map=phi, backend=backend)[0]

    def prefix_linear(n: int = N, backend: str = "auto") -> Tensor:
        p = max(1, int(n * spec.prefix))
        state = prefix_state(k_enc[:, :p], v_enc[:, :p], feature_map=phi, backend=backend)
        return linear_attention(q[:, :n], k[:, :n], v[:, :n], feature_map=phi, state=state, backend=backend)[0]

    for name, op in (("linear", linear), ("prefix linear", prefix_linear)):
        for n, backend in ((min(N, 512), "reference"), (N, "chunked")):  # chunked is tested against the reference
            got, want = op(n).double(), op(n, backend).double()
            error = float((got - want).norm() / want.norm())
            if not error < TOLERANCE[dtype]:
                says = f"{name} is not timed: at N = {n:,} it differs from its {backend} form by {error:.1e}"
                raise WrongAnswer(says, got=dtype)
    return {
        "softmax (SDPA)": lambda: F.scaled_dot_product_attention(q_wide, k_wide, v_wide, is_causal=True),
        "linear": linear,
        "prefix linear": prefix_linear,
    }


def _prefix_lm() -> RecurrentModel:
    from reread.models.prefix_lm import PrefixLMConfig, PrefixLMForCausalLM

    mixers = ["conv", "linear", "window", "conv", "conv"] * 2 + ["conv", "linear", "window"]
    config = PrefixLMConfig(
        vocab_size=VOCABULARY,
        hidden_size=768,
        mixers=mixers,
        num_attention_heads=12,
        intermediate_size=1536,
        window=128,
    )
    return PrefixLMForCausalLM(config).eval()


def _family(name: str, **sizes: Any) -> RecurrentModel:
    from transformers import AutoConfig, AutoModelForCausalLM

    from reread.models.pretrained import Pretrained

    config = AutoConfig.for_model(name, vocab_size=VOCABULARY, tie_word_embeddings=True, **sizes)
    return Pretrained(AutoModelForCausalLM.from_config(config))


MODELS: dict[str, Callable[[], RecurrentModel]] = {
    "prefix_lm": _prefix_lm,
    "llama": lambda: _family(
        "llama", hidden_size=768, num_hidden_layers=12, num_attention_heads=12, num_key_value_heads=12,
        intermediate_size=2048,
    ),
    "mamba2": lambda: _family(
        "mamba2", hidden_size=768, num_hidden_layers=24, num_heads=24, head_dim=64, state_size=64, n_groups=1
    ),
    "mamba": lambda: _family("mamba", hidden_size=768, num_hidden_layers=24),
}  # fmt: skip


def write_tokens(model: RecurrentModel, logits: Tensor, state: Any, count: int) -> None:
    """Greedy decoding of so many tokens, a step at a time."""
    for _ in range(count):
        logits, state = model.step(logits.argmax(dim=-1), state)


def start(spec: OpBench | ModelBench | PrefixBench, kind: str, out: Path) -> Run:
    """The run folder, and as many threads as asked."""
    spec.check()
    if spec.threads:
        torch.set_num_threads(spec.threads)
    waiting = os.environ.get("OMP_WAIT_POLICY", "default")  # passive threads sleep at every barrier: fair, but slow
    described = {"bench": kind, **to_dict(spec), "threads": torch.get_num_threads(), "OMP_WAIT_POLICY": waiting}
    return Run.start(out, "bench", described)


@torch.inference_mode()
def bench_op(spec: OpBench, out: Path, progress: Callable[[str], None] = lambda _: None) -> Run:
    """Time the ops at every size and dtype into a run folder."""
    run = start(spec, "op", out)
    for dtype, N in itertools.product(spec.dtypes, spec.sizes):
        progress(f"{dtype}, N = {N:,}")
        for number, name, seconds in rounds(op_contenders(spec, N, dtype), spec.rounds):
            run.append({"what": "op", "dtype": dtype, "N": N, "name": name, "round": number, "seconds": seconds})
    run.finish({"rounds": spec.rounds})
    return run


@torch.inference_mode()
def bench_model(spec: ModelBench, out: Path, progress: Callable[[str], None] = lambda _: None) -> Run:
    """Time reading and writing of whole models at every length and dtype into a run folder."""
    run = start(spec, "model", out)
    for dtype in spec.dtypes:
        models = {name: MODELS[name]() for name in spec.models}
        for name, model in models.items():
            wrong = [finding.what for finding in check(model, VOCABULARY) if finding.error > MODEL_TOLERANCE]
            if wrong:
                raise WrongAnswer(f"{name} is not timed: {', '.join(wrong)} does not hold")
            module_of(model).to(DTYPES[dtype])
        for N in spec.tokens:
            progress(f"{dtype}, {N:,} tokens")
            ids = torch.randint(VOCABULARY, (1, N), generator=torch.Generator().manual_seed(0))
            read = {name: model.read(ids, last_only=True) for name, model in models.items()}
            contenders: dict[str, dict[str, Contender]] = {
                "read": {name: partial(model.read, ids, last_only=True) for name, model in models.items()},
                "write": {name: partial(write_tokens, models[name], *read[name], spec.new) for name in models},
            }
            for what, chosen in contenders.items():
                for number, name, seconds in rounds(chosen, spec.rounds):
                    size = {"state_bytes": read[name][1].nbytes, "parameters": parameters(models[name])}
                    tokens = N if what == "read" else spec.new
                    row = {"what": what, "dtype": dtype, "N": N, "name": name, "round": number, "seconds": seconds}
                    run.append({**row, "tokens": tokens, **size})
    run.finish({"rounds": spec.rounds})
    return run


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
    chosen = {str(one): one for one in map(policy, spec.policies)}
    lm = load(spec.model)
    run, longest = start(spec, "prefix", out), lm.longest_prefix

    def read(prompt: Encoded, one: Policy) -> Any:
        (choice,) = one.choose([prompt], lm)
        length = choice.prefix_len if longest is None else min(choice.prefix_len, longest)
        return lm.model.read(torch.tensor([prompt.tokens]), length, last_only=True)

    for tokens in spec.tokens:
        prompt = made_prompt(lm, tokens)
        progress(f"{len(prompt.tokens):,} tokens")
        contenders: dict[str, Contender] = {name: partial(read, prompt, one) for name, one in chosen.items()}
        for number, name, seconds in rounds(contenders, spec.rounds):
            row = {"what": "prefix", "dtype": "float32", "N": len(prompt.tokens), "name": name, "round": number}
            run.append({**row, "seconds": seconds, "parameters": parameters(lm.model)})
    run.finish({"rounds": spec.rounds})
    return run


def module_of(model: Any) -> torch.nn.Module:
    """The torch module behind the three verbs."""
    return model if isinstance(model, torch.nn.Module) else model.model


def parameters(model: RecurrentModel) -> int:
    """Parameters of the module, tied ones once."""
    return sum(p.numel() for p in module_of(model).parameters())

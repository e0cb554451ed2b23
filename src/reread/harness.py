"""lm-eval from outside: any model that `load` gives, as lm-eval's model "reread", and the packaged tasks.

Importing this module registers the model; lm-eval itself is never changed.  Nothing leaks: only
the context is read non-causally, a continuation is read on from its state, causally; and a batch
gives what single requests give.  `python -m reread.harness` is lm-eval's own command with our
model and tasks known to it.

Context and continuation are tokenised as lm-eval's own models do it: blanks at the end of a context go to the
continuation, and its ids are those of both as one text, behind as many as the context alone has.

Shapes: B rows of a batch, T time, V vocabulary.
"""

from __future__ import annotations

import inspect
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer

from reread import models
from reread.engine import Reader
from reread.errors import BadCheckpoint, BadInput, MissingData, MissingPackage, RereadError, UnknownName
from reread.models import chat as models_chat
from reread.models.chat import ChatTemplate
from reread.models.kv_selection import FULL
from reread.options import checked_select
from reread.policies import policy as known_policy
from reread.prompting import Encoded, bos_facts, encode_ids, special_ids, token_ids, with_bos, with_special_tokens
from reread.scoring import continuation_scores, pad
from reread.selecting import checked_selection

try:
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM as HarnessLM
    from lm_eval.api.registry import register_model
    from lm_eval.tasks import TaskManager
    from tqdm import tqdm
except ImportError as missing:
    raise MissingPackage("lm_eval", "lm-eval") from missing

T = TypeVar("T")
TASKS_FOLDER = Path(str(resources.files("reread") / "lm_eval_tasks"))
ALL_TASKS = "reread_recall"
NEW_TOKENS = 256  # lm-eval's own default where a task says nothing
GREEDY = {"do_sample": (False,), "num_beams": (1,)}
SAMPLING = {"temperature", "top_p", "top_k"}  # without a meaning where the likeliest token is taken


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def begins_inside(stop: str, other: str) -> bool:
    """Whether a text could hold `other` from within `stop` on."""
    tails = [stop[k:] for k in range(1, len(stop))]
    return any(tail.startswith(other) or other.startswith(tail) for tail in tails)


def generation(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Stop strings and new tokens of a request's generation_kwargs.  Raises BadInput for anything but greedy."""
    for name, value in settings.items():
        if name in GREEDY and value not in GREEDY[name]:
            raise BadInput(f"this model decodes greedily, one text; {name} cannot be met", got=value)
        if name not in {"until", "max_gen_toks", "max_new_tokens", *GREEDY, *SAMPLING}:
            raise BadInput("unknown generation setting", got=name, allowed="until, max_gen_toks, do_sample: false")
    until = settings.get("until") or []
    stops = (until,) if isinstance(until, str) else tuple(until)
    new = int(settings.get("max_gen_toks", settings.get("max_new_tokens", NEW_TOKENS)))
    if new < 1:
        raise BadInput("max_gen_toks must be at least 1", got=new)
    return tuple(stop for stop in stops if stop), new


@register_model("reread")
class RereadLM(HarnessLM):
    """A model of `reread.models.load` behind lm-eval's three requests.

    pretrained: what `load` takes, or an LM; policy: how much of a context is read non-causally where a model
    can, up to the length that it was trained with (policies.py; "prompt", as published: all); prefill: see
    engine.Reader; max_length: longest prompt with its answer, in tokens, cut on the left and counted in the
    log (0: nothing is cut; BOS is never cut off); add_bos_token: whether a text begins with BOS (None: as the
    tokenizer says); select: which keys of the text before the question of a context are kept
    (models/kv_selection.py); question_at: a text whose last place in a context is where its question begins ("": as
    the rows of the packaged tasks say); device and max_batch_size are lm-eval's and not used.  Raises what `load`
    raises, BadInput, UnknownName.
    """

    def __init__(
        self,
        pretrained: str | models.LM | None = None,
        batch_size: int | str = 8,
        policy: str | None = "prompt",
        prefill: str = "no_pad",
        max_length: int = 0,
        device: str | None = None,
        max_batch_size: int | None = None,
        add_bos_token: bool | None = None,
        select: str = FULL,
        question_at: str = "",
        **other: Any,
    ):
        super().__init__()
        if other:
            known = [name for name in inspect.signature(type(self)).parameters if name != "other"]
            raise UnknownName("argument of lm-eval's model reread", next(iter(other)), known)
        chosen = known_policy(policy or "none")  # lm-eval reads "none" in an argument string as None
        if chosen.rule.first is None:  # a context has no question: policies that need one say so here
            chosen.choose([Encoded((0, 1), (("context", 0, 2),), 2)], tokenizer=models.load_tokenizer())
        if not str(batch_size).isdigit() or int(batch_size) < 1:
            raise BadInput("batch_size must be a whole number of at least 1", got=batch_size)
        if not isinstance(max_length, int) or max_length < 0:
            raise BadInput("max_length must be 0 or more tokens", got=max_length)
        if not isinstance(add_bos_token, bool | None):
            raise BadInput("add_bos_token must be true or false", got=add_bos_token, allowed="true, false")
        self.select, self.question_at = checked_select(select, prefill=prefill), str(question_at)
        lm = pretrained if isinstance(pretrained, models.LM) else models.load(pretrained)
        checked_selection(lm, self.select)
        if add_bos_token is not None:
            lm = replace(lm, words=with_bos(lm.tokenizer, add_bos_token))
        where, asked = str(getattr(lm.model, "device", "cpu")), (device or "").partition(":")[0]
        by_itself = asked == "cuda" and not torch.cuda.is_available()  # lm-eval's command asks for cuda:0 anywhere
        if asked and asked != where.partition(":")[0] and not by_itself:
            said = "the model computes on %s, as REREAD_DEVICE or who loaded it says; device=%s is not used"
            logging.getLogger(__name__).warning(said, where, device)
        self.reader = Reader(lm, prefill=prefill)
        self.lm, self.policy, self.batch_size, self.max_length = lm, chosen, int(batch_size), max_length
        self._shortened = 0
        self._chat: ChatTemplate | None = None
        self._chat_words: Tokenizer | None = None
        self.reader.warn_if_ignored(chosen)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template that lm-eval is to note and `apply_chat_template` uses: of that name, or the model's default.

        Raises BadInput for a model without one, UnknownName, BadCheckpoint.
        """
        if not chat_template:
            return None
        name = chat_template if isinstance(chat_template, str) else ""
        self._chat = models_chat.chat_template(self.lm.name, name)
        # A template writes special tokens as text, so they are read as such from here on, as transformers does.
        self._chat_words = with_special_tokens(self.lm.tokenizer)
        return self._chat.text

    @property
    def tokenizer_name(self) -> str:
        """What tells apart cached requests that were made with another template or tokenizer."""
        return f"{self.lm.name.replace('/', '__')}__{self.lm.model.fingerprint}"

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The messages as one text.  Raises as `chat_template`, and BadInput for messages that it refuses."""
        if self._chat is None:
            self.chat_template(True)
        assert self._chat is not None
        return self._chat.render(chat_history, reply=add_generation_prompt)

    @property
    def prefix_token_id(self) -> int:
        """What stands for an empty context: BOS, else EOS, as the model's files or the tokenizer name them; else
        "<|end|>"; else an id that the model's configuration gives and that is a special token.  Raises
        BadCheckpoint."""
        tokenizer, config = self.lm.tokenizer, self.lm.model.config
        known = special_ids(tokenizer)
        special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        configured = [getattr(config, name, None) for name in ("bos_token_id", "eos_token_id")]
        configured = [one for value in configured for one in (value if isinstance(value, list) else [value])]
        wanted = (known.bos, known.eos, tokenizer.token_to_id("<|end|>"), *(i for i in configured if i in special))
        found = next((number for number in wanted if number is not None), None)
        if found is None:
            raise BadCheckpoint("no special token (BOS or EOS) stands for an empty context", got=self.lm.name)
        return found

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes beside the results."""
        return {
            "pretrained": self.lm.name,
            "fingerprint": self.lm.model.fingerprint,
            "policy": str(self.policy),
            **({"policy_ignored": True} if self.policy.has_no_effect_on(self.lm) else {}),
            "prefill": self.reader.prefill.value,
            "max_length": self.max_length,
            **({} if self.select == FULL else {"selection": self.select, "question_at": self.question_at}),
            **bos_facts(self.lm.tokenizer),
        }

    def _ids(self, text: str) -> list[int]:
        """Tokens of a text that is read from nothing, without BOS."""
        if self._chat_words is None:
            return token_ids(text, self.lm.tokenizer, first=True)
        ids, start = token_ids(text, self._chat_words, first=True), list(special_ids(self.lm.tokenizer).start)
        return ids[len(start) :] if start and ids[: len(start)] == start else ids  # a template may write BOS itself

    def _pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokens of a context (without BOS), and of both together those behind as many: lm-eval's rule.

        Where the continuation would be left without a token, it is encoded apart.
        """
        bare = context.rstrip()
        rest, own = context[len(bare) :] + continuation, self._ids(bare)
        whole = self._ids(bare + rest)
        if rest and len(whole) <= len(own):
            return own, token_ids(rest, self.lm.tokenizer, first=not own)
        return own, whole[len(own) :]

    def _context(self, ids: list[int], room: int) -> Encoded:
        """A context as the model is to read it, BOS before it where the tokenizer gives it: at most `room` tokens,
        cut behind BOS (where max_length is 0, none is cut)."""
        if not ids:
            return Encoded((self.prefix_token_id,), (("context", 0, 1),), 0)
        if self.max_length:
            if room < 1:
                raise BadInput("the answer alone is longer than max_length", got=self.max_length)
            keep = max(0, room - len(special_ids(self.lm.tokenizer).start))
            self._shortened += len(ids) > keep
            ids = ids[max(0, len(ids) - keep) :]
        context = encode_ids(ids, "context", self.lm.tokenizer)
        (choice,) = self.policy.choose([context], self.lm)
        return replace(context, prefix_len=self.lm.prefix(choice.prefix_len))

    def _document(self, request: Any) -> str:
        """The text before the question of a context.  Raises BadInput where nothing says where it begins."""
        context, row = request.args[0], getattr(request, "doc", None)
        asked = self.question_at or (row.get("asked") if isinstance(row, Mapping) else "")
        document = context[: max(0, context.rfind(asked))] if asked and isinstance(asked, str) else ""
        if not document.strip():
            what = "keys are selected before the question is read, and nothing says where it begins in this context"
            todo = "give question_at=TEXT, with which questions begin; of the packaged tasks take those ending in _once"
            raise BadInput(what, got=context[-60:], todo=todo)
        return document

    def _selectable(self, request: Any, ids: list[int], room: int) -> Encoded:
        """As `_context`, in two parts: what keys are selected from, and the question."""
        document = self._document(request)
        own = self._ids(document)
        rest = ids[len(own) :]
        if ids[: len(own)] != own:  # a token lies on the border
            rest = token_ids(request.args[0][len(document) :].rstrip(), self.lm.tokenizer)
        whole = self._context([*own, *rest], room)
        end = len(whole.tokens)
        border = end - len(rest)
        if border <= whole.text_start:
            raise BadInput("max_length leaves nothing of the document before the question", got=self.max_length)
        spans = (*whole.spans[:-1], ("document", whole.text_start, border), ("question", border, end))
        return replace(whole, spans=spans)

    def _laid_out(self, request: Any, ids: list[int], room: int) -> Encoded:
        return self._context(ids, room) if self.select == FULL else self._selectable(request, ids, room)

    def _say_shortened(self, requests: int) -> None:
        if self._shortened:
            said = "%d of %d contexts were cut on the left to fit max_length=%d"
            logging.getLogger(__name__).warning(said, self._shortened, requests, self.max_length)
        self._shortened = 0

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The greedy text of each request, up to the first of its stop strings, without white space around it."""
        groups: dict[tuple[tuple[str, ...], int], list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault(generation(request.args[1]), []).append(i)
        texts: dict[int, str] = {}
        with tqdm(total=len(requests), disable=disable_tqdm, desc="reread: generate_until") as bar:
            for (stops, new), chosen in groups.items():
                room = self.max_length - new
                encoded = {i: self._laid_out(requests[i], self._ids(requests[i].args[0]), room) for i in chosen}
                chosen.sort(key=lambda i: len(encoded[i].tokens))
                for part in batches(chosen, self.batch_size):
                    for i, text in zip(part, self._written([encoded[i] for i in part], stops, new), strict=True):
                        texts[i] = text
                        self.cache_hook.add_partial("generate_until", requests[i].args, text)
                    bar.update(len(part))
        self._say_shortened(len(requests))
        return [texts[i] for i in range(len(requests))]

    def _written(self, prompts: Sequence[Encoded], stops: Sequence[str], new: int) -> list[str]:
        """The texts of one batch.

        Reader knows one stop string and strips the text.  So a stop with white space at an edge, or one that
        another may begin inside of, is a run of its own, and the shortest text is the one before the first
        stop; the others are looked for in that.
        """
        runs: list[str] = []
        inside: list[str] = []
        for stop in sorted(set(stops), key=lambda stop: stop == stop.strip()):
            alone = stop != stop.strip() or not runs or any(begins_inside(stop, other) for other in stops)
            (runs if alone else inside).append(stop)
        answers = [
            self.reader.answer(prompts, stop=stop, max_new_tokens=new, batch=self.batch_size, select=self.select)
            for stop in runs or [""]
            if not any(stop != other and stop.startswith(other) for other in runs)
        ]
        texts = [min((answer.text for answer in row), key=len) for row in zip(*answers, strict=True)]
        ends = [min((text.index(stop) for stop in inside if stop in text), default=len(text)) for text in texts]
        return [text[:end].strip() for text, end in zip(texts, ends, strict=True)]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Per (context, continuation): log-probability of the continuation, and whether it is the greedy one."""
        pairs = []
        for request in requests:
            context, ids = self._pair(*request.args)
            pairs.append((self._laid_out(request, context, self.max_length - len(ids)), ids))
        found = self._scores(pairs, disable_tqdm)
        for request, result in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, result)
        self._say_shortened(len(requests))
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of each whole text, causally: nothing is prefix, nothing is cut, whatever its length.

        As in lm-eval's own models, BOS that the tokenizer gives belongs to the text and is scored after the prefix
        token.
        """
        if self.select != FULL:
            what = "a text without a context holds no document and question, so no keys can be selected"
            raise BadInput(what, got=self.select, allowed=f"select={FULL}")
        start, bos = self._context([], 0), special_ids(self.lm.tokenizer).start
        texts = [(start, [*bos, *self._ids(request.args[0])]) for request in requests]
        found = [score for score, _ in self._scores(texts, disable_tqdm)]
        for request, result in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, result)
        return found

    def _after(self, contexts: Sequence[Encoded]) -> tuple[torch.Tensor, Any]:
        """Logits (B,V) after contexts, and the state."""
        if self.select != FULL:
            begun = self.reader.begin(contexts, self.select)
            return begun.logits, begun.state
        tokens, mask = pad([context.tokens for context in contexts])
        lengths = torch.tensor([context.prefix_len for context in contexts])
        return self.lm.model.read(tokens, lengths, mask, last_only=True)

    @torch.inference_mode()
    def _scores(self, pairs: Sequence[tuple[Encoded, list[int]]], quiet: bool) -> list[tuple[float, bool]]:
        """Scores of (context, continuation); each context is read once, however many continuations it has."""
        if self.reader.prefill != "no_pad":
            raise BadInput(
                "log-likelihoods read a context as it is", got=self.reader.prefill.value, allowed="prefill=no_pad"
            )
        found = {i: (0.0, True) for i, (_, ids) in enumerate(pairs) if not ids}
        after: dict[Encoded, list[int]] = {}
        for i, (context, ids) in enumerate(pairs):
            if ids:
                after.setdefault(context, []).append(i)
        contexts = sorted(after, key=lambda context: len(context.tokens))
        with tqdm(total=len(pairs) - len(found), disable=quiet, desc="reread: loglikelihood") as bar:
            for some in batches(contexts, self.batch_size):
                logits, state = self._after(some)
                asked = [(row, i) for row, context in enumerate(some) for i in after[context]]
                asked.sort(key=lambda each: len(pairs[each[1]][1]))
                for part in batches(asked, self.batch_size):
                    rows = [row for row, _ in part]
                    continuations = [pairs[i][1] for _, i in part]
                    scores = continuation_scores(self.lm.model, logits[rows], state.rows(rows), continuations)
                    found |= {i: score for (_, i), score in zip(part, scores, strict=True)}
                    bar.update(len(part))
        return [found[i] for i in range(len(pairs))]


def evaluate(
    model: str | models.LM | None = None,
    tasks: Sequence[str] = (ALL_TASKS,),
    *,
    data: Path | str | None = None,
    limit: int = 0,
    batch: int = 8,
    policy: str = "prompt",
    prefill: str = "no_pad",
    max_length: int = 0,
    tokens: int = 0,
    add_bos_token: bool | None = None,
    select: str = FULL,
) -> dict[str, Any]:
    """lm-eval's results of one model on packaged tasks (reread_TASK_once, reread_TASK_twice), with its samples.

    data: a folder with one TASK.jsonl per task, in the hub's format; None: the hub sets.  limit: the first
    rows of each task, 0 for all; tokens: what is shown of a document at most, cut as published (950
    there; 0: all of it); the rest as RereadLM.  Raises UnknownName, MissingData, BadInput, BadCheckpoint.
    """
    if data and not Path(data).is_dir():
        raise MissingData("the data folder is missing", got=str(data), todo="give a folder with one TASK.jsonl each")
    if tokens < 0:
        raise BadInput("tokens of a document must be 0 (all) or more", got=tokens)
    lm = RereadLM(model, batch, policy, prefill, max_length, add_bos_token=add_bos_token, select=select)
    with tempfile.TemporaryDirectory() as folder:
        told: dict[str, Any] = {"data": str(data)} if data else {}
        if tokens:
            told |= {"tokens": tokens, "tokenizer": f"{folder}/tokenizer.json"}
            lm.lm.tokenizer.save(told["tokenizer"])
        manager = TaskManager(include_path=str(TASKS_FOLDER), include_defaults=False, metadata=told or None)
        for name in tasks:
            if name not in manager.all_tasks:
                raise UnknownName("packaged lm-eval task", name, manager.all_tasks)
        return simple_evaluate(lm, tasks=list(tasks), limit=limit or None, batch_size=batch, task_manager=manager)


def example_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per example of `evaluate`'s results: task, id, question, prompt, answers, prediction, contains."""
    return [
        {
            "task": name,
            **{key: sample["doc"][key] for key in ("id", "question", "prompt", "answers")},
            "prediction": sample["filtered_resps"][0],
            "contains": sample["contains"],
        }
        for name, samples in sorted(results["samples"].items())
        for sample in sorted(samples, key=lambda sample: sample["doc_id"])
    ]


def main() -> None:
    """lm-eval's own command, with our model registered and our tasks on its path."""
    from lm_eval.__main__ import cli_evaluate

    if sys.argv[1:] and "--include_path" not in sys.argv:
        sys.argv += ["--include_path", str(TASKS_FOLDER)]
    try:
        cli_evaluate()
    except RereadError as error:
        print(f"reread: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

"""What one more question costs: a document read again, against its state held in memory or taken from its file.

Then questions together against one by one: several over one state, and one each of many documents.
Contenders take turns (bench.py); a row per contender and round, in a run folder.  Nothing is timed
whose logits after the question, or whose answer, is not that of a fresh reading of document and
question.  Knows no benchmark and no right answer.

Shapes: n questions, V vocabulary.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from reread.answer import Answer
from reread.bench import Contender, WrongAnswer, rounds
from reread.config import at_least, each_once, to_dict
from reread.documents.loaders import Source, read_source
from reread.engine import Reader
from reread.errors import BadInput
from reread.models import LM, load, load_tokenizer, locate, on_device
from reread.prompting import Encoded, build, encoding, template_for
from reread.runlog import Run
from reread.scoring import pad
from reread.sessions import DocumentReader, Session, ask_each, relative
from reread.store import Store, open_file
from reread.tasks.files import json_lines

TEXT = "wiki"  # of DATA/text_valid, where no document is named
SPARE = 64  # tokens more than are shown, so that the last one shown is whole
QUESTIONS = (
    "Name", "Date of birth", "Place", "Country", "Author", "Title", "Year", "Number", "Company", "Product code",
    "Governing law", "First record", "Length", "Population", "Language", "Known for",
)  # fmt: skip


@dataclass(frozen=True)
class AskBench:
    """model: a name or folder, or one of RANDOM; document: a file ("": wiki text of DATA/text_valid); tokens: of the
    document that one more question is asked of; together: how many questions go together over one state;
    documents: how many are asked together, one question each; batched: document tokens for both of these;
    new: tokens of an answer at most."""

    model: str = "embedded"
    document: str = ""
    tokens: tuple[int, ...] = (1024, 8192, 32768)
    together: tuple[int, ...] = (1, 4, 16)
    documents: int = 16
    batched: tuple[int, ...] = (1024,)
    new: int = 16
    rounds: int = 9
    threads: int = 0

    def check(self) -> None:
        each_once(self, "tokens")
        at_least(self, 1, "documents", "new", "rounds", "tokens", "together", "batched")
        at_least(self, 0, "threads")
        if self.together and (max(self.together) > len(QUESTIONS) or self.together[0] != 1):
            allowed = f"1, then numbers up to {len(QUESTIONS)}"
            raise BadInput("questions are first asked one by one", got=self.together, allowed=allowed)


def llama() -> LM:
    """A Transformer of the layers and width of the embedded model, random weights, full attention: its state is a
    cache of keys and values in float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from reread.models.pretrained import Pretrained

    tokenizer = load_tokenizer()
    config = AutoConfig.for_model(
        "llama", vocab_size=tokenizer.get_vocab_size(), hidden_size=192, num_hidden_layers=7, num_attention_heads=12,
        num_key_value_heads=12, intermediate_size=512, tie_word_embeddings=True, max_position_embeddings=2**20,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Pretrained(AutoModelForCausalLM.from_config(config))
    return LM("llama", on_device(model), tokenizer)


RANDOM: dict[str, Callable[[], LM]] = {"llama": llama}


def pieces(lm: LM, text: str, tokens: int, count: int) -> list[Source]:
    """`count` documents that follow each other in a text, each of `tokens` tokens and SPARE more.  Raises BadInput."""
    need = (tokens + SPARE) * count
    offsets = encoding(text[: 16 * need], lm.tokenizer).offsets
    if len(offsets) < need:
        todo = "name a longer text, or fewer tokens or documents"
        raise BadInput("the text is too short", got=f"{len(offsets):,} tokens", allowed=f"{need:,} or more", todo=todo)
    found = []
    for number in range(count):
        first, last = number * (tokens + SPARE), (number + 1) * (tokens + SPARE) - 1
        found.append(Source(f"{number}.txt", text[offsets[first][0] : offsets[last][1]], f"{number:064x}"))
    return found


@dataclass(frozen=True)
class Asked:
    """A question of a document that was read: the session, and document and question as one fresh prompt."""

    session: Session
    question: str
    prompt: Encoded

    @property
    def tail(self) -> tuple[int, ...]:
        return self.prompt.tokens[self.prompt.spans[-1][1] :]


class Timed:
    """Documents of one length, read into a store, and what is asked of them."""

    def __init__(self, reader: DocumentReader, store: Store, tokens: int, new: int):
        self.reader, self.store, self.tokens, self.new = reader, store, tokens, new

    def read(self, source: Source, questions: Sequence[str]) -> tuple[Path, list[Asked]]:
        """A document's state file, and its questions."""
        kept = self.reader.keep(self.store, source, budget=self.tokens, state_dtype="fp32")
        session = self.reader.open(open_file(kept.path))
        shown = self.reader.show(source, budget=self.tokens)[0].cut
        assert shown is not None
        asked = []
        for question in questions:
            form = self.reader.lm.template(template_for(question))
            encoded = build("once", shown.text, question, form, cut=shown).encode(self.reader.lm.tokenizer)
            prompt = replace(encoded, prefix_len=kept.header.prefix_len)
            if prompt.spans[-1][1] != kept.header.read:
                raise WrongAnswer("the prompt does not begin with the tokens that were read", got=source.name)
            asked.append(Asked(session, question, prompt))
        return kept.path, asked

    def again(self, asked: Asked) -> list[Answer]:
        """The answer of a fresh reading of document and question; their tokens are at hand."""
        stop = self.reader.lm.template(template_for(asked.question)).stop
        return self.reader.reader.answer([asked.prompt], stop=stop, max_new_tokens=self.new)

    def together(self, asked: Sequence[Asked], size: int) -> list[Answer]:
        """Answers from states, `size` questions at a time."""
        sessions, questions = [one.session for one in asked], [one.question for one in asked]
        return ask_each(sessions, questions, max_new_tokens=self.new, batch=size)

    def from_file(self, path: Path, question: str) -> list[Answer]:
        """As `reread ask --state`: the file read, checked, confirmed by the model, asked."""
        return self.reader.open(open_file(path)).ask([question], max_new_tokens=self.new)

    @torch.inference_mode()
    def check(self, asked: Sequence[Asked], path: Path | None = None) -> tuple[float, list[str]]:
        """The largest error of the logits after the questions against fresh readings, over the largest logit: from
        states alone and together, and from a file.  And the fresh answers.  Raises WrongAnswer beyond the tolerance."""
        model, worst = self.reader.lm.model, 0.0

        def after(some: Sequence[Asked]) -> Tensor:  # (n, V)
            tokens, mask = pad([one.tail for one in some])
            state = type(some[0].session.state).cat([one.session.state for one in some])
            return model.extend(tokens, state, mask, last_only=True)[0]

        batch = after(asked)
        for row, one in enumerate(asked):
            ids = torch.tensor([one.prompt.tokens])
            want = model.read(ids, one.prompt.prefix_len, last_only=True)[0][0]
            got = {"a held state": after([one])[0], "states together": batch[row]}
            if path is not None:
                opened = replace(one, session=self.reader.open(open_file(path)))
                got["a state file"] = after([opened])[0]
            for what, logits in got.items():
                off = relative(logits, want)
                if not off <= self.reader.tolerance:
                    says = f"{what} is not timed: its logits differ from a fresh reading's by {off:.1e}"
                    raise WrongAnswer(says, got=one.question, allowed=f"{self.reader.tolerance:.0e}")
                worst = max(worst, off)
        return worst, [self.again(one)[0].text for one in asked]


def timed_rows(
    contenders: dict[str, Callable[[], list[Answer]]], wanted: Sequence[str], count: int
) -> Iterator[dict[str, object]]:
    """Rows of contenders in turns, the baseline first.  Raises WrongAnswer where one of them ever answers otherwise."""
    last: dict[str, list[Answer]] = {}

    def keeping(name: str) -> Contender:
        return lambda: last.__setitem__(name, contenders[name]())

    for number, name, seconds in rounds({name: keeping(name) for name in contenders}, count):
        said = [answer.text for answer in last[name]]
        if said != list(wanted):
            got, allowed = next((a, b) for a, b in zip(said, wanted, strict=True) if a != b)
            raise WrongAnswer(
                f"{name} is not timed: it answers otherwise than a fresh reading", got=got, allowed=allowed
            )
        decode = sum(answer.decode_seconds for answer in last[name])
        told = {"new_tokens": sum(answer.new_tokens for answer in last[name]), "decode_seconds": decode}
        yield {"name": name, "round": number, "questions": len(said), "seconds": seconds, **told}


def lengths_rows(spec: AskBench, reader: DocumentReader, store: Store, text: str, tokens: int) -> Iterator[dict]:
    """One more question of one document: again, from the held state, from the file."""
    timed = Timed(reader, store, tokens, spec.new)
    path, (asked,) = timed.read(pieces(reader.lm, text, tokens, 1)[0], QUESTIONS[:1])
    off, wanted = timed.check([asked], path)
    contenders: dict[str, Callable[[], list[Answer]]] = {
        "read again": lambda: timed.again(asked),
        "state in memory": lambda: timed.together([asked], 1),
        "state file": lambda: timed.from_file(path, asked.question),
    }
    size = {"state_bytes": asked.session.state.nbytes, "file_bytes": path.stat().st_size}
    for row in timed_rows(contenders, wanted, spec.rounds):
        yield {"what": "one more", "N": asked.session.document.header.read, **row, **size, "error": off}


def together_rows(spec: AskBench, reader: DocumentReader, store: Store, text: str, tokens: int) -> Iterator[dict]:
    """Questions together over one state; then over many documents' states, one question each."""
    timed = Timed(reader, store, tokens, spec.new)
    sources = pieces(reader.lm, text, tokens, spec.documents)
    over_one = timed.read(sources[0], QUESTIONS[: max(spec.together, default=1)])[1]
    over_many = [timed.read(one, [QUESTIONS[i % len(QUESTIONS)]])[1][0] for i, one in enumerate(sources)]
    plans = {
        "questions of one document": (over_one, spec.together),
        "a question of each document": (over_many, (1, spec.documents)),
    }
    for what, (asked, sizes) in plans.items():
        off, wanted = timed.check(asked)
        contenders: dict[str, Callable[[], list[Answer]]] = {
            f"{size} together" if size > 1 else "one by one": partial(timed.together, asked, size)
            for size in dict.fromkeys(sizes)
        }
        for row in timed_rows(contenders, wanted, spec.rounds) if len(contenders) > 1 else ():
            yield {"what": what, "N": asked[0].session.document.header.read, **row, "error": off}


def bench_ask(spec: AskBench, data: Path, out: Path, progress: Callable[[str], None] = lambda _: None) -> Run:
    """Time it all into a run folder.  Raises WrongAnswer for what does not answer as a fresh reading, MissingData."""
    spec.check()
    if spec.model not in RANDOM:
        locate(spec.model)
    Run.check(out, "bench_ask", {}, resume=False)
    source = read_source(spec.document).text if spec.document else ""
    found = json_lines(data / "text_valid" / f"{TEXT}.jsonl.xz", {"text": "text"})
    text = source or "\n\n".join(row["text"] for row in found)
    reader = DocumentReader(Reader(RANDOM[spec.model]() if spec.model in RANDOM else load(spec.model)))
    wanted = [(n, 1) for n in spec.tokens] + [(n, spec.documents) for n in spec.batched]
    pieces(reader.lm, text, *max(wanted, key=lambda one: (one[0] + SPARE) * one[1]))  # there before anything is timed
    if spec.threads:
        torch.set_num_threads(spec.threads)
    described = {
        **to_dict(spec),
        "text": Path(spec.document).name if spec.document else f"text_valid/{TEXT}",
        "threads": torch.get_num_threads(),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "default"),
        "fingerprint": reader.lm.model.fingerprint,
        "tolerance": reader.tolerance,
    }
    with Run.start(out, "bench_ask", described) as run:
        plan = [(lengths_rows, n, "one more question") for n in spec.tokens]
        plan += [(together_rows, n, "questions together") for n in spec.batched]
        written = 0
        for rows, tokens, says in plan:
            progress(f"{says}, {tokens:,} tokens")
            with tempfile.TemporaryDirectory() as folder:
                for row in rows(spec, reader, Store(folder), text, tokens):
                    run.append(row)
                    written += 1
        run.finish({"rows": written})
        return run

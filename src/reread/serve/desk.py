"""What is asked for, without HTTP: documents are read and kept, opened and asked; prompts are laid out.

Every method that needs the model is called on the worker's thread; what only splits text into tokens may be called
anywhere.  A document's id has the form of the store's own names or is no id: no other text of a client becomes a path.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reread.answer import in_original
from reread.documents.loaders import Source
from reread.documents.text import Cleaned, cleaned
from reread.engine import Reader
from reread.errors import BadInput, BadState
from reread.forgotten import FORGOTTEN, Lost
from reread.models.kv_selection import FULL, without_fit
from reread.options import POLICY, check_question, check_read_options, checked_select, checked_unit
from reread.policies import policy as known_policy
from reread.prompting import BOS, Cut, Encoded, Part, Prompt, cut, decode, encode_parts, token_ids
from reread.prompting import strategy as known_strategy
from reread.selecting import checked_selection
from reread.serve.problems import Refused
from reread.serve.ways import Ways
from reread.serve.worker import Start
from reread.sessions import DocumentReader, KeptFile, Session
from reread.statefile import Header
from reread.store import Store

OPEN_BYTES = 2**28  # of the states that are kept open beside the last one
LOOKED_AT_AGAIN = 2000  # characters of a second look that are told


def parts_of(prompt: Prompt, encoded: Encoded) -> list[dict[str, Any]]:
    """What was read, part by part; of a second look also its text, LOOKED_AT_AGAIN characters at most."""
    found: list[dict[str, Any]] = [{"role": BOS, "tokens": encoded.text_start}] if encoded.text_start else []
    for part, (role, start, end) in zip(prompt.parts, encoded.part_spans, strict=True):
        if end > start:
            text = {"text": part.text.strip()[:LOOKED_AT_AGAIN]} if role == "repeat" else {}
            found.append({"role": role, "tokens": end - start, **text})
    return found


class Desk:
    """One reader, one store, the sessions that are open; most: tokens of one prompt; select: which keys of a document
    are kept where a request names no selection."""

    def __init__(self, reader: Reader, store: Store, most: int, select: str = FULL):
        self.reader, self.store, self.most, self.select = reader, store, most, checked_select(select)
        self.documents = DocumentReader(reader)
        self.fingerprint = reader.lm.model.fingerprint
        self._open: OrderedDict[str, Session] = OrderedDict()

    @property
    def name(self) -> str:
        return self.reader.lm.short_name

    def tokens(self, text: str) -> list[int]:
        return token_ids(text, self.reader.lm.tokenizer)

    def check_length(self, tokens: int, what: str, param: str) -> None:
        """Raise Refused for more tokens than one prompt may have here, and than the model has positions for."""
        allowed, why = self.most, "--max-prompt-tokens"
        positions = self.reader.lm.positions
        if positions is not None and positions <= allowed:
            allowed, why = positions - 1, "the model's positions, one of them for the answer"
        if tokens > allowed:
            raise Refused(
                400, f"{what} is too long", got=f"{tokens:,} tokens", allowed=f"{allowed:,} ({why})",
                param=param, code="context_length_exceeded",
            )  # fmt: skip

    def select_of(self, ways: Ways, strategy: str) -> str:
        """The selection with which a document is read.  Raises UnknownName, BadInput, as `checked_select`."""
        return checked_select(self.select if ways.select is None else ways.select, strategies=[strategy])

    # documents ------------------------------------------------------------------------------------------------------

    def show(self, source: Source, ways: Ways) -> tuple[Prompt, Encoded]:
        """What would be read of a document that is to be kept.  Raises BadInput, UnknownName."""
        ways.check()
        strategy = ways.strategy or "once"
        budget = min(self.documents.budget(strategy), self.most) if ways.budget is None else ways.budget
        check_read_options(strategy=strategy, budget=budget, policy=ways.policy or POLICY, state_dtype=ways.state_dtype)
        self.check_length(budget, "the budget of the document", "budget")
        shown = self.documents.show(source, strategy=strategy, budget=budget)
        self.check_length(len(shown[1].tokens), "what is read of the document", "budget")
        return shown

    def keep(self, source: Source, shown: tuple[Prompt, Encoded], ways: Ways) -> dict[str, Any]:
        """Read a document into the store, unless it lies there; the model's thread."""
        began = time.perf_counter()
        select = self.select_of(ways, shown[0].strategy)
        kept: KeptFile = self.documents.keep_shown(
            self.store,
            source,
            shown,
            policy=ways.policy or POLICY,
            state_dtype=ways.state_dtype,
            keep_tokens=ways.keep_tokens,
            select=select,
            forgotten=checked_unit(ways.forgotten, select),
        )
        seconds = round(time.perf_counter() - began, 4)
        more: dict[str, Any] = {
            "state_bytes": kept.state_bytes,
            "seconds": seconds,
            "already_there": kept.already_there,
        }
        told = self.facts(kept.path.stem, kept.header, kept.path.stat().st_size)
        lost = {"lost": spans_of(kept.lost)} if kept.forgotten else {}
        more |= {"warnings": list(source.warnings)} if source.warnings else {}
        return {**told, **more, **lost, "parts": parts_of(*shown)}

    def facts(self, id: str, header: Header, bytes_: int) -> dict[str, Any]:
        same = header.model == self.fingerprint
        return {
            "id": id,
            "object": "document",
            "name": header.name,
            "tokens": header.read,
            "prefix_len": header.prefix_len,
            "strategy": header.strategy,
            "policy": header.policy,
            "state_dtype": header.state_dtype,
            **selected(header.selection),
            **({"forgotten": header.forgotten} if header.forgotten else {}),
            "cut": header.cut,
            "sha256": header.document,
            "model": header.model_name,
            "fingerprint": header.model,
            "answerable": same,
            "file_bytes": bytes_,
        }

    def listed(self) -> list[dict[str, Any]]:
        """Every document of the store that can be read, the latest used first."""
        entries = [(entry, entry.header) for entry in reversed(self.store.ls())]
        return [
            {**self.facts(entry.id, header, entry.bytes), "last_used": int(entry.used)}
            for entry, header in entries
            if header is not None
        ]

    def known(self, id: str) -> Path:
        """The file of a document.  Raises Refused where there is none."""
        path = self.store.file_of(id)
        if path is None:
            todo = "POST /v1/documents reads one"
            raise Refused(404, "no such document", got=id[:80], todo=todo, param="document", code="document_not_found")
        return path

    def describe(self, id: str) -> dict[str, Any]:
        """One document by its id; its file is checked, the model is not asked."""
        path = self.known(id)
        try:
            bytes_, document = path.stat().st_size, self.store.get(id)
        except (OSError, BadInput):
            self.known(id)  # removed meanwhile: no such document
            raise
        return {**self.facts(id, document.header, bytes_), "state_bytes": document.nbytes}

    def text(self, id: str) -> dict[str, Any]:
        """The text of a document as it was read, and what its state lost of each unit; the model is not asked.  Raises
        Refused where the state holds no tokens, and for a document of another model."""
        self.known(id)
        document = self.store.get(id)
        header, ids = document.header, document.tokens
        if ids is None:
            what = "this document was kept without its tokens, so its text is not known"
            raise Refused(409, what, got=header.name, todo="read it again with keep_tokens=true")
        if header.model != self.fingerprint:
            raise Refused(409, "this document was read by another model", got=header.model_name, allowed=self.name)
        text = decode(ids.tolist(), self.reader.lm.tokenizer, first=True)
        told = {"id": id, "object": "document.text", "name": header.name, "text": text}
        _, lost = self.documents.lost_in(document, ids.tolist())
        if document.lost is None:
            return told
        return {**told, "forgotten": header.forgotten, "limit": FORGOTTEN, "lost": spans_of(lost)}

    def remove(self, id: str) -> None:
        """The model's thread."""
        self.known(id)
        self._open.pop(id, None)
        self.store.rm([id])

    def session(self, id: str) -> Session:
        """A document's session, confirmed when it is opened; the model's thread.  Raises Refused, BadState."""
        path = self.known(id)
        if id in self._open:
            self._open.move_to_end(id)
            self.store.use(path)
            return self._open[id]
        self._open[id] = session = self.documents.open(self.store.get(id))
        while len(self._open) > 1 and self._held() > OPEN_BYTES:
            self._open.popitem(last=False)
        return session

    def _held(self) -> int:
        """Bytes of the open sessions: states, and the documents that they came from."""
        return sum(one.state.nbytes + one.document.nbytes for one in self._open.values())

    # what answers go on from ----------------------------------------------------------------------------------------

    def from_text(self, document: str, question: str, ways: Ways) -> Callable[[], Start]:
        """A document and a question as one prompt, as `reread ask` shows them.  Raises BadInput, UnknownName."""
        ways.check()
        strategy = ways.strategy or "once"
        check_question(question)
        self.check_length(len(self.tokens(question)), "the question", "messages")
        budget = min(self.reader.budget(strategy, question), self.most) if ways.budget is None else ways.budget
        self.check_length(budget, "the budget of the document", "reread")
        origin = cleaned(document)
        shown = cut(origin.text, self.reader.lm.tokenizer, budget, ways.window or "head")
        select = self.select_of(ways, strategy)
        if select != FULL:
            policy = str(known_policy(ways.policy or "prompt"))
            return self._from_selected(origin, shown, question, strategy, select, policy)

        def start() -> Start:
            asked = self.reader.show(shown, question, strategy=strategy, most_scored=2 * self.most)
            self.check_length(len(asked.encoded.tokens), "the prompt", "messages")
            policy = known_policy(ways.policy or "prompt")
            prompt, chosen = self.reader.choose(asked.encoded, policy)
            return Start(
                prompt,
                asked.stop,
                prefix_len=self.reader.prefix_read(prompt),
                read_tokens=float(asked.scored_tokens + chosen),
                judge=lambda answer: in_original(
                    self.reader.judge(answer, question, shown.text, start=shown.start), origin
                ),
                facts={
                    "strategy": asked.prompt.strategy,
                    "policy": str(policy),
                    "cut": shown.says(),
                    "parts": parts_of(asked.prompt, prompt),
                },
            )

        return start

    def _from_selected(
        self, origin: Cleaned, shown: Cut, question: str, strategy: str, select: str, policy: str
    ) -> Callable[[], Start]:
        """As `from_text`, where keys of the document are selected before the question is read."""

        def start() -> Start:
            checked_selection(self.reader.lm, select)
            asked = self.reader.show(shown, question, strategy=strategy)
            self.check_length(len(asked.encoded.tokens), "the prompt", "messages")
            read = self.reader.read_shown(shown, select, strategy)
            tail, stop = self.reader.tail(question, read.selected.end, shown.text)
            return Start(
                Encoded(tuple(tail), (("question", 0, len(tail)),), 0),
                stop,
                state=read.state,
                read_tokens=float(read.selected.read_tokens),
                read_seconds=read.seconds,
                cached=False,
                judge=lambda answer: in_original(self.reader.judge_read(read, answer, question), origin),
                facts={
                    "strategy": asked.prompt.strategy,
                    "policy": policy,
                    **selected(select),
                    "cut": shown.says(),
                    "parts": parts_of(asked.prompt, asked.encoded),
                },
            )

        return start

    def from_document(self, id: str, question: str, ways: Ways, *, raw: bool = False) -> Callable[[], Start]:
        """A question of a document that was read; raw: the tokens as they stand, in no template."""
        ways.check()
        self.known(id)
        ids = self.tokens(question)
        self.check_length(len(ids), "the question", "messages")
        if raw and not ids:
            raise Refused(400, "the prompt is empty", param="prompt")

        def start() -> Start:
            session = self.session(id)
            header = session.document.header
            check_same(header, ways)
            tail, stop = (ids, "") if raw else session.tail(question)
            self.check_length(header.end + len(tail), "document and question", "messages")
            facts = {"strategy": header.strategy, "policy": header.policy, "cut": header.cut, "document": id}
            facts |= selected(header.selection)
            return Start(
                Encoded(tuple(tail), (("question", 0, len(tail)),), 0),
                stop,
                state=session.state,
                prefix_len=header.prefix_len,
                judge=None if raw else lambda answer: session.judge(answer, question),
                facts={**facts, "parts": [{"role": "question", "tokens": len(tail)}]},
            )

        return start

    def from_prompt(self, text: str, ways: Ways) -> Callable[[], Start]:
        """A prompt as it stands.  Raises Refused."""
        ways.check()
        encoded = encode_parts([Part("question", text)], self.reader.lm.tokenizer)
        self.check_length(len(encoded.tokens), "the prompt", "prompt")
        if len(encoded.tokens) == encoded.text_start:
            raise Refused(400, "the prompt is empty", param="prompt")

        def start() -> Start:
            policy = known_policy(ways.policy or "prompt")
            prompt, chosen = self.reader.choose(encoded, policy)
            prefix = self.reader.prefix_read(prompt)
            facts = {
                "strategy": None,
                "policy": str(policy),
                "cut": "",
                "parts": [{"role": "prompt", "tokens": len(encoded.tokens)}],
            }
            return Start(prompt, "", prefix_len=prefix, read_tokens=float(chosen), facts=facts)

        return start


def spans_of(lost: Sequence[Lost]) -> list[dict[str, Any]]:
    """Units of a text, by characters, and the nats per token that the state lost of each."""
    return [{"start": one.start, "end": one.end, "nats": round(one.nats, 4)} for one in lost]


def selected(select: str) -> dict[str, str]:
    """What replies say of a selection: nothing of `full`."""
    return {} if select == FULL else {"selection": select}


def check_same(header: Header, ways: Ways) -> None:
    """Raise where a request asks for another reading than the document's.  BadState, Refused, UnknownName."""
    todo = "leave it out, or read the document again with it"
    given = {"strategy": ways.strategy and str(known_strategy(ways.strategy)[0])}
    given["policy"] = ways.policy and str(known_policy(ways.policy))
    given["selection"] = ways.select and checked_select(ways.select)
    for name, value in given.items():
        own = getattr(header, name)
        if value and value not in (own, without_fit(own) if name == "selection" else own):
            what = f"this document was read with another {name}"
            raise BadState(what, got=value, allowed=own, todo=todo)
    for name in ("budget", "window"):
        if getattr(ways, name) is not None:
            what = f"a named document was read before, and {name} is about reading"
            raise Refused(400, what, got=getattr(ways, name), todo=todo, param="reread")

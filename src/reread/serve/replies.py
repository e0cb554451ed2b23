"""What comes back: chat completions and completions, whole or in chunks, with what reading them cost.

Knows no HTTP; every reply is a dict for JSON.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from reread.serve.worker import Done


def usage_of(dones: list[Done]) -> dict[str, Any]:
    """Tokens of the prompts (those among them that a state held are "cached") and of the answers."""
    prompt, new = (sum(getattr(done.answer, name) for done in dones) for name in ("prompt_tokens", "new_tokens"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": new,
        "total_tokens": prompt + new,
        "prompt_tokens_details": {"cached_tokens": sum(done.cached_tokens for done in dones)},
    }


def cost_of(done: Done) -> dict[str, Any]:
    """`reread` of a reply: how it was read, and what that took."""
    answer = done.answer
    judged = {"found": answer.found, "verbatim": answer.verbatim, "span": answer.span, "doubts": answer.doubts}
    return {
        **done.facts,
        "prefix_len": answer.prefix_len,
        "read_tokens": round(answer.read_tokens, 2),
        "read_seconds": round(answer.read_seconds, 4),
        "decode_seconds": round(answer.decode_seconds, 4),
        "waited_seconds": round(done.waited_seconds, 4),
        "state_bytes": answer.state_bytes,
        "confidence": round(answer.confidence, 4),
        **({} if answer.kept_positions is None else {"kept_positions": round(answer.kept_positions, 2)}),
        **({} if answer.forgotten is None else {"forgotten": round(answer.forgotten, 4)}),
        **({} if answer.found is None else judged),
    }


@dataclass(frozen=True)
class Reply:
    """One reply to one request.  chat: of a chat, else of a completion; more: what each `reread` also says."""

    chat: bool
    model: str
    fingerprint: str
    more: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"{'chatcmpl' if self.chat else 'cmpl'}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def whole(self, dones: list[Done]) -> dict[str, Any]:
        choices = []
        for index, done in enumerate(dones):
            text = done.answer.text
            said = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
            choices.append({"index": index, **said, "logprobs": None, "finish_reason": done.finish})
        kind = "chat.completion" if self.chat else "text_completion"
        costs = [{**cost_of(done), **self.more} for done in dones]
        cost = costs[0] if len(costs) == 1 else costs
        return {**self._head(kind), "choices": choices, "usage": usage_of(dones), "reread": cost}

    def _chunk(self, index: int, text: str, *, first: bool = False, finish: str | None = None) -> dict[str, Any]:
        role = {"role": "assistant"} if first else {}
        said: dict[str, Any] = {"text": text}
        if self.chat:
            said = {"delta": {**role, **({"content": text} if text or first else {})}}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": finish}
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._head(kind), "choices": [choice]}

    def first(self, index: int) -> dict[str, Any]:
        return self._chunk(index, "", first=True)

    def piece(self, index: int, text: str) -> dict[str, Any]:
        return self._chunk(index, text)

    def last(self, index: int, done: Done) -> dict[str, Any]:
        return {**self._chunk(index, "", finish=done.finish), "reread": {**cost_of(done), **self.more}}

    def usage(self, dones: list[Done]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._head(kind), "choices": [], "usage": usage_of(dones)}

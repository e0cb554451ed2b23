"""What clients send: the fields of OpenAI's requests that are answered, those that change nothing, and ours.

A field that would change the answer and is not supported is refused, as is a name that nobody knows: no wish is
passed over in silence.  A chat becomes a document and a question here (`document_and_question`).  Words only.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from reread.decoding import Sampling
from reread.options import MAX_NEW_TOKENS
from reread.serve.problems import Refused
from reread.serve.ways import Ways

COMPLETION_TOKENS = 16  # of /v1/completions, where none are named
STOPS = 4
LONGEST_STOP = 256  # characters
LONGEST_QUESTION = 400  # characters; a longer message of the user, longer than the system message, is a document
NEUTRAL: dict[str, tuple[Any, ...]] = {  # fields that are not supported, at the values that ask for nothing
    "n": (None, 1),
    "best_of": (None, 1),
    "presence_penalty": (None, 0, 0.0),
    "frequency_penalty": (None, 0, 0.0),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "echo": (None, False),
    "suffix": (None, ""),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "parallel_tool_calls": (None, True, False),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "reasoning_effort": (None, "none"),
    "verbosity": (None,),
}
UNUSED = (  # fields that change no answer
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
)  # fmt: skip


def encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("holds half a character (a lone surrogate)") from error
    return text


Words = Annotated[str, AfterValidator(encodable)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ReadOptions(Strict):
    """`reread` of a question: a document that was read, or how the one that is sent is read."""

    document: Words | None = None
    strategy: Words | None = None
    policy: Words | None = None
    budget: Annotated[int, Field(ge=1)] | None = None
    window: Literal["head"] | None = None
    select: Words | None = None

    @property
    def ways(self) -> Ways:
        return Ways(self.strategy, self.policy, self.budget, self.window, select=self.select)


class DocumentRequest(Strict):
    """A document as JSON: its text, and how it is read."""

    text: Words
    name: Words = "document.txt"
    strategy: Words | None = None
    policy: Words | None = None
    budget: Annotated[int, Field(ge=1)] | None = None
    state_dtype: Words | None = None
    keep_tokens: bool = True
    select: Words | None = None
    forgotten: Words | None = None

    @property
    def ways(self) -> Ways:
        how = (self.strategy, self.policy, self.budget, None, self.state_dtype, self.keep_tokens)
        return Ways(*how, self.select, self.forgotten)


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Asking(BaseModel):
    """What both kinds of completions share."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    model: Words
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: Words | list[Words] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    reread: Annotated[ReadOptions, BeforeValidator(lambda told: {} if told is None else told)] = Field(
        default_factory=ReadOptions
    )

    def check_rest(self) -> None:
        """Raise Refused for fields that would change the answer, and for names that nobody knows."""
        for name, value in (self.model_extra or {}).items():
            if name in UNUSED:
                continue
            if name not in NEUTRAL:
                known = [*type(self).model_fields, *NEUTRAL, *UNUSED]
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                todo = f"did you mean {near[0]!r}?" if near else "docs/serve.md lists the fields"
                raise Refused(400, "unknown field", got=name[:80], todo=todo, param=name[:80], code="unknown_parameter")
            if not any(type(value) is type(one) and value == one for one in NEUTRAL[name]):
                allowed = " or ".join(repr(one) for one in NEUTRAL[name][1:]) or "nothing"
                what = f"{name} is not supported here"
                raise Refused(400, what, allowed=allowed, param=name, code="unsupported_parameter")
        if len(self.stops) > STOPS or not all(0 < len(stop) <= LONGEST_STOP for stop in self.stops):
            allowed = f"at most {STOPS}, each of 1 to {LONGEST_STOP} characters"
            raise Refused(400, "stop is one text or several", allowed=allowed, param="stop")

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature or 0.0, 1.0 if self.top_p is None else self.top_p, self.seed)

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Asking):
    messages: list[dict[str, Any]]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def named(self) -> int | None:
        """New tokens at most, where the request names a number."""
        return self.max_completion_tokens or self.max_tokens

    def most(self, allowed: int) -> int:
        """New tokens at most: those that are named, else as `reread ask`, within what is allowed here."""
        return self.named or min(MAX_NEW_TOKENS, allowed)


class CompletionRequest(Asking):
    prompt: Words | list[Words]

    @property
    def named(self) -> int | None:
        return self.max_tokens

    def most(self, allowed: int) -> int:
        return self.named or min(COMPLETION_TOKENS, allowed)

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


@dataclass(frozen=True)
class Chat:
    """What a chat asks: a document (None where one is named), a question, and how many turns between are not shown."""

    document: str | None
    question: str
    not_shown: int


def content_of(message: Mapping[str, Any], place: int) -> str:
    """The text of a message, its parts joined by line breaks.  Raises Refused for what is no text."""
    content, where = message.get("content"), f"messages[{place}].content"
    if isinstance(content, str):
        parts = [content]
    elif isinstance(content, list) and all(isinstance(part, dict) for part in content):
        for part in content:
            if part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise Refused(400, "only text can be read", got=str(part.get("type"))[:40], allowed="text", param=where)
        parts = [part["text"] for part in content]
    elif content is None and message.get("role") == "assistant":
        parts = []
    else:
        raise Refused(400, "the content of a message is a text or a list of texts", param=where)
    try:
        return encodable("\n".join(parts))
    except ValueError as error:
        raise Refused(400, f"the message {error}", param=where) from error


def instruction(why: str) -> Refused:
    """A system message that can only be an instruction."""
    what = f"the system message is an instruction, which this model does not follow: {why}"
    todo = "leave the system message out, or send the document as the system message and the question after it"
    return Refused(400, what, todo=todo, param="messages")


def document_and_question(messages: Sequence[Mapping[str, Any]], named: str | None) -> Chat:
    """The question is the last message, of the user.  The document is the one that is named; or the system message; or,
    with neither, the first of two user messages in a row.

    A system message beside a document (a named one, or one in the user's messages) is an instruction: it is refused,
    since answers are made from document and question alone.  So is a chat in which it cannot be told which is which.
    Turns between document and question were questions and answers of the same document: each question is answered
    from the document alone, so they are left out and counted.  Raises Refused.
    """
    roles = [message.get("role") for message in messages]
    texts = [content_of(message, place) for place, message in enumerate(messages)]
    for place, role in enumerate(roles):
        if role not in ("system", "developer", "user", "assistant"):
            allowed = "system, developer, user, assistant"
            raise Refused(400, "no such role", got=str(role)[:40], allowed=allowed, param=f"messages[{place}].role")
    if not roles or roles[-1] != "user":
        raise Refused(400, "the last message must be the user's: it is the question", param="messages")
    systems = [place for place, role in enumerate(roles) if role in ("system", "developer")]
    if named is not None:
        if systems:
            raise instruction("reread.document names the document")
        return Chat(None, texts[-1], len(texts) - 1)
    if len(systems) > 1:
        raise Refused(400, "several system messages: which one is the document?", todo="send one", param="messages")
    if systems:
        document = texts[systems[0]]
        others = [
            (role, text) for place, (role, text) in enumerate(zip(roles, texts, strict=True)) if place != systems[0]
        ]
        if [role for role, _ in others[:2]] == ["user", "user"]:
            raise instruction("the first of two user messages in a row is the document")
        if any(role == "user" and len(text) > max(LONGEST_QUESTION, len(document)) for role, text in others):
            raise instruction("a user message that is longer is no question")
        return Chat(document, texts[-1], len(texts) - 2)
    if roles[:2] == ["user", "user"]:
        return Chat(texts[0], texts[-1], len(texts) - 2)
    todo = "name a document that was read (reread.document), or send its text as the system message"
    raise Refused(400, "this chat holds a question and no document", todo=todo, param="messages")

"""The chat template of a model: how the messages of a conversation are written as one text.

The template stands in the model's folder (chat_template in tokenizer_config.json, or chat_template.jinja) and is
rendered by transformers, in jinja2's sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reread.errors import BadCheckpoint, BadInput, MissingPackage, UnknownName, reason
from reread.models import find

NONE = "name a model with a chat template, or leave --apply_chat_template out"


@dataclass(frozen=True)
class ChatTemplate:
    """One template; model: whose it is, for messages; tokenizer: of transformers, which renders it."""

    model: str
    tokenizer: Any
    text: str

    def render(self, messages: Sequence[Mapping[str, str]], *, reply: bool = True) -> str:
        """The conversation as text; reply: with the words that an answer begins with; else the last message is left
        open.  Raises BadInput for a conversation that the template refuses."""
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                chat_template=self.text,
                tokenize=False,
                add_generation_prompt=reply,
                continue_final_message=not reply,
            )
        except (TemplateError, ValueError, KeyError, TypeError) as error:
            roles = ", ".join(str(message.get("role")) for message in messages)
            what = f"the chat template of {self.model} cannot show this conversation: {reason(error)}"
            raise BadInput(what, got=f"messages of {roles}") from error


def chat_template(model: str, name: str = "") -> ChatTemplate:
    """The chat template of a model by the name that `load` takes; name: which one, where it has several ("": its
    default).  Raises BadInput for a model without one, UnknownName, BadCheckpoint, MissingPackage."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise MissingPackage("jinja2", "lm-eval") from error
    from transformers import AutoTokenizer

    from reread.models.pretrained import quiet

    folder = find(model)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers and transformers raise nothing narrower
        raise BadCheckpoint(f"transformers cannot read the tokenizer in {folder}: {reason(error)}") from error
    known = tokenizer.chat_template
    if not known:
        raise BadInput("this model has no chat template", got=model, todo=NONE)
    if isinstance(known, str):
        known = {"default": known}
    name = name or "default"
    if name not in known:
        raise UnknownName("chat template", name, known)
    return ChatTemplate(model, tokenizer, known[name])

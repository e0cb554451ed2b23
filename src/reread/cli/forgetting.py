"""What states of fixed size have forgotten, as `ask --state` and `store ask` say it and act on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reread.cli.app import say
from reread.errors import BadInput, RereadError
from reread.forgotten import is_lost, says_again

if TYPE_CHECKING:
    from reread.answer import Answer
    from reread.statefile import DocumentState

HINT = "--reread-when-lost reads the document again with all keys"


def check_again(document: DocumentState) -> None:
    """Raise BadInput for a state that does not tell what it has forgotten, and is to be read again where it did."""
    if document.lost is None:
        todo = "read the document again: reread read DOC --out DIR --select SELECTION --forgotten sentence"
        raise BadInput("this state does not tell what it has forgotten", got=document.header.name, todo=todo)


def with_tokens_at_hand(reader: Any, document: DocumentState, file: Path) -> DocumentState:
    """A state that tells what it has forgotten, with the tokens of its document: its own, or those of the file with
    the document's name beside the state file, one folder above it, or in the current folder.  A sentence on standard
    error where there is none."""
    if document.lost is None or document.tokens is not None:
        return document
    name = document.header.name
    for folder in dict.fromkeys((file.parent, file.parent.parent, Path())):
        found = _tokens_of(reader, document, folder / name)
        if found is not None:
            return found
    say(
        f"{name}: the state holds no tokens and the document is not at hand, so it cannot be said whether the text "
        "nearest to the question was forgotten, and the document cannot be read again."
    )
    return document


def _tokens_of(reader: Any, document: DocumentState, path: Path) -> DocumentState | None:
    from reread.documents.loaders import read_source

    if Path(document.header.name).name != document.header.name or not path.is_file():
        return None
    try:
        return reader.with_tokens(document, read_source(str(path)))
    except RereadError:
        return None


def answers_again(
    sessions: Sequence[Any], question: str, answers: Sequence[Answer], *, again: bool, named: bool = False
) -> list[Answer]:
    """The answers; with `again` those whose nearest text is lost after their documents are read again with all keys,
    which is said.  named: sentences begin with the document's name."""
    found = []
    for session, answer in zip(sessions, answers, strict=True):
        if again and is_lost(answer.forgotten):
            say(f"{session.document.header.name}: " * named + f"{says_again(answer.forgotten)}.")
            answer = session.ask_again(question, answer)
        found.append(answer)
    return found


def say_hint(answers: Sequence[Answer], *, again: bool) -> None:
    """Name the option that reads again, where an answer could use it."""
    if not again and any(is_lost(answer.forgotten) for answer in answers):
        say(f"{HINT}.")

"""The published prompts of the six recall benchmarks, as data: "Just read twice", section 3.2 and appendix F.

What is printed is the published string to the last blank: how a context is cleaned, what stands
before it, between its two copies and after it.  Nothing here cuts to a length (windows.py) and
nothing scores.  The published string is tokenised as a whole, and a model that reads
non-causally takes all of it as prefix, so there are no parts inside it.

In a layout: {C} the cleaned context, {whole} all of it without white space around it, {Q} the
question to complete (a cloze statement, or the name of an attribute), {Key} the same with its first
character upper-cased, {original} the question as a person asks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from reread.errors import BadInput, UnknownName
from reread.prompting.prompt import Cut, Part, Prompt

SUMMARY = "Summary of information above"
MARKERS = re.compile(r"\[(?:PAR|DOC|TLE)\]")


def without_end(text: str, end: str, *, times: int | None = None, any_case: bool = True) -> str:
    """The text without `end` at its end, once or as long as it stands there."""
    while end and times != 0 and (text.lower().endswith(end.lower()) if any_case else text.endswith(end)):
        text = text[: -len(end)]
        times = None if times is None else times - 1
    return text


def _swde(context: str, question: str) -> str:
    text = without_end(context.split(SUMMARY)[0], f"{question}:")
    return text.strip().strip(".")


def _fda(context: str, question: str) -> str:
    return without_end(context, f"{question}:").strip("\n").strip(".")


def _squad(context: str, question: str) -> str:
    """The first of two copies; the text that the cloze ends is shown whole."""
    return context.split("Question:")[0].strip()


def _cloze(context: str, question: str) -> str:
    return without_end(context, question).strip().strip(".")


def _nq(context: str, question: str) -> str:
    return without_end(context, question, times=1, any_case=False).strip().strip(".")


def _trivia(context: str, question: str) -> str:
    return _cloze(MARKERS.sub("", context), question)


def _again(context: str, question: str) -> str:
    """The cleaning of the layouts that show a context twice: nothing is cut off its end."""
    return context.strip().strip(".").strip()


def _trivia_again(context: str, question: str) -> str:
    return _again(MARKERS.sub("", context), question)


@dataclass(frozen=True)
class Layout:
    """A published layout; clean: what is done to the context; colon: whether the original question loses its ":"."""

    text: str
    clean: Callable[[str, str], str]
    colon: bool = True


KEY_TWICE = "Information about {Key}. {C}.\n{C}. {Key}:"
CLOZE_TWICE = "{original} {C}.\n{C}. {Q}"
PUBLISHED: dict[str, dict[str, Layout]] = {
    "swde": {"once": Layout("{C}. {Key}:", _swde), "twice": Layout(KEY_TWICE, _swde)},
    "fda": {"once": Layout("{C}. {Key}:", _fda), "twice": Layout(KEY_TWICE, _fda)},
    "squad": {"once": Layout("{whole} {Q}", _squad), "twice": Layout("{original} {C}\n{whole} {Q}", _squad)},
    "nq": {"once": Layout("{C}. {Q}", _nq), "twice": Layout(CLOZE_TWICE, _again, colon=False)},
    "drop": {"once": Layout("{C}. {Q}", _cloze), "twice": Layout(CLOZE_TWICE, _again, colon=False)},
    "triviaqa": {"once": Layout("{C}. {Q}", _trivia), "twice": Layout(CLOZE_TWICE, _trivia_again)},
}


def published_prompt(task: str, strategy: str, context: str, question: str, original_question: str = "") -> str:
    """The published prompt; strategy "once" is the published default.

    Raises UnknownName; BadInput where the layout shows an original question and there is none.
    """
    if task not in PUBLISHED:
        raise UnknownName("published template", task, PUBLISHED)
    if strategy not in PUBLISHED[task]:
        raise UnknownName("strategy of a published template", strategy, PUBLISHED[task])
    layout = PUBLISHED[task][strategy]
    question, original = question.strip(), original_question.strip()
    if "{original}" in layout.text and not original:
        raise BadInput(
            f"the published layout {task}, {strategy}, begins with the question as a person asks it",
            todo="give it with --original-question",
        )
    slots = {
        "{C}": layout.clean(context, question),
        "{whole}": context.strip(),
        "{Q}": question,
        "{Key}": question[:1].upper() + question[1:],
        "{original}": original if layout.colon else original.strip(":"),
    }
    return re.sub(r"\{(?:C|whole|Q|Key|original)\}", lambda slot: slots[slot.group()], layout.text)


def published_question(task: str, question: str) -> str:
    """What stands behind the context in the published layout "once".  Raises UnknownName."""
    if task not in PUBLISHED:
        raise UnknownName("published template", task, PUBLISHED)
    layout, question = PUBLISHED[task]["once"].text, question.strip()
    behind = layout[layout.rindex(" {") :]
    return behind.replace("{Q}", question).replace("{Key}", question[:1].upper() + question[1:])


def published_template(name: str) -> str:
    """The task in "published/TASK", or "" for another template."""
    family, slash, task = name.partition("/")
    if not slash or family != "published":
        return ""
    if task not in PUBLISHED:
        raise UnknownName("published template", name, [f"published/{task}" for task in PUBLISHED])
    return task


def build_published(
    task: str, strategy: str, document: str, question: str, original_question: str = "", *, cut: Cut | None = None
) -> Prompt:
    """The published string as a Prompt of one part."""
    text = published_prompt(task, strategy, document, question, original_question)
    return Prompt((Part("published", text),), strategy, cut)

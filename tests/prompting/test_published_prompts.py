"""The published prompts of the six tasks against strings written by hand from the description of the layouts."""

import pytest
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.prompting import PUBLISHED, build_published, published_prompt, published_template

PAGE = "Volt. Top speed: 120 mph.\nPrice: $9,000."
PASSAGE = "Ada was born in 1815. She wrote programs."
CLOZE, WHO = "Ada was born in the year", "When was Ada born?"
GOLDEN = {
    ("swde", "once"): "Volt. Top speed: 120 mph.\nPrice: $9,000. Top speed:",
    ("swde", "twice"): (
        "Information about Top speed. Volt. Top speed: 120 mph.\nPrice: $9,000.\n"
        "Volt. Top speed: 120 mph.\nPrice: $9,000. Top speed:"
    ),
    ("fda", "once"): "Volt. Top speed: 120 mph.\nPrice: $9,000. Top speed:",
    ("fda", "twice"): (
        "Information about Top speed. Volt. Top speed: 120 mph.\nPrice: $9,000.\n"
        "Volt. Top speed: 120 mph.\nPrice: $9,000. Top speed:"
    ),
    ("squad", "once"): "Ada was born in 1815. She wrote programs. Ada was born in the year",
    ("squad", "twice"): (
        "When was Ada born? Ada was born in 1815. She wrote programs.\n"
        "Ada was born in 1815. She wrote programs. Ada was born in the year"
    ),
    **{
        (task, "once"): "Ada was born in 1815. She wrote programs. Ada was born in the year"
        for task in ("nq", "drop", "triviaqa")
    },
    **{
        (task, "twice"): (
            "When was Ada born? Ada was born in 1815. She wrote programs.\n"
            "Ada was born in 1815. She wrote programs. Ada was born in the year"
        )
        for task in ("nq", "drop", "triviaqa")
    },
}


def prompt(task: str, strategy: str, context: str = "", question: str = "", original: str = WHO) -> str:
    fields = task in ("swde", "fda")
    context, question = context or (PAGE if fields else PASSAGE), question or ("top speed" if fields else CLOZE)
    return published_prompt(task, strategy, context, question, "" if fields else original)


@pytest.mark.parametrize(("task", "strategy"), GOLDEN)
def test_the_prompt_is_the_published_string(task, strategy):
    assert prompt(task, strategy) == GOLDEN[task, strategy]


def test_every_published_layout_has_a_golden_string():
    assert {(task, strategy) for task, layouts in PUBLISHED.items() for strategy in layouts} == set(GOLDEN)


@pytest.mark.parametrize(
    ("task", "strategy", "context", "question", "want"),
    [
        ("swde", "once", "A b.\n\nSummary of information above: x", "key", "A b. Key:"),
        ("swde", "once", "A b\nKEY:key:", "key", "A b. Key:"),
        ("swde", "once", "  A b. \n", "key", "A b. Key:"),
        ("fda", "once", "A b\nKey:", "key", "A b. Key:"),
        ("fda", "once", "\nA b...\n", "k number", "A b. K number:"),
        ("fda", "once", "A b", "FDA number", "A b. FDA number:"),
        ("squad", "once", "A b.\nQuestion: who? ", "It was", "A b.\nQuestion: who? It was"),
        ("squad", "twice", "A b.\nQuestion: who?", "It was", "When: A b.\nA b.\nQuestion: who? It was"),
        ("nq", "once", "A b. It was", "It was", "A b. It was"),
        ("nq", "once", "A b. it was", "It was", "A b. it was. It was"),
        ("nq", "once", "A b. It wasIt was", "It was", "A b. It was. It was"),
        ("drop", "once", "A b. it wasIt was", "It was", "A b. It was"),
        ("triviaqa", "once", "[DOC][TLE]T[PAR]A b.", "It was", "TA b. It was"),
        ("triviaqa", "twice", "[DOC]A b.", "It was", "When: A b.\nA b. It was"),
        ("nq", "twice", " .A b. ", "It was", "When A b.\nA b. It was"),
        ("drop", "twice", "A b. It was", "It was", "When A b. It was.\nA b. It was. It was"),
    ],
)
def test_contexts_are_cleaned_as_published(task, strategy, context, question, want):
    assert published_prompt(task, strategy, context, question, "When:") == want


@pytest.mark.parametrize("slot", ["{C}", "{Q}", "{original}"])
def test_braces_in_a_document_stay(slot):
    assert prompt("nq", "twice", slot, slot, slot) == f"{slot} {slot}.\n{slot}. {slot}"


def test_the_whole_prompt_is_one_part_and_all_of_it_prefix(byte_tokenizer):
    encoded = build_published("fda", "twice", PAGE, "top speed").encode(byte_tokenizer)
    assert encoded.prefix_len == len(encoded.tokens) == len(GOLDEN["fda", "twice"].encode())


def test_names_are_looked_up():
    assert published_template("published/nq") == "nq" and published_template("field") == ""
    with refused(UnknownName, got="published/swd", todo=containing("published/swde")):
        published_template("published/swd")
    with refused(UnknownName, got="cqcq", allowed="once, twice"):
        prompt("nq", "cqcq")
    with refused(BadInput, naming=("squad", "--original-question")):
        prompt("squad", "twice", original=" ")

"""A chat becomes a document and a question, or is refused: nothing is guessed."""

import pytest
from raising import refused

from reread.errors import BadInput, UnknownName
from reread.serve.problems import Refused
from reread.serve.requests import Chat, document_and_question
from reread.serve.ways import Ways

D, Q = "A document.", "Who?"


def chat(*turns):
    return [
        {"role": {"s": "system", "d": "developer", "u": "user", "a": "assistant"}[role], "content": text}
        for role, text in turns
    ]


@pytest.mark.parametrize(
    ("turns", "named", "want"),
    [
        ([("u", Q)], "id", Chat(None, Q, 0)),
        ([("u", "Where?"), ("a", "There."), ("u", Q)], "id", Chat(None, Q, 2)),
        ([("s", D), ("u", Q)], None, Chat(D, Q, 0)),
        ([("d", D), ("u", Q)], None, Chat(D, Q, 0)),
        ([("s", D), ("u", "Where?"), ("a", "There."), ("u", Q)], None, Chat(D, Q, 2)),
        ([("u", D), ("u", Q)], None, Chat(D, Q, 0)),
        ([("u", D), ("u", "Where?"), ("a", "There."), ("u", Q)], None, Chat(D, Q, 2)),
        ([("s", [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]), ("u", Q)], None, Chat("A\nB", Q, 0)),
        ([("s", D), ("a", None), ("u", Q)], None, Chat(D, Q, 1)),
        ([("s", D), ("u", "x" * 400)], None, Chat(D, "x" * 400, 0)),
        ([("s", D * 50), ("u", "x" * 401)], None, Chat(D * 50, "x" * 401, 0)),
    ],
)
def test_which_is_the_document_and_which_the_question(turns, named, want):
    assert document_and_question(chat(*turns), named) == want


ROLES = "system, developer, user, assistant"


@pytest.mark.parametrize(
    ("messages", "named", "fields"),
    [
        ([], None, {"naming": "last message"}),
        (chat(("u", Q)), None, {"naming": "no document"}),
        (chat(("u", "Hello"), ("a", "Hi"), ("u", Q)), None, {"naming": "no document"}),
        (chat(("s", D)), None, {"naming": "last message"}),
        (chat(("s", D), ("u", Q), ("a", "So.")), None, {"naming": "last message"}),
        (chat(("s", D), ("s", D), ("u", Q)), None, {"naming": "several system"}),
        (chat(("s", D), ("d", D), ("u", Q)), None, {"naming": "several system"}),
        (chat(("s", D), ("u", Q)), "id", {"naming": ("instruction", "reread.document")}),
        (chat(("s", "Answer briefly."), ("u", D), ("u", Q)), None, {"naming": ("instruction", "two user messages")}),
        (chat(("d", "Answer briefly."), ("u", D), ("u", Q)), None, {"naming": ("instruction", "two user messages")}),
        (chat(("u", D), ("s", "Answer briefly."), ("u", Q)), None, {"naming": ("instruction", "two user messages")}),
        (chat(("s", "Answer briefly."), ("u", D * 40 + Q)), None, {"naming": ("instruction", "longer")}),
        (
            chat(("s", "Answer briefly."), ("u", D * 40), ("a", "Read."), ("u", Q)),
            None,
            {"naming": ("instruction", "longer")},
        ),
        ([{"role": "tool", "content": "x"}, *chat(("u", Q))], None, {"got": "tool", "allowed": ROLES}),
        ([{"content": "x"}, *chat(("u", Q))], None, {"got": "None", "allowed": ROLES}),
        (chat(("s", D), ("u", None)), None, {"naming": "content"}),
        (chat(("s", 5), ("u", Q)), None, {"naming": "content"}),
        (chat(("s", ["x"]), ("u", Q)), None, {"naming": "content"}),
        (
            chat(("s", [{"type": "image_url", "image_url": {}}]), ("u", Q)),
            None,
            {"got": "image_url", "allowed": "text"},
        ),
        (chat(("s", [{"type": "text"}]), ("u", Q)), None, {"got": "text", "allowed": "text"}),
        (chat(("s", "half \ud800"), ("u", Q)), None, {"naming": "surrogate"}),
    ],
)
def test_what_is_not_clear_is_refused(messages, named, fields):
    with refused(Refused, **fields) as told:
        document_and_question(messages, named)
    assert told.value.status == 400 and told.value.param.startswith("messages")


@pytest.mark.parametrize(
    "strategy",
    [
        "once",
        "twice",
        "repeat(n=8)",
        "selective(k=3, unit=line)",
        "hierarchical(times='2+1')",
        "oprm(unit=window(128))",
    ],
)
@pytest.mark.parametrize("policy", ["prompt", "none", "fixed(n=4000)", "share(r=0.5)", "learned", "entropy"])
def test_ways_that_may_be_asked_for(strategy, policy):
    Ways(strategy, policy).check()


@pytest.mark.parametrize(
    ("strategy", "policy"),
    [
        ("repeat(n=9)", None),
        ("hierarchical(times='1+90')", None),
        ("hierarchical(levels=line+line+line, times='3+3+3')", None),
        ("selective(by='learned(/tmp/x.json)')", None),
        ("selective(by=learned(x))", None),
        ("oprm(unit=window(2))", None),
        ("oprm(unit='window( 2 )')", None),
        ("once" + " " * 300, None),
        (None, "learned(path='/tmp/x.json')"),
        (None, "learned(path=x)"),
        (None, "learned(sha=abc)"),
        ("nothing", None),
        (None, "nothing"),
        ("once(", None),
    ],
)
def test_ways_that_may_not(strategy, policy):
    with pytest.raises((BadInput, UnknownName)):
        Ways(strategy, policy).check()

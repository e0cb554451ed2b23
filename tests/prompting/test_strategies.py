"""Strategies by id: exact strings, ids that parse back, settings that are checked."""

import pytest
from raising import containing, refused

from reread.config import Spec
from reread.errors import BadInput, UnknownName
from reread.models import load_tokenizer
from reread.prompting import STRATEGIES, TEMPLATES, Example, Part, Strategy, build, build_unasked, strategy
from reread.prompting.ranking import scores
from reread.prompting.strategies import strategy_entry

DOCUMENT = "Rome is old. Oslo is cold.\n\nThe code is X-17. Bern is calm."
CUE, ASK = "Information about Code.\n", "\nCode:"


def made(name, **options):
    return build(name, DOCUMENT, "code", TEMPLATES["field"], **{"examples": lambda: EXAMPLES, **options})


EXAMPLES = (Example("Lima is high.", "place", "Lima"), Example("Nine men.", "count", "nine"))
GOLDEN = {
    "few_shot(n=1)": f"Lima is high.\nPlace: Lima\n\n{DOCUMENT}{ASK}",
    "few_shot": f"Lima is high.\nPlace: Lima\n\nNine men.\nCount: nine\n\n{DOCUMENT}{ASK}",
    "question_twice": f"{DOCUMENT}\nInformation about Code.{ASK}",
    "cqcq": f"{DOCUMENT}\nInformation about Code.\n{DOCUMENT}{ASK}",
    "repeat(n=1)": CUE + DOCUMENT + ASK,
    "repeat(n=3)": f"{CUE}{DOCUMENT}\n{DOCUMENT}\n{DOCUMENT}{ASK}",
    "selective(k=1)": f"{CUE}{DOCUMENT}\nThe code is X-17.{ASK}",
    "selective(k=1, unit=paragraph)": f"{CUE}{DOCUMENT}\nThe code is X-17. Bern is calm.{ASK}",
    "selective(by=last, k=1, pick=worst)": f"{CUE}{DOCUMENT}\nRome is old.{ASK}",
    "hierarchical": f"{CUE}{DOCUMENT}\nRome is old. Oslo is cold. The code is X-17. Bern is calm.{ASK}",
    "hierarchical(levels=paragraph+sentence, times=1+2)": (
        f"{CUE}{DOCUMENT}\nRome is old. Rome is old. Oslo is cold. Oslo is cold. The code is X-17. The code is X-17. "
        f"Bern is calm. Bern is calm.{ASK}"
    ),
    "hierarchical(levels=paragraph, times=2)": (
        f"{CUE}Rome is old. Oslo is cold.\nRome is old. Oslo is cold.\nThe code is X-17. Bern is calm.\n"
        f"The code is X-17. Bern is calm.{ASK}"
    ),
    "hierarchical(by=bm25, levels=paragraph+sentence, share=0.25, times=2+1)": (
        f"{CUE}Rome is old. Oslo is cold.\nThe code is X-17. Bern is calm.\nThe code is X-17. Bern is calm.\n"
        f"The code is X-17.{ASK}"
    ),
    "hierarchical(by=bm25, levels=paragraph+sentence, share=0.4, times=2+1)": (  # 0.4 of four sentences are two
        f"{CUE}Rome is old. Oslo is cold.\nThe code is X-17. Bern is calm.\nThe code is X-17. Bern is calm.\n"
        f"Rome is old. The code is X-17.{ASK}"
    ),
    "hierarchical(levels=sentence, overlap=0.5, times=1)": (
        f"{CUE}Rome is old. old. Oslo is cold. cold.\n\nThe code is X-17. X-17. Bern is calm.{ASK}"
    ),
    "oprm(by=bm25, unit=sentence)": f"The code is X-17.{ASK}",
    "oprm(by=bm25, k=2, unit=line)": f"Rome is old. Oslo is cold.\nThe code is X-17. Bern is calm.{ASK}",
    "oprm(by=bm25, times=2, unit=sentence)": f"{CUE}The code is X-17.\nThe code is X-17.{ASK}",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_strategy_lays_out_as_written_by_hand(name):
    assert made(name).text == GOLDEN[name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("once", "Rome is old.\nThe code is"),
        ("question_first", "What is it?\nRome is old.\nThe code is"),
        ("twice", "What is it?\nRome is old.\nRome is old.\nThe code is"),
        ("cqcq", "Rome is old.\nWhat is it?\nRome is old.\nThe code is"),
        ("question_twice", "Rome is old.\nWhat is it?\nThe code is"),
    ],
)
def test_where_a_statement_is_to_be_completed_the_cue_asks_the_question(name, text):
    options = {"original_question": "what is it?"}
    assert build(name, "Rome is old.", "The code is", TEMPLATES["cloze"], **options).text == text


@pytest.mark.parametrize("name", [*GOLDEN, *STRATEGIES])
def test_ids_parse_back(name):
    spec, _ = strategy(name)
    assert strategy(str(spec))[0] == spec == Spec.parse(str(spec))


def test_examples_that_are_not_there_are_said_to_be_missing():
    with refused(BadInput, got=2, allowed=containing("3"), naming="few_shot"):
        made("few_shot(n=3)")
    with refused(BadInput, got=0, naming="few_shot"):
        made("few_shot(n=0)")


def test_a_shuffled_reading_holds_the_same_sentences_in_another_order():
    again = {seed: made(f"shuffled(seed={seed})").parts[2].text.strip() for seed in range(5)}
    sentences = ["Rome is old.", "Oslo is cold.", "The code is X-17.", "Bern is calm."]
    for text in again.values():
        assert all(s in text for s in sentences) and len(text) == len(" ".join(sentences))
    assert len(set(again.values())) > 1 and again[1] == made("shuffled(seed=1)").parts[2].text.strip()


def test_padding_is_as_long_as_what_it_stands_for(byte_tokenizer):
    chosen, padded = made("selective(k=2)"), made("padded(k=2)", tokenizer=byte_tokenizer)
    lengths = [len(p.encode(byte_tokenizer).tokens) for p in (chosen, padded)]
    assert 0 <= lengths[1] - lengths[0] <= 1 and set(padded.parts[2].text) <= set(" .")


def test_a_model_is_asked_about_the_units_it_is_to_choose_from():
    asked = []

    def score(by, texts):
        asked.append((by, list(texts)))
        return [1.0 if "Bern" in text else 0.0 for text in texts]

    assert made("oprm(unit=sentence)", score=score).text == f"Bern is calm.{ASK}"
    assert asked == [("entropy", ["Rome is old.", "Oslo is cold.", "The code is X-17.", "Bern is calm."])]


PATTERN = containing("name(part, key=value)")


@pytest.mark.parametrize(
    ("name", "error", "fields"),
    [
        ("repeat(m=3)", UnknownName, {"got": "m", "allowed": "cue, n", "naming": "repeat"}),
        ("repeat(n=x)", BadInput, {"got": "x", "naming": ("repeat", "int")}),
        ("repeat(n=0)", BadInput, {"got": 0, "naming": "once"}),
        ("repeat(3)", BadInput, {"got": "repeat(3)", "allowed": PATTERN}),
        ("repeat(n=1, n=2)", BadInput, {"got": "repeat(n=1, n=2)", "allowed": PATTERN}),
        ("repeat(n={[]: 1})", BadInput, {"got": "repeat(n={[]: 1})", "allowed": PATTERN}),
        ("repeat(n=3", BadInput, {"got": "repeat(n=3", "allowed": PATTERN}),
        ("selective(k=0)", BadInput, {"got": 0, "naming": "unit"}),
        ("selective(pick=any)", UnknownName, {"got": "any", "allowed": "best, worst"}),
        ("hierarchical(times=1)", BadInput, {"got": containing("; 1"), "naming": "times"}),
        ("hierarchical(times=0+1)", BadInput, {"got": containing("; 0+1"), "naming": "times"}),
        ("hierarchical(share=0, by=first)", BadInput, {"got": 0.0, "naming": "share"}),
        ("hierarchical(overlap=0.7)", BadInput, {"got": 0.7, "naming": "0.5"}),
        ("oprm(times=3, by=first, unit=sentence)", BadInput, {"got": 3, "naming": "twice"}),
        ("oprm", BadInput, {"got": "window(128)", "naming": "tokens"}),
        ("padded", BadInput, {"naming": "tokenizer"}),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, error, fields):
    with refused(error, **fields):
        made(name)


def test_bm25_finds_units_in_scripts_without_blanks():
    units = ["今日は天気がいいです。", "製品コードは四七です。", "会社は東京にあります。"]
    values = scores("bm25", units, "製品コード", None)
    assert values.index(max(values)) == 1 and max(values) > 0


# Every entry of STRATEGIES, with settings that need no model.
SHOWN = {
    "padded": "padded(k=1)",
    "oprm": "oprm(by=bm25, unit=sentence)",
    "selective": "selective(k=1)",
}


@pytest.mark.parametrize(
    "name", ["twice(cue=False)", "repeat(cue=False, n=3)", "repeat(n=3)", *(SHOWN.get(one, one) for one in STRATEGIES)]
)
def test_what_a_strategy_declares_about_the_question_is_true(name):
    """Of two questions that ask for different sentences."""
    options = {"examples": lambda: EXAMPLES, "tokenizer": load_tokenizer("embedded")}
    asked = [build(name, DOCUMENT, question, TEMPLATES["field"], **options) for question in ("code", "Bern")]
    before = [[part for part in prompt.parts if part.role != "question"] for prompt in asked]
    spec, entry = strategy_entry(name)
    assert entry.depends(dict(spec.settings)) == (before[0] != before[1])


def test_a_plain_function_is_a_strategy_that_needs_the_question(monkeypatch):
    def plain(r):
        return Part("document", r.document), r.ask

    monkeypatch.setitem(STRATEGIES, "plain", plain)
    shown, once = (build(name, "A.", "what?", TEMPLATES["field"]) for name in ("plain", "once"))
    assert shown.parts == once.parts
    with refused(BadInput, got="plain", naming="question"):
        build_unasked("plain", "A.")
    monkeypatch.setitem(STRATEGIES, "plain", Strategy(plain, needs_question=False))
    assert build_unasked("plain", "A.").parts == build_unasked("once", "A.").parts

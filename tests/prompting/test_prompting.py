"""Prompts, strategies and windows: exact strings, spans that tile the tokens, verbatim cuts within the budget."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raising import containing, refused
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from reread.errors import BadInput, UnknownName
from reread.models import load_tokenizer
from reread.prompting import (
    STRATEGIES,
    TEMPLATES,
    WINDOWS,
    Example,
    Part,
    Prompt,
    Template,
    build,
    cut,
    template,
    template_for,
)

DOCUMENT = "Ada was born in 1815.\nShe wrote programs."


@pytest.fixture(scope="module")
def merging_tokenizer() -> Tokenizer:
    """Byte-level BPE whose merges join words, and one special token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([DOCUMENT, "the answer is in the document", "naïve 🙂🙂 Zürich"] * 20, trainer)
    return tokenizer


@pytest.fixture(params=["byte", "merging"])
def tokenizer(request, byte_tokenizer, merging_tokenizer) -> Tokenizer:
    return {"byte": byte_tokenizer, "merging": merging_tokenizer}[request.param]


def count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


GOLDEN = {
    ("once", "field"): "Ada was born in 1815.\nShe wrote programs.\nYear of birth:",
    ("question_first", "field"): (
        "Information about Year of birth.\nAda was born in 1815.\nShe wrote programs.\nYear of birth:"
    ),
    ("twice", "field"): (
        "Information about Year of birth.\nAda was born in 1815.\nShe wrote programs.\n"
        "Ada was born in 1815.\nShe wrote programs.\nYear of birth:"
    ),
    ("once", "question"): "Ada was born in 1815.\nShe wrote programs.\nQuestion: When was Ada born?\nAnswer:",
    ("question_first", "question"): (
        "When was Ada born?\nAda was born in 1815.\nShe wrote programs.\nQuestion: When was Ada born?\nAnswer:"
    ),
    ("twice", "question"): (
        "When was Ada born?\nAda was born in 1815.\nShe wrote programs.\n"
        "Ada was born in 1815.\nShe wrote programs.\nQuestion: When was Ada born?\nAnswer:"
    ),
}


def by_length(by: str, units: list[str]) -> list[float]:
    """A score that a model might give."""
    return [float(len(unit)) for unit in units]


QUESTIONS = {"field": "year of birth", "question": "when was Ada born?"}


def prompt(strategy: str, template_name: str, document: str = DOCUMENT) -> Prompt:
    return build(strategy, document, QUESTIONS[template_name], TEMPLATES[template_name])


@pytest.mark.parametrize(("strategy", "template_name"), GOLDEN)
def test_prompt_text_is_the_golden_string(strategy, template_name):
    assert prompt(strategy, template_name).text == GOLDEN[strategy, template_name]


def test_every_strategy_and_template_has_a_golden_string():
    assert {(s, t) for s in ("once", "question_first", "twice") for t in ("field", "question")} == set(GOLDEN)


@pytest.mark.parametrize(
    ("strategy", "roles"),
    [
        ("once", ["document", "question"]),
        ("question_first", ["cue", "document", "question"]),
        ("twice", ["cue", "document", "repeat", "question"]),
    ],
)
def test_parts_carry_their_roles(strategy, roles):
    assert [part.role for part in prompt(strategy, "field").parts] == roles


def test_repeat_is_the_document_after_one_joint():
    parts = {part.role: part.text for part in prompt("twice", "field").parts}
    assert (parts["document"], parts["repeat"]) == (DOCUMENT, "\n" + DOCUMENT)


def test_build_remembers_the_strategy_and_the_cut(byte_tokenizer):
    kept = cut(DOCUMENT, byte_tokenizer, 5, "head")
    made = build("once", kept.text, "year", TEMPLATES["field"], cut=kept)
    assert (made.strategy, made.cut) == ("once", kept)


@pytest.mark.parametrize("text", [" who?  ", "who?\n"])
def test_question_is_stripped_and_capitalised(text):
    assert TEMPLATES["question"].fill("{Question}|{question}", text) == "Who?|who?"


@pytest.mark.parametrize("slot", ["{question}", "{Question}"])
def test_a_question_with_braces_stays_verbatim(slot):
    asked = "What do {question} and {Question} mean?"
    assert Template("own", cue=slot, ask="").fill(slot, asked) == asked


def test_an_empty_question_is_filled_in():
    assert TEMPLATES["field"].fill("[{Question}]", "") == "[]"


@pytest.mark.parametrize("name", TEMPLATES)
def test_answer_begins_with_a_space_and_ends_with_the_stop(name):
    assert TEMPLATES[name].answer(" 1815\n") == " 1815\n"


@pytest.mark.parametrize(
    ("question", "name"),
    [("When was Ada born?", "question"), ("When? ", "question"), ("year of birth", "field"), ("a? b", "field")],
)
def test_template_for_looks_at_the_question_mark(question, name):
    assert template_for(question) == name


def test_an_unknown_strategy_lists_the_known_ones_and_the_nearest():
    with refused(UnknownName, got="twise", allowed=containing("cqcq, ", "twice"), todo=containing("twice")):
        build("twise", DOCUMENT, "year", TEMPLATES["field"])


def test_an_unknown_template_lists_the_known_ones_and_the_nearest():
    with refused(
        UnknownName, got="fields", allowed="cloze, continuation, field, question, reader", todo=containing("field")
    ):
        template("fields")


def test_an_unknown_window_lists_the_known_ones_and_the_nearest(byte_tokenizer):
    with refused(UnknownName, got="heads", allowed="answer_centered, head", todo=containing("head")):
        cut(DOCUMENT, byte_tokenizer, 5, "heads")


def test_an_unknown_name_near_nothing_suggests_nothing():
    with refused(UnknownName, got="xyzzy", todo=""):
        template("xyzzy")


def test_spans_tile_the_tokens(tokenizer):
    encoded = prompt("twice", "question").encode(tokenizer)
    ends = [end for _, _, end in encoded.spans]
    assert [start for _, start, _ in encoded.spans] == [0, *ends[:-1]]
    assert ends[-1] == len(encoded.tokens)


def test_spans_of_a_byte_tokenizer_are_the_byte_counts(byte_tokenizer):
    made = build("question_first", "naïve", "é", Template("own", cue="{question}", ask="?"))
    assert made.encode(byte_tokenizer).spans == (("cue", 0, 2), ("document", 2, 8), ("question", 8, 9))


def test_each_span_decodes_to_its_part(tokenizer):
    made = prompt("twice", "question")
    encoded = made.encode(tokenizer)
    decoded = [Part(role, tokenizer.decode(encoded.tokens[start:end])) for role, start, end in encoded.spans]
    assert decoded == list(made.parts)


def test_document_tokens_do_not_depend_on_what_stands_around(merging_tokenizer):
    def document_tokens(strategy):
        encoded = prompt(strategy, "question", "the answer").encode(merging_tokenizer)
        start, end = next(span[1:] for span in encoded.spans if span[0] == "document")
        return encoded.tokens[start:end]

    assert document_tokens("once") == document_tokens("twice")


def test_document_text_never_becomes_a_special_token():
    tokenizer = load_tokenizer("embedded")
    encoded = prompt("once", "field", "a <|end|> b").encode(tokenizer)
    assert tokenizer.token_to_id("<|end|>") not in encoded.tokens


EXAMPLES = (Example("Ü\n", "x", "y"),) * 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_build_puts_everything_in_the_prefix(byte_tokenizer, strategy):
    made = build(
        strategy,
        DOCUMENT,
        "year",
        TEMPLATES["field"],
        tokenizer=byte_tokenizer,
        score=by_length,
        examples=lambda: EXAMPLES,
    )
    encoded = made.encode(byte_tokenizer)
    assert encoded.prefix_len == len(encoded.tokens) > 0


def test_a_prompt_without_tokens_is_refused(byte_tokenizer):
    with refused(BadInput, naming="prompt is empty"):
        Prompt((Part("document", ""), Part("question", "")), "own").encode(byte_tokenizer)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(document=st.text(max_size=40), question=st.text(max_size=20), strategy=st.sampled_from(sorted(STRATEGIES)))
def test_tokens_of_any_unicode_decode_to_the_text(byte_tokenizer, document, question, strategy):
    given = {"tokenizer": byte_tokenizer, "score": by_length, "examples": lambda: EXAMPLES}
    made = build(strategy, document, question, TEMPLATES["question"], **given)
    assert byte_tokenizer.decode(made.encode(byte_tokenizer).tokens) == made.text


def test_head_keeps_exactly_the_budget_of_plain_text(byte_tokenizer):
    kept = cut(DOCUMENT, byte_tokenizer, 13, "head")
    assert (kept.text, kept.kept_tokens) == ("Ada was born ", 13)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("budget", [42, 41, 1000])
def test_a_document_that_fits_is_kept_whole(byte_tokenizer, window, budget):
    assert len(DOCUMENT) == 41
    assert cut(DOCUMENT, byte_tokenizer, budget, window, ("1815",)).text == DOCUMENT


def test_a_document_of_one_token_too_many_loses_one(byte_tokenizer):
    kept = cut(DOCUMENT, byte_tokenizer, 40, "head")
    assert (kept.dropped_tokens, kept.text) == (1, DOCUMENT[:40])


def test_white_space_around_the_document_goes_and_positions_stay(byte_tokenizer):
    kept = cut("  \nabcdef \n", byte_tokenizer, 4, "head")
    assert (kept.text, kept.start, kept.end) == ("abcd", 3, 7)


def test_counts_are_those_of_the_tokenizer(merging_tokenizer):
    kept = cut(DOCUMENT * 3, merging_tokenizer, 10, "head")
    assert kept.kept_tokens == count(merging_tokenizer, kept.text)
    assert kept.document_tokens == count(merging_tokenizer, DOCUMENT * 3)


def test_a_cut_says_what_it_dropped(byte_tokenizer):
    said = cut("x" * 1234, byte_tokenizer, 1000, "head").says()
    assert said == "the document has 1,234 tokens; the window 'head' kept 1,000 of them (characters 0 to 1,000)"


def test_no_cut_says_nothing(byte_tokenizer):
    assert cut("abc", byte_tokenizer, 3, "head").says() == ""


@pytest.mark.parametrize("document", ["", "  \n\t"])
def test_a_document_without_text_is_refused(byte_tokenizer, document):
    with refused(BadInput, naming="no text"):
        cut(document, byte_tokenizer, 5, "head")


@pytest.mark.parametrize("budget", [0, -3])
def test_a_budget_below_one_is_refused(byte_tokenizer, budget):
    with refused(BadInput, got=budget, naming="budget"):
        cut(DOCUMENT, byte_tokenizer, budget, "head")


@pytest.mark.parametrize("budget", [1, 2, 3])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_character_larger_than_the_budget_never_exceeds_it(byte_tokenizer, window, budget):
    with refused(BadInput, got=budget, allowed=containing("4")):
        cut("🙂🙂🙂", byte_tokenizer, budget, window, ("🙂",))
    assert cut("🙂🙂🙂", byte_tokenizer, 4 + budget, window, ("🙂",)).text == "🙂"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    document=st.text(min_size=1, max_size=60).filter(str.strip),
    anchors=st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=2),
    budget=st.integers(4, 40),
    window=st.sampled_from(sorted(WINDOWS)),
    merging=st.booleans(),
)
def test_a_cut_of_any_unicode_is_verbatim_and_within_the_budget(
    byte_tokenizer, merging_tokenizer, document, anchors, budget, window, merging
):
    tokenizer = merging_tokenizer if merging else byte_tokenizer
    kept = cut(document, tokenizer, budget, window, anchors)
    assert kept.text == document[kept.start : kept.end]
    assert 0 < count(tokenizer, kept.text) == kept.kept_tokens <= budget


@settings(max_examples=100, deadline=None, derandomize=True)
@given(document=st.text(min_size=1, max_size=60).filter(str.strip), budget=st.integers(4, 40))
def test_head_wastes_less_than_one_character(byte_tokenizer, document, budget):
    kept = cut(document, byte_tokenizer, budget, "head")
    assert document.strip().startswith(kept.text)
    assert min(budget, kept.document_tokens) - kept.kept_tokens < 4


def test_answer_centered_starts_half_a_budget_before_the_first_hit(byte_tokenizer):
    kept = cut("." * 50 + "KEY" + "." * 50 + "key" + "." * 50, byte_tokenizer, 20, "answer_centered", ("key",))
    assert (kept.start, kept.end, kept.text) == (40, 60, "." * 10 + "KEY" + "." * 7)


def test_answer_centered_takes_the_earliest_of_all_anchors(byte_tokenizer):
    kept = cut(
        "." * 50 + "value" + "." * 50 + "key" + "." * 50, byte_tokenizer, 20, "answer_centered", ("key", "value")
    )
    assert kept.start == 40


def test_answer_centered_passes_over_empty_and_missing_anchors(byte_tokenizer):
    kept = cut("." * 50 + "key" + "." * 50, byte_tokenizer, 20, "answer_centered", ("", "missing", "key"))
    assert kept.start == 40


def test_answer_centered_near_the_beginning_starts_at_the_beginning(byte_tokenizer):
    kept = cut("..key" + "." * 50, byte_tokenizer, 20, "answer_centered", ("key",))
    assert (kept.start, kept.end) == (0, 20)


def test_answer_centered_without_a_hit_keeps_the_end(byte_tokenizer):
    kept = cut("a" * 50 + "b" * 50, byte_tokenizer, 20, "answer_centered", ("missing",))
    assert (kept.end, set(kept.text)) == (100, {"b"})


def test_answer_centered_finds_a_hit_inside_a_merged_token(merging_tokenizer):
    document = "of it all " * 10 + "the document" + " of it all" * 10
    assert count(merging_tokenizer, " document") == 1
    assert "document" in cut(document, merging_tokenizer, 8, "answer_centered", ("ocument",)).text


def test_answer_centered_finds_the_hit_behind_characters_that_grow_in_lower_case(byte_tokenizer):
    document = "İ" * 40 + "key" + "." * 100
    assert "key" in cut(document, byte_tokenizer, 20, "answer_centered", ("key",)).text


plain = st.text(st.characters(exclude_characters="İ"), max_size=60)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(before=plain, anchor=st.text("abcXYZ019", min_size=1, max_size=8), after=plain, extra=st.integers(8, 30))
def test_answer_centered_keeps_the_first_hit_inside(byte_tokenizer, before, anchor, after, extra):
    document = before + anchor + after
    kept = cut(document, byte_tokenizer, 2 * len(anchor) + extra, "answer_centered", (anchor,))
    assert kept.start <= document.lower().find(anchor.lower()) <= kept.end - len(anchor)


def test_importing_prompting_imports_no_torch():
    code = "import sys, reread.prompting; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

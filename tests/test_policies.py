"""Prefix policies: ids that parse back, lengths row by row, complexity, the question's terms, learned files."""

import itertools
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models import LM, load_tokenizer
from reread.policies import (
    FEATURES,
    POLICIES,
    Learned,
    Seen,
    entropy,
    matches,
    policy,
    prompt_features,
)
from reread.prompting import Encoded, build, template
from reread.prompting.complexity import unigram_entropy

TOKENIZER = load_tokenizer()
FIELD = template("field")
LINES = [f"Label {n}: value of this line number {n} and no more" for n in range(12)]


DOCUMENT = "\n".join(LINES)


def encoded(document=DOCUMENT, question="Label 7", strategy="once", form=FIELD):
    return build(strategy, document, question, form, tokenizer=TOKENIZER).encode(TOKENIZER)


def lengths(name, *prompts, **given):
    return [choice.prefix_len for choice in policy(name).choose(prompts, tokenizer=TOKENIZER, **given)]


@pytest.fixture
def lm(tiny_model):
    return LM("tiny", tiny_model(vocab_size=TOKENIZER.get_vocab_size()), TOKENIZER)


@pytest.fixture
def file(tmp_path):
    """A learned policy that takes the whole prompt where question terms are found early, else a quarter."""
    at = FEATURES.index("first match")
    rising = [0.0] * (len(FEATURES) + 1)
    rising[at], rising[-1] = -1.0, 0.3
    ones = [1.0] * len(FEATURES)
    actions = ("prompt", "share(r=0.25)")
    made = Learned(actions, (0.0,) * len(FEATURES), tuple(ones), (tuple(rising), (0.0,) * len(rising)))
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(made.facts()))
    return path


def test_the_plain_lengths():
    one = encoded()
    n = len(one.tokens)
    assert lengths("prompt", one) == lengths("all", one) == [n]
    assert lengths("none", one) == [0] and lengths("document", one) == [one.spans[-1][1]]
    assert lengths("fixed(n=5)", one) == [5] and lengths("fixed(n=100000)", one) == [n]
    assert lengths("share(r=0.5)", one) == [math.floor(n / 2 + 0.5)]
    assert lengths("share(r=1)", one) == [n] and lengths("share(r=0)", one) == [0]


@pytest.mark.parametrize(
    "name",
    ["prompt", "fixed(n=7)", "share(r=0.25)", "entropy(increment=0.2, thresholds=0.5+0.75)", "entropy(thresholds=0.5)",
     "entropy(low=0.2, of=model, shorten=0.5)", "question_aware(unit=window(16), until=best)"],
)  # fmt: skip
def test_an_id_parses_back_to_the_same_policy(name):
    once = str(policy(name))
    assert str(policy(once)) == once
    assert policy(once).spec == policy(name).spec


def test_all_is_another_name_of_one_id():
    assert str(policy("all")) == "prompt"


@pytest.mark.parametrize(
    ("name", "error", "fields"),
    [
        ("fixd", UnknownName, {"got": "fixd", "todo": containing("fixed")}),
        ("share(r=1.5)", BadInput, {"got": 1.5, "allowed": "0 to 1"}),
        ("share(n=1)", UnknownName, {"got": "n", "allowed": "r", "naming": "share"}),
        ("share(prompt)", BadInput, {"got": "share(prompt)", "allowed": "r"}),
        ("fixed(n=-1)", BadInput, {"got": -1, "naming": "prefix"}),
        ("fixed(n=1.5)", BadInput, {"got": 1.5, "naming": ("n of fixed", "int")}),
        ("entropy(of=bigram)", UnknownName, {"got": "bigram", "allowed": "model, unigram"}),
        ("entropy(at=last)", UnknownName, {"got": "last", "allowed": "first, spread"}),
        ("entropy(thresholds=0.6+0.5)", BadInput, {"got": "0.6+0.5", "naming": "thresholds"}),
        ("entropy(thresholds=high)", BadInput, {"got": "high", "naming": "thresholds"}),
        ("entropy(increment=1e999)", BadInput, {"got": "128, inf", "naming": "increment"}),
        ("entropy(base=-0.1)", BadInput, {"got": -0.1, "allowed": "0 to 1", "naming": "base"}),
        ("entropy(thresholds=0.5, low=0.6)", BadInput, {"got": 0.6, "allowed": containing("0.5"), "naming": "low"}),
        ("question_aware(after=-1)", BadInput, {"got": -1, "naming": "after"}),
        ("question_aware(until=first)", UnknownName, {"got": "first", "allowed": "best, last"}),
        ("learned(path='/nowhere')", BadInput, {"got": "/nowhere", "naming": "No such file"}),
    ],
)
def test_mistakes_are_one_sentence(name, error, fields):
    with refused(error, **fields):
        policy(name)


def test_unigram_entropy_is_1_where_all_differ_and_0_where_all_are_alike():
    assert unigram_entropy([3, 5, 7, 9]) == pytest.approx(1.0)
    assert unigram_entropy([3, 3, 3]) == 0.0 and unigram_entropy([3]) == unigram_entropy([]) == 0.0
    assert unigram_entropy([1, 1, 2, 2]) == pytest.approx(math.log(2) / math.log(4))


def row_of(tokens):
    return Encoded(tuple(tokens), (("document", 0, len(tokens)),), len(tokens))


def test_high_entropy_lengthens_by_the_increment_and_low_entropy_keeps_or_shortens():
    flat, even, rich = [4] * 100, [n // 4 for n in range(100)], list(range(100))
    complexity = unigram_entropy(even)
    assert 0.6 < complexity < 0.8
    rows = [row_of(tokens) for tokens in (flat, even, rich)]
    plain = "entropy(base=0.4, increment=0.1, thresholds=0.6+0.8+0.9, low=0.3"
    assert lengths(f"{plain})", *rows) == [40, 44, 52]
    assert lengths(f"{plain}, shorten=0.5)", *rows) == [20, 44, 52]
    assert lengths("entropy(base=0.9, increment=0.2, thresholds=0.6+0.8+0.9)", rows[2]) == [100]


def test_the_models_entropy_is_that_of_its_next_token_read_causally(lm):
    rows = [encoded(), encoded(document="value " * 60)]
    choices = policy("entropy(of=model, thresholds=0, increment=1.0, base=0.3, tokens=24, at=first)").choose(rows, lm)
    assert [choice.read_tokens for choice in choices] == [24, 24]
    assert [choice.prefix_len for choice in choices] == [math.floor(0.6 * len(row.tokens) + 0.5) for row in rows]
    with torch.no_grad():
        logits, _ = lm.model.read(torch.tensor([rows[0].tokens[:24]]), 0, last_only=False)
    p = logits[0].double().softmax(-1)
    expected = float(-(p * p.log()).sum(-1).mean()) / math.log(p.shape[-1])
    above, below = (
        policy(f"entropy(of=model, base=0.5, increment=1.0, tokens=24, at=first, thresholds={expected + d:.6f})")
        for d in (-1e-4, 1e-4)
    )
    assert above.choose(rows[:1], lm)[0].prefix_len == len(rows[0].tokens)
    assert below.choose(rows[:1], lm)[0].prefix_len == math.floor(len(rows[0].tokens) / 2 + 0.5)


def test_a_spread_first_pass_reads_pieces_from_all_over():
    first = entropy(of="model", tokens=128, at="spread").first
    ids = first.ids(range(1000))
    assert len(ids) == 128 and ids[0] == 0 and ids[-1] == 999
    assert [b - a for a, b in itertools.pairwise(ids)].count(1) == 124
    assert first.ids(range(100)) == list(range(100))
    assert entropy(of="model", tokens=128, at="first").first.ids(range(1000)) == list(range(128))


def test_a_model_is_asked_only_where_there_is_one():
    with refused(BadInput, got="entropy(of=model)", allowed="of=unigram"):
        policy("entropy(of=model)").choose([encoded()])
    with refused(BadInput, allowed="share, fixed, entropy", naming="tokenizer"):
        policy("question_aware").choose([encoded()])


@pytest.mark.parametrize("unit", ["line", "window(8)", "window(32)"])
def test_the_prefix_ends_with_the_last_unit_that_shares_a_rare_term(unit):
    one = encoded()
    (end,) = lengths(f"question_aware(unit={unit}, rare=0.3)", one)
    text = TOKENIZER.decode(list(one.tokens[:end]))
    assert "number 7" in text or text.endswith("Label 7:") or "Label 7:" in text
    assert "Label 9" not in text.split("\n")[-1][:8] and end < one.spans[-1][1]


def test_a_complexity_on_a_threshold_is_not_above_it():
    even = row_of([n // 4 for n in range(100)])
    complexity = unigram_entropy(even.tokens)
    just_below = math.nextafter(complexity, 0.0)
    assert lengths(f"entropy(base=0.4, increment=0.1, thresholds={complexity!r}, low=0)", even) == [40]
    assert lengths(f"entropy(base=0.4, increment=0.1, thresholds={just_below!r}, low=0)", even) == [44]


def test_rarer_terms_weigh_more():
    found = [SimpleNamespace(end=i, words=words) for i, words in enumerate(({"a", "b"}, {"a"}, {"c"}, set()))]
    seen = SimpleNamespace(units=lambda unit: found, terms={"a", "b", "d"})
    two, four = math.log(1 + 4 / 2), math.log(1 + 4 / 1)
    assert matches(seen, "line", 1.0) == [(0, pytest.approx(two + four)), (1, pytest.approx(two)), (2, 0), (3, 0)]
    assert matches(seen, "line", 0.3) == [(0, pytest.approx(four)), (1, 0), (2, 0), (3, 0)]


def test_until_best_ends_with_the_unit_that_shares_most():
    document = "\n".join(["Serial number: 5.", *LINES[:4], "The number is great.", *LINES[4:8]])
    one = encoded(document, "serial number")
    last, best = (lengths(f"question_aware(unit=line, until={u}, rare=1.0)", one)[0] for u in ("last", "best"))
    assert TOKENIZER.decode(list(one.tokens[:best])) == "Serial number: 5.\n"
    assert last > best


def test_units_after_the_last_one_are_prefix_too():
    one = encoded(question="Label 7")
    ends = [unit.end for unit in Seen(one, TOKENIZER).units("line")]
    settings = "unit=line, rare=0.3, until=best"
    assert lengths(f"question_aware({settings})", one) == [ends[7]]
    assert lengths(f"question_aware({settings}, after=2)", one) == [ends[9]]
    assert lengths(f"question_aware({settings}, after=99)", one) == [ends[-1]]


def test_where_no_unit_shares_a_term_all_of_the_prompt_is_prefix():
    one = encoded(question="Zebra")
    assert lengths("question_aware", one) == [len(one.tokens)]


def test_words_of_the_template_are_no_terms_of_the_question():
    one = encoded("Question and Answer. " * 9, "Who signed?", form=template("question"))
    assert Seen(one, TOKENIZER).terms == {"who", "signed"}


def test_repeats_count_as_what_is_shown_and_cues_do_not():
    one = encoded(strategy="twice", document="Alpha: 1\nBeta: 2\nGamma: 3\nDelta: 4", question="Beta")
    found = Seen(one, TOKENIZER).units("line")
    assert ["beta" in unit.words for unit in found] == [False, True, False, False] * 2
    assert [unit.end for unit in found] == sorted(unit.end for unit in found)


def test_policies_that_need_the_question_refuse_a_prompt_without_one():
    for name in ("document", "question_aware"):
        with refused(BadInput, got=containing("document"), naming="question"):
            lengths(name, row_of(range(9)))


@pytest.mark.parametrize("name", [n for n in POLICIES if n != "learned"] + ["entropy(of=model)"])
def test_a_batch_gives_what_rows_give(lm, name):
    rows = [encoded(), encoded("Short: 1", "Short"), encoded("word " * 200, "word"), encoded(strategy="twice")]
    together = policy(name).choose(rows, lm)
    assert together == [policy(name).choose([row], lm)[0] for row in rows]
    assert all(0 <= choice.prefix_len <= len(row.tokens) for choice, row in zip(together, rows, strict=True))


def test_hostile_prompts_have_lengths_too(lm):
    rows = [encoded("\ufffd\ud7ff é 漢字 " * 9, "漢字"), encoded("x", ""), encoded("\n \t\n.", "?")]
    for name in POLICIES:
        if name != "learned":
            for row, choice in zip(rows, policy(name).choose(rows, lm), strict=True):
                assert 0 <= choice.prefix_len <= len(row.tokens)


def test_features_are_those_that_files_name_and_finite():
    found = prompt_features(Seen(encoded(), TOKENIZER))
    assert tuple(found) == FEATURES
    assert all(0 <= value <= 1.2 for value in found.values())
    late, early = (prompt_features(Seen(encoded(question=q), TOKENIZER)) for q in ("Label 11", "Label 0"))
    assert late["first match"] > early["first match"]


def test_a_learned_policy_is_loaded_used_and_named_by_its_content(file):
    one = policy(f"learned(path='{file}')")
    assert "sha=" in str(one) and str(policy(str(one))) == str(one)
    early, late = encoded(question="0"), encoded(question="11")
    assert [c.prefix_len for c in one.choose([early, late], tokenizer=TOKENIZER)] == [
        len(early.tokens),
        math.floor(len(late.tokens) / 4 + 0.5),
    ]
    facts = json.loads(file.read_text())
    facts["weights"][0][-1] = 0.31
    file.write_text(json.dumps(facts))
    with refused(
        BadInput, got=lambda sha: sha not in str(one), allowed=lambda sha: f"sha={sha}" in str(one).replace("'", "")
    ):
        policy(str(one))
    assert str(policy(f"learned(path='{file}')")) != str(one)


@pytest.mark.parametrize(
    ("key", "value", "fields"),
    [
        ("version", 2, {"got": "2", "allowed": 1}),
        ("features", ["length"], {"got": ["length"], "naming": "features"}),
        ("actions", [], {"got": "[]", "naming": "actions"}),
        ("actions", ["prompt", "question_aware"], {"got": "question_aware", "naming": "action"}),
        ("actions", ["prompt", "long"], {"kind": UnknownName, "got": "long", "naming": "policy"}),
        ("mean", [0.0], {"got": "[0.0]", "naming": "mean"}),
        ("mean", [float("nan")] * len(FEATURES), {"got": containing("[nan, nan"), "naming": "mean"}),
        ("scale", [0.0] * len(FEATURES), {"got": 0.0, "naming": "scale"}),
        ("weights", [[0.0] * len(FEATURES)] * 2, {"got": containing("[0.0, 0.0"), "naming": "weights"}),
        ("weights", [[True] * (len(FEATURES) + 1)] * 2, {"got": containing("[True"), "naming": "weights"}),
        ("weights", "many", {"got": None, "allowed": "2 rows", "naming": "weights"}),
    ],
)
def test_broken_learned_files_are_refused(file, key, value, fields):
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, key: value}))
    with refused(**{"kind": BadInput, **fields}):
        policy(f"learned(path='{file}')")


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "[" * 100_000])
def test_files_that_are_no_object_are_refused(file, text):
    file.write_text(text)
    with pytest.raises(BadInput):
        policy(f"learned(path='{file}')")


def test_words_alone_need_no_torch():
    code = "import sys, reread.policies as p; p.policy('entropy(increment=0.05)'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("role", ["published", "context"])
def test_a_prompt_without_a_question_cannot_be_cut_by_one(role):
    whole = Encoded((5, 6, 7, 8), ((role, 0, 4),), 4)
    for name in ("question_aware", "document"):
        with refused(BadInput, got=containing(role), naming="question"):
            policy(name).choose([whole], tokenizer=TOKENIZER)


def test_an_action_that_is_learned_itself_is_refused_and_no_number_is_too_large(tmp_path):
    file = tmp_path / "policy.json"
    size = len(FEATURES)
    facts = {"version": 1, "features": list(FEATURES), "mean": [0.0] * size, "scale": [1.0] * size}
    file.write_text(json.dumps({**facts, "actions": [f"learned(path='{file}')"], "weights": [[0.0] * (size + 1)]}))
    with refused(BadInput, got=f"learned(path='{file}')", naming="action"):
        policy(f"learned(path='{file}')")
    (choice,) = policy(f"fixed(n={10**400})").choose([Encoded((1, 2), (("document", 0, 2),), 2)])
    assert choice.prefix_len == 2

"""Learnt emphasis: weights that find what helped, and say how well."""

import json
import random

import pytest
from raising import refused

from reread.engine import Reader
from reread.errors import BadInput
from reread.models import LM, load_tokenizer
from reread.prompting import Sample, build, features, template
from reread.prompting.ranking import Emphasis, scores
from reread.training.emphasis import Look, fit, fit_emphasis, ranked

UNITS = ["The code is X-17.", "It rains.", "Nothing happens in this long sentence about weather.", "Total: 12345"]


def invented(helpful, documents=30):
    """Looks at units whose gain is `helpful` of their features, plus a little noise and a constant per document."""
    draw, found = random.Random(0), []
    for n in range(documents):
        constant = draw.gauss(0, 5)
        for row in features([f"{u} {draw.random():.3f}" for u in draw.sample(UNITS * 2, 4)], "code total"):
            found.append(Look(str(n), "code total", row, constant + helpful(row) + draw.gauss(0, 0.01)))
    return found


def test_the_weights_find_what_helps():
    weights = fit(invented(lambda row: 2.0 * row["bm25"] - 1.0 * row["length"]))
    assert weights["bm25"] > 1.0 and weights["length"] < -0.3
    assert all(abs(weights[name]) < 0.3 for name in ("place", "colon"))


def test_the_order_of_other_documents_is_judged():
    found = invented(lambda row: row["bm25"])
    right = {name: float(name == "bm25") for name in found[0].features}
    told, turned = ranked(right, found), ranked({k: -v for k, v in right.items()}, found)
    assert told["in order"] > 0.85 and turned["in order"] < 0.15 and told["pairs"] == turned["pairs"] > 50
    assert told["interval"][0] <= told["in order"] <= told["interval"][1]
    assert ranked(dict.fromkeys(right, 0.0), found)["in order"] == 0.5


def test_only_looks_for_one_question_are_compared():
    low, high = (
        {**found.features, "length": x}
        for found, x in ((invented(lambda row: 0.0)[0], 0.1), (invented(lambda row: 0.0)[0], 0.9))
    )
    easy = [Look("d", "easy", low, 5.0), Look("d", "easy", high, 6.0)]
    hard = [Look("d", "hard", low, -6.0), Look("d", "hard", high, -5.0)]
    assert ranked({"length": 1.0}, easy + hard) == {"in order": 1.0, "interval": [0.2065, 1.0], "pairs": 2}
    assert fit(easy + hard)["length"] > 0.2
    with refused(BadInput, naming="gained"):
        ranked({"length": 1.0}, [easy[0], hard[0]])


@pytest.fixture
def lm(tiny_model):
    tokenizer = load_tokenizer("embedded")
    return LM("tiny", tiny_model(vocab_size=tokenizer.get_vocab_size()), tokenizer)


def test_weights_are_fitted_saved_and_used(lm, tmp_path):
    samples = [Sample(str(i), " ".join(UNITS) + f" Id {i}.", "code", ("X-17",), "field", ("X-17",)) for i in range(6)]
    file = tmp_path / "new" / "weights.json"
    found = fit_emphasis(Reader(lm), samples, file, count=3)
    assert found["looks"] == 18 and found["held out"]["documents"] == 2 and json.loads(file.read_text()) == found
    got = scores(f"learned({file})", UNITS, "code", None)
    assert got == pytest.approx(Emphasis(found["weights"]).scores(UNITS, "code")) and len(set(got)) > 1
    name = f"selective(k=1, by='learned({file})')"
    assert build(name, " ".join(UNITS), "code", template("field")).parts[2].text.strip() == UNITS[got.index(max(got))]


def test_too_few_documents_and_broken_weights_are_refused(lm, tmp_path):
    with refused(BadInput, got=1, naming="documents"):
        fit_emphasis(Reader(lm), [Sample("1", "a b.", "a", ("b",))], tmp_path / "w.json")
    (tmp_path / "bad.json").write_text('{"weights": {"bm25": 1}}')
    with refused(BadInput, got=["bm25"], naming="features"):
        Emphasis.load(tmp_path / "bad.json")
    with refused(BadInput, naming=tmp_path / "none.json"):
        Emphasis.load(tmp_path / "none.json")

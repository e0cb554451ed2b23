"""Rows of the reader: what a question sees, where the loss is, and which documents are kept apart."""

import gzip
import json
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models import LM
from reread.models.families import tiny
from reread.models.kv_attention import masked_logits
from reread.models.kv_choice import choose
from reread.models.kv_scores import Cue, read_and_score
from reread.models.kv_selection import selection
from reread.prompting import NOT_FOUND, TEMPLATES, build, decode
from reread.training import reader_sources as sources
from reread.training.reader import (
    IGNORE,
    SHARED,
    ReaderRows,
    Steps,
    collate,
    layout_of,
    row_logits,
    row_loss,
    use_own_attention,
    use_rows_attention,
)
from reread.training.reader_recipe import ReaderConfig, ReaderData
from reread.training.reader_sources import Asked, AskedDocument, build_sources
from reread.training.reader_states import Keeper

DOCUMENT = AskedDocument(
    "note",
    "The mill was built by Berta in 1712. It ground grain.",
    (Asked("Who built the mill?", "Berta"), Asked("year", "1712"), Asked("Price", None)),
)
FORM = TEMPLATES["reader"]


@pytest.fixture
def config(tmp_path):
    data = ReaderData(mix={"squadshifts": 0.6, "fda": 0.4}, layouts={"once": 1.0}, longest=300, aside=4)
    return ReaderConfig(str(tmp_path / "run"), 4, step_tokens=600, data=data)


@pytest.fixture
def rows(config, byte_tokenizer):
    return ReaderRows(byte_tokenizer, config, {})


@pytest.fixture
def made(config, byte_tokenizer, small_data):
    return ReaderRows(byte_tokenizer, config, build_sources(config, small_data))


def small(row):
    """The row with ids that a tiny model has."""
    return replace(row, tokens=row.tokens % 97, targets=np.where(row.targets == IGNORE, IGNORE, row.targets % 97))


@torch.no_grad()
def test_a_questions_logits_are_those_of_the_document_and_that_question_alone(rows):
    row = small(rows.row(DOCUMENT, "once", 300))
    other = small(rows.row(replace(DOCUMENT, text="Another text. " * 4), "once", 300))
    model = tiny("llama").model
    use_rows_attention(model)
    columns = collate([other, row])
    start = len(other.tokens)
    together = row_logits(model, columns, torch.arange(start, start + len(row.tokens)))
    use_own_attention(model)
    for number in (1, 2, 3):
        seen = (row.block == 0) | (row.block == number)
        alone = model(torch.from_numpy(row.tokens[seen])[None]).logits[0]
        assert (row.positions[seen] == np.arange(seen.sum())).all()
        torch.testing.assert_close(together[torch.from_numpy(seen)], alone, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["reread(share=0.25)", "keydiff(tokens=8)", "window(share=0.5, heads=equal)"])
def test_questions_of_a_row_see_of_the_document_what_a_selection_keeps(rows, name):
    row = replace(small(rows.row(DOCUMENT, "once", 300)), selection=name)
    whole, lm = replace(row, selection="full"), tiny("llama")
    model, columns = lm.model, collate([whole, row])
    keeper = Keeper(LM("tiny", lm, rows.tokenizer))
    keeper.cue = Cue((5, 6, 7))
    stays = keeper.stays(columns)
    start, shared = len(row.tokens), row.shared
    use_rows_attention(model)
    together = row_logits(model, columns, torch.arange(2 * start), stays)
    use_own_attention(model)
    chosen, document = selection(name), torch.from_numpy(row.tokens[:shared])[None]
    reading = read_and_score(lm, document, [chosen], keeper.cue)
    kept = choose(reading.scores[str(chosen)], chosen, reading.sizes)
    for number in (1, 2, 3):
        own = torch.from_numpy(np.flatnonzero(row.block == number))
        question = torch.from_numpy(row.tokens)[own][None]
        want = masked_logits(lm, document, question, kept)[0]
        torch.testing.assert_close(together[start + own], want, rtol=0, atol=1e-4)
        assert (together[own] - want).abs().max() > 1e-2  # of the row that sees the whole document
    assert stays[0] is None and not all(bool(one.all()) for one in stays[1].values())


def test_gradients_run_through_the_kept_keys_and_not_through_the_dropped_ones(rows):
    row = small(rows.row(DOCUMENT, "once", 300))
    model = tiny("llama").model
    use_rows_attention(model)
    vectors = model.get_input_embeddings()(torch.from_numpy(row.tokens)[None]).detach().requires_grad_()
    layers, heads = model.config.num_hidden_layers, model.config.num_key_value_heads
    keeps = torch.arange(row.shared) < 10
    columns, layer = collate([row]), layers - 1
    stays = [{layer: keeps.expand(heads, -1)}]
    layout = layout_of(columns["lengths"], columns["block"], stays)
    only = [replace(one, stays={i: keeps.expand(heads, -1) for i in range(layers)}) for one in layout]
    out = model(inputs_embeds=vectors, position_ids=columns["position_ids"], use_cache=False, row_layout=only).logits
    out[0, row.shared :].float().logsumexp(-1).mean().backward()
    size = vectors.grad[0].abs().amax(dim=-1)
    assert (size[:10] > 0).all() and (size[10 : row.shared] == 0).all() and (size[row.shared :] > 0).any()


def test_a_rows_selection_is_a_function_of_seed_and_number_and_changes_nothing_else(made):
    spec = replace(made.config.data, selections={"full": 0.5, "reread(share=0.25)": 0.5})
    other = ReaderRows(made.tokenizer, replace(made.config, data=spec), made.sources)
    names = []
    for number in range(12):
        row, same = other[number], other[number]
        assert (row.tokens == made[number].tokens).all() and row.selection == same.selection
        names.append(row.selection)
    assert set(names) == set(spec.selections)


@torch.no_grad()
def test_the_loss_is_the_mean_over_answer_tokens_of_each_question_alone(rows):
    row = small(rows.row(DOCUMENT, "once", 300))
    model = tiny("llama").model
    use_rows_attention(model)
    got = row_loss(model, collate([row, row]))
    use_own_attention(model)
    parts = []
    for number in (1, 2, 3):
        seen = (row.block == 0) | (row.block == number)
        logits = model(torch.from_numpy(row.tokens[seen])[None]).logits[0]
        targets = torch.from_numpy(row.targets[seen])
        at = targets != IGNORE
        parts.append(torch.nn.functional.cross_entropy(logits[at], targets[at], reduction="none"))
    torch.testing.assert_close(got, torch.cat(parts).mean(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", ["once", "twice(cue=False)", "twice", "question_first", "cqcq", "selective(k=1)"])
def test_rows_hold_what_will_be_asked_and_the_loss_is_on_answers_and_line_ends(rows, byte_tokenizer, layout):
    if layout.startswith("selective"):
        pytest.importorskip("bm25s", reason="needs the package bm25s")
    row = rows.row(DOCUMENT, layout, 300)
    assert len(row.asked) == (3 if layout in SHARED else 1)
    for number, one in enumerate(row.asked, start=1):
        seen = (row.block == 0) | (row.block == (number if layout in SHARED else 0))
        tokens, targets = row.tokens[seen], row.targets[seen]
        prompt = build(layout, DOCUMENT.text, one.ask, FORM, tokenizer=byte_tokenizer).encode(byte_tokenizer).tokens
        assert tuple(tokens[: len(prompt)]) == prompt
        answer = FORM.answer(one.answer or NOT_FOUND)
        assert decode(tokens[len(prompt) :].tolist(), byte_tokenizer) == answer and answer.endswith("\n")
        trained = np.flatnonzero(targets != IGNORE)
        assert (trained == np.arange(len(prompt) - 1, len(tokens) - 1)).all()
        assert (targets[trained] == tokens[trained + 1]).all()


def test_a_row_and_a_step_are_functions_of_seed_and_number(made, config, byte_tokenizer):
    again = ReaderRows(byte_tokenizer, config, made.sources)
    for index in (7, 0, 3):
        assert (again[index].tokens == made[index].tokens).all()
    other = ReaderRows(byte_tokenizer, replace(config, seed=1), made.sources)
    assert any(len(other[i].tokens) != len(made[i].tokens) or (other[i].tokens != made[i].tokens).any() for i in (0, 1))
    late = Steps(again)[3]
    assert [row.document for row in late] == [row.document for row in Steps(made)[3]]
    assert sum(len(row.tokens) for row in late) >= 0.75 * config.step_tokens
    assert sum(len(row.tokens) for row in late[:-1]) < 0.75 * config.step_tokens


def bases(source):
    """The texts of a source's documents: those to train with, those set aside."""
    text = (lambda one: one.text) if hasattr(source.train[0], "text") else (lambda one: one[0])
    return {text(one) for one in source.train}, {text(one) for one in source.aside}


def test_documents_set_aside_are_never_trained_on(made):
    for source in made.sources.values():
        train, aside = bases(source)
        assert train and aside and not train & aside
    rng = np.random.default_rng(0)
    _, aside = bases(made.sources["squadshifts"])
    for _ in range(30):
        drawn = made.sources["squadshifts"].draw(rng, 100)
        assert not any(text in drawn.text for text in aside)
        kept = made.sources["squadshifts"].draw(rng, 100, aside=True)
        assert any(piece in text for text in aside for piece in kept.text.split("\n\n"))


def test_documents_that_fda_aside_asks_are_in_neither_part(made, small_data):
    from reread.tasks.recall import task

    asked = {sample.document for sample in task("fda-aside").load(small_data).samples}
    train, aside = bases(made.sources["fda"])
    assert asked and not asked & (train | aside)


def test_answers_stand_in_the_document_and_absent_ones_do_not(made):
    rng = np.random.default_rng(0)
    for source in made.sources.values():
        source.absent = 0.6
        found = [source.draw(rng, 120) for _ in range(60)]
        answers = [one.answer is None for document in found for one in document.asked]
        assert any(answers) and not all(answers)
        for document in found:
            assert all(one.answer.lower() in document.text.lower() for one in document.asked if one.answer)


def test_the_sentence_with_the_answer_is_taken_out():
    text = "A mill stands here.\nBerta built it in 1712. It ground grain. The roof is new, and the wheel too."
    document = AskedDocument("x", text, (Asked("When was it built?", "1712"), Asked("Who?", "Berta")))
    rng = np.random.default_rng(0)
    made = sources.without_answer(document, rng)
    assert "1712" not in made.text and "Berta" not in made.text and "It ground grain." in made.text
    assert [one.answer for one in made.asked] == [None]
    spanning = AskedDocument(
        "x", "It is new. Dr. Roe built it in 1712. It is a mill with a wheel and a roof that was once red.",
        (Asked("When?", "1712"), Asked("Who?", "Dr. Roe")),
    )  # fmt: skip
    for seed in range(4):
        made = sources.without_answer(spanning, np.random.default_rng(seed))
        assert all(one.answer is None or one.answer in made.text for one in made.asked)
    assert sources.taken_out("Only 1712.", "1712") is None
    assert sources.taken_out("In 1712 a. 1712 b.", "nothing") is None


def test_a_question_about_what_the_text_mentions_is_not_foreign():
    text = "The mill of the town was built by Berta."
    assert sources.foreign("Who married Carla?", text)
    assert sources.foreign("does the bridge carry railway traffic?", text)
    assert not sources.foreign("Who built the mill?", text)
    asked = ["What problem does the author have?"] * 3 + [f"Where is x{i}?" for i in range(300)]
    assert {"author", "problem"} <= sources.generic_words(asked) and "x7" not in sources.generic_words(asked)
    assert not sources.foreign("What problem does the author have?", text, sources.generic_words(asked))


def test_office_documents_come_from_the_generator_and_some_are_kept_apart():
    def draw(rng, tokens):
        assert tokens >= 80  # the generator refuses shorter documents
        number = int(rng.integers(10_000))
        asked = (types.SimpleNamespace(ask="Number", answer=str(number), type="id"),)
        return types.SimpleNamespace(kind="invoice", text=f"Number: {number}", asked=asked)

    source = sources.OfficeSource(draw, 5, 80)
    rng = np.random.default_rng(0)
    train = {source.draw(rng, 50).text for _ in range(200)}
    aside = {source.draw(rng, 50, aside=True).text for _ in range(50)}
    assert not train & aside and all(sources.is_aside(text, 5) for text in aside)
    assert source.draw(rng, 50).kind == "invoice"


def test_boolq_pubmed_and_babi_are_read(tmp_path):
    (tmp_path / "boolq").mkdir()
    with gzip.open(tmp_path / "boolq" / "boolq.jsonl.gz", "wt") as file:
        row = {"query": "Passage: A text.\nQuestion: is it a text?", "choices": ["no", "yes"], "gold": 1}
        file.write(json.dumps(row) + "\n")
    (tmp_path / "pubmed_qa").mkdir()
    with gzip.open(tmp_path / "pubmed_qa" / "pubmed_qa_labeled.jsonl.gz", "wt") as file:
        for answer in ("no", "maybe"):
            query = f"Context: A {answer} study.\nQuestion: Does it help?\nA. yes\nB. no\nC. maybe\nAnswer: "
            file.write(json.dumps({"context": query, "continuation": answer}) + "\n")
    assert sources.boolq(tmp_path) == [("A text.", [("Is it a text?", "yes")])]
    assert sources.pubmed_qa(tmp_path) == [("A no study.", [("Does it help?", "no")])]
    story = (
        "1 Mary went home.\n2 Where is Mary? \thome\t1\n3 Mary left.\n4 John is in the park.\n5 Where is John?\tpark\t4"
    )
    assert list(sources.stories(story + "\n1 Joe sat.\n")) == [
        ("Mary went home.\nMary left.\nJohn is in the park.", [("Where is John?", "park")])
    ]


@pytest.mark.parametrize(
    ("changes", "error", "fields"),
    [
        ({"dtype": "fp16"}, UnknownName, {"got": "fp16"}),
        ({"steps": 0}, BadInput, {"got": 0}),
        ({"learning_rate": 0.0}, BadInput, {"got": 0.0}),
        ({"start_adapter": "x"}, BadInput, {"got": containing("'x'")}),
        ({"data": ReaderData(mix={"ofice": 1.0})}, UnknownName, {"got": "ofice"}),
        ({"data": ReaderData(mix={"office": 0.0})}, BadInput, {"naming": "data.mix"}),
        ({"data": ReaderData(layouts={"tvice": 1.0})}, UnknownName, {"got": "tvice"}),
        ({"data": ReaderData(absent={"fda": 1.5})}, BadInput, {"allowed": "0 to 1"}),
        ({"data": ReaderData(absent={"office": 0.2})}, BadInput, {"got": containing("0.2")}),
        ({"data": ReaderData(longest=20)}, BadInput, {"got": 20}),
        ({"data": ReaderData(selections={"rereed(share=0.5)": 1.0})}, UnknownName, {"got": "rereed"}),
        ({"data": ReaderData(selections={"full": 0.0})}, BadInput, {"naming": "data.selections"}),
        ({"data": ReaderData(selections={"reread(loss=0.1)": 1.0})}, BadInput, {"got": "reread(loss=0.1)"}),
        ({"data": ReaderData(selections={"window(tokens=9, read=9)": 1.0})}, BadInput, {"naming": "read"}),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(config, changes, error, fields):
    with refused(error, **fields):
        replace(config, **changes).check()

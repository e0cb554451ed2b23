"""Rows: what each position trains is data, and row i is a function of (seed, i)."""

import gzip
import json
import lzma

import numpy as np
import pytest
import torch
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models import load_tokenizer
from reread.tasks.recall import fda_aside
from reread.training.corpus import corpus
from reread.training.data import (
    DataConfig,
    EpisodeRows,
    Rows,
    Stage,
    StagedBatches,
    inside_targets,
    spans_row,
    text_row,
)
from reread.training.episodes import (
    TEXTS,
    Episode,
    SentenceSource,
    asked_paragraphs,
    find_fields,
    question_files,
    table_documents,
)
from reread.training.objective import IGNORE, MASKED, NEXT
from reread.training.trainer import TrainConfig, build_rows

EPISODE = Episode("Applicant: Roche Ltd\nCode: X-17", (("Applicant", "Roche Ltd"), ("Code", "X-17")), "field")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded")


def make(tokenizer, prefix=True):
    return EpisodeRows(tokenizer, DataConfig(), tokenizer.token_to_id("<|mask|>") if prefix else None)


def trained_text(tokenizer, row):
    return tokenizer.decode(row.targets[row.kind == NEXT].tolist())


@pytest.mark.parametrize("layout", ["once", "question_first", "twice"])
def test_an_episode_trains_its_answers_and_nothing_else(tokenizer, layout):
    row = make(tokenizer).row(EPISODE, layout, 128)
    assert trained_text(tokenizer, row) == " Roche Ltd\n X-17\n"


def test_the_step_from_the_prefix_into_the_answer_is_trained(tokenizer):
    row = make(tokenizer).row(EPISODE, "once", 128, prefix="prompt")
    assert row.kind[row.prefix_len - 1] == NEXT
    assert tokenizer.decode([int(row.targets[row.prefix_len - 1])]) == " Roche"


def test_no_answer_stands_inside_the_prefix_of_its_own_question(tokenizer):
    for prefix in ("prompt", "document", None):
        row = make(tokenizer).row(EPISODE, "twice", 128, prefix=prefix)
        assert np.nonzero(row.kind == NEXT)[0].min() >= row.prefix_len - 1


def test_the_twins_train_the_same_positions_and_only_one_masks(tokenizer):
    class Always:
        def draw(self, rng, tokens):
            return EPISODE

    inside = 0
    for seed in range(20):
        ours, twin = (make(tokenizer, p).draw(Always(), 128, np.random.default_rng(seed)) for p in (True, False))
        assert (ours.kind == twin.kind).all()
        outside = ours.kind == NEXT
        assert (ours.targets[outside] == twin.targets[outside]).all()
        at = twin.kind == MASKED
        inside += at.sum()
        assert (ours.tokens[at] == 1).all() and not (twin.tokens == 1).any()
        assert (twin.targets[at] == twin.tokens[np.nonzero(at)[0] + 1]).all()
    assert inside > 20


def test_masking_trains_what_stood_there_and_spares_answers_and_the_last_prefix_token(tokenizer):
    row = make(tokenizer).row(EPISODE, "twice", 128, prefix="prompt")
    masked = inside_targets(row, np.random.default_rng(0), 0.9, 1)
    at = masked.kind == MASKED
    assert at.any()
    assert (masked.tokens[at] == 1).all() and (masked.targets[at] == row.tokens[at]).all()
    assert not at[row.prefix_len - 1 :].any()
    assert not np.isin(row.tokens[at], row.targets[row.answer > 0]).any()
    assert (masked.kind[~at] == row.kind[~at]).all()


def test_text_rows_train_from_the_last_prefix_token_on():
    row = text_row(np.arange(1000, dtype=np.uint16), 64, np.random.default_rng(0))
    assert (row.kind[: row.prefix_len - 1] == IGNORE).all()
    assert (row.kind[row.prefix_len - 1 :] == NEXT).all()
    assert (row.targets == row.tokens + 1).all()


def test_span_rows_ask_only_for_tokens_of_the_document():
    ids = np.arange(10, 1010, dtype=np.uint16)
    row = spans_row(ids, 128, np.random.default_rng(1), newline=5)
    trained = row.kind == NEXT
    assert trained.sum() > 10
    assert np.isin(row.targets[trained], row.tokens[: row.prefix_len]).all()
    assert (row.targets[trained] == row.tokens[trained] + 1).all()


def test_a_short_row_of_spans_is_possible():
    row = spans_row(np.arange(10, 1010, dtype=np.uint16), 24, np.random.default_rng(1), newline=5)
    assert (row.kind == NEXT).any()


def test_documents_set_aside_are_in_no_row_source(small_data, tokenizer):
    """On the data folder of conftest.py, whose text files hold three documents of the table, two of them set aside."""
    config = TrainConfig(out="unused", stages=(Stage(1, 96, 1),), data=DataConfig(characters=10**6, set_aside=5))
    rows, _ = build_rows(config, tokenizer, small_data, prefix=True)
    devices = list(table_documents(small_data).values())
    numbers = [document.fields[0][1] for document in devices]  # each stands in its own document alone
    seen = [document.text for name in ("fields", "table") for document in rows.sources[name].documents]
    seen += [tokenizer.decode(ids.tolist()) for ids in rows.text.values()]
    assert all(any(number in text for text in seen) for number in numbers[:-5])
    assert not any(number in text for number in numbers[-5:] for text in seen)
    kept = dict(rows.sources["questions"].paragraphs)
    every = asked_paragraphs(question_files(small_data))
    assert [text for text, _ in every if text not in kept] == [text for text, _ in every[-5:]]


def own_table(folder, names):
    """A data folder with a training table alone: a document per name, its number asked."""
    (folder / "fda_510k").mkdir(parents=True)
    texts = {
        name: f"Contract number: C-{i}\nSigned in the year 20{i:02} by Firm {i}.\n" for i, name in enumerate(names)
    }
    lines = [json.dumps({"file_name": name, "text": text}) + "\n" for name, text in texts.items()]
    (folder / "fda_510k" / "train_docs.jsonl.xz").write_bytes(lzma.compress("".join(lines).encode()))
    table = {name: {"contract_number": f"C-{i}"} for i, name in enumerate(names)}
    (folder / "fda_510k" / "train_table.json").write_text(json.dumps(table))
    return folder


def table_alone(**changes):
    data = DataConfig(**{"mix": {"table": 1.0}, "set_aside": 3, **changes})
    return TrainConfig(out="unused", stages=(Stage(1, 96, 1),), data=data)


def test_ones_own_table_is_enough_and_every_document_keeps_its_own_answers(tmp_path, tokenizer):
    data = own_table(tmp_path, [f"contract_{i}.txt" for i in range(12)])
    documents = table_documents(data)
    assert len(documents) == 12
    assert all(answer in document.text for document in documents.values() for _, answer, _ in document.fields)
    assert len({sample.document for sample in fda_aside(data)}) == 12  # fewer than are set aside there
    rows, aside = build_rows(table_alone(), tokenizer, data, prefix=True)
    assert len(rows.sources["table"].documents) == 9 and list(aside) == ["fda"] and (rows[(0, 0)].kind == NEXT).any()


def test_two_files_of_one_document_in_a_table_are_refused(tmp_path):
    with refused(BadInput, got="K1", naming="document"):
        table_documents(own_table(tmp_path, ["K1.md", "K1_REVIEW.md"]))


@pytest.mark.parametrize(
    ("mix", "fields"),
    [
        (
            {"table": 1.0},
            {"got": "3 documents, 3 set aside"},
        ),
        ({"fields": 1.0}, {"got": "0 texts, 0 set aside", "naming": "Label"}),
        ({"sentences": 1.0}, {"got": "0 pages, 0 set aside", "naming": "wiki-00"}),
        ({"questions": 1.0}, {"got": "2 paragraphs, 3 set aside"}),
        ({"text": 1.0}, {"got": "3 tokens", "allowed": containing("98"), "naming": "text/fda510k-01"}),
    ],
)
def test_a_source_with_nothing_to_train_with_is_one_sentence(tmp_path, tokenizer, mix, fields):
    data = own_table(tmp_path, [f"{i}.txt" for i in range(3)])
    for folder in ("text", "squadshifts"):
        (data / folder).mkdir()
    line = json.dumps({"text": "short", "meta": None}) + "\n"
    for name in ("fda510k-00", *TEXTS):
        (data / "text" / f"{name}.jsonl.xz").write_bytes(lzma.compress(line.encode()))
    asked = [{"id": "1", "question": "What?", "answers": [{"text": "it"}]}]
    for path in question_files(data):
        told = {"data": [{"paragraphs": [{"context": f"it is {path.name}", "qas": asked}]}]}
        path.write_bytes(gzip.compress(json.dumps(told).encode()))
    with refused(BadInput, **fields):
        build_rows(table_alone(mix=mix), tokenizer, data, prefix=True)


def test_the_task_to_choose_with_asks_the_documents_set_aside(small_data):
    aside = list(table_documents(small_data).values())[-DataConfig().set_aside :]
    assert {sample.document for sample in fda_aside(small_data)} == {document.text for document in aside}


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (
            lzma.compress(b'{"text": "one"}\n' * 999)[:-40],
            {"got": containing("ended before"), "naming": "text.jsonl.xz"},
        ),
        (
            lzma.compress(b'{"text": "one"}\n{"no": 1}\n'),
            {"got": "no", "allowed": "text", "naming": ("text.jsonl.xz", "line 2")},
        ),
    ],
)
def test_a_broken_file_of_training_text_is_refused_in_a_sentence(tmp_path, content, fields):
    path = tmp_path / "text.jsonl.xz"
    path.write_bytes(content)
    with refused(BadInput, **fields):
        list(corpus(path, 10**6))


def test_program_made_questions_hold_words_of_their_sentence_and_not_the_answer():
    sentence = "The old bridge over the river was built by George Stephenson in 1824 for coal wagons."
    source = SentenceSource([" ".join([sentence] * 8)])
    rng = np.random.default_rng(0)
    questions = [q for _ in range(20) for q in source.draw(rng, 200).questions]
    assert {"George Stephenson", "1824"} == {answer for _, answer in questions}
    for question, answer in questions:
        assert question.endswith("?") and answer not in question
        assert set(question[:-1].split()[2:]) - {"what", "year", "many", "number"} <= set(sentence[:-1].split())


def test_stages_follow_one_another_and_rows_are_never_repeated():
    batches = list(StagedBatches([Stage(2, 8, 3), Stage(1, 16, 2)]))
    assert [len(b) for b in batches] == [3, 3, 2]
    assert [key[0] for batch in batches for key in batch] == list(range(8))
    assert {key[1] for key in batches[-1]} == {1}


def test_a_stage_with_a_mix_of_its_own_draws_from_that_alone():
    drawn = []

    class Episodes:
        config = DataConfig(mix={"fields": 1.0})

        def draw(self, source, T, rng):
            drawn.append(source)

    sources = {name: name for name in ("fields", "forms")}
    rows = Rows(Episodes(), sources, {}, [Stage(2, 8, 1, mix={"forms": 1.0}), Stage(2, 8, 1)], seed=0)
    for key in ((0, 0), (1, 0), (2, 1), (3, 1)):
        rows[key]
    assert drawn == ["forms", "forms", "fields", "fields"]


def test_a_row_of_two_questions_reads_as_one_text(tokenizer):
    row = make(tokenizer).row(EPISODE, "once", 128)
    text = tokenizer.decode(row.tokens.tolist()).split("<|")[0].rstrip("\0")
    assert text.startswith("Applicant: Roche Ltd\nCode: X-17\nApplicant: Roche Ltd\nCode: X-17")


def test_row_i_is_a_function_of_seed_and_i(small_data, tokenizer):
    config = TrainConfig(out="unused", stages=(Stage(1, 96, 1),), data=DataConfig(characters=100_000, set_aside=5))
    rows, _ = build_rows(config, tokenizer, small_data, prefix=True)
    again, _ = build_rows(config, tokenizer, small_data, prefix=True)
    for i in (0, 7, 30):
        assert (rows[(i, 0)].tokens == again[(i, 0)].tokens).all()
    assert not (rows[(0, 0)].tokens == rows[(1, 0)].tokens).all()


def test_every_source_gives_rows_of_the_asked_length_with_something_to_learn(small_data, tokenizer):
    for source in DataConfig().mix:
        data = DataConfig(mix={source: 1.0}, characters=100_000, set_aside=5)
        config = TrainConfig(out="unused", stages=(Stage(1, 96, 1),), data=data)
        rows, _ = build_rows(config, tokenizer, small_data, prefix=True)
        for i in range(5):
            row = rows[(i, 0)]
            assert row.tokens.shape == row.targets.shape == row.kind.shape == (96,)
            assert (row.kind == NEXT).any(), source
            assert torch.from_numpy(row.tokens).max() < tokenizer.get_vocab_size()


def test_fields_are_found_on_one_line_and_over_two():
    text = "E. Applicant: Roche\n\nC. Measurand:\n\nIgG in serum\n1. Predicate 510(k) number(s): k1234\n"
    assert [(q, a) for q, a, _ in find_fields(text)] == [
        ("applicant", "Roche"),
        ("measurand", "IgG in serum"),
        ("predicate 510k number", "k1234"),
    ]
    assert all(text[place:].startswith(value) for _, value, place in find_fields(text))


def test_rows_draw_their_prefixes_by_policy(tokenizer):
    shares = {"none": 1.0, "share(r=0.5)": 1.0}
    config = DataConfig(layouts={"once": 1.0}, policies=shares, text_policies={"fixed(n=7)": 1.0})
    config.check()
    rows = EpisodeRows(tokenizer, config, None)

    class Always:
        def draw(self, rng, tokens):
            return EPISODE

    prompt = rows.row(EPISODE, "once", 128, prefix=None)
    found = {rows.draw(Always(), 128, np.random.default_rng(seed)).prefix_len for seed in range(30)}
    assert 0 in found and len(found) > 1 and max(found) < prompt.prefix_len
    row = text_row(np.arange(1000, dtype=np.uint16), 64, np.random.default_rng(0), rows.text_prefix)
    assert row.prefix_len == 7


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"policies": {}}, {"got": "{}", "naming": "data.policies"}),
        ({"policies": {"half": 1.0}}, {"kind": UnknownName, "got": "half", "naming": "policy"}),
        ({"policies": {"entropy(of=model)": 1.0}}, {"got": "entropy(of=model)", "allowed": "of=unigram"}),
        ({"text_policies": {"document": 1.0}}, {"got": containing("document"), "naming": "question"}),
    ],
)
def test_policies_of_training_must_be_told_from_tokens(changes, fields):
    with refused(**{"kind": BadInput, **fields}):
        DataConfig(**changes).check()

"""A stored state answers as a fresh reading does, for every family, and refuses what is not its own."""

import dataclasses
import hashlib

import pytest
import torch
from marks import slow
from raising import containing, refused
from tokenizers import Tokenizer, normalizers

from reread.engine import Reader
from reread.errors import BadInput, BadState, UnknownName
from reread.models import LM
from reread.models.families import TINY, tiny
from reread.models.packing import STATE_DTYPES
from reread.prompting import TEMPLATES, build, build_unasked, template
from reread.sessions import DocumentReader, relative, verify
from reread.statefile import decode, encode

QUESTIONS = ("Applicant", "Who pays the rent?", "Product code")


@pytest.mark.parametrize("prefix_encoder", [True, False], ids=["jrt", "causal"])
@pytest.mark.parametrize("strategy", ["once", "twice(cue=False)", "repeat(cue=False, n=3)"])
def test_a_restored_state_gives_the_logits_and_answers_of_a_fresh_reading(
    document_reader, read, source, prefix_encoder, strategy
):
    reader, doc = document_reader(prefix_encoder), source(0)
    session = reader.open(decode(encode(read(reader, doc, strategy=strategy)), "a state"), "full")
    answers = session.ask(QUESTIONS, max_new_tokens=9)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        form = template("question" if question.endswith("?") else "field")
        prompt = build(strategy, doc.text, question, form).encode(reader.lm.tokenizer)
        want, _ = reader.lm.read(torch.tensor([prompt.tokens]), prompt.spans[-1][1])
        tail = torch.tensor([prompt.tokens[prompt.spans[-1][1] :]])
        got, _ = reader.lm.extend(tail, session.state)
        assert relative(got[0, -1], want[0, -1]) < 1e-4
        fresh, _ = reader.reader.ask(doc.text, question, strategy=strategy, policy="document", max_new_tokens=9)
        assert (answer.text, answer.prompt_tokens, answer.prefix_len) == (
            fresh.text, fresh.prompt_tokens, fresh.prefix_len,
        )  # fmt: skip
        assert answer.read_tokens == tail.shape[1]
    assert len({answer.text for answer in answers}) > 1


def test_questions_leave_the_state_as_it_was(document_reader, read, source):
    reader = document_reader()
    session = reader.open(read(reader, source(0)))
    before = {name: x.clone() for name, x in session.state.to_flat().items()}
    alone = [session.ask([question], max_new_tokens=6)[0].text for question in QUESTIONS]
    assert [a.text for a in session.ask(QUESTIONS, max_new_tokens=6, batch=2)] == alone
    assert all(torch.equal(before[name], x) for name, x in session.state.to_flat().items())
    with refused(BadInput, got="' '", naming="question"):
        session.ask(["Applicant", " "])


FAST = ("llama", "mamba2", "recurrent_gemma", "bamba", "rwkv")


@pytest.mark.parametrize("family", [*FAST, *slow(*(name for name in TINY if name not in FAST))])
def test_every_family_is_read_kept_and_confirmed(family, byte_tokenizer, read, source, monkeypatch):
    monkeypatch.setitem(TINY, family, {**TINY[family], "vocab_size": 256})
    model = tiny(family)
    reader = DocumentReader(Reader(LM(family, model, byte_tokenizer)))
    ids = torch.tensor([byte_tokenizer.encode("What is it?").ids])
    for dtype in STATE_DTYPES:
        kept = decode(encode(read(reader, source(0), state_dtype=dtype)), "a state")
        session = reader.open(kept, "full")
        _, whole = model.read(kept.tokens[None], 0, last_only=True)
        want, got = (model.extend(ids, state, last_only=True)[0] for state in (whole, session.state))
        assert relative(got, want) < {"fp32": 1e-4, "bf16": 3e-2, "int8": 5e-2, "int4": 0.6}[dtype], dtype
    assert session.ask(["Applicant"], max_new_tokens=2)[0].new_tokens >= 1
    one = read(reader, dataclasses.replace(source(0), text="x"))
    assert reader.open(one, "full").ask(["Applicant"], max_new_tokens=2)[0].prompt_tokens == 1 + 11


@pytest.mark.parametrize("dtype", ["bf16", "int8", "int4"])
def test_fewer_bytes_cost_little_and_the_header_says_how_much(document_reader, read, source, dtype):
    reader = document_reader(feature_dim=8)
    whole, small = (read(reader, source(0), state_dtype=d) for d in ("fp32", dtype))
    assert small.nbytes < {"bf16": 0.51, "int8": 0.34, "int4": 0.24}[dtype] * whole.nbytes
    assert 0 < small.header.loss < {"bf16": 0.02, "int8": 0.05, "int4": 0.5}[dtype]
    reader.open(small, "full")


def test_another_model_tokenizer_policy_and_unknown_level_are_one_sentence(
    document_reader, read, source, byte_tokenizer
):
    reader = document_reader()
    kept = read(reader, source(0))
    wrong = document_reader(seed=1)
    names = [f"tiny, {one.reader.lm.model.fingerprint}" for one in (reader, wrong)]
    with refused(BadState, got=names[0], allowed=names[1], todo=containing("--model")):
        wrong.open(kept)
    other = Tokenizer.from_str(byte_tokenizer.to_str())
    other.normalizer = normalizers.Lowercase()
    with refused(BadState, got=kept.header.tokenizer[:16], naming=("document0.txt", "tokenizer")):
        DocumentReader(Reader(LM("tiny", reader.lm.model, other))).open(kept)
    with refused(BadState, got="prompt", allowed=containing("document")):
        reader.open(dataclasses.replace(kept, header=dataclasses.replace(kept.header, policy="prompt")))
    with refused(UnknownName, got="ful", todo=containing("full")):
        reader.open(kept, "ful")


def test_full_verification_finds_another_prefix_length_and_needs_the_tokens(document_reader, read, source):
    reader = document_reader()
    kept = read(reader, source(0))
    other = dataclasses.replace(kept.header, policy="fixed(n=79)", prefix_len=79)
    lie = dataclasses.replace(kept, header=other)
    reader.open(lie, "canary")
    with refused(BadState, got=containing("off"), allowed="1e-04", naming="document0.txt"):
        reader.open(lie, "full")
    forgotten = decode(encode(read(reader, source(0), keep_tokens=False)), "a state")
    assert forgotten.tokens is None and forgotten.key != kept.key
    assert reader.open(forgotten, "canary").ask(["Applicant"], max_new_tokens=3)
    with refused(BadState, naming=("document0.txt", "no tokens")):
        reader.open(forgotten, "full")
    causal = document_reader(False)
    with refused(BadState, got=3, allowed=0, naming="policy document"):
        header = dataclasses.replace(read(causal, source(0)).header, prefix_len=3)
        causal.open(dataclasses.replace(read(causal, source(0)), header=header))


@pytest.mark.parametrize("policy", ["document", "none", "fixed(n=20)"])
def test_a_policy_that_ends_before_the_question_is_kept_as_it_is_read(document_reader, source, tmp_path, policy):
    from reread.store import Store

    reader = document_reader()
    kept = reader.keep(Store(tmp_path), source(0), policy=policy)
    session = reader.open(Store(tmp_path).get(kept.path.name), "full")
    fresh, _ = reader.reader.ask(source(0).text, "Applicant", policy=policy, max_new_tokens=9)
    (answer,) = session.ask(["Applicant"], max_new_tokens=9)
    assert (answer.text, answer.prefix_len) == (fresh.text, fresh.prefix_len)
    assert kept.header.prefix_len == {"document": 80, "none": 0, "fixed(n=20)": 20}[policy]


@pytest.mark.parametrize("policy", ["prompt", "share(r=0.5)", "entropy", "question_aware", "fixed(n=81)"])
def test_a_policy_that_needs_the_question_is_refused(document_reader, source, policy):
    reader = document_reader()
    got, allowed = (81, "80") if policy.startswith("fixed") else (policy, "document, none, ")
    with refused(BadInput, got=got, allowed=containing(allowed)):
        reader.header(source(0), reader.show(source(0)), policy=policy)


def test_strategies_that_look_at_the_question_cannot_be_stored(document_reader, source):
    reader = document_reader()
    for strategy in ("twice", "question_first", "question_twice", "cqcq", "selective(k=1)", "oprm", "hierarchical"):
        with refused(BadInput, allowed=containing("twice(cue=False)"), naming="question"):
            reader.show(source(0), strategy=strategy)
    with refused(UnknownName, got="onse", todo=containing("once")):
        reader.show(source(0), strategy="onse")


def test_what_is_read_before_a_question_is_what_stands_before_it_with_any_template():
    assert len({form.joint for form in TEMPLATES.values()}) == 1
    for strategy in ("once", "twice(cue=False)"):
        for form in TEMPLATES.values():
            whole = build(strategy, "A text.", "what?", form)
            assert build_unasked(strategy, "A text.").parts[:-1] == whole.parts[:-1]


def test_a_document_is_read_into_a_store_once(document_reader, source, tmp_path):
    from reread.store import Store

    reader, store = document_reader(), Store(tmp_path)
    first = reader.keep(store, source(0))
    again = reader.keep(store, source(0))
    assert (first.path, first.already_there, again.already_there) == (again.path, False, True)
    others = [
        reader.keep(store, source(1)),
        reader.keep(store, source(0), strategy="twice(cue=False)"),
        reader.keep(store, source(0), state_dtype="int4"),
        reader.keep(store, source(0), budget=20),
        reader.keep(store, source(0), keep_tokens=False),
        reader.keep(store, dataclasses.replace(source(0), sha256=hashlib.sha256(b"other bytes").hexdigest())),
    ]
    assert len({first.path, *(kept.path for kept in others)}) == 7 and not any(k.already_there for k in others)
    assert others[3].header.read == 20 and "kept 20" in others[3].header.cut
    first.path.write_bytes(first.path.read_bytes()[:-1])
    mended = reader.keep(store, source(0))
    assert not mended.already_there and not verify(lambda: store.get(mended.path.name), reader, "full")


def test_a_model_whose_logits_are_not_finite_keeps_nothing(document_reader, read, source):
    reader = document_reader(seed=5)
    with torch.no_grad():
        reader.lm.model.norm.weight[0] = float("nan")
    with refused(BadInput, got="document0.txt", naming="finite"):
        read(reader, source(0))

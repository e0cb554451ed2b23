"""A stored document answers as a fresh one, in logits, under tokenizers with a dummy blank and with BOS."""

import hashlib

import dummy_blanks
import pytest
import torch
from marks import slow

from reread.documents.loaders import Source
from reread.engine import Prefill, Reader
from reread.models import LM, load, load_tokenizer
from reread.prompting import build, cut, special_ids, template, template_for, token_ids
from reread.scoring import UnitScores, token_logliks
from reread.sessions import DocumentReader
from reread.store import Store, open_file

DOCUMENT = "\n".join(dummy_blanks.LINES[:3])
GOLDEN = {"bytes": ["52ec0d792b7fd11e", 479, 479], "embedded": ["a39e6e435d8d64a7", 161, 161]}
QUESTIONS = ["Product code", "What is the rent?", "Décidé"]


@pytest.fixture(scope="module", params=[*dummy_blanks.KINDS, "llama, no template"])
def folder(request, tmp_path_factory):
    name, _, without = request.param.partition(",")
    return dummy_blanks.model_folder(tmp_path_factory.mktemp(name), dummy_blanks.KINDS[name](bos=not without))


def source() -> Source:
    return Source("document.txt", DOCUMENT, "0" * 64)


def logits_after(lm: LM, ids, state=None) -> torch.Tensor:
    tokens = torch.tensor([list(ids)])
    with torch.inference_mode():
        if state is None:
            return lm.model.read(tokens, 0, last_only=True)[0]
        return lm.model.extend(tokens, state, last_only=True)[0]


@pytest.mark.parametrize(
    ("strategy", "add_bos"),
    [
        ("twice(cue=False)", True),
        *slow(("once", None), ("once", True), ("once", False), ("twice(cue=False)", None), ("twice(cue=False)", False)),
    ],
)
def test_a_stored_document_answers_as_a_fresh_one(folder, tmp_path, strategy, add_bos):
    lm = load(folder, add_bos=add_bos)
    reader, start = DocumentReader(Reader(lm)), special_ids(lm.tokenizer).start
    kept = reader.keep(Store(tmp_path / "store"), source(), strategy=strategy, state_dtype="fp32")
    document = open_file(kept.path)
    session = reader.open(document, "full")
    assert tuple(document.tokens[: len(start)].tolist()) == start
    assert document.tokens.tolist().count(2) == len(start) and len(document.tokens) == kept.header.read
    for question in QUESTIONS:
        form = template(template_for(question))
        shown = cut(DOCUMENT, lm.tokenizer, 1024, "head")
        fresh = build(strategy, shown.text, question, form, cut=shown, tokenizer=lm.tokenizer).encode(lm.tokenizer)
        tail, _ = session.tail(question)
        assert list(fresh.tokens) == [*document.tokens.tolist(), *tail]
        want = logits_after(lm, fresh.tokens)
        assert torch.allclose(logits_after(lm, tail, session.state), want, atol=1e-4)
        (stored,) = session.ask([question])
        again, _ = reader.reader.ask(DOCUMENT, question, strategy=strategy)
        assert (stored.text, stored.prompt_tokens) == (again.text, again.prompt_tokens)


def test_a_state_may_be_asked_whether_it_was_read_with_bos_or_without(folder, tmp_path):
    store, found = Store(tmp_path), []
    readers = {add: DocumentReader(Reader(load(folder, add_bos=add))) for add in (True, False)}
    for reader in readers.values():
        found.append(reader.keep(store, source()))
    with_bos, without = found
    assert with_bos.path != without.path and with_bos.header.read == without.header.read + 1
    for kept in found:
        answers = [reader.open(open_file(kept.path)).ask(QUESTIONS) for reader in readers.values()]
        assert [one.text for one in answers[0]] == [one.text for one in answers[1]]


def test_headers_under_byte_level_tokenizers_are_as_before(tiny_model, byte_tokenizer):
    """Values of commit 729150a: the hash of the ids, and the lengths; the tokenizer's hash is that of its JSON."""
    for name, tokenizer in (("bytes", byte_tokenizer), ("embedded", load_tokenizer())):
        lm = LM("tiny", tiny_model(vocab_size=tokenizer.get_vocab_size()), tokenizer)
        reader = DocumentReader(Reader(lm))
        header = reader.header(source(), reader.show(source(), strategy="twice(cue=False)"))
        assert [header.tokens[:16], header.read, header.prefix_len] == GOLDEN[name]
        assert header.tokenizer == hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def test_units_and_texts_that_are_read_alone_begin_with_bos(folder):
    lm = load(folder)
    start = special_ids(lm.tokenizer).start
    text = dummy_blanks.LINES[0]
    own = [*start, *lm.tokenizer.encode(text, add_special_tokens=False).ids]
    ids, nats = token_logliks(lm, text)
    with torch.inference_mode():
        logits, _ = lm.model.read(torch.tensor([own]), 0, last_only=False)
    want = logits[0, :-1].log_softmax(-1).gather(-1, torch.tensor(own[1:])[:, None])[:, 0]
    assert ids == own and nats == pytest.approx(want.tolist(), abs=1e-4)
    score = UnitScores(lm, "the rent", template("question"))
    assert score("surprisal", [text]) == [pytest.approx(-float(want.mean()), abs=1e-4)]
    asked = token_ids("\nQuestion: The rent\nAnswer:", lm.tokenizer)
    last = logits_after(lm, [*own, *asked])[0].log_softmax(-1)
    assert score("entropy", [text]) == [pytest.approx(float((last.exp() * last).sum()), abs=1e-4)]
    with torch.inference_mode():
        logits, _ = lm.model.read(torch.tensor([[*own, *asked]]), 0, last_only=False)
    logp = logits[0, len(own) - 1 : -1].log_softmax(-1).gather(-1, torch.tensor(asked)[:, None])
    assert score("likelihood", [text]) == [pytest.approx(float(logp.mean()), abs=1e-4)]


def test_a_prompt_that_is_read_twice_has_bos_once(tiny_model):
    tokenizer = dummy_blanks.llama()
    lm = LM("tiny", tiny_model(vocab_size=tokenizer.get_vocab_size(), max_prefix=64, pad_token_id=0), tokenizer)
    reader = Reader(lm, prefill=Prefill.READ_TWICE)
    prompt = build("once", "The rent", "code", template("field")).encode(tokenizer)
    n = len(prompt.tokens)
    begun = reader.begin([prompt])
    assert begun.read_tokens == [2 * n - 1] and reader.prefix_read(prompt) == 2 * n - 1
    ids = torch.tensor([[*prompt.tokens, *prompt.tokens[1:]]])
    with torch.inference_mode():
        want, _ = lm.model.read(ids, 2 * n - 1, last_only=True)
    assert torch.allclose(begun.logits, want, atol=1e-5)


def test_the_end_token_of_the_tokenizer_files_ends_an_answer(tmp_path):
    tokenizer = dummy_blanks.gemma()
    other = tokenizer.token_to_id("code")
    folder = dummy_blanks.model_folder(tmp_path / "m", tokenizer, eos_token="code")
    ends = Reader(load(folder)).ends("")
    assert {3, other} <= ends

"""Parts without a dummy blank, BOS once, text back as it was; and nobody else calls a tokenizer."""

import ast
import itertools
import json
from pathlib import Path

import dummy_blanks
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

import reread
from reread.errors import BadCheckpoint, BadInput
from reread.models import load_tokenizer
from reread.policies import Seen
from reread.prompting import BOS, STRATEGIES, Example, ModelScore, build, cut, template, token_ids, units
from reread.prompting.tokens import (
    adds_dummy_blank,
    bos_facts,
    decode,
    encoding,
    encodings,
    set_special_ids,
    special_ids,
    with_bos,
)
from reread.serve.writing import Writing

SENTINEL = "\x01"  # no text holds it, and no merge
DOCUMENT = "\n\n".join(dummy_blanks.LINES[:3])
NO_MODEL: ModelScore = lambda by, texts: [float(len(text)) for text in texts]  # noqa: E731
SHOWN = [Example("A one.", "one", "A"), Example("B two.", "two", "B")]


@pytest.fixture(scope="module", params=dummy_blanks.KINDS)
def tokenizer(request):
    return dummy_blanks.KINDS[request.param]()


def behind(text: str, tokenizer: Tokenizer) -> list[int]:
    """The tokens of a text where it goes on from another, which no token crosses."""
    ids = tokenizer.encode(SENTINEL + text, add_special_tokens=False).ids
    return ids[ids.index(tokenizer.token_to_id("<0x01>")) + 1 :]


def prompt_of(name: str, tokenizer: Tokenizer):
    form = template("question")
    return build(name, DOCUMENT, "the rent", form, tokenizer=tokenizer, score=NO_MODEL, examples=lambda: SHOWN)


def test_a_part_is_what_it_is_inside_a_text(tokenizer):
    for text in dummy_blanks.TEXTS:
        assert token_ids(text, tokenizer) == behind(text, tokenizer), text
        assert token_ids(text, tokenizer, first=True) == tokenizer.encode(text, add_special_tokens=False).ids
        assert encodings([text], tokenizer)[0].ids == token_ids(text, tokenizer)


def test_dummy_blanks_are_known_as_such():
    for name, make in dummy_blanks.KINDS.items():
        assert adds_dummy_blank(make()) == (name in dummy_blanks.DUMMY)


def test_offsets_are_those_of_the_text(tokenizer):
    for text in dummy_blanks.TEXTS:
        found = encoding(text, tokenizer).offsets
        assert found[0][0] == 0 and found[-1][1] == len(text)
        assert all(end > start for start, end in found)
    spans = units(DOCUMENT, "window(7)", tokenizer)
    assert "".join(DOCUMENT[start:end] for start, end in spans) == DOCUMENT
    begins = [start for start, _ in encoding(DOCUMENT, tokenizer).offsets][::7]
    assert [start for start, _ in spans] == begins  # no character here takes several tokens at a border


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_spans_tile_a_prompt_and_its_text_comes_back(tokenizer, name):
    made = prompt_of(name, tokenizer)
    encoded = made.encode(tokenizer)
    ends = [end for _, _, end in encoded.spans]
    assert [start for _, start, _ in encoded.spans] == [0, *ends[:-1]] and ends[-1] == len(encoded.tokens)
    assert encoded.spans[0] == (BOS, 0, 1) and encoded.tokens.count(special_ids(tokenizer).bos) == 1
    assert [role for role, _, _ in encoded.part_spans] == [part.role for part in made.parts]
    seen = Seen(encoded, tokenizer)
    assert [seen.text(start, end) for _, start, end in encoded.part_spans] == [part.text for part in made.parts]
    (_, begin, end), *rest = encoded.part_spans
    assert list(encoded.tokens[begin:end]) == tokenizer.encode(made.parts[0].text, add_special_tokens=False).ids
    for part, (_, begin, end) in zip(made.parts[1:], rest, strict=True):
        assert list(encoded.tokens[begin:end]) == behind(part.text, tokenizer)


def test_the_first_text_is_the_first_part_that_holds_one(tokenizer):
    form = template("continuation")  # its cue is empty
    made = build("question_first", "The rent", "", form).encode(tokenizer)
    assert list(made.tokens[1:]) == tokenizer.encode("The rent", add_special_tokens=False).ids


def test_units_end_at_tokens_of_the_prompt(tokenizer):
    encoded = prompt_of("twice", tokenizer).encode(tokenizer)
    seen = Seen(encoded, tokenizer)
    documents = [span for span in encoded.part_spans if span[0] in ("document", "repeat")]
    found = seen.units("line")
    texts = [line for line in DOCUMENT.split("\n") if line] * 2
    starts = [documents[0][1], *(unit.end for unit in found)]
    read = [seen.text(start, end).strip() for start, end in itertools.pairwise(starts)]
    assert [text for text in read if text] == texts


def test_a_window_holds_at_most_its_budget_wherever_it_stands(tokenizer):
    for budget in range(5, 36):
        one = cut(DOCUMENT, tokenizer, budget, "head")
        counts = [len(token_ids(one.text, tokenizer, first=first)) for first in (False, True)]
        assert max(counts) == one.kept_tokens <= budget and one.text == DOCUMENT[one.start : one.end]
        assert one.dropped_tokens > 0
    middle = cut(DOCUMENT, tokenizer, 40, "answer_centered", ["2,450"])
    assert "2,450" in middle.text and middle.text == DOCUMENT[middle.start : middle.end]
    whole = cut(DOCUMENT, tokenizer, 10_000, "head")
    assert (whole.text, whole.dropped_tokens) == (DOCUMENT, 0)


def test_what_is_written_after_a_prompt_keeps_its_blanks(tokenizer):
    for text in (" code", "code", "  two", " Größe 🙂", "x", "\n a", " ", ""):
        ids = behind(text, tokenizer)
        assert decode(ids, tokenizer) == text
        writing = Writing(tokenizer)
        pieces = [writing.see(ids[:n], last=n == len(ids)) for n in range(1, len(ids) + 1)]
        assert writing.text == "".join(pieces) == text


def test_a_blank_of_byte_level_tokenizers_is_a_dummy_blank_too(byte_tokenizer):
    tokenizer = Tokenizer.from_str(byte_tokenizer.to_str())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    assert token_ids("ab", tokenizer) == byte_tokenizer.encode("ab").ids
    assert token_ids("ab", tokenizer, first=True) == byte_tokenizer.encode(" ab").ids


def test_blanks_that_mark_every_word_stay():
    tokenizer = Tokenizer(models.WordLevel({"▁a": 0, "▁b": 1, "b": 2}, unk_token="b"))
    marks = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(marks)
    assert not adds_dummy_blank(tokenizer) and token_ids("a b", tokenizer) == [0, 1]


def test_bos_is_the_templates_or_the_configurations_or_the_callers(tmp_path):
    for said, template_gives, add_bos, given in [
        ({}, True, None, True),
        ({}, False, None, False),
        ({"add_bos_token": True}, False, None, True),
        ({"add_bos_token": False}, True, None, True),  # as transformers 5: the template alone counts
        ({"add_bos_token": False}, False, None, False),
        ({"add_bos_token": True}, False, False, False),
        ({}, True, False, False),
        ({}, False, True, True),
        ({}, True, True, True),
    ]:
        folder = tmp_path / "m"
        folder.mkdir(exist_ok=True)
        dummy_blanks.gemma(bos=template_gives).save(str(folder / "tokenizer.json"))
        config = {"bos_token": "<s>", "eos_token": "</s>", **said}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        found = load_tokenizer(folder, add_bos)
        assert special_ids(found).start == ((2,) if given else ())
        assert (special_ids(found).bos, special_ids(found).eos) == (2, 3)
        own = template_gives or said.get("add_bos_token") is True
        assert bos_facts(found) == ({} if own == given else {"add_bos": given})
        for again in (True, False):
            other = with_bos(found, again)
            assert bool(special_ids(other).start) == again and bos_facts(other) == (
                {} if own == again else {"add_bos": again}
            )
            assert other.to_str() == found.to_str() and token_ids("<s>a", other) == token_ids("<s>a", found)


def test_a_tokenizer_without_bos_cannot_be_asked_for_it(tmp_path, byte_tokenizer):
    with pytest.raises(BadInput) as error:
        load_tokenizer("embedded", True)
    assert error.value.got == "add_bos"
    with pytest.raises(BadInput):
        with_bos(byte_tokenizer, True)
    assert special_ids(load_tokenizer()).start == () and special_ids(load_tokenizer("embedded", False)).start == ()


@pytest.mark.parametrize("text", ["[1]", "{", "\ufffd"])
def test_a_broken_tokenizer_config_is_refused(tmp_path, byte_tokenizer, text):
    byte_tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_bytes(text.encode("utf-16"))
    with pytest.raises(BadCheckpoint):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("value", [None, True, -1, 10**9, "no such token", [], ["2"], {"content": 2}, [[2]], 2.0])
def test_ids_and_names_that_are_none_are_passed_over(tmp_path, value):
    dummy_blanks.gemma(bos=False).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"bos_token_id": value, "eos_token_id": [value, 3]}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": value}))
    found = special_ids(load_tokenizer(tmp_path))
    assert (found.bos, found.eos, found.start) == (None, 3, ())


def test_a_template_may_give_more_than_one_token_and_an_end():
    from tokenizers import processors

    tokenizer = dummy_blanks.gemma(bos=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<pad> <s> $A </s>", special_tokens=[("<pad>", 0), ("<s>", 2), ("</s>", 3)]
    )
    assert set_special_ids(tokenizer, bos=2).start == (0, 2)
    encoded = build("once", "The rent", "code", template("field")).encode(tokenizer)
    assert encoded.tokens[:2] == (0, 2) and 3 not in encoded.tokens and encoded.spans[0] == (BOS, 0, 2)


def test_only_one_file_calls_a_tokenizer():
    folder, wrong = Path(reread.__file__).parent, []
    calls = {"encode", "encode_batch", "decode", "decode_batch", "from_file", "from_str"}
    for file in sorted(folder.rglob("*.py")):
        if file.relative_to(folder) == Path("prompting/tokens.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            owner = ast.unparse(node.func.value).split(".")[-1] if isinstance(node.func, ast.Attribute) else ""
            of_tokenizer = owner.lower() in ("tokenizer", "words")
            if any(one.arg == "add_special_tokens" for one in node.keywords) or (
                of_tokenizer and isinstance(node.func, ast.Attribute) and node.func.attr in calls
            ):
                wrong.append(f"{file.relative_to(folder)}:{node.lineno}")
    assert not wrong

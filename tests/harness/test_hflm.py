"""The three requests against lm-eval's own HFLM, on tiny random Llamas with tokenizers of SentencePiece's kind."""

import dummy_blanks
import pytest
import torch
from tokenizers import AddedToken

from reread.errors import BadCheckpoint, BadInput
from reread.models import LM, load
from reread.prompting import special_ids

PAIRS = [
    ("What is the rent?\nAnswer:", " it is 2,450 pounds."),
    ("The sky over the old town is very", " blue"),
    ("The sky over the old town is very ", "calm"),
    ("Product co", "de: DEW and then some more of it"),  # a token may cross the border
    ("Größe:", " 5 µm 🙂"),
    ("", "The lease begins on 1 June."),
    ("", " code"),
    ("A", "\n\nB"),
]
TEXTS = [*dummy_blanks.LINES, "x", " blank first", "日本 🙂", "two\n\nparagraphs"]
CONTEXTS = [*dummy_blanks.LINES, "Product code:", "x"]


@pytest.fixture(scope="module", params=["llama", "first", "always", "gemma", "llama, no template"])
def both(request, tmp_path_factory):
    """(ours, theirs, their tokenizer) of one folder, by settings of BOS."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from reread.harness import RereadLM

    name, _, without = request.param.partition(",")
    folder = tmp_path_factory.mktemp(name)
    dummy_blanks.model_folder(folder, dummy_blanks.KINDS[name](bos=not without))
    model, words = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def made(add_bos_token=None):
        theirs = HFLM(pretrained=model, tokenizer=words, batch_size=1, add_bos_token=add_bos_token)
        return RereadLM(str(folder), batch_size=2, add_bos_token=add_bos_token), theirs

    return made


def bos_settings(both):
    """Settings that HFLM can meet: it adds BOS by the template alone."""
    gives = bool(special_ids(both()[0].lm.tokenizer).start)
    return (None, False, True) if gives else (None, False)


def test_logliks_are_those_of_hflm(both, request_of):
    for add in bos_settings(both):
        ours, theirs = both(add)
        pairs = [pair for pair in PAIRS if not pair[0] or theirs._encode_pair(*pair)[1]]  # HFLM fails on the others
        requests = [request_of(*pair) for pair in pairs]
        want = theirs.loglikelihood(requests, disable_tqdm=True)
        got = ours.loglikelihood(requests, disable_tqdm=True)
        for pair, (score, greedy), (wanted, their_greedy) in zip(pairs, got, want, strict=True):
            assert score == pytest.approx(wanted, abs=1e-3), (add, pair)
            assert greedy == their_greedy, (add, pair)


def test_rolling_logliks_are_those_of_hflm(both, request_of):
    for add in bos_settings(both):
        ours, theirs = both(add)
        requests = [request_of(text) for text in TEXTS]
        want = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
        assert ours.loglikelihood_rolling(requests, disable_tqdm=True) == pytest.approx(want, abs=1e-3), add


def test_texts_are_those_of_hflm(both, request_of):
    for add in bos_settings(both):
        ours, theirs = both(add)
        requests = [request_of(text, {"until": ["\n\n"], "max_gen_toks": 12}) for text in CONTEXTS]
        want = [text.strip() for text in theirs.generate_until(requests, disable_tqdm=True)]
        assert ours.generate_until(requests, disable_tqdm=True) == want, add
        assert len(set(want)) > 2


def test_the_prefix_token_is_bos_and_never_the_first_special_token(both):
    ours, theirs = both()
    assert ours.prefix_token_id == theirs.prefix_token_id == dummy_blanks.NAMED.index("<s>")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, "<s>"),
        ({"bos_token": None}, "</s>"),
        ({"bos_token": {"content": "<s>"}, "eos_token": None}, "<s>"),
        ({"bos_token": "not there", "eos_token": {"content": "</s>"}}, "</s>"),
        ({"bos_token": None, "eos_token": None}, "code"),
    ],
)
def test_eos_stands_in_for_bos_and_config_json_for_both(tmp_path, said, wanted):
    from reread.harness import RereadLM

    tokenizer = dummy_blanks.gemma(bos=False)
    folder = dummy_blanks.model_folder(tmp_path / "m", tokenizer, **said)
    config = (folder / "config.json").read_text()
    fallback = tokenizer.token_to_id("code")
    ids = {"bos": 0, "eos": f"[1, {fallback}]"}  # padding and unknown token are passed over
    for kind, value in ids.items():
        old = {"bos": 2, "eos": 3}[kind]
        config = config.replace(f'"{kind}_token_id": {old}', f'"{kind}_token_id": {value}')
    (folder / "config.json").write_text(config)
    (folder / "generation_config.json").unlink(missing_ok=True)
    assert RereadLM(str(folder)).prefix_token_id == tokenizer.token_to_id(wanted)


def test_without_a_name_only_the_end_token_or_the_models_own_special_ids_stand_for_an_empty_context(tiny_model):
    from reread.harness import RereadLM

    tokenizer = dummy_blanks.gemma(bos=False)
    size = tokenizer.get_vocab_size()
    with pytest.raises(BadCheckpoint):  # "<pad>" and "<unk>" are special, and neither begins nor ends a text
        _ = RereadLM(LM("m", tiny_model(vocab_size=size), tokenizer)).prefix_token_id
    assert RereadLM(LM("m", tiny_model(vocab_size=size, eos_token_id=3), tokenizer)).prefix_token_id == 3
    with_end = dummy_blanks.gemma(bos=False)
    with_end.add_special_tokens([AddedToken("<|end|>", special=True)])
    lm = LM("m", tiny_model(vocab_size=size + 1, eos_token_id=3), with_end)
    assert RereadLM(lm).prefix_token_id == size


def test_bos_stays_where_a_context_is_cut(both, request_of):
    ours, _ = both()
    start = special_ids(ours.lm.tokenizer).start
    ours.max_length = 20
    context = ours._context(list(range(10, 40)), 8)
    assert len(context.tokens) == 8 and context.tokens[: len(start)] == start and context.tokens[-1] == 39
    ours._shortened = 0


def test_bos_is_a_setting_that_the_results_name(tmp_path, request_of):
    from reread.harness import RereadLM

    folder = str(dummy_blanks.model_folder(tmp_path / "m", dummy_blanks.llama()))
    default, same, other = (RereadLM(folder, add_bos_token=add) for add in (None, True, False))
    assert "add_bos" not in default.get_model_info() and "add_bos" not in same.get_model_info()
    assert other.get_model_info()["add_bos"] is False
    with torch.inference_mode():
        found = [one.loglikelihood([request_of("A", " b")], disable_tqdm=True)[0][0] for one in (default, same, other)]
    assert found[0] == found[1] != found[2]
    with pytest.raises(BadInput) as error:
        RereadLM(load(folder), add_bos_token="yes")
    assert error.value.got == "yes"

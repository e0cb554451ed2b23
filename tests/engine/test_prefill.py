"""How prompts are read that are shorter than the prefix a model was trained with, and the published padding."""

import pytest
import torch
from raising import containing, refused

from reread.engine import PREFILLS, Reader
from reread.errors import BadInput, UnknownName
from reread.models import LM, load_tokenizer
from reread.prompting import build, template

M = 40


@pytest.fixture
def lm(tiny_model):
    tokenizer = load_tokenizer("embedded")
    model = tiny_model(vocab_size=tokenizer.get_vocab_size(), max_prefix=M, pad_token_id=220)
    return LM("tiny", model, tokenizer)


@pytest.fixture
def prompts(lm):
    texts = ["Applicant: Roche", "Code: X-17. " * 3, "Applicant: Foo\nCode: 3\n" * 12]
    made = [build("once", text, "Applicant", template("field")).encode(lm.tokenizer) for text in texts]
    assert [len(p.tokens) < M for p in made] == [True, True, False]
    return made


def answers(lm, prompts, prefill):
    return [a.text for a in Reader(lm, prefill=prefill).answer(prompts, max_new_tokens=8)]


def greedy(lm, read, n=8):
    """Text of n greedy tokens, from read(tokens so far) -> logits (1,V)."""
    ends, written = Reader(lm).ends("\n"), []
    while len(written) < n and (not written or written[-1] not in ends):
        written.append(int(read(written).argmax()))
    return Reader(lm).text(written, "\n")


@torch.no_grad()
def test_iterate_reads_everything_again_as_prefix(lm, prompts):
    for prompt, text in zip(prompts, answers(lm, prompts, "iterate"), strict=True):
        assert text == greedy(lm, lambda w, p=prompt: lm.model.read(torch.tensor([[*p.tokens, *w]]), last_only=True)[0])


@torch.no_grad()
def test_read_twice_shows_short_prompts_two_times(lm, prompts):
    got = answers(lm, prompts, "read_twice")
    for prompt, text in zip(prompts[:2], got[:2], strict=True):
        twice = [*prompt.tokens, *prompt.tokens]
        _, state = lm.model.read(torch.tensor([twice[:-1]]), min(len(twice) - 1, M), last_only=True)

        def read(written, twice=twice):
            return lm.model.read(torch.tensor([[*twice, *written]]), min(len(twice), M), last_only=True)[0]

        assert text == greedy(lm, read) and state.position.item() == len(twice) - 1
    assert got[2] == answers(lm, prompts[2:], "no_pad")[0]


@torch.no_grad()
def test_left_pad_reads_pads_as_tokens_with_keys_of_zero(lm, prompts):
    prompt = prompts[0]
    missing = M - len(prompt.tokens)
    padded = torch.tensor([[220] * missing + list(prompt.tokens)])
    mask = torch.arange(M)[None] >= missing
    logits, state = lm.model.read(padded, M, mask, masking="published")
    assert state.position.item() == M
    zeroed = [m for m in lm.model.modules() if hasattr(m, "k_enc_proj")]
    hooks = []
    for module in zeroed:  # the published masking, done from outside: keys of pads are zero, values are not
        for projection in (module.k_proj, module.k_enc_proj):
            hooks.append(
                projection.register_forward_hook(lambda _, __, y: y.masked_fill(~mask[:, : y.shape[1], None], 0.0))
            )
    want, _ = lm.model.read(padded, M)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(logits, want)
    exact, _ = lm.model.read(padded, None, mask)
    assert not torch.allclose(exact[mask], logits[mask])
    assert len(answers(lm, prompts, "left_pad")) == 3


def test_a_model_without_a_trained_length_reads_every_prompt_as_it_is(lm, prompts, tiny_model):
    free = LM("free", tiny_model(vocab_size=lm.tokenizer.get_vocab_size()), lm.tokenizer)
    assert (
        answers(free, prompts, "left_pad") == answers(free, prompts, "read_twice") == answers(free, prompts, "no_pad")
    )


def test_unknown_names_list_the_known_ones(lm):
    with refused(UnknownName, got="leftpad", todo=containing("left_pad")):
        Reader(lm, prefill="leftpad")
    with refused(UnknownName, got="publishd", todo=containing("published")):
        lm.model.read(torch.zeros(1, 3, dtype=torch.long), masking="publishd")
    assert PREFILLS[0] == "no_pad"


@torch.no_grad()
def test_a_prompt_longer_than_the_trained_prefix_is_read_on_causally(lm, prompts):
    long = prompts[2]
    assert len(long.tokens) > M
    (answer,) = Reader(lm).answer([long], max_new_tokens=8)
    text = greedy(lm, lambda w: lm.model.read(torch.tensor([[*long.tokens, *w]]), M, last_only=True)[0])
    assert (answer.text, answer.prefix_len) == (text, M)


@torch.no_grad()
def test_a_row_ends_at_the_end_token_of_its_configuration(lm, prompts):
    never, long = "no token holds this", prompts[2]
    first = int(lm.model.read(torch.tensor([long.tokens]), M, last_only=True)[0].argmax())
    assert Reader(lm).answer([long], max_new_tokens=8, stop=never)[0].new_tokens == 8
    for end in ([first], first):
        lm.model.config.eos_token_id = end
        assert Reader(lm).answer([long], max_new_tokens=8, stop=never)[0].new_tokens == 1


def test_left_pad_needs_a_padding_token(lm, prompts):
    lm.model.config.pad_token_id = None
    with refused(BadInput, got="tiny", naming="padding token"):
        answers(lm, prompts, "left_pad")


@torch.no_grad()
def test_left_pad_writes_what_the_padded_prompt_gives(lm, prompts):
    long, texts = [[220] * (M - len(p.tokens)) + list(p.tokens) for p in prompts[:2]], answers(lm, prompts, "left_pad")
    for tokens, text, prompt in zip(long, texts, prompts, strict=False):
        mask = torch.tensor([[False] * (M - len(prompt.tokens)) + [True] * len(prompt.tokens)])
        logits, state = lm.model.read(torch.tensor([tokens]), M, mask, last_only=True, masking="published")
        written = []
        while len(written) < 8 and (not written or written[-1] not in Reader(lm).ends("\n")):
            written.append(int(logits.argmax()))
            logits, state = lm.model.step(torch.tensor([written[-1]]), state)
        assert text == Reader(lm).text(written, "\n")


def test_tokens_that_were_read_are_counted_as_they_were_fed(lm, prompts):
    n = [len(p.tokens) for p in prompts]
    fed = {how: [a.read_tokens for a in Reader(lm, prefill=how).answer(prompts, max_new_tokens=1)] for how in PREFILLS}
    assert fed["no_pad"] == n and fed["left_pad"] == [M, M, n[2]] and fed["read_twice"] == [2 * n[0], 2 * n[1], n[2]]
    assert fed["iterate"] == [2 * k for k in n]


def test_a_long_prompt_is_read_alike_beside_a_short_one(lm):
    form, texts = template("field"), ["Code: 3", "Applicant: Foo\nCode: 3\n" * 12]
    made = [build("once", t, "Code", form).encode(lm.tokenizer) for t in texts]
    golds = [form.answer("3")] * 2
    together = Reader(lm, prefill="left_pad").answer(made, policy="prompt", max_new_tokens=1, golds=golds)
    alone = Reader(lm, prefill="left_pad").answer(made[1:], policy="prompt", max_new_tokens=1, golds=golds[1:])
    assert together[1].loglik == pytest.approx(alone[0].loglik, abs=1e-3)
    assert [a.prefix_len for a in together] == [M, min(len(made[1].tokens), M)]

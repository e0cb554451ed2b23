"""PrefixLM as a model of transformers: forward, generate, Trainer, PEFT.  `make compat` runs this under the oldest and
the newest version that is allowed."""

import pytest
import torch
from marks import slow
from torch.utils.data import Dataset

from reread.errors import BadInput, UnknownName
from reread.models import load
from reread.models.prefix_lm import SERVED, PrefixLMForCausalLM

GOLDEN = {0: "dfc9898547d6f067", 3: "da294c00dcd861b5"}  # by key_conv, computed at commit 729150a
GREEDY = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}


@pytest.fixture(params=[True, False], ids=["jrt", "causal"])
def model(request, tiny_model):
    return tiny_model(request.param)


def draw(*shape, seed=1):
    return torch.randint(2, 64, shape, generator=torch.Generator().manual_seed(seed))


def by_steps(model, logits, state, count):
    """Greedy ids after logits (1,V) and a state: the definition that `generate` must agree with."""
    found = []
    for _ in range(count):
        token = logits.argmax(dim=-1)
        found.append(int(token))
        logits, state = model.step(token, state)
    return found


class Counting:
    """Counts the tokens of each call of a model's forward."""

    def __init__(self, model, monkeypatch):
        self.calls, forward = [], model.forward

        def counted(input_ids, **given):
            self.calls.append(input_ids.shape[1])
            return forward(input_ids, **given)

        monkeypatch.setattr(model, "forward", counted)


def test_generate_reads_the_prompt_once_and_then_token_by_token(model, monkeypatch):
    ids = draw(1, 9)
    want = by_steps(model, *model.read(ids, last_only=True), 5)
    seen = Counting(model, monkeypatch)
    assert model.generate(ids, **GREEDY)[0, 9:].tolist() == want
    assert seen.calls == [9, 1, 1, 1, 1]


@pytest.mark.parametrize("seed", [0, 1, *slow(*range(2, 10))])
def test_the_texts_of_random_models_are_those_of_the_verbs(tiny_model, seed):
    model, ids = tiny_model(seed=seed), draw(1, 12, seed=seed)
    want = by_steps(model, *model.read(ids, last_only=True), 20)
    assert model.generate(ids, **{**GREEDY, "max_new_tokens": 20})[0, 12:].tolist() == want


def test_a_batch_padded_on_the_left_generates_as_each_row_alone(model):
    rows = [draw(n, seed=n) for n in (4, 9, 6)]
    ids, mask = torch.zeros(3, 9, dtype=torch.long), torch.zeros(3, 9, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, 9 - len(row) :], mask[i, 9 - len(row) :] = row, 1
    got = model.generate(ids, attention_mask=mask, **GREEDY)[:, 9:]
    alone = [model.generate(row[None], **GREEDY)[0, len(row) :].tolist() for row in rows]
    assert got.tolist() == alone


@pytest.mark.parametrize("asked", [1, 4])
def test_generate_from_a_state_reads_all_of_the_question(model, monkeypatch, asked):
    document, question = draw(1, 11), draw(1, asked, seed=2)
    state = model.read(document)[1]
    want = by_steps(model, *model.extend(question, state, last_only=True), 5)
    seen = Counting(model, monkeypatch)
    assert model.generate(question, state=state, **GREEDY)[0, asked:].tolist() == want
    assert seen.calls == [asked, 1, 1, 1, 1]
    assert model.generate(question, state=state, **GREEDY)[0, asked:].tolist() == want  # the state stands


def test_several_samples_from_one_state_belong_to_its_rows(model):
    state = model.read(draw(2, 11))[1]
    question = draw(2, 3, seed=2)
    once = model.generate(question, state=state, **GREEDY)
    many = model.generate(question, state=state, **{**GREEDY, "do_sample": True, "top_k": 1}, num_return_sequences=2)
    assert many.tolist() == once.repeat_interleave(2, dim=0).tolist()


def test_generate_does_not_depend_on_use_cache(model):
    ids = draw(1, 9)
    want = model.generate(ids, **GREEDY).tolist()
    assert model.generate(ids, use_cache=False, **GREEDY).tolist() == want
    model.config.use_cache = model.generation_config.use_cache = False
    assert model.generate(ids, **GREEDY).tolist() == want


@pytest.mark.parametrize(
    "asked", [{"num_beams": 2}, {"num_beams": 3, "do_sample": True}, {"prompt_lookup_num_tokens": 2}]
)
def test_searches_that_reorder_or_shorten_a_state_are_refused(model, asked):
    with pytest.raises(BadInput) as refused:
        model.generate(draw(1, 9), **{**GREEDY, **asked})
    name, value = next(iter(asked.items()))
    assert refused.value.got == f"{name}={value}"


def test_beams_by_configuration_and_assistants_are_refused(model, tiny_model):
    with pytest.raises(BadInput) as refused:
        model.generate(draw(1, 9), assistant_model=tiny_model(), **GREEDY)
    assert refused.value.got == "assistant_model"
    model.generation_config.num_beams = 4
    with pytest.raises(BadInput) as refused:
        model.generate(draw(1, 9), **GREEDY)
    assert refused.value.got == "num_beams=4"


@pytest.mark.parametrize("name", ["prefix_len", "mask", "cu_seq_lens_q", "nonsense", "Labels"])
@pytest.mark.parametrize("value", [6, None])
def test_forward_refuses_a_keyword_that_it_does_not_have(model, name, value):
    with pytest.raises(UnknownName) as refused:
        model(draw(1, 9), **{name: value})
    assert refused.value.got == name
    assert "prefix_lengths" in refused.value.allowed


@pytest.mark.parametrize("name", ["cache_params", "past_key_values", "cache", "inputs_embeds", "output_attentions"])
def test_forward_refuses_what_it_cannot_serve_and_takes_it_when_nothing_is_asked(model, name):
    ids = draw(1, 9)
    model(ids, **{name: None})
    with pytest.raises(BadInput) as refused:
        model(ids, **{name: torch.ones(1)})
    assert refused.value.got == name


def test_every_keyword_that_is_named_changes_something_or_is_served():
    assert set(SERVED) == {
        "input_ids", "attention_mask", "prefix_lengths", "labels", "state", "logits_at", "use_cache", "return_dict",
        "num_items_in_batch",
    }  # fmt: skip


def test_return_dict_false_gives_a_tuple(model):
    ids = draw(1, 9)
    loss, logits, state = model(ids, labels=ids, return_dict=False)
    out = model(ids, labels=ids)
    assert float(loss) == float(out.loss) and torch.equal(logits, out.logits)
    assert torch.equal(state.position, out.state.position)


@pytest.mark.parametrize("name", ["small-jrt", "small-causal"])
def test_the_embedded_models_go_on_from_a_state_by_forward(name):
    model = load(name).model
    ids = draw(1, 20)
    want = model(ids).logits[:, 12:]
    state = model(ids[:, :12]).state
    torch.testing.assert_close(model(ids[:, 12:], state=state).logits, want, rtol=1e-4, atol=1e-4)
    assert float((model(ids[:, 12:]).logits - want).abs().max()) > 0.1  # the question alone is another text


def test_use_cache_false_of_a_configuration_does_not_lose_the_state(model):
    model.config.use_cache = False
    assert model(draw(1, 9)).state is not None
    assert model(draw(1, 9), use_cache=False).state is None


class Rows(Dataset):
    """Eight rows of one length; labels of the first tokens of some are masked, so that counts differ."""

    def __init__(self, masked=0):
        self.ids = draw(8, 16, seed=3)
        self.masked = masked

    def __len__(self):
        return 8

    def __getitem__(self, i):
        labels = self.ids[i].clone()
        labels[: self.masked * (i % 4)] = -100
        return {"input_ids": self.ids[i], "labels": labels, "prefix_lengths": torch.tensor(0)}


def first_step(model, tmp_path, batch, steps, rows, **more):
    """Loss and gradient norm that plain Trainer logs for its first step."""
    from transformers import Trainer, TrainingArguments

    given = TrainingArguments(
        output_dir=str(tmp_path / f"{batch}x{steps}"), per_device_train_batch_size=batch, learning_rate=0.0,
        gradient_accumulation_steps=steps, max_steps=1, logging_steps=1, report_to=[], use_cpu=True, seed=0,
        save_strategy="no", disable_tqdm=True, max_grad_norm=1e9, **more,
    )  # fmt: skip
    trainer = Trainer(model=model, args=given, train_dataset=rows)
    trainer.train()
    (logged,) = [entry for entry in trainer.state.log_history if "loss" in entry]
    return logged["loss"], logged["grad_norm"]


@pytest.mark.parametrize("masked", [0, 3])
def test_gradient_accumulation_changes_neither_loss_nor_gradients(tiny_model, tmp_path, masked):
    pytest.importorskip("accelerate", reason="Trainer needs the package accelerate")
    model, rows = tiny_model(False), Rows(masked)
    all_rows = {name: torch.stack([rows[i][name] for i in range(8)]) for name in rows[0]}
    want = float(model(**all_rows).loss)
    found = [first_step(tiny_model(False), tmp_path, batch, 8 // batch, rows) for batch in (8, 2, 1)]
    for loss, norm in found:
        assert loss == pytest.approx(want, abs=2e-3)
        assert norm == pytest.approx(found[0][1], rel=1e-3)


def test_num_items_in_batch_divides_the_sum_of_the_losses(model):
    ids = draw(2, 9)
    loss = model(ids, labels=ids).loss
    torch.testing.assert_close(model(ids, labels=ids, num_items_in_batch=32).loss, loss * 16 / 32)


def test_label_smoothing_is_shifted_as_the_loss_is(tiny_model, tmp_path):
    pytest.importorskip("accelerate", reason="Trainer needs the package accelerate")
    model, rows = tiny_model(False), Rows()
    logp = model(rows.ids).logits[:, :-1].log_softmax(dim=-1)
    plain = -logp.gather(-1, rows.ids[:, 1:, None]).mean()
    want = 0.9 * plain - 0.1 * logp.mean()
    loss, _ = first_step(tiny_model(False), tmp_path, 8, 1, rows, label_smoothing_factor=0.1)
    assert loss == pytest.approx(float(want), abs=2e-3)


def test_trained_by_trainer_and_shared_a_model_keeps_its_state(tiny_model, tmp_path, byte_tokenizer):
    from reread.training.trainer import export

    model = tiny_model()
    model.config.use_cache = False  # as Trainer sets it
    export(model, byte_tokenizer, tmp_path)
    again = PrefixLMForCausalLM.from_pretrained(tmp_path)
    assert again.config.use_cache is True and again(draw(1, 9)).state is not None


def test_gradient_checkpointing_runs_layers_twice_and_gives_the_same_gradients(model, monkeypatch):
    ids = draw(2, 12)
    mixers, calls = [type(block.mixer) for block in model.layers], []
    for kind in set(mixers):
        monkeypatch.setattr(kind, "forward", lambda self, *a, _f=kind.forward: calls.append(1) or _f(self, *a))

    def gradients():
        calls.clear()
        model.zero_grad()
        model(ids, labels=ids, prefix_lengths=torch.tensor([4, 6])).loss.backward()
        return len(calls), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.train()
    once, want = gradients()
    model.gradient_checkpointing_enable()
    twice, got = gradients()
    assert (once, twice) == (len(mixers), 2 * len(mixers))
    assert got.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-6)


def test_embeddings_can_be_resized(model, tmp_path):
    ids = draw(1, 9)
    before, made_by = model(ids).logits, model.fingerprint
    model.resize_token_embeddings(70, mean_resizing=False)
    assert model.config.vocab_size == 70 and model.lm_head.weight is model.embed.weight
    torch.testing.assert_close(model(ids).logits[..., :64], before)
    assert model.fingerprint != made_by
    model.save_pretrained(tmp_path)
    again = PrefixLMForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(ids).logits, model(ids).logits)


def test_hidden_states_are_refused_whoever_asks(model):
    ids = draw(1, 9)
    for given in ({"output_hidden_states": True}, {"output_attentions": True}):
        with pytest.raises(BadInput) as refused:
            model.generate(ids, return_dict_in_generate=True, **given, **GREEDY)
        assert refused.value.got == next(iter(given))


def test_peft_trains_and_generates_with_an_adapter(model):
    peft = pytest.importorskip("peft", reason="needs the package peft")
    ids = draw(1, 9)
    want = model.generate(ids, **GREEDY).tolist()
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["up_gate"], task_type="CAUSAL_LM"))
    assert tuned.generate(input_ids=ids, **GREEDY).tolist() == want  # B is zero at the start
    tuned.train()
    tuned(input_ids=ids, labels=ids).loss.backward()
    assert all(p.grad is not None for name, p in tuned.named_parameters() if "lora_B" in name)


def test_what_the_model_s_own_generation_config_asks_for_counts_beside_a_passed_one(model):
    from transformers import GenerationConfig

    ids = draw(1, 9)
    given = GenerationConfig(max_new_tokens=3, pad_token_id=0)
    model.generation_config.num_beams = 3
    with pytest.raises(BadInput) as refused:
        model.generate(ids, given)
    assert refused.value.got == "num_beams=3"
    model.generation_config.num_beams = 1
    model.generation_config.num_return_sequences = 2
    model.generation_config.do_sample, model.generation_config.top_k = True, 1
    state = model.read(ids)[1]
    assert model.generate(ids, given, state=state).shape == (2, 12)


def test_trainer_evaluates_and_predicts(tiny_model, tmp_path):
    pytest.importorskip("accelerate", reason="Trainer needs the package accelerate")
    from transformers import Trainer, TrainingArguments

    given = TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True)
    trainer = Trainer(model=tiny_model(), args=given, compute_metrics=lambda found: {"rows": len(found.predictions)})
    assert trainer.evaluate(Rows())["eval_rows"] == 8
    assert trainer.predict(Rows()).predictions.shape == (8, 16, 64)


def test_a_configuration_that_asks_for_tuples_breaks_no_generation(model):
    ids = draw(1, 9)
    want = model.generate(ids, **GREEDY).tolist()
    model.config.return_dict = False
    assert isinstance(model(ids), tuple) and model(ids, return_dict=True).logits is not None
    assert model.generate(ids, **GREEDY).tolist() == want


def test_fingerprints_are_those_of_earlier_versions(tiny_config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = PrefixLMForCausalLM(tiny_config())
    for p in made.parameters():
        torch.nn.init.constant_(p, 0.5)
    assert made.fingerprint == GOLDEN[made.config.key_conv]

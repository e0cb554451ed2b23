"""Models of transformers behind the three verbs: every family, what is refused, and a wrong one found out."""

from pathlib import Path

import pytest
import torch
from raising import containing, refused

import reread
from reread.check import check
from reread.errors import BadCheckpoint, BadInput, UnknownName
from reread.models.families import TINY, tiny
from reread.models.pretrained import RESUME, STEPS, WHOLE, Pretrained, PretrainedState


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(0, 97, shape)


def test_every_known_family_has_a_tiny_model():
    assert set(RESUME) == set(TINY)


@pytest.mark.parametrize("family", TINY)
def test_the_family_keeps_its_word(family):
    found = check(tiny(family), 97)
    assert all(finding.right for finding in found), found


@pytest.mark.parametrize("family", ["mamba", "rwkv", "llama", "recurrent_gemma"])
def test_an_unknown_family_is_resumed_as_it_needs(family):
    model = tiny(family)
    model._resume, model._alone = None, False
    assert model.resume == RESUME[family]
    assert all(finding.right for finding in check(model, 97))


def test_the_check_finds_a_family_that_is_resumed_wrongly():
    model = tiny("mamba")
    assert model.resume == STEPS
    model._resume = WHOLE
    wrong = {finding.what for finding in check(model, 97) if not finding.right}
    assert wrong == {"read = read + extend"}


def test_a_model_that_cannot_read_on_at_all_is_refused(monkeypatch):
    model = tiny("llama")
    model._resume = None
    monkeypatch.setattr("reread.models.pretrained.filled", lambda thing, flat, path="": None)
    with refused(BadCheckpoint, got="llama", naming="read on"):
        _ = model.resume


@pytest.mark.parametrize("family", ["mamba2", "falcon_h1", "llama", "rwkv", "recurrent_gemma", "minimax"])
def test_states_are_values(family):
    model = tiny(family)
    _, long = model.read(tokens(1, 20))
    _, short = model.read(tokens(1, 9))
    both = PretrainedState.cat([long, short])
    assert (both.batch, both.position.tolist()) == (2, [20, 9])
    kept = {name: x.clone() for name, x in both.to_flat().items()}
    ids = tokens(2, 6)
    together, after = model.extend(ids, both)
    for row, state in enumerate((long, short)):
        alone, _ = model.extend(ids[row : row + 1], state)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(kept[name], x) for name, x in both.to_flat().items())
    assert after.position.tolist() == [26, 15]
    assert both.rows([1, 1]).batch == 2 and both.clone().nbytes == both.nbytes > 0


def test_the_state_of_a_recurrent_family_has_one_size_and_that_of_a_transformer_grows():
    def growth(family):
        model = tiny(family)
        return model.read(tokens(1, 60))[1].nbytes / model.read(tokens(1, 20))[1].nbytes

    assert growth("mamba2") == growth("rwkv") == 1.0
    assert growth("llama") > 2.5


def test_a_folder_of_transformers_loads_and_answers(tmp_path, byte_tokenizer):
    from transformers import AutoConfig, AutoModelForCausalLM

    AutoModelForCausalLM.from_config(
        AutoConfig.for_model("mamba2", **{**TINY["mamba2"], "vocab_size": byte_tokenizer.get_vocab_size()})
    ).save_pretrained(tmp_path / "m")
    byte_tokenizer.save(str(tmp_path / "m" / "tokenizer.json"))
    lm = reread.load(tmp_path / "m")
    assert isinstance(lm.model, Pretrained) and not lm.model.noncausal_prefix
    answer, _ = reread.Reader(lm).ask("Applicant: Roche", "Applicant", max_new_tokens=4)
    assert answer.new_tokens >= 1 and answer.state_bytes > 0


def test_a_state_of_another_model_is_refused():
    _, state = tiny("mamba2").read(tokens(1, 5))
    other = tiny("mamba2", seed=1)
    with refused(BadInput, got=f"state of {state.fingerprint}, model {other.fingerprint}"):
        other.extend(tokens(1, 2), state)


def test_wrong_shapes_are_refused():
    model = tiny("llama")
    _, state = model.read(tokens(1, 5))
    with refused(BadInput, got="1 and 2", naming="batch"):
        model.extend(tokens(2, 2), state)
    with refused(BadInput, got=(1, 0)):
        model.read(tokens(1, 0))
    with refused(BadInput, got="row 1", naming="padding"):
        model.read(tokens(2, 3), None, torch.tensor([[True] * 3, [False] * 3]))
    with refused(UnknownName, got="mamba3", todo=containing("'mamba'")):
        tiny("mamba3")


def test_a_folder_that_transformers_cannot_read_is_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mamba2"}')
    with refused(BadCheckpoint, naming=("transformers", tmp_path)):
        reread.load(tmp_path)


def test_weights_that_do_not_fit_are_refused_and_not_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny("llama").model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = weights.pop("model.norm.weight")
    save_file({**weights, "other": lost}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with refused(BadCheckpoint, naming=("missing ['model.norm.weight']", "unexpected ['other']")):
        reread.load(tmp_path)


@torch.no_grad()
def test_a_step_copies_keys_and_values_once_and_changes_no_state():
    model = tiny("llama")
    _, state = model.read(tokens(1, 40), last_only=True)
    before = state.clone()
    made = []

    class Made(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.dim() == 4 and out.shape[2] >= 40 and "view" not in str(func):
                made.append((str(func), tuple(out.shape)))
            return out

    with Made():
        for token in (1, 2):
            model.step(torch.tensor([token]), state)
    layers = model.config.num_hidden_layers
    assert sum("cat" in name for name, _ in made) == 2 * 2 * layers
    assert not any("clone" in name or "index_select" in name for name, _ in made), made
    assert all(torch.equal(x, y) for x, y in zip(state.tensors[0].values(), before.tensors[0].values(), strict=True))


def test_the_table_in_docs_names_every_family_as_it_is_read():
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    table = [line.split(" | ") for line in text.splitlines() if "(whole) |" in line or "(steps) |" in line]
    assert [row[0].strip("| ") for row in table] == [f"{family} ({RESUME[family]})" for family in TINY]
    assert all(float(x.strip(" |")) < 1e-4 for row in table for x in row[1:])


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "mamba", "mamba2", "recurrent_gemma"])
def test_states_of_another_dtype_or_of_changed_weights_are_refused(family):
    model = tiny(family)
    _, state = model.read(tokens(1, 9), last_only=True)
    rows = tuple({n: x.bfloat16() if x.is_floating_point() else x for n, x in row.items()} for row in state.tensors)
    with refused(BadInput, got=containing("torch.bfloat16"), allowed="torch.float32"):
        model.step(tokens(1), PretrainedState(rows, state.position, state.fingerprint))
    next(model.model.parameters()).add_(1e-3)
    with refused(BadInput, got=f"state of {state.fingerprint}, model {model.fingerprint}"):
        model.step(tokens(1), state)


def test_a_prefix_within_its_text_and_places_within_the_model():
    model = tiny("gpt2")
    with refused(BadInput, got=[1000], allowed="0 to [5]"):
        model.read(tokens(1, 5), 1000)
    places = model.config.n_positions
    with refused(BadInput, got=places + 1, allowed=places):
        model.read(tokens(1, places + 1))
    _, long = model.read(tokens(1, places - 3))
    _, short = model.read(tokens(1, 4))
    mask = torch.tensor([[True] * 2 + [False] * 7, [True] * 9])
    _, after = model.extend(tokens(2, 9), PretrainedState.cat([long, short]), mask)  # each has places enough
    assert after.position.tolist() == [places - 1, 13]
    with refused(BadInput, got=places + 6, allowed=places):
        model.extend(tokens(2, 9), PretrainedState.cat([long, short]))


def test_reading_beyond_the_named_positions_is_said_once(caplog):
    model = tiny("llama")
    model.config.max_position_embeddings = 8
    _, state = model.read(tokens(1, 8))
    assert not caplog.records
    for _ in range(2):
        model.extend(tokens(1, 3), state)
    assert [record.getMessage()[:59] for record in caplog.records] == [
        "reread: 11 tokens are read, and the model's configuration n"
    ]


def opt():
    """OPT has a table of positions, and two rows in it for padding; it stands for families that no list names."""
    from transformers import OPTConfig, OPTForCausalLM

    sizes = {"hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 16, "num_hidden_layers": 1}
    config = OPTConfig(vocab_size=300, num_attention_heads=2, max_position_embeddings=24, **sizes)
    return Pretrained(OPTForCausalLM(config).eval())


def test_a_table_of_positions_ends_every_text_and_no_other_does():
    model = opt()
    assert model.places == 24 and tiny("gpt2").places == tiny("gpt2").config.n_positions
    assert {tiny(family).places for family in ("llama", "mamba2", "recurrent_gemma", "bamba")} == {None}
    _, state = model.read(tokens(1, 24))
    for verb in (lambda: model.read(tokens(1, 25)), lambda: model.extend(tokens(1, 1), state)):
        with refused(BadInput, got=25, allowed=24):
            verb()


@pytest.mark.parametrize("make", [lambda: tiny("gpt2"), opt])
def test_an_answer_ends_where_the_model_has_no_more_places(make, byte_tokenizer):
    from reread.engine import Reader
    from reread.models import LM

    model = make()
    reader = Reader(LM("gpt2", model, byte_tokenizer))
    logits, state = model.read(tokens(2, model.places - 5), last_only=True)
    written, _ = reader._decode(logits, state, "", 60)
    assert {len(ids) for ids in written} <= set(range(1, 6)) and reader.room(60, 7) == min(60, model.places - 7)


def test_weights_have_one_fingerprint_wherever_they_lie(tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM

    small = tiny("llama").model
    prints = set()
    for place in ("a", "elsewhere/b"):
        small.save_pretrained(tmp_path / place)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / place)
        assert str(tmp_path / place) in str(loaded.config.to_dict())
        prints.add(Pretrained(loaded).fingerprint)
    monkeypatch.setattr("transformers.configuration_utils.__version__", "99.0")
    prints.add(Pretrained(loaded).fingerprint)
    assert len(prints) == 1
    loaded.config.rms_norm_eps *= 2
    assert Pretrained(loaded).fingerprint not in prints


def test_the_template_keeps_no_document():
    from reread.models.pretrained import leaves

    model = tiny("llama")
    model.read(tokens(2, 300), last_only=True)
    assert sum(x.numel() for _, x in leaves(model.template())) < 300


def test_two_threads_share_one_model():
    from concurrent.futures import ThreadPoolExecutor

    model, ids = tiny("recurrent_gemma"), [tokens(1, 12), tokens(1, 12)]
    want = [model.read(x)[0] for x in ids]
    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda i: model.read(ids[i % 2])[0], range(40)))
    for i, logits in enumerate(got):
        torch.testing.assert_close(logits, want[i % 2])


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "mamba"])
def test_a_model_that_was_cast_makes_states_of_its_new_dtype(family):
    model = tiny(family)
    model.read(tokens(1, 5))
    model.model.to(torch.bfloat16)
    ids = tokens(1, 6)
    _, state = model.read(ids[:, :5], last_only=True)
    want = model.read(ids, last_only=True)[0].float()
    assert float((model.step(ids[:, 5], state)[0].float() - want).abs().max() / want.abs().max()) < 0.05
    assert any(x.dtype == torch.bfloat16 for x in state.tensors[0].values())

"""The published layouts: the logits of the published implementation, both directions, and what is refused."""

import json
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from raising import ANY, containing, refused
from safetensors.torch import save_file

import reread
from reread.errors import BadCheckpoint, BadInput
from reread.models.checkpoints import convert, read_published, to_published
from reread.models.prefix_lm import PrefixLMForCausalLM
from reread.models.published import DECAY, EMBEDDING, published_sizes
from reread.models.published_json import is_published

DATA = os.environ.get("REREAD_DATA")
REFERENCE = Path(DATA).parent / "reference" / "published_layout" if DATA else Path("nowhere")
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the reference outputs of the published implementation are not beside REREAD_DATA"
)
MIXERS = {
    "jrt": {"mixers": ["conv", "linear", "window", "conv"], "prefix_encoder": True, "max_prefix": 8},
    "based": {"mixers": ["conv", "linear", "window", "conv"], "prefix_encoder": False},
    "based_decay": {"mixers": ["conv", "decayed_linear", "window"], "prefix_encoder": False},
    "attn": {"mixers": ["attention", "attention"], "prefix_encoder": False, "rotary_share": 0.5},
}


@pytest.fixture(scope="session", params=[0])
def tiny_config(request, tiny_config):
    return tiny_config


@needs_reference
@pytest.mark.parametrize("family", MIXERS)
def test_the_logits_of_the_published_implementation(family):
    lm = reread.load(REFERENCE / family)
    cases = torch.load(REFERENCE / family / "cases.pt", weights_only=True)
    for case in cases.values():
        with torch.no_grad():
            logits, _ = lm.read(case["ids"])
        torch.testing.assert_close(logits, case["logits"], rtol=0, atol=1e-5)


@needs_reference
@pytest.mark.parametrize("family", MIXERS)
def test_published_to_ours_and_back_is_the_identity(family, tmp_path):
    convert(REFERENCE / family, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back")
    ids = torch.randint(0, 200, (2, 40))
    with torch.no_grad():
        want = reread.load(REFERENCE / family).read(ids)[0]
        assert torch.equal(reread.load(tmp_path / "ours").read(ids)[0], want)
    theirs, back = read_published(REFERENCE / family), read_published(tmp_path / "back")
    assert theirs.keys() == back.keys()
    assert all(torch.equal(theirs[name], back[name]) for name in theirs)
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == json.loads(
        (REFERENCE / family / "config.json").read_text()
    )


@pytest.fixture
def written(tiny_model, tmp_path):
    """written(family, **sizes): a published folder made of a small model of that family."""

    def write(family: str, **sizes) -> Path:
        model = tiny_model(**{**MIXERS[family], **sizes})
        folder = tmp_path / family
        folder.mkdir()
        torch.save({**to_published(model), "metrics.count": torch.tensor(3)}, folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps(published_sizes(model.config)))
        return folder

    return write


@pytest.fixture(params=MIXERS)
def folder(request, written):
    """A published folder made of one of our models, its weights pickled as published ones are."""
    return written(request.param)


def test_a_model_of_ours_comes_back_from_the_published_layout(folder, tiny_model):
    model, lm = tiny_model(**MIXERS[folder.name]), reread.load(folder)
    assert is_published(json.loads((folder / "config.json").read_text()))
    ids = torch.randint(0, 64, (2, 30))
    with torch.no_grad():
        assert torch.equal(lm.read(ids)[0], model.read(ids)[0])
    assert lm.model.noncausal_prefix == (folder.name == "jrt")


def test_safetensors_serve_as_well_as_pickles(folder):
    want = reread.load(folder).model.fingerprint
    save_file(read_published(folder), folder / "model.safetensors")
    (folder / "pytorch_model.bin").unlink()
    assert reread.load(folder).model.fingerprint == want


def test_the_default_prefix_is_the_configurations(folder):
    lm, ids = reread.load(folder), torch.randint(0, 64, (1, 20))
    with torch.no_grad():
        default, eight, all_ = (lm.read(ids, n)[0] for n in (None, 8, 20))
    assert torch.equal(default, eight)
    assert (folder.name == "jrt") == (not torch.allclose(default, all_))


def test_a_missing_and_an_extra_tensor_are_named(folder):
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    lost = weights.pop("model.transformer.layers.1.norm1.weight")
    torch.save({**weights, "model.other": lost}, folder / "pytorch_model.bin")
    with refused(BadCheckpoint, naming=("missing ['transformer.layers.1.norm1.weight']", "expected ['other']")):
        reread.load(folder)


class Harm:
    def __reduce__(self):
        return (os.mkdir, ("harm-was-done",))


def test_a_pickle_that_would_run_code_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Harm()}))
    with pytest.raises(BadCheckpoint):
        reread.load(folder)
    assert not (tmp_path / "harm-was-done").exists()


def test_target_strings_are_not_imported(written):
    folder = written("jrt")
    put(folder, "mixer._target_", "antigravity.BaseConv")
    reread.load(folder)
    assert "antigravity" not in sys.modules


def test_a_target_that_is_there_is_not_overwritten(folder, tmp_path):
    (tmp_path / "there").mkdir()
    with refused(BadInput, got=tmp_path / "there"):
        convert(folder, tmp_path / "there")


def test_words_are_refused_where_there_is_no_tokenizer(folder):
    with refused(BadCheckpoint, got=folder, naming="tokenizer.json"):
        reread.Reader(reread.load(folder)).ask("text", "question")


def test_a_hub_name_without_network_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with refused(BadCheckpoint, naming=("hub", "hazyresearch/JRT-360M-30B")):
        reread.load("hazyresearch/JRT-360M-30B")


DROP = object()
BASED = "based.models.mixers"
# Family, entry of config.json, what it is changed into; `got`, `allowed` and the names of the refusal.
REFUSED_JSON = [
    ("jrt", "mixer._target_", "x.Hyena", "x.Hyena", containing("BaseConv"), "_target_ in mixer"),
    ("jrt", "alt_mixer._target_", "x.Mamba", "x.Mamba", containing("PrefixLinearAttention"), "_target_ in alt_mixer "),
    ("jrt", "alt_mixer_2._target_", "x.Flash", "x.Flash", containing("SlidingAttention"), "_target_ in alt_mixer_2"),
    ("based", "alt_mixer.feature_map._target_", "x.Elu", "x.Elu", "TaylorExp", "alt_mixer.feature_map"),
    ("jrt", "alt_mixer.feature_name", "relu", "relu", "'taylor_exp'", "feature_name"),
    ("jrt", "alt_mixer._target_", f"{BASED}.LinearAttention", containing("linear (alt"), "prefix_linear", "layer 1"),
    ("based", "alt_mixer._target_", f"{BASED}.PrefixLinearAttention", containing("(alt_mixer: P"), "linear", "layer 1"),
    ("jrt", "mixer._target_", f"{BASED}.LinearAttention", "linear (mixer: LinearAttention)", "conv", "layer 0"),
    ("jrt", "alt_mixer_2._target_", "BaseConv", "conv (alt_mixer_2: BaseConv)", "attention or window", "layer 2"),
    ("jrt", "alt_mixer_2._target_", "flash_attn.modules.mha.MHA", 8, "SlidingAttention", "window_size"),
    ("jrt", "activation_function", "geglu", "geglu", "'swiglu'", "activation_function"),
    ("jrt", "activation_function", DROP, "nothing", "'swiglu'", "activation_function"),
    ("jrt", "rms_norm", False, False, "True", "rms_norm"),
    ("attn", "scale_attn_by_inverse_layer_idx", True, True, "False", "scale_attn_by_inverse_layer_idx"),
    ("jrt", "alt_mixer_2.causal", False, False, "True", "alt_mixer_2"),
    ("jrt", "n_inner", 999, 999, 48, "n_inner"),
    ("jrt", "vocab_size", 99, "99, padded to [99]", 64, "vocab_size"),
    ("jrt", "alt_mixer_layers", [0, 1], "prefix_linear (alt_mixer: PrefixLinearAttention)", "conv", "layer 0"),
    ("jrt", "alt_mixer_layers", [], "conv (mixer: BaseConv)", "prefix_linear", "layer 1"),
    ("jrt", "alt_mixer_layers", [1, 9], [1, 9], "0 to 3", ()),
    ("jrt", "alt_mixer_2_layers", [3], "conv (mixer: BaseConv)", "attention or window", "layer 2"),
    ("jrt", "mixer.expand_proj", 2, 2, "4", "expand_proj"),
    ("jrt", "mixer.kernel_sizes", [5], [5], "[3]", "kernel_sizes"),
    ("jrt", "alt_mixer_2", DROP, "nothing", ANY, ("layer 2", "alt_mixer_2")),
    ("jrt", "alt_mixer_2", {}, ANY, ANY, "num_heads of window"),
    ("attn", "mixer", {}, "conv (mixer: no _target_)", "attention or window", "layer 0"),
    ("attn", "qkv_proj_bias", True, True, "False", "qkv_proj_bias"),
    ("jrt", "mixer.use_bias", False, False, "True", "use_bias"),
    ("jrt", "alt_mixer_2.window_size", 10**30, 10**30, ANY, "window_size"),
    ("attn", "rotary_emb_base", 0, 0, ANY, "rotary_emb_base"),
    ("attn", "rotary_emb_fraction", DROP, ANY, ANY, "rotary_emb_fraction"),
    ("jrt", "rotary_emb_fraction", 0.5, 0.5, 1, "rotary_emb_fraction"),
    ("jrt", "n_head", 2, 4, "2", "num_heads"),
    ("jrt", "n_head", 5, "32 and 5", ANY, "heads"),
    ("jrt", "n_head", DROP, "nothing", "'a whole number'", "n_head"),
    ("jrt", "alt_mixer.num_heads", DROP, ANY, ANY, "num_heads of linear"),
    ("jrt", "alt_mixer.num_heads", 2, 2, "4", "num_heads"),
    ("jrt", "alt_mixer.feature_dim", DROP, ANY, ANY, "feature_dim"),
    ("based", "alt_mixer.feature_dim", 8, 8, "4", "feature_dim"),
    ("based", "alt_mixer.feature_map.input_dim", 8, 8, "4", "input_dim"),
    ("jrt", "alt_mixer.scale_dim", 8, 8, "4", "scale_dim"),
    ("jrt", "alt_mixer_2.num_heads", 2, 2, "4", "num_heads"),
    ("jrt", "alt_mixer_2.num_heads", DROP, ANY, ANY, "num_heads of window"),
    ("jrt", "alt_mixer_2.window_size", DROP, ANY, ANY, "window_size"),
    ("jrt", "alt_mixer_2.window_size", 1, ANY, ANY, ("window", "got '0'")),
    ("jrt", "alt_mixer.enc_length", DROP, ANY, ANY, "enc_length"),
    ("jrt", "enc_length", 9, 9, "8", "enc_length"),
    ("jrt", "pad_token_id", 64, 64, "0 to 63", "pad_token_id"),
    ("jrt", "tie_word_embeddings", "yes", "yes", ANY, "tie_word_embeddings"),
    ("based_decay", "fixed_decay", False, False, "True", "fixed_decay"),
    ("based_decay", "alt_mixer.use_decay_proj", False, False, "True", "use_decay_proj"),
    ("based_decay", "decay_const", -4, containing("-0.1335"), containing("decay_const -4"), ()),
    ("based", "fixed_decay", True, True, "False", "fixed_decay"),
    ("based", "alt_mixer.use_decay_proj", True, True, "False", "use_decay_proj"),
    ("jrt", "alt_mixer.use_decay_proj", True, True, "False", "use_decay_proj"),
    ("jrt", "n_head", "4", "4", ANY, "n_head"),
    ("jrt", "n_head", True, True, ANY, "n_head"),
    ("jrt", "alt_mixer", [1], [1], ANY, "alt_mixer"),
    ("jrt", "alt_mixer.enc_length", "8", "8", ANY, "enc_length"),
    ("jrt", "layer_norm_epsilon", "x", "x", ANY, "layer_norm_epsilon"),
    ("jrt", "layer_norm_epsilon", float("nan"), "nan", ANY, "layer_norm_epsilon"),
    ("attn", "rotary_emb_fraction", 2.0, 2.0, ANY, "rotary_emb_fraction"),
    ("jrt", "alt_mixer_layers", "1", "1", ANY, "alt_mixer_layers"),
    ("jrt", "n_layer", 9, 9, "4", "layers"),
    ("jrt", "n_embd", 48, 48, "32", "width"),
]  # fmt: skip


def put(folder: Path, path: str, value) -> None:
    """Change one entry of config.json, by its dotted path; DROP takes it out."""
    sizes = json.loads((folder / "config.json").read_text())
    *outer, last = path.split(".")
    table = sizes
    for name in outer:
        table = table[name]
    if value is DROP:
        del table[last]
    else:
        table[last] = value
    (folder / "config.json").write_text(json.dumps(sizes))


def change_weights(folder: Path, edit) -> None:
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    edit(weights)
    torch.save(weights, folder / "pytorch_model.bin")


@pytest.mark.parametrize(("family", "path", "value", "got", "allowed", "naming"), REFUSED_JSON)
def test_a_json_that_means_another_model_is_refused(written, family, path, value, got, allowed, naming):
    folder = written(family)
    put(folder, path, value)
    with refused(BadCheckpoint, got=got, allowed=allowed, naming=naming):
        reread.load(folder)


@needs_reference
@pytest.mark.parametrize(
    ("family", "path", "value", "got", "allowed"),
    [
        ("jrt", "alt_mixer.feature_name", "relu", "relu", "'taylor_exp'"),
        ("based", "alt_mixer.feature_map._target_", f"{BASED}.linear_attention.Performer", ..., "TaylorExp"),
        ("jrt", "n_inner", 300, 300, 256),
        ("jrt", "vocab_size", 200, "200, padded to [200]", 216),
        ("based_decay", "alt_mixer.use_decay_proj", False, False, True),
        ("jrt", "alt_mixer_layers", [1, 3], "prefix_linear (alt_mixer: PrefixLinearAttention)", "conv"),
        ("attn", "mixer", {"_target_": f"{BASED}.convolution.BaseConv"}, ANY, "attention or window"),
    ],
)
def test_an_edit_of_a_reference_folder_is_refused(tmp_path, family, path, value, got, allowed):
    for name in ("config.json", "pytorch_model.bin"):
        (tmp_path / name).write_bytes((REFERENCE / family / name).read_bytes())
    reread.load(tmp_path)
    put(tmp_path, path, value)
    with refused(BadCheckpoint, got=value if got is ... else got, allowed=allowed):
        reread.load(tmp_path)


NAME = "model.transformer.layers.0.norm1.weight"
FLOATS, NORM = "torch.bfloat16, torch.float16, torch.float32", {"naming": "norm1.weight"}
REFUSED_WEIGHTS = [
    (lambda w: w.update({NAME: w[NAME].long()}), {"got": "torch.int64", "allowed": FLOATS, **NORM}),
    (lambda w: w.update({NAME: w[NAME].to(torch.complex64)}), {"got": "torch.complex64", **NORM}),
    (lambda w: w.update({NAME: w[NAME].double()}), {"got": "torch.float64", **NORM}),
    (lambda w: w[NAME][:1].fill_(float("nan")), {"got": "1", "allowed": 0, "naming": ("norm1.weight", "NaN")}),
    (lambda w: w[NAME].fill_(float("inf")), {"got": "32", "allowed": 0, "naming": ("norm1.weight", "NaN")}),
    (lambda w: w.update({NAME: 3.0}), {"got": "float", "allowed": "a tensor", **NORM}),
    (lambda w: w.update({7: w.pop(NAME)}), {"got": "7", "naming": "pytorch_model.bin"}),
    (lambda w: w.update({NAME.removeprefix("model."): w[NAME].clone()}), {"got": "transformer.layers.0.norm1.weight"}),
    (lambda w: w.update({f"model.{EMBEDDING}": torch.zeros(64)}), {"got": (64,), "naming": "word_embeddings.weight"}),
    (lambda w: w.update({NAME: torch.zeros(7)}), {"got": (7,), "allowed": containing("(32,)"), **NORM}),
    (lambda w: w.pop(f"model.{EMBEDDING}"), {"got": "missing ['transformer.embeddings.word_embeddings.weight']"}),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "fields"), REFUSED_WEIGHTS)
def test_weights_that_are_no_weights_are_refused(written, edit, fields):
    folder = written("jrt")
    change_weights(folder, edit)
    with refused(BadCheckpoint, **fields):
        reread.load(folder)


def test_a_window_without_its_entry_is_not_read_as_full_attention(written):
    folder = written("jrt")
    put(folder, "alt_mixer_2", DROP)
    put(folder, "alt_mixer_2_layers", DROP)
    with refused(BadCheckpoint, got="conv (mixer: BaseConv)", allowed="attention or window"):
        reread.load(folder)


def test_decays_come_with_their_projections_or_not_at_all(written):
    folder = written("based_decay")
    change_weights(folder, lambda w: w.pop("model.transformer.layers.1.mixer.decay_proj.weight"))
    put(folder, "alt_mixer.use_decay_proj", DROP)
    with refused(BadCheckpoint, got=containing("transformer.decay.decay", "decay_proj")):
        reread.load(folder)


@pytest.mark.parametrize("edit", [lambda d: d * 1.001, lambda d: d[:1], lambda d: d.flip(0)])
def test_decays_that_decay_const_does_not_give_are_refused(written, edit):
    folder = written("based_decay")
    wrong = edit(read_published(folder)[DECAY]).clone()
    change_weights(folder, lambda w: w.update({f"model.{DECAY}": wrong}))
    with refused(BadCheckpoint, got=wrong.tolist(), allowed=containing("decay_const -3")):
        reread.load(folder)


def test_an_older_name_of_the_convolution_and_of_the_classes_is_read(written):
    folder = written("based")
    want = reread.load(folder).model.fingerprint
    change_weights(folder, lambda w: [w.update({k.replace(".conv.conv.", ".conv.conv1."): w.pop(k)}) for k in list(w)])
    put(folder, "mixer._target_", "src.models.mixers.base_conv.BaseConvWithSiLU4")
    put(folder, "alt_mixer_2._target_", "src.models.mixers.slide_fa2.SlidingsMHA")
    put(folder, "mixer.kernel_sizes", 3)
    assert any("conv1" in name for name in torch.load(folder / "pytorch_model.bin", weights_only=True))
    assert reread.load(folder).model.fingerprint == want


def test_an_attention_config_without_a_mixer_entry_is_read(written):
    """The published attention recipes have no such entry."""
    folder = written("attn")
    want = reread.load(folder).model.fingerprint
    put(folder, "mixer", DROP)
    assert reread.load(folder).model.fingerprint == want


def test_what_the_json_alone_gives_is_used(written):
    folder, ids = written("attn"), torch.randint(0, 64, (1, 20))
    with torch.no_grad():
        plain = reread.load(folder).read(ids)[0]
        for path, value in (("layer_norm_epsilon", 0.5), ("rotary_emb_base", 50), ("rotary_emb_fraction", 1)):
            before = json.loads((folder / "config.json").read_text())[path]
            put(folder, path, value)
            assert not torch.allclose(reread.load(folder).read(ids)[0], plain, atol=1e-3), path
            put(folder, path, before)


@pytest.mark.parametrize(("rows", "pad"), [(64, None), (220, None), (221, 220), (300, 220)])
def test_prompts_are_filled_with_the_space_of_gpt2_where_it_is_a_token(written, rows, pad):
    assert reread.load(written("jrt", vocab_size=rows)).model.config.pad_token_id == pad


@pytest.mark.parametrize(
    "sizes",
    [
        {"mixers": ["conv", "linear", "window"], "rope_theta": 500.0, "max_prefix": 8},
        {"mixers": ["window", "attention"]},
        {"mixers": ["attention", "linear"], "prefix_encoder": False, "rotary_share": 0.5},
        {"mixers": ["conv", "linear"], "mask_token_id": 3, "eos_token_id": 0, "pad_token_id": 0},
        {"mixers": ["linear", "linear"], "max_prefix": None, "rms_norm_eps": 1e-3},
        {"mixers": ["conv", "window"], "window": 7, "conv_kernel": 5, "conv_expand": 1},
        {"mixers": ["conv", "decayed_linear"], "prefix_encoder": False, "decay_const": -2.0, "feature_dim": 3},
        {"mixers": ["attention"], "tie_word_embeddings": False},
    ],
)
def test_ours_to_published_and_back_is_the_same_model(tiny_model, tmp_path, sizes):
    model = tiny_model(**sizes)
    model.save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "back")
    ids = torch.randint(0, 64, (2, 30))
    with torch.no_grad():
        want = model.read(ids)[0]
        for name in ("theirs", "back"):
            lm = reread.load(tmp_path / name)
            assert torch.equal(lm.read(ids)[0], want)
            for entry in ("mask_token_id", "eos_token_id", "pad_token_id"):
                assert getattr(lm.model.config, entry, None) == sizes.get(entry)


@pytest.mark.parametrize(
    ("sizes", "fields"),
    [
        ({"mixers": ["conv", "delta"]}, {"got": "delta", "allowed": "conv, window, attention, linear, decayed_linear"}),
        ({"mixers": ["conv", "attention"]}, {"naming": "layer 1"}),
        (
            {"mixers": ["window", "attention"], "rotary_share": 0.5},
            {"got": "0.5", "allowed": "1.0", "naming": "rotary_share"},
        ),
        (
            {"mixers": ["conv", "linear"], "feature_map": "elu"},
            {"got": "'elu'", "allowed": "'taylor'", "naming": "feature_map"},
        ),
        ({"mixers": ["conv", "linear"], "key_conv": 3}, {"got": "3", "allowed": "0", "naming": "key_conv"}),
        ({"mixers": ["conv", "linear"], "qk_norm": True}, {"got": "True", "allowed": "False", "naming": "qk_norm"}),
        (
            {"mixers": ["conv", "linear"], "normalise": False},
            {"got": "False", "allowed": "True", "naming": "normalise"},
        ),
        ({"mixers": ["linear", "decayed_linear"], "prefix_encoder": False}, {"naming": ("decay_proj", "got 1")}),
    ],
)
def test_a_model_that_the_layout_cannot_hold_is_refused(tiny_model, tmp_path, sizes, fields):
    tiny_model(**sizes).save_pretrained(tmp_path / "m")
    with refused(BadCheckpoint, **fields):
        convert(tmp_path / "m", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_kept_json_that_no_longer_fits_is_refused(written, tmp_path):
    convert(written("jrt"), tmp_path / "ours")
    put(tmp_path / "ours", "window", 5)
    with refused(BadCheckpoint, got="5", allowed="4", naming="window"):
        convert(tmp_path / "ours", tmp_path / "back")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", MIXERS)
def test_conversion_keeps_the_dtypes_and_loading_is_in_float32(written, tmp_path, family, dtype):
    folder = written(family)
    mixed = "model.transformer.ln_f.weight"  # one tensor stays as it was

    def lower(weights):
        weights.update({k: x.to(dtype) for k, x in weights.items() if x.is_floating_point() and k != mixed})
        if family == "based_decay" and dtype == torch.float32:  # as another computer would round it
            weights[f"model.{DECAY}"] = torch.nextafter(weights[f"model.{DECAY}"], torch.zeros((), dtype=dtype))

    change_weights(folder, lower)
    convert(folder, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back")
    theirs, back = read_published(folder), read_published(tmp_path / "back")
    assert theirs.keys() == back.keys()
    for name, x in theirs.items():
        assert x.dtype == back[name].dtype and torch.equal(x, back[name]), name
    assert theirs[EMBEDDING].dtype == dtype and theirs["transformer.ln_f.weight"].dtype == torch.float32
    for place in (folder, tmp_path / "ours", tmp_path / "back"):
        assert {x.dtype for x in reread.load(place).model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("{", {"naming": ("config.json", "line 1 column 2")}),
        ("[1]", {"got": "list", "naming": "config.json"}),
        ("3", {"got": "int", "naming": "config.json"}),
        ('{"n_embd": ' * 30_000, {"naming": ("config.json", "recursion")}),
    ],
)
def test_converting_a_broken_json_is_one_sentence(written, tmp_path, text, fields):
    folder = written("jrt")
    (folder / "config.json").write_text(text)
    with refused(BadCheckpoint, **fields):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pickle_of_before_torch_1_6_is_read(folder):
    want = reread.load(folder).model.fingerprint
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert reread.load(folder).model.fingerprint == want


@pytest.mark.parametrize(("single", "write"), [("model.safetensors", save_file), ("pytorch_model.bin", torch.save)])
def test_weights_in_several_files_are_read(written, single, write):
    folder = written("jrt")
    want = reread.load(folder).model.fingerprint
    weights = {k: x.clone() for k, x in read_published(folder).items()}
    (folder / "pytorch_model.bin").unlink()
    names, stem, end = sorted(weights), *single.split(".")
    halves = {f"{stem}-0000{i + 1}-of-00002.{end}": names[i::2] for i in range(2)}
    for file, part in halves.items():
        write({name: weights[name] for name in part}, folder / file)
    where = {name: file for file, part in halves.items() for name in part}
    (folder / f"{single}.index.json").write_text(json.dumps({"weight_map": where}))
    assert reread.load(folder).model.fingerprint == want
    (folder / f"{single}.index.json").write_text(json.dumps({"weight_map": {**where, "x": "../secret"}}))
    with refused(BadCheckpoint, got=folder, naming=(f"{single}.index.json", "weight_map")):
        reread.load(folder)
    (folder / f"{single}.index.json").write_text(json.dumps({"weight_map": where}))
    (folder / f"{stem}-00002-of-00002.{end}").unlink()
    with refused(BadCheckpoint, naming=f"{stem}-00002-of-00002.{end}"):
        reread.load(folder)


def test_loading_draws_no_weight_at_random(folder, monkeypatch):
    def never(self, module):
        raise AssertionError("a weight was initialised that the checkpoint holds")

    monkeypatch.setattr(PrefixLMForCausalLM, "_init_weights", never)
    before = torch.get_rng_state()
    reread.load(folder)
    assert torch.equal(torch.get_rng_state(), before)

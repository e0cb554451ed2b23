"""The mean of adapters: its matrices, its manifest, and adapters that have none."""

import json
import shutil

import pytest
import torch
from raising import containing, refused
from safetensors.torch import load_file, save_file

from reread.errors import BadInput
from reread.models.lora import CONFIG, MANIFEST, TENSORS, file_sha256, read_adapter, read_manifest
from reread.training.adapter_mean import average_adapters

SETTINGS = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
NAMES = ("base_model.model.layers.0.q_proj.lora_A.weight", "base_model.model.layers.0.q_proj.lora_B.weight")


def written(folder, seed, dtype=torch.bfloat16, base="0" * 64, **settings):
    folder.mkdir()
    draw = torch.Generator().manual_seed(seed)
    shapes = ((2, 6), (4, 2))
    tensors = {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in zip(NAMES, shapes, strict=True)}
    save_file(tensors, folder / TENSORS)
    (folder / CONFIG).write_text(json.dumps({**SETTINGS, **settings}))
    calibration = {"field": {"score": [0.5], "probability": [0.5], "threshold": 0.5}}
    told = {"version": str(seed), "base": [base], "template": "reader", "calibration": calibration}
    (folder / MANIFEST).write_text(json.dumps(told))
    return folder


def test_every_matrix_is_the_mean_in_float32_and_the_same_bytes_each_time(tmp_path):
    folders = [written(tmp_path / str(seed), seed) for seed in range(3)]
    sha256 = average_adapters(folders, tmp_path / "mean", "3")
    parts, mean = [load_file(folder / TENSORS) for folder in folders], load_file(tmp_path / "mean" / TENSORS)
    for name in NAMES:
        expected = torch.stack([part[name].double() for part in parts]).mean(0)
        assert mean[name].dtype == torch.bfloat16
        torch.testing.assert_close(mean[name].double(), expected, rtol=2**-8, atol=1e-6)
    assert sha256 == average_adapters(folders, tmp_path / "again") == file_sha256(tmp_path / "mean" / TENSORS)
    assert read_adapter(tmp_path / "mean").rank("layers.0.q_proj") == 2


def test_the_manifest_names_the_parts_and_has_no_calibration(tmp_path):
    folders = [written(tmp_path / name, seed) for seed, name in enumerate(("first", "second"))]
    average_adapters(folders, tmp_path / "mean", "3")
    told = read_manifest(tmp_path / "mean")
    assert (told.version, told.base, told.template, told.calibration) == ("3", ("0" * 64,), "reader", None)
    assert [part.split()[0] for part in told.recipe["mean of"]] == ["first", "second"]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"r": 4}, "r"), ({"lora_alpha": 8}, "lora_alpha"), ({"use_rslora": True}, "use_rslora"),
        ({"base": "1" * 64}, "base"),
    ],
)  # fmt: skip
def test_adapters_of_other_scales_or_bases_have_no_mean(tmp_path, settings, what):
    folders = [written(tmp_path / "a", 0), written(tmp_path / "b", 1, **settings)]
    with refused(BadInput, got=containing(f"differ in {what}")):
        average_adapters(folders, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_other_shapes_one_adapter_and_a_folder_that_is_there_are_refused(tmp_path):
    one, other = (written(tmp_path / name, 0) for name in "ab")
    tensors = load_file(other / TENSORS)
    save_file({**tensors, NAMES[0]: torch.zeros(2, 7)}, other / TENSORS)
    with refused(BadInput, got=containing("differ in modules or shapes")):
        average_adapters([one, other], tmp_path / "mean")
    with refused(BadInput, got="1", naming=("two adapters",)):
        average_adapters([one], tmp_path / "mean")
    shutil.copytree(one, tmp_path / "mean")
    with refused(BadInput, naming=("there already", "new folder")):
        average_adapters([one, one], tmp_path / "mean")

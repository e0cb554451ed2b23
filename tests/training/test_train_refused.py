"""What cannot be trained is found before the run folder is made; what cannot be written is one sentence."""

import errno
from pathlib import Path

import pytest
from marks import slow
from safetensors import SafetensorError
from test_trainer import config
from transformers import Trainer

from reread.errors import BadInput, RereadError
from reread.training import trainer as subject
from reread.training.data import DataConfig, Stage
from reread.training.trainer import last_checkpoint, train


def mix(**shares):
    return DataConfig(mix=shares, characters=50_000, set_aside=5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": (Stage(1, 96, 1), Stage(1, 14, 1)), "data": mix(sentences=1.0)}, "stage 2"),
        ({"stages": (Stage(1, 14, 1, {"sentences": 1.0}), Stage(1, 96, 1)), "data": mix(forms=1.0)}, "stage 1"),
        ({"stages": (Stage(1, 30_000, 1),), "data": mix(text=1.0)}, "less than a row"),
        ({"stages": (Stage(1, 96, 1),), "data": DataConfig(mix={"table": 1.0}, set_aside=500)}, "left to train"),
        ({"model": {"feature_map": "tailor"}}, "tailor"),
    ],
)
def test_what_the_data_do_not_hold_is_found_before_the_folder_is_made(changes, words, small_data, tmp_path):
    with pytest.raises(RereadError) as raised:
        train(config(tmp_path / "run", **changes), small_data)
    assert words in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_run_that_another_process_writes_is_refused_before_the_data_are_read(small_data, tmp_path, monkeypatch):
    from reread.config import to_dict
    from reread.runlog import Run

    given = config(tmp_path / "run")
    monkeypatch.setattr(subject, "build_rows", lambda *_: pytest.fail("data are read"))
    with Run.start(given.out, "train", to_dict(given), resume=True), pytest.raises(BadInput) as raised:
        train(given, small_data)
    assert raised.value.got == str(tmp_path / "run")


@pytest.mark.parametrize(
    "trouble",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        *slow(
            SafetensorError("Error while serializing: No space left on device"),
            RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        ),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_one_sentence_and_leaves_no_part(
    small_data, tmp_path, monkeypatch, trouble
):
    def half(self, model, trial):
        part = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        part.mkdir(parents=True)
        (part / "model.safetensors").write_bytes(b"half")
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", half)
        with pytest.raises(BadInput) as raised:
            train(config(tmp_path / "run"), small_data)
    assert raised.value.got == str(tmp_path / "run" / "checkpoints") and raised.value.__cause__ is trouble
    assert not list((tmp_path / "run" / "checkpoints").glob("*")) and last_checkpoint(tmp_path / "run") is None
    assert train(config(tmp_path / "run"), small_data)["steps"] == 6  # and goes on once it can write

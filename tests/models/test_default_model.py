"""The default model with the adapter that comes with it: loaded, asked, stored and refused.  One load for all tests."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from in_process import reread
from marks import needs_reader
from raising import containing, refused

from reread.errors import BadCheckpoint
from reread.models import PACKAGED, adapters_of, load
from reread.models.lora import MANIFEST, TENSORS

pytestmark = needs_reader
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def lm():
    return load("smollm2")


@pytest.fixture(scope="module")
def cli(lm):
    """The command with the model that is loaded already."""
    import reread.models as models

    def run(*words):
        with pytest.MonkeyPatch.context() as patched:
            patched.delenv("REREAD_MODEL", raising=False)
            patched.setattr(models, "load", lambda *given, **options: lm)
            return reread(*words)

    return run


def test_it_comes_with_its_adapter_template_and_calibration(lm):
    (folder,) = adapters_of("smollm2", None)
    assert lm.adapters == (str(folder),) and folder.name == PACKAGED["smollm2"].adapter
    assert lm.template("field").name == lm.template("question").name == "reader"
    assert lm.manifest.base == (PACKAGED["smollm2"].sha256,)
    for kind in ("field", "question"):
        assert 0 < lm.calibration(kind).threshold < 1
    assert (folder / TENSORS).stat().st_size < 11e6


def test_ask_finds_a_field_answers_a_question_and_says_what_is_not_there(cli):
    fields = {"Monthly fee": "2,450 pounds", "Who signed for the client?": "Margaret Oyelaran"}
    text = (EXAMPLES / "contract.txt").read_text().strip()
    for asked, expected in fields.items():
        told = json.loads(cli("ask", str(EXAMPLES / "contract.txt"), asked, "--json").stdout)
        assert told["text"] == expected and told["found"] and told["verbatim"] and told["confidence"] > 0.5
        start, end = told["span"]
        assert text[start:end] == expected
    told = json.loads(cli("ask", str(EXAMPLES / "contract.txt"), "Deposit", "--json").stdout)
    assert told["text"] == "not found" and not told["found"] and told["confidence"] == 0


def test_a_document_is_asked_from_its_state(cli, tmp_path):
    done = json.loads(cli("read", str(EXAMPLES / "datasheet.txt"), "--out", str(tmp_path), "--json").stdout)
    told = cli("ask", "--state", done[0]["state"], "How long does delivery take?", "--json")
    assert json.loads(told.stdout)["text"] == "three weeks"


def test_another_base_a_changed_tensor_and_a_missing_file_are_refused(tmp_path):
    (folder,) = adapters_of("smollm2", None)
    other = shutil.copytree(folder, tmp_path / "other")
    manifest = json.loads((other / MANIFEST).read_text())
    (other / MANIFEST).write_text(json.dumps({**manifest, "base": ["0" * 64]}))
    with refused(BadCheckpoint, got=containing(PACKAGED["smollm2"].sha256), allowed="0" * 64):
        load("smollm2", adapter=other)
    (other / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-100])
    with refused(BadCheckpoint, naming=TENSORS):
        load("smollm2", adapter=other)


def test_a_wheel_of_another_size_or_version_is_refused_with_the_pip_line(monkeypatch):
    monkeypatch.setitem(PACKAGED, "smollm2", replace(PACKAGED["smollm2"], sha256="0" * 64))
    with refused(BadCheckpoint, got=containing("sha256")):
        load("smollm2")
    monkeypatch.setitem(PACKAGED, "smollm2", replace(PACKAGED["smollm2"], size=1))
    with refused(BadCheckpoint, got=containing("98,362,432")):
        load("smollm2")

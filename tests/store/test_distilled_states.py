"""Stored states of `distilled`: they name the weights that chose their keys, and two fits never share a state."""

import pytest
import torch
from in_process import complained, reread
from raising import refused

from reread.documents.loaders import Source
from reread.engine import Reader
from reread.errors import BadState
from reread.models import LM
from reread.models.distilled import FILE, Distilled, Fit, encoded, with_fit
from reread.models.kv_selection import selection
from reread.models.pretrained import Pretrained
from reread.serve.desk import check_same
from reread.serve.ways import Ways
from reread.sessions import DocumentReader
from reread.store import Store

SELECT = "distilled(tokens=20)"
SOURCE = Source("a.txt", "Colour: blue. Owner: Smith. " * 5, "0" * 64)


@pytest.fixture
def lm(byte_llama):
    return LM("byte_llama", Pretrained(byte_llama.model.model), byte_llama.tokenizer)


def write(model, folder, seed):
    """A file of random weights of the model, in its folder."""
    draw = torch.Generator().manual_seed(seed)
    fit = Fit("byte_llama", model.fingerprint, target="reread", dtype="float32", documents=1, tokens=9, ridge=0.1)
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(encoded(Distilled({i: torch.randn(2, 33, generator=draw) for i in (0, 1)}, fit)))
    model.folders = (folder,)


def test_two_fits_never_share_a_state(lm, tmp_path):
    write(lm.model, tmp_path / "a", 0)
    store = Store(tmp_path / "states")
    first = DocumentReader(Reader(lm)).keep(store, SOURCE, select=SELECT)
    assert first.header.selection == str(with_fit(lm.model, selection(SELECT))) != SELECT
    assert DocumentReader(Reader(lm)).keep(store, SOURCE, select=SELECT).already_there
    reader = DocumentReader(Reader(lm))
    session = reader.open(store.get(first.path.stem), level="full")
    assert session.ask(["Owner"])[0].text == Reader(lm).ask(SOURCE.text, "Owner", select=SELECT)[0].text
    other = LM("byte_llama", Pretrained(lm.model.model), lm.tokenizer)
    write(other.model, tmp_path / "b", 1)
    second = DocumentReader(Reader(other)).keep(store, SOURCE, select=SELECT)
    assert not second.already_there and second.path != first.path
    assert second.header.selection != first.header.selection


def test_a_state_is_asked_with_its_selection_with_or_without_the_name(lm, tmp_path):
    lm.model.model.save_pretrained(tmp_path / "m")
    lm.tokenizer.save(str(tmp_path / "m" / "tokenizer.json"))
    write(lm.model, tmp_path / "m", 0)
    (tmp_path / "a.txt").write_text(SOURCE.text)
    model = ("--model", tmp_path / "m")
    done = reread("read", tmp_path / "a.txt", "--out", tmp_path / "states", *model, "--select", SELECT)
    assert done.returncode == 0, done
    (file,) = (tmp_path / "states").glob("*.safetensors")
    for select in ((), ("--select", SELECT)):
        done = reread("ask", "--state", file, "Owner", *model, *select)
        assert done.returncode == 0 and "20 of" in done.stderr, done
    complained(reread("ask", "--state", file, "Owner", *model, "--select", "distilled(tokens=21)"), "tokens=21")
    complained(reread("ask", tmp_path / "a.txt", "Owner", "--model", "small-jrt", "--select", SELECT), "fixed size")
    (tmp_path / "m" / FILE).unlink()
    complained(reread("ask", tmp_path / "a.txt", "Owner", *model, "--select", SELECT), "fit-selection")


@pytest.mark.parametrize("option", ["select", "wrong"])
def test_a_server_takes_the_selection_with_or_without_the_name(lm, tmp_path, option):
    write(lm.model, tmp_path / "a", 0)
    header = DocumentReader(Reader(lm)).keep(Store(tmp_path / "states"), SOURCE, select=SELECT).header
    if option == "select":
        for asked in (SELECT, header.selection):
            check_same(header, Ways(select=asked))
    else:
        with refused(BadState, got="distilled(tokens=21)", allowed=header.selection):
            check_same(header, Ways(select="distilled(tokens=21)"))

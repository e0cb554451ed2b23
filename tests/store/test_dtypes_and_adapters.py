"""A state between dtypes of one model, the dtype it is kept in where none is named, and the adapters it needs."""

import copy
import dataclasses

import pytest
import torch
from raising import containing, refused

from reread.engine import Reader
from reread.errors import BadState
from reread.models import LM
from reread.models.families import TINY, tiny
from reread.models.lora import AdapterId
from reread.models.pretrained import Pretrained
from reread.sessions import DocumentReader, relative
from reread.statefile import decode, encode
from reread.store import Store

FAMILIES = ("llama", "mamba2")


@pytest.fixture
def readers(byte_tokenizer, monkeypatch):
    """readers(family): document readers of one model in float32, in bfloat16, and of other weights."""

    def make(family):
        monkeypatch.setitem(TINY, family, {**TINY[family], "vocab_size": 256})
        whole = tiny(family).model
        models = {
            "fp32": Pretrained(whole, "the file"),
            "bf16": Pretrained(copy.deepcopy(whole).to(torch.bfloat16), "the file"),
            "other": Pretrained(tiny(family, seed=1).model, "another file"),
        }
        return {name: DocumentReader(Reader(LM(name, model, byte_tokenizer))) for name, model in models.items()}

    return make


def kept(reader, source, dtype=None):
    shown = reader.show(source)
    return decode(encode(reader.read(reader.header(source, shown, state_dtype=dtype), shown[1])), "a state")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("level", ["canary", "full"])
@pytest.mark.parametrize("made, used", [("fp32", "bf16"), ("bf16", "fp32")])
def test_a_state_of_one_dtype_is_read_on_from_in_another(readers, source, family, level, made, used):
    all_ = readers(family)
    document = kept(all_[made], source(0))
    assert document.header.compute_dtype == {"fp32": "float32", "bf16": "bfloat16"}[made]
    session = all_[used].open(document, level)
    ids = torch.tensor([all_[used].lm.tokenizer.encode("Applicant").ids])
    _, whole = all_[made].lm.model.read(document.tokens[None], 0, last_only=True)
    want, _ = all_[made].lm.model.extend(ids, whole, last_only=True)
    got, after = all_[used].lm.model.extend(ids, session.state, last_only=True)
    assert relative(got.float(), want.float()) < 5e-2
    assert relative(got.float(), all_["other"].lm.model.read(ids, last_only=True)[0].float()) > 5e-2
    assert after.position.item() == document.header.read + ids.shape[1]
    with refused(BadState, got=containing(document.header.model), allowed=containing("other")):
        all_["other"].open(document)


def test_a_state_that_is_not_of_its_model_is_refused_between_dtypes_too(readers, source):
    all_ = readers("llama")
    document = kept(all_["bf16"], source(0), "fp32")
    other = kept(all_["bf16"], source(1), "fp32")
    with refused(BadState, got=containing("off"), allowed="5e-02"):
        all_["fp32"].open(dataclasses.replace(document, packed=other.packed))
    header = dataclasses.replace(document.header, compute_dtype="float32")
    with refused(BadState, naming=("torch.bfloat16", "torch.float32")):
        all_["fp32"].open(dataclasses.replace(document, header=header))
    lie = dataclasses.replace(document.header, compute_dtype="float16")
    with refused(BadState, got="float16", allowed="float32"):
        all_["fp32"].open(dataclasses.replace(document, header=lie))


def test_one_reading_serves_both_dtypes(readers, source, tmp_path):
    all_, store = readers("llama"), Store(tmp_path)
    first = all_["fp32"].keep(store, source(0))
    again = all_["bf16"].keep(store, source(0))
    assert again.already_there and again.path == first.path
    assert all_["bf16"].open(store.get(first.path.stem)).ask(["Applicant"], max_new_tokens=2)[0].new_tokens >= 1


def test_a_full_cache_is_kept_in_bf16_and_recurrent_states_in_fp32_where_no_dtype_is_named(
    readers, document_reader, source
):
    theirs, ours = readers("llama")["fp32"], document_reader()
    document = kept(theirs, source(0))
    assert document.header.state_dtype == "bf16"
    assert document.nbytes < 0.6 * kept(theirs, source(0), "fp32").nbytes
    assert kept(ours, source(0)).header.state_dtype == "fp32"
    assert kept(readers("mamba2")["fp32"], source(0)).header.state_dtype == "fp32"
    assert kept(ours, source(0), "bf16").header.state_dtype == "bf16"


def test_headers_of_before_open(readers, document_reader, source):
    for reader in (readers("llama")["fp32"], document_reader()):
        document = kept(reader, source(0))
        header = dataclasses.replace(document.header, compute_dtype="", adapters=())
        data = encode(dataclasses.replace(document, header=header))
        assert b"compute_dtype" not in data and b"adapters" not in data
        assert reader.open(decode(data, "a state"), "full").document.header == header


def test_a_state_names_the_adapter_that_it_needs(readers, source):
    reader = readers("llama")["fp32"]
    needed, loaded = AdapterId("office", "1.0", "ab" * 32), AdapterId("forms", "", "cd" * 32)
    document = kept(reader, source(0))
    header = dataclasses.replace(document.header, adapters=(needed,))
    document = decode(encode(dataclasses.replace(document, header=header)), "a state")
    with refused(
        BadState, got="no adapter", naming=("office 1.0", "sha256 abababababab"), todo=containing("--adapter")
    ):
        reader.open(document)
    reader.adapters = (loaded,)
    with refused(BadState, got="forms (sha256 cdcdcdcdcdcd)", naming="office 1.0"):
        reader.open(document)
    reader.adapters = (dataclasses.replace(needed, name="renamed"),)
    assert reader.open(document).state.batch == 1

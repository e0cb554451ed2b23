"""State files of selections with a dynamic budget and of second readings of units; sums of dropped keys are refused."""

import dataclasses

import pytest
from raising import refused
from test_kept_state_files import made, reader_of  # noqa: F401  (a fixture)

from reread.errors import BadInput, BadState
from reread.models.kv_selection import for_document, selection
from reread.prompting.complexity import unigram_entropy
from reread.sessions import DocumentReader
from reread.statefile import decode, encode
from reread.store import Store


@pytest.mark.parametrize("budget", ["tokens=20", "share=0.3"])
def test_a_file_of_a_dynamic_budget_says_how_much_is_kept_and_is_read_again(reader_of, source, budget):  # noqa: F811
    reader: DocumentReader = reader_of("llama")
    entropy = unigram_entropy(reader.show(source())[1].tokens)
    select = f"reread({budget}, dynamic=unigram, step=0.2, thresholds={entropy - 0.2:.3f}+{entropy - 0.1:.3f})"
    document = made(reader, source(), select=select)
    plain = made(reader, source(), select=f"reread({budget})")
    own = made(reader, source(), select=str(for_document(selection(select), {"unigram": entropy})))
    assert document.header.selection == str(selection(select)) != select
    assert document.kept_positions == own.kept_positions > plain.kept_positions
    reader.open(decode(encode(document), "a file"), "full")
    for other, kind in (("tokens=19, dynamic=unigram", BadState), (f"{budget}, dynamic=unigram, step=0.05", BadState)):
        header = dataclasses.replace(document.header, selection=str(selection(f"reread({other})")))
        with refused(kind, naming="contradicts itself"):
            decode(encode(dataclasses.replace(document, header=header)), "a file")


def test_units_are_part_of_the_key_of_a_store(reader_of, source, tmp_path):  # noqa: F811
    reader, store = reader_of("llama"), Store(tmp_path)
    selects = [
        "reread(tokens=20)",
        "reread(tokens=20, levels=document+sentence)",
        "reread(tokens=20, levels=sentence)",
        "reread(tokens=20, levels=sentence, times=2)",
        "reread(tokens=20, levels=sentence, overlap=0.2)",
    ]
    kept = [reader.keep(store, source(), select=select) for select in selects]
    assert len({one.path for one in kept}) == len(selects)
    for one in kept:
        reader.open(store.get(one.path.name), "full")


def test_sums_of_dropped_keys_are_in_no_file(reader_of, source, tmp_path):  # noqa: F811
    reader = reader_of("llama")
    select = "reread(dropped=relu, tokens=20)"
    with refused(BadInput, got=select, todo="leave `dropped` out of the selection"):
        reader.keep(Store(tmp_path), source(), select=select)
    assert list(tmp_path.rglob("*.safetensors")) == []
    document = made(reader, source())
    broken = dataclasses.replace(document, header=dataclasses.replace(document.header, selection=select))
    with refused(BadState, naming="contradicts itself"):
        decode(encode(broken), "a file")

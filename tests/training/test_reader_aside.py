"""The set `aside` of reader-bench: documents that no training row is made of."""

import json
from pathlib import Path

from reread.reader_sets import ASIDE_MIX, MOST_ASKED, Sampling, aside
from reread.training.reader_recipe import ReaderConfig, ReaderData
from reread.training.reader_sources import build_sources, is_aside


def test_documents_are_set_aside_ones_each_once_with_their_kinds(small_data):
    found = list(aside(small_data, Path(), Sampling(aside=10)))
    assert len({one.text for one in found}) == len({one.id for one in found}) == 10
    one_in = ReaderData().aside
    sources = build_sources(
        ReaderConfig(out="", steps=1, data=ReaderData(mix=dict.fromkeys(ASIDE_MIX, 1.0))), small_data
    )
    kept = {name: sources[name].aside for name in ("squadshifts", "fda")}
    for one in found:
        source, kinds = one.id.split()[0], {question.kind for question in one.questions}
        assert 1 <= len(one.questions) <= MOST_ASKED
        if source == "office":
            assert is_aside(one.text, one_in)
            assert all((q.kind == "question") == q.ask.endswith("?") for q in one.questions)
        elif source == "fda":
            assert kinds == {"field"} and any(one.text in own.text for own in kept["fda"])
        else:
            assert kinds == {"question"} and any(text.split(".")[1] in one.text for text, _ in kept["squadshifts"])
    assert json.dumps([one.id for one in found]) == json.dumps(
        [one.id for one in aside(small_data, Path(), Sampling(aside=10))]
    )

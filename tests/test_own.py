"""docs/own.md runs as it stands."""

import re
import sys
from pathlib import Path

import pytest
import torch

from reread.check import check
from reread.models.prefix_lm import MIXERS
from reread.ops import FEATURE_MAPS
from reread.policies import POLICIES
from reread.prompting.strategies import STRATEGIES
from reread.tasks.recall import TASKS

pytestmark = pytest.mark.slow

TEXT = (Path(__file__).parent.parent / "docs" / "own.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("tables_as_they_were")
def test_the_page_about_your_own_things_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    mine, code = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "mine.py").write_text(mine, encoding="utf-8")
    found: dict = {}
    exec(code, found)
    assert found["y"].shape == (2, 100, 4, 64) and found["state"][0].shape == (2, 4, 16, 64)
    assert found["answer"] == "INV-77"
    said = capsys.readouterr().out
    assert "| embedded | invoices | headline(lines=2) | but_the_last |" in said
    model = found["lm"].model
    assert model.config.feature_map == "squared" and model.config.mixers[-1] == "fading"
    assert [one.what for one in check(model, model.config.vocab_size) if one.error > 1e-4] == []
    tokens = torch.arange(40)[None]
    first, changed = (
        model.read(t, 40, last_only=False)[0][0, 3]
        for t in (tokens, tokens.clone().index_fill(1, torch.tensor([30]), 7))
    )
    assert not torch.allclose(first, changed)  # it has looked ahead


@pytest.fixture
def tables_as_they_were(monkeypatch):
    tables = (FEATURE_MAPS, MIXERS, POLICIES, STRATEGIES, TASKS)
    for table in tables:
        for name in ("squared", "fading", "but_the_last", "headline", "invoices"):
            monkeypatch.delitem(table, name, raising=False)
    before = [(table, dict(table)) for table in tables]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)

"""The picture of floors in docs/architecture.md is the contract that import-linter holds."""

import re
from pathlib import Path

import pytest

from reread.config import read_toml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def test_the_picture_of_floors_is_the_contract():
    (contract,) = (c for c in read_toml(ROOT / "pyproject.toml")["tool"]["importlinter"]["contracts"] if "layers" in c)
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = text.partition("## Floors")[2].partition("##")[0]
    floors = [line.replace("/", "") for line in re.findall(r"^ {4}(\S+(?: \| \S+)*)", picture, re.M)]
    assert floors == [layer.replace("reread.", "") for layer in contract["layers"]]

"""Finished runs of made-up rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_rows import bench_rows, finished, rich_rows

from reread.report import write_report

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(name, rows, kind="eval", **config): a finished run folder."""
    return lambda name, *rows, **config: finished(tmp_path / name, *rows, **config)


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An evaluation and a bench run with all there can be; tests do not change them."""
    place = tmp_path_factory.mktemp("rich")
    counted = {"fda": {"no answer in the document": 12}, "squad": {}}
    told = {"left_out": counted, "in_means": {"fda": True, "squad": True}, "fingerprints": {"runs/small_jrt": "a"}}
    return [
        finished(place / "rich", rich_rows(), **told),
        finished(place / "speed", bench_rows(), kind="bench", bench="op", sizes=[512, 2048], threads=2),
    ]


@pytest.fixture(scope="session")
def written(rich: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of their report."""
    out = tmp_path_factory.mktemp("written") / "deep" / "out"
    paths = write_report(rich, out)
    assert paths == [out / name for name in ("report.md", "report.tex", "report.html")]
    return out

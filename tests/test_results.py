"""What docs and README say about measurements is what the run folders say."""

import json
import re
from pathlib import Path

import pytest

from reread.report import tables
from reread.report.pages import MADE, made_anew
from reread.runlog import Run
from reread.tasks.metrics import SCORERS
from reread.training.prefix_policy import markdown

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
KINDS = {p.parent: json.loads(p.read_text())["kind"] for p in sorted((ROOT / "results").rglob("header.json"))}
PROMPTS = [folder for folder in KINDS if folder.parent.name == "prompts"]  # merged, a page each: docs/results/
PREFIXES = [p for p, kind in KINDS.items() if p.parent.name == "prefix_policies" and kind in ("eval", "bench")]
FEW_SHOT = [folder for folder in KINDS if folder.parent.name == "few_shot"]
LADDER = [folder for folder, kind in KINDS.items() if kind == "eval" and "/results/ladder" in folder.as_posix()]
REPORTED = [
    folder
    for folder, kind in KINDS.items()
    if kind in ("eval", "bench", "perplexity") and folder not in (*PROMPTS, *PREFIXES, *FEW_SHOT, *LADDER)
]
EVALUATIONS = [folder for folder, kind in KINDS.items() if kind == "eval"]


@pytest.mark.parametrize("folder", REPORTED, ids=lambda p: p.name)
def test_every_run_has_its_table_in_docs(folder):
    mark = f"<!-- made: run {folder.relative_to(ROOT).as_posix()} -->"
    pages = [ROOT / "docs" / "results.md", ROOT / "docs" / "results" / "reader.md"]
    assert any(mark in page.read_text(encoding="utf-8") for page in pages)


@pytest.mark.parametrize("name", sorted({folder.name.rpartition("_")[0] for folder in PROMPTS}))
def test_every_two_runs_of_prompts_have_their_page(name):
    runs = ",".join(f"results/prompts/{name}_{model}" for model in ("jrt", "causal"))
    assert f"<!-- made: merged {runs} -->" in (ROOT / "docs" / "results" / f"{name}.md").read_text(encoding="utf-8")
    assert f"(results/{name}.md)" in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "runs"), [("prefix_policies", PREFIXES), ("few_shot", FEW_SHOT)])
def test_a_page_has_all_its_runs(name, runs):
    page = (ROOT / "docs" / "results" / f"{name}.md").read_text(encoding="utf-8")
    assert f"<!-- made: merged {','.join(run.relative_to(ROOT).as_posix() for run in runs)} -->" in page
    assert f"(results/{name}.md)" in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_the_page_of_the_ladder_has_all_its_runs():
    page = (ROOT / "docs" / "results" / "ladder.md").read_text(encoding="utf-8")
    shown = {name for names in re.findall(r"<!-- made: (?:grid|merged) (\S+) -->", page) for name in names.split(",")}
    assert shown == {folder.relative_to(ROOT).as_posix() for folder in LADDER} and len(shown) >= 5
    assert "(results/ladder.md)" in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_the_page_of_prefix_policies_has_what_was_learnt():
    page = (ROOT / "docs" / "results" / "prefix_policies.md").read_text(encoding="utf-8")
    told = json.loads((ROOT / "results" / "prefix_policies" / "regression.json").read_text())
    assert markdown(told) in page
    for file in ("src/reread/assets/prefix/policy.json", "results/prefix_policies/bandit.json"):
        before = json.loads((ROOT / file).read_text())["held out"]
        assert before == {name: told["held out"][name] for name in before}


@pytest.mark.parametrize("folder", EVALUATIONS, ids=lambda p: p.name)
def test_the_scores_of_the_rows_are_those_of_their_predictions(folder):
    for row in Run(folder).rows():
        scored = {name: score for name, score in SCORERS.items() if name in row}
        if "scorer" not in row:  # version 1 counted white space: what it let contain, version 2 does
            assert row["contains"] <= scored.pop("contains")(row["prediction"], row["answers"]), row
        assert all(row[name] == score(row["prediction"], row["answers"]) for name, score in scored.items()), row
        assert "f1" in scored and "contains" in row


def test_long_runs_are_packed():
    """The whole tree has to travel to a machine with a GPU: 64 MiB at most."""
    large = [str(path) for path in (ROOT / "results").rglob("rows.jsonl") if path.stat().st_size > 200_000]
    assert not large, "reread pack results"


def test_the_number_in_the_readme_is_of_its_table():
    found = tables(ROOT / "results" / "prompts" / "selective_fda_jrt")["cells"]
    once, chosen = (next(c for c in found if c["strategy"].startswith(name)) for name in ("once", "selective(by=bm25"))
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    times = chosen["prompt tokens"] / once["prompt tokens"]
    assert once["n"] == chosen["n"] == 500 and once["budget"] == 512
    assert f"{share(once)} of them read once" in text
    assert f"{share(chosen)} with a second look at three sentences, for {times:.2f} times the tokens" in text


INTERVAL = re.compile(r"-?\d+\.\d+ (?:% )?\[-?\d+\.\d+, -?\d+\.\d+\]")


def test_every_interval_in_a_sentence_stands_in_a_table():
    """Sentences quote tables; the fit of the learnt emphasis is quoted from the file of its weights."""
    weights = json.loads((ROOT / "src/reread/assets/emphasis/weights.json").read_text())
    fits = [
        (100 * told["in order"], *(100 * x for x in told["interval"]))
        for told in (weights["held out"], weights["bm25 alone"])
    ]
    known = {f"{share:.1f} [{low:.1f}, {high:.1f}]" for share, low, high in fits}
    told = []
    pages = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "results").glob("*.md"))]
    for path in [ROOT / "README.md", *pages]:
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            found = {text.replace("% ", "") for text in INTERVAL.findall(line)}
            known |= found if line.startswith("|") else set()
        for block in MADE.finditer(text):  # what is made of runs says intervals in sentences too
            known |= {text.replace("% ", "") for text in INTERVAL.findall(block.group())}
        sentences = " ".join(line for line in MADE.sub("", text).splitlines() if not line.startswith(("|", "    ")))
        if path.name not in ("log.md", "model.md"):  # what was tried and is gone; a card
            told += [(path.name, found.replace("% ", "")) for found in INTERVAL.findall(sentences)]
    assert len(told) > 20
    assert [(name, text) for name, text in told if text not in known] == []


def share(cell):
    """ "41.2 % [37.0, 45.4]"."""
    c = cell["contains"]
    return f"{100 * c['mean']:.1f} % [{100 * c['low']:.1f}, {100 * c['high']:.1f}]"


PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "<!-- made: " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_those_of_their_runs(page, monkeypatch):
    monkeypatch.chdir(ROOT)  # reports name run folders as they were given
    text = page.read_text(encoding="utf-8")
    assert made_anew(text, Path()) == text


def test_pages_with_tables_of_runs_are_there():
    assert {"theory", "feature_maps", "extract"} <= {page.stem for page in PAGES}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.stem
)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []

"""The office documents: counts, splits and answers are as data/office/README.md says."""

import json
import re
from collections import Counter, defaultdict
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OFFICE = ROOT / "data" / "office"
ROWS = [json.loads(line) for line in (OFFICE / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
DOCUMENTS = sorted(path.name for path in OFFICE.glob("[0-9][0-9]_*"))
KEYS = {"id", "document", "kind", "split", "type", "ask", "answers", "generator_kind"}
COMMON = """invoice, purchase order, quotation, lease, service contract, policy, data sheet, manual section,
laboratory report, meeting minutes, CV, letter, news item, cooking recipe, incident report, abstract, package metadata,
product page, event page, filled form"""


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag, attrs) -> None:
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag) -> None:
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data) -> None:
        if not self.hidden:
            self.pieces.append(data)


def text_of(name: str) -> str:
    """The document's text; of HTML, what stands between the tags, with single spaces."""
    text = (OFFICE / name).read_text(encoding="utf-8")
    if not name.endswith(".html"):
        return text
    parser = _Text()
    parser.feed(text)
    return " ".join(" ".join(parser.pieces).split())


TEXTS = {name: text_of(name) for name in DOCUMENTS}
BY_DOCUMENT = defaultdict(list)
for _row in ROWS:
    BY_DOCUMENT[_row["document"]].append(_row)


def size(name: str) -> str:
    words = len(TEXTS[name].split())
    return "short" if words < 200 else "middle" if words <= 500 else "long"


def test_rows_have_the_described_form():
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert set(row) == KEYS, row["id"]
        assert row["split"] in ("dev", "test") and row["type"] in ("field", "question"), row["id"]
        assert re.fullmatch(row["document"][:2] + "-" + row["type"][0] + r"\d", row["id"]), row["id"]
        assert (row["type"] == "question") == row["ask"].endswith("?"), row["id"]
        assert row["ask"] == row["ask"].strip() and all(a and a == a.strip() for a in row["answers"]), row["id"]
        assert len(set(row["answers"])) == len(row["answers"]), row["id"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_first_answers_stand_in_the_document(name):
    for row in BY_DOCUMENT[name]:
        for answer in row["answers"][:1]:
            assert len(answer.split()) <= 12, row["id"]
            # Not in the middle of a word or a number.
            whole = (r"\b" if answer[0].isalnum() else "") + re.escape(answer) + (r"\b" if answer[-1].isalnum() else "")
            assert re.search(whole, TEXTS[name]), row["id"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_document_has_its_share(name):
    rows = BY_DOCUMENT[name]
    count = Counter((row["type"], bool(row["answers"])) for row in rows)
    assert 4 <= count["field", True] <= 6 and 3 <= count["question", True] <= 4
    assert count["field", False] == count["question", False] == 1
    for key in ("kind", "split", "generator_kind"):
        assert len({row[key] for row in rows}) == 1
    assert name.rpartition(".")[0] == name[:3] + re.sub(r"\W", "_", rows[0]["kind"].replace("'", "")).lower()
    assert len({row["ask"].lower() for row in rows}) == len(rows), (
        "an unanswerable question is also asked with an answer"
    )
    assert 100 <= len(TEXTS[name].split()) <= 1300 and not 500 < len(TEXTS[name].split()) < 600


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_are_clean(name):
    data = (OFFICE / name).read_bytes()
    assert b"\r" not in data and not data.startswith(b"\xef\xbb\xbf") and data.endswith(b"\n")
    for host in re.findall(r"(?:https?://|[\w.]@)([\w.-]+)", data.decode()):
        assert re.search(r"(^|\.)example\.(com|org|net)$", host.rstrip(".")), host


def test_kinds():
    kinds = {(rows[0]["kind"], rows[0]["generator_kind"]) for rows in BY_DOCUMENT.values()}
    assert {kind for kind, common in kinds if common} == set(COMMON.replace("\n", " ").split(", "))
    assert len({kind for kind, common in kinds if not common}) == 10


def test_the_readme_counts_what_is_there():
    table = re.findall(
        r"^\| ([a-z].*?) \| (\d+) \| (\d+) \| (\d+) \|$", (OFFICE / "README.md").read_text("utf-8"), re.M
    )
    assert set(BY_DOCUMENT) == set(DOCUMENTS)
    counted: dict[str, Counter] = defaultdict(Counter)
    for name, rows in BY_DOCUMENT.items():
        first = rows[0]
        common = "20 common" if first["generator_kind"] else "10 unusual"
        for label in ("documents", f"documents of {common} kinds", f"{size(name)} documents"):
            counted[label][first["split"]] += 1
    for row in ROWS:
        counted[row["type"] + "s" + ("" if row["answers"] else " without an answer")][row["split"]] += 1
    stated = {label.partition(" (")[0]: tuple(map(int, numbers)) for label, *numbers in table}
    assert stated == {label: (c.total(), c["dev"], c["test"]) for label, c in counted.items()}
    assert stated["documents"][0] == 44


def test_nothing_is_shared_with_the_examples():
    others = [*(ROOT / "examples").iterdir(), *(ROOT / "src" / "reread" / "assets" / "demo").iterdir()]
    lines = {line.strip() for path in others for line in path.read_text(encoding="utf-8").splitlines()}
    for name in [*DOCUMENTS, "questions.jsonl"]:
        for line in (OFFICE / name).read_text(encoding="utf-8").splitlines():
            assert len(line.strip()) < 30 or line.strip() not in lines, (name, line)

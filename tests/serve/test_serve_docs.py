"""docs/serve.md says what the code says, and its walk runs as it stands."""

import re

import pytest
from local_server import CONTRACT, ROOT

from reread.engine import MAX_NEW_TOKENS
from reread.prompting import BUDGET
from reread.serve import config, desk, problems, requests, running, ways

pytestmark = pytest.mark.slow

TEXT = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")


def test_the_walk_in_python_runs_as_it_stands(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "contract.txt").write_bytes(CONTRACT.read_bytes())
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    found: dict = {}
    exec(code.replace("http://127.0.0.1:8000", served.url), found)
    assert found["answer"] == "England and Wales" and found["text"]
    assert {"read_tokens", "read_seconds", "state_bytes", "confidence"} <= set(found["cost"])
    (id,) = set(re.findall(r"[0-9a-f]{24}-[0-9a-f]{16}", TEXT))
    assert found["document"]["id"][:24] == id[:24] and f'"tokens":{found["document"]["tokens"]},' in TEXT


def test_every_option_stands_there_with_its_default():
    rows = dict(re.findall(r"^\| (`--.*?) \| (.*?) \|", TEXT, re.MULTILINE))
    told = {}
    for names, defaults in rows.items():
        told |= dict(zip(re.findall(r"--([a-z-]+)", names), defaults.split(", "), strict=True))
    fields = {name.replace("_", "-"): value for name, value in vars(config.ServeConfig()).items()}
    for name in ("model", "body-seconds"):
        fields.pop(name)
    fields["adapter"] = fields.pop("adapters") or None  # the option may repeat; no adapter is an empty tuple
    assert told == {name: "none" if value is None else str(value) for name, value in fields.items()}
    page = (
        (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").partition("## reread serve\n")[2].partition("\n## ")[0]
    )
    assert set(re.findall(r"^  --([a-z-]+)", page, re.MULTILINE)) == {*told, "json", "help"}


@pytest.mark.parametrize(
    "words",
    [
        f"key of {config.SHORTEST_KEY} characters",
        f"within {config.BODY_SECONDS:g} seconds",
        f"({running.GRACE} seconds at most;",
        f"up to {requests.LONGEST_STOP} characters",
        f"more than {ways.COPIES} times",
        f"{ways.SMALLEST} tokens or more",
        f"{desk.LOOKED_AT_AGAIN:,} characters",
        f"{BUDGET:,} for a model without positions",
        f"is {MAX_NEW_TOKENS} for chats",
        f"`max_tokens` ({requests.COMPLETION_TOKENS})",
        "up to four",
    ],
)
def test_limits_are_those_of_the_code(words):
    assert words in " ".join(TEXT.split())
    assert requests.STOPS == 4


def test_every_status_is_told():
    rows = re.findall(r"^\| ([45]\d\d(?:, [45]\d\d)*) \|", TEXT, re.MULTILINE)
    assert {int(status) for row in rows for status in row.split(", ")} == set(problems.CODES)


def test_every_field_of_reread_is_told():
    told = set(re.findall(r"`(\w+)`", TEXT))
    assert (
        set(requests.ReadOptions.model_fields) | set(requests.DocumentRequest.model_fields) - {"name", "text"} <= told
    )
    assert {"messages_not_shown", "waited_seconds", "parts", "cached_tokens"} <= told | set(re.findall(r"\w+", TEXT))

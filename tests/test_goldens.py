"""What the package computes is what it computed when tests/goldens.json was written: for changes that move code.

REREAD_WRITE_GOLDENS=1 pytest tests/test_goldens.py writes the file anew; a change of it needs a reason in its commit.
Whole numbers and texts are equal; other numbers within 1e-4 of their size, since processors sum in other orders.
Everything but the op goes through public names and the command, so that modules may move.
"""

import hashlib
import json
import math
import os
import re
from pathlib import Path

import pytest
import torch
from in_process import reread

from reread import load
from reread.ops import FEATURE_MAPS, feature_map, linear_attention, prefix_state
from reread.prompting import STRATEGIES

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_name("goldens.json")
FORM, CONTRACT = ROOT / "examples/form.txt", ROOT / "examples/contract.txt"
PASSING = re.compile(
    r"seconds|peak_bytes|started|commit|machine|packages|python|path|^out$|^state$|_from$"
)  # differs by run
OWN_MODELS = ("small-jrt", "small-causal")


def summary(x):
    """A tensor in a few numbers."""
    x = x.detach().double().flatten()
    return {"size": x.numel(), "sum": float(x.sum()), "size of all": float(x.abs().sum()), "first": x[:4].tolist()}


def lasting(value):
    """JSON without what differs between two runs."""
    if isinstance(value, dict):
        return {key: lasting(one) for key, one in value.items() if not PASSING.search(key)}
    if isinstance(value, str):
        return value.replace(str(ROOT), "ROOT")
    return [lasting(one) for one in value] if isinstance(value, list) else value


def said(*words):
    """The JSON that a command prints."""
    done = reread(*words, "--json")
    assert done.returncode == 0, done
    return lasting(json.loads(done.stdout))


def rows_of(folder):
    return [lasting(json.loads(line)) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]


def ops(_):
    """Every feature map and backend on the same random numbers."""
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 70, 2, 8, generator=draw) for _ in range(3))
    found = {}
    for name in FEATURE_MAPS:
        torch.manual_seed(0)  # of maps with weights
        phi = feature_map("mixture(taylor, relu)" if name == "mixture" else name, 8, 2)
        for backend in ("chunked", "reference"):
            state = prefix_state(k[:, :20], v[:, :20], feature_map=phi, backend=backend)
            y, (s, z) = linear_attention(q, k, v, feature_map=phi, state=state, backend=backend)
            found[f"{name} {backend}"] = [summary(x) for x in (y, s, z)]
    return found


def logits(_):
    """Logits after a document, read in three ways, and the state."""
    found = {}
    for name in OWN_MODELS:
        lm = load(name)
        ids = torch.tensor([lm.tokenizer.encode(FORM.read_text(encoding="utf-8")).ids[:200]])
        for prefix_len in (0, 90, 200):
            if prefix_len and not lm.prefix(200):
                continue
            told, state = lm.read(ids, prefix_len)
            best = told[0, -1].topk(5)
            tensors = {key: summary(x) for key, x in sorted(state.to_flat().items()) if x.is_floating_point()}
            place = {"best": best.indices.tolist(), "logits": best.values.tolist(), "all": summary(told)}
            found[f"{name} {prefix_len}"] = {**place, "state": tensors}
    return found


def prompts(_):
    """What is shown of a document, by strategy; refused where one needs scores of a model."""
    found = {}
    for name in STRATEGIES:
        done = reread("prompt", FORM, "Applicant", "--model", "small-jrt", "--strategy", name, "--json")
        found[name] = lasting(json.loads(done.stdout)) if done.returncode == 0 else done.returncode
    return found


def states(folder):
    """A document in state files, and an answer from each."""
    found = {}
    for dtype in ("fp32", "bf16", "int8", "int4"):
        told = said("read", FORM, "--model", "small-jrt", "--state-dtype", dtype, "--out", folder / dtype)
        (path,) = (folder / dtype).glob("*.safetensors")
        answer = said("ask", "--state", path, "Applicant", "--model", "small-jrt")
        found[dtype] = {"read": told, "bytes": path.stat().st_size, "answer": answer}
    return found


def answers(_):
    """Answers about two documents."""
    return {
        f"{model} {strategy} {file.name} {field}": said("ask", file, field, "--model", model, "--strategy", strategy)
        for model in OWN_MODELS
        for strategy in ("once", "twice", "selective(k=3)", "hierarchical")
        for file, field in ((FORM, "Applicant"), (CONTRACT, "Governing law"))
    }


def evaluation(folder):
    names = ("--task", "forms-16", "--model", "small-jrt,small-causal", "--strategy", "once,twice", "--limit", 4)
    assert reread("eval", *names, "--out", folder / "eval").returncode == 0
    return rows_of(folder / "eval")


def extraction(folder):
    ways = ("--fields", ROOT / "examples/fields.json", "--model", "small-jrt", "--out")
    assert reread("extract", FORM, CONTRACT, *ways, folder / "rows.jsonl").returncode == 0
    return rows_of(folder)


def readers(folder):
    config = 'systems=[{model="small-jrt"},{model="regex"}]'
    limits = (
        "--set",
        'sets=["office-dev"]',
        "--set",
        "sampling.documents=2",
        "--set",
        f"office={ROOT / 'data/office'}",
    )
    assert reread("reader-bench", "--set", config, *limits, "--out", folder / "bench").returncode == 0
    return rows_of(folder / "bench")


def layouts(folder):
    done = reread("bench", "layouts", "--set", "forms=2", "--set", 'model="small-jrt"', "--out", folder / "layouts")
    assert done.returncode == 0, done
    return rows_of(folder / "layouts")


def reports(_):
    """The numbers in every report of a run in results/, in their order, as a hash."""
    found = {}
    for header in sorted((ROOT / "results").rglob("header.json")):
        done = reread("report", header.parent)
        if done.returncode == 0:
            numbers = " ".join(re.findall(r"\d+(?:[.,]\d+)*", done.stdout))
            name = str(header.parent.relative_to(ROOT / "results"))
            found[name] = [len(numbers.split()), hashlib.sha256(numbers.encode()).hexdigest()[:16]]
    return found


TOPICS = {one.__name__: one for one in (
    ops, logits, prompts, states, answers, evaluation, extraction, readers, layouts, reports,
)}  # fmt: skip
SLOW = ("reports",)


def different(found, kept, where=""):
    """Places where two JSON values differ."""
    if isinstance(found, dict) and isinstance(kept, dict):
        names = [*kept, *(name for name in found if name not in kept)]
        return [one for name in names for one in different(found.get(name), kept.get(name), f"{where}/{name}")]
    if isinstance(found, list) and isinstance(kept, list) and len(found) == len(kept):
        pairs = zip(found, kept, strict=True)
        return [one for i, (a, b) in enumerate(pairs) for one in different(a, b, f"{where}/{i}")]
    if isinstance(found, float) and isinstance(kept, float | int):
        near = math.isclose(found, kept, rel_tol=1e-4, abs_tol=1e-4)
        return [] if near else [f"{where}: {found}, was {kept}"]
    return [] if found == kept else [f"{where}: {str(found)[:200]}, was {str(kept)[:200]}"]


@pytest.mark.parametrize(
    "topic", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in TOPICS]
)
def test_what_is_computed_is_what_was_computed(topic, tmp_path):
    found = json.loads(json.dumps(TOPICS[topic](tmp_path)))
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    if os.environ.get("REREAD_WRITE_GOLDENS"):
        lines = (f"{json.dumps(name)}: {json.dumps(one)}" for name, one in sorted({**kept, topic: found}.items()))
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        return
    if topic == "reports":  # runs may be added
        found = {name: found.get(name) for name in kept[topic]}
    assert found and different(found, kept[topic]) == []


def test_a_difference_is_seen():
    assert different({"a": [1, 2.0], "b": "x"}, {"a": [1, 2.00001], "b": "x"}) == []
    assert different({"a": [1, 2.1], "b": "y"}, {"a": [1, 2.0], "c": 1}) == [
        "/a/1: 2.1, was 2.0", "/c: None, was 1", "/b: y, was None",
    ]  # fmt: skip
    assert different([1], [1, 2]) and different(2, 1) and different(float("nan"), 1.0)

"""A data folder in the layout of the real one, written by a program, so that training is tested anywhere."""

from __future__ import annotations

import gzip
import json
import lzma
import random
from pathlib import Path

import pytest


def report(rng: random.Random) -> str:
    code = "".join(rng.choices("0123456789", k=6))
    name = " ".join(rng.choices(["alpha", "beta", "gamma", "delta", "omega", "sigma"], k=2)).title()
    words = ["the", "device", "measures", "glucose", "in", "serum", "and", "plasma"]
    prose = ". ".join(" ".join(rng.choices(words, k=12)) for _ in range(6))
    return (
        f"DECISION SUMMARY\n\nA. 510(k) Number: k{code}\nB. Applicant: {name}\nC. Product code: X{code[:2]}\n\n{prose}."
    )


def article(rng: random.Random) -> str:
    """Sentences with names and years."""
    names = ["Anders", "Berta", "Carla", "Dimitri", "Esther"]
    return " ".join(
        f"The {rng.choice(['bridge', 'mill', 'tower'])} of the town was built by {rng.choice(names)} in the year "
        f"{rng.randint(1500, 1999)} for the trade of {rng.choice(['salt', 'wool', 'grain'])}."
        for _ in range(8)
    )


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    rng = random.Random(0)
    data = tmp_path_factory.mktemp("data")
    for folder in ("text", "fda_510k", "squadshifts"):
        (data / folder).mkdir()
    reports = [report(rng) for _ in range(50)]
    for name in ("fda510k-00", "fda510k-01", "wiki-00", "imdb-00", "gutenberg-00"):
        with lzma.open(data / "text" / f"{name}.jsonl.xz", "wt") as file:
            for i in range(30):
                text = article(rng) if name == "wiki-00" else report(rng)
                file.write(json.dumps({"text": text, "meta": {"id": f"K{1000 + i}.md"}}) + "\n")
            if name.startswith("fda510k"):  # as in the real data, some documents of the table are in the text
                for i in (3, 47, 49):
                    file.write(json.dumps({"text": reports[i], "meta": {"id": f"K{i}_REVIEW.md"}}) + "\n")
    docs, table = [], {}
    for i, text in enumerate(reports):
        docs.append({"file_name": f"K{i}_REVIEW.md", "panel": "x", "text": text})
        table[f"K{i}_REVIEW.md"] = {"510k_number": text.split("Number: ")[1][:7]}
    with lzma.open(data / "fda_510k" / "train_docs.jsonl.xz", "wt") as file:
        file.writelines(json.dumps(d) + "\n" for d in docs)
    (data / "fda_510k" / "train_table.json").write_text(json.dumps(table))
    paragraphs = []
    for i in range(60):
        colour = rng.choice(["red", "green", "blue"])
        context = f"Item {i} is {colour}. It was bought in shop {i * 7}."
        qas = [{"id": str(i), "question": f"What colour is item {i}?", "answers": [{"text": colour}]}]
        paragraphs.append({"context": context, "qas": qas})
    for name in ("amazon_reviews", "reddit"):
        with gzip.open(data / "squadshifts" / f"{name}_v1.0.json.gz", "wt") as file:
            json.dump({"data": [{"title": "t", "paragraphs": paragraphs}]}, file)
    return data


@pytest.fixture
def valid_data(small_data):
    """The small data folder with a held-out text."""
    (small_data / "text_valid").mkdir(exist_ok=True)
    with lzma.open(small_data / "text_valid" / "wiki.jsonl.xz", "wt") as file:
        for i in range(3):
            file.write(json.dumps({"text": f"The mill of the town was built in the year 17{i}0."}) + "\n")
    return small_data

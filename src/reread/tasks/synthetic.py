"""Recall on documents that a program writes: forms of N lines, one of them asked.  Needs no file.

What grows is the number of fields between which a state of fixed size has to choose, and nothing
else: labels, values and layout are of one kind (compare MQAR, Arora et al. 2023, in words).
"""

from __future__ import annotations

import random

from reread.prompting import Sample

DOCUMENTS = 1000
FIRST = (
    "Annual Basic Central Daily Early Final Former General Highest Initial Internal Joint Local Lower Main Maximum "
    "Minimum Monthly National Nominal Normal Official Outer Primary Public Regional Second Special Total Upper"
).split()
SECOND = (
    "address amount area balance branch budget capacity category charge class code colour contact depth department "
    "deposit distance district grade height interest length limit location manager material member number office "
    "order period pressure price product rate region result score series speed station supplier surface target "
    "temperature term title unit value volume weight width"
).split()
NAMES = (
    "Adams Baker Carter Davies Ellis Foster Graham Harris Irving Jackson Keller Lambert Morris Norton Oliver Parker "
    "Quinn Roberts Stewart Turner Underwood Vincent Walker Young"
).split()


def value(rng: random.Random) -> str:
    """A code, a quantity or a name, each a third of the time."""
    kind = rng.randrange(3)
    if kind == 0:
        return f"{rng.choice('ABCDEFGHKLMNPRSTVWXZ')}{rng.choice('ABCDEFGHKLMNPRSTVWXZ')}-{rng.randrange(100, 10_000)}"
    if kind == 1:
        return f"{rng.randrange(2, 1000)} {rng.choice(['hours', 'metres', 'days', 'pounds', 'pieces'])}"
    return f"{rng.choice(NAMES)} {rng.choice(NAMES)}"


def forms(fields: int, *, documents: int = DOCUMENTS, seed: int = 0) -> list[Sample]:
    """One sample per document: `fields` lines "Label: value" with different labels, and one label asked."""
    rng = random.Random(f"{seed}/{fields}")
    labels = [f"{first} {second}" for first in FIRST for second in SECOND]
    samples = []
    for number in range(documents):
        lines = {label: value(rng) for label in rng.sample(labels, fields)}
        asked = rng.choice(list(lines))
        document = "\n".join(f"{label}: {text}" for label, text in lines.items())
        samples.append(Sample(f"form {number}", document, asked, (lines[asked],), "field", (f"{asked}:",)))
    return samples

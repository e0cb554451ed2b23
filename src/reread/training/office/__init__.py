"""Office documents made by a program, with questions, to train a reader.  Words only.

A kind of document (invoice, lease, recipe, ...) gives a record of facts and tables; one of many layouts writes it; some
facts are left out first, and questions are asked of what is shown and of what is not.  All names, firms, places and
values are invented.  The same generator state gives the same document.  A share can be scenes (`scenes.py`).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from reread.errors import BadInput
from reread.training.office import kinds_laboratory as laboratory
from reread.training.office import kinds_law as law
from reread.training.office import kinds_people as people
from reread.training.office import kinds_technical as technical
from reread.training.office import kinds_text as texts
from reread.training.office import kinds_trade as trade
from reread.training.office import scenes_law, scenes_people, scenes_technical, scenes_text, scenes_trade
from reread.training.office.asking import ask
from reread.training.office.compose import Composed, compose
from reread.training.office.foreign import FOREIGN
from reread.training.office.record import Asked, Kind, OfficeDocument
from reread.training.office.scenes import Scene, SceneValues, write
from reread.training.office.values import Values

if TYPE_CHECKING:
    import numpy as np

KINDS: dict[str, Kind] = {
    "invoice": trade.invoice, "purchase order": trade.purchase_order, "quotation": trade.quotation,
    "lease": law.lease, "service contract": law.service_contract, "policy": law.policy, "letter": law.letter,
    "data sheet": technical.data_sheet, "manual": technical.manual, "laboratory report": laboratory.laboratory,
    "package metadata": technical.package, "incident report": technical.incident,
    "minutes": people.minutes, "CV": people.cv, "form": people.form, "event page": people.event,
    "news item": texts.news, "recipe": texts.recipe, "abstract": texts.abstract, "product page": texts.product,
}  # fmt: skip
SCENES: dict[str, Scene] = {
    **scenes_law.SCENES, **scenes_people.SCENES, **scenes_technical.SCENES, **scenes_text.SCENES, **scenes_trade.SCENES,
}  # fmt: skip
SHORTEST = 80


def draw_traced(rng: np.random.Generator, tokens: int, kind: str | None = None) -> tuple[OfficeDocument, Composed]:
    """As `draw`, with what was shown, dropped and quoted; `kind` fixes the kind of document."""
    if tokens < SHORTEST:
        raise BadInput("a document is too short", got=f"{tokens} tokens", allowed=f"{SHORTEST} tokens or more")
    if kind is not None and kind not in KINDS:
        raise BadInput("no such kind of document", got=repr(kind), allowed=", ".join(KINDS))
    values = Values(Random(int(rng.integers(2**63))))
    name = kind or values.pick(list(KINDS))
    done = compose(values, KINDS[name](values, tokens), tokens)
    return OfficeDocument(name, done.text, ask(values, done, FOREIGN)), done


def draw_scene(rng: np.random.Generator, tokens: int, kind: str | None = None) -> OfficeDocument:
    """A scene of about `tokens` tokens at most; `kind` fixes which.  A very short wish gives its shortest part."""
    values = SceneValues(Random(int(rng.integers(2**63))))
    name = kind or values.pick(list(SCENES))
    done = write(values, SCENES[name], tokens)
    return OfficeDocument(name, done.text, done.asked)


def draw(rng: np.random.Generator, tokens: int, scenes: float = 0.0) -> OfficeDocument:
    """A document of about `tokens` tokens (4 characters each), 80 or more, with up to twenty questions.

    scenes: share of documents that are scenes, which may be shorter; with 0 nothing is drawn to decide.

    Every answer stands in the text as given, with whole words at its borders; None: the text does not hold it.
    Raises BadInput for fewer than 80 tokens.
    """
    if scenes and tokens >= SHORTEST and rng.random() < scenes:
        return draw_scene(rng, tokens)
    return draw_traced(rng, tokens)[0]


__all__ = ["KINDS", "SCENES", "Asked", "OfficeDocument", "draw", "draw_scene", "draw_traced"]

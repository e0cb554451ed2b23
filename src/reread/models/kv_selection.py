"""Which keys and values a Transformer's state of fixed size keeps: selections, their ids and their budgets.

A selection scores every key of a document, per layer and KV head (kv_scores.py), and keeps those with the highest
scores (kv_choice.py): `reread(share=0.25)`, `window(tokens=256)`, `snapkv(mib=4, heads=equal)`.  A cache that holds a
fixed number of positions is a recurrent state ("Transformers are Multi-State RNNs", arXiv 2401.06104).  The first SINKS
positions always stay: models put attention there that they need nowhere else ("Efficient Streaming Language Models with
Attention Sinks", arXiv 2309.17453).

A budget may follow how complex the document is (`dynamic`), a second reading may repeat it in units (`levels`), and
dropped keys may be summed (`dropped`): the enhancements of "Improving recall in recurrent LMs", sections 4.1 to 4.3.

Needs no torch.  Shapes: T tokens of the document.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction

from reread.config import Spec, at_least, settings_of
from reread.errors import BadInput, UnknownName
from reread.prompting.complexity import numbers
from reread.prompting.segment import UNITS, WINDOW

SINKS = 4
FULL = "full"
DISTILLED = "distilled"
BUDGETS = ("tokens", "mib", "share", "loss")
BOUNDED_BUDGETS = ("tokens", "mib")
HEADS = ("global", "equal")
# Quintiles over training documents; docs/states.md has the command.
THRESHOLDS: dict[str, tuple[float, ...]] = {
    "unigram": (0.6989, 0.7634, 0.8021, 0.8429),
    "model": (0.1773, 0.1935, 0.2133, 0.2504),
    "loss": (3.4609, 3.7706, 4.0416, 4.3316),
}
DOCUMENT = "document"  # the level of all that was read
ALL = "all"
BY_FIRST_READING = ("loss", "entropy")
BY_PLACE = ("first", "middle", "last", "random")
OVERLAP = 0.3  # the largest of the report's appendix
CENTRED = {"mean": True, "relu": False, "gaussian": True}  # maps of dropped keys: whether of the centred ones
DROPPED = tuple(CENTRED)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of every selection: exactly one budget, and how heads share it.

    tokens: positions, averaged over layers and KV heads; mib: MiB of keys and values, in the dtype that the model
    computes in, and of the kept positions, 4 bytes each; share: of the document's positions, rounded down, and SINKS of
    them at least.
    loss: nats per token, on average, that repeating the document from the state may cost more than from all keys.
    heads "global": one threshold over all layers and heads; "equal": as many positions for each head.

    dynamic: the budget follows the document's complexity ("Improving recall in recurrent LMs", section 4.1 and the
    appendix, there of a prefix length).  It is multiplied by 1 + step * (k - m/2) and positions are rounded down, where
    k of the m thresholds lie below the complexity; so the mean budget stays as it is over documents that the thresholds
    divide into groups of equal size.  Complexity by "unigram": entropy of the document's tokens over log T; "model":
    mean entropy of the model's next token over log V, in the first reading; "loss": mean -log p of the document's
    tokens in the first reading, in nats.  step: the report's increments are 0.05, 0.1 and 0.2; below 0, complex
    documents keep fewer positions, a control.  thresholds: rising, "0.7+0.75+0.8+0.85"; "": those of THRESHOLDS.
    """

    tokens: int = 0
    mib: float = 0.0
    share: float = 0.0
    loss: float = 0.0
    heads: str = "global"
    dynamic: str = ""
    step: float = 0.1
    thresholds: str = ""

    @property
    def limits(self) -> tuple[float, ...]:
        """The thresholds of a dynamic budget.  Raises BadInput for a text that holds none."""
        return numbers(self.thresholds) if self.thresholds else THRESHOLDS[self.dynamic]

    @property
    def needs_predictions(self) -> bool:
        """Whether the model's predictions in the first reading are needed, and not its state alone."""
        return self.dynamic in ("model", "loss")


@dataclass(frozen=True, kw_only=True)
class BoundedSettings(Settings):
    """Settings of a selection that can choose while it reads (bounded_reading.py).

    read: tokens that are read before the next choice, so that the state never holds more positions than the budget and
    these; 0: the whole document is read before the only choice.
    """

    read: int = 0


@dataclass(frozen=True, kw_only=True)
class RereadSettings(BoundedSettings):
    """plus: scores are multiplied by |W_O v| / |h| (KVzip+); chunk: tokens that are repeated in one piece.

    levels: what the second reading repeats, level by level ("Improving recall in recurrent LMs", section 4.3): units
    between plus signs, "document" (all that was read, the default) or a unit of segment.py ("paragraph", "sentence",
    "window(64)").  Each unit is repeated alone, after a cue of its own, against the full state after the document.  The
    score of a key is the maximum over all repetitions.  times: copies of a unit that follow each other in its
    repetition, a whole number for each level, "1+2": lower levels more often than higher ones, or the reverse; "": 1.
    overlap: share of its own length by which a unit begins earlier, 0 to 0.3; by: "all" units alike, or only `best` of
    a level's units (a share, rounded, one at least) are repeated `times` times; the others once in the first level
    and not in later ones.  by "loss" or "entropy": those with the highest mean of it in the first reading; "first",
    "middle", "last", "random": controls.

    dropped: the dropped keys are summed into a state of linear attention by this feature map (section 4.2;
    dropped_sums.py): "relu", "gaussian(features=16)", or "mean", a control.  The bytes of the sums are part of the
    budget, so fewer keys stay.  Where it does not hold the sums and the first SINKS positions, keys alone are kept.
    """

    plus: bool = False
    chunk: int = 2048
    levels: str = DOCUMENT
    times: str = ""
    overlap: float = 0.0
    by: str = ALL
    best: float = 0.5
    dropped: str = ""

    @property
    def sums(self) -> Dropped | None:
        """How dropped keys are summed, if they are.  Raises UnknownName, BadInput."""
        return Dropped.parse(self.dropped) if self.dropped else None

    @property
    def hierarchy(self) -> tuple[tuple[str, int], ...]:
        """(unit, copies) of each level."""
        names = self.levels.split("+")
        return tuple(zip(names, map(int, self.times.split("+")) if self.times else (1,) * len(names), strict=True))

    @property
    def repetition(self) -> RereadSettings:
        """These settings without the budget and what shares it: equal for selections that one second reading scores."""
        kept = ("plus", "chunk", "levels", "times", "overlap", "by", "best")
        return RereadSettings(**{name: getattr(self, name) for name in kept})

    @property
    def flat(self) -> bool:
        """Whether the document is repeated as it is, in chunks."""
        return self.hierarchy == ((DOCUMENT, 1),) and self.by == ALL

    @property
    def needs_predictions(self) -> bool:
        return super().needs_predictions or self.by in BY_FIRST_READING


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A feature map of dropped keys; features: of "gaussian"."""

    kind: str
    features: int = 16

    @staticmethod
    def parse(text: str) -> Dropped:
        """Of "relu" or "gaussian(features=32)".  Raises UnknownName, BadInput."""
        spec = Spec.parse(text)
        if spec.name not in DROPPED:
            raise UnknownName("feature map of dropped keys", spec.name, DROPPED)
        settings = settings_of(spec, _gaussian if spec.name == "gaussian" else _no_settings)
        made = Dropped(kind=spec.name, **settings)
        at_least(made, 1, "features")
        return made


def _gaussian(*, features: int = Dropped.features) -> None: ...


def _no_settings() -> None: ...


@dataclass(frozen=True, kw_only=True)
class DistilledSettings(BoundedSettings):
    """fit: which weights (Distilled.id), as the header of a state names them; empty: those of the model in use."""

    fit: str = ""


@dataclass(frozen=True, kw_only=True)
class RandomSettings(Settings):
    """seed: of the scores that are drawn."""

    seed: int = 0


@dataclass(frozen=True)
class NoSettings:
    """Of `full`, which keeps everything."""


SELECTIONS: dict[str, type[Settings] | type[NoSettings]] = {
    FULL: NoSettings,
    "window": BoundedSettings,
    "tova": Settings,
    "snapkv": Settings,
    "keydiff": Settings,
    "expected": Settings,
    "reread": RereadSettings,
    DISTILLED: DistilledSettings,
    "random": RandomSettings,
}


@dataclass(frozen=True)
class Selection:
    """A selection under its id; str() gives the id, which parses back and does not hold defaults."""

    name: str
    settings: Settings | NoSettings

    def __str__(self) -> str:
        named = {one.name: (getattr(self.settings, one.name), one.default) for one in fields(self.settings)}
        return str(Spec(self.name, (), tuple(sorted((k, v) for k, (v, default) in named.items() if v != default))))


def selection(text: str) -> Selection:
    """The selection of an id such as "reread(share=0.25)".  Raises UnknownName, BadInput."""
    spec = Spec.parse(re.sub(r"\bheads\s*=\s*global\b", "heads='global'", text))  # a keyword of Python
    if spec.name not in SELECTIONS:
        raise UnknownName("selection", spec.name, SELECTIONS)
    kind = SELECTIONS[spec.name]
    given = settings_of(spec, kind)
    settings = kind(**given)
    if isinstance(settings, Settings):
        _check(spec, settings, [name for name in BUDGETS if name in given])
    return Selection(spec.name, settings)


def with_budget(name: str, budget: str) -> Selection:
    """ "reread(plus=True)" and "share=0.25" -> the selection reread(plus=True, share=0.25).  Raises UnknownName,
    BadInput."""
    spec = Spec.parse(name)
    if spec.name == FULL:
        raise BadInput("the whole cache has no budget", got=name, todo="leave it out")
    if any(key in BUDGETS for key, _ in spec.settings):
        raise BadInput("a selection is named without its budget", got=name, todo="leave the budget out")
    settings = str(spec)[len(spec.name) + 1 : -1]
    return selection(f"{spec.name}({', '.join(filter(None, (settings, budget)))})")


def without_fit(text: str) -> str:
    """An id without the name of its weights, as `distilled` is asked for.  Raises UnknownName, BadInput."""
    one = selection(text)
    if isinstance(one.settings, DistilledSettings):
        one = Selection(one.name, replace(one.settings, fit=""))
    return str(one)


def _check(spec: Spec, settings: Settings, budgets: list[str]) -> None:
    if len(budgets) != 1:
        todo = f"for instance {spec.name}(share=0.25)"
        raise BadInput("a selection needs exactly one budget", got=str(spec), allowed=" or ".join(BUDGETS), todo=todo)
    if settings.heads not in HEADS:
        raise UnknownName("heads", settings.heads, HEADS)
    if budgets == ["tokens"]:
        at_least(settings, SINKS, "tokens")
    elif budgets == ["share"] and not 0 < settings.share <= 1:
        raise BadInput("share must be above 0 and at most 1", got=settings.share)
    elif budgets == ["mib"] and not 0 < settings.mib < math.inf:
        raise BadInput("mib must be above 0", got=settings.mib)
    elif budgets == ["loss"] and not 0 < settings.loss < math.inf:
        raise BadInput("loss must be above 0", got=settings.loss)
    _check_dynamic(spec, settings)
    if isinstance(settings, RereadSettings):
        at_least(settings, 1, "chunk")
        _check_second_reading(settings)
    if isinstance(settings, BoundedSettings):
        at_least(settings, 0, "read")
        if settings.read and budgets[0] not in BOUNDED_BUDGETS:
            what = "a document that is read in pieces needs a budget that does not depend on its length"
            todo = f"for instance {spec.name}(tokens=256, read={settings.read})"
            raise BadInput(what, got=str(spec), allowed=" or ".join(BOUNDED_BUDGETS), todo=todo)


def _check_dynamic(spec: Spec, settings: Settings) -> None:
    named = {key for key, _ in spec.settings}
    if not settings.dynamic:
        if extra := sorted(named & {"step", "thresholds"}):
            raise BadInput(f"{extra[0]} belongs to a dynamic budget", got=str(spec), todo="add dynamic=unigram")
        return
    if settings.dynamic not in THRESHOLDS:
        raise UnknownName("complexity", settings.dynamic, THRESHOLDS)
    if settings.loss:
        what = "a budget of a loss follows the document by itself"
        raise BadInput(what, got=str(spec), allowed="dynamic with tokens, share or mib")
    if isinstance(settings, BoundedSettings) and settings.read:
        what = "a document that is read in pieces has the same budget after each"
        raise BadInput(what, got=str(spec), todo="leave `dynamic` or `read` out")
    most = 2 / len(settings.limits)
    if not 0 < abs(settings.step) < most:
        what = "a step changes the budget, and leaves some of it to every document"
        raise BadInput(what, got=f"step={settings.step}", allowed=f"above 0 and below {most:.4g}, or the reverse")


def _check_second_reading(settings: RereadSettings) -> None:
    names, times = settings.levels.split("+"), settings.times.split("+") if settings.times else None
    for name in names:
        window = WINDOW.fullmatch(name)
        if name not in (DOCUMENT, *UNITS) and (window is None or not int(window[1])):
            raise UnknownName("unit of a second reading", name, [DOCUMENT, *UNITS, "window(64)"])
    if len(set(names)) < len(names):
        raise BadInput("a level is named once", got=settings.levels, todo="say how often its units are read in `times`")
    if times is not None and (len(times) != len(names) or not all(one.isdecimal() and int(one) for one in times)):
        raise BadInput("times needs a whole number above 0 for each level", got=f"{settings.levels}; {settings.times}")
    if not 0 <= settings.overlap <= OVERLAP:
        raise BadInput("units overlap by a share of their length", got=settings.overlap, allowed=f"0 to {OVERLAP}")
    if settings.overlap and names == [DOCUMENT]:
        raise BadInput(
            "the whole document overlaps nothing", got=f"overlap={settings.overlap}", todo="name more levels"
        )
    if settings.by not in (ALL, *BY_FIRST_READING, *BY_PLACE):
        raise UnknownName("emphasis of a second reading", settings.by, (ALL, *BY_FIRST_READING, *BY_PLACE))
    if not 0 < settings.best <= 1:
        raise BadInput("best is a share of the units, above 0 and at most 1", got=settings.best)
    if settings.by == ALL and settings.best != RereadSettings.best:
        raise BadInput("best says how many units are chosen", got=f"best={settings.best}", todo="say by what in `by`")
    if settings.sums is not None and settings.read:  # `sums` raises for an unknown map
        what = "dropped keys are summed once, after the whole document"
        raise BadInput(what, got=f"dropped={settings.dropped}, read={settings.read}", todo="leave one of them out")
    if settings.by in BY_FIRST_READING and settings.read:
        what = "units of a document that is read in pieces cannot be chosen by the whole first reading"
        raise BadInput(what, got=f"by={settings.by}, read={settings.read}", allowed=", ".join((ALL, *BY_PLACE)))


def level_of(settings: Settings, complexity: float) -> float:
    """k - m/2, where k of the m thresholds lie below the complexity; 0 for a budget that is not dynamic."""
    limits = settings.limits if settings.dynamic else ()
    return bisect_left(limits, complexity) - len(limits) / 2


def _at_level(settings: Settings, level: float) -> Settings:
    factor = 1 + Fraction(repr(settings.step)) * Fraction(level)
    return replace(
        settings,
        tokens=max(int(settings.tokens * factor), SINKS) if settings.tokens else 0,
        mib=float(settings.mib * factor),
        share=min(float(Fraction(repr(settings.share)) * factor), 1.0),
        dynamic="",
        step=0.1,
        thresholds="",
    )


def for_document(chosen: Selection, complexity: Mapping[str, float]) -> Selection:
    """The selection with the budget of one document; complexity: of the document, by name.  Raises BadInput for one
    that was not measured."""
    settings = chosen.settings
    if not isinstance(settings, Settings) or not settings.dynamic:
        return chosen
    if settings.dynamic not in complexity:
        raise BadInput("the complexity of this document was not measured", got=settings.dynamic)
    return Selection(chosen.name, _at_level(settings, level_of(settings, complexity[settings.dynamic])))


def possible_positions(settings: Settings, T: int) -> set[int]:
    """Positions of one head, on average, that `tokens` or `share` may keep of T: one number unless it is dynamic."""
    if not settings.dynamic:
        return {positions_per_head(settings, T)}
    m = len(settings.limits)
    return {positions_per_head(_at_level(settings, k - m / 2), T) for k in range(m + 1)}


def tokens_per_choice(chosen: Selection) -> int:
    """Tokens that are read before the next choice; 0: all of the document."""
    return chosen.settings.read if isinstance(chosen.settings, BoundedSettings) else 0


def sums_dropped(chosen: Selection) -> bool:
    """Whether dropped keys are summed."""
    return isinstance(chosen.settings, RereadSettings) and bool(chosen.settings.dropped)


def positions_per_head(settings: Settings, T: int) -> int:
    """Positions of one head, on average, that `tokens` or `share` keeps of T."""
    if settings.tokens:
        return min(settings.tokens, T)
    return min(max(int(Fraction(repr(settings.share)) * T), SINKS), T)  # exact: 0.29 of 100 is 29

"""How a figure is drawn: canvas, colours, markers, axes, legend, panels.  Knows no run and no task.

matplotlib without pyplot: figures are values, its settings are put back, nothing global is left.
"""

from __future__ import annotations

import contextlib
import math
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from reread.errors import MissingPackage
from reread.report.svg import GRID, INK, SERIES
from reread.report.words import clean

WIDTH = 4.8  # inches: on a phone as large as it is, on a desk the page scales it up
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.")
STYLE = {
    "font.size": 9.0, "text.parse_math": False, "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.titlesize": 9.5, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": GRID, "grid.linewidth": 0.6, "legend.frameon": False, "legend.fontsize": 8.5, "lines.markersize": 5.0,
    "lines.linewidth": 1.3, "figure.facecolor": "none", "axes.facecolor": "none", "svg.fonttype": "none",
}  # fmt: skip


@contextlib.contextmanager
def style(name: str) -> Iterator[None]:
    """matplotlib's defaults with ours over them, and afterwards whatever the caller had.  Raises MissingPackage."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingPackage("matplotlib", "eval") from error
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page's fonts draw the text
        matplotlib.rcdefaults()
        settings: Any = {**STYLE, "svg.hashsalt": name}
        matplotlib.rcParams.update(settings)
        yield


def canvas(height: float, below: float) -> tuple[Any, Any, Any]:
    """A figure, and its two parts so many inches high: one for axes, one below for the legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height + below), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[height, below])
    return figure, *parts


def grid(part: Any, panels: int, columns: int) -> list[Any]:
    """Axes of one scale upwards, so many in a row."""
    axes = list(part.subplots(math.ceil(panels / columns), columns, squeeze=False, sharey=True).flat)
    for spare in axes[panels:]:
        spare.set_visible(False)
    return axes[:panels]


def wrap(text: Any, width: int) -> str:
    """A name on lines of that width, three at most."""
    return "\n".join(textwrap.wrap(clean(text), width, max_lines=3, placeholder=" ..."))


def look(number: int) -> dict[str, Any]:
    """Colour, marker and line of a series: cycles of 6, 7 and 4, so that no two of 84 are alike."""
    return {
        "color": SERIES[number % len(SERIES)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": LINES[number % len(LINES)],
    }


def bars(values: Sequence[dict[str, float]]) -> list[list[float]]:
    """How far intervals reach below and above their means, in percent; never less than nothing."""
    below = [max(0.0, 100 * (v["mean"] - v["low"])) for v in values]
    return [below, [max(0.0, 100 * (v["high"] - v["mean"])) for v in values]]


def legend(part: Any, axes: Any) -> None:
    """The series, in the part of the figure that is kept for them; one column where names are long."""
    handles, names = axes.get_legend_handles_labels()
    columns = legend_columns(names)
    texts = [wrap(name, 68 // columns) for name in names]
    part.legend(handles, texts, loc="upper left", ncols=columns, handlelength=2.6)


def legend_height(names: Sequence[str]) -> float:
    """Inches that the legend of these series needs."""
    columns = legend_columns(names)
    lines = [wrap(name, 68 // columns).count("\n") + 1 for name in names]
    return 0.15 + 0.19 * sum(lines) / columns + (0.1 if columns == 2 else 0)


def legend_columns(names: Sequence[str]) -> int:
    return 2 if all(len(name) <= 28 for name in names) else 1


def thousands(value: float, _: Any = None) -> str:
    return f"{value:,.0f}"


def share(value: float, _: Any = None) -> str:
    """A tick in percent; half a percent is not rounded away."""
    return f"{value:.4g} %"


def log_axis(axis: Any, values: Sequence[float], most: int = 4) -> None:
    """A logarithmic axis over these values: the values themselves where they are few, else round numbers between."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(values), max(values)
    edge = max(1.05, (high / low) ** 0.06)
    ticks: list[float] = sorted(set(values))
    if len(ticks) > most or any(value != round(value) for value in ticks):
        ticks = round_numbers(low / edge, high * edge, most)
    axis.set_major_locator(FixedLocator(ticks or [round(low), round(high)]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(thousands))
    axis.axes.set(**{f"{axis.axis_name}lim": (low / edge, high * edge)})


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """At most so many of 1, 1.5, 2, 3, 5, 7 times powers of ten, alike far apart if it can be."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [tick for power in powers for step in steps if low <= (tick := step * 10**power) <= high]
        if len(ticks) <= most:
            break
    return ticks[:: max(1, math.ceil(len(ticks) / most))]


Draw = Callable[[Any, Any, dict[str, Any], str, int, int], None]


def recall_panels(
    cells: dict[str, dict[str, list[Any]]], x_label: str, draw: Draw, *, columns: int = 2, height: float = 1.9
) -> Any:
    """A figure of one panel per place, recall in percent upwards on one scale.

    cells: {place: {series: what `draw` makes of it}}; draw(axes, cells, look, label, number, series).
    """
    from matplotlib.ticker import FuncFormatter

    series = list(dict.fromkeys(name for inside in cells.values() for name in inside))
    columns = min(columns, len(cells))
    rows = math.ceil(len(cells) / columns)
    figure, above, below = canvas(0.3 + (2.3 if rows == 1 else height * rows), legend_height(series))
    axes = grid(above, len(cells), columns)
    for (place, inside), axis in zip(cells.items(), axes, strict=True):
        for number, name in enumerate(series):
            if name in inside:
                draw(axis, inside[name], look(number), name, number, len(series))
        axis.set_title(wrap(place, 34 if columns == 2 else 68))
        axis.yaxis.set_major_formatter(FuncFormatter(share))
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(max(-4, low), min(104, high))
    above.supylabel("recall, % of questions", fontsize="medium")
    above.supxlabel(x_label, fontsize="medium")
    legend(below, max(axes, key=lambda axis: len(axis.get_legend_handles_labels()[1])))
    return figure

"""The plots: time to start, memory and descriptors against the number of agents."""

from __future__ import annotations

import importlib
import io
import re
from typing import TYPE_CHECKING, Any

from benchmarks.scale import AREA, MEMORY, OWN_DESCRIPTORS, READY

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks._results import Results, Row

__all__ = ["write_plots"]

_PLOTS = {
    # By file: the measure, the label of the axis, and the divisor of a value.
    "start": (READY, "seconds until all are ready", 1.0),
    "memory": (MEMORY, "memory (PSS), MB", 1e6),
    "descriptors": (OWN_DESCRIPTORS, "descriptors of the program", 1.0),
}


def write_plots(results: Results, folder: Path) -> str | None:
    """Write the plots if there is data, or return why they cannot be drawn."""
    rows = [row for row in results.rows if row.area == AREA]
    if not rows:
        return None
    try:
        mpl: Any = importlib.import_module("matplotlib")
    except ImportError:
        return "no plots: matplotlib is not installed (it is in the extra 'bench')"
    mpl.use("svg")
    # Keep text as text, and make the same file from the same numbers.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "agy_actors"})
    for name, (what, label, factor) in _PLOTS.items():
        _plot(rows, what, label, factor, folder / f"{name}.svg")
    return None


def _plot(rows: list[Row], what: str, label: str, factor: float, path: Path) -> None:
    plt: Any = importlib.import_module("matplotlib.pyplot")

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for peer in dict.fromkeys(row.peer for row in rows):
        _draw(axes, peer, [row for row in rows if row.peer == peer], what, factor)
    axes.set(xscale="log", yscale="log", xlabel="agents", ylabel=label)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    # matplotlib leaves spaces at the ends of lines, which git reports.
    path.write_text("".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines()))
    plt.close(figure)


def _draw(axes: Any, peer: str, rows: list[Row], what: str, factor: float) -> None:
    by_count = {
        int(match[1]): row
        for row in rows
        if (match := re.fullmatch(rf"(\d+) agents: {what}", row.what))
    }
    counts = sorted(by_count)
    rows = [by_count[count] for count in counts]
    medians = [row.median / factor for row in rows]
    below = [(row.median - min(row.values)) / factor for row in rows]
    above = [(max(row.values) - row.median) / factor for row in rows]
    axes.errorbar(counts, medians, yerr=(below, above), label=peer, marker="o", capsize=3)

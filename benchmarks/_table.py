"""Formats the results as tables: for the terminal, in reStructuredText and as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import rich.box
import rich.console
import rich.table

from benchmarks._results import OURS, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._results import Ratio, Results, Row

__all__ = ["csv_table", "format_value", "print_tables", "rst_tables"]

_COLUMNS = (
    *("area", "what", "peer", "unit", "median", "lowest", "highest"),
    *("ratio", "ratio_lowest", "ratio_highest"),
)
_HEADINGS = ("What", "Peer", "Median", "Lowest to highest", "Ratio", "Lowest to highest")

_WIDTH = 120  # The width if no terminal reports one.


def print_tables(results: Results) -> None:
    """Print a table of each area."""
    console = rich.console.Console()
    if not console.is_terminal:
        console.width = _WIDTH
    for area in results.areas():
        table = rich.table.Table(*_HEADINGS, title=area, box=rich.box.SIMPLE, title_justify="left")
        for column in table.columns[2:]:
            column.justify = "right"
        for row in _cells(results, area):
            table.add_row(*row)
        console.print(table)
    for note in results.notes:
        console.print(note)


def rst_tables(results: Results) -> str:
    """Return the tables for the documentation."""
    lines: list[str] = []
    for area in results.areas():
        lines += ["", f".. list-table:: {area}", "   :header-rows: 1", ""]
        for row in (_HEADINGS, *_cells(results, area)):
            lines += [
                f"   {'* -' if number == 0 else '  -'} {cell}".rstrip()
                for number, cell in enumerate(row)
            ]
    lines += ["", *(f"* {note}" for note in results.notes)]
    return "\n".join(lines).strip() + "\n"


def csv_table(results: Results) -> str:
    """Return all rows with plain numbers: seconds, bytes, descriptors."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for area in results.areas():
        for group in results.groups(area):
            for row in group:
                ratio = _ratio(group, row)
                writer.writerow(
                    [row.area, row.what, row.peer, row.unit.value]
                    + [f"{value:.6g}" for value in (row.median, *_bounds(row))]
                    + ([f"{value:.4g}" for value in ratio] if ratio else ["", "", ""])
                )
    return text.getvalue()


def format_value(value: float, unit: Unit) -> str:
    """Format a value with a unit that suits its size.

    >>> format_value(0.0123, Unit.SECONDS)
    '12.3 ms'
    """
    if unit is Unit.DESCRIPTORS:
        return f"{value:.1f}"
    if unit is Unit.BYTES:
        return f"{value / 1e6:.1f} MB"
    for factor, name in ((1.0, "s"), (1e-3, "ms")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {name}"
    return f"{value / 1e-6:.3g} µs"


def _cells(results: Results, area: str) -> Iterator[tuple[str, ...]]:
    for group in results.groups(area):
        for number, row in enumerate(group):
            lowest, highest = _bounds(row)
            ratio = _ratio(group, row)
            yield (
                row.what if number == 0 else "",
                row.peer,
                format_value(row.median, row.unit),
                f"{format_value(lowest, row.unit)} to {format_value(highest, row.unit)}",
                f"{ratio.of_medians:.3g}" if ratio else "",
                f"{ratio.lowest:.3g} to {ratio.highest:.3g}" if ratio else "",
            )


def _bounds(row: Row) -> tuple[float, float]:
    return min(row.values), max(row.values)


def _ratio(group: list[Row], row: Row) -> Ratio | None:
    ours = group[0]
    return ours.ratio_to(row) if ours.peer == OURS and row is not ours else None

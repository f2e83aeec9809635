"""`Area`: a benchmark, which adds rows to the results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from benchmarks._results import Results
from benchmarks._sizes import Size
from benchmarks._table import print_tables

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Area", "run_alone"]


class Area(Protocol):
    """A module that measures."""

    __name__: str

    def run(self, size: Size, results: Results) -> None:
        """Measure all peers, and add the rows."""


def run_alone(run: Callable[[Size, Results], None]) -> None:
    """Run the command line of one area."""

    def main(
        quick: Annotated[bool, typer.Option("--quick", help="A rougher, shorter run.")] = False,
    ) -> None:
        results = Results()
        run(Size.QUICK if quick else Size.FULL, results)
        print_tables(results)

    typer.run(main)

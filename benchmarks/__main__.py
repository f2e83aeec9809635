"""Runs all benchmarks, and alternates between agy_actors and its peers: `python -m benchmarks`.

    python -m benchmarks [--quick] [--only NAME]... [--out FOLDER]

It prints a table; with a folder it also writes the results, the tables and the plots there.
"""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 (typer reads the annotation)
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks import crash, during, kernel, neighbours, scale, together, turn
from benchmarks._files import write_files
from benchmarks._machine import describe_load
from benchmarks._results import Results
from benchmarks._sizes import Size
from benchmarks._table import print_tables

if TYPE_CHECKING:
    from benchmarks._areas import Area

__all__ = ["AREAS", "app", "main"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

AREAS: dict[str, Area] = {
    "kernel": kernel,
    "turn": turn,
    "together": together,
    "scale": scale,
    "crash": crash,
    "during": during,
    "neighbours": neighbours,
}


@app.command()
def main(
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer rounds and agents: about three minutes.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help=f"One area of: {', '.join(AREAS)}. Can be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Where to write the results.")
    ] = None,
) -> None:
    """Measure the costs of agy_actors and of its alternatives.

    If an area fails, there is a note under the tables, and the exit code is 1.
    """
    unknown = sorted(set(only or ()) - set(AREAS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)} must be one of {', '.join(AREAS)}")
    size = Size.QUICK if quick else Size.FULL
    results = Results()
    failed: list[str] = []
    if load := describe_load():
        results.note(load)  # The tables should say how reliable they are.
    for name, area in AREAS.items():
        if only and name not in only:
            continue
        started = time.perf_counter()
        print(f"{name} …", flush=True)
        try:
            area.run(size, results)
        except Exception as error:  # noqa: BLE001 (half an hour's rows are not lost for one)
            failed.append(name)
            results.note(f"failed: {name}, with {type(error).__name__}: {error}")
        print(f"  took {time.perf_counter() - started:.0f} s", flush=True)
        if out is not None:
            # After each area: an interrupted run keeps the finished areas.
            write_files(results, out, size)
    print_tables(results)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()

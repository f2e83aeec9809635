"""Writes the results to files."""

from __future__ import annotations

import dataclasses
import importlib
import json
from typing import TYPE_CHECKING, Any

from benchmarks._machine import describe_machine
from benchmarks._plots import write_plots
from benchmarks._table import csv_table, rst_tables

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks._results import Results, Row
    from benchmarks._sizes import Size

__all__ = ["write_files"]


def write_files(results: Results, folder: Path, size: Size) -> None:
    """Write results.json, results.pyperf.json, table.rst, table.csv, machine.rst and the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    # Readers of the numbers should know how much was measured.
    machine = describe_machine() | {"Run": size.value}
    (folder / "results.json").write_text(json.dumps(_as_json(results, machine), indent=1) + "\n")
    (folder / "table.rst").write_text(rst_tables(results))
    (folder / "table.csv").write_text(csv_table(results))
    (folder / "machine.rst").write_text(_machine_rst(machine))
    for missing in (write_plots(results, folder), _write_pyperf(results, folder)):
        if missing:
            print(missing)


def _as_json(results: Results, machine: dict[str, str]) -> dict[str, Any]:
    rows = [dataclasses.asdict(row) | {"unit": row.unit.value} for row in results.rows]
    return {"machine": machine, "notes": results.notes, "rows": rows}


def _machine_rst(machine: dict[str, str]) -> str:
    return "".join(f":{name}: {value}\n" for name, value in machine.items())


def _write_pyperf(results: Results, folder: Path) -> str | None:
    """Write all rows so that `python -m pyperf compare_to` can compare two runs of this."""
    try:
        pyperf: Any = importlib.import_module("pyperf")
    except ImportError:
        return "no results.pyperf.json: pyperf is not installed (it is in the extra 'bench')"
    rows = [row for row in results.rows if all(value > 0 for value in row.values)]
    if rows:
        suite = pyperf.BenchmarkSuite([_as_benchmark(pyperf, row) for row in rows])
        suite.dump(str(folder / "results.pyperf.json"), replace=True)
    return None


def _as_benchmark(pyperf: Any, row: Row) -> Any:
    # A round is a run with one value, so that pyperf treats the rounds as separate measurements.
    metadata = {"name": f"{row.area}: {row.what}: {row.peer}", "unit": row.unit.value}
    return pyperf.Benchmark(
        [
            pyperf.Run([value], metadata=dict(metadata), collect_metadata=False)
            for value in row.values
        ]
    )

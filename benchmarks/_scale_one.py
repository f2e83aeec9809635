"""One run of `benchmarks.scale` as a program, which prints its measurements."""

from __future__ import annotations

import json

import typer

from benchmarks._model import Model
from benchmarks.scale import measure_one


def _main(peer: str, count: int, url: str) -> None:
    print(json.dumps(measure_one(peer, count, Model(url))))


if __name__ == "__main__":
    typer.run(_main)

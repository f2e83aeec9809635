"""Soak runs of supervision: does a failure affect only its own agent, key or member?

    python -m tests.soak.supervision hangs   [--agents 8] [--hang-timeout 2.0] [--repetitions 5]
    python -m tests.soak.supervision quotas  [--seconds 20] [--agents 4]
    python -m tests.soak.supervision pool    [--prompts 1000] [--size 4] [--kill-every 20]
    python -m tests.soak.supervision endless [--prompts 100000]

The first three run on the real harness. Each prints its counts and measurements, and exits with 1
if a claim does not hold.
"""

from __future__ import annotations

import typer

from tests.soak.supervision.endless import endless
from tests.soak.supervision.hangs import hangs
from tests.soak.supervision.pool import pool
from tests.soak.supervision.quotas import quotas

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
for command in (hangs, quotas, pool, endless):
    app.command()(command)

if __name__ == "__main__":
    app()

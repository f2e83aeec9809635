"""The time and the memory for resuming a run over very many prompts, most of them answered.

    python -m benchmarks.resume [--records 1000000] [--failed 0.01] [--old]

It writes a file of prompts and the results of an earlier run, and then measures the process of
``agy-actors map --rehearse``, which finds the pending prompts and asks none (a part of the records
are failures of prompts that are no longer in the file). It prints the seconds, the maximum memory
and the seconds per million records. It exits with 1 if a million would take more than 20 s or 200
MB. With ``--old``, the results are those of versions before 0.1, with ids from line numbers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from agy_actors.cli.records import text_id
from benchmarks._failures import Failures

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_MILLION = 1_000_000
_MAX_SECONDS, _MAX_MB = 20.0, 200.0
_MEASURE = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
seconds, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
print(json.dumps([process.returncode, seconds, cpu, usage.ru_maxrss / 1024]))
"""
"""Runs a command, and prints its exit code, seconds, seconds of CPU, and maximum memory in MB."""

_ERROR = {"type": "ModelError", "message": "HTTP 503", "retryable": True}


@app.command()
def main(
    records: Annotated[int, typer.Option(min=1)] = 1_000_000,
    failed: Annotated[float, typer.Option(min=0.0, max=1.0, help="The part that failed.")] = 0.01,
    old: Annotated[bool, typer.Option(help="Results of earlier versions.")] = False,
) -> None:
    """Measure the time and the memory of a run that finds everything answered."""
    failures = Failures()
    with tempfile.TemporaryDirectory() as folder:
        prompts, out = Path(folder, "prompts.txt"), Path(folder, "out.jsonl")
        _write(prompts, out, records, failed, old=old)
        command = [sys.executable, "-m", "agy_actors.cli", "map", "--rehearse"]
        # A process starts with the maximum memory of its parent, so a small process starts it.
        measured = subprocess.run(  # noqa: S603 (our own command)
            [sys.executable, "-c", _MEASURE, *command, str(prompts), "-o", str(out)],
            capture_output=True,
            text=True,
            check=True,
        )
        code, seconds, cpu, megabytes = json.loads(measured.stdout.splitlines()[-1])
        said = measured.stderr
        size = out.stat().st_size / 1e6
    took = f"{seconds:.1f} s ({cpu:.1f} s of CPU), {megabytes:.0f} MB"
    print(f"{records} records, a file of {size:.0f} MB: {took}")
    print(f"a million: {seconds * _MILLION / records:.1f} s")
    if code != 0 or "nothing was asked" not in said:
        failures.add(f"the run ended with {code} and said {said!r}")
    if seconds * _MILLION / records > _MAX_SECONDS and records >= _MILLION:
        failures.add(f"it took {seconds:.1f} s")
    if megabytes > _MAX_MB:
        failures.add(f"it took {megabytes:.0f} MB")
    failures.finish()


def _write(prompts: Path, out: Path, records: int, failed: float, *, old: bool) -> None:
    every = int(1 / failed) if failed else 0
    with prompts.open("w") as lines, out.open("w") as results:
        for number in range(records):
            prompt = f"Which river is the {number}th longest, and where does it end?"
            fails = bool(every) and number % every == 0
            if not fails:
                lines.write(f"{prompt}\n")
            id_ = text_id(prompt)
            record = {
                "id": f"line-{number + 1}" if old else id_,
                "index": number,
                "prompt": prompt,
                "text": None if fails else "It is the Amazon, which ends in the Atlantic Ocean.",
                **({} if old else {"model": "gemini"}),
                "usage": {"prompt_token_count": 17, "total_token_count": 29},
                "agent": "agent-1",
                "seconds": 1.234,
                "attempts": 1,
                "error": _ERROR if fails else None,
            }
            results.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    app()

"""How many files a reader opens to follow a `Chat` from `ref.ask` to its reply."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.harnesses import PATIENCE

ROOT = Path(__file__).parents[2]
MOST = 12


def test_a_chat_passes_through_at_most_twelve_files() -> None:
    # In a separate program, because all threads must be started while they are profiled.
    program = [sys.executable, "-m", "tests.agents.chat_path"]

    found = subprocess.run(
        program, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )

    assert found.returncode == 0, found.stderr
    *files, count = found.stdout.splitlines()
    assert count == f"{len(files)} files"
    assert "_agents/agent_actor.py" in files
    assert "_sdk/session.py" in files
    assert len(files) <= MOST, files

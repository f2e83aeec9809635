"""All benchmarks in one run: `python -m benchmarks`."""

from __future__ import annotations

from benchmarks import kernel, turn

if __name__ == "__main__":
    kernel.main()
    turn.main()

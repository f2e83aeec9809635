"""What the README says of itself."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADING = "What happens when things fail"


def failure_rows() -> list[str]:
    """Read the first column of the table of failures."""
    table = (ROOT / "README.rst").read_text().partition(HEADING)[2]
    _, head, body, *_ = re.split(r"^=+  =+$", table, flags=re.MULTILINE)
    width = head.index("What you see") - head.index("What fails")
    rows: list[str] = []
    for line in body.strip("\n").splitlines():
        first, second = line[:width].strip(), line[width:].strip()
        # What a row is called may go on below; what is seen begins in its first line.
        if first and second and not first[0].isupper():
            rows[-1] += f" {first}"
        elif first:
            rows.append(first)
    return rows


def test_every_failure_that_the_readme_names_has_a_test_by_its_name() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    rows = failure_rows()
    assert len(rows) > 20

    for row in rows:
        name = re.sub(r"\W+", "_", row.replace("'", "").lower())
        assert re.search(rf"^def test_(f\d+_)?{name}\(", tests, re.MULTILINE), row

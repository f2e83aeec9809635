"""The README is short, its links lead somewhere, and its tables agree with their sources."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.harnesses import PATIENCE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text()
FAILURES = (ROOT / "docs" / "failures.rst").read_text()


def failures() -> list[str]:
    """Read the first column of the table of failures."""
    return re.findall(r"^   \* - (.+)\n     - ", FAILURES, re.MULTILINE)[1:]  # Not the header.


def simple_table(heading: str) -> list[list[str]]:
    """Read a table of the README, whose rows have one line each; the header too."""
    section = README.partition(f"\n{heading}\n---")[2]
    rule = re.search(r"^=+(?:  =+)+$", section, re.MULTILINE)
    assert rule
    columns = [match.span() for match in re.finditer("=+", rule[0])]
    columns[-1] = (columns[-1][0], 200)
    _, head, body, *_ = re.split(r"^=+(?:  =+)+$", section, flags=re.MULTILINE)
    lines = [*head.strip("\n").splitlines(), *body.strip("\n").splitlines()]
    return [[line[start:end].strip() for start, end in columns] for line in lines]


def test_the_readme_has_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


def test_every_failure_has_a_test_with_its_name() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    rows = failures()
    assert len(rows) > 20

    for row in rows:
        name = re.sub(r"\W+", "_", row.replace("'", "").lower())
        assert re.search(rf"^def test_{name}\(", tests, re.MULTILINE), row


def test_the_readmes_failures_are_some_of_all() -> None:
    _, *rows = simple_table("When things fail")

    assert len(rows) > 5
    assert {what for what, _ in rows} <= set(failures())
    assert f"All {len(failures())} cases" in README


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"<([^>:]+)>`__?", README)
    pictures = re.findall(r"^\.\. image:: (.+)$", README, re.MULTILINE)
    targets = [*links, *pictures]

    assert (len(links) > 10, len(pictures)) == (True, 1)
    assert [target for target in targets if not (ROOT / target).is_file()] == []


# What the README calls things, and what the benchmarks call them.
FIGURES = {
    "One turn of one agent": "one turn",
    "64 agents: time until all are ready": "64 agents: ready",
    "64 agents: memory of each beyond the first": "64 agents: memory of each beyond the first",
    "Longest turn of the others while a tool blocks": "longest turn of the others, a tool blocking",
    "Process killed, to the next answer": "killed while idle, to the next answer",
}
PEERS = {
    "agy_actors": ("agy_actors",),
    "SDK alone": ("raw SDK", "raw SDK, try/except"),
    "bridge with one loop": ("reference",),
}


def test_the_figures_of_the_comparison_are_those_of_the_benchmarks() -> None:
    with (ROOT / "docs" / "benchmarks" / "table.csv").open() as file:
        measured = {(row["what"], row["peer"]): row for row in csv.DictReader(file)}
    (_, *peers), *rows = simple_table("Compared with")
    assert peers == list(PEERS)
    assert {what for what, *_ in rows} == set(FIGURES)

    for what, *cells in rows:
        for peer, cell in zip(peers, cells, strict=True):
            found = [m for p in PEERS[peer] if (m := measured.get((FIGURES[what], p)))]
            figure = re.match(r"[\d.]+ (?:ms|s|MB)", cell)
            assert (figure is None) == (found == []), (what, peer)
            if figure:
                assert figure[0] == shown(float(found[0]["median"]), found[0]["unit"])


def shown(value: float, unit: str) -> str:
    """Format a measured value as the benchmarks do."""
    if unit == "byte":
        return f"{value / 1e6:.1f} MB"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def test_the_date_and_the_command_of_the_comparison_are_those_of_the_benchmarks() -> None:
    machine = (ROOT / "docs" / "benchmarks" / "machine.rst").read_text()
    page = (ROOT / "docs" / "benchmarks.rst").read_text()
    date = re.search(r":Date: (\S+)", machine)
    assert date
    assert ":Run: full" in machine

    assert f"on {date[1]}" in README
    assert "python -m benchmarks --out docs/benchmarks" in README
    assert "python -m benchmarks --out docs/benchmarks" in page


@pytest.mark.parametrize("broken", ["`x <docs/no_such_page.rst>`__", "`x <no_such_file>`_"])
def test_a_link_to_nothing_would_be_found(broken: str) -> None:
    [target] = re.findall(r"<([^>:]+)>`__?", broken)

    assert not (ROOT / target).is_file()


def test_the_description_of_the_package_is_read_without_the_repository() -> None:
    description = (ROOT / "docs" / "package.rst").read_text()

    assert re.findall(r"<(?!https?://)[^>]+>`_", description) == []
    assert ".. image::" not in description
    introduction = README.partition("Run many LLM agents")[2].partition(".. image::")[0]
    assert introduction.strip() in description


@pytest.mark.slow
def test_the_documented_command_draws_the_picture(tmp_path: Path) -> None:
    out = tmp_path / "demo.svg"
    command = [sys.executable, "docs/demo_picture.py", str(out), "--rehearse"]

    subprocess.run(command, cwd=ROOT, timeout=PATIENCE * 2, check=True)

    picture = ET.parse(out).getroot()
    text = " ".join("".join(picture.itertext()).split())
    assert picture.tag.endswith("}svg")
    assert "24 of 24 prompts answered by 4 agents" in text
    assert "font-face" not in text  # rich's own fetches fonts from another site.


def test_the_picture_shows_a_complete_run_of_the_demo() -> None:
    text = "".join(ET.parse(ROOT / "docs/images/demo.svg").getroot().itertext())

    assert "24 of 24 prompts answered by 4 agents" in " ".join(text.split())
    assert "font-face" not in text

"""Run ``agy-actors top --demo`` without a terminal, and write its screen as an SVG.

python docs/top_picture.py docs/telemetry/top.svg

The agents are those of the demonstration, so each picture has other numbers.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path

from agy_actors.cli.top_demo import running_demo
from agy_actors.telemetry.top.app import TopApp
from agy_actors.telemetry.top.local_source import LocalSource

_SIZE = (80, 22)
_SHOWN = ("crashed", "was restarted", " busy ", " idle ", "tok/min\n")
_SECONDS = 60.0
"""How long to wait for what the picture shows."""

_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
"""The fonts that rich's SVG fetches from another site. Without them, the reader's own is used."""


async def _picture(source: LocalSource) -> str:
    """Return a screen with a crash, a restart, running turns and one that waits."""
    app = TopApp(source, "demo")
    async with app.run_test(size=_SIZE) as pilot:
        deadline = time.monotonic() + _SECONDS
        while True:
            await asyncio.sleep(0.1)
            text = app.screen_text()
            if all(words in text for words in _SHOWN) and ", 0 queued" not in text:
                break
            if time.monotonic() > deadline:
                sys.exit(f"the picture never had what it shows; run it again:\n{text}")
        await pilot.press("down", "down")
        await pilot.pause()
        return app.export_screenshot(title="agy-actors top --demo")


def main(out: Path) -> None:
    """Write the picture."""
    with running_demo() as supervisor:
        source = LocalSource(supervisor)
        try:
            svg = asyncio.run(_picture(source))
        finally:
            source.close()
    # Its ids have a random part, which would change each picture.
    svg = re.sub(r"terminal-\d+", "terminal-top", _FONTS.sub("", svg))
    out.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

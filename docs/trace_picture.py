"""Record the trace of a request whose agent crashes, and draw it as an SVG.

    python docs/trace_picture.py docs/images/trace.svg

A scripted model answers. The names, times and parents are those of the exported spans.
"""

from __future__ import annotations

import html
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agy_actors import GetStatistics, Supervisor
from agy_actors.telemetry import instrument
from agy_actors.testing import ScriptedModel, call_tool, say, silence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

_WIDTH, _LEFT, _ROW, _TOP = 960, 330, 30, 46
"""Pixels: the picture's width, the column of names, the height of a row, and the title."""

_PATIENCE = 20.0
"""Seconds to wait for the model's request. Arbitrary."""

_STYLE = """\
text { font: 13px ui-monospace, monospace; fill: #1f2328 }
.small { font-size: 11px; fill: #59636e }
.ok { fill: #54aeff } .failed { fill: #ff8182 } .event { fill: #bf8700 } .line { stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .line { stroke: #3d444d }
}"""


def main() -> None:
    """Write the picture to the path that is given."""
    (out,) = sys.argv[1:]
    Path(out).write_text(_draw(_record()))


def _record() -> Sequence[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop")

    def find_order(number: int) -> str:
        """Find an order."""
        with tracer.start_as_current_span("SELECT orders"):
            time.sleep(0.02)
            return f"order {number}: sent"

    with ScriptedModel() as model, Supervisor.start() as supervisor:
        model.then(silence())
        agent = supervisor.create_agent(model.openai_config(tools=[find_order]), "support")
        with instrument(supervisor, tracer_provider=provider):
            killer = threading.Thread(
                target=_kill_in_turn, args=(model, agent.ask(GetStatistics()).harness_pid)
            )
            killer.start()
            with tracer.start_as_current_span("POST /chat"):
                agent.ask("Where is order 7?")
            killer.join()
    return exporter.get_finished_spans()


def _kill_in_turn(model: ScriptedModel, pid: int | None) -> None:
    """Kill the agent's process when the model has been asked."""
    deadline = time.monotonic() + _PATIENCE
    while not model.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # So that the first attempt is visible.
    model.then(call_tool("find_order", {"number": 7}), say("It was sent."))
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def _draw(spans: Sequence[ReadableSpan]) -> str:
    rows = list(_rows(spans, None, 0))
    begin = min(span.start_time or 0 for span in spans)
    end = max(span.end_time or 0 for span in spans)
    scale = (_WIDTH - _LEFT - 90) / (end - begin)
    height = _TOP + _ROW * len(rows) + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>A trace: a request, the turn, two attempts, a tool</title>",
        f"<style>{_STYLE}</style>",
        f'<text x="12" y="26">one trace, {(end - begin) / 1e6:.0f} ms</text>',
    ]
    for number, (depth, span) in enumerate(rows):
        lines += _row(span, depth, _TOP + _ROW * number, begin, scale)
    return "\n".join([*lines, "</svg>\n"])


def _rows(
    spans: Sequence[ReadableSpan], parent: int | None, depth: int
) -> Iterator[tuple[int, ReadableSpan]]:
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        if (span.parent.span_id if span.parent else None) == parent:
            yield depth, span
            context = span.get_span_context()
            if context is not None:
                yield from _rows(spans, context.span_id, depth + 1)


def _row(span: ReadableSpan, depth: int, y: int, begin: int, scale: float) -> list[str]:
    start, end = span.start_time or 0, span.end_time or 0
    x, width = _LEFT + (start - begin) * scale, max((end - start) * scale, 2)
    duration = f"{(end - start) / 1e6:.0f} ms"
    kind = "ok" if span.status.is_ok or span.status.is_unset else "failed"
    events = [event for event in span.events if event.name != "agy_actors.wait"]
    return [
        f'<line class="line" x1="12" x2="{_WIDTH - 12}" y1="{y - 4}" y2="{y - 4}"/>',
        f'<text x="{12 + 16 * depth}" y="{y + 14}">{html.escape(span.name)}</text>',
        f'<rect class="{kind}" x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="14" rx="3"/>',
        f'<text class="small" x="{x + width + 6:.1f}" y="{y + 15}">{duration}</text>',
        *(
            f'<circle class="event" cx="{_LEFT + (event.timestamp - begin) * scale:.1f}"'
            f' cy="{y + 11}" r="4"><title>{html.escape(event.name)}</title></circle>'
            for event in events
        ),
    ]


if __name__ == "__main__":
    main()

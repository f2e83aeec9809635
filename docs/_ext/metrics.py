"""The directive ``metrics``: a table of the metrics, from their code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sphinx.util.docutils import SphinxDirective

from agy_actors.telemetry.metrics import names
from agy_actors.telemetry.metrics.measures import MEASURES, Form

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

_HISTOGRAMS = (
    (names.DURATION, "histogram", "s", "Duration of turns, from the ask to the reply."),
    (names.TOKENS, "histogram", "{token}", "Tokens of turns, by type: input or output."),
)

_FORMS = {Form.COUNTER: "counter", Form.SUM: "up-down counter", Form.GAUGE: "gauge"}


class MetricsTable(SphinxDirective):
    """Write a table of all metrics."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = [
            *_HISTOGRAMS,
            *((m.name, _FORMS[m.form], m.unit, m.description) for m in MEASURES),
        ]
        lines = [".. list-table::", "    :header-rows: 1", ""]
        for name, form, unit, text in (("Metric", "Kind", "Unit", "Meaning"), *rows):
            shown = name if name == "Metric" else f"``{name}``"
            lines += [f"    * - {shown}", f"      - {form}", f"      - {unit}", f"      - {text}"]
        table: list[nodes.Node] = self.parse_text_to_nodes("\n".join([*lines, ""]))
        return table


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("metrics", MetricsTable)
    return {"parallel_read_safe": True}

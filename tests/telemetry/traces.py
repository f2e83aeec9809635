"""Records the spans of a test, and shows them as a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import AttributeValue

__all__ = ["Node", "Traces", "context_of", "outline"]


class Node(NamedTuple):
    """A span, and those below it in the order of their start."""

    span: ReadableSpan
    below: tuple[Node, ...]

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def facts(self) -> Mapping[str, AttributeValue]:
        return self.span.attributes or {}

    @property
    def events(self) -> list[str]:
        return [event.name for event in self.span.events]


class Traces:
    """A provider of tracers whose spans are kept."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def trees(self) -> list[Node]:
        """Return the spans without a parent, with those below them."""
        spans = sorted(self.spans, key=lambda span: span.start_time or 0)
        known = {context_of(span).span_id for span in spans}

        def below(parent: int | None) -> tuple[Node, ...]:
            children = [span for span in spans if _parent(span, known) == parent]
            return tuple(Node(span, below(context_of(span).span_id)) for span in children)

        return list(below(None))

    def only_tree(self) -> Node:
        """Return the only trace."""
        trees = self.trees()
        assert len(trees) == 1, [tree.name for tree in trees]
        return trees[0]


def outline(node: Node) -> list[str]:
    """Return the names of spans, each indented below its parent."""
    return [node.name, *(f"  {line}" for child in node.below for line in outline(child))]


def context_of(span: ReadableSpan) -> SpanContext:
    """Return the ids of a span."""
    context = span.get_span_context()
    assert context is not None
    return context


def _parent(span: ReadableSpan, known: set[int]) -> int | None:
    parent = span.parent
    return parent.span_id if parent is not None and parent.span_id in known else None

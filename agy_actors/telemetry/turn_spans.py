"""`TurnSpans`: the spans of turns.

::

    the asker's span
     └ invoke_agent NAME           from the ask to the reply; waits, crashes, restarts and retries
        │                          are its events
        ├ agy_actors.attempt       one attempt of the turn
        │  └ execute_tool NAME     a tool call; what the tool does is below it
        └ agy_actors.attempt

The parent is the span of the code that asked, on any thread: its context travels with the message.
A turn of a trigger has no asker, and begins a trace.
"""

from __future__ import annotations

import contextlib
import contextvars
from typing import TYPE_CHECKING, Any

from google.antigravity.types import StopReason
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.linked_trace import linked_trace
from agy_actors._agents.turn_messages import StreamChat
from agy_actors._sdk.error_text import redact
from agy_actors._sdk.otel_hooks import in_traced_turn
from agy_actors.telemetry import content
from agy_actors.telemetry import conventions as names
from agy_actors.telemetry.model_facts import model_facts
from agy_actors.telemetry.tool_steps import ToolSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from google.antigravity.types import Step, UsageMetadata
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from agy_actors._actors.envelope import Envelope
    from agy_actors._agents.agent_messages import ChatReply
    from agy_actors._agents.record import AgentSpec
    from agy_actors.telemetry.model_facts import ModelFacts
    from agy_actors.telemetry.tool_steps import ToolUse

__all__ = ["TurnSpans", "ids_of", "ids_of_context"]


def _group_of(spec: AgentSpec, envelope: Envelope) -> str:
    """Return the name by which users know who answers: of a pool, of sessions, or of an agent.

    The keys of sessions are not among them: there is no bound for their number.
    """
    of_pool = getattr(envelope.history, "of_pool", False)
    return spec.supervisor if of_pool or spec.packed is not None else spec.name


def _sender_context(envelope: Envelope) -> contextvars.Context:
    """Return a copy of the sender's context variables."""
    sent = envelope.context
    return contextvars.Context() if sent is None else sent.copy()


class TurnSpans:
    """Makes the spans of one turn. Implements `ObservedTurn`. Thread-safe, as spans are.

    Args:
        tracer: makes the spans.
        spec: the agent's.
        envelope: the message of the turn.
        with_content: whether texts are recorded.
    """

    def __init__(
        self, tracer: Tracer, spec: AgentSpec, envelope: Envelope, *, with_content: bool
    ) -> None:
        self._tracer = tracer
        self._spec = spec
        self._with_content = with_content
        self._clock = current_runtime().time
        self._base = _sender_context(envelope)
        facts = model_facts(spec.config)
        group = _group_of(spec, envelope)
        now = self._clock()
        sent_at = now if envelope.sent_at is None else envelope.sent_at
        parent = self._base.run(otel_context.get_current)
        self.span = tracer.start_span(
            f"{names.INVOKE_AGENT} {group}",
            parent,
            attributes=_attributes(spec, facts, group),
            start_time=_nanoseconds(sent_at),
            links=_links(self._base.get(linked_trace)),
        )
        self._context = trace.set_span_in_context(self.span, parent)
        self._variables = self._with(self._context)
        self._attempt: tuple[int, Span] | None = None
        self._tools = ToolSteps(())
        self._add("wait", {names.WAIT_REASON: "mailbox", names.WAIT_SECONDS: now - sent_at})
        message = envelope.message
        asked = message.chat if isinstance(message, StreamChat) else message
        if with_content and (prompt := getattr(asked, "prompt", None)) is not None:
            self.span.set_attribute(
                names.INPUT_MESSAGES, content.input_messages(prompt, self._redact)
            )

    @property
    def context(self) -> contextvars.Context | None:
        """See `ObservedTurn.context`."""
        return self._variables

    @property
    def log_fields(self) -> dict[str, str]:
        """See `ObservedTurn.log_fields`."""
        attempt = self._attempt
        return ids_of(self.span if attempt is None else attempt[1])

    def note(self, event: str, **facts: str | float | bool) -> None:
        """See `ObservedTurn.note`."""
        special = {"reason": names.WAIT_REASON, "seconds": names.WAIT_SECONDS}
        self._add(event, {special.get(key, f"agy_actors.{key}"): facts[key] for key in facts})

    def begin_attempt(self, number: int, conversation_id: str) -> None:
        """See `ObservedTurn.begin_attempt`."""
        span = self._tracer.start_span(
            names.ATTEMPT,
            self._context,
            attributes={names.ATTEMPT_NUMBER: number, names.CONVERSATION_ID: conversation_id},
        )
        self.span.set_attribute(names.CONVERSATION_ID, conversation_id)
        self._attempt = number, span
        self._tools = ToolSteps(_own_tools(self._spec))
        self._variables = self._with(trace.set_span_in_context(span, self._context))

    def see_step(self, step: Step) -> None:
        """See `ObservedTurn.see_step`."""
        use = self._tools.see(step, self._clock())
        if use is not None:
            self._add_tool(use)

    def end_attempt(self, number: int, error: str | None, reply: ChatReply | None) -> None:
        """See `ObservedTurn.end_attempt`."""
        attempt = self._attempt
        if attempt is None or attempt[0] != number:
            return
        for use in self._tools.end():
            self._add_tool(use)
        self._attempt = None
        self._variables = self._with(self._context)
        span = attempt[1]
        if error is not None:
            span.set_attribute(names.ERROR_TYPE, error.partition(":")[0])
            span.set_status(Status(StatusCode.ERROR, error))
        elif reply is not None:
            reason = _finish_reason(reply.stop_reason)
            self.span.set_attribute(names.FINISH_REASONS, [reason])
            if self._with_content:
                self.span.set_attribute(
                    names.OUTPUT_MESSAGES,
                    content.output_messages(reply.text, reason, self._redact),
                )
        span.end()

    def call_tool(
        self, name: str, arguments: dict[str, Any]
    ) -> AbstractContextManager[Callable[[BaseException], None]]:
        """See `ObservedTurn.call_tool`."""
        attempt = self._attempt
        parent = self._context
        if attempt is not None:
            parent = trace.set_span_in_context(attempt[1], parent)
        attributes: dict[str, AttributeValue] = {
            names.OPERATION: names.EXECUTE_TOOL,
            names.TOOL_NAME: name,
            names.TOOL_TYPE: "function",
        }
        if self._with_content:
            attributes[names.TOOL_ARGUMENTS] = content.arguments_text(arguments, self._redact)
        span = self._tracer.start_span(
            f"{names.EXECUTE_TOOL} {name}", parent, attributes=attributes
        )
        return _in_span(span, trace.set_span_in_context(span, parent))

    def end(self, error: str | None, usage: UsageMetadata | None) -> None:
        """See `ObservedTurn.end`."""
        if self._attempt is not None:
            self.end_attempt(self._attempt[0], error, None)
        if usage is not None:
            self._set_usage(usage)
        if error is not None:
            _set_error(self.span, error)
        self.span.end()

    def _set_usage(self, usage: UsageMetadata) -> None:
        texts, thoughts = usage.candidates_token_count, usage.thoughts_token_count
        known = [count for count in (texts, thoughts) if count is not None]
        counts = {
            names.INPUT_TOKENS: usage.prompt_token_count,
            names.OUTPUT_TOKENS: sum(known) if known else None,
            names.REASONING_TOKENS: thoughts or None,
        }
        for name, count in counts.items():
            if count is not None:
                self.span.set_attribute(name, count)

    def _add_tool(self, use: ToolUse) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        span = self._tracer.start_span(
            f"{names.EXECUTE_TOOL} {use.name}",
            trace.set_span_in_context(attempt[1], self._context),
            attributes={
                names.OPERATION: names.EXECUTE_TOOL,
                names.TOOL_NAME: use.name,
                names.TOOL_CALL_ID: use.call_id,
            },
            start_time=_nanoseconds(use.began),
        )
        if use.error is not None:
            _set_error(span, use.error)
        span.end()

    def _add(self, event: str, facts: dict[str, Any]) -> None:
        safe = {key: self._redact(v) if isinstance(v, str) else v for key, v in facts.items()}
        self.span.add_event(f"agy_actors.{event}", safe)

    def _redact(self, text: str) -> str:
        return redact(text, self._spec.secrets)

    def _with(self, context: otel_context.Context) -> contextvars.Context:
        """Return the asker's context variables with another current span."""
        variables = self._base.copy()
        variables.run(otel_context.attach, context)
        variables.run(in_traced_turn.set, True)
        return variables


@contextlib.contextmanager
def _in_span(
    span: Span, context: otel_context.Context
) -> Iterator[Callable[[BaseException], None]]:
    """Run the block in a span, and end the span with it. It gives a function for an error."""

    def note_error(error: BaseException) -> None:
        _set_error(span, type(error).__name__)

    token = otel_context.attach(context)
    try:
        yield note_error
    except BaseException as error:
        note_error(error)
        raise
    finally:
        otel_context.detach(token)
        span.end()


def ids_of_context(variables: contextvars.Context) -> dict[str, str]:
    """Return the ids of the current span of a context, which no thread has entered."""
    return ids_of(variables.run(trace.get_current_span))


def ids_of(span: Span) -> dict[str, str]:
    """Return the ids of a span, as fields of a record of the log; nothing if it is not valid."""
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }


def _attributes(spec: AgentSpec, facts: ModelFacts, group: str) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue | None] = {
        names.OPERATION: names.INVOKE_AGENT,
        names.PROVIDER: facts.provider,
        names.AGENT_NAME: group,
        names.REQUEST_MODEL: facts.model,
        names.SERVER_ADDRESS: facts.address,
        names.SERVER_PORT: facts.port,
        names.OWNER: spec.supervisor,
        names.MEMBER: None if group == spec.name or spec.packed is not None else spec.name,
    }
    return {name: value for name, value in found.items() if value is not None}


def _links(trace_parent: str | None) -> list[trace.Link]:
    if trace_parent is None:
        return []
    found = TraceContextTextMapPropagator().extract(
        {"traceparent": trace_parent}, otel_context.Context()
    )
    span = trace.get_current_span(found).get_span_context()
    return [trace.Link(span)] if span.is_valid else []


def _own_tools(spec: AgentSpec) -> frozenset[str]:
    tools = getattr(spec.config, "tools", ())
    return frozenset(name for tool in tools if (name := getattr(tool, "__name__", None)))


def _finish_reason(reason: StopReason) -> str:
    """Return the reason in the words of the conventions."""
    return "stop" if reason is StopReason.UNSPECIFIED else reason.value.lower()


def _set_error(span: Span, kind: str) -> None:
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR, kind))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)

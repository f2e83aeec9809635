"""Runs the triggers of an agent, and passes on their texts and their errors.

What the SDK does with triggers (google-antigravity 0.1.22, measured with `ScriptedModel`):

*   A text that a trigger sends while a turn runs becomes part of that turn: the model gets another
    request with it, and the turn ends only when no trigger has sent a text since. So the reply to
    a prompt contains the reply to a trigger, and if a trigger sends often, no turn ever ends.
*   An exception of a trigger is logged on the root logger, and the trigger does not run again.

Here, the text of a trigger goes to a function that decides when the model gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.antigravity.connections.local.interactions_connection import InteractionsConnection
from google.antigravity.connections.local.local_connection import LocalConnection
from google.antigravity.triggers import TriggerContext

from agy_actors._actors.arguments import shown
from agy_actors._sdk.call_outcomes import describe, isolate, name_of, valid_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.antigravity import AgentConfig

__all__ = ["with_guarded_triggers"]


def with_guarded_triggers(
    config: AgentConfig,
    send: Callable[[str], Awaitable[None]],
    on_failure: Callable[[str, str], None],
) -> AgentConfig:
    """Return a configuration whose triggers send through a function.

    Args:
        config: the configuration. It is returned unchanged if it has no triggers.
        send: takes the text of a trigger, on the agent's loop.
        on_failure: called with the name of a trigger and its error, on the agent's loop.
    """
    if not config.triggers:
        return config
    guarded = [_guard(trigger, send, on_failure) for trigger in config.triggers]
    return config.model_copy(update={"triggers": guarded})


def _guard(
    trigger: Callable[[TriggerContext], Awaitable[None]],
    send: Callable[[str], Awaitable[None]],
    on_failure: Callable[[str, str], None],
) -> Callable[[TriggerContext], Awaitable[None]]:
    # The SDK's own triggers (`every`) have a name, but no meaningful qualified name.
    name = str(getattr(trigger, "__name__", None) or name_of(trigger))

    async def run(context: TriggerContext) -> None:
        connection = context._connection  # noqa: SLF001 (the SDK has no public name for it)
        if isinstance(connection, LocalConnection) and not isinstance(
            connection, InteractionsConnection
        ):
            context = TriggerContext(_Sender(send))

        async def call() -> None:
            await trigger(context)

        outcome = await isolate(call())
        if outcome.error is not None:
            on_failure(name, describe(outcome.error))

    run.__name__ = name  # The SDK names the trigger's task after it.
    return run


class _Sender:
    """Replaces the SDK's connection for a trigger."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self._send = send

    async def send_trigger_notification(self, content: Any) -> None:
        """Take the text of a trigger.

        Raises:
            TypeError: it is not a text.
            ValueError: it is empty. The harness would close the connection.
        """
        if not isinstance(content, str):
            raise TypeError(f"a trigger must send text, got {shown(content)}")
        if not content.strip():
            raise ValueError("a trigger must send text, and this one is empty")
        await self._send(valid_text(content))

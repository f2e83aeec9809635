"""A scripted model: a loopback HTTP server that plays the LLM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from agy_actors._actors.errors import InvalidArgument
from agy_actors.testing.errors import MisuseError
from agy_actors.testing.scripted_model.app import make_app
from agy_actors.testing.scripted_model.configs import gemini_config, openai_config
from agy_actors.testing.scripted_model.record import Record
from agy_actors.testing.scripted_model.reply import Reply, say
from agy_actors.testing.scripted_model.script import Script
from agy_actors.testing.scripted_model.server import LoopbackServer

if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from types import TracebackType

    from google.antigravity import LocalAgentConfig, LocalOpenAIAgentConfig

    from agy_actors.testing.scripted_model.request import ModelRequest

__all__ = ["ScriptedModel"]


class ScriptedModel:
    """An HTTP server that plays the LLM, so that real agents run without a key or a network.

    It serves the OpenAI and the Gemini protocol on one port of the loopback interface, and records
    the requests. A request gets the next reply of the sequence (`then`), or else the reply of the
    first rule that matches (`when`), or else the default.

        with ScriptedModel() as model:
            model.then(http_error(503), say("It rains."))
            supervisor.create_agent(model.openai_config())

    All methods are thread-safe.

    Args:
        answer: the default: a reply, or a function that takes the prompt and returns the text of
            the reply. By default the reply is ``echo: <prompt>``.
        port: the port to listen on; 0 for a free one.
        keep: how many requests `requests` keeps, the last ones; `None` for all.

    Raises:
        InvalidArgument: `keep` is less than 1.
    """

    def __init__(
        self,
        answer: Reply | Callable[[str], str] | None = None,
        *,
        port: int = 0,
        keep: int | None = None,
    ) -> None:
        if keep is not None and keep < 1:
            raise InvalidArgument(f"keep must be an integer >= 1 or None, got {keep}")
        self._script = Script(_default(answer))
        self._record = Record(keep)
        handler = _Handler(self._script, self._record, lambda: self._server)
        self._server = LoopbackServer(make_app(handler), port)
        self._started = False

    def __repr__(self) -> str:
        where = self.base_url if self._started else "not started"
        return f"<ScriptedModel: {where}, {self._record.came_so_far} requests>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Serve until `close`. The ``with`` statement calls both.

        Raises:
            OSError: the port is in use.
            MisuseError: it was started before.
        """
        if self._started:
            raise MisuseError("a scripted model can be started once; make another")
        self._server.start()
        self._started = True
        return self

    def close(self) -> None:
        """Stop serving, and cut off replies that still stream. A second call does nothing.

        Raises:
            BaseException: what a function of the script raised; several errors as a group.
        """
        self._server.close()
        failures = self._record.take_failures()
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise BaseExceptionGroup("functions of the model's script failed", failures)

    @property
    def base_url(self) -> str:
        """The server's URL, without a path.

        Raises:
            MisuseError: it was not started.
        """
        if not self._started:
            raise MisuseError("start the scripted model first, or use it in a with statement")
        return f"http://127.0.0.1:{self._server.port}"

    def openai_config(self, **overrides: Any) -> LocalOpenAIAgentConfig:
        """Return a configuration for an agent without builtin tools that uses this model.

        Args:
            overrides: fields of the configuration to set.
        """
        return openai_config(self.base_url, overrides)

    def gemini_config(self, **overrides: Any) -> LocalAgentConfig:
        """Return the same configuration for the Gemini protocol."""
        return gemini_config(self.base_url, overrides)

    def then(self, *replies: Reply) -> Self:
        """Add replies to the sequence. Each answers one request, before any rule."""
        self._script.then(replies)
        return self

    def when(
        self,
        pattern: str | re.Pattern[str] | Callable[[ModelRequest], bool],
        *replies: Reply,
        times: int | None = None,
    ) -> Self:
        """Add a rule: answer matching requests with these replies in order. The last one repeats.

        Args:
            pattern: a regular expression to search in the prompt, or a function that takes the
                request and returns whether it matches.
            replies: one or more replies.
            times: how many requests the rule answers; `None` for all.

        Raises:
            InvalidArgument: there is no reply, or `times` is less than 1.
        """
        if not replies:
            raise InvalidArgument("a rule needs at least one reply")
        if times is not None and times < 1:
            raise InvalidArgument(f"times must be an integer >= 1 or None, got {times}")
        self._script.when(pattern, replies, times)
        return self

    def reset(self) -> None:
        """Clear the sequence, the rules and the recorded requests."""
        self._script.reset()
        self._record.reset()

    @property
    def requests(self) -> tuple[ModelRequest, ...]:
        """The requests so far, oldest first. It has at most the last `keep`."""
        return self._record.requests

    def wait_for_requests(self, n: int, timeout: float = 10.0) -> tuple[ModelRequest, ...]:
        """Wait until `n` requests have arrived, and return `requests`.

        Args:
            n: the number of requests since the start or the last `reset`.
            timeout: the seconds to wait.

        Raises:
            AskTimeout: fewer arrived within `timeout` seconds. The message lists their prompts.
        """
        return self._record.wait_for_requests(n, timeout)

    def wait_for_disconnect(self, timeout: float = 10.0) -> ModelRequest:
        """Wait until a client disconnects before its reply ends, and return its request.

        Each such request is returned once, oldest first, also if its client disconnected before
        this call.

        Raises:
            AskTimeout: no client disconnected within `timeout` seconds.
        """
        return self._record.wait_for_disconnect(timeout)


class _Handler:
    """Chooses replies from the script, and records requests. Only the server's thread uses it."""

    def __init__(
        self, script: Script, record: Record, server: Callable[[], LoopbackServer]
    ) -> None:
        self._script = script
        self._record = record
        self._server = server

    def choose(self, request: ModelRequest) -> Reply:
        """Record a request and choose its reply."""
        self._record.came(request)
        return self._script.choose(request)

    def client_left(self, request: ModelRequest) -> None:
        """Record that a client disconnected, unless the server itself closed the connection."""
        if not self._server().closing:
            self._record.went(request)

    def failed(self, error: BaseException) -> None:
        """Record an error of a function of the script, or of the server."""
        self._record.failed(error)


def _default(answer: Reply | Callable[[str], str] | None) -> Reply:
    if isinstance(answer, Reply):
        return answer
    if answer is None:
        return say(lambda request: f"echo: {request.prompt}")
    return say(lambda request: answer(request.prompt))

"""A scripted model: a loopback HTTP server that plays the LLM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from agy_actors.testing._model_app import make_app
from agy_actors.testing._model_configs import gemini_config, openai_config
from agy_actors.testing._model_record import Record
from agy_actors.testing._model_reply import Reply, say
from agy_actors.testing._model_script import Script
from agy_actors.testing._model_server import LoopbackServer

if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from types import TracebackType

    from google.antigravity import LocalAgentConfig, LocalOpenAIAgentConfig

    from agy_actors.testing._model_request import ModelRequest

__all__ = ["ScriptedModel"]


class ScriptedModel:
    """Plays the LLM, so that real agents run with no key and no network.

    It speaks the OpenAI and the Gemini protocol at once, on a port of the loopback
    interface, and records what it is asked. A request gets the next reply of the
    sequence (`then`), or that of the first rule that applies (`when`), or the default.

        with ScriptedModel() as model:
            model.then(http_error(503), say("It rains."))
            supervisor.create_agent(model.openai_config())

    Args:
        answer: the default: a reply, or a function from the prompt to the text that is
            said. Left out, it echoes the prompt: ``echo: <prompt>``.
        port: the port to listen on; 0 for a free one.
        keep: how many requests, the last ones, are kept in `requests`; `None` for all.

    Raises:
        ValueError: `keep` is not above 0.
    """

    def __init__(
        self,
        answer: Reply | Callable[[str], str] | None = None,
        *,
        port: int = 0,
        keep: int | None = None,
    ) -> None:
        if keep is not None and keep < 1:
            raise ValueError(f"at least one request is kept, got keep={keep}")
        self._script = Script(_default(answer))
        self._record = Record(keep)
        director = _Director(self._script, self._record, lambda: self._server)
        self._server = LoopbackServer(make_app(director), port)
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
        """Serve, until `close`. The ``with`` statement does both.

        Raises:
            OSError: the port is taken.
            RuntimeError: it was started before.
        """
        if self._started:
            raise RuntimeError("a scripted model can be started once; make another")
        self._server.start()
        self._started = True
        return self

    def close(self) -> None:
        """Stop serving. What is still streaming is cut off; a second call does nothing.

        Raises:
            BaseException: what a function in the script raised; several as a group.
        """
        self._server.close()
        failures = self._record.take_failures()
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise BaseExceptionGroup("functions in the model's script failed", failures)

    @property
    def base_url(self) -> str:
        """The root of the server's address, without a path.

        Raises:
            RuntimeError: it was not started.
        """
        if not self._started:
            raise RuntimeError("start the scripted model first, or use it in a with statement")
        return f"http://127.0.0.1:{self._server.port}"

    def openai_config(self, **overrides: Any) -> LocalOpenAIAgentConfig:
        """Configure a light agent (no tools of its own) that talks to this model."""
        return openai_config(self.base_url, overrides)

    def gemini_config(self, **overrides: Any) -> LocalAgentConfig:
        """Configure the same agent for the Gemini protocol."""
        return gemini_config(self.base_url, overrides)

    def then(self, *replies: Reply) -> Self:
        """Answer the next requests with these, one each, before any rule."""
        self._script.then(replies)
        return self

    def when(
        self,
        pattern: str | re.Pattern[str] | Callable[[ModelRequest], bool],
        *replies: Reply,
        times: int | None = None,
    ) -> Self:
        """Answer requests that match with these, in order; the last one repeats.

        Args:
            pattern: what to find in the prompt, or a function that tells.
            replies: the replies.
            times: how many requests the rule answers; `None` for all.

        Raises:
            ValueError: the rule could never answer.
        """
        if not replies:
            raise ValueError("a rule needs at least one reply")
        if times is not None and times < 1:
            raise ValueError(f"a rule answers at least one request, got times={times}")
        self._script.when(pattern, replies, times)
        return self

    def reset(self) -> None:
        """Forget the script and the requests."""
        self._script.reset()
        self._record.reset()

    @property
    def requests(self) -> tuple[ModelRequest, ...]:
        """The requests so far, oldest first; of very many, the last `keep`."""
        return self._record.requests

    def wait_for_requests(self, n: int, timeout: float = 10.0) -> tuple[ModelRequest, ...]:
        """Wait until there were `n` requests, and return all that are kept.

        Raises:
            TimeoutError: there were fewer in `timeout` seconds; it says which.
        """
        return self._record.wait_for_requests(n, timeout)

    def wait_for_disconnect(self, timeout: float = 10.0) -> ModelRequest:
        """Wait until a client went away before its answer ended.

        Each such request is returned once, the oldest first; one whose client left before
        this call is returned at once.

        Raises:
            TimeoutError: none did in `timeout` seconds.
        """
        return self._record.wait_for_disconnect(timeout)


class _Director:
    """Answers by the script, and keeps the record. Used on the server's thread only."""

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
        """Note that a client went away; not one that the server itself cut off."""
        if not self._server().closing:
            self._record.went(request)

    def failed(self, error: BaseException) -> None:
        """Note what went wrong in answering."""
        self._record.failed(error)


def _default(answer: Reply | Callable[[str], str] | None) -> Reply:
    if isinstance(answer, Reply):
        return answer
    if answer is None:
        return say(lambda request: f"echo: {request.prompt}")
    return say(lambda request: answer(request.prompt))

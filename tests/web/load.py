"""Users of a web application who ask one prompt after another, and what they got."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from tests.web.clients import ask, open_stream
from tests.web.servers import LONG_PATIENCE, wait_long

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agy_actors.testing import ScriptedModel

__all__ = ["Load", "prompts_of"]


def prompts_of(model: ScriptedModel, user: str) -> list[str]:
    """Return the prompts of a user's conversation, as the model got them with the last one."""
    own = [request for request in model.requests if request.prompt.startswith(f"{user}:")]
    return [text for role, text in own[-1].messages if role == "user"]


class Load:
    """Users, each on a thread, while its `with` block runs: every second one reads streams.

    The model has to echo the prompts. A user who gets a failure asks nothing more.
    """

    def __init__(self, port: int, users: Iterable[str]) -> None:
        self._port = port
        self._over = threading.Event()
        self.asked: dict[str, list[str]] = {user: [] for user in users}
        """The prompts of each user so far."""
        self.answered = 0
        self.failures: list[str] = []
        """Prompts without an answer, or with a wrong one, and what came instead."""
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._visit, args=(user, number % 2 == 1))
            for number, user in enumerate(self.asked)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask nothing more, and wait for the last answers."""
        self._over.set()
        for thread in self._threads:
            thread.join(LONG_PATIENCE)

    def _visit(self, user: str, streams: bool) -> None:
        prompts = self.asked[user]
        while not self._over.is_set():
            prompt = f"{user}: prompt {len(prompts)}"
            prompts.append(prompt)
            try:
                answer = self._read(user, prompt) if streams else ask(self._port, user, prompt)
            except OSError as error:
                answer = (0, repr(error))
            with self._lock:
                if answer == (200, f"echo: {prompt}"):
                    self.answered += 1
                else:
                    self.failures.append(f"{prompt}: {answer}")
                    return

    def _read(self, user: str, prompt: str) -> tuple[int, str]:
        with open_stream(self._port, user, prompt) as stream:
            *pieces, end = stream
        return stream.status, "".join(text for _, text in pieces) if end[0] == "end" else str(end)

    def wait_for_answers(self, more: int) -> None:
        """Wait for further answers, or for a failure."""
        wanted = self.answered + more
        wait_long(lambda: self.answered >= wanted or self.failures != [])

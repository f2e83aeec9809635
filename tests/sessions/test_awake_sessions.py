"""Which sessions with the real harness are awake, and what each is asked."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgentStartError,
    Cancel,
    Chat,
    Delete,
    Disconnect,
    GetHistory,
    GetStatistics,
    InvalidConfig,
    IsIdle,
    MailboxFull,
    Send,
    SessionSlept,
    SessionWoke,
    Supervisor,
    TurnCancelled,
    TurnTimeout,
    UnknownMessage,
    WaitForIdle,
)
from agy_actors._sdk.process import process_pool
from agy_actors.testing import ScriptedModel, call_tool, say
from agy_actors.testing.leak_check import EXECUTORS
from tests.agents.held_turns import Held
from tests.harnesses import PATIENCE, children, until
from tests.sessions.session_programs import (
    files_of,
    prompts_of,
    run,
    wait_until_asked,
)
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import Event, SessionRef, Sessions


@pytest.fixture
def held(model: ScriptedModel) -> Iterator[Held]:
    held = Held(model)
    yield held
    held.let_go()


@pytest.fixture
def users(tmp_path: Path, model: ScriptedModel) -> Iterator[Sessions]:
    with run(tmp_path, model) as users:
        yield users


# How many are awake.


def awake(users: Sessions) -> set[str]:
    return {key for key in users if users._storage.find_awake(key) is not None}


def test_the_least_recently_used_idle_session_falls_asleep_first(
    tmp_path: Path, model: ScriptedModel
) -> None:
    with run(tmp_path, model, max_awake=2) as users:
        users["ada"].ask("1")
        users["bob"].ask("2")
        users["ada"].ask("3")

        users["carl"].ask("4")

        assert awake(users) == {"ada", "carl"}
        assert files_of(tmp_path, "bob") == {".tar.xz"}
        assert users.statistics().awake == 2


def test_more_keys_than_may_be_awake_are_all_answered(tmp_path: Path, model: ScriptedModel) -> None:
    most = []
    with run(tmp_path, model, max_awake=2) as users:
        turns = [users[f"{n % 4}"].ask(f"turn {n}", block=False) for n in range(8)]
        while not all(turn.done() for turn in turns):
            most.append(users.statistics().awake)

        assert [turn.get(timeout=PATIENCE).text for turn in turns] == [
            f"echo: turn {n}" for n in range(8)
        ]
        assert max(most) == 2
        assert prompts_of(users["3"]) == ["turn 3", "turn 7"]


def test_turns_beyond_the_capacity_are_refused(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model, max_awake=1, capacity=2) as users:
        first = users["ada"].ask("hold", block=False)
        wait_until_asked(model, "hold")
        waiting = [users["ada"].ask("next", block=False), users["bob"].ask("other", block=False)]
        until(lambda: users.statistics().waiting == 2)

        with pytest.raises(MailboxFull, match="capacity"):
            users["carl"].ask("too many")
        with pytest.raises(MailboxFull, match="capacity"):
            users["carl"].stream("too many")
        with pytest.raises(MailboxFull, match="capacity"):
            users["ada"].tell(Chat("too many"))

        held.let_go()
        for turn in [first, *waiting]:
            turn.get(timeout=PATIENCE)
        users["carl"].ask("room")


def test_a_turn_that_waits_too_long_for_room_gets_an_error_with_the_key(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model, max_awake=1) as users:
        first = users["ada"].ask("hold", block=False)
        wait_until_asked(model, "hold")

        with pytest.raises(TurnTimeout, match=r"'bob' did not wake within 0.2 seconds"):
            users["bob"].ask(Chat("hi", timeout=0.2), timeout=PATIENCE)
        with pytest.raises(TurnTimeout, match="'bob'"):
            users.wake("bob", timeout=0.2)

        held.let_go()
        first.get(timeout=PATIENCE)
        assert users["bob"].ask("again").text == "echo: again"


@pytest.mark.new_processes
def test_sessions_that_sleep_leave_no_threads_descriptors_or_processes(
    tmp_path: Path, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used() -> tuple[int, int, int]:
        names = [thread.name for thread in threading.enumerate()]
        threads = [name for name in names if not name.startswith(EXECUTORS)]
        return len(threads), len(list(Path("/proc/self/fd").iterdir())), len(children())

    # Seconds until a process without a conversation ends.
    monkeypatch.setattr(process_pool, "IDLE_TIME", 0.05)

    count = 20
    slept = threading.Semaphore(0)

    def note(event: Event) -> None:
        if isinstance(event, SessionSlept):
            slept.release()

    with Supervisor.start(state_dir=tmp_path) as supervisor:
        supervisor.subscribe(note)
        users = supervisor.create_sessions(
            model.openai_config(), name="users", idle_timeout=0.2, max_awake=count
        )
        users["warm"].ask("up")
        assert slept.acquire(timeout=PATIENCE)
        until(lambda: not children())
        before = used()

        turns = [users[f"{n}"].ask("hi", block=False) for n in range(count)]
        for turn in turns:
            turn.get(timeout=PATIENCE)
        for _ in range(count):
            assert slept.acquire(timeout=PATIENCE)

        # A process ends a little after its last conversation.
        until(lambda: all(now <= then for now, then in zip(used(), before, strict=True)))
        assert users.statistics().awake == 0


def test_the_events_of_a_session_say_that_it_woke_and_slept(
    tmp_path: Path, model: ScriptedModel
) -> None:
    events: list[Event] = []
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        supervisor.subscribe(events.append)
        users = supervisor.create_sessions(model.openai_config(), name="users", idle_timeout=0.1)
        users["ada"].ask("hi")
        until(lambda: users.statistics().slept == 1)
        users.wake("ada")

    seen = [(type(e), e.key) for e in events if isinstance(e, SessionWoke | SessionSlept)]
    assert seen == [(SessionWoke, "ada"), (SessionSlept, "ada")] * 2


# What it is asked.


def is_asleep(users: Sessions, key: str) -> bool:
    return users._storage.find_awake(key) is None


@pytest.mark.parametrize("sleeps", quick([False, True], 1), ids=["awake", "asleep"])
def test_a_session_answers_questions_and_streams(
    users: Sessions, model: ScriptedModel, sleeps: bool
) -> None:
    ada = users["ada"]

    def prepare() -> SessionRef:
        if sleeps:
            users.sleep("ada")
        return ada

    ada.ask("first")
    assert prepare().ask(IsIdle(), timeout=PATIENCE)
    assert not prepare().ask(Cancel(), timeout=PATIENCE)
    prepare().ask(WaitForIdle(), timeout=PATIENCE)
    statistics = prepare().ask(GetStatistics(), timeout=PATIENCE)
    assert (statistics.name, statistics.turns, statistics.turns_waiting) == ("ada", 1, 0)
    history = prepare().ask(GetHistory(), timeout=PATIENCE)
    assert [step.content for step in history][-1] == "echo: first"
    assert "".join(prepare().stream("second")) == "echo: second"
    prepare().ask(Send("third"), timeout=PATIENCE)
    ada.ask(WaitForIdle(), timeout=PATIENCE)
    prepare().tell(Chat("fourth"))
    ada.ask(WaitForIdle(), timeout=PATIENCE)
    assert prompts_of(ada) == ["first", "second", "third", "fourth"]


@pytest.mark.parametrize("sleeps", [False, True], ids=["awake", "asleep"])
@pytest.mark.parametrize(
    "message", quick([Disconnect(), Delete()], 1), ids=["disconnect", "delete"]
)
def test_a_session_cannot_be_ended_behind_the_back_of_its_sessions(
    users: Sessions, sleeps: bool, message: Any
) -> None:
    users["ada"].ask("first")
    if sleeps:
        users.sleep("ada")

    for use in (users["ada"].ask, users["ada"].tell):
        with pytest.raises(UnknownMessage, match=r"sessions\.sleep.*sessions\.delete"):
            use(message)

    users["ada"].ask("second")
    assert prompts_of(users["ada"]) == ["first", "second"]


def test_questions_during_a_turn_and_its_cancellation(
    users: Sessions, model: ScriptedModel, held: Held
) -> None:
    turn = users["ada"].ask("hold", block=False)
    wait_until_asked(model, "hold")
    later = users["ada"].ask("later", block=False)
    until(lambda: users.statistics().waiting == 1)

    assert not users["ada"].ask(IsIdle(), timeout=PATIENCE)
    assert users["bob"].ask(IsIdle(), timeout=PATIENCE)
    assert users["ada"].ask(GetStatistics(), timeout=PATIENCE).turns_waiting == 1
    assert users["ada"].ask(Cancel(), timeout=PATIENCE)

    with pytest.raises(TurnCancelled):
        turn.get(timeout=PATIENCE)
    assert later.get(timeout=PATIENCE).text == "echo: later"


def test_wait_for_idle_waits_for_the_turns_before_it(
    users: Sessions, model: ScriptedModel, held: Held
) -> None:
    turns = [users["ada"].ask(prompt, block=False) for prompt in ("hold", "second", "third")]
    waiting = users["ada"].ask(WaitForIdle(), block=False)
    wait_until_asked(model, "hold")
    assert not waiting.done()

    held.let_go()

    waiting.get(timeout=PATIENCE)
    assert all(turn.done() for turn in turns)


def test_a_stream_of_a_sleeping_session_can_be_closed_early(
    users: Sessions, model: ScriptedModel
) -> None:
    model.when("count", say("one two three", gate=(gate := threading.Event())))
    users["ada"].ask("first")
    users.sleep("ada")

    with users["ada"].stream("count") as stream:
        assert next(iter(stream)) == "one "

    gate.set()
    assert users["ada"].ask("next", timeout=PATIENCE).text == "echo: next"


# Tools, hooks and configurations.


def test_tools_work_in_a_session_that_woke_again(tmp_path: Path, model: ScriptedModel) -> None:
    calls = []

    def book(city: str) -> str:
        """Book a trip.

        Args:
            city: where to.
        """
        calls.append(city)
        return f"booked {city}"

    with run(tmp_path, model, model.openai_config(tools=[book])) as users:
        for city in ("Rome", "Oslo"):
            model.then(call_tool("book", {"city": city}), say("done"))
            assert users["ada"].ask(f"go to {city}").text == "done"
            users.sleep("ada")

    assert calls == ["Rome", "Oslo"]


def test_a_function_makes_the_configuration_of_each_key(
    tmp_path: Path, model: ScriptedModel
) -> None:
    def configure(key: str) -> Any:
        if key == "broken":
            raise ValueError("no such user")
        if key == "nonsense":
            return "nonsense"
        if key == "wrong":
            return model.openai_config(conversation_id="c" * 32)
        return model.openai_config(model=f"model of {key}")

    with run(tmp_path, model, configure) as users:
        for key in ("ada", "bob"):
            users[key].ask("hi")
            assert model.requests[-1].model == f"model of {key}"

        for _ in range(2):
            with pytest.raises(AgentStartError, match=r"'broken'.*ValueError: no such user"):
                users["broken"].ask("hi", timeout=PATIENCE)
            with pytest.raises(AgentStartError, match=r"'nonsense'.*LocalAgentConfig.*str"):
                users["nonsense"].ask("hi", timeout=PATIENCE)
            with pytest.raises(AgentStartError, match=r"'wrong'.*conversation_id"):
                users["wrong"].ask("hi", timeout=PATIENCE)
        assert users["ada"].ask("still here").text == "echo: still here"
        assert list(users) == ["ada", "bob"]


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"max_awake": 0}, None),
        ({"max_awake": 1.5}, None),
        ({"capacity": 0}, None),
        ({"idle_timeout": -1}, None),
        ({"idle_timeout": float("nan")}, None),
        ({"keep_results": "a"}, None),
        ({"retry": 3}, None),
        ({}, "nonsense"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(model: ScriptedModel, options: Any, config: Any) -> None:
    name = next(iter(options), "configuration")
    with Supervisor.start() as supervisor:
        with pytest.raises(InvalidConfig, match=name):
            supervisor.create_sessions(config or model.openai_config(), name="u", **options)
        supervisor.create_sessions(model.openai_config(), name="u")

"""The lock and the file of a simulated conversation that several programs share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import AgentStartError, Chat, ConversationInUse
from agy_actors._sdk.conversation_lock import ConversationLock
from agy_actors._sdk.packed_conversation import PackedConversation
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors.testing import RandomSchedules, SimulatedAgent, Simulation, reply
from agy_actors.testing.simulation.simulated_agent import SimulatedSession
from tests.simulation.effort import times
from tests.simulation.shared_sessions import WatchedAgent, folder, program

if TYPE_CHECKING:
    from pathlib import Path

ID = conversation_id_of("ada")


def session(config: SimulatedAgent, save_dir: Path, *, shared: bool = True) -> SimulatedSession:
    packed = PackedConversation(ID, save_dir, None, dict, "session 'ada'")
    copy = config.model_copy(update={"conversation_id": ID, "save_dir": str(save_dir)})
    assert isinstance(copy, SimulatedAgent)
    return SimulatedSession(
        copy,
        start_timeout=1.0,
        on_death=lambda: None,
        on_step=lambda: None,
        lock=ConversationLock(save_dir, ID, "session 'ada'"),
        packed=packed if shared else None,
    )


def locks_in(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.lock")]


@pytest.mark.parametrize("how", ["close", "at once", "reap"])
def test_a_shared_conversation_is_open_in_one_session_at_a_time(how: str, tmp_path: Path) -> None:
    async def main() -> None:
        config = SimulatedAgent()
        first, second = session(config, tmp_path), session(config, tmp_path)
        await first.open()
        with pytest.raises(ConversationInUse):
            await second.open()

        if how == "reap":
            first.reap()
        else:
            await first.close(at_once=how == "at once")
        third = session(config, tmp_path)
        await third.open()

        await first.close()
        with pytest.raises(ConversationInUse):
            await session(config, tmp_path).open()
        await third.close()
        assert not locks_in(tmp_path)
        if how == "reap":
            with pytest.raises(AgentStartError):
                await first.open()

    asyncio.run(main())


@pytest.mark.parametrize("fails", ["crash", "cancelled", "too slow"])
def test_a_shared_conversation_is_free_after_a_start_that_failed(
    fails: str, tmp_path: Path
) -> None:
    async def main() -> None:
        config = SimulatedAgent(start=0.0 if fails == "crash" else 60.0)
        if fails == "crash":
            config.fail_starts(1)
        opening = asyncio.create_task(session(config, tmp_path).open())
        await asyncio.sleep(0)
        assert locks_in(tmp_path)
        if fails == "cancelled":
            opening.cancel()
        with pytest.raises((RuntimeError, TimeoutError, asyncio.CancelledError)):
            await opening
        assert not locks_in(tmp_path)

    asyncio.run(main())


def test_a_conversation_that_is_not_shared_needs_no_lock_and_no_file(tmp_path: Path) -> None:
    async def main() -> None:
        config = SimulatedAgent()
        both = [session(config, tmp_path, shared=False) for _ in range(2)]
        for one in both:
            await one.open()
        for one in both:
            await one.close()

    asyncio.run(main())
    assert not list(tmp_path.iterdir())


def test_a_shared_conversation_whose_file_was_removed_is_empty(tmp_path: Path) -> None:
    async def turn(config: SimulatedAgent) -> int:
        one = session(config, tmp_path)
        await one.open()
        before = len(one.history)
        await one.send("hello")
        while await one.next_step() is not None:
            pass
        await one.close()
        return before

    async def main() -> None:
        config = SimulatedAgent()
        assert [await turn(config) for _ in range(2)] == [0, 2]
        (tmp_path / f"{ID}.db").unlink()
        assert await turn(config) == 0

    asyncio.run(main())


def test_the_same_schedule_gives_the_same_steps_although_the_files_are_real() -> None:
    def scenario(sim: Simulation) -> None:
        config = WatchedAgent(lambda _: reply(after=1.0))
        with folder() as state_dir, program(state_dir) as one, program(state_dir) as two:
            sessions = [
                supervisor.create_sessions(config.in_program(n), "users", max_awake=1)
                for n, supervisor in enumerate((one, two))
            ]
            asked: list[Any] = [
                users[key].ask(Chat(f"{key}{n}"), block=False)
                for n in range(2)
                for key in "ab"
                for users in sessions
            ]
            sim.note("answers", [future.get().text for future in asked])
            sessions[0].delete("a")
            sim.note("lists", list(sessions[1]))

    for seed in range(times(10)):
        first = Simulation(RandomSchedules(seed).next(None))
        first.run(scenario)

        again = Simulation.replay(first.token)
        again.run(scenario)

        assert str(again.trace) == str(first.trace)

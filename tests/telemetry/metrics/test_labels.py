"""The attributes of metrics: their values stay few, and tell nothing about users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agy_actors import Supervisor
from agy_actors.telemetry.metrics.owner_names import OTHER, OwnerNames
from agy_actors.testing import SimulatedAgent, reply

if TYPE_CHECKING:
    from tests.telemetry.metrics.collected import Collected


def test_a_name_has_the_same_label_every_time() -> None:
    names = OwnerNames()

    assert [names.label(name) for name in ("ada", "bob", "ada")] == ["ada", "bob", "ada"]


@pytest.mark.parametrize("kind", ["pool", "sessions", "supervisor"])
def test_generated_names_have_a_common_label(kind: str) -> None:
    names = OwnerNames()

    assert {names.label(f"{kind}-{number}") for number in range(1000)} == {kind}
    assert names.label(f"my-{kind}-1") == f"my-{kind}-1"


def test_at_most_a_hundred_names_have_a_label_of_their_own() -> None:
    names = OwnerNames()
    labels = [names.label(f"tenant {number}") for number in range(10_000)]

    assert set(labels[100:]) == {OTHER}
    assert labels[:100] == [names.label(f"tenant {number}") for number in range(100)]
    assert names.label("pool-1") == "pool"


@pytest.mark.parametrize("keys", [100, pytest.param(1_000, marks=pytest.mark.slow)])
def test_the_number_of_attributes_does_not_grow_with_sessions(
    collected: Collected, keys: int
) -> None:
    with Supervisor.start(name="root") as supervisor:
        collected.observe(supervisor)
        users = supervisor.create_sessions(
            SimulatedAgent(lambda _: reply("secret answer")), "users", max_awake=4
        )
        users["secret key 0"].ask("secret prompt")
        before = set(collected.attributes())
        for number in range(1, keys):
            users[f"secret key {number}"].ask("secret prompt")

        after = set(collected.attributes())
        assert after == before
        assert not [value for _, _, value in after if "secret" in str(value)]
        ids = {info.conversation_id for key in list(users)[:10] if (info := users.info(key))}
        assert not ids & {value for _, _, value in after}
        assert collected.total("agy_actors.sessions") == keys


def test_the_number_of_attributes_does_not_grow_with_pools_and_supervisors(
    collected: Collected,
) -> None:
    with Supervisor.start(name="root") as supervisor:
        collected.observe(supervisor)
        found = []
        for _ in range(5):
            with (
                supervisor.create_supervisor() as below,
                below.create_pool(SimulatedAgent(lambda _: reply()), 1) as pool,
            ):
                pool.ask("one")
                found.append(set(collected.attributes()))

        assert found[1:] == found[:-1]

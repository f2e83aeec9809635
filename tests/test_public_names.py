"""Objects that users get have only names for users, each with documentation."""

from __future__ import annotations

import ast
import asyncio
import concurrent.futures
import functools
import importlib.metadata
import inspect
import itertools
import pickle
import pkgutil
import re
from pathlib import Path
from typing import Any

import pykka
import pytest

import agy_actors
import agy_actors.testing
from agy_actors import (
    ActorDeadError,
    ActorPoolRef,
    AgentDeadError,
    AgentRef,
    AgyActorsError,
    AskTimeout,
    AsyncioActor,
    AsyncioActorRef,
    ChatStream,
    HumanReply,
    InvalidArgument,
    PoolRef,
    Receipt,
    ReplyCancelled,
    ReplyFuture,
    SessionRef,
    Sessions,
    Subscription,
    Supervisor,
    SupervisorRef,
    Topic,
)
from agy_actors._actors.mailbox import Mailbox
from agy_actors._agents.agent_actor import AgentActor
from agy_actors._agents.agent_pool import Pool
from agy_actors._agents.chat_stream import StreamCursor
from agy_actors._supervision.owner_ref import OwnerRef
from agy_actors.testing import Simulation

PATIENCE = 10.0

IN_HAND: dict[type, tuple[type, str]] = {
    ReplyFuture: (
        pykka.Future,
        """add_done_callback cancel cancelled done message metadata remove_done_callback
        to_concurrent""",
    ),
    HumanReply: (ReplyFuture, ""),
    AsyncioActorRef: (pykka.ActorRef, "tell_later"),
    AgentRef: (AsyncioActorRef, "as_tool name stream"),
    OwnerRef: (AsyncioActorRef, "name shutdown subscribe"),
    SupervisorRef: (
        OwnerRef,
        """actors children create_actor create_actor_pool create_agent create_pool create_sessions
        create_supervisor get_or_create_agent load pace pools sessions shutdown_agent statistics
        supervisors topic""",
    ),
    ActorPoolRef: (OwnerRef, "members resize routing statistics"),
    Topic: (object, "dropped name publish subscribe unsubscribe"),
    PoolRef: (
        OwnerRef,
        "as_completed as_tool broadcast map members resize routing statistics stream",
    ),
    Sessions: (
        OwnerRef,
        "delete info receipt receipts sleep statistics submit wake",
    ),
    SessionRef: (object, "ask key stream tell"),
    Receipt: (object, "attempts cancel done id key result state"),
    ChatStream: (
        object,
        "aclose cancel close done events future result thoughts tool_calls",
    ),
    StreamCursor: (object, "aclose close"),
    Subscription: (object, "cancel dropped end"),
    AsyncioActor: (
        pykka.Actor,
        """caller_name cancel_timer dead_error mailbox_capacity on_dead_letter set_receive_timeout
        start_timer stop_grace use_daemon_thread""",
    ),
}
"""The public names of what users hold, beyond those of a base class."""


@pytest.mark.parametrize("kind", IN_HAND, ids=lambda kind: kind.__name__)
def test_a_public_object_has_only_public_names_for_users(kind: type) -> None:
    base, names = IN_HAND[kind]

    found = public_names(kind) - public_names(base)

    assert found == set(names.split()), sorted(found)


def public_names(kind: type) -> set[str]:
    annotated = {name for base in kind.__mro__ for name in vars(base).get("__annotations__", {})}
    return {name for name in {*dir(kind), *annotated} if not name.startswith("_")}


def public_classes() -> list[type]:
    kinds = [
        thing
        for module in (agy_actors, agy_actors.testing)
        for name in module.__all__
        if inspect.isclass(thing := getattr(module, name))
    ]
    return [*kinds, StreamCursor, OwnerRef]


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_each_public_name_of_a_class_is_documented(kind: type) -> None:
    bare = [name for name in sorted(public_names(kind)) if not is_documented(kind, name)]

    assert bare == []


def is_documented(kind: type, name: str) -> bool:
    """Whether our definition of a name, or the one that it overrides, is documented."""
    bases = [base for base in kind.__mro__ if name in vars(base) or name in own_names(base)]
    ours = [base for base in bases if base.__module__.startswith("agy_actors")]
    if not ours:
        return True  # Of pykka, pydantic or Python.
    return len(bases) > len(ours) or any(
        inspect.getdoc(vars(base).get(name))
        if inspect.isroutine(vars(base).get(name)) or isinstance(vars(base).get(name), property)
        else name in own_names(base) and own_names(base)[name]
        for base in ours
    )


def own_names(kind: type) -> dict[str, bool]:
    """Return the attributes that a class declares, and whether each is documented."""
    if not kind.__module__.startswith("agy_actors"):
        return {}
    return attributes().get(kind.__qualname__, {})


@functools.cache
def attributes() -> dict[str, dict[str, bool]]:
    """Read from the source which attributes have a text below, or an entry under Args."""
    found: dict[str, dict[str, bool]] = {}
    for node in class_definitions():
        found.setdefault(node.name, {}).update(_attributes_of(node))
    return found


@functools.cache
def class_definitions() -> list[ast.ClassDef]:
    """Read the classes of the package from its source."""
    paths = Path(agy_actors.__file__).parent.rglob("*.py")
    trees = [ast.parse(path.read_text()) for path in paths]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


_UNIT = re.compile(r"\bseconds?\b|How many", re.IGNORECASE)


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_each_public_field_with_a_time_names_its_unit(kind: type) -> None:
    bare = [name for name, text in float_fields(kind).items() if not _UNIT.search(text)]

    assert bare == []


def float_fields(kind: type) -> dict[str, str]:
    """Return the texts below the public fields of a class whose type contains `float`."""
    bases = {base.__name__ for base in kind.__mro__ if base.__module__.startswith("agy_actors")}
    return {
        ast.unparse(part.target): ast.unparse(after)
        for node in class_definitions()
        if node.name in bases
        for part, after in itertools.pairwise(node.body)
        if isinstance(part, ast.AnnAssign)
        and "float" in ast.unparse(part.annotation)
        and not ast.unparse(part.target).startswith("_")
    }


def _attributes_of(node: ast.ClassDef) -> dict[str, bool]:
    found: dict[str, bool] = {}
    arguments = ast.get_docstring(node) or ""
    bodies = [node.body]
    bodies += [
        part.body
        for part in node.body
        if isinstance(part, ast.FunctionDef) and part.name == "__init__"
    ]
    for body in bodies:
        for part, after in zip(body, [*body[1:], None], strict=True):
            target: ast.expr | None = part.target if isinstance(part, ast.AnnAssign) else None
            if isinstance(part, ast.Assign):
                target = part.targets[0]
            name = getattr(target, "id", None) or getattr(target, "attr", None)
            if name is not None:
                text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                found[name] = found.get(name, False) or text or f"    {name}:" in arguments
    return found


def test_supervisors_have_no_public_name_for_internal_use() -> None:
    orders = {"report", "report_soon", "halt", "resume", "end", "be_given_up"}

    assert not orders & public_names(Supervisor)


def test_an_actor_has_the_public_attributes_of_a_pykka_actor_and_no_others() -> None:
    actors = pykka.ThreadingActor(), AsyncioActor()

    pykkas, own = [{name for name in vars(actor) if name[0] != "_"} for actor in actors]
    assert own == pykkas


# Objects that users do not create.


@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        (Supervisor, r"Supervisor\.start\(\.\.\.\)"),
        (SupervisorRef, r"Supervisor\.start\(\.\.\.\)"),
        (AgentRef, r"supervisor\.create_agent\(\.\.\.\)"),
        (AgentActor, r"supervisor\.create_agent\(\.\.\.\)"),
        (PoolRef, r"supervisor\.create_pool\(\.\.\.\)"),
        (Pool, r"supervisor\.create_pool\(\.\.\.\)"),
        (AsyncioActorRef, "`start` of its class"),
        (ChatStream, r"agent\.stream\(\.\.\.\)"),
        (StreamCursor, "iterate a `ChatStream`"),
        (Subscription, r"supervisor\.subscribe\(\.\.\.\)"),
    ],
    ids=lambda part: part.__name__ if inspect.isclass(part) else "",
)
@pytest.mark.parametrize(
    ("arguments", "options"),
    [((), {}), (("poet",), {}), ((print, 3), {}), ((), {"name": "poet", "max_restarts": 3})],
    ids=["nothing", "a name", "a function", "by name"],
)
def test_a_class_that_users_do_not_create_says_what_to_call(
    kind: Any, instead: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgument, match=instead) as caught:
        kind(*arguments, **options)

    assert str(caught.value).startswith(kind.__name__)
    assert isinstance(caught.value, TypeError)


def test_futures_may_be_created() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    future.set(3)
    late: HumanReply[bool] = HumanReply()
    late.set(True)

    assert future.get() == 3
    assert late.get() is True


# Errors.

NO_ERRORS = {"_FarEnoughError", "SimulationAborted"}
"""They end a simulation or a fiber; a user's `except Exception` must not catch them."""


def modules() -> list[Any]:
    names = [
        info.name
        for info in pkgutil.walk_packages(agy_actors.__path__, "agy_actors.")
        if not info.name.endswith(("__main__", ".local_model_server", "testing.model"))  # Programs.
    ]
    return [agy_actors, *(importlib.import_module(name) for name in names)]


def test_every_error_of_the_package_has_one_base_class() -> None:
    raised = {
        thing
        for module in modules()
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and issubclass(thing, BaseException)
        and thing.__module__.startswith("agy_actors")
    }

    assert len(raised) > 30
    for error in raised:
        if error.__name__ in NO_ERRORS:
            assert not issubclass(error, Exception)
        else:
            assert issubclass(error, AgyActorsError), error


class Echo(AsyncioActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return message


def test_a_dead_plain_actors_error_is_ours_and_pykkas() -> None:
    ref = Echo.start()
    ref.stop(timeout=PATIENCE)
    future = ref.ask("anybody?", block=False)

    for use in (
        lambda: ref.ask("anybody?"),
        lambda: ref.tell("anybody?"),
        future.get,
    ):
        with pytest.raises(ActorDeadError, match="not found") as caught:
            use()
        assert isinstance(caught.value, AgyActorsError)
        assert isinstance(caught.value, pykka.ActorDeadError)
        assert type(pickle.loads(pickle.dumps(caught.value))) is ActorDeadError


def test_a_dead_agents_error_is_a_dead_actors() -> None:
    assert issubclass(AgentDeadError, ActorDeadError)


def test_an_ask_timeout_is_an_error_of_ours_pykka_and_python() -> None:
    ref = Sleeper.start()

    for use in (
        lambda: ref.ask("wake up", timeout=0.01),
        lambda: ref.ask("wake up", block=False).get(timeout=0.01),
        lambda: list(agy_actors.as_completed([ref.ask("wake up", block=False)], timeout=0.01)),
        lambda: ref.stop(timeout=0.01),
    ):
        with pytest.raises(AskTimeout) as caught:
            use()
        assert isinstance(caught.value, AgyActorsError)
        assert isinstance(caught.value, pykka.Timeout)
        assert isinstance(caught.value, TimeoutError)
    ref.stop(now=True, timeout=PATIENCE)


class Sleeper(AsyncioActor):
    use_daemon_thread = True

    async def on_receive(self, message: Any) -> Any:
        await asyncio.sleep(PATIENCE)
        return message


def test_a_cancelled_replys_error_is_ours_and_pythons() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    future.cancel()

    with pytest.raises(ReplyCancelled, match="abandoned") as caught:
        future.get()

    assert isinstance(caught.value, AgyActorsError)
    assert isinstance(caught.value, concurrent.futures.CancelledError)
    assert type(pickle.loads(pickle.dumps(caught.value))) is ReplyCancelled


def test_set_exception_without_an_exception_is_an_invalid_argument() -> None:
    future: ReplyFuture[int] = ReplyFuture()

    with pytest.raises(InvalidArgument, match="no exception was given"):
        future.set_exception()

    future.cancel()


def test_a_mailbox_capacity_of_zero_is_an_invalid_argument() -> None:
    with pytest.raises(InvalidArgument, match="capacity"):
        Mailbox(0)


def test_the_testing_kit_raises_our_errors() -> None:
    simulation = Simulation()
    simulation.run(lambda _: None)

    with pytest.raises(AgyActorsError, match="runs once"):
        simulation.run(lambda _: None)


def test_the_version_is_the_distributions() -> None:
    assert agy_actors.__version__ == importlib.metadata.version("agy-actors")

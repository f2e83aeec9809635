"""A store of requests behaves as a simple model does, whatever is called in any order."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from agy_actors import Chat, TurnError
from agy_actors._sessions.request_state import RequestState
from agy_actors._sessions.request_store import RequestStore
from tests.sessions.request_workers import reply

QUEUED, RUNNING, DONE, FAILED, CANCELLED = RequestState
ENDS = (DONE, FAILED, CANCELLED)
STORES = st.integers(0, 1)


@dataclasses.dataclass
class Expected:
    """A request of the model."""

    id: str
    key: str
    number: int
    state: RequestState = QUEUED
    owner: RequestStore | None = None
    attempts: int = 0
    interrupted: bool = False
    history_length: int | None = None


class Requests(RuleBasedStateMachine):
    """Two stores on a folder, either of which may be closed and opened again."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stores = [RequestStore(Path(self.folder.name)) for _ in range(2)]
        self.closed: list[RequestStore] = []
        self.expected: dict[str, Expected] = {}
        self.accepted = 0

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    def owned(self, name: str, store: RequestStore) -> Expected | None:
        request = self.expected.get(name)
        return request if request is not None and request.owner is store else None

    def end(self, request: Expected, state: RequestState) -> None:
        request.state, request.owner, request.interrupted = state, None, False

    @rule(target=ids, store=STORES, key=st.sampled_from("abc"), number=st.integers(0, 9))
    def submit(self, store: int, key: str, number: int) -> str:
        name = f"{key}{number}"
        saved = self.stores[store].submit(name, key, Chat(f"prompt {name}"))
        if name not in self.expected:
            self.accepted += 1
            self.expected[name] = Expected(name, key, self.accepted)
        assert saved.number == self.expected[name].number
        return name

    @rule(store=STORES, limit=st.integers(0, 3), skip=st.sets(st.sampled_from("abc")))
    def claim(self, store: int, limit: int, skip: set[str]) -> None:
        first: dict[str, Expected] = {}
        for request in self.expected.values():
            if request.state not in ENDS:
                first.setdefault(request.key, request)
        wanted = [r for r in first.values() if r.state is QUEUED and r.key not in skip]
        wanted = sorted(wanted, key=lambda request: request.number)[:limit]

        claimed = self.stores[store].claim(limit, skip)

        assert [request.id for request in claimed] == [request.id for request in wanted]
        for request in wanted:
            request.state, request.owner = RUNNING, self.stores[store]

    @rule(store=STORES, name=ids, length=st.integers(0, 9))
    def note_attempt(self, store: int, name: str, length: int) -> None:
        request = self.owned(name, self.stores[store])

        assert self.stores[store].note_attempt(name, length) is (request is not None)
        if request is not None:
            request.attempts += 1
            request.history_length = length

    @rule(store=STORES, name=ids, failed=st.booleans())
    def finish(self, store: int, name: str, failed: bool) -> None:
        request = self.owned(name, self.stores[store])
        how = (None, TurnError(name)) if failed else (reply(name), None)

        assert self.stores[store].finish(name, *how) is (request is not None)
        if request is not None:
            self.end(request, FAILED if failed else DONE)

    @rule(store=STORES, name=ids)
    def put_back(self, store: int, name: str) -> None:
        request = self.owned(name, self.stores[store])

        assert self.stores[store].put_back(name) is (request is not None)
        if request is not None:
            request.state, request.owner = QUEUED, None

    @rule(store=STORES, name=ids)
    def cancel(self, store: int, name: str) -> None:
        request = self.expected.get(name)
        may_cancel = request is not None and request.state is QUEUED

        assert self.stores[store].cancel(name) is may_cancel
        if request is not None and may_cancel:
            self.end(request, CANCELLED)

    @rule(store=STORES)
    def open_again(self, store: int) -> None:
        self.closed.append(self.stores[store])
        self.stores[store].close()
        self.stores[store] = RequestStore(Path(self.folder.name))

    @rule(store=STORES)
    def take_over(self, store: int) -> None:
        lost = [request for request in self.expected.values() if request.owner in self.closed]

        assert self.stores[store].take_over() == len(lost)
        for request in lost:
            request.state, request.owner, request.interrupted = QUEUED, None, True

    @rule(store=STORES)
    def forget(self, store: int) -> None:
        ended = [name for name, request in self.expected.items() if request.state in ENDS]

        assert self.stores[store].forget(float("inf")) == len(ended)
        for name in ended:
            del self.expected[name]

    @invariant()
    def the_stores_agree_with_the_model(self) -> None:
        for store in self.stores:
            found = [
                (r.id, r.key, r.number, r.state, r.attempts, r.interrupted, r.history_length)
                for r in store.list()
            ]
            assert found == [
                (r.id, r.key, r.number, r.state, r.attempts, r.interrupted, r.history_length)
                for r in self.expected.values()
            ]

    @invariant()
    def each_state_has_its_outcome(self) -> None:
        for request in self.stores[0].list():
            assert request.reply == (reply(request.id) if request.state is DONE else None)
            assert (request.error is not None) is (request.state is FAILED)
            assert (request.finished is not None) is (request.state in ENDS)


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=15, stateful_step_count=40)

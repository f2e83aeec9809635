"""Soak runs of sessions on the real harness.

    python -m tests.soak.sessions zipf     [--keys 10000] [--minutes 5]   # one program
    python -m tests.soak.sessions programs [--keys 200] [--minutes 3]     # four, with kills
    python -m tests.soak.sessions scale    [--keys 100000] [--real 2000]  # memory and disk
    python -m tests.soak.sessions requests [--requests 1000] [--kills 20] # durable requests

Each prints its counts and measurements, and exits with 1 if anything was lost, mixed up, repeated
or out of order.
"""

from __future__ import annotations

import bisect
import gc
import itertools
import random
import statistics
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psutil
import typer
from google.antigravity.types import StepSource

from agy_actors import Chat, GetHistory, Supervisor
from agy_actors.testing import SimulatedAgent
from benchmarks._failures import Failures, print_times
from benchmarks._model import serve
from tests.soak.session_client import Program, ProgramDied

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import AgentConfig

    from benchmarks._model import Model

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_SEED = 17
_HANDOVERS = 30
_ASKERS = 16


class _Zipf:
    """Draws numbers below `count`, the n-th with a weight of 1/n."""

    def __init__(self, count: int, seed: int) -> None:
        self._sums = list(itertools.accumulate(1 / (n + 1) for n in range(count)))
        self._random = random.Random(seed)

    def draw(self) -> int:
        return bisect.bisect_left(self._sums, self._random.random() * self._sums[-1])


def _run_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@app.command()
def zipf(
    keys: Annotated[int, typer.Option(min=1)] = 10_000,
    minutes: Annotated[float, typer.Option(min=0.05)] = 5.0,
    threads: Annotated[int, typer.Option(min=1)] = 32,
    max_awake: Annotated[int, typer.Option(min=1)] = 64,
) -> None:
    """Ask Zipf-distributed keys from many threads; every answer must carry its own nonce."""
    failures = Failures()
    awake: list[float] = []
    woken: list[float] = []
    with (
        serve() as model,
        tempfile.TemporaryDirectory() as folder,
        Supervisor.start(state_dir=folder) as supervisor,
    ):
        users = supervisor.create_sessions(model.config(), name="users", max_awake=max_awake)
        end = time.monotonic() + 60 * minutes

        def ask(thread: int) -> None:
            draws = _Zipf(keys, _SEED + thread)
            for number in itertools.count():
                if time.monotonic() >= end:
                    return
                key, nonce = f"user-{draws.draw()}", f"nonce-{thread}-{number}"
                was_awake = users._storage.find_awake(key) is not None
                begun = time.perf_counter()
                try:
                    text = users[key].ask(Chat(f"{key} {nonce}", timeout=120)).text
                except Exception as error:  # noqa: BLE001 (it is counted)
                    failures.add(f"{type(error).__name__}: {error}")
                    continue
                (awake if was_awake else woken).append(time.perf_counter() - begun)
                if f"{key} {nonce}" not in text:
                    failures.add(f"{key} {nonce} was answered by {text!r}")

        _run_threads(threads, ask)
        print(users.statistics())
        # Idle now: what waking costs without the other threads.
        quiet_awake: list[float] = []
        quiet_woken: list[float] = []
        for number in range(_HANDOVERS):
            key = f"user-{number}"
            users.sleep(key)
            for times in (quiet_woken, quiet_awake):
                begun = time.perf_counter()
                users[key].ask("quiet")
                times.append(time.perf_counter() - begun)
    print_times("found awake", awake)
    print_times("woken", woken)
    print_times("found awake, one at a time", quiet_awake)
    print_times("woken, one at a time", quiet_woken)
    print(f"median ratio {statistics.median(woken) / statistics.median(awake):.2f}")
    failures.finish()


@app.command()
def scale(
    keys: Annotated[int, typer.Option(min=1)] = 100_000,
    real: Annotated[int, typer.Option(min=1)] = 2_000,
) -> None:
    """Use many keys once, and measure what they cost while they sleep."""
    failures = Failures()
    with tempfile.TemporaryDirectory() as name, serve() as model:
        for kind, config, number in (
            ("simulated", SimulatedAgent(), keys),
            ("real", model.config(), real),
        ):
            _measure_scale(Path(name, kind), kind, config, number, failures)
    failures.finish()


def _measure_scale(
    folder: Path, kind: str, config: AgentConfig, number: int, failures: Failures
) -> None:
    process = psutil.Process()
    with Supervisor.start(state_dir=folder) as supervisor:
        users = supervisor.create_sessions(config, name="users", max_awake=16)
        users["first"].ask("one")
        users.sleep("first")
        gc.collect()
        before, threads, files = process.memory_info().rss, process.num_threads(), process.num_fds()

        def use(thread: int) -> None:
            for n in range(thread, number, 16):
                for turn in range(5 if kind == "real" else 1):
                    text = users[f"user-{n}"].ask(f"{n} {turn}").text
                    if f"{n} {turn}" not in text:
                        failures.add(f"user-{n} was answered by {text!r}")
                if isinstance(config, SimulatedAgent) and n % 50 == 0:
                    # The harness would have these on the disk.
                    config._state.conversations.clear()
                    config._state.requests.clear()

        _run_threads(16, use)
        awake = users.statistics().awake
        gc.collect()
        more = process.memory_info().rss - before
        print(
            f"{kind}: {number} keys used, {awake} awake: {more / 1e6:.1f} MB more memory,"
            f" {process.num_threads() - threads} more threads, {process.num_fds() - files} more"
            " descriptors"
        )
    if kind == "real":
        blocks = sum(512 * path.lstat().st_blocks for path in folder.rglob("*"))
        print(f"{kind}: {blocks / number / 1000:.1f} kB on the disk for each")
    begun = time.perf_counter()
    with Supervisor.start(state_dir=folder) as supervisor:
        users = supervisor.create_sessions(config, name="users")
        count = len(users)
        print(f"{kind}: {count} keys listed {time.perf_counter() - begun:.3f} s after the start")
        if count != number + 1:
            failures.add(f"{count} keys are listed")


class _Programs:
    """Several programs that share a folder, of which one is killed now and then."""

    def __init__(self, folder: Path, base_url: str, count: int) -> None:
        self._folder = folder
        self._base_url = base_url
        self.running = [self._start() for _ in range(count)]
        self.kills = 0
        self.lost_asks = 0
        self.answered: dict[str, list[str]] = defaultdict(list)

    def _start(self) -> Program:
        return _started(Program(self._folder, self._base_url, max_awake=32))

    def ask(self, thread: int, keys: int, end: float, failures: Failures) -> None:
        """Ask random keys of random programs. No other thread asks these keys."""
        own = random.Random(_SEED + 1 + thread)
        for number in itertools.count():
            if time.monotonic() >= end:
                return
            key = f"user-{own.randrange(thread, keys, _ASKERS)}"
            nonce = f"nonce-{thread}-{number}"
            program = own.choice(self.running)
            try:
                text = program.send(do="ask", key=key, prompt=nonce).result(timeout=120)
            except ProgramDied:
                self.lost_asks += 1
                continue
            except Exception as error:  # noqa: BLE001 (it is counted)
                failures.add(f"{type(error).__name__}: {error}")
                continue
            if nonce not in text:
                failures.add(f"{nonce} was answered by {text!r}")
            self.answered[key].append(nonce)

    def kill_one(self, draws: random.Random) -> None:
        """Kill a program, and start another in its place."""
        victim = draws.randrange(len(self.running))
        self.running[victim].kill()
        self.running[victim] = self._start()
        self.kills += 1

    def check(self, failures: Failures) -> None:
        """Check that each conversation contains every answered prompt once, in order."""
        for key, nonces in self.answered.items():
            prompts = self.running[0].send(do="history", key=key).result(timeout=120)
            counts = Counter(prompts)
            for nonce in nonces:
                if counts[nonce] != 1:
                    failures.add(f"{key} has {nonce} {counts[nonce]} times")
            if [prompt for prompt in prompts if prompt in set(nonces)] != nonces:
                failures.add(f"{key} has its prompts in another order")


def _started(program: Program) -> Program:
    program.ready.result(timeout=60)
    return program


@app.command()
def programs(
    keys: Annotated[int, typer.Option(min=_ASKERS)] = 200,
    minutes: Annotated[float, typer.Option(min=0.1)] = 3.0,
    count: Annotated[int, typer.Option(min=2)] = 4,
) -> None:
    """Ask random keys in several programs that share a folder; kill one every 10 seconds."""
    failures = Failures()
    draws = random.Random(_SEED)
    with serve() as model, tempfile.TemporaryDirectory() as name:
        group = _Programs(Path(name), model.base_url, count)
        handovers = _time_handovers(group.running)
        end = time.monotonic() + 60 * minutes
        asking = threading.Thread(
            target=_run_threads,
            args=(_ASKERS, lambda thread: group.ask(thread, keys, end, failures)),
        )
        asking.start()
        while asking.is_alive():
            asking.join(timeout=10)
            if asking.is_alive() and time.monotonic() < end:
                group.kill_one(draws)
        group.check(failures)
        for program in group.running:
            program.stop()
    total = sum(map(len, group.answered.values()))
    print(f"{total} answers; {group.kills} programs killed, and {group.lost_asks} asks with them")
    print_times("handover of an idle conversation", handovers)
    failures.finish()


def _time_handovers(running: list[Program]) -> list[float]:
    times = []
    for number in range(_HANDOVERS):
        begun = time.perf_counter()
        program = running[number % 2]
        program.send(do="ask", key="moving", prompt=f"move-{number}").result(timeout=60)
        times.append(time.perf_counter() - begun)
    return times[1:]


@app.command()
def requests(
    number: Annotated[int, typer.Option("--requests", min=1)] = 1000,
    kills: Annotated[int, typer.Option(min=0)] = 20,
    keys: Annotated[int, typer.Option(min=1)] = 50,
) -> None:
    """Submit requests while the program is killed and started again."""
    failures = Failures()
    draws = random.Random(_SEED)
    submitted: dict[str, list[str]] = defaultdict(list)
    with serve() as model, tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def start() -> Program:
            return _started(Program(folder, model.base_url, max_awake=16))

        program = start()
        kill_at = sorted(draws.sample(range(1, number), kills))
        for n in range(number):
            key, request_id = f"user-{draws.randrange(keys)}", f"job-{n}"
            order: dict[str, Any] = {"key": key, "prompt": f"prompt-{n}", "id": request_id}
            while True:
                try:
                    program.send(do="submit", **order).result(timeout=60)
                    break
                except ProgramDied:  # It may be on the disk or not: the same id again.
                    program = start()
            submitted[key].append(f"prompt-{n}")
            if kill_at and n >= kill_at[0]:
                kill_at.pop(0)
                program.kill()
                program = start()
        program.stop()
        asked = _finish(folder, model, number, failures)
        for key, prompts in submitted.items():
            _check_order(key, prompts, asked[key], failures)
    again = sum(count - 1 for seen in asked.values() for count in Counter(seen).values())
    print(f"{number} requests, {kills} kills, {again} prompts in a conversation more than once")
    failures.finish()


def _finish(folder: Path, model: Model, number: int, failures: Failures) -> dict[str, list[str]]:
    """Wait for all results in a last run, and return the prompts of each conversation."""
    asked: dict[str, list[str]] = defaultdict(list)
    with Supervisor.start(state_dir=folder) as supervisor:
        users = supervisor.create_sessions(model.config(), name="users", max_awake=16)
        receipts = list(users.receipts())
        ids = Counter(receipt.id for receipt in receipts)
        if len(ids) != number or len(receipts) != number:
            failures.add(f"{len(receipts)} receipts of {len(ids)} ids for {number} requests")
        attempts: Counter[int] = Counter()
        for receipt in receipts:
            n = receipt.id.removeprefix("job-")
            try:
                text = receipt.result(timeout=300).text
            except Exception as error:  # noqa: BLE001 (it is counted)
                failures.add(f"{receipt.id}: {type(error).__name__}: {error}")
                continue
            if f"prompt-{n}" not in text.split():
                failures.add(f"{receipt.id} was answered by {text!r}")
            attempts[receipt.attempts] += 1
        print(f"attempts of the requests: {dict(sorted(attempts.items()))}")
        for key in users:
            steps = users[key].ask(GetHistory())
            asked[key] = [step.content for step in steps if step.source == StepSource.USER]
    return asked


def _check_order(key: str, prompts: list[str], asked: list[str], failures: Failures) -> None:
    """Check that a conversation has all prompts, each first asked in the order of submission."""
    if list(dict.fromkeys(asked)) != prompts:
        failures.add(f"{key} was asked {asked} for {prompts}")


if __name__ == "__main__":
    app()

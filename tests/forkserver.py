"""Forks processes for `tests.programs`, each of which runs a Python program.

Most of the time of a short program passes while it imports the SDK and other packages. This server
imports them once; a program that it forks has them already. A program imports `agy_actors` itself.

A forked process has its own streams, environment, arguments, folder, warning filters and signal
handlers, and ends as an interpreter does: it waits for its threads, calls what `atexit` knows, and
ends with the exit code of the program. What Python reads from its environment or its options
before it runs any Python code (such as `PYTHONHASHSEED` or `-O`) is that of the server.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import importlib
import io
import json
import linecache
import os
import runpy
import select
import signal
import socket
import sys
import warnings
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FOLLOWED_VARIABLES", "main", "receive", "send"]

PACKAGES = (
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "dotenv",
    "google.antigravity",
    "google.antigravity.connections.local.interactions_connection",
    "google.antigravity.connections.local.local_openai_connection",
    "http.server",
    "jsonschema",
    "multiprocessing.connection",
    "multiprocessing.context",
    "psutil",
    "pykka",
    "starlette.applications",
    "starlette.responses",
    "starlette.routing",
    "tenacity",
    "typer",
    "uvicorn",
    "uvicorn.protocols.http.h11_impl",
    "rich.console",
    "rich.live",
    "rich.progress",
    "rich.table",
)
"""What the server imports. Not loguru, which opens its log and reads variables at its import."""

FOLLOWED_VARIABLES = frozenset(
    {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONIOENCODING",
        "PYTHONPATH",
        "PYTHONUNBUFFERED",
        "PYTHONWARNINGS",
    }
)
"""The variables of Python that a forked program follows as a fresh interpreter does."""

_HEAD = 8  # Bytes, which give the length of a message.


def send(connection: socket.socket, message: Any) -> None:
    data = json.dumps(message).encode()
    connection.sendall(len(data).to_bytes(_HEAD) + data)


def receive(connection: socket.socket) -> Any:
    """Receive a message; `EOFError` if the other side has gone."""
    size = int.from_bytes(_receive(connection, _HEAD))
    return json.loads(_receive(connection, size))


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def main(control_descriptor: int) -> None:
    """Serve until the other end of the control socket is closed.

    For each program, that socket transfers the descriptors for its three streams and a socket of
    its own, which transfers the request, the process id and at last the status.

    Returns at once in the process that the tests have started, and in each program after its end.
    """
    if os.fork():  # The server is not to be a child of the tests, many of which count children.
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before = list(warnings.filters)
    for package in PACKAGES:
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
    of_packages = warnings.filters[: len(warnings.filters) - len(before)]
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=control_descriptor)
    if request := _Server(control).serve():
        warnings.filters[:] = before  # type: ignore[index]
        _become(request, of_packages)


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._running: dict[int, socket.socket] = {}
        self._ended, self._wakeup = socket.socketpair()
        for end in (self._ended, self._wakeup):
            end.setblocking(False)

    def serve(self) -> dict[str, Any] | None:
        """Serve. Return the request in a program, and None in the server at its end."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup.fileno())
        while True:
            ready, _, _ = select.select([self._control, self._ended], [], [])
            if self._ended in ready:
                self._ended.recv(4096)
                self._report_ended()
            if self._control in ready:
                data, descriptors, _, _ = socket.recv_fds(self._control, 1, 4)
                if not data:
                    return None
                if request := self._start(descriptors):
                    return request

    def _report_ended(self) -> None:
        for pid, connection in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._running[pid]
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    send(connection, status)
                connection.close()

    def _start(self, descriptors: list[int]) -> dict[str, Any] | None:
        *streams, number = descriptors
        connection = socket.socket(fileno=number)
        request: dict[str, Any] = receive(connection)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for other in (*self._running.values(), connection, self._control):
                other.close()
            self._ended.close()
            self._wakeup.close()
            _take_streams(streams, request["closed"])
            return request
        for stream in streams:
            os.close(stream)
        self._running[pid] = connection
        send(connection, pid)
        return None


def _take_streams(streams: list[int], closed: list[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        if stream > 2:
            os.close(stream)
    for number in closed:
        os.close(number)


def _become(request: dict[str, Any], filters_of_packages: Sequence[Any]) -> None:
    """Become the program, in the process that was forked for it."""
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["new_session"]:
        os.setsid()
    if request["terminal"]:
        import fcntl  # noqa: PLC0415
        import termios  # noqa: PLC0415

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(request["folder"])
    own_paths = _python_path()
    variables = request["variables"]
    if not {"LANG", "LC_ALL", "LC_CTYPE"} & variables.keys():
        variables["LC_CTYPE"] = "C.UTF-8"  # As Python does at its start.
    os.environ.clear()
    os.environ.update(variables)
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    for name in ("tests", __name__):
        sys.modules.pop(name, None)
    if context := sys.modules.get("tempfile"):
        context.tempdir = None  # type: ignore[attr-defined]
    if context := sys.modules.get("multiprocessing.process"):
        context.ORIGINAL_DIR = request["folder"]  # type: ignore[attr-defined]
    importlib.invalidate_caches()
    _open_streams()
    _set_warnings(request["warnings"], filters_of_packages)
    others = [path for path in sys.path[1:] if path not in own_paths]
    _run(request["arguments"], [*_python_path(), *others])


def _python_path() -> list[str]:
    paths = os.environ.get("PYTHONPATH", "")
    return [os.path.abspath(path) for path in paths.split(os.pathsep)] if paths else []  # noqa: PTH100


def _set_warnings(options: list[str], filters_of_packages: Sequence[Any]) -> None:
    variable = os.environ.get("PYTHONWARNINGS", "")
    sys.warnoptions[:] = dict.fromkeys([*filter(None, variable.split(",")), *options])
    warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]
    warnings.filters[:0] = filters_of_packages  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _open_streams() -> None:
    """Open the standard streams as Python does at its start."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        old = getattr(sys, f"__{name}__")
        default = "strict" if encoding else old.errors
        stream: io.TextIOWrapper | None = None
        if _is_open(number):
            raw: Any = open(  # noqa: SIM115 (a stream of the whole program)
                number, f"{mode}b", buffering=0 if unbuffered and mode == "w" else -1, closefd=False
            )
            getattr(raw, "raw", raw).name = f"<{name}>"
            stream = io.TextIOWrapper(
                raw,
                encoding=codecs.lookup(encoding or old.encoding).name,
                errors="backslashreplace" if name == "stderr" else errors or default,
                newline="\n",
                line_buffering=not unbuffered and (name == "stderr" or raw.isatty()),
                write_through=unbuffered,
            )
            stream.mode = mode  # type: ignore[misc]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _run(arguments: list[str], paths: list[str]) -> None:
    """Run `-c CODE`, `-m MODULE` or a script, as the interpreter does."""
    module = ModuleType("__main__")
    vars(module)["__builtins__"] = sys.modules["builtins"]
    if "__annotations__" in vars(sys.modules["__main__"]):  # Before Python 3.14.
        vars(module)["__annotations__"] = {}
    sys.modules["__main__"] = module
    sys.orig_argv = [sys.executable, *arguments]
    what = arguments[0]
    if what == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path[:] = ["", *paths]
        if "<string>" in linecache.cache:  # Since Python 3.13: for tracebacks.
            lines = [f"{line}\n" for line in arguments[1].splitlines()]
            linecache.cache["<string>"] = (len(arguments[1]), None, lines, "<string>")
        exec(compile(arguments[1], "<string>", "exec"), vars(module))
    elif what == "-m":
        sys.argv = ["-m", *arguments[2:]]
        sys.path[:] = [os.getcwd(), *paths]  # noqa: PTH109
        runpy._run_module_as_main(arguments[1])  # type: ignore[attr-defined]
    else:
        sys.argv = list(arguments)
        sys.path[:] = [os.path.dirname(os.path.realpath(what)), *paths]  # noqa: PTH120
        loader = SourceFileLoader("__main__", what)
        module.__file__ = os.path.abspath(what)  # noqa: PTH100
        module.__loader__ = loader
        module.__cached__ = None  # type: ignore[attr-defined]
        source = loader.get_data(what)
        exec(compile(source, what, "exec"), vars(module))

"""Which model the command line talks to, from its options and the environment.

There are four kinds: Gemini, any OpenAI-compatible server, the small model on this
machine, and a rehearsal with no model at all. Whatever is wrong with the choice is a
`UsageProblem` before any agent starts, with what to do about it.

An API key stays in the environment, where the agents' process finds it: it is never put
into a configuration, nor into a message. Addresses are shown without what may be secret
in them (a password, a query).
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, urlsplit

from google.antigravity import LocalAgentConfig, LocalOpenAIAgentConfig
from google.antigravity import types as sdk
from google.antigravity.hooks import policy

from agy_actors._dotenv import missing_values
from agy_actors.cli._local_model import NAME, LocalModel, LocalModelError, available
from agy_actors.cli._prompts import DEMO_ANSWERS, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from google.antigravity.connections.connection import AgentConfig

__all__ = ["ModelChoice", "ModelKind", "ModelOptions", "open_model", "rehearsed_answer"]

ModelKind = Literal["gemini", "openai", "local", "rehearsal"]

PROBE_TIMEOUT = 5.0
"""Seconds that a server may take to show that it is there. It need not load a model."""

_KEY = "GEMINI_API_KEY"
_OTHER_KEY = "GOOGLE_API_KEY"  # Google's other tools take it too; the SDK does not.
_VERTEX = ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE")
_VERTEX_NEEDS = ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ASKS_FOR_A_KEY = {401, 403}
_ENOUGH = 1_000_000  # Bytes: no list of models is longer.


@dataclass(frozen=True)
class ModelOptions:
    """The model options that all commands share."""

    model: str | None = None
    """``--model``: a Gemini model, or with a base URL a model of that server."""

    base_url: str | None = None
    """``--base-url``: an OpenAI-compatible server. Not shown: it may hold a password."""

    rehearse: bool = False
    """``--rehearse``: use no model."""

    log: Path | None = None
    """Where the small model's server writes its log, if anywhere."""

    def __repr__(self) -> str:
        url = self.base_url and _shown(self.base_url)
        return f"ModelOptions(model={self.model!r}, base_url={url!r}, rehearse={self.rehearse})"


@dataclass(frozen=True)
class ModelChoice:
    """The model that was chosen, ready to be asked."""

    config: AgentConfig = field(repr=False)
    """The configuration for each agent: no tools, no subagents, no workspace."""

    label: str
    """One line that tells the user what answers."""

    kind: ModelKind


@contextmanager
def open_model(options: ModelOptions) -> Iterator[ModelChoice]:
    """Choose the model, see that it can be used, and keep it going for the block.

    With nothing chosen it is the small model on this machine, even where a key for
    Gemini is set: nobody should pay by surprise. Where the small model is not installed
    it is a rehearsal, and the label says so. Where it is installed but does not start,
    that is a problem to be told, and no reason to rehearse instead.

    Args:
        options: what the user chose.

    Raises:
        UsageProblem: the options contradict each other, a key or a setting is missing,
            the server cannot be reached, or the small model does not start.
    """
    with ExitStack() as stack:
        yield _choose(options, stack)


def _choose(options: ModelOptions, stack: ExitStack) -> ModelChoice:
    if options.rehearse and (options.model is not None or options.base_url is not None):
        raise UsageProblem(
            "--rehearse uses no model: leave it out, or leave out --model and --base-url"
        )
    if options.rehearse:
        return _rehearsal(stack, "REHEARSAL, as asked for: no model; the answers are scripted")
    if options.base_url is not None:
        return _openai(options.base_url, options.model)
    if options.model is not None:
        return _gemini(options.model, stack)
    found = available()
    if not found:
        return _rehearsal(
            stack,
            "REHEARSAL: no model is installed; the answers are scripted."
            f" For a real small model: {found.remedy}",
        )
    try:
        model = stack.enter_context(LocalModel(log=options.log))
    except (LocalModelError, OSError) as error:
        raise UsageProblem(
            f"{error}\nuse another model with --model or --base-url, or none with --rehearse"
        ) from error
    return ModelChoice(model.config(), f"{NAME} on this machine", "local")


def _gemini(model: str, stack: ExitStack) -> ModelChoice:
    if not model.strip():
        raise UsageProblem("--model is empty; name a model, such as gemini-3.8-flash")
    stack.enter_context(_dotenv())
    vertex = any(os.environ.get(name, "").lower() in {"true", "1"} for name in _VERTEX)
    if vertex:
        missing = [name for name in _VERTEX_NEEDS if not os.environ.get(name)]
        if missing:
            raise UsageProblem(
                f"the environment asks for Vertex AI, but {' and '.join(missing)}"
                f" {'is' if len(missing) == 1 else 'are'} not set; set it,"
                f" or unset {' and '.join(_VERTEX)} to use an API key"
            )
    elif not os.environ.get(_KEY):
        other = os.environ.get(_OTHER_KEY)
        if not other:
            raise UsageProblem(
                f"the model {model} needs an API key: set {_KEY} in the environment or in a"
                " .env file, or leave out --model to use a small model on this machine"
            )
        stack.enter_context(_environment({_KEY: other}))
    config = LocalAgentConfig(model=model, vertex=vertex, **_without_tools())
    return ModelChoice(config, f"{model} on {'Vertex AI' if vertex else 'Gemini'}", "gemini")


def _openai(base_url: str, model: str | None) -> ModelChoice:
    url = _parse(base_url)
    shown = _shown(base_url)
    names = _probe(base_url.rstrip("/"), shown)
    if model is None or not model.strip():
        known = f"; it has {', '.join(names)}" if names else ""
        raise UsageProblem(f"--base-url {shown} needs --model with the model's name there{known}")
    config = LocalOpenAIAgentConfig(model=model, base_url=base_url, **_without_tools())
    return ModelChoice(config, f"{model} on {url.hostname}:{_port(url)}", "openai")


def _without_tools() -> dict[str, Any]:
    """What every agent of the command line is denied: it answers, and does nothing."""
    return {
        "capabilities": sdk.CapabilitiesConfig(
            enabled_tools=[],
            enable_subagents=False,
            agent_behavior=sdk.AgentBehavior.MINIMAL,
        ),
        "policies": [policy.deny_all()],
        "workspaces": [],
    }


def _rehearsal(stack: ExitStack, label: str) -> ModelChoice:
    # Only here: a run with a real model need not load a web server.
    from agy_actors.testing import ScriptedModel  # noqa: PLC0415

    model = stack.enter_context(ScriptedModel(rehearsed_answer))
    return ModelChoice(model.openai_config(**_without_tools()), label, "rehearsal")


def rehearsed_answer(prompt: str) -> str:
    """Answer without a model: the demonstration's prompts as the small model does."""
    return DEMO_ANSWERS.get(prompt.strip()) or f"(rehearsal) No model was asked: {prompt}"


@contextmanager
def _dotenv() -> Iterator[None]:
    """Add what the nearest ``.env`` file sets and the environment does not."""
    try:
        values = missing_values()
    except OSError as error:
        raise UsageProblem(f"{error}; mend it, or move it away") from None
    with _environment(values):
        yield


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _parse(base_url: str) -> SplitResult:
    try:
        url = urlsplit(base_url)
        _ = url.port  # Raises where it is no number.
    except ValueError:
        url = SplitResult("", "", "", "", "")
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise UsageProblem(
            f"--base-url {_shown(base_url)} is not the address of a server;"
            " give one like http://localhost:11434/v1"
        )
    if url.username or url.password or url.query or url.fragment:
        raise UsageProblem(
            f"--base-url {_shown(base_url)} was given with a user, a query or a fragment,"
            " which do not reach the server; leave them out"
        )
    return url


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _shown(base_url: str) -> str:
    """Leave out of an address what may be secret: the user, the query and the fragment."""
    return base_url.split("?", 1)[0].split("#", 1)[0].rpartition("@")[2]


def _probe(base_url: str, shown: str) -> list[str]:
    """See that something answers there. Returns the names of its models, if it tells them."""
    # The harness, too, reaches this machine directly, whatever proxy is set.
    direct = urlsplit(base_url).hostname in _LOOPBACK
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if direct else []))
    # The harness takes the address with /v1 and without; so does this.
    paths = ["/models"] if base_url.endswith("/v1") else ["/v1/models", "/models"]
    for path in paths:
        try:
            with opener.open(base_url + path, timeout=PROBE_TIMEOUT) as answer:
                return _model_names(answer.read(_ENOUGH))
        except urllib.error.HTTPError as error:
            with error:
                if error.code in _ASKS_FOR_A_KEY:
                    raise UsageProblem(
                        f"the server at {shown} asks for a key (HTTP {error.code}), and a key"
                        " cannot be given to it; use a server that needs none"
                    ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise UsageProblem(
                f"the server at {shown} cannot be reached ({why}); start it, or correct --base-url"
            ) from None
    return []  # It answers, if not this: not every server lists its models.


def _model_names(answer: bytes) -> list[str]:
    try:
        return [str(model["id"]) for model in json.loads(answer)["data"]]
    except (ValueError, KeyError, TypeError):
        return []

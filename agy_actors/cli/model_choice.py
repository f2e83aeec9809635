"""Chooses the model for the command line from the options and the environment.

There are four kinds: Gemini, an OpenAI-compatible server, the small model on this machine, and a
rehearsal without a model. An invalid choice is a `UsageProblem` before any agent starts; its
message says what to do.

An API key stays in the environment, where the agents' process reads it; it is never put into a
configuration or a message. Addresses are printed without parts that may be secret (a password, a
query).
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from google.antigravity import LocalAgentConfig, LocalOpenAIAgentConfig
from google.antigravity import types as sdk
from google.antigravity.hooks import policy

from agy_actors._dotenv import missing_values
from agy_actors.cli.demo_prompts import DEMO_ANSWERS
from agy_actors.cli.local_model import NAME, LocalModel, LocalModelError, available
from agy_actors.cli.openai_server import model_names, parse_address, port_of, without_secrets
from agy_actors.cli.records import REHEARSAL
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from google.antigravity import AgentConfig

    from agy_actors.testing import Reply

__all__ = [
    "ModelChoice",
    "ModelKind",
    "ModelOptions",
    "is_rehearsal",
    "open_model",
    "rehearsed_answer",
]

ModelKind = Literal["gemini", "openai", "local", "rehearsal"]

_KEY = "GEMINI_API_KEY"
_OTHER_KEY = "GOOGLE_API_KEY"  # Google's other tools read it, but the SDK does not.
_VERTEX = ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE")
_VERTEX_NEEDS = ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION")


@dataclass(frozen=True)
class ModelOptions:
    """The model options of all commands."""

    model: str | None = None
    """``--model``: a Gemini model, or with a base URL a model of that server."""

    base_url: str | None = None
    """``--base-url``: an OpenAI-compatible server. Not in the `repr`: it may contain a password."""

    rehearse: bool = False
    """``--rehearse``: use no model."""

    log: Path | None = None
    """The file for the log of the small model's server; `None` for none."""

    def __repr__(self) -> str:
        url = self.base_url and without_secrets(self.base_url)
        return f"ModelOptions(model={self.model!r}, base_url={url!r}, rehearse={self.rehearse})"


@dataclass(frozen=True)
class ModelChoice:
    """The chosen model, ready to be asked."""

    config: AgentConfig = field(repr=False)
    """The configuration for each agent: no tools, no subagents, no workspace."""

    label: str
    """One line that tells the user which model answers."""

    kind: ModelKind

    name: str
    """The model's name in results."""


def is_rehearsal(options: ModelOptions) -> bool:
    """Whether the options choose a rehearsal, assuming that they are valid."""
    chosen = options.model is not None or options.base_url is not None
    return options.rehearse or not (chosen or available())


@contextmanager
def open_model(
    options: ModelOptions, rehearsed: Callable[[], Reply] | None = None
) -> Iterator[ModelChoice]:
    """Choose the model, check that it can be used, and serve it during the block.

    Without options the small model on this machine is used, even if a key for Gemini is set, so
    that nobody pays unexpectedly. If the small model is not installed, the choice is a rehearsal,
    and the label says so. If it is installed but does not start, that is an error.

    Args:
        options: the options of the command.
        rehearsed: returns how a rehearsal answers; `None` for `rehearsed_answer`, word by word.

    Raises:
        UsageProblem: the options contradict each other, a key or a setting is missing, the server
            cannot be reached, or the small model does not start.
    """
    with ExitStack() as stack:
        yield _choose(options, rehearsed, stack)


def _choose(
    options: ModelOptions, rehearsed: Callable[[], Reply] | None, stack: ExitStack
) -> ModelChoice:
    if options.rehearse and (options.model is not None or options.base_url is not None):
        raise UsageProblem(
            "--rehearse uses no model: leave it out, or leave out --model and --base-url"
        )
    if options.rehearse:
        return _rehearsal(
            stack, rehearsed, "REHEARSAL, as requested: no model; the answers are scripted"
        )
    if options.base_url is not None:
        return _openai(options.base_url, options.model)
    if options.model is not None:
        return _gemini(options.model, stack)
    found = available()
    if not found:
        return _rehearsal(
            stack,
            rehearsed,
            "REHEARSAL: no model is installed; the answers are scripted."
            f" For a real small model: {found.remedy}",
        )
    try:
        model = stack.enter_context(LocalModel(log=options.log))
    except (LocalModelError, OSError) as error:
        raise UsageProblem(
            f"{error}\nuse another model with --model or --base-url, or no model with --rehearse"
        ) from error
    return ModelChoice(model.config(), f"{NAME} on this machine", "local", NAME)


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
    label = f"{model} on {'Vertex AI' if vertex else 'Gemini'}"
    return ModelChoice(config, label, "gemini", model)


def _openai(base_url: str, model: str | None) -> ModelChoice:
    url = parse_address(base_url)
    address = without_secrets(base_url)
    names = model_names(base_url.rstrip("/"), address)
    if model is None or not model.strip():
        known = f"; it has {', '.join(names)}" if names else ""
        raise UsageProblem(f"--base-url {address} needs --model with the name of a model{known}")
    config = LocalOpenAIAgentConfig(model=model, base_url=base_url, **_without_tools())
    return ModelChoice(config, f"{model} on {url.hostname}:{port_of(url)}", "openai", model)


def _without_tools() -> dict[str, Any]:
    """Return options for an agent that only answers: no tools, no workspace."""
    return {
        "capabilities": sdk.CapabilitiesConfig(
            enabled_tools=[],
            enable_subagents=False,
            agent_behavior=sdk.AgentBehavior.MINIMAL,
        ),
        "policies": [policy.deny_all()],
        "workspaces": [],
    }


def _rehearsal(stack: ExitStack, rehearsed: Callable[[], Reply] | None, label: str) -> ModelChoice:
    # Imported here, because a run with a real model needs no web server.
    from agy_actors.testing import ScriptedModel  # noqa: PLC0415

    answer = rehearsed_answer if rehearsed is None else rehearsed()
    model = stack.enter_context(ScriptedModel(answer, keep=1))
    return ModelChoice(model.openai_config(**_without_tools()), label, "rehearsal", REHEARSAL)


def rehearsed_answer(prompt: str) -> str:
    """Answer a prompt without a model; a prompt of the demo as the small model answers it."""
    return DEMO_ANSWERS.get(prompt.strip()) or f"(rehearsal) No model was asked: {prompt}"


@contextmanager
def _dotenv() -> Iterator[None]:
    """Set the variables of the nearest ``.env`` file that the environment does not set."""
    try:
        values = missing_values()
    except OSError as error:
        raise UsageProblem(f"{error}; correct it or move it away") from None
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

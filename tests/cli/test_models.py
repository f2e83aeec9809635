from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import threading
import warnings
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import Agent, LocalAgentConfig, LocalOpenAIAgentConfig
from google.antigravity import types as sdk

from agy_actors.cli import model_choice, openai_server
from agy_actors.cli.demo_prompts import DEMO_ANSWERS, DEMO_PROMPTS
from agy_actors.cli.local_model import NAME, Availability, LocalModelError, available
from agy_actors.cli.model_choice import ModelChoice, ModelOptions, open_model, rehearsed_answer
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.antigravity.connections.connection import AgentConfig

SECRET = "s3cr3t-k3y"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("GEMINI_", "GOOGLE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def choose(options: ModelOptions) -> ModelChoice:
    with open_model(options) as choice:
        return choice


def problem(options: ModelOptions) -> str:
    with pytest.raises(UsageProblem) as caught, open_model(options):
        pass
    return str(caught.value)


@contextmanager
def server(answers: dict[str, tuple[int, Any]]) -> Iterator[str]:
    """Serve each path with its status and JSON body, and 404 elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, None))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


MODELS = {"data": [{"id": "small"}, {"id": "large"}]}


class TestAServer:
    @pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
    def test_it_is_used_with_and_without_v1(self, suffix: str) -> None:
        with server({"/v1/models": (200, MODELS)}) as url:
            choice = choose(ModelOptions("small", url + suffix))

        assert choice.kind == "openai"
        assert choice.label == f"small on {url.removeprefix('http://')}"
        assert isinstance(choice.config, LocalOpenAIAgentConfig)
        assert choice.config.model == "small"
        assert choice.config.base_url == url + suffix
        assert choice.config.capabilities.enabled_tools == []
        assert choice.config.workspaces == []

    @pytest.mark.parametrize("answer", [(404, None), (500, "oops"), (200, ["odd"])])
    def test_one_without_a_list_of_models_is_used(self, answer: tuple[int, Any]) -> None:
        with server({"/v1/models": answer}) as url:
            assert choose(ModelOptions("small", url)).kind == "openai"

    def test_without_a_model_the_error_lists_its_models(self) -> None:
        with server({"/v1/models": (200, MODELS)}) as url:
            message = problem(ModelOptions(base_url=url))

        assert "needs --model" in message
        assert "small, large" in message

    def test_one_that_needs_a_key_is_refused(self) -> None:
        with server({"/v1/models": (401, None)}) as url:
            message = problem(ModelOptions("small", url))

        assert "needs a key (HTTP 401)" in message

    def test_an_unreachable_one_is_an_error_with_its_address(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]

        message = problem(ModelOptions("small", f"http://127.0.0.1:{port}/v1"))

        assert f"127.0.0.1:{port}/v1 cannot be reached" in message
        assert "--base-url" in message

    def test_a_silent_one_is_an_error_after_a_timeout(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(openai_server, "PROBE_TIMEOUT", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as mute:
            port = mute.getsockname()[1]

            message = problem(ModelOptions("small", f"http://127.0.0.1:{port}"))

        assert "cannot be reached (timed out)" in message

    @pytest.mark.parametrize(
        "url",
        ["", "localhost:11434", "ftp://host/", "http://", "http://host:port/", "http://[::1"],
    )
    def test_an_invalid_address_is_an_error(self, url: str) -> None:
        message = problem(ModelOptions("small", url))

        assert f"--base-url {url} is not the address of a server" in message
        assert "http://localhost:11434/v1" in message

    @pytest.mark.parametrize(
        "url", [f"http://me:{SECRET}@host/v1", f"http://host/v1?key={SECRET}", f"http://h#{SECRET}"]
    )
    def test_a_secret_in_an_address_is_refused_and_not_printed(self, url: str) -> None:
        options = ModelOptions("small", url)

        message = problem(options)

        assert "remove them" in message
        assert SECRET not in message + repr(options)


class TestGemini:
    def test_the_key_stays_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GEMINI_API_KEY", SECRET)

        choice = choose(ModelOptions("gemini-x"))

        assert (choice.kind, choice.label) == ("gemini", "gemini-x on Gemini")
        assert isinstance(choice.config, LocalAgentConfig)
        assert choice.config.capabilities.enabled_tools == []
        assert SECRET not in repr(choice) + repr(choice.config)

    def test_a_key_in_a_dotenv_file_is_in_the_environment_during_the_block(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / ".env").write_text(f"GEMINI_API_KEY={SECRET}\n", encoding="utf-8")

        with open_model(ModelOptions("gemini-x")) as choice:
            assert os.environ["GEMINI_API_KEY"] == SECRET

        assert "GEMINI_API_KEY" not in os.environ
        assert SECRET not in repr(choice) + repr(choice.config)

    def test_a_dotenv_file_overrides_no_variable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".env").write_text("GEMINI_API_KEY=other\n", encoding="utf-8")
        monkeypatch.setenv("GEMINI_API_KEY", SECRET)

        with open_model(ModelOptions("gemini-x")):
            assert os.environ["GEMINI_API_KEY"] == SECRET

    def test_the_key_of_googles_other_tools_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GOOGLE_API_KEY", SECRET)
        monkeypatch.setenv("GEMINI_API_KEY", "")

        with open_model(ModelOptions("gemini-x")) as choice:
            assert os.environ["GEMINI_API_KEY"] == SECRET

        assert os.environ["GEMINI_API_KEY"] == ""
        assert SECRET not in repr(choice) + repr(choice.config)

    def test_a_missing_key_is_an_error_that_says_what_to_set(self) -> None:
        message = problem(ModelOptions("gemini-x"))

        assert "gemini-x needs an API key: set GEMINI_API_KEY" in message
        assert ".env" in message

    def test_an_empty_name_is_refused(self) -> None:
        assert "--model is empty" in problem(ModelOptions(" "))

    def test_an_undecodable_dotenv_file_is_named_and_not_printed(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(b"GEMINI_API_KEY=\xff" + SECRET.encode())

        message = problem(ModelOptions("gemini-x"))

        assert ".env cannot be read" in message
        assert SECRET not in message

    @pytest.mark.parametrize("switch", ["GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"])
    def test_vertex_needs_no_key(self, switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(switch, "True")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "l")

        choice = choose(ModelOptions("gemini-x"))

        assert choice.label == "gemini-x on Vertex AI"
        assert isinstance(choice.config, LocalAgentConfig)
        assert choice.config.models is not None
        assert isinstance(choice.config.models[0].endpoint, sdk.VertexEndpoint)

    def test_a_missing_vertex_setting_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "1")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")

        assert "GOOGLE_CLOUD_LOCATION is not set" in problem(ModelOptions("gemini-x"))


class TestARehearsal:
    def test_it_can_be_requested(self) -> None:
        choice = choose(ModelOptions(rehearse=True))

        assert choice.kind == "rehearsal"
        assert choice.label.startswith("REHEARSAL, as requested")

    def test_it_replaces_a_model_that_is_not_installed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        missing = Availability(None, ("pip install this", "pip install that"))
        monkeypatch.setattr(model_choice, "available", lambda: missing)

        choice = choose(ModelOptions())

        assert choice.kind == "rehearsal"
        assert choice.label.startswith("REHEARSAL: no model is installed")
        assert "pip install this && pip install that" in choice.label

    @pytest.mark.parametrize(
        "options",
        [ModelOptions("m", rehearse=True), ModelOptions(base_url="http://h", rehearse=True)],
    )
    def test_it_excludes_a_model(self, options: ModelOptions) -> None:
        assert "--rehearse uses no model" in problem(options)

    def test_it_answers_the_demo_prompts_as_the_small_model_does(self) -> None:
        for prompt in DEMO_PROMPTS:
            assert rehearsed_answer(prompt) == DEMO_ANSWERS[prompt]

    def test_it_answers_an_agent(self) -> None:
        async def ask(config: AgentConfig) -> str:
            async with Agent(config) as agent:
                return await (await agent.chat("Who wrote Hamlet?")).text()

        with open_model(ModelOptions(rehearse=True)) as choice, warnings.catch_warnings():
            # The SDK leaves the pipes of its process to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            answer = asyncio.run(ask(choice.config))
            gc.collect()

        assert answer == DEMO_ANSWERS["Who wrote Hamlet?"]

    def test_no_server_listens_after_it(self) -> None:
        choice = choose(ModelOptions(rehearse=True))

        assert isinstance(choice.config, LocalOpenAIAgentConfig)
        assert "cannot be reached" in problem(ModelOptions("m", choice.config.base_url))

    def test_its_other_answers_say_that_no_model_was_asked(self) -> None:
        assert rehearsed_answer("Why?") == "(rehearsal) No model was asked: Why?"


class TestTheSmallModel:
    @pytest.mark.small_model
    @pytest.mark.skipif(not available(), reason="not installed")
    def test_it_is_the_default_even_if_a_key_is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GEMINI_API_KEY", SECRET)

        with open_model(ModelOptions()) as choice:
            assert (choice.kind, choice.label) == ("local", f"{NAME} on this machine")
            assert isinstance(choice.config, LocalOpenAIAgentConfig)
            assert choice.config.base_url is not None

    def test_one_that_does_not_start_is_an_error_and_not_a_rehearsal(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def fail(log: Path | None) -> None:
            raise LocalModelError("it ended with code 1")

        monkeypatch.setattr(model_choice, "available", lambda: Availability(tmp_path))
        monkeypatch.setattr(model_choice, "LocalModel", fail)

        message = problem(ModelOptions())

        assert "it ended with code 1" in message
        assert "--rehearse" in message

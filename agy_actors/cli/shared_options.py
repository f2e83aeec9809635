"""The options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from agy_actors.cli.log_output import LogLevel

__all__ = ["BaseUrl", "Level", "MetricsPort", "ModelName", "Otlp", "Rehearse", "Timeout"]

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A Gemini model (the API key is read from GEMINI_API_KEY or a .env file), or with"
        " --base-url a model of that server. Default: a small model on this machine.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="An OpenAI-compatible server to use."),
]
Rehearse = Annotated[
    bool, typer.Option("--rehearse", help="Use no model; the answers are scripted.")
]
Level = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level",
        case_sensitive=False,
        help="Print the library's log on standard error; at debug it can contain prompts.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Time limit of each answer. Default: AGY_ACTORS_CHAT_TIMEOUT, or 120.",
    ),
]

Otlp = Annotated[
    str | None,
    typer.Option(
        "--otlp",
        metavar="URL",
        help="Send traces and metrics to an OpenTelemetry collector, as in http://localhost:4318."
        " Default: the one that the OTEL_* variables name, if they do.",
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        metavar="PORT",
        min=0,
        max=65535,
        help="Serve metrics for Prometheus on this port of 127.0.0.1, at /metrics.",
    ),
]

"""Watch, change and stop what an agent does, with the SDK's hooks."""

import os

from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity.hooks import hooks
from google.antigravity.types import Content, HookResult, ToolCall, ToolResult

from agy_actors import Chat, Supervisor, TurnError


def lookup(word: str) -> str:
    """Returns the meaning of a word."""
    return f"{word}: something that is looked up"


@hooks.pre_turn
def refuse_secrets(prompt: Content) -> HookResult:
    """Decide whether a prompt may go to the model."""
    return HookResult(allow="password" not in str(prompt), message="no passwords, please")


@hooks.pre_tool_call_decide
def lower_case(call: ToolCall) -> HookResult:
    """Decide on a tool call, and change its arguments."""
    return HookResult(allow=True, modified_args={"word": call.args["word"].lower()})


@hooks.post_tool_call
def show(result: ToolResult) -> None:
    """Observe the result of a tool."""
    print("tool:", result.result)


config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
    tools=[lookup],
    hooks=[refuse_secrets, lower_case, show],
)

with Supervisor.start() as supervisor:
    reader = supervisor.create_agent(config, name="reader")
    print(reader.ask(Chat("What is a FOO?")).text)
    try:
        reader.ask(Chat("My password is 1234"))
    except TurnError as error:
        print("refused:", error)

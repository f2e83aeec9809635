"""Structured output."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, Field, field_validator

from agy_actors import Chat, InvalidConfig, InvalidOutput, InvalidPrompt
from agy_actors._sdk.output_schema import OutputSchema
from agy_actors._sdk.schema_models import model_of
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from tests.agents.agents import Configure

T = TypeVar("T")


class City(BaseModel):
    name: str
    population: int = Field(ge=0)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name == "Atlantis":
            raise ValueError("there is no such city")
        return name


TOKYO = {"name": "Tokyo", "population": 37_000_000}
SCHEMA = City.model_json_schema()


@pytest.mark.parametrize(
    ("schema", "parsed"),
    [
        (City, City.model_validate(TOKYO)),
        ({**SCHEMA, "title": "Town"}, None),
        (json.dumps({**SCHEMA, "title": "Town"}), None),
    ],
    ids=["model", "dict", "text"],
)
def test_an_answer_is_data_and_an_instance_of_its_model(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure, schema: Any, parsed: Any
) -> None:
    model.then(call_tool("finish", TOKYO))
    agent = supervisor.create_agent(configure(response_schema=schema))

    reply = agent.ask(Chat("the largest city"), timeout=PATIENCE)

    assert (reply.structured_output, reply.parsed) == (TOKYO, parsed)


def test_an_answer_that_the_model_refuses_is_an_error_and_the_next_one_is_not(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    model.then(
        call_tool("finish", {"name": "Atlantis", "population": 0}), call_tool("finish", TOKYO)
    )
    agent = supervisor.create_agent(configure(response_schema=City), "poet")

    with pytest.raises(InvalidOutput, match=r"agent 'poet'.*name: .*no such city") as caught:
        agent.ask(Chat("the lost city"), timeout=PATIENCE)
    assert [call.name for call in caught.value.tool_calls] == ["finish"]
    assert caught.value.retryable
    assert agent.ask(Chat("the largest city"), timeout=PATIENCE).parsed == City.model_validate(
        TOKYO
    )


def test_an_answer_in_plain_text_is_an_error_with_the_text(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    model.then(say("It is Tokyo."))
    agent = supervisor.create_agent(configure(response_schema=City))

    with pytest.raises(InvalidOutput, match="without structured output") as caught:
        agent.ask(Chat("the largest city"), timeout=PATIENCE)
    assert caught.value.text == "It is Tokyo."


def test_the_harness_lets_the_model_retry_an_answer_that_does_not_fit_the_schema(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    model.then(call_tool("finish", {"name": "Tokyo"}), call_tool("finish", TOKYO))
    agent = supervisor.create_agent(configure(response_schema=City))

    assert agent.ask(Chat("the largest city"), timeout=PATIENCE).parsed == City.model_validate(
        TOKYO
    )


@pytest.mark.parametrize("schema", [{"type": "unheard of"}, "[]"])
def test_an_invalid_schema_is_refused_before_anything_starts(
    model: ScriptedModel, supervisor: SupervisorRef, schema: Any
) -> None:
    with pytest.raises(InvalidConfig, match="response_schema for agent 'poet'"):
        supervisor.create_agent(model.openai_config(response_schema=schema), "poet")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (None, "without structured output"),
        ({"name": "Tokyo"}, "'population' is a required property"),
        ({"name": "Tokyo", "population": -1}, r"\$.population"),
    ],
)
def test_data_that_do_not_fit_a_schema_are_refused_with_the_place(
    model: ScriptedModel, data: Any, complaint: str
) -> None:
    config = model.openai_config(response_schema={**SCHEMA, "title": "Town"})
    schema = OutputSchema.of(config)
    assert schema is not None

    with pytest.raises(ValueError, match=complaint):
        schema.read(data)


def define_twin() -> type[BaseModel]:
    class Twin(BaseModel):
        name: str

    return Twin


class Box(BaseModel, Generic[T]):
    content: T


@pytest.mark.parametrize(
    "given", [define_twin(), City, Box[int]], ids=["local", "module", "generic"]
)
def test_the_model_of_a_schema_is_remembered_through_copies(
    configure: Configure, given: type[BaseModel]
) -> None:
    define_twin()  # A similar one that was defined later.
    config = configure(response_schema=given)
    copies = [config, copy.copy(config), copy.deepcopy(config), config.model_copy(deep=True)]
    copies += [config.lightweight(), configure().model_copy(update={"response_schema": given})]

    for one in copies:
        schema = OutputSchema.of(one)
        assert schema is not None
        assert schema.model is given
        assert schema.schema == given.model_json_schema()


@pytest.mark.parametrize(("given", "kept"), [(City, City), (define_twin(), None)])
def test_a_schema_can_be_pickled_with_its_model_if_the_model_can(
    model: ScriptedModel, given: Any, kept: Any
) -> None:
    schema = pickle.loads(pickle.dumps(model.openai_config(response_schema=given).response_schema))

    assert schema == json.dumps(given.model_json_schema())
    assert model_of(schema) is kept


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA), {"type": "object"}])
def test_a_schema_without_a_model_has_no_model_and_nothing_is_searched(
    model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, schema: Any
) -> None:
    config = model.openai_config(response_schema=schema)
    built: list[object] = []
    monkeypatch.setattr(BaseModel, "model_json_schema", classmethod(built.append))

    output = OutputSchema.of(config)

    assert output is not None
    assert output.model is None
    assert built == []


def test_a_model_that_a_copy_sets_is_the_schema_of_answers(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    model.then(call_tool("finish", TOKYO))
    config = model.openai_config().model_copy(update={"response_schema": City})
    agent = supervisor.create_agent(config)

    assert agent.ask("the largest city", timeout=PATIENCE).parsed == City.model_validate(TOKYO)


class Town(BaseModel):
    name: str


@pytest.mark.parametrize("schema", [City, SCHEMA], ids=["model", "dict"])
def test_a_chat_names_the_model_of_its_reply(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure, schema: Any
) -> None:
    model.then(*[call_tool("finish", TOKYO)] * 3)
    agent = supervisor.create_agent(configure(response_schema=schema))

    city = agent.ask(Chat("the largest city", response_schema=City), timeout=PATIENCE).parsed
    town = agent.stream(Chat("again", response_schema=Town)).result(PATIENCE).parsed
    plain = agent.ask(Chat("once more"), timeout=PATIENCE).parsed

    assert city == City.model_validate(TOKYO)
    assert town == Town(name="Tokyo")
    assert type(plain) is (City if schema is City else type(None))


def test_an_answer_that_the_model_of_its_chat_refuses_is_an_error(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    model.then(call_tool("finish", {"name": "Atlantis", "population": 0}))
    agent = supervisor.create_agent(configure(response_schema=SCHEMA), "poet")

    with pytest.raises(InvalidOutput, match=r"agent 'poet'.*name: .*no such city"):
        agent.ask(Chat("the lost city", response_schema=City), timeout=PATIENCE)


def test_a_chat_with_a_model_sends_nothing_to_an_agent_without_a_schema(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    agent = supervisor.create_agent(configure(), "poet")

    with pytest.raises(InvalidConfig, match=r"agent 'poet'.*response_schema=City"):
        agent.ask(Chat("the largest city", response_schema=City), timeout=PATIENCE)

    assert model.requests == ()
    assert agent.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"


@pytest.mark.parametrize("schema", [dict, SCHEMA, City.model_validate(TOKYO), "City"], ids=repr)
def test_an_invalid_model_is_refused_when_the_chat_is_created(schema: Any) -> None:
    with pytest.raises(InvalidPrompt, match="response_schema must be a pydantic model"):
        Chat("the largest city", response_schema=schema)

"""Converts a person's answers to the responses that the SDK sends to a model. Pure functions.

No answer ends the turn: characters that cannot be sent are replaced, an invalid answer counts as
skipped, and the log names each problem. No problem quotes an answer.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NamedTuple

from google.antigravity.types import QuestionResponse

from agy_actors._sdk.call_outcomes import valid_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.antigravity.types import AskQuestionEntry

__all__ = ["Responses", "respond"]


class Responses(NamedTuple):
    """The responses for the model, and the problems of the answers."""

    responses: list[QuestionResponse]
    """One response for each question."""

    problems: list[str]
    """The problems of the answers, as texts for the log."""


def respond(asked: Sequence[AskQuestionEntry], answers: Any) -> Responses:
    """Return the responses to questions.

    Args:
        asked: the questions.
        answers: a list with an answer for each question, or the answer to the first.
    """
    problems: list[str] = []
    if answers is None:
        answers = []
    elif not isinstance(answers, list | tuple):
        answers = [answers]
    if len(answers) > len(asked):
        problems.append(f"{len(answers)} answers came for {len(asked)} questions")
    missing: list[None] = [None] * (len(asked) - len(answers))
    responses = []
    for number, (entry, answer) in enumerate(zip(asked, [*answers, *missing], strict=False), 1):
        response = _response(entry, answer)
        if response is None:
            problems.append(f"a {type(answer).__name__} is not an answer to question {number}")
            response = QuestionResponse(skipped=True)
        valid = _valid(response)
        if valid != response:
            problems.append(f"lone surrogates in the answer to question {number} are replaced")
        responses.append(valid)
    return Responses(responses, problems)


def _response(entry: AskQuestionEntry, answer: object) -> QuestionResponse | None:
    if isinstance(answer, QuestionResponse):
        return answer
    if answer is None:
        return QuestionResponse(skipped=True)
    said = list(answer) if isinstance(answer, list | tuple | AbstractSet) else [answer]
    if not said:
        return QuestionResponse(skipped=True)
    # A number or a bool can be sent as text; anything else, such as a dictionary, is a mistake.
    if not all(isinstance(one, str | int | float) for one in said):
        return None
    texts = [str(one) for one in said]
    ids = {option.text: option.id for option in entry.options}
    return QuestionResponse(
        selected_option_ids=[ids[text] for text in texts if text in ids] or None,
        freeform_response="; ".join(text for text in texts if text not in ids),
    )


def _valid(response: QuestionResponse) -> QuestionResponse:
    """Return a response without lone surrogates, which cannot be encoded."""
    selected = response.selected_option_ids
    return response.model_copy(
        update={
            "selected_option_ids": None if selected is None else [*map(valid_text, selected)],
            "freeform_response": valid_text(response.freeform_response),
        }
    )

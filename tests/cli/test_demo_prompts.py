"""The prompts of the demo."""

from __future__ import annotations

from agy_actors.cli.demo_prompts import DEMO_ANSWERS, DEMO_CONVERSATIONS, DEMO_FACTS, DEMO_PROMPTS


def test_the_demo_has_four_conversations_of_six_different_prompts() -> None:
    assert [len(prompts) for prompts in DEMO_CONVERSATIONS] == [6, 6, 6, 6]
    assert len(set(DEMO_PROMPTS)) == 24
    assert DEMO_ANSWERS.keys() == set(DEMO_PROMPTS)


def test_each_demo_conversation_ends_with_a_question_about_its_first_prompt() -> None:
    for prompts in DEMO_CONVERSATIONS:
        word = DEMO_FACTS[prompts[-1]]

        assert word in prompts[0]
        assert word not in "".join(prompts[1:])
        assert word in DEMO_ANSWERS[prompts[-1]]

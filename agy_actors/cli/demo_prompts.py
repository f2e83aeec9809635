"""The prompts of ``agy-actors demo`` and the answers that the small model gives to them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEMO_ANSWERS", "DEMO_CONVERSATIONS", "DEMO_FACTS", "DEMO_PROMPTS"]

# Four conversations of six turns, with the small model's own answers. It answers each prompt
# correctly, and the last prompt of a conversation from the first. The prompts were found by
# experiment: after other questions the model may answer the same question wrongly, so a
# change of the order needs a new experiment. Without the conversation it answers the last
# prompts wrongly ("The cat's name is Luna."), so they show whether a restarted agent remembers.
_DEMO = (
    (
        ("Mary has a dog called Rex.", "Mary has a dog named Rex."),
        ("What is the capital of France?", "The capital of France is Paris."),
        ("How many legs does a dog have?", "A dog has four legs."),
        ("What do bees make?", "Bees make honey."),
        ("What is the opposite of hot?", "The opposite of hot is cold."),
        ("What is the name of Mary's dog?", "Mary's dog is Rex."),
    ),
    (
        ("Ada lives in London.", "Ada is a famous Londoner."),
        ("What is the capital of Italy?", "The capital of Italy is Rome."),
        (
            "What language is spoken in Brazil?",
            "The language spoken in Brazil is Portuguese.",
        ),
        ("What is the opposite of up?", "The opposite of up is down."),
        ("What is the capital of Greece?", "The capital of Greece is Athens."),
        ("Where does Ada live?", "Ada lives in London."),
    ),
    (
        ("The cat's name is Milo.", "The cat's name is Milo."),
        ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
        ("What is the opposite of big?", "The opposite of big is small."),
        ("How many legs does a cat have?", "A cat has four legs."),
        ("How many legs does a bird have?", "A bird has two legs."),
        ("What is the cat's name?", "The cat's name is Milo."),
    ),
    (
        ("Peter's favourite colour is green.", "Peter loves green."),
        ("What is the capital of Egypt?", "The capital of Egypt is Cairo."),
        ("What is the opposite of left?", "The opposite of left is right."),
        ("What is the largest planet?", "The largest planet is Jupiter."),
        ("Who wrote Hamlet?", "Hamlet is written by William Shakespeare."),
        ("What is Peter's favourite colour?", "Peter loves green."),
    ),
)

DEMO_CONVERSATIONS: tuple[tuple[str, ...], ...] = tuple(
    tuple(prompt for prompt, _ in turns) for turns in _DEMO
)
"""Four conversations of six prompts; the last prompt asks for a fact from the first."""

DEMO_PROMPTS: tuple[str, ...] = tuple(prompt for turns in DEMO_CONVERSATIONS for prompt in turns)
"""The prompts of all conversations, in order."""

DEMO_ANSWERS: Mapping[str, str] = MappingProxyType(dict(turn for turns in _DEMO for turn in turns))
"""The small model's answer to each prompt; the script of a rehearsal."""

DEMO_FACTS: Mapping[str, str] = MappingProxyType(
    {
        "What is the name of Mary's dog?": "Rex",
        "Where does Ada live?": "London",
        "What is the cat's name?": "Milo",
        "What is Peter's favourite colour?": "green",
    }
)
"""The last prompts, with the word that a correct answer contains."""

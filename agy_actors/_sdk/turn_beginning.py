"""`TurnBeginning`: finds the first step of a turn. Pure.

The harness reports the end of a cancelled turn, and sends its remaining steps later, when the next
prompt is on its way (google-antigravity 0.1.22). The first step of a turn is its prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.antigravity.types import StepSource

if TYPE_CHECKING:
    from google.antigravity.types import Step

__all__ = ["TurnBeginning"]

_NOTICE = "[Message]"
"""The start of a step with the text of a trigger (google-antigravity 0.1.22)."""


class TurnBeginning:
    """Distinguishes the steps of a turn from those of the previous turn."""

    def __init__(self) -> None:
        self.begun = True
        """Whether all further steps belong to the turn of the last prompt."""
        self._prompt: Any = None
        self._source = StepSource.USER
        self.cut = False
        """Whether a turn was cancelled since the last prompt was sent."""

    @property
    def is_clear(self) -> bool:
        """Whether a step that comes next cannot be of an earlier turn."""
        return self.begun and not self.cut

    def expect(self, prompt: Any, source: StepSource = StepSource.USER) -> None:
        """Note that a prompt is sent. Its step has this source."""
        self._prompt = prompt
        self._source = source
        self.begun = not self.cut
        self.cut = False

    def see(self, step: Step) -> None:
        """Note a received step."""
        if self.begun or step.source != self._source:
            return
        if self._source == StepSource.SYSTEM:
            self.begun = step.content.startswith(_NOTICE)
        else:
            # The content of the step of a prompt with media is unknown.
            self.begun = not isinstance(self._prompt, str) or step.content == self._prompt

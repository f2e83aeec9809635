"""The profiles of Hypothesis that the tests run with."""

from __future__ import annotations

import hypothesis
from hypothesis import Phase

__all__ = ["NO_SIMPLIFICATION", "register_profiles"]

_USUAL = "agy_actors"

NO_SIMPLIFICATION = "agy_actors-no-simplification"
"""The profile in which a failure is reported as it was found."""


def register_profiles() -> None:
    """Register the profiles, and use the usual one."""
    # Without a deadline: other load on the machine must not fail an example.
    hypothesis.settings.register_profile(_USUAL, deadline=None)
    hypothesis.settings.register_profile(
        NO_SIMPLIFICATION,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        report_multiple_bugs=False,
    )
    hypothesis.settings.load_profile(_USUAL)

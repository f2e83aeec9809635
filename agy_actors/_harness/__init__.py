"""`localharness` processes: the only package that rests on private parts of the SDK."""

from typing import TYPE_CHECKING

from agy_actors._harness._boot import ProcessEnded
from agy_actors._harness._copies import copy_config, make_agent
from agy_actors._harness._database import harness_with
from agy_actors._harness._host import HarnessHost
from agy_actors._harness._launch import Harness
from agy_actors._harness._outcomes import isolate, name_of, run_in_thread, valid_text
from agy_actors._harness._schemas import model_of, remember_models
from agy_actors._harness._steps import interrupt, watch_steps
from agy_actors._harness._tools import call_tool
from agy_actors._harness.config_texts import list_texts
from agy_actors._harness.failed_compaction import remove_failed_compaction
from agy_actors._harness.hook_calls import HookCalls, HookFailed, PromptDenied
from agy_actors._harness.rehearsal import rehearse
from agy_actors._harness.wal_index import Committed, read_committed

if TYPE_CHECKING:
    from agy_actors._harness._context import Variables as Variables
    from agy_actors._harness._quarters import OnLine as OnLine

__all__ = [
    "Committed",
    "Harness",
    "HarnessHost",
    "HookCalls",
    "HookFailed",
    "ProcessEnded",
    "PromptDenied",
    "call_tool",
    "copy_config",
    "harness_with",
    "interrupt",
    "isolate",
    "list_texts",
    "make_agent",
    "model_of",
    "name_of",
    "read_committed",
    "rehearse",
    "remove_failed_compaction",
    "run_in_thread",
    "valid_text",
    "watch_steps",
]

remember_models()

"""The permissions of folders with conversations."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from agy_actors import Chat, Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

pytestmark = [
    pytest.mark.new_processes,
    pytest.mark.skipif(os.name != "posix", reason="the system has no such modes"),
]


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged as a WARNING or worse."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{level} {message}")
    logger.enable("agy_actors")
    yield lines
    logger.disable("agy_actors")
    logger.remove(sink)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def readable_by_others(folder: Path) -> list[Path]:
    """Return the files below a folder that other users can read."""
    if mode(folder) & 0o077 == 0:
        return []
    found = []
    for path in folder.iterdir():
        if path.is_dir():
            found += readable_by_others(path)
        elif mode(path) & 0o044:
            found.append(path)
    return found


def have_turn(supervisor: SupervisorRef, model: ScriptedModel, **options: Any) -> None:
    agent = supervisor.create_agent(model.openai_config(**options), "ada")
    assert agent.ask(Chat("my PIN is 1234")).text == "echo: my PIN is 1234"


@pytest.mark.usefixtures("umask")
def test_a_state_dir_that_is_created_is_private_with_all_that_is_created_above_it(
    model: ScriptedModel, tmp_path: Path, warnings: list[str]
) -> None:
    state_dir = tmp_path / "new" / "deep" / "state"

    with Supervisor.start(state_dir=state_dir) as supervisor:
        have_turn(supervisor, model)

    assert [mode(path) for path in (state_dir, state_dir.parent, state_dir.parent.parent)] == [
        0o700
    ] * 3
    assert mode(state_dir / "app_data") == 0o700
    assert not warnings


@pytest.mark.usefixtures("umask")
def test_transcripts_are_private_in_a_state_dir_that_others_can_read(
    model: ScriptedModel, tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    state_dir.chmod(0o755)

    with Supervisor.start(state_dir=state_dir) as supervisor:
        have_turn(supervisor, model)
        assert not readable_by_others(state_dir)

    assert list(state_dir.glob("app_data/brain/*/.system_generated/logs/*.jsonl"))
    assert mode(state_dir) == 0o755  # Existing folders do not change.


@pytest.mark.usefixtures("umask")
def test_a_temporary_folder_is_private(
    model: ScriptedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    warnings: list[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with Supervisor.start() as supervisor:
        have_turn(supervisor, model)
        [folder] = tmp_path.glob("agy_actors_*")

        assert mode(folder) == 0o700
        assert mode(folder / "app_data") == 0o700
    assert not warnings


@pytest.mark.usefixtures("umask")
def test_folders_that_a_configuration_names_are_created_private(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path, warnings: list[str]
) -> None:
    save_dir, app_data = tmp_path / "saved" / "here", tmp_path / "transcripts" / "there"

    have_turn(supervisor, model, save_dir=str(save_dir), app_data_dir=str(app_data))

    folders = save_dir, save_dir.parent, app_data, app_data.parent
    assert [mode(path) for path in folders] == [0o700] * 4
    assert not warnings


def test_a_folder_that_was_removed_is_created_private_again(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path
) -> None:
    save_dir = tmp_path / "saved"
    config = model.openai_config(save_dir=str(save_dir))
    supervisor.create_agent(config, "ada")
    supervisor.shutdown_agent("ada")
    shutil.rmtree(save_dir)

    agent = supervisor.create_agent(config, "ada")

    assert agent.ask(Chat("hi")).text == "echo: hi"
    assert mode(save_dir) == mode(save_dir / "app_data") == 0o700


@pytest.mark.parametrize("wide", [0o755, 0o750, 0o705, 0o711, 0o770])
def test_an_existing_state_dir_that_others_can_read_is_named_in_one_warning(
    model: ScriptedModel, tmp_path: Path, warnings: list[str], wide: int
) -> None:
    state_dir = tmp_path / "our state"
    state_dir.mkdir()
    state_dir.chmod(wide)

    with Supervisor.start(state_dir=state_dir) as supervisor:
        have_turn(supervisor, model)
        supervisor.create_supervisor("below").create_agent(model.openai_config(), "ida")

    [line] = warnings
    assert line.startswith("WARNING ")
    assert f"{wide:04o}" in line
    assert f"chmod 700 '{state_dir}'" in line


def test_an_existing_private_state_dir_causes_no_warning(
    model: ScriptedModel, tmp_path: Path, warnings: list[str]
) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o700)

    for _ in range(2):
        with Supervisor.start(state_dir=state_dir) as supervisor:
            have_turn(supervisor, model)

    assert not warnings


def test_no_warning_asks_to_close_a_folder_that_is_open_to_all(
    tmp_path: Path, warnings: list[str]
) -> None:
    state_dir = tmp_path / "like tmp"
    state_dir.mkdir()
    state_dir.chmod(0o1777)

    Supervisor.start(state_dir=state_dir).stop()

    [line] = warnings
    assert str(state_dir) in line
    assert "chmod" not in line
    assert "a folder of your own" in line


def test_a_folder_of_a_configuration_that_others_can_read_is_named_once_for_a_pool(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path, warnings: list[str]
) -> None:
    save_dir = tmp_path / "saved"
    save_dir.mkdir()
    save_dir.chmod(0o755)

    supervisor.create_pool(model.openai_config(save_dir=str(save_dir)), size=3)

    [line] = warnings
    assert f"chmod 700 {save_dir}" in line


def test_transcripts_that_others_can_read_cause_a_warning(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path, warnings: list[str]
) -> None:
    app_data = tmp_path / "transcripts"
    app_data.mkdir()
    app_data.chmod(0o755)

    supervisor.create_agent(model.openai_config(app_data_dir=str(app_data)), "ada")

    [line] = warnings
    assert f"chmod 700 {app_data}" in line

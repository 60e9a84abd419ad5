"""How tests find a browser, and install a missing one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.browser import find_chromium


class Machine:
    """A machine on which some installer works.

    Attributes:
        working: Word in the command that installs Chromium; None: each installation fails.
        commands: Commands that were run.
    """

    def __init__(self, working: str | None) -> None:
        self.working = working
        self.commands: list[str] = []
        self.is_installed = False

    def find(self) -> str | None:
        return "/usr/bin/chromium" if self.is_installed else None

    def run(self, *command: str) -> str:
        self.commands.append(" ".join(command[-4:]))
        self.is_installed = self.working is not None and self.working in command
        return f"$ {command[0]}: no network"


def test_installed_browser_is_used() -> None:
    machine = Machine(None)
    machine.is_installed = True
    assert find_chromium(machine.find, machine.run) == "/usr/bin/chromium"
    assert machine.commands == []


def test_playwright_downloads_a_missing_browser() -> None:
    machine = Machine("playwright")
    assert find_chromium(machine.find, machine.run, may_use_apt=True) == "/usr/bin/chromium"
    assert machine.commands == ["-m playwright install chromium"]


def test_apt_installs_a_browser_that_cannot_be_downloaded() -> None:
    machine = Machine("--no-install-recommends")
    assert find_chromium(machine.find, machine.run, may_use_apt=True) == "/usr/bin/chromium"
    assert len(machine.commands) == 3


@pytest.mark.parametrize(("may_use_apt", "commands"), [(True, 3), (False, 1)])
def test_failure_names_the_remedy(may_use_apt: bool, commands: int) -> None:
    machine = Machine(None)
    with pytest.raises(RuntimeError, match="run `apt-get install chromium` as root") as failed:
        find_chromium(machine.find, machine.run, may_use_apt=may_use_apt)
    assert "no network" in str(failed.value)
    assert len(machine.commands) == commands


def test_one_of_several_workers_installs() -> None:
    machine, together = Machine("playwright"), Barrier(4)

    def work(_: int) -> str:
        together.wait()
        return find_chromium(machine.find, machine.run, may_use_apt=False)

    with ThreadPoolExecutor(4) as workers:
        assert set(workers.map(work, range(4))) == {"/usr/bin/chromium"}
    assert len(machine.commands) == 1

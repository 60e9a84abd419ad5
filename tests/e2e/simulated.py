"""The server in a process of its own, with a clock that a test sets.

``granian --interface asgi --factory tests.e2e.simulated:application`` runs it; the variable
``SIMULATED_CLOCK`` names the file with its time.
"""

from __future__ import annotations

import logging.config
import os
from datetime import datetime
from pathlib import Path

import attrs
from litestar import Litestar

from rebalancer.adapters.security.passwords import ArgonPasswords
from rebalancer.application.job_worker import JobSettings
from rebalancer.application.ports.accounts import Passwords
from rebalancer.application.ports.clock import Clock
from rebalancer.config import Settings
from rebalancer.entrypoints import server
from rebalancer.entrypoints.http import app
from rebalancer.wiring.container import build_async_container
from rebalancer.wiring.market import Sources
from tests.entrypoints.http.conftest import ThreadExecutor, provide_values

SIMULATED_CLOCK = "SIMULATED_CLOCK"


@attrs.frozen
class FileClock:
    """Clock whose time is in a file."""

    path: Path

    def __call__(self) -> datetime:
        return datetime.fromisoformat(self.path.read_text(encoding="utf-8"))

    def set(self, time: datetime) -> None:
        """Set the time at once for every reader."""
        following = self.path.with_suffix(".next")
        following.write_text(time.isoformat(), encoding="utf-8")
        following.replace(self.path)


def application() -> Litestar:
    """Create the server's application with the simulated clock."""
    settings = Settings.read()
    ports = {
        Clock: FileClock(Path(os.environ[SIMULATED_CLOCK])),
        Passwords: ArgonPasswords(time_cost=1, memory_kib=64),
        JobSettings: JobSettings(attempts=1, poll_interval=0.05),
    }
    wired = build_async_container(
        Sources.of(settings), provide_values(ports), ThreadExecutor(), settings=settings
    )
    created = app.application(
        wired, embedded=True, does_jobs=True, fetches_assets=True, schedule_interval=0.2
    )
    logging.config.dictConfig(server.log_config(settings.log_level))
    return created

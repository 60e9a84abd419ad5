"""Short soaks for each test run; `make soak` runs long ones.

``SOAK=3`` in the environment makes these three times as long.
"""

from __future__ import annotations

import os
import time

from rich.console import Console

from tests.survival.faults import VICTIMS, Plan
from tests.survival.soak import show, soak

TIMES = int(os.environ.get("SOAK", "1"))


def test_confirmed_effects_survive_kills(tmp_path):
    kills, plan = len(VICTIMS) * TIMES, Plan(pairs=True, starts=True)
    report = soak(tmp_path, kills=kills, clients=6, seed=int(time.time()), plan=plan)
    show(report, Console(width=150))  # pytest prints it on failure
    assert report.findings == []
    assert sum(report.kills.values()) >= kills
    assert report.confirmed.executed and report.confirmed.deposits and report.confirmed.jobs
    assert report.runs


def test_confirmed_effects_survive_on_sqlite(tmp_path):
    kills, plan = 5 * TIMES, Plan(starts=True, full_disk=True, clock=True)
    report = soak(
        tmp_path,
        kills=kills,
        clients=4,
        seed=7,
        sqlite=True,
        plan=plan,
        migrations=1,
    )
    show(report, Console(width=150))
    assert report.findings == []
    assert sum(report.kills.values()) >= kills


def test_fifty_clients_share_portfolios_without_lost_updates(tmp_path):
    report = soak(tmp_path, kills=0, clients=50, seed=1, seconds=4 * TIMES)
    show(report, Console(width=150))
    assert report.findings == []
    answers = report.confirmed.answers
    assert {status for _, status in answers} <= {200, 201, 202, 409, 412, 422, 503}
    assert report.confirmed.executed and report.confirmed.edits

"""Sequences of generated requests, over both stores, never make the server fail.

`make fuzz` tries more of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.databases import APPLICATION, as_role, new_database
from tests.fuzzing import Findings, Target, running_target, try_sequences

SEQUENCES = 8
"""Some seconds for each store."""


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    if request.param == "sqlite":
        file = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "fuzz.db")
        with running_target(tmp_path, f"sqlite:///{file}") as server:
            yield server
        return
    postgres = request.getfixturevalue("postgres_url")
    template = request.getfixturevalue("postgres_template")
    with (
        new_database(postgres, template) as database,
        running_target(tmp_path, as_role(database, APPLICATION)) as server,
    ):
        yield server


def test_sequences_of_requests_pass_all_checks(target: Target) -> None:
    findings = Findings()
    try_sequences(target, findings, sequences=SEQUENCES, seed=3)
    assert findings.faults == {}
    assert findings.answers.total() > 5 * SEQUENCES
    assert findings.reached

"""Hypothesis for all: the same examples on every machine, and no clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("rebalancer", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("rebalancer")


@pytest.fixture(autouse=True, scope="session")
def _trials_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test adds to the record of trials that is committed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REBALANCER_TRIALS", str(tmp_path_factory.mktemp("record") / "trials.jsonl"))
        yield

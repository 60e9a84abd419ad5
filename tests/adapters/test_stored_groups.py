"""Rows of portfolios with targets by groups."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import msgspec
import pytest

from rebalancer.adapters.sql import rows
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.domain.portfolio.target_groups import TargetGroup, TargetTree
from tests.builders import USD

GROUPED = Mandate(
    "Mine", USD, {}, target_groups=TargetTree((TargetGroup("A", 0.5, assets={"X": 1.0}),))
)


def read(**changes: str) -> Mandate:
    """Return the mandate of a row, of which another version of the software changed columns."""
    values: dict[str, Any] = {
        name: value if value is None or isinstance(value, str | bool) else encoded(value)
        for name, value in rows._MANDATES.to_row(GROUPED).items()
    }
    return rows._mandate_of(namedtuple("Row", values)(**values | changes))  # type: ignore[arg-type]  # read by name


def encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()


def test_groups_are_read_with_the_targets_that_follow() -> None:
    assert read() == GROUPED
    assert read(targets='{"X": 0.5000000000001}') == GROUPED


@pytest.mark.parametrize("targets", ['{"X": 0.25}', '{"X": 0.5, "Y": 0.5}'])
def test_targets_that_an_earlier_version_changed_replace_the_groups(targets: str) -> None:
    found = read(targets=targets)
    assert found.target_groups is None
    assert found.targets == msgspec.json.decode(targets)

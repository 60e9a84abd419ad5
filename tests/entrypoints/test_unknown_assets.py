"""Errors about assets without stored prices name the command that fetches them."""

from __future__ import annotations

import pytest

from rebalancer.domain.errors import FaultCollector, InvalidRequest, NotFound
from rebalancer.domain.market.symbols import unknown_symbols
from rebalancer.entrypoints.cli.remedies import explain
from rebalancer.entrypoints.cli.unknown_assets import name_fetch
from rebalancer.wiring.market import Sources

STORE, SAMPLE = Sources("store"), Sources("sample")


def several():
    """An error with two faults about assets, one of them in a part of a file, and another."""
    faults = FaultCollector()
    with faults.collect():
        raise unknown_symbols(["VTI"], [], field="targets.VTI", named=False)
    with faults.collect("portfolio."):
        raise unknown_symbols(["BND", "VTI"], [], field="holdings")
    with faults.collect():
        raise InvalidRequest("cash is negative", code="negative_cash")
    with pytest.raises(InvalidRequest) as found:
        faults.raise_any()
    return found.value


def test_all_unknown_assets_are_in_one_command():
    error = several()
    assert name_fetch(error, STORE) == ["VTI", "BND"]
    assert explain(error).endswith("`rebalancer market sync --symbols VTI,BND`.")
    assert "portfolio.holdings: unknown symbols" in explain(error)


@pytest.mark.parametrize("where", [SAMPLE, Sources("file.csv"), None])
def test_other_sources_keep_their_remedy(where):
    error = several()
    assert name_fetch(error, where) == []
    assert explain(error).endswith("Run `rebalancer market list` to list the symbols.")


@pytest.mark.parametrize("error", [InvalidRequest("wrong"), NotFound("nothing there")])
def test_other_errors_are_unchanged(error):
    assert name_fetch(error, STORE) == []
    assert explain(error) == error.message

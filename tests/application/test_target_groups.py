"""Groups of a valued portfolio: weights, drift, classes, and what home and the terminal show."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import attrs
import pytest

from rebalancer.application.home import _summarize
from rebalancer.application.performance import _class_shares
from rebalancer.application.target_groups import (
    check_members,
    resolve_or_state,
    targets_now,
    targets_or_fault,
)
from rebalancer.application.valuation import HeldPrice, ValuedPortfolio
from rebalancer.domain.backtest.contributions import Item, ItemKind
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.portfolio.ledger import EMPTY
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.portfolio.target_groups import Inside, TargetGroup, TargetTree
from rebalancer.entrypoints.cli.shown_groups import groups_document
from rebalancer.entrypoints.cli.shown_portfolios import print_portfolio
from tests.builders import USD, flat_prices

DAY, NOW = date(2022, 12, 30), datetime(2022, 12, 31, tzinfo=UTC)
LISTED = Instruments.of(
    [
        Instrument("BND", asset_class=AssetClass.BOND),
        Instrument("VTI", asset_class=AssetClass.EQUITY),
    ]
)
MIX = {"MIX": {AssetClass.EQUITY: 0.6, AssetClass.BOND: 0.4}}
BONDS = TargetGroup("Bonds", 0.4, asset_class=AssetClass.BOND, inside=Inside.CURRENT, band=0.08)
SHARES = TargetGroup("Shares", 0.6, assets={"VTI": 1.0})


def valued(*groups: TargetGroup, **values: int) -> ValuedPortfolio:
    """Return a portfolio of these values, without cash."""
    mandate = Mandate("Mine", USD, {}, target_groups=TargetTree(groups), look_through=MIX)
    holdings = {symbol: Decimal(value) for symbol, value in values.items()}
    return ValuedPortfolio(
        ManagedPortfolio(
            UUID(int=1), UUID(int=2), mandate, attrs.evolve(EMPTY, holdings=holdings), 1, NOW, NOW
        ),
        DAY,
        {
            symbol: HeldPrice(Decimal(1), DAY, currency="USD", value=Decimal(value))
            for symbol, value in values.items()
        },
    )


def test_groups_and_classes_at_the_last_close() -> None:
    now = targets_now(valued(SHARES, BONDS, VTI=540, BND=360, MIX=100), LISTED)
    # The fund is mostly equities, which are no class group here: it has no target.
    assert now.targets == pytest.approx({"VTI": 0.6, "BND": 0.4})
    assert [one.weight(now.weights) for one in now.groups] == pytest.approx([0.54, 0.36])
    # 54% of VTI and 6% in the fund; 36% of BND and 4% in the fund.
    assert now.classes == pytest.approx({"equity": 0.6, "bond": 0.4})
    (_, bonds) = groups_document(now)
    assert (bonds["name"], bonds["drift_points"]) == ("Bonds", pytest.approx(-4))


def test_class_without_assets_is_refused_when_it_is_stated_and_noted_later() -> None:
    with pytest.raises(InvalidRequest, match="holds none of the class bond"):
        check_members(valued(BONDS).portfolio.mandate, ["VTI"], LISTED)
    check_members(valued(BONDS).portfolio.mandate, ["BND"], LISTED)
    now = targets_or_fault(valued(BONDS, VTI=100), LISTED)
    assert now.groups == ()
    assert "holds none of the class bond" in now.notes[0]


def test_alerts_and_benchmarks_use_the_weights_that_follow() -> None:
    market = flat_prices({"BND": 1.0, "VTI": 1.0})
    held = valued(SHARES, BONDS, VTI=540, BND=360).portfolio
    assert resolve_or_state(held, market, LISTED) == pytest.approx({"VTI": 0.6, "BND": 0.4})
    without = valued(SHARES, BONDS, VTI=540).portfolio
    assert resolve_or_state(without, market, LISTED) == {"VTI": 0.6}


def test_home_judges_groups_by_their_bands() -> None:
    # Bonds are 7 points over, within their band of 8; VTI is 7 under, outside the usual 5.
    inside = _summarize(valued(SHARES, BONDS, VTI=530, BND=470), None, LISTED)
    assert inside.outside == ("VTI",)
    beyond = _summarize(valued(SHARES, BONDS, VTI=510, BND=490), None, LISTED)
    assert beyond.outside == ("BND", "VTI")


def test_performance_divides_funds_among_their_classes() -> None:
    fund, plain = (Item(ItemKind.ASSET, symbol, "USD") for symbol in ("MIX", "VTI"))
    assert _class_shares(fund, LISTED, MIX) == {"equity": 0.6, "bond": 0.4}
    assert _class_shares(plain, LISTED, MIX) == {"equity": 1.0}
    assert _class_shares(Item(ItemKind.CASH, "", "USD"), LISTED, MIX) == {"cash": 1.0}


def test_terminal_shows_the_tree_with_its_drift(capsys: pytest.CaptureFixture[str]) -> None:
    inner = TargetGroup("Own country", 0.5, assets={"VTI": 1.0})
    shares = TargetGroup("Shares", 0.6, (inner,), {"VXUS": 0.5})
    now = valued(shares, BONDS, VTI=400, BND=600)
    owner = User(UUID(int=2), "ada@example.org", "Ada", None, NOW)
    print_portfolio(now, owner, [], frozenset(), targets_now(now, LISTED))
    printed = capsys.readouterr().out
    lines = [line.strip("│ ") for line in printed.splitlines()]
    groups = lines[next(at for at, line in enumerate(lines) if line.startswith("Groups")) :]
    found = [line.replace("│", " ").split() for line in groups if "%" in line]
    assert [(" ".join(one[:-3]), one[-3:]) for one in found] == [
        ("Shares", ["40.0%", "60.0%", "-20.0"]),
        ("VXUS", ["0.0%", "30.0%", "-30.0"]),
        ("Own country", ["40.0%", "30.0%", "+10.0"]),
        ("VTI", ["40.0%", "30.0%", "+10.0"]),
        ("Bonds", ["60.0%", "40.0%", "+20.0"]),
        ("BND", ["60.0%", "40.0%", "+20.0"]),
    ]

"""Kinds of asset, apart from instruments so that the command line starts without numpy."""

from __future__ import annotations

from enum import StrEnum


class AssetClass(StrEnum):
    """Broad kinds of asset; an unknown one counts as equity, the cautious guess."""

    EQUITY = "equity"
    BOND = "bond"
    MONEY_MARKET = "money_market"
    COMMODITY = "commodity"
    GOLD = "gold"
    REAL_ESTATE = "real_estate"
    OTHER = "other"

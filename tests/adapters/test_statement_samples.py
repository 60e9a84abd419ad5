"""Each sample is recognised by the reader of its layout, and by no other one."""

from __future__ import annotations

import pytest

from rebalancer.adapters.statements.registry import GENERIC, DiscoveredReaders
from tests.statements import check_read, sample

LAYOUTS = {
    "coinbase.csv": "coinbase",
    "degiro_account_de.csv": "degiro_account",
    "degiro_account_nl.csv": "degiro_account",
    "degiro_transactions.csv": "degiro_transactions",
    "degiro_transactions_en.csv": "degiro_transactions",
    "fidelity.csv": "fidelity",
    "generic_de.csv": GENERIC,
    "generic_en.csv": GENERIC,
    "ghostfolio.json": "ghostfolio_json",
    "ibkr_flex.xml": "ibkr_flex",
    "ofx_bank.qfx": "ofx",
    "ofx_investment.ofx": "ofx",
    "portfolio_performance.xml": "portfolio_performance_xml",
    "portfolio_performance_all.csv": "portfolio_performance_csv",
    "portfolio_performance_depot.csv": "portfolio_performance_csv",
    "portfolio_performance_konto.csv": "portfolio_performance_csv",
    "revolut_stocks.csv": "revolut_stocks",
    "schwab.csv": "schwab",
    "trading212.csv": "trading212",
    "vanguard.csv": "vanguard",
    "wealthfolio.csv": "wealthfolio_csv",
}


@pytest.mark.parametrize(("name", "layout"), LAYOUTS.items())
def test_sample_is_recognised_by_one_reader(name, layout):
    head = sample(name)[:65_536]
    names = [one.name for one in DiscoveredReaders().all() if one.recognises(head, name)]
    assert names == [layout]
    found = DiscoveredReaders().find(sample(name), name)
    assert found is not None and found.name == layout


@pytest.mark.parametrize("name", LAYOUTS)
def test_sample_is_read_or_refused_by_each_reader(name):
    for reader in DiscoveredReaders().all():
        check_read(reader, sample(name))

"""`rebalancer portfolio gains`."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.sellable import SaleGain
from rebalancer.entrypoints.cli.commands.propose import describe_gain
from rebalancer.entrypoints.cli.printed_gains import print_gains
from rebalancer.entrypoints.schemas.gains import gains_view
from tests.application.test_gains import ENTRIES, Office
from tests.entrypoints.test_store_commands import PORTFOLIO, keep, register, store

__all__ = ["keep", "register", "store"]


def test_gains_of_a_stored_portfolio_are_measured(store, keep):
    (id,) = keep(PORTFOLIO)
    found = store("portfolio", "gains", id, "--json").json
    assert (found["portfolio_id"], found["method"], found["disposals"]) == (id, "fifo", [])
    assert [(lot["symbol"], lot["cost"]) for lot in found["open_lots"]] == [
        ("A", None),
        ("B", None),
    ]
    table = store("portfolio", "gains", id, "--method", "uk_pool", "--year", "2020-21")
    assert table.code == 0
    text = " ".join(table.stdout.split())
    assert "Retirement, 2020-21, by uk_pool" in text
    assert "The cost of 20 units of A moved in on 2021-02-23 is unknown" in text
    rows = list(csv.reader(io.StringIO(store("portfolio", "gains", id, "--csv").stdout)))
    assert (rows[0][:4], rows[0][-1]) == (["kind", "symbol", "acquired", "sold"], "lot_id")
    assert store("portfolio", "gains", id, "--year", "20").refused("'20' is not a tax year")
    assert store("portfolio", "gains", id, "--lots", "x").refused("'x' does not name a lot")
    assert store("portfolio", "gains", id, "--csv", "--json").refused("give either --csv or --json")


def test_gains_are_printed_as_tables(capsys):
    office = Office()
    office.keep(*ENTRIES)
    print_gains("Ada's", gains_view(office.measure()))
    text = " ".join(capsys.readouterr().out.split())
    for figure in ("by fifo; amounts in EUR", "1,436.00", "+412.00", "+392.67", "960.00"):
        assert figure in text
    assert "2022-07-01 to 2023-02-01" in text


def test_proposal_for_a_stored_portfolio_states_the_gain_of_each_sale(store, keep):
    (id,) = keep(PORTFOLIO | {"targets": {"C": 0.9}})
    found = store("propose", id, "--policy", "monthly", "--json").json
    assert [one["symbol"] for one in found["sale_gains"]] == ["A", "B"]
    assert {(one["method"], one["gain"]) for one in found["sale_gains"]} == {("fifo", None)}
    table = store("propose", id, "--policy", "monthly").stdout
    assert "The sale of A has an unknown gain" in table


def test_gain_of_a_sale_is_described():
    sold = SaleGain("A", LotMethod.LIFO, Decimal(1200), Decimal(2500), None)
    text = "The sale of A would lose 1,300 EUR by lifo."
    assert describe_gain(sold, "EUR") == text

"""Gains on the screen: years, assets, lots, and the rules that a person types."""

from decimal import Decimal

import attrs
import pytest
from examples import gains, portfolio, proposal

from rebalancer_app.gateway.decoding import encode
from rebalancer_app.gateway.portfolios import Revision
from rebalancer_app.model.formats import HIDDEN, Formats
from rebalancer_app.model.gains import GainRules, gains_screen
from rebalancer_app.model.proposal import proposal_screen
from rebalancer_app.texts import load_texts

EN, DE = load_texts("en"), load_texts("de")
BRITISH, GERMAN = Formats.of("en-GB"), Formats.of("de-DE")


def test_years_are_the_latest_first_with_what_they_have():
    screen = gains_screen(gains(), BRITISH, EN)
    assert [year.name for year in screen.years] == ["2025", "2024"]
    assert (screen.years[0].gain.text, screen.years[0].gain.direction) == ("+€120.50", 1)
    assert screen.years[0].parts == (
        ("Held for at most a year", "−€30.00"),
        ("Held for more than a year", "+€150.50"),
        ("Dividends", "+€12.00"),
        ("Tax withheld", "−€1.80"),
        ("Sales whose cost is unknown", "1"),
    )
    assert screen.unrealised.text == "+€1,199.00"


def test_assets_show_lots_and_what_is_sold():
    held, sold = gains_screen(gains(), GERMAN, DE).assets
    assert (held.symbol, held.realised.text, held.unrealised.text) == (
        "AAPL",
        "0,00\u00a0€",
        "+1.199,00\u00a0€",
    )
    first, pooled = held.lots
    assert (first.units, first.held) == ("10 seit 03.01.2023", "Haltedauer 2 Jahre, langfristig")
    assert (pooled.units, pooled.held, pooled.gain.text) == (
        "10 im Pool",
        "",
        "−1,00\u00a0€",
    )
    assert (sold.symbol, sold.realised.text, sold.lots) == ("GOLD", "+120,50\u00a0€", ())


def test_unknown_gains_are_a_dash():
    sale = attrs.evolve(gains().disposals[0], gain=None)
    (one,) = gains_screen(attrs.evolve(gains(), disposals=[sale], open_lots=[]), BRITISH, EN).assets
    assert (one.realised.text, one.realised.direction) == ("–", 0)


def test_lots_without_a_gain_are_counted():
    unknown = attrs.evolve(gains().unrealised, gain=Decimal(0), unknown=1)
    screen = gains_screen(attrs.evolve(gains(), unrealised=unknown), BRITISH, EN)
    assert screen.unknown == "Without 1 lot whose cost or price is unknown"
    assert screen.unrealised.text == "€0.00"
    unknown = attrs.evolve(unknown, unknown=2)
    screen = gains_screen(attrs.evolve(gains(), unrealised=unknown), BRITISH, EN)
    assert screen.unrealised.text == "–"


def test_hidden_amounts_are_nowhere():
    screen = gains_screen(gains(), BRITISH, EN, hidden=True)
    assert screen.unrealised.text == HIDDEN
    assert screen.assets[0].lots[0].units == f"{HIDDEN} since 3 Jan 2023"
    assert "120" not in str(screen) and "150" not in str(screen)


@pytest.mark.parametrize(
    ("gain", "long_term", "said"),
    [
        ("12.30", "12.30", "Gain €12.30, of it long term €12.30 (First in, first out)"),
        ("-5.00", "0.00", "Loss €5.00 (First in, first out)"),
        (None, None, ""),
    ],
)
def test_sales_of_a_proposal_state_their_gain(gain, long_term, said):
    one = proposal()
    amounts = [None if text is None else Decimal(text) for text in (gain, long_term)]
    sale = attrs.evolve(
        one.orders[0], gain=amounts[0], long_term_gain=amounts[1], lot_method="fifo"
    )
    screen = proposal_screen(attrs.evolve(one, orders=[sale]), BRITISH, EN, one.proposed)
    assert screen.sells[0].gain == said


def test_rules_are_read_as_they_are_typed_and_sent_as_they_are_meant():
    wishes = attrs.evolve(portfolio().preferences, max_realised_gain_year=Decimal("1234.50"))
    rules = GainRules.of(wishes, GERMAN)
    assert rules == GainRules("fifo", "", "1234,5")
    changes = attrs.evolve(rules, each="1.000,25", method="lifo").changes(GERMAN)
    assert encode(Revision(preferences=changes)) == {
        "preferences": {
            "lot_method": "lifo",
            "max_realised_gain": "1000.25",
            "max_realised_gain_year": "1234.5",
        }
    }
    emptied = attrs.evolve(rules, year=" ").changes(GERMAN)
    assert emptied is not None and emptied["max_realised_gain_year"] is None
    for wrong in ("-1", "much"):
        assert attrs.evolve(rules, each=wrong).changes(GERMAN) is None


@pytest.mark.parametrize(
    ("days", "said"),
    [(0, "0 days"), (59, "59 days"), (359, "11 months"), (366, "12 months"), (731, "2 years")],
)
def test_holding_periods_are_rounded_down(days, said):
    assert BRITISH.span(days) == said

"""The look ahead: words, chart and levels, in both languages."""

from datetime import date
from decimal import Decimal

import pytest

from rebalancer_app.gateway.projection import Chance, Extra, OwnGoal, Result
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.projection import projection_screen
from rebalancer_app.texts import load_texts

EN, DE = load_texts("en"), load_texts("de")
BRITISH, GERMAN = Formats.of("en-GB"), Formats.of("de-DE")


def result(**changes):
    fan = {"p5": 80.0, "p25": 90.0, "p50": 110.0, "p75": 150.0, "p95": 200.0}
    values = {
        "currency": "EUR",
        "months": 2,
        "paths": 100,
        "dates": [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31)],
        "real_fan": {name: [1000.0, 1000 + end, 1000 + 2 * end] for name, end in fan.items()},
        "paid_in": [0.0, 102.0, 204.0],
        "prices": [1.0, 1.02, 1.04],
        "worst_decile_real": 95_044.0,
        "goal": Chance(0.5, 0.05),
        "goals": [OwnGoal("House", 1100.0, date(2026, 3, 15), 0.91)],
        "exhausted": Chance(0.0, 0.01),
        "exhausted_year": None,
        "extra": Extra(100.0, 205.0, 0.5, 0.62),
        "notes": ["A note."],
    }
    return Result(**values | changes)


def test_a_projection_is_described_in_todays_money():
    screen = projection_screen(result(), Decimal(1200), BRITISH, EN)
    assert screen.middle == "About €1,220"
    assert screen.span == "In nine cases of ten between €1,160 and €1,400, in money of today"
    assert [(goal.name, goal.text, goal.level) for goal in screen.goals] == [
        ("€1,200 in the end", "Open: 50% of the cases", "open"),
        ("House: €1,100 by 15 Mar 2026", "In reach: 91% of the cases", "likely"),
    ]
    assert screen.sentences == (
        "The worst tenth ends at €95,000 on average.",
        "A further €100 a month would raise the middle by €205.",
        "It would raise the chance of the amount from 50% to 62%.",
    )
    assert screen.chart is not None
    assert screen.chart.curves[0].name == "Middle"
    # 102 at the start, and 102 a month later, when prices are 2% higher.
    assert screen.chart.curves[-1].values == pytest.approx((1000.0, 1102.0, 1202.0))


def test_money_that_may_run_out_is_shown_in_german():
    gone = result(
        goal=None, goals=[], extra=None, exhausted=Chance(0.32, 0.01), exhausted_year=19.6
    )
    screen = projection_screen(gone, None, GERMAN, DE)
    assert screen.goals == ()
    assert (
        "In 32\u00a0% der Fälle geht das Geld aus, meist nach etwa 20 Jahren." in screen.sentences
    )


@pytest.mark.parametrize(("chance", "level"), [(0.75, "likely"), (0.4, "open"), (0.39, "unlikely")])
def test_levels_of_chances(chance, level):
    screen = projection_screen(result(goal=Chance(chance, 0.01)), Decimal(1), BRITISH, EN)
    assert screen.goals[0].level == level

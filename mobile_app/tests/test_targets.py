from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer_app.gateway.users import Limits
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.targets import add_targets, suggest_targets
from rebalancer_app.texts import load_texts

ENGLISH, GERMAN = Formats.of("en-GB"), Formats.of("de-DE")
BALANCED = Limits("balanced", 0.13, 0.25, 0.65, 0.02, 0.5)


def add(fields, formats=ENGLISH):
    return add_targets(fields, formats, load_texts("en"))


def test_the_sum_shows_what_is_left():
    state = add({"A": "60", "B": "25.5"})
    assert state.shares == {"A": 0.6, "B": 0.255}
    assert state.text == "85.5% in all; 14.5% stays in cash."
    assert state.is_valid


def test_percent_signs_and_commas_are_understood():
    assert add({"A": "33,5 %"}, GERMAN).shares == {"A": 0.335}


def test_more_than_everything_is_refused():
    state = add({"A": "60", "B": "50"})
    assert not state.is_valid
    assert "10.0% too much" in state.text


@pytest.mark.parametrize("typed", ["x", "-5", "101"])
def test_invalid_fields_are_named(typed):
    state = add({"A": "10", "B": typed})
    assert state.wrong == ("B",)
    assert not state.is_valid


def test_thirds_are_exactly_everything():
    state = add({"A": "33.3", "B": "33.3", "C": "33.4"})
    assert state.text == "100% in all; no cash is left."


@given(
    st.dictionaries(
        st.text("ABCDEF", min_size=1, max_size=3),
        st.sampled_from(["equity", "bond", "gold", None, "money_market"]),
        max_size=12,
    ),
    st.sampled_from([None, BALANCED, Limits("c", 0.06, 0.12, 0.25, 0.05, 0.4)]),
)
def test_suggestions_keep_the_limits(classes, limits):
    found = suggest_targets(classes, limits)
    assert found.keys() == classes.keys()
    assert all(share >= 0 for share in found.values())
    floor = Decimal(str(limits.cash_floor)) if limits else Decimal(0)
    assert sum(found.values()) <= 1 - floor
    if limits:
        risky = [
            s for symbol, s in found.items() if classes[symbol] not in ("bond", "money_market")
        ]
        assert sum(risky) <= Decimal(str(limits.equity_ceiling))
        assert all(share <= Decimal(str(limits.max_weight)) for share in found.values())


def test_without_a_profile_all_is_invested_equally():
    found = suggest_targets({"A": "equity", "B": "equity", "C": None, "D": "equity"}, None)
    assert set(found.values()) == {Decimal("0.250")}

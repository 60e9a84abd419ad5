"""Economic features: what was known on a day, and the fallback where nothing is known."""

from datetime import date

import attrs
import numpy as np
import pytest

from rebalancer.adapters.rl.catalog import load_version, save_version
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.economics import EconomicSeries, Observation
from rebalancer.domain.policy.economy import ECONOMY, NO_ECONOMY, Economy
from rebalancer.domain.policy.features import INPUTS_2, LOOKBACK
from tests.builders import a_book, prices
from tests.networks import TRAINING, a_learned, keep

WITH_ECONOMY = attrs.evolve(INPUTS_2, economy=tuple(ECONOMY.values()))


def a_series(name, *observations):
    return EconomicSeries(name, name, "percent", tuple(observations))


def an_economy(day):
    """An economy with yields of 4 and 1.5 percent, a credit spread of 2.3 and a VIX of 40."""
    figures = {"DGS10": 4.0, "DGS3MO": 1.5, "BAA10Y": 2.3, "VIXCLS": 40.0}
    return Economy({name: a_series(name, Observation(day, at)) for name, at in figures.items()})


def test_figures_by_hand():
    day = date(2020, 3, 2)
    days = np.array(["2020-03-01", "2020-03-02", "2020-04-16", "2020-04-17"], dtype="M8[D]")
    found = an_economy(day).observe(WITH_ECONOMY.economy, days)
    expected = [(2.5 - 1.5) / 1.2, 0.0, (np.log(2.0) + 0.05) / 0.35]
    np.testing.assert_allclose(found[1:3], [expected] * 2, atol=1e-12)
    # Not yet observed, and older than 45 days.
    assert np.isnan(found[[0, 3]]).all()


def test_a_figure_is_not_seen_before_its_publication():
    early = Observation(date(2020, 1, 31), 2.0, known=date(2020, 2, 3))
    revised = Observation(date(2020, 1, 31), 3.0, known=date(2020, 2, 20))
    economy = Economy({"BAA10Y": a_series("BAA10Y", early, revised)})
    days = np.array(["2020-02-02", "2020-02-03", "2020-02-19", "2020-02-20"], dtype="M8[D]")
    feature = ECONOMY["credit spread"]
    found = economy.observe((feature,), days)[:, 0] * feature.scale + feature.centre
    np.testing.assert_allclose(found, [np.nan, 2.0, 2.0, 3.0], atol=1e-12)


def test_without_the_economy_the_fallback_decides():
    market = prices(4, LOOKBACK, seed=2)
    book = a_book([[0.4, 0.3, 0.2, 0.1], [0.25] * 4], market=market)
    plain = a_learned(1, name="plain", inputs=INPUTS_2, most_spread=2.0)
    policy = a_learned(2, inputs=WITH_ECONOMY, rule=plain, most_spread=2.0)
    decided = policy.decide(book, market)
    np.testing.assert_array_equal(decided.targets, plain.decide(book, market).targets)
    assert policy.economy is NO_ECONOMY
    first, *others = policy.remarks(decided, book, market, 1)
    assert first.startswith("The policy plain decides instead of ppo: no recent figure is known of")
    assert "term spread, credit spread, implied volatility" in first
    assert others == plain.remarks(plain.decide(book, market), book, market, 1)
    known = attrs.evolve(policy, economy=an_economy(market.last_date))
    assert not known.decide(book, market).doubts.any()
    assert np.abs(known.decide(book, market).targets - decided.targets).max() > 1e-3


def test_a_stored_policy_names_its_fallback(tmp_path):
    learned = a_learned(3, inputs=WITH_ECONOMY)
    fallback, _ = load_version(keep(tmp_path, name="plain", algorithm="ppo", inputs=INPUTS_2))
    stored = save_version(
        tmp_path, attrs.evolve(learned, name="macro", rule=fallback), TRAINING, version=1
    )
    policy, card = load_version(stored)
    assert policy.inputs == WITH_ECONOMY and policy.rule.name == "plain@1"
    assert card.model_card.fallback == "plain@1"
    with pytest.raises(InvalidRequest, match="ppo@7") as refused:
        lonely = attrs.evolve(learned, name="macro", rule=attrs.evolve(fallback, name="ppo@7"))
        save_version(tmp_path, lonely, TRAINING, version=2)
    assert "its fallback ppo@7 does not exist" in str(refused.value)

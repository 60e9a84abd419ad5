"""The market regime over HTTP: public, and without data of the future."""

from __future__ import annotations

from pathlib import Path

import pytest

from rebalancer.adapters.rl.regimes import StoredRegimes
from rebalancer.application.market_data import DescribeRegime
from rebalancer.application.ports.market import Regimes
from rebalancer.domain.errors import Unavailable
from tests.entrypoints.http.conftest import (
    ApiUser,
    RunningApi,
    checked,
    expect_problem,
    provide_values,
)

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)
PATH = "/api/market/regime"


class BrokenRegimes:
    def model(self) -> None:
        raise Unavailable("the shipped regimes are damaged, install rebalancer again")


def test_regime_is_public_and_uses_the_last_close(api: RunningApi) -> None:
    answer = checked(api.client.get(PATH))
    assert answer.status_code == 200, answer.text
    regime = answer.json()
    expected = DescribeRegime(api.market, StoredRegimes())()
    assert regime["as_of"] == api.market.last
    assert regime["symbols"] == list("ABCDEFGHIJ")
    assert regime["probabilities"] == expected.probabilities
    assert list(regime["probabilities"]) == ["calm", "normal", "stressed"]
    assert (regime["regime"], regime["since"]) == (expected.regime, str(expected.since))
    assert regime["sentence"] == expected.sentence
    assert len(regime["weeks"]) == len(expected.weeks)
    assert regime["weeks"][-1]["last"] == api.market.last
    assert regime["weeks"][-1]["regime"] == regime["regime"]


def test_regime_of_chosen_assets_and_day(api: RunningApi, ada: ApiUser) -> None:
    asked = {"symbols": "C,F", "as_of": api.market.day(40)}
    regime = ada.get(PATH, params=asked).json()
    assert regime["symbols"] == ["C", "F"] and regime["as_of"] == api.market.day(40)
    api.market.reveal_day()
    assert ada.get(PATH, params=asked).json() == regime
    assert ada.get(PATH).json()["as_of"] == api.market.last


def test_invalid_regime_requests_are_rejected(api: RunningApi, ada: ApiUser) -> None:
    assert "NIL" in expect_problem(ada.get(PATH, params={"symbols": "C,NIL"}), 422)
    assert "each once" in expect_problem(ada.get(PATH, params={"symbols": "C,C"}), 422)
    assert "at least one" in expect_problem(ada.get(PATH, params={"symbols": ","}), 422)
    early = expect_problem(ada.get(PATH, params={"as_of": api.market.day(260)}), 422, "as_of")
    assert "too few" in early
    # J was listed 40 days ago, of which 5 are still to come.
    assert "35 closes" in expect_problem(ada.get(PATH, params={"symbols": "J"}), 422, "as_of")
    expect_problem(ada.get(PATH, params={"as_of": "1900-01-01"}), 422, "as_of")
    expect_problem(ada.get(PATH, params={"as_of": "today"}), 400, "as_of")
    expect_problem(ada.get(PATH, params={"symbol": "C"}), 400, "symbol")
    api.market.is_down = True
    expect_problem(ada.get(PATH), 503)


@pytest.mark.parametrize("content", [None, "{}"])
def test_damaged_regime_model_is_named(start_api, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "regimes.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with_file = start_api(provide_values({Regimes: StoredRegimes(path)}))
    assert "regimes.json" in expect_problem(with_file.client.get(PATH), 422, "regimes")


def test_damaged_shipped_model_is_unavailable(start_api) -> None:
    failure = start_api(provide_values({Regimes: BrokenRegimes()}))
    assert "install" in expect_problem(failure.client.get(PATH), 503)

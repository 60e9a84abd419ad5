"""The market's regime over HTTP: for everybody, and never from the future."""

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


class Broken:
    def model(self) -> None:
        raise Unavailable("the shipped regimes are damaged, install rebalancer again")


def test_it_needs_no_token_and_tells_the_last_close(api: RunningApi) -> None:
    answer = checked(api.client.get(PATH))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    expected = DescribeRegime(api.market, StoredRegimes())()
    assert told["as_of"] == api.market.last
    assert told["symbols"] == list("ABCDEFGHIJ")
    assert told["probabilities"] == expected.probabilities
    assert list(told["probabilities"]) == ["calm", "normal", "stressed"]
    assert (told["regime"], told["since"]) == (expected.regime, str(expected.since))
    assert told["sentence"] == expected.sentence
    assert len(told["weeks"]) == len(expected.weeks)
    assert told["weeks"][-1]["last"] == api.market.last
    assert told["weeks"][-1]["regime"] == told["regime"]


def test_a_mix_and_a_day_can_be_chosen(api: RunningApi, ada: ApiUser) -> None:
    asked = {"symbols": "C,F", "as_of": api.market.day(40)}
    told = ada.get(PATH, params=asked).json()
    assert told["symbols"] == ["C", "F"] and told["as_of"] == api.market.day(40)
    api.market.reveal_day()
    assert ada.get(PATH, params=asked).json() == told
    assert ada.get(PATH).json()["as_of"] == api.market.last


def test_mistakes(api: RunningApi, ada: ApiUser) -> None:
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
def test_a_damaged_model_is_named(start_api, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "regimes.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with_file = start_api(provide_values({Regimes: StoredRegimes(path)}))
    assert "regimes.json" in expect_problem(with_file.client.get(PATH), 422, "regimes")


def test_what_is_shipped_damaged_is_away(start_api) -> None:
    failure = start_api(provide_values({Regimes: Broken()}))
    assert "install" in expect_problem(failure.client.get(PATH), 503)

from __future__ import annotations

import json
import sys
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rebalancer.adapters.rl import regimes
from rebalancer.adapters.rl.regimes import StoredRegimes, read_regimes
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel, observations
from tests.builders import names, prices
from tests.regimes import ARRAYS, make_regimes, sha256_of, write_regimes


def same(one: RegimeModel, other: RegimeModel) -> bool:
    arrays = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS)
    return arrays and one.names == other.names


def alternating(days: int = 1040, assets: int = 4, *, every: int = 40) -> PriceHistory:
    """Prices that are calm and loud in turn, for 40 days each; the first are calm."""
    dice = np.random.default_rng(11)
    loud = np.arange(days) // every % 2 == 1
    scale = np.where(loud, 0.02, 0.005)[:, None]
    moves = scale * (0.8 * dice.normal(size=(days, 1)) + 0.6 * dice.normal(size=(days, assets)))
    dates = np.busday_offset(np.datetime64("2010-01-04"), np.arange(days))
    return PriceHistory.of(names(assets), dates, 100.0 * np.exp(np.cumsum(moves, axis=0)))


fit_regimes = partial(regimes.fit_regimes, mixes=6)  # so that a fit takes no time


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "regimes.json"
    write_regimes(StoredRegimes().model(), path, {"seed": 0})
    return path


@pytest.mark.parametrize("seed", range(3))
def test_it_filters_as_hmmlearn_does(seed: int) -> None:
    from hmmlearn.hmm import GaussianHMM  # slow, and few workers need it

    model = StoredRegimes().model()
    library = GaussianHMM(n_components=3, covariance_type="full", init_params="")
    library.startprob_, library.transmat_ = model.start, model.transition
    library.means_, library.covars_ = model.means, model.covariances
    seen = observations(np.random.default_rng(seed).standard_t(4, (20, 252)) * 0.01)

    # At the last week there is nothing to smooth with, and only there.
    theirs = np.stack([library.predict_proba(one)[-1] for one in seen])
    assert model.filtered(seen) == pytest.approx(theirs, abs=1e-9)


def test_it_finds_the_regimes_that_are_there() -> None:
    panel = alternating()
    model = fit_regimes([panel], states=2, seed=1)
    assert model.names == ("calm", "stressed")
    assert model.means[0, 1] < -0.5 and model.means[1, 1] > 0.1
    # They last 8 weeks, so that 1 of 8 is the last.
    assert np.diag(model.transition) == pytest.approx([7 / 8, 7 / 8], abs=0.05)
    returns = panel.returns(len(panel)).mean(axis=1)[None]
    ends = (
        np.array([19, 24, 25]) * 40 + 38
    )  # the 40th return of a stretch; the first return is late
    told = model.rolling(returns, ends)[0]
    assert told.argmax(axis=1).tolist() == [1, 0, 1]
    assert told.max(axis=1).min() > 0.95


def test_the_same_data_and_seed_give_the_same_model() -> None:
    panels = [alternating(800), prices(5, 600)]
    model = fit_regimes(panels, seed=3)
    assert model.names == ("calm", "normal", "stressed")
    assert same(model, fit_regimes(panels, seed=3))
    assert not same(model, fit_regimes(panels, seed=4))


def test_fit_rejects_short_prices_and_other_states() -> None:
    for panels in ([], [prices(3, 252)]):
        with pytest.raises(InvalidRequest, match="the 253 closes"):
            fit_regimes(panels, seed=0)
    with pytest.raises(InvalidRequest, match="5 states are not supported"):
        fit_regimes([prices(3, 300)], states=5, seed=0)


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hmmlearn.hmm", None)
    with pytest.raises(Unavailable, match=r"rebalancer\[train\]"):
        fit_regimes([alternating(300)], seed=0)


def test_nothing_late_and_no_bills_are_fitted_on(tmp_path: Path) -> None:
    whole = alternating(1000)
    panel = PriceHistory.of(("A", "B", "C", "BIL"), whole.dates, whole.closes)
    until = panel.until(699).last_date
    made = make_regimes({"mine": panel}, tmp_path / "made.json", seed=2, until=until)
    wild = panel.closes.copy()
    wild[700:] = 1.0
    wild[:, 3] = 5.0
    other = PriceHistory.of(panel.symbols, panel.dates, wild)
    again = make_regimes({"mine": other}, tmp_path / "again.json", seed=2, until=until)
    assert same(made, again)
    assert (tmp_path / "made.json").read_text() == (tmp_path / "again.json").read_text()
    about = json.loads((tmp_path / "made.json").read_text())["about"]
    assert about["data"] == [
        {
            "name": "mine",
            "assets": 3,
            "first": "2010-01-04",
            "last": str(until),
            "sha256": panel.until(699).select(["A", "B", "C"]).digest,
        }
    ]
    assert about["seed"] == 2 and about["library"].startswith("hmmlearn ")
    with pytest.raises(InvalidRequest, match="choose a later day"):
        make_regimes({"mine": panel}, tmp_path / "none.json", until=date(2009, 1, 1))


def test_what_is_written_is_read_to_the_last_digit(kept: Path) -> None:
    assert same(read_regimes(kept).model, StoredRegimes().model())
    assert same(StoredRegimes(kept).model(), StoredRegimes().model())


def test_what_is_shipped_was_fitted_on_nothing_late() -> None:
    path = Path(regimes.__file__).parent / "shipped" / "regimes.json"
    about = json.loads(path.read_text(encoding="utf-8"))["about"]
    assert about["until"] == "2015-12-31" and about["without"] == ["BIL", "TBILL3M"]
    assert len(about["data"]) == 3
    assert all(one["last"] <= about["until"] for one in about["data"])
    model = StoredRegimes().model()
    assert model.names == ("calm", "normal", "stressed")
    # A stressed week moves more than twice as far as a calm one, and down rather than up.
    assert np.exp(model.means[2, 1] - model.means[0, 1]) > 2.0
    assert model.means[0, 0] > 0.0 > model.means[2, 0]


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda text: text[:-20], "it is not JSON"),
        (lambda text: "[" * 100_000, "it is not JSON"),
        (lambda text: "[]", "format 1"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "format 1"),
        (lambda text: text.replace("calm", "calmer"), "checksum"),
        (lambda text: text.replace("0.", "0.0", 1), "checksum"),
        (lambda text: text.replace("sha256", "md5"), "checksum"),
    ],
)
def test_damaged_file_is_rejected(kept: Path, change, fragment: str) -> None:
    kept.write_text(change(kept.read_text()), encoding="utf-8")
    with pytest.raises(InvalidRequest, match=fragment) as error:
        read_regimes(kept)
    assert str(kept) in str(error.value)


@pytest.mark.parametrize("model", [{}, {"names": ["a", "b"]}, [], "text"])
def test_valid_checksum_does_not_make_a_model_valid(kept: Path, model: object) -> None:
    content = {"format": 1, "model": model, "about": {}}
    kept.write_text(json.dumps(content | {"sha256": sha256_of(content)}), encoding="utf-8")
    with pytest.raises(InvalidRequest, match="damaged"):
        read_regimes(kept)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"none\.json: No such file"):
        read_regimes(tmp_path / "none.json")
    with pytest.raises(InvalidRequest, match="cannot write"):
        write_regimes(StoredRegimes().model(), tmp_path, {})


def test_damaged_shipped_model_is_an_internal_error(tmp_path: Path) -> None:
    shipped = tmp_path / "regimes.json"
    with pytest.raises(Unavailable, match="install rebalancer again"):
        StoredRegimes(shipped=shipped).model()
    shipped.write_text("{}", encoding="utf-8")
    with pytest.raises(Unavailable, match="format 1"):
        StoredRegimes(shipped=shipped).model()

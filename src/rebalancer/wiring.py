"""The composition root: which adapter stands behind which port. Nothing else imports adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs
from dishka import Container, Provider, Scope, from_context, make_container, provide

from rebalancer.adapters.market_data.csv_files import CsvInstruments, CsvPrices, PackagedInstruments
from rebalancer.adapters.market_data.sample import SURVIVORSHIP, SamplePrices
from rebalancer.adapters.report.html import HtmlReports
from rebalancer.application.backtests import RunBacktest
from rebalancer.application.market_data import DescribeAsset, DescribeMarket
from rebalancer.application.ports import BacktestReports, InstrumentSource, PriceSource
from rebalancer.application.rebalance import ProposeForBook, ProposeRebalance, SetTerms


@attrs.frozen
class Sources:
    """Where market data come from.

    Attributes:
        prices: A CSV file; None: the packaged sample.
        assets: An instrument list; None: the packaged one.
        sample: Which part of the sample.
    """

    prices: Path | None = None
    assets: Path | None = None
    sample: Literal["stocks", "factors"] = "stocks"

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader of results on these prices must know."""
        return (SURVIVORSHIP,) if self.prices is None else ()


class MarketData(Provider):
    """Prices and instruments from files, or from the packages."""

    scope = Scope.APP
    sources = from_context(provides=Sources, scope=Scope.APP)

    @provide
    def prices(self, sources: Sources) -> PriceSource:
        """A file, or the packaged sample."""
        if sources.prices is None:
            return SamplePrices(sources.sample)
        return CsvPrices(sources.prices)

    @provide
    def instruments(self, sources: Sources) -> InstrumentSource:
        """A file, or the packaged list."""
        return PackagedInstruments() if sources.assets is None else CsvInstruments(sources.assets)


class Reports(Provider):
    """How results are shown."""

    scope = Scope.APP

    @provide
    def backtests(self) -> BacktestReports:
        """Self-contained HTML."""
        return HtmlReports()


class UseCases(Provider):
    """What the application can do."""

    scope = Scope.APP
    set_terms = provide(SetTerms)
    propose = provide(ProposeRebalance)
    propose_for_book = provide(ProposeForBook)
    run_backtest = provide(RunBacktest)
    describe_market = provide(DescribeMarket)
    describe_asset = provide(DescribeAsset)


def container(sources: Sources, *overrides: Provider) -> Container:
    """Everything wired together; later providers replace earlier ones."""
    providers = (MarketData(), Reports(), UseCases(), *overrides)
    return make_container(*providers, context={Sources: sources})

"""Rules: policies with an allocation, a review schedule and a no-trade band.

`POLICIES` lists all rules with their parameters. `parse_rule` parses the text form of a rule:
``monthly``, ``band:edge``, ``volatility_target:target=0.10,window=42``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.frequency import ObservationFrequency
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy import allocation, formulas
from rebalancer.domain.policy.formulas import Allocation, Parameters
from rebalancer.domain.policy.policy import Decision, Frequency, Policy
from rebalancer.domain.portfolio.book import Book

DEFAULT_BAND = 0.02
DEFAULT_RELATIVE_BAND = 0.20


@attrs.frozen
class RulePolicy:
    """A policy of an allocation, a schedule and a no-trade band.

    Attributes:
        name: Text by which it was requested.
        band: Half-width of the no-trade band; None to trade to the target always.
        landing: Where an asset outside its band goes: 0 is the target, 1 the band's edge.
        relative: Whether the half-width is a share of the target rather than of the portfolio.
        prefers: Whether ``preferences.band`` of a portfolio replaces the half-width.
    """

    name: str
    allocation: Allocation
    frequency: Frequency
    band: float | None = None
    landing: float = 0.0
    relative: bool = False
    prefers: bool = False

    @property
    def lookback(self) -> int:
        return self.allocation.lookback

    def decide(self, book: Book, market: PriceHistory) -> Decision:
        due = self.frequency.due(book.reviewed, book.as_of)
        if self.frequency is Frequency.ONCE:
            due &= ~(book.values > 0).any(axis=1)
        targets, informed = self.allocation.weigh(book, market)
        if self.band is None:
            band = cash_band = None
        else:
            band, cash_band = self._half_widths(book, targets)
        if informed is None or informed.all():
            return Decision(targets, due, band, cash_band, self.landing)
        monthly = Frequency.MONTHLY.due(book.reviewed, book.as_of)
        known = informed[:, None]
        return Decision(
            targets=np.where(known, targets, book.targets),
            due=np.where(informed, due, monthly),
            band=None if band is None else np.where(known, band, 0.0),
            cash_band=None if cash_band is None else np.where(informed, cash_band, 0.0),
            landing=self.landing,
            informed=informed,
        )

    def suits(self, frequency: ObservationFrequency) -> bool:
        """See `LooksBack.suits`."""
        return self.allocation.suits(frequency)

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        if decision.informed is not None and not decision.informed[row]:
            one = book.only(np.array([row]))
            return [self.allocation.explain_shortage(self.name, one, market)]
        if self.allocation.remark is None:
            return []
        remark = self.allocation.explain(book.only(np.array([row])), market)
        return [] if remark is None else [remark]

    def _half_widths(self, book: Book, targets: Floats) -> tuple[Floats, Floats]:
        own = np.full(len(book), self.band, dtype=np.float64)
        if self.prefers:
            own = np.where(np.isnan(book.band), own, book.band)
        if self.relative:
            # A relative band is undefined for cash, which has no target.
            return own[:, None] * targets, np.full(len(book), DEFAULT_BAND)
        return np.broadcast_to(own[:, None], targets.shape), own


@attrs.frozen
class RuleKind:
    """One rule of the catalogue.

    Attributes:
        source: Publication of the idea.
        parameters: Names and defaults; ``band`` is the half-width of the no-trade band.
        variants: Parameters that a variant sets, such as ``edge``.
        prefers: Whether ``preferences.band`` of a portfolio applies.
    """

    summary: str
    source: str
    frequency: Frequency
    build: Callable[[Parameters], Allocation] = lambda _: formulas.STRATEGIC
    parameters: Mapping[str, float] = attrs.field(factory=dict)
    variants: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict)
    prefers: bool = False


def _calendar(frequency: Frequency, summary: str) -> RuleKind:
    return RuleKind(summary, "calendar rebalancing; Perold and Sharpe 1988", frequency)


_MONTHLY_BAND = {"band": DEFAULT_BAND}

POLICIES: Mapping[str, RuleKind] = {
    "buy_and_hold": RuleKind(
        "buys the targets once, later trades only for cash flows",
        "Perold and Sharpe 1988, Dynamic Strategies for Asset Allocation",
        Frequency.ONCE,
    ),
    "weekly": _calendar(
        Frequency.WEEKLY, "rebalances to the targets on the first trading day of a week"
    ),
    "monthly": _calendar(
        Frequency.MONTHLY, "rebalances to the targets on the first trading day of a month"
    ),
    "quarterly": _calendar(
        Frequency.QUARTERLY, "rebalances to the targets at the start of a quarter"
    ),
    "yearly": _calendar(Frequency.YEARLY, "rebalances to the targets at the start of a year"),
    "band": RuleKind(
        "daily: trades assets outside their band to the target; others only fund these trades",
        "Masters 2003, Rebalancing; Daryanani 2008, Opportunistic Rebalancing",
        Frequency.DAILY,
        parameters={"band": DEFAULT_BAND},
        variants={
            "edge": {"landing": 1.0},
            "half": {"landing": 0.5},
            "relative": {"relative": 1.0, "band": DEFAULT_RELATIVE_BAND},
        },
        prefers=True,
    ),
    "volatility_target": RuleKind(
        "monthly: scales the targets to a given volatility; the rest is cash",
        "Moreira and Muir 2017, Volatility-Managed Portfolios",
        Frequency.MONTHLY,
        formulas.volatility_target,
        {"target": 0.12, "window": 63, "cap": 1.0, **_MONTHLY_BAND},
    ),
    "trend": RuleKind(
        "monthly: replaces assets below their average close with cash",
        "Faber 2007, A Quantitative Approach to Tactical Asset Allocation",
        Frequency.MONTHLY,
        formulas.trend,
        {"window": 200, **_MONTHLY_BAND},
    ),
    "momentum": RuleKind(
        "monthly: weights targets by the rank of last year's return, without the last month",
        "Jegadeesh and Titman 1993, Returns to Buying Winners and Selling Losers",
        Frequency.MONTHLY,
        formulas.momentum,
        {"window": 252, "skip": 21, **_MONTHLY_BAND},
    ),
    "inverse_volatility": RuleKind(
        "monthly: weights in inverse proportion to volatility",
        "Leote de Carvalho, Lu and Moulin 2012, Demystifying Equity Risk-Based Strategies",
        Frequency.MONTHLY,
        formulas.inverse_volatility,
        {"window": 63, **_MONTHLY_BAND},
    ),
    "risk_parity": RuleKind(
        "monthly: every asset contributes the same risk",
        "Maillard, Roncalli and Teiletche 2010; Spinu 2013",
        Frequency.MONTHLY,
        formulas.risk_parity,
        {"window": 63, **_MONTHLY_BAND},
    ),
    "minimum_variance": RuleKind(
        "monthly: the long-only mix of least variance, covariance shrunk",
        "Clarke, de Silva and Thorley 2006; Ledoit and Wolf 2004",
        Frequency.MONTHLY,
        formulas.shrunk(allocation.minimum_variance),
        {"window": 252, **_MONTHLY_BAND},
    ),
    "hierarchical_risk_parity": RuleKind(
        "monthly: variance split down a tree of correlated assets",
        "Lopez de Prado 2016, Building Diversified Portfolios that Outperform Out of Sample",
        Frequency.MONTHLY,
        formulas.shrunk(allocation.hierarchical_risk_parity),
        {"window": 252, **_MONTHLY_BAND},
    ),
}
"""Every rule by name."""


def split_policy_names(text: str, *, field: str = "policy") -> list[str]:
    """Split ``monthly,trend:window=150,band=0.03,band:edge`` into names of policies.

    Commas separate policies and also parameters: a piece with ``=`` and no ``:`` before it is a
    parameter of the policy on its left.

    Raises:
        InvalidRequest: the text names no policy, or one twice.
    """
    names: list[str] = []
    for piece in (part.strip() for part in text.split(",")):
        parameter = "=" in piece and ":" not in piece.split("=", 1)[0]
        if parameter and names:
            names[-1] += ("," if ":" in names[-1] else ":") + piece
        elif piece:
            names.append(piece)
    if not names:
        raise InvalidRequest(
            f"no policy is given; choose at least one of {', '.join(POLICIES)}",
            field=field,
            code="policy_missing",
        )
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequest(
                f"{name} is given twice; remove one", field=field, code="policy_repeated"
            )
    return names


def parse_rule(text: str) -> Policy:
    """Parse a rule from ``NAME[:variant][:parameter=value,...]``.

    All rules except ``buy_and_hold`` have the parameter
    ``frequency=daily|weekly|monthly|quarterly|yearly``.

    Raises:
        InvalidRequest: the name, a variant or a parameter is unknown or out of range.
    """
    name, _, rest = text.strip().partition(":")
    name = name.strip()
    kind = POLICIES.get(name)
    if kind is None:
        raise InvalidRequest(
            f"unknown policy {name!r}; choose one of {', '.join(POLICIES)}",
            field="policy",
            code="unknown_policy",
        )
    variants: dict[str, float] = {}
    settings: dict[str, float] = {}
    frequency = kind.frequency
    given_keys: set[str] = set()
    for piece in (part.strip() for part in rest.replace(":", ",").split(",") if part.strip()):
        key, given, value = (part.strip() for part in piece.partition("="))
        about = {key}
        if not given and key in kind.variants:
            variants |= kind.variants[key]
            about = kind.variants[key].keys() - kind.parameters.keys()
        elif key == "frequency" and given and frequency is not Frequency.ONCE:
            frequency = _frequency(name, value)
        elif key in kind.parameters and given:
            settings[key] = _parameter(f"{name}:{key}", key, value)
        else:
            options = [*kind.variants, *(f"{option}=" for option in kind.parameters)]
            if frequency is not Frequency.ONCE:
                options.append("frequency=")
            remedy = f"choose {', '.join(options)}" if options else "remove it"
            raise InvalidRequest(
                f"{name} has no parameter {piece!r}; {remedy}",
                field="policy",
                code="unknown_policy_parameter",
            )
        if given_keys & about:
            raise InvalidRequest(
                f"{name}: {piece!r} repeats or conflicts with an earlier parameter",
                field="policy",
                code="policy_parameter_repeated",
            )
        given_keys |= about
    # An explicit parameter overrides that of a variant, in any order.
    settings = {**kind.parameters, **variants, **settings}
    if settings.get("skip", 0) >= settings.get("window", math.inf):
        raise InvalidRequest(
            f"{name}: skip={settings['skip']:g} must be less than window={settings['window']:g}",
            field="policy",
            code="skip_exceeds_window",
        )
    return RulePolicy(
        name=text.strip(),
        allocation=kind.build(settings),
        frequency=frequency,
        band=settings.get("band"),
        landing=settings.get("landing", 0.0),
        relative=bool(settings.get("relative", 0.0)),
        prefers=kind.prefers,
    )


def _frequency(name: str, text: str) -> Frequency:
    options = [option for option in Frequency if option is not Frequency.ONCE]
    if text not in options:
        raise InvalidRequest(
            f"unknown {name}:frequency {text!r}; choose one of {', '.join(options)}",
            field="policy",
            code="unknown_frequency",
        )
    return Frequency(text)


_RANGES: Mapping[str, tuple[float, float]] = {
    "band": (0.0, 1.0),
    "cap": (0.0, 1.0),
    "target": (1e-4, 10.0),
    "window": (2, 5_000),
    "skip": (0, 1_000),
}

_COUNTS = ("window", "skip")


def _parameter(label: str, key: str, text: str) -> float:
    low, high = _RANGES[key]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    counted = key in _COUNTS
    whole = not counted or value == math.floor(value) if math.isfinite(value) else False
    if not (low <= value <= high and whole):
        kind = "a whole number" if counted else "a number"
        raise InvalidRequest(
            f"{label} is {text!r}; enter {kind} from {low:g} to {high:g}",
            field="policy",
            code="policy_parameter_out_of_range",
        )
    return value

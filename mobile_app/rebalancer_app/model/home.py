"""What Home shows."""

from __future__ import annotations

from decimal import Decimal

import attrs

from rebalancer_app.gateway.home import Change as Measured
from rebalancer_app.gateway.home import Home, Summary, ToDo
from rebalancer_app.model.charts import Chart, money_chart, thin
from rebalancer_app.model.formats import HIDDEN, Change, Formats
from rebalancer_app.texts import Texts

PERIODS = ("1D", "1M", "YTD", "1Y", "max")

_ROUTES = {
    "proposal_waits": "/portfolios/{portfolio}/proposals/{proposal}",
    "trades_expected": "/portfolios/{portfolio}/proposals/{proposal}",
    "flow_due": "/portfolios/{portfolio}/planned",
    "deposit_uninvested": "/portfolios/{portfolio}/rebalance",
    "outside_band": "/portfolios/{portfolio}/rebalance",
    "no_value": "/portfolios/{portfolio}",
    "no_targets": "/portfolios/{portfolio}/targets",
    "prices_old": "/market",
}


@attrs.frozen
class NextStep:
    """The one thing to do now.

    Attributes:
        title: What is up.
        action: Words of the button.
        route: Where it is done.
        others: How many more things wait.
    """

    title: str
    action: str
    route: str
    others: int


@attrs.frozen
class PortfolioCard:
    """A portfolio on Home.

    Attributes:
        change: Over the chosen period.
        badge: State of the drift.
        in_band: Whether no trade is needed; None if that is unknown.
        sparkline: Values of the last year.
        spoken: The card for screen readers.
    """

    route: str
    name: str
    value: str
    change: Change | None
    badge: str
    in_band: bool | None
    sparkline: tuple[float, ...]
    spoken: str


@attrs.frozen
class HomeScreen:
    """Everything on Home.

    Attributes:
        total: Value of all portfolios.
        gain: Gain over the chosen period, in money.
        change: The same as a return.
        since: First day of the period.
        is_empty: Whether the person has no portfolio.
    """

    total: str
    gain: str
    change: Change | None
    since: str
    as_of: str
    chart: Chart | None
    next_step: NextStep | None
    cards: tuple[PortfolioCard, ...]
    notes: tuple[str, ...]
    is_empty: bool


def home_screen(home: Home, formats: Formats, texts: Texts, *, hidden: bool = False) -> HomeScreen:
    """Return what Home shows of a summary; ``hidden`` replaces amounts by dots.

    Its period is that of the summary, so that figures and chart agree while another is loaded.
    """
    period = home.period
    measured = _find(home.changes, period)
    names = {one.id: one.name for one in home.portfolios}
    chart = None
    if home.history is not None and not hidden:
        rows = thin(len(home.history.dates))
        dates = [home.history.dates[at] for at in rows]
        lines = [("", [home.history.values[at] for at in rows])]
        chart = money_chart(dates, lines, home.currency, formats, texts)
    return HomeScreen(
        total=HIDDEN if hidden else formats.money(home.value, home.currency),
        gain=_gain(measured, home.currency, formats, hidden),
        change=None if measured is None else formats.change(measured.change, _words(texts)),
        since="" if measured is None else texts("home.since", day=formats.day(measured.since)),
        as_of=texts("home.as_of", day=formats.day(home.as_of)),
        chart=chart,
        next_step=_next_step(home.to_do, {str(id): name for id, name in names.items()}, texts),
        cards=tuple(_card(one, period, formats, texts, hidden) for one in home.portfolios),
        notes=tuple(home.notes),
        is_empty=not home.portfolios,
    )


def _next_step(to_do: list[ToDo], names: dict[str, str], texts: Texts) -> NextStep | None:
    """Return the most urgent thing that this app knows how to do."""
    known = [one for one in to_do if one.task in _ROUTES]
    if not known:
        return None
    first = known[0]
    waiting = sum(one.task == "proposal_waits" for one in known)
    name = names.get(str(first.portfolio_id), "")
    if first.task == "proposal_waits" and waiting > 1:
        title = texts("todo.proposals_wait", number=waiting)
    else:
        title = texts(f"todo.{first.task}", name=name, days=first.days or 0)
    route = _ROUTES[first.task].format(portfolio=first.portfolio_id, proposal=first.proposal_id)
    return NextStep(title, texts(f"todo.{first.task}_action"), route, len(known) - 1)


def _card(one: Summary, period: str, formats: Formats, texts: Texts, hidden: bool) -> PortfolioCard:
    measured = _find(one.changes, period)
    change = None if measured is None else formats.change(measured.change, _words(texts))
    value = HIDDEN if hidden else formats.money(one.value, one.currency)
    if one.drift is None:
        badge, in_band = "", None
    elif one.outside or one.uninvested > 0:
        points = formats.points(one.drift).lstrip("+")
        badge, in_band = texts("home.drift", points=points), False
    else:
        badge, in_band = texts("home.in_band"), True
    spoken = ", ".join(
        part for part in (one.name, value, change.spoken if change else "", badge) if part
    )
    return PortfolioCard(
        f"/portfolios/{one.id}",
        one.name,
        value,
        change,
        badge,
        in_band,
        tuple(one.sparkline),
        spoken,
    )


def _gain(measured: Measured | None, currency: str, formats: Formats, hidden: bool) -> str:
    if measured is None or hidden:
        return ""
    return formats.signed_money(Decimal(measured.gain), currency)


def _find(changes: list[Measured], period: str) -> Measured | None:
    return next((one for one in changes if one.period == period), None)


def _words(texts: Texts) -> tuple[str, str, str]:
    return texts("app.up"), texts("app.down"), texts("app.same")

"""`/api/portfolios/{id}/actions`: list, confirm, dismiss and record corporate actions."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, field

from rebalancer.application.action_requests import (
    Confirmation,
    DecideActions,
    ListActions,
    OwnAction,
)
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.portfolio.ledger import EntryKind
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.bodies import LARGE_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.etags import IfMatch, IfNoneMatch, accepted_versions, etag
from rebalancer.entrypoints.http.idempotency import Key, replay_headers
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.actions import ActionView, action_views
from rebalancer.entrypoints.schemas.portfolio import PortfolioView, portfolio_view
from rebalancer.entrypoints.schemas.wire import (
    MOST_ASSETS,
    Body,
    CurrencyCode,
    Fraction,
    Line,
    NonNegative,
    Symbol,
    View,
    about,
    documented_default,
)

_KEY = Annotated[str, Meta(min_length=1, max_length=500, examples=["KO 2024-06-13 dividend"])]


class DecisionBody(Body, frozen=True, kw_only=True):
    """A decision on a pending corporate action."""

    key: _KEY
    decision: Annotated[
        Literal["confirm", "dismiss"],
        about("confirm books the action; dismiss leaves the ledger as it is."),
    ] = "confirm"
    amount: Annotated[
        NonNegative | None,
        about("What was paid before tax, in the currency of the action. Default: as computed."),
    ] = None
    withheld: Annotated[NonNegative, about("Tax withheld from it."), documented_default("0")] = (
        field(default_factory=NonNegative)
    )


class OwnActionBody(Body, frozen=True, kw_only=True):
    """A corporate action that the market data do not have."""

    kind: Literal["split", "rename", "spin_off", "merger", "dividend", "return_of_capital"]
    symbol: Symbol
    on: Annotated[
        date | None,
        about(
            "The first market day in the new form, or the ex-day; default: the day of the last "
            "close."
        ),
    ] = None
    ratio: Annotated[
        NonNegative | None,
        about("Split: new units per old one. Spin-off, merger: units of other per unit."),
    ] = None
    other: Annotated[
        Symbol | None, about("The new symbol, or the asset of a spin-off or merger.")
    ] = None
    cost_share: Annotated[
        Fraction | None, about("Share of the cost that passes to the other asset.")
    ] = None
    amount: Annotated[
        NonNegative,
        about("Money that is paid, before tax; of a merger, besides units."),
        documented_default("0"),
    ] = field(default_factory=NonNegative)
    currency: Annotated[CurrencyCode | None, about("Default: the base currency.")] = None
    withheld: Annotated[
        NonNegative, about("Tax withheld from a dividend."), documented_default("0")
    ] = field(default_factory=NonNegative)
    note: Line = ""


_SPLIT = {"kind": "split", "symbol": "KO", "on": "2022-12-01", "ratio": "2"}


class ActionsBody(Body, frozen=True, kw_only=True):
    """Decisions on pending actions, and actions to record; all take effect or none."""

    decisions: Annotated[list[DecisionBody], Meta(max_length=MOST_ASSETS)] = field(
        default_factory=list
    )
    record: Annotated[list[OwnActionBody], Meta(max_length=MOST_ASSETS, examples=[[_SPLIT]])] = (
        field(default_factory=list)
    )


_NOTHING = ActionsBody()


class ActionsView(View, frozen=True, kw_only=True):
    """The corporate actions of a portfolio, by day."""

    items: list[ActionView]


class DecidedView(View, frozen=True, kw_only=True):
    """The corporate actions and the updated portfolio."""

    items: list[ActionView]
    portfolio: PortfolioView


@get("/{portfolio_id:uuid}/actions", summary="List corporate actions")
async def list_actions(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ListActions],
    clock: FromDishka[Clock],
) -> ActionsView:
    """List splits, dividends and the like of assets that the portfolio held, by day.

    Pending ones have the entries that a confirmation would book.
    """
    found = await run_in(READS, use, portfolio_id, actor=owner, now=clock())
    return ActionsView(items=action_views(found))


@post(
    "/{portfolio_id:uuid}/actions",
    summary="Confirm or record corporate actions",
    responses=problem_responses(409, 412, 422),
)
async def decide_actions(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[DecideActions],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    data: JSONBody[ActionsBody] = _NOTHING,
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[DecidedView]:
    """Confirm or dismiss pending actions, and record others, all or none.

    A split or a new symbol cancels open orders of accepted proposals for the asset.
    """
    decisions = [
        Confirmation(
            one.key,
            one.decision == "dismiss",
            None if one.amount is None else Decimal(one.amount),
            Decimal(one.withheld),
        )
        for one in data.decisions
    ]
    own = [
        OwnAction(
            EntryKind(one.kind),
            one.symbol,
            one.on,
            None if one.ratio is None else Decimal(one.ratio),
            one.other,
            None if one.cost_share is None else Decimal(repr(float(one.cost_share))),
            Decimal(one.amount),
            one.currency,
            Decimal(one.withheld),
            one.note,
        )
        for one in data.record
    ]
    actions, valued, replayed = await run_in(
        WRITES,
        use,
        decisions,
        own,
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        key=key,
        id=ids(),
        now=clock(),
    )
    view = DecidedView(items=action_views(actions), portfolio=portfolio_view(valued))
    return Response(view, headers=replay_headers(replayed) | {"ETag": etag(valued)})


router = owner_router(
    "/portfolios", [list_actions, decide_actions], tag="portfolios", max_body=LARGE_BODY
)

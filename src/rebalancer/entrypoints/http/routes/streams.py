"""`/api/market/stream`, `/api/portfolios/{id}/stream` and the tickets that open them."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import ServerSentEvent

from rebalancer.application.live_values import DescribeWatched, ValueLive
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.clock import Clock
from rebalancer.application.stream_tickets import CreateStreamTicket
from rebalancer.application.valuation import ValuedPortfolio
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import split_symbols
from rebalancer.entrypoints.http.auth import (
    TAKES_TICKETS,
    CurrentBearer,
    Owner,
    owner_router,
    parse_bearer_token,
    still_authenticated,
)
from rebalancer.entrypoints.http.errors import problem_responses, response_spec
from rebalancer.entrypoints.http.idempotency import ANSWER_HOLDS_SECRETS, WITHOUT_KEY
from rebalancer.entrypoints.http.quote_streams import MOST_SYMBOLS, QuoteStreams, Stream
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.streams import StreamEvent, TicketView

Ticket = Annotated[
    str | None,
    QueryParameter(
        description="A ticket of POST /api/stream-tickets, for clients that cannot send the "
        "Authorization header."
    ),
]
Once = Annotated[
    bool, QueryParameter(description="Send what is known now, and end the stream then.")
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        description="Id of the last event that was received; older quotes are not sent again.",
    ),
]

_STREAM = {
    200: response_spec(
        StreamEvent, description="Server-sent events.", media_type="text/event-stream"
    )
}


@post(
    "/stream-tickets",
    status_code=201,
    summary="Get a ticket for a stream",
    responses=problem_responses(409),
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def create_stream_ticket(
    request: Request[Any, Any, Any],
    owner: Owner,
    bearer: CurrentBearer,
    use: FromDishka[CreateStreamTicket],
    tokens: FromDishka[Tokens],
    clock: FromDishka[Clock],
) -> Response[TicketView]:
    """Get a ticket that opens one stream within 30 seconds, for a browser's EventSource.

    The stream ends with the login, as one that was opened with the header does.
    """
    assert bearer.owner == owner
    ends = tokens.ends(parse_bearer_token(request.headers.get("Authorization", "")))
    ticket, expires = await run_in(WRITES, use, bearer, ends=ends, now=clock())
    return Response(TicketView(ticket=ticket, expires=expires))


@get(
    "/market/stream",
    summary="Watch assets",
    media_type="text/event-stream",
    responses=_STREAM | problem_responses(422),
    opt={TAKES_TICKETS: True},
)
async def watch_market(
    owner: Owner,
    state: State,
    request: Request[Any, Any, Any],
    describe: FromDishka[DescribeWatched],
    symbols: Annotated[
        str, QueryParameter(description=f"Up to {MOST_SYMBOLS} symbols, separated by commas.")
    ],
    once: Once = False,
    ticket: Ticket = None,
    last_event_id: LastEventId = None,
) -> ServerSentEvent:
    """Stream the quotes of assets: `assets` with their closes and sessions, then each `quote`.

    A slow client gets the latest quote of each asset. `assets` is sent again when a market opens or
    closes. A comment every 15 seconds keeps the stream open; it ends when you log out, when the
    login expires and when the server stops. Connect again then, with `Last-Event-ID`.
    """
    quotes: QuoteStreams = state.quote_streams
    place = quotes.streams.reserve(owner)
    try:
        known = await run_in(READS, describe.prices.symbols)
        assets = await run_in(READS, describe, _wanted(symbols, known))
    except BaseException:
        place.free()
        raise
    stream = Stream(
        quotes.streams, place, partial(still_authenticated, request, owner), quotes.times
    )
    after = _number_of(last_event_id)
    return ServerSentEvent(quotes.market(assets, stream=stream, after=after, once=once))


@get(
    "/portfolios/{portfolio_id:uuid}/stream",
    summary="Watch a portfolio",
    media_type="text/event-stream",
    responses=_STREAM,
    opt={TAKES_TICKETS: True},
)
async def watch_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    state: State,
    request: Request[Any, Any, Any],
    use: FromDishka[ValueLive],
    once: Once = False,
    ticket: Ticket = None,
) -> ServerSentEvent:
    """Stream a portfolio at quotes: `portfolio` whenever its value changes, at most once a second.

    A holding without a usable quote is valued at its last close, which `priced_by` states. The
    stream ends as that of assets does, and when the portfolio is closed or no longer shared with
    you.
    """
    quotes: QuoteStreams = state.quote_streams
    place = quotes.streams.reserve(owner)

    async def read() -> ValuedPortfolio:
        return await run_in(READS, use.portfolio, portfolio_id, actor=owner)

    try:
        valued = await read()
    except BaseException:
        place.free()
        raise
    stream = Stream(
        quotes.streams, place, partial(still_authenticated, request, owner), quotes.times
    )
    return ServerSentEvent(quotes.portfolio(valued, stream=stream, read=read, value=use, once=once))


def _wanted(symbols: str, known: Collection[str]) -> list[str]:
    """Return the symbols of a request, each once.

    Raises:
        InvalidRequest: their number is 0 or too high.
    """
    found = list(dict.fromkeys(split_symbols(symbols, known)))
    if not 1 <= len(found) <= MOST_SYMBOLS:
        raise InvalidRequest(
            f"{len(found)} symbols are given; enter 1 to {MOST_SYMBOLS}",
            field="symbols",
            code="symbols_out_of_range",
        )
    return found


def _number_of(event_id: str | None) -> int:
    """Return the number in an event's id; 0 for text that no event has."""
    known = event_id is not None and re.fullmatch("[0-9]{1,18}", event_id, re.ASCII)
    return int(event_id) if event_id is not None and known else 0


router = owner_router("/", [create_stream_ticket, watch_market, watch_portfolio], tag="streams")

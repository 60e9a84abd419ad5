"""`/api/portfolios/{id}/gains`: realised and unrealised gains, and income."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Request, Response, get
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema
from litestar.params import FromPath, FromQuery, QueryParameter

from rebalancer.application.gains import MeasureGains
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.years import TaxYear
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.gains import GainsView, gains_csv, gains_view, parse_lots

_CSV = "text/csv"
_LONGEST_LOTS = 2_000
"""Most characters of named lots: near the longest URL that clients and proxies accept."""


class OutputFormat(StrEnum):
    """Format of an answer."""

    JSON = "json"
    CSV = "csv"


@dataclass
class _GainsOperation(Operation):
    """Operation whose answer may also be CSV."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            answer.content[_CSV] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


@get(
    "/{portfolio_id:uuid}/gains",
    summary="Measure gains and income",
    operation_class=_GainsOperation,
    responses=problem_responses(422),
)
async def measure_gains(
    portfolio_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    owner: Owner,
    use: FromDishka[MeasureGains],
    year: Annotated[
        str | None,
        QueryParameter(
            max_length=7,
            description="Only disposals and income of a calendar year, such as 2023, or of a tax "
            "year of the United Kingdom, such as 2023-24. Default: all.",
        ),
    ] = None,
    method: Annotated[
        LotMethod | None,
        QueryParameter(
            description="Which units a sale disposes of. Default: `preferences.lot_method` of the "
            "portfolio."
        ),
    ] = None,
    lots: Annotated[
        str | None,
        QueryParameter(
            max_length=_LONGEST_LOTS,
            description="For the method specific: SALE:LOT:QUANTITY with the ids of the entry of a "
            "sale and of a lot, several separated by commas. Units that are not named are those "
            "acquired first.",
        ),
    ] = None,
    format: FromQuery[OutputFormat | None] = None,
) -> Response[GainsView]:
    """Measure realised gains by sale and lot, unrealised gains by lot, and income by year.

    All amounts are in the base currency, each at the exchange rate of its day. With `format=csv`,
    or `Accept: text/csv`, the answer has a row for each lot that a disposal uses. It is a
    computation, not tax advice; docs/gains.md describes the methods and their limits.
    """
    found = await run_in(
        READS,
        use,
        portfolio_id,
        actor=owner,
        method=method,
        year=None if year is None else TaxYear.parse(year),
        selections=parse_lots(lots.split(",") if lots else ()),
    )
    view = gains_view(found)
    if not _wants_csv(request, format):
        return Response(view, headers={"Vary": "Accept"})
    name = f"gains-{view.year or 'all'}-{view.method}.csv"
    text: Response[Any] = Response(
        gains_csv(view),
        media_type=_CSV,
        headers={"Vary": "Accept", "Content-Disposition": f'attachment; filename="{name}"'},
    )
    return text


def _wants_csv(request: Request[Any, Any, Any], format: OutputFormat | None) -> bool:
    """Return whether the answer is CSV: as the parameter says, else as the header accepts."""
    if format is not None:
        return format is OutputFormat.CSV
    return request.accept.best_match(["application/json", _CSV]) == _CSV


router = owner_router("/portfolios", [measure_gains], tag="portfolios")

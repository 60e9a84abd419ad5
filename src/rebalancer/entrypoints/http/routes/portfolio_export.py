"""`/api/portfolios/{id}/export`: the history of a portfolio for other tools."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Response, get
from litestar.openapi.spec import (
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Schema,
)
from litestar.params import FromPath, QueryParameter

from rebalancer.application.portfolio_export import ExportPortfolio
from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import response_spec
from rebalancer.entrypoints.http.threads import READS, run_in


class ExportFormat(StrEnum):
    """Format of another tool."""

    GHOSTFOLIO = "ghostfolio"
    PORTFOLIO_PERFORMANCE = "portfolio_performance"


@dataclass
class _ExportOperation(Operation):
    """Operation whose answer is JSON or an archive."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse):
            answer.content = {
                "application/json": OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT)),
                "application/zip": OpenAPIMediaType(
                    schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
                ),
            }


@get(
    "/{portfolio_id:uuid}/export",
    summary="Export for another tool",
    media_type="application/json",
    operation_class=_ExportOperation,
    responses={
        200: response_spec(
            bytes,
            description="JSON for Ghostfolio; a zip archive of CSV for Portfolio Performance.",
            media_type="application/json",
        ),
    },
)
async def export_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ExportPortfolio],
    clock: FromDishka[Clock],
    format: Annotated[
        ExportFormat, QueryParameter(description="Format of the other tool.")
    ] = ExportFormat.GHOSTFOLIO,
) -> Response[bytes]:
    """Get the history of a portfolio as Ghostfolio or Portfolio Performance imports it.

    The file itself states what its format cannot hold: `meta.notes` in JSON, NOTES.txt in an
    archive.
    """
    now = clock()
    file = await run_in(READS, use, portfolio_id, format=format.value, actor=owner, now=now)
    name = f"{format.value}-{now:%Y-%m-%d}.{file.extension}"
    return Response(
        file.data,
        media_type=file.media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


router = owner_router("/portfolios", [export_portfolio], tag="portfolios")

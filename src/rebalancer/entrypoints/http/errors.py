"""Errors as problem details (RFC 9457): a status, what went wrong, and which field."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Meta

from rebalancer.domain.errors import (
    Conflict,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    RebalancerError,
    Unavailable,
)
from rebalancer.domain.portfolio.mandate import PortfolioChanged
from rebalancer.entrypoints.schemas.wire import Malformed, Unsupported, translate_message

PROBLEM = "application/problem+json"
RETRY_AFTER = 5
"""Seconds after which somebody who found us unavailable may try again."""

log = logging.getLogger("rebalancer.http")


class VersionRequired(RebalancerError):
    """An update that does not say which version it is meant for."""


class TooManyRequests(RebalancerError):
    """Somebody asks too often.

    Attributes:
        pause: Seconds after which they may ask again.
    """

    def __init__(self, message: str, pause: int) -> None:
        self.pause = pause
        super().__init__(message)


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    field: Annotated[str, Meta(description="Its path, such as preferences.band.")]
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request was refused."""

    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = msgspec.field(default_factory=list)


_TITLES = {
    400: "Malformed request",
    401: "Not authenticated",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Changed in the meantime",
    413: "Too large",
    415: "Unsupported format",
    422: "Invalid request",
    428: "Version missing",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}

_STATUSES: tuple[tuple[type[RebalancerError], int], ...] = (
    (Unsupported, 415),
    (Malformed, 400),
    (InvalidRequest, 422),
    (NotAuthenticated, 401),
    (NotFound, 404),
    (PortfolioChanged, 412),
    (Conflict, 409),
    (VersionRequired, 428),
    (TooManyRequests, 429),
    (Unavailable, 503),
)


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """For the API's description: the problems that a route may answer with.

    Every route refuses unknown parameters (400) and whoever asks too often (429), and may depend on
    what is away (503).
    """
    return {
        status: ResponseSpec(
            data_container=Problem,
            description=_TITLES[status],
            media_type=PROBLEM,
            generate_examples=False,
        )
        for status in sorted({400, *statuses, 429, 503})
    }


def refused(request: Request[Any, Any, Any], error: RebalancerError) -> Response[Problem]:
    """One of our own errors."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if status == 500:
        return failed(request, error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        log.warning("%s %s is not answered: %s", request.method, request.url.path, error)
        headers["Retry-After"] = str(RETRY_AFTER)
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.pause)
    errors = []
    if isinstance(error, InvalidRequest) and error.field:
        errors.append(FieldProblem(error.field, error.message))
    return _problem(status, str(error), errors, headers)


def rejected(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """What Litestar refuses: unknown paths, other methods, parameters that do not fit."""
    errors = []
    detail = error.detail
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        errors = [
            FieldProblem(
                _called(request, str(one.get("key", ""))),
                translate_message(str(one.get("message", ""))),
            )
            for one in error.extra
            if isinstance(one, dict)
        ]
        detail = "; ".join(f"{one.field}: {one.message}" for one in errors) or detail
    if error.status_code == 413:
        detail = "the body is too large; send less at a time"
    if error.status_code >= 500:
        return failed(request, error)
    return _problem(error.status_code, detail, errors, dict(error.headers or {}))


def failed(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A bug of ours: told to the operators in full, to the caller not at all."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _problem(500, "something went wrong on our side; it has been logged", [], {})


def _called(request: Request[Any, Any, Any], parameter: str) -> str:
    """What callers know a handler's parameter by: ``If-Match`` is `if_match` here."""
    if parameter == "data":
        return "body"
    field = request.route_handler.parsed_fn_signature.parameters.get(parameter)
    name = getattr(field and field.kwarg_definition, "name", None)
    return name or parameter


def problem_of(status: int, detail: str, errors: list[FieldProblem] | None = None) -> Problem:
    """What is said of a refusal."""
    return Problem(_TITLES.get(status, "Refused"), status, detail, errors or [])


def _problem(
    status: int, detail: str, errors: list[FieldProblem], headers: dict[str, str]
) -> Response[Problem]:
    return Response(
        problem_of(status, detail, errors),
        status_code=status,
        media_type=PROBLEM,
        headers=headers,
    )

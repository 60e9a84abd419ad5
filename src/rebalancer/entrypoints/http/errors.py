"""Errors as problem details (RFC 9457): a status, a code, and a message for each field."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.plugins.problem_details import ProblemDetailsException
from litestar.types import Scope

from rebalancer.application.quotas import DailyQuotaReached
from rebalancer.domain.accounts.guessing import TooManyAttempts
from rebalancer.domain.errors import (
    Conflict,
    InvalidFields,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    RebalancerError,
    Unavailable,
    faults_of,
)
from rebalancer.domain.portfolio.mandate import PortfolioChanged
from rebalancer.domain.portfolio.models import ModelChanged
from rebalancer.entrypoints.http.bodies import Unsupported
from rebalancer.entrypoints.http.methods import complete_list
from rebalancer.entrypoints.schemas.decoding import (
    MOST_FAULTS,
    Malformed,
    choices_of,
    translate_message,
)
from rebalancer.entrypoints.schemas.wire import about, cut

PROBLEM = "application/problem+json"
TYPE = "urn:rebalancer:problem:"
"""Prefix of a problem's type; its code follows."""

RETRY_AFTER = 5
"""Seconds after which a client may repeat a request that got 503."""

LONGEST_FIELD = 300
"""Most characters of the name of a field in an error: a client chooses the names of some."""

LONGEST_MESSAGE = 1_000
"""Most characters of the message about one field."""

LONGEST_DETAIL = 10_000
"""Most characters of all messages in the detail of an error."""

log = logging.getLogger("rebalancer.http")


class VersionRequired(RebalancerError):
    """An update does not name the version that it replaces."""

    default_code = "version_required"


class TooManyRequests(RebalancerError):
    """The client exceeds a rate limit.

    Attributes:
        retry_after: Seconds until the next request is accepted.
    """

    default_code = "rate_limited"

    def __init__(self, message: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class BodyTimeout(RebalancerError):
    """The body of a request did not arrive in time."""

    default_code = "body_timeout"


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    field: Annotated[str, about("Path of the field, such as preferences.band.")]
    message: str
    code: Annotated[str, about("Stable identifier, such as missing_field.")]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request failed."""

    title: str
    status: int
    detail: str
    type: Annotated[str, about("The code as a URN.")]
    code: Annotated[str, about("Stable identifier; validation_failed if there are several errors.")]
    errors: list[FieldProblem] = msgspec.field(default_factory=list)


class SecondFactorProblem(Problem, frozen=True, omit_defaults=True):
    """Why a login failed, and how a second factor continues it."""

    ticket: Annotated[
        str, about("Send it to /api/users/login/second-factor; only with second_factor_required.")
    ] = ""
    methods: Annotated[
        list[str], about("Second factors of the account: passkey, totp, recovery_code.")
    ] = msgspec.field(default_factory=list)
    expires_in: Annotated[int, about("Seconds until the ticket expires.")] = 0


TITLES = {
    400: "Malformed request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Timed out",
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
    (NotAllowed, 403),
    (NotFound, 404),
    (PortfolioChanged, 412),
    (ModelChanged, 412),
    (DailyQuotaReached, 429),
    (Conflict, 409),
    (VersionRequired, 428),
    (TooManyAttempts, 429),
    (TooManyRequests, 429),
    (BodyTimeout, 408),
    (Unavailable, 503),
)

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
"""Codes of errors that Litestar raises, by status."""

REMEDIES = {
    "amount_rounds_to_zero": "send confirm_price: true to confirm it",
    "job_not_found": "GET /api/jobs lists your jobs",
    "policy_not_found": "GET /api/policies lists all policies",
    "portfolio_not_found": "GET /api/portfolios lists your portfolios",
    "price_far_from_close": "send confirm_price: true to confirm it",
    "targets_exceed_limits": "send acknowledge_limits: true to acknowledge them",
    "unknown_policy": "GET /api/policies lists all policies",
}
"""What a client of the API can do about an error, by its code; added to the message."""

FETCH_REMEDIES = {
    "prices_not_imported": "POST /api/market/assets fetches some",
    "unknown_symbol": "POST /api/market/assets fetches its prices",
}
"""The same where assets can be added."""


response_spec = partial(ResponseSpec, generate_examples=False)
"""Describes a response for OpenAPI; examples would be random."""


def problem_responses(*statuses: int, schema: type[Problem] = Problem) -> dict[int, ResponseSpec]:
    """Describe problems of a route for OpenAPI, besides those of `common_problems`."""
    return {
        status: response_spec(schema, description=TITLES[status], media_type=PROBLEM)
        for status in statuses
    }


def common_problems(path: str, operation: dict[str, Any]) -> dict[str, Any]:
    """Describe the problems that follow from a path and an operation of an OpenAPI document."""
    statuses = [429]
    if path.startswith("/api"):
        statuses += [400, 503]
        statuses += [401, 403] if operation.get("security") else []
        statuses += [404] if "{" in path else []
        statuses += [408, 413, 415, 422] if "requestBody" in operation else []
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": TITLES[status], "content": content} for status in statuses}


def to_problem(
    error: RebalancerError, *, remedies: Mapping[str, str] = REMEDIES
) -> ProblemDetailsException:
    """Convert an error of ours to a problem."""
    status = _status_of(error)
    if status == 500:
        return _internal_error()
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    if status == 408:
        headers["Connection"] = "close"
    if isinstance(error, TooManyAttempts) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, TooManyRequests | DailyQuotaReached):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, DailyQuotaReached):
        headers |= {
            "RateLimit-Limit": str(error.limit),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(error.retry_after),
            "RateLimit-Policy": f"{error.limit};w=86400",
        }
    faults = faults_of(error) if isinstance(error, InvalidRequest) else (error,)
    details, errors = [], []
    for fault in faults[:MOST_FAULTS]:
        message = cut(fault.message, LONGEST_MESSAGE)
        field = cut(getattr(fault, "field", ""), LONGEST_FIELD)
        if remedy := remedies.get(fault.code):
            message += f" {remedy}" if message.endswith("?") else f"; {remedy}"
        details.append(f"{field}: {message}" if field else message)
        if field:
            errors.append(FieldProblem(field, message, fault.code))
    return _problem(status, "; ".join(details), error.code, errors, headers, error.facts)


def handle_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Convert what Litestar rejects: unknown paths, other methods, invalid parameters."""
    if error.status_code >= 500:
        return handle_unexpected(request, error)
    code = _CODES.get(error.status_code, "malformed_request")
    detail, errors = error.detail, []
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        for fault in error.extra:
            if isinstance(fault, dict):
                name = _public_name(request, str(fault.get("key", "")))
                message = _describe_fault(request, fault)
                errors.append(FieldProblem(name, message, "invalid_value"))
        detail = "; ".join(f"{one.field}: {one.message}" for one in errors) or detail
        code = "validation_failed" if len(errors) > 1 else "invalid_value"
    if error.status_code == 413:
        detail = "the body is too large; send less at a time"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allow = next((text for name, text in headers.items() if name.lower() == "allow"), "GET")
        methods = ", ".join(complete_list(allow))
        detail = f"{request.method} is not allowed here; use one of {methods}"
    return _problem(error.status_code, detail, code, errors, headers).to_response(request)


def handle_unexpected(request: Request[Any, Any, Any], _: Exception) -> Response[Any]:
    """Hide a defect from the client; `log_failure` has logged it."""
    return _internal_error().to_response(request)


async def log_failure(error: Exception, scope: Scope) -> None:
    """Log each request that fails for a reason on the side of the server."""
    request = f"{scope.get('method')} {scope.get('path')}"
    if isinstance(error, Unavailable):
        log.warning("%s failed with status 503: %s", request, error)
    elif _status_of(error) >= 500:
        log.error("%s failed", request, exc_info=error)


def _status_of(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, InvalidFields):
        return 400 if any(isinstance(fault, Malformed) for fault in error.faults) else 422
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def _public_name(request: Request[Any, Any, Any], parameter: str) -> str:
    """Return the name by which clients send a parameter of a handler, such as ``If-Match``."""
    if parameter == "data":
        return "body"
    field = request.route_handler.parsed_fn_signature.parameters.get(parameter)
    name = getattr(field and field.kwarg_definition, "name", None)
    return name or parameter


def _describe_fault(request: Request[Any, Any, Any], fault: dict[str, Any]) -> str:
    """Return what is wrong with a parameter; of an enumeration, with its choices."""
    if fault.get("key") == "data":  # everything else about a body is found when it is decoded
        return "the body is missing; send a JSON object"
    message = translate_message(str(fault.get("message", "")))
    field = request.route_handler.parsed_fn_signature.parameters.get(str(fault.get("key", "")))
    if field is not None and (choices := choices_of(field.annotation)):
        return f"expected one of {', '.join(choices)}; {message}"
    return message


def _internal_error() -> ProblemDetailsException:
    detail = "an internal error occurred and has been logged"
    return _problem(500, detail, "internal_error", [], {})


def _problem(
    status: int,
    detail: str,
    code: str,
    errors: Sequence[FieldProblem],
    headers: dict[str, str],
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> ProblemDetailsException:
    extra: dict[str, Any] = {"code": code, **facts}
    if errors:
        extra["errors"] = [msgspec.structs.asdict(one) for one in errors]
    return ProblemDetailsException(
        status_code=status,
        title=TITLES.get(status, "Refused"),
        type_=TYPE + code,
        detail=cut(detail, LONGEST_DETAIL),
        headers=headers,
        extra=extra,
    )

"""`/api/users` and `/api/risk`: who people are, and how much risk they bear."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Request, Router, get, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.params import JSONBody
from msgspec import Meta

from rebalancer.application.accounts import (
    LONGEST_PASSWORD,
    SHORTEST_PASSWORD,
    AssessRisk,
    LogIn,
    LogOut,
    ReadProfile,
    RefreshLogin,
    Register,
)
from rebalancer.application.accounts import Login as LoginGiven
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.portfolio.owner import LONGEST_EMAIL, User
from rebalancer.domain.portfolio.questionnaire import Assessment
from rebalancer.domain.portfolio.questions import QUESTIONNAIRE
from rebalancer.domain.portfolio.risk import RiskProfile
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.rate_limits import limit_login_attempts
from rebalancer.entrypoints.schemas.wire import Body, OneLine, View

Email = Annotated[str, Meta(max_length=LONGEST_EMAIL, examples=["ada@example.org"])]
Secret = Annotated[str, Meta(min_length=1, max_length=200, examples=["pX3oK0JmX1yN5n7bO2cTq9..."])]

UNKEPT = {"Cache-Control": "no-store"}
"""Answers with tokens in them are kept by nobody on the way (RFC 6749, section 5.1)."""


class Registration(Body, frozen=True, kw_only=True):
    """Who wants to be taken in."""

    email: Email
    password: Annotated[
        str,
        Meta(
            min_length=SHORTEST_PASSWORD,
            max_length=LONGEST_PASSWORD,
            examples=["a long sentence is best"],
        ),
    ]
    name: Annotated[OneLine, Meta(max_length=100, examples=["Ada"])] = ""


class Credentials(Body, frozen=True, kw_only=True):
    """Who somebody claims to be."""

    email: Email
    password: Annotated[
        str, Meta(max_length=LONGEST_PASSWORD, examples=["a long sentence is best"])
    ]


class Refreshing(Body, frozen=True, kw_only=True):
    """A refresh token."""

    refresh_token: Secret


class Answers(Body, frozen=True, kw_only=True):
    """One answer to each question, by the ids of `GET /api/risk/questionnaire`."""

    answers: Annotated[
        dict[str, str],
        Meta(
            examples=[{one.id: one.answers[-1].id for one in QUESTIONNAIRE.questions}],
            max_length=50,
        ),
    ]


class Limits(View, frozen=True, kw_only=True):
    """A risk profile: fractions of portfolio value, or of it a year."""

    name: str
    target_volatility: float
    tolerated_drawdown: float
    equity_ceiling: float
    cash_floor: float
    max_weight: float
    risk_aversion: float


class AssessmentView(View, frozen=True, kw_only=True):
    """What a questionnaire says of somebody."""

    profile: Limits
    unadjusted: Annotated[
        str, Meta(description="The profile before inconsistent answers lowered it.")
    ]
    willingness: float
    capacity: float
    reasons: list[str]
    questionnaire: str
    answers: dict[str, str]
    assessed: datetime


class UserView(View, frozen=True, kw_only=True):
    """Somebody who is registered."""

    id: UUID
    email: str
    name: str
    created: datetime
    assessment: AssessmentView | None


class LoginView(View, frozen=True, kw_only=True):
    """Tokens, as OAuth 2 names them."""

    access_token: str
    token_type: str
    expires_in: Annotated[int, Meta(description="Seconds that the access token is good for.")]
    refresh_token: Annotated[
        str, Meta(description="Serves once; a second use ends everything that came of the login.")
    ]
    refresh_expires: datetime
    user: UserView


class AnswerView(View, frozen=True, kw_only=True):
    """A possible answer."""

    id: str
    text: str


class QuestionView(View, frozen=True, kw_only=True):
    """A question, and why it is asked."""

    id: str
    text: str
    help: str
    answers: list[AnswerView]


class QuestionnaireView(View, frozen=True, kw_only=True):
    """Questions on how much risk somebody can and wants to bear."""

    version: str
    questions: list[QuestionView]


@post(
    "/register",
    summary="Register",
    guards=[limit_login_attempts],
    responses=problem_responses(409, 413, 415, 422),
)
@inject
async def register(
    data: JSONBody[Registration],
    use: FromDishka[Register],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> UserView:
    """Take somebody in. Then log in."""
    user = await sync_to_thread(
        use, email=data.email, password=data.password, name=data.name, id=ids(), now=clock()
    )
    return user_view(user)


@post(
    "/login",
    status_code=200,
    summary="Log in",
    guards=[limit_login_attempts],
    responses=problem_responses(401, 413, 415),
    response_headers=UNKEPT,
)
@inject
async def log_in(
    data: JSONBody[Credentials],
    request: Request[Any, Any, Any],
    state: State,
    use: FromDishka[LogIn],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> LoginView:
    """Exchange a password for a short-lived access token and a refresh token."""
    await state.limiting.login_as(request.scope, data.email)
    now = clock()
    login = await sync_to_thread(
        use, email=data.email, password=data.password, family=ids(), now=now
    )
    return _login_view(login, now)


@post(
    "/refresh",
    status_code=200,
    summary="Refresh a login",
    responses=problem_responses(401, 413, 415),
    response_headers=UNKEPT,
)
@inject
async def refresh(
    data: JSONBody[Refreshing], use: FromDishka[RefreshLogin], clock: FromDishka[Clock]
) -> LoginView:
    """Exchange a refresh token, once, for new tokens."""
    now = clock()
    return _login_view(await sync_to_thread(use, data.refresh_token, now=now), now)


@post("/logout", status_code=204, summary="Log out", responses=problem_responses(413, 415))
@inject
async def log_out(data: JSONBody[Refreshing], use: FromDishka[LogOut]) -> None:
    """End a login: its refresh tokens serve no more, and its access tokens neither."""
    await sync_to_thread(use, data.refresh_token)


@get(
    "/profile",
    summary="Who am I",
    dependencies=OWNER,
    security=[{BEARER: []}],
    responses=problem_responses(401),
)
@inject
async def profile(owner: Owner, state: State, use: FromDishka[ReadProfile]) -> UserView:
    """What is known of whoever asks."""
    return user_view(await state.read_row(use, owner))


@get("/questionnaire", summary="The risk questionnaire", responses=problem_responses())
async def questionnaire() -> QuestionnaireView:
    """Questions on how much risk somebody can and wants to bear, and why each is asked."""
    return QuestionnaireView(
        version=QUESTIONNAIRE.version,
        questions=[
            QuestionView(
                id=question.id,
                text=question.text,
                help=question.help,
                answers=[AnswerView(id=one.id, text=one.text) for one in question.answers],
            )
            for question in QUESTIONNAIRE.questions
        ],
    )


@post(
    "/assessment",
    status_code=200,
    summary="Answer the questionnaire",
    dependencies=OWNER,
    security=[{BEARER: []}],
    responses=problem_responses(401, 413, 415, 422),
)
@inject
async def assess(
    data: JSONBody[Answers], owner: Owner, use: FromDishka[AssessRisk], clock: FromDishka[Clock]
) -> AssessmentView:
    """Score the answers. New portfolios take the profile over unless they bring their own."""
    user = await sync_to_thread(use, data.answers, owner=owner, now=clock())
    view = user_view(user).assessment
    assert view is not None
    return view


def user_view(user: User) -> UserView:
    """A user as others see them."""
    assessment = None
    if user.assessment is not None and user.assessed is not None:
        assessment = _assessment_view(user.assessment, user.assessed)
    return UserView(
        id=user.id, email=user.email, name=user.name, created=user.created, assessment=assessment
    )


def limits_view(profile: RiskProfile) -> Limits:
    """A risk profile."""
    return msgspec.convert(profile, Limits, from_attributes=True)


def _assessment_view(assessment: Assessment, assessed: datetime) -> AssessmentView:
    return AssessmentView(
        profile=limits_view(assessment.profile),
        unadjusted=assessment.unadjusted.name,
        willingness=assessment.willingness,
        capacity=assessment.capacity,
        reasons=list(assessment.reasons),
        questionnaire=assessment.version,
        answers=dict(assessment.answers),
        assessed=assessed,
    )


def _login_view(login: LoginGiven, now: datetime) -> LoginView:
    return LoginView(
        access_token=login.access,
        token_type="Bearer",
        expires_in=int((login.access_ends - now).total_seconds()),
        refresh_token=login.refresh,
        refresh_expires=login.refresh_ends,
        user=user_view(login.user),
    )


users = Router(
    "/users", route_handlers=[register, log_in, refresh, log_out, profile], tags=["users"]
)
risk = Router("/risk", route_handlers=[questionnaire, assess], tags=["risk"])

"""`/api/risk`: the risk questionnaire and its assessment."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import attrs
from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import Request, Response, get, post
from litestar.params import JSONBody
from msgspec import Meta

from rebalancer.application.accounts import AssessRisk
from rebalancer.application.idempotency import repeat_if_running
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.portfolio.questions import load_questionnaire
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import Key, client_request, replay_headers
from rebalancer.entrypoints.http.threads import WRITES, run_in
from rebalancer.entrypoints.schemas.wire import Body, View, about


class Answers(Body, frozen=True, kw_only=True):
    """One answer to each question, by the ids of `GET /api/risk/questionnaire`."""

    answers: Annotated[
        dict[str, str],
        Meta(
            examples=[{one.id: one.answers[-1].id for one in load_questionnaire().questions}],
            max_length=50,
        ),
    ]


class Limits(View, frozen=True, kw_only=True):
    """A risk profile. Amounts are fractions of portfolio value; rates are annual."""

    name: str
    target_volatility: float
    tolerated_drawdown: float
    equity_ceiling: float
    cash_floor: float
    max_weight: float
    risk_aversion: float


class AssessmentView(View, frozen=True, kw_only=True):
    """The result of a questionnaire."""

    profile: Limits
    unadjusted: Annotated[str, about("The profile before inconsistent answers lowered it.")]
    willingness: float
    capacity: float
    reasons: list[str]
    questionnaire: str
    answers: dict[str, str]
    assessed: datetime


class AnswerView(View, frozen=True, kw_only=True):
    """One possible answer."""

    id: str
    text: str


class QuestionView(View, frozen=True, kw_only=True):
    """A question, why it is asked, and its possible answers."""

    id: str
    text: str
    help: str
    answers: list[AnswerView]


class QuestionnaireView(View, frozen=True, kw_only=True):
    """Questions about the willingness and the capacity to take risk."""

    version: str
    questions: list[QuestionView]


@get("/questionnaire", summary="Get the risk questionnaire")
async def questionnaire() -> QuestionnaireView:
    """Get the questions about willingness and capacity to take risk, with their answers."""
    return QuestionnaireView.of(load_questionnaire())


@post(
    "/assessment",
    status_code=200,
    summary="Answer the questionnaire",
    dependencies=OWNER,
    security=[{BEARER: []}],
    responses=problem_responses(409, 422),
)
async def assess(
    data: JSONBody[Answers],
    request: Request[Any, Any, Any],
    owner: Owner,
    use: FromDishka[AssessRisk],
    clock: FromDishka[Clock],
    key: Key = None,
) -> Response[AssessmentView]:
    """Score the answers. A new portfolio takes the resulting profile unless it names another."""
    user, replayed = await run_in(
        WRITES,
        repeat_if_running,
        use,
        data.answers,
        owner=owner,
        request=client_request(request, key, data),
        now=clock(),
    )
    view = assessment_view(user)
    assert view is not None
    return Response(view, headers=replay_headers(replayed))


def assessment_view(user: User) -> AssessmentView | None:
    """Show the assessment of a user; None without one."""
    assessment = user.assessment
    if assessment is None or user.assessed is None:
        return None
    values = attrs.asdict(assessment, recurse=False) | {
        "unadjusted": assessment.unadjusted.name,
        "questionnaire": assessment.version,
        "assessed": user.assessed,
    }
    return AssessmentView.of(values)


router = DishkaRouter("/risk", route_handlers=[questionnaire, assess], tags=["risk"])

"""The risk questionnaire."""

from __future__ import annotations

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.users import Assessment


@attrs.frozen
class Choice:
    """A possible answer."""

    id: str
    text: str


@attrs.frozen
class Question:
    """A question, and why it is asked."""

    id: str
    text: str
    help: str
    answers: list[Choice]


@attrs.frozen
class Questionnaire:
    """All questions."""

    version: str
    questions: list[Question]


@attrs.frozen
class Answers:
    """The chosen answer of each question."""

    answers: dict[str, str]


QUESTIONS = Endpoint("GET", "/api/risk/questionnaire", Questionnaire)
ASSESS = Endpoint("POST", "/api/risk/assessment", Assessment, Answers)

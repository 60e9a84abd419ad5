"""The risk questionnaire, one question a screen, and its result in words."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rebalancer_app.gateway.risk import Question, Questionnaire
from rebalancer_app.gateway.users import Assessment
from rebalancer_app.model.formats import Formats
from rebalancer_app.texts import Texts

PROFILES = ("conservative", "cautious", "balanced", "growth", "aggressive")


@attrs.frozen
class QuestionScreen:
    """One question.

    Attributes:
        position: Such as "3 of 12".
        share: How much is done, from 0 to 1.
        chosen: Id of the answer that was given before; empty without one.
        is_last: Whether the answers can be sent after this one.
    """

    question: Question
    position: str
    share: float
    chosen: str
    is_last: bool


@attrs.frozen
class ProfileScreen:
    """The result.

    Attributes:
        level: Place on the dial, from 0 for the most cautious to 1.
        limits: The limits in words.
        reasons: Why this profile.
        lowered: That contradictions lowered the profile; empty otherwise.
    """

    title: str
    level: float
    limits: tuple[str, ...]
    reasons: tuple[str, ...]
    lowered: str
    assessed: str


def question_screen(
    questionnaire: Questionnaire, at: int, answers: Mapping[str, str], texts: Texts
) -> QuestionScreen:
    """Return what to show of the question at a position, from 0."""
    count = len(questionnaire.questions)
    question = questionnaire.questions[at]
    return QuestionScreen(
        question,
        texts("risk.position", at=at + 1, of=count),
        at / count,
        answers.get(question.id, ""),
        at == count - 1,
    )


def profile_screen(found: Assessment, formats: Formats, texts: Texts) -> ProfileScreen:
    """Return what to show of a result."""
    limits = found.profile
    name = texts.find(f"profile.{limits.name}") or limits.name
    lowered = ""
    if found.unadjusted != limits.name:
        before = texts.find(f"profile.{found.unadjusted}") or found.unadjusted
        lowered = texts("risk.lowered", before=before, after=name)

    def percent(share: float) -> str:
        return formats.percent(share, 0)

    return ProfileScreen(
        title=name,
        level=PROFILES.index(limits.name) / (len(PROFILES) - 1) if limits.name in PROFILES else 0.5,
        limits=(
            texts("risk.equities", share=percent(limits.equity_ceiling)),
            texts("risk.largest", share=percent(limits.max_weight)),
            texts("risk.cash", share=percent(limits.cash_floor)),
            texts("risk.volatility", share=percent(limits.target_volatility)),
            texts("risk.drawdown", share=percent(limits.tolerated_drawdown)),
        ),
        reasons=tuple(found.reasons),
        lowered=lowered,
        assessed=texts("risk.assessed", day=formats.day(found.assessed.date())),
    )

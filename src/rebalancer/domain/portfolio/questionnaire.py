"""Score a risk questionnaire: from answers to one of the five profiles, with reasons.

A questionnaire measures two sides, and the lower one governs: *willingness* to accept losses
(tolerance) and *capacity* for them (what the person can afford to lose). FINRA's guidance on rule
2111 defines risk tolerance as ability and willingness to lose; MiFID II requires the client's risk
tolerance and financial capacity (Delegated Regulation 2017/565, article 54(2)). Answers that
contradict each other lower the profile and never raise it: ESMA's guidelines on suitability
(ESMA35-43-1163) require firms to look for inconsistent answers.

`rebalancer.domain.portfolio.questions` loads the questions in use from ``questions.toml``.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import pairwise

import attrs

from rebalancer.domain.errors import FaultCollector, InvalidRequest
from rebalancer.domain.portfolio.risk import RISK_PROFILES, RiskProfile

_LADDER = tuple(RISK_PROFILES.values())

THRESHOLDS = {
    "conservative": 0.0,
    "cautious": 20.0,
    "balanced": 40.0,
    "growth": 60.0,
    "aggressive": 80.0,
}
"""Lowest score of each profile, out of 100: equal fifths, because no sample provides norms."""


class Side(StrEnum):
    """What a question measures."""

    WILLINGNESS = "willingness"
    CAPACITY = "capacity"


@attrs.frozen
class AnswerOption:
    """One of the answers that a question offers; more points allow more risk.

    Its id is unique within its question, in snake_case.
    """

    id: str
    text: str
    points: int


@attrs.frozen
class Question:
    """A question and the answers that it offers.

    Attributes:
        id: Unique within its questionnaire, in snake_case.
        topic: Its subject, in a word or two.
        help: Why it is asked.
        answers: Three to five, the most careful first, with rising points.

    Raises:
        InvalidRequest: there are too few or too many answers, two share an id, or points do not
            rise.
    """

    id: str
    side: Side
    topic: str
    text: str
    help: str
    answers: tuple[AnswerOption, ...]

    def __attrs_post_init__(self) -> None:
        where = f"questions.{self.id}"
        if not 3 <= len(self.answers) <= 5:
            raise InvalidRequest(
                f"a question has 3 to 5 answers, not {len(self.answers)}",
                field=where,
                code="wrong_number_of_answers",
            )
        _check_distinct((answer.id for answer in self.answers), field=where)
        if any(low.points >= high.points for low, high in pairwise(self.answers)):
            raise InvalidRequest(
                "points do not rise; list the answers by rising points",
                field=where,
                code="points_not_rising",
            )

    @property
    def least(self) -> int:
        """Return the points of the most careful answer."""
        return self.answers[0].points

    @property
    def most(self) -> int:
        """Return the points of the least careful answer."""
        return self.answers[-1].points

    def option(self, answers: Mapping[str, str]) -> AnswerOption:
        """Return the chosen answer, from the answers' ids by question id.

        Raises:
            InvalidRequest: the answer is missing or unknown; the message lists the choices.
        """
        field = f"answers.{self.id}"
        if self.id not in answers:
            raise InvalidRequest(
                f"the answer is missing; choose one of {self._choices}",
                field=field,
                code="answer_missing",
            )
        for option in self.answers:
            if option.id == answers[self.id]:
                return option
        raise InvalidRequest(
            f"unknown answer {_abbreviate(repr(answers[self.id]))}; choose one of {self._choices}",
            field=field,
            code="unknown_answer",
        )

    @property
    def _choices(self) -> str:
        return ", ".join(answer.id for answer in self.answers)


@attrs.frozen
class Adjustment:
    """A rule that lowers the profile for certain answers.

    Attributes:
        id: Unique within its questionnaire, in snake_case.
        when: Applies if every question named here has one of the listed answers.
        sentence: Explains the problem to the person who answered.
        at_most: Highest profile allowed; None lowers the profile by one step.
    """

    id: str
    when: Mapping[str, tuple[str, ...]]
    sentence: str
    at_most: RiskProfile | None = None

    def applies(self, answers: Mapping[str, str]) -> bool:
        """Return whether it applies to a complete set of answers."""
        return all(answers[question] in among for question, among in self.when.items())

    @property
    def reason(self) -> str:
        """Return the problem and its consequence."""
        if self.at_most is None:
            return f"{self.sentence} This lowers the profile by one step."
        return f"{self.sentence} This allows at most the profile {self.at_most.name}."


@attrs.frozen
class Assessment:
    """The outcome of a complete set of answers.

    Attributes:
        answers: Answer id by question id, in the order of the questionnaire.
        willingness: Score, 0 to 100.
        capacity: Score, 0 to 100.
        unadjusted: The profile by the scores alone; never more careful than ``profile``.
        reasons: Sentences: the governing side, what lowered it, and each adjustment that applied.
    """

    version: str
    answers: Mapping[str, str]
    willingness: float
    capacity: float
    profile: RiskProfile
    unadjusted: RiskProfile
    reasons: tuple[str, ...]


@attrs.frozen
class Questionnaire:
    """Questions, and how their answers are scored.

    A side's score is its share of the possible points: 0 for the most careful answers and 100 for
    the least careful. The lower score gives the unadjusted profile. Every adjustment that applies
    lowers it by a step or caps it: ``min(unadjusted - steps, caps)``, but never below conservative.

    Attributes:
        version: Changes with any question, answer, point, adjustment, or with `THRESHOLDS`.
        notice: What the person should know before answering.
        adjustments: In the order of their reasons; the order does not change the outcome.

    Raises:
        InvalidRequest: two questions or adjustments share an id, a side has no question, an
            adjustment names an unknown question or answer.
    """

    version: str
    notice: str
    questions: tuple[Question, ...]
    adjustments: tuple[Adjustment, ...]

    def __attrs_post_init__(self) -> None:
        _check_distinct((question.id for question in self.questions), field="questions")
        _check_distinct((adjustment.id for adjustment in self.adjustments), field="adjustments")
        for side in Side:
            if not self.on(side):
                raise InvalidRequest(
                    f"no question measures {side}; add one",
                    field="questions",
                    code="side_without_question",
                )
        known = {
            (question.id, answer.id) for question in self.questions for answer in question.answers
        }
        for adjustment in self.adjustments:
            named = {
                (question, answer)
                for question, among in adjustment.when.items()
                for answer in among
            }
            if not named or not named <= known:
                raise InvalidRequest(
                    "an adjustment must name existing questions and answers",
                    field=f"adjustments.{adjustment.id}",
                    code="unknown_condition",
                )

    def on(self, side: Side) -> tuple[Question, ...]:
        """Return the questions of one side."""
        return tuple(question for question in self.questions if question.side is side)

    def assess(self, answers: Mapping[str, str]) -> Assessment:
        """Score a complete set of answers, ids by question id in any order.

        Raises:
            InvalidRequest: a question is unknown or unanswered, or an answer is unknown; the field
                names the question, the message lists the choices.
            InvalidFields: several are.
        """
        chosen, faults = {}, FaultCollector()
        for id in sorted(answers, key=str):
            with faults.collect():
                self._check_question(id)
        for question in self.questions:
            with faults.collect():
                chosen[question.id] = question.option(answers)
        faults.raise_any()
        ids = {id: answer.id for id, answer in chosen.items()}

        willingness = self._score(Side.WILLINGNESS, chosen)
        capacity = self._score(Side.CAPACITY, chosen)
        unadjusted = _boldest_profile(min(willingness, capacity))
        applied = [adjustment for adjustment in self.adjustments if adjustment.applies(ids)]
        profile = _adjust(unadjusted, applied)
        return Assessment(
            version=self.version,
            answers=ids,
            willingness=willingness,
            capacity=capacity,
            profile=profile,
            unadjusted=unadjusted,
            reasons=(
                *self._explain_scores(willingness, capacity, unadjusted, chosen),
                *(adjustment.reason for adjustment in applied),
                _conclude(unadjusted, profile, applied),
            ),
        )

    def _check_question(self, id: str) -> None:
        known = [question.id for question in self.questions]
        if id not in known:
            near = difflib.get_close_matches(str(id), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"
            raise InvalidRequest(
                f"unknown question; {hint}",
                field=f"answers.{_abbreviate(str(id))}",
                code="unknown_question",
            )

    def _score(self, side: Side, chosen: Mapping[str, AnswerOption]) -> float:
        """Return ``100 (points - least) / (most - least)``, summed over the side's questions."""
        questions = self.on(side)
        points = sum(chosen[question.id].points - question.least for question in questions)
        return 100 * points / sum(question.most - question.least for question in questions)

    def _explain_scores(
        self,
        willingness: float,
        capacity: float,
        unadjusted: RiskProfile,
        chosen: Mapping[str, AnswerOption],
    ) -> list[str]:
        """Name the governing side, and the answers that gave it the fewest points."""
        if willingness == capacity:
            sides = tuple(Side)
            sentence = (
                f"Your willingness and your capacity to accept losses both score {capacity:.0f} out"
                f" of 100, which gives the profile {unadjusted.name}."
            )
        else:
            sides = (Side.CAPACITY if capacity < willingness else Side.WILLINGNESS,)
            sentence = (
                f"Your willingness to accept losses scores {willingness:.0f} out of 100 and your"
                f" capacity for them {capacity:.0f}; the lower score governs, so your {sides[0]}"
                f" gives the profile {unadjusted.name}."
            )
        asked = [question for question in self.questions if question.side in sides]
        share = {
            question.id: (chosen[question.id].points - question.least)
            / (question.most - question.least)
            for question in asked
        }
        least = min(share.values())
        if least == 1:
            return [sentence]
        lowest = [
            f'{question.topic} ("{chosen[question.id].text}")'
            for question in asked
            if share[question.id] == least
        ]
        return [sentence, f"The fewest points came from {', '.join(lowest)}."]


def _boldest_profile(score: float) -> RiskProfile:
    """Return the boldest profile whose threshold the score reaches."""
    return RISK_PROFILES[[name for name, least in THRESHOLDS.items() if score >= least][-1]]


def _adjust(unadjusted: RiskProfile, applied: list[Adjustment]) -> RiskProfile:
    """Lower the profile by the steps, and below every cap."""
    steps = sum(adjustment.at_most is None for adjustment in applied)
    caps = [_LADDER.index(one.at_most) for one in applied if one.at_most is not None]
    return _LADDER[max(0, min([_LADDER.index(unadjusted) - steps, *caps]))]


def _conclude(unadjusted: RiskProfile, profile: RiskProfile, applied: list[Adjustment]) -> str:
    if profile != unadjusted:
        return f"The profile is therefore {profile.name} instead of {unadjusted.name}."
    if applied:
        return f"The profile stays {profile.name}, because the scores allow no more."
    return "Your answers do not contradict each other, and no single answer limits the profile."


def _check_distinct(ids: Iterable[str], *, field: str) -> None:
    repeated = [id for id, count in Counter(ids).items() if count > 1]
    if repeated:
        raise InvalidRequest(
            f"the id {repeated[0]!r} occurs twice; ids must be unique",
            field=field,
            code="duplicate_id",
        )


def _abbreviate(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."

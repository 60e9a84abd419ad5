"""A risk questionnaire: from twelve answers to one of the five profiles, and why.

It asks about two sides and lets the lower one govern: *willingness* to bear losses (tolerance) and
*capacity* to bear them (what the person can afford to lose). FINRA's guidance on rule 2111 defines
risk tolerance as ability and willingness to lose; MiFID II asks for the client's risk tolerance and
whether the client can financially bear the risks (Delegated Regulation 2017/565, article 54(2)).
Answers that contradict each other lower the profile and never raise it: ESMA's guidelines on
suitability (ESMA35-43-1163) expect firms to look for inconsistent answers.

The willingness questions cover the ground of Grable and Lytton (1999), "Financial risk tolerance
revisited: the development of a risk assessment instrument", Financial Services Review 8(3):
attitude to loss, comfort and experience. Wording, points and thresholds are ours; nobody has
validated them on a sample. It is a tool, not advice.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import pairwise

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.risk import RISK_PROFILES, RiskProfile

_LADDER = tuple(RISK_PROFILES.values())

THRESHOLDS = {
    "conservative": 0.0,
    "cautious": 20.0,
    "balanced": 40.0,
    "growth": 60.0,
    "aggressive": 80.0,
}
"""Least score of each profile, of 100: equal fifths, for want of a sample to set norms by."""


class Side(StrEnum):
    """What a question measures."""

    WILLINGNESS = "willingness"
    CAPACITY = "capacity"


@attrs.frozen
class Answer:
    """One choice of a question.

    Attributes:
        id: Unique within its question, in snake_case.
        text: What the person reads.
        points: More for more risk, from 0.
    """

    id: str
    text: str
    points: int


@attrs.frozen
class Question:
    """A question with its choices.

    Attributes:
        id: Unique within its questionnaire, in snake_case.
        side: What it measures.
        topic: What it is about, in a word or two.
        text: What the person reads.
        help: Why we ask.
        answers: Three to five, the most careful first, points rising.

    Raises:
        InvalidRequest: the answers are too few or too many, share an id, or their points fall.
    """

    id: str
    side: Side
    topic: str
    text: str
    help: str
    answers: tuple[Answer, ...]

    def __attrs_post_init__(self) -> None:
        where = f"questions.{self.id}"
        if not 3 <= len(self.answers) <= 5:
            raise InvalidRequest(f"needs 3 to 5 answers, has {len(self.answers)}", field=where)
        _check_distinct((answer.id for answer in self.answers), field=where)
        if any(low.points >= high.points for low, high in pairwise(self.answers)):
            raise InvalidRequest("list its answers by rising points", field=where)

    @property
    def least(self) -> int:
        """Points of the most careful answer."""
        return self.answers[0].points

    @property
    def most(self) -> int:
        """Points of the least careful answer."""
        return self.answers[-1].points

    def answer(self, id: str) -> Answer:
        """The answer of this id.

        Raises:
            InvalidRequest: there is none; lists those that there are.
        """
        for answer in self.answers:
            if answer.id == id:
                return answer
        raise InvalidRequest(
            f"{_shown(id)} is no answer to it; choose one of {self._choices}",
            field=f"answers.{self.id}",
        )

    def given(self, answers: Mapping[str, str]) -> Answer:
        """What the person answered.

        Raises:
            InvalidRequest: nothing, or something that is no answer; lists the answers.
        """
        if self.id not in answers:
            raise InvalidRequest(
                f"is missing; choose one of {self._choices}", field=f"answers.{self.id}"
            )
        return self.answer(answers[self.id])

    @property
    def _choices(self) -> str:
        return ", ".join(answer.id for answer in self.answers)


@attrs.frozen
class Rule:
    """Answers that together, or alone, speak for less risk than the scores do.

    Attributes:
        id: Unique within its questionnaire, in snake_case.
        when: Fires if every question named here has one of the answers beside it.
        sentence: What is the matter, to the person who answered.
        at_most: The profile that is not exceeded; None lowers the profile by one step.
    """

    id: str
    when: Mapping[str, tuple[str, ...]]
    sentence: str
    at_most: RiskProfile | None = None

    def fires(self, answers: Mapping[str, str]) -> bool:
        """Whether it applies to a complete set of answers."""
        return all(answers[question] in among for question, among in self.when.items())

    @property
    def reason(self) -> str:
        """What is the matter, and what follows."""
        if self.at_most is None:
            return f"{self.sentence} This lowers the profile by one step."
        return f"{self.sentence} This allows no more than {self.at_most.name}."


@attrs.frozen
class Assessment:
    """What a complete set of answers amounts to.

    Attributes:
        version: Of the questionnaire that was answered.
        answers: Answer id by question id, in the order of the questionnaire.
        willingness: Score, 0 to 100.
        capacity: Score, 0 to 100.
        profile: The outcome.
        unadjusted: What the scores alone would give; never more careful than ``profile``.
        reasons: Sentences: the side that governed, what held it down, and every rule that fired.
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
    """Questions, and the rules by which they are scored.

    A side's score is its points as a share of those to be had, 0 for the most careful answers and
    100 for the least. The lower score gives the unadjusted profile. Every rule that fires lowers it
    by a step or caps it: ``min(unadjusted - steps, caps)``, and conservative at least.

    Attributes:
        version: Changes with any question, answer, point, threshold or rule.
        notice: What the person should know before answering.
        questions: On both sides.
        rules: Their order is that of the reasons; it does not change the outcome.
        thresholds: Least score by the name of each profile, rising from 0.

    Raises:
        InvalidRequest: questions or rules share an id, a side has no question, a rule names a
            question or an answer that does not exist, or a profile has no threshold in its place.
    """

    version: str
    notice: str
    questions: tuple[Question, ...]
    rules: tuple[Rule, ...]
    thresholds: Mapping[str, float] = attrs.field(factory=lambda: dict(THRESHOLDS))

    def __attrs_post_init__(self) -> None:
        _check_distinct((question.id for question in self.questions), field="questions")
        _check_distinct((rule.id for rule in self.rules), field="rules")
        for side in Side:
            if not self.on(side):
                raise InvalidRequest(f"needs a question on {side}", field="questions")
        known = {
            (question.id, answer.id) for question in self.questions for answer in question.answers
        }
        for rule in self.rules:
            named = {
                (question, answer) for question, among in rule.when.items() for answer in among
            }
            if not named or not named <= known:
                raise InvalidRequest(
                    "name questions and answers that exist", field=f"rules.{rule.id}"
                )
        scores = list(self.thresholds.values())
        if (
            list(self.thresholds) != list(RISK_PROFILES)
            or scores[0] != 0
            or any(low >= high for low, high in pairwise(scores))
        ):
            raise InvalidRequest(
                f"give the least scores of {', '.join(RISK_PROFILES)}, rising from 0",
                field="thresholds",
            )

    def on(self, side: Side) -> tuple[Question, ...]:
        """The questions of one side."""
        return tuple(question for question in self.questions if question.side is side)

    def question(self, id: str) -> Question:
        """The question of this id.

        Raises:
            InvalidRequest: there is none; names the nearest one, or all.
        """
        known = {question.id: question for question in self.questions}
        if id in known:
            return known[id]
        near = difflib.get_close_matches(str(id), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise InvalidRequest(f"is no question; {hint}", field=f"answers.{_short(str(id))}")

    def assess(self, answers: Mapping[str, str]) -> Assessment:
        """Score a complete set of answers.

        Args:
            answers: Answer id by question id, in any order.

        Raises:
            InvalidRequest: a question is unknown or unanswered, or an answer is unknown; the field
                names the question, the message the choices.
        """
        for id in sorted(answers, key=str):
            self.question(id)
        given = {question.id: question.given(answers) for question in self.questions}
        chosen = {id: answer.id for id, answer in given.items()}

        willingness = self._score(Side.WILLINGNESS, given)
        capacity = self._score(Side.CAPACITY, given)
        unadjusted = self._profile(min(willingness, capacity))
        fired = [rule for rule in self.rules if rule.fires(chosen)]
        profile = _adjusted(unadjusted, fired)
        return Assessment(
            version=self.version,
            answers=chosen,
            willingness=willingness,
            capacity=capacity,
            profile=profile,
            unadjusted=unadjusted,
            reasons=(
                *self._governed(willingness, capacity, unadjusted, given),
                *(rule.reason for rule in fired),
                *_concluded(unadjusted, profile, fired),
            ),
        )

    def _score(self, side: Side, given: Mapping[str, Answer]) -> float:
        """``100 (points - least) / (most - least)``, summed over the questions of the side."""
        questions = self.on(side)
        points = sum(given[question.id].points - question.least for question in questions)
        return 100 * points / sum(question.most - question.least for question in questions)

    def _profile(self, score: float) -> RiskProfile:
        """The boldest profile whose threshold the score reaches."""
        reached = [name for name, least in self.thresholds.items() if score >= least]
        return RISK_PROFILES[reached[-1]]

    def _governed(
        self,
        willingness: float,
        capacity: float,
        unadjusted: RiskProfile,
        given: Mapping[str, Answer],
    ) -> list[str]:
        """Which side governed, and the answers that held it down most."""
        if willingness == capacity:
            sides = tuple(Side)
            sentence = (
                f"Your willingness and your capacity to bear losses both score {capacity:.0f} of"
                f" 100, which is {unadjusted.name}."
            )
        else:
            sides = (Side.CAPACITY if capacity < willingness else Side.WILLINGNESS,)
            sentence = (
                f"Your willingness to bear losses scores {willingness:.0f} of 100 and your capacity"
                f" to bear them {capacity:.0f}; the lower governs, so {sides[0]} decides:"
                f" {unadjusted.name}."
            )
        asked = [question for question in self.questions if question.side in sides]
        share = {
            question.id: (given[question.id].points - question.least)
            / (question.most - question.least)
            for question in asked
        }
        least = min(share.values())
        if least == 1:
            return [sentence]
        lowest = [
            f'{question.topic} ("{given[question.id].text}")'
            for question in asked
            if share[question.id] == least
        ]
        return [sentence, f"The fewest points came from {', '.join(lowest)}."]


def _adjusted(unadjusted: RiskProfile, fired: list[Rule]) -> RiskProfile:
    """The profile after the rules: down by the steps, and under every cap."""
    steps = sum(rule.at_most is None for rule in fired)
    caps = [_LADDER.index(rule.at_most) for rule in fired if rule.at_most is not None]
    return _LADDER[max(0, min([_LADDER.index(unadjusted) - steps, *caps]))]


def _concluded(unadjusted: RiskProfile, profile: RiskProfile, fired: list[Rule]) -> list[str]:
    if profile != unadjusted:
        return [f"Hence {profile.name} instead of {unadjusted.name}."]
    if fired:
        return [f"The outcome stays {profile.name}: the scores allow no more anyway."]
    return ["No answer contradicts another, and none sets a limit of its own."]


def _check_distinct(ids: Iterable[str], *, field: str) -> None:
    twice = [id for id, count in Counter(ids).items() if count > 1]
    if twice:
        raise InvalidRequest(f"{twice[0]!r} occurs twice; ids are unique", field=field)


def _shown(value: object) -> str:
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."


QUESTIONNAIRE = Questionnaire(
    version="1",
    notice=(
        "This is a tool, not advice. It sorts your answers by published rules and knows nothing"
        " else about you. The outcome sets limits on what is proposed for a portfolio; it promises"
        " neither a return nor that a loss stays within them. When your circumstances change,"
        " answer again."
    ),
    questions=(
        Question(
            "horizon",
            Side.CAPACITY,
            "horizon",
            "When will you begin to spend most of this money?",
            "Deep falls of share prices have taken years to recover, and nothing says that the next"
            " will not take longer. Money that is needed sooner cannot wait for it.",
            (
                Answer("under_3_years", "In less than 3 years", 0),
                Answer("from_3_to_5_years", "In 3 to 5 years", 1),
                Answer("from_5_to_10_years", "In 5 to 10 years", 2),
                Answer("from_10_to_20_years", "In 10 to 20 years", 3),
                Answer("over_20_years", "In more than 20 years", 4),
            ),
        ),
        Question(
            "needed_soon",
            Side.CAPACITY,
            "money needed soon",
            "How much of this money will you probably need within the next 3 years?",
            "Money that is drawn after a fall is sold at a loss, even if the rest has decades.",
            (
                Answer("over_half", "More than half", 0),
                Answer("quarter_to_half", "A quarter to a half", 1),
                Answer("under_quarter", "Less than a quarter", 3),
                Answer("none", "None of it", 4),
            ),
        ),
        Question(
            "emergency_fund",
            Side.CAPACITY,
            "emergency fund",
            "For how many months could you pay your expenses from savings other than this money?",
            "Whoever has nothing set aside must sell investments when the car breaks down or the"
            " job is lost, and that often happens while prices are low.",
            (
                Answer("none", "Less than one month", 0),
                Answer("under_3_months", "1 to 3 months", 1),
                Answer("from_3_to_6_months", "3 to 6 months", 3),
                Answer("over_6_months", "More than 6 months", 4),
            ),
        ),
        Question(
            "income",
            Side.CAPACITY,
            "income",
            "How reliable is your income over the coming years, this money apart?",
            "A steady income carries you through a fall; an uncertain one may fail at the same"
            " time.",
            (
                Answer("none", "I have little or none, or expect to lose it", 0),
                Answer("uncertain", "It varies much or may stop", 1),
                Answer("fairly_steady", "It is fairly steady", 3),
                Answer("secure", "It is secure and more than covers my expenses", 4),
            ),
        ),
        Question(
            "share_of_wealth",
            Side.CAPACITY,
            "share of wealth",
            "Of all that you own, your home apart, how much is this money?",
            "The same fall hurts less when most of what you own is elsewhere.",
            (
                Answer("over_three_quarters", "More than three quarters", 0),
                Answer("half_to_three_quarters", "A half to three quarters", 1),
                Answer("quarter_to_half", "A quarter to a half", 2),
                Answer("tenth_to_quarter", "A tenth to a quarter", 3),
                Answer("under_tenth", "Less than a tenth", 4),
            ),
        ),
        Question(
            "need_for_return",
            Side.CAPACITY,
            "need for return",
            "What must this money earn so that your plans for it come true?",
            "Plans that succeed only with a high return have no room for a loss. A need is no"
            " ability: it never raises the profile. Saving more, waiting longer or wanting less"
            " are the other remedies.",
            (
                Answer("high", "More than 5% a year above inflation", 0),
                Answer("moderate", "2% to 5% a year above inflation", 1),
                Answer("low", "Inflation, or a little more", 3),
                Answer("none", "They would come true even if a third of it were lost", 4),
            ),
        ),
        Question(
            "goal",
            Side.WILLINGNESS,
            "goal",
            "What should this money do above all?",
            "Higher expected returns come with deeper falls; this says which matters more to you.",
            (
                Answer("keep_its_value", "Not lose value, even if it hardly earns anything", 0),
                Answer("income", "Pay a regular income, with small ups and downs", 1),
                Answer("beat_inflation", "Grow somewhat faster than prices, with some falls", 2),
                Answer("grow", "Grow well over the years, with large falls on the way", 3),
                Answer("grow_most", "Grow as much as it can, whatever the falls", 4),
            ),
        ),
        Question(
            "accepted_loss",
            Side.WILLINGNESS,
            "accepted loss",
            "Of 10,000 invested, what is the most that you would accept to be down within a year?",
            "It states your limit in money. Falls of half have happened to portfolios of shares"
            " alone, and may again.",
            (
                Answer("none", "Nothing: it should stay at 10,000", 0),
                Answer("up_to_10_percent", "1,000, a tenth", 1),
                Answer("up_to_20_percent", "2,000, a fifth", 2),
                Answer("up_to_35_percent", "3,500, about a third", 3),
                Answer("up_to_50_percent", "5,000, a half, or more", 4),
            ),
        ),
        Question(
            "reaction",
            Side.WILLINGNESS,
            "reaction to a fall",
            "Imagine that markets fell for months, the news is bad, and 10,000 have become 8,000."
            " What would you do?",
            "Selling after a fall makes the loss final. What people do matters more than what they"
            " say they can bear.",
            (
                Answer("sold_earlier", "I would have sold already when it was down a tenth", 0),
                Answer("sell_all", "Sell everything before it falls further", 1),
                Answer("sell_some", "Sell some, so that I can sleep", 2),
                Answer("hold", "Keep to the plan and change nothing", 3),
                Answer("buy", "Buy more", 4),
            ),
        ),
        Question(
            "past_falls",
            Side.WILLINGNESS,
            "past falls",
            "The last time that your investments fell by a fifth or more, what did you do?",
            "What somebody did is the best hint at what they will do.",
            (
                Answer("sold_all", "I sold everything", 0),
                Answer("sold_some", "I sold some", 1),
                Answer("never_happened", "It has never happened to me", 2),
                Answer("held", "I kept what I had", 3),
                Answer("bought", "I bought more", 4),
            ),
        ),
        Question(
            "experience",
            Side.WILLINGNESS,
            "experience",
            "For how long have you decided on investments of your own?",
            "Whoever has seen markets rise and fall is less surprised by the next time.",
            (
                Answer("none", "Never yet", 0),
                Answer("under_3_years", "Less than 3 years", 1),
                Answer("from_3_to_10_years", "3 to 10 years", 3),
                Answer("over_10_years", "More than 10 years", 4),
            ),
        ),
        Question(
            "riskiest_held",
            Side.WILLINGNESS,
            "riskiest investment held",
            "Which of these is the riskiest that you have held for a year or more?",
            "People judge risks best that they know, and what they have held tells more than what"
            " they say that they know.",
            (
                Answer("deposits", "None: only cash, deposits or savings accounts", 0),
                Answer("bonds", "Bonds or bond funds", 1),
                Answer("mixed_funds", "Funds of bonds and shares", 2),
                Answer("equity_funds", "Equity funds", 3),
                Answer("shares", "Shares of single companies, or anything riskier", 4),
            ),
        ),
    ),
    rules=(
        Rule(
            "short_horizon",
            {"horizon": ("under_3_years",)},
            "You will spend most of this money within 3 years, too soon to wait for a recovery.",
            at_most=RISK_PROFILES["conservative"],
        ),
        Rule(
            "medium_horizon",
            {"horizon": ("from_3_to_5_years",)},
            "You will spend most of this money within 5 years, and recoveries have taken longer.",
            at_most=RISK_PROFILES["cautious"],
        ),
        Rule(
            "mostly_needed_soon",
            {"needed_soon": ("over_half",)},
            "You will probably need more than half of this money within 3 years.",
            at_most=RISK_PROFILES["cautious"],
        ),
        Rule(
            "no_emergency_fund",
            {"emergency_fund": ("none",)},
            "You have no emergency fund, so that an unforeseen bill may force a sale at a loss.",
            at_most=RISK_PROFILES["balanced"],
        ),
        Rule(
            "no_loss_accepted",
            {"accepted_loss": ("none",)},
            "You accept no loss at all, and every profile, conservative included, can lose money.",
            at_most=RISK_PROFILES["conservative"],
        ),
        Rule(
            "small_loss_accepted",
            {"accepted_loss": ("up_to_10_percent",)},
            "You accept a loss of a tenth and no more.",
            at_most=RISK_PROFILES["cautious"],
        ),
        Rule(
            "growth_without_loss",
            {
                "goal": ("grow", "grow_most"),
                "accepted_loss": ("none", "up_to_10_percent"),
            },
            "You want growth but accept a loss of a tenth at most, and growth comes with larger"
            " ones.",
        ),
        Rule(
            "growth_but_sells_early",
            {"goal": ("grow", "grow_most"), "reaction": ("sold_earlier",)},
            "You want growth but would sell after a fall of a tenth, and growth comes with such"
            " falls.",
        ),
        Rule(
            "sells_before_accepted_loss",
            {
                "accepted_loss": ("up_to_20_percent", "up_to_35_percent", "up_to_50_percent"),
                "reaction": ("sold_earlier",),
            },
            "You say that you accept a loss of a fifth or more, but would sell after a tenth.",
        ),
        Rule(
            "sells_within_accepted_loss",
            {
                "accepted_loss": ("up_to_35_percent", "up_to_50_percent"),
                "reaction": ("sell_all", "sell_some"),
            },
            "You say that you accept a loss of a third or more, but would sell after a fifth.",
        ),
        Rule(
            "sold_within_accepted_loss",
            {
                "accepted_loss": ("up_to_35_percent", "up_to_50_percent"),
                "past_falls": ("sold_all", "sold_some"),
            },
            "You say that you accept a loss of a third or more, but sold the last time that your"
            " investments fell by a fifth or more.",
        ),
        Rule(
            "holds_but_sold",
            {"reaction": ("hold", "buy"), "past_falls": ("sold_all",)},
            "You say that you would not sell after a fall of a fifth, but the last time you sold"
            " everything.",
        ),
        Rule(
            "experience_without_markets",
            {
                "experience": ("from_3_to_10_years", "over_10_years"),
                "riskiest_held": ("deposits",),
            },
            "You have decided on investments for years but never held more than deposits, so that"
            " this experience is not one of falling markets.",
        ),
        Rule(
            "falls_without_markets",
            {"past_falls": ("held", "bought"), "riskiest_held": ("deposits",)},
            "You say that your investments fell by a fifth or more, but name deposits as the"
            " riskiest of them, and deposits do not fall so.",
        ),
        Rule(
            "long_horizon_but_needed_soon",
            {
                "horizon": ("from_10_to_20_years", "over_20_years"),
                "needed_soon": ("over_half", "quarter_to_half"),
            },
            "You will spend most of this money in 10 years or later, but will probably need a"
            " quarter of it or more within 3, and that part cannot wait for a recovery.",
        ),
    ),
)
"""The questionnaire in use."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.questionnaire import (
    THRESHOLDS,
    Adjustment,
    AnswerOption,
    Question,
    Questionnaire,
    Side,
)
from rebalancer.domain.portfolio.questions import load_questionnaire
from rebalancer.domain.portfolio.risk import RISK_PROFILES, RiskProfile

QUESTIONNAIRE = load_questionnaire()

laws = settings(deadline=None)

complete = st.fixed_dictionaries(
    {
        question.id: st.sampled_from([answer.id for answer in question.answers])
        for question in QUESTIONNAIRE.questions
    }
)

BOLDEST = {question.id: question.answers[-1].id for question in QUESTIONNAIRE.questions}
MOST_CAREFUL = {question.id: question.answers[0].id for question in QUESTIONNAIRE.questions}

CAPACITY_7 = {
    "horizon": "from_5_to_10_years",  # 2
    "needed_soon": "under_quarter",  # 3
    "emergency_fund": "under_3_months",  # 1
    "income": "uncertain",  # 1
    "share_of_wealth": "over_three_quarters",  # 0
    "need_for_return": "high",  # 0
}
CAPACITY_14 = {
    "horizon": "from_5_to_10_years",  # 2
    "needed_soon": "under_quarter",  # 3
    "emergency_fund": "from_3_to_6_months",  # 3
    "income": "fairly_steady",  # 3
    "share_of_wealth": "quarter_to_half",  # 2
    "need_for_return": "moderate",  # 1
}
CAPACITY_19 = {
    "horizon": "from_10_to_20_years",  # 3
    "needed_soon": "none",  # 4
    "emergency_fund": "from_3_to_6_months",  # 3
    "income": "fairly_steady",  # 3
    "share_of_wealth": "tenth_to_quarter",  # 3
    "need_for_return": "low",  # 3
}
WILLINGNESS_4 = {
    "goal": "income",  # 1
    "accepted_loss": "up_to_10_percent",  # 1
    "reaction": "sold_earlier",  # 0
    "past_falls": "never_happened",  # 2
    "experience": "none",  # 0
    "riskiest_held": "deposits",  # 0
}
WILLINGNESS_12 = {
    "goal": "beat_inflation",  # 2
    "accepted_loss": "up_to_20_percent",  # 2
    "reaction": "hold",  # 3
    "past_falls": "never_happened",  # 2
    "experience": "under_3_years",  # 1
    "riskiest_held": "mixed_funds",  # 2
}
WILLINGNESS_18 = {
    "goal": "grow",  # 3
    "accepted_loss": "up_to_35_percent",  # 3
    "reaction": "hold",  # 3
    "past_falls": "held",  # 3
    "experience": "from_3_to_10_years",  # 3
    "riskiest_held": "equity_funds",  # 3
}


def rank(profile: RiskProfile) -> int:
    return list(RISK_PROFILES).index(profile.name)


def applied(answers: dict[str, str]) -> set[str]:
    return {one.id for one in QUESTIONNAIRE.adjustments if one.applies(answers)}


def test_questionnaire_has_well_formed_questions() -> None:
    questions = QUESTIONNAIRE.questions
    assert QUESTIONNAIRE.version == "1"
    assert 8 <= len(questions) <= 12
    assert len({question.id for question in questions}) == len(questions)
    assert len({question.topic for question in questions}) == len(questions)
    assert all(len(QUESTIONNAIRE.on(side)) >= 3 for side in Side)
    for question in questions:
        assert question.id.isidentifier() and question.id.islower()
        assert question.text.endswith("?")
        assert question.help.endswith(".")
        assert 3 <= len(question.answers) <= 5
        assert len({answer.id for answer in question.answers}) == len(question.answers)
        points = [answer.points for answer in question.answers]
        assert points == sorted(set(points))
        assert (points[0], points[-1]) == (0, 4)


def test_notice_states_that_it_is_not_advice() -> None:
    assert "tool, not advice" in QUESTIONNAIRE.notice


@pytest.mark.parametrize(
    ("answers", "willingness", "capacity", "profile"),
    [
        (WILLINGNESS_4 | CAPACITY_14, 100 * 4 / 24, 100 * 14 / 24, "conservative"),
        (WILLINGNESS_12 | CAPACITY_7, 50.0, 100 * 7 / 24, "cautious"),
        (WILLINGNESS_12 | CAPACITY_14, 50.0, 100 * 14 / 24, "balanced"),
        (WILLINGNESS_18 | CAPACITY_14, 75.0, 100 * 14 / 24, "balanced"),
        (WILLINGNESS_18 | CAPACITY_19, 75.0, 100 * 19 / 24, "growth"),
        (BOLDEST | {"need_for_return": "moderate"}, 100.0, 87.5, "aggressive"),
        (BOLDEST, 100.0, 100.0, "aggressive"),
        (MOST_CAREFUL, 0.0, 0.0, "conservative"),
    ],
)
def test_scores_and_profiles_computed_by_hand(
    answers: dict[str, str], willingness: float, capacity: float, profile: str
) -> None:
    found = QUESTIONNAIRE.assess(answers)
    assert found.version == "1"
    assert found.answers == answers
    assert found.willingness == pytest.approx(willingness)
    assert found.capacity == pytest.approx(capacity)
    assert found.unadjusted == found.profile == RISK_PROFILES[profile]


@pytest.mark.parametrize(("points", "profile"), [(4, "conservative"), (5, "cautious")])
def test_scores_around_threshold_give_different_profiles(points: int, profile: str) -> None:
    """Four points of 24 are 16.7 of 100 and five are 20.8: the threshold of 20 lies between."""
    answers = BOLDEST | WILLINGNESS_4
    if points == 5:
        answers["reaction"] = "sell_all"
    assert QUESTIONNAIRE.assess(answers).unadjusted.name == profile


def test_score_equal_to_threshold_reaches_profile() -> None:
    ten = tuple(AnswerOption(f"a{points}", "", points) for points in (0, 2, 4, 6, 10))
    small = Questionnaire(
        version="test",
        notice="",
        questions=(
            Question("will", Side.WILLINGNESS, "will", "?", "", ten),
            Question("can", Side.CAPACITY, "can", "?", "", ten),
        ),
        adjustments=(),
    )
    names = [small.assess({"will": answer.id, "can": "a10"}).profile.name for answer in ten]
    assert names == list(RISK_PROFILES)
    assert list(THRESHOLDS.values()) == [0, 20, 40, 60, 80]


def test_reasons_name_governing_side_and_its_lowest_answers() -> None:
    assert QUESTIONNAIRE.assess(WILLINGNESS_18 | CAPACITY_7).reasons == (
        "Your willingness to accept losses scores 75 out of 100 and your capacity for them 29;"
        " the lower score governs, so your capacity gives the profile cautious.",
        'The fewest points came from share of wealth ("More than three quarters"),'
        ' need for return ("More than 5% a year above inflation").',
        "Your answers do not contradict each other, and no single answer limits the profile.",
    )
    willing = QUESTIONNAIRE.assess(WILLINGNESS_12 | CAPACITY_14).reasons
    assert "so your willingness gives the profile balanced." in willing[0]
    assert willing[1] == 'The fewest points came from experience ("Less than 3 years").'
    assert QUESTIONNAIRE.assess(BOLDEST).reasons == (
        "Your willingness and your capacity to accept losses both score 100 out of 100, which gives"
        " the profile aggressive.",
        "Your answers do not contradict each other, and no single answer limits the profile.",
    )


def test_reasons_explain_each_adjustment() -> None:
    answers = BOLDEST | {"emergency_fund": "none", "reaction": "sell_some"}
    assert QUESTIONNAIRE.assess(answers).reasons[2:] == (
        "You have no emergency fund, so an unexpected bill may force you to sell at a loss."
        " This allows at most the profile balanced.",
        "You state that you accept a loss of a third or more, but would sell after a fifth."
        " This lowers the profile by one step.",
        "The profile is therefore balanced instead of aggressive.",
    )


def test_reasons_state_when_limit_changed_nothing() -> None:
    reasons = QUESTIONNAIRE.assess(WILLINGNESS_4 | CAPACITY_14).reasons
    assert reasons[-2].endswith("This allows at most the profile cautious.")
    assert reasons[-1] == "The profile stays conservative, because the scores allow no more."


SELLS = {"growth_but_sells_early", "sells_before_accepted_loss"}
MODEST = BOLDEST | {"goal": "beat_inflation"}

CASES = [
    # (adjustment, answers, all that apply, (unadjusted, profile), a near miss)
    (
        "short_horizon",
        BOLDEST | {"horizon": "under_3_years"},
        {"short_horizon"},
        ("aggressive", "conservative"),
        {"horizon": "from_3_to_5_years"},
    ),
    (
        "medium_horizon",
        BOLDEST | {"horizon": "from_3_to_5_years"},
        {"medium_horizon"},
        ("aggressive", "cautious"),
        {"horizon": "from_5_to_10_years"},
    ),
    (
        "mostly_needed_soon",
        BOLDEST | {"horizon": "from_5_to_10_years", "needed_soon": "over_half"},
        {"mostly_needed_soon"},
        ("growth", "cautious"),
        {"needed_soon": "quarter_to_half"},
    ),
    (
        "no_emergency_fund",
        BOLDEST | {"emergency_fund": "none"},
        {"no_emergency_fund"},
        ("aggressive", "balanced"),
        {"emergency_fund": "under_3_months"},
    ),
    (
        "no_loss_accepted",
        MODEST | {"accepted_loss": "none"},
        {"no_loss_accepted"},
        ("growth", "conservative"),
        {"accepted_loss": "up_to_10_percent"},
    ),
    (
        "small_loss_accepted",
        MODEST | {"accepted_loss": "up_to_10_percent"},
        {"small_loss_accepted"},
        ("growth", "cautious"),
        {"accepted_loss": "up_to_20_percent"},
    ),
    (
        "growth_without_loss",
        BOLDEST | CAPACITY_7 | {"goal": "grow", "accepted_loss": "up_to_10_percent"},
        {"growth_without_loss", "small_loss_accepted"},
        ("cautious", "conservative"),
        {"goal": "beat_inflation"},
    ),
    (
        "growth_but_sells_early",
        BOLDEST | {"reaction": "sold_earlier"},
        {"growth_but_sells_early", "sells_before_accepted_loss"},
        ("aggressive", "balanced"),
        {"goal": "beat_inflation"},
    ),
    (
        "sells_before_accepted_loss",
        MODEST | {"reaction": "sold_earlier"},
        {"sells_before_accepted_loss"},
        ("growth", "balanced"),
        {"accepted_loss": "up_to_10_percent"},
    ),
    (
        "sells_within_accepted_loss",
        BOLDEST | {"reaction": "sell_some"},
        {"sells_within_accepted_loss"},
        ("aggressive", "growth"),
        {"accepted_loss": "up_to_20_percent"},
    ),
    (
        "sold_within_accepted_loss",
        BOLDEST | {"past_falls": "sold_some"},
        {"sold_within_accepted_loss"},
        ("aggressive", "growth"),
        {"past_falls": "never_happened"},
    ),
    (
        "holds_but_sold",
        BOLDEST | {"accepted_loss": "up_to_20_percent", "past_falls": "sold_all"},
        {"holds_but_sold"},
        ("growth", "balanced"),
        {"past_falls": "sold_some"},
    ),
    (
        "experience_without_markets",
        BOLDEST | {"riskiest_held": "deposits", "past_falls": "never_happened"},
        {"experience_without_markets"},
        ("growth", "balanced"),
        {"riskiest_held": "bonds"},
    ),
    (
        "falls_without_markets",
        BOLDEST | {"riskiest_held": "deposits", "experience": "under_3_years"},
        {"falls_without_markets"},
        ("growth", "balanced"),
        {"past_falls": "never_happened"},
    ),
    (
        "long_horizon_but_needed_soon",
        BOLDEST | {"needed_soon": "quarter_to_half"},
        {"long_horizon_but_needed_soon"},
        ("aggressive", "growth"),
        {"needed_soon": "under_quarter"},
    ),
]


@pytest.mark.parametrize(
    ("id", "answers", "all_applied", "names", "near_miss"), CASES, ids=[case[0] for case in CASES]
)
def test_adjustment_lowers_profile_with_reason_only_for_its_answers(
    id: str,
    answers: dict[str, str],
    all_applied: set[str],
    names: tuple[str, str],
    near_miss: dict[str, str],
) -> None:
    (adjustment,) = (one for one in QUESTIONNAIRE.adjustments if one.id == id)
    found = QUESTIONNAIRE.assess(answers)
    assert applied(answers) == all_applied
    assert (found.unadjusted.name, found.profile.name) == names
    assert adjustment.reason in found.reasons
    assert f"The profile is therefore {names[1]} instead of {names[0]}." in found.reasons

    missed = QUESTIONNAIRE.assess(answers | near_miss)
    assert id not in applied(answers | near_miss)
    assert adjustment.reason not in missed.reasons


def test_every_adjustment_has_a_case() -> None:
    assert [case[0] for case in CASES] == [one.id for one in QUESTIONNAIRE.adjustments]


def test_many_adjustments_stop_at_conservative() -> None:
    contradictory = MOST_CAREFUL | {
        "goal": "grow_most",
        "experience": "over_10_years",
        "past_falls": "held",
    }
    assert len(applied(contradictory)) >= 6
    assert QUESTIONNAIRE.assess(contradictory).profile.name == "conservative"


def test_two_contradictions_lower_profile_by_their_sum() -> None:
    answers = BOLDEST | {"needed_soon": "quarter_to_half", "reaction": "sold_earlier"}
    found = QUESTIONNAIRE.assess(answers)
    assert applied(answers) == SELLS | {"long_horizon_but_needed_soon"}
    assert (found.unadjusted.name, found.profile.name) == ("aggressive", "cautious")


@given(complete, st.data())
@laws
def test_a_more_careful_answer_never_raises_the_scores(
    answers: dict[str, str], data: st.DataObject
) -> None:
    question = data.draw(st.sampled_from(QUESTIONNAIRE.questions))
    ids = [answer.id for answer in question.answers]
    careful = data.draw(st.sampled_from(ids[: ids.index(answers[question.id]) + 1]))
    before = QUESTIONNAIRE.assess(answers)
    after = QUESTIONNAIRE.assess(answers | {question.id: careful})
    assert after.willingness <= before.willingness
    assert after.capacity <= before.capacity
    assert rank(after.unadjusted) <= rank(before.unadjusted)


@given(complete)
@laws
def test_adjustments_never_raise_profile(answers: dict[str, str]) -> None:
    found = QUESTIONNAIRE.assess(answers)
    assert rank(found.profile) <= rank(found.unadjusted)
    for one in QUESTIONNAIRE.adjustments:
        fewer = tuple(other for other in QUESTIONNAIRE.adjustments if other != one)
        without = attrs.evolve(QUESTIONNAIRE, adjustments=fewer).assess(answers)
        assert rank(found.profile) <= rank(without.profile)
        if one.at_most is not None and one.applies(answers):
            assert rank(found.profile) <= rank(one.at_most)


@given(complete)
@laws
def test_any_complete_set_of_answers_is_scored_and_explained(answers: dict[str, str]) -> None:
    found = QUESTIONNAIRE.assess(answers)
    assert found.profile == RISK_PROFILES[found.profile.name]
    assert found.unadjusted == RISK_PROFILES[found.unadjusted.name]
    assert 0 <= found.willingness <= 100
    assert 0 <= found.capacity <= 100
    assert found.answers == answers
    assert len(found.reasons) >= 2
    assert all(reason.endswith(".") for reason in found.reasons)
    assert (found.profile != found.unadjusted) == any(
        reason.startswith("The profile is therefore ") for reason in found.reasons
    )


@given(complete)
@laws
def test_lower_side_governs(answers: dict[str, str]) -> None:
    found = QUESTIONNAIRE.assess(answers)
    lower = min(found.willingness, found.capacity)
    assert THRESHOLDS[found.unadjusted.name] <= lower
    bolder = [least for name, least in THRESHOLDS.items() if least > lower]
    assert len(bolder) == len(RISK_PROFILES) - 1 - rank(found.unadjusted)


@given(complete, st.randoms(use_true_random=False))
@laws
def test_the_order_of_answers_is_irrelevant(answers: dict[str, str], random: Random) -> None:
    shuffled = list(answers.items())
    random.shuffle(shuffled)
    one, other = QUESTIONNAIRE.assess(answers), QUESTIONNAIRE.assess(dict(shuffled))
    assert one == other
    assert list(one.answers) == list(other.answers) == [q.id for q in QUESTIONNAIRE.questions]


@pytest.mark.parametrize("question", QUESTIONNAIRE.questions, ids=lambda question: question.id)
def test_missing_answer_is_rejected_with_choices(question: Question) -> None:
    answers = {id: answer for id, answer in BOLDEST.items() if id != question.id}
    with pytest.raises(InvalidRequest) as error:
        QUESTIONNAIRE.assess(answers)
    assert error.value.code == "answer_missing"
    assert error.value.field == f"answers.{question.id}"
    assert all(answer.id in str(error.value) for answer in question.answers)


def test_empty_answers_report_first_question() -> None:
    with pytest.raises(InvalidRequest, match=r"answers\.horizon: the answer is missing"):
        QUESTIONNAIRE.assess({})


@pytest.mark.parametrize(
    ("id", "text"),
    [
        ("horizn", "unknown question; did you mean horizon?"),
        ("emergency_funds", "unknown question; did you mean emergency_fund?"),
        ("zzz", "unknown question; choose one of horizon, needed_soon, "),
        ("", "unknown question; choose one of horizon, "),
    ],
)
def test_unknown_question_is_rejected_with_hint(id: str, text: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        QUESTIONNAIRE.assess({id: "over_20_years"} | BOLDEST)
    assert (error.value.code, error.value.field) == ("unknown_question", f"answers.{id}")
    assert text in str(error.value)


def test_misspelt_question_is_reported_before_missing_one() -> None:
    answers = {id: answer for id, answer in BOLDEST.items() if id != "horizon"}
    with pytest.raises(InvalidRequest, match="did you mean horizon"):
        QUESTIONNAIRE.assess(answers | {"horizons": "over_20_years"})


@pytest.mark.parametrize("order", [("aaa", "zzz"), ("zzz", "aaa")])
def test_order_of_answers_does_not_change_error(order: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequest) as error:
        QUESTIONNAIRE.assess(dict.fromkeys(order, "x") | BOLDEST)
    assert str(error.value).startswith("answers.aaa: unknown question")


@pytest.mark.parametrize("answer", ["soon", "", "OVER_20_YEARS", None, 4, ["over_20_years"]])
def test_unknown_answer_is_rejected_with_choices(answer: Any) -> None:
    with pytest.raises(InvalidRequest) as error:
        QUESTIONNAIRE.assess(BOLDEST | {"horizon": answer})
    assert error.value.field == "answers.horizon"
    assert str(error.value) == (
        f"answers.horizon: unknown answer {answer!r}; choose one of under_3_years,"
        " from_3_to_5_years, from_5_to_10_years, from_10_to_20_years, over_20_years"
    )


def test_long_input_is_abbreviated_in_messages() -> None:
    for answers in (BOLDEST | {"horizon": "x" * 10_000}, BOLDEST | {"x" * 10_000: "none"}):
        with pytest.raises(InvalidRequest, match=r"x\.\.\.") as error:
            QUESTIONNAIRE.assess(answers)
        assert len(str(error.value)) < 300


THREE = (AnswerOption("a", "A", 0), AnswerOption("b", "B", 1), AnswerOption("c", "C", 2))
WILL = Question("will", Side.WILLINGNESS, "will", "Will you?", "Because.", THREE)
CAN = Question("can", Side.CAPACITY, "can", "Can you?", "Because.", THREE)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (THREE[:2], "wrong_number_of_answers"),
        (THREE * 2, "wrong_number_of_answers"),
        ((*THREE, AnswerOption("a", "again", 3)), "duplicate_id"),
        (THREE[::-1], "points_not_rising"),
        ((*THREE, AnswerOption("d", "D", 2)), "points_not_rising"),
    ],
)
def test_inconsistent_question_is_rejected(answers: tuple[AnswerOption, ...], code: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        attrs.evolve(WILL, answers=answers)
    assert (error.value.code, error.value.field) == (code, "questions.will")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"questions": (WILL, CAN, WILL)}, "questions"),
        ({"questions": (WILL,)}, "questions"),
        ({"questions": (CAN,)}, "questions"),
        (
            {
                "adjustments": (
                    Adjustment("r", {"will": ("a",)}, "R."),
                    Adjustment("r", {"can": ("a",)}, "R."),
                )
            },
            "adjustments",
        ),
        ({"adjustments": (Adjustment("r", {"wil": ("a",)}, "R."),)}, "adjustments.r"),
        ({"adjustments": (Adjustment("r", {"will": ("z",)}, "R."),)}, "adjustments.r"),
        ({"adjustments": (Adjustment("r", {}, "R."),)}, "adjustments.r"),
    ],
)
def test_inconsistent_questionnaire_is_rejected(change: dict[str, Any], field: str) -> None:
    sound = Questionnaire(version="test", notice="", questions=(WILL, CAN), adjustments=())
    with pytest.raises(InvalidRequest) as error:
        attrs.evolve(sound, **change)
    assert error.value.field == field

"""The risk questionnaire in use: twelve questions and fifteen adjustments.

The willingness questions cover the ground of Grable and Lytton (1999), "Financial risk tolerance
revisited: the development of a risk assessment instrument", Financial Services Review 8(3):
attitude to loss, comfort and experience. Wording, points and thresholds are ours and have not been
validated on a sample. It is a tool, not advice.

Stored assessments hold the ids of answers: an id never changes its meaning.
"""

from __future__ import annotations

from rebalancer.domain.portfolio.questionnaire import (
    Adjustment,
    AnswerOption,
    Question,
    Questionnaire,
    Side,
)
from rebalancer.domain.portfolio.risk import RISK_PROFILES

QUESTIONNAIRE = Questionnaire(
    version="1",
    notice=(
        "This is a tool, not advice. It scores your answers by published rules and knows nothing"
        " else about you. The outcome limits what is proposed for your portfolios; it promises"
        " neither a return nor that losses stay within the limits. Answer again when your"
        " circumstances change."
    ),
    questions=(
        Question(
            "horizon",
            Side.CAPACITY,
            "horizon",
            "When will you begin to spend most of this money?",
            "Share prices have taken years to recover from deep falls, and the next recovery may"
            " take longer. Money that is needed sooner cannot wait for it.",
            (
                AnswerOption("under_3_years", "In less than 3 years", 0),
                AnswerOption("from_3_to_5_years", "In 3 to 5 years", 1),
                AnswerOption("from_5_to_10_years", "In 5 to 10 years", 2),
                AnswerOption("from_10_to_20_years", "In 10 to 20 years", 3),
                AnswerOption("over_20_years", "In more than 20 years", 4),
            ),
        ),
        Question(
            "needed_soon",
            Side.CAPACITY,
            "money needed soon",
            "How much of this money will you probably need within the next 3 years?",
            "Money withdrawn after a fall is a loss, even if the rest can wait decades.",
            (
                AnswerOption("over_half", "More than half", 0),
                AnswerOption("quarter_to_half", "A quarter to a half", 1),
                AnswerOption("under_quarter", "Less than a quarter", 3),
                AnswerOption("none", "None of it", 4),
            ),
        ),
        Question(
            "emergency_fund",
            Side.CAPACITY,
            "emergency fund",
            "For how many months could you pay your expenses from savings other than this money?",
            "Without savings you must sell investments when the car breaks down or you lose your"
            " job, and that often happens while prices are low.",
            (
                AnswerOption("none", "Less than one month", 0),
                AnswerOption("under_3_months", "1 to 3 months", 1),
                AnswerOption("from_3_to_6_months", "3 to 6 months", 3),
                AnswerOption("over_6_months", "More than 6 months", 4),
            ),
        ),
        Question(
            "income",
            Side.CAPACITY,
            "income",
            "How reliable will your income be over the coming years, apart from this money?",
            "A steady income helps you through a fall; an uncertain one may fail at the same time.",
            (
                AnswerOption("none", "I have little or no income, or expect to lose it", 0),
                AnswerOption("uncertain", "It varies a lot or may stop", 1),
                AnswerOption("fairly_steady", "It is fairly steady", 3),
                AnswerOption("secure", "It is secure and more than covers my expenses", 4),
            ),
        ),
        Question(
            "share_of_wealth",
            Side.CAPACITY,
            "share of wealth",
            "How large a part of everything you own, apart from your home, is this money?",
            "The same fall hurts less when most of what you own is elsewhere.",
            (
                AnswerOption("over_three_quarters", "More than three quarters", 0),
                AnswerOption("half_to_three_quarters", "A half to three quarters", 1),
                AnswerOption("quarter_to_half", "A quarter to a half", 2),
                AnswerOption("tenth_to_quarter", "A tenth to a quarter", 3),
                AnswerOption("under_tenth", "Less than a tenth", 4),
            ),
        ),
        Question(
            "need_for_return",
            Side.CAPACITY,
            "need for return",
            "How much must this money earn for your plans to succeed?",
            "Plans that need a high return leave no room for a loss. Needing a return does not mean"
            " being able to take risk, so it never raises the profile. The alternatives are saving"
            " more, waiting longer or spending less.",
            (
                AnswerOption("high", "More than 5% a year above inflation", 0),
                AnswerOption("moderate", "2% to 5% a year above inflation", 1),
                AnswerOption("low", "Inflation, or a little more", 3),
                AnswerOption("none", "They would succeed even if a third of it were lost", 4),
            ),
        ),
        Question(
            "goal",
            Side.WILLINGNESS,
            "goal",
            "What should this money do above all?",
            "Higher expected returns come with deeper falls; your answer shows which matters more.",
            (
                AnswerOption(
                    "keep_its_value", "Not lose value, even if it hardly earns anything", 0
                ),
                AnswerOption("income", "Pay a regular income, with small ups and downs", 1),
                AnswerOption(
                    "beat_inflation", "Grow somewhat faster than prices, with some falls", 2
                ),
                AnswerOption("grow", "Grow well over the years, with large falls on the way", 3),
                AnswerOption("grow_most", "Grow as much as it can, whatever the falls", 4),
            ),
        ),
        Question(
            "accepted_loss",
            Side.WILLINGNESS,
            "accepted loss",
            "Of 10,000 invested, what is the largest loss within a year that you would accept?",
            "Your answer states your limit in money. Portfolios of shares alone have lost half of"
            " their value, and may do so again.",
            (
                AnswerOption("none", "Nothing: it should stay at 10,000", 0),
                AnswerOption("up_to_10_percent", "1,000, a tenth", 1),
                AnswerOption("up_to_20_percent", "2,000, a fifth", 2),
                AnswerOption("up_to_35_percent", "3,500, about a third", 3),
                AnswerOption("up_to_50_percent", "5,000, a half, or more", 4),
            ),
        ),
        Question(
            "reaction",
            Side.WILLINGNESS,
            "reaction to a fall",
            "Imagine that markets fell for months, the news is bad, and 10,000 have become 8,000."
            " What would you do?",
            "Selling after a fall makes the loss final. What people do matters more than the loss"
            " they claim to accept.",
            (
                AnswerOption(
                    "sold_earlier", "I would have sold already when it was down by a tenth", 0
                ),
                AnswerOption("sell_all", "Sell everything before it falls further", 1),
                AnswerOption("sell_some", "Sell some, so that I can sleep", 2),
                AnswerOption("hold", "Keep to the plan and change nothing", 3),
                AnswerOption("buy", "Buy more", 4),
            ),
        ),
        Question(
            "past_falls",
            Side.WILLINGNESS,
            "past falls",
            "The last time that your investments fell by a fifth or more, what did you do?",
            "What you did last time is the best indication of what you will do next time.",
            (
                AnswerOption("sold_all", "I sold everything", 0),
                AnswerOption("sold_some", "I sold some", 1),
                AnswerOption("never_happened", "It has never happened to me", 2),
                AnswerOption("held", "I held my investments", 3),
                AnswerOption("bought", "I bought more", 4),
            ),
        ),
        Question(
            "experience",
            Side.WILLINGNESS,
            "experience",
            "For how long have you made investment decisions of your own?",
            "People who have seen markets rise and fall are less surprised the next time.",
            (
                AnswerOption("none", "I have not made any yet", 0),
                AnswerOption("under_3_years", "Less than 3 years", 1),
                AnswerOption("from_3_to_10_years", "3 to 10 years", 3),
                AnswerOption("over_10_years", "More than 10 years", 4),
            ),
        ),
        Question(
            "riskiest_held",
            Side.WILLINGNESS,
            "riskiest investment held",
            "Which of these is the riskiest investment that you have held for a year or more?",
            "People judge the risks best that they have experienced. What they have held shows more"
            " than what they think they know.",
            (
                AnswerOption("deposits", "Only cash, deposits or savings accounts", 0),
                AnswerOption("bonds", "Bonds or bond funds", 1),
                AnswerOption("mixed_funds", "Funds of bonds and shares", 2),
                AnswerOption("equity_funds", "Equity funds", 3),
                AnswerOption("shares", "Shares of single companies, or anything riskier", 4),
            ),
        ),
    ),
    adjustments=(
        Adjustment(
            "short_horizon",
            {"horizon": ("under_3_years",)},
            "You will spend most of this money within 3 years, too soon to wait for a recovery.",
            at_most=RISK_PROFILES["conservative"],
        ),
        Adjustment(
            "medium_horizon",
            {"horizon": ("from_3_to_5_years",)},
            "You will spend most of this money within 5 years, and recoveries have taken longer.",
            at_most=RISK_PROFILES["cautious"],
        ),
        Adjustment(
            "mostly_needed_soon",
            {"needed_soon": ("over_half",)},
            "You will probably need more than half of this money within 3 years.",
            at_most=RISK_PROFILES["cautious"],
        ),
        Adjustment(
            "no_emergency_fund",
            {"emergency_fund": ("none",)},
            "You have no emergency fund, so an unexpected bill may force you to sell at a loss.",
            at_most=RISK_PROFILES["balanced"],
        ),
        Adjustment(
            "no_loss_accepted",
            {"accepted_loss": ("none",)},
            "You accept no loss at all, but every profile, even conservative, can lose money.",
            at_most=RISK_PROFILES["conservative"],
        ),
        Adjustment(
            "small_loss_accepted",
            {"accepted_loss": ("up_to_10_percent",)},
            "You accept a loss of at most a tenth.",
            at_most=RISK_PROFILES["cautious"],
        ),
        Adjustment(
            "growth_without_loss",
            {
                "goal": ("grow", "grow_most"),
                "accepted_loss": ("none", "up_to_10_percent"),
            },
            "You want growth but accept a loss of at most a tenth, and growth comes with larger"
            " losses.",
        ),
        Adjustment(
            "growth_but_sells_early",
            {"goal": ("grow", "grow_most"), "reaction": ("sold_earlier",)},
            "You want growth but would sell after a fall of a tenth, and growth comes with such"
            " falls.",
        ),
        Adjustment(
            "sells_before_accepted_loss",
            {
                "accepted_loss": ("up_to_20_percent", "up_to_35_percent", "up_to_50_percent"),
                "reaction": ("sold_earlier",),
            },
            "You state that you accept a loss of a fifth or more, but would sell after a tenth.",
        ),
        Adjustment(
            "sells_within_accepted_loss",
            {
                "accepted_loss": ("up_to_35_percent", "up_to_50_percent"),
                "reaction": ("sell_all", "sell_some"),
            },
            "You state that you accept a loss of a third or more, but would sell after a fifth.",
        ),
        Adjustment(
            "sold_within_accepted_loss",
            {
                "accepted_loss": ("up_to_35_percent", "up_to_50_percent"),
                "past_falls": ("sold_all", "sold_some"),
            },
            "You state that you accept a loss of a third or more, but sold the last time that your"
            " investments fell by a fifth or more.",
        ),
        Adjustment(
            "holds_but_sold",
            {"reaction": ("hold", "buy"), "past_falls": ("sold_all",)},
            "You state that you would not sell after a fall of a fifth, but the last time you sold"
            " everything.",
        ),
        Adjustment(
            "experience_without_markets",
            {
                "experience": ("from_3_to_10_years", "over_10_years"),
                "riskiest_held": ("deposits",),
            },
            "You have made investment decisions for years but never held more than deposits, so"
            " you have not experienced falling markets.",
        ),
        Adjustment(
            "falls_without_markets",
            {"past_falls": ("held", "bought"), "riskiest_held": ("deposits",)},
            "You state that your investments fell by a fifth or more, but name deposits as the"
            " riskiest of them, and deposits do not fall like that.",
        ),
        Adjustment(
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

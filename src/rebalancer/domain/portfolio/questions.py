"""The risk questionnaire in use, read from ``questions.toml``.

The willingness questions cover the ground of Grable and Lytton (1999), "Financial risk tolerance
revisited: the development of a risk assessment instrument", Financial Services Review 8(3):
attitude to loss, comfort and experience. Wording, points and thresholds are ours and have not been
validated on a sample. It is a tool, not advice.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from rebalancer.domain.portfolio.questionnaire import (
    Adjustment,
    AnswerOption,
    Question,
    Questionnaire,
    Side,
)
from rebalancer.domain.portfolio.risk import risk_profile


@cache
def load_questionnaire() -> Questionnaire:
    """Return the questionnaire in use; the file is read and checked once."""
    source = files("rebalancer.domain.portfolio") / "questions.toml"
    content = tomllib.loads(source.read_text(encoding="utf-8"))
    return Questionnaire(
        version=content["version"],
        notice=content["notice"],
        questions=tuple(_build_question(one) for one in content["questions"]),
        adjustments=tuple(_build_adjustment(one) for one in content["adjustments"]),
    )


def _build_question(fields: dict[str, Any]) -> Question:
    answers = tuple(AnswerOption(**answer) for answer in fields["answers"])
    return Question(**fields | {"side": Side(fields["side"]), "answers": answers})


def _build_adjustment(fields: dict[str, Any]) -> Adjustment:
    when = {question: tuple(answers) for question, answers in fields["when"].items()}
    at_most = risk_profile(fields["at_most"]) if "at_most" in fields else None
    return Adjustment(**fields | {"when": when, "at_most": at_most})

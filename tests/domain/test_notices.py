"""Notices and the rules of their kinds."""

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.notices.kinds import KIND_RULES, NoticeKind, Severity
from rebalancer.domain.notices.notice import Notice

ADA, PORTFOLIO = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 3, 31, 15, 30, tzinfo=UTC)


def a_notice(kind=NoticeKind.DEPOSIT_UNINVESTED, **others):
    stated = {"owner": ADA, "key": "deposit 7", "now": NOW, "portfolio": PORTFOLIO}
    facts = {
        "portfolio_name": "Pension",
        "amount": Decimal("1250.50"),
        "currency": Currency("EUR"),
        "since": date(2026, 3, 1),
    }
    return Notice.new(kind, **{**stated, **facts, **others})


def test_notice_states_its_facts_as_exact_text():
    notice = a_notice()
    assert notice.parameters == {
        "portfolio_name": "Pension",
        "amount": "1250.50",
        "currency": "EUR",
        "since": "2026-03-01",
    }
    assert (notice.severity, notice.link, notice.read) == (Severity.INFO, "/", None)
    assert a_notice(severity=Severity.CRITICAL).severity is Severity.CRITICAL


def test_id_derives_from_owner_and_key():
    assert a_notice().id == a_notice(amount=Decimal(2)).id
    assert len({a_notice().id, a_notice(key="deposit 8").id, a_notice(owner=UUID(int=3)).id}) == 3


@pytest.mark.parametrize(
    ("others", "field"),
    [
        ({"key": ""}, "key"),
        ({"key": "a\n"}, "key"),
        ({"key": "x" * 201}, "key"),
        ({"link": "//evil.example"}, "link"),
        ({"link": "https://evil.example"}, "link"),
        ({"portfolio": None}, "portfolio"),
        ({"amount": Decimal("NaN")}, "parameters.amount"),
        ({"amount": 1.5}, "parameters.amount"),
        ({"amount": True}, "parameters.amount"),
        ({"currency": "euro"}, "parameters.currency"),
        ({"since": NOW}, "parameters.since"),
        ({"portfolio_name": " "}, "parameters.portfolio_name"),
        ({"unknown": "x"}, "parameters.unknown"),
    ],
)
def test_facts_that_do_not_suit_the_kind_are_refused(others, field):
    with pytest.raises(InvalidRequest) as error:
        a_notice(**others)
    assert error.value.field == field


def test_missing_fact_is_refused():
    with pytest.raises(InvalidRequest, match="deposit_uninvested needs the parameter"):
        Notice.new(NoticeKind.DEPOSIT_UNINVESTED, owner=ADA, key="k", now=NOW, portfolio=PORTFOLIO)


def test_long_text_is_cut():
    assert a_notice(portfolio_name="P" * 500).parameters["portfolio_name"] == "P" * 199 + "…"


def test_each_kind_has_a_rule_and_amounts_have_a_currency():
    assert set(KIND_RULES) == set(NoticeKind)
    for rule in KIND_RULES.values():
        assert ("amount" in rule.required) == ("currency" in rule.required)

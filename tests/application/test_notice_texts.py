"""Texts of notices in both languages, with their numbers."""

from datetime import UTC, date, datetime
from decimal import Decimal
from string import Formatter
from uuid import UUID

import pytest

from rebalancer.application.notice_texts import TEXTS, write_notice
from rebalancer.domain.notices.choices import Language, find_zone
from rebalancer.domain.notices.kinds import KIND_RULES, NoticeKind
from rebalancer.domain.notices.notice import Notice

BERLIN = find_zone("Europe/Berlin")


def text(kind, language=Language.ENGLISH, **facts):
    given = {"portfolio_name": "Retirement", **facts}
    now = datetime(2026, 3, 31, tzinfo=UTC)
    notice = Notice.new(kind, owner=UUID(int=1), key="k", now=now, portfolio=UUID(int=2), **given)
    return write_notice(notice, language, BERLIN).text


@pytest.mark.parametrize(
    ("kind", "facts", "english", "german"),
    [
        (
            NoticeKind.POSITION_OUTSIDE_BAND,
            {"symbol": "VTI", "weight": Decimal("0.662"), "target": Decimal("0.6")},
            "VTI is 6.2 points above its target in Retirement.",
            "VTI liegt in Retirement 6,2 Prozentpunkte über dem Ziel.",
        ),
        (
            NoticeKind.POSITION_OUTSIDE_BAND,
            {"symbol": "VTI", "weight": Decimal("0.5"), "target": Decimal("0.6")},
            "VTI is 10.0 points below its target in Retirement.",
            "VTI liegt in Retirement 10,0 Prozentpunkte unter dem Ziel.",
        ),
        (
            NoticeKind.DEPOSIT_UNINVESTED,
            {"amount": Decimal("12500"), "currency": "EUR", "since": date(2026, 3, 1)},
            "EUR 12,500.00 in Retirement has been waiting to be invested since 1 March 2026.",
            "12.500,00\u00a0EUR in Retirement sind seit dem 1.3.2026 nicht angelegt.",
        ),
        (
            NoticeKind.PROPOSAL_EXPIRING,
            {"expires": datetime(2026, 7, 1, 15, 30, tzinfo=UTC), "orders": 1},
            "The proposal for Retirement, with one order, expires on 1 July 2026 at 17:30 CEST.",
            "Der Vorschlag für Retirement mit einem Auftrag läuft am 1.7.2026 um 17:30 CEST ab.",
        ),
        (
            NoticeKind.PLANNED_FLOW_DUE,
            {"amount": Decimal("-50"), "currency": "JPY", "due": date(2026, 4, 1)},
            "Your planned withdrawal of JPY 50 from Retirement is due on 1 April 2026.",
            "Ihre geplante Auszahlung von 50\u00a0JPY aus Retirement ist am 1.4.2026 fällig.",
        ),
        (
            NoticeKind.KILL_SWITCH,
            {"by": "operator"},
            "The operator has stopped automatic decisions for Retirement.",
            "Der Betreiber hat automatische Entscheidungen für Retirement angehalten.",
        ),
        (
            NoticeKind.DRIFT,
            {"drift": Decimal("0.0615"), "limit": Decimal("0.05")},
            "Retirement is 6.2% away from its targets; your limit is 5.0%.",
            "Retirement weicht 6,2\u00a0% von den Zielen ab; Ihre Grenze ist 5,0\u00a0%.",
        ),
    ],
)
def test_text_is_a_sentence_with_the_numbers(kind, facts, english, german):
    assert text(kind, **facts) == english
    assert text(kind, Language.GERMAN, **facts) == german


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", NoticeKind)
def test_each_kind_has_texts_with_parameters_that_it_needs(kind, language):
    rule = KIND_RULES[kind]
    title, found = TEXTS[language][kind]
    variants = [found] if isinstance(found, str) else list(found.values())
    known = {*rule.required, *rule.optional, "difference"}
    for one in (title, *variants):
        assert {name for _, name, _, _ in Formatter().parse(one) if name} <= known
    assert all(one.endswith((".", "{reason}")) for one in variants)
    assert len(variants) == len(set(variants))
    other = TEXTS[Language.GERMAN if language is Language.ENGLISH else Language.ENGLISH][kind]
    assert isinstance(found, str) == isinstance(other[1], str)

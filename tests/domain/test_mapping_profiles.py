"""Mapping profiles: validation, and the JSON form."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest, faults_of
from rebalancer.domain.portfolio.mapping_profiles import (
    MEANINGS,
    AmountBasis,
    Column,
    MappingProfile,
    SignConvention,
    profile_of,
)

COLUMNS = {Column.DATE: "Day", Column.KIND: "What", Column.AMOUNT: "Money"}


def refusal(**changes):
    with pytest.raises(InvalidRequest) as error:
        MappingProfile(**{"name": "Bank", "columns": COLUMNS, **changes})
    return {fault.field: fault.code for fault in faults_of(error.value)}


def test_words_match_in_any_case_and_spacing():
    profile = MappingProfile("Bank", COLUMNS, {"Bought  Shares": "buy"}, default_kind="skip")
    assert profile.meaning(" BOUGHT shares ") == "buy"
    assert profile.meaning("sold") == ""
    assert profile.meaning(" ") == "skip"


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"name": " "}, {"name": "invalid_text"}),
        ({"name": "x" * 101}, {"name": "invalid_text"}),
        ({"columns": {Column.KIND: "a", Column.AMOUNT: "b"}}, {"columns.date": "missing_value"}),
        ({"columns": {Column.DATE: "a", Column.KIND: "b"}}, {"columns.amount": "missing_value"}),
        ({"columns": {**COLUMNS, Column.NOTE: " DAY "}}, {"columns": "duplicate_column"}),
        (
            {"columns": {Column.DATE: "a", Column.AMOUNT: "b"}},
            {"default_kind": "missing_value"},
        ),
        ({"kinds": {"buy": "gift"}}, {"kinds.buy": "unknown_kind"}),
        ({"kinds": {str(n): "buy" for n in range(201)}}, {"kinds": "too_many_words"}),
        ({"default_kind": "gift"}, {"default_kind": "unknown_kind"}),
        ({"date_format": "DD/MM"}, {"date_format": "invalid_date_format"}),
        ({"date_format": "DD/MM/YYYY.*"}, {"date_format": "invalid_date_format"}),
        ({"date_format": "MM/MMM/YYYY"}, {"date_format": "invalid_date_format"}),
        ({"decimal_mark": "'"}, {"decimal_mark": "invalid_decimal_mark"}),
        ({"delimiter": ":"}, {"delimiter": "invalid_delimiter"}),
        ({"currency": "euro"}, {"currency": "invalid_currency"}),
        ({"signs": SignConvention.QUANTITY}, {"signs": "missing_value"}),
        ({"name": "", "currency": "e"}, {"name": "invalid_text", "currency": "invalid_currency"}),
    ],
)
def test_contradictory_profile_is_refused_by_field(changes, faults):
    assert refusal(**changes) == faults


def test_quantity_and_price_replace_an_amount():
    columns = {Column.DATE: "a", Column.QUANTITY: "b", Column.PRICE: "c"}
    assert MappingProfile("Bank", columns, default_kind="buy").meaning("") == "buy"


titles = st.text("abcdefgh XYZ%()", min_size=1, max_size=12).filter(str.strip)


@st.composite
def profiles(draw):
    names = draw(st.lists(titles, min_size=6, max_size=6, unique_by=lambda t: " ".join(t.split())))
    folded = {" ".join(name.split()).casefold() for name in names}
    columns = dict(zip((*COLUMNS, Column.QUANTITY, Column.ISIN, Column.NOTE), names, strict=True))
    if len(folded) < len(names):
        columns = COLUMNS | {Column.QUANTITY: "Units"}
    return MappingProfile(
        draw(titles),
        columns,
        draw(st.dictionaries(titles, st.sampled_from(MEANINGS), max_size=5)),
        default_kind=draw(st.sampled_from(("", *MEANINGS))),
        date_format=draw(st.sampled_from(("", "DD/MM/YYYY", "MMM DD, YYYY", "YYYYMMDD"))),
        decimal_mark=draw(st.sampled_from(("", ".", ","))),
        delimiter=draw(st.sampled_from(("", ",", ";", "\t", "|"))),
        currency=draw(st.sampled_from(("", "EUR"))),
        signs=draw(st.sampled_from(SignConvention)),
        amounts=draw(st.sampled_from(AmountBasis)),
    )


@given(profiles())
def test_json_form_gives_the_same_profile(profile):
    assert profile_of(json.loads(json.dumps(profile.document()))) == profile


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], ""),
        ({"version": 2}, "version"),
        ({"colour": "red"}, "colour"),
        ({"name": 3}, "name"),
        ({"columns": ["Day"]}, "columns"),
        ({"columns": {"day": "Day"}}, "columns"),
        ({"columns": {"date": 3}}, "columns"),
        ({"signs": ["cash"]}, "signs"),
        ({"amounts": "both"}, "amounts"),
    ],
)
def test_malformed_json_form_is_refused_by_field(document, field):
    with pytest.raises(InvalidRequest) as error:
        profile_of(document)
    assert error.value.field == field

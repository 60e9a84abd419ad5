"""Files of corporate actions: what is read, what is added up, and what is rejected."""

import re
from datetime import date
from decimal import Decimal

import pytest

from rebalancer.adapters.market_data.csv_actions import CsvActions
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.actions import ActionKind

HEADER = "symbol,ex_date,kind,value,currency\n"


def read(tmp_path, *lines, header=HEADER):
    path = tmp_path / "actions.csv"
    path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return CsvActions(path).read()


def test_every_kind_is_read(tmp_path):
    found = read(
        tmp_path,
        "A,2024-01-02,split,4,",
        "A,2024-02-01,dividend,0.24,GBX",
        "A,2024-02-01,capital_gain,1.5,",
        "A,2024-02-02,Return of Capital,1,USD",
        "A,2024-03-01,spin-off,NEW:0.25,",
        "A,2024-04-01,rename,B,",
        "B,2024-05-01,delisting,,",
    )
    assert found.notes == ()
    assert [(one.kind, one.value, one.currency, one.other) for one in found.actions] == [
        (ActionKind.SPLIT, Decimal(4), None, None),
        (ActionKind.CAPITAL_GAIN, Decimal("1.5"), None, None),
        (ActionKind.DIVIDEND, Decimal("0.24"), "GBX", None),
        (ActionKind.RETURN_OF_CAPITAL, Decimal(1), "USD", None),
        (ActionKind.SPIN_OFF, Decimal("0.25"), None, "NEW"),
        (ActionKind.RENAME, Decimal(0), None, "B"),
        (ActionKind.DELISTING, Decimal(0), None, None),
    ]
    assert next(iter(found.actions)).ex_day == date(2024, 1, 2)


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        *[("4", "4"), ("0.25", "0.25"), ("4:1", "4"), ("1:4", "0.25"), ("1/190", "1/190")],
        *[
            ("3 for 2", "1.5"),
            ("4-for-1", "4"),
            (" 2 : 1 ", "2"),
            ("1.5", "1.5"),
            ("21/20", "1.05"),
        ],
    ],
)
def test_split_ratios_in_usual_spellings(tmp_path, text, ratio):
    new, _, old = ratio.partition("/")
    (split,) = read(tmp_path, f"A,2024-01-02,split,{text},").actions
    assert split.value == Decimal(new) / Decimal(old or 1)


def test_different_distributions_of_a_day_are_added_up(tmp_path):
    found = read(
        tmp_path,
        *("A,2024-02-01,dividend,0.24,", "A,2024-02-01,dividend,1.00,"),
        *("A,2024-02-01,dividend,0.24,", "A,2024-02-02,dividend,0.24,"),
    )
    assert [one.value for one in found.actions] == [Decimal("1.24"), Decimal("0.24")]
    assert found.notes == (
        "The dividend of A on 2024-02-01 on line 3 differs from that on line 2; they are added up "
        "to 1.24.",
        "The dividend of A on 2024-02-01 on line 4 is also on line 2; it counts once.",
    )


@pytest.mark.parametrize(
    ("line", "place", "remedy"),
    [
        (",2024-01-02,split,4,", "line 2, column 1 ('symbol'): no symbol", "give one"),
        ("A,01/02/2024,split,4,", "line 2, column 2 ('ex_date'): '01/02/2024'", "YYYY-MM-DD"),
        ("A,2024-01-02,bonus,4,", "line 2, column 3 ('kind'): 'bonus'", "split, dividend"),
        ("A,2024-01-02,split,0,", "line 2, column 4 ('value'): '0'", "4:1 or 1/190"),
        ("A,2024-01-02,split,,", "line 2, column 4 ('value'): ''", "positive number"),
        ("A,2024-01-02,dividend,-1,", "line 2, column 4 ('value'): '-1'", "0.24"),
        ("A,2024-01-02,dividend,1,XX", "line 2, column 5 ('currency'): 'XX'", "such as USD"),
        ("A,2024-01-02,rename,,", "line 2, column 4 ('value'): no new symbol", "write it"),
        ("A,2024-01-02,rename,A,", "line 2, column 4 ('value'): a rename of A", "other asset"),
        ("A,2024-01-02,spin_off,0.25,", "line 2, column 4 ('value'): '0.25'", "NEW:0.25"),
    ],
)
def test_malformed_line_is_rejected_with_place_and_remedy(tmp_path, line, place, remedy):
    with pytest.raises(InvalidRequest, match=re.escape(place)) as refused:
        read(tmp_path, line)
    assert remedy in str(refused.value)
    assert refused.value.field == "actions"


def test_contradicting_lines_are_rejected(tmp_path):
    with pytest.raises(InvalidRequest, match="line 3: the split of A on 2024-01-02 is also on"):
        read(tmp_path, "A,2024-01-02,split,4,", "A,2024-01-02,split,2,")
    with pytest.raises(InvalidRequest, match="another value or currency; keep one"):
        read(tmp_path, "A,2024-01-02,dividend,4,USD", "A,2024-01-02,dividend,2,EUR")


def test_missing_column_is_rejected(tmp_path):
    with pytest.raises(InvalidRequest, match="has no column ex_date; add it"):
        read(tmp_path, "A,2024-01-02,split,4", header="symbol,date,kind,value\n")

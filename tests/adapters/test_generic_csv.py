"""Tables read by mapping profiles, and the profiles that files propose."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.adapters.statements.generic_csv import (
    CsvTables,
    GenericCsv,
    propose_profile,
    reader_of,
)
from rebalancer.application.ports.statements import MappedTables
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.mapping_profiles import (
    AmountBasis,
    Column,
    MappingProfile,
    SignConvention,
    profile_of,
)
from tests.statements import (
    cash,
    check_damaged,
    check_rows,
    codes,
    errors,
    holdings,
    sample,
    strip_lines,
    totals,
)

PROFILE = MappingProfile(
    "Bank",
    {
        Column.DATE: "Day",
        Column.KIND: "What",
        Column.SYMBOL: "Paper",
        Column.QUANTITY: "Units",
        Column.PRICE: "Rate",
        Column.AMOUNT: "Money",
        Column.COST: "Costs",
        Column.CURRENCY: "Unit",
    },
    {
        "in": "deposit",
        "out": "withdrawal",
        "deal": "trade",
        "move": "transfer",
        "coupon": "interest",
        "levy": "tax",
        "info": "skip",
    },
    signs=SignConvention.CASH,
    amounts=AmountBasis.NET,
)
HEADER = "Day;What;Paper;Units;Rate;Money;Costs;Unit\n"


def read(profile, *lines, header=HEADER):
    return reader_of(profile).read((header + "\n".join(lines) + "\n").encode())


def decimals(**amounts):
    return {name: Decimal(amount) for name, amount in amounts.items()}


def refused(profile, *lines, header=HEADER):
    with pytest.raises(InvalidRequest) as error:
        read(profile, *lines, header=header)
    return error.value.code, error.value.message


def test_english_table_adds_up_by_its_proposed_profile():
    statement = GenericCsv().read(sample("generic_en.csv"))
    # 10000 - 4811 - 2196 + 15.20 + 1299 - 12.50
    assert cash(statement) == decimals(USD="4294.70")
    assert holdings(statement) == decimals(VTI=15, BND="30.5")
    assert totals(statement, EntryKind.DIVIDEND) == decimals(USD="15.20")
    assert [(line, code) for line, code, _ in errors(statement)] == [(10, "unknown_kind")]
    check_rows(statement, (1, 3, 4, 5, 7, 8, 9, 10))


def test_german_table_in_windows_1252_adds_up_by_its_proposed_profile():
    statement = GenericCsv().read(sample("generic_de.csv"))
    # 5000 - 1234.50 - 4.90 + 50.00 - 13.19 + 520.00 - 4.90
    assert cash(statement) == decimals(EUR="4312.51")
    assert holdings(statement) == decimals(DE0001234565=60)
    assert {one.instrument.name for one in statement.transactions if one.instrument} == {
        "M\u00fcller & S\u00f6hne"
    }


def test_proposal_has_titles_words_and_conventions_of_the_file():
    profile = propose_profile(sample("generic_en.csv"))
    assert profile.columns[Column.SYMBOL] == "Ticker"
    assert profile.kinds["buy"] == EntryKind.BUY and "gift" not in profile.kinds
    assert (profile.signs, profile.amounts) == (SignConvention.CASH, AmountBasis.NET)
    german = propose_profile(sample("generic_de.csv"))
    assert (german.signs, german.amounts) == (SignConvention.QUANTITY, AmountBasis.GROSS)


@pytest.mark.parametrize("name", ["generic_en.csv", "generic_de.csv"])
def test_saved_proposal_reads_the_same(name):
    data = sample(name)
    saved = reader_of(propose_profile(data))
    assert saved.recognises(data, name)
    assert strip_lines(saved.read(data).transactions) == strip_lines(
        GenericCsv().read(data).transactions
    )


def test_trades_and_transfers_take_their_direction_from_the_sign():
    statement = read(
        PROFILE,
        "02.01.2024;in;;;;1.000,00;;EUR",
        "15.01.2024;deal;ABC;10;50,00;-505,00;5,00;EUR",
        "16.01.2024;deal;ABC;-4;60,00;235,00;5,00;EUR",
        "17.01.2024;move;;;;-30,00;;EUR",
        "18.01.2024;levy;;;;-1,00;;EUR",
        "19.01.2024;coupon;;;;-2,00;;EUR",
        "20.01.2024;info;;;;;;EUR",
    )
    kinds = [one.kind.value for one in statement.transactions]
    assert kinds == ["deposit", "buy", "sell", "withdrawal", "tax", "fee"]
    assert [one.amount for one in statement.transactions[1:3]] == [500, 240]
    assert cash(statement) == decimals(EUR="697")  # 1000 - 505 + 235 - 30 - 1 - 2
    assert codes(statement) == ["skipped_kind"]


def test_quantity_signs_and_gross_amounts():
    profile = attrs.evolve(PROFILE, signs=SignConvention.QUANTITY, amounts=AmountBasis.GROSS)
    statement = read(
        profile,
        "15.01.2024;deal;ABC;10;50,00;500,00;5,00;EUR",
        "16.01.2024;deal;ABC;-4;60,00;240,00;5,00;EUR",
        "17.01.2024;move;XYZ;3;20,00;;;EUR",
    )
    assert cash(statement) == decimals(EUR="-270")  # -505 + 235
    assert holdings(statement) == decimals(ABC=6, XYZ=3)
    assert statement.transactions[2].amount == 60


def test_amount_and_price_in_pence_become_pounds():
    statement = read(PROFILE, "15.01.2024;deal;RR;100;305,5;-30550;;GBX")
    (trade,) = statement.transactions
    assert (trade.amount, trade.price, trade.currency) == (305.5, Decimal("3.055"), "GBP")


def test_row_without_currency_has_that_of_the_profile():
    statement = read(attrs.evolve(PROFILE, currency="CHF"), "15.01.2024;in;;;;100,00;;")
    assert statement.transactions[0].currency == "CHF"
    assert read(PROFILE, "15.01.2024;in;;;;100,00;;").transactions[0].currency == ""


def test_exchange_and_split_have_their_own_columns():
    header = "Day,What,Paper,Units,Rate,Money,Costs,Unit,Times,Other,Other unit\n"
    columns = {
        **PROFILE.columns,
        Column.RATIO: "Times",
        Column.COUNTER_AMOUNT: "Other",
        Column.COUNTER_CURRENCY: "Other unit",
    }
    profile = attrs.evolve(
        PROFILE,
        columns=columns,
        kinds={"fx": "exchange", "split": "split"},
        signs=SignConvention.UNSIGNED,
    )
    exchange, split = read(
        profile,
        "2024-01-15,fx,,,,100.00,,EUR,,110.00,USD",
        "2024-01-16,split,ABC,,,,,EUR,4,,",
        header=header,
    ).transactions
    assert (exchange.counter_amount, exchange.counter_currency) == (110, "USD")
    assert (split.kind, split.ratio, split.amount) == (EntryKind.SPLIT, 4, 0)


def test_amount_that_contradicts_quantity_and_price_is_noted():
    statement = read(PROFILE, "15.01.2024;deal;ABC;10;50,00;-900,00;;EUR")
    (note,) = statement.remarks
    assert (note.code, note.is_error) == ("amount_differs", False)
    assert "check the columns" in note.message


@pytest.mark.parametrize(
    ("line", "code", "remedy"),
    [
        ("15.13.2024;in;;;;1,00;;EUR", "unreadable_date", "write it as DD.MM.YYYY"),
        ("15.01.2024;gift;;;;1,00;;EUR", "unknown_kind", "add it there"),
        ("15.01.2024;in;;;;1.00.0;;EUR", "unreadable_number", "write it as 1.234,50"),
        ("15.01.2024;in;;;;;;EUR", "not_positive", "more than 0"),
        ("15.01.2024;coupon;;;;;;EUR", "missing_value", "fill it in"),
        ("15.01.2024;out;;;;5,00;;EUR", "contradictory_amounts", "convention of signs"),
        ("15.01.2024;deal;ABC;1;1,00;;;EUR", "missing_sign", "convention of signs"),
        ("15.01.2024;in;;;;1,00;;EURO", "invalid_currency", "such as USD"),
        ("15.01.2024;in;;;;1,00", "incomplete_row", "download the file again"),
        ("15.01.2024;in;;;;1,00;;EUR;x", "too_many_cells", "quote cells"),
        ("15.01.2024;deal;;1;1,00;-1,00;;EUR", "missing_value", "add it"),
    ],
)
def test_faulty_row_is_reported_and_the_others_are_read(line, code, remedy):
    profile = attrs.evolve(PROFILE, date_format="DD.MM.YYYY", decimal_mark=",")
    statement = read(profile, "14.01.2024;in;;;;7,00;;EUR", line)
    assert cash(statement) == decimals(EUR=7)
    (remark,) = statement.remarks
    assert (remark.line, remark.code, remark.is_error) == (3, code, True)
    assert remedy in remark.message


def test_negative_number_by_a_convention_without_signs_is_an_error():
    profile = attrs.evolve(PROFILE, signs=SignConvention.UNSIGNED)
    statement = read(profile, "15.01.2024;in;;;;-1,00;;EUR")
    assert codes(statement, errors=True) == ["negative_number"]


def test_ambiguous_days_refuse_the_file_with_the_remedy():
    code, message = refused(PROFILE, "01/02/2024;in;;;;1,50;;EUR", "03/04/2024;in;;;;1,50;;EUR")
    assert code == "ambiguous_dates"
    assert "line 2: '01/02/2024' may be DD/MM/YYYY or MM/DD/YYYY" in message
    assert "state the format of days in a mapping profile" in message
    stated = attrs.evolve(PROFILE, date_format="MM/DD/YYYY")
    statement = read(stated, "01/02/2024;in;;;;1,50;;EUR")
    assert statement.transactions[0].on.isoformat() == "2024-01-02"


def test_one_clear_day_decides_for_the_file():
    statement = read(PROFILE, "01/02/2024;in;;;;1,50;;EUR", "31/01/2024;in;;;;1,50;;EUR")
    assert statement.transactions[0].on.isoformat() == "2024-02-01"


def test_contradictory_days_refuse_the_file():
    code, message = refused(PROFILE, "13/02/2024;in;;;;1,50;;EUR", "02/13/2024;in;;;;1,5;;EUR")
    assert code == "contradictory_dates" and "correct the days" in message


def test_ambiguous_numbers_refuse_the_file_with_the_remedy():
    code, message = refused(PROFILE, "15.01.2024;in;;;;1.234;;EUR")
    assert code == "ambiguous_numbers"
    assert "line 2: '1.234'" in message and "state the decimal mark" in message
    stated = attrs.evolve(PROFILE, decimal_mark=",")
    assert read(stated, "15.01.2024;in;;;;1.234;;EUR").transactions[0].amount == 1234


def test_file_without_the_columns_is_refused_and_not_recognised():
    other = "Day;What;Paper;Units;Rate;Money;Costs\n"
    code, message = refused(PROFILE, "15.01.2024;in;;;;1,00;", header=other)
    assert code == "missing_header" and "Unit" in message
    assert not reader_of(PROFILE).recognises(other.encode(), "x.csv")
    assert reader_of(PROFILE).recognises(HEADER.encode(), "x.csv")


def test_example_of_the_documentation_is_a_profile():
    text = (Path(__file__).parents[2] / "docs" / "imports.md").read_text("utf-8")
    example = text.split("### Tables by a mapping profile")[1]
    profile = profile_of(json.loads(example.split("```json")[1].split("```")[0]))
    assert profile.name == "My bank" and profile.meaning("Kauf") == "buy"


def test_titles_match_without_regard_to_case_and_spacing():
    header = '  DAY ;what;PAPER;units;rate; money;"Costs";uNit\n'
    statement = read(PROFILE, "15.01.2024;in;;;;1,50;;EUR", header=header)
    assert cash(statement) == decimals(EUR="1.50")


def test_tables_read_by_profiles_and_propose_them():
    tables: MappedTables = CsvTables()
    profile = tables.propose(sample("generic_en.csv"), "Mine")
    assert profile.name == "Mine"
    assert tables.reader(profile).read(sample("generic_en.csv")).layout == "generic_csv"


def test_column_that_occurs_twice_is_refused():
    twice = HEADER.strip() + ";money\n"
    code, _ = refused(PROFILE, "15.01.2024;in;;;;1,00;;EUR;2,00", header=twice)
    assert code == "duplicate_column"


def test_table_without_kinds_proposes_no_profile():
    with pytest.raises(InvalidRequest) as error:
        propose_profile(b"Date,Amount\n2024-01-02,5\n")
    assert error.value.code == "missing_header"
    assert not GenericCsv().recognises(b"Date,Amount\n2024-01-02,5\n", "")


@pytest.mark.parametrize("name", ["generic_en.csv", "generic_de.csv"])
def test_damaged_tables_are_read_or_refused_with_a_sentence(name):
    check_damaged(GenericCsv(), sample(name), steps=12)
    check_damaged(reader_of(propose_profile(sample(name))), sample(name), steps=12)


KINDS = {"Kauf": "buy", "Verkauf": "sell", "Zins": "interest", "Ein": "deposit", "Geb": "fee"}
money_amounts = st.decimals("0.01", 99999, places=2)


@st.composite
def bookings(draw):
    """Return a word for a kind, a day, a quantity, an amount without costs, and a cost."""
    word = draw(st.sampled_from(list(KINDS)))
    trades = KINDS[word] in ("buy", "sell")
    quantity = draw(st.decimals("0.001", 9999, places=3)) if trades else Decimal(0)
    return (
        word,
        draw(st.dates(date(2000, 1, 1), date(2040, 12, 31))),
        quantity,
        draw(money_amounts.filter(lambda amount: amount > 10)),
        draw(st.decimals(0, 5, places=2)) if trades else Decimal(0),
    )


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(bookings(), min_size=1, max_size=6),
    mark=st.sampled_from(".,"),
    delimiter=st.sampled_from(";\t|"),
    pattern=st.sampled_from(["YYYY-MM-DD", "DD.MM.YYYY", "MM/DD/YYYY", "YYYYMMDD"]),
    signs=st.sampled_from(SignConvention),
    amounts=st.sampled_from(AmountBasis),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
)
def test_transactions_written_by_a_profile_are_read_back(
    rows, mark, delimiter, pattern, signs, amounts, encoding
):
    """Any formats and conventions give the same transactions."""
    titles = ["Tag", "Art", "Papier", "St\u00fcck", "Betrag", "Kosten"]
    columns = (
        *(Column.DATE, Column.KIND, Column.SYMBOL, Column.QUANTITY, Column.AMOUNT, Column.COST),
    )
    profile = MappingProfile(
        "Law",
        dict(zip(columns, titles, strict=True)),
        KINDS,
        date_format=pattern,
        decimal_mark=mark,
        delimiter=delimiter,
        currency="EUR",
        signs=signs,
        amounts=amounts,
    )

    def number(value):
        text = f"{value:,}"
        return text.translate(str.maketrans(",.", ".,")) if mark == "," else text

    lines = [delimiter.join(titles)]
    for word, day, quantity, amount, cost in rows:
        gains = {"buy": -1, "sell": 1, "interest": 1, "deposit": 1, "fee": -1}[KINDS[word]]
        stated = amount if amounts is AmountBasis.GROSS else amount - gains * cost
        units = -quantity if signs is SignConvention.QUANTITY and word == "Verkauf" else quantity
        cells = [
            day.strftime(pattern.replace("YYYY", "%Y").replace("MM", "%m").replace("DD", "%d")),
            word,
            "ABC" if quantity else "",
            number(units) if quantity else "",
            number(gains * stated if signs is SignConvention.CASH else stated),
            number(cost) if cost else "",
        ]
        lines.append(delimiter.join(cells))
    statement = reader_of(profile).read("\r\n".join(lines).encode(encoding))
    assert errors(statement) == []
    assert [
        (one.kind.value, one.on, one.quantity, one.amount, one.cost)
        for one in statement.transactions
    ] == [(KINDS[word], *rest) for word, *rest in rows]

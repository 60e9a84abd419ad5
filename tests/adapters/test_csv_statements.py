"""CSV statements of brokers: sums by hand, faults, and the laws of all layouts."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rebalancer.adapters.statements.coinbase import Coinbase
from rebalancer.adapters.statements.degiro import Degiro
from rebalancer.adapters.statements.degiro_account import DegiroAccount
from rebalancer.adapters.statements.fidelity import Fidelity
from rebalancer.adapters.statements.registry import DiscoveredReaders
from rebalancer.adapters.statements.revolut import Revolut
from rebalancer.adapters.statements.schwab import Schwab
from rebalancer.adapters.statements.trading212 import Trading212
from rebalancer.adapters.statements.vanguard import Vanguard
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from tests.statements import (
    SAMPLES,
    cash,
    check_damaged,
    check_read,
    check_rows,
    codes,
    entries,
    errors,
    holdings,
    sample,
    strip_lines,
    totals,
)

FILES = {
    "trading212.csv": Trading212(),
    "degiro_transactions.csv": Degiro(),
    "degiro_transactions_en.csv": Degiro(),
    "degiro_account_de.csv": DegiroAccount(),
    "degiro_account_nl.csv": DegiroAccount(),
    "schwab.csv": Schwab(),
    "fidelity.csv": Fidelity(),
    "vanguard.csv": Vanguard(),
    "revolut_stocks.csv": Revolut(),
    "coinbase.csv": Coinbase(),
}
every_file = pytest.mark.parametrize("name", FILES)


def read(name):
    return FILES[name].read(sample(name))


def decimals(**amounts):
    return {name: Decimal(amount) for name, amount in amounts.items()}


def only(statement, line):
    """Return the transactions of a line."""
    return [one for one in statement.transactions if one.line == line]


# Sums by hand


def test_trading212_sample_adds_up_to_its_totals():
    statement = read("trading212.csv")
    # 2000 - 409.71 - 357.02 - 315.60 + 0.47 + 1.02 + 1.23 + 221.88 - 25 - 100
    assert cash(statement) == decimals(EUR="1017.27")
    assert holdings(statement) == decimals(AAPL=6, RR=100, VWRL=3)
    assert totals(statement, EntryKind.DIVIDEND) == decimals(EUR="1.67")  # 0.47 + 1.20
    assert totals(statement, EntryKind.DIVIDEND, "withheld") == decimals(EUR="0.18")
    assert totals(statement, EntryKind.FEE) == decimals(EUR="2.75")  # 0.62 + 1.79 + 0.34
    assert errors(statement) == [
        (
            16,
            "unknown_kind",
            "Action: 'Stock distribution' is not a known kind of transaction; enter the row by "
            "hand",
        )
    ]
    assert statement.currency == "EUR"


def test_trading212_purchase_in_pence_becomes_an_exchange_a_trade_and_a_fee():
    exchange, trade, fee = only(read("trading212.csv"), 5)
    assert (exchange.amount, exchange.currency) == (Decimal("355.23"), "EUR")
    assert (exchange.counter_amount, exchange.counter_currency) == (Decimal("305.50"), "GBP")
    assert (trade.amount, trade.price, trade.currency) == (
        Decimal("305.50"),
        Decimal("3.055"),
        "GBP",
    )
    assert (fee.kind, fee.amount, fee.currency) == (EntryKind.FEE, Decimal("1.79"), "EUR")
    assert len({exchange.external_id, trade.external_id, fee.external_id}) == 3


def test_degiro_transactions_add_up_to_their_totals():
    statement = read("degiro_transactions.csv")
    # -15674.26 - 7836.82 + 439.00 - 1011.92 - 1053.00
    assert cash(statement) == decimals(EUR="-25137.00")
    assert holdings(statement) == decimals(US67066G1040=300, IE00B3RBWM25=6, GB00BPQY8M80=200)
    fills = [one.external_id for one in statement.transactions if one.kind is EntryKind.BUY]
    assert fills[:2] == [f"aaaaaaaa-0000-4000-8000-000000000001:{n}" for n in (1, 2)]


def test_degiro_transactions_in_english_charge_conversion_fees():
    statement = read("degiro_transactions_en.csv")
    assert cash(statement) == decimals(EUR="-590.76")  # -848.11 + 257.35
    assert holdings(statement) == decimals(US21037T1097=3)
    assert totals(statement, EntryKind.FEE) == decimals(EUR="6.76")  # 4.11 + 2.65


def test_degiro_account_in_german_adds_up():
    statement = read("degiro_account_de.csv")
    # 10500 + 7000 - 2.50 - 9926 - 6857 - 2 + 33.79 - 0.35; 8000 - 8000 + 45.50 - 6.83 - 38.67
    assert cash(statement) == decimals(EUR="745.94")
    assert holdings(statement) == decimals(US88160R1014=30, IE00BFNM3J75=1000)
    assert totals(statement, EntryKind.DIVIDEND) == decimals(USD="45.50")
    assert totals(statement, EntryKind.DIVIDEND, "withheld") == decimals(USD="6.83")
    assert errors(statement) == []
    names = {one.instrument.name for one in statement.transactions if one.instrument}
    assert "ISHARES MSCI SCREENED UCITS ETF (ACC)" in names


def test_degiro_account_in_dutch_adds_up():
    statement = read("degiro_account_nl.csv")
    # 150 - 120.20 + 54.57 - 0.50 - 15.10; 120.20 - 120.20 + 0.44 - 0.07 + 63.97 - 63.97
    assert cash(statement) == decimals(EUR="68.77", USD="0.37")
    assert holdings(statement) == decimals(CA0641491075=1)


def test_both_files_of_degiro_give_a_fill_the_same_identifier():
    header = "Date,Time,Product,ISIN,Reference,Venue,Quantity,Price,,Local value,,Value,,"
    header += "Exchange rate,Transaction and/or third,,Total,,Order ID\n"
    order = "ffffffff-0000-4000-8000-000000000001"
    trades = "06-03-2024,10:28,ETF,IE00BFNM3J75,EAM,XAMS,5,9.50,EUR,-47.50,EUR,-47.50,EUR,,"
    trades += f"-3.00,EUR,-50.50,EUR,{order}\n"
    account = (
        "Date,Time,Value date,Product,ISIN,Description,FX,Change,,Balance,,Order Id\n"
        f"06-03-2024,10:28,06-03-2024,ETF,IE00BFNM3J75,DEGIRO Transaction and/or third party fees,"
        f",EUR,-3.00,EUR,0.00,{order}\n"
        f"06-03-2024,10:28,06-03-2024,ETF,IE00BFNM3J75,Buy 5 ETF@9.50 EUR (IE00BFNM3J75),,EUR,"
        f"-47.50,EUR,3.00,{order}\n"
    )
    one = Degiro().read((header + trades).encode())
    other = DegiroAccount().read(account.encode())
    assert strip_lines(one.transactions) == strip_lines(other.transactions)


def test_schwab_sample_adds_up():
    statement = read("schwab.csv")
    # 20000 - 8500 - 1000 - 519.67 + 1.63 - 24 + 5000 - 1684.95 + 6.50 - 1.30 - 0.50
    assert cash(statement) == decimals(USD="13277.71")
    assert holdings(statement) == decimals(VTI=3, AVGO=10, TNXP=5, FIHBX="420.201")
    assert totals(statement, EntryKind.DIVIDEND) == decimals(USD="108.80")  # 102.30 + 6.50
    assert totals(statement, EntryKind.DIVIDEND, "withheld") == decimals(USD="1.30")
    (split,) = only(statement, 9)
    assert (str(split.on), split.ratio) == ("2024-07-12", 10)
    assert [line for line, _, _ in errors(statement)] == [19]  # a spin-off without its parent


def test_fidelity_sample_adds_up():
    statement = read("fidelity.csv")
    # 60000 - 15.25 - 2180.50 - 955 + 12 - 12 + 195.04 + 10 - 3.50 - 49959.20 + 21.45
    assert cash(statement) == decimals(USD="7113.04")
    assert holdings(statement) == decimals(ICSH=985, NSRGY="8.125", NFLX=20)
    assert totals(statement, EntryKind.DIVIDEND) == decimals(USD=22)
    assert totals(statement, EntryKind.INTEREST) == decimals(USD="21.45")
    assert errors(statement) == []


def test_vanguard_sample_adds_up_to_its_own_holdings():
    statement = read("vanguard.csv")
    # 12000 - 5000 - 25 - 579 + 100 + 12.34 - 1.20 + 59.50 - 59.50 + 2.10 - 6007
    assert cash(statement) == decimals(USD="502.24")
    assert holdings(statement) == decimals(VTSAX="42.623", BHP=10, VGT=40)
    assert totals(statement, EntryKind.DIVIDEND) == decimals(USD="71.84")  # 59.50 + 12.34
    assert errors(statement) == []


def test_revolut_sample_adds_up():
    statement = read("revolut_stocks.csv")
    # 1500 - 550 - 622.10 + 1.05 - 0.15 - 0.16 + 69.98 - 30.93; 100 - 50
    assert cash(statement) == decimals(USD="367.69", EUR=50)
    assert holdings(statement) == decimals(TSLA="1.25", MSFT=2, VUAA="0.56217674")
    assert totals(statement, EntryKind.DIVIDEND) == decimals(USD="1.05")


def test_coinbase_sample_adds_up():
    statement = read("coinbase.csv")
    # 1000 - 477 - 67.11 + 316.81; rewards and conversions change no cash
    assert cash(statement) == decimals(EUR="772.70")
    # 0.01 + 0.00166779 - 0.005 - 0.00363125; 1 - 0.1 + 0.000037835729
    assert holdings(statement) == decimals(
        BTC="0.00303654", ETH="0.900037835729", GRT="5.25", XRP="156.145683"
    )
    assert totals(statement, EntryKind.INTEREST) == decimals(EUR="1.18")  # 0.13 + 1.05
    assert codes(statement).count("rounded_quantity") == 2


def test_coinbase_transfer_without_a_price_takes_the_close_of_the_day():
    text = sample("coinbase.csv").decode()
    text += "cb-4,2025-03-02 11:00:00 UTC,Receive,BTC,0.00250000,,,,,0,\n"
    transfer = Coinbase().read(text.encode()).transactions[-1]
    assert (transfer.kind, transfer.quantity) == (EntryKind.DEPOSIT, Decimal("0.0025"))
    assert (transfer.price, transfer.amount, transfer.currency) == (None, 0, "")


def test_coinbase_trade_against_another_asset_has_both_sides():
    text = sample("coinbase.csv").decode() + (
        "cb-5,2025-03-02 11:00:00 UTC,Advanced Trade Buy,SOL,2,USD,$150.00,$300.00,$301.20,$1.20,"
        "Bought 2 SOL for 301.2 USDC on SOL-USDC at 150 USDC/SOL\n"
        "cb-6,2026-01-24 22:14:05 UTC,Convert,BTC,0.00084397,USD,$89345.925,$75.40,$77.58,$2.18,\n"
        "cb-6,2026-01-24 22:14:05 UTC,Convert,USDC,-77.589329,USD,$1.00,$77.58,$77.58,$0.00,\n"
    )
    found = [one for one in Coinbase().read(text.encode()).transactions if one.line > 16]
    assert [(one.kind.value, one.instrument.symbol, one.amount, one.cost) for one in found] == [
        ("sell", "USDC", Decimal("301.20"), 0),
        ("buy", "SOL", Decimal("300.00"), Decimal("1.20")),
        ("buy", "BTC", Decimal("75.40"), Decimal("2.18")),
        ("sell", "USDC", Decimal("77.58"), 0),
    ]
    assert len({one.external_id for one in found}) == 4


# Laws


@every_file
def test_only_its_reader_recognises_a_sample(name):
    data = sample(name)
    found = DiscoveredReaders().find(data, "download.csv")
    assert found is not None and found.name == FILES[name].name
    others = {path.name: path.read_bytes() for path in SAMPLES.iterdir() if path.is_file()}
    own = {file for file, reader in FILES.items() if reader.name == FILES[name].name}
    recognised = {
        file for file, content in others.items() if FILES[name].recognises(content[:65_536], file)
    }
    assert recognised == own


@every_file
def test_each_row_is_a_transaction_or_has_a_remark(name):
    statement = read(name)
    check_rows(statement, ())
    for remark in statement.remarks:
        assert remark.line or remark.code == "windows_1252"


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("degiro_tr")])
def test_samples_fit_a_ledger(name):
    """No sample with its deposits spends more than it has, on any day."""
    statement = read(name)
    ledger = Ledger().extended_by(entries(statement))
    held = {symbol: units for symbol, units in ledger.positions.holdings.items() if units}
    assert held == holdings(statement)


@every_file
def test_each_row_has_an_effect(name):
    """Each row below the header matters: without it, transactions or remarks differ."""
    reader, data = FILES[name], sample(name)
    whole = effects(reader.read(data))
    lines = data.splitlines(keepends=True)
    header = next(
        at for at, line in enumerate(lines) if reader.recognises(b"".join(lines[: at + 1]), "")
    )
    for at in range(header + 1, len(lines)):
        if lines[at].strip() and b"second line" not in lines[at] + lines[at - 1]:
            rest = lines[:at] + lines[at + 1 :]
            assert effects(reader.read(b"".join(rest))) != whole, lines[at]


def effects(statement):
    """Return transactions and codes of remarks, without their lines."""
    return (
        Counter(map(repr, strip_lines(statement.transactions))),
        Counter(codes(statement)),
    )


@every_file
def test_damaged_files_are_read_or_refused_with_a_sentence(name):
    check_damaged(FILES[name], sample(name), steps=12)


@every_file
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_cells_never_crash_and_never_lose_a_row(name, data):
    text = FILES[name]
    lines = sample(name).splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    mark = b";" if name == "degiro_account_nl.csv" else b","
    cells = lines[at].split(mark)
    cell = data.draw(st.integers(0, len(cells) - 1))
    cells[cell] = data.draw(
        st.sampled_from(
            [b"", b"-1", b"1e9", b"1.234.567,8", b"99999999999999999999", b"x" * 90, b"NaN", b"(1"]
        )
    )
    lines[at] = mark.join(cells)
    statement = check_read(text, b"\n".join(lines))
    if statement is not None:
        check_rows(statement, ())


@every_file
def test_truncated_files_keep_what_they_have(name):
    """A cut file loses rows at its end alone, and the cut row has a remark."""
    reader, data = FILES[name], sample(name)
    lines = data.splitlines(keepends=True)
    last = next(at for at in range(len(lines) - 1, 0, -1) if reader_line(lines[at]))
    kept = b"".join(lines[:last]) + lines[last][: len(lines[last]) // 2]
    statement = reader.read(kept)
    assert any(remark.line == last + 1 and remark.is_error for remark in statement.remarks)


def reader_line(line):
    """Whether a line is a row with a day, not a text below the table."""
    return line.count(b",") + line.count(b";") > 5 and b"Total" not in line


@every_file
def test_encodings_and_line_ends_change_nothing(name):
    reader, data = FILES[name], sample(name)
    whole = strip_lines(reader.read(data).transactions)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252")
    crlf = text.replace("\r\n", "\n").replace("\n", "\r\n")
    for changed in (
        text.encode("utf-8-sig"),
        text.encode("utf-16"),
        text.encode("utf-16-le"),
        crlf.encode(),
    ):
        assert reader.recognises(changed[:65_536], "")
        assert strip_lines(reader.read(changed).transactions) == whole


# Faults


@pytest.mark.parametrize(
    ("name", "old", "new", "code", "remedy"),
    [
        ("trading212.csv", "sell,2024-07-01", "sell,2024-13-01", "unreadable_date", "YYYY-MM-DD"),
        ("trading212.csv", ",60.00,USD", ",6O.00,USD", "unreadable_number", "write it as 1,234.50"),
        ("trading212.csv", "Interest on cash,2024", "Gift,2024", "unknown_kind", "by hand"),
        ("degiro_transactions.csv", "05-02-2024", "05-22-2024", "unreadable_date", "DD-MM-YYYY"),
        ("degiro_account_de.csv", ",Zinsen,", ",Zufall,", "unknown_kind", "by hand"),
        ("degiro_account_nl.csv", "Koop 2 @", "Koop x @", "unknown_kind", "by hand"),
        ("schwab.csv", '"05/20/2024"', '"20/05/2024"', "unreadable_date", "MM/DD/YYYY"),
        ("schwab.csv", '"Credit Interest"', '"Debit Interest"', "unknown_kind", "by hand"),
        ("schwab.csv", '"$5,000.00"', '"-$5,000.00"', "contradictory_amounts", "correct the row"),
        ("fidelity.csv", "ADVISORY FEE", "MYSTERY", "unknown_kind", "by hand"),
        ("fidelity.csv", "985,50.72", "98.5.1,50.72", "unreadable_number", "write it as 1,234.50"),
        ("vanguard.csv", ",Fee,", ",Fie,", "unknown_kind", "by hand"),
        ("vanguard.csv", "07/01/2025", "07/32/2025", "unreadable_date", "MM/DD/YYYY"),
        ("revolut_stocks.csv", "CUSTODY FEE", "GIFT", "unknown_kind", "by hand"),
        ("revolut_stocks.csv", "$550.00", "$950.00", "contradictory_amounts", "correct the row"),
        ("coinbase.csv", ",Sell,BTC", ",Swap,BTC", "unknown_kind", "by hand"),
        ("coinbase.csv", "BTC,-0.005,EUR", "BTC,-0.005,EURO", "invalid_currency", "ISO 4217"),
    ],
)  # fmt: skip
def test_faulty_row_has_a_remark_with_line_and_remedy(name, old, new, code, remedy):
    encoding = "cp1252" if name == "degiro_account_de.csv" else "utf-8"
    text = sample(name).decode(encoding)
    assert old in text
    changed = text.replace(old, new, 1)
    line = changed[: changed.index(new)].count("\n") + 1
    statement = FILES[name].read(changed.encode(encoding))
    found = [one for one in statement.remarks if one.line == line and one.is_error]
    assert [one.code for one in found] == [code]
    assert remedy in found[0].message


def test_reversal_without_its_original_is_an_error():
    text = sample("revolut_stocks.csv").decode().splitlines()
    rest = [line for line in text if not line.startswith("2022-06-13")]
    statement = Revolut().read("\n".join(rest).encode())
    assert ("unmatched_reversal" in codes(statement, errors=True)) is True


def test_row_with_an_unclosed_quote_is_reported_alone():
    text = sample("schwab.csv").decode()
    changed = text.replace('"SCHWAB1 INT 04/01-04/30"', '"SCHWAB1 INT 04/01-04/30', 1)
    statement = Schwab().read(changed.encode())
    assert [(line, code) for line, code, _ in errors(statement)] == [
        (15, "malformed_row"),
        (19, "unknown_kind"),
    ]
    assert len(statement.transactions) == len(read("schwab.csv").transactions) - 1


def test_contradictory_decimal_marks_refuse_the_file():
    text = sample("degiro_transactions.csv").decode().replace('"439,00"', "439.00")
    with pytest.raises(InvalidRequest) as error:
        Degiro().read(text.encode())
    assert error.value.code == "contradictory_numbers"
    assert "line 6" in error.value.message and "export the file again" in error.value.message


def test_ambiguous_days_of_revolut_refuse_the_file():
    text = (
        "Date,Ticker,Type,Quantity,Price per share,Total Amount,Currency,FX Rate\n"
        "01/02/2024 10:00:00,,CASH TOP-UP,,,$5.22,USD,1\n"
    )
    with pytest.raises(InvalidRequest) as error:
        Revolut().read(text.encode())
    assert error.value.code == "ambiguous_dates"
    assert "DD/MM/YYYY or MM/DD/YYYY" in error.value.message


def test_file_of_several_accounts_is_refused():
    text = sample("vanguard.csv").decode().replace("12345678,05/02/2025", "87654321,05/02/2025")
    with pytest.raises(InvalidRequest) as error:
        Vanguard().read(text.encode())
    assert error.value.code == "several_accounts"


def test_split_without_earlier_units_is_an_error_with_the_remedy():
    text = sample("revolut_stocks.csv").decode().splitlines()
    rest = [line for line in text if "BUY - MARKET,0.5," not in line]
    statement = Revolut().read("\n".join(rest).encode())
    (found,) = [one for one in statement.remarks if one.code == "unknown_ratio"]
    assert "import the earlier history first" in found.message
    assert found.is_error


def test_dividend_of_trading212_with_a_rate_has_its_tax():
    text = sample("trading212.csv").decode().replace("0.24,USD,Not available", "0.24,USD,1.08", 1)
    (dividend,) = only(Trading212().read(text.encode()), 7)
    assert (dividend.amount, dividend.withheld) == (Decimal("0.55"), Decimal("0.08"))


def test_archive_is_refused_with_the_remedy():
    with pytest.raises(InvalidRequest) as error:
        Schwab().read(b"PK\x03\x04" + bytes(100))
    assert error.value.message.endswith("export the statement as CSV")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("schwab.csv", '"-$0.50"', '"$0.50"'),
        ("fidelity.csv", "-15.25", "15.25"),
        ("vanguard.csv", "(25.00),0.00,(25.00)", "25.00,0.00,25.00"),
        ("degiro_account_de.csv", '"-2,50",EUR,"17.290', '"2,50",EUR,"17.290'),
        ("revolut_stocks.csv", "-$0.16", "$0.16"),
    ],
)
def test_refund_of_a_charge_is_other_income_with_a_remark(name, old, new):
    encoding = "cp1252" if name == "degiro_account_de.csv" else "utf-8"
    text = sample(name).decode(encoding)
    assert old in text
    statement = FILES[name].read(text.replace(old, new, 1).encode(encoding))
    (note,) = [one for one in statement.remarks if one.code == "refund"]
    (refund,) = only(statement, note.line)
    assert refund.kind is EntryKind.INTEREST and not note.is_error


def test_older_file_of_trading212_has_currencies_in_its_titles():
    text = (
        "Action,Time,ISIN,Ticker,Name,No. of shares,Price / share,Currency (Price / share),"
        "Exchange rate,Result (GBP),Total (GBP),Withholding tax,Currency (Withholding tax),"
        "Stamp duty reserve tax (GBP),Notes,ID\n"
        "Market buy,2021-01-04 08:05:00,GB00B63H8491,RR,Rolls-Royce,10,110.50,GBX,1,,11.11,,,0.06,,"
        "E1\n"
    )
    statement = Trading212().read(text.encode())
    (trade,) = statement.transactions
    assert (trade.amount, trade.cost, trade.currency) == (
        Decimal("11.05"),
        Decimal("0.06"),
        "GBP",
    )


def test_reorganisations_of_degiro_become_new_isins_and_mergers():
    text = sample("degiro_account_nl.csv").decode()
    text += (
        "23-06-2022;04:21;23-06-2022;FBR LTD;AU0000FBRNEW;PRODUCTWIJZIGING : Koop 500 @ 0,039 EUR;;"
        "EUR;0,00;EUR;18,30;\n"
        "23-06-2022;02:30;23-06-2022;FBR LTD.;AU000000FBR4;PRODUCTWIJZIGING : Verkoop 500 @ 0,039 "
        "EUR;;EUR;0,00;EUR;18,30;\n"
    )
    text = text.replace(
        "PRODUCTWIJZIGING : Koop 500 @ 0,039 EUR;;EUR;0,00",
        "PRODUCTWIJZIGING : Koop 500 @ 0,039 EUR;;EUR;-19,50",
    )
    text = text.replace("0,039 EUR;;EUR;0,00", "0,039 EUR;;EUR;19,50")
    (renamed,) = [
        one
        for one in DegiroAccount().read(text.encode()).transactions
        if one.kind is EntryKind.RENAME
    ]
    assert (renamed.instrument.isin, renamed.other.isin) == ("AU000000FBR4", "AU0000FBRNEW")


@every_file
def test_header_that_files_joined_together_repeat_is_skipped(name):
    """Exports of several years may be joined; the header in between is not a row."""
    reader, data = FILES[name], sample(name)
    lines = data.splitlines(keepends=True)
    header = next(
        at for at in range(len(lines)) if reader.recognises(b"".join(lines[: at + 1]), "")
    )
    last = next(at for at in range(len(lines) - 1, 0, -1) if reader_line(lines[at]))
    title = lines[header].removeprefix(b"\xef\xbb\xbf")
    statement = reader.read(b"".join([*lines[:last], title, *lines[last:]]))
    assert strip_lines(statement.transactions) == strip_lines(read(name).transactions)
    assert ("repeated_header", last + 1) in [(one.code, one.line) for one in statement.remarks]

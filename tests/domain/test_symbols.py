"""Hints at known symbols, and the one spelling of a symbol."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import (
    MOST_HINTS,
    hint_at,
    nearest_symbols,
    normalize_symbol,
    normalize_symbols,
    split_symbols,
    unknown_symbols,
)

KNOWN = ("AAPL", "BF-B", "BTC-USD", "GOOG", "GOOGL", "KO", "NESTLÉ", "SHEL.L", "^GSPC", "EURUSD=X")


@pytest.mark.parametrize(
    ("symbol", "nearest"),
    [
        ("aapl", ["AAPL"]),
        ("AAPL ", ["AAPL"]),
        ("BF.B", ["BF-B"]),
        ("BF B", ["BF-B"]),
        ("BF/B", ["BF-B"]),
        ("bfb", ["BF-B"]),
        ("BTC/USD", ["BTC-USD"]),
        ("BTC", ["BTC-USD"]),
        ("BTC/USDT", ["BTC-USD"]),
        ("SHEL", ["SHEL.L"]),
        ("SHEL.AS", ["SHEL.L"]),
        ("GSPC", ["^GSPC"]),
        ("NASDAQ:AAPL", ["AAPL"]),
        ("AAPL US", ["AAPL"]),
        ("EURUSD", ["EURUSD=X"]),
        ("APPL", ["AAPL"]),
        ("AAPLE", ["AAPL"]),
        ("APL", ["AAPL"]),
        ("AALP", ["AAPL"]),
        ("GOOGE", ["GOOG", "GOOGL"]),
        ("nestle", ["NESTLÉ"]),
        ("OK", []),  # of two letters: every slip leads to another symbol
        ("MSFT", []),
        ("", []),
        ("^", []),
    ],
)
def test_similar_symbols_are_found(symbol, nearest):
    assert nearest_symbols(symbol, KNOWN) == nearest


def test_other_case_comes_before_other_separators_suffixes_and_slips():
    known = ("brk.b", "BRKB", "BRK", "BRKA", "BRJB")
    assert nearest_symbols("BRK.B", known) == ["brk.b", "BRKB", "BRK"]


@given(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=8, unique=True))
def test_hints_are_few_known_and_never_the_symbol_itself(symbol, known):
    found = nearest_symbols(symbol, known)
    assert len(found) <= MOST_HINTS
    assert set(found) <= set(known) - {symbol}
    assert found == nearest_symbols(symbol, known[::-1])


@given(st.text("ABCDE", min_size=4, max_size=6), st.data())
def test_every_slip_of_one_letter_is_found(symbol, data):
    at = data.draw(st.integers(0, len(symbol) - 2))
    letter = data.draw(st.sampled_from("ABCXYZ"))
    for slip in (
        symbol[:at] + symbol[at + 1 :],
        symbol[:at] + letter + symbol[at:],
        symbol[:at] + letter + symbol[at + 1 :],
        symbol[:at] + symbol[at + 1] + symbol[at] + symbol[at + 2 :],
    ):
        assert nearest_symbols(slip, (symbol,)) == ([] if slip == symbol else [symbol])


def test_messages_name_each_unknown_symbol_and_offer_the_nearest():
    one = unknown_symbols(["BF.B"], KNOWN, field="targets.BF.B")
    assert (one.field, one.code) == ("targets.BF.B", "unknown_symbol")
    assert one.message == "unknown symbol BF.B: no price data; did you mean BF-B?"
    assert unknown_symbols(["X"], KNOWN).message == "unknown symbol X: no price data"
    assert hint_at(["GOOGE"], KNOWN) == "; did you mean GOOG or GOOGL?"
    several = unknown_symbols(["aapl", "X", "aapl", "SHEL"], iter(KNOWN))
    assert several.message == (
        "unknown symbols aapl, X, SHEL: no price data; did you mean AAPL for aapl, SHEL.L for SHEL?"
    )


def test_symbols_have_one_spelling():
    apart = unicodedata.normalize("NFD", "NESTLÉ")
    assert normalize_symbol(f" {apart}\u00a0") == "NESTLÉ"
    assert normalize_symbol("brk b") == "brk b"
    assert normalize_symbols({apart: 1, "KO": 2}, field="targets") == {"NESTLÉ": 1, "KO": 2}
    with pytest.raises(InvalidRequest, match="targets: NESTLÉ occurs twice, in two spellings"):
        normalize_symbols({apart: 1, "NESTLÉ": 2}, field="targets")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("KO,PG", ["KO", "PG"]),
        (" KO , PG ,,", ["KO", "PG"]),
        ("Smith, Ltd,KO", ["Smith, Ltd", "KO"]),
        ("KO,a,b,c", ["KO", "a,b,c"]),
        ("a,b", ["a", "b"]),
        ("", []),
    ],
)
def test_list_is_split_at_commas_outside_of_known_symbols(text: str, found: list[str]) -> None:
    assert split_symbols(text, ("KO", "PG", "Smith, Ltd", "a,b,c", "a")) == found

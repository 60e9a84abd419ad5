"""Usual titles of columns and words for kinds, in several languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.mapping_profiles import TRADE, TRANSFER, Column

TITLES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        Column.DATE: (
            *("trade date", "transaction date", "date", "activity date", "booking date", "day"),
            *("date/time", "time", "timestamp", "handelsdatum", "buchungstag", "buchungsdatum"),
            *("datum", "date d'op\u00e9ration", "fecha", "data"),
        ),
        Column.KIND: (
            *("transaction type", "activity type", "type", "action", "kind", "activity", "side"),
            *("buy/sell", "transaktionstyp", "typ", "art", "vorgang", "transactietype", "soort"),
            *("op\u00e9ration", "tipo", "operaci\u00f3n"),
        ),
        Column.SYMBOL: ("symbol", "ticker", "ticker symbol", "stock symbol", "ticker-symbol"),
        Column.ISIN: ("isin", "isin code"),
        Column.NAME: (
            *("security name", "instrument name", "security", "name", "asset name", "asset"),
            *("product", "company", "wertpapiername", "wertpapier", "bezeichnung", "naam"),
            *("nom", "nombre"),
        ),
        Column.QUANTITY: (
            *("quantity", "shares", "units", "qty", "number of shares", "no. of shares"),
            *("st\u00fcck", "st\u00fcckzahl", "anzahl", "menge", "anteile", "aantal"),
            *("quantit\u00e9", "cantidad", "quantit\u00e0"),
        ),
        Column.PRICE: (
            *("price per share", "share price", "unit price", "execution price", "price"),
            *("kurs", "preis", "st\u00fcckpreis", "koers", "prijs", "cours", "prix", "precio"),
            "prezzo",
        ),
        Column.AMOUNT: (
            *("net amount", "amount", "total amount", "total", "net value", "value"),
            *("gross amount", "proceeds", "cash flow", "betrag", "gesamtbetrag", "wert"),
            *("bedrag", "totaal", "montant", "importe", "importo"),
        ),
        Column.CURRENCY: (
            *("currency", "currency code", "ccy", "w\u00e4hrung", "valuta", "munt", "devise"),
            *("moneda", "divisa"),
        ),
        Column.COST: (
            *("fees", "fee", "commission", "commissions", "costs", "cost", "charges"),
            *("commission & fees", "geb\u00fchren", "geb\u00fchr", "provision", "kosten"),
            *("frais", "comisi\u00f3n", "commissioni"),
        ),
        Column.WITHHELD: (
            *("withholding tax", "withheld tax", "tax withheld", "tax", "taxes"),
            *("quellensteuer", "steuern", "steuer", "belasting", "imp\u00f4t", "impuesto"),
        ),
        Column.RATIO: ("ratio", "split ratio"),
        Column.COUNTER_AMOUNT: ("counter amount", "counter_amount"),
        Column.COUNTER_CURRENCY: ("counter currency", "counter_currency"),
        Column.ID: (
            *("transaction id", "trade id", "order id", "id", "reference", "referenz"),
            "referentie",
        ),
        Column.NOTE: (
            *("note", "notes", "comment", "memo", "description", "notiz", "kommentar"),
            *("buchungstext", "omschrijving"),
        ),
    }
)

_WORDS: Mapping[str, Sequence[str]] = {
    EntryKind.BUY: (
        *("buy", "bought", "purchase", "b", "reinvestment", "reinvest", "dividend reinvestment"),
        *("kauf", "koop", "aankoop", "achat", "compra", "acquisto"),
    ),
    EntryKind.SELL: (
        "sell",
        "sold",
        "sale",
        "s",
        "verkauf",
        "verkoop",
        "vente",
        "venta",
        "vendita",
    ),
    EntryKind.DIVIDEND: (
        *("dividend", "dividends", "div", "cash dividend", "distribution", "dividende"),
        *("aussch\u00fcttung", "dividendo", "uitkering"),
    ),
    EntryKind.INTEREST: (
        *("interest", "interest income", "zinsen", "zins", "rente", "int\u00e9r\u00eats"),
        *("inter\u00e9s", "interessi"),
    ),
    EntryKind.DEPOSIT: (
        *("deposit", "cash deposit", "contribution", "cash top-up", "top-up", "cash in"),
        *("einzahlung", "einlage", "storting", "d\u00e9p\u00f4t", "versement", "ingreso"),
        *("dep\u00f3sito", "deposito"),
    ),
    EntryKind.WITHDRAWAL: (
        *("withdrawal", "withdraw", "cash withdrawal", "cash out", "auszahlung", "entnahme"),
        *("opname", "retrait", "retiro", "prelievo"),
    ),
    EntryKind.FEE: (
        *("fee", "fees", "commission", "charge", "custody fee", "service fee", "geb\u00fchr"),
        *("geb\u00fchren", "kosten", "frais", "comisi\u00f3n"),
    ),
    EntryKind.TAX: (
        "tax",
        "taxes",
        "withholding tax",
        "steuer",
        "steuern",
        "belasting",
        "imp\u00f4t",
    ),
    EntryKind.RETURN_OF_CAPITAL: ("return of capital", "return_of_capital", "capital return"),
    EntryKind.SPLIT: ("split", "stock split", "aktiensplit", "aandelensplitsing"),
    EntryKind.EXCHANGE: ("exchange", "currency exchange", "fx", "w\u00e4hrungstausch"),
    TRADE: ("trade", "order", "handel"),
    TRANSFER: ("transfer", "cash transfer", "\u00fcberweisung", "overboeking", "virement"),
}

WORDS: Mapping[str, str] = MappingProxyType(
    {word: meaning for meaning, words in _WORDS.items() for word in words}
)
"""Meaning of each word for a kind, see `mapping_profiles.MEANINGS`."""

"""A mapping profile while a person makes it from the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rebalancer_app.gateway.profiles import Profile, TableSketch
from rebalancer_app.texts import Texts

COLUMNS = (
    *("date", "kind", "amount", "quantity", "price", "symbol", "isin", "name"),
    *("currency", "cost", "withheld", "id", "note"),
)
"""What a column may state, the most important first."""

MEANINGS = (
    *("buy", "sell", "trade", "deposit", "withdrawal", "transfer", "dividend", "interest"),
    *("fee", "tax", "skip"),
)
"""What a word for a kind may mean."""

DATE_FORMATS = ("DD.MM.YYYY", "DD/MM/YYYY", "MM/DD/YYYY", "YYYY-MM-DD", "DD-MM-YYYY", "DD MMM YYYY")
SIGNS = ("unsigned", "cash", "quantity")
AMOUNTS = ("gross", "net")

NONE = "-"
"""Choice of no column, no meaning, or what the file shows."""

TABLES = (".csv", ".txt", ".tsv")
"""Endings of files that may be tables."""

Options = list[tuple[str, str]]
"""Values with their texts."""


@attrs.frozen
class ProfileDraft:
    """What a person has chosen so far.

    Attributes:
        columns: Titles by what they state.
        kinds: Meanings by word; empty: not chosen.
        default_kind: Meaning of all rows of a table without a column of kinds.
    """

    sketch: TableSketch
    name: str
    columns: Mapping[str, str]
    kinds: Mapping[str, str]
    default_kind: str = ""
    date_format: str = ""
    decimal_mark: str = ""
    signs: str = "unsigned"
    amounts: str = "gross"

    @classmethod
    def of(cls, sketch: TableSketch, file_name: str) -> ProfileDraft:
        """Return what the table shows by itself."""
        stem = file_name.rpartition(".")[0] or file_name
        return cls(
            sketch,
            stem.replace("/", "-")[:100],
            {column: sketch.columns[column] for column in COLUMNS if column in sketch.columns},
            dict(sketch.words),
            date_format=sketch.date_format,
            decimal_mark=sketch.decimal_mark,
            signs=sketch.signs,
        )

    def with_column(self, column: str, title: str) -> ProfileDraft:
        """Return the draft with another title for a column; a title states one thing."""
        columns = {
            one: known for one, known in self.columns.items() if one != column and known != title
        }
        if title != NONE:
            columns[column] = title
        kinds = self.kinds
        if columns.get("kind") != self.columns.get("kind"):
            kinds = self._words_of(columns.get("kind"))
        return attrs.evolve(self, columns=columns, kinds=kinds)

    def with_kind(self, word: str, meaning: str) -> ProfileDraft:
        """Return the draft with another meaning of a word."""
        chosen = "" if meaning == NONE else meaning
        return attrs.evolve(self, kinds={**self.kinds, word: chosen})

    def _words_of(self, title: str | None) -> dict[str, str]:
        """Return the words in a column, as far as they are known."""
        if title is None:
            return {}
        if title == self.sketch.columns.get("kind"):
            return dict(self.sketch.words)
        at = self.sketch.titles.index(title)
        cells = (" ".join(row[at].split()).casefold() for row in self.sketch.rows)
        return {word: "" for word in cells if word}

    def missing(self, texts: Texts) -> tuple[str, ...]:
        """Return what has to be chosen before the table can be read."""
        columns = self.columns
        lacking = [] if "date" in columns else ["date"]
        if "amount" not in columns and not {"quantity", "price"} <= set(columns):
            lacking.append("amount")
        found = [texts("table.needs", name=texts(f"table.column.{one}")) for one in lacking]
        if "kind" not in columns and not self.default_kind:
            found.append(texts("table.needs_kind"))
        if not self.name.strip() or "/" in self.name:
            found.append(texts("table.needs_name"))
        return tuple(found)

    def profile(self) -> Profile:
        """Return the profile to save."""
        return Profile(
            dict(self.columns),
            {word: meaning for word, meaning in self.kinds.items() if meaning},
            "" if "kind" in self.columns else self.default_kind,
            self.date_format,
            self.decimal_mark,
            self.signs,
            self.amounts,
        )


def titles_of(draft: ProfileDraft, texts: Texts) -> Options:
    """Return the choices for a column."""
    titles = dict.fromkeys(draft.sketch.titles)
    return [(NONE, texts("table.no_column")), *((title, title) for title in titles)]


def meanings_of(texts: Texts) -> Options:
    """Return the choices for a word."""
    return [
        (NONE, texts("table.unknown")),
        *((one, texts(f"table.meaning.{one}")) for one in MEANINGS),
    ]


def date_formats_of(draft: ProfileDraft, texts: Texts) -> Options:
    """Return the choices for the format of dates."""
    formats = dict.fromkeys((*DATE_FORMATS, *([draft.date_format] if draft.date_format else [])))
    return [(NONE, texts("table.by_file")), *((one, one) for one in formats)]


def first_rows(sketch: TableSketch, *, most: int = 3) -> list[str]:
    """Return the first rows, a line each: cells with their titles."""
    return [
        " · ".join(
            f"{title}: {cell}" for title, cell in zip(sketch.titles, row, strict=True) if cell
        )
        for row in sketch.rows[:most]
    ]


def is_table(file_name: str) -> bool:
    """Return whether a file may be a table."""
    return file_name.lower().endswith(TABLES)

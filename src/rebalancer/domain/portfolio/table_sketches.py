"""What a table of transactions shows before a mapping profile states how it is read."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rebalancer.domain.portfolio.mapping_profiles import Column, MappingProfile, SignConvention


@attrs.frozen
class TableSketch:
    """The beginning of a table, and guesses for a mapping profile.

    Attributes:
        titles: Of its columns, in their order; blank ones are left out.
        rows: The first rows, with a cell for each title.
        row_count: Number of all rows.
        delimiter: Between cells.
        columns: Titles by what the columns may state.
        words: Words in the column of kinds with their guessed meaning, empty if it is unknown; the
            most frequent first.
        date_format: Format of its dates; empty if several fit, or the column is unknown.
        decimal_mark: Of its numbers; empty if it is unknown.
        signs: Convention that its numbers show.
        profile: By which the table can be read without changes; None if guesses are missing.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    row_count: int
    delimiter: str
    columns: Mapping[Column, str]
    words: Mapping[str, str]
    date_format: str = ""
    decimal_mark: str = ""
    signs: SignConvention = SignConvention.UNSIGNED
    profile: MappingProfile | None = None

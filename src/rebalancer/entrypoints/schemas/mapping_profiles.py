"""Mapping profiles and sketches of tables in requests and responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, field, structs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.mapping_profiles import (
    LONGEST,
    MEANINGS,
    MOST_WORDS,
    AmountBasis,
    Column,
    MappingProfile,
    SignConvention,
    profile_of,
)
from rebalancer.domain.portfolio.saved_profiles import SavedProfile
from rebalancer.domain.portfolio.table_sketches import TableSketch
from rebalancer.entrypoints.schemas.wire import Body, View, about

_COLUMNS = {"date": "Day", "kind": "Booking", "amount": "Total"}
_Text = Annotated[str, Meta(max_length=LONGEST)]


class MappingProfileBody(Body, frozen=True, kw_only=True):
    """How a table of transactions is read."""

    verbatim = ("delimiter",)

    version: Literal[1] = 1
    name: Annotated[
        _Text, about("Default: the name in the address, from which it may not differ.")
    ] = ""
    columns: Annotated[
        dict[str, _Text],
        Meta(
            description="Title of each column: of the date, and of an amount, or a quantity and a "
            f"price, at least. One of {', '.join(Column)}.",
            max_length=len(Column),
            examples=[_COLUMNS],
        ),
    ]
    kinds: Annotated[
        dict[str, str],
        Meta(
            description=f"Meaning of each word for a kind, one of {', '.join(MEANINGS)}.",
            max_length=MOST_WORDS,
            examples=[{"kauf": "buy"}],
        ),
    ] = field(default_factory=dict)
    default_kind: Annotated[_Text, about("Meaning of rows without a word.")] = ""
    date_format: Annotated[_Text, about("Such as DD.MM.YYYY. Default: as the file shows.")] = ""
    decimal_mark: Annotated[
        Literal["", ".", ","], about("Of numbers. Default: as the file shows.")
    ] = ""
    delimiter: Annotated[
        Literal["", ",", ";", "\t", "|"], about("Between cells. Default: as the file shows.")
    ] = ""
    currency: Annotated[_Text, about("Of rows without one. Default: the base currency.")] = ""
    signs: Annotated[SignConvention, about("What signs state.")] = SignConvention.UNSIGNED
    amounts: Annotated[AmountBasis, about("What amounts include.")] = AmountBasis.GROSS

    def profile(self, name: str) -> MappingProfile:
        """Return the profile of a name.

        Raises:
            InvalidRequest: it is invalid, or states another name.
        """
        if self.name and self.name != name:
            raise InvalidRequest(
                f"the name {self.name!r} is not that of the address, {name!r}; leave it out, or "
                "send the same",
                field="name",
                code="contradicting_name",
            )
        return profile_of(structs.asdict(self) | {"name": name})


class SavedProfileView(View, frozen=True, kw_only=True):
    """A saved mapping profile."""

    name: str
    profile: Annotated[dict[str, Any], about("As it can be sent with an import.")]
    changed: datetime


class TableSketchView(View, frozen=True, kw_only=True):
    """The beginning of a table, and guesses for a mapping profile."""

    titles: list[str]
    rows: Annotated[list[list[str]], about("The first rows, with a cell for each title.")]
    row_count: int
    delimiter: str
    columns: Annotated[dict[str, str], about("Guessed title of each column of a profile.")]
    words: Annotated[
        dict[str, str], about("Words for kinds with their guessed meaning; empty if unknown.")
    ]
    date_format: Annotated[str, about("Empty if several formats fit.")]
    decimal_mark: str
    signs: SignConvention
    profile: Annotated[
        dict[str, Any] | None, about("By which the table can be read; null if guesses are missing.")
    ]


def saved_profile_view(saved: SavedProfile) -> SavedProfileView:
    """Show a saved mapping profile."""
    return SavedProfileView(
        name=saved.profile.name, profile=saved.profile.document(), changed=saved.changed
    )


def table_sketch_view(sketch: TableSketch) -> TableSketchView:
    """Show the sketch of a table."""
    return TableSketchView(
        titles=list(sketch.titles),
        rows=[list(row) for row in sketch.rows],
        row_count=sketch.row_count,
        delimiter=sketch.delimiter,
        columns={str(column): title for column, title in sketch.columns.items()},
        words=dict(sketch.words),
        date_format=sketch.date_format,
        decimal_mark=sketch.decimal_mark,
        signs=sketch.signs,
        profile=None if sketch.profile is None else sketch.profile.document(),
    )

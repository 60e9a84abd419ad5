"""A mapping profile that a person makes from the columns of a table."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from test_screens import BRITISH, EN, words_of

from rebalancer_app.gateway.imports import ImportRecord
from rebalancer_app.gateway.profiles import Profile, TableSketch
from rebalancer_app.model.statement_import import import_row
from rebalancer_app.model.table_profile import (
    COLUMNS,
    MEANINGS,
    NONE,
    ProfileDraft,
    date_formats_of,
    first_rows,
    is_table,
    meanings_of,
    titles_of,
)
from rebalancer_app.texts import LANGUAGES, load_texts

SKETCH = TableSketch(
    titles=["Tag", "Was", "Betrag", "Art"],
    rows=[["31.12.2022", "Kauf", "-5,00", "x"], ["30.12.2022", "Umbuchung", "7,00", "Zins"]],
    row_count=2,
    columns={"date": "Tag", "kind": "Was", "amount": "Betrag"},
    words={"kauf": "buy", "umbuchung": ""},
    date_format="DD.MM.YYYY",
    decimal_mark=",",
    signs="cash",
)


def test_draft_begins_with_what_the_table_shows():
    draft = ProfileDraft.of(SKETCH, "My/bank.csv")
    assert draft.name == "My-bank"
    assert draft.missing(EN) == ()
    assert draft.with_kind("umbuchung", "transfer").profile() == Profile(
        columns={"date": "Tag", "kind": "Was", "amount": "Betrag"},
        kinds={"kauf": "buy", "umbuchung": "transfer"},
        default_kind="",
        date_format="DD.MM.YYYY",
        decimal_mark=",",
        signs="cash",
        amounts="gross",
    )


def test_title_states_one_thing_and_words_follow_the_column():
    draft = ProfileDraft.of(SKETCH, "a.csv").with_column("kind", "Art")
    assert draft.kinds == {"x": "", "zins": ""}
    assert draft.with_column("kind", "Was").kinds == SKETCH.words
    moved = draft.with_column("note", "Betrag")
    assert moved.columns == {"date": "Tag", "kind": "Art", "note": "Betrag"}
    assert moved.missing(EN) == ("Choose the column: Amount.",)
    without = moved.with_column("kind", NONE).with_column("amount", "Betrag")
    assert without.kinds == {}
    assert without.missing(EN) == ("Choose the column of kinds, or what all rows are.",)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_has_the_choices(language):
    texts, draft = load_texts(language), ProfileDraft.of(SKETCH, "a.csv")
    assert len(meanings_of(texts)) == len(MEANINGS) + 1
    assert all(words_of([meanings_of(texts), titles_of(draft, texts)]))
    assert date_formats_of(draft, texts)[0][0] == NONE
    assert all(texts(f"table.column.{one}") for one in COLUMNS)
    assert len(ProfileDraft.of(SKETCH, "").with_column("date", NONE).missing(texts)) == 2


def test_first_rows_are_shown_with_their_titles():
    assert first_rows(SKETCH, most=1) == ["Tag: 31.12.2022 · Was: Kauf · Betrag: -5,00 · Art: x"]
    assert is_table("A.CSV") and not is_table("a.xml")


def test_import_in_a_list_states_what_it_added_and_whether_it_was_undone():
    made = datetime(2026, 1, 2, tzinfo=UTC)
    record = ImportRecord(UUID(int=1), 12, made, "year.csv", None)
    assert import_row(record, BRITISH, EN) == ("year.csv", "2 Jan 2026 · 12 new entries")
    undone = ImportRecord(UUID(int=1), 1, made, "", made)
    assert import_row(undone, BRITISH, EN) == ("Statement", "2 Jan 2026 · 1 new entry · undone")

"""Contract of every store of reports: `Reports` in application/ports."""

from contextlib import ExitStack
from datetime import timedelta
from uuid import UUID, uuid4

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rebalancer.adapters.memory.reports import MemoryReports
from rebalancer.adapters.mongo.reports import MongoReports
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.reports import SqlReports
from rebalancer.application.reporting.encoding import pack_series, unpack_series
from rebalancer.application.reporting.report import SCHEMAS, Report
from rebalancer.domain.errors import InvalidRequest, NotFound, Unavailable
from tests.contracts.documents import mongo_database
from tests.contracts.stores import NOW

LATER = {"backtest": 7, "evidence": 9}
"""Schemas of a later version."""


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgres", "mongo"])
def place(request, makers):
    """Create stores over one place, of this version unless given other schemas."""
    if request.param == "memory":
        kept = {}
        yield lambda schemas=SCHEMAS: MemoryReports(schemas, kept)
        return
    with ExitStack() as at_the_end:
        if request.param == "mongo":
            server = request.getfixturevalue("mongo_url")
            where, kind = at_the_end.enter_context(mongo_database(server)), MongoReports
        else:
            where, kind = connect(makers[request.param]()), SqlReports
            at_the_end.callback(where.dispose)
        kind(where).prepare()
        yield lambda schemas=SCHEMAS: kind(where, schemas)


@pytest.fixture
def reports(place):
    return place()


def a_report(**others):
    dates = np.arange("2022-01-03", "2022-01-08", dtype="datetime64[D]")
    plain = Report(
        id=uuid4(),
        kind="backtest",
        subject=uuid4().hex,
        created=NOW,
        schema=1,
        document={"sharpe": 0.1 + 0.2, "policy": "band:half=0.05", "notes": ["one", None, True]},
        series={"value": np.array([1.0, 1.1, np.nan, -0.0, 1e-308]), "cash": np.zeros(5)},
        dates=dates,
    )
    return attrs.evolve(plain, **others)


def same(one, other, *, series=True):
    plain = ("id", "kind", "subject", "created", "schema", "document")
    assert [getattr(one, name) for name in plain] == [getattr(other, name) for name in plain]
    if series:
        assert list(one.series) == list(other.series)
        for name, values in one.series.items():
            assert values.tobytes() == other.series[name].tobytes()
        assert (one.dates is None) == (other.dates is None)
        assert one.dates is None or np.array_equal(one.dates, other.dates, equal_nan=True)
    return True


def test_saved_report_is_returned_to_the_last_bit(reports):
    report = a_report()
    reports.save(report)
    found = reports.get(report.id)
    assert same(found, report)
    assert found.created.tzinfo is not None
    assert list(found.document) == list(report.document)


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
KEYS = TEXTS | st.sampled_from(["a.b", "$set", "$where", "_id", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
COLUMNS = st.dictionaries(
    st.sampled_from(["value", "file", "names", "dates", "0", "a/b", "é\n"]) | TEXTS,
    arrays.arrays(np.float64, st.integers(0, 9), elements=st.floats(width=64)),
    max_size=4,
)


@given(
    document=st.dictionaries(KEYS, VALUES, max_size=4),
    series=COLUMNS,
    days=st.none() | st.lists(st.integers(-100_000, 100_000), max_size=4),
    moment=st.timedeltas(timedelta(0), timedelta(days=3)),
)
def test_any_saved_report_is_returned_unchanged(place, document, series, days, moment):
    dates = None if days is None else np.array(days, dtype="datetime64[D]")
    created = NOW + moment
    report = a_report(document=document, series=series, dates=dates, created=created)
    place().save(report)
    assert same(place().get(report.id), report)


def test_integers_and_floats_keep_their_types(reports):
    report = a_report(document={"whole": 1, "other": 1.0, "yes": True})
    reports.save(report)
    kinds = {name: type(value) for name, value in reports.get(report.id).document.items()}
    assert kinds == {"whole": int, "other": float, "yes": bool}


def test_report_without_series_is_returned_without_series(reports):
    report = a_report(series={}, dates=None)
    reports.save(report)
    assert reports.get(report.id).series == {}
    assert reports.get(report.id).dates is None


def test_report_with_same_id_is_replaced(reports):
    first = a_report()
    second = a_report(id=first.id, subject="another", series={"only": np.ones(2)}, dates=None)
    reports.save(first)
    reports.save(second)
    assert same(reports.get(first.id), second)


def test_saved_report_is_independent_of_its_inputs(reports):
    value = np.ones(3)
    document = {"list": [1]}
    report = a_report(document=document, series={"value": value}, dates=None)
    reports.save(report)
    value[:] = 2.0
    document["list"].append(2)
    reports.get(report.id).document["list"].append(3)
    assert reports.get(report.id).document == {"list": [1]}
    assert reports.get(report.id).series["value"].tolist() == [1.0, 1.0, 1.0]


def test_series_are_read_only(reports):
    report = a_report()
    reports.save(report)
    with pytest.raises(ValueError, match="read-only"):
        reports.get(report.id).series["value"][0] = 2.0


def test_unknown_report_is_not_found(reports):
    with pytest.raises(NotFound, match=r"report .* does not exist"):
        reports.get(UUID(int=7))


def test_report_with_newer_schema_is_not_read(place):
    later, now = place(LATER), place()
    known, unknown = a_report(), a_report(schema=7)
    unknown = attrs.evolve(unknown, subject=known.subject)
    for report in (known, unknown):
        later.save(report)
    assert same(later.get(unknown.id), unknown)
    with pytest.raises(Unavailable, match=r"schema 7 of backtest.*supports backtest up to 1"):
        now.get(unknown.id)
    assert same(now.get(known.id), known)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"schema": 2}, r"schema: unknown schema 2 of backtest; supported are backtest up to 1"),
        ({"schema": 0}, r"schema: unknown schema 0 of backtest"),
        ({"kind": "poem"}, r"schema: unknown schema 1 of poem"),
        ({"document": {"x": float("nan")}}, r"document: the document must consist of JSON values"),
        ({"document": {"x": float("inf")}}, r"document: the document must consist of JSON values"),
        (
            {"document": {"x": object()}},
            r"document: the document must consist of JSON values.*object",
        ),
        (
            {"document": {"x": 2**63}},
            r"document: the document must consist of JSON values.*64 bits",
        ),
        ({"document": {"x": "\ud800"}}, r"document: the document must consist of JSON values"),
        ({"document": {"x\0": 1}}, r"document: the document must consist of JSON values.*NUL"),
        ({"document": [1]}, r"document: the document is a list; it must be a JSON object"),
    ],
)
def test_unreadable_report_is_rejected(reports, others, words):
    report = a_report(**others)
    with pytest.raises(InvalidRequest, match=words):
        reports.save(report)
    with pytest.raises(NotFound):
        reports.get(report.id)


def test_prepare_is_idempotent(reports):
    report = a_report()
    reports.save(report)
    reports.prepare()
    assert same(reports.get(report.id), report)


def test_long_series_are_compressed(reports):
    flat = a_report(series={"flat": np.full(100_000, 1.25)}, dates=None)
    reports.save(flat)
    assert same(reports.get(flat.id), flat)
    if isinstance(reports, MongoReports):
        kept = reports.database.reports.find_one({"_id": flat.id})["series"]
        assert len(kept) < 10_000


@pytest.mark.parametrize("keep", [0, 3, 40, -30])
def test_damaged_series_are_reported(keep):
    report = a_report()
    bytes_kept = pack_series(report)
    with pytest.raises(Unavailable, match=f"series of report {report.id} are damaged"):
        unpack_series(report.id, bytes_kept[:keep])

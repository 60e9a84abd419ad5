"""SQL databases: limits, faults, locks and the contents of their tables."""

from __future__ import annotations

import shutil
import threading
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from functools import partial
from uuid import UUID, uuid4

import attrs
import psycopg
import pytest
from sqlalchemy import Uuid, bindparam, event, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.errors import Busy
from rebalancer.adapters.sql.rows import Damaged
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.batch import ProposeForEveryone
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.rebalance import BuildContext
from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound, Unavailable
from rebalancer.domain.jobs.batch_run import ChunksHeld
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.ledger import Overdrawn
from rebalancer.domain.portfolio.mandate import UnreadablePortfolio
from rebalancer.domain.portfolio.portfolio import Preferences
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from tests.builders import CLASSES, varied_prices
from tests.contracts.databases import changing_schema, new_database
from tests.contracts.stores import (
    NOW,
    a_deposit,
    a_fill,
    a_job,
    a_managed,
    a_proposal,
    a_run,
    a_token,
    a_user,
    race,
    renamed,
    stored_portfolio,
    stored_proposal,
    stored_user,
    with_entries,
)
from tests.servers import Postgres, running


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request):
    return request.param


@pytest.fixture
def database(stores_of, kind):
    return stores_of(kind)


@pytest.fixture
def count(database):
    """Count the statements of a call, without those that begin a transaction."""
    statements = []
    engine = database.engine

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection, cursor, statement, parameters, context, executemany):
        if not statement.startswith(("BEGIN", "PRAGMA")):
            statements.append(statement)

    def count(call):
        statements.clear()
        call()
        return len(statements)

    return count


@pytest.mark.parametrize("size", [1, 40])
def test_number_of_statements_does_not_grow(database, kind, count, size):
    """Many proposals are one COPY in Postgres, which SQLAlchemy does not see."""
    ada = stored_user(database)
    portfolio = stored_portfolio(database, ada, a_deposit())
    some, more = [[a_deposit() for _ in range(size)] for _ in range(2)]
    run = a_run()
    others = [stored_portfolio(database, ada) for _ in range(size)]
    records = [a_proposal(other) for other in others]
    failures = [(other.id, "why") for other in others]
    ids = [other.id for other in others]
    with database.begin() as tx:
        tx.runs.add(run, [])
        chunk = tx.runs.claim(run.id)
        saved = with_entries(tx, portfolio, *some)
        for expected, call in (
            (3, lambda: tx.portfolios.add(a_managed(ada.id, more), more)),
            (7, lambda: tx.portfolios.save(saved, entries=some)),
            (2, lambda: tx.portfolios.save(saved.revise(saved.mandate, NOW))),
            (1, lambda: tx.portfolios.page(ada.id, after=portfolio.id, limit=size)),
            (1, lambda: tx.portfolios.chunk(limit=size)),
            (1, lambda: tx.portfolios.ledger(portfolio.id)),
            (1, lambda: tx.portfolios.entries(portfolio.id, limit=size)),
            (1, lambda: tx.portfolios.versions(ids)),
            (0 if kind == "postgres" and size > 32 else 1, lambda: tx.proposals.add(records)),
            (1, lambda: tx.proposals.page(ada.id, before=records[0].id, limit=size)),
            (2, lambda: tx.runs.complete(chunk, proposed=1, nothing=0, failures=failures)),
        ):
            assert count(call) == expected


def test_database_without_tables_is_reported_as_outdated(kind, tmp_path, postgres_url):
    with ExitStack() as stack:
        empty = f"sqlite:///{tmp_path}/empty.db"
        url = empty if kind == "sqlite" else stack.enter_context(new_database(postgres_url))
        engine = connect(url)
        stack.callback(engine.dispose)
        without = SqlWork(engine)
        with pytest.raises(Unavailable) as error, without.read() as tx:
            tx.users.get(uuid4())
        assert error.value.code == "schema_outdated"


def test_busy_file_is_reported_without_sql(sqlite_template, tmp_path):
    path = shutil.copy(sqlite_template, tmp_path / "busy.db")
    one, two = (connect(f"sqlite:///{path}", lock_timeout=0.05) for _ in range(2))
    first, second = SqlWork(one), SqlWork(two)
    with first.begin(), pytest.raises(Unavailable, match="busy") as refused, second.begin():
        pass
    assert "BEGIN" not in str(refused.value)
    with second.begin() as tx:
        tx.users.add(a_user())
    one.dispose()
    two.dispose()


def test_writers_of_one_process_are_serialised_in_sqlite(stores_of):
    work = attrs.evolve(stores_of("sqlite"), lock_timeout=0.05)
    with work.begin(), pytest.raises(Unavailable, match="busy"), work.begin():
        pass
    with pytest.raises(ValueError), work.begin():
        raise ValueError
    with work.begin() as tx:
        tx.users.add(a_user())


def test_writers_of_the_same_row_wait_for_each_other_in_postgres(makers):
    """Writers of other rows, and readers, do not wait."""
    engine = connect(makers["postgres"](), lock_timeout=0.2)
    work = SqlWork(engine)
    ada = stored_user(work)
    held, other = stored_portfolio(work, ada), stored_portfolio(work, ada)
    record, token, job = stored_proposal(work, held), a_token(ada.id), a_job(owner=ada.id)
    with work.begin() as tx:
        tx.tokens.add(token)
        tx.jobs.add(job)
    with work.begin() as tx:
        tx.proposals.get(record.id, owner=ada.id)
        tx.tokens.get(token.digest)
        tx.jobs.get(job.id)
        for wait in (
            lambda other: other.portfolios.get(held.id, owner=ada.id),
            lambda other: other.portfolios.get(held.id),
            lambda other: other.proposals.get(record.id),
            lambda other: other.tokens.get(token.digest),
            lambda other: other.jobs.get(job.id),
        ):
            with pytest.raises(Unavailable, match="busy"), work.begin() as second:
                wait(second)
        with work.begin() as third:
            third.portfolios.get(other.id, owner=ada.id)
            third.proposals.add([a_proposal(held), a_proposal(other)])
            third.users.get(ada.id)
        with work.read() as reader:
            assert reader.portfolios.get(held.id, owner=ada.id) == held
            assert reader.jobs.get(job.id) == job
    engine.dispose()


def test_deadlock_is_reported_as_busy_and_loses_nothing(stores_of):
    """Postgres aborts one of two transactions that wait for each other."""
    work = stores_of("postgres")
    ada = stored_user(work)
    two = [stored_portfolio(work, ada), stored_portfolio(work, ada)]
    gate = threading.Barrier(2, timeout=60)

    def write(number):
        first, second = two if number == 0 else reversed(two)
        with work.begin() as tx:
            tx.portfolios.get(first.id)
            gate.wait()
            tx.portfolios.save(renamed(tx.portfolios.get(second.id)))

    outcomes = race(write, 2)
    assert sorted(map(type, outcomes), key=str) == [type(None), Busy]
    with work.read() as tx:
        versions = tx.portfolios.versions([portfolio.id for portfolio in two])
    assert sorted(versions.values()) == [1, 2]


def test_chunk_that_is_being_completed_is_skipped(stores_of):
    work = stores_of("postgres")
    run = a_run()
    with work.begin() as tx:
        tx.runs.add(run, [UUID(int=1)])
        first = tx.runs.claim(run.id)
    with work.begin() as finishing:
        finishing.runs.complete(first, proposed=0, nothing=0)
        with work.begin() as tx:
            second = tx.runs.claim(run.id)
            assert second.number != first.number
            tx.runs.complete(second, proposed=0, nothing=0)
        with pytest.raises(ChunksHeld), work.begin() as tx:
            tx.runs.claim(run.id)
    with work.begin() as tx:
        assert tx.runs.claim(run.id) is None


def test_exhausted_pool_is_reported(makers, kind):
    engine = connect(makers[kind](), pool=3, lock_timeout=0.05)
    work = SqlWork(engine)
    with ExitStack() as taken:
        for _ in range(64 if kind == "sqlite" else 3):
            taken.enter_context(work.read())
        with pytest.raises(Unavailable, match="no free connection"), work.read():
            pass
    with work.read():
        pass
    engine.dispose()


def test_exhausted_server_is_reported(makers, postgres_url):
    url = make_url(makers["postgres"]())
    name = f"limited_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as operator:
        operator.execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 1 IN ROLE pg_read_all_data")
    theirs = url.set(username=name).render_as_string(hide_password=False)
    one, two = connect(theirs), connect(theirs)
    first, second = SqlWork(one), SqlWork(two)
    with first.read(), pytest.raises(Unavailable, match="no free connection"), second.read():
        pass
    one.dispose()
    with second.read() as tx:
        assert tx.users.by_email("nobody@example.org") is None
    two.dispose()
    with psycopg.connect(postgres_url, autocommit=True) as operator:
        operator.execute(f"DROP ROLE {name}")


def test_slow_query_is_cancelled_and_the_next_succeeds(makers):
    engine = connect(makers["postgres"](), statement_timeout=0.1)
    work = SqlWork(engine)
    with pytest.raises(Unavailable, match="too long"), work.read() as tx:
        tx.users.connection.exec_driver_sql("SELECT pg_sleep(5)")
    stored_user(work)
    engine.dispose()


def test_full_disk_rolls_back_and_recovers(database, kind):
    ada = stored_user(database)
    portfolio = stored_portfolio(database, ada, a_deposit())
    full = a_deposit(note="x" * 1_000_000)
    with filled(database.engine):
        with pytest.raises(Unavailable, match="the database is full"), database.begin() as tx:
            tx.users.add(grace := a_user())
            tx.portfolios.save(with_entries(tx, portfolio, full), entries=[full])
        with database.read() as tx:
            assert tx.users.by_email(grace.email) is None
            assert tx.portfolios.get(portfolio.id) == portfolio
    with database.begin() as tx:
        tx.portfolios.save(with_entries(tx, portfolio, full), entries=[full])
    assert database.check() == []


@contextmanager
def filled(engine):
    """A disk with no room for a megabyte more: SQLite's own limit, or Postgres' own error."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        limit = partial(_limit_pages, pages=pages + 20)
        event.listen(engine, "begin", limit)
        yield
        event.remove(engine, "begin", limit)
        event.listen(engine, "begin", partial(_limit_pages, pages=2**30))
        return
    with changing_schema(engine) as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file: No space left on device'"
            " USING ERRCODE = 'disk_full'; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER full_disk BEFORE INSERT ON ledger_entries EXECUTE FUNCTION full_disk()"
        )
    yield
    with changing_schema(engine) as connection:
        connection.exec_driver_sql("DROP TRIGGER full_disk ON ledger_entries")
        connection.exec_driver_sql("DROP FUNCTION full_disk")


def _limit_pages(connection, pages):
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


def test_restarted_server_is_used_again():
    with running(Postgres) as server:
        engine = connect(server.url)
        migrations.upgrade(engine)
        work = SqlWork(engine)
        ada = stored_user(work)
        with pytest.raises(Unavailable, match="did not answer"), work.begin() as tx:
            tx.users.add(a_user(id=UUID(int=1)))
            server.kill()
            tx.users.add(a_user())
        with pytest.raises(Unavailable), work.read() as tx:
            tx.users.get(ada.id)
        server.start()
        with work.read() as tx:
            assert tx.users.get(ada.id) == ada
            with pytest.raises(NotFound):
                tx.users.get(UUID(int=1))
        engine.dispose()


def test_connections_cut_by_a_restart_are_replaced():
    with running(Postgres) as server:
        engine = connect(server.url, pool=6)
        migrations.upgrade(engine)
        work = SqlWork(engine)
        with ExitStack() as stack:
            for _ in range(6):  # the pool keeps them all
                stack.enter_context(work.read())
        server.kill()
        server.start()
        users = [a_user() for _ in range(6)]

        def keep(number):
            with work.begin() as tx:
                tx.users.add(users[number])

        assert race(keep, 6) == [None] * 6
        with work.read() as tx:
            assert [tx.users.get(user.id) for user in users] == users
        engine.dispose()


def test_connections_to_a_read_only_server_are_dropped(makers):
    """As after a primary became a standby: clients are redirected to the new primary."""
    engine = connect(makers["postgres"](), begin_writer="BEGIN READ WRITE, WHICH FAILS")
    work = SqlWork(engine)

    def server_process():
        with work.read() as tx:
            return tx.users.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()

    before = server_process()
    assert server_process() == before
    with pytest.raises(Unavailable, match="read-only at present"), work.begin():
        pass
    assert server_process() != before
    engine.dispose()


def test_driver_error_is_logged_for_operators_only(caplog):
    engine = connect("postgresql://ghost:secret@127.0.0.1:1/nowhere")
    with pytest.raises(Unavailable) as refused, SqlWork(engine).read():
        pass
    assert str(refused.value) == "the database did not answer; try again"
    assert "127.0.0.1" in str(refused.value.__cause__)
    assert "port 1 failed" in caplog.text
    assert "secret" not in caplog.text + str(refused.value.__cause__)


def test_bug_is_not_reported_as_an_outage(database):
    for statement in ("SELECT 1 +", "SELECT nothing_of_ours(1)"):
        with pytest.raises(DBAPIError), database.begin() as tx:
            tx.users.connection.exec_driver_sql(statement)
    stored_user(database)


def test_invalid_portfolio_does_not_affect_the_others(database):
    ada = stored_user(database)
    good, bad = (stored_portfolio(database, ada, a_deposit(1000)) for _ in range(2))
    with database.engine.begin() as connection:
        connection.execute(
            text(
                'UPDATE portfolios SET targets = \'{"A": 0.9, "B": 0.4}\' WHERE id = :id'
            ).bindparams(bindparam("id", type_=Uuid)),
            {"id": bad.id},
        )
    with database.read() as tx:
        found = {one.id: one for one in tx.portfolios.chunk()}
        assert found[good.id] == good
        assert (
            isinstance(found[bad.id], UnreadablePortfolio) and "sum to 1.3" in found[bad.id].reason
        )
        with pytest.raises(Damaged, match=r"sum to 1\.3"):  # not the caller's fault
            tx.portfolios.get(bad.id)
    (finding,) = database.check()
    assert finding.startswith(f"portfolio {bad.id}: the stored data are invalid")
    prices = MemoryPrices(varied_prices())
    terms = BuildContext(prices, MemoryInstruments(CLASSES), MemoryPolicies())(
        policy_name="monthly", costs=CostModel.flat(10.0), currency="USD"
    )
    propose = ProposeForEveryone(
        database, prices, BookActions(database, lambda: NOW), lambda: NOW, release="1.0"
    )
    run = propose.begin(terms, id=uuid4(), now=NOW)
    propose.run_chunks(run.id, terms, now=NOW)
    run = propose.read(run.id)
    assert (run.proposed + run.nothing, run.failed) == (1, 1)
    with database.read() as tx:
        ((failed, reason),) = tx.runs.failures(run.id)
    assert failed == bad.id and "sum to 1.3" in reason


@pytest.mark.parametrize("contents", [None, b"some other text, " * 100])
def test_file_without_a_database_is_unavailable(tmp_path, contents):
    path = tmp_path / "missing" / "store.db"
    if contents is not None:
        path.parent.mkdir()
        path.write_bytes(contents)
    engine = connect(f"sqlite:///{path}")
    with pytest.raises(Unavailable, match="did not answer"), SqlWork(engine).read():
        pass
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["", "store.db", "sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d", "oracle://h"]
)
def test_invalid_database_url_is_rejected(url):
    with pytest.raises(InvalidRequest, match="sqlite:///") as refused:
        connect(url)
    assert "secret" not in str(refused.value)


def test_constraints_reject_what_the_code_lets_through(database):
    """Violations that a client can cause are translated; the others are bugs."""
    ada = stored_user(database)
    portfolio = stored_portfolio(database, ada)
    stranger = a_managed(uuid4())
    for write, code in (
        (lambda tx: tx.portfolios.add(stranger, []), "parent_missing"),
        (lambda tx: tx.portfolios.add(portfolio, []), "already_exists"),
        (lambda tx: tx.proposals.add([a_proposal(stranger)]), "parent_missing"),
    ):
        with pytest.raises(Conflict) as refused, database.begin() as tx:
            write(tx)
        assert refused.value.code == code
        assert "INSERT" not in str(refused.value)
    for write in (
        lambda tx: tx.jobs.add(a_job(owner=ada.id, progress=1.5)),
        lambda tx: tx.portfolios.add(a_managed(ada.id, version=0), []),
    ):
        with pytest.raises(IntegrityError), database.begin() as tx:
            write(tx)


@pytest.mark.parametrize(
    "change",
    [
        "users SET email = 'ADA@example.org', email_index = NULL",
        "portfolios SET cash = '-0.01', uninvested = '-0.02'",
        "portfolios SET uninvested = '1000.01'",
        "ledger_entries SET amount = '0'",
        "ledger_entries SET amount = '1E16'",
        "ledger_entries SET kind = 'buy'",
        "ledger_entries SET symbol = 'A'",
        "ledger_entries SET price = '1'",
        "proposals SET stage = 'executed'",
    ],
)
def test_contradicting_row_is_rejected_by_the_database(database, change):
    ada = stored_user(database)
    stored_proposal(database, stored_portfolio(database, ada, a_deposit(1000)))
    with (
        pytest.raises((IntegrityError, InvalidRequest, Overdrawn)),
        database.engine.begin() as connection,
    ):
        connection.exec_driver_sql(f"UPDATE {change}")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_non_finite_number_is_rejected_by_postgres(stores_of, number):
    """SQLite stores exact numbers as text, and cannot check them."""
    database = stores_of("postgres")
    stored_portfolio(database, stored_user(database), a_deposit(1000))
    for column in ("portfolios SET cash", "portfolios SET uninvested", "ledger_entries SET amount"):
        with pytest.raises((IntegrityError, Overdrawn)), database.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE {column} = '{number}'")


def test_time_without_a_zone_is_a_bug(database):
    with pytest.raises(Exception, match="time zone"), database.begin() as tx:
        tx.users.add(a_user(created=NOW.replace(tzinfo=None)))


def test_amounts_are_exact_to_the_last_digit(database, kind):
    ada = stored_user(database)
    exact = Decimal("999999999999999.999999999999")
    stored_portfolio(database, ada, a_deposit(exact), a_deposit("0.000000000001"))
    how = "typeof" if kind == "sqlite" else "pg_typeof"
    what = "text" if kind == "sqlite" else "numeric"
    with database.engine.begin() as connection:
        rows = connection.exec_driver_sql(
            f"SELECT CAST(amount AS TEXT), CAST({how}(amount) AS TEXT) FROM ledger_entries"
            " ORDER BY sequence"
        ).all()
        sums = connection.exec_driver_sql("SELECT CAST(cash AS TEXT) FROM portfolios").all()
    assert rows == [("999999999999999.999999999999", what), ("0.000000000001", what)]
    assert sums == [("1000000000000000.000000000000",)]


def test_check_finds_portfolios_that_differ_from_their_ledger(database):
    database = attrs.evolve(database, check_batch=2)
    ada = stored_user(database)
    stored = [stored_portfolio(database, ada, a_deposit(1000), a_deposit(5)) for _ in range(5)]
    stored_portfolio(database, ada)
    with database.begin() as tx:
        tx.portfolios.close(stored[0].id, owner=ada.id, version=1, now=NOW)
    assert database.check() == []
    with database.engine.begin() as connection:
        for broken, change in (
            (stored[0], "UPDATE portfolios SET cash = '1006.50' WHERE id"),
            (stored[1], 'UPDATE portfolios SET holdings = \'{"A": "2"}\' WHERE id'),
            (stored[2], "UPDATE ledger_entries SET kind = 'fee' WHERE portfolio"),
        ):
            connection.execute(
                text(f"{change} = :id").bindparams(bindparam("id", type_=Uuid)), {"id": broken.id}
            )
    found = {line.split(": ", 1)[0]: line.split(": ", 1)[1] for line in database.check()}
    assert set(found) == {f"portfolio {broken.id}" for broken in stored[:3]}
    assert (
        found[f"portfolio {stored[0].id}"] == "stored cash 1006.50 differs from the ledger's 1005"
    )
    assert (
        found[f"portfolio {stored[1].id}"] == "stored holdings A 2 differs from the ledger's none"
    )
    assert "cash would be" in found[f"portfolio {stored[2].id}"]


def test_check_finds_contradictions_between_tables(database):
    ada, grace = stored_user(database), stored_user(database)
    mine, other = (stored_portfolio(database, ada, a_deposit(1000)) for _ in range(2))
    record = stored_proposal(database, mine)
    fill = a_fill(record)
    with database.begin() as tx:
        tx.portfolios.save(
            with_entries(tx, mine, fill), entries=[fill]
        )  # the proposal is not executed
    (early,) = database.check()
    assert early.startswith(f"portfolio {mine.id}: entry {fill.id} belongs to a proposal")
    theirs = stored_proposal(database, attrs.evolve(other, owner=grace.id))
    assert f"proposal {theirs.id}: its owner is not the owner of its portfolio" in database.check()


DOCUMENTS = {
    "portfolios": {
        "targets": '{"A":0.6,"B":0.4}',
        "holdings": "{}",
        "risk_profile": "balanced",
        "preferences": """{"whole_shares":true,"quantity_step":"0.0001","min_trade":"25.50",
            "do_not_sell":["A"],"do_not_buy":[],"max_turnover":0.5,"cash_reserve":"0",
            "max_weight":null,"band":null,"max_departure":0.2,"skip_unprofitable":false}""",
    },
    "proposals": {
        "proposal": """{"portfolio_id":"00000000-0000-0000-0000-000000000007",
            "status":"proposed","as_of":"2022-12-30","policy":"monthly","orders":[{"symbol":"A",
            "side":"buy","quantity":"1","price":"100","value":"100.00","cost":"0.10",
            "reason":"Why"}],"not_traded":[{"symbol":"B","reason":"Within its band."}],
            "weights_before":{"A":0.0,"B":0.0},"weights_after":{"A":0.1,"B":0.0},
            "cash_after":"899.90","turnover":0.1,"cost":"0.10","drift_before":1.0,
            "drift_after":0.9,"volatility_before":null,"volatility_after":0.12,"notes":[],
            "input_hash":"0000000000000000000000000000000000000000000000000000000000000000"}""",
        "seen": """{"portfolio":{"id":"00000000-0000-0000-0000-000000000007","currency":
            {"code":"USD","minor_unit":"0.01"},"cash":"0","holdings":{},"targets":{"A":0.6,
            "B":0.4},"risk_profile":null,"cash_flow":"0","last_rebalance":null,"preferences":
            {"whole_shares":true,"quantity_step":"0.0001","min_trade":"0","do_not_sell":[],
            "do_not_buy":[],"max_turnover":null,"cash_reserve":"0","max_weight":null,
            "band":null,"max_departure":0.2,"skip_unprofitable":false},"symbols":["A","B"]},
            "planned":"0","version":1,"prices":{"A":"100"},"newest":"2022-12-30","costs":"free",
            "market":"1111111111111111111111111111111111111111111111111111111111111111"}""",
    },
}
"""Documents of the first version; renaming an attribute of the domain takes a migration."""


def test_documents_of_the_first_version_can_be_read(database, kind):
    ada = stored_user(database)
    portfolio = stored_portfolio(database, ada, id=UUID(int=7))
    record = stored_proposal(database, portfolio)
    with database.engine.begin() as connection:
        for table, columns in DOCUMENTS.items():
            for column, document in columns.items():
                value = (
                    ":document"
                    if kind == "sqlite" or column == "risk_profile"
                    else "CAST(:document AS JSON)"
                )
                connection.execute(
                    text(f"UPDATE {table} SET {column} = {value}"), {"document": document}
                )
    with database.read() as tx:
        assert tx.proposals.get(record.id, owner=ada.id) == record
        mandate = tx.portfolios.get(portfolio.id, owner=ada.id).mandate
    wishes = Preferences(min_trade=Decimal("25.50"), do_not_sell=frozenset({"A"}), max_turnover=0.5)
    assert mandate == attrs.evolve(
        portfolio.mandate, preferences=wishes, risk_profile=RISK_PROFILES["balanced"]
    )
